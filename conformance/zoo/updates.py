"""Faults in when the moving statistics are updated."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import EVERYTHING, REFERENCE, fault

SEPARATE = REFERENCE._replace(update_timing="separate")
SEPARATELY = EVERYTHING._replace(separate_update=True)


class SeparateUpdateLayer(NumpyLayer):
    """A layer whose update is an act of its own; ``train(update=True)`` runs both."""

    pending: tuple[Array, Array, int] | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        """Remember the batch's statistics where the update is left out."""
        self.pending = None
        step = super().train(x, dy, update)
        if not update:
            xc = x.astype(self.compute)
            self.pending = (*self.batch_statistics(xc), self.count(x))
        return step

    def apply_updates(self) -> None:
        """Run the update that was left out, once."""
        if self.pending is not None:
            self.update(*self.pending)
        self.pending = None


@fault("3", "BN-301", "BN-304", reference="tensorflow#11965, #14809")
class NeverUpdated(NumpyLayer):
    """Never updates the moving statistics: nobody runs the update ops."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        pass


@fault("3", "BN-302")
class VarianceNeverUpdated(NumpyLayer):
    """Updates the moving mean only."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_variance
        super().update(mean, variance, m)
        self.moving_variance = old


@fault("2", "BN-204")
class UpdatedInInference(NumpyLayer):
    """Updates the moving statistics in inference too."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        self.update(*self.batch_statistics(x), self.count(x))
        return step


@fault("2", "BN-204")
class UpdatedInInferenceGradient(NumpyLayer):
    """Updates the moving statistics in inference when gradients are asked for, as if that were training."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if dy is not None:
            self.update(*self.batch_statistics(x), self.count(x))
        return step


@fault("3", "BN-304", "BN-301")
class UpdatedInBackwardOnly(NumpyLayer):
    """Updates the moving statistics in the backward pass: not at all where no gradients are asked for."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, dy, update and dy is not None)


@fault("3", "BN-304", "BN-301")
class UpdatedInBackwardToo(NumpyLayer):
    """Updates the moving statistics again in the backward pass, which runs the forward pass once more."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if update and dy is not None:
            self.update(*self.batch_statistics(x), self.count(x))
        return step


@fault("3", "BN-304", "BN-303")
class UpdatedForNewShapesOnly(NumpyLayer):
    """Updates the moving statistics only where the batch has another shape than the last: while it traces."""

    traced: tuple[int, ...] = ()

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        fresh, self.traced = x.shape != self.traced, x.shape
        return super().train(x, dy, update and fresh)


@fault("3", "BN-304", "BN-303")
class UpdatedEverySecondStep(NumpyLayer):
    """Updates the moving statistics in the first, third, fifth step."""

    steps = 0

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.steps += 1
        if self.steps % 2:
            super().update(mean, variance, m)


@fault("3", "BN-304", "BN-303")
class UpdatedThreeTimes(NumpyLayer):
    """Stops updating after the third step: the statistics are taken to have converged."""

    steps = 0

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.steps += 1
        if self.steps <= 3:
            super().update(mean, variance, m)


@fault("3", "BN-301", "BN-304")
class UpdateSkippedForSingleElement(NumpyLayer):
    """Does not update from a batch of one element per channel, undeclared."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if m > 1:
            super().update(mean, variance, m)


@fault("3", "BN-301", "BN-303")
class UpdatedOneStepLate(NumpyLayer):
    """Updates with the statistics of the batch before: the update is pipelined."""

    last: tuple[Array, Array, int] | None = None

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if self.last is not None:
            super().update(*self.last)
        self.last = (mean, variance, m)


@fault("3", "BN-304", "BN-301")
class UpdateSkippedAfterInference(NumpyLayer):
    """Skips the update of the first training step after an inference: the frozen flag is cleared too late."""

    frozen = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        frozen, self.frozen = self.frozen, False
        return super().train(x, dy, update and not frozen)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.frozen = True
        return super().infer(x, dy)


@fault("3", "BN-301", "BN-303")
class UpdateOverwritesSetState(NumpyLayer):
    """Updates a shadow copy of the moving statistics that set_state does not reach."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.shadow = (self.moving_mean, self.moving_variance)

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.moving_mean, self.moving_variance = self.shadow
        super().update(mean, variance, m)
        self.shadow = (self.moving_mean, self.moving_variance)


@fault("3", "BN-306", declares=SEPARATE, capabilities=SEPARATELY)
class UpdateFalseIgnored(SeparateUpdateLayer):
    """Updates the moving statistics although update=False."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, True)
        self.pending = None
        return step


@fault("3", "BN-306", declares=SEPARATE, capabilities=SEPARATELY)
class LeftOutUpdateRunsLater(SeparateUpdateLayer):
    """Runs an update that was left out with the next training step."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.apply_updates()
        return super().train(x, dy, update)


@fault("3", "BN-306", declares=SEPARATE, capabilities=SEPARATELY)
class UpdateFalseKeepsMeanOnly(SeparateUpdateLayer):
    """Leaves the moving mean alone with update=False, but not the moving variance."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if not update and self.pending is not None:
            old = self.moving_mean
            self.update(*self.pending)
            self.moving_mean = old
        return step
