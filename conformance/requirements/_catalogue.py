"""The catalogue of requirements: what a requirement is, and how a module of a family adds one."""

import re
from collections.abc import Callable
from typing import NamedTuple

from adapters.program import Trace
from conformance.case import Case
from conformance.evidence import Evidence
from conformance.judge import Judge

Check = Callable[[Case, Trace, Judge], Evidence]
Derive = Callable[[Case], tuple[Case, ...]]


class Requirement(NamedTuple):
    """One claim on batch normalization, and the pure function that judges a case by it."""

    id: str
    name: str
    claim: str
    source: str
    revision: int
    check: Check
    #: Further cases that the claim needs, from the drawn one: pure and total, () where it does not apply.
    derive: Derive | None
    #: Operations whose results it judges: a program that breaks in another is no loss to it.
    ops: frozenset[str]
    #: Capability that it asks for.
    needs: str
    #: Conventions that it takes as declared: where they are not the reference's, a pass is a deviation.
    conventions: tuple[str, ...]
    #: Share of its judged examples that must be evidence, else it is mistrusted.
    evidence: float
    #: Whether it judges derived cases that were refused, too.
    refusals: bool = False
    #: Whether in half-precision types alone no evidence is asked for: their rounding allows for most of what there is.
    rounded_away: bool = False

    @property
    def family(self) -> int:
        """Number of the family: the first digit of the id."""
        return int(self.id[3])


#: All requirements by id, filled by the family modules as they are imported.
CATALOGUE: dict[str, Requirement] = {}
_ID = re.compile(r"BN-[1-9]\d\d")


def requirement(
    id_: str,
    *,
    source: str,
    ops: tuple[str, ...] = ("train", "infer"),
    derive: Derive | None = None,
    needs: str = "",
    conventions: tuple[str, ...] = (),
    evidence: float = 0.1,
    refusals: bool = False,
    rounded_away: bool = False,
    revision: int = 1,
) -> Callable[[Check], Check]:
    """Add the decorated function to the catalogue; its docstring is the claim, in one sentence."""

    def add(check: Check) -> Check:
        claim = " ".join((check.__doc__ or "").split())
        if not _ID.fullmatch(id_) or id_ in CATALOGUE:
            raise ValueError(f"{check.__name__}: {id_!r} is no free requirement id")
        if not claim:
            raise ValueError(f"{id_} {check.__name__} states no claim in its docstring")
        name = check.__name__.replace("_", " ")
        asked = derive, frozenset(ops), needs, conventions, evidence, refusals, rounded_away
        CATALOGUE[id_] = Requirement(id_, name, claim, source, revision, check, *asked)
        return check

    return add
