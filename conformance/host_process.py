"""The process of one host: its archive, its start, its channel with time limits, its last words and its end."""

import atexit
import collections
import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import zipapp
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adapters import host, wire

_MAIN = """\
import sys
if sys.version_info < (3, 6):
    sys.exit("a host needs Python 3.6 or later, this is " + sys.version.split()[0])
try:
    import numpy
except ImportError as error:
    sys.exit("a host needs NumPy: " + str(error))
from adapters.host import main
main()
"""
_LINES = 40
_LINE_LENGTH = 500
#: Seconds for the last lines of a host that died, for the stack of one that hangs, and for one to quit by itself.
_LAST_WORDS = 0.5
_QUIT = 2.0


class TimeLimitError(Exception):
    """The host did not answer in time."""


@cache
def archive() -> Path:
    """Return the host's archive, made once per process from the installed adapters and removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="bn-conformance-"))
    atexit.register(_remove, folder, os.getpid())
    package = folder / "host" / "adapters"
    package.mkdir(parents=True)
    for entry in resources.files("adapters").iterdir():
        if entry.name.endswith(".py"):
            (package / entry.name).write_bytes(entry.read_bytes())
    (package.parent / "__main__.py").write_text(_MAIN, encoding="utf-8")
    target = folder / "host.pyz"
    zipapp.create_archive(package.parent, target)
    return target


def _remove(folder: Path, owner: int) -> None:
    """A forked child inherits the exit handlers, but not the folder."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


#: What importing TensorFlow 2 into this process leaves in its environment: an older one in a host would obey it, and
#: make its variables and branches otherwise.
_LEFT_BEHIND = ("TF2_BEHAVIOR",)


def environment(threads: int, variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment of a host: this one with the number of threads pinned, and with the given variables."""
    inherited = {name: value for name, value in os.environ.items() if name not in _LEFT_BEHIND}
    return {**inherited, **dict.fromkeys(host.THREADS, str(threads)), **variables}


class _Tail:
    """Drains standard error in a thread and keeps its last lines."""

    def __init__(self, descriptor: int) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._count = 0
        self._thread = threading.Thread(target=self._drain, args=(descriptor,), daemon=True, name="host stderr")
        self._thread.start()

    def _drain(self, descriptor: int) -> None:
        rest = ""
        with os.fdopen(descriptor, "rb", 0) as stream:
            while chunk := stream.read(1 << 16):
                *lines, rest = (rest + chunk.decode("utf-8", "backslashreplace")).split("\n")
                rest = rest[: 2 * _LINE_LENGTH]
                for line in lines:
                    self._add(line)
        if rest:
            self._add(rest)

    def _add(self, line: str) -> None:
        self._lines.append(line.rstrip("\r")[:_LINE_LENGTH])
        self._count += 1

    @property
    def count(self) -> int:
        """How many lines have come so far."""
        return self._count

    def wait(self, seconds: float) -> None:
        """Wait until the stream ends, which a grandchild may delay for ever."""
        self._thread.join(seconds)

    def lines(self, since: int = 0) -> tuple[str, ...]:
        """Return the last lines that came after the first ``since``."""
        new = self._count - since
        return tuple(self._lines)[-new:] if new > 0 else ()


class HostProcess:
    """A running host. Its process group is its own, so that an interrupt at the keyboard does not reach it."""

    def __init__(
        self,
        python: str,
        threads: int,
        limit: int = wire.LIMIT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        lifeline, self._lifeline = os.pipe()
        try:
            self.process = subprocess.Popen(
                [python, "-I", "-u", str(archive())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**environment(threads, variables), host.LIFELINE: str(lifeline)},
                pass_fds=(lifeline,),
                start_new_session=True,
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self._in, self._out, errors = (
            stream.fileno()
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr)
            if stream is not None
        )
        self.tail = _Tail(os.dup(errors))
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        #: The target that it has loaded.
        self.loaded = ""
        self._limit = limit
        self._deadline = 0.0
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._reader = wire.Reader(self._readinto, wire.bfloat16_dtype(), limit)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def send(self, kind: str, value: Any, seconds: float) -> None:
        """Send a frame; raises TimeLimitError, BrokenPipeError, or WireError for what cannot be sent."""
        deadline = time.monotonic() + seconds
        for piece in wire.pack(kind, value, limit=self._limit):
            view = memoryview(piece).cast("B")
            while view:
                try:
                    view = view[os.write(self._in, view) :]
                except BlockingIOError:
                    self._await_room(deadline)

    def _await_room(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._in, select.POLLOUT)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeLimitError

    def receive(self, seconds: float) -> tuple[str, Any] | None:
        """Return the next frame, or None where the host has ended; raises TimeLimitError or WireError."""
        self._deadline = time.monotonic() + seconds
        return self._reader.frame()

    def _readinto(self, view: memoryview) -> int:
        while True:
            if not self._poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
                raise TimeLimitError
            with contextlib.suppress(BlockingIOError):
                return os.readv(self._out, [view])

    def ending(self) -> str:
        """Say how the process ended, once its channel has; it is killed if it lives on."""
        try:
            code = self.process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return "closed its channel and lived on"
        self.tail.wait(_LAST_WORDS)
        if code >= 0:
            return f"exited with code {code}"
        try:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        except ValueError:
            return f"killed by signal {-code}"

    def show_stack(self) -> None:
        """Let a host that hangs write its stack to standard error."""
        if self.alive():
            before = self.tail.count
            self.process.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + _LAST_WORDS
            while time.monotonic() < deadline and self.tail.count == before:
                time.sleep(0.01)
            time.sleep(0.02)

    def kill(self) -> None:
        """End the host and what it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_QUIT)
        self._release()

    def close(self) -> None:
        """Let the host quit; kill it if it does not."""
        if self.alive():
            with contextlib.suppress(TimeLimitError, OSError):
                self.send("quit", None, _QUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_QUIT)
        self.kill()

    def _release(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
