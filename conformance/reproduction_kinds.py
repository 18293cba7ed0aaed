"""How a program is written in each framework's own words: one ``Kind`` per way of having an implementation."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Spec, State
from adapters.naming import is_file

Lines = list[str]
#: Our names of the parameters, and torch's.
TORCH_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
PARAMETERS = tuple(TORCH_NAMES)


class Subject(NamedTuple):
    """What a script is to run: the import path, and folders to find it in."""

    target: str
    path: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Module or file."""
        return self.target.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The class."""
        return self.target.rpartition(":")[2]

    def imported(self) -> Lines:
        """Lines that import the class from its module or file."""
        if is_file(self.module):
            return [
                "import importlib.util",
                "",
                f"module_spec = importlib.util.spec_from_file_location('subject', {self.module!r})",
                "module = importlib.util.module_from_spec(module_spec)",
                "module_spec.loader.exec_module(module)",
                f"{self.name} = module.{self.name}",
            ]
        folders = self.path or (".",)
        return [*(f"sys.path.append({folder!r})" for folder in folders), f"from {self.module} import {self.name}"]


class Kind(NamedTuple):
    """Writes programs for one framework. ``arrays`` are names of variables that hold the arrays, None where absent.

    Every step leaves its results in variables called as the interface calls them: y, dx, dgamma, dbeta.
    """

    #: What must be installed, NumPy apart.
    needs: str
    imports: Callable[[Subject], Lines]
    #: Lines that make ``layer`` with a state, given the names of the variables of that state.
    build: Callable[[Subject, Spec, dict[str, str], str], Lines]
    #: Lines of a training or inference step: layer, "train" or "infer", variables of x and dy ("" without gradients).
    step: Callable[[Spec, str, str, str, str], Lines]
    #: Lines that set the state from the variables given.
    assign: Callable[[Spec, str, dict[str, str]], Lines]
    #: An expression of the layer for a parameter's value.
    read: Callable[[Spec, str, str], str]
    #: How the framework has an input's array: with its channels where it wants them.
    native: Callable[[Array, Spec], Array] = lambda a, spec: a
    #: Why a spec cannot be written; "" where it can.
    refuses: Callable[[Spec], str] = lambda spec: ""


def has(spec: Spec, name: str) -> bool:
    """Whether a layer of the spec has that parameter."""
    return {"gamma": spec.scale, "beta": spec.center}.get(name, True)


def present(spec: Spec) -> list[str]:
    """The parameters that a layer of the spec has."""
    return [name for name in PARAMETERS if has(spec, name)]


def trainable(spec: Spec) -> list[str]:
    """Gamma and beta, as far as a layer of the spec has them."""
    return [name for name in ("gamma", "beta") if has(spec, name)]


# torch: modules with the channels second.


def _torch_build(subject: Subject, spec: Spec, state: dict[str, str], layer: str) -> Lines:
    arguments = f"{spec.parameter_shape[0]}, eps={spec.epsilon!r}, momentum={1 - spec.decay!r}"
    if subject.module.startswith("adapters."):
        ranks = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}
        lines = [f"{layer} = torch.nn.BatchNorm{ranks[spec.rank]}({arguments}, dtype=torch.{_torch_type(spec)})"]
    else:
        lines = [f"{layer} = {subject.name}({arguments}).to(torch.{_torch_type(spec)})"]
    lines += [f"{layer}.{TORCH_NAMES[name]} = None" for name in ("gamma", "beta") if not has(spec, name)]
    return lines + _torch_assign(spec, layer, state)


def _torch_type(spec: Spec) -> str:
    return "float64" if spec.dtype == "float64" else "float32"


def _torch_assign(spec: Spec, layer: str, state: dict[str, str]) -> Lines:
    copies = [f"    {layer}.{TORCH_NAMES[name]}.copy_(torch.tensor({variable}))" for name, variable in state.items()]
    return ["with torch.no_grad():", *copies] if copies else []


def _torch_step(spec: Spec, layer: str, op: str, x: str, dy: str) -> Lines:
    lines = [f"{layer}.{'train' if op == 'train' else 'eval'}()"]
    if not dy:
        return [*lines, f"y = {layer}(torch.tensor({x})).detach().numpy()"]
    inputs = ", ".join(["x", *(f"{layer}.{TORCH_NAMES[name]}" for name in trainable(spec))])
    outputs = ", ".join(["dx", *("d" + name for name in trainable(spec))])
    return [
        *lines,
        f"x = torch.tensor({x}, requires_grad=True)",
        f"y = {layer}(x)",
        f"found = torch.autograd.grad(y, [{inputs}], torch.tensor({dy}))",
        f"{outputs}{',' if ',' not in outputs else ''} = (g.numpy() for g in found)",
        "y = y.detach().numpy()",
    ]


def _second(a: Array, spec: Spec) -> Array:
    return np.moveaxis(a, spec.channel_axes[0], 1)


def _torch_refuses(spec: Spec) -> str:
    return half(spec) or ("several channel axes" if len(spec.axis) > 1 else "")


def half(spec: Spec) -> str:
    """Why a spec of half precision is not written."""
    return "" if spec.dtype in ("float32", "float64") else f"inputs of {spec.dtype}"


def _torch_imports(subject: Subject) -> Lines:
    return ["import torch", *([] if subject.module.startswith("adapters.") else subject.imported())]


TORCH = Kind(
    "torch",
    _torch_imports,
    _torch_build,
    _torch_step,
    _torch_assign,
    lambda spec, layer, name: f"{layer}.{TORCH_NAMES[name]}.detach().numpy()",
    _second,
    _torch_refuses,
)


# Keras on TensorFlow.


def _keras_build(subject: Subject, spec: Spec, state: dict[str, str], layer: str) -> Lines:
    name = "keras.layers.BatchNormalization" if subject.module.startswith("adapters.") else subject.name
    flags = "".join(f", {flag}=False" for flag in ("center", "scale") if not getattr(spec, flag))
    arguments = f"axis={spec.axis[0]}, momentum={spec.decay!r}, epsilon={spec.epsilon!r}{flags}, dtype={spec.dtype!r}"
    return [f"{layer} = {name}({arguments})", f"{layer}.build({spec.shape!r})", *_keras_assign(spec, layer, state)]


def _keras_assign(spec: Spec, layer: str, state: dict[str, str]) -> Lines:
    return [f"{layer}.{name}.assign({variable})" for name, variable in state.items()]


def _keras_step(spec: Spec, layer: str, op: str, x: str, dy: str) -> Lines:
    training = op == "train"
    if not dy:
        return [f"y = {layer}(tf.constant({x}), training={training}).numpy()"]
    inputs = ", ".join(["x", *(f"{layer}.{name}.value" for name in trainable(spec))])
    outputs = ", ".join(["dx", *("d" + name for name in trainable(spec))])
    return [
        f"x = tf.constant({x})",
        "with tf.GradientTape() as tape:",
        "    tape.watch(x)",
        f"    y = {layer}(x, training={training})",
        f"found = tape.gradient(y, [{inputs}], output_gradients=tf.constant({dy}))",
        f"{outputs}{',' if ',' not in outputs else ''} = (g.numpy() for g in found)",
        "y = y.numpy()",
    ]


KERAS = Kind(
    "keras and tensorflow",
    lambda subject: [
        "import os",
        "",
        'os.environ["KERAS_BACKEND"] = "tensorflow"',
        "import keras",
        "import tensorflow as tf",
        *([] if subject.module.startswith("adapters.") else subject.imported()),
    ],
    _keras_build,
    _keras_step,
    _keras_assign,
    lambda spec, layer, name: f"keras.ops.convert_to_numpy({layer}.{name})",
    refuses=lambda spec: half(spec) or ("several channel axes" if len(spec.axis) > 1 else ""),
)


# Anything that has an adapter.


def _adapter_build(subject: Subject, spec: Spec, state: dict[str, str], layer: str) -> Lines:
    given = ", ".join(f"{name}={variable}" for name, variable in state.items())
    plain = spec._replace(execution=Spec._field_defaults["execution"])
    arguments = ", ".join(
        f"{name}={value!r}"
        for name, value in plain._asdict().items()
        if name not in Spec._field_defaults or value != Spec._field_defaults[name]
    )
    return [f"{layer} = {subject.name}().build(Spec({arguments}), State({given}))"]


def _adapter_step(spec: Spec, layer: str, op: str, x: str, dy: str) -> Lines:
    return [f"y, dx, dgamma, dbeta = {layer}.{op}({x}{', ' + dy if dy else ''})"]


ADAPTER = Kind(
    "the adapter, and what it imports",
    lambda subject: ["from adapters.interface import Spec, State", *subject.imported()],
    _adapter_build,
    _adapter_step,
    lambda spec, layer, state: [
        f"{layer}.set_state(State({', '.join(f'{name}={variable}' for name, variable in state.items())}))"
    ],
    lambda spec, layer, name: f"{layer}.state().{name}",
)


def state_arrays(state: State, spec: Spec) -> dict[str, Array]:
    """The arrays of a state that a layer of the spec has."""
    found = {name: getattr(state, name) for name in present(spec)}
    return {name: value for name, value in found.items() if value is not None}
