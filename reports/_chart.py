"""Draws line charts as SVG paths in a box of 1000 by 1000; labels are HTML, which keeps its size.

The box is stretched to its place on the page and strokes keep their width: CSS gives colours and sizes.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports._format import power_of_ten
from reports._plots import Tick

_SIDE = 1000
#: Labels at the right end of curves stay this far apart, in percent of the height.
_APART = 8.5

Points = Sequence[tuple[float, float]]
Ends = tuple[float, float]


class Curve(NamedTuple):
    """A line, or a row of dots."""

    #: CSS class.
    kind: str
    path: str


class Label(NamedTuple):
    """The name of a curve at a place on it, in percent of width and height."""

    #: CSS class, also of the side of the curve that it is on.
    kind: str
    text: str
    left: float
    top: float


class Chart(NamedTuple):
    """A chart with its axes and its text alternative."""

    title: str
    across: str
    up: str
    x_ticks: list[Tick]
    #: From the top, in percent of the height.
    y_ticks: list[Tick]
    curves: list[Curve]
    labels: list[Label]
    alternative: str


class Axis(NamedTuple):
    """A scale with its ends; the values are exponents of ten where ``log`` says so."""

    low: float
    high: float
    log: bool = True

    def share(self, value: float) -> float:
        """Return where a value is on the axis, 0 to 1, held within it; what is not finite is at the top."""
        if math.isnan(value):
            return 1.0
        if self.log:
            value = math.log10(value) if 0 < value < math.inf else math.copysign(math.inf, value - 0.5)
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def inside(self, value: float) -> bool:
        """Whether a value is on the axis, and not only held at its end."""
        if not self.log or value <= 0 or not math.isfinite(value):
            return math.isfinite(value) and not self.log and self.low <= value <= self.high
        return self.low <= math.log10(value) <= self.high


class Plane:
    """Two axes, on which curves are drawn."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y

    def line(self, kind: str, points: Points) -> Curve:
        """Draw a line through points; it ends where it has left the axis for good."""
        kept = list(points)
        while len(kept) > 1 and not self.y.inside(kept[-1][1]) and not self.y.inside(kept[-2][1]):
            kept.pop()
        return Curve(kind, "M" + "L".join(self._at(*point) for point in kept) if kept else "")

    def dots(self, kind: str, points: Points) -> Curve:
        """Draw a dot at each point, as a line of no length with round ends."""
        return Curve(kind, "".join(f"M{self._at(*point)}h0" for point in points))

    def _at(self, x: float, y: float) -> str:
        return f"{round(self.x.share(x) * _SIDE)} {round((1 - self.y.share(y)) * _SIDE)}"

    def label(self, kind: str, text: str, point: tuple[float, float]) -> Label:
        """Name a curve beside one of its points."""
        return Label(kind, text, round(100 * self.x.share(point[0]), 1), round(100 - 100 * self.y.share(point[1]), 1))

    def ends(self, named: Iterable[tuple[str, str, Points]]) -> list[Label]:
        """Name curves (class, text, points) at their ends, one below the other where they would meet."""
        ends = [(100 * (1 - self.y.share(points[-1][1])), kind, text) for kind, text, points in named if points]
        placed: list[Label] = []
        for top, kind, text in sorted(ends):
            lowest = placed[-1].top + _APART if placed else 0.0
            placed.append(Label(f"end {kind}", text, 100.0, round(max(top, lowest), 1)))
        over = max(placed[-1].top - 100, 0) if placed else 0
        return [label._replace(top=round(label.top - over, 1)) for label in placed]

    def x_ticks(self, values: Iterable[float]) -> list[Tick]:
        """Label values on the horizontal axis."""
        return [Tick(round(100 * self.x.share(v), 2), _text(v, self.x)) for v in values]

    def y_ticks(self, values: Iterable[float]) -> list[Tick]:
        """Label values on the vertical axis."""
        return [Tick(round(100 - 100 * self.y.share(v), 2), _text(v, self.y)) for v in values]


def decades(low: int, high: int, most: int = 5) -> list[float]:
    """Return powers of ten between two exponents, at most some of them, evenly apart."""
    step = max(1, math.ceil((high - low) / most))
    return [10.0**exponent for exponent in range(low, high + 1, step)]


def _text(value: float, axis: Axis) -> str:
    return power_of_ten(round(math.log10(value))) if axis.log else f"{value:g}"
