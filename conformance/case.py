"""A case: a spec, the layers' starting states and a program of steps, as a hashable recipe that prints as code.

A case as drawn holds recipes and expands them when asked; ``held`` is one that holds the arrays
themselves, which is what ``save`` writes. Its printed form, evaluated after ``from conformance.case import *``, is
the case again.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from adapters.interface import Array, Execution, Spec, State
from adapters.program import Call, Program
from conformance._consistency import check_program, check_spec
from conformance._data import (
    Channel,
    Drawn,
    Given,
    Gradient,
    Poison,
    element_type,
    expand_gradient,
    expand_input,
    given,
    in_range,
    poisoned,
)
from conformance._instructions import (
    ApplyUpdates,
    Backward,
    GetState,
    Infer,
    Instruction,
    Meanwhile,
    Reload,
    SecondOrder,
    SetState,
    Start,
    Train,
)
from conformance._layouts import lay_out

__all__ = [
    "ApplyUpdates",
    "Backward",
    "Case",
    "CaseError",
    "Channel",
    "Drawn",
    "Execution",
    "GetState",
    "Given",
    "Gradient",
    "Infer",
    "Instruction",
    "Meanwhile",
    "Poison",
    "Reload",
    "SecondOrder",
    "SetState",
    "Spec",
    "Start",
    "Train",
    "given",
    "load",
    "save",
]


class CaseError(Exception):
    """A case file that cannot be read; the text names the file and what is wrong with it."""


class Case(msgspec.Struct, frozen=True, dict=True):
    """A spec, one starting state per layer, and the program run on the layers. See ``adapters.program.Program``."""

    spec: Spec
    starts: tuple[Start, ...]
    program: tuple[Instruction, ...]
    read: Literal["every", "end"] = "every"
    repeat: bool = False

    @cached_property
    def expanded(self) -> Program:
        """The case with its arrays, as a host runs it."""
        calls = tuple(self._call(number, step) for number, step in enumerate(self.program))
        states = tuple(_expand_state(start, self.spec, self._first_input) for start in self.starts)
        return Program(self.spec, states, calls, self.read, self.repeat)

    @property
    def _first_input(self) -> Drawn | Given | None:
        return next((step.x for step in self.program if isinstance(step, Train | Infer | SecondOrder)), None)

    def _call(self, number: int, step: Instruction) -> Call:
        if isinstance(step, Train | Infer):
            x = expand_input(step.x, self.spec)
            dy = None if step.dy is None else expand_gradient(step.dy, x)
            if isinstance(step, Infer):
                return Call("infer", step.layer, x, dy, tape=step.tape)
            return Call("train", step.layer, x, dy, step.update, tape=step.tape, times=step.times)
        if isinstance(step, Backward):
            x = expand_input(self.recorded(number).x, self.spec)
            return Call("backward", step.layer, dy=expand_gradient(step.dy, x), tape=step.tape)
        if isinstance(step, SecondOrder):
            x = expand_input(step.x, self.spec)
            dy, v = expand_gradient(step.dy, x), expand_gradient(step.v, x)
            return Call("second_order", step.layer, x, dy, v=v)
        if isinstance(step, Meanwhile):
            return Call("meanwhile", step.layer, expand_input(step.x, self.spec))
        if isinstance(step, Reload):
            return Call("reload", step.layer, through=step.through)
        if isinstance(step, SetState):
            state = _expand_state(step.state, self.spec, self._first_input)
            return Call("set_state", step.layer, state=state)
        return Call("get_state" if isinstance(step, GetState) else "apply_updates", step.layer)

    def recorded(self, number: int) -> Train | Infer:
        """The step whose backward pass step ``number`` is. Raises ValueError where it was not recorded."""
        of = self.program[number]
        for step in reversed(self.program[:number]):
            if isinstance(of, Backward) and isinstance(step, Train | Infer) and step.tape == of.tape:
                return step
        raise ValueError(f"step {number}: nothing was recorded under {of}")

    @cached_property
    def held(self) -> "Case":
        """The same case with arrays in place of recipes."""
        program = self.expanded
        steps: list[Instruction] = []
        for step, call in zip(self.program, program.calls, strict=True):
            if isinstance(step, Train | Infer):
                dy = None if call.dy is None or step.dy is None else Given.of(call.dy, step.dy.layout)
                step = msgspec.structs.replace(step, x=Given.of(_array(call.x), step.x.layout), dy=dy)
            elif isinstance(step, Meanwhile):
                step = msgspec.structs.replace(step, x=Given.of(_array(call.x), step.x.layout))
            elif isinstance(step, Backward):
                step = msgspec.structs.replace(step, dy=Given.of(_array(call.dy), step.dy.layout))
            elif isinstance(step, SecondOrder):
                arrays = {
                    name: Given.of(_array(getattr(call, name)), getattr(step, name).layout) for name in ("x", "dy", "v")
                }
                step = msgspec.structs.replace(step, **arrays)
            elif isinstance(step, SetState) and call.state is not None:
                step = msgspec.structs.replace(step, state=_hold(call.state, step.state))
            steps.append(step)
        starts = tuple(_hold(state, start) for state, start in zip(program.states, self.starts, strict=True))
        return Case(self.spec, starts, tuple(steps), self.read, self.repeat)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.spec, self.starts, self.program, self.read, self.repeat))


def _array(a: Array | None) -> Array:
    assert a is not None
    return a


def _hold(state: State, start: Start) -> Start:
    """The arrays of a state that was expanded from ``start``, each in its layout."""
    held = []
    for a, of in zip(state[:4], (start.gamma, start.beta, start.moving_mean, start.moving_variance), strict=True):
        held.append(None if a is None else Given.of(a, of.layout if isinstance(of, Given) else start.layout))
    gamma, beta, mean, variance = held
    return Start(gamma, beta, mean, variance)


def _parameter(kind: str, rng: np.random.Generator, c: int, plain: float) -> Array:
    if kind == "plain":
        return np.full(c, plain)
    if kind == "zeros":
        return np.zeros(c)
    values = rng.standard_normal(c) + plain
    if kind == "negative":
        return -np.abs(values) - 0.125
    if kind == "mixed":
        factor = rng.choice([1.0] * 10 + [0.0, 1e3, 1e-3, 1e5, 1e-7], c)
        values = np.where(rng.integers(0, 8, c) == 0, 1.0, values * factor)
    return values


#: Moving variances start within these, so that they are positive and finite in float32.
SMALLEST_VARIANCE, LARGEST_DEVIATION = 2.0**-100, 2.0**60


def _near(first: Drawn | Given | None, c: int, dtype: str) -> tuple[Array, Array]:
    """About the mean and variance of the first input's channels, from its recipe."""
    if not isinstance(first, Drawn):
        return np.zeros(c), np.ones(c)
    kinds = [in_range(channel, dtype) for channel in first.channels]
    dealt = [kinds[k % len(kinds)] for k in range(c)]
    return np.array([d.offset * d.spread for d in dealt]), np.array(
        [max(min(d.spread, LARGEST_DEVIATION) ** 2, SMALLEST_VARIANCE) for d in dealt]
    )


Parameter = Array | Given | str | None


def _drawn_parameters(start: Start, spec: Spec, first: Drawn | Given | None) -> list[Parameter]:
    """Gamma, beta, moving mean and variance, with arrays (C,) in place of the names of recipes."""
    c = int(np.prod(spec.parameter_shape, dtype=np.int64))
    rng = np.random.default_rng([start.seed, c])
    gamma: Parameter = _parameter(start.gamma, rng, c, 1.0) if isinstance(start.gamma, str) else start.gamma
    beta: Parameter = _parameter(start.beta, rng, c, 0.0) if isinstance(start.beta, str) else start.beta
    jitter = rng.standard_normal((2, c))
    near_mean, near_variance = _near(first, c, spec.dtype)
    means = {"plain": np.zeros(c), "random": jitter[0], "near": near_mean * (1 + 0.1 * jitter[0])}
    variances = {"plain": np.ones(c), "random": np.exp(jitter[1]), "near": near_variance * np.exp(0.3 * jitter[1])}
    mean, variance = start.moving_mean, start.moving_variance
    return [
        gamma,
        beta,
        means[mean] if isinstance(mean, str) else mean,
        variances[variance] if isinstance(variance, str) else variance,
    ]


def _expand_state(start: Start, spec: Spec, first: Drawn | Given | None) -> State:
    """The arrays of a state; gamma and beta only where the spec has them."""
    values: list[Parameter] = [start.gamma, start.beta, start.moving_mean, start.moving_variance]
    if any(isinstance(value, str) for value in values):
        values = _drawn_parameters(start, spec, first)
    dtype = parameter_dtype(spec)

    def laid_out(name: str, a: Parameter) -> Array | None:
        if a is None:
            return None
        values: Array = (a.array if isinstance(a, Given) else np.asarray(a)).reshape(spec.parameter_shape)
        values = poisoned(values.astype(dtype), tuple(p for p in start.poison if p.of == name))
        layout = a.layout if isinstance(a, Given) else start.layout
        return values if layout == "c" else lay_out(values, layout)

    gamma, beta, mean, variance = values
    return State(
        laid_out("gamma", gamma) if spec.scale else None,
        laid_out("beta", beta) if spec.center else None,
        laid_out("moving_mean", mean),
        laid_out("moving_variance", variance),
    )


def parameter_dtype(spec: Spec) -> np.dtype[np.generic]:
    """Element type of gamma, beta and the moving statistics: the input's, float32 at least."""
    return element_type(spec.parameter_dtype)


class _File(msgspec.Struct):
    format: Literal["bn-conformance case"]
    version: Literal[1]
    case: Case
    requirement: str = ""
    implementation: str = ""


def save(case: Case, path: Path, *, requirement: str = "", implementation: str = "") -> None:
    """Write a case with its arrays to one file, with the requirement and implementation that it speaks of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _File("bn-conformance case", 1, case.held, requirement, implementation)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1))


def load(path: Path) -> tuple[Case, str, str]:
    """Read what ``save`` wrote: the case, the requirement's id and the implementation's name.

    Raises CaseError, naming the file, where it cannot be read.
    """
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise CaseError(f"cannot read case file {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CaseError(f"{path} is no case file of this suite, or a damaged one: {error}") from error
    try:
        check_spec(file.case.spec)
        check_program(file.case.expanded)
    except (ValueError, AssertionError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise CaseError(f"{path} holds a case that does not fit together: {error}") from error
    return file.case, file.requirement, file.implementation
