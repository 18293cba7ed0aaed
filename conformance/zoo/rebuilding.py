"""Faults in what a state or a saved layer holds, and correct layers that save otherwise than the reference."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from adapters.interface import Array, Layer, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import Exhibit, RowLayer, fault, variant

FIELDS = State._fields[:4]


@fault("7", "BN-711")
class SaveLosesVariance(NumpyLayer):
    """Saves all but the moving variance, which starts at one again."""

    def save(self, path: str) -> None:
        before, self.moving_variance = self.moving_variance, np.ones(self.spec.parameter_shape, np.float32)
        super().save(path)
        self.moving_variance = before


@fault("7", "BN-711")
class SaveLosesGamma(NumpyLayer):
    """Saves statistics only, as if gamma and beta were another's."""

    def save(self, path: str) -> None:
        before, self.gamma = self.gamma, None if self.gamma is None else np.ones_like(self.gamma)
        super().save(path)
        self.gamma = before


@fault("7", "BN-711")
class SavesInHalf(NumpyLayer):
    """Saves in float16 to make the file smaller."""

    def save(self, path: str) -> None:
        arrays: dict[str, Any] = {
            name: a.astype(np.float16).astype(np.float32)
            for name, a in zip(FIELDS, self.state()[:4], strict=True)
            if a is not None
        }
        np.savez(path + ".npz", **arrays)


@fault("7", "BN-711")
class SaveIsRounded(NumpyLayer):
    """Saves as text with six significant digits."""

    def save(self, path: str) -> None:
        arrays: dict[str, Any] = {
            name: np.array([float(f"{v:.6g}") for v in a.reshape(-1)], np.float32).reshape(a.shape)
            for name, a in zip(FIELDS, self.state()[:4], strict=True)
            if a is not None
        }
        np.savez(path + ".npz", **arrays)


@fault("7", "BN-711", "BN-712")
class SaveStartsAnew(NumpyLayer):
    """Resets its own moving statistics after saving them."""

    def save(self, path: str) -> None:
        super().save(path)
        self.moving_mean = np.zeros(self.spec.parameter_shape, np.float32)


@fault("7", "BN-711", "BN-713")
class SavesTheStateItWasBuiltWith(NumpyLayer):
    """Saves the moving mean that it was built with or last set to."""

    first: Array | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.first = self.moving_mean if self.first is None else self.first
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        super().set_state(state)
        self.first = None

    def save(self, path: str) -> None:
        now = self.moving_mean
        self.moving_mean = now if self.first is None else self.first
        super().save(path)
        self.moving_mean = now


class SwappingRestore(Exhibit):
    """An adapter that mixes up the order of what it reads."""

    def restore(self, spec: Spec, path: str) -> Layer:
        with np.load(path + ".npz") as arrays:
            found: dict[str, Any] = {str(name): arrays[name] for name in arrays}
        found["moving_mean"], found["moving_variance"] = found["moving_variance"], found["moving_mean"]
        return self.build(spec, State(**found))


@fault("7", "BN-711", adapter=SwappingRestore, reference="weights restored by position, not by name")
class RestoreByPosition(NumpyLayer):
    """Restores moving mean and variance in the other order."""


class OtherEpsilonRestore(Exhibit):
    """An adapter that restores arrays only."""

    def restore(self, spec: Spec, path: str) -> Layer:
        return super().restore(spec._replace(epsilon=1e-3 if spec.epsilon != 1e-3 else 1e-5), path)


@fault("7", "BN-712", "BN-713", adapter=OtherEpsilonRestore)
class RestoreTakesDefaultEpsilon(NumpyLayer):
    """Takes epsilon to be the default after restoring: it is not among the arrays that were saved."""


class OtherDecayRestore(Exhibit):
    """An adapter that restores arrays only."""

    def restore(self, spec: Spec, path: str) -> Layer:
        return super().restore(spec._replace(decay=1 - spec.decay), path)


@fault("7", "BN-712", "BN-713", adapter=OtherDecayRestore)
class RestoreTakesMomentumForDecay(NumpyLayer):
    """Takes the saved momentum for the weight of the new value."""


class RegisteredRestore(Exhibit):
    """An adapter that remembers what its layers saved."""

    def __init__(self) -> None:
        self.kept: dict[Spec, State] = {}

    def build(self, spec: Spec, state: State) -> Layer:
        layer: Any = super().build(spec, state)
        layer.kept = self.kept
        found: Layer = layer
        return found

    def restore(self, spec: Spec, path: str) -> Layer:
        ones = np.ones(spec.parameter_shape, np.float32)
        return self.build(
            spec,
            self.kept.get(spec, State(ones if spec.scale else None, ones if spec.center else None, ones, ones)),
        )


@fault("7", "BN-711", "BN-713", adapter=RegisteredRestore)
class RestoredFromMemory(NumpyLayer):
    """Restores what the process still holds in memory: a new one finds ones."""

    kept: dict[Spec, State]

    def save(self, path: str) -> None:
        self.kept[self.spec] = self.state()
        super().save(path)


class SharingRestore(Exhibit):
    """An adapter that gives restored layers one moving mean."""

    mean: ClassVar[dict[Spec, Array]] = {}

    def restore(self, spec: Spec, path: str) -> Layer:
        layer = super().restore(spec, path)
        assert isinstance(layer, NumpyLayer)
        if layer.moving_mean is not None:
            layer.moving_mean = self.mean.setdefault(spec, layer.moving_mean)
        return layer


@fault("7", "BN-711", "BN-713", adapter=SharingRestore)
class RestoredLayersShare(NumpyLayer):
    """Gives all restored layers of a spec the moving mean of the first one that was restored."""


class CountingLayer(RowLayer):
    """A layer that counts its training steps, and hands the count out with its state."""

    steps = 0

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.steps += 1
        return super().train(x, dy, update)

    def row_sum(self, rows: Array) -> Array:
        """The order of summation changes every third step: as good a result, of other bits."""
        return np.add.reduce(rows[::-1] if self.steps % 3 == 1 else rows, axis=0)

    def state(self) -> State:
        return super().state()._replace(extra={"steps": np.array(self.steps)})

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if "steps" in state.extra:
            self.steps = int(state.extra["steps"])


@fault("7", "BN-709", "BN-710")
class SumsByCallNumber(CountingLayer):
    """Sums in an order that depends on how many steps were made, which no state tells."""

    def state(self) -> State:
        return super().state()._replace(extra={})


class ExtraBuilder(Exhibit):
    """An adapter that builds layers with their extra arrays."""

    def build(self, spec: Spec, state: State) -> Layer:
        layer = super().build(spec, state)
        layer.set_state(State(extra=state.extra))
        return layer


class StepCounter(NumpyLayer):
    """A layer that counts its training steps for others to see."""

    steps = 0

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.steps += update
        return super().train(x, dy, update)

    def state(self) -> State:
        return super().state()._replace(extra={"steps": np.array(self.steps)})

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if "steps" in state.extra:
            self.steps = int(state.extra["steps"])


@fault("7", "BN-710", reference="num_batches_tracked left out of a state dictionary")
class ExtraNotSet(StepCounter):
    """Hands a counter of its steps out with the state, but does not take it back."""

    def set_state(self, state: State) -> None:
        super().set_state(state._replace(extra={}))


@fault("7", "BN-711", adapter=ExtraBuilder)
class ExtraNotSaved(StepCounter):
    """Takes its counter with the state, but does not save it."""


class TextRestore(ExtraBuilder):
    """An adapter that reads what its layers write as text."""

    def restore(self, spec: Spec, path: str) -> Layer:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {
            name: np.array([float.fromhex(v) for v in values], np.float32).reshape(spec.parameter_shape)
            for name, values in found["arrays"].items()
        }
        return self.build(spec, State(**arrays, extra={"steps": np.array(found["steps"])}))


@variant(adapter=TextRestore)
class SavesAsText(StepCounter):
    """Counts its steps in an extra array, and saves everything as text, every bit of it."""

    def save(self, path: str) -> None:
        arrays = {
            name: [float(v).hex() for v in a.reshape(-1)]
            for name, a in zip(FIELDS, self.state()[:4], strict=True)
            if a is not None
        }
        Path(path).write_text(json.dumps({"arrays": arrays, "steps": self.steps}), encoding="utf-8")
