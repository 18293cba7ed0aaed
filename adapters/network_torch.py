"""Networks as torch's users write them: a module of Linear, Conv2d and BatchNorm layers, trained by torch.optim."""

import io
from collections import OrderedDict
from typing import Any, Dict, List, Tuple

import numpy as np

from adapters.interface import Array, Unsupported
from adapters.network import Network, NetworkSpec
from adapters.torch_module import NAMES, torch

_ACTIVATIONS = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def module(spec: NetworkSpec) -> Any:
    """A Sequential whose layers are called linear1, norm1, activation1, ..., and at the end the linear layer."""
    nn = torch.nn
    layers: "OrderedDict[str, Any]" = OrderedDict()
    channels = spec.inputs[-1]
    for k, units in enumerate(spec.hidden, 1):
        if spec.kernel:
            linear = nn.Conv2d(channels, units, spec.kernel, bias=spec.bias)
        else:
            linear = nn.Linear(channels, units, bias=spec.bias)
        layers["linear{}".format(k)] = linear
        layers["activation{}".format(k)] = getattr(nn, _ACTIVATIONS[spec.activation])()
        if spec.normalizes:
            kind = nn.BatchNorm2d if spec.kernel else nn.BatchNorm1d
            layers["norm{}".format(k)] = kind(units, eps=spec.epsilon, momentum=1 - spec.decay)
            if spec.place == "before":
                layers.move_to_end("activation{}".format(k))
        channels = units
    last = len(spec.hidden) + 1
    shape = spec.shapes()["w{}".format(last)]
    if spec.kernel:
        layers["flatten"] = nn.Flatten()
    layers["linear{}".format(last)] = nn.Linear(*shape)
    return nn.Sequential(layers).to(getattr(torch, spec.dtype))


class TorchNetwork(Network):
    """A torch.nn.Sequential, cross_entropy and torch.optim."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.module = module(spec)
        optimizer = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.SGD
        self._optimizer = optimizer(self.module.parameters(), lr=spec.rate)
        #: Our name of each array -> torch's tensor.
        self._tensors = self._named()

    def _named(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for k in range(1, len(self.spec.hidden) + 2):
            linear = getattr(self.module, "linear{}".format(k))
            found["w{}".format(k)], found["b{}".format(k)] = linear.weight, linear.bias
            norm = getattr(self.module, "norm{}".format(k), None)
            if norm is not None:
                found.update({"{}{}".format(ours, k): getattr(norm, theirs) for ours, theirs in NAMES})
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _input(self, x: Array) -> Any:
        tensor = torch.from_numpy(np.array(x, self.spec.dtype))
        return tensor.permute(0, 3, 1, 2).contiguous() if self.spec.kernel else tensor

    def train(self, x: Array, labels: Array, update: bool = True) -> float:
        """zero_grad, forward in training mode, backward, step."""
        self.module.train(True)
        self._optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.module(self._input(x)), torch.from_numpy(np.array(labels)))
        loss.backward()
        self._optimizer.step()
        return float(loss.item())

    def predict(self, x: Array, training: bool = False) -> Array:
        """The module called without gradients; torch refuses one value per channel in training."""
        self.module.train(training)
        with torch.no_grad():
            return np.array(refusing(self.module, self._input(x)).numpy())

    def activations(self, x: Array) -> List[Array]:
        """What leaves each linear layer, and each normalization."""
        found: Dict[str, Array] = {}
        self.module.train(False)
        with torch.no_grad():
            a = self._input(x)
            for name, layer in self.module.named_children():
                a = layer(a)
                found[name] = np.array((a.permute(0, 2, 3, 1) if a.dim() == 4 else a).numpy())
        pairs = [("linear{}".format(k), "norm{}".format(k)) for k in range(1, len(self.spec.hidden) + 1)]
        return [found.get(name, found[pair[0]]) for pair in pairs for name in pair]

    def state(self) -> Dict[str, Array]:
        """Copies, dense weights transposed to (inputs, units), kernels to (height, width, channels, units)."""
        return {name: from_torch(self.spec, name, tensor) for name, tensor in self._tensors.items()}

    def set_state(self, state: Dict[str, Array]) -> None:
        """Copy into parameters and buffers, in place."""
        with torch.no_grad():
            for name, a in state.items():
                self._tensors[name].copy_(torch.from_numpy(np.array(to_torch(self.spec, name, a))))

    def reload(self) -> Network:
        """A new module that loads the state_dict written by torch.save."""
        file = io.BytesIO()
        torch.save(self.module.state_dict(), file)
        file.seek(0)
        network = TorchNetwork(self.spec)
        network.module.load_state_dict(torch.load(file))
        return network


def refusing(module_: Any, x: Any) -> Any:
    """The output, or Unsupported where torch itself refuses the input."""
    try:
        return module_(x)
    except ValueError as refusal:
        raise Unsupported("torch: {}".format(refusal)) from refusal


def _orders(spec: NetworkSpec, name: str) -> Tuple[Any, ...]:
    """Rows of the flattened last dense layer go through its image shape; the order of a weight's axes is the second."""
    if not name.startswith("w"):
        return None, None
    k = int(name[1:])
    if k <= len(spec.hidden) and spec.kernel:
        return None, (3, 2, 0, 1)
    if spec.kernel:
        side = [extent - len(spec.hidden) * (spec.kernel - 1) for extent in spec.inputs[:2]]
        return (side[0], side[1], spec.hidden[-1]), (1, 0)
    return None, (1, 0)


def to_torch(spec: NetworkSpec, name: str, a: Array) -> Array:
    """An array as torch keeps it."""
    image, order = _orders(spec, name)
    if image:
        a = a.reshape((*image, -1)).transpose(2, 0, 1, 3).reshape(-1, a.shape[-1])
    return a if order is None else a.transpose(order)


def from_torch(spec: NetworkSpec, name: str, tensor: Any) -> Array:
    """A copy in the network's own order."""
    a = tensor.detach().numpy()
    image, order = _orders(spec, name)
    a = a if order is None else a.transpose(np.argsort(order))
    if image:
        a = a.reshape((image[2], image[0], image[1], -1)).transpose(1, 2, 0, 3).reshape(-1, a.shape[-1])
    return np.array(a, order="C")
