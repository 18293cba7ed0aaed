"""Exact answers, in families 1xx, 2xx and 3xx: data on which no correct formula rounds, but for the root."""

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance.bounds import InferenceBounds, moving_bound
from conformance.case import Case
from conformance.evidence import Evidence, combine
from conformance.exact_cases import exact_inference, exact_training, exact_updates
from conformance.judge import Judge, View
from conformance.oracle import TrainingTruth, moving, unbiased
from conformance.requirements._catalogue import requirement
from conformance.requirements._masked import exactly, moving_statistic, with_statistics
from conformance.requirements.inference import INFER
from conformance.requirements.running import Statistic
from conformance.requirements.training import IOFFE, TRAIN

ONEDNN = "; the data are those of oneDNN's tests"


#: What sums in a wider format may leave of their own rounding, in units of the roundoff.
_WIDER = 2.0**-16


def _sums_are_exact(judge: Judge) -> bool:
    """Whether the declared algorithm has no rounding in sums of these data: updating formulas divide by every count."""
    numerics = judge.run.numerics
    return numerics.variance_grade == "A" and numerics.compute.digits >= 24 and numerics.statistics.digits >= 24


def _output_bound(judge: Judge, view: View) -> Array:
    """The bound of y where the statistics are exact: the root, and the few operations after it."""
    truth, bounds = judge.training(view)
    if not _sums_are_exact(judge):
        return bounds.y
    given = with_statistics(judge, truth, truth.x)
    return InferenceBounds(given, judge.run.numerics, judge.kind, *_left_over(judge, truth)).y


def _left_over(judge: Judge, truth: TrainingTruth) -> tuple[Array, Array]:
    """The errors of mean and variance, (C, 1), of sums that are exact, or nearly so since they are wider."""
    u = judge.run.numerics.compute.u * _WIDER
    return u * truth.mean_abs_x, u * (np.square(truth.mean) + truth.variance)


@requirement("BN-111", source=IOFFE + ONEDNN, ops=TRAIN, derive=exact_training, conventions=("epsilon_floor",))
def exact_output(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """On data with exact μ and σ² the training output is γ·(x − μ)/√(σ² + ε) + β to a few units in the last place."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            y, truth = other.got(view, "y"), other.truth(view)
            if y is not None:
                bound = _output_bound(other, view)
                parts.append(other.compare("y", y, np.asarray(truth.y), bound, view, scale=other.variation(view)))
    return combine(parts)


@requirement("BN-112", source=IOFFE + ", step 4: 0·x̂ + β", ops=TRAIN, derive=exact_training)
def beta_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Where γ is zero the training output is β to the bit; where x is constant, up to rounding in the affine step."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            y, truth = other.got(view, "y"), other.truth(view)
            if y is None:
                continue
            mask = truth.gamma == 0
            beta = np.broadcast_to(np.asarray(truth.beta, np.float64), y.shape)
            if mask.any():
                parts.append(exactly(other, view, "y", y, beta, mask, "y is not β"))
            constant = truth.variance == 0
            if constant.any():
                bound = np.where(constant, _output_bound(other, view), np.inf)
                parts.append(other.compare("y", y, beta, bound, view, scale=np.ones_like(truth.mean)))
    return combine(parts)


@requirement(
    "BN-221",
    source="Ioffe & Szegedy 2015, Algorithm 2" + ONEDNN,
    ops=INFER,
    derive=exact_inference,
    conventions=("epsilon_floor",),
)
def exact_inference_output(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """From exact M and V the inference output is γ·(x − M)/√(V + ε) + β to a few units in the last place."""
    return combine([other.against_truth(view, "y") for other in judge.derived for view in other.steps("infer")])


def _representable(stored: "np.dtype[np.generic]", *values: Array) -> Array:
    """Where all of these intermediate results are numbers of a format."""
    holds = [np.asarray(value.astype(stored).astype(value.dtype) == value) for value in values]
    return np.logical_and.reduce(holds)


def _batch(judge: Judge, view: View, statistic: Statistic) -> tuple[Array, Array]:
    """The batch's statistic that enters the moving one, and how far it may be off on these data."""
    truth, bounds = judge.training(view)
    mean_error, variance_error = _left_over(judge, truth) if _sums_are_exact(judge) else (bounds.mean, bounds.variance)
    estimator = judge.run.conventions.moving_variance if statistic == "variance" else ""
    if estimator == "unbiased":
        value = unbiased(truth.variance, truth.count)
        # One division by m - 1, or the rounding of m / (m - 1) and of its product with the variance.
        return value, 3 * judge.run.numerics.compute.u * value if _sums_are_exact(judge) else bounds.unbiased_variance
    return (truth.mean, mean_error) if statistic == "mean" else (truth.variance, variance_error)


def _exact_update(judge: Judge, view: View, statistic: Statistic) -> Evidence:
    """Compare a moving statistic with its update: to the bit where no way to compute it rounds."""
    got = moving_statistic(judge, view, statistic)
    if got is None:
        return combine([])
    batch, error = _batch(judge, view, statistic)
    numerics = judge.run.numerics
    old = np.asarray(getattr(judge.run.before(view.number, judge.kind), statistic)).astype(batch.dtype)
    decay = judge.spec.decay
    expected = moving(old, batch, decay)
    bound = moving_bound(old, np.zeros_like(old), batch, error, decay, numerics, judge.run.decay_format)
    weight = batch.dtype.type(decay)
    steps = (weight * old, (1 - weight) * batch, old - batch, (old - batch) * (1 - weight), expected, batch)
    weights = np.full_like(old, weight), np.full_like(old, 1 - weight)
    exact = _representable(numerics.statistics.dtype, *steps, *weights)
    exact &= _representable((judge.run.decay_format or numerics.statistics).dtype, *weights)
    estimated = statistic == "variance" and judge.run.conventions.moving_variance == "unbiased"
    if _sums_are_exact(judge) and not estimated:
        # Nothing is left but what sums in a wider format have left.
        bound = np.where(exact, (1 - decay) * error, bound)
    scale = np.abs(np.asarray(expected - old))
    return judge.compare("moving_" + statistic, got, np.asarray(expected), bound, view, scale=scale)


def _exact_updates(judge: Judge, statistic: Statistic) -> Evidence:
    return combine([_exact_update(other, v, statistic) for other in judge.derived for v in other.steps("train")])


@requirement("BN-321", source="Ioffe & Szegedy 2015, section 3.1" + ONEDNN, ops=TRAIN, derive=exact_updates)
def exact_moving_mean(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """On data with an exact μ the moving mean is decay·old + (1 − decay)·μ to the bit, where these are exact too."""
    return _exact_updates(judge, "mean")


@requirement(
    "BN-322",
    source="Ioffe & Szegedy 2015, section 3.1" + ONEDNN,
    ops=TRAIN,
    derive=exact_updates,
    conventions=("moving_variance",),
)
def exact_moving_variance(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """On data with an exact σ² the moving variance is updated by the declared estimator, to the bit if it is biased."""
    return _exact_updates(judge, "variance")
