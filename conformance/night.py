"""Runs a night: every environment with fresh seeds and the cases kept of earlier nights, then what changed since."""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance import environments, kept
from conformance._console import make_writable
from conformance.environments import CURRENT, Environments
from conformance.targets import resolve
from reports import nightly, nightly_text
from reports.history import RUN_FILE, History
from reports.nightly_changes import Night, night
from reports.store import ResultsError, read
from reports.summary import badge
from reports.verdict import verdict

#: Label of the environments whose packages are resolved anew every night.
LATEST = "latest"
#: Folder of the last night's runs, and that of the kept cases in the history.
RUNS, KEPT = "last-night", "kept"
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
    shutil.rmtree(runs, ignore_errors=True)
    for folder in (runs, order.history):
        make_writable(folder)
    history = History(order.history)
    for environment, names in in_turn(order.work, history).items():
        left = order.minutes * 60 - (time.monotonic() - started) if order.minutes else None
        if left is not None and left <= 0:
            say(f"{environment}: not run, the night is over")
            continue
        try:
            _run(order, environment, names, left, say)
        except KeyboardInterrupt:
            say(f"{environment}: interrupted; told is what there is")
            break
    files = [file for environment in order.work if (file := runs / environment / RUN_FILE).is_file()]
    if not files:
        raise ResultsError(runs, "no environment left any results")
    added = history.add(files)
    for file in files:
        _keep(order, file, added.digest.night)
    found = night(history, added)
    write(found, order.out)
    return found


def in_turn(work: dict[str, tuple[str, ...]], history: History) -> dict[str, tuple[str, ...]]:
    """Those environments first that have not run for longest: where nights are too short, each has its turn."""
    last = {environment: history.last_with(environment) for environment in work}
    return dict(sorted(work.items(), key=lambda item: last[item[0]]))


def _run(order: Order, environment: str, names: Sequence[str], left: float | None, say: Say) -> None:
    places = [*_option("--environments", order.environments), *_option("--cache", order.cache)]
    listed = environments.read(order.environments)
    if environment != CURRENT and LATEST in listed.get(environment).labels:
        say(f"{environment}: resolving {', '.join(listed.get(environment).requires)} anew")
        # Where that fails, what was there before is built again for the run.
        _suite(["env", "create", environment, "--upgrade", *places], left)
    say(f"{environment}: {len(names)} implementations")
    out = order.out / RUNS / environment
    code = _suite(
        ["run", *names, *order.options, *places, "--kept", str(order.history / KEPT), "--out", str(out)], left
    )
    if not (out / RUN_FILE).is_file():
        say(f"{environment}: left no results, exit code {code}")


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
