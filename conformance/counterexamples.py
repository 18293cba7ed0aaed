"""Explains what failed: the smallest and the worst failing case of a requirement, with scripts that show them."""

import time
from typing import Literal

import msgspec

from conformance._results import counterexample, result
from conformance.evidence import Evidence
from conformance.explain import Smallest, shrink
from conformance.plan import Plan
from conformance.pool import Pooled, fitted_specs
from conformance.reproduction_files import with_script
from conformance.rewrite import asked
from conformance.session import Session, SessionError
from conformance.sessions import Sessions
from conformance.survey import execute, measure
from conformance.tally import Example, Tally
from conformance.targets import Target
from reports.records import Counterexample, Outcome, Result

KNOWN: Outcome = "known failure"


def explained(
    tally: Tally, came_to: tuple[Outcome, str], target: Target, plan: Plan, session: Session, sessions: Sessions
) -> Result:
    """The record of one requirement, with its counterexamples where it failed."""
    started = time.perf_counter()
    counterexamples: list[Counterexample] = []
    proven = None
    if came_to[0] in ("fail", "error", "crash", "timeout", KNOWN):
        left = sessions.explaining_left(target)
        if came_to[0] == KNOWN and left <= 0:
            counterexamples = [_unexplained(tally, target, plan)]
        else:
            budget = 0.0 if came_to[0] == KNOWN else left
            counterexamples, proven = _counterexamples(tally, plan, target, session, budget)
        sessions.spend(target, time.perf_counter() - started)
    return result(tally, target.name, came_to, counterexamples, proven, time.perf_counter() - started)


def _unexplained(tally: Tally, target: Target, plan: Plan) -> Counterexample:
    """The smallest case of a known failure as it was seen, once the time for explaining is spent."""
    start = tally.smallest.pooled if tally.smallest is not None else tally.broken_case
    assert start is not None
    record = counterexample("smallest seen", _as_seen(tally, start), tally.requirement, target, plan)
    return msgspec.structs.replace(record, no_script="it is known, and the time for explaining failures was spent")


def _counterexamples(
    tally: Tally, plan: Plan, target: Target, session: Session, budget: float
) -> tuple[list[Counterexample], float | None]:
    """The smallest and the worst failing case, and the worst one's ratio to the proven bound."""
    requirement = tally.requirement
    start = tally.smallest.pooled if tally.smallest is not None else tally.broken_case
    assert start is not None
    specs = fitted_specs(plan.pools[start.family], session.description.capabilities)
    if start.case.spec not in specs and plan.further is not None:
        specs = fitted_specs(plan.further[start.family], session.description.capabilities)
    shrunk = shrink(requirement, start, specs, session, budget / 2) if budget > 0 else None
    kind: Literal["smallest", "smallest seen"] = "smallest" if shrunk is not None else "smallest seen"
    smallest = shrunk or _as_seen(tally, start)
    record = counterexample(kind, smallest, requirement, target, plan)
    records = [with_script(record, smallest, requirement, target, plan, session)]
    if tally.worst is None or not tally.worst.evidence.fails:
        return records, None
    worst = tally.worst
    try:
        run = execute(asked(worst.pooled.case, session.description.capabilities), session)
        others = tuple(execute(c, session) for c in requirement.derive(run.case)) if requirement.derive else ()
        broken = any(other.trace.failure is not None for other in (run, *others))
        evidence, proven = (worst.evidence, None) if broken else measure(requirement, run, others)
    except SessionError:
        evidence, proven = worst.evidence, None
    if evidence.fails:
        tally.worst = worst = Example(worst.pooled, evidence, worst.decided_by)
    found = Smallest(worst.pooled.case, worst.evidence, "")
    return [*records, counterexample("worst", found, requirement, target, plan)], proven


def _as_seen(tally: Tally, start: Pooled) -> Smallest:
    if tally.smallest is not None:
        return Smallest(start.case, tally.smallest.evidence, tally.smallest.evidence.message)
    failure = tally.failure
    message = "" if failure is None else f"{failure.kind}: {failure.message}"
    return Smallest(start.case, Evidence(float("inf")), message)
