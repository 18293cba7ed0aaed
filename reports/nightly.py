"""Makes the nightly page: what changed since last night, what still fails, and the history; one file, no network."""

import base64
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from reports import _failures, nightly_strips
from reports._format import clip, count, date, listing, ratio, times_bound, without_home
from reports._grid import complete_grid
from reports._text import WORDS, Places, places, slug
from reports.history_digest import NO_RUN, Cell
from reports.html import environment
from reports.nightly_changes import WINDOW, Change, Missing, Night, Shift
from reports.nightly_strips import day, when
from reports.records import OUTCOMES, Outcome, Results

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("base.css", "matrix.css", "failures.css", "tables.css", "small.css", "nightly.css")
#: Entries of a list that are shown; the others are counted.
LISTED = 40
#: Cells that still fail and are shown.
STANDING = 240
#: Bytes that the articles on new failures may take, less what every implementation's strip does; at least ``LEAST``.
ARTICLES, STRIP, LEAST = 230_000, 700, 30_000
#: Names of implementations that are listed one by one.
NAMED = 4


class Entry(NamedTuple):
    """A line of a list of changes."""

    text: str
    more: str
    link: str = ""


class Listing(NamedTuple):
    """A list of changes."""

    kind: str
    heading: str
    number: int
    entries: list[Entry]


class Still(NamedTuple):
    """A cell that fails, and did before."""

    anchor: str
    id: str
    kind: str
    outcome: str
    since: str


def sentence(night: Night) -> str:
    """The verdict on a night, in one sentence with numbers."""
    new, fixed, standing = (len(found) for found in (night.changes.new, night.changes.fixed, night.changes.standing))
    parts = [f"{count(new, 'check')} newly {'fails' if new == 1 else 'fail'}" if new else "Nothing newly fails"]
    if fixed:
        parts.append(f"{fixed} {'is' if fixed == 1 else 'are'} fixed")
    if standing:
        parts.append(f"{standing} still {'fails' if standing == 1 else 'fail'}")
    # Evidence comes and goes with the seed: what is mistrusted is in the list, and no headline.
    gone = [missing for missing in night.changes.missing if missing.lately and missing.outcome == NO_RUN]
    if silent := len({missing.implementation for missing in gone}):
        parts.append(f"{count(silent, 'implementation')} {'says' if silent == 1 else 'say'} less than last night")
    return "First night: " * (not night.past) + ", ".join(parts)


def say(night: Night) -> str:
    """What a reader wants to know next."""
    changes, parts = night.changes, []
    if changes.new:
        worst = changes.new[0]
        parts.append(f"The worst of them is {worst.requirement} on {worst.implementation}: {size(worst.now)}.")
    versions = [f"{shift.fact} {shift.before} → {shift.now}" for shift in changes.shifts if shift.framework]
    if changes.new and night.past and not changes.shifts:
        parts.append("No version changed since then, but the cases did: what they find may be older.")
    if versions:
        shown = [*versions[:3], *([f"{len(versions) - 3} more"] if len(versions) > 3 else [])]
        parts.append(f"Changed since then: {listing(shown)}.")
    parts += night.told
    if night.digest.skipped:
        parts.append(f"{count(len(night.digest.skipped), 'results file')} could not be used.")
    return " ".join(parts)


def size(cell: Cell) -> str:
    """How a cell came out, in words."""
    if cell.outcome in ("pass", "deviates"):
        return times_bound(_number(cell.ratio))
    return times_bound(_number(cell.ratio)) if cell.outcome == "fail" and not math.isnan(cell.ratio) else cell.outcome


def render(night: Night, reports: Mapping[str, str] | None = None) -> str:
    """The page; the same nights give the same bytes. ``reports`` are the runs' own, environment -> relative address."""
    results, nights = night.results, [*reversed(night.past), night.digest]
    where = _places(night)
    articles = _with_article(night)
    page = {
        "title": f"{clip(sentence(night), 150)} · BN conformance",
        "headline": sentence(night),
        "say": say(night),
        "meta": _meta(night),
        "tally": _tally(night),
        "lists_": lists(night),
        "others": others(night),
        "since": when(night.past[0].night) if night.past else "",
        "groups": _failures.groups(complete_grid(_only(results, articles)), results.header, where, known=False),
        "more_new": len(night.changes.new) - len(articles),
        "new": len(night.changes.new),
        "still": _still(night, where),
        "standing": len(night.changes.standing),
        "most": STANDING,
        "trend": nightly_strips.trend(nights),
        "strips": nightly_strips.by_environment(nights),
        "nights": len(nights),
        "first": when(nights[0].night),
        "last": when(nights[-1].night),
        "height": {"low": nightly_strips.LOW, "high": nightly_strips.HIGH},
        "window": min(len(nights), WINDOW),
        "span": max(min(len(nights), WINDOW) - 1, 1),
        "skipped": night.digest.skipped,
        "facts": [("suite", night.digest.suite), *night.digest.machine.items(), ("command", results.header.command)],
        "reports": reports or {},
        "exit_code": night.exit_code,
        # The template of the failures has sections of its own, which are not wanted here.
        "failures": [],
        "known": [],
    }
    return framed("nightly.html.j2", page)


def framed(template: str, page: dict[str, object]) -> str:
    """Render a page of the frame that the nightly and the comparison share."""
    script = (_TEMPLATES / "app.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = Markup("\n".join((_TEMPLATES / name).read_text("utf-8") for name in _STYLES))
    made = environment().get_template(template)
    html = made.render(page, style=style, script=Markup(script), script_digest=f"sha256-{digest}")
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _meta(night: Night) -> list[str]:
    digest = night.digest
    environments = {name.rpartition("@")[2] if "@" in name else "" for name in digest.rows}
    return [
        f"Nightly, {date(digest.started)}",
        f"{digest.profile} profile, seed {digest.seed}",
        f"{count(len(digest.rows), 'implementation')} in {count(len(environments), 'environment')}",
        f"suite {digest.suite}",
        f"{count(len(night.past) + 1, 'night')} of history",
    ]


def _tally(night: Night) -> list[tuple[Outcome, str, str, int]]:
    digest = night.digest
    codes = b"".join(row.outcomes for row in digest.rows.values())
    return [(o, slug(o), WORDS[o], codes.count(digest.outcomes.index(o))) for o in OUTCOMES]


def lists(night: Night) -> list[Listing]:
    """The four lists that are never netted against each other."""
    changes, at = night.changes, _places(night).anchors
    new = [Entry(_cell(c), _then(c, night), at[c.requirement, c.implementation]) for c in changes.new[:LISTED]]
    fixed = [Entry(_cell(c), _then(c, night)) for c in changes.fixed[:LISTED]]
    closer = [Entry(_cell(c), f"{_was(c)} → {ratio(c.now.ratio)} of the bound") for c in changes.closer[:LISTED]]
    shifts = [_shift(shift) for shift in changes.shifts[:LISTED]]
    return [
        Listing("bad", "Newly failing", len(changes.new), new),
        Listing("good", "Fixed", len(changes.fixed), fixed),
        Listing("", "Closer to the bound", len(changes.closer), closer),
        Listing("", "Environment", len(changes.shifts), shifts),
    ]


def others(night: Night) -> list[Listing]:
    """The lists that are there where they have anything to tell."""
    changes = night.changes
    other = [Entry(_cell(c), _then(c, night)) for c in changes.other[:LISTED]]
    missing = [_missing(m) for m in sorted(changes.missing, key=lambda m: not m.lately)[:LISTED]]
    found = [
        Listing("", "No verdict tonight", len(changes.missing), missing),
        Listing("", "Another outcome than before", len(changes.other), other),
    ]
    return [each for each in found if each.number]


def _cell(change: Change) -> str:
    return f"{change.requirement} on {change.implementation}"


def _then(change: Change, night: Night) -> str:
    """What a cell came to, and what it was."""
    now = change.now.outcome if change.now.outcome != "fail" else size(change.now)
    revised = "; the requirement was revised since" if change.revised else ""
    if change.before is None:
        return f"{now}, no earlier result"
    again = f"; failed in {count(change.failed, 'night')} of the last 30" if change.failed else ""
    was = change.before.outcome if change.before.outcome != "fail" else size(change.before)
    was = f"{ratio(change.before.ratio)} of the bound" if change.before.outcome == "pass" and _was(change) else was
    on = "" if change.night == night.past[0].night else f" on {when(change.night)}"
    return f"{now}, was {was}{on}{again}{revised}"


def _was(change: Change) -> str:
    """The ratio before, where it is one to show."""
    return ratio(change.before.ratio) if change.before is not None and change.before.ratio > 0 else ""


def _shift(shift: Shift) -> Entry:
    names = [*shift.implementations[:NAMED]]
    if len(shift.implementations) > NAMED:
        names.append(f"{len(shift.implementations) - NAMED} more")
    on = f" on {listing(names)}" if names else ", the suite's own"
    return Entry(f"{shift.fact}{on}", f"{shift.before or 'none'} → {shift.now or 'none'}")


def _missing(missing: Missing) -> Entry:
    what = f"{count(missing.cells, 'check')}: {missing.outcome}" if missing.cells else missing.outcome
    why = f"{without_home(missing.reason)}; " if missing.reason else ""
    return Entry(missing.implementation, f"{what}; {clip(why, 400)}{'new tonight' if missing.lately else 'as before'}")


def _places(night: Night) -> Places:
    """Addresses of all cells that fail, the same every night."""
    new, standing = night.changes.new, night.changes.standing
    ids = {*(c.requirement for c in new), *(s.requirement for s in standing)}
    names = {*(c.implementation for c in new), *(s.implementation for s in standing)}
    header = night.results.header
    named = msgspec.structs.replace(
        header,
        requirements=[info for info in header.requirements if info.id in ids],
        implementations=[who for who in header.implementations if who.name in names],
    )
    return places(complete_grid(msgspec.structs.replace(night.results, header=named, results=[])))


def _with_article(night: Night) -> set[tuple[str, str]]:
    """The new failures that have an article: the worst ones, as many as there is space for."""
    results = {(r.requirement, r.implementation): r for r in night.results.results}
    left = max(ARTICLES - STRIP * len(night.digest.rows), LEAST)
    chosen: set[tuple[str, str]] = set()
    for change in night.changes.new:
        cell = change.requirement, change.implementation
        # Marked up, code takes twice its length.
        texts = sum(2 * (len(c.code) + len(c.script)) + 2500 for c in results[cell].counterexamples)
        left -= 2500 + texts
        if left < 0 and chosen:
            break
        chosen.add(cell)
    return chosen


def _only(results: Results, cells: set[tuple[str, str]]) -> Results:
    """The results of these cells alone."""
    header = results.header
    kept = [result for result in results.results if (result.requirement, result.implementation) in cells]
    header = msgspec.structs.replace(
        header,
        requirements=[info for info in header.requirements if any(info.id == id_ for id_, _ in cells)],
        implementations=[who for who in header.implementations if any(who.name == name for _, name in cells)],
    )
    return msgspec.structs.replace(results, header=header, results=kept)


def _still(night: Night, where: Places) -> list[tuple[str, list[Still]]]:
    """The cells that fail as before, by implementation."""
    found: dict[str, list[Still]] = {}
    for s in night.changes.standing[:STANDING]:
        anchor = where.anchors[s.requirement, s.implementation]
        cell = Still(anchor, s.requirement, slug(s.now.outcome), _short(s.now), day(s.since))
        found.setdefault(s.implementation, []).append(cell)
    return list(found.items())


def _short(cell: Cell) -> str:
    """An outcome, of a failure its size."""
    return f"{ratio(cell.ratio)}×" if cell.outcome == "fail" and not math.isnan(cell.ratio) else cell.outcome
