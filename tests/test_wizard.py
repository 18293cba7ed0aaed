"""Tests of the conventions wizard: what nobody declared is measured, and compared with known frameworks."""

from typing import ClassVar

import pytest

from adapters.interface import Conventions, Spec
from adapters.numpy_reference import NumpyReference
from conformance import wizard
from conformance.introduction import FamiliarSession
from conformance.session import open_session
from conformance.wizard import KNOWN, compared

MODULE = __name__


class Quiet(NumpyReference):
    """Declares nothing of what it does."""

    does: ClassVar[Conventions] = Conventions()

    @property
    def declared(self) -> Conventions:  # type: ignore[override]
        """What it does."""
        return self.does


class Floored(Quiet):
    """Unbiased, with a floor of epsilon."""

    does = Conventions(moving_variance="unbiased", epsilon_floor=1.001e-5)


def learnt(name: str) -> FamiliarSession:
    """A session whose declarations count for nothing."""
    inner = open_session(f"{__file__}:{name}", in_process=True)
    familiar = FamiliarSession(inner, inner.description.capabilities._replace(ranks=(2, 4)), ())
    familiar.conventions = lambda _: Conventions()
    return familiar


@pytest.mark.parametrize(("name", "expected"), [("Quiet", Quiet.does), ("Floored", Floored.does)])
def test_conventions_are_measured(name: str, expected: Conventions) -> None:
    """Estimator, floor and behaviour at the edges are those of the implementation, whatever was guessed."""
    session = learnt(name)
    wrong = Conventions(moving_variance="unbiased", single="refused", empty="unchanged")
    found = wizard.measure(session, wrong)
    for rank in (2, 4):
        seen = found.of(Spec((None,) * (rank - 1) + (3,), (-1,), 1e-3, 0.9))
        assert seen.moving_variance == expected.moving_variance
        assert seen.epsilon_floor == pytest.approx(expected.epsilon_floor, rel=1e-3)
        assert (seen.single, seen.empty) == ("beta", "nan")


def test_a_known_framework_is_recognized() -> None:
    """Each known set of conventions is called by its framework; grades and types do not matter."""
    for name, conventions in KNOWN.items():
        said = compared([conventions._replace(variance_grade="A", decay_dtype="float64")])
        assert said == f"these are the conventions of {name}"


def test_the_nearest_framework_is_named_with_the_differences() -> None:
    """What is like none is told which is nearest, and in what it differs, once for all ranks."""
    strange = Conventions(moving_variance="unbiased", single="refused", empty="nan")
    said = compared([strange, strange])
    assert said == (
        "no known framework has just these conventions; the nearest is torch.nn.BatchNorm: "
        "empty is unchanged there, nan here"
    )


def test_ranks_that_differ_are_told_apart() -> None:
    """A convention that depends on the rank is shown for each."""
    table = {(2, "float32"): Conventions(), (4, "float32"): Conventions(moving_variance="unbiased")}
    line, _ = wizard.Found(table).lines
    assert "moving_variance = biased (rank 2 float32) or unbiased (rank 4 float32)" in line
