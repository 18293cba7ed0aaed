"""Runs a night: every environment with fresh seeds and the cases kept of earlier nights, then what changed since."""

import contextlib
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance import again, environments, kept
from conformance._console import make_writable
from conformance.environments import CURRENT, Environments
from conformance.targets import resolve
from reports import nightly, nightly_text
from reports._format import count
from reports.history import RUN_FILE, History
from reports.history_digest import Digest
from reports.nightly_changes import SHOWN, Night, night
from reports.store import ResultsError, read
from reports.summary import badge
from reports.verdict import verdict

#: Label of the environments whose packages are resolved anew every night.
LATEST = "latest"
#: Folders of the last night's runs and of what was run again, and that of the kept cases in the history.
RUNS, AGAIN, KEPT = "last-night", "last-night-again", "kept"
#: Seconds that a run which is told to stop may take to write what it has.
ENDING = 120.0
Say = Callable[[str], None]


class Order(NamedTuple):
    """What a night is to do."""

    history: Path
    out: Path
    #: Names of implementations by environment.
    work: dict[str, tuple[str, ...]]
    #: Options that are passed on to every run.
    options: tuple[str, ...]
    environments: Path | None = None
    cache: Path | None = None
    #: Minutes after which no further environment is started, and a run is told to stop; 0 is no limit.
    minutes: float = 0.0
    #: Nights that the history keeps; 0: all.
    nights: int = 0


def work(
    names: Sequence[str], chosen: Sequence[str], here: Sequence[str], listed: Environments
) -> dict[str, tuple[str, ...]]:
    """The names to run by environment: all that are listed and this interpreter, where none is chosen."""
    chosen = chosen or [CURRENT, *listed.names]
    found: dict[str, tuple[str, ...]] = dict.fromkeys(listed.expand(chosen), ())
    for name in environments.spread(names, chosen, here, listed):
        environment = resolve([name])[0].environment or CURRENT
        found[environment] = (*found[environment], name)
    return {environment: own for environment, own in found.items() if own}


def run_night(order: Order, say: Say) -> Night:
    """Run the environments one after another, add their results to the history, and write what there is to read.

    Raises:
        UsageError: a folder cannot be written.
        ResultsError: no environment left any results.
    """
    started = time.monotonic()
    runs = order.out / RUNS
    for earlier in (runs, order.out / AGAIN):
        shutil.rmtree(earlier, ignore_errors=True)
    for folder in (runs, order.history):
        make_writable(folder)
    history = History(order.history)
    past = list(history.digests(SHOWN))
    told: list[str] = []

    def tell(text: str) -> None:
        """Say what goes otherwise than planned now, and to those who read of the night."""
        say(text)
        told.append(f"{text}.")

    for environment, names in in_turn(order.work, history).items():
        clock = _Clock(started + order.minutes * 60 if order.minutes else None)
        if clock.left == 0:
            tell(f"{environment} was not run, the night was over")
            continue
        try:
            _run(order, environment, names, clock, say, tell)
            _confirm(order, environment, past, clock, tell)
        except KeyboardInterrupt:
            tell(f"{environment} was interrupted, and nothing was run after it")
            break
    files = [file for environment in order.work if (file := runs / environment / RUN_FILE).is_file()]
    if not files:
        raise ResultsError(runs, "no environment left any results")
    added = history.add(files)
    for file in files:
        _keep(order, file, added.digest.night)
    if later := [name for name in history.nights() if name > added.digest.night]:
        tell(f"The history has {count(len(later), 'night')} that began after this one: a clock was wrong")
    found = night(history, added)._replace(told=tuple(told))
    write(found, order.out)
    if order.nights and (gone := history.prune(order.nights)):
        say(f"deleted from the history: {', '.join(gone)}")
    return found


def in_turn(work: dict[str, tuple[str, ...]], history: History) -> dict[str, tuple[str, ...]]:
    """Those environments first that have not run for longest: where nights are too short, each has its turn."""
    last = {environment: history.last_with(environment) for environment in work}
    return dict(sorted(work.items(), key=lambda item: last[item[0]]))


class _Clock(NamedTuple):
    """The end of the night, if it has one."""

    end: float | None

    @property
    def left(self) -> float | None:
        """The seconds that are left."""
        return None if self.end is None else max(self.end - time.monotonic(), 0.0)


def _run(order: Order, environment: str, names: Sequence[str], clock: _Clock, say: Say, tell: Say) -> None:
    listed = environments.read(order.environments)
    if environment != CURRENT and LATEST in listed.get(environment).labels:
        say(f"{environment}: resolving {', '.join(listed.get(environment).requires)} anew")
        if _suite(["env", "create", environment, "--upgrade", *_places(order)], clock.left):
            tell(f"{environment} could not be resolved anew: it ran as it was before")
    say(f"{environment}: {len(names)} implementations")
    out = order.out / RUNS / environment
    code = _suite(_arguments(order, names, out), clock.left)
    if not (out / RUN_FILE).is_file():
        tell(f"{environment} left no results, exit code {code}")


def _confirm(order: Order, environment: str, past: Sequence[Digest], clock: _Clock, tell: Say) -> None:
    """Run again what newly broke, where there is time for that."""
    known = {resolve([name])[0].name: name for name in order.work[environment]}
    folder = order.out / RUNS / environment

    def run(names: Sequence[str], ids: str, out: Path) -> None:
        _suite([*_arguments(order, [known[name] for name in names], out), "-k", ids], clock.left)

    if clock.left == 0 or not (folder / RUN_FILE).is_file():
        return
    with contextlib.suppress(ResultsError):
        if passed := again.confirm(folder, order.out / AGAIN / environment, past, run):
            tell(f"{count(passed, 'check')} broke in {environment}, but not when run again on the same cases")
            _suite(["report", str(folder / RUN_FILE), "-o", str(folder / "report.html")], clock.left)


def _arguments(order: Order, names: Sequence[str], out: Path) -> list[str]:
    kept_cases = ["--kept", str(order.history / KEPT)]
    return ["run", *names, *order.options, *_places(order), *kept_cases, "--out", str(out)]


def _places(order: Order) -> list[str]:
    return [*_option("--environments", order.environments), *_option("--cache", order.cache)]


def _option(name: str, value: Path | None) -> list[str]:
    return [] if value is None else [name, str(value)]


def _suite(arguments: list[str], seconds: float | None) -> int:
    """Run a command of the suite; when the time is over, or this one is interrupted, let it end with what it has."""
    with subprocess.Popen([sys.executable, "-m", "conformance", *arguments]) as process:
        try:
            return process.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
            # Interrupted from a terminal it has been told already, and being told again does no harm. What shells and
            # schedulers start in the background ignores SIGINT.
            process.terminate()
            _ended(process)
            if isinstance(stopped, KeyboardInterrupt):
                raise
        return process.returncode


def _ended(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()


def _keep(order: Order, file: Path, name: str) -> None:
    try:
        results = read(file)
    except ResultsError:
        return
    kept.keep(order.history / KEPT, results, file.parent, name)


def write(found: Night, out: Path) -> None:
    """Write page, summary and badge of a night, and the text of an issue where something newly fails."""
    out.mkdir(parents=True, exist_ok=True)
    reports = {
        folder.name: f"{RUNS}/{folder.name}/report.html"
        for folder in sorted((out / RUNS).glob("*"))
        if (folder / "report.html").is_file()
    }
    (out / "nightly.html").write_text(nightly.render(found, reports), encoding="utf-8")
    texts = {
        "summary.md": nightly_text.summary(found),
        "issue.md": nightly_text.issue(found),
        "badge.json": badge(verdict(found.results), len(found.changes.new)),
    }
    for name, text in texts.items():
        if text:
            (out / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        else:
            # That of another night would be taken for this one's.
            (out / name).unlink(missing_ok=True)


def seed() -> int:
    """A fresh seed; all environments have the same, so that they run the same cases."""
    return secrets.randbelow(2**31)
