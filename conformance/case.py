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
    element_type,
    expand_gradient,
    expand_input,
    given,
    in_range,
)

__all__ = [
    "ApplyUpdates",
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


class Start(msgspec.Struct, frozen=True, tag="start"):
    """A state: how gamma, beta and the moving statistics are chosen, or the arrays themselves.

    gamma and beta: "plain" (1 and 0), "distinct" (differing, of both signs), "mixed" (zeros, ones, large, tiny),
    "negative" and "zeros" (all of them).
    moving: "plain" (0 and 1), "random" (mean about 0, variance about 1), "near" (about those of the first input).
    ``None`` in place of an array leaves that parameter as it is (in ``SetState`` only).
    """

    gamma: Literal["plain", "distinct", "mixed", "negative", "zeros"] | Given | None = "plain"
    beta: Literal["plain", "distinct", "mixed", "negative", "zeros"] | Given | None = "plain"
    moving_mean: Literal["plain", "random", "near"] | Given | None = "plain"
    moving_variance: Literal["plain", "random", "near"] | Given | None = "plain"
    seed: int = 0


class Train(msgspec.Struct, frozen=True, tag="train"):
    """A training step, with gradients where dy is given."""

    x: Drawn | Given
    dy: Gradient | Given | None = None
    layer: int = 0
    update: bool = True


class Infer(msgspec.Struct, frozen=True, tag="infer"):
    """An inference step, with gradients where dy is given."""

    x: Drawn | Given
    dy: Gradient | Given | None = None
    layer: int = 0


class SetState(msgspec.Struct, frozen=True, tag="set_state"):
    """Set the parameters that are not None."""

    state: Start
    layer: int = 0


class GetState(msgspec.Struct, frozen=True, tag="get_state"):
    """Read the state, also where the program reads it nowhere else."""

    layer: int = 0


class ApplyUpdates(msgspec.Struct, frozen=True, tag="apply_updates"):
    """Run the update of the moving statistics that a training step left undone."""

    layer: int = 0


Instruction = Train | Infer | SetState | GetState | ApplyUpdates


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
        calls = tuple(self._call(step) for step in self.program)
        states = tuple(_expand_state(start, self.spec, self._first_input) for start in self.starts)
        return Program(self.spec, states, calls, self.read, self.repeat)

    @property
    def _first_input(self) -> Drawn | Given | None:
        return next((step.x for step in self.program if isinstance(step, Train | Infer)), None)

    def _call(self, step: Instruction) -> Call:
        if isinstance(step, Train | Infer):
            x = expand_input(step.x, self.spec)
            dy = None if step.dy is None else expand_gradient(step.dy, x)
            if isinstance(step, Infer):
                return Call("infer", step.layer, x, dy)
            return Call("train", step.layer, x, dy, step.update)
        if isinstance(step, SetState):
            state = _expand_state(step.state, self.spec, self._first_input)
            return Call("set_state", step.layer, state=state)
        return Call("get_state" if isinstance(step, GetState) else "apply_updates", step.layer)

    @cached_property
    def held(self) -> "Case":
        """The same case with arrays in place of recipes."""
        program = self.expanded
        steps: list[Instruction] = []
        for step, call in zip(self.program, program.calls, strict=True):
            if isinstance(step, Train | Infer):
                dy = None if call.dy is None else Given.of(call.dy)
                step = msgspec.structs.replace(step, x=Given.of(_array(call.x)), dy=dy)
            elif isinstance(step, SetState) and call.state is not None:
                step = msgspec.structs.replace(step, state=_hold(call.state))
            steps.append(step)
        starts = tuple(_hold(state) for state in program.states)
        return Case(self.spec, starts, tuple(steps), self.read, self.repeat)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.spec, self.starts, self.program, self.read, self.repeat))


def _array(a: Array | None) -> Array:
    assert a is not None
    return a


def _hold(state: State) -> Start:
    gamma, beta, mean, variance = (None if a is None else Given.of(a) for a in state[:4])
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


#: Moving variances start no smaller, so that they are positive in float32.
SMALLEST_VARIANCE = 2.0**-100


def _near(first: Drawn | Given | None, c: int, dtype: str) -> tuple[Array, Array]:
    """About the mean and variance of the first input's channels, from its recipe."""
    if not isinstance(first, Drawn):
        return np.zeros(c), np.ones(c)
    kinds = [in_range(channel, dtype) for channel in first.channels]
    dealt = [kinds[k % len(kinds)] for k in range(c)]
    return np.array([d.offset * d.spread for d in dealt]), np.array(
        [max(d.spread**2, SMALLEST_VARIANCE) for d in dealt]
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

    def lay_out(a: Parameter) -> Array | None:
        if a is None:
            return None
        laid_out: Array = (a.array if isinstance(a, Given) else np.asarray(a)).reshape(spec.parameter_shape)
        return laid_out.astype(dtype)

    gamma, beta, mean, variance = values
    return State(
        lay_out(gamma) if spec.scale else None,
        lay_out(beta) if spec.center else None,
        lay_out(mean),
        lay_out(variance),
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
