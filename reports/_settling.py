"""Plots how moving statistics settle: what is left of the distance from the batch's statistics, step by step."""

import math
from typing import NamedTuple

from reports._chart import Axis, Chart, Plane, decades
from reports._format import ratio
from reports._grid import Grid
from reports.records import Number, real
from reports.settling_record import Settling

#: Charts on a page.
MOST = 6
_BOTTOM = -8
#: Steps from which the slope of a curve is told, and the share below which rounding bends it.
_STEPS, _ROUNDED = 8, 1e-5


class Settled(NamedTuple):
    """One implementation's chart, or why there is none."""

    name: str
    dtype: str
    chart: Chart | None
    reason: str
    #: What the curves come to, in words.
    said: str


def settled(grid: Grid) -> list[Settled]:
    """Plot what was measured."""
    found = [_settled(who.name, who.settling) for who in grid.implementations if who.settling is not None]
    return sorted(found, key=lambda one: one.chart is None)[:MOST]


def _settled(name: str, one: Settling) -> Settled:
    if not one.mean:
        return Settled(name, one.dtype, None, one.reason or "nothing was measured", "")
    steps = len(one.mean)
    should = [(float(step), one.decay**step) for step in range(steps + 1)]
    mean, variance = (_points(shares) for shares in (one.mean, one.variance))
    plane = Plane(Axis(0, steps, log=False), Axis(_BOTTOM, 1))
    said = f"{_said('mean', one.mean, one.decay)}; {_said('variance', one.variance, one.decay)}"
    chart = Chart(
        title="",
        across="training steps on one batch",
        up="distance left, as a share",
        x_ticks=plane.x_ticks(range(0, steps + 1, 10)),
        y_ticks=plane.y_ticks(decades(_BOTTOM, 0, 4)),
        curves=[
            plane.line("bound", should),
            plane.dots("seen dots", mean),
            plane.dots("other dots", variance),
        ],
        labels=plane.ends(
            [("bound", f"{one.decay:g} a step", should), ("seen", "mean", mean), ("other", "variance", variance)]
        ),
        alternative=f"What {steps} training steps leave of the distance from the batch's statistics: {said}.",
    )
    return Settled(name, one.dtype, chart, "", said)


def _points(shares: list[Number]) -> list[tuple[float, float]]:
    return [(float(step), real(share)) for step, share in enumerate([1.0, *shares])]


def _said(what: str, shares: list[Number], decay: float) -> str:
    """Say what a step leaves of the distance, and how much is left in the end."""
    values = [real(share) for share in shares]
    slope = [b / a for a, b in zip([1.0, *values], values[:_STEPS], strict=False) if a > _ROUNDED and math.isfinite(b)]
    if not slope:
        return f"{what}: not finite"
    usual = sorted(slope)[len(slope) // 2]
    as_declared = "as declared" if abs(usual - decay) < 0.01 else f"{decay:g} is declared"
    return f"{what}: a step leaves {usual:.2g} of the distance, {as_declared}; {ratio(shares[-1])} is left in the end"
