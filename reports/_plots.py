"""Computes the plots of a report: positions on log2 scales, and histograms as SVG paths that CSS colours."""

import math
from typing import NamedTuple

from reports._format import count, power_of_two, times_bound
from reports.records import Examples, Histogram, Number, Result, real

#: Exponents of two at the ends of the scale that all rows of the requirement lists share.
ROW_SCALE = (-16, 8)
#: Exponents of two between which the edge of a passing matrix cell moves.
EDGE_SCALE = (-10, 0)
#: A failure's own scale reaches at most this far; beyond it, examples are counted in the last bin.
WIDEST = (-32, 40)


class Tick(NamedTuple):
    """A label on a scale, at a percentage of its width."""

    left: float
    text: str


class Bars(NamedTuple):
    """A histogram of examples by log2 error / bound."""

    #: SVG paths in a box as wide as there are bins and 100 high.
    inside: str
    beyond: str
    width: int
    #: Where the bound is, in percent of the width.
    bound: float
    ticks: list[Tick]
    label: str


def log2(value: Number | None) -> float:
    """Return log2 of a ratio: -inf for an exact or absent one, inf for one that is not finite."""
    x = real(value) if value is not None else 0.0
    if math.isnan(x):
        return math.inf
    return math.log2(x) if x > 0 and math.isfinite(x) else math.copysign(math.inf, x - 0.5)


def position(exponent: float, scale: tuple[int, int]) -> float:
    """Return where an exponent of two lies on a scale, in percent of its width, held within the scale."""
    low, high = scale
    return round(100 * (min(max(exponent, low), high) - low) / (high - low), 2)


def edge(ratio: Number | None) -> int | None:
    """Return the edge of a passing matrix cell in percent, or None for an exact result."""
    exponent = log2(ratio)
    return None if exponent == -math.inf else max(2, round(position(exponent, EDGE_SCALE)))


def row_bars(result: Result) -> Bars | None:
    """Return the histogram of a row on the scale that all rows share; None where no example has an error."""
    return _bars(result, ROW_SCALE, 4)


def own_bars(result: Result) -> Bars | None:
    """Return the histogram of one failure on a scale of its own."""
    histogram = result.histogram
    filled = [histogram.low + place for place, number in enumerate(histogram.counts) if number]
    reached = [*filled, *(log2(example.ratio) for example in result.counterexamples), log2(result.worst_ratio)]
    finite = [exponent for exponent in reached if math.isfinite(exponent)]
    low = _outward(min([-12, *finite]), -4)
    high = _outward(max([8, *finite]) + 1, 4)
    scale = max(low, WIDEST[0]), min(high, WIDEST[1])
    return _bars(result, scale, 8 if scale[1] - scale[0] > 48 else 4)


def own_scale(bars: Bars) -> tuple[int, int]:
    """Return the scale that a histogram was drawn on."""
    low = -round(bars.bound * bars.width / 100)
    return low, low + bars.width


def examples_label(examples: Examples, histogram: Histogram) -> str:
    """Say what a histogram shows, for those who cannot see it."""
    parts = [f"{examples.failing} of {count(examples.total, 'example')} beyond the bound"]
    if histogram.exact:
        parts.append(f"{histogram.exact} exact")
    if histogram.nonfinite:
        parts.append(f"{histogram.nonfinite} not finite")
    return ", ".join(parts)


def scale_ticks(scale: tuple[int, int], step: int) -> list[Tick]:
    """Label a scale of exponents of two: every few of them, and the bound by its name."""
    low, high = scale
    return [Tick(position(e, scale), "bound" if e == 0 else power_of_two(e)) for e in range(low, high + 1, step)]


def _outward(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def _bars(result: Result, scale: tuple[int, int], tick_step: int) -> Bars | None:
    low, high = scale
    bins = [0] * (high - low)
    histogram = result.histogram
    for place, number in enumerate(histogram.counts):
        bins[min(max(histogram.low + place - low, 0), len(bins) - 1)] += max(number, 0)
    bins[-1] += max(histogram.nonfinite, 0)
    most = max(bins)
    if not most:
        return None
    heights = [max(10, round(100 * number / most)) if number else 0 for number in bins]
    label = f"{times_bound(result.worst_ratio)} at worst, {examples_label(result.examples, histogram)}"
    return Bars(
        inside=_path(heights[:-low], 0),
        beyond=_path(heights[-low:], -low),
        width=len(bins),
        bound=position(0, scale),
        ticks=[Tick(position(e, scale), power_of_two(e)) for e in range(low, high + 1, tick_step)],
        label=label,
    )


def _path(heights: list[int], start: int) -> str:
    """Draw bars of the given heights with a narrow gap to the right of each."""
    return "".join(f"M{start + x} 100v-{height}h.94v{height}z" for x, height in enumerate(heights) if height)
