"""Faults that let two live layers share what each should have for itself."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

from adapters.interface import Array, Conventions, Layer, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.folds import FoldingLayer
from conformance.zoo.registry import Exhibit, fault


@fault("7", "BN-705")
class StatisticsByName(NumpyLayer):
    """Keeps the moving mean of all layers of a spec under one name, so that the layer built last resets it for all."""

    means: ClassVar[dict[Spec, Array | None]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        self.spec = spec
        super().__init__(spec, state, conventions)

    @property
    def moving_mean(self) -> Array | None:
        return self.means[self.spec]

    @moving_mean.setter
    def moving_mean(self, value: Array | None) -> None:
        self.means[self.spec] = value


@fault("7", "BN-705")
class GammaByName(NumpyLayer):
    """Keeps the gamma of all layers of a spec under one name."""

    gammas: ClassVar[dict[Spec, Array | None]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        self.spec = spec
        super().__init__(spec, state, conventions)

    @property
    def gamma(self) -> Array | None:
        return self.gammas[self.spec]

    @gamma.setter
    def gamma(self, value: Array | None) -> None:
        self.gammas[self.spec] = value


@fault("7", "BN-705")
class FoldByName(FoldingLayer):
    """Keeps what inference folded under the spec, so that two layers of a spec share it until one is trained or set."""

    folds: ClassVar[dict[Spec, State | None]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.drop()

    @property
    def fold(self) -> State | None:
        return self.folds.get(self.spec)

    @fold.setter
    def fold(self, value: State | None) -> None:
        self.folds[self.spec] = value

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        self.drop()
        return step

    def set_state(self, state: State) -> None:
        super().set_state(state)
        self.drop()


class Reusing(Exhibit):
    """An adapter that keeps its layers by spec."""

    def build(self, spec: Spec, state: State) -> Layer:
        """Return the layer of the spec, with that state."""
        layers: dict[Spec, Layer] = self.__dict__.setdefault("layers", {})
        if spec not in layers:
            layers[spec] = super().build(spec, state)
        layers[spec].set_state(state)
        return layers[spec]


@fault("7", "BN-705", adapter=Reusing)
class LayerReused(NumpyLayer):
    """Returns the same layer for a spec when asked for a second one: variables of a name are reused."""
