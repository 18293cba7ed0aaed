"""A whole run: draws the cases, runs the units, writes results as they come, and accounts for the time it took."""

import contextlib
import datetime
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from conformance import pool as pools
from conformance.agreement import Sample, agreements
from conformance.plan import Plan, Target
from conformance.pool import Pool
from conformance.requirements import CATALOGUE
from conformance.strategies import FAMILIES
from conformance.survey import Accounts
from conformance.unit import Finished, Unit, declared, observed_conventions
from conformance.workers import WorkerError, run_all
from reports.records import Footer, Header, Implementation, RequirementInfo, Results
from reports.store import Writer, read
from reports.verdict import exit_code, verdict

FILE_NAME = "results.jsonl.gz"
Tell = Callable[["Event"], None]


class Interrupted(BaseException):
    """The run was asked to end: Ctrl-C or a signal."""


@dataclass(frozen=True)
class Event:
    """What a run tells whoever watches it: its size at the start, cases done, units finished."""

    cases_done: int = 0
    cases_in_all: int = 0
    finished: Finished | None = None
    #: Cases that the pools of a finished unit held.
    unit_cases: int = 0


@dataclass
class _Books:
    """The run's own accounting."""

    started: float = field(default_factory=time.perf_counter)
    drawing: float = 0.0
    accounts: dict[str, Accounts] = field(default_factory=dict)
    imports: dict[str, float] = field(default_factory=dict)
    explaining: float = 0.0
    memory_mib: float = 0.0
    outcomes: list[str] = field(default_factory=list)

    def add(self, done: Finished) -> None:
        name = done.unit.target.name
        self.accounts.setdefault(name, Accounts()).add(done.accounts)
        self.imports[name] = self.imports.get(name, 0.0) + done.seconds_import
        self.explaining += done.seconds_explaining
        self.memory_mib = max(self.memory_mib, done.memory_mib)

    def footer(self, complete: bool, reason: str, code: int, workers: int) -> Footer:
        total = Accounts()
        for accounts in self.accounts.values():
            total.add(accounts)
        seconds = time.perf_counter() - self.started
        imports = sum(self.imports.values())
        spent = total.framework + total.judging + imports + self.drawing + self.explaining
        return Footer(
            complete=complete,
            reason=reason,
            exit_code=code,
            seconds_total=round(seconds, 3),
            seconds_framework=round(total.framework, 3),
            seconds_import=round(imports, 3),
            seconds_drawing=round(self.drawing, 3),
            seconds_judging=round(total.judging, 3),
            seconds_explaining=round(self.explaining, 3),
            seconds_other=round(max(seconds * workers - spent, 0.0), 3),
            cases=total.cases,
            steps=total.steps,
            checks=total.checks,
            workers=workers,
            peak_memory_mib=self.memory_mib,
            by_implementation={name: _shares(a, self.imports[name]) for name, a in self.accounts.items()},
        )


def _shares(accounts: Accounts, seconds_import: float) -> dict[str, float]:
    return {
        "seconds_framework": round(accounts.framework, 3),
        "seconds_import": round(seconds_import, 3),
        "seconds_judging": round(accounts.judging, 3),
        "seconds_other": round(accounts.other, 3),
        "cases": float(accounts.cases),
        "steps": float(accounts.steps),
        "checks": float(accounts.checks),
    }


def draw_pools(requirements: tuple[str, ...], seed: int, cases: int) -> tuple[dict[int, Pool], float]:
    """Draw the cases of every family that has a requirement in the run; the seconds it took too."""
    started = time.perf_counter()
    families = sorted({CATALOGUE[id_].family for id_ in requirements})
    drawn = {family: pools.draw(family, seed, cases) for family in families}
    return drawn, time.perf_counter() - started


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into Interrupted while inside."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def prepare(out: Path) -> Path:
    """Make the output folder ready and keep an earlier run's results beside the new ones; the new file's path."""
    path = out / FILE_NAME
    if path.exists():
        stamp = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).strftime("%Y%m%dT%H%M%S")
        path.rename(out / f"results-{stamp}.jsonl.gz")
    return path


def run(plan: Plan, header: Header, seconds_drawing: float, workers: int, tell: Tell) -> Results:
    """Run the plan and return its results, which have been written to ``plan.out`` line by line.

    An interruption, or a failure of the suite's own code, leaves a results file that is marked incomplete.
    """
    path = prepare(plan.out)
    books = _Books(drawing=seconds_drawing)
    units = [Unit(target, family) for target in plan.targets for family in plan.pools]
    reason = ""
    with Writer(path) as writer:
        writer.write(header)
        pools.store(list(plan.pools.values()), plan.out / "cases.json")
        try:
            with _interruptible():
                _run_units(units, plan, workers, writer, books, tell)
        except Interrupted as interruption:
            reason = f"interrupted by {interruption}"
        except WorkerError as error:
            reason = str(error)
        code = exit_code(books.outcomes, complete=not reason)  # type: ignore[arg-type]
        writer.write(books.footer(not reason, reason, code, max(1, min(workers, len(units)))))
    return read(path)


def _run_units(units: list[Unit], plan: Plan, workers: int, writer: Writer, books: _Books, tell: Tell) -> None:
    samples: dict[str, list[Sample]] = {target.name: [] for target in plan.targets}
    conventions: dict[str, set[object]] = {}
    sizes = {family: len(pool.cases) for family, pool in plan.pools.items()}
    tell(Event(cases_in_all=sum(sizes[unit.family] for unit in units)))
    for message in run_all(units, plan, workers, lambda n: tell(Event(cases_done=n))):
        if isinstance(message, float):
            books.memory_mib = max(books.memory_mib, message)
            continue
        name = message.unit.target.name
        books.add(message)
        samples[name] += message.samples
        conventions.setdefault(name, set()).update(message.conventions)
        writer.write(_implementation(message, conventions[name]))  # type: ignore[arg-type]
        for result in message.results:
            books.outcomes.append(result.outcome)
            writer.write(result)
        tell(Event(finished=message, unit_cases=sizes[message.unit.family]))
        if plan.fail_fast and exit_code([r.outcome for r in message.results], complete=True) == 1:
            raise Interrupted("--fail-fast")
    for agreement in agreements(samples):
        writer.write(agreement)


def _implementation(done: Finished, conventions: set[object]) -> Implementation:
    who = done.description
    if who is None:
        return Implementation(name=done.unit.target.name, no_run=done.no_run)
    details = dict(done.details)
    return Implementation(
        name=done.unit.target.name,
        framework=who.framework,
        version=who.version,
        device=who.device,
        python=details.pop("python", ""),
        details=details,
        notes=list(who.notes),
        capabilities=declared(who.capabilities),
        conventions=observed_conventions(conventions),  # type: ignore[arg-type]
    )


def header(
    targets: tuple[Target, ...], requirements: tuple[str, ...], profile: str, seed: int, cases: int
) -> Header:
    """The header of a run that starts now."""
    now = datetime.datetime.now(datetime.UTC)
    return Header(
        run=f"{now:%Y%m%dT%H%M%SZ}-{seed}",
        started=now.isoformat(timespec="seconds"),
        suite_version=_version("bn-conformance"),
        profile=profile,
        seed=seed,
        cases_per_family=cases,
        environment=environment(),
        implementations=[Implementation(name=target.name) for target in targets],
        requirements=[_info(id_) for id_ in requirements],
        command=" ".join(["bn-conformance", *sys.argv[1:]]),
    )


def _info(id_: str) -> RequirementInfo:
    requirement = CATALOGUE[id_]
    return RequirementInfo(
        id=id_,
        name=requirement.name,
        claim=requirement.claim,
        source=requirement.source,
        revision=requirement.revision,
        family=f"{requirement.family}xx",
        family_title=FAMILIES[requirement.family].title,
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def environment() -> dict[str, str]:
    """What of this machine and of the suite's own dependencies matters to a result."""
    return {
        "Machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "NumPy": _version("numpy"),
        "Hypothesis": _version("hypothesis"),
    }


__all__ = ["Event", "Interrupted", "draw_pools", "header", "run", "verdict"]
