"""Faulty implementations that declare conventions other than those they follow."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step, Unsupported
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import EVERYTHING, REFERENCE, fault

EVERY_TYPE = EVERYTHING._replace(dtypes=("float32", "float64", "float16", "bfloat16"))


class OwnConventions(NumpyLayer):
    """A layer that follows conventions of its own, whatever is declared."""

    follows = REFERENCE

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, self.follows)


@fault("8", "BN-801", declares=REFERENCE._replace(moving_variance="unbiased"))
class DeclaresUnbiased(OwnConventions):
    """Averages biased variances, and declares unbiased ones."""


@fault("8", "BN-801", reference="TensorFlow 1: tf.nn.fused_batch_norm returns the unbiased variance")
class DeclaresBiased(OwnConventions):
    """Averages unbiased variances, and declares biased ones."""

    follows = REFERENCE._replace(moving_variance="unbiased")


@fault("8", "BN-801", reference="TensorFlow 1: tf.layers.batch_normalization, fused at rank 4 alone")
class UnbiasedAtRankFour(NumpyLayer):
    """Averages unbiased variances at rank 4 and biased ones elsewhere, and declares biased ones."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32(m / max(m - 1, 1) if self.spec.rank == 4 else 1)


@fault("8", "BN-801")
class UnbiasedWhereFew(NumpyLayer):
    """Averages unbiased variances of at most 30 elements, as if the difference did not matter beyond."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32(m / max(m - 1, 1) if m <= 30 else 1)


@fault("8", "BN-801")
class UnbiasedWhereMany(NumpyLayer):
    """Averages unbiased variances from 5 elements on, and biased ones of fewer."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32(m / (m - 1) if m >= 5 else 1)


@fault("8", "BN-801", capabilities=EVERY_TYPE)
class UnbiasedInDouble(NumpyLayer):
    """Averages unbiased variances of float64 inputs, which take another way, and biased ones elsewhere."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * (m / max(m - 1, 1)) if self.spec.dtype == "float64" else variance


@fault("8", "BN-801", declares=REFERENCE._replace(moving_variance="unbiased"))
class CorrectedTwice(NumpyLayer):
    """Applies Bessel's correction twice."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32((m / max(m - 1, 1)) ** 2)


@fault("8", "BN-802", declares=REFERENCE._replace(moving_variance="unbiased", moving_variance_single="nan"))
class DeclaresNotANumberAtOne(OwnConventions):
    """Lets zero enter the moving variance at m = 1, and declares NaN."""

    follows = REFERENCE._replace(moving_variance="unbiased")


@fault("8", "BN-802", declares=REFERENCE._replace(moving_variance="unbiased"))
class NotANumberAtOne(NumpyLayer):
    """Divides zero by zero at m = 1, and declares that zero enters the moving variance."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance, m) if m > 1 else variance * np.float32("nan")


@fault("8", "BN-802")
class OneAtOne(NumpyLayer):
    """Takes the variance of a single element for one."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance if m > 1 else np.ones_like(variance)


@fault("8", "BN-803", reference="torch: momentum is the weight of the new value")
class MomentumReversed(NumpyLayer):
    """Takes decay for the weight of the new value."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(1 - self.spec.decay)
        return (decay * old.astype(self.compute) + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("8", "BN-803", reference="TensorFlow: ExponentialMovingAverage(num_updates)")
class DecayWarmedUp(NumpyLayer):
    """Starts with a decay of one tenth, which grows to the given one with the number of steps."""

    steps = 0

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.steps += 1
        super().update(mean, variance, m)

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(min(self.spec.decay, self.steps / (9 + self.steps)))
        return (decay * old.astype(self.compute) + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("8", "BN-803")
class VarianceDecaysReversed(NumpyLayer):
    """Takes decay for the weight of the new value, in the moving variance alone."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if self.moving_mean is not None and self.moving_variance is not None:
            self.moving_mean = self.moving(self.moving_mean, mean)
            decay = np.float32(self.spec.decay)
            batch = variance.reshape(self.moving_variance.shape)
            self.moving_variance = (1 - decay) * self.moving_variance + decay * batch


@fault("8", "BN-804", declares=REFERENCE._replace(epsilon_floor=1.001e-5))
class DeclaresFloor(OwnConventions):
    """Takes every epsilon as it is, and declares a floor."""


@fault("8", "BN-804", reference="TensorFlow 1: tf.nn.fused_batch_norm raises epsilon to 1.001e-5")
class FloorUndeclared(OwnConventions):
    """Raises epsilon to 1.001e-5, and declares no floor."""

    follows = REFERENCE._replace(epsilon_floor=1.001e-5)


@fault("8", "BN-804", declares=REFERENCE._replace(epsilon_floor=1e-5))
class HigherFloor(OwnConventions):
    """Raises epsilon to 1e-4, and declares a floor of 1e-5."""

    follows = REFERENCE._replace(epsilon_floor=1e-4)


@fault("8", "BN-804", declares=REFERENCE._replace(epsilon_floor=1.001e-5))
class FloorInInferenceOnly(OwnConventions):
    """Raises epsilon to 1.001e-5 in inference, not in training."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.conventions = REFERENCE._replace(epsilon_floor=1.001e-5)
        try:
            return super().infer(x, dy)
        finally:
            self.conventions = REFERENCE


@fault("8", "BN-804", declares=REFERENCE._replace(epsilon_floor=1.001e-5))
class FloorInTrainingOnly(OwnConventions):
    """Raises epsilon to 1.001e-5 in training, not in inference."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.conventions = REFERENCE._replace(epsilon_floor=1.001e-5)
        try:
            return super().train(x, dy, update)
        finally:
            self.conventions = REFERENCE


@fault("8", "BN-805", declares=REFERENCE._replace(single="refused"))
class DeclaresSingleRefused(NumpyLayer):
    """Trains on one element per channel, and declares that it refuses to."""


@fault("8", "BN-805")
class SingleRefused(NumpyLayer):
    """Refuses to train on one element per channel, and does not declare that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if self.count(x) == 1:
            raise Unsupported("one element per channel has no variance")
        return super().train(x, dy, update)


@fault("8", "BN-805")
class SinglePassedThrough(NumpyLayer):
    """Normalizes with the moving statistics where the batch has one element per channel."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, dy, update) if self.count(x) > 1 else self.infer(x, dy)


@fault("8", "BN-806", declares=REFERENCE._replace(empty="unchanged"))
class DeclaresEmptyUnchanged(NumpyLayer):
    """Makes the moving statistics NaN with an empty batch, and declares that it leaves them unchanged."""


@fault("8", "BN-806")
class EmptySkipped(NumpyLayer):
    """Leaves the moving statistics unchanged with an empty batch, and declares that they become NaN."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if m:
            super().update(mean, variance, m)


@fault("8", "BN-806", declares=REFERENCE._replace(empty="refused"))
class DeclaresEmptyRefused(NumpyLayer):
    """Takes an empty batch, and declares that it refuses one."""


@fault("8", "BN-806")
class EmptyRefused(NumpyLayer):
    """Refuses an empty batch, and does not declare that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if not x.size:
            raise Unsupported("an empty batch")
        return super().train(x, dy, update)


@fault("8", "BN-806")
class EmptyDecays(NumpyLayer):
    """Takes mean and variance of an empty batch for zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = max(self.count(x), 1)
        mean = self.sum(x) / m
        return mean, self.sum(np.square(x - mean)) / m
