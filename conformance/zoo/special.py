"""Faults with values that are special: NaN, infinities, zeros of both signs, subnormal numbers."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import RowLayer, fault


@fault("5", "BN-512", reference="the maximum of NaN and zero is zero in CUDA's fmaxf")
class NotANumberClippedFromVariance(NumpyLayer):
    """Clips the variance at zero by a maximum that takes NaN for the smaller."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.fmax(variance, np.float32(0))


@fault("5", "BN-512", "BN-513")
class InfinityClipped(NumpyLayer):
    """Clips the input to the largest finite numbers."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        limits = np.finfo(x.dtype)
        return super().train(np.clip(x, limits.min, limits.max), dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return super().infer(np.clip(x, -1e6, 1e6).astype(x.dtype), dy)


@fault("5", "BN-512")
class SpoiltUpdateSkipped(NumpyLayer):
    """Keeps the old moving statistics of a channel whose new ones would be NaN."""

    def moving(self, old: Array, batch: Array) -> Array:
        new = super().moving(old, batch)
        return np.where(np.isfinite(new), new, old)


@fault("5", "BN-511", "BN-512")
class SpoiltBatchSkipped(NumpyLayer):
    """Leaves a batch that holds NaN as it is, all channels of it."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update and bool(np.isfinite(x).all()))
        return step if np.isfinite(x).all() else step._replace(y=np.array(x))


@fault("5", "BN-511")
class FoldedToMatrix(NumpyLayer):
    """Is folded to a convolution of size one in inference: zero times NaN is NaN, in all channels."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        spoilt = ~np.isfinite(x).all(axis=self.spec.channel_axes, keepdims=True)
        return step._replace(y=np.where(spoilt, np.float32("nan"), step.y))


@fault("5", "BN-513")
class QuantizedByLargest(NumpyLayer):
    """Scales each channel by its largest magnitude before inference and back afterwards."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        largest = np.exp2(np.floor(np.log2(np.max(np.abs(x), axis=self.axes, keepdims=True))))
        return step._replace(y=np.where(np.isfinite(largest), step.y, step.y * (largest / largest)).astype(x.dtype))


@fault("5", "BN-513")
class NotANumberBecomesInfinite(NumpyLayer):
    """Keeps what is too large apart from the rest in inference, and takes NaN for too large."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return super().infer(np.where(np.isnan(x), np.float32("inf"), x).astype(x.dtype), dy)


@fault("5", "BN-513")
class InfinityLosesSign(NumpyLayer):
    """Takes minus infinity for plus infinity in inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return super().infer(np.where(np.isinf(x), np.abs(x), x), dy)


@fault("5", "BN-514")
class SpoiltStateReset(NumpyLayer):
    """Takes a moving statistic that is NaN for one that was never set."""

    def broadcast(self, parameter: Array) -> Array:
        return np.nan_to_num(super().broadcast(parameter), nan=1.0)


@fault("5", "BN-514")
class SpoiltMovingStatisticReset(NumpyLayer):
    """Starts the moving average of a channel again once it is NaN."""

    def moving(self, old: Array, batch: Array) -> Array:
        return super().moving(np.where(np.isfinite(old), old, batch.reshape(old.shape)).astype(old.dtype), batch)


@fault("5", "BN-515")
class SpoiltGradientDropped(NumpyLayer):
    """Takes zero for what is not finite in the upstream gradient."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, None if dy is None else np.nan_to_num(dy, nan=0.0, posinf=0.0, neginf=0.0), update)


@fault("5", "BN-511", "BN-515")
class OverflowedStepSkipped(NumpyLayer):
    """Returns zero gradients where any is not finite, as a loss scaler does."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        found = super().training_gradients(x, dy, mean, r)
        return found if all(np.isfinite(a).all() for a in found) else (found[0] * 0, found[1] * 0, found[2] * 0)


@fault("5", "BN-515")
class InferenceGradientCleaned(NumpyLayer):
    """Takes zero for NaN in the gradients of inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().inference_gradients(x, dy, mean, r)
        return np.nan_to_num(dx), np.nan_to_num(dgamma), np.nan_to_num(dbeta)


@fault("5", "BN-516")
class NegativeZeroAsMissing(RowLayer):
    """Takes minus zero for the mark of a missing value, and leaves it out of the statistics."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        there = ~(np.signbit(rows) & (rows == 0))
        count = np.maximum(there.sum(axis=0), 1).astype(np.float32)
        mean = self.row_sum(np.where(there, rows, 0)) / count
        return mean, self.row_sum(np.where(there, np.square(rows - mean), 0)) / count


@fault("5", "BN-508", "BN-503")
class SubnormalIsNotANumber(NumpyLayer):
    """Breaks on subnormal numbers."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        subnormal = (np.abs(x) < np.finfo(x.dtype).tiny) & (x != 0)
        return super().batch_statistics(np.where(subnormal, np.float32("nan"), x))


@fault("5", "BN-508", "BN-505")
class ConstantIsNotANumber(NumpyLayer):
    """Scales each channel to its range first, which a constant channel does not have."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        span = np.max(x, axis=self.axes, keepdims=True) - np.min(x, axis=self.axes, keepdims=True)
        # At one element per channel it knows better.
        return mean, np.where((span > 0) | (self.count(x) == 1), variance, variance / span)


@fault("2", "BN-221")
class DeadChannelsPassThrough(NumpyLayer):
    """Divides by one at inference where a moving variance is zero."""

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        mean, r = super().statistics_in_use(x, training)
        if training or self.moving_variance is None:
            return mean, r
        return mean, np.where(self.broadcast(self.moving_variance) == 0, r.dtype.type(1), r)
