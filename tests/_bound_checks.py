"""What the tests of the bounds share: truths of cases, declarations, and error over bound."""

import numpy as np

from adapters.interface import Array
from conformance.bounds import Kind, Numerics
from conformance.formats import FORMATS, compute_format, host_dtype
from conformance.oracle import InferenceTruth, TrainingTruth
from tests._bound_cases import Case
from tests._variants import Variant

F32, F64, BF16 = FORMATS["float32"], FORMATS["float64"], FORMATS["bfloat16"]
LOOSEST = Numerics(F32, F32, F32, "C", "F")
SHARPEST = Numerics(F32, F32, F32, "A", "S")
KINDS: tuple[Kind, ...] = ("prob", "panel", "worst")
TRAINING = ("mean", "variance", "unbiased_variance", "y", "dx", "dgamma", "dbeta")
INFERENCE = ("y", "dx", "dgamma", "dbeta")
SMALL = (1, 2, 3, 4, 5, 7, 8, 16, 33, 64, 100, 256, 1000, 1024)


def training_truth(case: Case) -> TrainingTruth:
    """The truth of a training step."""
    host = host_dtype(compute_format(case.dtype).name)
    return TrainingTruth(case.x, case.gamma, case.beta, case.epsilon, case.dy, host)


def inference_truth(case: Case) -> InferenceTruth:
    """The truth of an inference step."""
    host = host_dtype(compute_format(case.dtype).name)
    statistics = case.moving_mean, case.moving_variance
    return InferenceTruth(case.x, case.gamma, case.beta, *statistics, case.epsilon, case.dy, host)


def numerics(case: Case, variant: Variant) -> Numerics:
    """What a variant declares for a case."""
    compute = compute_format(case.dtype)
    return Numerics(compute, FORMATS[case.dtype], compute, variant.variance_grade, variant.affine_grade)


def ratios(got: Array, expected: Array, bound: Array) -> Array:
    """Error over bound; zero where the bound is infinite, infinite where the result is not finite but should be."""
    with np.errstate(all="ignore"):
        result = np.abs(got.astype(expected.dtype) - expected) / bound
    return np.where(np.isinf(bound), 0, np.where(np.isnan(result), np.inf, result))


def plain_case(seed: int, n: int, spread: float) -> Case:
    """Normal data of mean near zero and 16 channels with parameters of ordinary size."""
    draw = np.random.default_rng([seed, n])
    x = (spread * (draw.standard_normal((16, n)) + draw.uniform(-1, 1, (16, 1)))).astype(np.float32)
    wide = x.astype(np.float64)
    variance = wide.var(axis=1) * np.exp(0.3 * draw.standard_normal(16))
    arrays = (
        draw.standard_normal((16, n)),
        draw.uniform(0.5, 2, 16),
        draw.standard_normal(16),
        wide.mean(axis=1) + 0.1 * spread,
        variance,
    )
    dy, gamma, beta, moving_mean, moving_variance = (a.astype(np.float32) for a in arrays)
    return Case("float32", x, dy, gamma, beta, moving_mean, moving_variance, 1e-3, 0.99, ["normal"] * 16)
