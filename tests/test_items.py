"""Tests of the suite in pytest: ``pytest conformance`` has an item per requirement and implementation."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance import test_conformance as conformance
from reports.records import OUTCOMES, Counterexample, Outcome, Result
from tests._commands import FAULTY, ROOT, Ended, environment
from tests._programs import hostile


def items(*arguments: str | Path, out: Path) -> Ended:
    """Run ``pytest conformance`` in a process of its own, without the options that this process was given."""
    line = [sys.executable, "-m", "pytest", "conformance", "-p", "no:cacheprovider", "--out", out, *arguments]
    env = {key: value for key, value in environment().items() if not key.startswith("PYTEST")}
    ended = subprocess.run([str(a) for a in line], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def made(outcome: Outcome, **more: Any) -> Result:
    """A result."""
    return Result(requirement="BN-101", revision=1, implementation="torch", outcome=outcome, reason="why", **more)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_becomes_what_pytest_calls_it(outcome: Outcome) -> None:
    """Good outcomes pass, what was not judged is skipped, known failures are expected, everything else fails."""
    expected: dict[Outcome, type[BaseException] | None] = {
        "pass": None,
        "deviates": None,
        "unsupported": pytest.skip.Exception,
        "no run": pytest.skip.Exception,
        "known failure": pytest.xfail.Exception,
    }
    wanted = expected.get(outcome, pytest.fail.Exception)
    if wanted is None:
        conformance.test_requirement(made(outcome))
    else:
        with pytest.raises(wanted, match="why"):
            conformance.test_requirement(made(outcome))


def test_a_failure_explains_itself() -> None:
    """The message holds the claim, the reason, the smallest case, the command that runs it again, and last words."""
    example = Counterexample(kind="smallest", ratio=3.0, code="case = 1\n", command="bn-conformance replay f.json")
    text = conformance.explanation(made("crash", counterexamples=[example], stderr=["its last words"]), "It holds.")
    claim, *rest = text.splitlines()
    assert claim == "BN-101 on torch: It holds."
    assert rest == [
        "crash: why",
        "Smallest counterexample:",
        "case = 1",
        "Again: bn-conformance replay f.json",
        "its last words",
    ]


def test_items_of_a_right_and_a_faulty_implementation(tmp_path: Path) -> None:
    """The faulty one's items fail with case and command, all others pass, and -k selects as the command line does."""
    names = ("--implementation", "numpy", "--implementation", FAULTY)
    ended = items(*names, "-k", "BN_101 or gradients and BN-401", "--cases", "8", "-rA", out=tmp_path)
    item = "conformance/test_conformance.py::test_requirement"
    assert ended.code == 1, ended.out
    assert f"PASSED {item}[BN-101-numpy]" in ended.out
    assert f"FAILED {item}[BN-101-UnbiasedNormalization]" in ended.out
    assert f"{item}[BN-401-numpy]" in ended.out
    assert "BN-201" not in ended.out
    assert "fail: y is off by" in ended.out
    assert "case = Case(" in ended.out
    assert f"Again: bn-conformance replay {tmp_path}/cases/BN-101-UnbiasedNormalization-smallest.json" in ended.out
    assert (tmp_path / "cases" / "BN-101-UnbiasedNormalization-smallest.json").exists()


def test_what_is_not_run_is_said_loudly(tmp_path: Path) -> None:
    """An adapter that cannot be used is skipped with its reason, and a section of its own says that it was not run."""
    ended = items("--implementation", hostile("declarations:Incomplete"), "-k", "BN-2", "--cases", "2", out=tmp_path)
    assert "not run" in ended.out
    assert "requirements: " in ended.out
    assert "class Incomplete" in ended.out
    assert "passed" not in ended.out


def test_workers_keep_the_items_of_a_unit_together(tmp_path: Path) -> None:
    """With -n 2 every family is run by one worker, on cases that were drawn once, and finds the same."""
    ended = items("-n", "2", "-v", "-k", "BN-1 or BN-2", "--cases", "8", out=tmp_path)
    lines = [line.split() for line in ended.out.splitlines() if " PASSED " in line]
    ran_by = {(line[0], line[-1].split("[BN-")[1][0]) for line in lines}
    assert ended.code == 0, ended.out
    assert len(lines) > 10
    assert len(ran_by) == 2


def test_mistakes_are_usage_errors_of_pytest(tmp_path: Path) -> None:
    """An unknown implementation ends pytest with its code for wrong usage and one message, also with workers."""
    for options in ([], ["-n", "2"]):
        ended = items("--implementation", "nmpy", *options, out=tmp_path)
        assert ended.code == pytest.ExitCode.USAGE_ERROR
        assert "ERROR: no implementation is called 'nmpy': did you mean numpy?" in ended.err
        assert "Traceback" not in ended.out + ended.err


def test_plain_pytest_does_not_start_the_big_job() -> None:
    """Without arguments pytest collects the tests of the suite alone."""
    line = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-k", "test_requirement"]
    ended = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert "conformance/test_conformance.py" not in ended.stdout
    assert "deselected" in ended.stdout


def test_scenarios_are_items_where_they_are_asked_for(tmp_path: Path) -> None:
    """With --scenarios the trainings are items, too, which -k selects by name; without it they are not collected."""
    pytest.importorskip("sklearn", reason="no run: scikit-learn is not installed")
    chosen = ("--in-process", "-k", "evaluation and changes or BN_904", "-rA")
    ended = items("--scenarios", *chosen, out=tmp_path)
    item = "conformance/test_scenarios.py::test_scenario"
    assert ended.code == 0, ended.out
    assert [f"PASSED {item}[{id_}-numpy]" in ended.out for id_ in ("BN-904", "BN-914", "BN-901")] == [True, True, False]
    assert items(*chosen, out=tmp_path).code == pytest.ExitCode.NO_TESTS_COLLECTED
