"""The truth: batch normalization in extended precision, with the magnitudes that the error bounds need.

Everything is channel-major: data are (C, m), one row per channel, parameters and statistics (C, 1), all in the host
precision, which is wider than the arithmetic under test. The formulas are those of Ioffe & Szegedy 2015, Algorithm 1
and the gradients below it.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np

from adapters.interface import Array, Spec
from conformance import _exact

#: The element type in which the truth is evaluated.
Host = np.dtype[np.floating[Any]] | type[np.floating[Any]]

_WIDE_ENOUGH = 63
_quiet = np.errstate(all="ignore")


def to_channels(a: Array, spec: Spec) -> Array:
    """Return an array of the input's shape as (C, m): the channel axes in ascending order, then all others in C order.

    A view where the memory layout allows one.
    """
    moved = a.transpose(spec.channel_axes + spec.reduction_axes)
    channels = math.prod(moved.shape[: len(spec.channel_axes)])
    return moved.reshape(channels, math.prod(moved.shape[len(spec.channel_axes) :]))


def from_channels(a: Array, spec: Spec, shape: tuple[int, ...]) -> Array:
    """Return (C, m) as an array of the given input shape: the inverse of ``to_channels``."""
    order = spec.channel_axes + spec.reduction_axes
    return a.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def moving(previous: Array, statistic: Array, decay: float) -> Array:
    """Return the new moving statistic, decay · previous + (1 - decay) · statistic, in the statistic's precision."""
    weight = np.asarray(statistic).dtype.type(decay)
    with np.errstate(all="ignore"):
        return weight * previous + (1 - weight) * statistic


def unbiased(variance: Array, count: int) -> Array:
    """Return Bessel's correction of a biased variance over ``count`` elements; a single element's stays as it is."""
    return variance * (variance.dtype.type(count) / max(count - 1, 1))


def _rows(a: Any, host: np.dtype[np.floating[Any]]) -> Array:
    return np.ascontiguousarray(a).astype(host, copy=False)


def _column(parameter: Any, host: np.dtype[np.floating[Any]], channels: int, default: float) -> Array:
    if parameter is None:
        return np.full((channels, 1), default, dtype=host)
    return np.asarray(parameter).astype(host).reshape(channels, 1)


def _needs_exact(host: np.dtype[np.floating[Any]]) -> bool:
    return host.char == "g" and np.finfo(host).nmant < _WIDE_ENOUGH


class _Truth:
    """What training and inference have in common: everything that follows from the statistics in use.

    ``exact`` says that the host is no wider than the data: sums are then correctly rounded instead of wide, and
    ``slack`` = 2 is what every bound must be multiplied with, because the truth's own roundings are like those of a
    good implementation.
    """

    mean: Array
    variance: Array
    centered: Array

    def __init__(self, x: Any, gamma: Any, beta: Any, epsilon: float, dy: Any, host: Host, exact: bool | None) -> None:
        self.host: np.dtype[np.floating[Any]] = np.dtype(host)
        self.exact = _needs_exact(self.host) if exact is None else exact
        self.slack = 2.0 if self.exact and np.finfo(self.host).nmant < _WIDE_ENOUGH else 1.0
        self.x = _rows(x, self.host)
        self.channels, self.count = self.x.shape
        self.gamma = _column(gamma, self.host, self.channels, 1.0)
        self.beta = _column(beta, self.host, self.channels, 0.0)
        self.epsilon = self.host.type(epsilon)
        #: Growth factors of the sums over this data, kept by ``conformance.bounds``.
        self.growths: dict[tuple[str, str], Any] = {}
        self._dy = dy

    def row_sums(self, a: Array) -> Array:
        """Σ of each channel's row, (C, 1), as wide as the truth asks for."""
        return _exact.row_sums(a.astype(np.float64)).astype(self.host) if self.exact else a.sum(axis=1, keepdims=True)

    @cached_property
    def shifted(self) -> Array:
        """The variance plus epsilon, (C, 1)."""
        return self.variance + self.epsilon

    @cached_property
    @_quiet
    def r(self) -> Array:
        """1 / √(variance + epsilon), (C, 1)."""
        return 1 / np.sqrt(self.shifted)

    @cached_property
    @_quiet
    def normalized(self) -> Array:
        """(x - mean) · r, (C, m)."""
        return self.centered * self.r

    @cached_property
    @_quiet
    def y(self) -> Array:
        """The output gamma · (x - mean) · r + beta, (C, m)."""
        return self.gamma * self.normalized + self.beta

    @cached_property
    @_quiet
    def variation(self) -> Array:
        """Root mean square of y - beta per channel, (C, 1): the size of what normalization does."""
        scale: Array = np.sqrt(np.mean(np.square(self.y - self.beta), axis=1, keepdims=True))
        return scale

    @cached_property
    def dy(self) -> Array:
        """The upstream gradient, (C, m). Raises ValueError where none was given."""
        if self._dy is None:
            raise ValueError("no upstream gradient was given")
        return _rows(self._dy, self.host)

    @cached_property
    @_quiet
    def sum_dy(self) -> Array:
        """Σ dy, (C, 1)."""
        return self.row_sums(self.dy)

    @cached_property
    @_quiet
    def sum_dy_centered(self) -> Array:
        """Σ dy · (x - mean), (C, 1)."""
        return self.row_sums(self.dy * self.centered)

    @cached_property
    @_quiet
    def dgamma(self) -> Array:
        """The gradient with respect to gamma, (C, 1)."""
        return self.r * self.sum_dy_centered

    @property
    def dbeta(self) -> Array:
        """The gradient with respect to beta, (C, 1)."""
        return self.sum_dy

    @cached_property
    @_quiet
    def mean_abs_x(self) -> Array:
        """The mean of |x|, (C, 1)."""
        return np.abs(self.x).sum(axis=1, keepdims=True) / self.host.type(self.count)

    @cached_property
    def max_abs_x(self) -> Array:
        """The largest |x|, (C, 1); zero for an empty batch."""
        return np.abs(self.x).max(axis=1, keepdims=True, initial=0)

    @cached_property
    @_quiet
    def sum_abs_dy(self) -> Array:
        """Σ |dy|, (C, 1)."""
        return np.abs(self.dy).sum(axis=1, keepdims=True)

    @cached_property
    @_quiet
    def sum_abs_dy_centered(self) -> Array:
        """Σ |dy · (x - mean)|, (C, 1)."""
        return np.abs(self.dy * self.centered).sum(axis=1, keepdims=True)

    @cached_property
    @_quiet
    def sum_abs_dy_x(self) -> Array:
        """Σ |dy · x| + |mean| Σ |dy|, (C, 1): the terms of dgamma where it is computed as Σ dy · x - mean · Σ dy."""
        return np.abs(self.dy * self.x).sum(axis=1, keepdims=True) + np.abs(self.mean) * self.sum_abs_dy


class TrainingTruth(_Truth):
    """Batch normalization with the statistics of the batch.

    ``x`` and ``dy`` are (C, m) of any float type, ``gamma`` and ``beta`` (C,) or None for exactly 1 and 0. What needs
    ``dy`` is computed when asked for. ``exact=None`` takes exact integer moments where the host is a long double no
    wider than float64.
    """

    def __init__(
        self,
        x: Any,
        gamma: Any,
        beta: Any,
        epsilon: float,
        dy: Any = None,
        host: Host = np.float64,
        exact: bool | None = None,
    ) -> None:
        super().__init__(x, gamma, beta, epsilon, dy, host, exact)
        with np.errstate(all="ignore"):
            if self.exact:
                self._exact_moments()
            else:
                self._corrected_two_passes()

    def _corrected_two_passes(self) -> None:
        # The shift by the first element protects the mean of data with a large offset, the second mean corrects what
        # the first one lost.
        count = self.host.type(self.count)
        origin = self.x[:, :1] if self.count else self.host.type(0)
        mean = origin + (self.x - origin).sum(axis=1, keepdims=True) / count
        self.mean = mean + (self.x - mean).sum(axis=1, keepdims=True) / count
        self.centered = self.x - self.mean
        self.variance = np.square(self.centered).sum(axis=1, keepdims=True) / count

    def _exact_moments(self) -> None:
        head, tail, variance = (a.astype(self.host) for a in _exact.rounded_moments(self.x))
        difference = self.x - head
        # Knuth's two-sum: what the subtraction lost, added back together with the rest of the mean.
        part = difference - self.x
        lost = (self.x - (difference - part)) - (head + part)
        self.mean, self.variance = head, variance
        self.centered = difference + (lost - tail)

    @cached_property
    @_quiet
    def sum_dy_centered(self) -> Array:
        """Σ dy · (x - mean), (C, 1), with dy centred too: the oracle's own error in the mean drops out."""
        return self.row_sums((self.dy - self.sum_dy / self.host.type(self.count)) * self.centered)

    @cached_property
    @_quiet
    def dx(self) -> Array:
        """The gradient with respect to x, (C, m): the statistics depend on x too."""
        count = self.host.type(self.count)
        slope = self.r * self.r * (self.sum_dy_centered / count)
        return self.gamma * self.r * (self.dy - self.sum_dy / count - self.centered * slope)


class InferenceTruth(_Truth):
    """Batch normalization with given statistics; ``mean`` and ``variance`` are (C,), the rest as in training."""

    def __init__(
        self,
        x: Any,
        gamma: Any,
        beta: Any,
        mean: Any,
        variance: Any,
        epsilon: float,
        dy: Any = None,
        host: Host = np.float64,
        exact: bool | None = None,
    ) -> None:
        super().__init__(x, gamma, beta, epsilon, dy, host, exact)
        self.mean = _column(mean, self.host, self.channels, 0.0)
        self.variance = _column(variance, self.host, self.channels, 1.0)
        with np.errstate(all="ignore"):
            self.centered = self.x - self.mean

    @cached_property
    @_quiet
    def dx(self) -> Array:
        """The gradient with respect to x, (C, m): the statistics are constants."""
        return self.gamma * self.r * self.dy
