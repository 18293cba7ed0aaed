"""Tests of ``cmd:`` targets: programs in other languages, by the documented protocol."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.naming import Options
from conformance.introduction import introduce
from conformance.session import SessionError, open_session
from tests._commands import ONE, ROOT, invoke, outcomes, prepare, results

PROGRAM = f"cmd:{sys.executable} {Path(__file__).parent}/given/batch_norm_program.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    return prepare(tmp_path, monkeypatch)


def test_the_c_example_conforms(folder: Path) -> None:
    """The documented example compiles without warnings, and all its requirements hold."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no run: there is no C compiler, so that the C example was not tried")
    source = ROOT / "docs" / "examples" / "batchnorm.c"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(folder / "batchnorm"), str(source), "-lm"]
    subprocess.run(command, check=True)
    ended = invoke("run", "cmd:./batchnorm", "--cases", "12")
    found = [outcome for (_, who), outcome in outcomes(results(folder / "results")).items() if who == "batchnorm"]
    assert ended.code in (0, 3), ended.out
    assert set(found) <= {"pass", "unsupported", "mistrusted"}, ended.out
    assert found.count("pass") > len(found) / 2


def test_a_program_without_declarations_is_measured(folder: Path) -> None:
    """Conventions that hello does not give are measured and shown; the program conforms to them."""
    ended = invoke("run", PROGRAM, "-k", "BN-1 or BN-3", "--cases", "8")
    assert "fail" not in outcomes(results(folder / "results")).values()
    assert "declares no conventions; measured and used: moving_variance = biased" in ended.err


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("prints", "answered 'step 1: loss 0.5' to 'train 1', expected ok, unsupported or error"),
        ("exits", "the program exited with code 3 instead of answering 'train 1'"),
        ("misspells", "hello says 'epsilon_flor', which means nothing; did you mean epsilon_floor"),
        ("refuses", "only on Sundays"),
        ("hangs", "call 0 (train) did not return within"),
        ("dies", "killed by SIGSEGV during call 0 (train)"),
    ],
)
def test_bad_programs_are_named(how: str, message: str, folder: Path) -> None:
    """What a program does wrong is said in one line; the other implementation is run."""
    ended = invoke("run", f"{PROGRAM} {how}", "numpy", *ONE, "--timeout", "0.7")
    found = outcomes(results(folder / "results"))
    (name,) = {who for _, who in found} - {"numpy"}
    assert found["BN-201", "numpy"] == "pass"
    assert found["BN-201", name] == "no run"
    assert message in ended.out


def test_a_program_that_is_not_there(folder: Path) -> None:
    """The message names the program, and what the system says."""
    ended = invoke("run", "cmd:./nowhere --fast", *ONE)
    assert ended.code == 3
    assert "cannot start" in ended.out
    assert "No such file or directory" in ended.out


def test_a_program_ends_with_its_session() -> None:
    """Nothing is left running when the session is closed."""
    with open_session(PROGRAM, in_process=True) as session:
        introduce(session, "program")
        process = session.adapter._program.process  # type: ignore[attr-defined]
        assert process.poll() is None
    with pytest.raises(SessionError, match="--map is for arguments"):
        open_session(PROGRAM, in_process=True, options=Options((("a", "epsilon"),)))
