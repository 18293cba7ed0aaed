"""Writes a failure as a script that needs the framework and NumPy only: it prints the mismatch and exits with 1.

It shows, in this order: memory that is changed or shared where the requirement is about that, a program that breaks, a
result that is off by itself, equal steps that differ, a layer that goes on otherwise where it is replaced or where
there are others. Where only a comparison of runs shows the failure there is no script, and it is said why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from adapters.interface import Spec
from adapters.program import Call, Observation, Trace
from conformance.case import Case
from conformance.diagnosis import concerns
from conformance.diagnosis_facts import Fact, facts
from conformance.judge import Run
from conformance.reproduction_kinds import Adapter, Kind, Subject
from conformance.reproduction_memory import Twins, Variants, Watched
from conformance.reproduction_table import kind_of
from conformance.reproduction_writer import Breaks, Failing, Malformed, Value, Writer

__all__ = ["Failing", "Script", "script"]

#: Elements of all arrays together, above which there is no script.
LARGEST = 200_000
RESULTS = ("y", "dx", "dgamma", "dbeta")

#: How the code without an adapter is used for a spec: see ``adapters.given.Given.spelling``.
Spell = Callable[[Spec], Mapping[str, str]]


class Script(NamedTuple):
    """A script, or why there is none."""

    text: str = ""
    why_none: str = ""


def script(
    failing: Failing, target: str, path: tuple[str, ...], runs: Iterable[tuple[Case, Trace]], spell: Spell
) -> Script:
    """A complete script for the first of these runs that shows the failure, or why there is none."""
    why, spell = "", cache(spell)
    for case, trace in runs:
        run = Run(case, trace)
        found = _script(failing, target, path, run, spell)
        if found.text:
            return found
        why = why or found.why_none
    return Script(why_none=why)


def _script(failing: Failing, target: str, path: tuple[str, ...], run: Run, spell: Spell) -> Script:
    size = sum(0 if call.x is None else call.x.size for call in run.program.calls)
    if size > LARGEST:
        return Script(why_none=f"its inputs have {size} elements")
    kind, subject = kind_of(target)
    empty = kind(Subject(subject, path), run.spec, {})
    refused = empty.refuses()
    if refused and not empty.subject.is_ours:
        return Script(why_none=f"there are no words for {refused}")
    if refused:
        kind = Adapter
    if kind.spelled and not spell(run.spec):
        return Script(why_none="the implementation could not be asked how it is called")

    def make(spec: Spec) -> Kind:
        return kind(Subject(subject, path), spec, spell(spec) if kind.spelled else {})

    writer = _writer(failing, make, run)
    lacking = _lacking(make(run.spec), run, run.program.calls if writer is None else writer.calls)
    if lacking:
        return Script(why_none=f"there are no words for {lacking}")
    if writer is None:
        return Script(why_none="the requirement judges how results compare, of which none is off by its own bound")
    return Script(writer.script(failing))


def _lacking(kind: Kind, run: Run, calls: Sequence[Call]) -> str:
    """What there are no words for; "" where there are."""
    if not kind.several and len(run.program.states) > 1:
        return "several layers at a time"
    return next((why for why in map(kind.lacks, calls) if why), "")


def _writer(failing: Failing, make: Callable[[Spec], Kind], run: Run) -> Writer | None:
    about = failing.message.partition(":")[0]
    seen = [o for o in _observations(run.trace) if o.kind == about]
    if seen and about in ("mutated", "aliased", "overwritten"):
        return Watched(make, run)
    if seen:
        return Variants(make, run, "again" if about == "nondeterministic" else "spoiled")
    broken = run.trace.failure
    if broken is not None and broken.kind == "error" and not broken.stderr and broken.method in ("train", "infer"):
        return Malformed(make, run, len(run.trace.steps))
    if broken is not None and broken.kind in ("error", "crash", "timeout"):
        return Breaks(make, run, broken.kind == "timeout")
    fact = _fact(run, failing.quantities)
    if fact is not None:
        return Value(make, run, fact)
    mistyped = _mistyped(run)
    if mistyped is not None:
        return Malformed(make, run, mistyped)
    twins = _twins(run)
    if twins is not None:
        return Twins(make, run, *twins)
    if any(call.op == "reload" for call in run.program.calls):
        return Variants(make, run, "replaced")
    return Variants(make, run, "alone") if len({call.layer for call in run.program.calls}) > 1 else None


def _observations(trace: Trace) -> Iterator[Observation]:
    yield from trace.observations
    for step in trace.steps:
        yield from step.observations


def _fact(run: Run, quantities: tuple[str, ...]) -> Fact | None:
    """The first result that is off by the bound that decides, one that the requirement is about if there is any.

    Of one step it is the result that is furthest off.
    """
    wrong = [f for f in facts(run, "panel", beyond=True) if f.wrong.any() and f.key[0] >= 0]
    wrong = [f for f in wrong if concerns(quantities, f.symptom)] or wrong
    first = min((fact.key[0] for fact in wrong), default=0)
    return max((fact for fact in wrong if fact.key[0] == first), key=_off, default=None)


def _mistyped(run: Run) -> int | None:
    """The first step after which a gradient or a part of the state has another element type than it should."""
    for view in run.views:
        arrays = (*(view.trace.step or ())[2:], *(view.trace.state or ())[:4])
        if any(a is not None and a.dtype != run.spec.parameter_dtype for a in arrays):
            return view.number
    return None


def _off(fact: Fact) -> float:
    with np.errstate(all="ignore"):
        ratio = np.abs(fact.got - fact.truth) / fact.bound
    return float(np.max(np.where(np.isnan(ratio), np.inf, ratio)))


def _twins(run: Run) -> tuple[int, int, str] | None:
    """Two steps of the same inputs and state, and a result in which they differ."""
    earlier: dict[object, int] = {}
    for view in run.views:
        call, at = view.call, run.forward(view.number)
        if call.op not in ("train", "infer", "backward") or view.trace.step is None:
            continue
        before, arrays = run.before(at, "prob"), (run.program.calls[at].x, call.dy)
        parameters = [before.gamma, before.beta]
        if call.op == "infer" or (call.op == "backward" and run.program.calls[at].op == "infer"):
            parameters += [before.mean, before.variance]
        bits = tuple(b"" if a is None else a.tobytes() for a in (*arrays, *parameters))
        first = earlier.setdefault((call.op, call.layer, call.tape, bits), view.number)
        one = run.views[first].trace.step
        for quantity in RESULTS if one is not None else ():
            a, b = getattr(one, quantity), getattr(view.trace.step, quantity)
            if a is not None and b is not None and a.tobytes() != b.tobytes():
                return first, view.number, quantity
    return None
