"""Writes a failure as a script that needs the framework and NumPy only: it prints the mismatch and exits with 1.

Where no single result of the case is off by itself, since a requirement compares several runs, there is no script.
"""

import base64
import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from adapters.interface import Array, Spec
from adapters.program import Call, Trace
from conformance.case import Case, Instruction
from conformance.diagnosis import concerns
from conformance.diagnosis_facts import PARAMETERS, Fact, facts
from conformance.judge import Run
from conformance.oracle import from_channels
from conformance.reproduction_kinds import ADAPTER, Kind, Lines, Subject, state_arrays
from conformance.reproduction_table import kind_of

#: Elements up to which an array is written out; larger ones are packed.
WRITTEN_OUT = 600
#: Operations that there are words for.
OPERATIONS = ("train", "infer", "set_state", "get_state")
#: Elements of all arrays together, above which there is no script.
LARGEST = 200_000
_WIDTH = 100


class Failing(NamedTuple):
    """What a script is about, for its first lines."""

    requirement: str
    claim: str
    implementation: str
    #: The quantities that the requirement found off.
    quantities: tuple[str, ...] = ()


def script(failing: Failing, target: str, path: tuple[str, ...], runs: Iterable[tuple[Case, Trace]]) -> str:
    """A complete script for the first of these runs that shows the failure; "" where there is none to write."""
    for case, trace in runs:
        run = Run(case, trace)
        if _size(run) > LARGEST:
            continue
        kind, subject = kind_of(target)
        if kind is None:
            return ""
        if kind.refuses(case.spec):
            if not subject.startswith("adapters."):
                continue
            kind = ADAPTER
        broken = trace.failure is not None and trace.failure.kind in ("error", "crash")
        fact = None if broken else _fact(run, failing.quantities)
        told = run.program.calls if fact is None else run.program.calls[: fact.key[0] + 1]
        plain = all(_plain(*pair) for pair in zip(told, case.program, strict=False))
        if (broken or fact is not None) and plain:
            return _Writer(kind, Subject(subject, path), run, fact).script(failing)
    return ""


def _plain(call: Call, step: Instruction) -> bool:
    """Whether there are words for a call: what is about the memory of its arrays would not show in a script."""
    layouts = {getattr(getattr(step, name, None), "layout", "c") for name in ("x", "dy")}
    return call.op in OPERATIONS and call.update and layouts == {"c"}


def _size(run: Run) -> int:
    return sum(0 if call.x is None else call.x.size for call in run.program.calls)


def _fact(run: Run, quantities: tuple[str, ...]) -> Fact | None:
    """The first result that is off by the bound that decides, one that the requirement is about if there is any.

    Of one step it is the result that is furthest off.
    """
    wrong = [f for f in facts(run, "panel") if f.wrong.any() and f.key[0] >= 0]
    wrong = [f for f in wrong if concerns(quantities, f.symptom)] or wrong
    first = min((fact.key[0] for fact in wrong), default=0)
    return max((fact for fact in wrong if fact.key[0] == first), key=_off, default=None)


def _off(fact: Fact) -> float:
    with np.errstate(all="ignore"):
        ratio = np.abs(fact.got - fact.truth) / fact.bound
    return float(np.max(np.where(np.isnan(ratio), np.inf, ratio)))


def array(a: Array) -> str:
    """An expression for an array, whose text gives every bit of it back."""
    if a.dtype == ml_dtypes.bfloat16:
        a = a.view(np.uint16)
    if a.size > WRITTEN_OUT:
        data = base64.b64encode(np.ascontiguousarray(a).tobytes()).decode("ascii")
        lines = "\n".join(f'    "{part}"' for part in textwrap.wrap(data, _WIDTH))
        return f"np.frombuffer(base64.b64decode(\n{lines}\n), {a.dtype.str!r}).reshape({a.shape}).copy()"
    values = [_number(v) for v in a.reshape(-1)]
    text = f"np.array([{', '.join(values)}], np.{a.dtype})"
    if a.ndim != 1:
        text += f".reshape({', '.join(map(str, a.shape)) or '()'})"
    return "\n    ".join(textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _number(value: Any) -> str:
    if np.isnan(value):
        return "np.nan"
    if np.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    # The shortest text that NumPy reads back as the same number of this type.
    text = str(value)
    return text if text == "-0.0" else text.removesuffix(".0")


class _Writer:
    """Writes one script."""

    def __init__(self, kind: Kind, subject: Subject, run: Run, fact: Fact | None) -> None:
        self.kind, self.subject, self.run, self.fact = kind, subject, run, fact
        self.spec: Spec = run.spec
        last = len(run.program.calls) - 1 if fact is None else fact.key[0]
        self.calls = run.program.calls[: last + 1]
        self.body: Lines = []

    def script(self, failing: Failing) -> str:
        """The whole script."""
        self._build()
        for number, call in enumerate(self.calls):
            self.body.append(f"\n# Step {number}: {call.op}.")
            self._step(number, call)
        self.body += self._end()
        body = "\n".join(self.body)
        imports = ["import sys", "", "import numpy as np", *self.kind.imports(self.subject)]
        if "base64." in body:
            imports.insert(0, "import base64")
        return "\n".join([*self._head(failing), *imports, "", body, ""])

    def _head(self, failing: Failing) -> Lines:
        says = f"{failing.requirement} fails on {failing.implementation}: {failing.claim}"
        needs = f"Needs {self.kind.needs}, and NumPy. Exits with 1 while it reproduces, with 0 once it does not."
        lines = [line for text in (says, needs) for line in [*textwrap.wrap(text, _WIDTH), ""]]
        return ['"""' + lines[0].replace("\\", "/").replace('"""', "'''"), *lines[1:-1], '"""', ""]

    def _named(self, name: str, a: Array) -> str:
        self.body.append(f"{name} = {array(a)}")
        return name

    def _layer(self, number: int) -> str:
        return f"layer{number}" if len(self.run.program.states) > 1 else "layer"

    def _build(self) -> None:
        used = {call.layer for call in self.calls}
        for number, state in enumerate(self.run.program.states):
            if number in used or not self.calls:
                layer = self._layer(number)
                names = {
                    name: self._named(f"{name}_{number}", value)
                    for name, value in state_arrays(state, self.spec).items()
                }
                self.body += self.kind.build(self.subject, self.spec, names, layer)

    def _step(self, number: int, call: Call) -> None:
        layer = self._layer(call.layer)
        if call.x is not None:
            x = self._named(f"x{number}", self.kind.native(call.x, self.spec))
            dy = "" if call.dy is None else self._named(f"dy{number}", self.kind.native(call.dy, self.spec))
            lines = self.kind.step(self.spec, layer, call.op, x, dy)
            if call.times > 1:
                lines = [f"for _ in range({call.times}):", *("    " + line for line in lines)]
            self.body += lines
        elif call.state is not None:
            given = state_arrays(call.state, self.spec)
            self.body += self.kind.assign(
                self.spec, layer, {name: self._named(f"{name}_{number}_new", a) for name, a in given.items()}
            )

    def _end(self) -> Lines:
        if self.fact is None:
            return ["", "print('It no longer breaks.')", "sys.exit(0)"]
        number, quantity = self.fact.key
        call = self.calls[number]
        expected, allowed = (self._placed(a, call, quantity) for a in (self.fact.truth, self.fact.bound))
        layer = self._layer(call.layer)
        got = self.kind.read(self.spec, layer, quantity) if quantity in PARAMETERS else quantity
        if self.spec.dtype == "bfloat16" and quantity in ("y", "dx"):
            got = f"({got}.astype(np.uint32) << 16).view(np.float32)"
        self.body.append(f"\n# What {quantity} should be, and how far off it may be by rounding.")
        self._named("expected", expected)
        self._named("allowed", allowed)
        return [
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
        """A (C, n) matrix as the framework has the quantity's array."""
        a = np.asarray(a, np.float64)
        if quantity in ("y", "dx") and call.x is not None:
            return self.kind.native(from_channels(a, self.spec, call.x.shape), self.spec)
        return a.reshape(self.spec.parameter_shape)
