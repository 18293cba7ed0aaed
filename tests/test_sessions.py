"""Tests of the hosts of a worker: who gets one of its own, and who follows another one in it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.plan import Plan
from conformance.session import Session, SessionError
from conformance.sessions import Sessions
from conformance.targets import Target
from tests._programs import REFERENCE, program

WELFORD = "conformance.zoo.variants:Welford"


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    """The hosts of a worker."""
    opened = Sessions(Plan((), (), {}, tmp_path))
    yield opened
    opened.close()


def placed(name: str, target: str = REFERENCE, environment: str = "e", **more: Any) -> Target:
    """A target in an environment, whose Python is this one."""
    values: dict[str, Any] = {"kin": "head@e", "python": sys.executable} | more
    return Target(f"{name}@{environment}", target, environment=environment)._replace(**values)


def followed(sessions: Sessions, *targets: Target) -> list[tuple[Session, str]]:
    """The sessions that targets get one after the other, and the processes that they run in."""
    found = []
    for target in targets:
        sessions.drop_others(target)
        session, _ = sessions.get(target)
        assert session.run(program("train", "infer")).failure is None
        found.append((session, session.details["pid"]))
    return found


def test_kin_follow_one_another_in_a_host(sessions: Sessions) -> None:
    """Importing the framework anew would take longer than their cases."""
    head, kin = placed("head", kin="", heads=True), placed("kin", WELFORD)
    (_, first), (session, second) = followed(sessions, head, kin)
    assert first == second
    assert session.target == WELFORD
    assert session.run(program("train")).conventions is not None


@pytest.mark.parametrize(
    "other",
    [
        placed("alone", kin=""),
        placed("kin", environment="f"),
        placed("kin", variables=(("A", "1"),)),
        Target("here", REFERENCE, kin="head"),
    ],
    ids=lambda target: f"{target.name} {len(target.variables)}",
)
def test_others_have_a_host_of_their_own(sessions: Sessions, other: Target) -> None:
    """Those that are nobody's kin, and those in another environment."""
    (_, first), (_, second) = followed(sessions, placed("head", kin="", heads=True), other)
    assert first != second


def test_who_cannot_be_loaded_after_another_is_tried_alone(sessions: Sessions) -> None:
    """Its error is its own, and the one after it runs."""
    followed(sessions, placed("head", kin="", heads=True))
    wrong = placed("wrong", "conformance.zoo.variants:Nothing")
    sessions.drop_others(wrong)
    with pytest.raises(SessionError, match="Nothing"):
        sessions.get(wrong)
    followed(sessions, placed("kin"))


def test_a_host_that_died_meanwhile_is_replaced(sessions: Sessions) -> None:
    """Who follows in it gets a new one."""
    ((session, pid),) = followed(sessions, placed("head", kin="", heads=True))
    os.kill(int(pid), 9)
    ((session, other),) = followed(sessions, placed("kin", WELFORD))
    assert pid != other
    assert session.details["pid"] == other
