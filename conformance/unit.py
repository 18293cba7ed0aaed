"""The units of work: surveying a family of cases on an implementation, and concluding what all of them came to."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from adapters.interface import Capabilities, Conventions, Description
from conformance._results import counterexample, outcome, result
from conformance.agreement import Sample
from conformance.evidence import Evidence
from conformance.explain import Smallest, shrink
from conformance.known_failures import find
from conformance.plan import Plan
from conformance.pool import Pooled, fitted, fitted_specs
from conformance.seek import seek
from conformance.session import Session, SessionError, open_target
from conformance.survey import asked, execute, measure, survey
from conformance.tally import Example, Survey, Tally
from conformance.targets import Target
from reports.records import Counterexample, Result

Progress = Callable[[int], None]


class Unit(NamedTuple):
    """An implementation, and the family whose cases it is to run."""

    target: Target
    family: int


@dataclass
class Surveyed:
    """What a unit came to."""

    unit: Unit
    survey: Survey
    description: Description | None = None
    details: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    seconds_import: float = 0.0
    memory_mib: float = 0.0
    #: Why the implementation took no part.
    no_run: str = ""


@dataclass
class Conclusion:
    """All that an implementation's surveys came to, to be explained where it failed."""

    target: Target
    survey: Survey


@dataclass
class Concluded:
    """The records of all requirements on an implementation."""

    target: Target
    results: list[Result]
    seconds_explaining: float = 0.0
    memory_mib: float = 0.0


class Sessions:
    """Keeps each implementation's host alive across the units of one worker."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[str, Session] = {}
        self._failed: dict[str, str] = {}
        self._explained: dict[str, float] = {}

    def get(self, target: Target) -> tuple[Session, float]:
        """The implementation's session, and the seconds that opening it took now.

        Raises SessionError, again and at once if it could not be opened before.
        """
        if target.name in self._failed:
            raise SessionError(self._failed[target.name])
        if target.name in self._open:
            return self._open[target.name], 0.0
        started = time.perf_counter()
        try:
            plan = self._plan
            session = open_target(
                target,
                path=plan.path,
                in_process=plan.in_process,
                timeouts=plan.timeouts,
                threads=plan.threads,
            )
        except SessionError as error:
            self._failed[target.name] = str(error)
            raise
        self._open[target.name] = session
        return session, time.perf_counter() - started

    def drop(self, target: Target) -> None:
        """Close an implementation's session, if it has one: nobody knows what state it is in."""
        if target.name in self._open:
            self._open.pop(target.name).close()

    def drop_others(self, target: Target) -> None:
        """Close the sessions of all other implementations: a worker holds one framework in memory at a time."""
        for name in [n for n in self._open if n != target.name]:
            self._open.pop(name).close()

    def explaining_left(self, target: Target) -> float:
        """Seconds left for explaining this implementation's failures."""
        return self._plan.explaining - self._explained.get(target.name, 0.0)

    def spend(self, target: Target, seconds: float) -> None:
        """Count seconds of explaining."""
        self._explained[target.name] = self._explained.get(target.name, 0.0) + seconds

    def close(self) -> None:
        """End all sessions."""
        for session in self._open.values():
            session.close()
        self._open.clear()


def run_unit(unit: Unit, plan: Plan, sessions: Sessions, progress: Progress) -> Surveyed:
    """Survey a family's cases on an implementation. Whatever goes wrong ends up in what it came to."""
    shared = plan.pools[unit.family]
    sessions.drop_others(unit.target)
    try:
        session, seconds_import = sessions.get(unit.target)
        started = time.perf_counter()
        pool = fitted(shared, session.description.capabilities)
        seconds_drawing = time.perf_counter() - started
        told = _at_most(len(shared.cases), progress)
        final = _final(unit, plan, session)
        found = survey(pool, plan.catalogue, session, stop_at=final, progress=told)
        if plan.sought and not found.stopped:
            seek(pool, found, session, plan.sought)
    except SessionError as error:
        return not_run(unit, plan, str(error))
    found.accounts.drawing = seconds_drawing
    return Surveyed(
        unit,
        found,
        session.description,
        {**session.details, **dict(unit.target.facts)},
        samples=found.samples,
        seconds_import=seconds_import,
        memory_mib=peak_memory_mib(),
    )


def not_run(unit: Unit, plan: Plan, reason: str) -> Surveyed:
    """What a unit comes to that was not run."""
    here = [r for r in plan.catalogue if r.derive is None or r.family == unit.family]
    return Surveyed(unit, Survey({r.id: Tally(r) for r in here}, stopped={unit.family: reason}), no_run=reason)


def conclude(conclusion: Conclusion, plan: Plan, sessions: Sessions) -> Concluded:
    """Decide what each requirement came to, and explain what failed."""
    target, found = conclusion.target, conclusion.survey
    try:
        session, _ = sessions.get(target)
    except SessionError:
        return Concluded(target, unexplained(conclusion, plan))
    started = time.perf_counter()
    tallies = sorted(found.tallies.values(), key=lambda tally: tally.requirement.id)
    results = [_explained(tally, found, target, plan, session, sessions) for tally in tallies]
    return Concluded(target, results, time.perf_counter() - started, peak_memory_mib())


def unexplained(conclusion: Conclusion, plan: Plan) -> list[Result]:
    """The records of what was surveyed so far, where no implementation is at hand to explain failures."""
    found, name = conclusion.survey, conclusion.target.name
    results = []
    for id_ in sorted(found.tallies):
        came_to = outcome(found.tallies[id_], found, Capabilities(), find(plan.known, id_, name, ""))
        results.append(result(found.tallies[id_], name, came_to, [], None, 0.0))
    return results


def _final(unit: Unit, plan: Plan, session: Session) -> frozenset[str]:
    """The requirements whose failure ends the unit: with ``--fail-fast`` all that are not known to fail."""
    if not plan.fail_fast:
        return frozenset()
    name, version = unit.target.name, session.description.version
    return frozenset(id_ for id_ in plan.requirements if find(plan.known, id_, name, version) is None)


def _at_most(cases: int, progress: Progress) -> Progress:
    """Tell of the shared cases only: they are what the whole run counts by."""
    left = iter(range(cases))

    def tell(done: int) -> None:
        if next(left, None) is not None:
            progress(done)

    return tell


def _explained(tally: Tally, found: Survey, target: Target, plan: Plan, session: Session, sessions: Sessions) -> Result:
    """The record of one requirement, with its counterexamples where it failed."""
    name, id_ = target.name, tally.requirement.id
    known = find(plan.known, id_, name, session.description.version)
    came_to = outcome(tally, found, session.description.capabilities, known)
    started = time.perf_counter()
    counterexamples: list[Counterexample] = []
    proven = None
    if came_to[0] in ("fail", "error", "crash", "timeout", "known failure"):
        budget = 0.0 if came_to[0] == "known failure" else sessions.explaining_left(target)
        counterexamples, proven = _counterexamples(tally, plan, target, session, budget)
        sessions.spend(target, time.perf_counter() - started)
    return result(tally, name, came_to, counterexamples, proven, time.perf_counter() - started)


def _counterexamples(
    tally: Tally, plan: Plan, target: Target, session: Session, budget: float
) -> tuple[list[Counterexample], float | None]:
    """The smallest and the worst failing case, and the worst one's ratio to the proven bound."""
    requirement = tally.requirement
    start = tally.smallest.pooled if tally.smallest is not None else tally.broken_case
    assert start is not None
    specs = fitted_specs(plan.pools[start.family], session.description.capabilities)
    shrunk = shrink(requirement, start, specs, session, budget / 2) if budget > 0 else None
    kind: Literal["smallest", "smallest seen"] = "smallest" if shrunk is not None else "smallest seen"
    smallest = shrunk or _as_seen(tally, start)
    records = [counterexample(kind, smallest, requirement, target, plan)]
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


def peak_memory_mib() -> float:
    """Largest resident set of this process or of any child of it that has ended, in MiB."""
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(largest / unit, 1)


def declared(capabilities: Capabilities) -> dict[str, str]:
    """Capabilities as printed in the report."""
    return {name: _printed(value) for name, value in capabilities._asdict().items()}


def _printed(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def observed_conventions(found: set[Conventions]) -> dict[str, list[str]]:
    """Each convention with the values that were declared over the specs of the run."""
    return {
        name: sorted({_printed(getattr(c, name)) or "that of the input" for c in found}) for name in Conventions._fields
    }
