"""A live implementation: in a host process of its own, which may crash or hang, or in this process for a debugger."""

import contextlib
import io
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from adapters import host, wire
from adapters.executor import AdapterError, describe, execute, load
from adapters.interface import Description
from adapters.naming import NO_OPTIONS, Options, absolute, needs_here
from adapters.program import Failure, Program, Trace
from adapters.wire import TruncatedError, WireError
from conformance.conversation import Awaited, Collector, Timeouts
from conformance.host_process import HostProcess, TimeLimitError
from conformance.restart import cut, first_restart, joined, without_saving
from conformance.targets import Target

__all__ = ["HostSession", "InProcessSession", "Session", "SessionError", "Timeouts", "open_session", "open_target"]

#: Lines of standard error in a message.
_SHOWN = 15
DEFAULT_TIMEOUTS = Timeouts()


class SessionError(Exception):
    """An implementation that cannot be had; the text says which, why, and with which Python."""


class Session:
    """What a session can do, wherever its implementation lives."""

    target: str
    description: Description
    details: dict[str, str]
    import_seconds: float

    @property
    def restarts(self) -> int:
        """How often a host has been started again."""
        return 0

    def run(self, program: Program) -> Trace:
        """Run a program; whatever the implementation does ends up in the trace.

        Raises SessionError where it cannot be started again, ValueError for a program that makes no sense.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the session; closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InProcessSession(Session):
    """Runs the adapter in this process, where a debugger can follow it and a crash ends everything."""

    #: What becomes of the adapter's warnings.
    warnings: Literal["default", "ignore"] = "default"

    def __init__(self, target: str, path: Sequence[str], options: Options = NO_OPTIONS) -> None:
        self.target = target
        begin = time.perf_counter()
        try:
            self.adapter = load(target, path, options)
            self.description = describe(self.adapter)
        except AdapterError as error:
            raise SessionError(f"{error} (in this process, {sys.executable})") from error
        self.import_seconds = time.perf_counter() - begin
        self.details = host.details()

    def run(self, program: Program) -> Trace:
        """Run a program here."""
        hosted = program.spec.dtype == "bfloat16"
        collector = Collector()
        given = _crossed("run", program, None) if hosted else program
        with warnings.catch_warnings():
            # What warns in a host does so on its standard error; a test runner may have made it an error here.
            warnings.simplefilter(self.warnings)
            for event in execute(self.adapter, given, self.description.capabilities):
                collector.add(event)
        trace = collector.trace()
        return _crossed("trace", trace, wire.bfloat16_dtype()) if hosted else trace


def _crossed(kind: str, value: Any, bfloat16: Any) -> Any:
    """Take a value over the wire and back: bfloat16 reaches adapters as uint16, in this process too."""
    stream = io.BytesIO(b"".join(wire.pack(kind, value, bfloat16=True)))
    frame = wire.Reader(stream.readinto, bfloat16).frame()
    return None if frame is None else frame[1]


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
        try:
            self._load(process)
        except BaseException:
            process.kill()
            raise
        self._host = process
        return process

    def _load(self, process: HostProcess) -> None:
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
        """Run a program in the host; the host is started first where there is none, and anew where it asks for that."""
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


def open_session(
    target: str,
    *,
    python: str | None = None,
    path: Sequence[str] = (),
    in_process: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    threads: int = 1,
    limit: int = wire.LIMIT,
    variables: Mapping[str, str] = MappingProxyType({}),
    options: Options = NO_OPTIONS,
) -> Session:
    """Return a session on ``package.module:Class``, ``path/to/file.py:Class`` or code of a kind (``adapters.naming``).

    ``python`` is the interpreter of the host (default: this one); ``path`` is appended to its ``sys.path`` (default:
    the current directory for a dotted name, the file's folder for a file); ``threads`` pins its numerical libraries;
    ``limit`` is the most that all arrays of one message may take, in bytes; ``variables`` are set for the host.
    Raises SessionError where the adapter cannot be loaded.
    """
    try:
        if in_process:
            return InProcessSession(target, path, options)
        return HostSession(target, path, python or sys.executable, timeouts, threads, limit, variables, options)
    except AdapterError as error:
        raise SessionError(str(error)) from error


def open_target(
    target: Target,
    *,
    path: Sequence[str] = (),
    in_process: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    threads: int = 1,
) -> Session:
    """Return a session on a target, in the environment that was made ready for it; SessionError where it is missing."""
    if target.missing:
        raise SessionError(f"{target.name}: {target.missing}")
    return open_session(
        target.target,
        python=target.python or None,
        path=path,
        in_process=in_process,
        timeouts=timeouts,
        threads=threads,
        variables=dict(target.variables),
        options=target.options,
    )
