"""Shows how far a run is: a bar with counts and time left on a terminal, plain lines elsewhere; and its summary."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from conformance._tasks import Done
from conformance.families import FAMILIES
from conformance.runner import Event
from conformance.unit import Concluded
from reports._format import count
from reports.records import Result, Results
from reports.verdict import Verdict

Tell = Callable[[Event], None]
#: Characters of a reason while the run goes on; the summary has all of it.
_SHOWN = 160
#: Outcomes that the summary lists one by one.
_LISTED = ("fail", "crash", "timeout", "error", "stale known failure", "mistrusted")


@contextlib.contextmanager
def watch() -> Iterator[Tell]:
    """Yield what a run tells its events to."""
    if not sys.stderr.isatty():
        yield _plain()
        return
    line_of = _lines()
    # Imported here since only a terminal needs it, and it takes its time.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cases"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(event: Event) -> None:
            if event.said:
                bar.console.print(event.said, highlight=False, markup=False)
            if event.doing:
                bar.update(task, description=event.doing, total=event.cases_in_all or None)
            bar.advance(task, event.cases_done)
            if event.done is not None:
                bar.update(task, description=_name(event.done))
                if line := line_of(event.done):
                    bar.console.print(line, highlight=False, markup=False)

        yield tell


def _plain() -> Tell:
    started, line_of = time.perf_counter(), _lines()

    def tell(event: Event) -> None:
        line = event.said or event.doing or (line_of(event.done) if event.done is not None else "")
        # Whoever read the progress may have gone: the run goes on.
        with contextlib.suppress(BrokenPipeError):
            if line:
                print(f"{time.perf_counter() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

    return tell


def _name(done: Done) -> str:
    if isinstance(done, Concluded):
        return done.target.name
    return f"{done.unit.target.name}, {FAMILIES[done.unit.family].title.lower()}"


def _lines() -> Callable[[Done], str]:
    """What makes a line of a unit; why an implementation is not run is said once, not for every family."""
    told: set[tuple[str, str]] = set()

    def line_of(done: Done) -> str:
        if not isinstance(done, Concluded) and done.no_run:
            why = done.unit.target.name, done.no_run
            if why in told:
                return ""
            told.add(why)
        return _line(done)

    return line_of


def _line(done: Done) -> str:
    """One line on a unit: how many requirements failed; on an implementation: how many came to what."""
    if isinstance(done, Concluded):
        counts = Counter(result.outcome for result in done.results)
        return f"{_name(done)}: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
    if done.no_run:
        return f"{_name(done)}: no run, {_first_line(done.no_run)[:_SHOWN]}"
    failing = sum(1 for tally in done.survey.tallies.values() if tally.failing or tally.broken)
    found = f"{count(failing, 'requirement')} {'fails' if failing == 1 else 'fail'}" if failing else "nothing fails"
    return f"{_name(done)}: {done.survey.accounts.checks} checks, {found}"


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def summary(results: Results, found: Verdict, *, whole: bool = False) -> list[str]:
    """The end of a run in words: what failed and why, the verdict, and where the time went.

    ``whole`` shows tracebacks and last words too, where a reason has them.
    """
    rows = [_row(result) for result in results.results if result.outcome in _LISTED]
    rows += _not_run(results, whole)
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    lines = []
    for *cells, reason in rows:
        aligned = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{aligned}  {reason}".rstrip())
    replays = [c.command for r in results.results if r.outcome in _LISTED for c in r.counterexamples[:1]]
    if replays:
        lines += ["", f"The first of these again: {replays[0]}"]
    causes = _causes(results)
    return [*lines, *([""] if lines else []), *causes, found.sentence, found.say, *_accounting(results)]


def _causes(results: Results) -> list[str]:
    """The likely causes of each implementation, where there are more than the verdict names."""
    causes = Counter((r.implementation, r.cause) for r in results.results if r.outcome == "fail" and r.cause)
    if len(causes) < 2:
        return []
    fails = Counter(r.implementation for r in results.results if r.outcome == "fail")
    lines = [
        f"  {name}: {cause} ({number} of {fails[name]} failures)" for (name, cause), number in causes.most_common()
    ]
    return ["Likely causes:", *lines, ""]


def _row(result: Result) -> tuple[str, str, str, str]:
    return result.outcome, result.requirement, result.implementation, _first_line(result.reason)


def _not_run(results: Results, whole: bool) -> list[tuple[str, str, str, str]]:
    """What was not run, one row for each reason and not one for each requirement."""
    why = Counter((r.implementation, r.reason) for r in results.results if r.outcome == "no run")
    return [
        ("no run", f"{count} of {len(results.header.requirements)}", name, reason if whole else _first_line(reason))
        for (name, reason), count in why.items()
    ]


def _accounting(results: Results) -> list[str]:
    footer = results.footer
    if footer is None:
        return []
    harness = footer.seconds_judging + footer.seconds_other + footer.seconds_drawing
    rate = footer.checks / harness if harness > 0 else 0.0
    work = (
        f"{footer.cases} cases, {footer.steps} steps, {footer.checks} requirement checks in "
        f"{footer.seconds_total:.1f} s with {footer.workers} worker{'s' if footer.workers > 1 else ''}; "
        f"{rate:.0f} checks per second of the suite's own time; peak memory {footer.peak_memory_mib:.0f} MiB."
    )
    time_spent = (
        f"Seconds: {footer.seconds_framework:.1f} in frameworks, {footer.seconds_import:.1f} importing them, "
        f"{footer.seconds_drawing:.1f} drawing cases, {footer.seconds_judging:.1f} in oracle and bounds, "
        f"{footer.seconds_explaining:.1f} explaining, {footer.seconds_other:.1f} other."
    )
    return ["", work, time_spent]
