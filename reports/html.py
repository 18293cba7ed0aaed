"""Makes the report of a run: one HTML file that needs no network, no server and no scripts."""

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from reports import (
    _accuracy,
    _failures,
    _ladders,
    _matrix,
    _requirements,
    _scenarios,
    _settling,
    _strips,
    _tables,
    _versions,
)
from reports._compiled import compiled
from reports._environments import environments, part
from reports._format import clip, count, date, seconds, visible, without_home
from reports._grid import Grid, complete_grid
from reports._payload import payload
from reports._plots import ROW_SCALE, scale_ticks
from reports._text import WORDS, places, slug
from reports.records import OUTCOMES, Results
from reports.scenario_records import Figures
from reports.verdict import EXIT_1, verdict

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = (
    "base.css",
    "matrix.css",
    "requirements.css",
    "failures.css",
    "tables.css",
    "plots.css",
    "scenarios.css",
    "small.css",
)
_SCRIPTS = ("app.js", "matrix.js", "environments.js", "inspector.js")


def render(results: Results, figures: Figures | None = None) -> str:
    """Return the report of whole results, with figures of scenarios, as HTML; the same results give the same bytes."""
    grid = complete_grid(results)
    found = verdict(results)
    where = places(grid)
    here = part(grid, _matrix.shown(grid))
    failures = _failures.groups(grid, results.header, where, known=False)
    known = _failures.groups(grid, results.header, where, known=True)
    page = {
        "verdict": found,
        "title": f"{clip(found.sentence, 150)} · BN conformance",
        "headline": re.sub(r" (?=\d)", "\u00a0", found.sentence),
        "meta": _meta(results, grid),
        "notes": results.notes,
        "tally": [(outcome, slug(outcome), WORDS[outcome], number) for outcome, number in found.tally.items()],
        "outcomes": [(outcome, slug(outcome)) for outcome in OUTCOMES],
        "matrix": _matrix.matrix(grid, where),
        "figures": _scenarios.groups(figures) if figures else [],
        "versions": _versions.versions(grid, where),
        "strips": _strips.strips(grid, where),
        "strip_ticks": _strips.ticks(),
        "strip_bound": _strips.bound(),
        "listings": _requirements.listings(grid, where) if where.listed else [],
        "partly": len(here.implementations) < len(grid.implementations),
        "places": environments(grid),
        "single": len(grid.implementations) <= 1,
        "row_ticks": scale_ticks(ROW_SCALE, 4),
        "failures": failures,
        "known": known,
        "asides": _tables.asides(grid),
        "agreements": _tables.agreements(grid, results.agreements),
        "furthest": _tables.largest(results.agreements),
        "conventions": _tables.conventions(here),
        "capabilities": _tables.capabilities(here),
        "grades": _accuracy.grades(here),
        "losses": _accuracy.losses(here),
        "ladders": _ladders.ladders(here),
        "settled": _settling.settled(here),
        "environment": _tables.environment(results.header, results),
        "installed": _tables.installed(here),
        "account": _tables.account(results.footer) if results.footer else None,
        "aside_count": sum(found.tally[outcome] for outcome in ("mistrusted", "no run", "deviates", "unsupported")),
        "cells": len(grid.cells),
        "rows": len(grid.requirements),
        "failing": sum(found.tally[outcome] for outcome in EXIT_1),
        "data": payload(grid, results.header, where, _matrix.shown(grid)),
        "source": without_home(results.source),
    }
    html = environment().get_template("page.html.j2").render(page)
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def _meta(results: Results, grid: Grid) -> list[str]:
    header, footer = results.header, results.footer
    return [
        date(header.started),
        f"{header.profile} profile, seed {header.seed}",
        f"{count(len(grid.requirements), 'requirement')} on {count(len(grid.implementations), 'implementation')}",
        f"suite {header.suite_version}",
        seconds(footer.seconds_total) if footer and footer.complete else "incomplete",
    ]


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, with the styles and scripts that they embed."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        bytecode_cache=compiled(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = _breakable
    script = "\n".join((_TEMPLATES / name).read_text("utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made.globals.update(
        css=Markup("\n".join((_TEMPLATES / name).read_text("utf-8") for name in _STYLES)),
        mutants_css=Markup((_TEMPLATES / "mutants.css").read_text("utf-8")),
        js=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return made


def _finalize(value: Any) -> Any:
    """Show hidden characters in every string that a template prints; markup of ours stays as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(name: str) -> Markup:
    """Let a long name break after its dots and underscores."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(visible(name)))))
