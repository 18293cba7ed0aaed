"""What a requirement found on one example: the worst error over its bound, where, and whether that is telling."""

from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Spec


class Worst(NamedTuple):
    """The element with the largest error over bound."""

    quantity: str
    #: Step of the program; -1 when it belongs to the whole program.
    step: int
    #: Index in the array that the quantity came in; the channel alone where it has no such array.
    place: tuple[int, ...]
    got: float
    expected: float
    allowed: float
    ratio: float


class Evidence(NamedTuple):
    """The outcome of one requirement on one example. Combine several with ``combine``.

    ``ratio`` is the largest error over bound; above 1 the example fails. ``informative`` counts the channels whose
    bound is narrower than the values' own variation, so that a fault could have shown.
    """

    ratio: float = 0.0
    compared: int = 0
    unbounded: int = 0
    informative: int = 0
    worst: tuple[Worst, ...] = ()
    message: str = ""
    #: Conventions that were measured: name, and what was seen.
    observed: tuple[tuple[str, str], ...] = ()

    @property
    def applies(self) -> bool:
        """Whether the requirement said anything of this example."""
        return self.compared > 0 or self.unbounded > 0

    @property
    def fails(self) -> bool:
        """Whether an error exceeds its bound."""
        return self.ratio > 1


NOTHING = Evidence()
#: Elements kept for the report, per example.
KEPT = 4


def combine(parts: "list[Evidence]") -> Evidence:
    """Join evidence of several comparisons: the worst ratio decides."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    worst = sorted((w for p in parts for w in p.worst), key=lambda w: -w.ratio)[:KEPT]
    top = max(parts, key=lambda p: p.ratio)
    message = top.message or next((p.message for p in parts if p.message and p.fails), "")
    return Evidence(
        top.ratio,
        sum(p.compared for p in parts),
        sum(p.unbounded for p in parts),
        sum(p.informative for p in parts),
        tuple(worst),
        message,
    )


def element_index(spec: Spec, channel: int, position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Index into an array of the input's shape of one element of the channel-major matrix."""
    index = [0] * len(shape)
    of_channel = np.unravel_index(channel, spec.parameter_shape)
    of_position = np.unravel_index(position, tuple(shape[a] for a in spec.reduction_axes))
    for axis, i in zip(spec.channel_axes, of_channel, strict=True):
        index[axis] = int(i)
    for axis, i in zip(spec.reduction_axes, of_position, strict=True):
        index[axis] = int(i)
    return tuple(index)


def compare(
    quantity: str,
    got: Array,
    expected: Array,
    bound: Array,
    *,
    step: int = -1,
    scale: Array | None = None,
    spec: Spec | None = None,
    shape: tuple[int, ...] = (),
    message: str = "",
) -> Evidence:
    """Compare channel-major matrices of (C, n) within bounds of that shape.

    ``scale`` (C, 1) is the size that a bound must stay below to be evidence; without it the root mean square of
    ``expected``. ``spec`` and ``shape`` give the index of the worst element in the caller's array. Infinite and NaN
    bounds check nothing; a non-finite result within a finite bound has an infinite ratio.
    """
    if got.size == 0:
        return NOTHING
    with np.errstate(all="ignore"):
        error = np.abs(got - expected)
        # An infinite bound makes a ratio of zero, unless the error is not finite either.
        ratio = error / bound
        widest = bound.max(axis=1, keepdims=True)
        unbounded = 0
        if not np.isfinite(widest).all():
            # NaN comes of infinite bounds times zero, in bounds that are made of others.
            open_ = ~np.isfinite(bound)
            unbounded = int(np.count_nonzero(open_))
            ratio = np.where(open_, 0.0, ratio)
        if not np.isfinite(ratio.max()):
            ratio = np.where(error == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
        if scale is None:
            scale = np.sqrt(np.mean(np.square(expected), axis=1, keepdims=True))
        informative = int(np.count_nonzero(widest < scale))
    flat = int(np.argmax(ratio))
    channel, position = divmod(flat, ratio.shape[1])
    top = float(ratio[channel, position])
    worst: tuple[Worst, ...] = ()
    if top > 0:
        place: tuple[int, ...] = (channel,)
        if spec is not None and shape:
            place = element_index(spec, channel, position, shape)
        here = [_at(a, channel, position) for a in (got, expected, bound)]
        worst = (Worst(quantity, step, place, here[0], here[1], here[2], top),)
    return Evidence(top, ratio.size - unbounded, unbounded, informative, worst, message if top > 1 else "")


def _at(a: Array, channel: int, position: int) -> float:
    """An element of a matrix that may have to be broadcast."""
    return float(a[channel if a.shape[0] > 1 else 0, position if a.shape[1] > 1 else 0])


def require(holds: bool, message: str, quantity: str = "", step: int = -1) -> Evidence:
    """Evidence of a claim that holds or not: no tolerance."""
    if holds:
        return Evidence(0.0, 1, 0, 1)
    worst = (Worst(quantity, step, (), float("nan"), float("nan"), 0.0, float("inf")),) if quantity else ()
    return Evidence(float("inf"), 1, 0, 1, worst, message)
