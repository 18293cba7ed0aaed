"""Correct results that requirements have flagged: found by nightly runs, kept so that they are not flagged again."""

from typing import Any

import msgspec
import numpy as np

from conformance.case import Case, Given, Start, Train, given
from conformance.judge import Judge
from conformance.requirements import CATALOGUE
from tests._judged import REFERENCE, SPEC, case, run, train


def fails(id_: str, one: Case, target: str = REFERENCE) -> bool:
    """Whether a requirement that derives no cases fails on a case."""
    found = run(one, target)
    return CATALOGUE[id_].check(one, found.trace, Judge(found)).fails


def laid_out(array: Any, layout: Any) -> Given:
    """An array in a memory layout."""
    return Given.of(np.asarray(array), layout)


def test_statistics_that_are_no_numbers_any_more() -> None:
    """With decay 1, a batch whose variance overflows makes the moving one NaN, which need not stay."""
    overflowing, single = given([[3e38], [-3e38]]), given([[1.0]])
    start = Start(given([1]), given([0]), given([0]), given([1]))
    spec = SPEC._replace(shape=(None, 1), decay=1.0)
    assert not fails("BN-308", Case(spec, (start,), (Train(overflowing), Train(single))))


def test_the_same_values_in_another_layout() -> None:
    """The bits of sums may depend on how an input lies in memory: laid out otherwise it is another call."""
    x = np.random.default_rng(3).standard_normal((1, 3, 31))
    steps = [Train(laid_out(x, layout), laid_out(x, "c")) for layout in ("fortran", "c")]
    spec = SPEC._replace(shape=(None, 3, None), axis=(1,), dtype="float64")
    one = Case(spec, (Start(),), tuple(steps))
    first, second = (view.trace.step for view in run(one).views)
    assert first is not None
    assert second is not None
    assert not np.array_equal(first.y, second.y), "summed in the same order: the case shows nothing"
    assert not fails("BN-709", one)


def test_the_same_call_is_still_held_to_its_bits() -> None:
    """The same layout again must give the same bits."""
    one = case(train(), msgspec.structs.replace(train(), tape=-1))
    assert fails("BN-709", one, "conformance.zoo.memory:RoundedStochastically")
