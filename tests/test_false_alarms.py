"""Correct results that requirements have flagged: found by nightly runs, kept so that they are not flagged again."""

from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.observer import difference
from conformance._bounds import Numerics
from conformance.bounds import TrainingBounds
from conformance.case import Case, Drawn, Given, Infer, Start, Train, given
from conformance.formats import FORMATS
from conformance.judge import Judge
from conformance.oracle import TrainingTruth
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from conformance.survey import survey
from tests._judged import REFERENCE, SPEC, case, pool_of, run, train

SINGLE = Numerics(FORMATS["float32"], FORMATS["float32"], FORMATS["float32"], "A", "S")


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


def test_products_that_leave_the_range_on_the_way() -> None:
    """Dx may overflow where x̂ meets Σ dy·(x - mean) before a division, as in TensorFlow's fused op."""
    x = np.random.default_rng(1).uniform(-1e15, 1e15, (1, 257)).astype(np.float32)
    x[0, 69] = 8e18
    truth = TrainingTruth(x, np.ones(1, np.float32), None, 0.1, x)
    with np.errstate(over="ignore"):
        on_the_way = truth.normalized.astype(np.float32) * truth.sum_dy_centered.astype(np.float32)
    assert np.isinf(on_the_way).any()
    assert np.isinf(TrainingBounds(truth, SINGLE, "panel").dx).all()
    calm = TrainingTruth(x / 16, np.ones(1, np.float32), None, 0.1, x / 16)
    assert np.isfinite(TrainingBounds(calm, SINGLE, "panel").dx).all()


def test_sums_of_terms_on_a_grid() -> None:
    """The variance of float16 data may err systematically: centred, all terms lie on a grid and round alike.

    The channel is one that TensorFlow's fused op was flagged for, at 35 u of the variance.
    """
    quarters = [
        *(
            1209,
            1261,
            1271,
            1261,
            1264,
            1257,
            1330,
            1266,
            1266,
            1274,
            1265,
            1243,
            1261,
            1268,
            1268,
            1262,
            1260,
            1271,
            1271,
            1265,
            1266,
        ),
        *(
            1263,
            1267,
            1265,
            1267,
            1261,
            1257,
            1265,
            1267,
            1265,
            1269,
            1269,
            1265,
            1290,
            1265,
            1265,
            1266,
            1263,
            1266,
            1270,
            1262,
            1266,
        ),
        *(
            1267,
            1269,
            1269,
            1253,
            1261,
            1268,
            1265,
            1262,
            1260,
            1264,
            1271,
            1264,
            1256,
            1258,
            1266,
            1263,
            1269,
            1265,
            1264,
            1269,
            1268,
        ),
    ]
    x = np.array([quarters], np.float32) / 4
    truth = TrainingTruth(x, np.ones(1, np.float32), None, 1.0)
    halves = Numerics(FORMATS["float32"], FORMATS["float16"], FORMATS["float32"], "A", "S")
    bound = TrainingBounds(truth, halves, "panel").variance / truth.variance
    assert bound > 35 * FORMATS["float32"].u


def test_the_same_call_is_still_held_to_its_bits() -> None:
    """The same layout again must give the same bits."""
    one = case(train(), msgspec.structs.replace(train(), tape=-1))
    assert fails("BN-709", one, "conformance.zoo.memory:RoundedStochastically")


def test_a_decay_that_is_declared_in_single() -> None:
    """Where a layer of float64 declares its decay in float32, exact updates allow for what 0.1 loses in it."""
    spec = SPEC._replace(decay=0.1, dtype="float64")
    one = Case(spec, (Start(moving_mean="random"),), (Train(Drawn((16,), seed=2)),))
    for target, failing in (("typed_variants:DecayInSingleDeclared", 0), ("declared_types:DecayInSingle", 1)):
        with open_session("conformance.zoo." + target, in_process=True) as session:
            tallies = survey(pool_of(one)._replace(family=3), [CATALOGUE["BN-321"]], session).tallies
        assert (tallies["BN-321"].total, tallies["BN-321"].failing) == (1, failing), target


def test_an_overflow_that_has_no_weight() -> None:
    """With decay 1, a variance that overflows in one pass leaves 0 · ∞ = NaN, for the inference after it too."""
    overflowing, usual = given([[1e22], [-2e22], [3e22]]), given([[1.0], [2.0]])
    spec = SPEC._replace(shape=(None, 1), decay=1.0)
    one = Case(spec, (Start(),), (Train(overflowing), Infer(usual)), read="end")
    found = run(one, "conformance.zoo.variants:OnePass")
    assert np.isnan(found.views[1].trace.step.y).all(), "nothing has overflowed"  # type: ignore[union-attr]
    assert not fails("BN-508", one, "conformance.zoo.variants:OnePass")


def test_bytes_of_a_long_double_that_hold_nothing() -> None:
    """Of the 16 bytes of a long double 10 hold the number, where it is x87's: the others may differ."""
    one, other = np.ones(3, np.longdouble), np.ones(3, np.longdouble)
    if np.finfo(np.longdouble).nmant != 63:
        pytest.skip("the long double has no bytes to spare here")
    other.view(np.uint8).reshape(3, -1)[1, 12] = 7
    assert one.tobytes() != other.tobytes()
    assert difference(one, other) == ""
    assert difference(one, np.nextafter(other, np.longdouble(2))).startswith("3 of 3 elements differ")
