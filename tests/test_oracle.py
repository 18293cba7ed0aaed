"""The oracle: that its truth is the truth, by exact fractions and by derivatives taken another way."""

import math
import sys
from fractions import Fraction
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters.interface import Array, Spec
from conformance._exact import exact_moments, rounded_moments, row_sums
from conformance.formats import FORMATS, compute_format, host_dtype
from conformance.oracle import InferenceTruth, TrainingTruth, from_channels, moving, to_channels, unbiased

WIDE = np.finfo(np.longdouble).nmant >= 63


def fractions_of(row: Array) -> tuple[Fraction, Fraction]:
    """Mean and biased variance by the definition, with fractions."""
    values = [Fraction(float(value)) for value in row]
    mean = sum(values, Fraction()) / len(values)
    return mean, sum(((value - mean) ** 2 for value in values), Fraction()) / len(values)


def rows(seed: int, offset: float, spread: float = 1.0, count: int = 40, channels: int = 3) -> Array:
    """Rows of normal data."""
    draw = np.random.default_rng(seed)
    return np.asarray(offset + spread * draw.standard_normal((channels, count)))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_are_those_of_numpy(name: str) -> None:
    """Every constant of a format is what NumPy or ml_dtypes says about the type of that name."""
    info, expected = FORMATS[name], ml_dtypes.finfo(name)  # type: ignore[no-untyped-call]

    assert info.u == float(expected.eps) / 2
    assert info.tau == float(expected.smallest_normal)
    assert info.sub == float(expected.smallest_subnormal)
    assert info.big == float(expected.max)
    assert info.digits == expected.nmant + 1
    assert info.dtype.name == name


def test_arithmetic_is_at_least_float32() -> None:
    """Narrow inputs are computed with in float32, float64 in itself, unless something else is declared."""
    assert [compute_format(name).name for name in ("float16", "bfloat16", "float32", "float64")] == [
        "float32",
        "float32",
        "float32",
        "float64",
    ]
    assert compute_format("float32", "float64").name == "float64"
    assert host_dtype("float32") == np.float64
    assert host_dtype("float64") == np.longdouble


@pytest.mark.parametrize("axis", [(-1,), (1,), (0,), (1, -1), (-1, 0), (2, 1)])
@pytest.mark.parametrize("shape", [(4, 3, 5), (0, 3, 5), (1, 1, 1)])
def test_channels_are_rows(axis: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Row c holds the elements of channel c, the sorted channel axes flattened, and the way back restores the array."""
    spec = Spec((None, None, None), axis, 1e-3, 0.9)
    a = np.arange(math.prod(shape)).reshape(shape)

    got = to_channels(a, spec)

    channels = list(np.ndindex(*[shape[i] for i in spec.channel_axes]))
    assert len(got) == len(channels)
    for row, channel in zip(got, channels, strict=True):
        index: list[Any] = [slice(None)] * 3
        for i, position in zip(spec.channel_axes, channel, strict=True):
            index[i] = position
        np.testing.assert_array_equal(row, a[tuple(index)].ravel())
    np.testing.assert_array_equal(from_channels(got, spec, shape), a)


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4, 1e7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_are_those_of_fractions(dtype: str, offset: float) -> None:
    """Mean and variance agree with exact fractions to far less than the arithmetic's roundoff, at any offset."""
    x = rows(1, offset).astype(dtype)
    truth = TrainingTruth(x, None, None, 0.0, host=host_dtype(dtype))

    for channel, row in enumerate(x):
        mean, variance = fractions_of(row)
        scale = math.sqrt(variance)
        u = FORMATS[dtype].u
        # A million times finer than the bound of the mean, u·|mean|, and of the variance, u·variance.
        fine = 1e-6 if dtype == "float32" else 1e-3
        assert abs(float(Fraction(*truth.mean[channel, 0].as_integer_ratio()) - mean)) <= fine * u * (offset + scale)
        assert abs(float(Fraction(*truth.variance[channel, 0].as_integer_ratio()) / variance - 1)) <= fine * u * (
            1 + offset * u / scale
        )


def outcome(x: Array, gamma: Array, beta: Array, epsilon: float, dy: Array, statistics: Any = None) -> Any:
    """Σ y·dy for one channel, by the definition, for arguments that may be complex."""
    if statistics is None:
        mean = x.mean()
        variance = ((x - mean) ** 2).mean()
    else:
        mean, variance = statistics
    return (dy * (gamma * (x - mean) / np.sqrt(variance + epsilon) + beta)).sum()


def complex_step(function: Any, argument: str, value: Array) -> Array:
    """The gradient of an analytic function by one of its arguments, exact to rounding: Im f(v + i·h) / h."""
    flat = np.asarray(value, dtype=complex)
    gradient = np.zeros(flat.shape)
    for index in np.ndindex(*flat.shape):
        moved = flat.copy()
        moved[index] += 1e-30j
        gradient[index] = function(**{argument: moved}).imag / 1e-30
    return gradient


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_derivatives_of_the_output(training: bool) -> None:
    """dx, dgamma and dbeta are the derivatives of Σ y·dy, taken by complex steps through the definition of y."""
    x, dy = rows(2, 1.5, 2.0), rows(3, 0.5)
    gamma, beta, mean, variance = (np.abs(rows(seed, 1.0, count=1)).ravel() for seed in (4, 5, 6, 7))
    if training:
        truth: TrainingTruth | InferenceTruth = TrainingTruth(x, gamma, beta, 1e-2, dy)
    else:
        truth = InferenceTruth(x, gamma, beta, mean, variance, 1e-2, dy)

    for c in range(3):
        statistics = None if training else (mean[c], variance[c])
        total = partial(outcome, epsilon=1e-2, dy=dy[c], statistics=statistics)
        dx = complex_step(partial(total, gamma=gamma[c], beta=beta[c]), "x", x[c])
        dgamma = complex_step(partial(total, x=x[c], beta=beta[c]), "gamma", gamma[c])
        dbeta = complex_step(partial(total, x=x[c], gamma=gamma[c]), "beta", beta[c])
        assert (truth.y[c] * dy[c]).sum() == pytest.approx(total(x=x[c], gamma=gamma[c], beta=beta[c]), rel=1e-12)
        np.testing.assert_allclose(truth.dx[c], dx, rtol=1e-11, atol=1e-13)
        assert truth.dgamma[c, 0] == pytest.approx(float(dgamma), rel=1e-11)
        assert truth.dbeta[c, 0] == pytest.approx(float(dbeta), rel=1e-11)


def test_magnitudes_are_sums_of_absolute_terms() -> None:
    """The magnitudes that the bounds use are those of the terms, whatever cancels in the sums themselves."""
    x, dy = rows(8, 2.0), rows(9, 0.0)
    truth = TrainingTruth(x, None, None, 1e-3, dy)
    centered = np.abs(x - x.mean(axis=1, keepdims=True))

    np.testing.assert_allclose(truth.mean_abs_x[:, 0], np.abs(x).mean(axis=1))
    np.testing.assert_array_equal(truth.max_abs_x[:, 0], np.abs(x).max(axis=1))
    np.testing.assert_allclose(truth.sum_abs_dy[:, 0], np.abs(dy).sum(axis=1))
    np.testing.assert_allclose(truth.sum_abs_dy_centered[:, 0], (np.abs(dy) * centered).sum(axis=1))
    folded = (np.abs(dy * x)).sum(axis=1) + np.abs(x.mean(axis=1)) * np.abs(dy).sum(axis=1)
    np.testing.assert_allclose(truth.sum_abs_dy_x[:, 0], folded)


def test_absent_parameters_are_exactly_one_and_zero() -> None:
    """Without gamma and beta the output is the normalized data itself."""
    truth = TrainingTruth(rows(10, 1.0), None, None, 1e-3)

    np.testing.assert_array_equal(truth.y, truth.normalized)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_input_types_are_taken_at_their_values(dtype: Any) -> None:
    """Half-precision and strided inputs give the truth of the numbers that they hold."""
    x = rows(11, 1.0, count=80).astype(dtype)[:, ::2]

    np.testing.assert_array_equal(
        TrainingTruth(x, None, None, 1e-3).y, TrainingTruth(x.astype(np.float64).copy(), None, None, 1e-3).y
    )


def test_gradients_without_upstream_are_refused() -> None:
    """A truth made without dy gives y, and says what is missing when asked for a gradient."""
    truth = TrainingTruth(rows(12, 1.0), None, None, 1e-3)

    assert truth.y.shape == (3, 40)
    with pytest.raises(ValueError, match="no upstream gradient"):
        _ = truth.dx


def test_gradients_are_computed_only_when_asked_for() -> None:
    """Reading y touches neither dy nor any of its sums."""

    class Untouchable:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("dy was read")

    truth = TrainingTruth(rows(13, 1.0), None, None, 1e-3, Untouchable())

    assert np.isfinite(truth.y).all()
    with pytest.raises(AssertionError, match="dy was read"):
        _ = truth.dx


@pytest.mark.parametrize("values", [[], [[np.nan, 1.0]], [[np.inf, 1.0]]])
@pytest.mark.parametrize("exact", [True, False])
def test_what_has_no_truth_is_nan(values: list[list[float]], exact: bool) -> None:
    """Empty batches and data that are not finite give NaN without a warning, not an exception."""
    x = np.array(values).reshape(1, -1)
    truth = TrainingTruth(x, None, None, 1e-3, np.ones_like(x), exact=exact)

    assert np.isnan(truth.mean).all() or np.isinf(truth.mean).all()
    assert np.isnan(truth.variance).all()
    assert truth.dx.shape == x.shape
    assert np.isnan(truth.y).all()


def test_moving_statistics() -> None:
    """The decay weighs the old value; Bessel's correction leaves a single element alone."""
    old, new = np.array([[4.0]]), np.array([[8.0]])

    assert moving(old, new, 0.75) == 5.0
    assert unbiased(new, 5) == 10.0
    assert unbiased(new, 1) == 8.0


def test_exact_moments_are_those_of_fractions() -> None:
    """The integer moments equal the fractions' to the last digit, for wide ranges and subnormal numbers too."""
    draw = np.random.default_rng(14)
    samples = [
        draw.standard_normal(30) + 1e13,
        np.exp(30 * draw.standard_normal(30)),
        np.array([5e-324, -5e-324, 1e-310, 2.5]),
        np.array([1.0]),
        np.zeros(4),
        np.array([sys.float_info.max, -sys.float_info.max, 1.0]),
    ]

    for row in samples:
        assert exact_moments(row) == fractions_of(row)


@pytest.mark.parametrize("row", [[], [np.nan], [1.0, np.inf]])
def test_exact_moments_refuse_what_has_none(row: list[float]) -> None:
    """Empty rows and values that are not finite are errors, not silently wrong moments."""
    with pytest.raises(ValueError, match="exact moments"):
        exact_moments(np.array(row))


def test_rounded_moments_keep_the_rest_of_the_mean() -> None:
    """Head and tail of the mean together are exact to 100 bits."""
    row = np.random.default_rng(15).standard_normal(50) + 1e9
    head, tail, variance = (float(a[0, 0]) for a in rounded_moments(row[None]))
    mean, exact_variance = exact_moments(row)

    assert head == float(mean)
    assert abs(Fraction(head) + Fraction(tail) - mean) <= abs(mean) * Fraction(1, 2**100)
    assert variance == float(exact_variance)


def test_row_sums_are_correctly_rounded() -> None:
    """What cancels catastrophically elsewhere is exact here; an overflow is NaN."""
    got = row_sums(np.array([[1e16, 1.0, -1e16, 1.0], [1e308, 1e308, -1e308, 1.0]]))

    assert got[0, 0] == 2.0
    assert np.isnan(got[1, 0])


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e6, 1e12])
def test_exact_truth_loses_nothing_to_the_offset(offset: float) -> None:
    """In float64 alone, mean, variance and each difference from the mean are the exact ones, rounded."""
    x = rows(16, offset)
    truth = TrainingTruth(x, None, None, 1e-3, host=np.float64, exact=True)

    for c, row in enumerate(x):
        mean, variance = fractions_of(row)
        assert truth.mean[c, 0] == float(mean)
        assert truth.variance[c, 0] == float(variance)
        for got, value in zip(truth.centered[c], row, strict=True):
            difference = Fraction(float(value)) - mean
            assert abs(Fraction(float(got)) - difference) <= 2 * Fraction(1, 2**53) * abs(difference)


@pytest.mark.skipif(not WIDE, reason="no wide long double to compare with")
@pytest.mark.parametrize("offset", [0.0, 10.0, 1e6])
def test_exact_truth_agrees_with_the_long_double(offset: float) -> None:
    """Where the long double is no wider than float64, integers and float64 give the same truth to their rounding."""
    x, dy = rows(16, offset), rows(17, 0.5)
    gamma, beta = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, -1.0])
    exact = TrainingTruth(x, gamma, beta, 1e-3, dy, np.float64, exact=True)
    wide = TrainingTruth(x, gamma, beta, 1e-3, dy, np.longdouble)

    assert exact.slack == 2.0
    assert wide.slack == 1.0
    for name in ("mean", "variance", "centered", "y", "dgamma", "dbeta", "dx"):
        got, expected = getattr(exact, name), getattr(wide, name)
        scale = np.abs(expected).max(axis=1, keepdims=True)
        # The second term is the long double's own rounding of the mean.
        assert (np.abs(got - expected) / scale).max() < 1e-15 + 1e-19 * offset, name
