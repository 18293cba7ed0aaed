"""Runs the scenarios on implementations, and writes what has been found at once: an interruption costs none of it."""

import datetime as dt
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from conformance._header import environment, suite_version
from conformance.interruption import Interrupted, Interruptible
from conformance.introduction import meet
from conformance.known_failures import KnownFailure
from conformance.runner import prepare
from conformance.scenarios.data import Samples
from conformance.scenarios.judging import bare, catalogue, drawn, judged, shown
from conformance.scenarios.lab import EFFORTS, Known, Lab
from conformance.session import DEFAULT_TIMEOUTS, Session, SessionError
from conformance.targets import Target
from conformance.unit import declared
from reports import scenario_records, store
from reports.records import Footer, Header, Implementation, Result, Results
from reports.scenario_records import Figure, Figures
from reports.verdict import exit_code

Tell = Callable[[str, int], None]


class Request(NamedTuple):
    """What is to be run, and how."""

    targets: tuple[Target, ...]
    samples: Samples
    profile: str
    path: tuple[str, ...] = ()
    in_process: bool = False
    known: tuple[KnownFailure, ...] = ()


class Found(NamedTuple):
    """Results in the suite's own schema, figures, and the files that they were written to."""

    results: Results
    figures: Figures
    results_file: Path
    figures_file: Path


def count(profile: str) -> int:
    """The number of scenarios and demonstrations of one implementation."""
    return len(catalogue()) + len(shown(profile))


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


def run(request: Request, out: Path, tell: Tell) -> Found:
    """Run all scenarios on all implementations; ``tell`` is told what is being done, and how much is done since.

    A run that is interrupted leaves its results and figures so far, marked incomplete.
    """
    path, figures_path = prepare(out), out / scenario_records.FILE_NAME
    with Interruptible() as interruptible, store.Writer(path) as writer:
        writer.write(header(request))
        under_way = _Run(request, writer, interruptible, tell)
        reason = ""
        try:
            under_way.run()
        except Interrupted as interruption:
            reason = f"interrupted by {interruption}"
        figures = Figures(data=request.samples.name, figures=under_way.figures)
        scenario_records.write(figures, figures_path)
        writer.write(under_way.footer(reason))
    return Found(store.read(path), figures, path, figures_path)


class _Run:
    """A run under way: what it has found, and what that took."""

    def __init__(self, request: Request, writer: store.Writer, interruptible: Interruptible, tell: Tell) -> None:
        self.figures: list[Figure] = []
        self._request = request
        self._writer = writer
        self._interruptible = interruptible
        self._tell = tell
        self._shared = Known()
        self._results: list[Result] = []
        self._spent: dict[str, dict[str, float]] = {}
        self._started = time.perf_counter()

    def run(self) -> None:
        """Take one implementation after the other."""
        for target in self._request.targets:
            self._implementation(target)

    def _write(self, line: Result | Implementation) -> None:
        with self._interruptible.shield():
            self._writer.write(line)
            if isinstance(line, Result):
                self._results.append(line)

    def _implementation(self, target: Target) -> None:
        request = self._request
        self._tell(f"{target.name}: starting", 0)
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
            self._tell(f"{target.name}: no run", count(request.profile))
            self._none(target, str(error).split("\n", maxsplit=1)[0])
            return
        times = self._spent[target.name] = {"seconds_import": time.perf_counter() - begin}
        with session:
            self._write(_described(target, session))
            lab = Lab(session, request.samples, EFFORTS[request.profile], self._shared)
            try:
                self._scenarios(target, lab)
            finally:
                times |= {"seconds": time.perf_counter() - begin, "seconds_framework": lab.seconds, "steps": lab.steps}

    def _none(self, target: Target, reason: str) -> None:
        self._write(Implementation(name=target.name, no_run=reason))
        for scenario in catalogue():
            self._write(bare(scenario, target, "no run", reason))

    def _scenarios(self, target: Target, lab: Lab) -> None:
        for each in catalogue():
            self._tell(f"{target.name}: {each.info.id} {each.info.name}", 0)
            self._write(judged(each, target, lab, self._request.known))
            self._tell("", 1)
        for picture in shown(self._request.profile):
            self._tell(f"{target.name}: {picture.name}", 0)
            self.figures += drawn(picture, target, lab)
            self._tell("", 1)

    def footer(self, reason: str) -> Footer:
        """The last line; a reason is why the run ended before it was done."""
        seconds = time.perf_counter() - self._started
        framework, importing, steps = [
            sum(times.get(key, 0.0) for times in self._spent.values())
            for key in ("seconds_framework", "seconds_import", "steps")
        ]
        return Footer(
            complete=not reason,
            reason=reason,
            exit_code=exit_code((result.outcome for result in self._results), complete=not reason),
            seconds_total=seconds,
            seconds_framework=framework,
            seconds_import=importing,
            seconds_drawing=0.0,
            seconds_judging=max(seconds - framework - importing, 0.0),
            seconds_explaining=0.0,
            seconds_other=0.0,
            cases=len(self._results),
            steps=int(steps),
            checks=sum(result.examples.total for result in self._results),
            workers=1,
            peak_memory_mib=0.0,
            by_implementation=self._spent,
        )


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
