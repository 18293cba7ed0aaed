"""Encodes what the page's scripts need of every cell, small enough for thousands of them."""

import itertools
import math
import shlex
import string
from typing import Any

import msgspec
from markupsafe import Markup

from reports import _plots
from reports._environments import environments
from reports._format import clip, visible
from reports._grid import Grid
from reports._text import Places, plain_anchor, rerun_parts, title
from reports.records import OUTCOMES, Header, Result

#: Cells from which on each carries its outcome, ratio and reason only.
DETAILED = 2000
_REASON = 600
#: Parts of a factor of two that ratios are told apart by where there are many: half a percent.
PARTS = 160
_DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_LARGEST = len(_DIGITS) ** 2 - 1
#: What stands for no ratio, and for one of zero.
_NONE, _EXACT = 0, 1


def payload(grid: Grid, header: Header, where: Places, shown: list[int]) -> Markup:
    """Return the cells as JSON that cannot end its script element: columns of values, texts only once."""
    results = grid.all()
    details = _details(results) if len(results) <= DETAILED else _packed(results)
    systems = list(dict.fromkeys((visible(who.framework), visible(who.version)) for who in grid.implementations))
    data = {
        "outcomes": OUTCOMES,
        # A framework with its version stands for many implementations: these name it by its number.
        "systems": systems,
        "implementations": [
            [visible(who.name), systems.index((visible(who.framework), visible(who.version)))]
            for who in grid.implementations
        ],
        "requirements": [
            [visible(i.id), visible(title(i)), visible(i.claim), visible(i.source)] for i in grid.requirements
        ],
        "environments": [[visible(place.name), visible(place.about), place.columns] for place in environments(grid)],
        "shown": shown,
        "found": _runs("".join(chr(97 + OUTCOMES.index(result.outcome)) for result in results)),
        "reasons": _by_value({n: _reason(result) for n, result in enumerate(results) if _reason(result)}),
        "articles": [n for n, result in enumerate(results) if where.has_article(result)],
        "anchors": _odd_anchors(results, where),
        "command": [visible(part) for part in rerun_parts(header)],
        "targets": {n: shlex.quote(visible(w.target)) for n, w in enumerate(grid.implementations) if w.target},
        "listed": where.listed,
        **details,
    }
    return Markup(msgspec.json.encode(data).decode().replace("<", "\\u003c"))


def _runs(letters: str) -> str:
    """Shorten a letter for each cell, "a" for the first outcome: one that comes again is followed by how often."""
    return "".join(
        letter if many == 1 else f"{letter}{many}"
        for letter, many in ((letter, len(list(run))) for letter, run in itertools.groupby(letters))
    )


def _by_value(of_cells: dict[int, Any]) -> list[tuple[Any, list[int]]]:
    """Name each value once, with its cells in order, each by how far it is from the one before."""
    cells: dict[Any, list[int]] = {}
    for number, value in of_cells.items():
        cells.setdefault(value, [0]).append(number)
    return [(value, [after - before for before, after in itertools.pairwise(found)]) for value, found in cells.items()]


def _details(results: list[Result]) -> dict[str, Any]:
    bounds = {text: number for number, text in enumerate(dict.fromkeys(result.decided_by for result in results))}
    return {
        "ratios": [result.worst_ratio for result in results],
        "bounds": [visible(text) for text in bounds],
        "decided": [bounds[result.decided_by] for result in results],
        "examples": [
            [e.total, e.passed, e.failing, e.evidence, e.vacuous, e.not_applicable, e.unsupported, e.broken]
            for e in (result.examples for result in results)
        ],
    }


def _reason(result: Result) -> str:
    return visible(clip(result.reason or result.cause, _REASON))


def _packed(results: list[Result]) -> dict[str, Any]:
    """Return the ratios as two letters each; those outside of what these can say are listed."""
    packed, others = [], {}
    for number, result in enumerate(results):
        exponent = _plots.log2(result.worst_ratio)
        code = _NONE if result.worst_ratio is None else _EXACT
        if math.isfinite(exponent):
            code = round(exponent * PARTS) + _LARGEST
        if not _EXACT <= code <= _LARGEST or exponent == math.inf:
            others[number], code = result.worst_ratio, _NONE
        high, low = divmod(code, len(_DIGITS))
        packed.append(_DIGITS[high] + _DIGITS[low])
    return {"packed": "".join(packed), "others": _by_value(others), "parts": PARTS}


def _odd_anchors(results: list[Result], where: Places) -> dict[int, str]:
    """Return the anchors that the script could not make of the two names."""
    plain = (plain_anchor(visible(result.requirement), visible(result.implementation)) for result in results)
    anchors = (where.anchors[result.requirement, result.implementation] for result in results)
    return {n: name for n, (name, guess) in enumerate(zip(anchors, plain, strict=True)) if name != guess}
