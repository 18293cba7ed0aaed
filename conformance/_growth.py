"""How much rounding errors may grow in a sum: |computed Σa - Σa| <= h · u · Σ|a| with the factors h given here."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np

from adapters.interface import Array
from conformance.formats import Format

Kind = Literal["prob", "panel", "worst"]

#: The constant of the square-root law (Higham & Mary 2019).
_LAMBDA = 2.0
#: How much worse than the worst order tried an order not tried may be.
_SAFETY = 2.0
#: Rescalings that expose the systematic rounding of terms that are all alike.
_SCALES = (1.0, 1.3717, 1.7093)
#: Elements worked on at a time, so that large data need little more memory than their own.
_BLOCK = 1 << 16
#: Digits of the leading part in a split float64: sums of up to 2**26 such parts are exact.
_HEAD_DIGITS = 26


@np.errstate(all="ignore")
def growth(kind: Kind, compute: Format, first: Array, second: Array | None = None) -> Array | float:
    """Return the growth factor of the row sums of ``first``, or of ``first · second``; both are (C, n).

    - "worst": n - 1. True for every order of summation, to first order in u (Higham 2002, section 4.2).
    - "prob": min(n - 1, 2√n). True for random rounding errors (Higham & Mary 2019), not for structured data.
    - "panel": at least "prob", n/√K with K the number of distinct terms, and twice the growth measured on these
      terms in up to four orders and at three scales; at most "worst". (C, 1), the others are one number.
    """
    n = first.shape[1]
    worst = float(max(n - 1, 0))
    prob = min(worst, _LAMBDA * n**0.5)
    if kind == "worst":
        return worst
    if kind == "prob" or prob == worst:
        return prob
    measured = np.concatenate([_measured_growth(terms, compute) for terms in _blocks(first, second)])
    result: Array = np.minimum(worst, np.maximum(prob, measured))
    return result


def _blocks(first: Array, second: Array | None) -> Iterator[Array]:
    rows = max(1, _BLOCK // first.shape[1])
    for start in range(0, first.shape[0], rows):
        block = slice(start, start + rows)
        yield first[block] if second is None else first[block] * second[block]


def _measured_growth(terms: Array, compute: Format) -> Array:
    ascending = np.sort(terms, axis=1)
    orders = [terms, ascending, np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=1, kind="stable"), axis=1)]
    # Rising magnitudes of one sign are among the orders whichever the sign. Without negative terms the two are one.
    if (ascending[:, 0] < 0).any():
        orders.append(ascending[:, ::-1])
    distinct = (np.diff(ascending.astype(compute.dtype), axis=1) != 0).sum(axis=1, keepdims=True) + 1
    result: Array = terms.shape[1] / np.sqrt(distinct)
    largest = np.maximum(np.abs(terms).max(axis=1, keepdims=True), np.finfo(terms.dtype).tiny)
    for scale in _SCALES:
        for ordered in orders:
            scaled = ordered if scale == 1 else ordered / largest * scale
            result = np.fmax(result, _SAFETY * _running_growth(scaled.astype(compute.dtype), compute))
    return result


def _running_growth(terms: Array, compute: Format) -> Array:
    """Return the largest error of all prefix sums from left to right, in units of u · Σ|a|; zero where not finite."""
    computed = np.cumsum(terms, axis=1, dtype=terms.dtype).astype(np.float64)
    wide = terms.astype(np.float64)
    if compute.digits < _HEAD_DIGITS:
        error = np.abs(computed - np.cumsum(wide, axis=1))
    else:
        head, tail = _split(wide)
        error = np.abs((computed - np.cumsum(head, axis=1)) - np.cumsum(tail, axis=1))
    total = np.abs(wide).sum(axis=1, keepdims=True)
    result = error.max(axis=1, keepdims=True) / (compute.u * total)
    return np.where(np.isfinite(result), result, 0.0)


def _split(terms: Array) -> tuple[Array, Array]:
    """Split float64 terms (C, n) in two parts whose prefix sums are exact, and precise: no wider type is needed."""
    largest = np.abs(terms).max(axis=1, keepdims=True)
    grid = np.ldexp(1.0, np.frexp(largest)[1] - _HEAD_DIGITS)
    head = np.rint(terms / grid) * grid
    return head, terms - head


class Growth:
    """The growth factors of one truth's sums, each computed when first asked for: a panel is dear."""

    def __init__(self, truth: Any, compute: Format, kind: Kind) -> None:
        self._truth = truth
        self._compute = compute
        self._kind = kind

    def _of(self, first: Array, second: Array | None = None) -> Array | float:
        return growth(self._kind, self._compute, first, second)

    @cached_property
    def x(self) -> Array | float:
        """For Σ x."""
        return self._of(self._truth.x)

    @cached_property
    def x_squared(self) -> Array | float:
        """For Σ x²."""
        return self._of(self._truth.x, self._truth.x)

    @cached_property
    def centered_squared(self) -> Array | float:
        """For Σ (x - mean)²."""
        return self._of(self._truth.centered, self._truth.centered)

    @cached_property
    def dy(self) -> Array | float:
        """For Σ dy."""
        return self._of(self._truth.dy)

    @cached_property
    def dy_centered(self) -> Array | float:
        """For Σ dy · (x - mean)."""
        return self._of(self._truth.dy, self._truth.centered)

    @cached_property
    def dy_x(self) -> Array | float:
        """For Σ dy · x."""
        return self._of(self._truth.dy, self._truth.x)

    @cached_property
    def dy_folded(self) -> Array | float:
        """For Σ dy · x - mean · Σ dy, in units of that sum's larger terms."""
        if self._kind != "panel":
            return self.dy_x
        folded = np.maximum(self._truth.sum_abs_dy_x, np.finfo(self._truth.host).tiny)
        result: Array = np.maximum(self.dy_x, self.dy_centered * self._truth.sum_abs_dy_centered / folded)
        return result
