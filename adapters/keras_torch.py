"""Adapter for ``keras.layers.BatchNormalization`` of Keras 3 on the torch backend, run eagerly. Runs on Python 3.6."""

import importlib
import os
from typing import Any, Callable, List, Optional, Tuple

import numpy as np

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")

from adapters.interface import Array, Spec
from adapters.keras_layer import Engine, KerasBatchNorm

# Untyped on purpose: the checks of this module must not depend on which torch is installed, if any.
torch: Any = importlib.import_module("torch")
if "OMP_NUM_THREADS" not in os.environ:  # which torch reads by itself
    torch.set_num_threads(1)


class TorchEngine(Engine):
    """Calls the layer on tensors, and differentiates with autograd."""

    backend = "torch"
    notes = (
        "eager; gradients by torch.autograd.grad",
        "tensors are contiguous copies of an input of any layout",
    )

    def __init__(self, spec: Spec, layer: Any) -> None:
        super().__init__(spec, layer)
        self.trainable = [variable.value for variable in (self.gamma, self.beta) if variable is not None]

    def tensor(self, a: Array) -> Any:
        """A tensor with a copy of the array."""
        copy = np.array(a, order="C")
        if self.spec.dtype == "bfloat16":
            return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(copy)

    def array(self, tensor: Any) -> Array:
        """A copy of a tensor; the upper halves of floats where it is of bfloat16."""
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16:
            return np.array(tensor.view(torch.int16).numpy()).view(np.uint16)
        return np.array(tensor.numpy())

    def gradients(self, x: Any, y: Any, dy: Array) -> List[Array]:
        """The output and the gradients of sum(y * dy) with respect to x, gamma and beta."""
        found = torch.autograd.grad(y, [x, *self.trainable], self.tensor(dy), retain_graph=True)
        return [self.array(a) for a in (y, *found)]

    def run(self, x: Array, dy: Optional[Array], training: bool) -> List[Array]:
        """Call the layer, and differentiate where dy is given."""
        if dy is None:
            with torch.no_grad():
                return [self.array(self.layer(self.tensor(x), training=training))]
        return self.tape(x, training)[1](dy)

    def tape(self, x: Array, training: bool) -> Tuple[Array, Callable[[Array], List[Array]]]:
        """Call the layer and keep autograd's graph."""
        x_ = self.tensor(x).requires_grad_(True)
        y = self.layer(x_, training=training)
        return self.array(y), lambda dy: self.gradients(x_, y, dy)

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """Differentiate sum(v * dx), twice through autograd."""
        x_, dy_ = [self.tensor(a).requires_grad_(True) for a in (x, dy)]
        (dx,) = torch.autograd.grad(self.layer(x_, training=True), [x_], dy_, create_graph=True)
        gamma = [] if self.gamma is None else self.trainable[:1]
        return [self.array(a) for a in torch.autograd.grad(dx, [x_, dy_, *gamma], self.tensor(v))]


class TorchKerasBatchNorm(KerasBatchNorm):
    """The layer on the torch backend."""

    engine = TorchEngine
