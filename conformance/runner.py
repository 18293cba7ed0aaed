"""A whole run: draws the cases, runs the units, writes results as they come, and accounts for the time it took."""

import contextlib
import datetime as dt
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adapters.interface import Conventions
from conformance import kept
from conformance import pool as pools
from conformance._header import header, implementation
from conformance._tasks import Done
from conformance.agreement import Sample, agreements
from conformance.families import FAMILIES, in_turn
from conformance.grading import Measured
from conformance.interruption import Interrupted, Interruptible
from conformance.introduction import is_stranger
from conformance.plan import Plan
from conformance.pool import Larder
from conformance.session import SessionError
from conformance.sessions import Sessions
from conformance.tally import Accounts, Survey
from conformance.unit import (
    Concluded,
    Conclusion,
    Observed,
    Surveyed,
    Unit,
    observed_conventions,
    unexplained,
)
from conformance.workers import Crew, Place, run_all
from reports.records import Footer, Header, Line, Outcome, Results
from reports.settling_record import Settling
from reports.store import Writer, read
from reports.verdict import exit_code

__all__ = ["FILE_NAME", "Event", "header", "prepare", "run"]

FILE_NAME = "results.jsonl.gz"
Tell = Callable[["Event"], None]


@dataclass(frozen=True)
class Event:
    """What a run tells whoever watches it: what it is about to do, its size, cases done, units finished."""

    doing: str = ""
    #: Something that was found out.
    said: str = ""
    cases_in_all: int = 0
    cases_done: int = 0
    done: Done | None = None


@dataclass
class _Books:
    """The run's own accounting."""

    started: float = field(default_factory=time.perf_counter)
    drawing: float = 0.0
    accounts: dict[str, Accounts] = field(default_factory=dict)
    imports: dict[str, float] = field(default_factory=dict)
    explaining: float = 0.0
    memory_mib: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, done: Done) -> None:
        self.memory_mib = max(self.memory_mib, done.memory_mib)
        if isinstance(done, Concluded):
            self.explaining += done.seconds_explaining
            self.outcomes += [result.outcome for result in done.results]
            return
        name = done.unit.target.name
        self.accounts.setdefault(name, Accounts()).add(done.survey.accounts)
        self.imports[name] = self.imports.get(name, 0.0) + done.seconds_import

    def footer(self, reason: str, workers: int) -> Footer:
        """The last line; a reason is why the run ended before it was done."""
        total = Accounts()
        for accounts in self.accounts.values():
            total.add(accounts)
        seconds = time.perf_counter() - self.started
        imports = sum(self.imports.values())
        drawing = self.drawing + total.drawing
        spent = total.framework + total.judging + imports + drawing + self.explaining
        return Footer(
            complete=not reason,
            reason=reason,
            exit_code=exit_code(self.outcomes, complete=not reason),
            seconds_total=round(seconds, 3),
            seconds_framework=round(total.framework, 3),
            seconds_import=round(imports, 3),
            seconds_drawing=round(drawing, 3),
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


def prepare(out: Path) -> Path:
    """Make the output folder ready and keep an earlier run's results beside the new ones; the new file's path."""
    path = out / FILE_NAME
    if path.exists():
        stamp = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC).strftime("%Y%m%dT%H%M%S")
        names = itertools.chain([f"results-{stamp}"], (f"results-{stamp}-{n}" for n in itertools.count(2)))
        path.rename(next(kept for name in names if not (kept := out / f"{name}.jsonl.gz").exists()))
    return path


class _Run:
    """A run under way."""

    def __init__(self, plan: Plan, writer: Writer, interruptible: Interruptible, tell: Tell) -> None:
        self._plan, self._writer, self._interruptible, self._tell = plan, writer, interruptible, tell
        self.books = _Books()
        #: Implementations that the first example has shown to be unusable.
        self._refused: set[str] = set()
        self._samples: dict[str, list[Sample]] = {target.name: [] for target in plan.targets}
        self._conventions: dict[str, set[Conventions]] = {target.name: set() for target in plan.targets}
        #: What was seen of them, once the family has run that measures them.
        self._observed: dict[str, Observed] = {}
        self._accuracy: dict[str, tuple[Measured, ...]] = {}
        self._settling: dict[str, Settling | None] = {}
        #: Surveys of implementations that are not concluded, and the families that they are of.
        self._open: dict[str, Conclusion] = {}
        self._surveyed: dict[str, set[int]] = {target.name: set() for target in plan.targets}

    def _write(self, lines: Iterable[Line], done: Done | None = None) -> None:
        """Write all lines or none and count what they are of: an interruption waits."""
        with self._interruptible.shield():
            for line in lines:
                self._writer.write(line)
            if done is not None:
                self.books.add(done)

    def _say(self, name: str, line: str) -> None:
        self._tell(Event(said=f"{name}: {line}"))

    def greet(self, place: Place) -> None:
        """Meet what somebody else wrote before anything is drawn: whether it is plausible is known at once."""
        sessions = place if isinstance(place, Sessions) else Sessions(self._plan)
        for target in [target for target in self._plan.targets if is_stranger(target)]:
            self._tell(Event(doing=f"{target.name}: first example"))
            try:
                _, seconds = sessions.get(target, functools.partial(self._say, target.name))
            except SessionError as error:
                self._refused.add(target.name)
                self._tell(Event(said=str(error).split("\n", maxsplit=1)[0]))
                continue
            self.books.imports[target.name] = seconds
        if sessions is not place:
            sessions.close()

    def _units(self) -> list[Unit]:
        """What is to be run. Where the cases come in two helpings, a few telling ones of each family are first."""
        plan = self._plan
        if plan.further is None:
            return [Unit(target, family) for target in plan.targets for family in plan.families]
        parts = [(rest, family) for rest in (False, True) for family in in_turn(plan.families, rest=rest)]
        return [Unit(target, family, rest) for target in plan.targets for rest, family in parts]

    def draw(self, place: Place, seed: int, cases: int) -> None:
        """Draw the cases of every family of the plan and keep them beside the results.

        Where the first failure ends the run, most need not be drawn at all.
        """
        if self._plan.fail_fast and isinstance(place, Sessions):
            first, rest = (Larder(seed, cases, helping) for helping in ("first", "rest"))
            self._plan = self._plan._replace(pools=first, further=rest)
            return
        started = time.perf_counter()
        drawn = {}
        if self._refused >= {target.name for target in self._plan.targets}:
            drawn = {family: pools.Pool(family, seed, (), ()) for family in self._plan.families}
        for family in [family for family in self._plan.families if family not in drawn]:
            self._tell(Event(doing=f"drawing cases, {FAMILIES[family].title.lower()}"))
            drawn[family] = pools.draw(family, seed, FAMILIES[family].count(cases))
        if self._plan.kept is not None:
            drawn = kept.added(drawn, self._plan.kept, lambda text: self._tell(Event(said=text)))
        self._plan = self._plan._replace(pools=drawn)
        self.books.drawing = time.perf_counter() - started

    def keep_cases(self) -> None:
        """Write the cases that were drawn beside the results."""
        plan = self._plan
        pools.store([*plan.pools.values(), *(plan.further or {}).values()], plan.out / "cases.json")

    def run(self, place: Place, cases: int) -> None:
        """Run the units; each one's records are written as it finishes."""
        units = self._units()
        cases = len(self._plan.targets) * sum(FAMILIES[family].count(cases) for family in self._plan.families)
        self._tell(Event(doing=f"running {cases} cases", cases_in_all=cases))
        tell = self._tell
        for message in run_all(units, self._plan, place, lambda n: tell(Event(cases_done=n))):
            if isinstance(message, float):
                self.books.memory_mib = max(self.books.memory_mib, message)
            else:
                self._take(message)
        self._write(agreements(self._samples))

    def _take(self, done: Done) -> None:
        if isinstance(done, Surveyed):
            self._take_survey(done)
        else:
            self._open.pop(done.target.name, None)
            self._write(done.results, done)
        self._tell(Event(done=done))
        failed = isinstance(done, Concluded) and exit_code([r.outcome for r in done.results], complete=True) == 1
        if failed and self._plan.fail_fast:
            raise Interrupted("--fail-fast")

    def _take_survey(self, done: Surveyed) -> None:
        name = done.unit.target.name
        self._samples[name] += done.samples
        self._conventions[name] |= done.survey.conventions
        observed = observed_conventions(done.survey)
        if observed.seen:
            self._observed[name] = observed
        known = self._observed.get(name, Observed({}, []))
        self._accuracy[name] = done.accuracy or self._accuracy.get(name, ())
        self._settling[name] = done.settling or self._settling.get(name)
        line = implementation(done, self._conventions[name], known, self._accuracy[name], self._settling[name])
        self._write([line], done)
        held = self._open.setdefault(name, Conclusion(done.unit.target, Survey({})))
        held.take(done)
        self._surveyed[name].add(done.unit.family)

    def give_up(self, why: str) -> None:
        """Write what the surveys have found of implementations that will not be concluded."""
        for conclusion in self._open.values():
            missing = set(self._plan.families) - self._surveyed[conclusion.target.name]
            conclusion.survey.stopped |= dict.fromkeys(missing, why)
            results = unexplained(conclusion, self._plan)
            self._write(results)
            self.books.outcomes += [result.outcome for result in results]


@contextlib.contextmanager
def _place(plan: Plan, workers: int) -> Iterator[Place]:
    """Where the work is done. While the cases are drawn here, the first hosts start."""
    if workers > 1:
        crew = Crew(plan, workers)
        try:
            yield crew
        finally:
            crew.dismiss()
    else:
        sessions = Sessions(plan)
        sessions.prepare(plan.targets[0])
        try:
            yield sessions
        finally:
            sessions.close()


def run(plan: Plan, header: Header, workers: int, tell: Tell) -> Results:
    """Run the plan and return its results, which have been written to ``plan.out`` line by line.

    An interruption, or a failure of the suite's own code, leaves a results file that is marked incomplete.
    """
    path = prepare(plan.out)
    workers = max(1, min(workers, len(plan.targets) * len(plan.families)))
    with Interruptible() as interruptible, Writer(path) as writer:
        writer.write(header)
        under_way = _Run(plan, writer, interruptible, tell)
        reason = ""
        try:
            with _place(plan, workers) as place:
                under_way.greet(place)
                under_way.draw(place, header.seed, header.cases_per_family)
                under_way.run(place, header.cases_per_family)
        except Interrupted as interruption:
            reason = f"interrupted by {interruption}"
            under_way.give_up(f"the run was {reason}")
        under_way.keep_cases()
        writer.write(under_way.books.footer(reason, workers))
    return read(path)
