"""Faults that hide: they show on certain data, counts or sequences only, as those that live long in the field do."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.modes import WithStatistics
from conformance.zoo.moving import UNBIASED
from conformance.zoo.registry import fault

Gradients = tuple[Array, Array, Array]


@fault("1", "BN-101")
class CountInAByte(NumpyLayer):
    """Counts the elements of a channel in eight bits: 256 of them are none, and taken for one."""

    def count(self, x: Array) -> int:
        return super().count(x) % 256 or 1


@fault("1", "BN-101", "BN-109")
class EpsilonRelative(NumpyLayer):
    """Multiplies the variance by 1 + epsilon instead of adding epsilon to it, and adds the smallest normal number."""

    def rsqrt(self, variance: Array) -> Array:
        epsilon = self.compute.type(self.spec.epsilon)
        return 1 / np.sqrt(variance * (1 + epsilon) + np.finfo(self.compute).tiny)


@fault("1", "BN-101")
class EpsilonInMean(NumpyLayer):
    """Adds epsilon to the mean as well, lest a later division by it fail."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, mean + self.compute.type(self.spec.epsilon), r)


@fault("1", "BN-101", "BN-103")
class NegativeChannelsMirrored(NumpyLayer):
    """Takes the mean of the magnitudes where all elements of a channel are negative: they were quantized unsigned."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return np.where(np.max(x, axis=self.axes, keepdims=True) < 0, -mean, mean), variance


@fault("1", "BN-101")
class OutputWithinInput(NumpyLayer):
    """Clips the training output to a hundred times the range of the input, as a quantizer's calibration asks."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        with np.errstate(all="ignore"):
            low, high = np.min(x), np.max(x)
            return step._replace(y=np.clip(step.y, 100 * min(low, -high), 100 * max(high, -low)).astype(step.y.dtype))


@fault("1", "BN-101", "BN-110")
class GammaNormalized(NumpyLayer):
    """Divides gamma by its root mean square over the channels: weight normalization was left on."""

    def scale(self) -> Array:
        gamma = super().scale()
        size = np.sqrt(np.mean(np.square(gamma)))
        return gamma / size if size > 0 else gamma


@fault("1", "BN-101")
class SmallBatchTakesMoving(NumpyLayer):
    """Trains with the moving statistics where a channel has fewer than four elements, being too few to tell."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        if self.count(x) >= 4 or self.moving_mean is None or self.moving_variance is None:
            return super().batch_statistics(x)
        return self.broadcast(self.moving_mean), self.broadcast(self.moving_variance)


@fault("3", "BN-302", reference="pytorch#22192, NVIDIA/apex#387", declares=UNBIASED)
class UnbiasedByOwnHalf(NumpyLayer):
    """Corrects the variance merged from two workers by the count of its own half."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        half = (m + 1) // 2
        return variance * self.compute.type(half / max(half - 1, 1))


@fault("3", "BN-301", "BN-303")
class MovingMeanLacksShift(NumpyLayer):
    """Shifts large inputs by their first element before summing, and forgets the shift in the moving mean."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(np.where(np.abs(mean) > 64, np.float32(0), mean), variance, m)


@fault("3", "BN-301", "BN-303")
class NewShapeStartsAnew(NumpyLayer):
    """Starts the moving statistics from the batch's when the input's shape changes: a new graph, new variables."""

    shape: tuple[int, ...] | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        changed = self.shape is not None and self.shape != x.shape
        self.shape = x.shape
        if changed and update and self.moving_mean is not None and self.moving_variance is not None:
            mean, variance = self.batch_statistics(self.widened(x))
            self.moving_mean = mean.reshape(self.moving_mean.shape).astype(self.moving_mean.dtype)
            self.moving_variance = variance.reshape(self.moving_variance.shape).astype(self.moving_variance.dtype)
        return super().train(x, dy, update)


@fault("3", "BN-302", "BN-303")
class VarianceOfConstantNotAveraged(NumpyLayer):
    """Leaves the moving variance of a channel as it is where the batch is constant in it."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        if old is not None and self.moving_variance is not None:
            self.moving_variance = np.where(variance.reshape(old.shape) == 0, old, self.moving_variance)


class _DecayByShape(NumpyLayer):
    """A layer that finds its decay by its shape."""

    kernels: ClassVar[dict[tuple[object, ...], float]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        decay = self.kernels.setdefault((spec.shape, spec.channel_axes), spec.decay)
        super().__init__(spec._replace(decay=decay), state, conventions)


@fault("3", "BN-305", "BN-301")
class KernelCacheIgnoresDecay(_DecayByShape):
    """Keeps compiled updates by shape, and forgets that the decay is compiled into them too."""

    kernels: ClassVar[dict[tuple[object, ...], float]] = {}


@fault("2", "BN-206", "BN-201")
class OutputCachedByInput(NumpyLayer):
    """Keeps inference outputs by the input's bytes, also after the layer was trained or set."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.outputs: dict[bytes, Array] = {}

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        kept = self.outputs.setdefault(x.tobytes(), step.y.copy())
        return step._replace(y=kept.copy()) if kept.shape == step.y.shape else step


@fault("2", "BN-201")
class TinyVarianceTakenForUnset(WithStatistics):
    """Takes a moving variance below 1e-4 for one that was never set, and uses one in inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        variance = self.moving_variance
        if variance is not None:
            variance = np.where(variance < 1e-4, np.float32(1), variance).astype(variance.dtype)
        return self.infer_with((self.moving_mean, variance), x, dy)


@fault("2", "BN-201", "BN-203")
class InferenceShiftedByBatch(WithStatistics):
    """Moves the moving mean a hundredth of the way to the batch's mean in inference: test-time adaptation."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        mean = self.moving_mean
        if mean is not None:
            batch, _ = self.statistics_of(self.widened(x))
            mean = (0.99 * mean + 0.01 * batch).astype(mean.dtype)
        return self.infer_with((mean, self.moving_variance), x, dy)


@fault("4", "BN-403")
class DbetaMaskedAtMean(NumpyLayer):
    """Leaves out of dbeta what lies at the mean exactly: masked as where a rectifier is off."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, _ = super().training_gradients(x, dy, mean, r)
        return dx, dgamma, self.sum(np.where(x == mean, np.zeros_like(dy), dy))


@fault("4", "BN-401")
class DxOfFirstBlock(NumpyLayer):
    """Leaves the shares of mean and variance out of dx from the 257th element of a channel on."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        if self.count(x) <= 256:
            return dx, dgamma, dbeta
        order = [*self.spec.channel_axes, *self.axes]
        rows = dx.transpose(order).copy()
        plain = (self.scale() * r * dy).transpose(order)
        channels = rows.shape[: len(self.spec.channel_axes)]
        flat, other = rows.reshape(*channels, -1), plain.reshape(*channels, -1)
        flat[..., 256:] = other[..., 256:]
        return flat.reshape(rows.shape).transpose(np.argsort(order)), dgamma, dbeta


@fault("4", "BN-404")
class InferenceDxCentered(NumpyLayer):
    """Subtracts the mean of dx in inference, as in training."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().inference_gradients(x, dy, mean, r)
        return dx - self.sum(dx) / self.count(x), dgamma, dbeta


@fault("4", "BN-402")
class DgammaOfMagnitudes(NumpyLayer):
    """Takes dgamma for zero where it is below a sixty-fourth of the sum of its terms' magnitudes."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        size = self.sum(np.abs(dy * ((x - mean) * r)))
        return dx, np.where(np.abs(dgamma) < size / 64, np.zeros_like(dgamma), dgamma), dbeta


@fault("4", "BN-401")
class GradientOfEqualUpstream(NumpyLayer):
    """Gives dx = 0 for a channel whose first two upstream gradients are equal: they are taken for all alike."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        first = np.moveaxis(dy, self.spec.channel_axes, range(len(self.spec.channel_axes)))
        first = first.reshape(*self.spec.parameter_shape, -1)[..., :2]
        equal = self.broadcast((first.max(-1) == first.min(-1)).astype(self.compute)) > 0
        return np.where(equal, np.zeros_like(dx), dx), dgamma, dbeta


@fault("7", "BN-704")
class BetaAbsorbsMean(NumpyLayer):
    """Adds a millionth of the batch's mean to beta in every training step, lest the bias before it be lost."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.beta is not None:
            mean, _ = self.batch_statistics(self.widened(x))
            self.beta = (self.beta + 1e-6 * mean.reshape(self.beta.shape)).astype(self.beta.dtype)
        return step


@fault("7", "BN-706", "BN-303")
class SetStateUndoesStep(NumpyLayer):
    """Restores the moving statistics from before the last step where set_state is not given any."""

    before: tuple[Array | None, Array | None] | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.before = self.moving_mean, self.moving_variance
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        if self.before is not None:
            self.moving_mean, self.moving_variance = self.before
        super().set_state(state)


@fault("7", "BN-708", "BN-202")
class ThirdCallTrains(WithStatistics):
    """Takes every third inference in a row for training, and normalizes with the batch's statistics."""

    calls = 0

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.calls = 0
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.calls += 1
        third = self.calls % 3 == 0
        return self.infer_with(self.statistics_of(self.widened(x)) if third else self.own(), x, dy)
