"""Adapters for torch code that has none: ``nn.Module`` classes, and functions with the arguments of ``F.batch_norm``.

Runs on Python 3.6.
"""

import copy
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.checks import kind_of
from adapters.common import parameter_names
from adapters.given import Given, texts_of, tiny, values_of
from adapters.interface import Array, Capabilities, Conventions, Description, Layer, Spec, State, Step, Unsupported
from adapters.naming import AdapterError, Options
from adapters.signature import bind, find_state
from adapters.torch_module import TorchLayer, torch

_RANKS = (2, 3, 4, 5)


class GivenTorchLayer(TorchLayer):
    """Somebody's module; parameters and buffers are found under any of the usual names."""

    def __init__(self, spec: Spec, module: Any, names: Dict[str, str], device: str) -> None:
        super().__init__(spec, module)
        self.names = names
        self.device = device
        #: Names of the parameters that the spec does without.
        self.removed: List[str] = []

    def tensor(self, role: str) -> Any:
        """The parameter or buffer of that role, or None."""
        if role not in self.names:
            return None
        found = self.module
        for part in self.names[role].split("."):
            found = getattr(found, part, None)
        return found

    def to_torch(self, a: Array) -> Any:
        """Return a tensor on the device."""
        return super().to_torch(a).to(self.device)

    def from_torch(self, tensor: Any) -> Array:
        """Return a copy of a tensor of any device."""
        if not isinstance(tensor, torch.Tensor):
            raise TypeError("{} returned {}, expected a tensor".format(type(self.module).__name__, kind_of(tensor)))
        return super().from_torch(tensor.detach().cpu())

    def forward(self, x: Any, training: bool) -> Any:
        """Call the module."""
        y = super().forward(x, training)
        if isinstance(y, torch.Tensor) and y.device.type != x.device.type:
            what = "{} returned y on {}, expected {}, where x is"
            raise TypeError(what.format(type(self.module).__name__, y.device, x.device))
        return y

    def gradients(self, x: Any, y: Any, dy: Array, retain_graph: bool = False) -> Step:
        """Return y and the gradients of sum(y * dy); one that torch does not reach is missing."""
        if not y.requires_grad:
            return Step(self.from_torch(y))
        parameters = [(name, self.tensor(name)) for name in ("gamma", "beta") if name in self.names]
        wanted = {"dx": x, **{"d" + name: tensor for name, tensor in parameters if tensor.requires_grad}}
        found = torch.autograd.grad(y, list(wanted.values()), self.to_torch(dy), retain_graph, allow_unused=True)
        arrays: Dict[str, Any] = {name: g for name, g in zip(wanted, found) if g is not None}
        for name, gradient in arrays.items():
            arrays[name] = self.from_torch(gradient) if name == "dx" else self.parameter(gradient)
        return Step(self.from_torch(y), **arrays)

    def parameter(self, tensor: Any) -> Array:
        """A copy in the parameters' shape, whatever extents of one the module has."""
        return np.array(tensor.detach().cpu().numpy(), order="C").reshape(self.spec.parameter_shape)

    def state(self) -> State:
        """Return copies of parameters and buffers."""
        kept: Dict[str, Any] = {role: self.parameter(self.tensor(role)) for role in parameter_names(self.spec)}
        extra = {
            name: np.array(buffer.detach().cpu().numpy())
            for name, buffer in self.module.named_buffers()
            if name not in self.names.values()
        }
        return State(extra=extra, **kept)

    def set_state(self, state: State) -> None:
        """Copy the given arrays into parameters and buffers, in place."""
        given = [(self.tensor(role), getattr(state, role)) for role in self.names]
        buffers = dict(self.module.named_buffers())
        given += [(buffers.get(name), value) for name, value in state.extra.items()]
        with torch.no_grad():
            for target, value in given:
                if value is not None and target is not None:
                    target.copy_(torch.from_numpy(np.array(value)).reshape(target.shape))

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Differentiate sum(v * dx) on a copy of the module, whose statistics nobody misses."""
        twin = GivenTorchLayer(self.spec, copy.deepcopy(self.module), self.names, self.device)
        x_, dy_ = [self.to_torch(np.array(a)).requires_grad_(True) for a in (x, dy)]
        (dx,) = torch.autograd.grad(twin.forward(x_, training=True), [x_], dy_, create_graph=True)
        weights = [twin.tensor("gamma")] if self.spec.scale else []
        sources = [x_, dy_, *weights]
        found = torch.autograd.grad(dx, sources, self.to_torch(v), allow_unused=True)
        # What dx does not depend on has a gradient of zero.
        found = [torch.zeros_like(s) if g is None else g for g, s in zip(found, sources)]
        return self.from_torch(found[0]), self.from_torch(found[1]), self.parameter(found[2]) if weights else None


class GivenTorchModule(Given):
    """A class of modules, or a function that makes them: called with what its arguments' names ask for."""

    momentum = "1-decay"
    default_device = "cpu"

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        try:
            torch.empty(0, device=self.device)
        except Exception as error:
            why = str(error).splitlines()[0]
            raise AdapterError("{}: torch has no device {!r}: {}".format(target, self.device, why)) from error
        self._checked = False
        self.binding = self.constructor()

    def describe(self) -> Description:
        """The installed torch; which ranks and types the module has is to be found out."""
        arguments = ", ".join("{} is {}".format(role, name) for role, name in self.binding.roles.items())
        return Description(
            "torch",
            str(torch.__version__),
            self.device,
            Capabilities(
                ranks=_RANKS, dtypes=("float32", "float64"), tape=True, second_order=True, save=True, transposes=True
            ),
            (
                "no adapter: {} ({})".format(self.who, arguments or "no arguments of known meaning"),
                "the channels of the spec are moved to axis 1 and back",
            ),
            ("capabilities", "conventions"),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """What a BatchNorm-like module does most probably."""
        return Conventions(moving_variance="unbiased", single="refused", empty="unchanged", decay_dtype="float64")

    def new_module(self, spec: Spec) -> Any:
        """Return a new module for the spec."""
        values = {**values_of(spec), "axis": 1, "dtype": getattr(torch, spec.dtype), "device": self.device}
        values["affine"] = spec.center or spec.scale
        made = self.binding(**values)
        if not isinstance(made, torch.nn.Module):
            what = "{}: {} made {}, expected an nn.Module"
            raise TypeError(what.format(self.target, self.who, kind_of(made)))
        self.configured(made, values, self.binding)
        return made.to(device=self.device, dtype=getattr(torch, spec.dtype))

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer around a new module."""
        layer = self.layer(spec)
        layer.set_state(state)
        return layer

    def layer(self, spec: Spec) -> GivenTorchLayer:
        """Return a layer around a new module, its state found and its unwanted parameters removed."""
        if len(spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(spec.axis))
        module = self.new_module(spec)
        held = [*dict(module.named_parameters()), *dict(module.named_buffers())]
        wanted = parameter_names(spec)
        layer = GivenTorchLayer(
            spec, module, find_state(self.target, self.who, held, self.meanings, wanted), self.device
        )
        if not self._checked:
            self._checked = True
            self.meanings.check(self.who, [*self.binding.roles.values(), *held])
        layer.removed = self._unwanted([name for name in ("gamma", "beta") if name not in wanted], held)
        for name in layer.removed:
            path, _, last = name.rpartition(".")
            owner = layer.module
            for part in path.split(".") if path else []:
                owner = getattr(owner, part)
            setattr(owner, last, None)
        return layer

    def _unwanted(self, roles: List[str], held: List[str]) -> List[str]:
        """Parameters that the spec does without: they become None, as torch's own modules have it."""
        return [name for role in roles for name in self._named(role, held)]

    def _named(self, role: str, held: List[str]) -> List[str]:
        try:
            return [find_state(self.target, self.who, held, self.meanings, [role])[role]]
        except AdapterError:
            return []

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """The module's arguments, and the names of its parameters and buffers."""
        texts = {**texts_of(spec), "axis": "1", "dtype": "torch." + spec.dtype, "device": repr(self.device)}
        texts["affine"] = repr(spec.center or spec.scale)
        layer = self.layer(spec)
        return {
            **self.spelled_making(self.binding, texts),
            **layer.names,
            "removed": " ".join(layer.removed),
            "device": self.device,
        }

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return a layer around a new module that loads a saved state_dict."""
        layer = self.layer(spec)
        layer.module.load_state_dict(torch.load(path))
        return layer


class _FunctionModule(torch.nn.Module):  # type: ignore[misc]
    """Parameters and buffers for a function that has none of its own."""

    def __init__(self, binding: Any, spec: Spec) -> None:
        super().__init__()
        self.call = binding
        self.spec = spec
        #: How many results the function returned in its last call; 0 where it returned y alone.
        self.returned = 0
        channels = spec.parameter_shape[0]
        self.weight = torch.nn.Parameter(torch.ones(channels)) if spec.scale else None
        self.bias = torch.nn.Parameter(torch.zeros(channels)) if spec.center else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Any) -> Any:
        """Call the function with its arguments by role; new statistics that it returns are kept."""
        found = self.call(
            **{
                **values_of(self.spec),
                "x": x,
                "gamma": self.weight,
                "beta": self.bias,
                "moving_mean": self.running_mean,
                "moving_variance": self.running_var,
                "training": self.training,
                "inference": not self.training,
                "axis": 1,
            }
        )
        self.returned = len(found) if isinstance(found, tuple) else 0
        if not isinstance(found, tuple):
            return found
        if self.training and len(found) == 3:
            with torch.no_grad():
                self.running_mean.copy_(found[1].reshape(-1))
                self.running_var.copy_(found[2].reshape(-1))
        return found[0]


_CALL = ("x", "gamma", "beta", "moving_mean", "moving_variance", "training", "inference")


class GivenTorchFunction(GivenTorchModule):
    """A function with the arguments of ``F.batch_norm``, in any order and under any of the usual names."""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        if not self.binding.takes("training") and not self.binding.takes("inference"):
            what = "{}: {} has no argument that tells training from inference: name it with --map ITS_NAME=training"
            raise AdapterError(what.format(target, self.who))

    def constructor(self, wanted: Any = ()) -> Any:
        """Which argument of the function is what."""
        roles = (*_CALL, "epsilon", "decay", "1-decay", "axis", "channels")
        needed = ("x", "moving_mean", "moving_variance", "epsilon")
        return bind(self.subject, self.who, roles, self.meanings, self.momentum, needed)

    def new_module(self, spec: Spec) -> Any:
        """Return a module around the function."""
        made = _FunctionModule(self.binding, spec)
        return made.to(device=self.device, dtype=getattr(torch, spec.dtype))

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """The function's arguments in training and in inference, and how many results it returns."""
        layer = self.layer(spec)
        state = {name: "$" + name if name in layer.names else "None" for name in _CALL[1:5]}
        found = {"device": self.device}
        x = torch.arange(float(np.prod(tiny(spec)))).reshape(tiny(spec)).to(getattr(torch, spec.dtype))
        for op, training in (("infer", False), ("train", True)):
            layer.forward(x.transpose(1, spec.channel_axes[0]), training)
            modes = {"training": repr(training), "inference": repr(not training)}
            found[op] = self.binding.text({**texts_of(spec), "axis": "1", "x": "$x", **state, **modes})
            found["returned by " + op] = str(layer.module.returned)
        return found
