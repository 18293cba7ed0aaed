"""Arranges the list of requirements of each implementation, with the distribution of all examples."""

import statistics
from typing import NamedTuple

from reports import _plots
from reports._format import clip, count, ratio
from reports._grid import Grid
from reports._text import WITH_ARTICLE, Places, about, families, slug, title
from reports.records import OUTCOMES, Outcome, RequirementInfo, Result


class Line(NamedTuple):
    """A requirement in the list."""

    id: str
    title: str
    claim: str
    anchor: str
    #: The article that tells more, if there is one.
    article: str
    number: int
    outcome: Outcome
    kind: str
    bars: _plots.Bars | None
    #: Positions in percent of the worst example, and of the median of the other implementations' worst.
    worst: float | None
    others: float | None
    off_scale: bool
    note: str
    ratio: str
    failing: str
    evidence: str
    #: The element type with the smallest share of evidence, where that is below a half.
    weakest: str


class Listing(NamedTuple):
    """All requirements of one implementation."""

    implementation: str
    about: str
    #: Outcome, its CSS class, how many.
    counts: list[tuple[Outcome, str, int]]
    families: list[tuple[str, list[Line]]]


def listings(grid: Grid, places: Places) -> list[Listing]:
    """Arrange the list of every implementation."""
    found = []
    for who in grid.implementations:
        outcomes = [result.outcome for result in grid.of(who.name)]
        rows = [
            (family, [_line(info, grid.cells[info.id, who.name], grid, places) for info in members])
            for family, members in families(grid.requirements)
        ]
        counts = [(o, slug(o), outcomes.count(o)) for o in OUTCOMES if o in outcomes]
        found.append(Listing(who.name, about(who), counts, rows))
    return found


def _line(info: RequirementInfo, result: Result, grid: Grid, places: Places) -> Line:
    examples = result.examples
    anchor = places.anchors[info.id, result.implementation]
    bars = _plots.row_bars(result)
    exponent = _plots.log2(result.worst_ratio)
    applicable = examples.total - examples.not_applicable - examples.unsupported
    return Line(
        id=info.id,
        title=title(info),
        claim=info.claim,
        anchor=f"row:{anchor}",
        article=anchor if result.outcome in WITH_ARTICLE else "",
        number=places.numbers[info.id, result.implementation],
        outcome=result.outcome,
        kind=slug(result.outcome),
        bars=bars,
        worst=_plots.position(exponent, _plots.ROW_SCALE) if bars and result.worst_ratio is not None else None,
        others=_others(info.id, result.implementation, grid) if bars else None,
        off_scale=exponent > _plots.ROW_SCALE[1],
        note=_note(result, bars),
        ratio=ratio(result.worst_ratio),
        failing=str(examples.failing) if examples.total else "–",
        evidence=f"{examples.evidence} / {applicable}" if applicable > 0 else "–",
        weakest=_weakest(result),
    )


def _weakest(result: Result) -> str:
    """Name the element type in which the fewest examples could have shown a fault, if those were less than half."""
    shares = {
        dtype: (counts[1] / counts[0], counts)
        for dtype, counts in result.evidence_by_dtype.items()
        if len(counts) == 2 and counts[0] > 0
    }
    dtype = min(shares, key=lambda name: shares[name][0], default="")
    if not dtype or shares[dtype][0] >= 0.5:
        return ""
    judged, telling = shares[dtype][1]
    return f"{dtype} {telling} / {judged}"


def _note(result: Result, bars: _plots.Bars | None) -> str:
    """Say in the plot's place what there is to say when there is no plot."""
    if bars:
        return ""
    if result.reason:
        return clip(result.reason, 200)
    if result.histogram.exact:
        return f"Exact on all {count(result.histogram.exact, 'example')}"
    return "No example was judged"


def _others(requirement: str, implementation: str, grid: Grid) -> float | None:
    """Return where the median of the other implementations' worst ratios lies."""
    ratios = [
        _plots.log2(grid.cells[requirement, who.name].worst_ratio)
        for who in grid.implementations
        if who.name != implementation and grid.cells[requirement, who.name].worst_ratio is not None
    ]
    return _plots.position(statistics.median_low(ratios), _plots.ROW_SCALE) if ratios else None
