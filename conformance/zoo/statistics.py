"""Faults in which elements enter the statistics of a training batch, and how."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import RowLayer, fault


class PartialReduction(NumpyLayer):
    """Takes statistics over some of the axes only; the moving statistics receive the averages over the others."""

    def partial(self) -> tuple[int, ...]:
        """The axes that are reduced."""
        return self.axes

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Statistics over the partial axes."""
        mean = np.mean(x, axis=self.partial(), keepdims=True)
        return mean, np.mean(np.square(x - mean), axis=self.partial(), keepdims=True)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        """Average what was not reduced."""
        super().update(np.mean(mean, axis=self.axes), np.mean(variance, axis=self.axes), m)

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        """The right gradients of the wrong output."""
        h = (x - mean) * r
        mean_dy = np.mean(dy, axis=self.partial(), keepdims=True)
        mean_h = np.mean(dy * h, axis=self.partial(), keepdims=True)
        return self.scale() * r * (dy - mean_dy - h * mean_h), self.sum(dy * h), self.sum(dy)


@fault("1", "BN-101", "BN-102", reference="pytorch#83256")
class UnbiasedNormalization(NumpyLayer):
    """Normalizes with the unbiased variance: divides by m - 1."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        m = self.count(x)
        return mean, variance * (m / max(m - 1, 1))


@fault("1", "BN-101")
class SpatialStatistics(PartialReduction):
    """Takes the statistics of each sample over its spatial axes, as instance normalization does."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[1:] or self.axes


@fault("1", "BN-101", "BN-105")
class BatchAxisStatistics(PartialReduction):
    """Takes the statistics over the batch axis only, separately at each spatial position."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[:1]


@fault("1", "BN-101")
class RankThreeByPosition(PartialReduction):
    """For inputs of rank 3 takes the statistics of each position by itself, as if it were a feature."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[:1] if self.spec.rank == 3 else self.axes


@fault("1", "BN-101")
class FifthAxisForgotten(PartialReduction):
    """For inputs of rank 5 does not reduce over the last of the reduction axes."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[:-1] if self.spec.rank == 5 and len(self.axes) > 1 else self.axes


@fault("1", "BN-101", "BN-105")
class GhostBatches(PartialReduction):
    """Normalizes groups of eight samples each with their own statistics."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        axis = self.axes[0]
        means, variances = [], []
        for start in range(0, x.shape[axis], 8):
            group = np.take(x, range(start, min(start + 8, x.shape[axis])), axis=axis)
            mean = self.sum(group) / self.count(group)
            variance = self.sum(np.square(group - mean)) / self.count(group)
            means.append(np.repeat(mean, group.shape[axis], axis=axis))
            variances.append(np.repeat(variance, group.shape[axis], axis=axis))
        return np.concatenate(means, axis=axis), np.concatenate(variances, axis=axis)

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        return NumpyLayer.training_gradients(self, x, dy, mean, r)


@fault("1", "BN-101")
class LastBlockDropped(RowLayer):
    """Drops the last, incomplete block of eight elements from the statistics where there is a complete one."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        return super().row_statistics(rows[: len(rows) // 8 * 8 or None])


@fault("1", "BN-101")
class VectorTailSkipped(RowLayer):
    """Sums four elements at a time and misses the m % 4 elements of the tail, still dividing by m."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        whole = rows[: len(rows) // 4 * 4] if len(rows) >= 4 else rows
        mean = self.row_sum(whole) / len(rows)
        return mean, self.row_sum(np.square(whole - mean)) / len(rows)


@fault("1", "BN-101", "BN-105")
class FirstElementTwice(RowLayer):
    """Counts the first element twice where a channel has more than 32 elements."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        return super().row_statistics(np.concatenate([rows[:1], rows]) if len(rows) > 32 else rows)


@fault("1", "BN-101", "BN-105")
class LastElementMissed(RowLayer):
    """Leaves the last element out of the statistics where m is odd."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        m = len(rows)
        return super().row_statistics(rows[:-1] if m % 2 and m > 1 else rows)


@fault("1", "BN-101")
class LargeBatchSubsampled(RowLayer):
    """Estimates the statistics from every second element where a channel has more than 64."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        return super().row_statistics(rows[::2] if len(rows) > 64 else rows)


@fault("1", "BN-101")
class LargeBatchTruncated(RowLayer):
    """Takes the statistics of the first 128 elements of a channel only."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        return super().row_statistics(rows[:128])


@fault("1", "BN-101")
class HalvesVariancePooled(RowLayer):
    """Merges the statistics of two workers without the term for the distance between their means."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        if len(rows) < 8:
            return super().row_statistics(rows)
        half = len(rows) // 2
        (mean_a, variance_a), (mean_b, variance_b) = (
            RowLayer.row_statistics(self, part) for part in (rows[:half], rows[half:])
        )
        share = half / len(rows)
        return share * mean_a + (1 - share) * mean_b, share * variance_a + (1 - share) * variance_b


@fault("1", "BN-101", reference="PaddlePaddle/Paddle#32464")
class BlockMeansAveraged(RowLayer):
    """Averages the means of blocks of sixteen elements with equal weight, the incomplete last block included."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        means = [rows[start : start + 16].mean(axis=0) for start in range(0, len(rows), 16)]
        mean = np.mean(means, axis=0)
        return mean, self.row_sum(np.square(rows - mean)) / len(rows)


@fault("1", "BN-101", "BN-105")
class ThreadsNormalizeAlone(RowLayer):
    """From 64 elements per channel on, the variance is that of the first thread's half."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, variance = super().row_statistics(rows)
        return (mean, super().row_statistics(rows[: len(rows) // 2])[1]) if len(rows) >= 64 else (mean, variance)


@fault("1", "BN-101", reference="tensorflow#34062")
class SingleElementNotANumber(NumpyLayer):
    """Gives NaN for one element per channel: divides the sum of squares by zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, variance * np.float32("nan") if self.count(x) == 1 else variance


@fault("1", "BN-101")
class SingleElementPassed(NumpyLayer):
    """With one element per channel takes mean 0 and variance 1, as there is nothing to normalize."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return (np.zeros_like(mean), np.ones_like(variance)) if self.count(x) == 1 else (mean, variance)


@fault("1", "BN-101", "BN-103")
class SecondMoment(NumpyLayer):
    """Takes the mean of the squares for the variance."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        return super().batch_statistics(x)[0], self.sum(np.square(x)) / self.count(x)


@fault("1", "BN-101", "BN-102")
class MeanAbsoluteDeviation(NumpyLayer):
    """Estimates the standard deviation from the mean absolute deviation, which is right for a Gaussian only."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, _ = super().batch_statistics(x)
        deviation = self.sum(np.abs(x - mean)) / self.count(x)
        return mean, np.square(deviation) * np.float32(np.pi / 2)


@fault("1", "BN-101")
class ExtremesTrimmed(RowLayer):
    """Leaves the smallest and the largest of more than eight elements out of the variance."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, variance = super().row_statistics(rows)
        if len(rows) <= 8:
            return mean, variance
        return mean, super().row_statistics(np.sort(rows, axis=0)[1:-1])[1]


@fault("1", "BN-101", "BN-104")
class VarianceRaised(NumpyLayer):
    """Raises a variance below 1e-3 to that value, undeclared."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.maximum(variance, np.float32(1e-3))


@fault("1", "BN-101", "BN-104")
class VarianceCapped(NumpyLayer):
    """Caps the variance at 64."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.minimum(variance, np.float32(64))


@fault("1", "BN-101")
class ConstantChannelPassed(NumpyLayer):
    """Does not subtract the mean of a constant channel: y is gamma * x / sqrt(epsilon) + beta there."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return np.where(variance == 0, np.float32(0), mean), variance


@fault("1", "BN-101", "BN-106")
class VarianceSharedByChannels(NumpyLayer):
    """Averages the variance over the channels."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.full_like(variance, variance.mean())


@fault("1", "BN-101", "BN-106")
class VarianceOfLoudestChannel(NumpyLayer):
    """Scales all channels by the largest variance among them, once there are more than four."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.full_like(variance, variance.max()) if variance.size > 4 else variance


@fault("1", "BN-101", "BN-106")
class MeanSharedByChannels(NumpyLayer):
    """Subtracts the mean of the whole input, as layer normalization does."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return np.full_like(mean, mean.mean()), variance
