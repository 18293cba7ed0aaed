"""Tests of what a night says: new failures, fixes, cells closer to their bound and versions, each told by itself."""

import re
from pathlib import Path

import msgspec
import pytest

from reports import nightly, nightly_changes, nightly_text, summary
from reports.history import History
from reports.nightly_changes import Night
from reports.nightly_strips import by_environment, trend
from reports.verdict import verdict
from tests.sample_nights import NAMES, Cells, add, after, results, write
from tests.sample_results import HOSTILE, hostile

CELL = ("BN-101", "torch@latest")
OTHER = ("BN-102", "keras@latest")
FAIL: Cells = {CELL: ("fail", 40.0)}
NOTHING: Cells = {}


def cells(found: list[nightly_changes.Change]) -> list[tuple[str, str]]:
    """Which cells a list has."""
    return [(change.requirement, change.implementation) for change in found]


def test_a_fault_is_new_once_then_stands_then_is_fixed(tmp_path: Path) -> None:
    """Night by night: nothing, exactly the faulty cell is new, it still fails since then, it is fixed, nothing."""
    told = []
    for day, tonight in enumerate([NOTHING, FAIL, FAIL, NOTHING, NOTHING]):
        found = nightly_changes.night(History(tmp_path / "history"), add(tmp_path, day, tonight))
        changes = found.changes
        standing = [(s.requirement, s.implementation, s.since) for s in changes.standing]
        told.append((cells(changes.new), standing, cells(changes.fixed), found.exit_code))
    assert told == [
        ([], [], [], 0),
        ([CELL], [], [], 1),
        ([], [(*CELL, "20261102T020000Z")], [], 0),
        ([], [], [CELL], 0),
        ([], [], [], 0),
    ]


def test_fixes_and_failures_are_not_netted(tmp_path: Path) -> None:
    """One fixed and one newly failing cell are one of each, and the night fails."""
    found = after(tmp_path, FAIL, {OTHER: ("fail", 3.0)})
    assert (cells(found.changes.new), cells(found.changes.fixed), found.exit_code) == ([OTHER], [CELL], 1)
    assert nightly.sentence(found) == "1 check newly fails, 1 is fixed"


@pytest.mark.parametrize("outcome", ["no run", "mistrusted"])
def test_a_night_without_verdict_neither_fixes_nor_renews(tmp_path: Path, outcome: str) -> None:
    """A failing cell that was not run or not trusted for a night is neither fixed nor new afterwards."""
    nights: list[Cells] = [NOTHING, FAIL, {CELL: (outcome, 0.0)}, FAIL]  # type: ignore[dict-item]
    silent = after(tmp_path, *nights[:3])
    assert (silent.changes.new, silent.changes.fixed) == ([], [])
    assert [(m.implementation, m.outcome, m.cells, m.lately) for m in silent.changes.missing] == [
        (CELL[1], outcome, 1, True)
    ]
    found = nightly_changes.night(History(tmp_path / "history"), add(tmp_path, 3, nights[3]))
    assert found.changes.new == []
    assert found.changes.standing[0].since == "20261102T020000Z"


def test_an_implementation_that_is_gone_is_told(tmp_path: Path) -> None:
    """An implementation that last night had and tonight has not is missing, and the headline says so."""
    found = after(tmp_path, NOTHING, NOTHING, names=NAMES[:2])
    assert [(m.implementation, m.lately) for m in found.changes.missing] == [("keras@latest", True)]
    assert nightly.sentence(found) == "Nothing newly fails, 1 implementation says less than last night"


def test_a_night_in_which_nothing_was_judged_is_no_success(tmp_path: Path) -> None:
    """Where every cell is "no run", the exit code is 3."""
    assert after(tmp_path, {(f"BN-10{n}", name): ("no run", 0.0) for n in range(1, 7) for name in NAMES}).exit_code == 3


def test_closer_to_the_bound_is_more_than_noise(tmp_path: Path) -> None:
    """A ratio above all of the last nights by a quarter is told; one that some earlier night had is not."""
    noise: list[Cells] = [{CELL: ("pass", r), OTHER: ("pass", r)} for r in (0.3, 0.5, 0.35, 0.3, 0.4)]
    tonight: Cells = {CELL: ("pass", 0.7), OTHER: ("pass", 0.52), ("BN-103", "numpy"): ("pass", 0.2)}
    assert cells(after(tmp_path / "many", *noise, tonight).changes.closer) == [CELL]
    # So few nights do not tell what noise is.
    assert cells(after(tmp_path / "few", *noise[:4], tonight).changes.closer) == []


def test_other_outcomes_are_told_apart(tmp_path: Path) -> None:
    """From failing to refusing is no fix, and from passing to deviating no failure: both are other outcomes."""
    found = after(tmp_path, FAIL, {CELL: ("unsupported", 0.0), OTHER: ("deviates", 0.1)})
    assert set(cells(found.changes.other)) == {CELL, OTHER}
    assert (found.changes.fixed, found.changes.new) == ([], [])


def test_a_known_failure_that_comes_and_goes_is_no_news(tmp_path: Path) -> None:
    """Where some data alone show a known failure, it passes some nights; that it was listed or unlisted is told."""
    nights: list[Cells] = [FAIL, {CELL: ("known failure", 40.0)}, NOTHING, {CELL: ("known failure", 40.0)}, FAIL]
    told = []
    for day, tonight in enumerate(nights):
        changes = nightly_changes.night(History(tmp_path / "history"), add(tmp_path, day, tonight)).changes
        told.append((len(changes.new), len(changes.fixed), len(changes.other)))
    assert told == [(1, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0), (1, 0, 0)]


def test_versions_that_changed_are_told_once_with_their_implementations(tmp_path: Path) -> None:
    """A new version of two frameworks is one line each; what differs in every run, such as a process id, is none."""
    found = after(tmp_path, NOTHING, NOTHING, version="2.2")
    assert [(s.fact, s.before, s.now, s.implementations) for s in found.changes.shifts] == [
        ("torch", "2.1", "2.2", ("torch@latest",)),
        ("keras", "2.1", "2.2", ("keras@latest",)),
    ]
    ((_, _, rows),) = [group for group in by_environment([*reversed(found.past), found.digest]) if group[0] == "latest"]
    assert [[mark.text for mark in row.marks] for row in rows] == [
        ["torch 2.1 → 2.2 on 2 Nov"],
        ["keras 2.1 → 2.2 on 2 Nov"],
    ]


def test_a_revised_requirement_is_told(tmp_path: Path) -> None:
    """Where the requirement itself has changed, a new failure says so."""
    add(tmp_path, 0)
    run = results(1, FAIL)
    revised = [msgspec.structs.replace(r, revision=2) for r in run.results]
    added = History(tmp_path / "history").add(write(tmp_path, 1, msgspec.structs.replace(run, results=revised)))
    found = nightly_changes.night(History(tmp_path / "history"), added)
    assert "revised" in nightly.lists(found)[0].entries[0].more


def test_strips_and_trend_show_what_was(tmp_path: Path) -> None:
    """A strip draws failing nights and gaps where they were; the trend ends at the night's worst ratio."""
    found = after(tmp_path, NOTHING, FAIL, FAIL, {OTHER: ("pass", 0.5)}, names=NAMES)
    nights = [*reversed(found.past), found.digest]
    strips = {strip.name: strip for _, _, rows in by_environment(nights) for strip in rows}
    assert strips["torch@latest"].paths == [("f1", "M1 0h2v1h-2z")]
    assert strips["torch@latest"].label == "fails in 2 of 4 nights"
    assert strips["numpy"].paths == []
    shown = trend(nights)
    assert shown is not None
    assert [line.now for line in shown.lines] == ["0.5", "0.43", "0.1"]
    late = after(tmp_path / "late", NOTHING, NOTHING, names=(*NAMES, "jax"))
    (gap,) = [s for _, _, rows in by_environment([*late.past, late.digest]) for s in rows if s.name == "jax"]
    assert gap.paths == [("gap", "M0 0h1v1h-1z")]


def test_the_same_nights_give_the_same_bytes(tmp_path: Path) -> None:
    """Page, summary and issue are the same when they are made again, from digests derived anew."""
    found = after(tmp_path, NOTHING, FAIL)
    History(tmp_path / "history").rebuild()
    history = History(tmp_path / "history")
    again = nightly_changes.night(history, history.night(found.digest.night))
    for make in (nightly.render, nightly_text.summary, nightly_text.issue):
        assert make(found) == make(again)


def test_the_issue_is_on_what_is_new_alone(tmp_path: Path) -> None:
    """The issue has versions, command and script of the new failure, and nothing of one that stands."""
    found = after(tmp_path, FAIL, {**FAIL, OTHER: ("fail", 3.0)}, version="2.2")
    text = nightly_text.issue(found)
    assert text.splitlines()[0] == "# BN-102 newly fails on keras@latest"
    assert "BN-101" not in text
    for part in (
        "# BN-102 on keras@latest\nprint('shown')",
        "keras 2.1 → 2.2",
        "`Python`: `3.11.7`",
        "--seed 1",
        "before: 0.1 of the bound",
    ):
        assert part in text
    assert nightly_text.issue(after(tmp_path / "standing", FAIL, FAIL)) == ""


def crowd(tmp_path: Path) -> Night:
    """A night with hostile text in every field, in which everything newly fails."""
    names = tuple(f"{HOSTILE}`@everyone` #1 https://example.org {n}" for n in range(40))
    run = results(0, {(f"BN-10{n}", name): ("fail", 3.0) for n in range(1, 7) for name in names}, names=names)
    started = run.header.started
    run = hostile(run)
    run = msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, started=started))
    return nightly_changes.night(
        History(tmp_path / "history"), History(tmp_path / "history").add(write(tmp_path, 0, run))
    )


def test_a_new_failure_without_any_change_is_told_apart(tmp_path: Path) -> None:
    """Where no version changed, page, summary and issue say that the cases are new; another place is no change."""
    same, other = after(tmp_path / "a", NOTHING, FAIL), after(tmp_path / "b", NOTHING, FAIL, version="2.2")
    for found, told in ((same, True), (other, False)):
        assert ("No version changed since then" in nightly.render(found)) == told
        assert ("No version changed since then" in nightly_text.summary(found)) == told
        assert ("nothing that is recorded of it" in nightly_text.issue(found)) == told
    before = {"executable": "/a/bin/python", "numpy": "2.0"}
    assert nightly_changes._differences(before, {**before, "executable": "/b/bin/python"}) == []


def test_what_went_otherwise_than_planned_is_told(tmp_path: Path) -> None:
    """Page and summary have what a night tells of itself: an environment that was not run, say."""
    found = after(tmp_path, NOTHING, NOTHING)._replace(told=("tf1.4 was not run, the night was over.",))
    assert "tf1.4 was not run, the night was over." in nightly.render(found)
    assert "tf1.4 was not run, the night was over." in nightly_text.summary(found)


def test_summary_and_issue_are_short_and_nothing_in_them_is_markup(tmp_path: Path) -> None:
    """With hundreds of hostile failures both keep their size, and outside of code there is no tag, link or mention."""
    found = crowd(tmp_path)
    texts = {
        nightly_text.summary(found): 20_000,
        nightly_text.issue(found): 60_000,
        summary.summary(found.results): 20_000,
    }
    for text, limit in texts.items():
        assert 500 < len(text.encode()) <= limit
        plain = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
        plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", plain)
        plain = re.sub(r"</?(details|summary)>", "", plain)
        assert not re.search(r"[<>@\[\]`]|https?:", plain)


def test_the_badge_tells_failing_and_new(tmp_path: Path) -> None:
    """The badge is red where something is new, orange where all that fails did before, green where nothing does."""
    nights = [after(tmp_path / "a", NOTHING, FAIL), after(tmp_path / "b", FAIL, FAIL), after(tmp_path / "c", NOTHING)]
    made = [msgspec.json.decode(summary.badge(verdict(n.results), len(n.changes.new))) for n in nights]
    assert [(badge["message"], badge["color"]) for badge in made] == [
        ("1 fail, 1 new", "red"),
        ("1 fail", "orange"),
        ("18 of 18 hold", "brightgreen"),
    ]
    assert all((badge["schemaVersion"], badge["label"]) == (1, "BN conformance") for badge in made)
