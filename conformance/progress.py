"""Shows how far a run is: a bar with counts and time left on a terminal, plain lines elsewhere; and its summary."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from conformance.runner import Event
from conformance.strategies import FAMILIES
from conformance.unit import Finished
from reports.records import Results
from reports.verdict import Verdict

Tell = Callable[[Event], None]


@contextlib.contextmanager
def watch() -> Iterator[Tell]:
    """Yield what a run tells its events to."""
    if not sys.stderr.isatty():
        yield _plain()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cases"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Running", total=None)

        def tell(event: Event) -> None:
            if event.cases_in_all:
                bar.update(task, total=event.cases_in_all)
            bar.advance(task, event.cases_done)
            if event.finished is not None:
                bar.update(task, description=_name(event.finished))
                bar.console.print(_line(event.finished), highlight=False, markup=False)

        yield tell


def _plain() -> Tell:
    started = time.perf_counter()

    def tell(event: Event) -> None:
        if event.finished is not None:
            print(f"{time.perf_counter() - started:6.1f} s  {_line(event.finished)}", file=sys.stderr, flush=True)

    return tell


def _name(done: Finished) -> str:
    return f"{done.unit.target.name}, {FAMILIES[done.unit.family].title.lower()}"


def _line(done: Finished) -> str:
    """One line on a unit: how many requirements came to what."""
    if done.no_run:
        return f"{_name(done)}: no run, {done.no_run.splitlines()[0]}"
    counts = Counter(result.outcome for result in done.results)
    return f"{_name(done)}: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))


def summary(results: Results, found: Verdict) -> list[str]:
    """The end of a run in words: what failed and why, the verdict, and where the time went."""
    lines = []
    shown = ("fail", "crash", "timeout", "error", "stale known failure", "mistrusted")
    for result in results.results:
        if result.outcome in shown:
            lines.append(f"{result.outcome:>10}  {result.requirement} {result.implementation}: {result.reason}")
    lines += [f"{'no run':>10}  {who.name}: {who.no_run}" for who in results.header.implementations if who.no_run]
    lines += ["", found.sentence, found.say]
    return lines + _accounting(results)


def _accounting(results: Results) -> list[str]:
    footer = results.footer
    if footer is None:
        return []
    harness = footer.seconds_judging + footer.seconds_other + footer.seconds_drawing
    rate = footer.checks / harness if harness > 0 else 0.0
    return [
        "",
        f"{footer.cases} cases, {footer.steps} steps, {footer.checks} requirement checks in "
        f"{footer.seconds_total:.1f} s with {footer.workers} worker{'s' if footer.workers > 1 else ''}; "
        f"{rate:.0f} checks per second of the suite's own time; peak memory {footer.peak_memory_mib:.0f} MiB.",
        f"Seconds: {footer.seconds_framework:.1f} in frameworks, {footer.seconds_import:.1f} importing them, "
        f"{footer.seconds_drawing:.1f} drawing cases, {footer.seconds_judging:.1f} in oracle and bounds, "
        f"{footer.seconds_explaining:.1f} explaining, {footer.seconds_other:.1f} other.",
    ]
