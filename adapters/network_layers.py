"""Dense and convolutional layers in NumPy around any adapter's layer: every implementation can train with these."""

import pathlib
import tempfile
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.interface import Array, BatchNormAdapter, Capabilities, Layer, Spec, State, Step, Unsupported
from adapters.network import ADAM, NORMALIZATION, Network, NetworkSpec


def layer_spec(spec: NetworkSpec, capabilities: Capabilities, k: int) -> Spec:
    """The spec of the k-th normalization: rank 2, or 4 where that is what is there; channels second if need be."""
    units = spec.hidden[k - 1]
    if not spec.kernel and 2 in capabilities.ranks:
        shape: Tuple[Optional[int], ...] = (None, units)
        axis = 1
    elif capabilities.axes == "second":
        shape, axis = (None, units, None, None), 1
    else:
        shape, axis = (None, None, None, units), 3
    return Spec(shape, (axis,), spec.epsilon, spec.decay, dtype=spec.dtype)


class Normalization:
    """An adapter's layer within a network: its backward pass comes after that of the layers behind it."""

    def __init__(self, layer: Layer, spec: Spec, capabilities: Capabilities) -> None:
        self.layer = layer
        self.spec = spec
        self._tapes = capabilities.tape
        self._separate = capabilities.separate_update
        self._kept: Any = None

    def _to(self, a: Array) -> Array:
        """The layer's own shape, from channels last."""
        a = a if a.ndim == self.spec.rank else a.reshape(len(a), 1, 1, -1)
        return np.ascontiguousarray(np.moveaxis(a, -1, self.spec.channel_axes[0]))

    def _from(self, a: Array, shape: Tuple[int, ...]) -> Array:
        return np.moveaxis(a, self.spec.channel_axes[0], -1).reshape(shape)

    def forward(self, x: Array, update: bool) -> Array:
        """The training output; what the backward pass needs is kept."""
        x_ = self._to(x)
        if self._tapes and update:
            self._kept = self.layer.tape(x_, True)
            return self._from(self._kept.y, x.shape)
        before = None if self._separate else self.layer.state()
        self._kept = x_, before, update
        y = self.layer.train(x_, update=not self._separate).y
        return self._from(y, x.shape)

    def backward(self, dy: Array) -> Step:
        """The gradients; dx has the shape of dy. Without tapes the call is made once more, from the state before it."""
        dy_ = self._to(dy)
        if isinstance(self._kept, tuple):
            x_, before, update = self._kept
            if before is not None:
                self.layer.set_state(before)
            step = self.layer.train(x_, dy_, update=update)
        else:
            step = self._kept.backward(dy_)
        self._kept = None
        if step.dx is None:
            raise Unsupported("train() gives no dx")
        return step._replace(dx=self._from(step.dx, dy.shape))

    def infer(self, x: Array) -> Array:
        """The inference output."""
        return self._from(self.layer.infer(self._to(x)).y, x.shape)


def windows(x: Array, kernel: int) -> Array:
    """The patches that a kernel meets: (samples, height, width, kernel·kernel·channels), from channels last."""
    height, width = [extent - kernel + 1 for extent in x.shape[1:3]]
    pieces = [x[:, i : i + height, j : j + width] for i in range(kernel) for j in range(kernel)]
    return np.concatenate(pieces, axis=-1)


def scattered(patches: Array, kernel: int, shape: Tuple[int, ...]) -> Array:
    """The transpose of ``windows``: each input's sum over the patches that it is in."""
    found = np.zeros(shape, patches.dtype)
    height, width, channels = patches.shape[1], patches.shape[2], shape[-1]
    for place in range(kernel * kernel):
        i, j = divmod(place, kernel)
        found[:, i : i + height, j : j + width] += patches[..., place * channels : (place + 1) * channels]
    return found


def activated(name: str, z: Array) -> Array:
    """The activation; numbers of any size are safe in it."""
    if name == "relu":
        return np.maximum(z, 0)
    return np.tanh(z) if name == "tanh" else (np.tanh(z / 2) + 1) / 2


def activation_gradient(name: str, a: Array) -> Array:
    """The activation's derivative, from its output."""
    if name == "relu":
        return (a > 0).astype(a.dtype)
    return 1 - a * a if name == "tanh" else a * (1 - a)


class LayeredNetwork(Network):
    """NumPy's dense and convolutional layers around the implementation's own layer."""

    def __init__(self, adapter: BatchNormAdapter, spec: NetworkSpec) -> None:
        self.spec = spec
        self.adapter = adapter
        capabilities = adapter.describe().capabilities
        if spec.normalizes and not (capabilities.training and capabilities.training_gradients):
            raise Unsupported("no {}".format("gradients in training" if capabilities.training else "train()"))
        self.forgets = capabilities.separate_update
        self.weights: Dict[str, Array] = {}
        self.norms: List[Normalization] = []
        for k in range(1, len(spec.hidden) + 1 if spec.normalizes else 1):
            own = layer_spec(spec, capabilities, k)
            self.norms.append(Normalization(adapter.build(own, _start(own)), own, capabilities))
        self._moments: Dict[str, List[Array]] = {}
        self._steps = 0

    def product(self, a: Array, b: Array) -> Array:
        """The matrix product."""
        return a @ b

    def activate(self, z: Array) -> Array:
        """The spec's activation."""
        return activated(self.spec.activation, z)

    def _linear(self, k: int, a: Array) -> Array:
        """A dense or convolutional layer's output; its input is kept as rows."""
        w = self.weights["w{}".format(k)]
        rows = windows(a, self.spec.kernel) if w.ndim == 4 else a.reshape(len(a), -1)
        self._rows.append(rows)
        z = self.product(rows, w.reshape(-1, w.shape[-1]))
        b = self.weights.get("b{}".format(k))
        return z if b is None else z + b

    def _forward(self, x: Array, training: bool, update: bool = True) -> Array:
        """The logits; everything on the way is kept."""
        self._rows: List[Array] = []
        self._zs: List[Array] = []
        self._ns: List[Array] = []
        self._as: List[Array] = [np.asarray(x, self.spec.dtype)]
        for k in range(1, len(self.spec.hidden) + 1):
            z = self._linear(k, self._as[-1])
            before = z if self.spec.place != "after" else self.activate(z)
            n = before
            if self.spec.normalizes:
                norm = self.norms[k - 1]
                n = norm.forward(before, update) if training else norm.infer(before)
            self._zs.append(z)
            self._ns.append(n)
            self._as.append(n if self.spec.place == "after" else self.activate(n))
        return self._linear(len(self.spec.hidden) + 1, self._as[-1])

    def train(self, x: Array, labels: Array, update: bool = True) -> float:
        """Forward, backward, and one step of the optimizer on weights, biases, gammas and betas."""
        loss, error = cross_entropy(self._forward(x, True, update), labels)
        gradients: Dict[str, Array] = {}
        steps: List[Step] = []
        da = self._linear_backward(len(self.spec.hidden) + 1, error, gradients)
        for k in range(len(self.spec.hidden), 0, -1):
            da = self._linear_backward(k, self._hidden_backward(k, da.reshape(self._as[k].shape), steps), gradients)
        change = self._changes(gradients, steps[::-1])
        for name, delta in change.items():
            if name in self.weights:
                self.weights[name] = self.moved(self.weights[name], delta)
        self._move_parameters(change)
        return loss

    def _hidden_backward(self, k: int, da: Array, steps: List[Step]) -> Array:
        """From the gradient of a layer's output to that of its z."""
        after = self.spec.place == "after"
        a = activated(self.spec.activation, self._zs[k - 1]) if after else self._as[k]
        slope = activation_gradient(self.spec.activation, a)
        dn = da if after else da * slope
        if not self.spec.normalizes:
            return dn
        steps.append(self.norms[k - 1].backward(np.ascontiguousarray(dn)))
        dx = steps[-1].dx
        assert dx is not None
        return dx * slope if after else dx

    def _linear_backward(self, k: int, dz: Array, gradients: Dict[str, Array]) -> Array:
        """Gradients of weight and bias, and that of the layer's input (of the first layer: not needed, not made)."""
        w = self.weights["w{}".format(k)]
        rows = self._rows[k - 1]
        flat = dz.reshape(-1, dz.shape[-1])
        gradients["w{}".format(k)] = self.product(rows.reshape(-1, rows.shape[-1]).T, flat).reshape(w.shape)
        if "b{}".format(k) in self.weights:
            gradients["b{}".format(k)] = flat.sum(axis=0)
        if k == 1:
            return dz
        back = self.product(dz, w.reshape(-1, w.shape[-1]).T)
        return scattered(back, self.spec.kernel, self._as[k - 1].shape) if w.ndim == 4 else back

    def _changes(self, gradients: Dict[str, Array], steps: List[Step]) -> Dict[str, Array]:
        """What the optimizer takes off each array."""
        for k, step in enumerate(steps, 1):
            assert step.dgamma is not None
            assert step.dbeta is not None
            gradients["gamma{}".format(k)], gradients["beta{}".format(k)] = step.dgamma, step.dbeta
        rate = self.spec.rate
        self._steps += 1
        if self.spec.optimizer == "sgd":
            return {name: np.asarray(rate * g, g.dtype) for name, g in gradients.items()}
        first, second, epsilon = ADAM
        scale = rate * np.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        found = {}
        for name, g in gradients.items():
            m, v = self._moments.setdefault(name, [np.zeros_like(g), np.zeros_like(g)])
            m += (1 - first) * (g - m)
            v += (1 - second) * (g * g - v)
            found[name] = np.asarray(scale * m / (np.sqrt(v) + epsilon), g.dtype)
        return found

    def _move_parameters(self, change: Dict[str, Array]) -> None:
        for k, norm in enumerate(self.norms, 1):
            now = norm.layer.state()
            assert now.gamma is not None
            assert now.beta is not None
            gamma, beta = [change["{}{}".format(name, k)] for name in ("gamma", "beta")]
            norm.layer.set_state(State(self.moved(now.gamma, gamma), self.moved(now.beta, beta)))

    def moved(self, a: Array, delta: Array) -> Array:
        """A parameter after a step of the optimizer."""
        return a - delta

    def predict(self, x: Array, training: bool = False) -> Array:
        """The logits; a forward call in training mode updates what the layer updates in one."""
        return self._forward(x, training)

    def activations(self, x: Array) -> List[Array]:
        """Before and after each normalization, in inference."""
        self._forward(x, False)
        return [np.array(a) for pair in zip(self._zs, self._ns) for a in pair]

    def state(self) -> Dict[str, Array]:
        """Weights, and the state of each layer."""
        found = {name: np.array(a) for name, a in self.weights.items()}
        for k, norm in enumerate(self.norms, 1):
            for name, a in zip(NORMALIZATION, norm.layer.state()[:4]):
                if a is not None:
                    found["{}{}".format(name, k)] = np.array(a)
        return found

    def set_state(self, state: Dict[str, Array]) -> None:
        """Copy into weights and layers."""
        for name, a in state.items():
            if name[0] == "w" or (name[0] == "b" and name[1:].isdigit()):
                self.weights[name] = np.array(a, self.spec.dtype)
        for k, norm in enumerate(self.norms, 1):
            gamma, beta, mean, variance = [state.get("{}{}".format(name, k)) for name in NORMALIZATION]
            norm.layer.set_state(State(gamma, beta, mean, variance))

    def reload(self) -> Network:
        """Layers restored from the framework's format where it has one, and from their state elsewhere."""
        network = LayeredNetwork(self.adapter, self.spec)
        network.weights = {name: np.array(a) for name, a in self.weights.items()}
        saves = self.adapter.describe().capabilities.save
        with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
            for old, new in zip(self.norms, network.norms):
                if saves:
                    path = str(pathlib.Path(folder) / "layer")
                    old.layer.save(path)
                    new.layer = self.adapter.restore(new.spec, path)
                else:
                    new.layer.set_state(old.layer.state())
        return network


def _start(spec: Spec) -> State:
    ones, zeros = [np.full(spec.parameter_shape, value, spec.parameter_dtype) for value in (1, 0)]
    return State(ones, zeros, zeros, ones)


def cross_entropy(logits: Array, labels: Array) -> Tuple[float, Array]:
    """The batch's mean cross entropy after softmax, and its gradient with respect to the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    picked = np.arange(len(labels)), labels
    loss = float(np.mean(np.log(total[:, 0]) - shifted[picked]))
    error = exponentials / total
    error[picked] -= 1
    return loss, error / len(labels)
