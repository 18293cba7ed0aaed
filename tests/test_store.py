"""Tests of results files: what survives a kill, what is refused, and how files merge."""

import gzip
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.records import SCHEMA_VERSION, Results
from reports.store import ResultsError, Writer, merge, read, write
from tests.sample_results import hostile, sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a results file may be written."""
    return tmp_path / "results" / "results.jsonl.gz"


@pytest.fixture(scope="module")
def results() -> Results:
    """Return sample results."""
    return sample()


def line_of(results: Results, **changes: Any) -> bytes:
    """Return the first result as a line, with changes."""
    return msgspec.json.encode({**msgspec.to_builtins(results.results[0]), **changes}) + b"\n"


def test_what_is_written_is_read(path: Path, results: Results) -> None:
    """All lines come back equal, in order, from a folder that did not exist before."""
    write(path, results)
    assert msgspec.structs.replace(read(path), source=results.source) == results


def test_same_results_same_bytes(path: Path, results: Results) -> None:
    """Files can be compared byte by byte: gzip's time stamp is zero."""
    write(path, results)
    first = path.read_bytes()
    write(path, results)
    assert path.read_bytes() == first
    assert first[4:8] == bytes(4)


def test_any_gzip_reads_the_file(path: Path, results: Results) -> None:
    """The file is plain gzip of lines: zcat and other programs can use it."""
    write(path, results)
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 2 + len(results.results) + len(results.agreements)


def test_every_cut_is_read_as_far_as_it_goes(path: Path, results: Results) -> None:
    """Cut at many places, a file gives whole lines, no footer and a note that it was cut off; or it is refused."""
    header = msgspec.structs.replace(results.header, requirements=results.header.requirements[:2])
    short = msgspec.structs.replace(results, header=header, results=results.results[:6], agreements=[])
    write(path, short)
    whole = path.read_bytes()
    lengths = {read_cut(path, whole[:end], short) for end in range(0, len(whole), 7)}
    assert lengths == {None, *range(7)}


def read_cut(path: Path, start: bytes, whole: Results) -> int | None:
    """Return how many results are read from the start of a file; None if not even its header."""
    path.write_bytes(start)
    try:
        found = read(path)
    except ResultsError as error:
        return None if "cut off" in str(error) else -1
    assert found.footer is None
    assert found.results == whole.results[: len(found.results)]
    assert "cut off after line" in found.notes[0]
    return len(found.results)


def test_killed_writer_leaves_its_lines(path: Path) -> None:
    """After SIGKILL all lines whose `write` returned are readable, without any footer."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from reports.store import Writer; from tests.sample_results import sample\n"
        "results = sample(); writer = Writer(sys.argv[2]); writer.write(results.header)\n"
        "for result in results.results[:20]: writer.write(result)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen([sys.executable, "-c", code, root, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"written"
        os.kill(process.pid, signal.SIGKILL)
    found = read(path)
    assert len(found.results) == 20
    assert found.footer is None


def test_writer_closed_by_an_exception_leaves_an_incomplete_file(path: Path, results: Results) -> None:
    """An exception in the run leaves a readable file without a footer."""
    with suppress(KeyboardInterrupt), Writer(path) as writer:
        writer.write(results.header)
        writer.write(results.results[0])
        raise KeyboardInterrupt
    assert read(path).footer is None
    assert len(read(path).results) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or was cut off"),
        (b"PK\x03\x04 a zip file", "not a results file"),
        (gzip.compress(b"", mtime=0), "is empty or was cut off"),
        (gzip.compress(b"hello\n", mtime=0), "line 1: JSON is malformed"),
        (gzip.compress(b"\xff\xfe\n", mtime=0), "line 1: "),
        (gzip.compress(b"[" * 200_000, mtime=0), "line 1: "),
        (gzip.compress(b'{"type":"header","schema":%d}\n' % (SCHEMA_VERSION + 1), mtime=0), "was written with schema"),
        (gzip.compress(b'{"type":"header","schema":1}\n', mtime=0), "line 1: Object missing required field `run`"),
        (gzip.compress(b'{"type":"badge"}\n', mtime=0), "line 1: Invalid value 'badge' - at `$.type`"),
    ],
)
def test_foreign_files_are_refused(path: Path, content: bytes, message: str) -> None:
    """A file of something else gives one message that names it, and the line where there is one."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outcome": "passed"}, "Invalid enum value 'passed' - at `$.outcome`"),
        ({"examples": {"total": "many"}}, "Expected `int`, got `str` - at `$.examples.total`"),
        ({"worst_ratio": "NaN"}, "at `$.worst_ratio`"),
        ({"implementation": "jax"}, "the header names no implementation 'jax'"),
        ({"requirement": "BN-999"}, "the header names no requirement 'BN-999'"),
    ],
)
def test_a_wrong_line_is_named(path: Path, results: Results, changes: dict[str, Any], message: str) -> None:
    """A line that the schema does not allow is refused with its number and the JSON path."""
    path.parent.mkdir()
    path.write_bytes(gzip.compress(msgspec.json.encode(results.header) + b"\n" + line_of(results, **changes)))
    with pytest.raises(ResultsError, match="line 2: ") as caught:
        read(path)
    assert message in str(caught.value)
    assert caught.value.line == 2


def test_lines_in_a_wrong_order_are_refused(path: Path, results: Results) -> None:
    """A result before the header or after the footer is a damaged file."""
    header, result, footer = (msgspec.json.encode(x) for x in (results.header, results.results[0], results.footer))
    path.parent.mkdir()
    for lines, message in [([result, header], "starts with a header"), ([header, footer, result], "after a footer")]:
        path.write_bytes(gzip.compress(b"\n".join(lines)))
        with pytest.raises(ResultsError, match=message):
            read(path)


def test_an_implementation_may_be_completed_later(path: Path, results: Results) -> None:
    """The header names an implementation before it was asked; a line of its own says the rest, or is refused."""
    first, *others = results.header.implementations
    bare = msgspec.structs.replace(results.header, implementations=[type(first)(name=first.name), *others])
    with Writer(path) as writer:
        for line in (bare, first):
            writer.write(line)
    assert read(path).header == results.header
    with Writer(path) as writer:
        for line in (bare, msgspec.structs.replace(first, name="jax")):
            writer.write(line)
    with pytest.raises(ResultsError, match="line 2: the header names no implementation 'jax'"):
        read(path)


def test_damage_in_the_middle_is_refused(path: Path, results: Results) -> None:
    """Flipped bytes are noticed by deflate or by the checksum; nothing behind them is trusted."""
    write(path, results)
    whole = bytearray(path.read_bytes())
    for place in (200, len(whole) // 2, len(whole) - 6):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(ResultsError, match="line"):
            read(path)


def test_a_bomb_is_refused(path: Path, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that would fill the memory is refused by its decompressed size."""
    monkeypatch.setattr("reports.store.SIZE_LIMIT", 1 << 20)
    path.parent.mkdir()
    path.write_bytes(gzip.compress(msgspec.json.encode(results.header) + b"\n" + b" " * (1 << 24)))
    with pytest.raises(ResultsError, match="holds more than 1 MiB"):
        read(path)


@pytest.mark.parametrize("name", ["file/results.jsonl.gz", "folder"])
def test_unwritable_places_are_named(tmp_path: Path, name: str) -> None:
    """An output folder that cannot be written gives one clear message, before any framework is started."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultsError, match="cannot be written"):
        Writer(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no run: no /dev/full")
def test_a_full_disk_is_named(results: Results) -> None:
    """A disk that fills up during the run is reported as such."""
    writer = Writer("/dev/full")
    with pytest.raises(ResultsError, match="No space left"):
        writer.write(results.header)
    with pytest.raises(ResultsError, match="No space left"):
        writer.close()


def test_missing_file_is_named(path: Path) -> None:
    """A file that is not there is named with the system's reason."""
    with pytest.raises(ResultsError, match="cannot be read: No such file"):
        read(path)


def test_writer_refuses_disorder(path: Path, results: Results) -> None:
    """A result before the header, a second header and a line after the footer are programming errors."""
    assert results.footer is not None
    with Writer(path) as writer:
        with pytest.raises(ValueError, match="misplaced Result"):
            writer.write(results.results[0])
        writer.write(results.header)
        with pytest.raises(ValueError, match="misplaced Header"):
            writer.write(results.header)
        writer.write(results.footer)
        with pytest.raises(ValueError, match="misplaced Result"):
            writer.write(results.results[0])
    assert read(path).footer == results.footer


def test_writer_refuses_what_could_not_be_read(path: Path, results: Results) -> None:
    """A NaN where the schema has a plain float would be written as null; it is refused when written, not when read."""
    with Writer(path) as writer:
        writer.write(results.header)
        with pytest.raises(ValueError, match=r"could not be read back: .*\$\.seconds"):
            writer.write(msgspec.structs.replace(results.results[0], seconds=float("nan")))


def test_any_text_can_be_written(path: Path, results: Results) -> None:
    """Control characters survive; what is not text, such as half a surrogate pair, is escaped."""
    write(path, hostile(results))
    reason = read(path).header.requirements[0].claim
    assert "\x1b[31m\x00" in reason
    assert "\\udc80" in reason


def test_files_can_be_joined_with_cat(path: Path, results: Results) -> None:
    """Two files joined byte by byte read as their merged results."""
    first, second = shards(results)
    write(path, first)
    start = path.read_bytes()
    write(path, second)
    path.write_bytes(start + path.read_bytes())
    found = read(path)
    assert sorted(map(repr, found.results)) == sorted(map(repr, results.results))
    assert found.footer is not None


def shards(results: Results) -> tuple[Results, Results]:
    """Split results into two by implementation."""
    names = {who.name for who in results.header.implementations[:2]}
    parts = []
    for inside in (True, False):
        who = [i for i in results.header.implementations if (i.name in names) == inside]
        found = [result for result in results.results if (result.implementation in names) == inside]
        header = msgspec.structs.replace(results.header, implementations=who)
        agreements = [a for a in results.agreements if {a.first, a.second} <= {i.name for i in who}]
        parts.append(msgspec.structs.replace(results, header=header, results=found, agreements=agreements))
    return parts[0], parts[1]


def test_merging_keeps_names_and_adds_costs(results: Results) -> None:
    """Shards of one run merge into the whole; seconds, cases, steps and checks add up, memory is the largest."""
    merged = merge(list(shards(results)))
    assert results.footer is not None
    assert merged.footer is not None
    assert merged.header == results.header
    assert len(merged.results) == len(results.results)
    assert merged.footer.checks == 2 * results.footer.checks
    assert merged.footer.peak_memory_mib == results.footer.peak_memory_mib
    assert merged.notes == []


def test_merging_states_duplicates_and_differences(results: Results) -> None:
    """Of a cell that two files hold the later one counts; this and other seeds or versions are noted."""
    other = msgspec.structs.replace(results.results[0], reason="the later one")
    who = [msgspec.structs.replace(i, version="9") if i.name == "torch" else i for i in results.header.implementations]
    header = msgspec.structs.replace(results.header, seed=7, implementations=who)
    merged = merge([results, msgspec.structs.replace(results, header=header, results=[other])])
    assert merged.results[0].reason == "the later one"
    assert len(merged.results) == len(results.results)
    notes = " ".join(merged.notes)
    assert "BN-101 on numpy is there more than once" in notes
    assert "differ in seed: 4071, 7" in notes
    assert "torch comes from two environments" in notes


def test_merging_with_an_incomplete_part_is_incomplete(results: Results) -> None:
    """A missing footer anywhere means that the whole is incomplete."""
    assert merge([results, msgspec.structs.replace(results, footer=None)]).footer is None


def test_merging_prefers_the_part_that_ran(results: Results) -> None:
    """An implementation that took no part in one environment keeps what another environment says of it."""
    absent = [msgspec.structs.replace(i, version="", no_run="not installed") for i in results.header.implementations]
    header = msgspec.structs.replace(results.header, implementations=absent)
    part = msgspec.structs.replace(results, header=header, results=[], agreements=[])
    for parts in ([part, results], [results, part]):
        assert merge(parts).header.implementations == results.header.implementations
