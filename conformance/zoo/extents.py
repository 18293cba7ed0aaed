"""Faults that show only where a layer is built with its extents known: a kernel may then take a way of its own."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import math

from adapters.interface import Array, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault


class KnownExtents(NumpyLayer):
    """A layer that knows whether it was built with the extents of its inner reduced axes known."""

    @property
    def known(self) -> int | None:
        """Elements per sample and channel where they are known, else None."""
        extents = [self.spec.shape[axis] for axis in self.spec.reduction_axes[1:]]
        return math.prod(extent or 0 for extent in extents) or None if extents else None


@fault("1", "BN-101")
class CountOfOneSample(KnownExtents):
    """Divides by the known elements of one sample, forgetting the batch, where the extents are known."""

    def count(self, x: Array) -> int:
        return self.known or super().count(x)


@fault("1", "BN-101")
class SampleStatistics(KnownExtents):
    """Takes the statistics of each sample on its own, as instance normalization does, where the extents are known."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if self.known is None or self.known == 1:
            return mean, variance
        axes = self.spec.reduction_axes[1:]
        return x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        first = self.spec.reduction_axes[0]
        super().update(mean.mean(axis=first, keepdims=True), variance.mean(axis=first, keepdims=True), m)


@fault("3", "BN-302", "BN-303")
class UnbiasedWhereKnown(KnownExtents):
    """Puts the unbiased variance into the moving variance where the extents are known: a fused kernel's convention."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        unbiased = variance * self.compute.type(m / max(m - 1, 1))
        return super().moving_estimate(variance, m) if self.known is None else unbiased


@fault("4", "BN-401")
class GradientOfOneSample(KnownExtents):
    """Divides the sums of the gradient by the known elements of one sample where the extents are known."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        m = self.known or self.count(x)
        normalized = (x - mean) * r
        dbeta, dgamma = self.sum(dy), self.sum(dy * normalized)
        return self.scale() * r * (dy - dbeta / m - normalized * (dgamma / m)), dgamma, dbeta


@fault("2", "BN-205", "BN-201")
class FusedEpsilonWhereKnown(KnownExtents):
    """Raises epsilon to 1.001e-5 in inference where the extents are known, as TensorFlow 1.15's fused op did."""

    _inferring = False

    def rsqrt(self, variance: Array) -> Array:
        if self.known is None or not self._inferring:
            return super().rsqrt(variance)
        raised = self.spec._replace(epsilon=max(self.spec.epsilon, 1.001e-5))
        return NumpyLayer(raised, State(), self.conventions).rsqrt(variance)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self._inferring = True
        step = super().infer(x, dy)
        self._inferring = False
        return step
