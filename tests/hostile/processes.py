"""Adapters that take their process down, hang it, or speak on its channels."""

# ruff: noqa: D102 - the docstring of a class says what its only method does

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from adapters.interface import Array, Conventions, Layer, Spec, State, Step
from adapters.numpy_reference import NumpyLayer, NumpyReference


class _SecondCallLayer(NumpyLayer):
    """Behaves in its first call and calls ``misbehave`` in the second."""

    calls = 0

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.calls += 1
        if self.calls == 2:
            self.misbehave()
        return super().train(x, dy, update)

    def misbehave(self) -> None:
        """Overridden."""


class _SegfaultLayer(_SecondCallLayer):
    def misbehave(self) -> None:
        print("about to read address 0", file=sys.stderr)
        ctypes.string_at(0)


class Segfault(NumpyReference):
    """Dies of a signal in its second call."""

    layer = _SegfaultLayer


class _HardExitLayer(_SecondCallLayer):
    def misbehave(self) -> None:
        os.write(2, b"leaving without a word\n")
        os._exit(3)


class HardExit(NumpyReference):
    """Leaves the process, past every handler, in its second call."""

    layer = _HardExitLayer


class _SystemExitLayer(_SecondCallLayer):
    def misbehave(self) -> None:
        sys.exit("no more")


class SystemExits(NumpyReference):
    """Calls sys.exit() in its second call."""

    layer = _SystemExitLayer


class _LoopLayer(_SecondCallLayer):
    def misbehave(self) -> None:
        while True:
            pass


class Loop(NumpyReference):
    """Never returns from its second call."""

    layer = _LoopLayer


class _OnceLoopLayer(NumpyLayer):
    layers = 0

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        _OnceLoopLayer.layers += 1

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        while _OnceLoopLayer.layers > 1:
            time.sleep(1)
        return super().train(x, dy, update)


class HangsWhenRepeated(NumpyReference):
    """Hangs in the second layer that it builds, which is that of the repeated run."""

    layer = _OnceLoopLayer


class _SlowFirstLayer(NumpyLayer):
    compiled = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if not _SlowFirstLayer.compiled:
            time.sleep(2.0)
        _SlowFirstLayer.compiled = True
        return super().train(x, dy, update)


class SlowFirst(NumpyReference):
    """Compiles for two seconds in its first call, as frameworks do."""

    layer = _SlowFirstLayer


class _PrintLayer(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        print("printed by Python")
        os.write(1, b"written to descriptor 1\n")
        subprocess.run(["echo", "echoed by a child"], check=True)
        return super().train(x, dy, update)


class Prints(NumpyReference):
    """Prints on standard output in every way, and reads standard input."""

    layer = _PrintLayer

    def build(self, spec: Spec, state: State) -> Layer:
        assert sys.stdin.read() == ""
        return super().build(spec, state)


class _GarbageLayer(_SecondCallLayer):
    def misbehave(self) -> None:
        for descriptor in range(3, 32):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"garbage on the channel")


class Garbage(NumpyReference):
    """Writes to every descriptor it finds, the channel among them."""

    layer = _GarbageLayer


class _LateDeathLayer(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return super().train(x, dy, update)


class DiesLater(NumpyReference):
    """Answers, and is killed a little later."""

    layer = _LateDeathLayer


class _ChattyLayer(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        for number in range(20000):
            os.write(2, b"line %d of very many\n" % number)
        os.write(2, b"no newline" * 100000)
        return super().train(x, dy, update)


class Chatty(NumpyReference):
    """Writes more to standard error than a pipe holds."""

    layer = _ChattyLayer


class DiesWhenLoaded(NumpyReference):
    """Leaves the process in its constructor."""

    def __init__(self) -> None:
        os.write(2, b"the licence server does not answer\n")
        os._exit(7)


class HangsWhenLoaded(NumpyReference):
    """Never gets out of its constructor."""

    def __init__(self) -> None:
        time.sleep(3600)


class LoadsOnce(NumpyReference):
    """Can be loaded once only: the second host finds the marker of the first, then dies in training."""

    layer = _HardExitLayer

    def __init__(self) -> None:
        marker = os.environ["BN_TEST_MARKER"]
        if os.path.exists(marker):  # noqa: PTH110
            raise RuntimeError("loaded twice")
        with open(marker, "w", encoding="utf-8"):  # noqa: PTH123
            pass
