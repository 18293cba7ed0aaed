"""What changed since last night: what newly fails, is fixed or comes closer to its bound, and versions; never netted.

Every cell is compared with its own last result that says anything of it, however many nights ago that was.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from reports.history import Added, History
from reports.history_digest import Cell, Digest
from reports.records import Outcome, Results

#: Nights that a page shows beside its own, and that a cell's last result is looked for in.
SHOWN = 89
#: Nights whose largest ratio a cell must exceed by ``GROWTH`` to have come closer to its bound, and how many there must
#: be. Seeds are fresh every night, so that ratios differ from night to night: a few nights alone would cry wolf.
WINDOW, FEWEST = 30, 5
GROWTH = 1.25
#: Below this part of the bound nothing is close.
CLOSE = 0.25
#: Outcomes whose ratios are compared.
HELD: frozenset[Outcome] = frozenset({"pass", "deviates"})
#: Where a failure is known to show in some data alone, it comes and goes, and that is no news.
_COMES_AND_GOES: frozenset[Outcome] = HELD | {"known failure"}
#: Facts on where something lies: an environment that is resolved anew lies elsewhere, and that is no news.
_PLACES = {"executable"}
_MENDED: frozenset[Outcome] = HELD | {"stale known failure"}


class Change(NamedTuple):
    """A cell tonight beside its last result before; ``before`` is None where there was none."""

    requirement: str
    implementation: str
    now: Cell
    before: Cell | None
    #: The night of the result before.
    night: str = ""
    #: In how many of the nights of ``WINDOW`` it failed before.
    failed: int = 0

    @property
    def revised(self) -> bool:
        """Whether the requirement itself has changed meanwhile."""
        return self.before is not None and self.before.revision != self.now.revision


class Standing(NamedTuple):
    """A cell that fails, and since which night it does."""

    requirement: str
    implementation: str
    now: Cell
    since: str


class Shift(NamedTuple):
    """A version or another fact that changed, of these implementations; of the suite's machine where there are none."""

    fact: str
    before: str
    now: str
    implementations: tuple[str, ...] = ()
    #: Whether it is the version of a framework.
    framework: bool = False


class Missing(NamedTuple):
    """An implementation some of whose cells say nothing tonight, and whether all of them did last night."""

    implementation: str
    outcome: Outcome
    cells: int
    reason: str
    lately: bool


class Changes(NamedTuple):
    """All that is to be told of a night."""

    new: list[Change]
    fixed: list[Change]
    closer: list[Change]
    #: Other outcomes than before, neither failing nor fixed.
    other: list[Change]
    standing: list[Standing]
    shifts: list[Shift]
    missing: list[Missing]


class Night(NamedTuple):
    """A night, its results, and the nights before it, newest first."""

    digest: Digest
    results: Results
    past: list[Digest]
    changes: Changes
    #: What went otherwise than planned while it ran, in sentences.
    told: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where something newly fails, 3 where nothing at all was judged, else 0."""
        if self.changes.new:
            return 1
        judged = any(cell.decided for name in self.digest.rows for _, cell in self.digest.cells(name))
        return 0 if judged else 3


def night(history: History, added: Added) -> Night:
    """A night beside those before it."""
    past = list(history.digests(SHOWN, before=added.digest.night))
    return Night(added.digest, added.results, past, changes(added.digest, past))


def changes(tonight: Digest, past: Sequence[Digest]) -> Changes:
    """Compare a night with those before it, newest first."""
    found = Changes([], [], [], [], [], shifts(tonight, past), missing(tonight, past))
    for name in tonight.rows:
        for id_, cell in tonight.cells(name):
            if cell.decided:
                _place(id_, name, cell, past, found)
    found.new.sort(key=lambda c: -_size(c.now.ratio))
    found.closer.sort(key=lambda c: -c.now.ratio)
    return found


def _place(id_: str, name: str, cell: Cell, past: Sequence[Digest], found: Changes) -> None:
    before, when = _last(id_, name, past)
    change = Change(id_, name, cell, before, when)
    if cell.fails:
        if before is not None and before.fails:
            found.standing.append(Standing(id_, name, cell, _since(id_, name, past)))
        else:
            found.new.append(change._replace(failed=_failed(id_, name, past)))
    elif before is None:
        return
    elif before.fails and cell.outcome in _MENDED:
        found.fixed.append(change)
    elif "known failure" in (before.outcome, cell.outcome) and {before.outcome, cell.outcome} <= _COMES_AND_GOES:
        return
    elif before.outcome != cell.outcome:
        found.other.append(change)
    elif cell.outcome in HELD and _closer(id_, name, cell, past):
        found.closer.append(change)


def _last(id_: str, name: str, past: Sequence[Digest]) -> tuple[Cell | None, str]:
    for digest in past:
        cell = digest.cell(id_, name)
        if cell is not None and cell.decided:
            return cell, digest.night
    return None, ""


def _since(id_: str, name: str, past: Sequence[Digest]) -> str:
    """The first of the nights in a row in which a cell failed; nights that say nothing do not end the row."""
    since = ""
    for digest in past:
        cell = digest.cell(id_, name)
        if cell is not None and cell.decided:
            if not cell.fails:
                break
            since = digest.night
    return since


def _failed(id_: str, name: str, past: Sequence[Digest]) -> int:
    cells = (digest.cell(id_, name) for digest in past[:WINDOW])
    return sum(1 for cell in cells if cell is not None and cell.fails)


def _closer(id_: str, name: str, cell: Cell, past: Sequence[Digest]) -> bool:
    """Whether a ratio is close to its bound, and clearly larger than in all nights of the window."""
    if not CLOSE <= cell.ratio < math.inf:
        return False
    seen = 0
    for digest in past[:WINDOW]:
        earlier = digest.cell(id_, name)
        if earlier is None or not earlier.decided or math.isnan(earlier.ratio):
            continue
        if earlier.ratio * GROWTH >= cell.ratio:
            return False
        seen += 1
    return seen >= FEWEST


def shifts(tonight: Digest, past: Sequence[Digest]) -> list[Shift]:
    """The facts that differ from those of the last night in which an implementation ran, and those of the machine."""
    if not past:
        return []
    found: dict[tuple[str, str, str, bool], list[str]] = {}
    for name in tonight.rows:
        earlier = next((digest for digest in past if digest.ran(name)), None)
        if earlier is None or not tonight.ran(name):
            continue
        for shift in _differences(earlier.about(name), tonight.about(name)):
            found.setdefault((shift.fact, shift.before, shift.now, shift.framework), []).append(name)
    machine = {"suite": past[0].suite, **past[0].machine}
    return [
        *(Shift(fact, was, now, tuple(names), framework) for (fact, was, now, framework), names in found.items()),
        *_differences(machine, {"suite": tonight.suite, **tonight.machine}),
    ]


def _differences(before: dict[str, str], now: dict[str, str]) -> list[Shift]:
    """The facts that differ; a version is told with the name of its framework."""
    found = []
    for fact in dict.fromkeys([*before, *now]):
        if fact in _PLACES:
            continue
        was, is_ = before.get(fact, ""), now.get(fact, "")
        version = fact == "version"
        if was != is_:
            found.append(Shift(now.get("framework", fact) if version else fact, was, is_, framework=version))
    return found


def missing(tonight: Digest, past: Sequence[Digest]) -> list[Missing]:
    """The implementations with cells that say nothing tonight, and those that last night had and tonight has not."""
    found = []
    for name, row in tonight.rows.items():
        counts: dict[Outcome, int] = {}
        lately = False
        for id_, cell in tonight.cells(name):
            if not cell.decided:
                counts[cell.outcome] = counts.get(cell.outcome, 0) + 1
                earlier = past[0].cell(id_, name) if past else None
                lately |= earlier is not None and earlier.decided
        found += [Missing(name, outcome, number, row.no_run, lately) for outcome, number in counts.items()]
    gone = [name for name in past[0].rows if name not in tonight.rows] if past else []
    return found + [Missing(name, "no run", 0, "not part of this night", lately=True) for name in gone]


def _size(ratio: float) -> float:
    return math.inf if math.isnan(ratio) else ratio
