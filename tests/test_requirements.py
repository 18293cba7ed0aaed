"""The catalogue: well-formed, and fulfilled with enough evidence by implementations that are correct."""

import inspect
import math
import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from adapters.interface import Capabilities, Conventions
from adapters.program import OPERATIONS, Trace
from conformance._results import outcome
from conformance.case import Case
from conformance.derive_shapes import empty_batch
from conformance.evidence import NOTHING, Evidence
from conformance.families import FAMILIES
from conformance.judge import Judge
from conformance.pool import Pool, draw, fitted
from conformance.requirements import CATALOGUE, Requirement, requirement
from conformance.session import open_session
from conformance.survey import has_capability, survey
from conformance.tally import Survey
from tests._judged import REFERENCE, SPEC, case, run, train

#: As many cases as a quick run draws.
CASES = 60
#: Correct implementations that compute in other ways, some with other declared conventions.
CORRECT = [
    REFERENCE,
    "conformance.zoo.variants:DoubleInside",
    "conformance.zoo.variants:Welford",
    "conformance.zoo.variants:OnePass",
    "conformance.zoo.variants:FoldedAffine",
    "conformance.zoo.variants:UpdatedInPlace",
    "conformance.zoo.declared:ForwardOnly",
]
EVERY = pytest.mark.parametrize("found", CATALOGUE.values(), ids=lambda r: r.id)


@cache
def pool(family: int) -> Pool:
    """A family's cases."""
    return draw(family, 9, FAMILIES[family].count(CASES))


@cache
def surveyed(target: str, family: int) -> tuple[Survey, Capabilities]:
    """A survey of a family on an implementation."""
    requirements = [r for r in CATALOGUE.values() if r.family == family]
    with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
        own = fitted(pool(family), session.description.capabilities)
        return survey(own, requirements, session), session.description.capabilities


@pytest.fixture
def catalogue() -> Iterator[dict[str, Requirement]]:
    """The catalogue, put back as it was afterwards."""
    before = dict(CATALOGUE)
    yield CATALOGUE
    CATALOGUE.clear()
    CATALOGUE.update(before)


def check(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Something is so."""
    return NOTHING


class TestCatalogue:
    """What every requirement states of itself."""

    @EVERY
    def test_it_states_one_claim(self, found: Requirement) -> None:
        """The claim is one sentence that ends with a period; id, source and family are there."""
        assert re.fullmatch(r"BN-[1-9]\d\d", found.id)
        assert found.family in FAMILIES
        assert re.fullmatch(r"\S.*[^.]\.", found.claim)
        assert not re.search(r"[.!?] [A-Z]", found.claim)
        assert len(found.claim) < 160
        assert found.source.strip() == found.source != ""
        assert found.revision >= 1
        assert 0 < found.evidence <= 1
        assert found.name == found.check.__name__.replace("_", " ")

    @EVERY
    def test_it_speaks_of_what_there_is(self, found: Requirement) -> None:
        """Operations, capabilities and conventions that it names exist."""
        assert found.ops <= set(OPERATIONS)
        assert found.ops
        assert all(isinstance(getattr(Capabilities(), needed), bool) for needed in found.needs.split())
        assert set(found.conventions) <= set(Conventions._fields)

    @EVERY
    def test_it_is_a_pure_function_of_case_trace_and_judge(self, found: Requirement) -> None:
        """Its parameters are those that all requirements have, and asked twice it says the same."""
        assert list(inspect.signature(found.check).parameters) == ["case", "trace", "judge"]

    def test_ids_and_names_are_unique_and_in_order(self) -> None:
        """No two requirements share a name; within a family they are registered in the order of their ids."""
        ids = list(CATALOGUE)
        assert ids == [r.id for r in CATALOGUE.values()]
        for family in FAMILIES:
            of_family = [id_ for id_ in ids if int(id_[3]) == family]
            assert of_family
            assert of_family == sorted(of_family)
        assert len({r.name for r in CATALOGUE.values()}) == len(ids)
        assert len({r.claim for r in CATALOGUE.values()}) == len(ids)


class TestDecorator:
    """Adding a requirement."""

    def test_it_adds_and_gives_back_the_function(self, catalogue: dict[str, Requirement]) -> None:
        """The decorated function is in the catalogue, with what was stated, and is still the function."""
        assert requirement("BN-998", source="tests", ops=("infer",), needs="tape")(check) is check
        added = catalogue["BN-998"]
        assert (added.claim, added.name, added.family) == ("Something is so.", "check", 9)
        assert (added.ops, added.needs, added.derive) == (frozenset({"infer"}), "tape", None)

    @pytest.mark.parametrize("id_", ["BN-101", "BN-1", "BN-1011", "bn-998", "BN-098", "XX-998", "", "BN-998 "])
    def test_ids_that_are_taken_or_none_are_refused(self, catalogue: dict[str, Requirement], id_: str) -> None:
        """A duplicate or malformed id is refused, with the function and the id, and the catalogue stays as it is."""
        before = dict(catalogue)
        with pytest.raises(ValueError, match=re.escape(f"check: {id_!r} is no free requirement id")):
            requirement(id_, source="tests")(check)
        assert catalogue == before

    @pytest.mark.parametrize("text", [None, "", "  \n "])
    def test_a_claim_is_needed(self, catalogue: dict[str, Requirement], text: str | None) -> None:
        """A function without docstring states no claim, and is refused by name."""

        def silent(case: Case, trace: Trace, judge: Judge) -> Evidence:
            return NOTHING

        silent.__doc__ = text
        with pytest.raises(ValueError, match="BN-998 silent states no claim"):
            requirement("BN-998", source="tests")(silent)
        assert "BN-998" not in catalogue

    def test_a_claim_may_be_broken_into_lines(self, catalogue: dict[str, Requirement]) -> None:
        """Line breaks and indentation of a docstring are no part of the claim."""

        def broken(case: Case, trace: Trace, judge: Judge) -> Evidence:
            """In training
            all is well.
            """  # noqa: D205
            return NOTHING

        requirement("BN-998", source="tests")(broken)
        assert catalogue["BN-998"].claim == "In training all is well."


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestCorrectImplementations:
    """What the catalogue makes of implementations that are right."""

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("target", CORRECT)
    def test_they_pass_with_evidence(self, target: str, family: int) -> None:
        """Every requirement passes or deviates as declared, with enough evidence, unless a capability is missing."""
        found, capabilities = surveyed(target, family)
        came_to = {id_: outcome(tally, found, capabilities, None) for id_, tally in found.tallies.items()}
        undeclared = {r.id for r in CATALOGUE.values() if not has_capability(r, capabilities)}
        for id_, (what, why) in came_to.items():
            expected = "unsupported" if id_ in undeclared else "deviates" if why.startswith("as declared: ") else "pass"
            assert what == expected, (id_, what, why)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_ratios_stay_below_one_and_above_nothing(self, family: int) -> None:
        """On the reference errors stay below their bounds, and are not all exactly zero where there are bounds."""
        found, _ = surveyed(REFERENCE, family)
        worst = [t.worst.evidence.ratio for t in found.tallies.values() if t.worst is not None]
        assert max(worst) <= 1
        assert max(worst) > 0.05 or family == 8

    @EVERY
    def test_each_has_examples_that_could_have_shown_a_fault(self, found: Requirement) -> None:
        """On the reference at least three of sixty cases are evidence, and few are vacuous."""
        tally = surveyed(REFERENCE, found.family)[0].tallies[found.id]
        if found.needs == "separate_update":
            assert tally.unsupported == FAMILIES[found.family].count(CASES)
            return
        judged = tally.passed + tally.failing
        assert tally.evidence >= 3
        assert tally.vacuous <= judged / 4
        assert tally.evidence >= 2 * math.ceil(found.evidence * judged) or tally.evidence >= 0.9 * judged

    @EVERY
    def test_asked_twice_it_says_the_same(self, found: Requirement) -> None:
        """Surveying the same cases twice gives the same counts and ratios: nothing is kept between examples."""
        few = pool(found.family)._replace(cases=pool(found.family).cases[:4])
        with np.errstate(all="ignore"), open_session(REFERENCE, in_process=True) as session:
            one, two = [survey(few, [found], session).tallies[found.id] for _ in range(2)]
        assert one.examples() == two.examples()
        assert one.counts == two.counts


@pytest.mark.parametrize(("decay", "holds"), [(1.0, True), (0.5, False)])
def test_an_empty_batch_without_weight_may_be_left_out(decay: float, holds: bool) -> None:
    """Statistics that an empty batch is to make NaN may stay as they were where decay is 1, and nowhere else."""
    skips = "conformance.zoo.conventions:EmptySkipped"
    one = case(train(), spec=SPEC._replace(decay=decay))
    mine, derived = run(one, skips), tuple(run(other, skips) for other in empty_batch(one))
    evidence = CATALOGUE["BN-605"].check(one, mine.trace, Judge(mine, derived=derived))
    assert evidence.fails != holds
