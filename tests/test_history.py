"""Tests of the history: nights are kept as they are, and everything else is derived from them and can be lost."""

from pathlib import Path

import pytest

from reports import history as module
from reports.history import DIGEST, History
from reports.store import ResultsError, read
from tests import sample_nights as nights
from tests._commands import invoke

FAILS: nights.Cells = {("BN-101", "torch@latest"): ("fail", 40.0)}


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A history of three nights, with a failure in the second."""
    for day, cells in enumerate(({}, FAILS, {})):
        nights.add(tmp_path, day, cells)
    return History(tmp_path / "history")


def test_a_night_is_named_by_when_it_began_and_keeps_its_files(history: History, tmp_path: Path) -> None:
    """Nights sort by time; their files have the bytes that were added, are named after the run, and are read-only."""
    assert history.nights() == ["20261101T020000Z", "20261102T020000Z", "20261103T020000Z"]
    kept = history.folder / "20261102T020000Z" / "all.jsonl.gz"
    assert kept.read_bytes() == (tmp_path / "runs-1" / "all" / "results.jsonl.gz").read_bytes()
    assert kept.stat().st_mode & 0o222 == 0


def test_a_digest_says_what_its_results_say(history: History) -> None:
    """Outcome, ratio, revision and versions of every cell are those of the results file."""
    for name in history.nights():
        results = read(history.folder / name / "all.jsonl.gz")
        digest = history.digest(name)
        for result in results.results:
            cell = digest.cell(result.requirement, result.implementation)
            assert cell is not None
            assert (cell.outcome, cell.revision) == (result.outcome, result.revision)
            assert cell.ratio == pytest.approx(result.worst_ratio)
        asked = {info.id for info in results.header.requirements}
        assert {id_ for who in digest.rows for id_, _ in digest.cells(who)} == asked
        assert digest.about("torch@latest")["version"] == "2.1"
        assert "pid" not in digest.about("torch@latest")


def test_adding_a_night_reads_no_other(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a night is added, only its own files are read, whatever else is there."""
    seen: list[Path] = []

    def spy(path: Path) -> object:
        seen.append(Path(path))
        return read(path)

    monkeypatch.setattr(module, "read", spy)
    nights.add(tmp_path, 3)
    list(history.digests())
    assert {path.parent.name for path in seen} == {".20261104T020000Z.part"}


def test_a_lost_or_damaged_digest_is_derived_again(history: History) -> None:
    """Without digests, and with half of one, the history says the same, and the digests are there again."""
    whole = list(history.digests())
    files = [history.folder / name / DIGEST for name in history.nights()]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert list(history.digests()) == whole
    bytes_before = [file.read_bytes() for file in files]
    assert history.rebuild() == {name: {} for name in history.nights()}
    assert [file.read_bytes() for file in files] == bytes_before


def test_damaged_and_half_written_files_are_named_and_left_out(history: History, tmp_path: Path) -> None:
    """Of three files, one damaged and one cut off, the third is used and the two are named with the reason."""
    files = []
    for place, name in enumerate(("numpy", "torch@latest", "keras@latest")):
        (file,) = nights.write(tmp_path / str(place), 5, nights.results(5, names=(name,)))
        files.append(file.rename(file.parents[2] / f"{name}.jsonl.gz"))
    data = files[0].read_bytes()
    files[0].write_bytes(data[:300] + b"\xff\xff\xff\xff" + data[304:])
    files[1].write_bytes(files[1].read_bytes()[:-90])
    added = history.add(files)
    assert list(added.digest.rows) == ["keras@latest"]
    assert set(added.digest.skipped) == {"numpy.jsonl.gz", "torch_latest.jsonl.gz"}
    assert "is damaged" in added.digest.skipped["numpy.jsonl.gz"]
    assert "is half-written" in added.digest.skipped["torch_latest.jsonl.gz"]
    assert history.rebuild()[added.digest.night] == added.digest.skipped


def test_a_night_of_which_nothing_can_be_used_is_left_out(history: History) -> None:
    """Where the truth itself is damaged, that night is named by rebuild, and the others are used."""
    file = history.folder / history.nights()[1] / "all.jsonl.gz"
    file.chmod(0o644)
    file.write_bytes(b"not gzip")
    assert [digest.night for digest in history.digests()] == [history.nights()[2], history.nights()[0]]
    ((problem,),) = [found.values() for found in history.rebuild().values() if found]
    assert "not a results file" in problem


def test_a_night_is_never_changed(history: History, tmp_path: Path) -> None:
    """The same file again changes nothing; a different one of the same name and night is refused; others may join."""
    nights.add(tmp_path, 1, FAILS)
    assert len(history.nights()) == 3
    with pytest.raises(ResultsError, match="a night is never changed"):
        history.add(nights.write(tmp_path / "other", 1, nights.results(1)))
    assert history.digest(history.nights()[1]).failing("torch@latest") == 1
    (file,) = nights.write(tmp_path / "more", 1, nights.results(1, names=("jax",)))
    joined = history.add([file.rename(tmp_path / "more.jsonl.gz")], history.nights()[1])
    assert set(joined.digest.rows) == {*nights.NAMES, "jax"}


def test_nothing_is_left_of_a_night_that_could_not_be_added(history: History, tmp_path: Path) -> None:
    """Files of which none can be used raise an error that names them, and leave no folder."""
    file = tmp_path / "results.jsonl.gz"
    file.write_bytes(nights.write(tmp_path, 9, nights.results(9))[0].read_bytes()[:-200])
    before = sorted(history.folder.iterdir())
    with pytest.raises(ResultsError, match="half-written"):
        history.add([file])
    file.write_text("no results")
    with pytest.raises(ResultsError, match="no results file"):
        history.add([file])
    assert sorted(history.folder.iterdir()) == before


def test_the_commands_add_rebuild_and_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`history add` writes the page too and exits with 1 where something is new; `show` lists nights and one cell."""
    monkeypatch.chdir(tmp_path)
    (file,) = nights.write(tmp_path, 0, nights.results(0))
    assert invoke("history", "add", file.parent).code == 0
    (file,) = nights.write(tmp_path, 1, nights.results(1, FAILS))
    added = invoke("history", "add", file, "--out", "out")
    assert added.code == 1
    assert added.out.startswith("20261102T020000Z: 1 check newly fails")
    assert {path.name for path in Path("out").iterdir()} == {"nightly.html", "summary.md", "issue.md", "badge.json"}
    assert invoke("history", "rebuild").out == "2 nights rebuilt\n"
    assert "1 failing" in invoke("history", "show").out.splitlines()[0]
    cell = invoke("history", "show", "BN-101", "torch@latest").out.splitlines()
    assert cell == [
        "20261102T020000Z  40.0 times the bound  torch 2.1",
        "20261101T020000Z  pass, 0.1 of the bound  torch 2.1",
    ]
    assert "did you mean torch@latest" in invoke("history", "show", "BN-101", "torch@lates").err
    assert invoke("history", "show", "--history", "nowhere").code == 2


def test_old_nights_are_deleted_where_that_is_asked_for(tmp_path: Path) -> None:
    """Of more nights than are to be kept the oldest go, the others and the kept cases stay."""
    for day in range(4):
        nights.add(tmp_path, day)
    (tmp_path / "history" / "kept").mkdir()
    history = History(tmp_path / "history")
    names = history.nights()
    assert history.prune(5) == []
    assert history.prune(3) == names[:1]
    assert history.nights() == names[1:]
    assert (tmp_path / "history" / "kept").is_dir()
