"""Faults in recorded forward passes: what the backward pass finds when it comes late, twice, or after other calls."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from typing import Any, ClassVar

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step, Tape
from adapters.numpy_reference import NumpyLayer, NumpyTape
from conformance.zoo.registry import fault

TAPE = "4"


class LayerWithTape(NumpyLayer):
    """A layer whose tapes are of a class of its own."""

    tape_class: type[NumpyTape] = NumpyTape

    def tape(self, x: Array, training: bool) -> Tape:
        return self.tape_class(self, x, training)


class LastCacheTape(NumpyTape):
    """A tape that finds in the layer what the last forward call left there."""

    layer: Any

    def __init__(self, layer: NumpyLayer, x: Array, training: bool) -> None:
        super().__init__(layer, x, training)
        self.layer.cache = (self.x, self.mean, self.r)

    def backward(self, dy: Array) -> Step:
        x, mean, r = self.layer.cache
        if x.shape == dy.shape:
            self.x, self.mean, self.r = x, mean, r
        return super().backward(dy)


class CachingLayer(LayerWithTape):
    """A layer that keeps one cache for the backward pass."""

    tape_class = LastCacheTape
    cache: Any = None


@fault(TAPE, "BN-410", reference="hand-written BN layers keep self.cache = (x, mean, r)")
class BackwardUsesLastForward(CachingLayer):
    """Keeps what a backward pass needs in the layer: each forward call overwrites that of the one before."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.cache = (np.array(x), *self.statistics_in_use(x.astype(self.compute), training=True))
        return super().train(x, dy, update)


@fault(TAPE, "BN-410")
class CacheOverwrittenByInference(CachingLayer):
    """Keeps what a backward pass needs in the layer, where inference overwrites it."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.cache = (np.array(x), *self.statistics_in_use(x.astype(self.compute), training=False))
        return super().infer(x, dy)


@fault(TAPE, "BN-410")
class LastTapeOnly(CachingLayer):
    """Keeps what a backward pass needs for the tape that was recorded last, and uses it for all."""


@fault(TAPE, "BN-410")
class TapesByShape(LayerWithTape):
    """Keeps what a backward pass needs by the input's shape: two tapes of one shape share it."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.kept: dict[tuple[int, ...], tuple[Array, Array, Array]] = {}

    def tape(self, x: Array, training: bool) -> Tape:
        kept, tape = self.kept, NumpyTape(self, x, training)
        kept[x.shape] = (tape.x, tape.mean, tape.r)

        def backward(dy: Array) -> Step:
            tape.x, tape.mean, tape.r = kept[x.shape]
            return NumpyTape.backward(tape, dy)

        tape.backward = backward  # type: ignore[method-assign]
        return tape


@fault(TAPE, "BN-410")
class RingOfTwoTapes(LayerWithTape):
    """Keeps what a backward pass needs in a ring of two: a third tape overwrites the first."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.ring: list[NumpyTape] = []

    def tape(self, x: Array, training: bool) -> Tape:
        tape = NumpyTape(self, x, training)
        self.ring.append(tape)
        if len(self.ring) == 3:
            oldest = self.ring.pop(0)
            oldest.mean, oldest.r = tape.mean, tape.r
        return tape


class SharedCacheTape(NumpyTape):
    """A tape that keeps its statistics where all layers of the spec do."""

    shared: ClassVar[dict[Spec, tuple[Array, Array]]] = {}

    def __init__(self, layer: NumpyLayer, x: Array, training: bool) -> None:
        super().__init__(layer, x, training)
        self.shared[layer.spec] = (self.mean, self.r)

    def backward(self, dy: Array) -> Step:
        self.mean, self.r = self.shared[self.layer.spec]
        return super().backward(dy)


@fault(TAPE, "BN-410")
class TapesOfAllLayersShared(LayerWithTape):
    """Keeps the statistics for the backward pass in one workspace for all layers of a spec."""

    tape_class = SharedCacheTape


class AddingTape(NumpyTape):
    """A tape that adds to the gradients that it gave before."""

    before: Step | None = None

    def backward(self, dy: Array) -> Step:
        step = super().backward(dy)
        if self.before is not None:
            pairs = zip(step[1:], self.before[1:], strict=True)
            step = Step(step.y, *[None if a is None or b is None else a + b for a, b in pairs])
        self.before = step
        return step


@fault(TAPE, "BN-414", "BN-410", reference="torch: .grad accumulates until it is set to zero")
class BackwardAccumulates(LayerWithTape):
    """Adds the gradients of a second backward pass to those of the first."""

    tape_class = AddingTape


class ParametersAddingTape(NumpyTape):
    """A tape that adds to the layer's dgamma."""

    def backward(self, dy: Array) -> Step:
        step = super().backward(dy)
        layer: Any = self.layer
        if step.dgamma is None:
            return step
        layer.total = step.dgamma + getattr(layer, "total", np.zeros_like(step.dgamma))
        return step._replace(dgamma=np.array(layer.total))


@fault(TAPE, "BN-410", "BN-414")
class GammaGradientAccumulates(LayerWithTape):
    """Adds dgamma up over all backward passes of the layer."""

    tape_class = ParametersAddingTape


class UsedUpTape(NumpyTape):
    """A tape that lets go of its input after the first backward pass."""

    def backward(self, dy: Array) -> Step:
        step = super().backward(dy)
        self.x = np.zeros_like(self.x)
        return step


@fault(TAPE, "BN-414", "BN-410")
class TapeIsUsedUp(LayerWithTape):
    """Frees the recorded input in the first backward pass: the second one takes it to be zero."""

    tape_class = UsedUpTape


class RememberingTape(NumpyTape):
    """A tape that runs its backward pass once."""

    result: Step | None = None

    def backward(self, dy: Array) -> Step:
        self.result = self.result or super().backward(dy)
        kept: Any = [None if a is None else np.array(a) for a in self.result]
        return Step(*kept)


@fault(TAPE, "BN-410")
class BackwardRemembersResult(LayerWithTape):
    """Gives the gradients of the first backward pass again, whatever dy is given later."""

    tape_class = RememberingTape


class CurrentStatisticsTape(NumpyTape):
    """A tape that looks the moving statistics up when the backward pass comes."""

    def backward(self, dy: Array) -> Step:
        if not self.training:
            self.mean, self.r = self.layer.statistics_in_use(self.x.astype(self.layer.compute), training=False)
        return super().backward(dy)


@fault(TAPE, "BN-412", reference="torch 2.13: batch_norm in eval mode saves running_mean and running_var themselves")
class BackwardUsesCurrentStatistics(LayerWithTape):
    """Runs the backward pass of inference with the moving statistics of now, not of the recorded call."""

    tape_class = CurrentStatisticsTape


class AlwaysTrainingTape(NumpyTape):
    """A tape that takes each forward pass for one of training."""

    def backward(self, dy: Array) -> Step:
        self.training = True
        return super().backward(dy)


@fault(TAPE, "BN-411")
class InferenceBackwardAsTraining(LayerWithTape):
    """Differentiates recorded inference as if the statistics depended on x."""

    tape_class = AlwaysTrainingTape


@fault(TAPE, "BN-410", "BN-411", reference="layers with one self.training flag that backward() reads")
class BackwardFollowsLastMode(LayerWithTape):
    """Differentiates as the mode of the layer's last call says, not that of the recorded one."""

    mode = True

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.mode = True
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.mode = False
        return super().infer(x, dy)

    def tape(self, x: Array, training: bool) -> Tape:
        layer = self

        class FlagTape(NumpyTape):
            def backward(self, dy: Array) -> Step:
                self.training = layer.mode
                return super().backward(dy)

        return FlagTape(self, x, training)


@fault(TAPE, "BN-410")
class CountOfLastForward(LayerWithTape):
    """Divides in the backward pass by the number of elements of the layer's last input."""

    last = 1

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        self.last = super().count(x)
        return step

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        factor = self.count(x) / self.last
        constant = self.scale() * r * dy
        return (constant + (dx - constant) * self.compute.type(factor)), dgamma, dbeta


@fault(TAPE, "BN-415", "BN-301")
class RecordedStepNotCounted(LayerWithTape):
    """Leaves the moving statistics as they are in a recorded training step."""

    def tape(self, x: Array, training: bool) -> Tape:
        before = self.moving_mean, self.moving_variance
        tape = super().tape(x, training)
        self.moving_mean, self.moving_variance = before
        return tape


class UpdatingTape(NumpyTape):
    """A tape that updates the moving statistics in its backward pass."""

    def backward(self, dy: Array) -> Step:
        x = self.x.astype(self.layer.compute)
        if self.training:
            self.layer.update(*self.layer.batch_statistics(x), self.layer.count(x))
        return super().backward(dy)


@fault(TAPE, "BN-413", "BN-303")
class BackwardUpdatesToo(LayerWithTape):
    """Updates the moving statistics in each backward pass, besides in the forward pass."""

    tape_class = UpdatingTape


@fault(TAPE, "BN-413", "BN-415")
class BackwardUpdatesInstead(LayerWithTape):
    """Updates the moving statistics in the backward pass instead of in the recorded forward pass."""

    tape_class = UpdatingTape

    def tape(self, x: Array, training: bool) -> Tape:
        before = self.moving_mean, self.moving_variance
        tape = super().tape(x, training)
        self.moving_mean, self.moving_variance = before
        return tape


class SharingTape(NumpyTape):
    """A tape that keeps the caller's array."""

    def __init__(self, layer: NumpyLayer, x: Array, training: bool) -> None:
        super().__init__(layer, x, training)
        self.x = x


@fault("7", "BN-707", "BN-410")
class TapeKeepsTheCallersInput(LayerWithTape):
    """Keeps the input of a recorded step without copying it: the caller may reuse its array."""

    tape_class = SharingTape


class SharedOutputTape(NumpyTape):
    """A tape whose backward pass returns the very output of the forward pass."""

    def backward(self, dy: Array) -> Step:
        return super().backward(dy)._replace(y=self.y)


@fault("7", "BN-703")
class TapeReturnsItsOutput(LayerWithTape):
    """Returns the recorded output itself from the backward pass, not a copy."""

    tape_class = SharedOutputTape
