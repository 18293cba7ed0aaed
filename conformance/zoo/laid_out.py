"""Faults in the layouts of what is not an input: states, upstream gradients of tapes and second orders."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import Any

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step, Tape
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault


def first_of_strided(a: Array | None) -> Array | None:
    """The elements of an array, all the first where they do not lie one after the other."""
    return a if a is None or a.flags.c_contiguous else np.broadcast_to(a.reshape(-1)[:1], (a.size,)).reshape(a.shape)


@fault("6", "BN-410", "BN-411")
class TapeIgnoresStridesOfUpstream(NumpyLayer):
    """Reads the upstream gradient of a recorded step as if it were never strided."""

    def tape(self, x: Array, training: bool) -> Tape:
        tape = super().tape(x, training)
        backward = tape.backward

        def misread(dy: Array) -> Step:
            return backward(dy if dy.flags.c_contiguous else np.resize(dy.reshape(-1)[:1], dy.shape))

        tape.backward = misread  # type: ignore[method-assign]
        return tape


@fault("6", "BN-420", "BN-421", "BN-422", "BN-423")
class SecondOrderIgnoresStrides(NumpyLayer):
    """Reads the first element of an input, gradient or vector of a second order throughout where it is strided."""

    def second_order(self, x: Array, dy: Array, v: Array) -> tuple[Array, Array, Array | None]:
        given = (a if a.flags.c_contiguous else np.resize(a.reshape(-1)[:1], a.shape) for a in (x, dy, v))
        return super().second_order(*given)


@fault("6", "BN-706", "BN-704", "BN-303")
class StridedStateMisread(NumpyLayer):
    """Takes a new layer's parameters for contiguous whatever their strides."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        fields: list[Any] = [first_of_strided(a) for a in state[:4]]
        super().__init__(spec, State(*fields), conventions)


@fault("6", "BN-601")
class ChannelsLastInferredAsFirst(NumpyLayer):
    """Reads the memory of images whose channels come last in it as if they came first, at inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if self.spec.rank == 4 and self.spec.channel_axes == (1,) and not x.flags.c_contiguous:
            images = x.transpose(0, 2, 3, 1)
            x = images.copy().reshape(x.shape) if images.flags.c_contiguous else x
        return super().infer(x, dy)
