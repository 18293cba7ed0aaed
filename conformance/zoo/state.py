"""Faults in how state is built, set, read and kept."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import copy
from typing import Any

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

FIELDS = ("gamma", "beta", "moving_mean", "moving_variance")


def copied(state: State) -> State:
    """Return a state of copies."""
    copies: dict[str, Any] = {name: copy.copy(getattr(state, name)) for name in FIELDS}
    return state._replace(**copies)


@fault("7", "BN-706")
class PartialSetResets(NumpyLayer):
    """Resets what set_state is not given to its defaults."""

    def set_state(self, state: State) -> None:
        for name, default in zip(FIELDS, (1, 0, 0, 1), strict=True):
            old = getattr(self, name)
            if old is not None:
                setattr(self, name, np.full_like(old, default))
        super().set_state(state)


@fault("7", "BN-706", "BN-206")
class SetIgnoresVariance(NumpyLayer):
    """Does not set the moving variance."""

    def set_state(self, state: State) -> None:
        super().set_state(state._replace(moving_variance=None))


@fault("7", "BN-706", "BN-704", "BN-206")
class SetIgnoresGammaAfterTraining(NumpyLayer):
    """Does not set gamma once the layer was trained."""

    trained = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.trained = True
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        super().set_state(state._replace(gamma=None) if self.trained else state)


@fault("7", "BN-706")
class SetZerosIgnored(NumpyLayer):
    """Takes an array of zeros for a parameter that is not given."""

    def set_state(self, state: State) -> None:
        given = {name: getattr(state, name) for name in FIELDS}
        super().set_state(State(**{k: v for k, v in given.items() if v is not None and np.any(v)}))


@fault("7", "BN-206", "BN-706")
class SetTakesEffectLate(NumpyLayer):
    """Lets set_state take effect after the next step: the assignment is queued behind it."""

    queued: State | None = None

    def set_state(self, state: State) -> None:
        self.queued = copied(state)

    def flush(self) -> None:
        """Assign what is queued."""
        if self.queued is not None:
            super().set_state(self.queued)
        self.queued = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        self.flush()
        return step

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        self.flush()
        return step

    def state(self) -> State:
        self.flush()
        return super().state()


@fault("7", "BN-706")
class SetSwapsStatistics(NumpyLayer):
    """Sets the moving mean from the variance and the variance from the mean where both are given, in that order."""

    def set_state(self, state: State) -> None:
        if state.moving_mean is not None and state.moving_variance is not None:
            state = state._replace(moving_mean=state.moving_variance, moving_variance=state.moving_mean)
        super().set_state(state)


@fault("7", "BN-707")
class SetKeepsReferences(NumpyLayer):
    """Keeps the arrays given to set_state instead of copies."""

    def set_state(self, state: State) -> None:
        for name in FIELDS:
            if getattr(state, name) is not None:
                setattr(self, name, getattr(state, name))


@fault("7", "BN-707")
class BuildKeepsReferences(NumpyLayer):
    """Keeps the arrays that it is built with instead of copies."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.gamma, self.beta, self.moving_mean, self.moving_variance, _ = state


@fault("7", "BN-701", "BN-707")
class BuildArraysUpdatedInPlace(NumpyLayer):
    """Updates the moving statistics in the memory of the arrays that it was built with."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.moving_mean, self.moving_variance = state.moving_mean, state.moving_variance

    def moving(self, old: Array, batch: Array) -> Array:
        old[...] = super().moving(old, batch)
        return old


@fault("7", "BN-703")
class StateIsLive(NumpyLayer):
    """Returns its own arrays as the state, and updates them in place."""

    def moving(self, old: Array, batch: Array) -> Array:
        old[...] = super().moving(old, batch)
        return old

    def state(self) -> State:
        return State(self.gamma, self.beta, self.moving_mean, self.moving_variance)


@fault("7", "BN-703")
class StateIsShared(NumpyLayer):
    """Returns its own gamma and beta as the state: writing to what was returned changes the layer."""

    def state(self) -> State:
        return super().state()._replace(gamma=self.gamma, beta=self.beta)


@fault("7", "BN-706")
class StateCached(NumpyLayer):
    """Returns the state that was read last until the next training step, whatever is set in between."""

    cached: State | None = None

    def state(self) -> State:
        if self.cached is None:
            self.cached = super().state()
        return copied(self.cached)

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.cached = None
        return super().train(x, dy, update)


@fault("7", "BN-706", "BN-303")
class StateReportsRaisedVariance(NumpyLayer):
    """Returns moving variance + epsilon as the moving variance, and takes it as that when set."""

    def state(self) -> State:
        state = super().state()
        if state.moving_variance is None:
            return state
        return state._replace(moving_variance=state.moving_variance + np.float32(self.spec.epsilon))


@fault("7", "BN-706", "BN-303")
class BuildIgnoresVariance(NumpyLayer):
    """Starts from a moving variance of one, whatever is given."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        if self.moving_variance is not None:
            self.moving_variance = np.ones_like(self.moving_variance)


@fault("7", "BN-706", "BN-303")
class BuildIgnoresMean(NumpyLayer):
    """Starts from a moving mean of zero, whatever is given."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        if self.moving_mean is not None:
            self.moving_mean = np.zeros_like(self.moving_mean)


@fault("7", "BN-201", "BN-706")
class GammaOfInferenceFrozen(NumpyLayer):
    """Uses the gamma that the layer was built with in inference, also after another was set."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.first = None if self.gamma is None else self.gamma.copy()

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        own, self.gamma = self.gamma, self.first
        step = super().infer(x, dy)
        self.gamma = own
        return step


@fault("7", "BN-704")
class GammaDecays(NumpyLayer):
    """Applies weight decay to gamma in every training step."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.gamma is not None:
            self.gamma = self.gamma * np.float32(0.9999)
        return step


@fault("7", "BN-704")
class BetaLearns(NumpyLayer):
    """Takes a step of gradient descent on beta where gradients are asked for."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if self.beta is not None and step.dbeta is not None:
            self.beta = self.beta - np.float32(0.01) * step.dbeta
        return step


@fault("7", "BN-704")
class BetaRecentered(NumpyLayer):
    """Subtracts the average of beta from beta after inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if self.beta is not None:
            self.beta = self.beta - self.beta.mean()
        return step


@fault("7", "BN-714", "BN-201")
class TrustsOwnTrainingOnly(NumpyLayer):
    """Infers with the batch's statistics until it has been trained itself, whatever state it was built from."""

    trained = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.trained = True
        return super().train(x, dy, update)

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        return super().statistics_in_use(x, training or not self.trained)


@fault("7", "BN-714", "BN-301")
class CountsFromItsOwnFirstStep(NumpyLayer):
    """Takes its own first batch's statistics for the moving ones, though the state it was built from goes on."""

    begun = False

    def moving(self, old: Array, batch: Array) -> Array:
        return super().moving(old, batch) if self.begun else batch.reshape(old.shape).astype(old.dtype)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        self.begun = True
