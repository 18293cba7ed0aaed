"""Faults in what the moving statistics become at an update."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import REFERENCE, RowLayer, fault

UNBIASED = REFERENCE._replace(moving_variance="unbiased")


class OtherDecay(NumpyLayer):
    """A layer with another decay than the one it was given."""

    def decay(self) -> float:
        """The decay that takes effect."""
        return self.spec.decay

    def moving(self, old: Array, batch: Array) -> Array:
        """The new moving value with that decay."""
        decay = self.compute.type(self.decay())
        return decay * old + (1 - decay) * batch.reshape(old.shape)


class CountingLayer(NumpyLayer):
    """A layer that counts its training steps."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.steps = 0

    def update(self, mean: Array, variance: Array, m: int) -> None:
        """Count, then update."""
        self.steps += 1
        super().update(mean, variance, m)


@fault("3", "BN-305", "BN-301", "BN-302", reference="pytorch/examples#289, keras#6839, PaddlePaddle/Paddle#51120")
class DecayReversed(OtherDecay):
    """Takes the decay for the weight of the new value."""

    def decay(self) -> float:
        return 1 - self.spec.decay


@fault("3", "BN-305", "BN-301", "BN-302")
class DecayDefault(OtherDecay):
    """Uses the default decay of 0.99 whatever is given."""

    def decay(self) -> float:
        return 0.99


@fault("3", "BN-305", "BN-301")
class DecaySquared(OtherDecay):
    """Applies the decay twice, once per tower."""

    def decay(self) -> float:
        return self.spec.decay**2


@fault("3", "BN-305", "BN-301")
class DecayZeroUnset(OtherDecay):
    """Takes a decay of zero for none given, and uses 0.99."""

    def decay(self) -> float:
        return self.spec.decay or 0.99


@fault("3", "BN-305", "BN-301")
class DecayBelowOne(OtherDecay):
    """Caps the decay at 0.999, so that a decay of one still lets the batch in."""

    def decay(self) -> float:
        return min(self.spec.decay, 0.999)


@fault("3", "BN-302", "BN-305")
class DecayOfVarianceDefault(NumpyLayer):
    """Updates the moving variance with the default decay of 0.999; the mean uses the one given."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None:
            self.moving_variance = np.float32(0.999) * old + np.float32(0.001) * variance.reshape(old.shape)


@fault("3", "BN-305", "BN-301")
class DecayPerSample(OtherDecay):
    """Lets every sample of the batch decay the moving value: uses decay to the power of the batch size."""

    samples = 1

    def decay(self) -> float:
        return self.spec.decay**self.samples

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.samples = x.shape[self.axes[0]]
        return super().train(x, dy, update)


@fault("3", "BN-305", "BN-303")
class DecayWarmsUp(CountingLayer, OtherDecay):
    """Caps the decay at (1 + n) / (10 + n) after n steps, as an averaging helper does when told the step."""

    def decay(self) -> float:
        return min(self.spec.decay, (1 + self.steps) / (10 + self.steps))


@fault("3", "BN-305", "BN-303")
class CumulativeAverage(CountingLayer, OtherDecay):
    """Averages all batches with equal weight."""

    def decay(self) -> float:
        return 1 - 1 / self.steps


@fault("3", "BN-301", "BN-303")
class ZeroDebiased(CountingLayer):
    """Divides the moving mean by 1 - decay ** n, although it did not start at zero."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        weight = 1 - self.spec.decay**self.steps
        if self.moving_mean is not None and weight > 0:
            self.moving_mean = self.moving_mean / np.float32(weight)


@fault("3", "BN-301", "BN-302", "BN-303")
class FirstStepInitializes(CountingLayer):
    """Starts the moving statistics from the first batch's, whatever they were."""

    def moving(self, old: Array, batch: Array) -> Array:
        return batch.reshape(old.shape) if self.steps == 1 else super().moving(old, batch)


@fault("3", "BN-301", "BN-302")
class BatchNotWeighted(NumpyLayer):
    """Adds the batch's value without its weight of 1 - decay."""

    def moving(self, old: Array, batch: Array) -> Array:
        return np.float32(self.spec.decay) * old + batch.reshape(old.shape)


@fault("3", "BN-301", "BN-302")
class OldNotDecayed(NumpyLayer):
    """Adds (1 - decay) * batch to the moving value, which is not decayed."""

    def moving(self, old: Array, batch: Array) -> Array:
        return old + np.float32(1 - self.spec.decay) * batch.reshape(old.shape)


@fault("3", "BN-302", "BN-303")
class MovingDeviation(NumpyLayer):
    """Averages standard deviations, and squares the average."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None:
            self.moving_variance = np.square(self.moving(np.sqrt(np.abs(old)), np.sqrt(variance)))


@fault("3", "BN-302", "BN-303")
class MovingSecondMoment(NumpyLayer):
    """Averages the squares, and subtracts the square of the moving mean."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old_mean, old = self.moving_mean, self.moving_variance
        super().update(mean, variance, m)
        if old_mean is not None and self.moving_mean is not None and old is not None:
            second = self.moving(old + np.square(old_mean), variance + np.square(mean))
            self.moving_variance = second - np.square(self.moving_mean)


@fault("3", "BN-302")
class VarianceAroundNewMean(NumpyLayer):
    """Takes the batch's variance around the moving mean that was just updated."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None and self.moving_mean is not None:
            distance = mean.reshape(old.shape) - self.moving_mean
            self.moving_variance = self.moving(old, variance.reshape(old.shape) + np.square(distance))


@fault("3", "BN-302", reference="tensorflow#55545, pytorch#19902")
class UnbiasedUndeclared(NumpyLayer):
    """Averages unbiased variances, but declares biased ones."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32(m / max(m - 1, 1))


@fault("3", "BN-302", reference="tensorflow#55545")
class UnbiasedForRankFour(NumpyLayer):
    """Averages unbiased variances for inputs of rank 4 only, where a fused kernel does it."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance * np.float32(m / max(m - 1, 1)) if self.spec.rank == 4 else variance


@fault("3", "BN-302", reference="mlx#3817", declares=UNBIASED)
class BiasedUndeclared(NumpyLayer):
    """Averages biased variances, but declares unbiased ones."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return variance


@fault("3", "BN-302", declares=UNBIASED)
class UnbiasedByBatchSize(NumpyLayer):
    """Corrects the variance by n / (n - 1) with the number of samples for n, without the spatial positions."""

    samples = 1

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.samples = x.shape[self.axes[0]]
        return super().train(x, dy, update)

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance, self.samples)


@fault("3", "BN-302", declares=UNBIASED)
class UnbiasedTwice(NumpyLayer):
    """Applies Bessel's correction twice."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(super().moving_estimate(variance, m), m)


@fault("3", "BN-302", "BN-303")
class MovingVarianceRaised(NumpyLayer):
    """Keeps the moving variance at 1e-3 at least."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        if self.moving_variance is not None:
            self.moving_variance = np.maximum(self.moving_variance, np.float32(1e-3))


@fault("3", "BN-301", "BN-303")
class MovingFromFirstSample(RowLayer):
    """Updates the moving mean with the mean of the first sample."""

    first: Array

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        sample = np.take(x, [0], axis=self.axes[0])
        self.first = self.sum(sample) / self.count(sample)
        return super().train(x, dy, update)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(self.first, variance, m)


@fault("3", "BN-301")
class SmallUpdatesSkipped(NumpyLayer):
    """Leaves a moving value as it is where it would change by less than one percent."""

    def moving(self, old: Array, batch: Array) -> Array:
        new = super().moving(old, batch)
        return np.where(np.abs(new - old) < np.float32(0.01) * np.abs(old), old, new)


@fault("3", "BN-302", reference="torch/nn#567")
class MovingOfPrecision(NumpyLayer):
    """Averages 1 / variance, and stores the reciprocal of the average."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None:
            tiny = np.float32(1e-12)
            self.moving_variance = 1 / self.moving(1 / (old + tiny), 1 / (variance + tiny))
