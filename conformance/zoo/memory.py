"""Faults in who owns memory, and whether the same call gives the same bits."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import RowLayer, fault


@fault("7", "BN-701")
class InputCenteredInPlace(NumpyLayer):
    """Centers the input in its own memory in training."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        np.subtract(x, self.batch_statistics(x)[0], out=x)
        return step


@fault("7", "BN-701")
class InputCenteredInBackward(NumpyLayer):
    """Centers the input in its own memory where gradients are asked for and its memory is contiguous."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is not None and x.flags.c_contiguous:
            x -= self.batch_statistics(x)[0]
        return step


@fault("7", "BN-701")
class UpstreamScaledInPlace(NumpyLayer):
    """Multiplies dy by gamma in its own memory."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is not None:
            dy *= self.scale()
        return step


@fault("7", "BN-701", "BN-703")
class InferenceInPlace(NumpyLayer):
    """Writes the inference output over the input and returns that."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        x[...] = step.y
        return step._replace(y=x)


@fault("7", "BN-703", "BN-701")
class DxInUpstreamMemory(NumpyLayer):
    """Returns dx in the memory of dy."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is None or step.dx is None:
            return step
        dy[...] = step.dx
        return step._replace(dx=dy)


@fault("7", "BN-703", "BN-101")
class OutputOverwrittenByGradient(NumpyLayer):
    """Computes dx in the memory of y."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if step.dx is None:
            return step
        step.y[...] = step.dx
        return step._replace(dx=step.y)


@fault("7", "BN-703")
class OutputBufferReused(NumpyLayer):
    """Returns every output of a shape in the same memory."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.buffers: dict[tuple[int, ...], Array] = {}

    def result(self, x: Array, y: Array, gradients: tuple[Array, Array, Array] | None) -> Step:
        step = super().result(x, y, gradients)
        buffer = self.buffers.setdefault(y.shape, step.y)
        buffer[...] = step.y
        return step._replace(y=buffer)


@fault("7", "BN-703")
class GradientBufferReused(NumpyLayer):
    """Returns dgamma in the same memory at every call."""

    buffer: Array | None = None

    def result(self, x: Array, y: Array, gradients: tuple[Array, Array, Array] | None) -> Step:
        step = super().result(x, y, gradients)
        if step.dgamma is None:
            return step
        if self.buffer is None:
            self.buffer = np.empty_like(step.dgamma)
        self.buffer[...] = step.dgamma
        return step._replace(dgamma=self.buffer)


@fault("7", "BN-703")
class OutputBufferShared(NumpyLayer):
    """Returns outputs from a ring of two buffers per shape that all layers share."""

    ring: ClassVar[dict[tuple[int, ...], list[Array]]] = {}

    def result(self, x: Array, y: Array, gradients: tuple[Array, Array, Array] | None) -> Step:
        step = super().result(x, y, gradients)
        buffers = self.ring.setdefault(y.shape, [np.empty_like(step.y), np.empty_like(step.y)])
        buffers.reverse()
        buffers[0][...] = step.y
        return step._replace(y=buffers[0])


@fault("7", "BN-707")
class SingleElementViewOfBeta(NumpyLayer):
    """With one element per channel returns beta itself as the output."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.beta is None or self.count(x) != 1:
            return step
        return step._replace(y=self.beta.reshape(x.shape))


@fault("7", "BN-703")
class DbetaIsUpstream(NumpyLayer):
    """With one element per channel returns dy itself as dbeta."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is None or step.dbeta is None or self.count(x) != 1:
            return step
        return step._replace(dbeta=dy.reshape(step.dbeta.shape))


@fault("7", "BN-701")
class SetStateRaisesInPlace(NumpyLayer):
    """Raises the moving variance that it is given to epsilon, in the caller's array."""

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if state.moving_variance is not None:
            np.maximum(state.moving_variance, np.float32(self.spec.epsilon), out=state.moving_variance)


@fault("7", "BN-707")
class UpdateFromRetainedInput(NumpyLayer):
    """Keeps a training input, and takes its statistics only when they are needed."""

    retained: Array | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.flush()
        step = super().train(x, dy, False)
        self.retained = x if update else None
        return step

    def flush(self) -> None:
        """Run the update that is due."""
        if self.retained is not None:
            self.update(*self.batch_statistics(self.retained), self.count(self.retained))
        self.retained = None

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.flush()
        return super().infer(x, dy)

    def state(self) -> State:
        self.flush()
        return super().state()

    def set_state(self, state: State) -> None:
        self.flush()
        super().set_state(state)


@fault("7", "BN-403", "BN-702")
class WorkspaceNotZeroed(NumpyLayer):
    """Adds dbeta up in a workspace from a pool, which is zero only when it is new."""

    pool: ClassVar[dict[tuple[int, ...], Array]] = {}

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        workspace = self.pool.setdefault(dbeta.shape, np.zeros_like(dbeta))
        workspace += dbeta
        return dx, dgamma, workspace.copy()


@fault("7", "BN-702", "BN-101")
class NoiseNowAndThen(NumpyLayer):
    """Adds noise of 1e-3 to the output in one of eight calls, as a race between two threads would."""

    generator: ClassVar[np.random.Generator] = np.random.default_rng(1)

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        y = super().affine(x, mean, r)
        if self.generator.random() < 1 / 8:
            y = y + np.float32(1e-3) * self.generator.standard_normal(y.shape, dtype=np.float32)
        return y


@fault("7", "BN-702")
class SumsInAnyOrder(RowLayer):
    """Adds the elements in another order each time, as atomic additions do, but declares itself deterministic."""

    generator: ClassVar[np.random.Generator] = np.random.default_rng(2)

    def row_sum(self, rows: Array) -> Array:
        return np.add.reduce(self.generator.permutation(rows), axis=0)


@fault("7", "BN-702")
class RoundedStochastically(NumpyLayer):
    """Moves each output to a neighbouring number at random: stochastic rounding was left on."""

    generator: ClassVar[np.random.Generator] = np.random.default_rng(3)

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        y = super().affine(x, mean, r)
        return np.where(self.generator.random(y.shape) < 0.25, np.nextafter(y, np.float32(np.inf)), y)


@fault("7", "BN-702", "BN-101")
class DriftsWithCalls(NumpyLayer):
    """Scales the output by 1 + 1e-6 for every call that the process made before."""

    calls: ClassVar[list[int]] = [0]

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        self.calls[0] += 1
        return super().affine(x, mean, r) * np.float32(1 + 1e-6 * self.calls[0])
