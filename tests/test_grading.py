"""The measured grades: they are those of the algorithms, whatever is declared, and errors in them are noticed."""

import numpy as np
import pytest

from adapters.interface import Capabilities, Spec
from adapters.program import Failure
from conformance import grading
from conformance.grading import LADDERS, WORSE, Measured, ladder_case, measure
from conformance.session import open_session
from tests._judged import Fake


def measured(target: str) -> Measured:
    """The accuracy of an implementation in float32."""
    with open_session(target, in_process=True) as session:
        return grading.measured(session, "float32")


@pytest.mark.parametrize(
    ("target", "variance", "affine"),
    [
        ("adapters.numpy_reference:NumpyReference", "A", "S"),
        ("conformance.zoo.variants:CorrectedTwoPass", "A", "S"),
        ("conformance.zoo.variants:DoubleInside", "A", "S"),
        ("conformance.zoo.variants:Welford", "B", "S"),
        ("conformance.zoo.variants:ChanPairwise", "B", "S"),
        ("conformance.zoo.variants:OnePass", "C", "S"),
        ("conformance.zoo.variants:FoldedAffine", "A", "F"),
        ("conformance.zoo.numerics:OnePassDeclaredTwoPass", "C", "S"),
        ("conformance.zoo.numerics:FoldedDeclaredSubtracted", "A", "F"),
        ("conformance.zoo.numerics:SquaresInHalf", WORSE, "S"),
        ("conformance.zoo.numerics:OutputInBfloat", "A", WORSE),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_grade_is_that_of_the_algorithm(target: str, variance: str, affine: str) -> None:
    """Two passes are graded A, updating formulas B, one pass C, too few digits worse; declarations do not count."""
    found = measured(target)
    assert (found.variance_grade, found.affine_grade) == (variance, affine)


def test_every_declared_type_is_measured() -> None:
    """The reference takes two passes in all four; folding cannot be told where the output has too few digits."""
    with open_session("adapters.numpy_reference:NumpyReference", in_process=True) as session:
        found = {one.dtype: (one.variance_grade, one.affine_grade) for one in measure(session)}
    assert found == {"float32": ("A", "S"), "float64": ("A", "S"), "float16": ("A", "S"), "bfloat16": ("A", "")}


def test_digits_are_gone_where_theory_says() -> None:
    """One pass loses half of the digits near the fourth root of 1/u, two passes near 1/(√m √u); a wider sum none."""
    one, two, wide = (
        measured(f"conformance.zoo.variants:{n}") for n in ("OnePass", "CorrectedTwoPass", "DoubleInside")
    )
    assert one.half_gone in (30, 100)
    assert one.all_gone in (1e3, 3e3, 1e4)
    assert two.half_gone >= 1e4
    assert wide.half_gone == wide.all_gone == float("inf")
    assert [rung.kappa for rung in one.ladder] == list(LADDERS["float32"])
    losses = [rung.variance for rung in one.ladder]
    assert losses[0] < 4
    assert losses[-1] == 24


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_estimator_is_seen() -> None:
    """Whether the moving variance is biased is measured, not taken from the declaration."""
    assert measured("adapters.numpy_reference:NumpyReference").estimator == "biased"
    assert measured("conformance.zoo.declared:UnbiasedMovingVariance").estimator == "unbiased"


def test_what_breaks_is_not_graded() -> None:
    """An implementation that refuses or breaks has no grade, and the reason is told."""
    refused = Fake(lambda number, program: Failure("unsupported", "no such layer"), Capabilities())
    assert measure(refused) == (Measured("float32", reason="unsupported: no such layer"),)
    none = Fake(lambda number, program: None, Capabilities(ranks=(9,)))
    assert measure(none) == (Measured("float32", reason="declares no layer to measure it on"),)


@pytest.mark.parametrize("dtype", sorted(LADDERS))
def test_the_ladder_has_the_condition_numbers_that_it_names(dtype: str) -> None:
    """Rounded to the element type, the data still have the κ of their rung, within a third."""
    case = ladder_case(Spec((None, grading.CHANNELS_PER_RUNG * len(LADDERS[dtype])), (1,), 1e-3, 0.5, dtype=dtype))
    x = case.expanded.calls[0].x
    assert x is not None
    x = x.astype(np.longdouble)
    found = np.sqrt(1 + np.square(x.mean(axis=0)) / x.var(axis=0))
    assert found == pytest.approx(np.repeat(LADDERS[dtype], grading.CHANNELS_PER_RUNG), rel=0.35)
