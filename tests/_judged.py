"""Runs of cases in this process, for the tests of what judges them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.interface import Array, Capabilities, Conventions, Spec, State
from adapters.program import Failure, Program, StepTrace, Trace
from conformance.case import Case, Channel, Drawn, Gradient, Infer, Instruction, Start, Train
from conformance.evidence import NOTHING, Evidence
from conformance.judge import Judge, Run
from conformance.pool import Pool, Pooled
from conformance.requirements import Requirement
from conformance.session import InProcessSession, open_session

Check = Callable[[Case, Trace, Judge], Evidence]
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


def made(
    check: Check, id_: str = "BN-199", ops: tuple[str, ...] = ("train", "infer"), derived: Any = None, needs: str = ""
) -> Requirement:
    """A requirement that is in no catalogue."""
    return Requirement(id_, "made", "Made.", "tests", 1, check, derived, frozenset(ops), needs, (), 0.1)


def judged_y(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Judge the first output."""
    return next((judge.against_truth(view, "y") for view in judge.steps("train", "infer")), NOTHING)


class Fake(InProcessSession):
    """A session on the reference that breaks programs on demand, and says how often it was asked."""

    def __init__(
        self, breaks: Callable[[int, Program], Failure | None], capabilities: Capabilities | None = None
    ) -> None:
        super().__init__(REFERENCE, ())
        self.breaks = breaks
        self.asked = 0
        if capabilities is not None:
            self.description = self.description._replace(capabilities=capabilities)

    def run(self, program: Program) -> Trace:
        """Run the program, then forget what follows its first step where it is to break."""
        failure = self.breaks(self.asked, program)
        self.asked += 1
        trace = super().run(program)
        if failure is None:
            return trace
        kept = trace.steps[: 1 if failure.method == "infer" else 0]
        return trace._replace(steps=kept, final=(), failure=failure)


def dies(kind: str, method: str = "train") -> Callable[[int, Program], Failure]:
    """A way to break every program."""
    return lambda number, program: Failure(kind, f"{kind} {number}", method)


def pool_of(*cases: Case) -> Pool:
    """A pool of these cases."""
    return Pool(1, 0, (SPEC,), tuple(Pooled(c, b"") for c in cases))
