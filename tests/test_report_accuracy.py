"""The report's section on accuracy: grades beside what is declared, and the digits lost by condition number."""

import re

import msgspec

from reports._accuracy import grades, losses
from reports._grid import complete_grid
from reports._merge import merge_headers
from reports.html import render
from tests.sample_results import sample


def test_grades_are_shown_beside_declarations() -> None:
    """A grade is put in words; another than the declared one is marked; what was not measured says why."""
    rows = {(row.name, row.dtype): row for row in grades(complete_grid(sample()))}
    assert rows["torch", "float32"].variance == "C: E[x²] − E[x]² (declared A)"
    assert rows["numpy", "float32"].variance == "cannot be told"
    assert rows["tf_graph.nn", "float32"].variance == "A: two passes"
    assert rows["tf_graph.nn", "float32"].half_gone == "1e4"
    assert rows["tf_graph.nn", "float32"].all_gone == "never"
    assert rows["torch", "float64"].reason == "error: it raised"
    assert not any(name == "keras" for name, _ in rows)


def test_losses_are_side_by_side() -> None:
    """One row per implementation and element type that has a ladder, one column per condition number of any."""
    found = losses(complete_grid(sample()))
    assert found.kappas[:5] == ["1", "10", "100", "1000", "1e4"]
    assert found.rows[0][0] == "numpy float32"
    assert found.rows[0][1][:2] == ["2 / 2", "6 / 3"]
    assert not any("float64" in name for name, _ in found.rows)


def test_the_page_has_the_section_where_anything_was_measured() -> None:
    """With grades the page has a section and a link to it; without, neither."""
    results = sample()
    page = render(results)
    assert 'id="accuracy"' in page
    assert 'href="#accuracy"' in page
    assert re.search(r"not measured: error: it raised", page)
    bare = [msgspec.structs.replace(who, accuracy=[]) for who in results.header.implementations]
    plain = msgspec.structs.replace(results, header=msgspec.structs.replace(results.header, implementations=bare))
    assert "accuracy" not in render(plain)


def test_shards_keep_what_one_of_them_measured() -> None:
    """Where a later part ran without the numerics family, the grades of the earlier one stay."""
    header = sample().header
    bare = msgspec.structs.replace(
        header, implementations=[msgspec.structs.replace(who, accuracy=[]) for who in header.implementations]
    )
    merged = merge_headers([header, bare], [])
    assert [who.accuracy for who in merged.implementations] == [who.accuracy for who in header.implementations]
