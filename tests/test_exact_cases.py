"""Exact data: whatever the order of summation and the formula, mean, variance and update do not round."""

from fractions import Fraction

import numpy as np
import pytest

from adapters.interface import Array, Spec
from conformance.case import Case, Drawn, Start, Train
from conformance.exact_cases import exact_inference, exact_training, exact_updates, zeros_of_both_signs
from conformance.oracle import to_channels
from conformance.pool import draw
from tests._judged import case, infer, train

DRAWN = [pooled.case for pooled in draw(1, 4, 24).cases]


def rows(case: Case, index: int = 0) -> Array:
    """An input as (C, m)."""
    x = case.expanded.calls[index].x
    assert x is not None
    return to_channels(x, case.spec)


@pytest.mark.parametrize("drawn", [c for c in DRAWN if c.spec.dtype in ("float32", "float16", "bfloat16")])
def test_sums_are_exact_in_float32_in_any_order(drawn: Case) -> None:
    """Sums of x and of squares of x − μ, and their divisions by m, are exact in float32, forwards and shuffled."""
    for derived in (*exact_training(drawn), *exact_updates(drawn)):
        x = rows(derived).astype(np.float32)
        m = x.shape[1]
        assert m & (m - 1) == 0
        for order in (np.arange(m), np.random.default_rng(m).permutation(m)):
            total = np.add.accumulate(x[:, order], axis=1)[:, -1:]
            mean = total * np.float32(1 / m)
            assert np.array_equal(mean, total / np.float32(m))
            centered = x[:, order] - mean
            variance = np.add.accumulate(np.square(centered), axis=1)[:, -1] / np.float32(m)
            for row, mu, s in zip(x, mean[:, 0], variance, strict=True):
                exact = [Fraction(float(v)) for v in row]
                true = sum(exact) / m
                assert Fraction(float(mu)) == true
                assert Fraction(float(s)) == sum((v - true) ** 2 for v in exact) / m


def test_they_differ_and_stay_the_same() -> None:
    """Different cases give different data, the same case the same; means, sizes and constant channels vary."""
    derived = [d for c in DRAWN for d in exact_training(c)]
    assert len(set(derived)) == len(derived) > len(DRAWN) / 2
    assert derived == [d for c in DRAWN for d in exact_training(c)]
    assert len({rows(c).shape[1] for c in derived}) >= 4
    spreads = np.concatenate([np.ptp(rows(c).astype(float), axis=1) for c in derived])
    assert 0.05 < np.mean(spreads == 0) < 0.5
    with np.errstate(all="ignore"):
        kappas = np.concatenate([np.abs(rows(c).astype(float).mean(1) / rows(c).astype(float).std(1)) for c in derived])
    assert np.mean(kappas[np.isfinite(kappas)] > 100) > 0.05


def test_fixed_extents_are_kept() -> None:
    """Where a spec fixes extents, the data have them; where these are no power of two, there are no exact data."""
    for shape, sizes in (((None, 3, 4, 2), True), ((None, 3, 7, 2), False)):
        spec = Spec(shape, (1,), 1e-3, 0.5)
        drawn = Case(spec, (Start(),), (Train(Drawn((5, *(extent or 1 for extent in shape[2:])))),))
        derived = exact_training(drawn)
        assert bool(derived) == sizes
        assert all(np.asarray(d.expanded.calls[0].x).shape[2:] == shape[2:] for d in derived)


def test_programs() -> None:
    """One training step, two, or one inference step; all forward only."""
    assert [len(derive(case(train()))[0].program) for derive in (exact_training, exact_updates, exact_inference)] == [
        1,
        2,
        1,
    ]
    assert exact_training(case()) == exact_inference(case()) == ()


def test_zeros_of_both_signs() -> None:
    """The second step has minus zeros where the first has plus zeros, and is the same otherwise."""
    drawn = case(train(), infer())
    (derived,) = zeros_of_both_signs(drawn)
    plus, minus = rows(derived, 0), rows(derived, 1)
    assert np.array_equal(plus, minus)
    assert (plus == 0).sum() >= plus.size / 2
    assert not np.signbit(plus[plus == 0]).any()
    assert np.signbit(minus[minus == 0]).all()
    assert all(isinstance(step, Train) for step in derived.program)
    assert zeros_of_both_signs(case(infer())) == ()
    one_in_three = [zeros_of_both_signs(c) for c in DRAWN]
    assert 0 < sum(map(bool, one_in_three)) < len(DRAWN) / 2
