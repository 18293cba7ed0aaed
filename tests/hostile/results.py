"""Adapters that return what is no result, and adapters that raise."""

# ruff: noqa: D102 - the docstring of a class says what its only method does

from typing import Any

import numpy as np

from adapters.interface import Array, Conventions, Layer, Spec, State, Step, Unsupported
from adapters.numpy_reference import NumpyLayer, NumpyReference


class _Layer(NumpyLayer):
    """Returns what ``spoil`` makes of a right step."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Any:
        return self.spoil(super().train(x, dy, update))

    def spoil(self, step: Step) -> Any:
        """Overridden."""


class _WrongShape(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(y=step.y.T)


class WrongShape(NumpyReference):
    """Returns y transposed."""

    layer = _WrongShape


class _WrongDtype(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(y=step.y.astype(np.float64))


class WrongDtype(NumpyReference):
    """Returns y in double precision."""

    layer = _WrongDtype


class _WrongGradient(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(dx=None if step.dx is None else step.dx[:1])


class WrongGradient(NumpyReference):
    """Returns one row of dx."""

    layer = _WrongGradient


class _List(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(y=step.y.tolist())


class ReturnsList(NumpyReference):
    """Returns a list where an array belongs."""

    layer = _List


class _Nothing(_Layer):
    def spoil(self, step: Step) -> Any:
        return None


class ReturnsNone(NumpyReference):
    """Forgets to return."""

    layer = _Nothing


class _Bare(_Layer):
    def spoil(self, step: Step) -> Any:
        return step.y


class ReturnsBareArray(NumpyReference):
    """Returns y instead of a Step."""

    layer = _Bare


class _NoGradient(_Layer):
    def spoil(self, step: Step) -> Any:
        return Step(step.y)


class NoGradients(NumpyReference):
    """Declares gradients and returns none."""

    layer = _NoGradient


class _PlainTuple(_Layer):
    def spoil(self, step: Step) -> Any:
        return tuple(step)


class PlainTuple(NumpyReference):
    """Returns the four arrays as a plain tuple, which is right."""

    layer = _PlainTuple


class _IntegerGradient(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(dgamma=None if step.dgamma is None else step.dgamma.astype(np.int64))


class IntegerGradient(NumpyReference):
    """Returns dgamma as integers."""

    layer = _IntegerGradient


class _Masked(_Layer):
    def spoil(self, step: Step) -> Any:
        return step._replace(y=np.ma.masked_array(step.y))


class ReturnsMasked(NumpyReference):
    """Returns a masked array."""

    layer = _Masked


class _NoBeta(NumpyLayer):
    def state(self) -> State:
        return super().state()._replace(beta=None)


class LosesBeta(NumpyReference):
    """Has no beta in its state although center is set."""

    layer = _NoBeta


class _WideState(NumpyLayer):
    def state(self) -> State:
        state = super().state()
        return state._replace(moving_mean=None if state.moving_mean is None else state.moving_mean[None])


class WideState(NumpyReference):
    """Has an extra axis in its moving mean."""

    layer = _WideState


class _DictState(NumpyLayer):
    def state(self) -> Any:
        return super().state()._asdict()


class DictState(NumpyReference):
    """Returns its state as a dict."""

    layer = _DictState


class _ObjectExtra(NumpyLayer):
    def state(self) -> State:
        return super().state()._replace(extra={"step": np.array([object()])})


class ObjectExtra(NumpyReference):
    """Keeps Python objects in its extra state."""

    layer = _ObjectExtra


class _RaisingLayer(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if dy is not None:
            raise ValueError("cannot differentiate\nover two lines")
        return super().train(x, dy, update)


class RaisesInTrain(NumpyReference):
    """Raises where gradients are asked for."""

    layer = _RaisingLayer


class _RaisingState(NumpyLayer):
    def state(self) -> State:
        raise RuntimeError("no state today")


class RaisesInState(NumpyReference):
    """Raises when its state is read."""

    layer = _RaisingState


class RaisesInConventions(NumpyReference):
    """Raises when its conventions are asked for."""

    def conventions(self, spec: Spec) -> Conventions:
        raise LookupError("no conventions")


class RaisesInBuild(NumpyReference):
    """Raises when a layer is built."""

    def build(self, spec: Spec, state: State) -> Layer:
        raise MemoryError("too large")


class BuildsNoLayer(NumpyReference):
    """Builds a dict."""

    def build(self, spec: Spec, state: State) -> Any:
        return {}


class Refuses(NumpyReference):
    """Refuses every layer, with a reason."""

    def build(self, spec: Spec, state: State) -> Layer:
        raise Unsupported("epsilon 0.001 is below the 0.01 of the hardware")


class _InterruptLayer(NumpyLayer):
    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        raise KeyboardInterrupt


class Interrupted(NumpyReference):
    """Meets the user's Ctrl-C."""

    layer = _InterruptLayer
