"""How far from the truth a correct implementation may be, per element (the project's BOUNDS.md derives the formulas).

A bound follows from the data of the case, the formats and a model of summation (``Kind``): "prob" and "panel" decide,
"worst" is proven. Bounds have the units of what they bound and are infinite where an intermediate result may leave
the format's range, where nothing can be said; they are never NaN.

Symbols, as in BOUNDS.md: u unit roundoff; dm, dv errors of mean and variance; w = variance + epsilon; r = 1/√w;
d = x - mean; g = dy; S1 = Σ g; S2 = Σ g·d; er relative error of r.
"""

from fractions import Fraction
from functools import cache, cached_property

import numpy as np

from adapters.interface import Array
from conformance._bounds import Bounds, Numerics, finite, quiet
from conformance._growth import Kind
from conformance.formats import Format
from conformance.oracle import InferenceTruth, TrainingTruth

__all__ = ["InferenceBounds", "Kind", "Numerics", "TrainingBounds", "moving_bound"]

#: Constant of the updating formulas (Welford, Chan), times u · √v · √(mean² + v).
_UPDATING = 4.0


class TrainingBounds(Bounds):
    """The bounds of a training step: statistics of the batch, output and gradients. Each is computed when asked for."""

    truth: TrainingTruth

    @cached_property
    @quiet
    def _single_mean_error(self) -> Array:
        truth = self.truth
        return self._u * (self._growth.x * truth.mean_abs_x + 2 * np.abs(truth.mean)) + 2 * self._tau

    @cached_property
    def mean_error(self) -> Array:
        """dm, (C, 1)."""
        return self._single_mean_error * (2 if self.numerics.variance_grade == "B" else 1)

    @cached_property
    @quiet
    def _variance_error(self) -> Array:
        truth, u, dm = self.truth, self._u, self._single_mean_error
        variance, dm_squared, mean_squared = truth.variance, np.square(dm), np.square(truth.mean)
        square = mean_squared + variance
        growth = self._growth.centered_squared
        flushed = 2 * self._tau * (1 + np.sqrt(square))
        two_passes = u * (growth + 5) * (variance + dm_squared) + dm_squared + flushed
        if self.numerics.variance_grade == "A":
            return two_passes
        if self.numerics.variance_grade == "B":
            growth = np.minimum(4 * growth, max(truth.count - 1, 0))
            wider = variance + 4 * dm_squared
            coupled = _UPDATING * u * np.sqrt(variance * square) + 2 * dm * np.sqrt(variance)
            return np.maximum(two_passes, u * (growth + 5) * wider + 4 * dm_squared + coupled + flushed)
        rounding = u * ((self._growth.x_squared + 3) * square + 2 * mean_squared)
        textbook = rounding + 2 * np.abs(truth.mean) * dm + dm_squared + flushed
        return np.maximum(two_passes, textbook)

    @cached_property
    @quiet
    def _beyond_mean(self) -> Array:
        return self.truth.mean_abs_x * self.truth.count > self._limit

    @cached_property
    @quiet
    def _beyond_variance(self) -> Array:
        truth, n, dm = self.truth, self.truth.count, self.mean_error
        largest = np.maximum((truth.variance + np.square(dm)) * n, np.square(n * dm))
        if self.numerics.variance_grade == "C":
            # The square of the sum too, where the mean is not taken first.
            largest = np.maximum(largest, np.maximum(n * truth.variance, 0) + np.square(n * truth.mean))
        return self._beyond_mean | (largest > self._limit)

    @cached_property
    @quiet
    def mean(self) -> Array:
        """The bound of the batch's mean, (C, 1)."""
        stored = self._stored(self.mean_error, self.truth.mean, self.numerics.statistics)
        return finite(stored, self._beyond_mean, self.truth.slack)

    @cached_property
    @quiet
    def variance(self) -> Array:
        """The bound of the batch's biased variance, (C, 1)."""
        stored = self._stored(self._variance_error, self.truth.variance, self.numerics.statistics)
        return finite(stored, self._beyond_variance, self.truth.slack)

    @cached_property
    @quiet
    def unbiased_variance(self) -> Array:
        """The bound of the variance with Bessel's correction, (C, 1)."""
        factor = self.truth.count / max(self.truth.count - 1, 1)
        value = self.truth.variance * factor
        error = self._variance_error * factor + 2 * self._u * value
        stored = self._stored(error, value, self.numerics.statistics)
        return finite(stored, self._beyond_variance, self.truth.slack)

    @cached_property
    @quiet
    def _beyond_y(self) -> Array:
        truth, scale = self.truth, self._abs_gamma_r
        largest = np.maximum(np.maximum(self._abs_gamma, scale) * truth.max_abs_x, scale * self._abs_gamma)
        return self._beyond_variance | (largest > self._limit) | (truth.shifted < self._tau / self._u)

    @cached_property
    @quiet
    def beyond_gradients(self) -> Array:
        """Where an intermediate result of the gradients may leave the range, (C, 1)."""
        truth, terms, gamma = self.truth, self._sum_abs_terms, self._abs_gamma
        cube = truth.r * truth.r * truth.r * np.maximum(1, gamma) * np.maximum(1, terms)
        largest = np.maximum(np.maximum(cube, truth.r * terms), gamma * np.maximum(truth.sum_abs_dy, terms))
        # TensorFlow's fused op multiplies x̂ with Σ dy·(x - mean) before it divides by the deviation and by n.
        highest = np.abs(truth.normalized).max(axis=1, keepdims=True, initial=0.0)
        largest = np.maximum(largest, highest * np.maximum(1, gamma) * terms)
        return self._beyond_y | (largest > self._limit)

    @cached_property
    @quiet
    def dx(self) -> Array:
        """The bound of the gradient with respect to x, (C, m)."""
        truth, u, er, n = self.truth, self._u, self.rsqrt_error, self.truth.count
        scale, r_squared, abs_mean = self._abs_gamma_r, truth.r * truth.r, np.abs(truth.mean)
        sum_dy, sum_dy_error = np.abs(truth.sum_dy) / n, self.sum_dy_error / n
        slope, slope_error = np.abs(truth.sum_dy_centered) / n, self.sum_dy_centered_error / n
        # Whatever errs in d = x - mean is multiplied with this: its own rounding 2u·|d|, that of the mean, and in
        # grade C the rounding of x and mean themselves.
        lever = scale * r_squared * (slope + slope_error)
        centered = scale * r_squared * (slope_error + (4 * u + 2 * er * (1 + er)) * slope) + 2 * u * lever
        centered = centered + self._tau * (self._abs_gamma * self._sum_abs_terms / n + scale)
        # Where gamma meets dy first, the gradient of the variance, each term of it and its n-th part may be flushed.
        centered = centered + self._tau * (truth.r + 2)
        constant = (
            scale * (sum_dy_error + 4 * u * sum_dy + self._tau * (3 + np.abs(truth.dgamma) / n))
            + lever * self.mean_error
            + 2 * self._tau
        )
        slopes: list[tuple[Array | float, Array]] = [(centered, truth.centered), (4 * u * scale, truth.dy)]
        if self.numerics.variance_grade == "C":
            constant = constant + 4 * u * lever * abs_mean
            slopes.append((2 * u * lever, truth.x))
        return self._output(self.beyond_gradients, constant, [*slopes, (er, truth.dx)], truth.dx)


class InferenceBounds(Bounds):
    """The bounds of an inference step with given statistics.

    ``mean_error`` and ``variance_error``, (C, 1), say how far the statistics that the implementation uses may be from
    the truth's; None means that they are the same numbers. They enter as the errors of the batch's do in training.
    """

    truth: InferenceTruth

    def __init__(
        self,
        truth: InferenceTruth,
        numerics: Numerics,
        kind: Kind,
        mean_error: Array | None = None,
        variance_error: Array | None = None,
    ) -> None:
        super().__init__(truth, numerics, kind)
        self._given = (mean_error, variance_error)

    def _error(self, given: Array | None) -> Array:
        return np.zeros((self.truth.channels, 1)) if given is None else given

    @cached_property
    def mean_error(self) -> Array:
        """dm, (C, 1)."""
        return self._error(self._given[0])

    @cached_property
    def _variance_error(self) -> Array:
        return self._error(self._given[1])

    @cached_property
    @quiet
    def _beyond_y(self) -> Array:
        truth = self.truth
        reach = truth.max_abs_x + np.abs(truth.mean) + self.mean_error
        largest = np.maximum(np.maximum(self._abs_gamma, self._abs_gamma_r), truth.r) * reach
        beyond = np.maximum(largest, truth.shifted) > self._limit
        return beyond | (truth.shifted < self._tau / self._u)

    @cached_property
    @quiet
    def beyond_gradients(self) -> Array:
        """Where an intermediate result of the gradients may leave the range, (C, 1)."""
        terms, r, gamma = self._sum_abs_terms, self.truth.r, self._abs_gamma
        largest = terms * np.maximum(np.maximum(1, r), gamma * np.maximum(1, r * r * r))
        return self._beyond_y | (largest > self._limit)

    @cached_property
    @quiet
    def dx(self) -> Array:
        """The bound of the gradient with respect to x, (C, m)."""
        slopes: list[tuple[Array | float, Array]] = [
            (self._tau, self.truth.dy),
            (self.rsqrt_error + 3 * self._u, self.truth.dx),
        ]
        constant = (2 + self.truth.r) * self._tau
        return self._output(self._beyond_y, constant, slopes, self.truth.dx)


def moving_bound(
    previous: Array,
    previous_bound: Array,
    statistic: Array,
    statistic_bound: Array,
    decay: float,
    numerics: Numerics,
    decay_format: Format | None = None,
) -> Array:
    """Return the bound of decay · previous + (1 - decay) · statistic, (C, 1), both (C, 1) with their own bounds.

    Covers that form and previous - (previous - statistic) · (1 - decay). ``decay_format`` is the format in which the
    implementation keeps the decay, that of the statistics where None; the error of a decay that this format does not
    hold exactly is added.
    """
    stored = numerics.statistics
    rest = 1 - decay
    old, new = np.abs(previous), np.abs(statistic)
    with np.errstate(all="ignore"):
        value = np.abs(decay * previous + rest * statistic)
        inherited = decay * previous_bound + rest * statistic_bound
        # The difference and its product with the rest are rounded in units of the old value, however small the decay.
        of_old = max(1 + decay, 2 * rest) if decay else 1.0
        rounding = stored.u * (of_old * old + 4 * rest * new + value)
        represented = _decay_error(decay, numerics.compute, decay_format or stored) * (old + new)
        bound = inherited + rounding + represented + 2 * max(numerics.compute.tau, stored.tau)
        within = value + bound <= min(numerics.compute.big, stored.big) / 2
        return np.where(within, bound, np.inf)


@cache
def _decay_error(decay: float, compute: Format, kept: Format) -> float:
    digits = min(compute.digits, kept.digits)
    # A dyadic number with at most that many digits has no error.
    if all(part.numerator.bit_length() <= digits for part in (Fraction(decay), 1 - Fraction(decay))):
        return 0.0
    return kept.u * max(decay, 1 - decay)
