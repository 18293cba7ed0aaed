"""Compares two runs, or two versions in one, cell by cell: as a table for the terminal and as a page."""

import math
from typing import Literal, NamedTuple

from reports._format import clip, count, date, listing, ratio, visible
from reports._grid import Grid, complete_grid
from reports._text import about, slug, title
from reports.nightly import Entry, Listing, framed
from reports.records import Header, Implementation, Result, Results, real
from reports.verdict import EXIT_3, FAILING

#: What became of a cell, in the order in which a reader wants to know.
Kind = Literal["newly failing", "fixed", "another outcome", "closer to the bound", "further from the bound", "same"]
KINDS: tuple[Kind, ...] = (
    "newly failing",
    "fixed",
    "another outcome",
    "closer to the bound",
    "further from the bound",
    "same",
)
#: Ratios that differ by less are the same.
FACTOR = 1.5
#: Part of the bound below which no ratio is of interest.
CLOSE = 0.1
_LISTED = 40
_STYLES: dict[Kind, str] = {"newly failing": "bad", "fixed": "good"}


class Pair(NamedTuple):
    """A cell in the first results and in the second."""

    requirement: str
    title: str
    first: Result
    second: Result
    kind: Kind


class Match(NamedTuple):
    """An implementation of the first results beside that of the second which is compared with it, and their cells."""

    first: Implementation
    second: Implementation
    pairs: list[Pair]

    @property
    def name(self) -> str:
        """One name, or both."""
        return self.first.name if self.first.name == self.second.name else f"{self.first.name} → {self.second.name}"


class Comparison(NamedTuple):
    """All that two results have in common, and what only one of them has."""

    first: Header
    second: Header
    matches: list[Match]
    only_first: list[str]
    only_second: list[str]

    def of(self, kind: Kind) -> list[tuple[Match, Pair]]:
        """The cells of a kind."""
        return [(match, pair) for match in self.matches for pair in match.pairs if pair.kind == kind]

    @property
    def exit_code(self) -> int:
        """1 where something fails in the second that does not in the first, else 0."""
        return 1 if self.of("newly failing") else 0


def compare(first: Results, second: Results) -> Comparison:
    """Compare by name, or where none is in both by the name without its environment, or one with one."""
    grids = complete_grid(first), complete_grid(second)
    pairs, only = _matched(*([who.name for who in grid.implementations] for grid in grids))
    ids = {info.id for info in grids[1].requirements}
    shared = [info for info in grids[0].requirements if info.id in ids]
    matches = []
    for ours, theirs in pairs:
        cells = []
        for info in shared:
            old, new = grids[0].cells[info.id, ours], grids[1].cells[info.id, theirs]
            cells.append(Pair(info.id, title(info), old, new, _kind(old, new)))
        matches.append(Match(_who(grids[0], ours), _who(grids[1], theirs), cells))
    alone = [sorted({info.id for info in grid.requirements} - {info.id for info in shared}) for grid in grids]
    return Comparison(first.header, second.header, matches, only[0] + alone[0], only[1] + alone[1])


def _matched(ours: list[str], theirs: list[str]) -> tuple[list[tuple[str, str]], tuple[list[str], list[str]]]:
    pairs = [(name, name) for name in ours if name in theirs]
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = [(ours[0], theirs[0])]
    if not pairs:
        by_base = {_base(name): name for name in theirs}
        pairs = [(name, by_base[_base(name)]) for name in ours if _base(name) in by_base]
    return pairs, (
        [name for name in ours if name not in {pair[0] for pair in pairs}],
        [name for name in theirs if name not in {pair[1] for pair in pairs}],
    )


def _base(name: str) -> str:
    return name.rpartition("@")[0] or name


def _who(grid: Grid, name: str) -> Implementation:
    return next(who for who in grid.implementations if who.name == name)


def _kind(first: Result, second: Result) -> Kind:
    fails = second.outcome in FAILING
    if fails and first.outcome not in FAILING:
        return "newly failing"
    if first.outcome in FAILING and not fails and second.outcome not in EXIT_3:
        return "fixed"
    if first.outcome != second.outcome:
        return "another outcome"
    before, now = _size(first), _size(second)
    if max(before, now) < CLOSE or math.isnan(before) or math.isnan(now) or before == now:
        return "same"
    if now > before * FACTOR:
        return "closer to the bound" if not fails else "further from the bound"
    if before > now * FACTOR:
        return "further from the bound" if not fails else "closer to the bound"
    return "same"


def _size(result: Result) -> float:
    """The worst ratio, infinite where it was not finite, NaN where there is none."""
    if result.worst_ratio is None:
        return math.nan
    value = real(result.worst_ratio)
    return math.inf if math.isnan(value) else value


def sentence(found: Comparison) -> str:
    """What the comparison came to."""
    if not found.matches:
        return "The two have no implementation in common"
    parts = [f"{len(found.of(kind))} {kind}" for kind in KINDS[:-1] if found.of(kind)]
    cells = count(sum(len(match.pairs) for match in found.matches), "check")
    return f"{listing(parts)}, of {cells}" if parts else f"No difference in {cells}"


def lines(found: Comparison, *, everything: bool = False) -> list[str]:
    """The comparison for a terminal: a line for every cell that differs, or for all of them."""
    rows = []
    for kind in KINDS if everything else KINDS[:-1]:
        rows += [
            (kind, pair.requirement, match.name, shown(pair.first), shown(pair.second))
            for match, pair in found.of(kind)
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    told = [
        "  ".join(f"{visible(cell):{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    told += [f"only in the first: {', '.join(map(visible, found.only_first))}"] if found.only_first else []
    told += [f"only in the second: {', '.join(map(visible, found.only_second))}"] if found.only_second else []
    return [*told, *([""] if told else []), sentence(found)]


def shown(result: Result) -> str:
    """A cell in a few words."""
    far = "" if result.worst_ratio is None else f" {ratio(result.worst_ratio)}"
    return result.outcome + far


def render(found: Comparison) -> str:
    """The page of a comparison; the same results give the same bytes."""
    page = {
        "title": f"{clip(sentence(found), 150)} · BN conformance",
        "headline": sentence(found),
        "say": " ".join(_missing(found)),
        "meta": [f"{word}: {_about(header)}" for word, header in (("first", found.first), ("second", found.second))],
        "skipped": {},
        "lists": [_list(found, kind) for kind in KINDS[:-1]],
        "matches": [(number, match, _versions(match), _rows(match)) for number, match in enumerate(found.matches, 1)],
        "exit_code": found.exit_code,
    }
    return framed("compare.html.j2", page)


def _missing(found: Comparison) -> list[str]:
    parts = []
    for word, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            shown_names = [*names[:6], *([f"{len(names) - 6} more"] if len(names) > 6 else [])]
            parts.append(f"Only in the {word}: {listing(shown_names)}.")
    return parts


def _about(header: Header) -> str:
    return f"{date(header.started)}, {header.profile} profile, seed {header.seed}, suite {header.suite_version}"


def _list(found: Comparison, kind: Kind) -> Listing:
    cells = found.of(kind)
    entries = [
        Entry(
            f"{pair.requirement} on {match.name}",
            f"{shown(pair.first)} → {shown(pair.second)}",
            f"cell-{found.matches.index(match) + 1}-{match.pairs.index(pair) + 1}",
        )
        for match, pair in cells[:_LISTED]
    ]
    return Listing(_STYLES.get(kind, ""), kind[:1].upper() + kind[1:], len(cells), entries)


def _versions(match: Match) -> str:
    before, now = about(match.first), about(match.second)
    return before if before == now else f"{before} → {now}"


class Shown(NamedTuple):
    """A row of the page's table of an implementation."""

    requirement: str
    title: str
    first: tuple[str, str]
    second: tuple[str, str]
    change: str


def _rows(match: Match) -> list[Shown]:
    return [
        Shown(
            pair.requirement,
            pair.title,
            (slug(pair.first.outcome), shown(pair.first)),
            (slug(pair.second.outcome), shown(pair.second)),
            "" if pair.kind == "same" else pair.kind,
        )
        for pair in match.pairs
    ]
