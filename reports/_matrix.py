"""Arranges the matrix of requirements and implementations."""

from itertools import groupby
from typing import NamedTuple

from reports import _plots
from reports._environments import HERE, Place, environments
from reports._format import short_ratio, times_bound
from reports._grid import Grid
from reports._text import Places, families, slug, title
from reports.records import Outcome, Result, real

#: From this share of the bound on, a passing cell shows its number.
_NEAR = 0.6
#: Columns up to which all environments are shown side by side.
MOST = 16


class Cell(NamedTuple):
    """A cell of the matrix."""

    outcome: Outcome
    kind: str
    #: Where the edge of a passing cell is, in percent of its width; None for an exact result.
    edge: int | None
    near: bool
    text: str
    label: str
    target: str
    starts_framework: bool


class Row(NamedTuple):
    """A requirement in the matrix."""

    #: Its place in the results; families may be arranged otherwise.
    number: int
    id: str
    title: str
    claim: str
    cells: list[Cell]


class Framework(NamedTuple):
    """Neighbouring columns of one framework and version."""

    name: str
    version: str
    columns: int


class Compact(NamedTuple):
    """An environment that is not shown at first, for readers without scripts: what does not pass in it."""

    name: str
    about: str
    implementations: int
    #: Implementation, outcome, and the requirements with the fragments of their articles.
    rows: list[tuple[str, Outcome, list[tuple[str, str]]]]


class Matrix(NamedTuple):
    """The matrix of the columns that are shown at first, grouped by family."""

    shown: list[int]
    #: Name, description and whether it is shown; empty where there is one environment only.
    environments: list[tuple[str, str, bool]]
    compact: list[Compact]
    frameworks: list[Framework]
    #: Implementation, and whether it is the first of its framework.
    columns: list[tuple[str, bool]]
    families: list[tuple[str, list[Row]]]


def shown(grid: Grid) -> list[int]:
    """Return the columns that are shown at first: all, or where those are many the first environment's."""
    if len(grid.implementations) <= MOST:
        return list(range(len(grid.implementations)))
    found = environments(grid)
    return next((place for place in found if place.name == HERE), found[0]).columns


def matrix(grid: Grid, places: Places) -> Matrix:
    """Arrange the matrix."""
    columns_shown = shown(grid)
    members = [grid.implementations[number] for number in columns_shown]
    whole = len(members) == len(grid.implementations)
    elsewhere = environments(grid)
    frameworks = [
        Framework(name, version, len(list(group)))
        for (name, version), group in groupby(members, key=lambda who: (who.framework, who.version))
    ]
    starts = {sum(group.columns for group in frameworks[:place]) for place in range(len(frameworks))}
    columns = [(who.name, place in starts) for place, who in enumerate(members)]
    rows = {
        info.id: Row(
            number,
            info.id,
            title(info),
            info.claim,
            [_cell(grid.cells[info.id, name], places, starts=first) for name, first in columns],
        )
        for number, info in enumerate(grid.requirements)
    }
    groups = [(family, [rows[info.id] for info in members]) for family, members in families(grid.requirements)]
    chosen = [(place.name, place.about, not whole and place.columns == columns_shown) for place in elsewhere]
    compact = [] if whole else [_compact(grid, p, places) for p in elsewhere if p.columns != columns_shown]
    return Matrix(columns_shown, chosen if len(chosen) > 1 else [], compact, frameworks, columns, groups)


def _compact(grid: Grid, place: Place, places: Places) -> Compact:
    found: dict[tuple[str, Outcome], list[tuple[str, str]]] = {}
    for number in place.columns:
        for result in grid.of(grid.implementations[number].name):
            if result.outcome != "pass":
                article = places.target(result) if places.has_article(result) else ""
                found.setdefault((result.implementation, result.outcome), []).append((result.requirement, article))
    rows = [(name, outcome, ids) for (name, outcome), ids in found.items()]
    return Compact(place.name, place.about, len(place.columns), rows)


def _cell(result: Result, places: Places, *, starts: bool) -> Cell:
    passing = result.outcome == "pass"
    said = times_bound(result.worst_ratio) if result.worst_ratio is not None else result.reason
    near = passing and result.worst_ratio is not None and real(result.worst_ratio) >= _NEAR
    return Cell(
        outcome=result.outcome,
        kind=slug(result.outcome),
        edge=_plots.edge(result.worst_ratio) if passing else None,
        near=near,
        # That of the other passing cells is for the script to add where the reader wants numbers.
        text=short_ratio(result.worst_ratio) if near or result.outcome == "fail" else "",
        label=f"{result.implementation}: {result.outcome}"
        + (f", {said}" if passing or result.outcome == "fail" else ""),
        target=places.target(result),
        starts_framework=starts,
    )
