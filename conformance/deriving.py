"""Keeps what is derived from a case while it is judged: made once, and shared by all who judge the same case."""

from collections.abc import Iterable

from conformance.case import Case
from conformance.requirements._catalogue import Derive
from conformance.tally import Tally


def by_derivation(tallies: Iterable[Tally]) -> list[tuple[Derive | None, list[Tally]]]:
    """The tallies of requirements that judge the same runs, together."""
    groups: dict[Derive | None, list[Tally]] = {}
    for tally in tallies:
        groups.setdefault(tally.requirement.derive, []).append(tally)
    return list(groups.items())


def _derived(case: Case) -> dict[Derive, tuple[Case, ...]]:
    kept: dict[Derive, tuple[Case, ...]] = vars(case).setdefault("derived", {})
    return kept


def derived_cases(case: Case, derive: Derive) -> tuple[Case, ...]:
    """The derived cases, made once: other implementations get the same ones."""
    kept = _derived(case)
    if derive not in kept:
        kept[derive] = derive(case)
    return kept[derive]


def let_go(case: Case, derive: Derive) -> None:
    """Forget derived cases, whose arrays may be large."""
    _derived(case).pop(derive, None)
