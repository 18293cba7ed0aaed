"""Laws that the bounds obey whatever the implementation: order, units, range, and what enters them."""

import numpy as np
import pytest

from conformance.bounds import InferenceBounds, Kind, Numerics, TrainingBounds, moving_bound
from conformance.formats import FORMATS, Format, compute_format
from conformance.oracle import InferenceTruth, TrainingTruth, moving, unbiased
from tests._bound_cases import draw_case
from tests._bound_checks import (
    BF16,
    F32,
    F64,
    INFERENCE,
    KINDS,
    LOOSEST,
    SHARPEST,
    SMALL,
    TRAINING,
    inference_truth,
    numerics,
    plain_case,
    ratios,
    training_truth,
)
from tests._variants import VARIANTS, Fault, infer, train


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("declared", [(v, a) for v in "ABC" for a in "SF"], ids="".join)
def test_kinds_are_ordered(dtype: str, declared: tuple[str, str]) -> None:
    """For every quantity prob <= panel <= worst, with and without a difference, and no bound is NaN or zero.

    On inputs narrower than the arithmetic the panel is the worst case.
    """
    compute = compute_format(dtype)
    wider = set()
    for seed in range(12):
        case = draw_case(seed, (3, 33, 256)[seed % 3], dtype, mild=seed % 2 == 0)
        what = Numerics(compute, FORMATS[dtype], compute, *declared)
        for truth, make, names in (
            (training_truth(case), TrainingBounds, TRAINING),
            (inference_truth(case), InferenceBounds, INFERENCE),
        ):
            for name in names:
                prob, panel, worst = (getattr(make(truth, what, kind), name) for kind in KINDS)  # type: ignore[arg-type]
                assert (prob > 0).all()
                assert (prob <= panel).all(), name
                assert (panel <= worst).all(), name
                wider |= {(name, "panel")} if (prob < panel).any() else set()
                wider |= {(name, "worst")} if (panel < worst).any() else set()

    told_apart = ("panel", "worst") if compute.digits == FORMATS[dtype].digits else ("panel",)
    assert wider >= {(name, kind) for name in TRAINING for kind in told_apart}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", [(v, a) for v in "ABC" for a in "SF"], ids="".join)
def test_bounds_scale_with_the_data(kind: Kind, declared: tuple[str, str]) -> None:
    """Multiplying x by 2^k and epsilon by 4^k scales each bound as it scales its quantity: the units are right."""
    what = Numerics(F32, F32, F32, *declared)
    case = plain_case(2, 64, 1.0)
    larger = case._replace(x=case.x * np.float32(8), epsilon=case.epsilon * 64)
    before = TrainingBounds(training_truth(case), what, kind)
    after = TrainingBounds(training_truth(larger), what, kind)
    powers = {"mean": 1, "variance": 2, "unbiased_variance": 2, "y": 0, "dx": -1, "dgamma": 0, "dbeta": 0}

    for name, power in powers.items():
        np.testing.assert_allclose(getattr(after, name), getattr(before, name) * 8.0**power, rtol=1e-9, err_msg=name)


def test_output_needs_no_upstream_gradient() -> None:
    """Bounds of a truth made without dy give y and the statistics."""
    bounds = TrainingBounds(TrainingTruth(plain_case(0, 8, 1.0).x, None, None, 1e-3), LOOSEST, "panel")

    assert np.isfinite(bounds.y).all()
    with pytest.raises(ValueError, match="no upstream gradient"):
        _ = bounds.dx


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "values",
    [
        pytest.param([3e38, -3e38, 3e38, 1.0, 0.0, 1.0], id="overflow"),
        pytest.param([1e20, -1e20, 1e20, 1.0, 0.0, 1.0], id="squares overflow"),
        pytest.param([np.nan, 1.0, 2.0, 3.0, 4.0, 5.0], id="nan"),
        pytest.param([np.inf, 1.0, 2.0, 3.0, 4.0, 5.0], id="inf"),
        pytest.param([], id="empty"),
        pytest.param([1.0] * 6, id="constant without epsilon"),
    ],
)
def test_where_nothing_can_be_said_bounds_are_infinite(kind: Kind, values: list[float]) -> None:
    """Outside the range of validity bounds are infinite, never NaN, and nothing warns."""
    x = np.array([values], dtype=np.float32).reshape(1, -1)
    truth = TrainingTruth(x, None, None, 0.0, np.ones_like(x))
    for grade in "ABC":
        bounds = TrainingBounds(truth, LOOSEST._replace(variance_grade=grade), kind)
        assert np.isinf(bounds.y).all()
        assert np.isinf(bounds.dx).all()
        assert np.isinf(bounds.dgamma).all()
        assert not any(np.isnan(getattr(bounds, name)).any() for name in TRAINING)
    inference = InferenceBounds(InferenceTruth(x, None, None, [np.nan], [-1.0], 0.0, np.ones_like(x)), LOOSEST, kind)
    assert all(np.isinf(getattr(inference, name)).all() for name in ("y", "dx", "dgamma"))


def test_small_variances_end_the_range_in_turn() -> None:
    """As the variance shrinks, gradients lose their bound where r³ overflows, and y where the variance underflows."""
    x = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)

    def finite(scale: float) -> tuple[bool, bool]:
        small = x * np.float32(scale)
        bounds = TrainingBounds(TrainingTruth(small, None, None, 0.0, np.ones_like(x)), SHARPEST, "prob")
        return bool(np.isfinite(bounds.y).all()), bool(np.isfinite(bounds.dx).any())

    assert finite(1e-10) == (True, True)
    assert finite(1e-14) == (True, False)
    assert finite(1e-17) == (False, False)


def test_flushing_to_zero_is_correct() -> None:
    """Results below the smallest normal number may be zero: no relative accuracy is asked for there."""
    case = plain_case(0, 16, 1.0)
    case = case._replace(dy=case.dy * np.float32(1e-39), beta=0 * case.beta)
    training, inference = training_truth(case), inference_truth(case)
    bounds = TrainingBounds(training, SHARPEST, "prob"), InferenceBounds(inference, SHARPEST, "prob")
    results = train(case, VARIANTS["pairwise"]), infer(case, VARIANTS["pairwise"])

    for name in ("dx", "dgamma", "dbeta"):
        for truth, bound, result in zip((training, inference), bounds, results, strict=True):
            got = np.where(np.abs(result[name]) < F32.tau, 0, result[name])
            assert (got == 0).any()
            assert ratios(got, getattr(truth, name), getattr(bound, name)).max() <= 1, name


def test_the_gradient_of_the_variance_may_be_flushed() -> None:
    """Where γ·dy is tiny and σ large, dx may lack what comes by way of the variance, whose gradient is below tau."""
    case = plain_case(0, 4, 1.0)
    gamma, dy = np.full_like(np.asarray(case.gamma), 1e-14), (case.dy * np.float32(1e-9)).astype(np.float32)
    truth = TrainingTruth(case.x * np.float32(1e7), gamma, case.beta, case.epsilon, dy)
    share = -(truth.r**3) * gamma.reshape(-1, 1) * truth.sum_dy_centered / (2 * truth.count)
    flushed = np.where(np.abs(share) < F32.tau, 0, share)
    got = truth.dx + 2 * truth.centered * (flushed - share)

    assert (np.abs(got - truth.dx) > 1e-3 * np.abs(truth.dx)).any()
    assert ratios(got, truth.dx, TrainingBounds(truth, SHARPEST, "prob").dx).max() <= 1


def test_narrow_outputs_allow_their_own_rounding() -> None:
    """A bfloat16 output may be off by half a unit of its own, and by hardly more."""
    case = plain_case(3, 64, 1.0)
    truth = training_truth(case)
    bound = TrainingBounds(truth, Numerics(F32, BF16, F32, "A", "S"), "prob").y
    rounding = BF16.u * np.abs(truth.y)

    assert (bound >= rounding).all()
    assert np.median(bound / np.maximum(rounding, BF16.sub)) < 1.02


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_uncertain_statistics_enter_the_inference_bound(seed: int, signs: tuple[int, int]) -> None:
    """Statistics off by the stated errors keep the bound given these errors, and break it without them."""
    case = plain_case(seed, 64, 1.0)
    truth = inference_truth(case)
    dm, dv = 1e-4 * np.abs(truth.mean) + 1e-5, 1e-3 * truth.variance
    moved = case._replace(
        moving_mean=(truth.mean + 0.999 * signs[0] * dm).astype(np.float32)[:, 0],
        moving_variance=(truth.variance + 0.999 * signs[1] * dv).astype(np.float32)[:, 0],
    )
    results = infer(moved, VARIANTS["sequential"])
    told = InferenceBounds(truth, SHARPEST, "prob", dm, dv)
    untold = InferenceBounds(truth, SHARPEST, "prob")

    for name, got in results.items():
        assert ratios(got, getattr(truth, name), getattr(told, name)).max() <= 1, name
    for name in ("y", "dx", "dgamma"):
        assert ratios(results[name], getattr(truth, name), getattr(untold, name)).max() > 10, name
        assert ratios(results[name], getattr(truth, name), getattr(told, name)).max() > 0.3, name


def test_infinite_uncertainty_is_an_infinite_bound() -> None:
    """Where the statistics have no bound, what follows from them has none."""
    truth = inference_truth(plain_case(0, 8, 1.0))
    unknown = np.full((16, 1), np.inf)

    assert np.isinf(InferenceBounds(truth, SHARPEST, "prob", unknown).y).all()
    assert np.isinf(InferenceBounds(truth, SHARPEST, "prob", None, unknown).dx).all()


def test_moving_bound_knows_which_decays_are_exact() -> None:
    """A decay that the format holds costs no representation error, in each format; any other one does."""
    one, nothing = np.ones((1, 1)), np.zeros((1, 1))

    def bound(decay: float, statistics: Format, kept: Format | None = None) -> float:
        what = LOOSEST._replace(statistics=statistics)
        return float(moving_bound(one, nothing, one, nothing, decay, what, kept)[0, 0])

    # bfloat16 holds 1 - 2⁻⁷ and not 1 - 2⁻¹⁰, which it rounds to 1.
    assert bound(1 - 2.0**-7, BF16) < 3.1 * BF16.u < 3.9 * BF16.u < bound(1 - 2.0**-10, BF16)
    assert bound(1 - 2.0**-10, F32) < 3.1 * F32.u < 3.9 * F32.u < bound(0.99, F32)
    assert bound(0.99, F64) < 6 * F64.u
    assert bound(0.99, F64, F32) > 1.9 * F32.u
    assert bound(1 - 2.0**-10, F64, F32) < 5 * F64.u


@pytest.mark.parametrize("decay", [0.0, 2.0**-8, 0.1, 0.25, 0.5, 0.875, 1 - 2.0**-7, 0.9, 0.99, 0.999])
def test_one_update_stays_within_its_rounding(decay: float) -> None:
    """Both forms of the update, of exactly known numbers of all magnitudes, stay within the bound and come near it."""
    draw = np.random.default_rng(0)
    old, new = (10 ** draw.uniform(-3, 3, (2, 20000, 1)) * draw.standard_normal((2, 20000, 1))).astype(np.float32)
    exact, weight = np.zeros(old.shape), np.float32(decay)
    wide = old.astype(np.float64), new.astype(np.float64)
    bound = moving_bound(wide[0], exact, wide[1], exact, decay, SHARPEST)
    forms = (
        weight * old + (1 - weight) * new,
        weight * old + np.float32(1 - decay) * new,
        old - (old - new) * (1 - weight),
    )
    worst = [ratios(form, moving(*wide, decay), bound).max() for form in forms]

    assert max(worst) <= 1
    assert max(worst) > 0.3


#: The median bound at n = 64 in units of u times the quantity's root mean square: statistics, y, dx, dgamma, dbeta.
SHARPNESS = {
    "AS": (29.97, 20.39, 22.33, 21.07, 36.49, 128.91, 122.08),
    "BS": (59.94, 101.79, 103.70, 49.36, 65.35, 175.60, 122.08),
    "CF": (29.97, 44.02, 45.76, 26.65, 48.87, 223.23, 122.08),
}


@pytest.mark.parametrize("grades", SHARPNESS)
def test_bounds_are_no_looser_than_they_were(grades: str) -> None:
    """On plain data each bound is what it was when the constants were tuned: a looser one would hide faults."""
    case = plain_case(0, 64, 1.0)
    truth = training_truth(case)
    bounds = TrainingBounds(truth, Numerics(F32, F32, F32, *grades), "prob")
    values = {name: getattr(truth, name) for name in TRAINING if name != "unbiased_variance"}
    values["unbiased_variance"] = unbiased(truth.variance, truth.count)

    units = {name: np.sqrt(np.square(value).mean()) * F32.u for name, value in values.items()}
    got = [np.median(getattr(bounds, name)) / units[name] for name in TRAINING]

    np.testing.assert_allclose(got, SHARPNESS[grades], rtol=5e-3)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n", [2, 4, 64])
def test_hardware_roots_are_correct(sign: int, n: int) -> None:
    """A reciprocal root off by two units in the last place, as GPUs give it, breaks no bound and nearly uses it."""
    case, fault = plain_case(0, n, 1.0), Fault(rsqrt=sign * 3.9 * F32.u)
    training, inference = training_truth(case), inference_truth(case)
    results = train(case, VARIANTS["pairwise"], fault), infer(case, VARIANTS["pairwise"], fault)
    bounds = TrainingBounds(training, SHARPEST, "prob"), InferenceBounds(inference, SHARPEST, "prob")

    for name, got in results[0].items():
        assert ratios(got, getattr(training, name), getattr(bounds[0], name)).max() <= 1, name
    for name, got in results[1].items():
        assert ratios(got, getattr(inference, name), getattr(bounds[1], name)).max() <= 1, name
    assert ratios(results[1]["dx"], inference.dx, bounds[1].dx).max() > 0.6


def test_moving_bound_is_never_nan() -> None:
    """An unbounded statistic makes the moving one unbounded, at decay 0 and 1 too."""
    one, unknown = np.ones((1, 1)), np.full((1, 1), np.inf)

    for decay in (0.0, 0.5, 1.0):
        assert np.isinf(moving_bound(one, unknown, one, unknown, decay, LOOSEST)).all()


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no wide long double to compare with")
@pytest.mark.parametrize("seed", range(8))
def test_exact_oracle_judges_as_the_long_double_does(seed: int) -> None:
    """Without a wide long double, correct float64 code passes and the bounds are the wide ones times the slack."""
    case = draw_case(seed, (5, 64, 256)[seed % 3], "float64", mild=seed % 2 == 0)
    wide = training_truth(case)
    exact = TrainingTruth(case.x, case.gamma, case.beta, case.epsilon, case.dy, np.float64, exact=True)
    variant = VARIANTS["7 lanes, folded"]
    declared = numerics(case, variant)
    results = train(case, variant)

    for name, got in results.items():
        assert ratios(got, getattr(exact, name), getattr(TrainingBounds(exact, declared, "panel"), name)).max() <= 1
        narrow = getattr(TrainingBounds(exact, declared, "prob"), name)
        reference = getattr(TrainingBounds(wide, declared, "prob"), name)
        both = np.isfinite(narrow) & np.isfinite(reference)
        np.testing.assert_allclose(narrow[both].astype(float), 2 * reference[both].astype(float), rtol=1e-4)
        assert both.mean() > 0.7


def test_most_bounds_are_finite() -> None:
    """The absence of false alarms is not bought with infinite bounds: on mild data the sharpest are all finite."""
    shares = []
    for seed in range(28):
        case = draw_case(seed, SMALL[seed % len(SMALL)], mild=True)
        training, inference = training_truth(case), inference_truth(case)
        sharp = TrainingBounds(training, SHARPEST, "panel"), InferenceBounds(inference, SHARPEST, "panel")
        loose = TrainingBounds(training, LOOSEST, "panel")

        assert all(np.isfinite(getattr(sharp[0], name)).all() for name in TRAINING), seed
        assert all(np.isfinite(getattr(sharp[1], name)).all() for name in INFERENCE), seed
        shares.append(np.isfinite(loose.y).all(axis=1).mean())

    assert np.mean(shares) > 0.95
