"""Arranges the tables of a report: agreement, conventions, open questions, environment and accounting."""

import re
from collections import Counter
from typing import NamedTuple

from reports import _plots
from reports._environments import split
from reports._format import count, ratio, seconds, short_ratio, thousands, times_bound, without_home
from reports._grid import Grid
from reports._text import about, slug
from reports.records import Agreement, Footer, Header, Implementation, Outcome, Results

#: Names of implementations in one row of a table, rows of the agreement, and pairs that are shown by quantity.
_NAMED, _ROWS, _PAIRS = 6, 24, 80


class Aside(NamedTuple):
    """Requirements that one implementation deviates from, refuses or leaves open, for one reason."""

    outcome: Outcome
    kind: str
    implementations: list[str]
    #: How many more there are.
    more: int
    requirements: list[str]
    reason: str


class Pair(NamedTuple):
    """How far two implementations disagree, at worst over all quantities."""

    text: str
    edge: int | None
    apart: bool
    label: str
    by_convention: int


class Agreements(NamedTuple):
    """The pairwise agreement, and the same by quantity."""

    #: The columns: all implementations but the last.
    names: list[str]
    #: A row for each but the first, against those before it; None where nothing was compared.
    rows: list[tuple[str, list[Pair | None]]]
    quantities: list[str]
    by_quantity: list[tuple[str, list[Pair | None]]]


class Declared(NamedTuple):
    """What an implementation declares of one thing, and whether that differs from what most declare."""

    values: list[str]
    differs: bool
    #: What was seen of it; empty where nothing was measured. Whether that contradicts the declaration.
    seen: list[str]
    contradicted: bool


class Comparison(NamedTuple):
    """A table of declared values: one row per name, one column per implementation."""

    names: list[str]
    rows: list[tuple[str, list[Declared]]]


class Account(NamedTuple):
    """What the run cost."""

    facts: list[tuple[str, str]]
    #: What, seconds, printed, percent of all.
    times: list[tuple[str, str, float]]
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def asides(grid: Grid) -> list[Aside]:
    """List what neither passes nor fails, grouped by outcome, implementation and reason."""
    found: dict[tuple[Outcome, str, str], list[str]] = {}
    order: tuple[Outcome, ...] = ("mistrusted", "no run", "deviates", "unsupported")
    for outcome in order:
        for who in grid.implementations:
            for result in grid.of(who.name):
                if result.outcome == outcome:
                    found.setdefault((outcome, who.name, result.reason), []).append(result.requirement)
    alike: dict[tuple[Outcome, str, tuple[str, ...]], list[str]] = {}
    for (outcome, name, why), ids in found.items():
        alike.setdefault((outcome, why, tuple(ids)), []).append(name)
    return [
        Aside(outcome, slug(outcome), names[:_NAMED], max(len(names) - _NAMED, 0), _all(ids, grid), why)
        for (outcome, why, ids), names in alike.items()
    ]


def _all(ids: tuple[str, ...], grid: Grid) -> list[str]:
    return [f"all {len(ids)}"] if len(ids) == len(grid.requirements) > 1 else list(ids)


def agreements(grid: Grid, found: list[Agreement]) -> Agreements:
    """Arrange the agreements as a table that has each pair once, and by quantity; many environments share a row."""
    named = {
        who.name: who.name if len(grid.implementations) <= _ROWS else split(who.name)[0] for who in grid.implementations
    }
    by_pair: dict[tuple[str, str], list[Agreement]] = {}
    for agreement in found:
        first, second = sorted((named[agreement.first], named[agreement.second]))
        if first != second:
            by_pair.setdefault((first, second), []).append(agreement)
    present = {name for pair in by_pair for name in pair}
    names = [name for name in dict.fromkeys(named.values()) if name in present]
    quantities = list(dict.fromkeys(agreement.quantity for agreement in found))
    rows = [
        (a, [_pair(by_pair.get((min(a, b), max(a, b)), [])) for b in names[:place]])
        for place, a in enumerate(names)
        if place
    ]
    by_quantity = [
        (
            f"{first} and {second}",
            [_pair([agreement for agreement in pair if agreement.quantity == quantity]) for quantity in quantities],
        )
        for (first, second), pair in by_pair.items()
        if len(by_pair) <= _PAIRS
    ]
    return Agreements(names[:-1], rows, quantities, by_quantity)


def _pair(found: list[Agreement]) -> Pair | None:
    if not found:
        return None
    by_convention = sum(agreement.by_convention for agreement in found)
    measured = [agreement for agreement in found if agreement.worst_ratio is not None]
    if not measured:
        return Pair("–", None, False, "nothing to compare", by_convention)
    worst = max(measured, key=lambda agreement: _plots.log2(agreement.worst_ratio))
    compared = sum(agreement.compared for agreement in found)
    label = f"{worst.quantity}: {times_bound(worst.worst_ratio)}, {count(compared, 'element')} compared"
    apart = _plots.log2(worst.worst_ratio) > 0
    return Pair(short_ratio(worst.worst_ratio), _plots.edge(worst.worst_ratio), apart, label, by_convention)


def conventions(grid: Grid) -> Comparison:
    """Compare the declared conventions, each beside what was seen; several values where they depend on the spec."""
    return _comparison(grid, {who.name: who.conventions for who in grid.implementations}, observed=True)


def capabilities(grid: Grid) -> Comparison:
    """Compare the declared capabilities."""
    declared = {who.name: {k: [v] for k, v in who.capabilities.items()} for who in grid.implementations}
    return _comparison(grid, declared, observed=False)


def _comparison(grid: Grid, declared: dict[str, dict[str, list[str]]], *, observed: bool) -> Comparison:
    who = {implementation.name: implementation for implementation in grid.implementations}
    names = [who.name for who in grid.implementations if declared[who.name]]
    rows = []
    for key in dict.fromkeys(key for name in names for key in declared[name]):
        values = [declared[name].get(key, []) for name in names]
        ((usual, votes),) = Counter(tuple(value) for value in values if value).most_common(1) or [((), 0)]
        majority = votes * 2 > len(names) > 1
        cells = []
        for name, value in zip(names, values, strict=True):
            differs = majority and bool(value) and tuple(value) != usual
            seen = who[name].observed.get(key, []) if observed else []
            cells.append(Declared(value, differs, seen, observed and key in who[name].contradicted))
        rows.append((key, cells))
    return Comparison(names, rows)


def environment(header: Header, results: Results) -> list[tuple[str, str]]:
    """List what is needed to run this again."""
    facts = [
        ("Command", header.command),
        ("Suite", header.suite_version),
        ("Profile", f"{header.profile}, {count(header.cases_per_family, 'case')} per family"),
        ("Seed", str(header.seed)),
        ("Run", header.run),
        ("Results", without_home(results.source)),
        *((name.replace("_", " ").capitalize(), value) for name, value in header.environment.items()),
    ]
    return [(name, value) for name, value in facts if value]


def installed(grid: Grid) -> list[tuple[str, str, dict[str, str], list[str]]]:
    """List what stood behind each implementation: a line, further versions, notes."""
    return [
        (who.name, without_home(who.no_run) or about(who), _details(who), [without_home(note) for note in who.notes])
        for who in grid.implementations
    ]


def _details(who: Implementation) -> dict[str, str]:
    """Further versions; a path within an environment of the suite begins with the environment's own folder."""
    return {
        name: re.sub(r"^.*[/\\]environments[/\\](?=[^/\\]+[/\\])", "", without_home(value))
        for name, value in who.details.items()
        if name != "pid"
    }


def account(footer: Footer) -> Account:
    """Arrange the run's own accounting."""
    times = [
        ("frameworks", footer.seconds_framework),
        ("importing frameworks", footer.seconds_import),
        ("drawing cases", footer.seconds_drawing),
        ("oracle and bounds", footer.seconds_judging),
        ("explaining", footer.seconds_explaining),
        ("wire, waiting, rest", footer.seconds_other),
    ]
    most = max([value for _, value in times] + [1e-9])
    per_second = footer.checks / footer.seconds_total if footer.seconds_total > 0 else 0.0
    columns = list(dict.fromkeys(key for share in footer.by_implementation.values() for key in share))
    return Account(
        facts=[
            ("In total", seconds(footer.seconds_total)),
            ("Cases", thousands(footer.cases)),
            ("Steps", thousands(footer.steps)),
            ("Checks", thousands(footer.checks)),
            ("Checks per second", thousands(per_second)),
            ("Peak memory", f"{thousands(footer.peak_memory_mib)} MiB"),
            ("Workers", str(footer.workers)),
        ],
        times=[(name, seconds(value), round(100 * max(value, 0) / most, 1)) for name, value in times],
        columns=columns,
        rows=[
            (name, [_share(key, share.get(key)) for key in columns]) for name, share in footer.by_implementation.items()
        ],
    )


def _share(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    return seconds(value) if key.startswith("seconds") else thousands(value)


def largest(found: list[Agreement]) -> str:
    """Say which two implementations are furthest apart."""
    measured = [agreement for agreement in found if agreement.worst_ratio is not None]
    if not measured:
        return ""
    worst = max(measured, key=lambda agreement: _plots.log2(agreement.worst_ratio))
    apart = sum(_plots.log2(agreement.worst_ratio) > 0 for agreement in measured)
    where = (
        f"{worst.quantity} of {worst.first} and {worst.second}, {ratio(worst.worst_ratio)} of what their bounds allow"
    )
    return f"Furthest apart: {where}." + (f" {count(apart, 'pair')} of results exceed it." if apart else "")
