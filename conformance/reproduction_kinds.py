"""How a program is written in an implementation's own words: what all ways share, and that of adapters."""

from collections.abc import Mapping
from string import Template
from typing import NamedTuple

from adapters.interface import Array, Spec, State
from adapters.naming import is_file
from adapters.program import Call

Lines = list[str]
#: Names of variables of a script, by what they hold.
Variables = Mapping[str, str]
PARAMETERS = ("gamma", "beta", "moving_mean", "moving_variance")


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

    @property
    def is_ours(self) -> bool:
        """Whether it is an adapter of the suite: its framework's own layer is what a script is about."""
        return self.module.startswith("adapters.")

    def imported(self) -> Lines:
        """Lines that import the class from its module or file."""
        if is_file(self.module):
            folders = [
                f"sys.path.append({folder!r})" for folder in self.path or (self.module.rpartition("/")[0] or ".",)
            ]
            return [
                "",
                *folders,
                f"module_spec = importlib.util.spec_from_file_location('subject', {self.module!r})",
                "module = importlib.util.module_from_spec(module_spec)",
                "sys.modules['subject'] = module",
                "module_spec.loader.exec_module(module)",
                f"{self.name} = module.{self.name}",
            ]
        folders = [f"sys.path.append({folder!r})" for folder in self.path or (".",)]
        return ["", *folders, f"from {self.module} import {self.name}"]


class Kind:
    """Writes programs of one spec for one way of having an implementation.

    Every step leaves its results in variables called as the interface calls them: y, dx, dgamma, dbeta.
    """

    #: What must be installed, NumPy apart.
    needs = ""
    #: Whether there are words for backward passes that come later than their forward pass.
    tapes = False
    #: Whether there are words for updates of the moving statistics that are an act of their own.
    updates = False
    #: Whether there are words for several layers at a time.
    several = True
    #: What a layer can be replaced through.
    reloads: tuple[str, ...] = ("state",)
    #: Whether the words depend on what the implementation's host tells of its code.
    spelled = False
    #: Whether every array that comes back is to be the caller's own, those of the state and of old results included.
    contract = False

    def __init__(self, subject: Subject, spec: Spec, words: Mapping[str, str]) -> None:
        self.subject = subject
        self.spec = spec
        self.words = words

    def imports(self) -> Lines:
        """Lines after the import of NumPy."""
        return self.subject.imported()

    def refuses(self) -> str:
        """Why the spec cannot be written; "" where it can."""
        return ""

    def lacks(self, call: Call) -> str:
        """Why a call cannot be written; "" where it can."""
        if call.op == "second_order":
            return "gradients of gradients"
        if call.op == "apply_updates" or not call.update:
            return "" if self.updates else "an update apart from its step"
        if call.op == "backward" or call.tape >= 0:
            return "" if self.tapes else "a backward pass that comes late"
        if call.op == "reload" and call.through not in self.reloads:
            return "saving a layer and restoring it"
        return ""

    def place(self) -> int:
        """The axis at which the code has the channels."""
        return self.spec.channel_axes[0]

    def build(self, layer: str, state: Variables) -> Lines:
        """Lines that make ``layer`` with a state."""
        raise NotImplementedError

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Lines of a training or inference step; dy is "" where there are no gradients."""
        raise NotImplementedError

    def step_without_update(self, layer: str, x: str, dy: str) -> Lines:
        """Lines of a training step that leaves the moving statistics alone, where there are words for that."""
        raise NotImplementedError

    def gradients(self) -> list[str]:
        """The gradients that a step with dy leaves in variables."""
        return gradients_of(self.spec)

    def assign(self, layer: str, state: Variables) -> Lines:
        """Lines that set the state from the variables given."""
        raise NotImplementedError

    def read(self, layer: str, name: str) -> str:
        """An expression of the layer for a parameter's value."""
        raise NotImplementedError

    def bits(self, layer: str) -> list[tuple[str, str]]:
        """Names and expressions for the bytes of a layer's state."""
        return [(name, f"np.array({self.read(layer, name)}).tobytes()") for name in present(self.spec)]

    def record(self, layer: str, op: str, x: str, tape: str) -> Lines:
        """Lines of a forward pass whose backward pass comes later."""
        raise NotImplementedError

    def backward(self, layer: str, dy: str, tape: str) -> Lines:
        """Lines of the backward pass of what was recorded."""
        raise NotImplementedError

    def renew(self, layer: str, through: str) -> Lines:
        """Lines that put another layer in the place of this one, made of its state."""
        kept = {name: f"kept_{name}" for name in present(self.spec)}
        return [
            *(f"{variable} = np.array({self.read(layer, name)})" for name, variable in kept.items()),
            *self.build(layer, kept),
        ]

    def begin_anew(self) -> Lines:
        """Lines that stand for the start of a new process, before all layers are renewed."""
        return []

    def fill(self, piece: str, **variables: str) -> str:
        """A piece of code that the host told, with variables in place of its marks."""
        return Template(self.words[piece]).substitute(variables)


def present(spec: Spec) -> list[str]:
    """The parameters that a layer of the spec has."""
    has = {"gamma": spec.scale, "beta": spec.center}
    return [name for name in PARAMETERS if has.get(name, True)]


def trainable(spec: Spec) -> list[str]:
    """Gamma and beta, as far as a layer of the spec has them."""
    return [name for name in present(spec) if name in ("gamma", "beta")]


def gradients_of(spec: Spec) -> list[str]:
    """The gradients that a step of the spec has."""
    return ["dx", *("d" + name for name in trainable(spec))]


def unpacked(names: list[str]) -> str:
    """The left side of an assignment from a sequence."""
    return ", ".join(names) + ("," if len(names) == 1 else "")


def half(spec: Spec) -> str:
    """Why a spec of half precision is not written."""
    return "" if spec.dtype in ("float32", "float64") else f"inputs of {spec.dtype}"


def single(spec: Spec) -> str:
    """Why a spec of several channel axes is not written."""
    return "several channel axes" if len(spec.axis) > 1 else ""


class Adapter(Kind):
    """Anything that has an adapter."""

    needs = "the adapter, and what it imports"
    tapes = updates = contract = True
    reloads = ("state", "file", "checkpoint", "process")

    def imports(self) -> Lines:
        """One adapter for all layers, and what its methods take."""
        made = f"adapter = {self.subject.name}()"
        return ["from adapters.interface import Spec, State", *self.subject.imported(), "", made]

    def _spec(self) -> str:
        plain = self.spec._replace(execution=Spec._field_defaults["execution"])
        arguments = ", ".join(
            f"{name}={value!r}"
            for name, value in plain._asdict().items()
            if name not in Spec._field_defaults or value != Spec._field_defaults[name]
        )
        return f"Spec({arguments})"

    def build(self, layer: str, state: Variables) -> Lines:
        """Ask an adapter."""
        return [f"{layer} = adapter.build({self._spec()}, {_state(state)})"]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Call the layer."""
        return [f"y, dx, dgamma, dbeta = {layer}.{op}({x}{', ' + dy if dy else ''})"]

    def step_without_update(self, layer: str, x: str, dy: str) -> Lines:
        """Call the layer."""
        return [f"y, dx, dgamma, dbeta = {layer}.train({x}, {dy or None}, update=False)"]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Set the state."""
        return [f"{layer}.set_state({_state(state)})"]

    def read(self, layer: str, name: str) -> str:
        """Read the state."""
        return f"{layer}.state().{name}"

    def record(self, layer: str, op: str, x: str, tape: str) -> Lines:
        """Make a tape."""
        return [f"{tape} = {layer}.tape({x}, training={op == 'train'})", f"y = {tape}.y"]

    def backward(self, layer: str, dy: str, tape: str) -> Lines:
        """Run the tape."""
        return [f"y, dx, dgamma, dbeta = {tape}.backward({dy})"]

    def renew(self, layer: str, through: str) -> Lines:
        """By the state, extra arrays included, or by the framework's format."""
        if through == "state":
            return [f"{layer} = adapter.build({self._spec()}, {layer}.state())"]
        restored = "restored" if through == "checkpoint" else layer
        adapter = "another" if through == "process" else "adapter"
        return [
            "with tempfile.TemporaryDirectory() as folder:",
            f"    {layer}.save(folder + '/layer')",
            f"    {restored} = {adapter}.restore({self._spec()}, folder + '/layer')",
        ]

    def begin_anew(self) -> Lines:
        """A new process would have another adapter."""
        return [f"another = {self.subject.name}()"]

    def bits(self, layer: str) -> list[tuple[str, str]]:
        """Extra arrays, too."""
        extra = f"repr(sorted((key, a.tobytes()) for key, a in {layer}.state().extra.items()))"
        return [*super().bits(layer), ("state.extra", f"{extra}.encode()")]


def _state(state: Variables) -> str:
    return f"State({', '.join(f'{name}={variable}' for name, variable in state.items())})"


def state_arrays(state: State, spec: Spec) -> dict[str, Array]:
    """The arrays of a state that a layer of the spec has."""
    found = {name: getattr(state, name) for name in present(spec)}
    return {name: value for name, value in found.items() if value is not None}
