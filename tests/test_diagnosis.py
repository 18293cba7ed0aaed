"""Likely causes: the faults of the zoo are named by what is wrong with them, or by a relative, or not at all."""

import os
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from conformance import diagnosis, grading
from conformance.case import Case
from conformance.diagnosis import Cause, choose, concerns, diagnose
from conformance.diagnosis_grades import diagnose_grades
from conformance.diagnosis_models import TITLES, Model, library
from conformance.families import FAMILIES
from conformance.keeping import FAILING, PASSING, Keeper, Kept
from conformance.pool import Pool, draw
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from conformance.survey import survey
from conformance.zoo import FAULTS, VARIANTS, Fault
from tests import partial_faults
from tests._judged import case, infer, traced, train

#: Cases per family: a third of the quick profile's.
CASES = 20
#: Every so manieth modelled fault is diagnosed here; BN_ZOO=all diagnoses all, which takes many minutes.
STRIDE = 1 if os.environ.get("BN_ZOO") == "all" else 9
MODELS = {model.name: model for model in library()}


def own_model(fault: Fault) -> Model | None:
    """The model that the fault itself is."""
    return MODELS.get(fault.target.partition(":")[2])


MODELLED = [fault for fault in FAULTS if own_model(fault) is not None]


@cache
def pool(family: int) -> Pool:
    """A family's cases, drawn once."""
    return draw(family, 5, CASES)


@cache
def kept(target: str) -> tuple[Kept, ...]:
    """What surveys of an implementation keep."""
    found: list[Kept] = []
    with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
        for family in FAMILIES:
            found += survey(pool(family), CATALOGUE.values(), session).keeper.kept
    return tuple(found)


def named(found: dict[str, Cause]) -> str:
    """The cause that most requirements have, "" where none has."""
    names = [cause.model.name for cause in found.values()]
    return max(names, key=lambda name: (names.count(name), name)) if names else ""


class Rates(NamedTuple):
    """Of how many faults: the cause itself was named, a relative, nothing, another kind of cause."""

    exact: list[str]
    relative: list[str]
    silent: list[str]
    wrong: list[str]

    @property
    def caught(self) -> int:
        """How many there were."""
        return sum(map(len, self))


def rates(*, without_own: bool) -> Rates:
    """Diagnose the modelled faults that these cases catch."""
    found = Rates([], [], [], [])
    for fault in MODELLED[::STRIDE]:
        own = own_model(fault)
        assert own is not None
        if not any(k.failed for k in kept(fault.target)):
            continue
        models = tuple(model for model in library() if not without_own or model is not own)
        first = named(diagnose(kept(fault.target), 120, models))
        if first == own.name:
            found.exact.append(fault.name)
        elif first and MODELS[first].family == own.family:
            found.relative.append(f"{fault.name}: {first}")
        elif first:
            found.wrong.append(f"{fault.name}: {first}")
        else:
            found.silent.append(fault.name)
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_causes_are_named() -> None:
    """The right cause is named for at least 80 % of the modelled faults, a wrong one for at most 5 %."""
    found = rates(without_own=False)

    assert found.caught >= len(MODELLED[::STRIDE]) * 0.8
    assert len(found.exact) + len(found.relative) >= 0.8 * found.caught, found
    assert len(found.exact) >= 0.75 * found.caught, found
    assert len(found.wrong) <= 0.05 * found.caught, found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_unknown_faults_get_a_relative_or_nothing() -> None:
    """With its own model left out, a fault is called by a relative's name or by none."""
    found = rates(without_own=True)

    assert not found.exact
    assert len(found.wrong) <= 0.05 * found.caught, found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_faults_get_two_causes() -> None:
    """Where the output and the moving statistics are wrong for different reasons, each requirement gets its own."""
    found = diagnose(kept("tests.two_faults:TwoFaults"), 120)

    assert found["BN-109"].model.name == "EpsilonOutsideRoot"
    assert found["BN-305"].model.name == "DecayReversed"


@pytest.mark.parametrize("name", partial_faults.NAMES)
def test_one_of_two_places(name: str) -> None:
    """What is wrong with one statistic, or in one mode, is told from what is wrong with both."""
    found: list[Kept] = []
    with np.errstate(all="ignore"), open_session(f"tests.partial_faults:{name}", in_process=True) as session:
        for family in (1, 2, 3):
            found += survey(pool(family), CATALOGUE.values(), session).keeper.kept

    assert named(diagnose(found, 120)) == name


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_too_few_digits_are_no_other_fault() -> None:
    """Moving statistics with the digits of a narrower type are named as such, not by a fault that these hide."""
    found: list[Kept] = []
    with (
        np.errstate(all="ignore"),
        open_session("tests.partial_faults:StatisticsAsComputed", in_process=True) as session,
    ):
        found += survey(pool(3), CATALOGUE.values(), session).keeper.kept

    assert named(diagnose(found, 120)) == "MovingAsComputed"


def test_a_corner_that_is_not_finite_does_not_decide() -> None:
    """A cause is found though the smallest failing case, of one element, gives no number, which it does not say."""
    cases = [case(train(m, seed=m)) for m in (1, 5, 6, 7, 8)]
    off: dict[str, tuple[str, ...]] = {"BN-401": ("dx",)}
    found = [Kept(case_, traced(case_, "tests.partial_faults:CountLessOneOfAny"), off, 4) for case_ in cases]

    assert named(diagnose(found, 120)) == "CountLessOne"


def test_nothing_failed() -> None:
    """A correct implementation has no cause, whatever it does differently."""
    target = next(v.target for v in VARIANTS if v.name == "one-pass")
    assert diagnose(kept(target), 120) == {}
    assert diagnose([], 120) == {}


def test_without_time() -> None:
    """A diagnosis that runs out of time says nothing: a part of the library has no best model."""
    assert diagnose(kept("conformance.zoo.epsilon:EpsilonOutsideRoot"), -1) == {}


def test_counts() -> None:
    """A cause says on how many of the failing cases it fits, the same for all requirements that it stands for."""
    found = diagnose(kept("conformance.zoo.epsilon:EpsilonOutsideRoot"), 120)
    texts = {cause.text for cause in found.values()}

    assert len(texts) == 1
    (text,) = texts
    assert text.startswith("Adds epsilon to the standard deviation. Fits ")
    assert 1 <= next(iter(found.values())).fits <= next(iter(found.values())).of <= diagnosis.FAILING


def test_the_order_of_families_does_not_matter() -> None:
    """Workers finish in any order: the cases that are chosen, and so the causes, are the same."""
    found = list(kept("conformance.zoo.moving:DecayReversed"))
    families = sorted({k.family for k in found}, reverse=True)
    other = [k for family in families for k in found if k.family == family]

    assert other != found
    assert [k.case for k in choose(other)] == [k.case for k in choose(found)]


class TestKeeping:
    """What a survey keeps is bounded."""

    def test_bounds(self) -> None:
        """Enough of each requirement and of passing ones, and no more."""
        keeper, one = Keeper(), case(train(2))
        trace = traced(one)
        for _ in range(30):
            keeper.offer(one, trace, {"BN-101": ("y",)}, 1)
            keeper.offer(one, trace, {}, 1)
        keeper.offer(one, trace, {"BN-101": ("y",), "BN-102": ("y",)}, 1)

        assert sum(1 for k in keeper.kept if k.failed) == FAILING + 1
        assert sum(1 for k in keeper.kept if not k.failed) == PASSING

    def test_large_cases(self) -> None:
        """Large cases are not kept."""
        keeper, large = Keeper(), case(train(20_000))
        keeper.offer(large, traced(large), {"BN-101": ("y",)}, 1)

        assert not keeper.kept

    def test_choice(self) -> None:
        """Small cases are chosen first, some for every requirement."""
        cases: list[Case] = [case(train(m), infer(m)) for m in range(40, 1, -1)]
        found = [Kept(c, traced(c), {f"BN-10{n % 3}": ("y",)}) for n, c in enumerate(cases)]
        chosen = choose(found)

        assert chosen[0].case == cases[-1]
        assert {id_ for k in chosen for id_ in k.failed} == {"BN-100", "BN-101", "BN-102"}
        assert len(chosen) <= 3 * diagnosis.PER_REQUIREMENT


class TestLibrary:
    """The library is in order."""

    def test_names_and_families(self) -> None:
        """Every model has a name of its own, a family with a title, and a cause in one sentence."""
        assert len(MODELS) == len(library()) >= 200
        for model in library():
            assert model.family in TITLES
            assert model.cause.endswith(".")
            assert model.cause[0].isupper()

    def test_every_family_has_relatives(self) -> None:
        """A fault left out can be called by a relative's name: no family has a single member."""
        families = [model.family for model in library()]
        assert all(families.count(family) >= 3 for family in TITLES)


@pytest.mark.parametrize(
    ("quantity", "symptom", "wanted"),
    [
        ("y", "y", True),
        ("mean of y", "y", True),
        ("decay of the moving variance", "moving_variance", True),
        ("decay of the moving variance", "moving_mean", False),
        ("Σ dx·x̂", "dx", True),
        ("1/√(σ² + ε)", "y", True),
        ("1/√(σ² + ε)", "dgamma", False),
        ("gamma", "dgamma", False),
        ("something else", "dgamma", True),
    ],
)
def test_what_a_requirement_is_about(quantity: str, symptom: str, wanted: bool) -> None:
    """A requirement's causes are sought among what it compares, and anywhere where that is not understood."""
    assert concerns((quantity,), ("train", symptom)) is wanted


@pytest.mark.parametrize(
    ("name", "quantity"), [("OnePassDeclaredTwoPass", "variance"), ("FoldedDeclaredSubtracted", "output")]
)
def test_grades_below_the_declared_ones_are_named(name: str, quantity: str) -> None:
    """Where no model fits, but the bounds of the measured grade allow what failed, that grade is the cause.

    It is so for most of what fails, and for nothing where the measured grade is the declared one.
    """
    target = f"conformance.zoo.numerics:{name}"
    with open_session(target, in_process=True) as session:
        measured = grading.measure(session)
    ids = {id_ for k in kept(target) for id_ in k.failed}

    causes = diagnose_grades(kept(target), measured, ids)

    assert len(causes) > 0.7 * len(ids)
    (cause,) = set(causes.values())
    assert cause.startswith(f"The {quantity} loses the digits that ")
    right = tuple(m._replace(variance_grade="A", affine_grade="S") for m in measured)
    assert diagnose_grades(kept(target), right, ids) == {}
