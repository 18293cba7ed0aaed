"""Keeps the hosts of a worker alive from one unit of work to the next."""

import threading
import time
from collections.abc import Hashable
from concurrent.futures import Future

from conformance.introduction import Say, is_stranger, meet
from conformance.plan import Plan
from conformance.session import HostSession, Session, SessionError, leave
from conformance.targets import Target


def _quiet(_: str) -> None:
    """Say nothing."""


class Sessions:
    """Keeps each implementation's host alive across the units of one worker."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[str, Session] = {}
        self._failed: dict[str, str] = {}
        self._explained: dict[str, float] = {}
        self._coming: dict[str, Future[Session]] = {}
        #: The places of those that are open, and one that is free for another implementation of its place.
        self._places: dict[str, Hashable] = {}
        self._vacant: HostSession | None = None
        #: Sessions that are being closed meanwhile.
        self._leaving: list[threading.Thread] = []

    def prepare(self, target: Target) -> None:
        """Begin to open a host, while there is something else to do here."""
        if self._plan.in_process or target.name in self._open or is_stranger(target):
            return
        coming: Future[Session] = Future()
        self._coming[target.name] = coming

        def open_it() -> None:
            try:
                coming.set_result(self._open_now(target))
            except BaseException as error:
                coming.set_exception(error)

        # A daemon, since a framework may take minutes to import and the run may be interrupted meanwhile.
        threading.Thread(target=open_it, daemon=True, name="opens a host").start()

    def _open_now(self, target: Target, say: Say = _quiet) -> Session:
        plan = self._plan
        return meet(
            target,
            path=plan.path,
            in_process=plan.in_process,
            timeouts=plan.timeouts,
            threads=plan.threads,
            say=say,
        )

    def get(self, target: Target, say: Say = _quiet) -> tuple[Session, float]:
        """The implementation's session, and the seconds that opening it took now; ``say`` is told what is found out.

        Raises SessionError, again and at once if it could not be opened before.
        """
        if target.name in self._failed:
            raise SessionError(self._failed[target.name])
        if target.name in self._open:
            return self._open[target.name], 0.0
        started = time.perf_counter()
        try:
            coming = self._coming.pop(target.name, None)
            session = coming.result() if coming is not None else self._turned(target) or self._open_now(target, say)
        except SessionError as error:
            self._failed[target.name] = str(error)
            raise
        self._open[target.name] = session
        self._places[target.name] = _place(target)
        return session, time.perf_counter() - started

    def _turned(self, target: Target) -> Session | None:
        """The session of an implementation that came before, turned to this one, where there is one of its place."""
        session, self._vacant = self._vacant, None
        if session is None:
            return None
        try:
            session.turn_to(target.target)
        except SessionError:
            session.close()
            return None
        return session

    def drop(self, target: Target) -> None:
        """Close an implementation's session, if it has one: nobody knows what state it is in."""
        if target.name in self._open:
            self._open.pop(target.name).close()

    def drop_others(self, target: Target) -> None:
        """Close the sessions of all other implementations: a worker holds one framework in memory at a time."""
        for name in [n for n in self._open if n != target.name]:
            session = self._open.pop(name)
            same = self._places[name] is not None and self._places[name] == _place(target)
            if same and isinstance(session, HostSession) and target.name not in self._failed and self._vacant is None:
                self._vacant = session
            else:
                self._leaving.append(leave(session))
        for name in [n for n in self._coming if n != target.name]:
            self._coming.pop(name).add_done_callback(_close)

    def explaining_left(self, target: Target) -> float:
        """Seconds left for explaining this implementation's failures."""
        return self._plan.explaining - self._explained.get(target.name, 0.0)

    def spend(self, target: Target, seconds: float) -> None:
        """Count seconds of explaining."""
        self._explained[target.name] = self._explained.get(target.name, 0.0) + seconds

    def close(self) -> None:
        """End all sessions, and those on their way as soon as they are there."""
        for coming in self._coming.values():
            coming.add_done_callback(_close)
        self._coming.clear()
        for session in (*self._open.values(), *filter(None, [self._vacant])):
            session.close()
        self._vacant = None
        self._open.clear()
        for thread in self._leaving:
            thread.join()
        self._leaving.clear()


def _place(target: Target) -> Hashable:
    """What implementations share that may follow one another in one host; None for those that have one of their own.

    They compute by the same ops of the same framework: importing it anew for each would take longer than their cases.
    """
    if not (target.environment and (target.kin or target.heads)):
        return None
    return target.environment, target.python, target.variables


def _close(coming: "Future[Session]") -> None:
    if coming.exception() is None:
        coming.result().close()
