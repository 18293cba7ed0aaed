"""The reference: batch normalization in plain NumPy, so simple that it is its own proof.

Two passes, any axis or axes, parameterised by conventions and by the element type of the arithmetic. Every method is
short enough to be replaced one at a time: faulty implementations and correct variants are made that way.
"""

from typing import Any, Dict, Optional, Tuple

import numpy as np

from adapters import bfloat16
from adapters.interface import (
    Array,
    BatchNormAdapter,
    Capabilities,
    Conventions,
    Description,
    Execution,
    Layer,
    Spec,
    State,
    Step,
    Tape,
    Unsupported,
)


def _copy(a: Optional[Array]) -> Optional[Array]:
    return None if a is None else np.array(a)


class NumpyTape(Tape):
    """A recorded forward pass: its input and the statistics that it used, in the arithmetic's type."""

    def __init__(self, layer: "NumpyLayer", x: Array, training: bool) -> None:
        self.layer = layer
        self.training = training
        self.x = np.array(x)
        self.mean, self.r = layer.statistics_in_use(layer.widened(self.x), training)
        self.output = (layer.train(x) if training else layer.infer(x)).y
        self.y = np.array(self.output)

    def backward(self, dy: Array) -> Step:
        """Return y and the gradients of sum(y * dy) of the recorded call."""
        gradients = self.layer.training_gradients if self.training else self.layer.inference_gradients
        found = gradients(self.layer.widened(self.x), self.layer.widened(dy), self.mean, self.r)
        return self.layer.result(self.x, self.layer.widened(self.output), found)


class NumpyLayer(Layer):
    """A live layer; gamma, beta and the statistics are kept in the parameters' shape."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        self.spec = spec
        self.conventions = conventions
        self.axes = spec.reduction_axes
        self.compute = np.dtype(conventions.compute_dtype or spec.parameter_dtype)
        self.gamma = _copy(state.gamma)
        self.beta = _copy(state.beta)
        self.moving_mean = _copy(state.moving_mean)
        self.moving_variance = _copy(state.moving_variance)

    def widened(self, a: Array) -> Array:
        """Return an input in the arithmetic's type."""
        return (bfloat16.widen(a) if self.spec.dtype == "bfloat16" else a).astype(self.compute)

    def narrowed(self, a: Array) -> Array:
        """Return an output in the input's type, rounded once."""
        return bfloat16.narrow(a) if self.spec.dtype == "bfloat16" else a.astype(self.spec.dtype)

    def broadcast(self, parameter: Array) -> Array:
        """Return a parameter in the arithmetic's type, shaped to broadcast against the input."""
        shape = [1] * self.spec.rank
        for axis, extent in zip(self.spec.channel_axes, self.spec.parameter_shape):
            shape[axis] = extent
        return parameter.astype(self.compute).reshape(shape)

    def sum(self, a: Array) -> Array:
        """Sum over all axes but the channels', keeping them as extents of one."""
        return np.sum(a, axis=self.axes, keepdims=True)

    def count(self, x: Array) -> int:
        """Number of elements per channel."""
        return int(np.prod([x.shape[a] for a in self.axes], dtype=np.int64))

    def batch_statistics(self, x: Array) -> Tuple[Array, Array]:
        """Mean and biased variance of the batch."""
        m = self.count(x)
        mean = self.sum(x) / m
        return mean, self.sum(np.square(x - mean)) / m

    def rsqrt(self, variance: Array) -> Array:
        """1 / sqrt(variance + epsilon)."""
        epsilon = max(self.spec.epsilon, self.conventions.epsilon_floor)
        return 1 / np.sqrt(variance + self.compute.type(epsilon))

    def statistics_in_use(self, x: Array, training: bool) -> Tuple[Array, Array]:
        """Mean and 1 / sqrt(variance + epsilon) that a call on x uses."""
        if training:
            mean, variance = self.batch_statistics(x)
            return mean, self.rsqrt(variance)
        if self.moving_mean is None or self.moving_variance is None:
            raise Unsupported("inference without moving statistics")
        return self.broadcast(self.moving_mean), self.rsqrt(self.broadcast(self.moving_variance))

    def scale(self) -> Array:
        """Gamma, or one."""
        return self.broadcast(np.ones(self.spec.parameter_shape) if self.gamma is None else self.gamma)

    def shift(self) -> Array:
        """Beta, or zero."""
        return self.broadcast(np.zeros(self.spec.parameter_shape) if self.beta is None else self.beta)

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        """The output: gamma * (x - mean) * r + beta."""
        return self.scale() * ((x - mean) * r) + self.shift()

    def moving(self, old: Array, batch: Array) -> Array:
        """The new moving value: decay * old + (1 - decay) * batch."""
        decay = self.compute.type(self.spec.decay)
        return (decay * old.astype(self.compute) + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)

    def moving_estimate(self, variance: Array, m: int) -> Array:
        """The variance that enters the moving variance."""
        if self.conventions.moving_variance == "unbiased":
            return variance * self.compute.type(m / max(m - 1, 1))
        return variance

    def update(self, mean: Array, variance: Array, m: int) -> None:
        """One update of the moving statistics."""
        if self.moving_mean is not None:
            self.moving_mean = self.moving(self.moving_mean, mean)
        if self.moving_variance is not None:
            self.moving_variance = self.moving(self.moving_variance, self.moving_estimate(variance, m))

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Tuple[Array, Array, Array]:
        """dx, dgamma, dbeta of the training output: the statistics depend on x too."""
        m = self.count(x)
        normalized = (x - mean) * r
        dbeta = self.sum(dy)
        dgamma = self.sum(dy * normalized)
        return self.scale() * r * (dy - dbeta / m - normalized * (dgamma / m)), dgamma, dbeta

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Tuple[Array, Array, Array]:
        """dx, dgamma, dbeta of the inference output: the statistics are constants."""
        return self.scale() * r * dy, self.sum(dy * ((x - mean) * r)), self.sum(dy)

    def result(self, x: Array, y: Array, gradients: Optional[Tuple[Array, Array, Array]]) -> Step:
        """Round to the input's type and drop what the layer does not have."""
        if gradients is None:
            return Step(self.narrowed(y))
        dx, dgamma, dbeta = gradients
        shape = self.spec.parameter_shape
        return Step(
            self.narrowed(y),
            self.narrowed(dx),
            dgamma.reshape(shape) if self.spec.scale else None,
            dbeta.reshape(shape) if self.spec.center else None,
        )

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Normalize with the batch's statistics, then update the moving ones."""
        xc = self.widened(x)
        mean, variance = self.batch_statistics(xc)
        r = self.rsqrt(variance)
        y = self.affine(xc, mean, r)
        gradients = None if dy is None else self.training_gradients(xc, self.widened(dy), mean, r)
        if update:
            self.update(mean, variance, self.count(x))
        return self.result(x, y, gradients)

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Normalize with the moving statistics."""
        xc = self.widened(x)
        mean, r = self.statistics_in_use(xc, training=False)
        y = self.affine(xc, mean, r)
        gradients = None if dy is None else self.inference_gradients(xc, self.widened(dy), mean, r)
        return self.result(x, y, gradients)

    def tape(self, x: Array, training: bool) -> Tape:
        """Run forward and keep what a backward pass needs."""
        return NumpyTape(self, x, training)

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """The gradients of sum(v * dx): the derivatives of the formula in ``training_gradients``."""
        xc, g, vc = [self.widened(a) for a in (x, dy, v)]
        m = self.count(x)
        mean, variance = self.batch_statistics(xc)
        r = self.rsqrt(variance)
        normalized = (xc - mean) * r
        g, vc = g - self.sum(g) / m, vc - self.sum(vc) / m
        along_g, along_v = self.sum(g * normalized) / m, self.sum(vc * normalized) / m
        both = self.sum(vc * g) / m
        to_x = normalized * (3 * along_g * along_v - both) - vc * along_g - g * along_v
        dx = self.scale() * r * r * to_x
        ddy = self.scale() * r * (vc - normalized * along_v)
        dgamma = (r * m * (both - along_g * along_v)).reshape(self.spec.parameter_shape)
        return self.narrowed(dx), self.narrowed(ddy), dgamma if self.spec.scale else None

    def save(self, path: str) -> None:
        """Write the state's arrays with ``numpy.savez``."""
        state = self.state()
        arrays: Dict[str, Any] = {name: a for name, a in zip(State._fields, state[:4]) if a is not None}
        np.savez(path + ".npz", **arrays)

    def state(self) -> State:
        """Return copies."""
        return State(_copy(self.gamma), _copy(self.beta), _copy(self.moving_mean), _copy(self.moving_variance))

    def set_state(self, state: State) -> None:
        """Copy what is given."""
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            value = getattr(state, name)
            if value is not None:
                setattr(self, name, np.array(value))


CAPABILITIES = Capabilities(
    ranks=(1, 2, 3, 4, 5, 6),
    axes="several",
    dtypes=("float32", "float64", "float16", "bfloat16"),
    tape=True,
    second_order=True,
    save=True,
)


class NumpyReference(BatchNormAdapter):
    """The reference definition: biased variance in the moving variance, no floor on epsilon, y = beta at m = 1."""

    layer = NumpyLayer
    declared = Conventions(variance_grade="A", affine_grade="S")

    def describe(self) -> Description:
        """NumPy, any axes."""
        return Description("numpy", np.__version__, capabilities=CAPABILITIES)

    def conventions(self, spec: Spec) -> Conventions:
        """The reference convention unless a subclass declares another."""
        return self.declared

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer with copies of the state."""
        if spec.execution != Execution():
            raise Unsupported("no execution mode {!r} on device {!r}".format(*spec.execution))
        return self.layer(spec, state, self.conventions(spec))

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return a layer built from the arrays that were saved."""
        with np.load(path + ".npz") as arrays:
            return self.build(spec, State(**{str(name): arrays[name] for name in arrays}))
