"""Derivatives without a formula for them: the definition in complex numbers, one step along the imaginary axis.

For a function that is analytic, Im f(x + i·h·t) / h is its derivative along t with an error of order h², and nothing
cancels however small h is: finite differences with full accuracy (Squire & Trapp 1998). It shares no formula of a
gradient with the oracle. Data are (C, m), one row per channel.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.interface import Array
from conformance.oracle import InferenceTruth, TrainingTruth

Function = Callable[[Array], Array]


def along(function: Function, x: Array, direction: Array) -> Array:
    """The derivative of ``function`` at x along a direction, both real, in the precision of x.

    Each channel has a step of its own, small beside the spread of its elements: channels may be of very different
    scale, and a step of the size of one's deviation is no derivative.
    """
    kind: Any = np.clongdouble if x.dtype.itemsize > 8 else np.complex128
    spread = np.max(np.abs(x - x[:, :1]), axis=1, keepdims=True, initial=0.0)
    steps = np.ldexp(x.dtype.type(1), np.frexp(spread)[1] - 100)
    stepped = x.astype(kind) + kind(1j) * (direction * steps).astype(kind)
    return np.imag(function(stepped)) / steps


def _centered(x: Array) -> tuple[Array, Array]:
    """X less its mean, and 1/√(variance + epsilon) without epsilon: the variance. The shift spares digits."""
    shifted = x - np.real(x[:, :1])
    centered = shifted - shifted.mean(axis=1, keepdims=True)
    return centered, np.mean(centered * centered, axis=1, keepdims=True)


def output(truth: TrainingTruth | InferenceTruth) -> Function:
    """The output as a function of x, γ and β being the truth's; the statistics are x's own in training."""

    def training(x: Array) -> Array:
        centered, variance = _centered(x)
        return truth.gamma * centered / np.sqrt(variance + truth.epsilon) + truth.beta

    def inference(x: Array) -> Array:
        return truth.gamma * (x - truth.mean) / np.sqrt(truth.variance + truth.epsilon) + truth.beta

    return training if isinstance(truth, TrainingTruth) else inference


def normalized(truth: TrainingTruth | InferenceTruth) -> Array:
    """The output for γ = 1 and β = 0, from its definition."""
    if isinstance(truth, TrainingTruth):
        centered, variance = _centered(truth.x)
    else:
        centered, variance = truth.x - truth.mean, truth.variance
    scaled: Array = centered / np.sqrt(variance + truth.epsilon)
    return scaled


def input_gradient(truth: TrainingTruth) -> Function:
    """The gradient of Σ y·dy with respect to x, itself a function of x, dy being the truth's."""
    dy = truth.dy

    def gradient(x: Array) -> Array:
        centered, variance = _centered(x)
        r = 1 / np.sqrt(variance + truth.epsilon)
        slope = np.mean(dy * centered, axis=1, keepdims=True) * r * r
        return truth.gamma * r * (dy - dy.mean(axis=1, keepdims=True) - centered * slope)

    return gradient


def direction(shape: tuple[int, ...], seed: int) -> Array:
    """A direction of random signs: every element counts, and none can hide behind another."""
    return np.random.default_rng([*shape, seed]).choice([-1.0, 1.0], shape)
