"""Second order and the derivatives without a formula: the oracle against each other, the bounds against other ways."""

from collections.abc import Callable

import numpy as np
import pytest

from adapters.interface import Array
from conformance._bounds import Numerics
from conformance._growth import Kind
from conformance.case import Given, Infer
from conformance.complex_step import along, direction, input_gradient, normalized, output
from conformance.formats import FORMATS
from conformance.judge import Judge
from conformance.oracle import InferenceTruth, TrainingTruth
from conformance.requirements import CATALOGUE
from conformance.second_order import SecondBounds, SecondTruth
from tests._judged import case, run, values

SINGLE = Numerics(FORMATS["float32"], FORMATS["float32"], FORMATS["float32"], "A", "F")
Way = Callable[[Array, Array, Array, Array, float], tuple[Array, Array, Array]]


def data(seed: int, offset: float = 0.0, shape: tuple[int, int] = (4, 9)) -> tuple[Array, Array, Array, Array]:
    """x, dy and v as (C, m), and gamma as (C,), in float32."""
    rng = np.random.default_rng(seed)
    x, dy, v = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    return x + np.float32(offset), dy, v, rng.standard_normal(shape[0]).astype(np.float32)


def truth(seed: int, epsilon: float = 1e-2, offset: float = 0.0) -> SecondTruth:
    """A truth on random data."""
    x, dy, v, gamma = data(seed, offset)
    return SecondTruth(TrainingTruth(x, gamma, None, epsilon, dy), TrainingTruth(x, gamma, None, epsilon, v))


class TestTruth:
    """The three formulas."""

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("epsilon", [1e-5, 1.0])
    def test_against_the_derivative_of_dx(self, seed: int, epsilon: float) -> None:
        """Along any direction each gradient is the derivative of Σ v·dx, dx itself taken from its definition."""
        found = truth(seed, epsilon)
        of_dy, v = found.of_dy, found.of_v.dy
        signs = direction(of_dy.x.shape, seed)
        by_x = np.sum(v * along(input_gradient(of_dy), of_dy.x, signs), axis=1, keepdims=True)
        assert np.allclose(np.sum(found.x * signs, axis=1, keepdims=True), by_x, rtol=1e-12, atol=1e-12)
        dx = input_gradient(of_dy)(of_dy.x)
        assert np.allclose(dx, of_dy.dx, rtol=1e-12)
        other = TrainingTruth(of_dy.x, of_dy.gamma, None, epsilon, signs)
        by_dy = np.sum(v * other.dx, axis=1)
        assert np.allclose(np.sum(found.dy * signs, axis=1), by_dy, rtol=1e-12, atol=1e-12)
        assert np.allclose(found.gamma * of_dy.gamma, np.sum(v * of_dy.dx, axis=1, keepdims=True), rtol=1e-12)

    def test_shifting_a_channel_changes_nothing(self) -> None:
        """Since dx does not depend on a constant added to a channel, its gradient with respect to x sums to zero."""
        assert np.abs(truth(3).x.sum(axis=1)).max() < 1e-12


class TestDerivatives:
    """Complex steps of the definition against the formulas of first order."""

    def test_training(self) -> None:
        """Σ ±dx and dγ of training are derivatives of Σ y·dy."""
        x, dy, _, gamma = data(1, 3.0)
        found = TrainingTruth(x, gamma, None, 1e-3, dy)
        signs = direction(x.shape, 1)
        expected = np.sum(found.dy * along(output(found), found.x, signs), axis=1)
        assert np.allclose(np.sum(found.dx * signs, axis=1), expected, rtol=1e-11)
        assert np.allclose(found.dgamma[:, 0], np.sum(found.dy * normalized(found), axis=1), rtol=1e-12)

    def test_channels_of_any_scale(self) -> None:
        """Channels of very different scales, and constant ones, side by side are differentiated as they are alone."""
        x, dy, _, gamma = data(5)
        x = x * np.array([[2.0**-60], [1.0], [2.0**60], [0.0]], np.float32)
        found = TrainingTruth(x, gamma, None, 1e-30, dy)
        signs = direction(x.shape, 5)
        expected = np.sum(found.dy * along(output(found), found.x, signs), axis=1)
        assert np.allclose(np.sum(found.dx * signs, axis=1), expected, rtol=1e-10, atol=0)
        assert np.all(expected != 0)

    def test_inference(self) -> None:
        """So they are in inference, where the statistics are constants."""
        x, dy, _, gamma = data(2)
        found = InferenceTruth(x, gamma, None, np.zeros(4), np.full(4, 2.0), 1e-3, dy)
        signs = direction(x.shape, 1)
        expected = np.sum(found.dy * along(output(found), found.x, signs), axis=1)
        assert np.allclose(np.sum(found.dx * signs, axis=1), expected, rtol=1e-14)
        assert np.allclose(found.dgamma[:, 0], np.sum(found.dy * normalized(found), axis=1), rtol=1e-14)


def centered(x: Array, dy: Array, v: Array, gamma: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Everything centred first."""
    m, one = np.float32(x.shape[1]), np.float32(1)
    d = x - x.mean(axis=1, keepdims=True)
    r = one / np.sqrt((d * d).mean(axis=1, keepdims=True) + np.float32(epsilon))
    g, w = dy - dy.mean(axis=1, keepdims=True), v - v.mean(axis=1, keepdims=True)
    hat, scale = d * r, gamma[:, None] * r
    along_g, along_v = ((a * hat).mean(axis=1, keepdims=True) for a in (g, w))
    both = (g * w).mean(axis=1, keepdims=True)
    dx = scale * r * (hat * (3 * along_g * along_v - both) - w * along_g - g * along_v)
    return dx, scale * (w - hat * along_v), m * r * (both - along_g * along_v)


def as_it_comes(x: Array, dy: Array, v: Array, gamma: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Sums of what is given, products of r multiplied out, dγ summed from v·dx."""
    m = np.float32(x.shape[1])
    d = x - x.mean(axis=1, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(axis=1, keepdims=True) + np.float32(epsilon))
    sums = [a.sum(axis=1, keepdims=True) for a in (dy, v, dy * d, v * d, dy * v)]
    g, w, slope_g, slope_v, both = sums
    scale = gamma[:, None]
    first = scale * (r * r * r) * d / m * (g * w / m - both)
    second = scale * 3 * (r * r * r * r * r) * d / m * (slope_g * slope_v / m)
    third = scale * (r * r * r) * (slope_g / m * (w / m - v) + slope_v / m * (g / m - dy))
    dx = r * (dy - g / m - d * (r * r * slope_g / m))
    ddy = scale * r * (v - w / m - d * (r * r * slope_v / m))
    return first + second + third, ddy, (v * dx).sum(axis=1, keepdims=True)


class TestBounds:
    """Correct ways of computing stay within them, and they are narrow."""

    @pytest.mark.parametrize("kind", ["prob", "panel", "worst"])
    @pytest.mark.parametrize("way", [centered, as_it_comes])
    def test_ways_of_computing(self, way: Way, kind: Kind) -> None:
        """In float32, at mild and at large offsets, errors of both ways are below the bounds, and not far below."""
        largest = 0.0
        for seed in range(40):
            offset = 0.0 if seed % 2 else 100.0
            found = truth(seed, 1e-3, offset)
            bounds = SecondBounds(found, SINGLE, kind)
            x, dy, v, gamma = data(seed, offset)
            for got, name in zip(way(x, dy, v, gamma, 1e-3), ("x", "dy", "gamma"), strict=True):
                assert got.dtype == np.float32
                ratio = np.abs(got - getattr(found, name)) / getattr(bounds, name)
                largest = max(largest, float(ratio.max()))
        assert largest < 0.5
        assert kind == "worst" or largest > 0.01

    @pytest.mark.parametrize("seed", range(4))
    def test_small_faults_are_seen(self, seed: int) -> None:
        """A gradient that is wrong by one part in ten thousand is far outside."""
        found = truth(seed)
        bounds = SecondBounds(found, SINGLE, "panel")
        for name in ("x", "dy", "gamma"):
            value = getattr(found, name)
            assert (np.abs(value) * 1e-4 > getattr(bounds, name)).any()

    def test_half_inputs_are_judged_in_half(self) -> None:
        """Where the input is float16, results in between may be rounded to it: the bound is as wide as that."""
        found = truth(1)
        half = SINGLE._replace(output=FORMATS["float16"])
        ratio = SecondBounds(found, half, "prob").x / SecondBounds(found, SINGLE, "prob").x
        assert ratio.min() > 1000

    def test_beyond_the_range_nothing_is_claimed(self) -> None:
        """Where r⁵ leaves the range the bounds are infinite, and never NaN."""
        x, dy, v, gamma = data(0)
        tiny = x * np.float32(1e-20)
        found = SecondTruth(TrainingTruth(tiny, gamma, None, 1e-18, dy), TrainingTruth(tiny, gamma, None, 1e-18, v))
        bounds = SecondBounds(found, SINGLE, "prob")
        assert np.isinf(bounds.x).all()
        assert np.isinf(bounds.gamma).all()


def test_what_is_not_finite_has_no_derivative() -> None:
    """A NaN that stays in its element, as it should in inference, is no failure; the other channels are judged."""
    x = values(8, 3)
    x[0, 1] = np.nan
    judged = run(case(Infer(Given.of(x), Given.of(values(8, 3, seed=1)))))
    found = CATALOGUE["BN-430"].check(judged.case, judged.trace, Judge(judged))

    assert not found.fails
    assert found.unbounded > 0
    assert found.compared > 0
