"""Faults of precision: right formulas, too few digits for what is declared."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.moving import OtherDecay
from conformance.zoo.registry import RowLayer, fault


def rounded(a: Array, bits: int) -> Array:
    """Round float32 numbers to that many bits of significand."""
    drop = 24 - bits
    whole = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
    return ((whole + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


@fault("1", "BN-101", "BN-301", reference="onnx#3415, pytorch#126525")
class StatisticsInHalf(NumpyLayer):
    """Holds the batch's statistics with the 11 bits of float16."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return rounded(mean, 11), rounded(variance, 11)


@fault("1", "BN-101", "BN-103")
class MeanInBfloat(NumpyLayer):
    """Rounds the mean to bfloat16 before it is subtracted."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean = rounded(super().batch_statistics(x)[0], 8)
        return mean, self.sum(np.square(x - mean)) / self.count(x)


@fault("1", "BN-101", "BN-302")
class SquaresInHalf(NumpyLayer):
    """Rounds the squares to the 11 bits of float16 before they are added."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, _ = super().batch_statistics(x)
        return mean, self.sum(rounded(np.square(x - mean), 11)) / self.count(x)


@fault("1", "BN-101", "BN-301")
class AccumulatedInHalf(RowLayer):
    """Adds up in 11 bits."""

    def row_sum(self, rows: Array) -> Array:
        total = np.zeros(rows.shape[1:], np.float32)
        for row in rows:
            total = rounded(total + row, 11)
        return total


@fault("1", "BN-101", "BN-301")
class ReciprocalOfCountInHalf(NumpyLayer):
    """Multiplies the sums by 1 / m in float16."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        factor = rounded(np.float32(1) / np.full(1, self.count(x), np.float32), 11)[0]
        mean = self.sum(x) * factor
        return mean, self.sum(np.square(x - mean)) * factor


@fault(
    "1",
    "BN-501",
    "BN-101",
    "BN-302",
    reference="tensorflow#118701, caffe#3963, google/flax#1491, tenstorrent/tt-metal#45968",
)
class OnePassDeclaredTwoPass(NumpyLayer):
    """Computes the variance as E[x^2] - E[x]^2 in one pass, but declares grade A."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean = self.sum(x) / self.count(x)
        return mean, np.maximum(self.sum(np.square(x)) / self.count(x) - np.square(mean), np.float32(0))


@fault("1", "BN-502", "BN-101", "BN-201")
class FoldedDeclaredSubtracted(NumpyLayer):
    """Evaluates the output as a * x + b, but declares that it subtracts the mean first."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        factor = self.scale() * r
        return x * factor + (self.shift() - mean * factor)


@fault("1", "BN-101", "BN-201")
class RootOfTwelveBits(NumpyLayer):
    """Uses the processor's estimate of 1 / sqrt, good to 12 bits, without refining it."""

    def rsqrt(self, variance: Array) -> Array:
        return rounded(super().rsqrt(variance), 12)


@fault("1", "BN-101", "BN-201")
class RootOfMagicNumber(NumpyLayer):
    """Computes 1 / sqrt from the bits of the number and one Newton step, good to 2e-3."""

    def rsqrt(self, variance: Array) -> Array:
        w = np.ascontiguousarray(variance + np.float32(self.spec.epsilon))
        guess = (np.uint32(0x5F3759DF) - (w.view(np.uint32) >> np.uint32(1))).view(np.float32)
        return guess * (np.float32(1.5) - np.float32(0.5) * w * guess * guess)


@fault("1", "BN-101", "BN-201")
class RootOfTwoNewtonSteps(NumpyLayer):
    """Computes 1 / sqrt from the bits of the number and two Newton steps, good to 5e-6."""

    def rsqrt(self, variance: Array) -> Array:
        w = np.ascontiguousarray(variance + np.float32(self.spec.epsilon))
        guess = (np.uint32(0x5F3759DF) - (w.view(np.uint32) >> np.uint32(1))).view(np.float32)
        for _ in range(2):
            guess = guess * (np.float32(1.5) - np.float32(0.5) * w * guess * guess)
        return guess


@fault("1", "BN-101", "BN-201")
class OutputInBfloat(NumpyLayer):
    """Rounds the output to bfloat16."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return rounded(super().affine(x, mean, r), 8)


@fault("1", "BN-110", "BN-101")
class GammaInBfloat(NumpyLayer):
    """Rounds gamma to bfloat16."""

    def scale(self) -> Array:
        return rounded(super().scale(), 8)


@fault("1", "BN-101", "BN-104")
class SmallVarianceFlushed(NumpyLayer):
    """Takes variances below 1e-6 for zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.where(variance < np.float32(1e-6), np.float32(0), variance)


@fault("3", "BN-305", "BN-301")
class DecayInBfloat(OtherDecay):
    """Rounds the decay to bfloat16: 0.99 becomes 0.988, 0.999 becomes one."""

    def decay(self) -> float:
        return float(rounded(np.full(1, self.spec.decay), 8)[0])


@fault("3", "BN-301", "BN-302")
class MovingInHalf(NumpyLayer):
    """Rounds the moving statistics to 11 bits at every update."""

    def moving(self, old: Array, batch: Array) -> Array:
        return rounded(super().moving(old, batch), 11)


@fault("3", "BN-302")
class UpdateInHalf(NumpyLayer):
    """Rounds the weighted new variance to 11 bits before it is added to the old one."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return rounded(super().moving_estimate(variance, m), 11)


@fault("4", "BN-401", "BN-403")
class UpstreamInHalf(NumpyLayer):
    """Rounds the upstream gradient to 11 bits."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, None if dy is None else rounded(dy, 11), update)


@fault("4", "BN-402")
class ProductsInTensorFloat(NumpyLayer):
    """Multiplies dy by the normalized values in TensorFloat-32 for dgamma."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, _, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, self.sum(rounded(dy, 11) * rounded((x - mean) * r, 11)), dbeta


@fault("4", "BN-401", "BN-406")
class NormalizedSavedInHalf(NumpyLayer):
    """Saves the normalized values for the backward pass with 11 bits, and uses them in dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        m = self.count(x)
        h = rounded((x - mean) * r, 11)
        return self.scale() * r * (dy - dbeta / m - h * (dgamma / m)), dgamma, dbeta


@fault("4", "BN-404")
class InferenceGradientRoot(NumpyLayer):
    """Uses the 12-bit estimate of 1 / sqrt in the gradients of inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        return super().inference_gradients(x, dy, mean, rounded(r, 12))


@fault("1", "BN-101", "BN-103")
class StatisticsOfRoundedInput(NumpyLayer):
    """Takes the statistics of the input rounded to 16 bits."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        return super().batch_statistics(rounded(x, 16))


@fault("5", "BN-512", "BN-513", reference="tensorflow#118701")
class NotANumberLaundered(NumpyLayer):
    """Replaces NaN by zero in the output, so that a broken input passes unseen."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return np.nan_to_num(super().affine(x, mean, r))


@fault("5", "BN-512")
class NotANumberSkipped(NumpyLayer):
    """Leaves NaN elements out of the statistics."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        return super().batch_statistics(np.where(np.isnan(x), np.nanmean(x), x))
