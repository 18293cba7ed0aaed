"""Second order: the gradients of Σ v·dx, dx being the input gradient of a training step; truth and error bounds.

With x̂ = (x - mean)·r, G = mean(dy·x̂), V = mean(v·x̂) and A = Σ (v - mean v)·(dy - mean dy), all per channel:

    Σ v·dx = gamma · r · (A - m·V·G)
    its gradient with respect to x       gamma · r² · (x̂·(3·V·G - A/m) - (v - mean v)·G - (dy - mean dy)·V)
                          with respect to dy      gamma · r · (v - mean v - x̂·V)    (the formula of dx, with v for dy)
                          with respect to gamma   r · (A - m·V·G)

from d r/d x = -r³·(x - mean)/m and the linearity of mean(dy·x̂)/r in x.
"""

from functools import cached_property

import numpy as np

from adapters.interface import Array
from conformance._bounds import Numerics, finite, quiet
from conformance._growth import Kind, growth
from conformance.bounds import TrainingBounds
from conformance.oracle import TrainingTruth


class SecondTruth:
    """The three gradients, in the precision of the training truths of dy and of v, which are made on the same x."""

    def __init__(self, of_dy: TrainingTruth, of_v: TrainingTruth) -> None:
        self.of_dy = of_dy
        self.of_v = of_v
        self.count = of_dy.host.type(of_dy.count)

    @cached_property
    @quiet
    def centered_dy(self) -> Array:
        """The upstream gradient less its mean, (C, m)."""
        return self.of_dy.dy - self.of_dy.sum_dy / self.count

    @cached_property
    @quiet
    def centered_v(self) -> Array:
        """The cotangent less its mean, (C, m)."""
        return self.of_v.dy - self.of_v.sum_dy / self.count

    @cached_property
    @quiet
    def both(self) -> Array:
        """A/m, (C, 1)."""
        return self.of_dy.row_sums(self.centered_v * self.centered_dy) / self.count

    @property
    def along_dy(self) -> Array:
        """G, (C, 1)."""
        return self.of_dy.dgamma / self.count

    @property
    def along_v(self) -> Array:
        """V, (C, 1)."""
        return self.of_v.dgamma / self.count

    @cached_property
    @quiet
    def x(self) -> Array:
        """The gradient with respect to x, (C, m)."""
        truth, g, v = self.of_dy, self.along_dy, self.along_v
        inner = truth.normalized * (3 * g * v - self.both) - self.centered_v * g - self.centered_dy * v
        return truth.gamma * truth.r * truth.r * inner

    @property
    def dy(self) -> Array:
        """The gradient with respect to dy, (C, m)."""
        return self.of_v.dx

    @cached_property
    @quiet
    def gamma(self) -> Array:
        """The gradient with respect to gamma, (C, 1)."""
        return self.of_dy.r * self.count * (self.both - self.along_dy * self.along_v)


class SecondBounds:
    """How far from the truth correct implementations may be, to first order in the unit roundoff u.

    Each sum has the error of its terms' rounding and growth, be it made of v and dy as they are or centred: that of A
    is dA = u·(h + 8)·(Σ|v·dy| + |mean v|·Σ|dy| + |mean dy|·Σ|v|) and what the errors of the two means make of it; those
    of V and G are the errors of dgamma. Products of them err by the sum of their relative errors, er for each r and u
    for each operation. x - mean errs by dm and its own rounding 4u·|x - mean|, and by 4u·(|x| + 2·|mean|) where it is
    multiplied out, as differentiating a folded output or E[x²] - E[x]² does; so are the sums then. The gradient with
    respect to gamma may also be summed from v·dx.

    For half inputs u is that of the input: dx is rounded to it before it is differentiated, and implementations that
    compose the second derivative of operations round all results in between (torch 2.13 does).
    """

    def __init__(self, truth: SecondTruth, numerics: Numerics, kind: Kind) -> None:
        self.truth = truth
        if numerics.output.u > numerics.compute.u:
            numerics = numerics._replace(compute=numerics.output, statistics=numerics.output)
        self.folded = "F" in (numerics.affine_grade, "F" if numerics.variance_grade == "C" else "")
        self.numerics = numerics._replace(affine_grade="F") if self.folded else numerics
        self.of_dy = TrainingBounds(truth.of_dy, self.numerics, kind)
        self.of_v = TrainingBounds(truth.of_v, self.numerics, kind)
        self.kind = kind
        self.u, self.tau = numerics.compute.u, numerics.compute.tau

    @cached_property
    @quiet
    def _terms(self) -> Array:
        """The magnitude of all terms that A/m may be summed from, (C, 1)."""
        g, v = self.truth.of_dy, self.truth.of_v
        raw = np.abs(g.dy * v.dy).sum(axis=1, keepdims=True)
        means = np.abs(v.sum_dy) * g.sum_abs_dy + np.abs(g.sum_dy) * v.sum_abs_dy
        return (raw + means / g.count) / g.count

    @cached_property
    @quiet
    def _both_error(self) -> Array:
        """The error of A/m."""
        g, v, n, compute = self.truth.of_dy, self.truth.of_v, self.truth.of_dy.count, self.numerics.compute
        h = np.maximum(
            growth(self.kind, compute, v.dy, g.dy),
            growth(self.kind, compute, self.truth.centered_v, self.truth.centered_dy),
        )
        dg, dv = self.of_dy.sum_dy_error / n, self.of_v.sum_dy_error / n
        means = np.abs(v.sum_dy) / n * dg + np.abs(g.sum_dy) / n * dv + dg * dv
        return self.u * (h + 8) * self._terms + means + 2 * self.tau

    @cached_property
    @quiet
    def _along_errors(self) -> tuple[Array, Array]:
        """The errors of G and V but for that of r."""
        r, n = self.truth.of_dy.r, self.truth.of_dy.count
        return r * self.of_dy.sum_dy_centered_error / n, r * self.of_v.sum_dy_centered_error / n

    @cached_property
    @quiet
    def _product_error(self) -> Array:
        """The error of V·G but for that of r."""
        dg, dv = self._along_errors
        g, v = np.abs(self.truth.along_dy), np.abs(self.truth.along_v)
        return v * dg + g * dv + dg * dv

    @cached_property
    @quiet
    def _centered_error(self) -> Array:
        """The error of x - mean, (C, m)."""
        truth, u = self.truth.of_dy, self.u
        error = self.of_dy.mean_error + 4 * u * np.abs(truth.centered)
        if self.folded:
            error = error + 4 * u * (np.abs(truth.x) + 2 * np.abs(truth.mean))
        return error

    @cached_property
    @quiet
    def _beyond(self) -> Array:
        truth = self.truth.of_dy
        power = np.maximum(1, truth.r) ** 5 * np.maximum(1, np.abs(truth.gamma))
        largest = power * np.maximum(1, truth.count * self._terms) * np.maximum(1, truth.max_abs_x)
        sums = np.maximum(1, self.truth.of_dy.sum_abs_dy_x) * np.maximum(1, self.truth.of_v.sum_abs_dy_x)
        return (
            self.of_dy.beyond_gradients
            | self.of_v.beyond_gradients
            | (np.maximum(largest, power * sums) > self.numerics.compute.big / 4)
        )

    @cached_property
    @quiet
    def _flushed(self) -> Array:
        """What is lost where a product below the smallest normal number becomes zero, (C, 1)."""
        truth = self.truth
        sizes = np.abs(truth.along_dy) + np.abs(truth.along_v) + self._terms
        sizes = sizes + np.abs(truth.of_dy.dy).max(axis=1, keepdims=True, initial=0)
        sizes = sizes + np.abs(truth.of_v.dy).max(axis=1, keepdims=True, initial=0)
        r = truth.of_dy.r
        return self.tau * (8 + np.abs(truth.of_dy.gamma)) * (1 + r + r * r + r * r * r) * (8 + 4 * sizes)

    @cached_property
    @quiet
    def _slopes(self) -> tuple[Array, Array]:
        """The magnitudes of mean(dy·(x - mean)) and mean(v·(x - mean)), (C, 1): G/r and V/r."""
        g, v = self.truth.of_dy, self.truth.of_v
        return np.abs(g.sum_dy_centered) / g.count, np.abs(v.sum_dy_centered) / v.count

    @cached_property
    @quiet
    def x(self) -> Array:
        """The bound of the gradient with respect to x, (C, m)."""
        truth, u, er, tr = self.truth, self.u, self.of_dy.rsqrt_error, self.truth.of_dy
        g, v, (dg, dv) = np.abs(truth.along_dy), np.abs(truth.along_v), self._along_errors
        normalized, both = np.abs(tr.normalized), np.abs(truth.both)
        first = self._both_error + both * (3 * er + 8 * u) + 8 * u * self._terms
        second = 3 * (self._product_error + g * v * (5 * er + 10 * u))
        lever = both + self._both_error + 3 * (g + dg) * (v + dv)
        error = normalized * (first + second) + tr.r * self._centered_error * lever
        for other, d_other, size, bounds in ((truth.of_v, dg, g, self.of_v), (truth.of_dy, dv, v, self.of_dy)):
            mean, raw = np.abs(other.sum_dy) / tr.count, np.abs(other.dy)
            error = error + (bounds.sum_dy_error / tr.count + 8 * u * (raw + mean)) * (size + d_other)
            error = error + np.abs(other.dy - other.sum_dy / tr.count) * (d_other + size * (3 * er + 8 * u))
        # r³ and r⁵ may be flushed to zero where the data are large.
        slope_g, slope_v = self._slopes
        lost = np.abs(tr.centered) * (both + 3 * slope_g * slope_v)
        lost = lost + slope_g * np.abs(truth.centered_v) + slope_v * np.abs(truth.centered_dy)
        error = np.abs(tr.gamma) * (tr.r * tr.r * error + 4 * self.tau * lost) + self._flushed
        return self._stored(error, truth.x)

    @cached_property
    @quiet
    def dy(self) -> Array:
        """The bound of the gradient with respect to dy, (C, m)."""
        tr, bound = self.truth.of_dy, self.of_v.dx
        lever = np.abs(tr.gamma) * tr.r * tr.r * (np.abs(self.truth.along_v) + self._along_errors[1])
        lost = 4 * self.tau * np.abs(tr.gamma * tr.centered) * self._slopes[1]
        return np.where(self._beyond, np.inf, bound + lever * self._centered_error + lost + self._flushed)

    @cached_property
    @quiet
    def gamma(self) -> Array:
        """The bound of the gradient with respect to gamma, (C, 1)."""
        truth, u, er, tr = self.truth, self.u, self.of_dy.rsqrt_error, self.truth.of_dy
        g, v = np.abs(truth.along_dy), np.abs(truth.along_v)
        error = self._both_error + np.abs(truth.both) * (er + 8 * u)
        error = tr.r * tr.count * (error + self._product_error + g * v * (3 * er + 10 * u))
        plain = TrainingBounds(
            TrainingTruth(tr.x, None, None, float(tr.epsilon), tr.dy, tr.host), self.numerics, self.kind
        )
        dx, weights = plain.truth.dx, np.abs(truth.of_v.dy)
        h = growth(self.kind, self.numerics.compute, truth.of_v.dy, dx)
        summed = np.sum(weights * plain.dx, axis=1, keepdims=True)
        summed = summed + u * (h + 3) * np.sum(weights * np.abs(dx), axis=1, keepdims=True)
        slope_g, slope_v = self._slopes
        lost = 4 * self.tau * tr.count * (np.abs(truth.both) + slope_g * slope_v)
        stored = np.maximum(error, summed) + lost + self._flushed
        return finite(stored * (1 + u) + self.numerics.statistics.sub, self._beyond, tr.slack)

    def _stored(self, error: Array, value: Array) -> Array:
        """Rounded to the output's format, and infinite where that may be left."""
        output = self.numerics.output
        narrowing = 0.0 if output.u == self.u else output.u
        bound = (error * (1 + output.u) + narrowing * np.abs(value) + output.sub) * self.truth.of_dy.slack
        within = (np.abs(value) + bound <= output.big / 2) & ~self._beyond
        return np.where(within, bound, np.inf)
