"""Adapter for ``torch.nn.BatchNorm1d``, ``BatchNorm2d`` and ``BatchNorm3d``, run eagerly."""

import importlib
import os
import warnings
from typing import Any, List, Optional, Tuple

import numpy as np

from adapters.common import complete, named_step, refuse_undeclared
from adapters.interface import (
    Array,
    BatchNormAdapter,
    Capabilities,
    Conventions,
    Description,
    Layer,
    Spec,
    State,
    Step,
    Tape,
    Unsupported,
)
from adapters.network import Network, NetworkSpec
from adapters.torch_facts import differentiates_bias_alone, dtypes, empty

# Untyped on purpose: the checks of this module must not depend on which torch is installed, if any.
torch: Any = importlib.import_module("torch")
if "OMP_NUM_THREADS" not in os.environ:  # which torch reads by itself
    torch.set_num_threads(1)
# Nothing here writes to a tensor that is made of an input.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

#: torch's name for each of our parameters.
NAMES = (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var"))
COUNTER = "num_batches_tracked"


def _to_numpy(tensor: Any) -> Array:
    """Return a copy: ``Tensor.numpy()`` shares memory with the tensor."""
    return np.array(tensor.detach().numpy(), order="C")


class TorchTape(Tape):
    """A forward pass whose autograd graph is kept."""

    def __init__(self, layer: "TorchLayer", x: Any, y: Any) -> None:
        self.layer = layer
        self._x = x
        self._y = y
        self.y = layer.from_torch(y)

    def backward(self, dy: Array) -> Step:
        """Run autograd's backward pass and keep the graph for the next one."""
        return self.layer.gradients(self._x, self._y, dy, retain_graph=True)


class TorchLayer(Layer):
    """A module with buffers and parameters of the spec's dtype, its channel axis moved to axis 1 and back."""

    def __init__(self, spec: Spec, module: Any) -> None:
        self.spec = spec
        self.module = module
        self.axis = spec.channel_axes[0]

    def to_torch(self, a: Array) -> Any:
        """Return a tensor with the channels second: of the array's own memory and layout, unless that is C order.

        In C order the axis is moved by a copy; ``permute`` on the user's side is another layout, and comes as one.
        """
        moved = np.moveaxis(a, self.axis, 1)
        if a.flags.c_contiguous:
            moved = np.ascontiguousarray(moved)
        try:
            if self.spec.dtype == "bfloat16":
                return torch.from_numpy(moved.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(moved)
        except ValueError as refusal:  # torch has no negative strides
            raise Unsupported("torch: {}".format(refusal)) from refusal

    def from_torch(self, tensor: Any) -> Array:
        """Return a copy as an array with the channels where the spec has them."""
        tensor = tensor.detach()
        if self.spec.dtype == "bfloat16":
            return np.array(np.moveaxis(tensor.view(torch.int16).numpy(), 1, self.axis), order="C").view(np.uint16)
        return np.array(np.moveaxis(tensor.numpy(), 1, self.axis), order="C")

    def forward(self, x: Any, training: bool) -> Any:
        """Call the module; torch's own refusals (one value per channel, epsilon of zero) become Unsupported."""
        self.module.train(training)
        try:
            return self.module(x)
        except ValueError as refusal:
            raise Unsupported("torch: {}".format(refusal)) from refusal

    def parameters(self) -> List[Any]:
        """Gamma and beta, as far as the layer has them."""
        return [p for p in (self.module.weight, self.module.bias) if p is not None]

    def gradients(self, x: Any, y: Any, dy: Array, retain_graph: bool = False) -> Step:
        """Return y and the gradients of sum(y * dy)."""
        found = torch.autograd.grad(y, [x, *self.parameters()], self.to_torch(dy), retain_graph=retain_graph)
        return named_step(
            self.spec, [self.from_torch(y), self.from_torch(found[0]), *[_to_numpy(g) for g in found[1:]]]
        )

    def run(self, x: Array, dy: Optional[Array], training: bool) -> Step:
        """Run forward, and backward where dy is given."""
        tensor = self.to_torch(x)
        if dy is None:
            with torch.no_grad():
                return Step(self.from_torch(self.forward(tensor, training)))
        tensor.requires_grad_(True)
        return self.gradients(tensor, self.forward(tensor, training), dy)

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Call the module in training mode, which updates its buffers."""
        if not update:
            raise Unsupported("torch updates its buffers in the forward call")
        return self.run(x, dy, training=True)

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Call the module in evaluation mode."""
        return self.run(x, dy, training=False)

    def state(self) -> State:
        """Return copies of parameters and buffers; the batch counter is extra."""
        gamma, beta, mean, variance = [
            None if tensor is None else _to_numpy(tensor)
            for tensor in (getattr(self.module, theirs) for _, theirs in NAMES)
        ]
        counter = getattr(self.module, COUNTER, None)
        return State(gamma, beta, mean, variance, {} if counter is None else {COUNTER: _to_numpy(counter)})

    def set_state(self, state: State) -> None:
        """Copy the given arrays into parameters and buffers, in place."""
        given = {theirs: getattr(state, ours) for ours, theirs in NAMES}
        given[COUNTER] = state.extra.get(COUNTER)
        with torch.no_grad():
            for name, value in given.items():
                target = getattr(self.module, name, None)
                if value is not None and target is not None:
                    target.copy_(torch.from_numpy(np.array(value)))

    def tape(self, x: Array, training: bool) -> Tape:
        """Run forward and keep the autograd graph."""
        # The graph keeps x for later: it must be a copy, of the same layout as far as that has no gaps.
        tensor = self.to_torch(np.array(x, order="K")).requires_grad_(True)
        return TorchTape(self, tensor, self.forward(tensor, training))

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Differentiate sum(v * dx), twice through autograd."""
        x_, dy_ = [self.to_torch(a).requires_grad_(True) for a in (x, dy)]
        # Without tracking the module computes the same and leaves its buffers alone. Putting them back afterwards
        # instead would invalidate the graphs of all live tapes.
        self.module.track_running_stats = False
        try:
            y = self.forward(x_, training=True)
        finally:
            self.module.track_running_stats = True
        (dx,) = torch.autograd.grad(y, [x_], dy_, create_graph=True)
        weights = [self.module.weight] if self.spec.scale else []
        found = torch.autograd.grad(dx, [x_, dy_, *weights], self.to_torch(v))
        return self.from_torch(found[0]), self.from_torch(found[1]), _to_numpy(found[2]) if weights else None

    def save(self, path: str) -> None:
        """Write the module's state_dict with torch.save."""
        torch.save(self.module.state_dict(), path)


class TorchBatchNorm(BatchNormAdapter):
    """``torch.nn.BatchNorm*`` in the rank that the input has."""

    def describe(self) -> Description:
        """The installed torch, on the CPU."""
        return Description(
            "torch",
            str(torch.__version__),
            capabilities=Capabilities(
                axes="single",
                dtypes=dtypes(),
                tape=True,
                second_order=True,
                save=True,
                transposes=True,
            ),
            notes=(
                "BatchNorm1d for ranks 2 and 3, BatchNorm2d for rank 4, BatchNorm3d for rank 5",
                "torch knows axis 1 as the channels only: the adapter moves the spec's axis there and back",
                "inputs in other layouts than C order become tensors in their own memory; none has negative strides",
                "float16 and bfloat16 inputs meet parameters and buffers in float32, as under autocast",
                "momentum = 1 - decay; center=False and scale=False set the module's bias and weight to None",
                "threads: {}".format(torch.get_num_threads()),
            ),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Unbiased moving variance; one value per channel is refused; an empty batch changes no statistics."""
        return Conventions(
            moving_variance="unbiased",
            single="refused",
            empty=empty(),
            decay_dtype="float64",
            variance_grade="A",
            affine_grade="F",
            frozen="training",
        )

    def module(self, spec: Spec) -> Any:
        """Return a new module for the spec, or refuse."""
        refuse_undeclared(spec, self.describe().capabilities, ("default", "frozen"))
        if spec.center and not spec.scale and not differentiates_bias_alone():
            raise Unsupported("this version cannot differentiate a module with a bias and without a weight")
        kinds = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
        kind = getattr(torch.nn, kinds[spec.rank])
        module = kind(spec.parameter_shape[0], eps=spec.epsilon, momentum=1 - spec.decay)
        for name, wanted in (("weight", spec.scale), ("bias", spec.center)):
            if not wanted:
                setattr(module, name, None)
        for parameter in module.parameters():
            parameter.requires_grad = spec.execution.mode != "frozen"
        return module.to(getattr(torch, spec.parameter_dtype))

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer around a new module."""
        layer = TorchLayer(spec, self.module(spec))
        layer.set_state(complete(spec, state))
        return layer

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return a layer around a new module that loads a saved state_dict."""
        module = self.module(spec)
        module.load_state_dict(torch.load(path))
        return TorchLayer(spec, module)

    def network(self, spec: NetworkSpec) -> Network:
        """A torch.nn.Sequential."""
        from adapters.network_torch import TorchNetwork

        return TorchNetwork(spec)
