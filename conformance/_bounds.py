"""What the bounds of training and of inference have in common: everything but the errors of the statistics in use.

The symbols are those of ``conformance.bounds``.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from adapters.interface import Array
from conformance._growth import Growth, Kind
from conformance.formats import Format
from conformance.oracle import InferenceTruth, TrainingTruth

#: Error of 1/√w in units of u: square root and division take 1.5, a hardware estimate with a Newton step up to 4.
_RSQRT_ULPS = 4.0
#: An intermediate result above this part of the largest finite number may overflow on some way.
_HEADROOM = 0.25

quiet = np.errstate(all="ignore")


class Numerics(NamedTuple):
    """What an implementation declares about its arithmetic.

    ``compute`` is the arithmetic's format, ``output`` that of y and dx, ``statistics`` that of the mean, variance,
    dgamma and dbeta. ``variance_grade``: "A" two passes, "B" updating formulas, "C" E[x²] - E[x]². ``affine_grade``:
    "S" subtracts the mean first, "F" folds the output into y = a·x + b.
    """

    compute: Format
    output: Format
    statistics: Format
    variance_grade: str
    affine_grade: str


def finite(bound: Array, beyond: Array, slack: float = 1.0) -> Array:
    """Return the bound times the truth's slack, infinite where it is NaN or beyond the range."""
    scaled = bound if slack == 1 else bound * slack
    return np.where(beyond | np.isnan(scaled), np.inf, scaled)


def _summing(numerics: Numerics, kind: Kind) -> Kind:
    """How the growth of rounding errors in sums is found.

    Inputs of a narrower type than the arithmetic's lie on a coarse grid. Terms made of them round alike, however many
    differ, and with an error in the mean otherwise than on trial: a panel of orders tells too little.
    """
    return "worst" if kind == "panel" and numerics.output.digits < numerics.compute.digits else kind


class Bounds:
    """What training and inference have in common: everything after the errors dm and dv of the statistics in use."""

    def __init__(self, truth: TrainingTruth | InferenceTruth, numerics: Numerics, kind: Kind) -> None:
        self.truth = truth
        self.numerics = numerics
        self.kind = kind
        self._u = numerics.compute.u
        self._tau = numerics.compute.tau
        self._limit = numerics.compute.big * _HEADROOM
        summing = _summing(numerics, kind)
        self._growth: Growth = truth.growths.setdefault(
            (numerics.compute.name, summing), Growth(truth, numerics.compute, summing)
        )

    def _narrowing(self, target: Format) -> float:
        """Relative error of the final rounding, where the target is narrower than the arithmetic."""
        return 0.0 if target.u == self._u else target.u

    def _stored(self, error: Array, value: Array, target: Format) -> Array:
        """Return the error after the value has been rounded to the target format, where it may be out of range."""
        magnitude = np.abs(value)
        # A narrower format may flush to zero what the arithmetic still had.
        smallest = target.tau if target.u > self._u else target.sub
        stored = error + (self._narrowing(target) * magnitude + smallest)
        return np.where(magnitude + stored <= target.big / 2, stored, np.inf)

    def _output(self, beyond: Array, constant: Array, slopes: list[tuple[Array | float, Array]], value: Array) -> Array:
        """Return constant + Σ slope · |element|, (C, m), the last slope being that of the value itself, as stored."""
        output = self.numerics.output
        growing = 1 + output.u
        magnitude = np.abs(value)
        bound = magnitude * (slopes[-1][0] * growing + self._narrowing(output))
        bound += constant * growing + output.sub
        for slope, element in slopes[:-1]:
            term = np.abs(element)
            term *= slope * growing
            bound += term
        bound *= self.truth.slack
        magnitude += bound
        # A NaN is not within the range either.
        within = magnitude <= output.big / 2
        return np.where(within & ~beyond, bound, np.inf)

    @cached_property
    def mean_error(self) -> Array:
        """dm, (C, 1)."""
        raise NotImplementedError

    @cached_property
    def _variance_error(self) -> Array:
        """dv, (C, 1)."""
        raise NotImplementedError

    @cached_property
    def _abs_gamma_r(self) -> Array:
        return self._abs_gamma * self.truth.r

    @cached_property
    def _abs_gamma(self) -> Array:
        return np.abs(self.truth.gamma)

    @cached_property
    @quiet
    def rsqrt_error(self) -> Array:
        """er: the relative error of r, from that of w and of its evaluation."""
        w, u = self.truth.shifted, self._u
        rho = (self._variance_error * (1 + u) + u * w + (u * self.truth.epsilon + self._tau)) / w
        inherited = np.where(rho < 1, np.expm1(-0.5 * np.log1p(-rho)), np.inf)
        return inherited + _RSQRT_ULPS * u * (1 + inherited)

    @cached_property
    def _beyond_y(self) -> Array:
        """Where an intermediate result of the output may leave the range, (C, 1)."""
        raise NotImplementedError

    @cached_property
    @quiet
    def y(self) -> Array:
        """The bound of the output, (C, m)."""
        truth, u, er = self.truth, self._u, self.rsqrt_error
        scale = self._abs_gamma_r
        # Below tau, x - mean, the normalized value and the result itself may be flushed to zero.
        constant = scale * (self.mean_error * (1 + er) + self._tau) + (2 + self._abs_gamma) * self._tau
        slopes: list[tuple[Array | float, Array]] = [(scale * (er + 3 * u) + self._tau, truth.centered)]
        if self.numerics.affine_grade == "F":
            constant = constant + u * (2 * scale * np.abs(truth.mean) + np.abs(truth.beta))
            slopes.append((u * scale, truth.x))
        return self._output(self._beyond_y, constant, [*slopes, (1.2 * u, truth.y)], truth.y)

    @cached_property
    def sum_dy_error(self) -> Array:
        """dS1: the error of Σ g. Each term and each partial sum may be flushed to zero below tau."""
        return self._u * (self._growth.dy + 1) * self.truth.sum_abs_dy + 2 * self.truth.count * self._tau

    @cached_property
    def _sum_abs_terms(self) -> Array:
        """The magnitude of the terms that dgamma is summed from."""
        truth = self.truth
        return truth.sum_abs_dy_x if self.numerics.affine_grade == "F" else truth.sum_abs_dy_centered

    @cached_property
    def sum_dy_centered_error(self) -> Array:
        """dS2: the error of Σ g·d. Each d, each product and each partial sum may be flushed to zero below tau."""
        growth = self._growth.dy_folded if self.numerics.affine_grade == "F" else self._growth.dy_centered
        shifted = self.mean_error * (np.abs(self.truth.sum_dy) + self.sum_dy_error)
        flushed = self._tau * (2 * self.truth.count + self.truth.sum_abs_dy)
        return self._u * (growth + 3) * self._sum_abs_terms + shifted + flushed

    @cached_property
    def beyond_gradients(self) -> Array:
        """Where an intermediate result of dgamma may leave the range, (C, 1)."""
        raise NotImplementedError

    @cached_property
    @quiet
    def dgamma(self) -> Array:
        """The bound of the gradient with respect to gamma, (C, 1)."""
        truth, er = self.truth, self.rsqrt_error
        error = truth.r * (self.sum_dy_centered_error * (1 + er) + np.abs(truth.sum_dy_centered) * (er + 3 * self._u))
        # A normalized value below tau may be flushed to zero before it meets its dy.
        error = error + self._tau * (1 + truth.sum_abs_dy)
        stored = self._stored(error, truth.dgamma, self.numerics.statistics)
        return finite(stored, self.beyond_gradients, truth.slack)

    @cached_property
    @quiet
    def dbeta(self) -> Array:
        """The bound of the gradient with respect to beta, (C, 1)."""
        stored = self._stored(self.sum_dy_error + self._tau, self.truth.sum_dy, self.numerics.statistics)
        return finite(stored, self.truth.sum_abs_dy > self._limit, self.truth.slack)
