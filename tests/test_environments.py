"""Tests of framework environments: what is listed, which Python is found, what is built, and who runs where."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from conformance import _interpreters, environments
from conformance._builds import CACHE, BuildError, Recipe, build, cache_folder, existing, remove
from conformance._interpreters import MissingInterpreterError
from conformance.environments import Environments
from conformance.targets import UsageError
from tests._commands import ONE, ROOT, invoke, results

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ENTRIES = f"""
[[environment]]
name = "first"
python = "{HERE}"
requires = ["one==1"]
labels = ["both"]
variables = {{ FAMOUS = "yes" }}
implementations = ["numpy", "tf_graph"]

[[environment]]
name = "second"
python = "{HERE}"
requires = ["two==2"]
labels = ["both"]
implementations = ["torch"]

[[environment]]
name = "lost"
python = "3.1"
requires = ["three==3"]
implementations = ["numpy"]
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environments:
    """A file of environments in the current folder, and a cache beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    (tmp_path / "environments.toml").write_text(ENTRIES, encoding="utf-8")
    return environments.read()


def pretend(listed: Environments, name: str) -> None:
    """Make it look as if an environment had been built: its Python is the one of these tests."""
    recipe, cache = listed.get(name).recipe, cache_folder()
    python = cache / recipe.folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (cache / recipe.folder / "built.json").write_text(json.dumps({"python": "3.11.0"}), encoding="utf-8")
    (cache / f"{recipe.folder}.lock").write_text("one==1\n", encoding="utf-8")


def wheel(folder: Path, name: str, version: str) -> None:
    """Write an empty distribution."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


# What is listed


def test_the_suites_own_file_lists_every_version_once() -> None:
    """The file that comes with the suite is well-formed, and has the versions that the project promises."""
    found = environments.read(ROOT / "environments.toml")
    assert {"tf0.12", "tf1.4", "tf1.15", "tf2.15", "tf2.21"} <= set(found.names)
    assert all(entry.implementations for entry in found.entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[environment]]\nname = 'x'", "missing required field"),
        (ENTRIES.replace('"torch"', '"trch"'), "no implementation 'trch': did you mean torch"),
        (ENTRIES.replace('"second"', '"first"'), "a name of its own"),
        (ENTRIES.replace('"second"', '"current"'), "none is 'current'"),
        ("[[environment]", "environments.toml: "),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(listed: Environments, text: str, message: str) -> None:
    """What is wrong with a list of environments is said with its name."""
    listed.file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"environments\.toml") as error:
        environments.read()
    assert message in str(error.value)


def test_labels_stand_for_environments(listed: Environments) -> None:
    """A label stands for all that bear it, "all" for all; what is neither is named with its like."""
    assert listed.expand(["both", "current", "first"]) == ("first", "second", "current")
    assert listed.expand(["all"]) == ("first", "second", "lost")
    with pytest.raises(UsageError, match=r"'secnd'.*did you mean second\?"):
        listed.expand(["secnd"])


def test_current_is_a_label_where_there_is_nothing_to_run(listed: Environments) -> None:
    """To build "current" means the environments of that label: the interpreter of the suite is there already."""
    listed.file.write_text(ENTRIES.replace('labels = ["both"]', 'labels = ["current"]', 1), encoding="utf-8")
    labelled = environments.read()
    assert labelled.expand(["current"]) == ("current",)
    assert labelled.expand(["current"], here=False) == ("first",)
    with pytest.raises(UsageError, match="'current'"):
        listed.expand(["current"], here=False)


# Who runs where


def test_names_are_spread_over_environments(listed: Environments) -> None:
    """Without names each environment runs its own; a name runs wherever it is to be had, a user's class everywhere."""

    def spread(names: list[str], chosen: list[str]) -> tuple[str, ...]:
        return environments.spread(names, chosen, ["numpy"], listed)

    members = environments.members(listed.get("first"))
    assert members[0] == "numpy"
    assert "tf_graph.nn" in members
    assert spread([], ["first", "current"]) == (*(f"{name}@first" for name in members), "numpy")
    assert spread(["torch", "numpy"], ["both"]) == ("numpy@first", "torch@second")
    assert spread(["a.b:C"], ["first", "current"]) == ("a.b:C@first", "a.b:C")
    with pytest.raises(UsageError, match="none of the chosen environments has torch: second would"):
        spread(["torch"], ["first"])
    with pytest.raises(UsageError, match="no implementation is called 'trch'"):
        spread(["trch"], ["first"])


def test_an_implementation_runs_in_its_environment(listed: Environments) -> None:
    """One run mixes environments: each result says where it comes from, with what was resolved there."""
    pretend(listed, "first")
    ended = invoke("run", "numpy", "--env", "first", "--env", "current", *ONE)
    assert ended.code == 0, ended.err
    header = results(Path("results")).header
    first, current = header.implementations
    assert (first.name, current.name) == ("numpy@first", "numpy")
    assert first.details["environment"] == "first: one==1"
    assert first.details["lock"].endswith("(1 distributions)")
    assert "environment" not in current.details


def test_a_lost_environment_is_no_run_and_stops_nobody(listed: Environments) -> None:
    """Where the interpreter is missing, the reason and the remedy stand in the results, and the others run."""
    pretend(listed, "first")
    ended = invoke("run", "numpy", "--env", "lost", "--env", "first", *ONE)
    assert ended.code == 3
    outcomes = {r.implementation: (r.outcome, r.reason) for r in results(Path("results")).results}
    assert outcomes["numpy@first"][0] == "pass"
    outcome, reason = outcomes["numpy@lost"]
    assert outcome == "no run"
    assert "there is no Python 3.1" in reason
    assert "pyenv install 3.1" in reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numpy@frst"], "no environment is called 'frst'"),
        (["torch@first"], "first has no torch"),
        (["numpy@first", "--in-process"], "cannot be combined with an environment"),
        (["--env", "nowhere"], "no environment is called 'nowhere'"),
    ],
)
def test_a_mistaken_environment_is_named(listed: Environments, arguments: list[str], message: str) -> None:
    """A request for what an environment does not have ends with code 2, before anything is built."""
    ended = invoke("run", *arguments)
    assert (ended.code, message in ended.err) == (2, True)


def test_a_case_of_an_environment_is_replayed_there(listed: Environments) -> None:
    """A case file names its implementation with the environment, and replay follows it."""
    pretend(listed, "first")
    faulty = "conformance.zoo.statistics:UnbiasedNormalization"
    assert invoke("run", f"{faulty}@first", "-k", "BN-101", "--cases", "20", "--path", str(ROOT)).code == 1
    (case,) = Path("results/cases").glob("*smallest*.json")
    ended = invoke("replay", case, "--path", str(ROOT))
    assert ended.code == 1
    assert "UnbiasedNormalization@first" in ended.out


# Which Python is found


def interpreter(path: Path, *lines: str) -> Path:
    """A program that answers like a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_interpreters_are_looked_for_on_path_then_under_pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH comes first, a shim with nothing behind it is passed over, and pyenv's newest is taken."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}:/usr/bin:/bin")
    interpreter(tmp_path / "shims" / "python3.6", "exit 127")
    for version in ("3.6.9", "3.6.15", "3.61.0"):
        interpreter(tmp_path / "pyenv/versions" / version / "bin/python", f"echo {version}", 'echo "$0"')
    found = _interpreters.find("3.6", download=False)
    assert (found.version, found.place) == ("3.6.15", "pyenv")
    interpreter(tmp_path / "bin" / "python3.6", "echo 3.6.1", 'echo "$0"')
    found = _interpreters.find("3.6", download=False)
    assert (found.version, found.place, found.executable) == ("3.6.1", "PATH", str(tmp_path / "bin/python3.6"))


def test_a_missing_interpreter_comes_with_a_remedy() -> None:
    """Where there is none, the error says where it was looked for and how to get one."""
    with pytest.raises(MissingInterpreterError, match=r"no Python 3\.1 on PATH or under pyenv.*`pyenv install 3\.1`"):
        _interpreters.find("3.1", download=False)


# What is built and kept


def test_an_environment_is_built_once_and_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels come from pip's find-links; a second build finds the first; the lock outlives newer versions."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    wheel(tmp_path / "wheels", "bnone", "1.0")
    recipe = Recipe("tiny", HERE, ("bnone",), ())
    first = build(recipe, tmp_path)
    assert first.lock == ("bnone==1.0",)
    assert first.seconds > 0
    assert build(recipe, tmp_path) == first._replace(seconds=0.0)
    wheel(tmp_path / "wheels", "bnone", "2.0")
    (first.folder / "built.json").unlink()
    assert build(recipe, tmp_path).lock == ("bnone==1.0",)
    assert build(recipe, tmp_path, upgrade=True).lock == ("bnone==2.0",)
    assert remove(recipe, tmp_path)
    assert existing(recipe, tmp_path) is None
    assert not remove(recipe, tmp_path)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requirement that cannot be met is named with a remedy, and no half environment stays behind."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(BuildError, match=r"bnone.*remedy"):
        build(Recipe("tiny", HERE, ("bnone",), ()), tmp_path)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_overrides_leave_out_what_packages_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An override with a marker that is never true keeps a dependency away."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    for name in ("bnone", "bntwo"):
        wheel(tmp_path / "wheels", name, "1.0")
    recipe = Recipe("tiny", HERE, ("bnone", "bntwo"), ("bntwo ; sys_platform == 'never'",))
    assert build(recipe, tmp_path).lock == ("bnone==1.0",)


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the variable, the variable over the user's cache folder."""
    monkeypatch.setenv(CACHE, str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "option") == tmp_path / "option" / "environments"
    assert cache_folder() == tmp_path / "variable" / "environments"
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    if sys.platform.startswith("linux"):
        assert cache_folder() == tmp_path / "user" / "bn-conformance" / "environments"


# The commands


def test_env_list_tells_what_there_is(listed: Environments) -> None:
    """Each environment is listed with what it has, whether it is built, and why it cannot be."""
    pretend(listed, "first")
    ended = invoke("env", "list")
    assert ended.code == 0
    assert "built in" in ended.out
    assert "there is no Python 3.1" in ended.out
    assert "has numpy, tf_graph" in ended.out


def test_env_create_and_remove_say_what_they_did(listed: Environments) -> None:
    """What is there is kept, what cannot be built is a code 3 with the reason, what is removed is gone."""
    pretend(listed, "first")
    ended = invoke("env", "create", "first", "lost")
    assert ended.code == 3
    assert "first: was there" in ended.out
    assert "lost: no run: there is no Python 3.1" in ended.out
    assert invoke("env", "remove", "first").out == "first: removed\n"
    assert invoke("env", "remove", "first").out == "first: was not there\n"
    assert invoke("env", "create").code == 2


def test_a_report_joins_what_environments_left_in_their_order(listed: Environments) -> None:
    """A folder of runs is one report, its columns in the order of the environments, not of the alphabet."""
    for name in ("second", "first", ""):
        ended = invoke("run", "numpy", *ONE, "--out", Path("results", name))
        assert ended.code == 0
    assert environments.results_below(Path("results")) == [
        Path("results/results.jsonl.gz"),
        Path("results/first/results.jsonl.gz"),
        Path("results/second/results.jsonl.gz"),
    ]
    ended = invoke("report", "results", "-o", "matrix.html")
    assert (ended.code, Path("matrix.html").is_file()) == (0, True)
    assert environments.results_below(Path("cache")) == [Path("cache")]
