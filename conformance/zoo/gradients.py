"""Faults in dx, the gradient with respect to the input, in training."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

Gradients = tuple[Array, Array, Array]


class OtherCount(NumpyLayer):
    """A layer that divides the sums in dx by another number than m."""

    def divisor(self, x: Array) -> float:
        """What the sums are divided by."""
        return self.count(x)

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        """The gradients, with that number in dx."""
        h = (x - mean) * r
        dbeta, dgamma = self.sum(dy), self.sum(dy * h)
        m = np.float32(self.divisor(x))
        return self.scale() * r * (dy - dbeta / m - h * (dgamma / m)), dgamma, dbeta


@fault("4", "BN-401", "BN-405", reference="facebookresearch/CrypTen#143")
class StatisticsDetached(NumpyLayer):
    """Takes the batch's statistics for constants in dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return self.inference_gradients(x, dy, mean, r)


@fault("4", "BN-401", "BN-406")
class VarianceDetached(NumpyLayer):
    """Leaves the variance's share out of dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return self.scale() * r * (dy - dbeta / self.count(x)), dgamma, dbeta


@fault("4", "BN-401", "BN-405")
class MeanDetached(NumpyLayer):
    """Leaves the mean's share out of dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return self.scale() * r * (dy - (x - mean) * r * (dgamma / self.count(x))), dgamma, dbeta


@fault("4", "BN-401", "BN-405")
class CountIsBatchSize(OtherCount):
    """Divides by the number of samples in dx, without the spatial positions."""

    def divisor(self, x: Array) -> float:
        return x.shape[self.axes[0]]


@fault("4", "BN-401", "BN-405")
class CountLessOne(OtherCount):
    """Divides by m - 1 in dx."""

    def divisor(self, x: Array) -> float:
        return max(self.count(x) - 1, 1)


@fault("4", "BN-401", "BN-405")
class OddCountHalved(OtherCount):
    """Divides by twice m // 2 in dx, which is one too few for odd m."""

    def divisor(self, x: Array) -> float:
        return max(self.count(x) // 2 * 2, 1)


@fault("4", "BN-401", "BN-405")
class RankFiveCount(OtherCount):
    """Forgets the last reduction axis in the m of dx, for inputs of rank 5."""

    def divisor(self, x: Array) -> float:
        return self.count(x) / (x.shape[self.axes[-1]] if self.spec.rank == 5 else 1)


@fault("4", "BN-401", "BN-406")
class VarianceTermTwice(NumpyLayer):
    """Forgets the one half of the square root's derivative: the variance term of dx is doubled."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx - self.scale() * r * (x - mean) * r * (dgamma / self.count(x)), dgamma, dbeta


@fault("4", "BN-401", "BN-405")
class MeanTermUnscaled(NumpyLayer):
    """Does not multiply the mean's share of dx by gamma."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx + (self.scale() - 1) * r * (dbeta / self.count(x)), dgamma, dbeta


@fault("4", "BN-401")
class GammaMagnitudeInDx(NumpyLayer):
    """Multiplies dx by the absolute value of gamma."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return np.where(self.scale() < 0, -dx, dx), dgamma, dbeta


@fault("4", "BN-401", reference="denizyuret/Knet.jl#288")
class GammaOmittedInDx(OtherCount):
    """Leaves gamma out of dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        h = (x - mean) * r
        dbeta, dgamma, m = self.sum(dy), self.sum(dy * h), self.count(x)
        return r * (dy - dbeta / m - h * (dgamma / m)), dgamma, dbeta


@fault("4", "BN-401")
class DxOfSpatialMean(NumpyLayer):
    """Divides dx by the number of spatial positions, as if the loss were averaged over them."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx * np.float32(x.shape[self.axes[0]] / self.count(x)), dgamma, dbeta


@fault("4", "BN-401")
class DxUsesMovingVariance(NumpyLayer):
    """Takes 1 / sqrt(variance + epsilon) of the moving variance in dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        other = r if self.moving_variance is None else self.rsqrt(self.broadcast(self.moving_variance))
        return super().training_gradients(x, dy, mean, other)[0], dgamma, dbeta


@fault("4", "BN-401", "BN-405")
class SingleElementDx(NumpyLayer):
    """Passes the gradient through where there is one element per channel, although y is beta there."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return (self.scale() * r * dy if self.count(x) == 1 else dx), dgamma, dbeta


@fault("4", "BN-401")
class ConstantChannelDx(NumpyLayer):
    """Gives dx = 0 for a constant channel."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        constant = self.sum(np.abs(x - mean)) == 0
        return np.where(constant, np.float32(0), dx), dgamma, dbeta


@fault("4", "BN-401", "BN-708")
class PreviousUpstream(NumpyLayer):
    """Computes dx from the upstream gradient of the step before, where that has the same shape."""

    last: Array | None = None

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        last, self.last = self.last, dy
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        used = dy if last is None or last.shape != dy.shape else last
        return super().training_gradients(x, used, mean, r)[0], dgamma, dbeta


@fault("4", "BN-407", "BN-401")
class UpstreamClipped(NumpyLayer):
    """Clips the upstream gradient to [-1, 1]."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, None if dy is None else np.clip(dy, -1, 1), update)


@fault("4", "BN-407", "BN-401")
class UpstreamSparsified(NumpyLayer):
    """Drops upstream gradients below one percent of the largest."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if dy is not None:
            dy = np.where(np.abs(dy) < np.float32(0.01) * np.max(np.abs(dy), initial=0), np.float32(0), dy)
        return super().train(x, dy, update)


@fault("4", "BN-407", "BN-401")
class DxNormClipped(NumpyLayer):
    """Scales dx down to the norm of dy where it is larger."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        limit, norm = np.sqrt(np.sum(np.square(dy))), np.sqrt(np.sum(np.square(dx)))
        return dx * np.minimum(np.float32(1), limit / np.maximum(norm, np.float32(1e-30))), dgamma, dbeta


@fault("4", "BN-408", "BN-405")
class CenterOffDetachesMean(NumpyLayer):
    """With center=False leaves the mean's share out of dx."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return (dx if self.spec.center else dx + self.scale() * r * (dbeta / self.count(x))), dgamma, dbeta


@fault("4", "BN-409", "BN-101")
class GradientPathEpsilon(NumpyLayer):
    """Computes y with the default epsilon of 1e-3 where gradients are asked for."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is None:
            return step
        mean, variance = self.batch_statistics(x)
        return step._replace(y=self.affine(x, mean, 1 / np.sqrt(variance + np.float32(1e-3))))
