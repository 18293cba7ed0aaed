"""Faults in dgamma and dbeta in training."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import RowLayer, fault


@fault("4", "BN-402")
class DgammaFromInput(NumpyLayer):
    """Computes dgamma from x instead of the normalized values."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, _, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, self.sum(dy * x), dbeta


@fault("4", "BN-402")
class DgammaFromOutput(NumpyLayer):
    """Computes dgamma from y instead of the normalized values."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, _, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, self.sum(dy * self.affine(x, mean, r)), dbeta


@fault("4", "BN-402")
class DgammaUnscaled(NumpyLayer):
    """Computes dgamma from the centered values, which are not divided by the standard deviation."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, dgamma / r, dbeta


@fault("4", "BN-402")
class DgammaMean(NumpyLayer):
    """Averages dgamma over the elements instead of summing."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, dgamma / self.count(x), dbeta


@fault("4", "BN-402")
class DgammaMaskedByGamma(NumpyLayer):
    """Gives dgamma = 0 where gamma is zero: such channels are taken for pruned."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, np.where(self.scale() == 0, np.float32(0), dgamma), dbeta


@fault("4", "BN-402", "BN-407")
class ParameterGradientsAccumulate(NumpyLayer):
    """Adds dgamma to that of the steps before."""

    total: Array | None = None

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        self.total = dgamma if self.total is None else self.total + dgamma
        return dx, self.total, dbeta


@fault("4", "BN-402", "BN-403")
class ParameterGradientsSwapped(NumpyLayer):
    """Returns dbeta for dgamma and dgamma for dbeta."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, dbeta, dgamma


@fault("4", "BN-403")
class DbetaMean(NumpyLayer):
    """Divides dbeta by the number of samples."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        return dx, dgamma, dbeta / x.shape[self.axes[0]]


@fault("4", "BN-403")
class DbetaTailSkipped(RowLayer):
    """Misses the m % 4 last elements in dbeta."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        whole = self.rows(dy)[: self.count(x) // 4 * 4]
        return dx, dgamma, self.broadcast(self.row_sum(whole)) if len(whole) else dbeta


@fault("4", "BN-408")
class FlagsIgnoredInGradients(NumpyLayer):
    """Returns dgamma and dbeta of parameters that the layer does not have."""

    def result(self, x: Array, y: Array, gradients: Gradients | None) -> Step:
        step = super().result(x, y, gradients)
        if gradients is None:
            return step
        shape = self.spec.parameter_shape
        return step._replace(dgamma=gradients[1].reshape(shape), dbeta=gradients[2].reshape(shape))
