"""Draws error against the bound: a dot for the worst error of every requirement, one row per implementation."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from reports import _plots
from reports._environments import split
from reports._format import count, times_bound
from reports._grid import Grid
from reports._text import Places
from reports.records import Result

#: Rows on a page; where there are more, an implementation's environments share one.
MOST = 24
#: Exponents of two at the ends of the scale.
SCALE = (-12, 8)
_BOX = 1000


class Strip(NamedTuple):
    """One implementation's row: SVG paths of dots in a box of 1000 by 100."""

    name: str
    inside: str
    beyond: str
    exact: int
    #: Requirements without any error measured.
    without: int
    worst: str
    said: str
    target: str
    failing: bool
    label: str


def strips(grid: Grid, places: Places) -> list[Strip]:
    """Arrange the rows, each in the order of the matrix."""
    names = [who.name for who in grid.implementations]
    if len(names) <= MOST:
        return [_strip(name, grid.of(name), places) for name in names]
    shared: dict[str, dict[str, Result]] = {}
    for name in names:
        worst = shared.setdefault(split(name)[0], {})
        for result in grid.of(name):
            if _size(result) > _size(worst.get(result.requirement)):
                worst[result.requirement] = result
    return [_strip(name, list(results.values()), places) for name, results in shared.items()][:MOST]


def _size(result: Result | None) -> tuple[bool, bool, float]:
    """Order results by their ratio; those without any come first."""
    measured = result is not None and result.worst_ratio is not None
    return result is not None, measured, _plots.log2(result.worst_ratio) if result is not None and measured else 0.0


def ticks() -> list[_plots.Tick]:
    """Label the scale."""
    return _plots.scale_ticks(SCALE, 4)


def bound() -> float:
    """Return where the bound is, in percent."""
    return _plots.position(0, SCALE)


def _strip(name: str, results: list[Result], places: Places) -> Strip:
    judged = [r for r in results if r.worst_ratio is not None and r.outcome not in ("no run", "unsupported")]
    exponents = [_plots.log2(result.worst_ratio) for result in judged]
    measured = [exponent for exponent in exponents if exponent != -math.inf]
    exact = len(exponents) - len(measured)
    worst = max(judged, key=lambda result: _plots.log2(result.worst_ratio), default=None)
    failing = sum(exponent > 0 for exponent in measured)
    said = times_bound(worst.worst_ratio) if worst is not None else "nothing was measured"
    return Strip(
        name=name,
        inside=_dots(exponent for exponent in measured if exponent <= 0),
        beyond=_dots(exponent for exponent in measured if exponent > 0),
        exact=exact,
        without=len(results) - len(judged),
        worst=worst.requirement if worst is not None else "",
        said=said,
        target=places.target(worst) if worst is not None else "",
        failing=failing > 0,
        label=f"{count(len(measured) - failing, 'requirement')} within the bound, {failing} beyond it, {exact} exact; "
        f"the largest error is {said}",
    )


def _dots(exponents: Iterable[float]) -> str:
    """Draw dots; those that would lie on each other are spread over three heights."""
    places = sorted(round(_plots.position(exponent, SCALE) * _BOX / 100) for exponent in exponents)
    path, before, height = [], -_BOX, 0
    for place in places:
        height = (height + 1) % 3 if place - before < 8 else 0
        before = place
        path.append(f"M{place} {(50, 24, 76)[height]}h0")
    return "".join(dict.fromkeys(path))
