"""The bounds: no false alarm on correct implementations of many kinds, and an alarm on the smallest faults."""

from typing import Any

import numpy as np
import pytest

from adapters.interface import Array
from conformance.bounds import InferenceBounds, Kind, TrainingBounds, moving_bound
from conformance.formats import compute_format, host_dtype
from conformance.oracle import InferenceTruth, TrainingTruth, moving, unbiased
from tests._bound_cases import Case, draw_case
from tests._bound_checks import LOOSEST, SHARPEST, SMALL, inference_truth, numerics, plain_case, ratios, training_truth
from tests._variants import FAULTLESS, VARIANTS, Fault, Variant, infer, train, update


def worst_ratio(got: Array, truth: Any, name: str, bounds: dict[Kind, Any]) -> float:
    """The largest error over the deciding bound: prob's, panel's where prob's is exceeded."""
    expected = getattr(truth, name)
    ratio = float(ratios(got, expected, getattr(bounds["prob"], name)).max(initial=0))
    return ratio if ratio <= 1 else float(ratios(got, expected, getattr(bounds["panel"], name)).max())


def alarms(case: Case) -> list[tuple[str, str, float]]:
    """Variant, quantity and ratio of all false alarms on a case."""
    training, inference = training_truth(case), inference_truth(case)
    found = []
    for name, variant in VARIANTS.items():
        declared = numerics(case, variant)
        both: list[tuple[Any, Any, dict[str, Array]]] = [
            (training, TrainingBounds, train(case, variant)),
            (inference, InferenceBounds, infer(case, variant)),
        ]
        for truth, make, results in both:
            kinds: tuple[Kind, ...] = ("prob", "panel")
            bounds = {kind: make(truth, declared, kind) for kind in kinds}
            for quantity, got in results.items():
                ratio = worst_ratio(got, truth, quantity, bounds)
                if not ratio <= 1:
                    found.append((name, f"{type(truth).__name__}.{quantity}", ratio))
    return found


@pytest.mark.parametrize(
    ("dtype", "seeds", "counts"),
    [
        pytest.param("float32", range(240), SMALL, id="float32"),
        pytest.param("float32", range(1000, 1200), SMALL[4:], id="float32, other seeds"),
        pytest.param("float32", range(6), (4096, 10000), id="float32, long"),
        pytest.param("float64", range(84), SMALL, id="float64"),
        pytest.param("float16", range(70), SMALL, id="float16"),
        pytest.param("bfloat16", range(70), SMALL, id="bfloat16"),
    ],
)
def test_no_false_alarm(dtype: str, seeds: range, counts: tuple[int, ...]) -> None:
    """Correct code of every order of summation and algebra stays within the bounds of its own grades, everywhere."""
    found = {}
    for seed in seeds:
        case = draw_case(seed, counts[seed % len(counts)], dtype, mild=seed % 3 != 0)
        if result := alarms(case):
            found[seed] = result

    assert found == {}


def scaled(case: Case, factor: float) -> Case:
    """The case with its data multiplied; the product is rounded to the data's type."""
    with np.errstate(over="ignore"):
        return case._replace(x=np.clip(case.x * case.x.dtype.type(factor), -1e37, 1e37))


def moving_sequence(case: Case, variant: Variant, kind: Kind, fault: Fault = FAULTLESS) -> dict[str, float]:
    """Largest ratio of the moving mean and variance after each of three steps, judged over the whole sequence."""
    declared, host = numerics(case, variant), host_dtype(compute_format(case.dtype).name)
    largest = {}
    for name, start in (("mean", case.moving_mean), ("variance", case.moving_variance)):
        state = start[:, None]
        expected = state.astype(host)
        bound = np.zeros_like(expected)
        largest[name] = 0.0
        for factor in (1.0, -0.5, 2.0):
            step = scaled(case, factor)
            truth = TrainingTruth(step.x, step.gamma, step.beta, step.epsilon, host=host)
            statistic, uncertainty = getattr(truth, name), getattr(TrainingBounds(truth, declared, kind), name)
            bound = moving_bound(expected, bound, statistic, uncertainty, case.decay, declared)
            expected = moving(expected, statistic, case.decay)
            state = update(state, train(step, variant)[name], case.decay, fault)
            largest[name] = max(largest[name], float(ratios(state, expected, bound).max()))
    return largest


@pytest.mark.parametrize("variant", ["pairwise", "sequential", "welford", "chan", "one pass"])
def test_moving_statistics_raise_no_false_alarm(variant: str) -> None:
    """Over a sequence of steps the moving statistics stay within the bound that is carried along with them."""
    for seed in range(42):
        for dtype in ("float32", "float64"):
            case = draw_case(seed, SMALL[seed % len(SMALL)], dtype, mild=seed % 3 != 0)

            largest = moving_sequence(case, VARIANTS[variant], "panel")

            assert max(largest.values()) <= 1, (seed, dtype, largest)


def output_ratio(case: Case, fault: Fault, training: bool) -> float:
    """The largest ratio of y to the loosest declaration's panel."""
    variant = VARIANTS["pairwise"]
    if training:
        truth: TrainingTruth | InferenceTruth = training_truth(case)
        bound = TrainingBounds(training_truth(case), LOOSEST, "panel").y
        got = train(case, variant, fault)["y"]
    else:
        truth = inference_truth(case)
        bound = InferenceBounds(inference_truth(case), LOOSEST, "panel").y
        got = infer(case, variant, fault)["y"]
    return float(ratios(got, truth.y, bound).max())


#: Fault, whether in training, spread, and the smallest relative faults still seen at n = 4, 64 and 1024.
POWER = {
    "rsqrt in training": ("rsqrt", True, 1.0, (1e-6, 1.8e-6, 5.6e-6)),
    "rsqrt in inference": ("rsqrt", False, 1.0, (5.6e-7, 5.6e-7, 5.6e-7)),
    "epsilon": ("epsilon", True, 1.0, (5.6e-4, 3.3e-3, 1e-2)),
    "epsilon at small spread": ("epsilon", True, 0.03, (3e-6, 5.6e-6, 1.8e-5)),
}


@pytest.mark.parametrize("name", POWER)
@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("seed", range(3))
def test_smallest_faults_are_seen(name: str, column: int, seed: int) -> None:
    """The least accurate declaration still shows these faults and all larger ones, and none where there is none."""
    field, training, spread, smallest = POWER[name]
    case = plain_case(seed, (4, 64, 1024)[column], spread)

    assert output_ratio(case, FAULTLESS, training) <= 1
    for factor in (1, 1.8, 3, 5.6, 10, 100):
        size = smallest[column] * factor
        fault = Fault(rsqrt=size) if field == "rsqrt" else Fault(epsilon=size)
        assert output_ratio(case, fault, training) > 1, factor


@pytest.mark.parametrize("n", [4, 64, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_smallest_faults_of_the_decay_are_seen(n: int, seed: int) -> None:
    """A decay wrong by five units in the last place shows in the moving variance after three steps."""
    case, variant = plain_case(seed, n, 1.0), VARIANTS["pairwise"]._replace(variance_grade="C", affine_grade="F")

    assert moving_sequence(case, variant, "panel")["variance"] <= 1
    for factor in (1, 1.8, 3, 10):
        assert moving_sequence(case, variant, "panel", Fault(decay=5.6e-7 * factor))["variance"] > 1, factor


@pytest.mark.parametrize("n", [4, 64, 1024])
def test_wrong_estimators_are_seen(n: int) -> None:
    """Bessel's correction shows in y and in the variance, epsilon outside the root shows, by a wide margin."""
    case, variant = plain_case(0, n, 1.0), VARIANTS["pairwise"]
    truth = training_truth(case)
    bounds = TrainingBounds(truth, LOOSEST, "panel")
    variance = train(case, variant)["variance"]

    assert output_ratio(case, Fault(bessel=True), training=True) > 100
    assert output_ratio(case, Fault(outside=True), training=True) > 100
    corrected = variance * np.float32(n / (n - 1))
    assert ratios(corrected, truth.variance, bounds.variance).max() > 100
    assert ratios(corrected, unbiased(truth.variance, n), bounds.unbiased_variance).max() <= 1


@pytest.mark.parametrize("kappa", [10, 30, 100, 300, 1000])
def test_grades_tell_variances_apart(kappa: int) -> None:
    """E[x²] - E[x]² breaks the bound of two passes and of updating formulas, and updating formulas keep their own."""
    case = draw_case(kappa, 256, mild=True)
    x = np.random.default_rng(kappa).standard_normal((16, 256)) + kappa
    case = case._replace(x=x.astype(np.float32))
    truth = training_truth(case)
    bound = {g: TrainingBounds(truth, SHARPEST._replace(variance_grade=g), "panel").variance for g in "ABC"}
    worst = {
        (name, grade): float(ratios(train(case, VARIANTS[name])["variance"], truth.variance, bound[grade]).max())
        for name in ("sequential", "welford", "chan", "one pass, sequential, folded")
        for grade in "ABC"
    }

    assert worst["sequential", "A"] <= 1
    assert worst["welford", "B"] <= 1
    assert worst["chan", "B"] <= 1
    assert worst["one pass, sequential, folded", "C"] <= 1
    assert worst["one pass, sequential, folded", "A"] > 10
    assert worst["one pass, sequential, folded", "B"] > 1


def test_folded_outputs_are_told_apart_in_inference() -> None:
    """With a large offset y = a·x + b breaks the bound of subtracting first and keeps its own."""
    case = plain_case(1, 64, 1.0)
    offset = np.float32(300)
    case = case._replace(x=case.x + offset, moving_mean=case.moving_mean + offset)
    truth = inference_truth(case)
    got = infer(case, VARIANTS["backwards, folded"])["y"]

    assert ratios(got, truth.y, InferenceBounds(truth, LOOSEST, "prob").y).max() <= 1
    assert ratios(got, truth.y, InferenceBounds(truth, SHARPEST, "prob").y).max() > 10
