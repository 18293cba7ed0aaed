"""Shrinks a failing case to the smallest that still fails, starting from the choices recorded when it was drawn."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.database import ExampleDatabase

from adapters.interface import Spec
from conformance.capability import refusal
from conformance.case import Case, Drawn, Given, Infer, Instruction, SecondOrder, Train
from conformance.evidence import Evidence
from conformance.families import FAMILIES
from conformance.pool import Pooled
from conformance.requirements import Requirement
from conformance.rewrite import asked, recorded_in, sound
from conformance.session import Session, SessionError
from conformance.strategies import cases
from conformance.survey import execute, has_capability, judge_example

#: Restarts of a dying host that one shrinking may cost.
RESTARTS = 10
#: Attempts of one shrinking.
ATTEMPTS = 400


class Smallest(NamedTuple):
    """The smallest failing case that was found, what the requirement says of it, and how it broke if it broke."""

    case: Case
    evidence: Evidence
    message: str


class _OneExample(ExampleDatabase):
    """A database that holds one example, under the secondary key: a primary one is replayed but never shrunk."""

    def __init__(self, choices: bytes) -> None:
        self.choices = choices

    def fetch(self, key: bytes) -> Iterable[bytes]:
        if key.endswith(b".secondary"):
            yield self.choices

    def save(self, key: bytes, value: bytes) -> None:
        """Nothing is kept."""

    def delete(self, key: bytes, value: bytes) -> None:
        """Nothing is dropped."""


def judge_case(requirement: Requirement, case: Case, session: Session) -> Smallest | None:
    """Run a case and the ones derived from it; None where the requirement holds or says nothing."""
    capabilities = session.description.capabilities
    if refusal(case.spec, capabilities) or not has_capability(requirement, capabilities):
        return None
    case = asked(case, capabilities)
    run = execute(case, session)
    others = tuple(execute(other, session) for other in requirement.derive(case)) if requirement.derive else ()
    evidence, _, failure = judge_example(requirement, run, others)
    if evidence.fails:
        return Smallest(case, evidence, evidence.message)
    if failure is not None and failure.kind != "unsupported":
        return Smallest(case, Evidence(math.inf), f"{failure.kind}: {failure.message}")
    return None


def size(case: Case) -> tuple[int, int, int, int]:
    """What makes a counterexample small: few steps, few elements, a short text."""
    elements = sum(0 if call.x is None else call.x.size for call in case.expanded.calls)
    gradients = sum(call.dy is not None for call in case.expanded.calls)
    return len(case.program), elements, gradients, len(repr(case))


class _OutOfBudget(BaseException):
    """Ends the search; Hypothesis takes an Exception for another failure, and shrinks on."""


def shrink(
    requirement: Requirement, start: Pooled, specs: tuple[Spec, ...], session: Session, seconds: float
) -> Smallest | None:
    """Find a small case that fails like ``start`` within that time; None where not even ``start`` fails again.

    ``specs`` are those of the pool that ``start`` was drawn from.

    Broken cases (crash, error, timeout) are shrunk too, within a number of restarts.
    """
    deadline = time.monotonic() + seconds
    restarts = session.restarts
    best: Smallest | None = None

    def fails(case: Case) -> bool:
        nonlocal best
        if time.monotonic() > deadline or session.restarts - restarts > RESTARTS:
            raise _OutOfBudget
        try:
            found = judge_case(requirement, case, session)
        except SessionError as error:
            raise _OutOfBudget from error
        if found is not None and (best is None or size(found.case) < size(best.case)):
            best = found
        return found is not None

    with contextlib.suppress(_OutOfBudget):
        # The failing case itself comes first: without time, it is what there is.
        if fails(start.case):
            if start.choices:
                _search(start, specs, fails)
            while best is not None and any(fails(case) for case in _smaller(best.case)):
                pass
    return best


def _smaller(case: Case) -> Iterator[Case]:
    """The case with a step, some positions or an upstream gradient less.

    Hypothesis looks for simpler choices, which are not always fewer: a step of a fixed program cannot be left out.
    """
    program = case.program
    for number in range(len(program)):
        fewer = _without(program, number)
        if fewer:
            yield msgspec.structs.replace(case, program=fewer)
    for number, step in enumerate(program):
        for less in _less(step, case.spec):
            yield msgspec.structs.replace(case, program=(*program[:number], less, *program[number + 1 :]))


def _without(program: tuple[Instruction, ...], number: int) -> tuple[Instruction, ...]:
    """The program without a step, and without the backward passes that the step was recorded for."""
    left = tuple(step for at, step in enumerate(program) if number not in (at, recorded_in(program, at)))
    return left if sound(left) else ()


def _less(step: Instruction, spec: Spec) -> Iterator[Instruction]:
    if isinstance(step, Train) and step.times > 1:
        yield msgspec.structs.replace(step, times=step.times // 2)
    if not isinstance(step, Train | Infer | SecondOrder):
        return
    if isinstance(step.x, Drawn):
        sizes = step.x.sizes
        for axis, extent in enumerate(sizes):
            free = spec.shape[spec.reduction_axes[axis]] is None
            for fewer in sorted({1, extent // 2, extent - 1} - {0, extent}) if free else ():
                x = msgspec.structs.replace(step.x, sizes=(*sizes[:axis], fewer, *sizes[axis + 1 :]))
                yield msgspec.structs.replace(step, x=x)
    else:
        yield from _fewer_positions(step, spec)
    if step.dy is not None and not isinstance(step, SecondOrder):
        yield msgspec.structs.replace(step, dy=None)


def _fewer_positions(step: Train | Infer | SecondOrder, spec: Spec) -> Iterator[Instruction]:
    """The step with a part of its arrays: the first positions along a free axis."""
    if not isinstance(step.x, Given):
        return
    x = step.x.array
    for axis in (a for a in spec.reduction_axes if spec.shape[a] is None):
        extent = x.shape[axis]
        for fewer in sorted({1, extent // 2, extent - 1} - {0, extent}):
            parts = {
                name: Given.of(np.take(held.array, range(fewer), axis=axis), held.layout)
                for name, held in ((name, getattr(step, name, None)) for name in ("x", "dy", "v"))
                if isinstance(held, Given)
            }
            yield msgspec.structs.replace(step, **parts)


def _search(start: Pooled, specs: tuple[Spec, ...], fails: Callable[[Case], bool]) -> None:
    @settings(
        max_examples=ATTEMPTS,
        database=_OneExample(start.choices),
        phases=[Phase.reuse, Phase.shrink],
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        # Hypothesis would print how to find again what it could not finish.
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(FAMILIES[start.family], specs))
    def search(case: Case) -> None:
        assert not fails(case)

    # Whether it ends with the failure or finds it flaky, the best so far is the answer.
    with contextlib.suppress(Exception):
        search()
