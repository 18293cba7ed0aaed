"""Faults in saving and restoring that show in some layers only: of some flags or types, unread, or saved before."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.interface import Array, Layer, Spec, State
from adapters.numpy_reference import CAPABILITIES, NumpyLayer
from conformance.zoo.registry import Exhibit, fault


def _read(path: str) -> dict[str, Any]:
    with np.load(path + ".npz") as arrays:
        return {str(name): arrays[name] for name in arrays}


class LazyUpdates(NumpyLayer):
    """A layer that updates its moving statistics when they are next needed."""

    waiting: tuple[Any, ...] = ()

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.waiting = (*self.waiting, (mean, variance, m))

    def catch_up(self) -> None:
        """Make the updates that are due."""
        due, self.waiting = self.waiting, ()
        for update in due:
            super().update(*update)

    def statistics_in_use(self, x: Array, training: bool) -> tuple[Array, Array]:
        self.catch_up()
        return super().statistics_in_use(x, training)

    def state(self) -> State:
        self.catch_up()
        return super().state()

    def set_state(self, state: State) -> None:
        self.catch_up()
        super().set_state(state)


@fault("7", "BN-712", "BN-713")
class SavesWithoutWhatIsDue(LazyUpdates):
    """Saves the statistics without the updates that are put off until they are read."""

    def save(self, path: str) -> None:
        due, self.waiting = self.waiting, ()
        super().save(path)
        self.waiting = due


@fault("7", "BN-711", "BN-712")
class SecondSaveIsTheFirst(NumpyLayer):
    """Writes what it wrote when it was first saved."""

    first: State | None = None

    def save(self, path: str) -> None:
        now = self.state()
        self.first = self.first or now
        super().set_state(self.first)
        super().save(path)
        super().set_state(now)


@fault("7", "BN-711", "BN-713", reference="weights restored by position: without beta the positions are others")
class SavedByPositionWithoutCenter(NumpyLayer):
    """Mixes up gamma and moving mean in the file of a layer without beta."""

    def save(self, path: str) -> None:
        super().save(path)
        if self.gamma is not None and self.beta is None:
            arrays = _read(path)
            arrays["gamma"], arrays["moving_mean"] = arrays["moving_mean"], arrays["gamma"]
            np.savez(path + ".npz", **arrays)


@fault("7", "BN-711")
class SeveralAxesSavedTransposed(NumpyLayer):
    """Writes parameters of several axes in Fortran order and reads them in C order."""

    def save(self, path: str) -> None:
        super().save(path)
        np.savez(path + ".npz", **{name: a.T.reshape(a.shape) for name, a in _read(path).items()})


class SingleRestore(Exhibit):
    """An adapter that reads weights as float32."""

    def restore(self, spec: Spec, path: str) -> Layer:
        return self.build(spec, State(**{name: a.astype(np.float32) for name, a in _read(path).items()}))


@fault("7", "BN-711", "BN-713", adapter=SingleRestore, capabilities=CAPABILITIES)
class RestoresInSingle(NumpyLayer):
    """Restores a layer of float64 with parameters of float32."""


@fault("7", "BN-711", "BN-713", capabilities=CAPABILITIES)
class SavesNineDigits(NumpyLayer):
    """Saves every number in no more than nine digits, enough for float32 alone."""

    def save(self, path: str) -> None:
        super().save(path)
        arrays: dict[str, Any] = {
            name: np.array([float(f"{value:.9g}") for value in a.reshape(-1)], a.dtype).reshape(a.shape)
            for name, a in _read(path).items()
        }
        np.savez(path + ".npz", **arrays)


class SingleEpsilonRestore(Exhibit):
    """An adapter whose format has attributes of float32 only."""

    def restore(self, spec: Spec, path: str) -> Layer:
        return super().restore(spec._replace(epsilon=float(np.float32(spec.epsilon))), path)


@fault("7", "BN-712", adapter=SingleEpsilonRestore, capabilities=CAPABILITIES, reference="ONNX: epsilon is a float32")
class RestoredEpsilonIsSingle(NumpyLayer):
    """Restores a layer of float64 with an epsilon rounded to float32."""


def _rewritten(path: str, change: Callable[[Array], Array]) -> None:
    """Change the arrays of a saved layer."""
    with np.errstate(all="ignore"):
        arrays: dict[str, Any] = {name: change(a) for name, a in _read(path).items()}
        np.savez(path + ".npz", **arrays)


@fault("7", "BN-715", reference="JSON has no NaN and no infinity: many writers put null, readers 0")
class SavesNoNan(NumpyLayer):
    """Saves zeros in place of NaN and infinities."""

    def save(self, path: str) -> None:
        super().save(path)
        _rewritten(path, lambda a: np.where(np.isfinite(a), a, 0).astype(a.dtype))


@fault("7", "BN-715")
class SavesNoNegativeZero(NumpyLayer):
    """Saves 0 in place of -0, as a sum with 0 does."""

    def save(self, path: str) -> None:
        super().save(path)
        _rewritten(path, lambda a: a + a.dtype.type(0))


@fault("7", "BN-715")
class SavesNoSubnormals(NumpyLayer):
    """Saves zeros in place of subnormals."""

    def save(self, path: str) -> None:
        super().save(path)
        _rewritten(path, lambda a: np.where(np.abs(a) < np.finfo(a.dtype).tiny, 0 * a, a))


@fault("7", "BN-715")
class SetStateMendsVariance(NumpyLayer):
    """Takes a moving variance of infinity or NaN for damage, and sets 1."""

    def set_state(self, state: State) -> None:
        super().set_state(state)
        if state.moving_variance is not None:
            self.moving_variance = np.where(np.isfinite(state.moving_variance), state.moving_variance, 1).astype(
                state.moving_variance.dtype
            )
