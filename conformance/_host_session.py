"""An implementation in host processes of its own, which may crash or hang: started, turned to others, started again."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.naming import Options, absolute, needs_here
from adapters.program import Failure, Program, Trace
from adapters.wire import TruncatedError, WireError
from conformance._session import Session, SessionError
from conformance.conversation import Awaited, Collector, Timeouts
from conformance.host_process import HostProcess, TimeLimitError
from conformance.restart import cut, first_restart, joined, without_saving

#: Lines of standard error in a message.
_SHOWN = 15


class HostSession(Session):
    """Runs the adapter in a host, which is started again after it crashed, hung or spoke out of turn."""

    def __init__(
        self,
        target: str,
        path: Sequence[str],
        python: str,
        timeouts: Timeouts,
        threads: int,
        limit: int,
        variables: Mapping[str, str],
        options: Options,
    ) -> None:
        self.target = target
        self._target, self._options = absolute(target), options
        self._path = tuple(str(Path(folder).absolute()) for folder in path or (["."] if needs_here(target) else []))
        self._python, self.timeouts, self._threads, self._limit = python, timeouts, threads, limit
        self._variables = variables
        self._host: HostProcess | None = None
        #: One that has restored what another saved.
        self._other: HostProcess | None = None
        #: Hosts that are being ended meanwhile.
        self._leaving: list[threading.Thread] = []
        self._seen: set[Any] = set()
        self._started = 0
        #: Starts that a program asked for.
        self._wanted = 0
        self._note = ""
        self._start()

    @property
    def restarts(self) -> int:
        """How often the host has been started again because it was gone."""
        return self._started - 1 - self._wanted

    def _start(self) -> HostProcess:
        self._seen.clear()
        try:
            process = HostProcess(self._python, self._threads, self._limit, self._variables)
        except OSError as error:
            raise SessionError(f"{self.target}: cannot start {self._python}: {error.strerror or error}") from error
        self._started += 1
        self._load(process)
        self._host = process
        return process

    def _load(self, process: HostProcess) -> None:
        """Let a host load the target; one that cannot is killed, since its answer may still come."""
        try:
            self._loaded(process)
        except BaseException:
            process.kill()
            raise

    def _loaded(self, process: HostProcess) -> None:
        answer, why = None, ""
        try:
            # What a host wrote before it went is still there to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                load = (self._target, self._path, self._limit, tuple(self._options))
                process.send("load", load, self.timeouts.load)
            answer = process.receive(self.timeouts.load)
        except TimeLimitError:
            process.show_stack()
            why = f"importing it took more than {self.timeouts.load:g} s"
        except TruncatedError:
            why = ""
        except WireError as error:
            why = f"while being imported it wrote {error}"
        if answer is not None and answer[0] == "loaded":
            process.loaded = self._target
            self.description, self.details, self.import_seconds = answer[1]
            return
        if answer is not None:
            first, *rest = str(answer[1]).split("\n")
            raise SessionError("\n".join([f"{first} (Python: {self._python})", *rest]))
        why = why or f"its host {process.ending()} while importing it"
        lines = process.tail.lines()
        last = "".join(f"\n  {line}" for line in lines[-_SHOWN:])
        raise SessionError(f"{self.target}: {why} (Python: {self._python}){last}")

    def run(self, program: Program) -> Trace:
        """Run a program in the host, which is started where there is none, and in another where it asks for that."""
        at = first_restart(program)
        if at < 0:
            return self._run(program)
        with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
            first, second = cut(program, at, Path(folder))
            before = self._run(first)
            if before.failure is not None:
                return without_saving(before, at)
            with self._elsewhere():
                after = self.run(second)
            return joined(before, after, at, program.calls[at].layer)

    @contextlib.contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Inside, programs run in a host that has not seen their layers. The one before waits: it may have graphs.

        The other host waits in its turn for the next program that asks for one.
        """
        if self._other is not None and not self._other.alive():
            self._leave(self._other)
            self._other = None
        waiting, self._host, self._other = self._host, self._other, None
        seen, self._seen = self._seen, set()
        told = self.description, self.details, self.import_seconds
        self._wanted += self._host is None
        try:
            if self._host is not None and self._host.loaded != self._target:
                self._load(self._host)
            yield
        finally:
            self._leave(self._other)
            self._host, self._other, self._seen = waiting, self._host, seen
            self.description, self.details, self.import_seconds = told

    def _leave(self, host: HostProcess | None) -> None:
        if host is not None:
            self._leaving.append(leave(host))

    def turn_to(self, target: str) -> None:
        """Go on with another target of the same interpreter, path and options, in the hosts that there are.

        Raises SessionError where it cannot be loaded.
        """
        self.target, self._target = target, absolute(target)
        self._seen.clear()
        process = self.living()
        if process.loaded != self._target:
            self._load(process)

    def _run(self, program: Program) -> Trace:
        process = self.living()
        collector, since = Collector(), process.tail.count
        try:
            failure = self._converse(process, program, collector)
        except BaseException:
            self.drop()
            raise
        if failure is not None and failure.kind != "no run":
            failure = failure._replace(stderr=process.tail.lines(since) or process.tail.lines())
            self.drop()
        details = {"before": self._note} if self._note else {}
        self._note = ""
        return collector.trace(failure, details)

    def living(self) -> HostProcess:
        """The host's process, started again where it was gone."""
        if self._host is not None and not self._host.alive():
            self._note = f"the host was gone after the program before: {self._host.ending()}"
            self.drop()
        return self._host or self._start()

    def drop(self) -> None:
        """Kill the host; the next request starts another."""
        if self._host is not None:
            self._host.kill()
            self._host = None

    def _converse(self, process: HostProcess, program: Program, collector: Collector) -> Failure | None:
        """Send the program and gather its answers; return what broke the conversation."""
        awaited = Awaited(program, self._seen, self.timeouts)
        sent = False
        try:
            process.send("run", program, self.timeouts.later)
            sent = True
            while collector.end is None:
                frame = process.receive(awaited.seconds)
                if frame is None:
                    return Failure("crash", f"{process.ending()} during {awaited.what}", awaited.method)
                if frame[0] != "alive":
                    collector.add(awaited.checked(frame[1]))
        except TimeLimitError:
            process.show_stack()
            return Failure("timeout", f"{awaited.what} did not return within {awaited.limit}", awaited.method)
        except (TruncatedError, BrokenPipeError, ConnectionResetError):
            return Failure("crash", f"{process.ending()} during {awaited.what}", awaited.method)
        except WireError as error:
            if not sent:
                return Failure("no run", f"the program cannot be sent: {error}")
            return Failure("error", f"wrote {error} (during {awaited.what})", awaited.method)
        return None

    def close(self) -> None:
        """Let the host quit."""
        self._leave(self._other)
        self._other = None
        if self._host is not None:
            self._host.close()
            self._host = None
        for thread in self._leaving:
            thread.join()
        self._leaving.clear()


def leave(closing: HostProcess | Session) -> threading.Thread:
    """Close it in a thread: frameworks take half a second to end."""
    thread = threading.Thread(target=closing.close, name="closes a host")
    thread.start()
    return thread
