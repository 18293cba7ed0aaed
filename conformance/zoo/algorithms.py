"""Correct implementations by further algorithms: what compilers, kernels and careful authors make of the formulas."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import REFERENCE, RowLayer, variant


@variant(REFERENCE._replace(variance_grade="C"))
class TextbookSums(NumpyLayer):
    """Computes the variance from the two sums alone: (sum(x^2) - sum(x)^2 / m) / m, not below zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        total = self.sum(x)
        return total / m, np.maximum((self.sum(np.square(x)) - np.square(total) / m) / m, np.float32(0))


@variant(REFERENCE._replace(variance_grade="B"))
class HalvesMerged(RowLayer):
    """Takes two passes over each half, and merges the halves with the distance of their means."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        half, m = len(rows) // 2, len(rows)
        if not half:
            return super().row_statistics(rows)
        (mean_a, a), (mean_b, b) = super().row_statistics(rows[:half]), super().row_statistics(rows[half:])
        weight = np.float32(half / m)
        between = np.square(mean_b - mean_a) * weight * (1 - weight)
        return mean_a + (mean_b - mean_a) * (1 - weight), a * weight + b * (1 - weight) + between


@variant()
class WelfordInDouble(RowLayer):
    """Updates mean and variance element by element in float64."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        # There is no mean of nothing.
        mean, squares = np.full(rows.shape[1:], 0 if len(rows) else np.nan), np.zeros(rows.shape[1:])
        for n, row in enumerate(rows.astype(np.float64), 1):
            distance = row - mean
            mean = mean + distance / n
            squares = squares + distance * (row - mean)
        return mean.astype(self.compute), (squares / len(rows)).astype(self.compute)


@variant()
class OnePassInDouble(NumpyLayer):
    """Computes E[x^2] - E[x]^2 in float64, which has digits to spare."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m, wide = self.count(x), x.astype(np.float64)
        mean = self.sum(wide) / m
        variance = np.maximum(self.sum(np.square(wide)) / m - np.square(mean), 0)
        return mean.astype(self.compute), variance.astype(self.compute)


@variant()
class CompensatedSums(RowLayer):
    """Adds up by Kahan's compensated summation."""

    def row_sum(self, rows: Array) -> Array:
        total, lost = np.zeros(rows.shape[1:], rows.dtype), np.zeros(rows.shape[1:], rows.dtype)
        for row in rows:
            term = row - lost
            new = total + term
            lost = (new - total) - term
            total = new
        # What is infinite has lost what is not a number.
        return np.where(np.isfinite(lost), total, np.add.reduce(rows, axis=0))


@variant()
class FactorFirst(NumpyLayer):
    """Multiplies gamma with 1 / sqrt first, once per channel, as compilers do that may reassociate."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return (x - mean) * (self.scale() * r) + self.shift()

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m = self.count(x)
        dbeta, projected = self.sum(dy), self.sum(dy * (x - mean))
        slope = projected * (r * r / m)
        return (self.scale() * r) * (dy - dbeta / m - (x - mean) * slope), projected * r, dbeta


@variant()
class FusedMultiplyAdd(NumpyLayer):
    """Rounds once where others round twice: products and sums are fused."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        normalized = ((x - mean) * r).astype(np.float64)
        return (self.scale() * normalized + self.shift()).astype(self.compute)

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(self.spec.decay)
        kept = (decay * old.astype(self.compute)).astype(np.float64)
        return (kept + (1 - decay).astype(np.float64) * batch.reshape(old.shape)).astype(old.dtype)


@variant(REFERENCE._replace(affine_grade="F"))
class FoldedWithFusedMultiplyAdd(NumpyLayer):
    """Evaluates a * x + b with one rounding."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        factor = self.scale() * r
        shift = (self.shift() - mean * factor).astype(np.float64)
        return (x.astype(np.float64) * factor + shift).astype(self.compute)


@variant()
class RootFromBits(NumpyLayer):
    """Computes 1 / sqrt from the bits of the number and four Newton steps, then divides where that left the range."""

    def rsqrt(self, variance: Array) -> Array:
        w = np.ascontiguousarray(variance + np.float32(self.spec.epsilon))
        guess = (np.uint32(0x5F3759DF) - (w.view(np.uint32) >> np.uint32(1))).view(np.float32)
        for _ in range(4):
            guess = guess + np.float32(0.5) * guess * (1 - (w * guess) * guess)
        inside = (w > np.float32(1e-30)) & (w < np.float32(1e30))
        return np.where(inside, guess, 1 / np.sqrt(w))


@variant()
class NormalizesCopyInPlace(NumpyLayer):
    """Normalizes a copy of its input in place, step by step."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if self.moving_mean is None or self.moving_variance is None:
            return step
        y = x.astype(self.compute)
        y -= self.broadcast(self.moving_mean)
        y *= self.rsqrt(self.broadcast(self.moving_variance))
        y *= self.scale()
        y += self.shift()
        return step._replace(y=y)
