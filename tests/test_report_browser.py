"""Tests of the HTML report in Chromium: scripts, network, accessibility, keyboard, narrow screens, no scripts."""

import csv
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from reports import mutants as mutants_page
from reports._grid import complete_grid
from reports._text import WITH_ARTICLE, places
from reports.html import render
from reports.records import Results
from tests._chromium import WIDTHS, Observed, Page, clipped_rings, open_everything, passed_by_tab, violations
from tests.sample_large import environments_side_by_side, large
from tests.sample_mutants import exhibit, mutants
from tests.sample_results import hostile, sample

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def results() -> Results:
    """Return sample results."""
    return sample()


@pytest.fixture(scope="module")
def contents(results: Results) -> dict[str, Results]:
    """The sample, hostile strings in every field, one implementation, environments, many cells, and a bare header."""
    one = msgspec.structs.replace(results.header, implementations=results.header.implementations[2:3])
    fused = [result for result in results.results if result.implementation == one.implementations[0].name]
    nothing = msgspec.structs.replace(results.header, implementations=[], requirements=[])
    return {
        "sample": results,
        "hostile": hostile(results),
        "single": msgspec.structs.replace(results, header=one, results=fused, agreements=[]),
        "places": environments_side_by_side(),
        "large": large(16, 10, 10),
        "empty": Results(header=nothing, results=[], agreements=[], footer=None),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, Results]) -> dict[str, Path]:
    """Write the pages of the contents, and that of a run over the zoo."""
    folder = tmp_path_factory.mktemp("report")
    found = {name: folder / f"{name}.html" for name in (*contents, "mutants")}
    for name, content in contents.items():
        found[name].write_text(render(content), encoding="utf-8")
    zoo = mutants(
        exhibit(),
        exhibit("a-survivor", "survivor", kills=[], reference="pytorch#1"),
        exhibit("<img src=x onerror=alert(1)>", "caught elsewhere", named=["BN-102"]),
        exhibit("flagged", "false alarm", faulty=False, family="", named=[]),
    )
    found["mutants"].write_text(mutants_page.render(zoo), encoding="utf-8")
    return found


def article_anchors(results: Results) -> set[str]:
    """Return the fragments of all results that have an article of their own."""
    grid = complete_grid(results)
    where = places(grid)
    return {where.target(result) for result in grid.all() if result.outcome in WITH_ARTICLE}


@pytest.mark.parametrize("name", ["sample", "hostile"])
def test_page_runs_without_errors_or_network(open_page: Open, name: str) -> None:
    """Opening, filtering, inspecting and opening all details makes no error, no dialog and no request."""
    page = open_page(name)
    page.locator(".legend button").first.click()
    page.locator("a.c.fail").first.click()
    open_everything(page)
    page.wait_for_timeout(200)
    assert page.locator("#inspector").is_visible()


@pytest.mark.parametrize("name", ["single", "empty"])
@pytest.mark.parametrize("width", WIDTHS)
def test_small_pages_work(open_page: Open, name: str, width: int) -> None:
    """Without a matrix, or without anything, the page runs, has no accessibility violation and does not overflow."""
    page = open_page(name, width=width)
    if name == "single":
        page.locator(".legend button", has_text="fail").first.click()
        assert page.locator("tr.r:visible").count() == 4
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_has_no_accessibility_violation(open_page: Open, width: int, scheme: str) -> None:
    """Axe finds nothing with everything open and the inspector shown, in light and dark, wide and narrow."""
    page = open_page(width=width, color_scheme=scheme)
    open_everything(page)
    # The lists of all implementations are built alike; axe takes its time for each.
    page.evaluate("() => { for (const d of [...document.querySelectorAll('.listing')].slice(0, 4)) d.open = false; }")
    page.locator("a.c.error").first.click()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_of_the_zoo_is_accessible(open_page: Open, width: int, scheme: str) -> None:
    """Axe finds nothing on the page of the zoo, which has no scripts, makes no request and does not overflow."""
    page = open_page("mutants", width=width, color_scheme=scheme)
    assert violations(page) == []
    assert page.locator("script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["sample", "hostile"])
@pytest.mark.parametrize("width", [*WIDTHS, 820, 1080, 2560])
def test_page_does_not_scroll_sideways(open_page: Open, name: str, width: int) -> None:
    """Wide tables scroll within themselves; the page never does, whatever the names in it."""
    page = open_page(name, width=width)
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_complete_without_scripts(open_page: Open, results: Results, width: int) -> None:
    """With scripts off there is no dead control, all failures are readable, and cells lead to their articles."""
    page = open_page(width=width, java_script_enabled=False)
    assert page.locator("button:visible, input:visible").count() == 0
    assert page.locator(".legend li:visible").count() == 11
    assert page.locator("table.mx a.c:visible").count() == 35 * 5
    assert {a.get_attribute("id") for a in page.locator("article[id], details.more[id]").all()} == article_anchors(
        results
    )
    cell = page.locator("table.mx a.c.crash").first
    cell.click()
    assert page.url.endswith(cell.get_attribute("href"))
    assert page.locator(f"[id='{cell.get_attribute('href')[1:]}']").is_visible()


@pytest.mark.parametrize("name", ["sample", "single", "places", "large"])
def test_keyboard_reaches_every_failure(open_page: Open, contents: dict[str, Results], name: str) -> None:
    """Tab alone passes through every failing article or the summary that opens it, on pages of every kind."""
    assert passed_by_tab(open_page(name), "details.more[id], article[id]") >= article_anchors(contents[name])


@pytest.mark.parametrize("width", WIDTHS)
def test_the_focus_is_seen_whole(open_page: Open, width: int) -> None:
    """Where sections are laid out late, and so clipped, there is room for the rings around what has the focus."""
    page = open_page("large", width=width)
    open_everything(page)
    assert page.evaluate("getComputedStyle(document.querySelector('#failures')).contentVisibility") == "auto"
    assert clipped_rings(page) == []


def test_arrow_keys_move_in_the_matrix(open_page: Open) -> None:
    """The matrix is one tab stop; arrows, Home and End move within it, and stop at its edges."""
    page = open_page()
    assert page.locator("table.mx a.c[tabindex='0']").count() == 1
    page.locator("table.mx a.c").first.focus()
    walk = {"ArrowUp": "0", "ArrowRight": "1", "ArrowDown": "6", "ArrowLeft": "5", "End": "9", "Home": "5"}
    for key, cell in walk.items():
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.c") == cell


def test_inspector_opens_and_returns_the_focus(open_page: Open) -> None:
    """Enter on a cell opens the inspector and moves the focus into it; Escape closes it and moves back."""
    page = open_page()
    page.locator("a.c.fail").first.focus()
    cell = page.evaluate("document.activeElement.dataset.c")
    page.keyboard.press("Enter")
    inspector = page.locator("#inspector")
    assert inspector.is_visible()
    assert page.evaluate("document.activeElement.closest('#inspector') !== null")
    assert "tf_graph.fused" in inspector.inner_text()
    assert page.locator("a.c[aria-expanded='true']").count() == 1
    page.keyboard.press("Escape")
    assert not inspector.is_visible()
    assert page.evaluate("document.activeElement.dataset.c") == cell
    assert page.locator("a.c[aria-expanded='true']").count() == 0


def test_inspector_leads_to_the_counterexample(open_page: Open) -> None:
    """Its link opens the details that hold the failure and shows it."""
    page = open_page()
    cell = page.locator("a.c[href='#BN-304-tf_graph.fused']")
    cell.click()
    page.locator("#inspector .go a").click()
    page.wait_for_timeout(100)
    target = page.locator("[id='BN-304-tf_graph.fused']")
    assert target.get_attribute("open") is not None
    assert target.bounding_box()["y"] < 900


def test_a_link_to_a_row_opens_its_list(open_page: Open) -> None:
    """A page opened at a row's fragment shows that row, although its list is closed at first."""
    page = open_page(fragment="#row:BN-101-keras")
    row = page.locator("[id='row:BN-101-keras']")
    assert row.is_visible()
    assert 0 <= row.bounding_box()["y"] < 900


def test_outcome_filter(open_page: Open) -> None:
    """An outcome of the tally dims all other cells, accessibly; pressing it again ends that."""
    page = open_page()
    button = page.locator(".legend button", has_text="deviate")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("table.mx.dim a.c.keep").count() == 3
    assert violations(page) == []
    button.click()
    assert page.locator("table.mx.dim").count() == 0


def test_find_and_numbers(open_page: Open) -> None:
    """Typing keeps the matching requirements; "Numbers" prints every passing ratio."""
    page = open_page()
    page.locator(".find").fill("bn-30")
    assert page.locator("table.mx tr.r:visible").count() == 6
    page.locator(".find").fill("moving mean")
    assert page.locator("table.mx tr.r:visible").count() == 2
    page.locator(".seg button", has_text="Numbers").click()
    assert page.locator("table.mx a.c.pass i:visible").count() == 9


def test_theme_and_copy_buttons(open_page: Open) -> None:
    """The theme cycles through system, light and dark; copying says that it was done."""
    page = open_page()
    background = "getComputedStyle(document.body).backgroundColor"
    page.locator(".theme").click()
    light = page.evaluate(background)
    page.locator(".theme").click()
    assert page.locator(".theme").inner_text() == "Theme: dark"
    assert page.evaluate(background) != light
    copy = page.locator(".copy:visible").first
    copy.click()
    copy.get_by_text("Copied").wait_for()


@pytest.mark.parametrize("name", ["sample", "hostile"])
def test_csv_holds_every_cell(open_page: Open, name: str, tmp_path: Path) -> None:
    """The download is a proper CSV file of all cells, whatever the names in it."""
    page = open_page(name)
    with page.expect_download() as download:
        page.locator(".csv").click()
    download.value.save_as(tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 35 * 5
    assert {row["outcome"] for row in rows} >= {"pass", "fail", "stale known failure"}
    assert all(None not in row for row in rows)


def heads(page: Page) -> list[str]:
    """Return the names above the matrix."""
    return [name.replace("\n", "") for name in page.locator("table.mx thead tr").last.locator("th").all_inner_texts()]


def cells(page: Page) -> list[list[str]]:
    """Return what each cell of the matrix is: address, classes, label, edge and text."""
    found: list[list[str]] = page.evaluate(
        """[...document.querySelectorAll("table.mx a.c")].map((cell) => [
          cell.id, cell.getAttribute("href"), cell.className, cell.getAttribute("aria-label"),
          cell.style.getPropertyValue("--w"), cell.textContent,
        ])"""
    )
    return found


def test_an_environment_is_drawn_when_it_is_chosen(open_page: Open) -> None:
    """All are side by side at first; choosing one draws its columns; choosing all draws what the page came with."""
    page = open_page("places")
    came = cells(page)
    assert len(came) == 6 * 4
    page.locator("select.place").select_option("tf1.4")
    assert heads(page) == ["tf_graph.nn@tf1.4", "tf_graph.fused@tf1.4", "keras@tf1.4"]
    assert page.locator("table.mx a.c").count() == 3 * 4
    assert "TensorFlow 1.4.1" in page.locator("#matrix .about").inner_text()
    page.locator("table.mx a.c.fail").click()
    assert "keras@tf1.4" in page.locator("#inspector").inner_text()
    page.locator("select.place").select_option("all")
    assert cells(page) == came


def test_many_environments_are_drawn_as_the_first_came(open_page: Open) -> None:
    """Drawn again by the script, the shown environment has the same cells, labels and addresses as from the server."""
    page = open_page("large")
    came = cells(page)
    chooser = page.locator("select.place")
    chooser.select_option("env4")
    assert all(name.endswith("@env4") for name in heads(page))
    assert cells(page) != came
    chooser.select_option("current")
    assert cells(page) == came


@pytest.mark.parametrize("width", WIDTHS)
def test_page_of_many_environments_is_accessible(open_page: Open, width: int) -> None:
    """Axe finds nothing after another environment was chosen; the page does not scroll sideways."""
    page = open_page("large", width=width, color_scheme="dark" if width < 1000 else "light")
    page.locator("select.place").select_option("env4")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_link_to_a_cell_chooses_its_environment(open_page: Open) -> None:
    """A page opened at a cell of another environment shows that cell."""
    page = open_page("large", fragment="#cell:BN-101-layer3-env5")
    cell = page.locator("[id='cell:BN-101-layer3-env5']")
    assert cell.is_visible()
    assert page.locator("select.place").input_value() == "5"


def test_the_policy_is_enforced(open_page: Open, observed: Observed) -> None:
    """Whatever would run or load on the page is stopped: a script that is put in, an image, a request."""
    page = open_page()
    stopped = page.evaluate(
        """async () => {
          const seen = [];
          document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          const image = document.createElement("img");
          image.src = "https://example.org/x.png";
          document.body.append(script, image);
          await fetch("https://example.org/").catch(() => 0);
          await new Promise((done) => setTimeout(done, 50));
          return [...seen, String(window.ran)];
        }"""
    )
    assert {"script-src-elem", "img-src", "connect-src", "undefined"} == set(stopped)
    assert observed.errors
    assert all("Content Security Policy" in error for error in observed.errors)
    # Chromium tells of a request before the policy stops it.
    observed.errors.clear()
    observed.requests = [url for url in observed.requests if "example.org" not in url]


def test_page_prints(open_page: Open) -> None:
    """Printing opens everything for the paper and closes it again."""
    page = open_page()
    closed = page.locator("details:not([open])").count()
    assert page.pdf()[:5] == b"%PDF-"
    assert page.locator("details:not([open])").count() == closed


def test_page_is_ready_soon(open_page: Open) -> None:
    """A report of 175 cells is interactive within two seconds, on a busy machine too; usually within 0.4 s."""
    page = open_page()
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 2000
