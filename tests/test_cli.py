"""Tests of the command line: mistakes are named in one message, and every option does what it says."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from conformance import targets
from conformance.cli import app
from conformance.requirements import CATALOGUE
from conformance.targets import UsageError
from tests import _commands
from tests._commands import FAULTY, ONE, ROOT, command, invoke, prepare, results


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    return prepare(tmp_path, monkeypatch)


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nmpy"], "no implementation is called 'nmpy': did you mean numpy?"),
        (["run", "numpy", "a:"], "'a:' names no adapter"),
        (["run", "no/such.py:Class"], "there is no file no/such.py"),
        (["run", "numpy", "-k", "BN-1 and ("], "-k 'BN-1 and (': expected"),
        (["run", "numpy", "-k", "BN-999"], "-k 'BN-999' selects nothing"),
        (["run", "numpy", "--in-process", "-n", "2"], "--in-process runs everything in this process"),
        (["run", "numpy", "--out", "source/mine.py"], "cannot write to the output folder source/mine.py: File exists"),
        (["run", "numpy", "--out", "source/mine.py/x"], "source/mine.py/x: Not a directory"),
        (["replay", "missing.json"], "cannot read case file missing.json: No such file"),
        (["replay", "source"], "cannot read case file source: Is a directory"),
        (["replay", "source/mine.py"], "source/mine.py is no case file of this suite, or a damaged one"),
        (["report", "missing.gz"], "missing.gz: cannot be read: No such file"),
        (["report", "source"], "source: cannot be read: Is a directory"),
        (["report", "source/mine.py"], "source/mine.py: is not a results file"),
        (["report", "source/mine.py", "-o", "source/../source/mine.py"], "would overwrite the results file"),
    ],
)
def test_a_mistake_is_named_in_one_message(arguments: list[str], message: str, folder: Path) -> None:
    """What makes no sense ends with code 2 and a message that names it, and leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    ended = invoke(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("bn-conformance: ")
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--profile", "fast"], "--profile"),
        (["run", "-n", "0"], "-n"),
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--cases", "0"], "--cases"),
        (["run", "--cases", "many"], "--cases"),
        (["run", "--timeout", "0"], "--timeout"),
        (["run", "--no-such-option"], "--no-such-option"),
        (["replay"], "FILE"),
        (["report"], "RESULTS"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_options_that_make_no_sense_end_with_code_2(arguments: list[str], named: str) -> None:
    """Values out of range, unknown options and missing arguments are usage errors that name the option."""
    ended = invoke(*arguments)
    assert ended.code == 2
    assert "Error" in ended.err
    assert named in ended.err[ended.err.index("Error") :]


def test_damaged_files_are_named(folder: Path) -> None:
    """Truncated, empty and foreign case and results files are named, with what is wrong and where."""
    assert invoke("run", "source/mine.py:Wrong", *ONE).code == 1
    case = next(Path("results/cases").glob("*.json"))
    for size in (0, 1, 100, case.stat().st_size - 2):
        Path("cut.json").write_bytes(case.read_bytes()[:size])
        ended = invoke("replay", "cut.json")
        assert (ended.code, "cut.json is no case file of this suite, or a damaged one" in ended.err) == (2, True)
    whole = Path("results/results.jsonl.gz").read_bytes()
    for size, message in ((0, "is empty or was cut off"), (20, "is empty or was cut off")):
        Path("cut.gz").write_bytes(whole[:size])
        ended = invoke("report", "results/results.jsonl.gz", "cut.gz")
        assert (ended.code, f"cut.gz: {message}" in ended.err) == (2, True)
    Path("other.gz").write_bytes(gzip.compress(b'{"type": "header"}\n'))
    ended = invoke("report", "other.gz")
    assert ended.code == 2
    assert "other.gz, line 1: Object missing required field" in ended.err
    assert not Path("report.html").exists()


def test_a_report_of_a_truncated_file_says_so(folder: Path) -> None:
    """A results file that was cut off after some lines still gives a report, which says that it is incomplete."""
    invoke("run", "numpy", "-k", "BN-1", "--cases", "2")
    whole = Path("results/results.jsonl.gz").read_bytes()
    Path("cut.gz").write_bytes(whole[:-200])
    ended = invoke("report", "cut.gz", "-o", "new/folder/page.html")
    assert ended.code == 3
    assert "Incomplete run" in ended.out
    assert "cut off" in Path("new/folder/page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_named(folder: Path) -> None:
    """Where a folder is in the place of the report, the message names it."""
    invoke("run", "numpy", *ONE)
    ended = invoke("report", "results/results.jsonl.gz", "-o", "source")
    assert ended.code == 2
    assert "cannot write the report source: Is a directory" in ended.err


def test_an_unusable_file_of_known_failures_ends_the_run(folder: Path) -> None:
    """A broken known_failures.toml, and an entry that no requirement matches, are named before anything is run."""
    file = Path("known_failures.toml")
    file.write_text("[[known_failure]", encoding="utf-8")
    broken = invoke("run", "numpy")
    file.write_text(
        '[[known_failure]]\nrequirement = "BN-11"\nimplementation = "numpy"\nreason = "r"\nurl = "u"\n',
        encoding="utf-8",
    )
    unknown = invoke("run", "numpy")
    file.unlink()
    file.mkdir()
    unreadable = invoke("run", "numpy")
    assert {broken.code, unknown.code, unreadable.code} == {2}
    assert "known_failures.toml: Expected" in broken.err
    assert "known_failures.toml: entry 1 matches nothing: no requirement is called 'BN-11'; did you mean" in unknown.err
    assert "known_failures.toml: [Errno 21] Is a directory" in unreadable.err
    assert not Path("results").exists()


def test_debug_shows_the_traceback(folder: Path) -> None:
    """With --debug a mistake raises, so that Python prints where; without, it does not."""
    with pytest.raises(UsageError):
        invoke("run", "nmpy", "--debug")
    assert "Traceback" in command("replay", "missing.json", "--debug", folder=folder).err


# Report, list, help


def test_reports_of_several_runs_are_merged(folder: Path) -> None:
    """Several results files give one page with all implementations, and the exit code of the worst."""
    for name, out in (("numpy", "a"), ("source/mine.py:Wrong", "b")):
        invoke("run", name, *ONE, "--out", out)
    ended = invoke("report", "a/results.jsonl.gz", "b/results.jsonl.gz", "-o", "both.html")
    page = Path("both.html").read_text(encoding="utf-8")
    assert ended.code == 1
    assert "numpy conforms" in ended.out
    assert "Wrong fails" in ended.out
    assert "numpy" in page
    assert "Wrong" in page


def test_the_summary_is_aligned_and_ends_with_the_files(folder: Path) -> None:
    """Failures stand in columns, followed by the verdict, the accounting, and where results and report are."""
    ended = invoke("run", FAULTY, "source/mine.py:Wrong", "-k", "BN-101 or BN-201", "--cases", "8", "--path", ROOT)
    rows = [line for line in ended.out.splitlines() if re.match(r"fail +BN-", line)]
    assert len(rows) >= 2
    assert len({line.index("  ", line.index("BN-")) for line in rows}) == 1
    assert len({re.match(r"fail  BN-\d+  \S+ +", line).end() for line in rows}) == 1  # type: ignore[union-attr]
    assert re.search(r"\d+ cases, \d+ steps, \d+ requirement checks in [\d.]+ s with 1 worker;", ended.out)
    assert ended.out.endswith("Results: results/results.jsonl.gz\nReport:  results/report.html\n")


def test_list_names_everything() -> None:
    """The list has every implementation, group and requirement with its claim."""
    listed = invoke("list")
    assert listed.code == 0
    assert all(f"  {name} " in listed.out for name in targets.known_names())
    assert all(f"  {r.id}  {r.claim}\n" in listed.out for r in CATALOGUE.values())


@pytest.mark.parametrize("name", ["run", "list", "replay", "report", "conventions"])
def test_help_explains_every_option(name: str) -> None:
    """Each command's help shows all of its options, and every option has a help text."""
    group = typer.main.get_command(app)
    found = group.commands[name]  # type: ignore[attr-defined]
    ended = invoke(name, "--help")
    assert ended.code == 0
    for parameter in found.params:
        assert getattr(parameter, "help", None), parameter.name
        assert any(option in ended.out for option in parameter.opts) or parameter.metavar in ended.out


def test_the_commands_of_the_readme_exist() -> None:
    """Every command line of bn-conformance in the README has a command and options that exist."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    bn-conformance (\w+)(.*?)(?:#.*)?$", readme, flags=re.MULTILINE)
    group = typer.main.get_command(app)
    assert {"run", "list", "replay", "report"} <= {name for name, _ in lines} <= set(group.commands)  # type: ignore[attr-defined]
    for name, rest in lines:
        known = {option for p in group.commands[name].params for option in p.opts}  # type: ignore[attr-defined]
        assert set(re.findall(r"(?<!\S)-[-\w]+", re.sub(r'"[^"]*"', "", rest))) <= known


# The process


def test_output_survives_any_locale(folder: Path) -> None:
    """Greek letters are printed as UTF-8 under the C locale, and escaped where an encoding has none."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "γ·(x − μ)" in command("list", folder=folder, **plain).out
    escaped = command("list", folder=folder, PYTHONIOENCODING="latin-1")
    assert (escaped.code, "\\u03b3" in escaped.out) == (0, True)


def test_a_reader_that_goes_changes_nothing(folder: Path) -> None:
    """`| head` on output or progress neither breaks a command nor its exit code, and nothing is said about it."""
    python = f"{sys.executable} -m conformance"
    run = f"{python} run numpy -k BN-201 --cases 4"
    for line in (f"{python} list | head -1", f"{run} 2>/dev/null | true", f"{run} 2>&1 >/dev/null | true"):
        script = f"set -o pipefail; {line}"
        ended = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=_commands.environment(), capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, ""), line
    assert (folder / "results" / "report.html").exists()


def test_the_process_ends_with_the_verdict(folder: Path) -> None:
    """`python -m conformance` ends with 0 for what passes and 1 for what fails, with progress on standard error."""
    right = command("run", "source/mine.py:Right", *ONE, folder=folder)
    wrong = command("run", "source/mine.py:Wrong", *ONE, folder=folder)
    assert (right.code, wrong.code) == (0, 1)
    assert "Right: 1 pass" in right.err
    assert "Right conforms" in right.out
    assert results(folder / "results").header.command.startswith("bn-conformance run source/mine.py:Wrong -k BN-201")
