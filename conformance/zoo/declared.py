"""Correct implementations that follow other conventions than the reference, or can do less, and declare it."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step, Unsupported
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import EVERYTHING, REFERENCE, variant
from conformance.zoo.updates import SeparateUpdateLayer


@variant(REFERENCE._replace(moving_variance="unbiased"))
class UnbiasedMovingVariance(NumpyLayer):
    """Averages unbiased variances, and declares that."""


@variant(REFERENCE._replace(moving_variance="unbiased", single="refused"))
class SingleElementRefused(NumpyLayer):
    """Refuses to train on one element per channel, and declares that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if self.count(x) == 1:
            raise Unsupported("one element per channel has no variance")
        return super().train(x, dy, update)


@variant(REFERENCE._replace(moving_variance="unbiased", moving_variance_single="nan"))
class SingleElementNotANumberDeclared(NumpyLayer):
    """Makes the moving variance NaN at one element per channel, and declares that."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return super().moving_estimate(variance, m) if m > 1 else variance * np.float32("nan")


@variant(REFERENCE._replace(epsilon_floor=1.001e-5))
class EpsilonFloorDeclared(NumpyLayer):
    """Raises epsilon to 1.001e-5, and declares that."""


@variant(REFERENCE._replace(update_timing="separate"), capabilities=EVERYTHING._replace(separate_update=True))
class UpdateSeparate(SeparateUpdateLayer):
    """Updates the moving statistics in an act of its own."""


@variant(capabilities=EVERYTHING._replace(ranks=(2, 4), axes="second"))
class ChannelsSecondOnly(NumpyLayer):
    """Has layers for ranks 2 and 4 with the channels second only, declares that and refuses others."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        if spec.rank not in (2, 4) or spec.channel_axes != (1,):
            raise Unsupported("ranks 2 and 4, channels second")
        super().__init__(spec, state, conventions)


@variant(capabilities=EVERYTHING._replace(flags=False))
class AlwaysCenteredAndScaled(NumpyLayer):
    """Knows no layers without gamma or beta, declares that and refuses them."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        if not (spec.center and spec.scale):
            raise Unsupported("center and scale are always on")
        super().__init__(spec, state, conventions)


@variant(capabilities=EVERYTHING._replace(training_gradients=False, inference_gradients=False))
class ForwardOnly(NumpyLayer):
    """Has no gradients, and declares that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if dy is not None:
            raise Unsupported("no gradients")
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if dy is not None:
            raise Unsupported("no gradients")
        return super().infer(x, dy)
