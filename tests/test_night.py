"""Tests of the command ``night`` on real runs: what newly fails, what is kept, and nights that go wrong."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance import again, kept, night
from conformance.environments import read
from conformance.pool import Pool
from conformance.requirements import CATALOGUE
from reports import history_digest, store
from reports.history import RUN_FILE, History
from reports.nightly_changes import Night
from reports.nightly_changes import night as beside
from reports.store import ResultsError
from reports.store import read as read_results
from tests._commands import ROOT, Ended, command, start
from tests.sample_nights import Cells
from tests.sample_nights import results as night_results

RIGHT = "from adapters.numpy_reference import NumpyReference as Base\n"
WRONG = "from conformance.zoo.statistics import UnbiasedNormalization as Base\n"
CLASS = "\n\nclass Norm(Base):\n    pass\n"


def run_night(folder: Path, base: str, *more: str) -> Ended:
    """Run a night of NumPy and of a class of somebody's own, which is as good as what it inherits from."""
    (folder / "norm.py").write_text(base + CLASS, encoding="utf-8")
    arguments = (
        "norm.py:Norm",
        "numpy",
        "--env",
        "current",
        "--profile",
        "quick",
        "--cases",
        "12",
        "--path",
        str(ROOT),
    )
    return command("night", *arguments, *(more or ("-k", "BN-101 or BN-106")), folder=folder)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Ended, bool]]]:
    """Three nights, the fault in the second alone; how each ended, and whether it left the text of an issue."""
    folder = tmp_path_factory.mktemp("nights")
    ended = []
    for base in (RIGHT, WRONG, RIGHT):
        done = run_night(folder, base)
        ended.append((done, (folder / "results" / "night" / "issue.md").exists()))
        if base == WRONG:
            (folder / "results" / "night" / "issue.md").rename(folder / "issue-of-the-second.md")
            (folder / "results" / "night" / "issue.md").write_text("left over", encoding="utf-8")
    return folder, ended


def night_of(folder: Path, number: int) -> Night:
    """A night beside those before it."""
    history = History(folder / "history")
    return beside(history, history.night(history.nights()[number]))


def test_a_fault_in_the_second_night_is_new_there_alone(three: tuple[Path, list[tuple[Ended, bool]]]) -> None:
    """Of four cells that ran three times, exactly the faulty one is new in the second night, and fixed in the third."""
    folder, ended = three
    assert [(done.code, issue) for done, issue in ended] == [(0, False), (1, True), (0, False)], ended
    told = [night_of(folder, number).changes for number in range(3)]
    assert [[(c.requirement, c.implementation) for c in each.new] for each in told] == [[], [("BN-101", "Norm")], []]
    assert [[(c.requirement, c.implementation) for c in each.fixed] for each in told] == [[], [], [("BN-101", "Norm")]]
    assert all(not each.standing and not each.missing and not each.other for each in told)
    assert "1 check newly fails" in ended[1][0].out


def test_the_night_leaves_everything_that_a_reader_needs(three: tuple[Path, list[tuple[Ended, bool]]]) -> None:
    """Page, summary and badge are there; the issue of the second night has versions and a script that runs."""
    folder, _ = three
    out = folder / "results" / "night"
    assert (out / "nightly.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len((out / "summary.md").read_bytes()) <= 20_000
    assert json.loads((out / "badge.json").read_text(encoding="utf-8"))["color"] == "brightgreen"
    issue = (folder / "issue-of-the-second.md").read_text(encoding="utf-8")
    assert 'href="last-night/current/report.html"' in (out / "nightly.html").read_text(encoding="utf-8")
    assert (out / "last-night" / "current" / "report.html").is_file()
    assert issue.startswith("# BN-101 newly fails on Norm\n")
    assert "import numpy as np" in issue
    assert "numpy" in issue


def test_seeds_are_fresh_and_failing_cases_are_kept(three: tuple[Path, list[tuple[Ended, bool]]]) -> None:
    """Each night has a seed of its own, and the third runs the second's failing case, too."""
    folder, _ = three
    history = History(folder / "history")
    runs = [read_results(history.folder / name / "current.jsonl.gz") for name in history.nights()]
    assert len({run.header.seed for run in runs}) == 3
    (file,) = (folder / "history" / "kept").iterdir()
    assert file.name.startswith("BN-101-Norm-")
    totals = [next(r for r in run.results if r.implementation == "numpy").examples.total for run in runs]
    assert totals[0] == totals[1] == totals[2] - 1


def test_a_kept_case_is_one_more_that_fails(three: tuple[Path, list[tuple[Ended, bool]]], tmp_path: Path) -> None:
    """A run with the kept cases has one more example than without, and one more that fails."""
    folder, _ = three
    (tmp_path / "norm.py").write_text(WRONG + CLASS, encoding="utf-8")
    arguments = ["run", "norm.py:Norm", "-k", "BN-106 or BN-101", "--cases", "1", "--path", str(ROOT)]
    found = {}
    for name, more in (("without", []), ("with", ["--kept", str(folder / "history" / "kept")])):
        command(*arguments, "--out", name, *more, folder=tmp_path)
        results = read_results(tmp_path / name / "results.jsonl.gz").results
        found[name] = next(r for r in results if r.requirement == "BN-101")
    assert found["with"].outcome == "fail"
    assert found["with"].examples.total == found["without"].examples.total + 1
    assert found["with"].examples.failing == found["without"].examples.failing + 1


def test_only_the_last_kept_cases_stay(tmp_path: Path, three: tuple[Path, list[tuple[Ended, bool]]]) -> None:
    """Of one cell the last three nights' cases are kept; a damaged file is told and left out of a run."""
    folder, _ = three
    history = History(folder / "history")
    results = read_results(history.folder / history.nights()[1] / "current.jsonl.gz")
    (file,) = (folder / "history" / "kept").iterdir()
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "BN-101-Norm-smallest.json").write_bytes(file.read_bytes())
    for day in range(1, 6):
        kept.keep(tmp_path / "kept", results, tmp_path, f"2026110{day}T020000Z")
    assert [path.stem[-16:] for path in sorted((tmp_path / "kept").iterdir())] == [
        f"2026110{day}T020000Z" for day in (3, 4, 5)
    ]
    (tmp_path / "kept" / "BN-101-Norm-20261103T020000Z.json").write_text("{", encoding="utf-8")
    told: list[str] = []
    pools = {CATALOGUE["BN-101"].family: Pool(1, 0, (), ())}
    found = kept.added(pools, tmp_path / "kept", told.append)
    assert len(found[1].cases) == 2
    assert len(told) == 1
    assert "BN-101-Norm-20261103T020000Z.json" in told[0]


def test_a_flood_of_failures_does_not_wash_away_the_cases_of_others(
    tmp_path: Path, three: tuple[Path, list[tuple[Ended, bool]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are too many cases, those go first of which their cell has newer ones; then the oldest."""
    folder, _ = three
    history = History(folder / "history")
    results = read_results(history.folder / history.nights()[1] / "current.jsonl.gz")
    monkeypatch.setattr(kept, "OF_ALL", 4)
    (tmp_path / "kept").mkdir()
    earlier = ["BN-102-other-20261101T020000Z", *(f"BN-103-flood-2026110{day}T020000Z" for day in (2, 3, 4))]
    for name in (*earlier, "BN-104-flood-20261104T020000Z"):
        (tmp_path / "kept" / f"{name}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "cases").mkdir()
    (file,) = (folder / "history" / "kept").iterdir()
    (tmp_path / "cases" / "BN-101-Norm-smallest.json").write_bytes(file.read_bytes())
    kept.keep(tmp_path / "kept", results, tmp_path, "20261105T020000Z")
    assert sorted(path.stem for path in (tmp_path / "kept").iterdir()) == [
        "BN-101-Norm-20261105T020000Z",
        "BN-102-other-20261101T020000Z",
        "BN-103-flood-20261104T020000Z",
        "BN-104-flood-20261104T020000Z",
    ]


#: Raises once, and never again.
HICCUP = """
import pathlib
from adapters.numpy_reference import NumpyLayer, NumpyReference
ONCE = pathlib.Path(__file__).with_name("once")
CALLS = []
class Layer(NumpyLayer):
    def infer(self, x, dy=None):
        CALLS.append(1)
        if len(CALLS) > 5 and not ONCE.exists():
            ONCE.touch()
            raise MemoryError("the machine was busy")
        return super().infer(x, dy)
class Base(NumpyReference):
    layer = Layer
"""


def test_what_breaks_once_is_run_again_and_is_no_news(tmp_path: Path) -> None:
    """A layer that raises in the first run and not in the second is mistrusted: told, and no failure."""
    (tmp_path / "history" / "20991231T235959Z").mkdir(parents=True)
    ended = run_night(tmp_path, HICCUP, "-k", "BN-201")
    assert ended.code == 0, ended
    assert "broke in current, but not when run again on the same cases" in ended.out
    (found,) = [r for r in night_of(tmp_path, 0).results.results if r.implementation == "Norm"]
    assert found.outcome == "mistrusted"
    assert found.reason.startswith("error in one run, pass in another of the same cases: ")
    assert "the machine was busy" in found.reason
    page = tmp_path / "results" / "night" / "last-night" / "current" / "report.html"
    assert "pass in another of the same cases" in page.read_text(encoding="utf-8")
    assert "The history has 1 night that began after this one: a clock was wrong." in ended.out


def test_only_what_newly_breaks_is_run_again(tmp_path: Path) -> None:
    """A cell that broke before, one that is wrong, and more than an accident are as they are; a second time counts."""
    broke: Cells = {("BN-101", "numpy"): ("crash", 0.0), ("BN-103", "numpy"): ("fail", 3.0)}
    past = [history_digest.digest("20261101T020000Z", night_results(0, broke), {}, {})]
    tonight = night_results(1, {**broke, ("BN-102", "keras@latest"): ("timeout", 0.0)})
    assert again.doubted(tonight, past) == [("BN-102", "keras@latest")]
    assert again.doubted(tonight, []) == [("BN-101", "numpy"), ("BN-102", "keras@latest")]
    store.write(tmp_path / RUN_FILE, tonight)
    asked = []

    def run(names: Sequence[str], ids: str, out: Path) -> None:
        asked.append((names, ids))
        store.write(out / RUN_FILE, tonight)

    assert again.confirm(tmp_path, tmp_path / "second", past, run) == 0
    assert asked == [(["keras@latest"], "BN-102")]
    assert read_results(tmp_path / RUN_FILE).results == tonight.results


def test_a_night_that_cannot_run_says_so(tmp_path: Path) -> None:
    """An unknown environment ends the night with 2; a night without any results is no success."""
    assert command("night", "--env", "nowhere", folder=tmp_path).code == 2
    ended = run_night(tmp_path, RIGHT, "-k", "no such requirement")
    assert ended.code == 2
    assert "left no results" in ended.err
    assert not (tmp_path / "results" / "night" / "nightly.html").exists()


def test_a_night_ends_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes longer than the night is told to end, and may finish what it does; no further one is started."""
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/bash\ntrap 'echo told >>told; exit 3' TERM\necho started >>told\nwhile true; do sleep 0.1; done\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program))
    listed = read(ROOT / "environments.toml")
    work = night.work(["tf_graph.nn"], ["tf2.15", "tf2.21"], (), listed)
    order = night.Order(tmp_path / "history", tmp_path / "out", work, (), ROOT / "environments.toml", minutes=0.05)
    said: list[str] = []
    with pytest.raises(ResultsError, match="no environment left any results"):
        night.run_night(order, said.append)
    assert Path("told").read_text(encoding="utf-8").split() == ["started", "told"]
    assert said[-1] == "tf2.21 was not run, the night was over"


def test_work_is_all_environments_unless_some_are_chosen() -> None:
    """Without a choice a night has this interpreter and every listed environment, each with all that it has."""
    listed = read(ROOT / "environments.toml")
    here = ("numpy", "torch")
    everything = night.work([], [], here, listed)
    assert set(everything) == {"current", *listed.names}
    assert everything["current"] == here
    assert "tf_graph.nn@tf1.4" in everything["tf1.4"]
    assert night.work(["tf_graph.layers"], ["legacy"], here, listed) == {
        "tf1.4": ("tf_graph.layers@tf1.4",),
        "tf1.15": ("tf_graph.layers@tf1.15",),
    }


def test_unpinned_environments_are_resolved_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments with the label "latest" are resolved again before they run, the pinned ones are not."""
    called: list[list[str]] = []

    def suite(arguments: list[str], seconds: float | None) -> int:
        called.append(arguments)
        return 0

    monkeypatch.setattr(night, "_suite", suite)
    listed = read(ROOT / "environments.toml")
    work = night.work(["keras", "tf_graph.nn"], ["tf2.21", "latest"], (), listed)
    order = night.Order(tmp_path / "history", tmp_path / "out", work, ("-k", "BN-1"), ROOT / "environments.toml")
    with pytest.raises(ResultsError, match="no environment left any results"):
        night.run_night(order, lambda text: None)
    assert [arguments[:3] for arguments in called] == [
        ["run", "tf_graph.nn@tf2.21", "-k"],
        ["env", "create", "latest"],
        ["run", "keras@latest", "tf_graph.nn@latest"],
    ]
    assert "--upgrade" in called[1]


def test_an_interrupted_night_tells_what_there_is(tmp_path: Path) -> None:
    """An interruption ends the environment that is running with what it has, starts no other, and is told."""
    (tmp_path / "norm.py").write_text(RIGHT + CLASS, encoding="utf-8")
    with start("night", "norm.py:Norm", "--env", "current", "--cases", "600", "-k", "BN-1", folder=tmp_path) as process:
        assert process.stderr is not None
        assert any("running" in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert "Nothing newly fails" in out
    assert night_of(tmp_path, 0).results.footer is not None


def test_environments_take_turns(tmp_path: Path) -> None:
    """Those that have not run for longest come first, so that short nights get round to all of them."""
    for name, kept_files in (("20261101T020000Z", ("a", "b")), ("20261102T020000Z", ("b",))):
        (tmp_path / name).mkdir()
        for file in kept_files:
            (tmp_path / name / f"{file}.jsonl.gz").touch()
    work: dict[str, tuple[str, ...]] = dict.fromkeys("bca", ("numpy",))
    assert list(night.in_turn(work, History(tmp_path))) == ["c", "a", "b"]
