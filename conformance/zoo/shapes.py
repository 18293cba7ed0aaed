"""Faults that show for some ranks, axes and extents only."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import RowLayer, fault
from conformance.zoo.statistics import PartialReduction


class Rearranged(NumpyLayer):
    """A layer that works on a rearranged input, and rearranges what it returns."""

    def enter(self, a: Array) -> Array:
        """Rearrange on the way in."""
        return a

    def leave(self, a: Array) -> Array:
        """Rearrange on the way out."""
        return a

    def outward(self, step: Step) -> Step:
        """Rearrange a result."""
        return step._replace(y=self.leave(step.y), dx=None if step.dx is None else self.leave(step.dx))

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        """Train on the rearranged input."""
        return self.outward(super().train(self.enter(x), None if dy is None else self.enter(dy), update))

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        """Infer on the rearranged input."""
        return self.outward(super().infer(self.enter(x), None if dy is None else self.enter(dy)))


@fault("1", "BN-101", "BN-106")
class FlattenedWithoutTranspose(Rearranged):
    """Reshapes to (m, C) without moving the channel axis to the end first, for ranks above 3."""

    def enter(self, a: Array) -> Array:
        if self.spec.rank <= 3:
            return a
        axes = self.spec.channel_axes
        last = tuple(range(-len(axes), 0))
        moved = tuple(a.shape[k] for k in range(a.ndim) if k not in axes) + self.spec.parameter_shape
        return np.moveaxis(a.reshape(moved), last, axes)

    def leave(self, a: Array) -> Array:
        if self.spec.rank <= 3:
            return a
        axes = self.spec.channel_axes
        return np.moveaxis(a, axes, tuple(range(-len(axes), 0))).reshape(a.shape)


@fault("1", "BN-101", "BN-106")
class LastAxisPreferred(Rearranged):
    """Takes the last axis for the channels wherever it has as many entries as there are channels."""

    def enter(self, a: Array) -> Array:
        axis = self.spec.channel_axes[0]
        return a.swapaxes(axis, -1) if a.shape[-1] == a.shape[axis] and len(self.spec.axis) == 1 else a

    def leave(self, a: Array) -> Array:
        return self.enter(a)


@fault("1", "BN-101", "BN-106")
class NegativeAxisOffByOne(Rearranged):
    """Counts negative axes other than -1 from one place too far to the front, where the extents happen to agree."""

    def enter(self, a: Array) -> Array:
        axis = self.spec.axis[0]
        if axis >= -1 or len(self.spec.axis) > 1 or axis == -a.ndim or a.shape[axis] != a.shape[axis - 1]:
            return a
        return a.swapaxes(axis, axis - 1)

    def leave(self, a: Array) -> Array:
        return self.enter(a)


@fault("1", "BN-101", "BN-105", reference="pytorch#62594")
class SquarePlanesTransposed(Rearranged):
    """Returns square spatial planes transposed: the layouts of input and output are told apart by their extents."""

    def leave(self, a: Array) -> Array:
        spatial = self.axes[1:]
        if len(spatial) == 2 and a.shape[spatial[0]] == a.shape[spatial[1]]:
            return a.swapaxes(*spatial)
        return a


@fault("1", "BN-110", "BN-106")
class ParametersAlongLastAxis(NumpyLayer):
    """Broadcasts gamma along the last axis wherever that has as many entries as there are channels."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        gamma = self.scale()
        if gamma.size == x.shape[-1] and len(self.spec.axis) == 1:
            gamma = gamma.reshape(-1)
        return gamma * ((x - mean) * r) + self.shift()


@fault("1", "BN-110", "BN-101")
class BetaAlongBatch(NumpyLayer):
    """Broadcasts beta along the batch axis where there are as many samples as channels, for inputs of rank 2."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        shift = self.shift()
        square = x.ndim == 2 and x.shape[0] == x.shape[1] and len(self.spec.axis) == 1
        return self.scale() * ((x - mean) * r) + (shift.T if square else shift)


@fault("1", "BN-101")
class ParametersInWrittenOrder(NumpyLayer):
    """Takes the parameters of several channel axes in the order in which the axes were written, not in theirs."""

    def broadcast(self, parameter: Array) -> Array:
        shape = self.spec.parameter_shape
        written = np.argsort([a % self.spec.rank for a in self.spec.axis])
        inverse = np.argsort(written)
        extents = [shape[i] for i in inverse]
        return super().broadcast(parameter.reshape(extents).transpose(written).reshape(shape))


@fault("1", "BN-101")
class SingleChannelUnbiased(NumpyLayer):
    """Takes the unbiased variance for a single channel, which goes through a library's scalar routine."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        m = self.count(x)
        return mean, variance * (m / (m - 1)) if variance.size == 1 and m > 1 else variance


@fault("1", "BN-101", "BN-106")
class LastChannelTakesNeighbour(NumpyLayer):
    """Normalizes the last of an odd number of channels with the variance of the one before."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if variance.size % 2 and variance.size > 1:
            variance = variance.copy()
            variance.flat[-1] = variance.flat[-2]
        return mean, variance


@fault("1", "BN-101", "BN-106")
class ChannelsWrapAtEight(NumpyLayer):
    """Uses the mean of channel c % 8 for channel c."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean.reshape(-1)[np.arange(mean.size) % 8].reshape(mean.shape), variance


@fault("1", "BN-101", "BN-106")
class VectorTailOfChannels(NumpyLayer):
    """Gives the C % 4 channels after the last whole vector the variance of the vector before."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        index = np.arange(variance.size)
        whole = variance.size // 4 * 4
        if whole:
            index[whole:] -= 4
        return mean, variance.reshape(-1)[index].reshape(variance.shape)


@fault("1", "BN-101", "BN-110")
class SixteenChannelsAtMost(NumpyLayer):
    """Leaves the channels after the sixteenth as they are."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        beyond = self.broadcast((np.arange(mean.size) >= 16).reshape(self.spec.parameter_shape)) > 0
        return np.where(beyond, x, super().affine(x, mean, r))


@fault("1", "BN-101")
class OddWidthCropped(PartialReduction):
    """Leaves the last of an odd number of columns out of the statistics, for ranks above 3."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        axis = self.axes[-1]
        width = x.shape[axis]
        return super().batch_statistics(
            np.take(x, range(width - 1), axis=axis) if width % 2 and width > 1 and x.ndim > 3 else x
        )


@fault("1", "BN-101")
class FirstAxisUnevenlyWeighted(RowLayer):
    """For channels first (axis 1) averages the mean of the first and of the other samples."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, variance = super().row_statistics(rows)
        if self.spec.channel_axes != (1,) or len(rows) < 3:
            return mean, variance
        return (rows[0] + rows[1:].mean(axis=0)) / 2, variance


@fault("2", "BN-201")
class InferenceChannelsReversed(NumpyLayer):
    """For axis 0 hands the moving statistics to inference in reverse order."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if self.spec.channel_axes != (0,) or self.moving_mean is None or self.moving_variance is None:
            return super().infer(x, dy)
        own = self.moving_mean, self.moving_variance
        self.moving_mean, self.moving_variance = own[0][::-1], own[1][::-1]
        step = super().infer(x, dy)
        self.moving_mean, self.moving_variance = own
        return step


@fault("3", "BN-301", "BN-302")
class MovingOfFirstEightChannels(NumpyLayer):
    """Updates the moving statistics of the first eight channels only."""

    def moving(self, old: Array, batch: Array) -> Array:
        new = super().moving(old, batch)
        new.flat[8:] = old.flat[8:]
        return new


@fault("4", "BN-402")
class GradientsOfWholeVectors(NumpyLayer):
    """Gives zero for the dgamma of the C % 4 channels after the last whole vector, if there is one."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        if dgamma.size > 4:
            dgamma.flat[dgamma.size // 4 * 4 :] = 0
        return dx, dgamma, dbeta


@fault("1", "BN-101", "BN-110")
class AxisZeroIsBatch(NumpyLayer):
    """Adds the beta of channel 0 throughout where the channel axis is the first: axis 0 is taken for unset."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.unset = spec.channel_axes == (0,)

    def shift(self) -> Array:
        shift = super().shift()
        return np.full_like(shift, shift.flat[0]) if self.unset else shift


@fault("6", "BN-601", "BN-101", reference="pytorch#62594, pytorch#63224")
class MemoryReadInOrder(Rearranged):
    """Reads the elements of an input in the order of its memory, whatever its strides say."""

    def enter(self, a: Array) -> Array:
        return a.ravel(order="K").reshape(a.shape)
