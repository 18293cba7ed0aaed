"""Faults that depend on how often a layer, or its process, was called before, and in updates made many times."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

import numpy as np

from adapters.interface import Array, Conventions, Layer, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import Exhibit, fault
from conformance.zoo.updates import SEPARATE, SEPARATELY, SeparateUpdateLayer


class Counting(NumpyLayer):
    """A layer that counts its calls."""

    calls = 0

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.calls += 1
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.calls += 1
        return super().infer(x, dy)


@fault("7", "BN-709", "BN-101")
class FirstCallUnscaled(Counting):
    """Leaves gamma out in the layer's first training step, as a warm-up that traces the computation may."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return (x - mean) * r + self.shift() if self.calls == 1 else super().affine(x, mean, r)


@fault("7", "BN-709", "BN-101")
class EverySecondCallRounded(Counting):
    """Rounds the normalized value to half in every second call."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        normalized = (x - mean) * r
        if self.calls % 2 == 0:
            normalized = normalized.astype(np.float16).astype(self.compute)
        return self.scale() * normalized + self.shift()


@fault("7", "BN-709", "BN-710")
class CompiledAfterTwoCalls(Counting):
    """Computes with folded constants from the layer's third call on: right, but of other bits than before."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        if self.calls < 3:
            return super().affine(x, mean, r)
        a = self.scale() * r
        return x * a + (self.shift() - mean * a)


@fault("1", "BN-101", "BN-709")
class CountOfFirstBatch(NumpyLayer):
    """Divides by the number of elements of the layer's first batch."""

    first = 0

    def count(self, x: Array) -> int:
        self.first = self.first or super().count(x)
        return self.first


@fault("7", "BN-705")
class ThirdLayerSharesWithFirst(NumpyLayer):
    """Gives the third layer of a spec the moving mean of the first: a pool of two slots."""

    slots: ClassVar[dict[tuple[Spec, int], list[Array | None]]] = {}
    built: ClassVar[dict[Spec, int]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        number = self.built.get(spec, 0)
        self.built[spec] = number + 1
        self.slot = self.slots.setdefault((spec, number % 2), [None])
        super().__init__(spec, state, conventions)

    @property
    def moving_mean(self) -> Array | None:
        return self.slot[0]

    @moving_mean.setter
    def moving_mean(self, value: Array | None) -> None:
        self.slot[0] = value


@fault("3", "BN-307", "BN-303")
class UpdatesEndAfterFifty(NumpyLayer):
    """Stops updating after fifty steps, as if the statistics were settled then."""

    steps = 0

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.steps += 1
        if self.steps <= 50:
            super().update(mean, variance, m)


@fault("3", "BN-307", "BN-305")
class DecayGrowsWithSteps(NumpyLayer):
    """Raises the decay a little with each step."""

    steps = 0

    def moving(self, old: Array, batch: Array) -> Array:
        self.steps += 1
        given = self.spec
        self.spec = given._replace(decay=given.decay + (1 - given.decay) * min(self.steps / 1e4, 1))
        new = super().moving(old, batch)
        self.spec = given
        return new


@fault("3", "BN-308")
class DecayOneTakenForLess(NumpyLayer):
    """Takes a decay of 1 for one just below it, lest nothing be learned."""

    def moving(self, old: Array, batch: Array) -> Array:
        given = self.spec
        self.spec = given._replace(decay=min(given.decay, 1 - 2.0**-20))
        new = super().moving(old, batch)
        self.spec = given
        return new


@fault("3", "BN-308")
class DecayOneIsNone(NumpyLayer):
    """Takes a decay of 1 for an average over all steps so far."""

    steps = 0

    def moving(self, old: Array, batch: Array) -> Array:
        if self.spec.decay != 1:
            return super().moving(old, batch)
        self.steps += 1
        new: Array = (old + (batch.reshape(old.shape) - old) / (self.steps + 1)).astype(old.dtype)
        return new


@fault("3", "BN-309", declares=SEPARATE, capabilities=SEPARATELY)
class AppliesTheFirstUpdate(SeparateUpdateLayer):
    """Keeps the first update that was left undone, and applies it whatever step came since."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        before = self.pending
        step = super().train(x, dy, update)
        self.pending = before or self.pending
        return step


@fault("3", "BN-309", declares=SEPARATE, capabilities=SEPARATELY)
class AppliesToStatisticsOfThen(SeparateUpdateLayer):
    """Applies a late update to the statistics that were there when it was left undone."""

    then: tuple[Array | None, Array | None] = (None, None)

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if not update:
            self.then = self.moving_mean, self.moving_variance
        return super().train(x, dy, update)

    def apply_updates(self) -> None:
        self.moving_mean, self.moving_variance = self.then
        super().apply_updates()


class ReusedLayers(Exhibit):
    """An adapter that hands a layer out again that it built before."""

    idle: ClassVar[dict[Spec, Layer]] = {}

    def build(self, spec: Spec, state: State) -> Layer:
        layer = self.idle.pop(spec, None)
        if layer is None:
            layer = super().build(spec, state)
            self.idle[spec] = layer
        layer.set_state(state)
        return layer


@fault("7", "BN-705", "BN-710", adapter=ReusedLayers)
class LayerHandedOutTwice(NumpyLayer):
    """Keeps built layers for reuse, and hands one out again that is still in use."""
