"""Faults that few cases show: at certain sizes, from certain states, on certain data."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import CAPABILITIES, NumpyLayer
from conformance.zoo.registry import RowLayer, fault

Gradients = tuple[Array, Array, Array]


@fault("6", "BN-101", "BN-302", "BN-303")
class RowsBeyondSixteenLeftOut(NumpyLayer):
    """Takes the variance over the first sixteen rows of an image."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if len(self.axes) >= 3 and x.shape[self.axes[-2]] > 16:
            seen = np.take(x - mean, range(16), self.axes[-2])
            variance = self.sum(np.square(seen)) / self.count(seen)
        return mean, variance


@fault("6", "BN-101", "BN-301", "BN-303")
class FirstOfFewLargeSamples(NumpyLayer):
    """Takes statistics from the first sample alone where samples have a thousand elements per channel."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        samples = len(x) if 0 in self.axes and len(self.axes) >= 3 else 1
        large = samples > 1 and self.count(x) >= 1000 * samples
        return super().batch_statistics(x[:1] if large else x)


@fault("6", "BN-302", "BN-303", "BN-101")
class TilesForgetEachOther(RowLayer):
    """Averages the variances of tiles of 256 positions in few large samples: what lies between tiles is lost."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, variance = super().row_statistics(rows)
        if len(rows) > 256 and self.spec.rank > 2:
            variance = np.mean([np.var(rows[n : n + 256], axis=0) for n in range(0, len(rows), 256)], axis=0)
        return mean, variance.astype(mean.dtype)


@fault("3", "BN-101", "BN-322", "BN-303")
class EightDevicesApart(NumpyLayer):
    """Averages the variances that eight devices found, each about a mean of its own."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if 0 in self.axes and len(x) >= 16 and len(x) % 8 == 0:
            variance = np.mean([NumpyLayer.batch_statistics(self, part)[1] for part in np.split(x, 8)], 0)
        return mean, variance


@fault("6", "BN-608", "BN-101", "BN-201")
class EqualAxesAsGiven(NumpyLayer):
    """Reads parameters of two axes in the order in which the axes are given."""

    def broadcast(self, parameter: Array) -> Array:
        axes = [axis % self.spec.rank for axis in self.spec.axis]
        same = len(axes) == 2 and parameter.shape[0] == parameter.shape[1]
        return super().broadcast(parameter.T if same and axes[0] > axes[1] else parameter)


@fault("4", "BN-401", "BN-430", "BN-405", "BN-406")
class CorrelationTermWithoutEpsilon(NumpyLayer):
    """Divides the third term of dx by the variance without epsilon."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        m, distance = self.count(x), x - mean
        variance = self.sum(np.square(distance)) / m
        third = distance * (self.sum(dy * distance) / m) / np.where(variance > 0, variance, 1)
        return self.scale() * r * (dy - dbeta / m - third), dgamma, dbeta


@fault("4", "BN-401", "BN-403")
class OnePassInBackward(NumpyLayer):
    """Computes the variance anew in the backward pass, as E[x^2] - E[x]^2."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        variance = self.sum(np.square(x)) / self.count(x) - np.square(mean)
        return super().training_gradients(x, dy, mean, self.rsqrt(np.maximum(variance, 0)))


@fault("4", "BN-401", "BN-408")
class GammaFixedDropsCorrelation(NumpyLayer):
    """Leaves out the third term of dx with the gradient of gamma where there is no gamma."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx if self.spec.scale else self.scale() * r * (dy - dbeta / self.count(x)), dgamma, dbeta


@fault("4", "BN-401", "BN-402", capabilities=CAPABILITIES)
class NormalizedKeptInSingle(NumpyLayer):
    """Keeps the normalized values for the backward pass in float32, also where the arithmetic is in float64."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m, dbeta = self.count(x), self.sum(dy)
        normalized = ((x - mean) * r).astype(np.float32).astype(x.dtype)
        dgamma = self.sum(dy * normalized)
        return self.scale() * r * (dy - dbeta / m - normalized * (dgamma / m)), dgamma, dbeta


@fault("3", "BN-303", "BN-301")
class ZeroMeanIsUnset(NumpyLayer):
    """Takes an old moving mean of zero for none: the batch's mean replaces it."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_mean
        super().update(mean, variance, m)
        if old is not None and self.moving_mean is not None:
            self.moving_mean = np.where(old == 0, mean.reshape(old.shape), self.moving_mean).astype(old.dtype)


@fault("3", "BN-303", "BN-302")
class ConstantChannelNotUpdated(NumpyLayer):
    """Leaves the moving variance of a channel as it is where the batch's is zero."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None and self.moving_variance is not None and m > 1:
            self.moving_variance = np.where(variance.reshape(old.shape) == 0, old, self.moving_variance)


@fault("3", "BN-303", "BN-301", "BN-307")
class SmallChangesSkipped(NumpyLayer):
    """Leaves moving statistics as they are where they would change by less than a hundred-thousandth."""

    def moving(self, old: Array, batch: Array) -> Array:
        new = super().moving(old, batch)
        kept: Array = np.where(np.abs(new - old) < 1e-5 * np.abs(old), old, new)
        return kept


@fault("3", "BN-303", "BN-301")
class DriftsTowardsZero(NumpyLayer):
    """Loses two millionths of the moving statistics in every step."""

    def moving(self, old: Array, batch: Array) -> Array:
        return (super().moving(old, batch) * (1 - 2e-6)).astype(old.dtype)


@fault("3", "BN-303", "BN-305")
class SmallDecayIsNone(NumpyLayer):
    """Takes a decay below a hundredth for zero."""

    def moving(self, old: Array, batch: Array) -> Array:
        tiny = 0 < self.spec.decay < 0.01
        return batch.reshape(old.shape).astype(old.dtype) if tiny else super().moving(old, batch)


@fault("1", "BN-101", "BN-609")
class DuplicateSamplesDropped(NumpyLayer):
    """Takes statistics over samples that differ from each other."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        if 0 in self.axes and len(x) > 1 and np.isfinite(x).all():
            x = np.unique(x, axis=0)
        return super().batch_statistics(x)


@fault("4", "BN-410", "BN-401", "BN-407")
class HugeUpstreamClipped(NumpyLayer):
    """Clips upstream gradients at a million."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return super().training_gradients(x, np.clip(dy, -1e6, 1e6), mean, r)
