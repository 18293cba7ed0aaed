"""Tests of the report's plots and of pages of many environments, as numbers and text."""

import time
from itertools import pairwise

import msgspec
import pytest

from reports import _chart, _ladders, _settling, _strips, _versions
from reports._environments import environments, split
from reports._format import times_bound
from reports._grid import complete_grid
from reports._text import places
from reports.html import render
from reports.records import Results, real
from tests.sample_large import FULL, environments_side_by_side, large
from tests.sample_results import only, sample

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def full() -> Results:
    """Return 12,000 cells in 20 environments."""
    return large(*FULL)


def test_a_chart_keeps_its_values_within_the_box() -> None:
    """Powers of ten are evenly apart, the top is zero; what is beyond an end, infinite or NaN is held at one."""
    plane = _chart.Plane(_chart.Axis(0, 2), _chart.Axis(-4, 0))
    drawn = plane.line("seen", [(1, 1e-4), (10, 1e-2), (100, 1.0)]).path
    assert drawn == "M0 1000L500 500L1000 0"
    assert plane.dots("seen", [(1, 0.0), (1, 7.0), (1, float("nan"))]).path == "M0 1000h0M0 0h0M0 0h0"


def test_a_line_ends_where_it_has_left_the_chart() -> None:
    """Of the points beyond the last one inside, one is drawn: it shows where the line goes."""
    plane = _chart.Plane(_chart.Axis(0, 3), _chart.Axis(-4, 0))
    assert plane.line("seen", [(1, 0.1), (10, 10.0), (100, 1e3), (1000, 1e5)]).path == "M0 250L333 0"


def test_names_at_the_ends_of_curves_do_not_meet() -> None:
    """Three curves that end in one point have their names below one another, all within the chart."""
    plane = _chart.Plane(_chart.Axis(0, 1), _chart.Axis(-4, 0))
    tops = [label.top for label in plane.ends([(name, name, [(10, 1e-4)]) for name in "abc"])]
    assert max(tops) <= 100
    assert all(after - before >= 8 for before, after in pairwise(tops))


def test_the_ladder_shows_errors_and_all_bounds() -> None:
    """Every measured rung is a dot; each grade has its curve and its name; words say the same."""
    grid = complete_grid(only(sample(), "torch"))
    (ladder,) = _ladders.ladders(grid)
    variance, output = ladder.charts
    assert [label.text for label in variance.labels] == ["A", "B", "C"]
    assert [label.text for label in output.labels] == ["S", "F"]
    rungs = grid.implementations[0].accuracy[0].ladder
    assert variance.curves[-1].path.count("M") == len(rungs)
    assert "3.0e-07 at κ = 1 " in variance.alternative
    assert "grade C" in variance.alternative


def test_settling_tells_the_slope() -> None:
    """A decay that is honoured is told from a reversed one, and from a measurement that failed."""
    grid = complete_grid(only(sample(), "torch", "tf_graph.fused", "tf_graph.nn"))
    found = {one.name: one for one in _settling.settled(grid)}
    assert "leaves 0.75 of the distance, as declared" in found["torch"].said
    assert "leaves 0.25 of the distance, 0.75 is declared" in found["tf_graph.fused"].said
    assert found["tf_graph.nn"].chart is None
    assert found["tf_graph.nn"].reason == "error: it raised"


def test_strips_name_the_largest_error() -> None:
    """Each implementation's row names the requirement that is furthest off, and links to it."""
    grid = complete_grid(sample())
    where = places(grid)
    for strip in _strips.strips(grid, where):
        measured = [result for result in grid.of(strip.name) if result.worst_ratio is not None]
        worst = max(
            measured, key=lambda result: real(result.worst_ratio or 0) if result.worst_ratio != "nan" else 1e300
        )
        assert strip.worst == worst.requirement
        assert strip.said == times_bound(worst.worst_ratio)
        assert strip.target == where.target(worst)


def test_the_step_where_a_version_changes_behaviour_is_named() -> None:
    """A requirement that fails in the older environment alone is listed, with the version from which it passes."""
    grid = complete_grid(environments_side_by_side())
    found = {one.name: one for one in _versions.versions(grid, places(grid))}
    assert found["keras"].versions == ["Keras 1.4.1", "Keras 2.21.0"]
    assert [(row.id, row.said) for row in found["keras"].rows] == [("BN-102", "pass from Keras 2.21.0 on, fail before")]
    assert [stop.changed for stop in found["keras"].rows[0].stops] == [False, True]
    assert found["tf_graph.nn"].rows == []


def test_environments_are_told_from_names() -> None:
    """What follows the last "@" is the environment, unless it belongs to a path; others ran in the current one."""
    assert split("torch@torch1.4") == ("torch", "torch1.4")
    assert split("cmd:./a@b/c") == ("cmd:./a@b/c", "current")
    grid = complete_grid(environments_side_by_side())
    assert [(place.name, len(place.columns)) for place in environments(grid)] == [("current", 3), ("tf1.4", 3)]


def test_twelve_thousand_cells_make_a_small_page_soon(full: Results) -> None:
    """The page of 20 environments has at most 400 kB, and takes two seconds of the processor at most."""
    render(sample())
    started = time.process_time()
    page = render(full)
    assert time.process_time() - started <= 2
    assert len(page.encode()) <= 400_000


def test_what_does_not_pass_elsewhere_is_there_without_scripts(full: Results) -> None:
    """Every cell of the environments that are not shown at first, if it does not pass, is on the page as text."""
    page = render(full)
    hidden = page[page.index("<noscript>") : page.index("</noscript>")]
    for result in full.results:
        if result.outcome != "pass" and split(result.implementation)[1] == "env7":
            (line,) = [
                li for li in hidden.split("<li>") if li.startswith(f"{result.implementation}, {result.outcome}:")
            ]
            assert result.requirement in line
