"""The suite has teeth and cries no wolf: every fault of the zoo is caught, and no correct variant is flagged."""

from functools import cache

import numpy as np
import pytest

from conformance.families import FAMILIES
from conformance.pool import Pool, draw, fitted
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from conformance.survey import survey
from conformance.tally import Tally
from conformance.zoo import FAULTS, VARIANTS, Fault, Variant

#: Cases per family: as many as the quick profile runs; half of them for the correct variants, which ``mutants`` and
#: nightly runs try at length.
CASES, VARIANT_CASES = 60, 30


@cache
def pool(family: int, cases: int) -> Pool:
    """A family's cases, drawn once for all implementations of the zoo."""
    return draw(family, 1, FAMILIES[family].count(cases))


def tallies(target: str, family: int, only: str = "", cases: int = CASES) -> list[Tally]:
    """What the requirements come to on an implementation and the cases of a family."""
    requirements = [r for r in CATALOGUE.values() if only in ("", r.id)]
    with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
        own = fitted(pool(family, cases), session.description.capabilities)
        return list(survey(own, requirements, session).tallies.values())


def fails(target: str, id_: str) -> bool:
    """Whether an implementation fails a requirement, on its own family's cases first."""
    home = CATALOGUE[id_].family
    found = (tally for family in sorted(FAMILIES, key=lambda f: f != home) for tally in tallies(target, family, id_))
    return any(tally.failing + tally.broken > 0 for tally in found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("fault", [f for f in FAULTS if f.caught_by], ids=lambda f: f.name)
def test_fault_is_caught(fault: Fault) -> None:
    """A faulty implementation fails a requirement that names its fault, within the quick profile's cases."""
    assert any(fails(fault.target, id_) for id_ in fault.caught_by), fault.description


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("id_", sorted(CATALOGUE))
def test_requirement_has_teeth(id_: str) -> None:
    """A requirement fails on faults that name it, on at least one of the first three: none is there for show."""
    named = [fault for fault in FAULTS if id_ in fault.caught_by]

    assert named
    assert any(fails(fault.target, id_) for fault in named[:3])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_variant_passes(variant: Variant) -> None:
    """A correct implementation, however it computes, fails no requirement of any family."""
    found = [tally for family in FAMILIES for tally in tallies(variant.target, family, cases=VARIANT_CASES)]

    wrong = {t.requirement.id: t.worst.evidence if t.worst else t.failure for t in found if t.failing or t.broken}
    assert not wrong
    assert sum(tally.evidence for tally in found) > VARIANT_CASES


def test_zoo_is_large() -> None:
    """The zoo has faults in every family and enough correct variants."""
    assert len(FAULTS) >= 40
    assert len(VARIANTS) >= 15
    assert {int(fault.family) for fault in FAULTS} >= set(FAMILIES)
