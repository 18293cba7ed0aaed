"""Evidence is counted by element type: what one type shows does not excuse that another shows nothing."""

import msgspec
import pytest

from adapters.interface import Capabilities, Spec
from conformance._results import FEW, outcome
from conformance.case import Case, Drawn, Start, Train
from conformance.evidence import Evidence
from conformance.pool import Pooled, draw
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from conformance.survey import survey
from conformance.tally import Survey, Tally
from reports.html import render
from tests.sample_results import sample

TELLING, MUTE = Evidence(0.5, 4, 0, 4), Evidence(0.5, 4, 0, 0)


def pooled(dtype: str) -> Pooled:
    """A case in an element type."""
    return Pooled(Case(Spec((None, 2), (1,), 1e-3, 0.9, dtype=dtype), (Start(),), (Train(Drawn((4,))),)), b"", 1)


def tally(float16: int, *, float32: int = 30, id_: str = "BN-101") -> Tally:
    """A tally of passing examples, all of them telling in float32 and none in float16."""
    made = Tally(CATALOGUE[id_])
    for _ in range(float32):
        made.add(pooled("float32"), TELLING, "prob")
    for _ in range(float16):
        made.add(pooled("float16"), MUTE, "prob")
    made.total = float32 + float16
    return made


@pytest.mark.parametrize(("float16", "expected"), [(0, "pass"), (FEW - 1, "pass"), (FEW, "mistrusted")])
def test_an_element_type_without_evidence_is_mistrusted(float16: int, expected: str) -> None:
    """Enough examples of an element type, none of which could have shown a fault, make the result mistrusted."""
    made = tally(float16)
    found, reason = outcome(made, Survey({"BN-101": made}), Capabilities(), None)

    assert found == expected
    assert ("in float16" in reason) == (expected == "mistrusted")


def test_what_rounding_covers_asks_no_evidence_in_halves() -> None:
    """Where the bounds in half precision are mostly wider than the values, no evidence is asked for there."""
    made = tally(2 * FEW, id_="BN-420")
    asked = Capabilities(second_order=True)
    assert outcome(made, Survey({"BN-420": made}), asked, None)[0] == "pass"
    made.by_dtype["float64"] = made.by_dtype.pop("float16")
    assert outcome(made, Survey({"BN-420": made}), asked, None)[0] == "mistrusted"


def test_tallies_of_parts_add_up() -> None:
    """Merging adds the counts of every element type; an example without any bound counts as judged."""
    first, second = tally(3), tally(2, float32=1)
    second.say_nothing(pooled("float64"))
    first.merge(second)

    assert first.by_dtype == {"float32": (31, 31), "float16": (5, 0), "float64": (1, 0)}
    assert first.vacuous == 1


def test_every_judged_example_is_counted() -> None:
    """On a survey the element types' examples are all those that were judged, and their evidence all of it."""
    with open_session("adapters.numpy_reference:NumpyReference", in_process=True) as session:
        found = survey(draw(1, 2, 24), CATALOGUE.values(), session)
    kinds = set()
    for made in found.tallies.values():
        assert sum(judged for judged, _ in made.by_dtype.values()) == made.passed + made.failing + made.vacuous
        assert sum(telling for _, telling in made.by_dtype.values()) == made.evidence
        kinds |= set(made.by_dtype)
    assert len(kinds) > 1


def test_the_report_names_the_weakest_type() -> None:
    """A requirement whose evidence is thin in one element type says so beside its evidence."""
    results = sample()
    first = msgspec.structs.replace(results.results[0], evidence_by_dtype={"float32": [9, 9], "float16": [9, 2]})
    page = render(msgspec.structs.replace(results, results=[first, *results.results[1:]]))

    assert "float16 2 / 9" in page
    assert "float32 9 / 9" not in page
