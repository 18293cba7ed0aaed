"""Faults that show where layers of different specs are alive, or where a caller reuses its buffers."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import ClassVar

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault


@fault("7", "BN-720")
class EpsilonOfTheClass(NumpyLayer):
    """Keeps epsilon in the class: the layer that was built last sets it for all."""

    epsilon: ClassVar[float] = 0.0

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        type(self).epsilon = spec.epsilon

    def rsqrt(self, variance: Array) -> Array:
        self.spec = self.spec._replace(epsilon=type(self).epsilon)
        return super().rsqrt(variance)


@fault("7", "BN-720")
class DecayOfTheModule(NumpyLayer):
    """Keeps the decay in one place for all layers of a shape, as a compiled update does that closes over it."""

    decays: ClassVar[dict[tuple[int | None, ...], float]] = {}

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.decays[spec.shape] = spec.decay

    def moving(self, old: Array, batch: Array) -> Array:
        self.spec = self.spec._replace(decay=self.decays[self.spec.shape])
        return super().moving(old, batch)


@fault("7", "BN-707")
class KnowsAnArrayByItsIdentity(NumpyLayer):
    """Returns the last inference's result again for the very same array, whatever is in it by now."""

    last: tuple[Array, Step] | None = None

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if dy is not None or self.last is None or self.last[0] is not x:
            step = super().infer(x, dy)
            self.last = (x, step)
        result = self.last[1]
        return result._replace(y=result.y.copy())

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.last = None
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        self.last = None
        super().set_state(state)
