"""Writes a script: its first lines, layers, steps, and what its end compares."""

import re
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Spec, State
from adapters.program import Call
from conformance.diagnosis_facts import Fact
from conformance.judge import Run
from conformance.oracle import from_channels
from conformance.reproduction_kinds import PARAMETERS, Kind, Lines, present, state_arrays
from conformance.reproduction_layouts import WIDTH, array, laid_out

#: What a script imports of Python's own where it needs it, by the text that shows that.
_STANDARD = ("base64", "faulthandler", "importlib.util", "io", "os", "subprocess", "tempfile")
#: Seconds after which a script that does not return says where it hangs.
PATIENCE = 60


class Failing(NamedTuple):
    """What a script is about, for its first lines."""

    requirement: str
    claim: str
    implementation: str
    #: The quantities that the requirement found off.
    quantities: tuple[str, ...] = ()
    #: What it said.
    message: str = ""


class Writer:
    """Writes one script, line by line; a subclass per way in which a failure shows has its end."""

    def __init__(self, make: Callable[[Spec], Kind], run: Run, last: int) -> None:
        self.make = make
        self.run = run
        self.spec: Spec = run.spec
        self.kind = make(run.spec)
        self.calls = run.program.calls[: last + 1]
        #: Lines of arrays and of layers and steps; one after the other they make the script.
        self.arrays: Lines = []
        self.body: Lines = []

    def script(self, failing: Failing) -> str:
        """The whole script."""
        self.build()
        for number, call in enumerate(self.calls):
            self.body.append(f"\n# Step {number}: {call.op}.")
            self.step(number, call)
        text = "\n".join([*self.framed(), *self.end()])
        imports = "\n".join(self.kind.imports())
        standard = [name for name in _STANDARD if re.search(rf"\b{re.escape(name)}\.", imports + text)]
        standard = [f"import {name}" for name in sorted([*standard, "sys"])]
        return "\n".join([*self._head(failing), *standard, "", "import numpy as np", imports, "", text, ""])

    def framed(self) -> Lines:
        """The arrays and steps in their place."""
        return [*self.arrays, *self.body]

    def end(self) -> Lines:
        """What the end compares."""
        raise NotImplementedError

    def _head(self, failing: Failing) -> Lines:
        says = f"{failing.requirement} fails on {failing.implementation}: {failing.claim}"
        needs = f"Needs {self.kind.needs}, and NumPy. Exits with 0 once it no longer reproduces."
        lines = [line for text in (says, needs) for line in [*textwrap.wrap(text, WIDTH), ""]]
        return ['"""' + lines[0].replace("\\", "/").replace('"""', "'''"), *lines[1:-1], '"""', ""]

    def named(self, name: str, a: Array) -> str:
        """Define a variable."""
        self.arrays.append(f"{name} = {array(a)}")
        return name

    def layer(self, number: int) -> str:
        """The variable of a layer."""
        return f"layer{number}" if len(self.run.program.states) > 1 else "layer"

    def handed(self, what: str, name: str, a: Array | None) -> str:
        """What is handed over of the array in a variable; a subclass may keep an eye on it."""
        return name

    def returned(self, number: int, names: list[str]) -> None:
        """A step has returned these."""

    def build(self) -> None:
        """Make all layers: one that is not used yet may matter to the others."""
        for number, state in enumerate(self.run.program.states):
            self.body += self.kind.build(self.layer(number), self.state(f"_{number}", state, f"building {number}"))

    def state(self, suffix: str, state: State, where: str) -> dict[str, str]:
        """Variables of a state's arrays."""
        return {
            name: self.handed(f"{name} for {where}", self.named(name + suffix, a), a)
            for name, a in state_arrays(state, self.spec).items()
        }

    def input(self, number: int, name: str) -> str:
        """The variable of a step's array, in its layout and with the channels where the code has them."""
        call, step = self.calls[number], self.run.case.program[number]
        a = getattr(call, name)
        if a is None:
            return ""
        layout = getattr(getattr(step, name, None), "layout", "c")
        source, target, variable = self.spec.channel_axes[0], self.kind.place(), f"{name}{number}"
        moves = len(self.spec.axis) == 1 and source != target
        if layout == "c":
            self.named(variable, np.moveaxis(a, source, target) if moves else a)
        else:
            self.named(variable, a)
            self.arrays += [f"# In memory: {layout}.", *laid_out(variable, a, layout)]
            self.arrays += [f"{variable} = np.moveaxis({variable}, {source}, {target})"] if moves else []
        return self.handed(f"{name} of step {number}", variable, a)

    def step(self, number: int, call: Call) -> None:
        """Write a call."""
        layer, kind = self.layer(call.layer), self.kind
        x, dy = (self.input(number, name) for name in ("x", "dy"))
        if call.op == "backward":
            self.body += kind.backward(layer, dy, f"tape{call.tape}")
            self.returned(number, [*(["y"] if kind.contract else []), *kind.gradients()])
        elif call.op == "meanwhile":
            self._meanwhile(number, call, x)
        elif call.op == "set_state" and call.state is not None:
            self.body += kind.assign(layer, self.state(f"_{number}_new", call.state, f"step {number}"))
        elif call.op == "reload":
            self.renew(layer, call)
        elif call.op == "apply_updates":
            self.body.append(f"{layer}.apply_updates()")
        elif call.tape >= 0:
            self.body += kind.record(layer, call.op, x, f"tape{call.tape}")
            self.returned(number, ["y"])
        elif call.op in ("train", "infer"):
            lines = kind.step(layer, call.op, x, dy) if call.update else kind.step_without_update(layer, x, dy)
            repeated = [f"for _ in range({call.times}):", *("    " + line for line in lines)]
            self.body += repeated if call.times > 1 else lines
            self.returned(number, ["y", *(kind.gradients() if dy else [])])

    def renew(self, layer: str, call: Call) -> None:
        """Put another layer in the place of one, or others in the place of all where the process is a new one."""
        self.body += self.renewed(layer, call)

    def renewed(self, layer: str, call: Call) -> Lines:
        """The lines for that."""
        if call.through != "process":
            return self.kind.renew(layer, call.through)
        used = range(len(self.run.program.states))
        lines = ["# The failure was seen in a new process.", *self.kind.begin_anew()]
        return lines + [line for number in used for line in self.kind.renew(self.layer(number), call.through)]

    def _meanwhile(self, number: int, call: Call, x: str) -> None:
        """Another layer, of the first one's start, lives beside: see ``adapters.passes``."""
        other = self.make(
            self.spec._replace(epsilon=2 * self.spec.epsilon + 0.5, decay=0.25 if self.spec.decay > 0.5 else 0.75)
        )
        name = f"another{number}"
        start = self.run.program.states[call.layer]
        self.body += other.build(name, self.state(f"_{name}", start, f"building {name}"))
        self.body += [*other.step(name, "train", x, ""), *other.step(name, "infer", x, "")]


class Value(Writer):
    """A result of the last step is off by more than its bound."""

    def __init__(self, make: Callable[[Spec], Kind], run: Run, fact: Fact) -> None:
        super().__init__(make, run, fact.key[0])
        self.fact = fact

    def end(self) -> Lines:
        """Compare with what it should be."""
        number, quantity = self.fact.key
        call = self.calls[number]
        expected, allowed = (self._placed(a, call, quantity) for a in (self.fact.truth, self.fact.bound))
        got = self.kind.read(self.layer(call.layer), quantity) if quantity in PARAMETERS else quantity
        if self.spec.dtype == "bfloat16" and quantity in ("y", "dx"):
            got = f"({got}.astype(np.uint32) << 16).view(np.float32)"
        return [
            f"\n# What {quantity} should be, and how far off it may be by rounding.",
            f"expected = {array(expected)}",
            f"allowed = {array(allowed)}",
            f"got = np.asarray({got}, np.float64).reshape(expected.shape)",
            "with np.errstate(invalid='ignore'):",
            "    right = (abs(got - expected) <= allowed) | (got == expected) | (np.isnan(got) & np.isnan(expected))",
            "for place in np.argwhere(~right)[:8]:",
            "    at = tuple(int(i) for i in place)",
            f"    print(f'{quantity}{{list(at)}}: got {{got[at]:.9g}}, expected {{expected[at]:.9g}}, '",
            "          f'allowed error {allowed[at]:.2g}')",
            f"where = '{quantity} are wrong (step {number}, {call.op}).'",
            "print(f'{np.count_nonzero(~right)} of {right.size} elements of {where}')",
            "sys.exit(0 if right.all() else 1)",
        ]

    def _placed(self, a: Array, call: Call, quantity: str) -> Array:
        """A (C, n) matrix as the code has the quantity's array."""
        a = np.asarray(a, np.float64)
        x = self.calls[self.run.forward(self.fact.key[0])].x
        if quantity in ("y", "dx") and x is not None:
            a = from_channels(a, self.spec, x.shape)
            single = len(self.spec.axis) == 1
            return np.moveaxis(a, self.spec.channel_axes[0], self.kind.place()) if single else a
        return a.reshape(self.spec.parameter_shape)


class Breaks(Writer):
    """The program raises, dies or hangs."""

    def __init__(self, make: Callable[[Spec], Kind], run: Run, hangs: bool) -> None:
        super().__init__(make, run, len(run.program.calls) - 1)
        self.hangs = hangs

    def framed(self) -> Lines:
        """With a limit where it hangs."""
        limit = f"faulthandler.dump_traceback_later({PATIENCE}, exit=True)"
        return ["# It does not return: after a minute it says where it is.", limit] * self.hangs + super().framed()

    def end(self) -> Lines:
        """Whoever comes here did not break; reading the state may."""
        layer = self.layer(self.calls[-1].layer if self.calls else 0)
        reads = [self.kind.read(layer, name) for name in present(self.spec)]
        return ["", *reads, "print('It no longer breaks.')", "sys.exit(0)"]


class Malformed(Writer):
    """The last step returns, or leaves in the state, what has another type or shape than it should."""

    def end(self) -> Lines:
        """Compare types and shapes; without an adapter, a wider element type is none of the mistakes."""
        number, call, layer = len(self.calls) - 1, self.calls[-1], self.layer(self.calls[-1].layer)
        like = {"y": f"x{number}", "dx": f"x{number}", "dgamma": f"gamma_{call.layer}", "dbeta": f"beta_{call.layer}"}
        results = [] if call.x is None else ["y", *(self.kind.gradients() if call.dy is not None else [])]
        pairs = [(name, name, like[name]) for name in results]
        pairs += [(name, self.kind.read(layer, name), f"{name}_{call.layer}") for name in present(self.spec)]
        return [
            "",
            "wrong = 0",
            "for name, a, like in (",
            *(f"    ({name!r}, {text}, {same})," for name, text, same in pairs),
            "):",
            "    if not isinstance(a, np.ndarray):",
            "        wrong += 1",
            "        print(f'{name} is a {type(a).__name__}, expected an array')",
            "    elif a.size != like.size or (name in ('y', 'dx') and a.shape != like.shape):",
            "        wrong += 1",
            "        print(f'{name} has the shape {a.shape}, expected {like.shape}')",
            f"    elif a.{'dtype !=' if self.kind.contract else 'itemsize <'} like.{self._narrow()}:",
            "        wrong += 1",
            "        print(f'{name} is {a.dtype}, expected {like.dtype}')",
            f"print(f'{{wrong}} results are no results (step {number}, {call.op}).')",
            "sys.exit(1 if wrong else 0)",
        ]

    def _narrow(self) -> str:
        return "dtype" if self.kind.contract else "itemsize"
