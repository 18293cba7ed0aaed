"""What is known of a layer's state while a program runs, and how far the moving statistics may be off."""

from typing import NamedTuple

import numpy as np

from adapters.interface import Array, State


class Belief(NamedTuple):
    """A layer's state as known, in channel-major columns (C, 1), with how far the moving statistics may be off."""

    gamma: Array | None
    beta: Array | None
    mean: Array
    variance: Array
    mean_error: Array | None = None
    variance_error: Array | None = None

    @property
    def certain(self) -> bool:
        """Whether the moving statistics were read or set, and not carried from earlier steps."""
        return self.mean_error is None and self.variance_error is None


def column(a: Array | None) -> Array | None:
    """A parameter as float64, (C, 1)."""
    return None if a is None else np.asarray(a, np.float64).reshape(-1, 1)


def _filled(a: Array | None) -> Array:
    if a is None:
        raise ValueError("a layer without moving statistics")
    return np.asarray(a, np.float64).reshape(-1, 1)


def known(state: State) -> Belief:
    """What a state that was read says for certain."""
    gamma, beta = column(state.gamma), column(state.beta)
    return Belief(gamma, beta, _filled(state.moving_mean), _filled(state.moving_variance))


def overwritten(before: Belief, state: State) -> Belief:
    """What is known once a state was set, which may be a part of it."""
    gamma = before.gamma if state.gamma is None else column(state.gamma)
    beta = before.beta if state.beta is None else column(state.beta)
    mean, mean_error = before.mean, before.mean_error
    variance, variance_error = before.variance, before.variance_error
    if state.moving_mean is not None:
        mean, mean_error = _filled(state.moving_mean), None
    if state.moving_variance is not None:
        variance, variance_error = _filled(state.moving_variance), None
    return Belief(gamma, beta, mean, variance, mean_error, variance_error)
