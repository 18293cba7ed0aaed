"""Draws the data of the numerics family: channels that climb ladders of condition, scale and size; poisoned elements.

What the other families meet now and then is here in every case: means that are millions of spreads, values at the ends
of the range, long sums, outliers, orders that let rounding errors pile up, NaN and infinities.
"""

import math
from typing import Literal, get_args

from hypothesis import strategies as st

from adapters.interface import Spec
from conformance._draws import among, whole
from conformance.case import Channel, Poison

#: What climbs: each channel's own condition, outlier or order; the scale; the number of elements; or nothing, and some
#: elements are not finite.
Ladder = Literal["condition", "scale", "count", "poison"]
LADDERS: tuple[Ladder, ...] = ("condition",) * 6 + ("scale",) * 4 + ("count",) * 2 + ("poison",) * 6
assert set(LADDERS) == set(get_args(Ladder))

#: Channels of an input that are drawn; where there are more, these come again with other values.
_MOST_CHANNELS = 6
_KINDS = ("mean", "order", "constant", "mean", "outlier", "order")
_SMOOTH = ("normal", "uniform", "lognormal", "clusters", "alternating")
_RANDOM = ("normal", "uniform", "lognormal", "heavy")
_ORDERED = ("ascending", "falling", "ascending", "cancelling", "ulp")
#: Binary exponents of the scale: the middle, around the square roots of the largest and smallest numbers, the ends.
_EXPONENTS = {
    "float16": (4, 8, 10, -4, -8, -11, -14, -20),
    "float32": (30, 55, 61, 63, 65, 90, 118, -30, -55, -61, -64, -90, -118, -126, -138),
    "bfloat16": (30, 55, 61, 63, 65, 90, 118, -30, -55, -61, -64, -90, -118, -126, -130),
    "float64": (100, 480, 509, 513, 900, 1010, -100, -480, -509, -513, -900, -1022, -1060),
}
#: Condition numbers in half decades, most where algorithms differ most; they end where the element type no longer tells
#: a value from the mean.
_HALF_DECADES = {
    "float16": (0, 1, 2, 3, 3, 4, 4, 5, 6),
    "bfloat16": (0, 1, 2, 2, 3, 3, 4),
    "float32": (0, 1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 7, 8, 10, 12, 14),
    "float64": (0, 2, 4, 6, 7, 8, 8, 9, 10, 10, 11, 12, 12, 13, 14, 16, 20, 24, 30),
}
_COUNTS = (1024, 65536, 4096, 16384, 65536)
#: What is drawn beside these for one or two channels: seldom, so that only a nightly run is sure to meet it.
_VERY_LONG = 1 << 20
#: Elements of a long input, over all channels.
_LONGEST = 1 << 18


def channels(draw: st.DrawFn, ladder: Ladder, spec: Spec) -> tuple[Channel, ...]:
    """Draw what the channels of an input hold on a ladder."""
    count = math.prod(spec.parameter_shape)
    if ladder == "count":
        return tuple(_mild(draw, _RANDOM) for _ in range(min(count, 2)))
    number = min(count, draw(among((3, 4, 5, _MOST_CHANNELS)), label="channels"))
    if ladder == "scale":
        return tuple(_scaled(draw, spec.dtype) for _ in range(number))
    if ladder == "poison":
        return tuple(_mild(draw, _SMOOTH) for _ in range(min(number, 3)))
    # Each channel is some rungs above the one before: one case climbs much of the ladder.
    rungs = _HALF_DECADES[spec.dtype]
    first = draw(whole(0, len(rungs) * len(_KINDS) - 1), label="first rung")
    return tuple(
        _conditioned(draw, spec, _KINDS[(first + k) % len(_KINDS)], rungs[(first + 5 * k) % len(rungs)] / 2)
        for k in range(number)
    )


def _mild(draw: st.DrawFn, patterns: tuple[str, ...]) -> Channel:
    return Channel(draw(among(patterns), label="pattern"), draw(whole(-16, 16), label="offset") / 8)


def _scaled(draw: st.DrawFn, dtype: str) -> Channel:
    pattern = draw(among((*_SMOOTH, "outlier", "exact")), label="pattern")
    offset = draw(whole(-16, 16), label="offset") / 8
    return Channel(pattern, offset, 2.0 ** draw(among(_EXPONENTS[dtype]), label="binary exponent of the scale"))


def _conditioned(draw: st.DrawFn, spec: Spec, kind: str, decade: float) -> Channel:
    root = math.sqrt(spec.epsilon) or 2.0**-12
    scales = (1.0, root, 3 * root, 2.0**10, 2.0**-10) if spec.dtype != "float16" else (1.0, 1.0, 2.0)
    spread = draw(among(scales), label="spread")
    if kind == "outlier":
        return Channel("outlier", draw(whole(-16, 16), label="offset") / 8, spread)
    offset = draw(among((1.0, -1.0)), label="sign of the offset") * 10.0**decade
    if kind == "constant":
        return Channel("constant", offset, spread)
    pattern = draw(among(_ORDERED if kind == "order" else _SMOOTH), label="pattern")
    # With an offset, falling magnitudes fall no more.
    return Channel(pattern, 0.0 if pattern == "falling" else offset, spread)


def extents(draw: st.DrawFn, spec: Spec) -> tuple[int, ...]:
    """Draw the extents of a long input, most of it along one axis."""
    channels = math.prod(spec.parameter_shape)
    counts = tuple(c for c in _COUNTS if c * channels <= _LONGEST) or _COUNTS[:1]
    if channels <= 2:
        counts = (*counts, *counts, _VERY_LONG)
    count = draw(among(counts), label="count")
    known = [spec.shape[axis] for axis in spec.reduction_axes[1:]]
    if None not in known:
        fixed = tuple(extent or 1 for extent in known)
        return (max(1, count // math.prod(fixed)), *fixed)
    reduced = len(spec.reduction_axes)
    long = draw(whole(0, reduced - 1), label="long axis")
    short = 4 if reduced > 1 else 1
    others = [short if k == (long + 1) % reduced else 1 for k in range(reduced)]
    others[long] = count // short
    return tuple(others)


def poison(draw: st.DrawFn) -> tuple[Poison, ...]:
    """Draw one or two elements that are not finite, mostly of one channel."""
    return tuple(
        Poison(draw(among(("nan", "inf", "-inf", "nan")), label="poison"), draw(whole(0, 4095), label="place"))
        for _ in range(draw(among((1, 1, 1, 2)), label="poisoned elements"))
    )


def poisoned_state(draw: st.DrawFn) -> tuple[Poison, ...]:
    """Draw one array of a state that has an element that is not finite."""
    of = draw(among(("gamma", "beta", "moving_mean", "moving_variance")), label="poisoned array")
    value = draw(among(("nan", "nan", "inf")), label="poison")
    return (Poison(value, draw(whole(0, 63), label="place"), of),)
