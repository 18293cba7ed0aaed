"""Tests of seeking: cases with larger errors are found, counted like any other, and can be shrunk."""

import pytest

from conformance.case import Case, Reload
from conformance.explain import shrink
from conformance.pool import Pooled, draw
from conformance.requirements import CATALOGUE
from conformance.seek import seek
from conformance.session import Session, open_session
from conformance.survey import survey
from conformance.tally import Survey

NUMPY = "adapters.numpy_reference:NumpyReference"


def test_sought_cases_are_counted() -> None:
    """Each sought case is judged by every requirement of the survey; a correct implementation fails none."""
    pool = draw(1, 3, 4)
    with open_session(NUMPY, in_process=True) as session:
        found = survey(pool, CATALOGUE.values(), session)
        before = found.tallies["BN-101"].total
        seek(pool, found, session, 12)

    assert before < found.tallies["BN-101"].total <= before + 12
    assert not any(tally.failing or tally.broken for tally in found.tallies.values())


def test_a_sought_failure_can_be_shrunk() -> None:
    """A failing case that was sought is drawn again from its choices, from all of the pool's specs."""
    target = "conformance.zoo.statistics:UnbiasedNormalization"
    pool = draw(1, 3, 1)
    with open_session(target, in_process=True) as session:
        found = survey(pool._replace(cases=()), CATALOGUE.values(), session)
        seek(pool, found, session, 30)
        worst = found.tallies["BN-101"].worst
        assert worst is not None
        assert worst.pooled.choices
        smallest = shrink(CATALOGUE["BN-101"], worst.pooled, pool.specs, session, 5.0)

    assert smallest is not None
    assert len(smallest.case.program) == 1


def test_nothing_is_sought_where_nothing_is_supported() -> None:
    """An implementation that supports none of the specs is asked for none."""
    pool = draw(1, 3, 1)
    with open_session(NUMPY, in_process=True) as session:
        session.description = session.description._replace(
            capabilities=session.description.capabilities._replace(ranks=())
        )
        found = survey(pool._replace(cases=()), CATALOGUE.values(), session)
        seek(pool, found, session, 5)

    assert found.accounts.cases == 0


def test_no_process_is_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Climbing stays in one host: each step of a climb from a case that starts another would import the framework."""
    pool = draw(7, 1, 4)
    judged: list[Case] = []

    def judge(pooled: Pooled, found: Survey, session: Session) -> dict[str, float]:
        judged.append(pooled.case)
        return {}

    monkeypatch.setattr("conformance.seek._judged", judge)
    with open_session(NUMPY, in_process=True) as session:
        found = survey(pool._replace(cases=()), CATALOGUE.values(), session)
        seek(pool, found, session, 400)

    ways = {step.through for case in judged for step in case.program if isinstance(step, Reload)}
    assert ways == {"state", "file", "checkpoint"}
