"""How moving statistics settle: on a straight line with the slope of the decay, and visibly not where one is wrong."""

import pytest

from conformance import settling
from conformance.session import open_session
from reports.records import real
from reports.settling_record import Settling


def measured(target: str) -> Settling:
    """How an implementation's moving statistics settle."""
    with open_session(target, in_process=True) as session:
        return settling.measure(session)


def shares(target: str, name: str) -> list[float]:
    """What is left of the distance after each step."""
    return [real(share) for share in getattr(measured(target), name)]


@pytest.mark.parametrize("name", ["mean", "variance"])
def test_the_reference_leaves_its_decay_of_the_distance(name: str) -> None:
    """Each of 40 steps leaves 0.75 of the distance that was there before it, to the three digits recorded."""
    found = shares("adapters.numpy_reference:NumpyReference", name)
    assert found == pytest.approx([settling.DECAY**k for k in range(1, settling.STEPS + 1)], rel=0.02)


def test_another_decay_has_another_slope() -> None:
    """Where old and new are swapped, a step leaves a quarter, until rounding ends it."""
    found = shares("conformance.zoo.moving:DecayReversed", "mean")
    assert found[:8] == pytest.approx([0.25**k for k in range(1, 9)], rel=0.02)
    assert max(found[20:]) < 1e-6


def test_another_estimator_ends_elsewhere() -> None:
    """A moving variance that is not what is declared stays away by 1 / (m - 1), while the mean settles."""
    found = measured("conformance.zoo.moving:UnbiasedUndeclared")
    assert real(found.mean[-1]) < 1e-4
    assert real(found.variance[-1]) == pytest.approx(1 / (settling.COUNT - 1), rel=0.02)


def test_who_does_not_train_is_not_measured() -> None:
    """An implementation without training is answered with the reason, and no case is run."""
    with open_session("adapters.numpy_reference:NumpyReference", in_process=True) as session:
        capabilities = session.description.capabilities._replace(training=False)
        session.description = session.description._replace(capabilities=capabilities)
        found = settling.measure(session)
    assert found.reason
    assert not found.mean
