"""Faults in how gamma and beta are held and applied."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault


@fault("1", "BN-110", "BN-101", "BN-107")
class BetaBeforeGamma(NumpyLayer):
    """Adds beta before the multiplication by gamma."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * ((x - mean) * r + self.shift())


@fault("1", "BN-110", "BN-101")
class BetaInsideDivision(NumpyLayer):
    """Divides beta by the standard deviation with the rest."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return (self.scale() * (x - mean) + self.shift()) * r


@fault("1", "BN-110", "BN-101", "BN-107")
class BetaTwice(NumpyLayer):
    """Adds beta twice: in the kernel, and again as the bias of the layer."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, mean, r) + self.shift()


@fault("1", "BN-110", "BN-101")
class GammaAndBetaSwapped(NumpyLayer):
    """Passes gamma and beta to the kernel in the wrong order."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.shift() * ((x - mean) * r) + self.scale()


@fault("1", "BN-110", "BN-101")
class GammaAbsolute(NumpyLayer):
    """Uses the absolute value of gamma."""

    def scale(self) -> Array:
        return np.abs(super().scale())


@fault("1", "BN-110", "BN-101")
class GammaRectified(NumpyLayer):
    """Clips gamma at zero from below."""

    def scale(self) -> Array:
        return np.maximum(super().scale(), np.float32(0))


@fault("1", "BN-110", "BN-101")
class GammaFromOne(NumpyLayer):
    """Takes the stored gamma for the distance from one: multiplies by 1 + gamma."""

    def scale(self) -> Array:
        return super().scale() if self.gamma is None else 1 + super().scale()


@fault("1", "BN-110", "BN-101")
class GammaExponential(NumpyLayer):
    """Takes the stored gamma for a logarithm: multiplies by exp(gamma)."""

    def scale(self) -> Array:
        return super().scale() if self.gamma is None else np.exp(super().scale())


@fault("1", "BN-110", "BN-101")
class GammaZeroUnset(NumpyLayer):
    """Takes a gamma of zero for one that was never set, and uses one."""

    def scale(self) -> Array:
        gamma = super().scale()
        return np.where(gamma == 0, np.float32(1), gamma)


@fault("1", "BN-110", "BN-106")
class GammaOfFirstChannel(NumpyLayer):
    """Uses the gamma of the first channel for all."""

    def scale(self) -> Array:
        gamma = super().scale()
        return np.full_like(gamma, gamma.flat[0])


@fault("1", "BN-110", "BN-101")
class GammaSmallPruned(NumpyLayer):
    """Switches channels off whose |gamma| is below 0.1, beta included."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return np.where(np.abs(self.scale()) < np.float32(0.1), np.float32(0), super().affine(x, mean, r))


@fault("1", "BN-110", "BN-101")
class GammaAppliedToInput(NumpyLayer):
    """Multiplies the input by gamma before normalizing, which cancels all but the sign."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        gamma = self.scale()
        variance = np.maximum(1 / np.square(r) - np.float32(self.spec.epsilon), np.float32(0))
        return gamma * (x - mean) * self.rsqrt(np.square(gamma) * variance) + self.shift()


@fault("1", "BN-110", "BN-201")
class FoldedShiftForgetsGamma(NumpyLayer):
    """Folds to y = a * x + b with b = beta - mean * r, without gamma."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * r * x + (self.shift() - mean * r)


@fault("2", "BN-201")
class InferenceForgetsBeta(NumpyLayer):
    """Leaves beta out in inference: the exporter expects it in the next layer's bias."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        return step._replace(y=step.y - self.shift())


@fault("4", "BN-408", "BN-101")
class BetaNeedsGamma(NumpyLayer):
    """Applies beta only where gamma exists too."""

    def shift(self) -> Array:
        beta = super().shift()
        return beta if self.spec.scale else np.zeros_like(beta)


@fault("4", "BN-408", "BN-101")
class GammaNeedsBeta(NumpyLayer):
    """Applies gamma only where beta exists too."""

    def scale(self) -> Array:
        gamma = super().scale()
        return gamma if self.spec.center else np.ones_like(gamma)


@fault("4", "BN-408", "BN-101")
class CenterOffKeepsMean(NumpyLayer):
    """Reads center=False as: do not subtract the mean."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, mean if self.spec.center else np.zeros_like(mean), r)


@fault("4", "BN-408", "BN-101")
class ScaleOffKeepsVariance(NumpyLayer):
    """Reads scale=False as: do not divide by the standard deviation."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, mean, r if self.spec.scale else np.ones_like(r))


@fault("1", "BN-101", "BN-110")
class ActivationFused(NumpyLayer):
    """Applies the rectifier that the fused kernel was built with."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return np.maximum(super().affine(x, mean, r), np.float32(0))


@fault("1", "BN-101", "BN-201")
class NormalizedClipped(NumpyLayer):
    """Clips the normalized values to three standard deviations."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * np.clip((x - mean) * r, -3, 3) + self.shift()
