"""Draws the figures of training scenarios: plots as SVG with text beside them, and strips of predicted classes."""

import math
from typing import NamedTuple

from reports._text import slug
from reports.records import Number, real
from reports.scenario_records import Curve, Figure, Figures, Panel, Strip

#: Extents of a plot's area in its drawing, and the room beside and above it.
WIDTH, HEIGHT = 300, 170
LEFT, TOP = 46, 24
#: Styles of lines; further curves begin again.
STYLES = 5
_TICKS = 7


class Mark(NamedTuple):
    """A tick: its place in the drawing, and its words."""

    at: float
    text: str


class Line(NamedTuple):
    """A curve as SVG paths: the line, the spread around it, and a dot on each point where there are few."""

    label: str
    style: int
    path: str
    spread: str
    dots: list[tuple[float, float]]
    #: The first and the last value, for the words beside the plot.
    ends: str


class Plot(NamedTuple):
    """A drawn panel."""

    title: str
    lines: list[Line]
    x_marks: list[Mark]
    y_marks: list[Mark]
    label: str


class Row(NamedTuple):
    """One row of the table of a figure's numbers."""

    label: str
    values: list[str]


class Drawn(NamedTuple):
    """A figure of one implementation."""

    figure: Figure
    plots: list[Plot]
    strips: list[Strip]
    head: list[str]
    rows: list[Row]
    #: Names of the curves with their styles, once for all panels.
    legend: list[tuple[str, int]]


class Group(NamedTuple):
    """The figures of one name, one for each implementation."""

    id: str
    title: str
    caption: str
    requirement: str
    drawn: list[Drawn]

    @property
    def narrow(self) -> bool:
        """Whether each implementation has one plot, so that they can stand side by side."""
        return all(len(drawn.plots) == 1 for drawn in self.drawn)


def groups(found: Figures) -> list[Group]:
    """All figures, by name, in the order of the first of each."""
    by_name: dict[str, list[Figure]] = {}
    for figure in found.figures:
        by_name.setdefault(figure.name, []).append(figure)
    made = []
    for name, figures in by_name.items():
        first = next((f for f in figures if f.panels or f.strips), figures[0])
        drawn = [_drawn(figure) for figure in figures]
        made.append(Group(f"figure-{slug(name)}", first.title, first.caption, first.requirement, drawn))
    return made


def _drawn(figure: Figure) -> Drawn:
    axes = _axes(figure)
    labels = list(dict.fromkeys(curve.label for panel in figure.panels for curve in panel.curves))
    plots = [_plot(panel, figure, labels, axes) for panel in figure.panels]
    head, rows = _table(figure)
    return Drawn(figure, plots, figure.strips, head, rows, [(label, k % STYLES) for k, label in enumerate(labels)])


class Axis(NamedTuple):
    """A scale from values to places in a drawing."""

    low: float
    high: float
    log: bool
    start: float
    length: float

    def place(self, value: float) -> float:
        """Where a value lies, held within the axis."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * self.length, 1)


def _axes(figure: Figure) -> tuple[Axis, Axis]:
    """The axes that all panels share; y grows upwards."""
    curves = [curve for panel in figure.panels for curve in panel.curves]
    xs = [x for curve in curves for x in curve.x]
    ys = [real(y) for curve in curves for y in (*curve.y, *curve.low, *curve.high)]
    if figure.x_scale == "categories":
        x_low, x_high = -0.5, len(figure.categories) - 0.5
    else:
        x_low, x_high = _range(xs, log=figure.x_scale == "log")
    log = figure.y_scale == "log"
    y_low, y_high = figure.y_range or _range(ys, log=log)
    across = Axis(x_low, x_high, figure.x_scale == "log", LEFT, WIDTH)
    return across, Axis(y_low, y_high, log, TOP + HEIGHT, -HEIGHT)


def _range(values: list[float], *, log: bool) -> tuple[float, float]:
    """The ends of an axis for values, of which only finite ones (and, with logarithms, positive ones) count."""
    usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
    low, high = min(usable), max(usable)
    if low == high:
        return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low, high


def _plot(panel: Panel, figure: Figure, labels: list[str], axes: tuple[Axis, Axis]) -> Plot:
    across, up = axes
    lines = [_line(curve, labels.index(curve.label) % STYLES, figure.joined, across, up) for curve in panel.curves]
    words = [f"{line.label}: {line.ends}" for line in lines]
    what = panel.title or figure.title
    label = f"{what}. {figure.y_label} against {figure.x_label}. {'; '.join(words)}"
    return Plot(panel.title, lines, _x_marks(figure, across), _marks(up), label)


def _line(curve: Curve, style: int, joined: bool, across: Axis, up: Axis) -> Line:
    points = [(across.place(x), real(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    shown = [(x, up.place(y)) for x, y in points if math.isfinite(y)]
    path = "M" + "L".join(f"{x} {y}" for x, y in shown) if shown and joined else ""
    spread = ""
    if curve.low:
        low, high = ([up.place(real(y)) for y in side] for side in (curve.low, curve.high))
        xs = [x for x, _ in points]
        there = list(zip(xs, high, strict=True)), list(zip(reversed(xs), reversed(low), strict=True))
        spread = "M" + "L".join(f"{x} {y}" for side in there for x, y in side) + "z"
    dots = shown if len(shown) <= 8 else []
    return Line(curve.label, style, path, spread, dots, _ends(curve.y))


def _ends(values: list[Number]) -> str:
    if not values:
        return "no values"
    return f"from {short(real(values[0]))} to {short(real(values[-1]))}"


def short(value: float) -> str:
    """A number with three digits, as a table shows it."""
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def _x_marks(figure: Figure, axis: Axis) -> list[Mark]:
    if figure.x_scale == "categories":
        return [Mark(axis.place(k), word) for k, word in enumerate(figure.categories)]
    return _marks(axis)


def _marks(axis: Axis) -> list[Mark]:
    """Round numbers along an axis; powers of ten where it is logarithmic, its ends where there are fewer than two."""
    if axis.log:
        powers = range(math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9) + 1)
        values = [10.0**p for p in powers]
        return [Mark(axis.place(v), short(v)) for v in (values if len(values) > 1 else [axis.low, axis.high])]
    raw = (axis.high - axis.low) / (_TICKS - 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [Mark(axis.place(k * step), short(k * step)) for k in range(first, last + 1)]


def _table(figure: Figure) -> tuple[list[str], list[Row]]:
    """The numbers behind the curves: all of them, so that nothing is in the picture alone."""
    curves = [(panel.title, curve) for panel in figure.panels for curve in panel.curves]
    xs = sorted({x for _, curve in curves for x in curve.x})
    if figure.x_scale == "categories":
        head = [figure.categories[int(x)] for x in xs]
    else:
        head = [short(x) if x != round(x) else f"{x:.0f}" for x in xs]
    rows = []
    for title, curve in curves:
        values = dict(zip(curve.x, curve.y, strict=True))
        texts = [short(real(values[x])) if x in values else "" for x in xs]
        rows.append(Row(f"{title}, {curve.label}" if title else curve.label, texts))
    return head, rows
