"""Faults in the gradients of inference."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import fault


@fault("4", "BN-404", reference="apache/mxnet#9580, pytorch/xla#913")
class InferenceAsTraining(NumpyLayer):
    """Uses the formula of training in inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return self.training_gradients(x, dy, mean, r)


@fault("4", "BN-404")
class InferenceDgammaFromBatch(NumpyLayer):
    """Computes dgamma of inference from values normalized by the batch."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, _, dbeta = super().inference_gradients(x, dy, mean, r)
        batch_mean, variance = self.batch_statistics(x)
        return dx, self.sum(dy * ((x - batch_mean) * self.rsqrt(variance))), dbeta


@fault("4", "BN-404")
class InferenceDxZero(NumpyLayer):
    """Gives dx = 0 in inference: the kernel is registered as not differentiable."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().inference_gradients(x, dy, mean, r)
        return np.zeros_like(dx), dgamma, dbeta


@fault("4", "BN-404")
class InferenceDxWithoutGamma(NumpyLayer):
    """Leaves gamma out of the dx of inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return r * dy, *super().inference_gradients(x, dy, mean, r)[1:]


@fault("4", "BN-404")
class InferenceParametersFrozen(NumpyLayer):
    """Gives dgamma = 0 and dbeta = 0 in inference, as if the parameters were frozen."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().inference_gradients(x, dy, mean, r)
        return dx, np.zeros_like(dgamma), np.zeros_like(dbeta)


@fault("4", "BN-404")
class InferenceDgammaUncentered(NumpyLayer):
    """Forgets the moving mean in the dgamma of inference."""

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return super().inference_gradients(x, dy, np.zeros_like(mean), r)
