"""The units of work: surveying a family of cases on an implementation, and concluding what all of them came to."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from adapters.interface import Capabilities, Conventions, Description
from conformance import grading, settling
from conformance._results import outcome, result
from conformance.agreement import Sample
from conformance.counterexamples import KNOWN, explained
from conformance.diagnosis import diagnose
from conformance.diagnosis_grades import diagnose_grades
from conformance.families import FAMILIES
from conformance.grading import Measured
from conformance.known_failures import find_for
from conformance.plan import Plan
from conformance.pool import Pool, fitted
from conformance.sampling import gathered, survey_sample
from conformance.seek import seek
from conformance.session import Session, SessionError
from conformance.sessions import Sessions
from conformance.survey import survey
from conformance.tally import Survey, Tally
from conformance.targets import Target
from reports.records import Result
from reports.settling_record import Settling

Progress = Callable[[int], None]
#: Seconds after which a diagnosis is given up. It takes about one; a limit that mattered would let chance decide.
DIAGNOSIS = 30.0


class Unit(NamedTuple):
    """An implementation, and the family whose cases it is to run."""

    target: Target
    family: int
    #: Whether it is the rest of the family's cases that it is to run.
    rest: bool = False

    def pool(self, plan: Plan) -> Pool:
        """Its cases."""
        return plan.further[self.family] if self.rest and plan.further is not None else plan.pools[self.family]


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
    #: Measured with the numerics family.
    accuracy: tuple[Measured, ...] = ()
    #: Measured with the running statistics.
    settling: Settling | None = None
    #: Why the implementation took no part.
    no_run: str = ""


@dataclass
class Conclusion:
    """All that an implementation's surveys came to, to be explained where it failed."""

    target: Target
    survey: Survey
    description: Description | None = None
    accuracy: tuple[Measured, ...] = ()

    def take(self, done: Surveyed) -> None:
        """Add a survey of it."""
        self.survey.merge(done.survey)
        self.accuracy += done.accuracy
        self.description = done.description or self.description


@dataclass
class Concluded:
    """The records of all requirements on an implementation."""

    target: Target
    results: list[Result]
    seconds_explaining: float = 0.0
    memory_mib: float = 0.0


def run_unit(unit: Unit, plan: Plan, sessions: Sessions, progress: Progress) -> Surveyed:
    """Survey a family's cases on an implementation. Whatever goes wrong ends up in what it came to."""
    sessions.drop_others(unit.target)
    try:
        session, seconds_import = sessions.get(unit.target)
        shared = unit.pool(plan)
        started = time.perf_counter()
        pool = _pool_for(unit.target, shared, session.description.capabilities)
        seconds_drawing = time.perf_counter() - started
        told = _at_most(len(shared.cases), progress)
        if unit.target.kin:
            found = survey_sample(pool, plan.catalogue, session, told)
        else:
            found = survey(pool, plan.catalogue, session, stop_at=_final(unit, plan, session), progress=told)
        if plan.sought and not found.stopped:
            seek(pool, found, session, plan.sought)
        measured = FAMILIES[unit.family].ladders and not (unit.rest or found.stopped)
        accuracy = grading.measure(session) if measured else ()
        settled = (
            settling.measure(session) if unit.family == settling.FAMILY and not (unit.rest or found.stopped) else None
        )
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
        accuracy=accuracy,
        settling=settled,
    )


def _pool_for(target: Target, pool: Pool, capabilities: Capabilities) -> Pool:
    """The pool as an implementation is to run it; a sample is taken of it later."""
    if target.kin:
        return pool
    return gathered(pool, capabilities) if target.heads else fitted(pool, capabilities)


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
    capabilities, version = session.description.capabilities, session.description.version
    outcomes = {
        id_: outcome(tally, found, capabilities, find_for(plan.known, id_, target, version))
        for id_, tally in found.tallies.items()
    }
    # What is known comes last: it is not to take the time of what is new.
    in_turn = sorted(outcomes, key=lambda id_: (outcomes[id_][0] == KNOWN, id_))
    results = [explained(found.tallies[id_], outcomes[id_], target, plan, session, sessions) for id_ in in_turn]
    results = _with_causes(sorted(results, key=lambda record: record.requirement), conclusion)
    return Concluded(target, results, time.perf_counter() - started, peak_memory_mib())


def _with_causes(results: list[Result], conclusion: Conclusion) -> list[Result]:
    """The results with the likely causes of those that fail."""
    failing = [result.requirement for result in results if result.outcome == "fail"]
    if not failing:
        return results
    kept = conclusion.survey.keeper.kept
    causes = {id_: cause.text for id_, cause in diagnose(kept, DIAGNOSIS).items()}
    left = [id_ for id_ in failing if id_ not in causes]
    causes = {**diagnose_grades(kept, conclusion.accuracy, left), **causes}
    return [
        msgspec.structs.replace(r, cause=causes[r.requirement])
        if r.outcome == "fail" and r.requirement in causes
        else r
        for r in results
    ]


def unexplained(conclusion: Conclusion, plan: Plan) -> list[Result]:
    """The records of what was surveyed so far, where no implementation is at hand to explain failures."""
    found, name, who = conclusion.survey, conclusion.target.name, conclusion.description
    capabilities, version = (who.capabilities, who.version) if who else (Capabilities(), "")
    results = []
    for id_ in sorted(found.tallies):
        came_to = outcome(
            found.tallies[id_], found, capabilities, find_for(plan.known, id_, conclusion.target, version)
        )
        results.append(result(found.tallies[id_], name, came_to, [], None, 0.0))
    return results


def _final(unit: Unit, plan: Plan, session: Session) -> frozenset[str]:
    """The requirements whose failure ends the unit: with ``--fail-fast`` all that are not known to fail."""
    if not plan.fail_fast:
        return frozenset()
    target, version = unit.target, session.description.version
    return frozenset(id_ for id_ in plan.requirements if find_for(plan.known, id_, target, version) is None)


def _at_most(cases: int, progress: Progress) -> Progress:
    """Tell of the shared cases only: they are what the whole run counts by."""
    left = iter(range(cases))

    def tell(done: int) -> None:
        if next(left, None) is not None:
            progress(done)

    return tell


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


def declared_conventions(found: set[Conventions]) -> dict[str, list[str]]:
    """Each convention with the values that were declared over the specs of the run."""
    return {
        name: sorted({_printed(getattr(c, name)) or "that of the input" for c in found}) for name in Conventions._fields
    }


class Observed(NamedTuple):
    """Each convention with what was seen of it over the specs of a run, and those that contradict a declaration."""

    seen: dict[str, list[str]]
    contradicted: list[str]


def observed_conventions(found: Survey) -> Observed:
    """What the requirements of family 8 have seen."""
    seen: dict[str, set[str]] = {}
    for tally in found.tallies.values():
        for name, values in tally.observed.items():
            seen.setdefault(name, set()).update(values)
    if len(seen.get("epsilon_floor", ())) > 1:
        # A floor shows at small epsilons alone.
        seen["epsilon_floor"].discard("none")
    contradicted = {name for tally in found.tallies.values() if tally.failing for name in tally.observed}
    return Observed({name: sorted(values) for name, values in sorted(seen.items())}, sorted(contradicted))
