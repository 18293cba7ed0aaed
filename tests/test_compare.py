"""Tests of ``compare``, ``summary`` and ``badge``: two runs or two versions cell by cell, and one run in short."""

import json
import math
from pathlib import Path

import msgspec
import pytest

from reports import compare, store
from reports.records import Outcome, Result, Results
from reports.summary import summary
from tests._commands import invoke
from tests.sample_nights import Cells, results
from tests.sample_results import sample

CELL = ("BN-101", "torch@latest")


def kind(before: tuple[Outcome, float], now: tuple[Outcome, float]) -> str:
    """What becomes of a cell."""
    found = compare.compare(results(0, {CELL: before}), results(1, {CELL: now}))
    (each,) = [pair.kind for match in found.matches for pair in match.pairs if (pair.requirement, match.name) == CELL]
    return each


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (("pass", 0.1), ("fail", 9.0), "newly failing"),
        (("no run", 0.1), ("error", 0.1), "newly failing"),
        (("fail", 9.0), ("pass", 0.1), "fixed"),
        (("fail", 9.0), ("no run", 0.1), "another outcome"),
        (("pass", 0.2), ("deviates", 0.2), "another outcome"),
        (("fail", 9.0), ("crash", 9.0), "another outcome"),
        (("pass", 0.2), ("pass", 0.4), "closer to the bound"),
        (("pass", 0.4), ("pass", 0.2), "further from the bound"),
        (("fail", 2.0), ("fail", math.inf), "further from the bound"),
        (("fail", 20.0), ("fail", 2.0), "closer to the bound"),
        (("pass", 0.2), ("pass", 0.29), "same"),
        (("pass", 0.001), ("pass", 0.09), "same"),
        (("pass", 0.0), ("pass", 0.0), "same"),
    ],
)
def test_a_cell_is_compared(before: tuple[Outcome, float], now: tuple[Outcome, float], expected: str) -> None:
    """Outcomes are compared first, then ratios; what is small or nearly equal is the same."""
    assert kind(before, now) == expected


def written(place: Path, found: Results) -> Path:
    """A folder of a run with these results."""
    store.write(place / "results.jsonl.gz", found)
    return place


def test_two_runs_are_compared_in_terminal_and_page(tmp_path: Path) -> None:
    """Only cells that differ are printed, unless all are asked for; what one alone has is named; exit code 1."""
    cells: Cells = {CELL: ("fail", 40.0), ("BN-102", "numpy"): ("pass", 0.9)}
    first = written(tmp_path / "a", results(0, names=("numpy", "torch@latest", "keras@latest")))
    second = written(tmp_path / "b", results(1, cells, names=("numpy", "torch@latest", "jax")))
    ended = invoke("compare", first, second, "-o", tmp_path / "compare.html")
    assert ended.code == 1
    assert ended.out.splitlines()[:6] == [
        "newly failing        BN-101  torch@latest  pass 0.1  fail 40.0",
        "closer to the bound  BN-102  numpy         pass 0.1  pass 0.9",
        "only in the first: keras@latest",
        "only in the second: jax",
        "",
        "1 newly failing and 1 closer to the bound, of 12 checks",
    ]
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert page.count("<tr id=") == 12
    assert len(invoke("compare", first, second, "--all").out.splitlines()) == 12 + 4
    assert invoke("compare", second, first).code == 0


def test_two_versions_in_one_file_are_compared(tmp_path: Path) -> None:
    """FOLDER::NAME takes an implementation or an environment; without common names those without environment match."""
    cells: Cells = {("BN-101", "torch@new"): ("fail", 40.0)}
    run = written(tmp_path / "run", results(0, cells, names=("torch@old", "keras@old", "torch@new", "keras@new")))
    one = invoke("compare", f"{run}::torch@old", f"{run}::torch@new")
    assert (one.code, one.out.splitlines()[-1]) == (1, "1 newly failing, of 6 checks")
    assert "torch@old → torch@new" in one.out
    assert invoke("compare", f"{run}::old", f"{run}::new").out.splitlines()[-1] == "1 newly failing, of 12 checks"
    assert invoke("compare", f"{run}::keras@old", f"{run}::torch@new").out.splitlines()[-1].startswith("1 newly")
    mistaken = invoke("compare", f"{run}::torch@ld", f"{run}::new")
    assert mistaken.code == 2
    assert "did you mean torch@old" in mistaken.err


def test_nothing_in_common_is_told(tmp_path: Path) -> None:
    """Runs of different implementations cannot be compared."""
    first = written(tmp_path / "a", results(0, names=("numpy", "jax")))
    second = written(tmp_path / "b", results(0, names=("torch", "keras")))
    ended = invoke("compare", first, second)
    assert ended.code == 2
    assert "no implementation in common" in ended.err


def test_a_summary_has_verdict_and_failures() -> None:
    """The worst failure comes first, and every one of few is there."""
    text = summary(sample())
    rows = [line for line in text.splitlines() if line.startswith("| `BN-")]
    assert text.startswith("## ")
    assert len(rows) == 8
    assert [row.split(" | ")[2] for row in rows] == sorted(
        (row.split(" | ")[2] for row in rows), key=["fail", "crash", "timeout", "error", "stale known failure"].index
    )


def test_a_summary_of_many_failures_is_short() -> None:
    """Of hundreds of failures with long reasons at most 20 kB are told, and that there are more."""
    run = sample()
    failing = [msgspec.structs.replace(r, outcome="fail", reason="é" * 5000) for r in run.results]
    text = summary(msgspec.structs.replace(run, results=failing))
    assert len(text.encode()) <= 20_000
    assert "left out" in text


def test_summary_and_badge_are_commands(tmp_path: Path) -> None:
    """Both print, or write the file that is named."""
    run = written(tmp_path / "run", results(0))
    assert invoke("summary", run).out.startswith("## ")
    assert invoke("badge", run, "-o", tmp_path / "made" / "badge.json").out == ""
    badge = json.loads((tmp_path / "made" / "badge.json").read_text(encoding="utf-8"))
    assert badge["message"] == "18 of 18 hold"
    nothing = [Result(requirement="BN-101", revision=1, implementation="numpy", outcome="no run")]
    written(tmp_path / "none", msgspec.structs.replace(results(0), results=nothing))
    assert json.loads(invoke("badge", tmp_path / "none").out)["message"] == "nothing judged"
