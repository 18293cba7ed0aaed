"""Adapters that write to their arguments, keep them, or return memory that is not the caller's."""

# ruff: noqa: D102 - the docstring of a class says what its only method does

from typing import Any

import numpy as np

from adapters.interface import Array, Spec, State, Step
from adapters.numpy_reference import NumpyLayer, NumpyReference


class _MutatesX(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if x.flags.writeable:
            x[0, 0] = 17
        return step


class MutatesX(NumpyReference):
    """Writes to x."""

    layer = _MutatesX


class _MutatesDy(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if dy is not None:
            dy *= 2
        return step


class MutatesDy(NumpyReference):
    """Writes to dy."""

    layer = _MutatesDy


class MutatesState(NumpyReference):
    """Writes to the state that it is built from."""

    def build(self, spec: Spec, state: State) -> Any:
        layer = super().build(spec, state)
        if state.gamma is not None:
            state.gamma[0] = -1
        return layer


class _MutatesEarlier(NumpyLayer):
    kept: Array | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if self.kept is not None:
            self.kept[...] = 0
        self.kept = x
        return super().train(x, dy, update)


class MutatesEarlier(NumpyReference):
    """Writes to the x of the call before."""

    layer = _MutatesEarlier


class _ReturnsX(NumpyLayer):
    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return Step(x, dy, *super().infer(x, dy)[2:])


class ReturnsArguments(NumpyReference):
    """Returns x as y and dy as dx: the identity without a copy."""

    layer = _ReturnsX


class _ForeignView(NumpyLayer):
    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        hidden: Any = x
        return step._replace(y=np.asarray(memoryview(hidden)))


class ForeignView(NumpyReference):
    """Returns x as y through an object that is no array, as a framework's tensor is."""

    layer = _ForeignView


class _LiveState(NumpyLayer):
    def state(self) -> State:
        return State(self.gamma, self.beta, self.moving_mean, self.moving_variance)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_mean
        super().update(mean, variance, m)
        if old is not None:
            old[...] = self.moving_mean
            self.moving_mean = old


class LiveState(NumpyReference):
    """Returns its own arrays as its state and updates the moving mean in place."""

    layer = _LiveState


class KeepsState(NumpyReference):
    """Uses the arrays of the given state as its own."""

    def build(self, spec: Spec, state: State) -> Any:
        layer = NumpyLayer(spec, state, self.declared)
        layer.gamma = state.gamma
        return layer


class _OneBuffer(NumpyLayer):
    buffer: Array | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.buffer is None or self.buffer.shape != x.shape:
            self.buffer = np.empty_like(step.y)
        self.buffer[...] = step.y
        return step._replace(y=self.buffer)


class OneBuffer(NumpyReference):
    """Returns the same buffer from each call."""

    layer = _OneBuffer


class _SharedGradients(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        return step._replace(dbeta=step.dgamma)


class SharedGradients(NumpyReference):
    """Returns one array as two gradients."""

    layer = _SharedGradients


class _Interleaved(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        both = np.empty((*x.shape, 2), x.dtype)
        both[..., 0] = step.y
        both[..., 1] = 0 if step.dx is None else step.dx
        return step._replace(y=both[..., 0], dx=both[..., 1])


class Interleaved(NumpyReference):
    """Returns y and dx interleaved in one block, with no element in common: nothing to complain of."""

    layer = _Interleaved


class _Noisy(NumpyLayer):
    noise = np.random.default_rng(0)

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        y = step.y.copy()
        y[-1, -1] *= x.dtype.type(1 + 1e-3 * self.noise.random())
        return step._replace(y=y)


class NonDeterministic(NumpyReference):
    """Has a little noise in one element of y."""

    layer = _Noisy


class _Retains(NumpyLayer):
    kept: Array | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.kept = x
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        return step if self.kept is None else step._replace(y=step.y + self.kept.mean())


class RetainsX(NumpyReference):
    """Keeps the x of training and reads it in a later inference."""

    layer = _Retains


class _Lists(NumpyLayer):
    def layouts(self, x: Array) -> tuple[Any, ...]:
        return x.strides, x.flags.writeable, x.flags.c_contiguous

    def state(self) -> State:
        return super().state()._replace(extra={"seen": np.array(self.seen, np.int64)})

    seen: tuple[int, ...] = ()

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.seen = (*x.strides, int(x.flags.writeable))
        return super().train(x, dy, update)


class ReportsLayout(NumpyReference):
    """Returns the strides of x, and whether it is writeable, in its extra state."""

    layer = _Lists
