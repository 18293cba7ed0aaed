"""What a live implementation can do, wherever it lives, and what is raised where it cannot be had."""

from types import TracebackType
from typing import Self

from adapters.interface import Description
from adapters.program import Program, Trace


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
