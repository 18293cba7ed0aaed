"""Faults in what epsilon is, and where it goes."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

TINY = np.float32(1e-30)


class OtherEpsilon(NumpyLayer):
    """A layer with another epsilon than the one it was given."""

    def epsilon(self) -> float:
        """The epsilon that takes effect."""
        return self.spec.epsilon

    def rsqrt(self, variance: Array) -> Array:
        """1 / sqrt(variance + epsilon)."""
        return 1 / np.sqrt(variance + np.float32(self.epsilon()))


class ModeLayer(NumpyLayer):
    """A layer that knows in which mode it runs."""

    training = True

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        """Note the mode."""
        self.training = True
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        """Note the mode."""
        self.training = False
        return super().infer(x, dy)


@fault("1", "BN-109", "BN-205", reference="Tencent/ncnn#311")
class EpsilonOutsideRoot(NumpyLayer):
    """Adds epsilon to the standard deviation."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / (np.sqrt(variance) + np.float32(self.spec.epsilon))


@fault("1", "BN-109", "BN-205")
class EpsilonSquared(OtherEpsilon):
    """Adds the square of epsilon to the variance."""

    def epsilon(self) -> float:
        return self.spec.epsilon**2


@fault("1", "BN-109", "BN-205", reference="tensorflow#8090")
class EpsilonRaised(OtherEpsilon):
    """Raises epsilon to 1.001e-5 without saying so."""

    def epsilon(self) -> float:
        return max(self.spec.epsilon, 1.001e-5)


@fault("1", "BN-109", "BN-205", reference="onnxruntime#2680")
class EpsilonDefault(OtherEpsilon):
    """Uses the default epsilon of 1e-3 whatever is given."""

    def epsilon(self) -> float:
        return 1e-3


@fault("1", "BN-109")
class EpsilonFuzz(OtherEpsilon):
    """Takes an epsilon below 1e-7 for the fuzz factor, which is 1e-7."""

    def epsilon(self) -> float:
        return max(self.spec.epsilon, 1e-7)


@fault("1", "BN-109", "BN-205")
class EpsilonTwice(OtherEpsilon):
    """Adds epsilon to the variance twice."""

    def epsilon(self) -> float:
        return 2 * self.spec.epsilon


@fault("1", "BN-109")
class EpsilonInHalf(OtherEpsilon):
    """Holds epsilon in float16, where 1e-8 is zero and 1e-3 is off by 2e-4."""

    def epsilon(self) -> float:
        return float(np.float16(self.spec.epsilon)) or float(TINY)


@fault("1", "BN-109")
class EpsilonCapped(OtherEpsilon):
    """Caps epsilon at 0.1."""

    def epsilon(self) -> float:
        return min(self.spec.epsilon, 0.1)


@fault("1", "BN-109", "BN-205")
class EpsilonAsFloor(NumpyLayer):
    """Takes the larger of variance and epsilon instead of their sum."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / np.sqrt(np.maximum(variance, np.float32(self.spec.epsilon)))


@fault("1", "BN-109", "BN-205")
class EpsilonOnFactor(NumpyLayer):
    """Adds epsilon to 1 / sqrt(variance)."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / np.sqrt(np.maximum(variance, TINY)) + np.float32(self.spec.epsilon)


@fault("1", "BN-109")
class EpsilonOnSumOfSquares(NumpyLayer):
    """In training adds epsilon to the sum of squares, before the division by m."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, variance - np.float32(self.spec.epsilon * (1 - 1 / self.count(x)))

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance + np.float32(self.spec.epsilon * (1 - 1 / m)), m)


@fault("2", "BN-205", "BN-201", reference="Tencent/ncnn#303")
class EpsilonOnlyInTraining(ModeLayer):
    """Leaves epsilon out of the inference output."""

    def rsqrt(self, variance: Array) -> Array:
        return super().rsqrt(variance) if self.training else 1 / np.sqrt(np.maximum(variance, TINY))


@fault("1", "BN-109", "BN-101")
class EpsilonOnlyInInference(ModeLayer):
    """Leaves epsilon out of the training output."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / np.sqrt(np.maximum(variance, TINY)) if self.training else super().rsqrt(variance)


@fault("2", "BN-205", "BN-201", reference="NervanaSystems/ngraph-onnx#142, PaddlePaddle/Paddle#5548")
class EpsilonDefaultInInference(ModeLayer, OtherEpsilon):
    """Uses the default epsilon of 1e-5 in inference, as an exported model does that lost the attribute."""

    def epsilon(self) -> float:
        return self.spec.epsilon if self.training else 1e-5


@fault("2", "BN-205", "BN-201")
class EpsilonTwiceInInference(ModeLayer, OtherEpsilon):
    """Adds epsilon to the moving variance twice: once when it is folded, once when it is applied."""

    def epsilon(self) -> float:
        return self.spec.epsilon if self.training else 2 * self.spec.epsilon


@fault("3", "BN-302", "BN-303")
class EpsilonInMovingVariance(NumpyLayer):
    """Averages variance + epsilon into the moving variance."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance + np.float32(self.spec.epsilon), m)


@fault("4", "BN-401", "BN-406")
class EpsilonOmittedInGradient(NumpyLayer):
    """Leaves epsilon out of the variance term of dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        m = self.count(x)
        variance = np.maximum(self.sum(np.square(x - mean)) / m, np.float32(1e-12))
        term = (x - mean) * r * (dgamma / m)
        return dx + self.scale() * r * term * (1 - 1 / (variance * r * r)), dgamma, dbeta


@fault("1", "BN-101", "BN-104")
class FactorCapped(NumpyLayer):
    """Caps 1 / sqrt(variance + epsilon) at 100."""

    def rsqrt(self, variance: Array) -> Array:
        return np.minimum(super().rsqrt(variance), np.float32(100))


@fault("1", "BN-109", "BN-205")
class KernelCacheIgnoresEpsilon(OtherEpsilon):
    """Keeps compiled kernels by rank and axis, and forgets that epsilon is compiled into them too."""

    kernels: ClassVar[dict[tuple[object, ...], float]] = {}

    def epsilon(self) -> float:
        return self.kernels.setdefault((self.spec.rank, self.spec.axis), self.spec.epsilon)
