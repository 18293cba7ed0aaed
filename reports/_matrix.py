"""Arranges the matrix of requirements and implementations."""

from itertools import groupby
from typing import NamedTuple

from reports import _plots
from reports._format import short_ratio, times_bound
from reports._grid import Grid
from reports._text import Places, families, slug, title
from reports.records import Outcome, Result, real

#: From this share of the bound on, a passing cell shows its number.
_NEAR = 0.6


class Cell(NamedTuple):
    """A cell of the matrix."""

    number: int
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

    id: str
    title: str
    claim: str
    cells: list[Cell]


class Framework(NamedTuple):
    """Neighbouring columns of one framework and version."""

    name: str
    version: str
    columns: int


class Matrix(NamedTuple):
    """The whole matrix, grouped by family."""

    frameworks: list[Framework]
    #: Implementation, and whether it is the first of its framework.
    columns: list[tuple[str, bool]]
    families: list[tuple[str, list[Row]]]


def matrix(grid: Grid, places: Places) -> Matrix:
    """Arrange the matrix."""
    frameworks = [
        Framework(name, version, len(list(members)))
        for (name, version), members in groupby(grid.implementations, key=lambda who: (who.framework, who.version))
    ]
    starts = {sum(group.columns for group in frameworks[:place]) for place in range(len(frameworks))}
    columns = [(who.name, place in starts) for place, who in enumerate(grid.implementations)]
    rows = {
        info.id: Row(
            info.id,
            title(info),
            info.claim,
            [_cell(grid.cells[info.id, name], places, starts=first) for name, first in columns],
        )
        for info in grid.requirements
    }
    groups = [(family, [rows[info.id] for info in members]) for family, members in families(grid.requirements)]
    return Matrix(frameworks, columns, groups)


def _cell(result: Result, places: Places, *, starts: bool) -> Cell:
    passing = result.outcome == "pass"
    said = times_bound(result.worst_ratio) if result.worst_ratio is not None else result.reason
    return Cell(
        number=places.numbers[result.requirement, result.implementation],
        outcome=result.outcome,
        kind=slug(result.outcome),
        edge=_plots.edge(result.worst_ratio) if passing else None,
        near=passing and result.worst_ratio is not None and real(result.worst_ratio) >= _NEAR,
        text=short_ratio(result.worst_ratio) if result.outcome in ("pass", "fail") else "",
        label=f"{result.implementation}: {result.outcome}"
        + (f", {said}" if passing or result.outcome == "fail" else ""),
        target=places.target(result),
        starts_framework=starts,
    )
