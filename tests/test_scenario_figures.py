"""Tests of the figures of scenarios: complete as text, safe with any words, and accessible in Chromium."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from reports import scenario_images
from reports.html import render
from reports.records import Results
from reports.scenario_records import Curve, Figure, Figures, Panel, Strip, beside, read, write
from reports.store import ResultsError
from tests._chromium import WIDTHS, violations
from tests.sample_results import sample

HOSTILE = '<img src=x onerror=alert(1)> "quoted" & \u202e'


def figures(words: str = "test accuracy") -> Figures:
    """Plots of all kinds, and strips of predictions, of two implementations."""
    drawn = []
    for name in ("numpy", "torch"):
        waves = [Curve(label=f"{words} {k}", x=[1.0, 10.0, 100.0], y=[0.1 * k + 0.1, "nan", 0.9]) for k in range(6)]
        spread = Curve(label="spread", x=[1.0, 2.0], y=[0.2, 0.4], low=[0.1, 0.3], high=[0.3, "inf"])
        sizes = Curve(label=words, x=[0.0, 1.0], y=[0.1, 0.975])
        drawn += [
            Figure(
                name="waves",
                implementation=name,
                title=words,
                caption=words,
                x_label=words,
                y_label=words,
                x_scale="log",
                y_scale="log",
                panels=[Panel(title=words, curves=waves), Panel(curves=[spread])],
                facts={words: words},
            ),
            Figure(
                name="sizes",
                requirement="BN-931",
                implementation=name,
                title="Sizes",
                caption="",
                x_scale="categories",
                categories=["1", words],
                joined=name == "numpy",
                panels=[Panel(curves=[sizes])],
            ),
            Figure(name="flat", implementation=name, title="Flat", caption="", panels=[Panel(curves=[])]),
            Figure(
                name="strips",
                implementation=name,
                title="Strips",
                caption="",
                strips=[Strip(label=words, classes=[8, 8, 1], right=[True, False, True])],
            ),
        ]
    return Figures(data="digits", figures=drawn)


def test_every_plot_has_a_text_alternative_and_its_numbers() -> None:
    """A plot's label says where its curves begin and end, and a table has all numbers."""
    page = render(sample(), figures())

    assert page.count('class="plot"') == 8
    assert page.count('<svg class="plot" viewBox="0 0 356 232" role="img" aria-label="') == 8
    assert "from 0.1 to 0.975" in page
    assert page.count("<td>0.975</td>") == 2
    assert "wrong" in page


def test_values_that_are_not_finite_leave_gaps() -> None:
    """No path holds a NaN, and the table says it."""
    page = render(sample(), figures())

    assert not [line for line in page.splitlines() if '<path class="l' in line and ("nan" in line or "inf" in line)]
    assert "<td>nan</td>" in page


def test_words_cannot_become_markup() -> None:
    """Hostile words in every field are escaped."""
    assert "<img src=x" not in render(sample(), figures(HOSTILE))


def test_report_without_figures_has_no_section() -> None:
    """Other reports show nothing of scenarios."""
    assert 'id="figures"' not in render(sample())


def test_images_are_drawings_of_their_own() -> None:
    """What documents embed is XML that stands by itself."""
    found = scenario_images.images(figures(HOSTILE), "numpy")

    assert set(found) == {"waves", "sizes", "flat"}
    assert all(ET.fromstring(drawing).tag.endswith("svg") for drawing in found.values())


def test_figures_are_found_beside_results(tmp_path: Path) -> None:
    """A report of several runs has the figures of all; a damaged file is named."""
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
    for folder in ("one", "two"):
        write(figures(), tmp_path / folder / "figures.json")
    files = [tmp_path / folder / "results.jsonl.gz" for folder in ("one", "two", "three")]
    found = beside(files)

    assert found is not None
    assert len(found.figures) == 2 * len(figures().figures)
    assert beside(files[2:]) is None
    (tmp_path / "three" / "figures.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"figures\.json"):
        read(tmp_path / "three" / "figures.json")


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_are_accessible(browser: Any, tmp_path: Path, width: int) -> None:
    """Without scripts all is there and fits its width, and axe finds nothing, in a dark scheme as well."""
    file = tmp_path / "report.html"
    header = msgspec.structs.replace(sample().header, implementations=[], requirements=[])
    file.write_text(render(Results(header=header, results=[], agreements=[], footer=None), figures()), encoding="utf-8")
    bare = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=False).new_page()
    bare.goto(file.as_uri())
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []
        context.close()

    assert bare.locator("svg.plot").count() == 8
    assert bare.locator("#figures").is_visible()
