"""Runs of the command line for the tests: in this process where only words matter, in one of its own where it ends."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from typer.testing import CliRunner

from conformance.cli import app
from reports.records import Result, Results
from reports.store import read

ROOT = Path(__file__).parents[1]
FAULTY = "conformance.zoo.statistics:UnbiasedNormalization"
#: The environment variable by which all processes of a run are found again, whoever is their parent by then.
MARK = "BN_TEST_RUN"
#: A module of two adapters of somebody's own.
MINE = """
from adapters.numpy_reference import NumpyLayer, NumpyReference

class _Layer(NumpyLayer):
    def infer(self, x, dy=None):
        step = super().infer(x, dy)
        return step._replace(y=step.y + 1)

class Right(NumpyReference):
    pass

class Wrong(NumpyReference):
    layer = _Layer
"""
#: Options of a run as small as it gets.
ONE = ("-k", "BN-201", "--cases", "4")


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in this folder, with a module of adapters in a folder below."""
    monkeypatch.chdir(folder)
    (folder / "source").mkdir()
    (folder / "source" / "mine.py").write_text(MINE, encoding="utf-8")
    return folder


def invoke(*arguments: str | Path) -> Ended:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def environment(**more: str) -> dict[str, str]:
    """The environment of a subprocess that finds this project from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def start(*arguments: str | Path, folder: Path, **more: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "conformance", *map(str, arguments)],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def command(*arguments: str | Path, folder: Path, **more: str) -> Ended:
    """Run a command in a process of its own."""
    with start(*arguments, folder=folder, **more) as process:
        out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out, err)


def results(folder: Path) -> Results:
    """The results in an output folder."""
    return read(folder / "results.jsonl.gz")


def outcomes(found: Results) -> dict[tuple[str, str], str]:
    """Outcome by requirement and implementation."""
    return {(r.requirement, r.implementation): r.outcome for r in found.results}


def comparable(found: Results) -> list[Any]:
    """All records but for what the clock says, in an order that does not depend on who finished first."""
    records = [msgspec.structs.replace(r, seconds=0.0) for r in found.results]
    return sorted([*records, *found.agreements], key=repr)


def result(found: Results, requirement: str, implementation: str) -> Result:
    """The record of a requirement on an implementation."""
    return next(r for r in found.results if (r.requirement, r.implementation) == (requirement, implementation))


def mark() -> str:
    """A value for MARK that no other run has."""
    return uuid.uuid4().hex


def processes(marked: str) -> dict[int, str]:
    """Ids and command lines of the living processes with that mark."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={marked}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return {pid: line for pid, line in found.items() if line}


def gone(marked: str, seconds: float = 15.0) -> bool:
    """Whether all processes with that mark end within that time."""
    deadline = time.monotonic() + seconds
    while processes(marked):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
