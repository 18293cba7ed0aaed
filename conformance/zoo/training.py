"""Faults that only training shows: they come with writes and backward passes by the dozen, unlike in short cases."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer, NumpyTape
from conformance.zoo.registry import training_fault

#: Writes or backward passes that go well.
PATIENCE = 40


class WritingLayer(NumpyLayer):
    """A layer that counts how often its state is written."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.writes = 0

    def set_state(self, state: State) -> None:
        self.writes += 1
        super().set_state(state if self.writes <= PATIENCE else self.late(state))

    def late(self, state: State) -> State:
        """What is made of a write that comes late."""
        return state


@training_fault("BN-903")
class DriftingStatistics(WritingLayer):
    """Lets the moving mean drift by a hundredth of a deviation at each write of the state, after forty of them."""

    def late(self, state: State) -> State:
        assert self.moving_mean is not None
        assert self.moving_variance is not None
        self.moving_mean = self.moving_mean + (0.01 * np.sqrt(self.moving_variance)).astype(self.moving_mean.dtype)
        return state


@training_fault("BN-903")
class LostWrites(WritingLayer):
    """Loses gamma and beta when they are written for the forty-first time, and ever after."""

    def late(self, state: State) -> State:
        return state._replace(gamma=None, beta=None)


@training_fault("BN-903")
class CreepingVariance(WritingLayer):
    """Lets the moving variance grow by one percent at each write of the state, after forty of them."""

    def late(self, state: State) -> State:
        assert self.moving_variance is not None
        self.moving_variance = self.moving_variance * self.moving_variance.dtype.type(1.01)
        return state


class PilingTape(NumpyTape):
    """A tape of the layer whose gradients pile up."""

    def backward(self, dy: Array) -> Step:
        step = super().backward(dy)
        assert isinstance(self.layer, PilingLayer)
        return self.layer.piled(step)


class PilingLayer(NumpyLayer):
    """A layer that keeps the gradients of gamma and beta from one backward pass of a tape to the next."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.passes = 0
        self.pile: list[Array] = []

    def tape(self, x: Array, training: bool) -> NumpyTape:
        return PilingTape(self, x, training)

    def piled(self, step: Step) -> Step:
        """Add what lies there, once there have been many passes."""
        self.passes += 1
        if self.passes <= PATIENCE or step.dgamma is None or step.dbeta is None:
            return step
        found = [step.dgamma, step.dbeta]
        if self.pile:
            found = [a + b for a, b in zip(found, self.pile, strict=True)]
        self.pile = found
        return step._replace(dgamma=found[0], dbeta=found[1])


@training_fault("BN-903")
class PiledGradients(PilingLayer):
    """No longer clears the gradients of gamma and beta between backward passes, after forty of them."""
