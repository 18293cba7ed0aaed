"""A host: serves one adapter to another process over a pipe, with frames on the real standard output.

Whatever the adapter prints goes to standard error. Requests are "load", "run", "attend" (a network's course), "spell"
(how code without an adapter is used) and "quit"; the end of the input ends the host. Started from an archive as
``PYTHON -I -u host.pyz``; runs on Python 3.6.
"""

import faulthandler
import os
import platform
import signal
import sys
import time
from typing import Any, BinaryIO, Dict, Optional, Tuple

import numpy as np

from adapters import executor, wire
from adapters.course import attend
from adapters.given import spelled
from adapters.interface import BatchNormAdapter, Capabilities
from adapters.loader import described, last_lines
from adapters.naming import Options
from adapters.program import Failure

#: Environment variables that pin threads; the session sets them before the start, the host records them.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
#: The descriptor of a pipe that only the session holds open; its end kills the host, wherever it hangs.
LIFELINE = "BN_CONFORMANCE_LIFELINE"
#: In a repeated run the session hears from the host at least this often, in seconds, between calls.
_SIGN_OF_LIFE = 0.25


def die_with_session() -> None:
    """Let the kernel kill this process when the session is gone; stdin alone would not end an endless loop."""
    descriptor = os.environ.pop(LIFELINE, "")
    if not descriptor or not sys.platform.startswith("linux"):
        return
    import fcntl

    number = int(descriptor)
    os.set_inheritable(number, False)
    fcntl.fcntl(number, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(number, 10, signal.SIGKILL)  # F_SETSIG, which not every Python names
    fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_ASYNC)


def blas() -> str:
    """Name NumPy's BLAS as far as its build says."""
    config: Any = getattr(np, "__config__", None)
    try:
        modern = getattr(config, "CONFIG", None)
        if modern:
            found = modern["Build Dependencies"]["blas"]
            return " ".join(str(found[key]) for key in ("name", "version") if found.get(key))
        return ", ".join(config.get_info("blas_opt").get("libraries", []))
    except Exception:
        return ""


def details() -> Dict[str, str]:
    """Return the facts about this process that a report shows."""
    threads = ", ".join("{}={}".format(name, os.environ[name]) for name in THREADS if name in os.environ)
    return {
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "executable": sys.executable,
        "numpy": np.__version__,
        "blas": blas(),
        "threads": threads,
        "pid": str(os.getpid()),
    }


class Host:
    """Answers requests, one at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._limit = wire.LIMIT
        self._adapter: Optional[BatchNormAdapter] = None
        self._capabilities = Capabilities()
        self._spoken = 0.0

    def _readinto(self, view: memoryview) -> int:
        return self._requests.readinto(view) or 0  # type: ignore[attr-defined]

    def serve(self) -> None:
        """Answer until asked to quit or until the input ends."""
        reader = wire.Reader(self._readinto)
        while True:
            request = reader.frame()
            if request is None or request[0] == "quit":
                return
            kind, value = request
            if kind == "load":
                target, path, self._limit, options = value
                reader.limit = self._limit
                self._load(target, path, Options(*options))
            elif kind == "run":
                self._run(value)
            elif kind == "attend":
                self._attend(value)
            elif kind == "spell":
                self._answer("spelled", spelled(self._adapter, value))
            else:
                raise wire.WireError("there is no request {!r}".format(kind))
            del request, value

    def _answer(self, kind: str, value: Any = None, bfloat16: bool = False) -> None:
        for piece in wire.pack(kind, value, bfloat16, self._limit):
            view = memoryview(piece)
            while view:
                view = view[self._answers.write(view) :]
        self._spoken = time.perf_counter()

    def _load(self, target: str, path: Tuple[str, ...], options: Options) -> None:
        begin = time.perf_counter()
        try:
            self._adapter = executor.load(target, path, options)
            description = executor.describe(self._adapter)
        except executor.AdapterError as error:
            self._answer("refused", str(error))
            return
        self._capabilities = description.capabilities
        self._answer("loaded", (description, details(), time.perf_counter() - begin))

    def _run(self, program: Any) -> None:
        if self._adapter is None:
            raise wire.WireError("a program came before an adapter")
        bfloat16 = program.spec.dtype == "bfloat16"
        try:
            for event in executor.execute(self._adapter, program, self._capabilities):
                if event is not None:
                    self._answer(type(event).__name__, event, bfloat16)
                elif time.perf_counter() - self._spoken > _SIGN_OF_LIFE:
                    self._answer("alive")
        except Exception as error:
            message = "the host failed: " + described(error)
            self._answer("End", wire.End(failure=Failure("error", message, "", last_lines(error))))

    def _attend(self, course: Any) -> None:
        if self._adapter is None:
            raise wire.WireError("a course came before an adapter")
        for answer in attend(self._adapter, course):
            self._answer(type(answer).__name__, answer)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Serve requests read from one raw stream with answers on another."""
    Host(requests, answers).serve()


def main() -> None:
    """Take the standard streams for the channel, away from the adapter's reach, and serve."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)
    die_with_session()
    with os.fdopen(requests, "rb", 0) as reading, os.fdopen(answers, "wb", 0) as writing:
        serve(reading, writing)


if __name__ == "__main__":
    main()
