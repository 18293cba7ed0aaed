"""Tests of the nightly page and the comparison in Chromium: network, accessibility, keyboard, phones, no scripts."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports import compare, history_digest, nightly, nightly_changes
from reports.history import History
from reports.nightly_changes import Night
from reports.records import Counterexample
from reports.verdict import FAILING
from tests import measure_history
from tests._chromium import WIDTHS, open_everything, passed_by_tab, violations
from tests.sample_nights import Cells, after, results
from tests.sample_results import hostile, sample
from tests.test_nightly import crowd

STANDS: Cells = {("BN-101", "numpy"): ("fail", 2.0), ("BN-102", "torch@latest"): ("error", 0.0)}
TONIGHT: Cells = {
    **STANDS,
    ("BN-103", "keras@latest"): ("fail", 40.0),
    ("BN-104", "keras@latest"): ("crash", 0.0),
    ("BN-105", "keras@latest"): ("no run", 0.0),
    ("BN-106", "keras@latest"): ("deviates", 0.7),
    ("BN-105", "numpy"): ("pass", 0.8),
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with something in every list."""
    folder = tmp_path_factory.mktemp("nights")
    return after(folder, *[STANDS] * 4, {**STANDS, ("BN-106", "numpy"): ("fail", 9.0)}, TONIGHT, version="2.2")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, night: Night) -> dict[str, Path]:
    """The pages: a night, a first night with hostile text in every field, and comparisons of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    first, second = results(0, STANDS), results(1, TONIGHT, version="2.2")
    pages = {
        "nightly": nightly.render(night),
        "hostile": nightly.render(crowd(folder)),
        "compare": compare.render(compare.compare(first, second)),
        "hostile compare": compare.render(compare.compare(hostile(sample()), hostile(sample(7)))),
    }
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["nightly", "compare"])
def test_pages_have_no_accessibility_violation(open_page: Any, name: str, width: int, scheme: str) -> None:
    """Axe finds nothing with everything open, in light and dark, wide and narrow."""
    page = open_page(name, width=width, color_scheme=scheme)
    open_everything(page)
    assert violations(page) == []


@pytest.mark.parametrize("width", [*WIDTHS, 820, 1080, 2560])
@pytest.mark.parametrize("name", ["nightly", "hostile", "compare", "hostile compare"])
def test_pages_do_not_scroll_sideways(open_page: Any, name: str, width: int) -> None:
    """Wide tables scroll within themselves; the page never does, whatever the names in it."""
    page = open_page(name, width=width)
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_lists_are_those_of_the_night(open_page: Any, night: Night) -> None:
    """Four lists with their numbers, beside them what has no verdict and what came to something else."""
    page = open_page("nightly")
    changes = night.changes
    headings = [" ".join(text.split()) for text in page.locator(".delta h3").all_inner_texts()]
    assert headings == [
        "Newly failing 2",
        "Fixed 1",
        "Closer to the bound 1",
        f"Environment {len(changes.shifts)}",
        "No verdict tonight 1",
        "Another outcome than before 1",
    ]
    assert page.locator(".strips tbody tr").count() == 3
    assert page.locator(".strips b.v").count() == 2
    assert page.locator("h1").inner_text().startswith("2 checks newly fail, 1 is fixed, 2 still fail")


def failing(night: Night) -> set[str]:
    """The addresses of all cells that fail."""
    changes = night.changes
    new = {f"{c.requirement}-{c.implementation.replace('@', '-')}" for c in changes.new}
    return new | {f"{s.requirement}-{s.implementation.replace('@', '-')}" for s in changes.standing}


def test_keyboard_reaches_every_failure(open_page: Any, night: Night) -> None:
    """Tab alone passes through every new failure's article and every standing failure, each with its address."""
    assert passed_by_tab(open_page("nightly"), "details.more[id], article[id], li[id]") >= failing(night)


def test_links_lead_to_the_cells(open_page: Any, night: Night) -> None:
    """Every link within the page has a target, and the page opened at a standing failure shows it."""
    page = open_page("nightly", fragment="#BN-101-numpy")
    assert 0 <= page.locator("[id='BN-101-numpy']").bounding_box()["y"] < 900
    links = page.evaluate("() => [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))")
    targets = page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => '#' + e.id)")
    assert set(links) <= set(targets)
    assert {f"#{anchor}" for anchor in failing(night)} <= set(links)


@pytest.mark.parametrize("name", ["nightly", "compare"])
def test_pages_are_complete_without_scripts(open_page: Any, name: str) -> None:
    """With scripts off there is no dead control, and lists, strips and tables are there."""
    page = open_page(name, java_script_enabled=False)
    assert page.locator("button:visible").count() == 0
    assert page.locator(".delta li:visible").count() > 3
    if name == "nightly":
        assert page.locator(".strips svg[role=img]:visible").count() == 3
        assert page.locator("#new article:visible, #new details.more:visible").count() == 2
    else:
        assert page.locator(".cells tbody tr:visible").count() == 18


def test_pages_show_hostile_text_as_text(open_page: Any) -> None:
    """With markup in every name and reason there is no element that the page did not make."""
    for name in ("hostile", "hostile compare"):
        page = open_page(name)
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2
        assert "onerror=alert(1)" in page.locator("main").inner_text()


def ninety_nights(folder: Path) -> Night:
    """Ninety nights of 12,000 cells each; all but three are copies of the digests of others."""
    history, made = History(folder / "history"), measure_history.Cells()
    for number in (0, 30, 60, 89):
        history.add(measure_history.write_night(number, made, folder / "runs"))
    for digest in [history.digest(name) for name in history.nights()[:3]]:
        first = dt.datetime.fromisoformat(digest.started)
        for day in range(1, 30 if digest.seed < 60 else 29):
            name = f"{first + dt.timedelta(days=day):%Y%m%dT%H%M%SZ}"
            (history.folder / name).mkdir()
            history_digest.write(
                history.folder / name / "digest.msgpack", msgspec.structs.replace(digest, night=name, sources={})
            )
    return nightly_changes.night(history, history.night(history.nights()[-1]))


def with_long_scripts(found: Night) -> Night:
    """The night, its failures with long cases and scripts."""
    example = Counterexample(kind="smallest", ratio=3.0, code="x = 'one'\n" * 300, script="import numpy as np\n" * 200)
    results = [
        msgspec.structs.replace(r, counterexamples=[example]) if r.outcome in FAILING else r
        for r in found.results.results
    ]
    return found._replace(results=msgspec.structs.replace(found.results, results=results))


def test_a_large_night_is_small_and_ready_soon(browser: Any, tmp_path: Path) -> None:
    """Of 12,000 cells and ninety nights: at most 300 kB, and ready within two seconds on a busy machine."""
    found = with_long_scripts(ninety_nights(tmp_path))
    page = nightly.render(found)
    assert len(found.past) == 89
    assert found.changes.new
    assert len(page.encode()) <= 300_000
    (tmp_path / "large.html").write_text(page, encoding="utf-8")
    opened = browser.new_page()
    opened.goto((tmp_path / "large.html").as_uri())
    assert opened.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 2000
    opened.close()
