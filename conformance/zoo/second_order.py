"""Faults in gradients of gradients."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

Second = tuple[Array, Array, Array | None]


class Parts(NumpyLayer):
    """A layer that hands out what the second derivative is made of."""

    def parts(self, x: Array, dy: Array, v: Array) -> tuple[Array, Array, Array, Array, Array, Array, Array]:
        """Normalized input, centered dy and v, G, V, covariance of v and dy, and r."""
        mean, variance = self.batch_statistics(x)
        r, m = self.rsqrt(variance), self.count(x)
        normalized = (x - mean) * r
        g, vc = dy - self.sum(dy) / m, v - self.sum(v) / m
        along_g, along_v = self.sum(g * normalized) / m, self.sum(vc * normalized) / m
        return normalized, g, vc, along_g, along_v, self.sum(vc * g) / m, r


@fault("4", "BN-420", "BN-423", reference="tensorflow#19609, tf.nn.moments stops the gradient of the mean")
class MeanStoppedInVariance(Parts):
    """Takes the mean in the variance for a constant: right for dx, since Σ (x − μ) = 0, but not for its gradient."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        _, _, _, along_g, _, _, r = self.parts(x, dy, v)
        return dx - self.scale() * r * r * along_g * self.sum(v) / self.count(x), ddy, dgamma


@fault("4", "BN-420", "BN-423")
class FactorIsConstant(Parts):
    """Takes 1/√(σ² + ε) for a constant when it differentiates dx."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        normalized, _, _, along_g, along_v, both, r = self.parts(x, dy, v)
        return dx + self.scale() * r * r * normalized * (both - 3 * along_g * along_v), ddy, dgamma


@fault("4", "BN-420", "BN-423")
class ThreeTakenForOne(Parts):
    """Differentiates r³ as if it were r: the factor 3 of the last term is missing."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        normalized, _, _, along_g, along_v, _, r = self.parts(x, dy, v)
        return dx - self.scale() * r * r * normalized * 2 * along_g * along_v, ddy, dgamma


@fault("4", "BN-420", "BN-423")
class UpstreamTermMissing(Parts):
    """Leaves the term of v·x̂ times dy out."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        _, g, _, _, along_v, _, r = self.parts(x, dy, v)
        return dx + self.scale() * r * r * g * along_v, ddy, dgamma


@fault("4", "BN-421")
class UpstreamGradientOfInference(Parts):
    """Gives the gradient with respect to dy as if the statistics were constants."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, _, dgamma = super().second_order(x, dy, v)
        return dx, self.scale() * self.parts(x, dy, v)[-1] * v, dgamma


@fault("4", "BN-421")
class UpstreamGradientUncentered(Parts):
    """Forgets to subtract the mean of v."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        return dx, ddy + self.scale() * self.parts(x, dy, v)[-1] * self.sum(v) / self.count(x), dgamma


@fault("4", "BN-422")
class SecondGammaScaled(Parts):
    """Multiplies the gradient with respect to gamma by gamma."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        return dx, ddy, None if dgamma is None or self.gamma is None else dgamma * self.gamma


@fault("4", "BN-422")
class SecondGammaFirstTermOnly(Parts):
    """Leaves the part of x̂ out of the gradient with respect to gamma."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        *_, both, r = self.parts(x, dy, v)
        full = (r * self.count(x) * both).reshape(self.spec.parameter_shape)
        return dx, ddy, None if dgamma is None else full


@fault("4", "BN-423", "BN-420")
class PenaltyHalved(Parts):
    """Halves the gradient with respect to x."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        return dx / 2, ddy, dgamma


@fault("4", "BN-420", "BN-421")
class CotangentOfOnes(NumpyLayer):
    """Differentiates Σ dx whatever v is."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        return super().second_order(x, dy, np.ones_like(v))


@fault("4", "BN-424")
class SecondOrderUpdates(NumpyLayer):
    """Updates the moving statistics when it computes gradients of gradients, since the forward pass runs again."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        self.update(*self.batch_statistics(x), self.count(x))
        return super().second_order(x, dy, v)


@fault("4", "BN-430", "BN-401")
class DxOfAnotherDefinition(NumpyLayer):
    """Gives dx for the variance with m − 1, while y has the one with m."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        m = self.count(x)
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        normalized = (x - mean) * r
        return dx + self.scale() * r * normalized * dgamma / m * self.compute.type(1 - m / max(m - 1, 1)), dgamma, dbeta


@fault("4", "BN-431", "BN-402", reference="in-place activated BN: x̂ is recovered from y")
class DgammaThroughGamma(NumpyLayer):
    """Recovers x̂ as (y − β)/γ for dγ, with 1e-5 in place of a smaller γ."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        gamma = self.scale()
        return dx, dgamma * gamma / np.where(np.abs(gamma) < 1e-5, self.compute.type(1e-5), gamma), dbeta


@fault("4", "BN-431", "BN-402")
class GammaFrozenWhereLarge(NumpyLayer):
    """Clips dγ to zero where γ exceeds a hundred."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, np.where(np.abs(self.scale()) > 100, 0, dgamma).astype(self.compute), dbeta


@fault("4", "BN-422")
class GammaTwiceWithoutCenter(NumpyLayer):
    """Doubles the second-order gradient of gamma in layers without beta."""

    def second_order(self, x: Array, dy: Array, v: Array) -> Second:
        dx, ddy, dgamma = super().second_order(x, dy, v)
        return dx, ddy, dgamma if dgamma is None or self.beta is not None else 2 * dgamma
