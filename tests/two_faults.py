"""An implementation with two faults that have nothing to do with each other."""

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import NumpyLayer, NumpyReference


class _Layer(NumpyLayer):
    """Adds epsilon to the standard deviation, and takes the decay for the weight of the new value."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / (np.sqrt(variance) + np.float32(self.spec.epsilon))

    def moving(self, old: Array, batch: Array) -> Array:
        weight = self.compute.type(self.spec.decay)
        return ((1 - weight) * old + weight * batch.reshape(old.shape)).astype(old.dtype)


class TwoFaults(NumpyReference):
    """The adapter of it."""

    layer = _Layer
