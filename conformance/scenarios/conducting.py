"""Takes a network through a course, in a session's host or in this process, and gathers what came back."""

import warnings
from typing import NamedTuple

from adapters.course import attend
from adapters.network import Course, Done, Over
from adapters.program import Failure
from adapters.wire import TruncatedError, WireError
from conformance.host_process import HostProcess, TimeLimitError
from conformance.introduction import FamiliarSession
from conformance.session import HostSession, InProcessSession, Session

#: Seconds that an act may take: a fit is hundreds of steps, and the first traces and compiles.
LIMIT = 120.0


class Attended(NamedTuple):
    """What a course gave: a Done per act, fewer where it broke, and how it ended."""

    done: tuple[Done, ...]
    over: Over

    @property
    def failure(self) -> Failure | None:
        """Why the course broke, if it did."""
        return self.over.failure

    @property
    def seconds(self) -> float:
        """Seconds inside the implementation."""
        return sum(done.seconds for done in self.done)


def conduct(session: Session, course: Course) -> Attended:
    """Run a course; whatever the implementation does ends up in the result."""
    if isinstance(session, FamiliarSession):
        session = session.inner
    if isinstance(session, InProcessSession):
        with warnings.catch_warnings():
            warnings.simplefilter(session.warnings)
            answers = list(attend(session.adapter, course))
        return _attended(answers)
    assert isinstance(session, HostSession)
    process, answers = session.living(), []
    since = process.tail.count
    try:
        failure = _converse(process, course, answers)
    except BaseException:
        session.drop()
        raise
    if failure is None:
        return _attended(answers)
    session.drop()
    done = tuple(answer for answer in answers if isinstance(answer, Done))
    return Attended(done, Over(failure=failure._replace(stderr=process.tail.lines(since))))


def _attended(answers: list[Done | Over]) -> Attended:
    *done, over = answers
    assert isinstance(over, Over)
    return Attended(tuple(d for d in done if isinstance(d, Done)), over)


def _converse(process: HostProcess, course: Course, answers: list[Done | Over]) -> Failure | None:
    """Send the course and gather its answers; return what broke the conversation."""
    op = "network"
    try:
        process.send("attend", course, LIMIT)
        while not answers or not isinstance(answers[-1], Over):
            op = course.acts[len(answers)].op if len(answers) < len(course.acts) else "the end"
            frame = process.receive(LIMIT)
            if frame is None:
                return Failure("crash", f"{process.ending()} during {op} of a network", op)
            answers.append(frame[1])
    except TimeLimitError:
        process.show_stack()
        return Failure("timeout", f"{op} of a network did not return within {LIMIT:g} s", op)
    except (TruncatedError, BrokenPipeError, ConnectionResetError):
        return Failure("crash", f"{process.ending()} during {op} of a network", op)
    except WireError as error:
        return Failure("error", f"wrote {error} (during {op} of a network)", op)
    return None
