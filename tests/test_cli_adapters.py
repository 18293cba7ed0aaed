"""Tests of running and replaying adapters of one's own: what cannot be used is named, what fails can be run again."""

import re
from pathlib import Path

import pytest

from adapters import registry
from adapters.registry import Entry
from conformance import targets
from conformance.case import load, save
from tests._commands import ONE, invoke, outcomes, prepare, results
from tests._programs import HOSTILE, hostile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    return prepare(tmp_path, monkeypatch)


# Adapters


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("declarations.py:Incomplete", "lacks conventions(self, spec"),
        ("declarations.py:RaisesInDescribe", "describe() raised: KeyError: 'version'"),
        ("declarations.py:RaisesWhenMade", "libcudart.so.99: cannot open"),
        ("declarations.py:UnknownCapability", "Capabilities has no field 'tapes'; did you mean tape"),
        ("declarations.py:UnknownConvention", "Conventions has no field 'epsilon_flor'; did you mean epsilon_floor"),
        ("declarations.py:UnknownEstimator", "moving_variance is 'unbaised'"),
        ("declarations.py:NotAnAdapter", "NotAnAdapter is no subclass of adapters.interface.BatchNormAdapter"),
        ("declarations.py:NeedsArguments", "needs device; adapters are made without arguments"),
        ("declarations.py:Incomplet", "has no class Incomplet; did you mean Incomplete"),
        ("quits_on_import.py:Any", "importing it failed: SystemExit: usage: quits_on_import.py FILE"),
        ("processes.py:DiesWhenLoaded", "its host exited with code 7 while importing it"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_named(target: str, message: str, folder: Path) -> None:
    """One line names adapter and fault, without a traceback; nothing passes, the code is 3, and a report is written."""
    ended = invoke("run", f"{HOSTILE}/{target}", "-k", "BN-201", "--cases", "1")
    name = target.rsplit(":", maxsplit=1)[1]
    (line,) = [line for line in ended.out.splitlines() if line.startswith("no run")]
    assert ended.code == 3
    assert name in line
    assert message in line
    assert "Traceback" not in ended.out + ended.err
    assert f"{name} did not run" in ended.out
    assert Path("results/report.html").exists()


def test_debug_shows_where_an_adapter_raised(folder: Path) -> None:
    """With --debug the traceback in the adapter's own code is shown too."""
    ended = invoke("run", hostile("declarations:RaisesInDescribe"), "-k", "BN-201", "--cases", "1", "--debug")
    assert "Traceback" in ended.out
    assert 'raise KeyError("version")' in ended.out


def test_adapters_are_found_by_file_by_name_and_by_path(folder: Path) -> None:
    """file.py:Class, package.module:Class from here, and with --path from elsewhere, all find the same class."""
    by_file = invoke("run", "source/mine.py:Right", *ONE)
    by_path = invoke("run", "mine:Right", *ONE, "--path", "nowhere", "--path", "source")
    by_name = invoke("run", "source.mine:Right", *ONE)
    missing = invoke("run", "mine:Right", *ONE)
    assert [by_file.code, by_path.code, by_name.code, missing.code] == [0, 0, 0, 3]
    assert "mine:Right: no module named 'mine' here or in" in missing.out


def test_a_framework_that_is_missing_does_not_stop_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation without its framework is "no run" with what to install; the list says so; the others run."""
    ghost = Entry("ghost", "adapters.ghost:Ghost", "no_such_framework", "ghost", "a framework that nobody has")
    for module in (registry, targets):
        monkeypatch.setattr(module, "REGISTRY", (*registry.REGISTRY, ghost))
    ended = invoke("run", "ghost", "numpy", *ONE)
    reason = 'no_such_framework is not installed here: pip install "bn-conformance[ghost]"'
    assert ended.code == 3
    assert f"no run  1 of 1  ghost  ghost: {reason}" in ended.out
    assert outcomes(results(folder / "results")) == {("BN-201", "ghost"): "no run", ("BN-201", "numpy"): "pass"}
    assert f"not available: {reason}" in invoke("list").out


# Replay


def test_a_failure_is_replayed_by_the_command_that_is_printed(folder: Path) -> None:
    """The command beside a counterexample, run as it is, fails again on the same adapter and shows the claim."""
    ended = invoke("run", "mine:Wrong", *ONE, "--path", "source")
    (printed,) = re.findall(r"again: bn-conformance (replay .*)", ended.out)
    replayed = invoke(*printed.split())
    assert replayed.code == 1
    assert "Wrong: numpy" in replayed.out
    assert re.search(r"BN-201 fails: .*\n    step \d, y\[", replayed.out)
    assert "Case(spec=Spec(" in replayed.out


def test_a_case_is_replayed_on_another_implementation(folder: Path) -> None:
    """The same case holds on an implementation that is right, fails on one that is wrong, and says how many."""
    invoke("run", "source/mine.py:Wrong", *ONE)
    file = Path("results/cases/BN-201-Wrong-smallest.json")
    held = invoke("replay", file, "--implementation", "numpy")
    assert held.code == 0
    assert re.search(r"  0 fail, [1-9]\d* hold, \d+ say nothing of this case", held.out)
    assert invoke("replay", file, "--implementation", "numpy", "--in-process").code == 0
    assert invoke("replay", file, "--in-process").code == 1
    unknown = invoke("replay", file, "--implementation", "nmpy")
    assert (unknown.code, "did you mean numpy" in unknown.err) == (2, True)
    unusable = invoke("replay", file, "--implementation", hostile("declarations:RaisesInDescribe"))
    assert (unusable.code, unusable.err.count("\n")) == (3, 1)


def test_a_case_that_an_implementation_refuses_is_not_said_to_hold(folder: Path) -> None:
    """Where nothing could be judged replay ends with code 3 and the reason; a crash ends with 1 and last words."""
    invoke("run", "source/mine.py:Wrong", *ONE)
    file = Path("results/cases/BN-201-Wrong-worst.json")
    refused = invoke("replay", file, "--implementation", hostile("results:Refuses"))
    assert refused.code == 3
    assert "unsupported: epsilon 0.001 is below the 0.01 of the hardware" in refused.out
    died = invoke("replay", file, "--implementation", hostile("results:RaisesInBuild"))
    assert died.code == 1
    assert "fails: " in died.out


def test_a_case_of_an_unknown_requirement_or_of_nobody(folder: Path) -> None:
    """A file that names no implementation asks for one; a requirement that is not there is named."""
    invoke("run", "source/mine.py:Wrong", *ONE)
    case, _, _ = load(Path("results/cases/BN-201-Wrong-smallest.json"))
    save(case, Path("nobody.json"))
    save(case, Path("retired.json"), requirement="BN-999", implementation="numpy")
    nobody, retired = invoke("replay", "nobody.json"), invoke("replay", "retired.json")
    assert (nobody.code, retired.code) == (2, 2)
    assert "nobody.json names no implementation: choose one with --implementation" in nobody.err
    assert "retired.json speaks of requirement BN-999" in retired.err
