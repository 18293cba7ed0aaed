"""What a run says while it goes on and at its end."""

from pathlib import Path

import msgspec
import pytest

from conformance.plan import Plan
from conformance.progress import summary, watch
from conformance.requirements import CATALOGUE
from conformance.runner import Event
from conformance.targets import Target
from conformance.unit import Unit, not_run
from reports.verdict import Verdict
from tests.sample_results import sample


def test_why_nothing_is_run_is_said_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Three families of an implementation that cannot be had are one line; another reason is another line."""
    plan = Plan((), tuple(CATALOGUE), {}, tmp_path)
    with watch() as tell:
        for family in (1, 2, 3):
            tell(Event(done=not_run(Unit(Target("mine", "mine:Mine"), family), plan, "it is not there")))
        tell(Event(done=not_run(Unit(Target("mine", "mine:Mine"), 4), plan, "it went away")))

    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].endswith("no run, it is not there")
    assert told[1].endswith("no run, it went away")


def test_each_likely_cause_is_named() -> None:
    """Where there are several causes the summary has one line for each, with its share of what fails."""
    run = sample()
    failing = [r for r in run.results if r.outcome == "fail"]
    first, second = (msgspec.structs.replace(r, cause=f"Cause {n}.") for n, r in enumerate(failing[:2]))
    others = [msgspec.structs.replace(r, cause="") for r in failing[2:]]
    several = msgspec.structs.replace(run, results=[first, second, *others])
    one = msgspec.structs.replace(run, results=[first, *others])
    verdict = Verdict(sentence="It fails.", say="Twice.", exit_code=1, tally={})

    lines = summary(several, verdict)

    at = lines.index("Likely causes:")
    assert [line.split(": ")[1].split(" (")[0] for line in lines[at + 1 : at + 3]] == ["Cause 0.", "Cause 1."]
    assert "Likely causes:" not in summary(one, verdict)
