"""Runs the scenarios on implementations and gathers results and figures."""

import datetime as dt
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from conformance._header import environment, suite_version
from conformance.introduction import meet
from conformance.scenarios import demonstrations, evaluation, pictures, trajectories, traps
from conformance.scenarios.catalogue import DEMONSTRATIONS, SCENARIOS, Demonstration, Evidence, Scenario
from conformance.scenarios.data import Samples
from conformance.scenarios.lab import EFFORTS, BrokenError, Known, Lab
from conformance.session import DEFAULT_TIMEOUTS, Session, SessionError
from conformance.targets import Target
from conformance.unit import declared
from reports.records import (
    Examples,
    Footer,
    Header,
    Histogram,
    Implementation,
    Outcome,
    Result,
    Results,
    number,
)
from reports.scenario_records import Figure, Figures
from reports.verdict import exit_code

#: The modules whose import fills the catalogue.
FILLED_BY = (trajectories, evaluation, traps, demonstrations, pictures)
_OUTCOMES: dict[str, Outcome] = {"unsupported": "unsupported", "crash": "crash", "timeout": "timeout"}
Tell = Callable[[str, int], None]


class Request(NamedTuple):
    """What is to be run, and how."""

    targets: tuple[Target, ...]
    samples: Samples
    profile: str
    path: tuple[str, ...] = ()
    in_process: bool = False


class Found(NamedTuple):
    """Results in the suite's own schema, and figures."""

    results: Results
    figures: Figures


def catalogue() -> list[Scenario]:
    """All scenarios, by their ids."""
    return [scenario for _, scenario in sorted(SCENARIOS.items())]


def shown(profile: str) -> list[Demonstration]:
    """The demonstrations of a profile."""
    return [each for each in DEMONSTRATIONS.values() if each.quick or profile != "quick"]


def count(profile: str) -> int:
    """The number of scenarios and demonstrations of one implementation."""
    return len(SCENARIOS) + len(shown(profile))


def header(request: Request) -> Header:
    """The header of a run that starts now."""
    now = dt.datetime.now(dt.UTC)
    return Header(
        run=f"{now:%Y%m%dT%H%M%SZ}-scenarios",
        started=now.isoformat(timespec="seconds"),
        suite_version=suite_version(),
        profile=request.profile,
        seed=1,
        cases_per_family=0,
        environment={**environment(), "Samples": request.samples.name},
        implementations=[Implementation(name=target.name) for target in request.targets],
        requirements=[s.info for s in catalogue()],
        command=shlex.join(["bn-conformance", *sys.argv[1:]]),
    )


def run(request: Request, tell: Tell) -> Found:
    """Run all scenarios on all implementations; ``tell`` is told what is being done, and how much is done since."""
    started = time.perf_counter()
    head = header(request)
    known: list[Implementation] = []
    results: list[Result] = []
    figures: list[Figure] = []
    spent: dict[str, dict[str, float]] = {}
    shared = Known()
    for target in request.targets:
        who, of_it, drawn, times = _implementation(target, request, shared, tell)
        known.append(who)
        results += of_it
        figures += drawn
        spent[target.name] = times
    footer = _footer(results, spent, time.perf_counter() - started)
    whole = msgspec.structs.replace(head, implementations=known)
    found = Results(header=whole, results=results, agreements=[], footer=footer)
    return Found(found, Figures(data=request.samples.name, figures=figures))


def _implementation(
    target: Target, request: Request, shared: Known, tell: Tell
) -> tuple[Implementation, list[Result], list[Figure], dict[str, float]]:
    tell(f"{target.name}: starting", 0)
    begin = time.perf_counter()
    try:
        session = meet(
            target,
            path=request.path,
            in_process=request.in_process,
            timeouts=DEFAULT_TIMEOUTS,
            threads=1,
            say=lambda _: None,
        )
    except SessionError as error:
        tell(f"{target.name}: no run", count(request.profile))
        reason = str(error).split("\n", maxsplit=1)[0]
        silent = [_result(s, target, "no run", reason=reason) for s in catalogue()]
        return Implementation(name=target.name, no_run=reason), silent, [], {}
    importing = time.perf_counter() - begin
    with session:
        lab = Lab(session, request.samples, EFFORTS[request.profile], shared)
        results = []
        for each in catalogue():
            tell(f"{target.name}: {each.info.id} {each.info.name}", 0)
            results.append(judged(each, target, lab))
            tell("", 1)
        figures = []
        for picture in shown(request.profile):
            tell(f"{target.name}: {picture.name}", 0)
            figures += drawn(picture, target, lab)
            tell("", 1)
        who = _described(target, session)
    seconds = time.perf_counter() - begin
    times = {"seconds": seconds, "seconds_import": importing, "seconds_framework": lab.seconds, "steps": lab.steps}
    return who, results, figures, times


def _described(target: Target, session: Session) -> Implementation:
    who, details = session.description, dict(session.details)
    return Implementation(
        name=target.name,
        target=target.target,
        framework=who.framework,
        version=who.version,
        device=who.device,
        python=details.pop("python", ""),
        details=details,
        notes=list(who.notes),
        capabilities=declared(who.capabilities),
    )


def judged(each: Scenario, target: Target, lab: Lab) -> Result:
    """Run a scenario and judge it."""
    begin = time.perf_counter()
    try:
        found = each.run(lab)
    except BrokenError as error:
        kind = error.failure.kind
        outcome = _OUTCOMES.get(kind, "error")
        reason = f"{error.failure.method}: {error.failure.message}"
        result = _result(each, target, outcome, reason=reason, stderr=list(error.failure.stderr))
    else:
        result = _concluded(each, target, found)
    return msgspec.structs.replace(result, seconds=round(time.perf_counter() - begin, 3))


def _result(each: Scenario, target: Target, outcome: Outcome, reason: str, stderr: list[str] | None = None) -> Result:
    return Result(
        requirement=each.info.id,
        revision=each.info.revision,
        implementation=target.name,
        outcome=outcome,
        reason=reason,
        stderr=stderr or [],
    )


def _concluded(each: Scenario, target: Target, found: list[Evidence]) -> Result:
    """A failing example fails the requirement; without evidence a pass is mistrusted."""
    ratios = [e.ratio for e in found]
    failing = sum(not ratio <= 1 for ratio in ratios)
    evidence = sum(e.evidence for e in found)
    worst = max(found, key=lambda e: e.ratio)
    proven = [e.proven for e in found if e.proven is not None]
    outcome: Outcome = "fail" if failing else "pass" if evidence else "mistrusted"
    reason = worst.message if failing else "" if evidence else "no bound was tight enough to show a fault"
    return Result(
        requirement=each.info.id,
        revision=each.info.revision,
        implementation=target.name,
        outcome=outcome,
        reason=reason,
        worst_ratio=number(worst.ratio),
        decided_by=each.decided_by,
        proven_ratio=number(max(proven)) if proven else None,
        examples=Examples(total=len(found), passed=len(found) - failing, failing=failing, evidence=evidence),
        histogram=_histogram(ratios),
    )


def _histogram(ratios: list[float]) -> Histogram:
    finite = [ratio for ratio in ratios if 0 < ratio < np.inf]
    low = -32
    places = Counter(min(max(int(np.floor(np.log2(ratio))), low), 40) for ratio in finite)
    counts = [places[k] for k in range(low, max(places, default=low) + 1)] if places else []
    exact = sum(ratio == 0 for ratio in ratios)
    return Histogram(low=low, counts=counts, exact=exact, nonfinite=len(ratios) - len(finite) - exact)


def drawn(each: Demonstration, target: Target, lab: Lab) -> list[Figure]:
    """The figures of a demonstration; one that cannot be made says why."""
    try:
        found = each.run(lab)
    except BrokenError as error:
        why = f"{error.failure.kind}: {error.failure.message}"
        found = [Figure(name=each.name.replace(" ", "-"), title=each.name.capitalize(), caption=f"Not shown, {why}")]
    return [msgspec.structs.replace(figure, implementation=target.name) for figure in found]


def _footer(results: list[Result], spent: dict[str, dict[str, float]], seconds: float) -> Footer:
    framework = sum(times.get("seconds_framework", 0.0) for times in spent.values())
    importing = sum(times.get("seconds_import", 0.0) for times in spent.values())
    return Footer(
        complete=True,
        exit_code=exit_code((result.outcome for result in results), complete=True),
        seconds_total=seconds,
        seconds_framework=framework,
        seconds_import=importing,
        seconds_drawing=0.0,
        seconds_judging=max(seconds - framework - importing, 0.0),
        seconds_explaining=0.0,
        seconds_other=0.0,
        cases=len(results),
        steps=int(sum(times.get("steps", 0.0) for times in spent.values())),
        checks=sum(result.examples.total for result in results),
        workers=1,
        peak_memory_mib=0.0,
        by_implementation=spent,
    )


def write(found: Found, folder: Path) -> tuple[Path, Path]:
    """Write results and figures into a folder; return their files."""
    from reports import scenario_records, store

    results, figures = folder / "results.jsonl.gz", folder / scenario_records.FILE_NAME
    store.write(results, found.results)
    scenario_records.write(found.figures, figures)
    return results, figures


def summary(results: Results) -> list[str]:
    """What did not pass, one line each, and the seconds of each implementation."""
    lines = [
        f"{r.outcome:12} {r.requirement}  {r.implementation}  {r.reason}"
        for r in results.results
        if r.outcome != "pass"
    ]
    spent = results.footer.by_implementation if results.footer else {}
    times = [f"{name}: {seconds['seconds']:.1f} s" for name, seconds in spent.items() if seconds]
    return [*lines, *([""] if lines else []), *times]
