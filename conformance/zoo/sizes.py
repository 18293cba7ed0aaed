"""Faults that show at some extents only: none, one, beyond a block, beside a vector, in one rank."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import REFERENCE, RowLayer, fault
from conformance.zoo.statistics import PartialReduction

UNCHANGED = REFERENCE._replace(empty="unchanged")


@fault("6", "BN-605")
class EmptyBatchCountsAsZeros(NumpyLayer):
    """Lets the moving statistics decay towards zero on an empty batch."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(np.nan_to_num(mean), np.nan_to_num(variance), m)


@fault("6", "BN-605", declares=UNCHANGED)
class EmptyBatchMovesVariance(NumpyLayer):
    """Leaves the moving mean alone on an empty batch, as declared, but not the moving variance."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if m:
            super().update(mean, variance, m)
        elif self.moving_variance is not None:
            self.moving_variance = self.moving_variance * self.compute.type(self.spec.decay)


@fault("6", "BN-605")
class EmptyBatchDividesByZero(NumpyLayer):
    """Raises on an empty batch, which it does not declare to refuse."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        share = 1 / m
        super().update(mean, variance, round(1 / share))


@fault("6", "BN-605")
class EmptyInferenceForgets(NumpyLayer):
    """Resets the moving statistics when it is to infer on an empty batch."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if not x.size and self.moving_mean is not None:
            self.moving_mean = np.zeros_like(self.moving_mean)
        return super().infer(x, dy)


@fault("6", "BN-605")
class EmptyOutputHasOneSample(NumpyLayer):
    """Pads an empty batch to one sample and returns that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if x.size:
            return super().train(x, dy, update)
        shape = tuple(n or 1 for n in x.shape)
        return super().train(np.zeros(shape, x.dtype), None if dy is None else np.zeros(shape, x.dtype), update)


class SingleElement(NumpyLayer):
    """A layer that does something else where there is one element per channel."""

    def single(self, x: Array) -> bool:
        """Whether there is one element per channel."""
        return self.count(x) == 1


@fault("6", "BN-606", "BN-101")
class SingleElementPassedThrough(SingleElement):
    """Skips normalization at one element per channel: y = gamma * x + beta."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return (np.zeros_like(mean), np.ones_like(variance)) if self.single(x) else (mean, variance)


@fault("6", "BN-606", "BN-101")
class SingleElementInfers(SingleElement):
    """Takes the moving statistics at one element per channel, since the batch has no variance."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        if not self.single(x) or self.moving_mean is None or self.moving_variance is None:
            return super().batch_statistics(x)
        return self.broadcast(self.moving_mean), self.broadcast(self.moving_variance)


@fault("6", "BN-606", "BN-301")
class SingleElementSkipsUpdate(SingleElement):
    """Leaves the moving statistics alone at one element per channel."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if m != 1:
            super().update(mean, variance, m)


@fault("6", "BN-606", "BN-302")
class SingleElementKeepsVariance(SingleElement):
    """Updates the moving mean alone at one element per channel."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        kept = self.moving_variance
        super().update(mean, variance, m)
        if m == 1:
            self.moving_variance = kept


@fault("6", "BN-606", "BN-401")
class SingleElementGradientPassed(SingleElement):
    """Passes dy on as dx at one element per channel, as if the mean were a constant."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return self.scale() * r * dy if self.single(x) else dx, dgamma, dbeta


@fault("6", "BN-101", "BN-609")
class SingleSampleInfers(NumpyLayer):
    """Takes the moving statistics for a batch of one sample, however many positions that has."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        alone = bool(self.axes) and x.shape[self.axes[0]] == 1
        if not alone or self.moving_mean is None or self.moving_variance is None:
            return super().batch_statistics(x)
        return self.broadcast(self.moving_mean), self.broadcast(self.moving_variance)


@fault("6", "BN-609", "BN-101")
class VarianceWithinSamples(NumpyLayer):
    """Averages the variances within samples, where there is more than one position in each."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if len(self.axes) < 2 or x.shape[self.axes[0]] == 1 or self.count(x) == x.shape[self.axes[0]]:
            return mean, variance
        within = np.var(x, axis=self.axes[1:], keepdims=True)
        return mean, np.mean(within, axis=self.axes, keepdims=True)


@fault("6", "BN-609", "BN-101")
class RankThreePerPosition(PartialReduction):
    """Normalizes each position on its own in rank 3, as for a batch of vectors."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[:1] if self.spec.rank == 3 and len(self.axes) == 2 else self.axes


@fault("6", "BN-609", "BN-101")
class RankSixLeavesBatchOut(PartialReduction):
    """Reduces the last four axes at most, enough for rank 5."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[-4:]


@fault("6", "BN-608", "BN-101")
class NegativeAxisMirrored(NumpyLayer):
    """Takes the parameters in reverse order where the axis is counted from the end."""

    def broadcast(self, parameter: Array) -> Array:
        return super().broadcast(parameter[::-1] if self.spec.axis[0] < 0 else parameter)


@fault("6", "BN-608", "BN-101", "BN-109")
class NegativeAxisOtherEpsilon(NumpyLayer):
    """Adds twice epsilon where the axis is counted from the front: a branch that was forgotten."""

    def rsqrt(self, variance: Array) -> Array:
        factor = 2 if self.spec.axis[0] >= 0 else 1
        return 1 / np.sqrt(variance + self.compute.type(factor * self.spec.epsilon))


@fault("6", "BN-607", "BN-101")
class OneChannelHasNoGamma(NumpyLayer):
    """Ignores gamma where there is one channel."""

    def scale(self) -> Array:
        gamma = super().scale()
        return np.ones_like(gamma) if gamma.size == 1 else gamma


@fault("6", "BN-607", "BN-201")
class OneChannelInfersFromBatch(NumpyLayer):
    """Normalizes with the batch in inference where there is one channel: its statistics are taken for a scalar."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return super().train(x, dy, update=False) if np.prod(self.spec.parameter_shape) == 1 else super().infer(x, dy)


class ChannelsTake(NumpyLayer):
    """A layer whose channels take the statistics of others."""

    def source(self, channels: int) -> Array:
        """For each channel the one whose mean it takes."""
        return np.arange(channels)

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Statistics, the means taken from the sources."""
        mean, variance = super().batch_statistics(x)
        return mean.reshape(-1)[self.source(mean.size)].reshape(mean.shape), variance


@fault("6", "BN-101", "BN-106")
class ChannelsWrapAtSixtyFour(ChannelsTake):
    """Uses the mean of channel c % 64 for channel c."""

    def source(self, channels: int) -> Array:
        return np.arange(channels) % 64


@fault("6", "BN-101", "BN-607")
class ChannelNumberInOneByte(ChannelsTake):
    """Keeps the number of a channel in one byte."""

    def source(self, channels: int) -> Array:
        return np.arange(channels) % 256


@fault("6", "BN-101", "BN-607")
class ChannelsBeyondFiveHundred(ChannelsTake):
    """Gives all channels after the 512th the mean of the 512th: a block has no more threads."""

    def source(self, channels: int) -> Array:
        return np.minimum(np.arange(channels), 511)


@fault("6", "BN-101", "BN-106")
class TailOfSixteenChannels(ChannelsTake):
    """Gives the C % 16 channels after the last block of sixteen the means of that block."""

    def source(self, channels: int) -> Array:
        whole = channels // 16 * 16
        index = np.arange(channels)
        return np.where(index >= whole, index - 16, index) if whole else index


@fault("6", "BN-101", "BN-106")
class TailOfEightChannels(ChannelsTake):
    """Gives the last of one more than a multiple of eight channels the mean of the first."""

    def source(self, channels: int) -> Array:
        index = np.arange(channels)
        if channels % 8 == 1 and channels > 1:
            index[-1] = 0
        return index


@fault("6", "BN-101", "BN-401")
class LastOfPowerOfTwoLost(RowLayer):
    """Leaves the last element out of a sum of one more than a power of two."""

    def row_sum(self, rows: Array) -> Array:
        m = len(rows)
        lost = m > 4 and (m - 1) & (m - 2) == 0
        return super().row_sum(rows[:-1] if lost else rows)


@fault("6", "BN-101", "BN-301")
class VectorTailOfPositions(RowLayer):
    """Leaves the m % 8 positions after the last whole vector out of the sums, from 64 positions on."""

    def row_sum(self, rows: Array) -> Array:
        whole = len(rows) // 8 * 8
        return super().row_sum(rows[:whole] if whole >= 64 else rows)


@fault("6", "BN-101", "BN-301")
class FirstThousandOnly(RowLayer):
    """Sums the first 1024 positions only: one block."""

    def row_sum(self, rows: Array) -> Array:
        return super().row_sum(rows[:1024])


@fault("6", "BN-101", "BN-301")
class EightThousandAtMost(RowLayer):
    """Sums the first 8192 positions only."""

    def row_sum(self, rows: Array) -> Array:
        return super().row_sum(rows[:8192])


@fault("6", "BN-101", "BN-301")
class CountInSignedShort(NumpyLayer):
    """Keeps the number of elements per channel in 16 bits with a sign."""

    def count(self, x: Array) -> int:
        m = super().count(x)
        return (m + 32768) % 65536 - 32768


@fault("6", "BN-101", "BN-301")
class CountInBfloat(NumpyLayer):
    """Keeps the number of elements per channel in bfloat16: 257 is 256."""

    def count(self, x: Array) -> int:
        m = super().count(x)
        step = 2 ** max(m.bit_length() - 8, 0)
        return round(m / step) * step


@fault("6", "BN-401")
class GradientOfWholeBlocks(NumpyLayer):
    """Gives zero for the dx of the positions after the last whole block of 16, along the last axis."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        whole = x.shape[-1] // 16 * 16
        if whole and x.ndim - 1 in self.axes:
            dx[..., whole:] = 0
        return dx, dgamma, dbeta


@fault("6", "BN-101", "BN-201")
class OutputOfWholeBlocks(NumpyLayer):
    """Leaves x as it is after the last whole block of 32 positions along the last axis."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        y = super().affine(x, mean, r)
        whole = x.shape[-1] // 32 * 32
        if whole and x.ndim - 1 in self.axes:
            y[..., whole:] = x[..., whole:]
        return y


@fault("6", "BN-101", "BN-609")
class WidthsBeyondThirtyWrap(NumpyLayer):
    """Takes position p % 32 of the last axis for position p, in the statistics."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        if x.ndim - 1 not in self.axes:
            return super().batch_statistics(x)
        return super().batch_statistics(np.take(x, np.arange(x.shape[-1]) % 32, axis=-1))
