"""Faulty implementations that declare other element types, accuracy or acts than theirs."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Layer, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.conventions import EVERY_TYPE, OwnConventions
from conformance.zoo.registry import EVERYTHING, REFERENCE, Exhibit, fault, variant
from conformance.zoo.updates import SeparateUpdateLayer


@fault("8", "BN-807", declares=REFERENCE._replace(statistics_dtype="float64"))
class DeclaresWiderStatistics(NumpyLayer):
    """Keeps the moving statistics in float32, and declares float64."""


@fault("8", "BN-807", declares=REFERENCE._replace(statistics_dtype="float16"))
class DeclaresNarrowerStatistics(NumpyLayer):
    """Keeps the moving statistics in float32, and declares float16: bounds would be wider than they need be."""


@fault("8", "BN-807", reference="Keras: the pure float16 policy keeps its statistics in float16")
class MovingStatisticsKeptInHalf(NumpyLayer):
    """Rounds the moving statistics to float16, and declares nothing."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.set_state(state)

    def set_state(self, state: State) -> None:
        super().set_state(state)
        for name in ("moving_mean", "moving_variance"):
            value = getattr(self, name)
            setattr(self, name, value.astype(np.float16).astype(value.dtype))

    def moving(self, old: Array, batch: Array) -> Array:
        return super().moving(old, batch).astype(np.float16).astype(old.dtype)


@fault("8", "BN-808", declares=REFERENCE._replace(decay_dtype="bfloat16"))
class DeclaresDecayInHalf(NumpyLayer):
    """Holds decay in float32, and declares bfloat16."""


@fault("8", "BN-808")
class DecayInHalf(NumpyLayer):
    """Rounds decay to float16, and declares nothing."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(np.float16(self.spec.decay))
        return (decay * old.astype(self.compute) + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("8", "BN-808", capabilities=EVERY_TYPE, reference="tf_keras: decay is float32 in float64 layers")
class DecayInSingle(NumpyLayer):
    """Rounds decay to float32 in float64 layers too."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(np.float32(self.spec.decay))
        return (decay * old.astype(self.compute) + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("8", "BN-808", declares=REFERENCE._replace(decay_dtype="float32"), capabilities=EVERY_TYPE)
class DeclaresDecayInSingle(NumpyLayer):
    """Holds decay in float64 in float64 layers, and declares float32: bounds would be wider than they need be."""


@fault("8", "BN-807", capabilities=EVERY_TYPE)
class StatisticsInSingle(NumpyLayer):
    """Keeps the moving statistics of float64 layers in float32."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        for name in ("moving_mean", "moving_variance"):
            setattr(self, name, getattr(self, name).astype(np.float32))


@fault("8", "BN-809", capabilities=EVERY_TYPE, declares=REFERENCE._replace(compute_dtype="float64"))
class SingleInside(OwnConventions):
    """Computes float64 inputs in float32, and declares float64."""

    follows = REFERENCE._replace(compute_dtype="float32")


@fault("8", "BN-809", declares=REFERENCE._replace(compute_dtype="float64", statistics_dtype="float32"))
class DeclaresDouble(OwnConventions):
    """Computes in float32, and declares float64."""


@fault("8", "BN-809", declares=REFERENCE._replace(compute_dtype="float16", statistics_dtype="float32"))
class DeclaresHalf(OwnConventions):
    """Computes in float32, and declares float16: every bound would be eight thousand times as wide."""


@fault("8", "BN-809")
class HalfInside(NumpyLayer):
    """Computes in float16, and returns and keeps float32."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        halves = (a.astype(np.float16) for a in (x, mean, r))
        return super().affine(*halves).astype(np.float16)


@fault("8", "BN-810", "BN-811", declares=REFERENCE._replace(update_timing="separate"))
class DeclaresSeparateUpdate(NumpyLayer):
    """Updates with the training call and in no other way, and declares a separate update."""


@fault("8", "BN-810")
class UpdateForgotten(NumpyLayer):
    """Never changes the moving statistics: somebody forgot to run the update."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        """Nothing happens."""


@fault("8", "BN-811", capabilities=EVERYTHING._replace(separate_update=True))
class SeparateUpdateUndeclared(SeparateUpdateLayer):
    """Updates in an act of its own, and declares that the training call does it."""


@fault(
    "8",
    "BN-811",
    declares=REFERENCE._replace(update_timing="separate"),
    capabilities=EVERYTHING._replace(separate_update=True),
)
class UpdatesAnyway(SeparateUpdateLayer):
    """Updates in every training call, also where the update was to be left out."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, True)
        self.undone = None
        return step

    def apply_updates(self) -> None:
        """It has been done."""


@fault("8", "BN-813", reference="flax: use_fast_variance=True is the default")
class DeclaresTwoPasses(NumpyLayer):
    """Computes the variance as E[x^2] - E[x]^2, and declares two passes."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        mean = self.sum(x) / m
        return mean, np.maximum(self.sum(np.square(x)) / m - np.square(mean), self.compute.type(0))


@fault("8", "BN-813", declares=REFERENCE._replace(variance_grade="B"))
class DeclaresUpdating(NumpyLayer):
    """Computes the variance as E[x^2] - E[x]^2 of data shifted by half of their mean, and declares grade B."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        shift = self.sum(x) / m / 2
        mean = self.sum(x - shift) / m
        return mean + shift, np.maximum(self.sum(np.square(x - shift)) / m - np.square(mean), self.compute.type(0))


@fault("8", "BN-814", reference="TensorFlow: tf.nn.batch_normalization folds")
class DeclaresSubtraction(NumpyLayer):
    """Folds the inference output into y = a * x + b, and declares that it subtracts the mean first."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if self.moving_mean is None or self.moving_variance is None:
            return step
        factor = self.scale() * self.rsqrt(self.broadcast(self.moving_variance))
        shift = self.shift() - self.broadcast(self.moving_mean) * factor
        return step._replace(y=self.narrowed(self.widened(x) * factor + shift))


class Freezing(Exhibit):
    """The adapter of a layer that can be frozen."""

    def build(self, spec: Spec, state: State) -> Layer:
        """Frozen or not, the layer itself knows."""
        return self.layer(spec, state, self.conventions(spec))


class FreezingLayer(NumpyLayer):
    """A layer that infers in training mode where it is frozen."""

    @property
    def frozen(self) -> bool:
        """Whether it was asked to be frozen."""
        return self.spec.execution.mode == "frozen"

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return self.infer(x, dy) if self.frozen else super().train(x, dy, update)


@variant(REFERENCE._replace(frozen="inference"), adapter=Freezing)
class FrozenInfers(FreezingLayer):
    """Infers in training mode where it is frozen, and declares that."""


@fault("8", "BN-812", declares=REFERENCE._replace(frozen="training"), adapter=Freezing)
class FrozenInfersUndeclared(FreezingLayer):
    """Infers in training mode where it is frozen, and declares that nothing is different then."""


@fault("8", "BN-812", declares=REFERENCE._replace(frozen="inference"), adapter=Freezing, reference="keras#7085")
class FrozenTrains(NumpyLayer):
    """Trains as ever where it is frozen, and declares that it then infers."""


@fault("8", "BN-812", declares=REFERENCE._replace(frozen="inference"), adapter=Freezing)
class FrozenNormalizesWithBatch(FreezingLayer):
    """Normalizes with the batch and updates nothing where it is frozen, and declares that it then infers."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return NumpyLayer.train(self, x, dy, update and not self.frozen)
