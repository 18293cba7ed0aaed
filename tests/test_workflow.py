"""Tests of the nightly workflow: its shell steps, run in order with stand-ins for tox, gh and pip."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests._commands import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["night"]["steps"]
#: A stand-in notes how it was called, reads what it is given, and does what its own file says.
STAND_IN = """#!/bin/bash
printf '%s\\n' "{name} $*" >>"$CALLS"
if [[ "$*" == *--body-file* ]]; then cat >"$CALLS.body"; fi
{body}
"""
FOUND = """
mkdir -p results/night history/20261101T020000Z
touch history/20261101T020000Z/current.jsonl.gz
echo '## 1 check newly fails' >results/night/summary.md
printf '# BN-101 newly fails on `x $(touch hacked)`\\n\\nBody with "quotes".\\n' >results/night/issue.md
exit 1
"""
CLEAN = """
mkdir -p results/night
rm -f results/night/issue.md
echo '## Nothing newly fails' >results/night/summary.md
"""


class Ran(NamedTuple):
    """What a run of the workflow came to."""

    codes: dict[str, int]
    calls: list[str]
    summary: str
    body: str


def expand(text: str, outputs: dict[str, str]) -> str:
    """Fill in the expressions of a step's environment, as the runner does."""
    values = {"inputs.arguments": "--profile quick", "steps.night.outputs.code": outputs.get("code", "")}
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: values[match[1]], text)


def run_workflow(folder: Path, **bodies: str) -> Ran:
    """Run the shell steps in a folder: after a failure only those that always run."""
    (folder / ".ci").mkdir(exist_ok=True)
    shutil.copy(ROOT / ".ci" / "nightly", folder / ".ci" / "nightly")
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("tox", "gh", "python"):
        (programs / name).write_text(STAND_IN.format(name=name, body=bodies.get(name, "")), encoding="utf-8")
        (programs / name).chmod(0o755)
    files = {name: folder / name.lower() for name in ("CALLS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in (*files.values(), folder / "calls.body"):
        file.write_text("", encoding="utf-8")
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        **{name: str(file) for name, file in files.items()},
    }
    codes: dict[str, int] = {}
    for step in STEPS:
        if "run" not in step or (any(codes.values()) and step.get("if") != "always()"):
            continue
        outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines())
        more = {name: expand(value, outputs) for name, value in step.get("env", {}).items()}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, env={**environment, **more}, check=False)
        codes[step["name"]] = done.returncode
    texts = [file.read_text(encoding="utf-8") for file in (files["CALLS"], files["GITHUB_STEP_SUMMARY"])]
    return Ran(codes, texts[0].splitlines(), texts[1], (folder / "calls.body").read_text(encoding="utf-8"))


def test_a_night_with_something_new_opens_an_issue_and_fails_last(tmp_path: Path) -> None:
    """The summary is shown, the issue has title and body to the letter, and only the verdict fails."""
    ran = run_workflow(tmp_path, tox=FOUND)
    assert ran.codes == {step["name"]: int(step["name"] == "Verdict") for step in STEPS if "run" in step}
    assert "tox run -e nightly -- --minutes 320 -n 4 --keep 120 --profile quick" in ran.calls
    assert ran.calls[-1] == "gh issue create --title BN-101 newly fails on `x $(touch hacked)` --body-file -"
    assert ran.body == 'Body with "quotes".\n'
    assert ran.summary == "## 1 check newly fails\n"
    assert not (tmp_path / "hacked").exists()


def test_what_newly_fails_again_is_told_in_the_open_issue(tmp_path: Path) -> None:
    """Where an issue of that title is open there is a comment on it, and no second one."""
    ran = run_workflow(tmp_path, tox=FOUND, gh="if [[ $1 == issue && $2 == list ]]; then echo 17; fi")
    assert ran.calls[-1] == "gh issue comment 17 --body-file -"
    assert ran.body == 'Body with "quotes".\n'
    assert not any(call.startswith("gh issue create") for call in ran.calls)


def test_a_night_without_anything_new_succeeds(tmp_path: Path) -> None:
    """No issue is opened, and all steps succeed."""
    ran = run_workflow(tmp_path, tox=CLEAN)
    assert set(ran.codes.values()) == {0}
    assert not any(call.startswith("gh issue") for call in ran.calls)


def test_a_night_that_breaks_is_told_and_fails(tmp_path: Path) -> None:
    """Where tox leaves nothing, the summary says so and the workflow fails with its code."""
    ran = run_workflow(tmp_path, tox="exit 3")
    assert ran.codes["Verdict"] == 3
    assert ran.summary == "The night left no summary: see its log.\n"


@pytest.mark.parametrize(("listed", "downloads"), [("echo 4711", True), ("", False)])
def test_the_history_comes_from_the_last_artifact_where_the_cache_has_none(
    tmp_path: Path, listed: str, downloads: bool
) -> None:
    """Without a history the last completed run's artifact is asked for; the first night ever has none, and goes on."""
    body = f"if [[ $1 == run && $2 == list ]]; then\n{listed or ':'}\nfi"
    ran = run_workflow(tmp_path, tox=CLEAN, gh=body)
    assert ("gh run download 4711 --name history --dir history" in ran.calls) == downloads
    assert ran.codes["Verdict"] == 0
    (tmp_path / "history" / "20261101T020000Z").mkdir(parents=True)
    (tmp_path / "history" / "20261101T020000Z" / "current.jsonl.gz").touch()
    again = run_workflow(tmp_path, tox=CLEAN, gh=body)
    assert not any(call.startswith("gh run") for call in again.calls)


def test_a_lost_artifact_does_not_stop_the_night(tmp_path: Path) -> None:
    """Where the artifact has expired, the night runs as the first one."""
    ran = run_workflow(tmp_path, tox=CLEAN, gh="if [[ $2 == list ]]; then echo 4711; else exit 1; fi")
    assert set(ran.codes.values()) == {0}


def test_a_cancelled_run_does_not_make_everything_new(tmp_path: Path) -> None:
    """Where the last run left no history, that of the one before it is taken: else all that fails would be news."""
    listed = "if [[ $2 == list ]]; then printf '4712\\n4711\\n4710\\n'; elif [[ $3 != 4711 ]]; then exit 1; fi"
    ran = run_workflow(tmp_path, tox=CLEAN, gh=listed)
    assert [call.split()[3] for call in ran.calls if call.startswith("gh run download")] == ["4712", "4711"]


def test_the_workflow_and_its_script_agree() -> None:
    """Every subcommand of the script is a step; cache, artifact and tox keep the history in the same folder."""
    script = (ROOT / ".ci" / "nightly").read_text(encoding="utf-8")
    ran = [step["run"].partition(" ")[2] for step in STEPS if step.get("run", "").startswith(".ci/nightly")]
    (offered,) = re.findall(r"usage: \.ci/nightly (\S+)", script)
    assert sorted(ran) == sorted(offered.strip('"').split("|"))
    kept = [step["with"]["path"] for step in STEPS if "history" in str(step.get("with", {}).get("path"))]
    assert kept == ["history", "history", "history"]
    assert "--history {tox_root}{/}history" in (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)
    assert WORKFLOW["permissions"] == {"actions": "read", "contents": "read", "issues": "write"}
