"""Fault models that err in one of two places that are usually written alike: one statistic, or one mode."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer


class _Reversed(NumpyLayer):
    def reversed(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(self.spec.decay)
        return ((1 - decay) * old + decay * batch.reshape(old.shape)).astype(old.dtype)


class MeanDecayReversed(_Reversed):
    """Takes the decay for the weight of the new value in the moving mean, and only there."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        before = self.moving_mean
        super().update(mean, variance, m)
        if before is not None:
            self.moving_mean = self.reversed(before, mean)


class VarianceDecayReversed(_Reversed):
    """Takes the decay for the weight of the new value in the moving variance, and only there."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        before = self.moving_variance
        super().update(mean, variance, m)
        if before is not None:
            self.moving_variance = self.reversed(before, self.moving_estimate(variance, m))


class BetaTwiceInInference(NumpyLayer):
    """Adds beta twice in inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        return step._replace(y=self.narrowed(self.widened(step.y) + self.shift()))


class CenteredByUpdatedMean(NumpyLayer):
    """Subtracts the moving mean in training, right after its update, in place of the batch's mean."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.moving_mean is None:
            return step
        wide = self.widened(x)
        r = self.rsqrt(self.batch_statistics(wide)[1])
        return step._replace(y=self.narrowed(self.affine(wide, np.asarray(self.broadcast(self.moving_mean)), r)))


class UnbiasedOutput(NumpyLayer):
    """Normalizes with the unbiased variance, divided by m - 1; what the moving variance becomes is right."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        wide, m = self.widened(x), self.count(x)
        mean, variance = self.batch_statistics(wide)
        r = self.rsqrt(variance * (m / (m - 1) if m > 1 else np.nan))
        gradients = None if dy is None else self.training_gradients(wide, self.widened(dy), mean, r)
        if update:
            self.update(mean, variance, m)
        return self.result(x, self.affine(wide, mean, r), gradients)


class UnbiasedOutputAndGradient(UnbiasedOutput):
    """Normalizes with the unbiased variance, divided by m - 1, and derives dx from that; the moving one is right."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        m, normalized = self.count(x), (x - mean) * r
        dgamma, dbeta = self.sum(dy * normalized), self.sum(dy)
        dx = self.scale() * r * (dy - dbeta / m - normalized * (dgamma / (m - 1 or np.nan)))
        return dx, dgamma, dbeta


class MovingAsComputed(NumpyLayer):
    """Gives moving statistics no more digits than the type has that is computed in, fewer than their own."""


BESSEL: list[type[NumpyLayer]] = [UnbiasedOutput, UnbiasedOutputAndGradient]
DECAY: list[type[NumpyLayer]] = [MeanDecayReversed, VarianceDecayReversed]
AFFINE: list[type[NumpyLayer]] = [BetaTwiceInInference]
MODE: list[type[NumpyLayer]] = [CenteredByUpdatedMean]
PRECISION: list[type[NumpyLayer]] = [MovingAsComputed]
