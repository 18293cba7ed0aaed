"""Faults of inference with folded statistics that are not folded anew in time."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.modes import WithStatistics
from conformance.zoo.registry import fault


class FoldingLayer(WithStatistics):
    """A layer that keeps what inference needs, gamma and beta included, until it is dropped."""

    fold: State | None = None

    def drop(self) -> None:
        """Forget what was folded."""
        self.fold = None

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        """Inference with what was folded."""
        if self.fold is None:
            self.fold = NumpyLayer.state(self)
        own, fold = NumpyLayer.state(self), self.fold
        self.gamma, self.beta = fold.gamma, fold.beta
        try:
            return self.infer_with((fold.moving_mean, fold.moving_variance), x, dy)
        finally:
            self.gamma, self.beta = own.gamma, own.beta


@fault("2", "BN-206", "BN-201")
class FoldNeverDropped(FoldingLayer):
    """Folds at the first inference, and never again."""


@fault("2", "BN-206", "BN-201")
class FoldHealedByReading(FoldingLayer):
    """Folds anew only once the state was read: reading it hides the stale fold."""

    def state(self) -> State:
        self.drop()
        return super().state()


@fault("2", "BN-206", "BN-201")
class FoldSurvivesSetState(FoldingLayer):
    """Folds anew after training, but not after set_state."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.drop()
        return super().train(x, dy, update)


@fault("2", "BN-206", "BN-201")
class FoldSurvivesTraining(FoldingLayer):
    """Folds anew after set_state, but not after training."""

    def set_state(self, state: State) -> None:
        self.drop()
        super().set_state(state)


@fault("2", "BN-206", "BN-201")
class FoldedWhenBuilt(FoldingLayer):
    """Runs inference with the state that the layer was built with."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.fold = NumpyLayer.state(self)
