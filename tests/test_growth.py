"""The growth of rounding errors in sums: that the panel covers structured data, and measures no more than it must."""

import numpy as np
import pytest

from conformance._growth import growth
from conformance.bounds import TrainingBounds
from conformance.formats import FORMATS, Format
from tests._bound_cases import draw_case
from tests._bound_checks import BF16, F32, F64, LOOSEST, SHARPEST, plain_case, training_truth
from tests._variants import sequential


def test_growth_does_not_depend_on_the_sign() -> None:
    """Negated data have the same growth: rising magnitudes are among the orders tried whichever the sign."""
    # In some of these rows rising magnitudes are the worst order.
    terms = np.concatenate([draw_case(seed, 1000).x for seed in range(40, 50)]).astype(np.float64)
    got = growth("panel", F32, terms)

    np.testing.assert_array_equal(got, growth("panel", F32, -terms))
    assert np.sum(got > growth("prob", F32, terms)) > 5


@pytest.mark.parametrize("compute", [F32, F64, BF16, FORMATS["float16"]], ids=lambda f: f.name)
def test_panel_covers_structured_sums(compute: Format) -> None:
    """Sums of equal terms break the square-root law, not the panel, in every format."""
    terms = np.repeat([[0.1], [1 / 3], [0.7], [1.1]], 3000, axis=1).astype(compute.dtype)
    wide = terms.astype(np.longdouble)
    error = np.abs(sequential(terms).astype(np.longdouble) - wide.sum(axis=1, keepdims=True))
    unit = compute.u * wide.sum(axis=1, keepdims=True)

    assert (error <= growth("panel", compute, wide) * unit).all()
    assert np.sum(error > growth("prob", compute, wide) * unit) >= 2


def test_growth_is_exact_without_a_wider_type() -> None:
    """The float64 panel is measured against split sums: a long double gives the same where there is one."""
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no wide long double to compare with")
    draw = np.random.default_rng(3)
    terms = np.stack([draw.standard_normal(500) + 1e6, np.full(500, 0.1), np.exp(9 * draw.standard_normal(500))])
    wide = terms.astype(np.longdouble)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    falling = np.take_along_axis(wide, np.argsort(-np.abs(wide), axis=1, kind="stable"), axis=1)
    orders = [wide, np.sort(wide, axis=1), falling, np.sort(wide, axis=1)[:, ::-1]]
    expected = np.array([[2 * 500**0.5], [500.0], [2 * 500**0.5]])
    for ordered in orders:
        for scale in (1, 1.3717, 1.7093):
            a = (ordered if scale == 1 else ordered / largest * scale).astype(np.float64)
            error = np.abs(np.cumsum(a, axis=1) - np.cumsum(a.astype(np.longdouble), axis=1)).max(axis=1, keepdims=True)
            expected = np.maximum(expected, 2 * error / (F64.u * np.abs(a).sum(axis=1, keepdims=True)))

    np.testing.assert_allclose(growth("panel", F64, terms), np.minimum(expected, 499), rtol=1e-2)


def test_large_data_are_worked_on_in_blocks() -> None:
    """A row's growth is the same alone and among others that do not fit in one block with it."""
    terms = draw_case(5, 30000, mild=True, channels=5).x.astype(np.float64)
    together = growth("panel", F32, terms)
    alone = [growth("panel", F32, terms[c : c + 1]) for c in range(5)]

    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert len(np.unique(together)) > 1


def test_only_what_is_asked_for_is_measured() -> None:
    """The panel of y needs the sums of x and d² alone, grade C that of x² too, and never those of dy."""
    truth = training_truth(plain_case(0, 64, 1.0))
    kinds = {"x", "x_squared", "centered_squared", "dy", "dy_centered", "dy_x"}

    def measured() -> set[str]:
        return kinds & set(vars(truth.growths["float32", "panel"]))

    _ = TrainingBounds(truth, SHARPEST, "panel").mean
    assert measured() == {"x"}
    _ = TrainingBounds(truth, SHARPEST, "panel").y
    assert measured() == {"x", "centered_squared"}
    _ = TrainingBounds(truth, LOOSEST, "panel").y
    assert measured() == {"x", "centered_squared", "x_squared"}
    _ = TrainingBounds(truth, SHARPEST, "panel").dx
    assert measured() == kinds - {"dy_x"}
