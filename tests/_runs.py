"""Runs of cases in this process, for the tests of what judges them."""

from typing import Any

import numpy as np

from adapters.interface import Array, Conventions, Spec, State
from adapters.program import StepTrace, Trace
from conformance.case import Case, Channel, Drawn, Gradient, Infer, Instruction, Start, Train
from conformance.judge import Run
from conformance.session import open_session

REFERENCE = "adapters.numpy_reference:NumpyReference"
SPEC = Spec((None, 3), (-1,), 1e-3, 0.75)


def values(*shape: int, seed: int = 0) -> Array:
    """Random float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def train(m: int = 8, seed: int = 1, layer: int = 0, **options: Any) -> Train:
    """A training step on normal data, with gradients."""
    return Train(Drawn((m,), (Channel("normal", 0.5),), seed), Gradient(seed=seed), layer, **options)


def infer(m: int = 8, seed: int = 1, layer: int = 0) -> Infer:
    """An inference step on normal data, with gradients."""
    return Infer(Drawn((m,), (Channel("normal", 0.5),), seed), Gradient(seed=seed), layer)


def case(*steps: Instruction, spec: Spec = SPEC, layers: int = 1, read: Any = "every", repeat: bool = False) -> Case:
    """A case of these steps, from distinct starting states."""
    starts = tuple(Start("distinct", "distinct", "random", "random", seed) for seed in range(layers))
    return Case(spec, starts, steps, read, repeat)


def traced(case: Case, target: str = REFERENCE) -> Trace:
    """Run a case on an implementation."""
    with open_session(target, in_process=True) as session:
        return session.run(case.expanded)


def run(case: Case, target: str = REFERENCE, **conventions: Any) -> Run:
    """Run a case, with other conventions than the declared ones if any are given."""
    trace = traced(case, target)
    if conventions:
        trace = trace._replace(conventions=(trace.conventions or Conventions())._replace(**conventions))
    return Run(case, trace)


def with_state(trace: Trace, index: int, **changes: Any) -> Trace:
    """The trace with another state read after a step."""
    read = trace.steps[index].state
    assert read is not None
    return with_step(trace, index, state=read._replace(**changes))


def with_step(trace: Trace, index: int, **changes: Any) -> Trace:
    """The trace with something else in a step."""
    changed: StepTrace = trace.steps[index]._replace(**changes)
    return trace._replace(steps=(*trace.steps[:index], changed, *trace.steps[index + 1 :]))


def state_of(run: Run, index: int) -> State:
    """The state read after a step."""
    read = run.trace.steps[index].state
    assert read is not None
    return read
