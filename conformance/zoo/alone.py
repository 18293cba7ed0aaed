"""Faults that show when one parameter alone is set, sizes alternate, or a batch was empty."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault


@fault("2", "BN-206", "BN-201")
class FoldSurvivesANewMean(NumpyLayer):
    """Keeps what it folded for inference when the moving mean alone is set."""

    fold: tuple[Array, Array] | None = None

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        self.fold = None

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if any(a is not None for a in (state.gamma, state.beta, state.moving_variance)):
            self.fold = None

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        if training:
            return super().statistics_in_use(x, training)
        self.fold = self.fold or super().statistics_in_use(x, training)
        return self.fold


@fault("2", "BN-206", "BN-201")
class OutputKeyedByInputAndStatistics(NumpyLayer):
    """Returns the output that it gave on the same input and statistics before, whatever gamma and beta are now."""

    kept: tuple[tuple[bytes, ...], Array] | None = None

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        y = super().affine(x, mean, r)
        key = (x.tobytes(), mean.tobytes(), r.tobytes())
        if self.kept is not None and self.kept[0] == key and self.kept[1].shape == y.shape:
            y = self.kept[1].copy()
        self.kept = (key, y.copy())
        return y


@fault("7", "BN-706", "BN-704")
class BetaSetAloneResetsGamma(NumpyLayer):
    """Takes a state without gamma for one whose gamma is one."""

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if state.gamma is None and state.beta is not None and self.gamma is not None:
            self.gamma = np.ones_like(self.gamma)


@fault("2", "BN-206", "BN-201")
class StatisticsKeptByShape(NumpyLayer):
    """Keeps inference statistics for each shape of the input; training drops those of its own shape only."""

    kept: dict[tuple[int, ...], tuple[Array, Array]]

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.kept = {}

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.kept.pop(x.shape, None)
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        super().set_state(state)
        self.kept.clear()

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        if training:
            return super().statistics_in_use(x, training)
        if x.shape not in self.kept:
            self.kept[x.shape] = super().statistics_in_use(x, training)
        return self.kept[x.shape]


@fault("6", "BN-605")
class EmptyBatchEndsUpdates(NumpyLayer):
    """Updates no more after an empty batch, not even when the state has been set anew."""

    ended = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update and not self.ended)
        self.ended = self.ended or x.size == 0
        return step


@fault("3", "BN-303", "BN-206")
class DueUpdateAfterSetting(NumpyLayer):
    """Makes an update that it had put off on the statistics that were set since."""

    due: tuple[Array, Array, int] | None = None

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.catch_up()
        self.due = (mean, variance, m)

    def catch_up(self) -> None:
        """Make the update that is due."""
        due, self.due = self.due, None
        if due is not None:
            super().update(*due)

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        self.catch_up()
        return super().statistics_in_use(x, training)

    def state(self) -> State:
        self.catch_up()
        return super().state()
