"""Faults that show in some element types only: too few digits or too little range, in one place."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters import bfloat16
from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import EVERYTHING, fault

#: What exhibits of this theme declare.
TYPES = EVERYTHING._replace(dtypes=("float32", "float64", "float16", "bfloat16"))
CAUGHT = ("BN-610", "BN-101")


class TypedLayer(NumpyLayer):
    """A layer that can round numbers to the type of its input and go on in that of its arithmetic."""

    @property
    def is_half(self) -> bool:
        """Whether the input is in float16 or bfloat16."""
        return self.spec.dtype in ("float16", "bfloat16")

    def to_half(self, a: Array) -> Array:
        """The numbers as the input's type has them, if that is a half."""
        if self.spec.dtype == "bfloat16":
            return bfloat16.widen(bfloat16.narrow(a)).astype(self.compute)
        return a.astype(np.float16).astype(self.compute) if self.spec.dtype == "float16" else a

    def to_single(self, a: Array) -> Array:
        """The numbers as float32 has them, if the input is in float64."""
        return a.astype(np.float32).astype(self.compute) if self.spec.dtype == "float64" else a


@fault("6", *CAUGHT, capabilities=TYPES, reference="pytorch#126525")
class HalfSums(TypedLayer):
    """Adds up in float16 where the input is that."""

    def sum(self, a: Array) -> Array:
        if self.spec.dtype != "float16":
            return super().sum(a)
        return np.sum(a.astype(np.float16), axis=self.axes, keepdims=True, dtype=np.float16).astype(self.compute)


@fault("6", *CAUGHT, capabilities=TYPES, reference="onnx#3415")
class HalfSquaresOverflow(TypedLayer):
    """Squares deviations in float16, which ends at 65504."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, _ = super().batch_statistics(x)
        return mean, self.sum(self.to_half(np.square(x - mean))) / self.count(x)


@fault("6", "BN-101", "BN-109", "BN-610", capabilities=TYPES)
class EpsilonRoundedToHalf(TypedLayer):
    """Rounds epsilon to the input's type: 1e-8 is zero in float16."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / np.sqrt(variance + self.to_half(np.full(1, self.spec.epsilon, self.compute)))


@fault("6", "BN-301", "BN-305", "BN-610", capabilities=TYPES)
class DecayRoundedToHalf(TypedLayer):
    """Rounds the decay to the input's type: 0.99 is 0.9922 in bfloat16."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.to_half(np.full(1, self.spec.decay, self.compute))[0]
        return (decay * old + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("6", *CAUGHT, capabilities=TYPES, reference="keras autocast of variables")
class GammaCastToHalf(TypedLayer):
    """Casts gamma to the input's type before it is used."""

    def scale(self) -> Array:
        return self.to_half(super().scale())


@fault("6", *CAUGHT, capabilities=TYPES)
class BetaCastToHalf(TypedLayer):
    """Casts beta to the input's type before it is added."""

    def shift(self) -> Array:
        return self.to_half(super().shift())


@fault("6", "BN-301", "BN-302", "BN-610", capabilities=TYPES, reference="tf.contrib.layers, updates_collections=None")
class MovingStatisticsRoundedToHalf(TypedLayer):
    """Keeps the moving statistics with the digits of the input's type."""

    def moving(self, old: Array, batch: Array) -> Array:
        return self.to_half(super().moving(old, batch)).astype(old.dtype)


@fault("6", *CAUGHT, capabilities=TYPES, reference="tf.nn.moments gives statistics in the input's type")
class BatchStatisticsRoundedToHalf(TypedLayer):
    """Rounds mean and variance of the batch to the input's type before they are used."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return self.to_half(mean), self.to_half(variance)


@fault("6", *CAUGHT, capabilities=TYPES)
class DeviationsRoundedToHalf(TypedLayer):
    """Rounds x - mean to the input's type before it is scaled."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * (self.to_half(x - mean) * r) + self.shift()


@fault("6", *CAUGHT, capabilities=TYPES)
class NormalizedRoundedToHalf(TypedLayer):
    """Rounds the normalized value to the input's type before gamma and beta."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * self.to_half((x - mean) * r) + self.shift()


@fault("6", "BN-201", "BN-610", capabilities=TYPES)
class InferenceFoldedInHalf(TypedLayer):
    """Folds the statistics into a factor and an offset in the input's type for inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if not self.is_half or self.moving_mean is None or self.moving_variance is None:
            return step
        factor = self.scale() * self.rsqrt(self.broadcast(self.moving_variance))
        offset = self.shift() - self.broadcast(self.moving_mean) * factor
        return step._replace(y=self.narrowed(self.widened(x) * self.to_half(factor) + self.to_half(offset)))


@fault("6", "BN-101", "BN-201", capabilities=TYPES)
class BfloatTruncated(TypedLayer):
    """Cuts the lower half of a float32 off where the nearest bfloat16 is wanted."""

    def narrowed(self, a: Array) -> Array:
        if self.spec.dtype != "bfloat16":
            return super().narrowed(a)
        return (a.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


@fault("6", "BN-101", "BN-201", capabilities=TYPES)
class RoundedTwice(TypedLayer):
    """Rounds outputs to bfloat16 on their way to float16."""

    def narrowed(self, a: Array) -> Array:
        if self.spec.dtype != "float16":
            return super().narrowed(a)
        return bfloat16.widen(bfloat16.narrow(a)).astype(np.float16)


@fault("6", "BN-101", "BN-401", capabilities=TYPES)
class HalfSubnormalsFlushed(TypedLayer):
    """Flushes float16 outputs below 2**-14 to zero."""

    def narrowed(self, a: Array) -> Array:
        small = (np.abs(a) < 2.0**-14) & (self.spec.dtype == "float16")
        return super().narrowed(np.where(small, a.dtype.type(0), a))


@fault("6", "BN-101", "BN-201", capabilities=TYPES)
class BfloatReadAsFloat16(TypedLayer):
    """Takes the two bytes of a bfloat16 for a float16."""

    def widened(self, a: Array) -> Array:
        if self.spec.dtype != "bfloat16":
            return super().widened(a)
        return a.view(np.float16).astype(self.compute)


@fault("6", "BN-401", "BN-610", capabilities=TYPES, reference="torch on strided inputs, pytorch#147303")
class BackwardInHalf(TypedLayer):
    """Rounds every intermediate result of dx to the input's type."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        if not self.is_half:
            return super().training_gradients(x, dy, mean, r)
        _, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        m, half = self.count(x), self.to_half
        projected = half(half((x - mean) * r) * half(dgamma / m))
        return half(self.scale() * r) * half(half(dy - half(dbeta / m)) - projected), dgamma, dbeta


@fault("6", "BN-403", "BN-610", capabilities=TYPES, reference="torch on strided inputs")
class DbetaRoundedToHalf(TypedLayer):
    """Rounds dbeta to the input's type."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, dgamma, self.to_half(dbeta)


@fault("6", "BN-402", "BN-610", capabilities=TYPES)
class DgammaProductsInHalf(TypedLayer):
    """Rounds the products that dgamma is summed from to the input's type."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, _, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, self.sum(self.to_half(dy * ((x - mean) * r))), dbeta


@fault("6", "BN-404", "BN-610", capabilities=TYPES)
class InferenceGradientInHalf(TypedLayer):
    """Rounds gamma / sqrt(variance + epsilon) to the input's type before dy is multiplied by it in inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        _, dgamma, dbeta = super().inference_gradients(x, dy, mean, r)
        return self.to_half(self.scale() * r) * dy, dgamma, dbeta


@fault("6", "BN-101", "BN-201", "BN-301", capabilities=TYPES, reference="ONNX: float32 attributes")
class DoubleComputedInSingle(TypedLayer):
    """Computes in float32 also where the input is in float64."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.compute = np.dtype("float32")


@fault("6", "BN-301", "BN-302", capabilities=TYPES, reference="flax nnx keeps float32 statistics")
class DoubleStatisticsInSingle(TypedLayer):
    """Keeps the moving statistics of a float64 layer with the digits of float32."""

    def moving(self, old: Array, batch: Array) -> Array:
        return self.to_single(super().moving(old, batch))


@fault("6", "BN-301", "BN-305", capabilities=TYPES, reference="tf_keras holds decay in float32")
class DoubleDecayInSingle(TypedLayer):
    """Rounds the decay of a float64 layer to float32, and does not say so."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(np.float32(self.spec.decay))
        return (decay * old + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)


@fault("6", "BN-101", "BN-109", capabilities=TYPES, reference="ONNX: epsilon is a float32 attribute")
class DoubleEpsilonInSingle(TypedLayer):
    """Rounds the epsilon of a float64 layer to float32."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / np.sqrt(variance + self.compute.type(np.float32(self.spec.epsilon)))


@fault("6", "BN-101", "BN-201", capabilities=TYPES)
class DoubleRootInSingle(TypedLayer):
    """Computes 1 / sqrt in float32 in a float64 layer."""

    def rsqrt(self, variance: Array) -> Array:
        return self.to_single(super().rsqrt(variance))


@fault("6", "BN-401", capabilities=TYPES)
class DoubleDxInSingle(TypedLayer):
    """Computes dx with the digits of float32 in a float64 layer."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return self.to_single(dx), dgamma, dbeta


@fault("6", "BN-101", "BN-110", capabilities=TYPES)
class DoubleGammaInSingle(TypedLayer):
    """Holds gamma in float32 in a float64 layer."""

    def scale(self) -> Array:
        return self.to_single(super().scale())


@fault("6", "BN-602", capabilities=TYPES, reference="flax, dtype=None")
class HalfInSingleOut(TypedLayer):
    """Returns float32 for an input in half precision."""

    def narrowed(self, a: Array) -> Array:
        return a.astype(np.float32) if self.is_half else super().narrowed(a)


@fault("6", "BN-602", capabilities=TYPES)
class DxInSingle(TypedLayer):
    """Returns dx in the type of the arithmetic, whatever that of x."""

    def result(self, x: Array, y: Array, gradients: Gradients | None) -> Step:
        step = super().result(x, y, gradients)
        return step if gradients is None else step._replace(dx=gradients[0])


@fault("6", "BN-603", reference="flax linen")
class StatisticsBecomeDouble(TypedLayer):
    """Has moving statistics in float64 after the first update."""

    def moving(self, old: Array, batch: Array) -> Array:
        return super().moving(old, batch).astype(np.float64)


@fault("6", "BN-603", capabilities=TYPES)
class ParameterGradientsInHalf(TypedLayer):
    """Returns dgamma and dbeta in float16 for an input in float16."""

    def result(self, x: Array, y: Array, gradients: Gradients | None) -> Step:
        step = super().result(x, y, gradients)
        if self.spec.dtype != "float16":
            return step
        dgamma, dbeta = (None if a is None else a.astype(np.float16) for a in (step.dgamma, step.dbeta))
        return step._replace(dgamma=dgamma, dbeta=dbeta)


@fault("6", "BN-603", "BN-301", capabilities=TYPES, reference="keras, policy float16")
class StatisticsBecomeHalf(TypedLayer):
    """Has moving statistics in float16 after the first update on an input in float16."""

    def moving(self, old: Array, batch: Array) -> Array:
        new = super().moving(old, batch)
        return new.astype(np.float16) if self.spec.dtype == "float16" else new
