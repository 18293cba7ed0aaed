"""Faults that show on data that are hard on the arithmetic: large means, extreme scales, long sums, outliers."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.epsilon import OtherEpsilon
from conformance.zoo.gradients import Gradients
from conformance.zoo.moving import OtherDecay
from conformance.zoo.numerics import rounded
from conformance.zoo.registry import REFERENCE, RowLayer, fault


@fault("5", "BN-322", "BN-501", "BN-101")
class WelfordDeclaredTwoPass(RowLayer):
    """Updates mean and variance element by element, but declares grade A."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, squares = np.zeros(rows.shape[1:], self.compute), np.zeros(rows.shape[1:], self.compute)
        for n, row in enumerate(rows, 1):
            distance = row - mean
            mean = mean + distance / n
            squares = squares + distance * (row - mean)
        return mean, squares / len(rows)


@fault("5", "BN-509", "BN-508", declares=REFERENCE._replace(variance_grade="C"), reference="keras-team/keras#19834")
class VarianceBelowZero(NumpyLayer):
    """Computes E[x^2] - E[x]^2 and lets it fall below zero, from where the root is NaN."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean = self.sum(x) / self.count(x)
        return mean, self.sum(np.square(x)) / self.count(x) - np.square(mean)


@fault("5", "BN-505", "BN-509", declares=REFERENCE._replace(variance_grade="C"))
class VarianceAbsolute(NumpyLayer):
    """Computes E[x^2] - E[x]^2 in one pass and takes its absolute value plus a hundredth of the mean's square."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean = self.sum(x) / self.count(x)
        variance = np.abs(self.sum(np.square(x)) / self.count(x) - np.square(mean))
        return mean, np.where(
            variance < np.float32(1e-6) * np.square(mean), np.float32(0.01) * np.square(mean), variance
        )


@fault("1", "BN-503", "BN-101", "BN-111")
class VarianceFloored(NumpyLayer):
    """Raises variances below 1e-5 to that."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.maximum(variance, np.float32(1e-5))


@fault("5", "BN-510")
class EpsilonZeroIsUnset(OtherEpsilon):
    """Takes an epsilon of zero for one that was not given, and uses 1e-3."""

    def epsilon(self) -> float:
        return self.spec.epsilon or 1e-3


@fault("5", "BN-510")
class EpsilonZeroIsTiny(OtherEpsilon):
    """Puts 1e-7 in the place of an epsilon of zero."""

    def epsilon(self) -> float:
        return self.spec.epsilon or 1e-7


@fault("5", "BN-503")
class SmallInputsFlushed(NumpyLayer):
    """Takes inputs below 1e-12 for zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        return super().batch_statistics(np.where(np.abs(x) < np.float32(1e-12), np.float32(0), x))


@fault("5", "BN-503", reference="float16 statistics overflow at 65504")
class VarianceCappedAtHalfs(NumpyLayer):
    """Caps the variance at the largest number of float16."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, np.minimum(variance, np.float32(65504))


@fault("5", "BN-503")
class SquaresOverflow(NumpyLayer):
    """Divides by the root of the mean square and repairs the rest, so that squares of inputs overflow at 1e19."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, variance + 0 * self.sum(np.square(x * np.float32(16)))


@fault("5", "BN-503", "BN-201")
class RootOverflows(NumpyLayer):
    """Computes 1 / sqrt(w) as sqrt(w) / w, by the fourth power of the root: too small a w is zero."""

    def rsqrt(self, variance: Array) -> Array:
        w = variance + np.float32(self.spec.epsilon)
        return np.sqrt(np.sqrt(np.square(w))) / w


@fault("5", "BN-504")
class CountInSixteenBits(NumpyLayer):
    """Counts the elements of a channel in 16 bits."""

    def count(self, x: Array) -> int:
        return super().count(x) % (1 << 16) or 1


@fault("5", "BN-504")
class LongSumsSampled(NumpyLayer):
    """Takes the statistics of every other element where there are more than a thousand."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        long = max(self.axes, key=lambda axis: x.shape[axis])
        if self.count(x) <= 1000 or x.shape[long] < 4:
            return super().batch_statistics(x)
        return super().batch_statistics(np.take(x, range(0, x.shape[long], 2), axis=long))


@fault("5", "BN-504")
class PartialSumsInTensorFloat(RowLayer):
    """Adds up blocks of 128 elements in float32 and the blocks' sums in 11 bits."""

    def row_sum(self, rows: Array) -> Array:
        if len(rows) <= 128:
            return np.add.reduce(rows, axis=0)
        blocks = [rounded(np.add.reduce(rows[start : start + 128], axis=0), 11) for start in range(0, len(rows), 128)]
        return np.add.reduce(np.stack(blocks), axis=0)


@fault("5", "BN-506", "BN-101")
class OutliersClipped(NumpyLayer):
    """Leaves what is beyond eight standard deviations out of the statistics."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        inside = np.where(np.square(x - mean) <= 64 * variance, x, mean)
        return super().batch_statistics(inside)


@fault("5", "BN-507", "BN-101")
class HalvesWithoutDistance(RowLayer):
    """Merges the variances of two halves without the distance of their means: half of a synchronized kernel."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, variance = super().row_statistics(rows)
        if len(rows) < 8:
            return mean, variance
        half = len(rows) // 2
        first, second = RowLayer.row_statistics(self, rows[:half])[1], RowLayer.row_statistics(self, rows[half:])[1]
        return mean, (first * half + second * (len(rows) - half)) / len(rows)


@fault("5", "BN-505", "BN-112")
class InputDithered(NumpyLayer):
    """Adds a millionth of alternating sign to the input, so that no channel is constant."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        signs = np.resize(np.array([1e-6, -1e-6], np.float32), x.shape)
        return super().train((x * (1 + signs) + signs).astype(x.dtype), dy, update)


@fault("1", "BN-112", "BN-111")
class GammaNeverZero(NumpyLayer):
    """Keeps |gamma| above 1e-6, so that no gradient ever dies."""

    def scale(self) -> Array:
        gamma = super().scale()
        return np.where(np.abs(gamma) < np.float32(1e-6), np.float32(1e-6), gamma)


@fault("1", "BN-111", "BN-101")
class RootOfThreeDigits(NumpyLayer):
    """Computes 1 / sqrt with a relative error of 1e-4."""

    def rsqrt(self, variance: Array) -> Array:
        return super().rsqrt(variance) * np.float32(1.0001)


@fault("1", "BN-111", "BN-101")
class RootOfSixDigits(NumpyLayer):
    """Computes 1 / sqrt with a relative error of 2e-6, as one Newton step on a 12-bit estimate in half precision."""

    def rsqrt(self, variance: Array) -> Array:
        return super().rsqrt(variance) * np.float32(1 + 2e-6)


@fault("2", "BN-221", "BN-205")
class EpsilonRelativeToMoving(NumpyLayer):
    """Takes epsilon for a relative one in inference: V · (1 + epsilon)."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        assert self.moving_variance is not None
        assert self.moving_mean is not None
        r = 1 / np.sqrt(self.broadcast(self.moving_variance) * np.float32(1 + self.spec.epsilon))
        return step._replace(y=self.affine(x, self.broadcast(self.moving_mean), r))


@fault("3", "BN-321", "BN-305")
class DecayOfSixDigits(OtherDecay):
    """Prints the decay with six digits into the generated kernel."""

    def decay(self) -> float:
        return float(f"{self.spec.decay:.4f}")


@fault("3", "BN-322", "BN-302")
class LastElementForgotten(NumpyLayer):
    """Divides the moving variance's sum of squares by m + 1."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance * np.float32(m / (m + 1)), m)


@fault("4", "BN-402", "BN-401")
class GradientsFoldedUndeclared(NumpyLayer):
    """Computes dgamma from sum(dy * x) - mean * sum(dy), which cancels where the mean is large, but declares it not."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m = self.count(x)
        dbeta = self.sum(dy)
        dgamma = (self.sum(dy * x) - mean * dbeta) * r
        return self.scale() * r * (dy - dbeta / m - (x - mean) * r * (dgamma / m)), dgamma, dbeta


@fault("4", "BN-401")
class BackwardVarianceAgain(NumpyLayer):
    """Computes the variance again in the backward pass, there as E[x^2] - E[x]^2."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        variance = np.maximum(self.sum(np.square(x)) / self.count(x) - np.square(mean), np.float32(0))
        return super().training_gradients(x, dy, mean, self.rsqrt(variance))


@fault("1", "BN-111", "BN-101")
class RootOfSevenDigits(NumpyLayer):
    """Computes 1 / sqrt with a relative error of 1e-6."""

    def rsqrt(self, variance: Array) -> Array:
        return super().rsqrt(variance) * np.float32(1 + 1e-6)
