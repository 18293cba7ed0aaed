"""Turns Ctrl-C and the signals that end a process into an exception, which waits while a line is being written."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(BaseException):
    """The run was asked to end: Ctrl-C or another signal, whose name is the text."""


class Interruptible:
    """While inside, the first signal raises Interrupted; those after it are ignored, so that the end is orderly."""

    def __init__(self) -> None:
        self._pending = ""
        self._shielded = False
        self._raised = False

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self._pending = self._pending or signal.Signals(number).name
        if not self._shielded:
            self._raise()

    def _raise(self) -> None:
        if self._pending and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Let signals wait until the end of this block."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self._raise()
