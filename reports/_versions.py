"""Finds the step where a version changes behaviour: the same implementation in several environments, side by side."""

from itertools import groupby, pairwise
from typing import NamedTuple

from reports._environments import across_versions, version
from reports._format import count, listing, short_ratio, times_bound
from reports._grid import Grid
from reports._text import Places, slug, title
from reports.records import Implementation, Outcome, Result

#: Rows of one implementation on a page.
MOST = 40
#: Changes that are told in words.
_STEPS = 3
#: Neither judged nor refused: no change is seen from or to these.
_UNKNOWN: frozenset[Outcome] = frozenset({"no run", "mistrusted"})


class Stop(NamedTuple):
    """A requirement in one version."""

    outcome: Outcome
    kind: str
    text: str
    label: str
    target: str
    #: Whether it differs from the version before.
    changed: bool
    #: Neighbouring versions that come to the same.
    versions: int


class Row(NamedTuple):
    """A requirement that does not come to the same in all versions."""

    id: str
    title: str
    stops: list[Stop]
    said: str


class Declared(NamedTuple):
    """A convention that is not the same in all versions, as declared or as seen."""

    name: str
    #: In each version, and whether it differs from the version before.
    values: list[tuple[str, bool]]


class Versions(NamedTuple):
    """One implementation through its versions."""

    name: str
    versions: list[str]
    rows: list[Row]
    more: int
    conventions: list[Declared]
    said: str


def versions(grid: Grid, places: Places) -> list[Versions]:
    """Compare the versions of every implementation that ran in several."""
    found = []
    for name, members in across_versions(grid).items():
        taking_part = [who for who in members if not who.no_run]
        if len(taking_part) > 1:
            found.append(_versions(name, taking_part, grid, places))
    return found


def _versions(name: str, members: list[Implementation], grid: Grid, places: Places) -> Versions:
    rows = []
    for info in grid.requirements:
        results = [grid.cells[info.id, who.name] for who in members]
        if any(_changed(a, b) for a, b in pairwise(results)):
            rows.append(Row(info.id, title(info), _stops(results, places), _said(results, members)))
    conventions = _conventions(members)
    return Versions(
        name,
        [version(who) for who in members],
        rows[:MOST],
        max(len(rows) - MOST, 0),
        conventions,
        _summary(len(rows), len(conventions), len(grid.requirements)),
    )


def _changed(before: Result, after: Result) -> bool:
    return before.outcome != after.outcome and not {before.outcome, after.outcome} & _UNKNOWN


def _stops(results: list[Result], places: Places) -> list[Stop]:
    runs = [list(group) for _, group in groupby(results, key=lambda result: result.outcome)]
    before = [runs[0], *runs]
    return [
        _stop(run[0], places, changed=_changed(last[-1], run[0]), versions=len(run))
        for last, run in zip(before, runs, strict=False)
    ]


def _stop(result: Result, places: Places, *, changed: bool, versions: int) -> Stop:
    said = times_bound(result.worst_ratio) if result.worst_ratio is not None else result.reason
    return Stop(
        result.outcome,
        slug(result.outcome),
        short_ratio(result.worst_ratio) if result.outcome == "fail" else "",
        f"{result.implementation}: {result.outcome}" + (f", {said}" if said else ""),
        places.target(result),
        changed,
        versions,
    )


def _said(results: list[Result], members: list[Implementation]) -> str:
    """Name the steps at which the outcome changes."""
    steps = [
        f"{after.outcome} from {version(who)} on, {before.outcome} before"
        for (before, after), who in zip(pairwise(results), members[1:], strict=True)
        if _changed(before, after)
    ]
    return listing([*steps[:_STEPS], f"{len(steps) - _STEPS} more changes"] if len(steps) > _STEPS else steps)


def _conventions(members: list[Implementation]) -> list[Declared]:
    names = dict.fromkeys(name for who in members for name in (*who.conventions, *who.observed))
    found = []
    for name in names:
        values = [_convention(who, name) for who in members]
        if len(set(values)) > 1 and all(values):
            found.append(Declared(name, [(b, a != b) for a, b in pairwise([values[0], *values])]))
    return found


def _convention(who: Implementation, name: str) -> str:
    declared, seen = who.conventions.get(name, []), who.observed.get(name, [])
    said = ", ".join(declared)
    return f"{said} (seen: {'; '.join(seen)})" if seen and seen != declared else said


def _summary(rows: int, conventions: int, requirements: int) -> str:
    parts = [count(number, noun) for number, noun in ((rows, "requirement"), (conventions, "convention")) if number]
    if not parts:
        return f"All {requirements} requirements come to the same, and the conventions are the same, in all versions"
    verb = "does" if rows + conventions == 1 else "do"
    return f"{listing(parts)} {verb} not stay the same"
