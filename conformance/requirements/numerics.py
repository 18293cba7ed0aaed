"""Family 5xx: numerics, on data whose condition, scale, length or order is hard on the arithmetic.

Each requirement speaks of the channels of one kind, so that a report tells which kind an implementation fails on.
"""

from collections.abc import Callable

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance.bounds import InferenceBounds, TrainingBounds
from conformance.case import Case
from conformance.evidence import Evidence, combine
from conformance.exact_cases import without_epsilon
from conformance.judge import Judge, View
from conformance.oracle import InferenceTruth, TrainingTruth
from conformance.requirements._catalogue import requirement
from conformance.requirements._masked import (
    all_within,
    exactly,
    finite,
    moving_statistic,
    statistics_within,
    within,
)
from conformance.requirements.running import STATISTICS

HIGHAM = "Higham 2002, Accuracy and Stability of Numerical Algorithms, section 1.9"
CHAN = "Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance"
TRAIN, INFER = ("train",), ("infer",)
#: Condition numbers from which algorithms differ; scales beyond which squares are far from one; long sums.
LARGE_CONDITION, LARGE_SCALE, LONG = 8.0, 2.0**20, 1024

Kind = Callable[[TrainingTruth], Array]


def _on(judge: Judge, kind: Kind) -> Evidence:
    """Everything that training gave on the channels of a kind, against the oracle."""
    parts = []
    for view in judge.steps("train"):
        with np.errstate(all="ignore"):
            mask = kind(judge.training(view)[0])
        parts += all_within(judge, view, mask)
    return combine(parts)


def _magnitude(truth: TrainingTruth) -> Array:
    return np.hypot(truth.mean, np.sqrt(truth.variance))


def _large_mean(truth: TrainingTruth) -> Array:
    return (truth.variance > 0) & (_magnitude(truth) >= LARGE_CONDITION * np.sqrt(truth.variance))


@requirement("BN-501", source=CHAN, ops=TRAIN)
def large_means(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """However large μ is beside σ, y and the moving statistics are as accurate as the declared variance grade says."""
    parts = []
    for view in judge.steps("train"):
        with np.errstate(all="ignore"):
            mask = _large_mean(judge.training(view)[0])
        found = combine([within(judge, view, "y", mask), *statistics_within(judge, view, mask)])
        parts.append(found._replace(message=_variance_grade(judge, view)) if found.fails else found)
    return combine(parts)


def _variance_grade(judge: Judge, view: View) -> str:
    """Which grade the output fits, where it does not fit the declared one."""
    declared, got = judge.run.numerics.variance_grade, judge.got(view, "y")
    truth, _ = judge.training(view)
    for grade in "ABC":
        bound = TrainingBounds(truth, judge.run.numerics._replace(variance_grade=grade), judge.kind).y
        if grade > declared and got is not None and np.all(np.abs(got - truth.y) <= bound):
            return f"the variance is of grade {grade}, declared is {declared}"
    return f"the variance is worse than the declared grade {declared}"


@requirement("BN-502", source="y = a·x + b cancels where |x − M| is small beside |M|", ops=INFER)
def large_means_in_inference(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """However large M is beside √(V + ε), the inference output is as accurate as the declared affine grade says."""
    parts = []
    for view in judge.inferences():
        truth, _ = judge.inference(view)
        with np.errstate(all="ignore"):
            mask = np.abs(truth.mean) * truth.r >= LARGE_CONDITION
        found = within(judge, view, "y", mask)
        parts.append(found._replace(message=_affine_grade(judge, view, truth)) if found.fails else found)
    return combine(parts)


def _affine_grade(judge: Judge, view: View, truth: InferenceTruth) -> str:
    """Whether the output fits the looser grade, where it does not fit the declared one."""
    numerics, got = judge.run.numerics, judge.got(view, "y")
    folded = InferenceBounds(truth, numerics._replace(affine_grade="F"), judge.kind).y
    if numerics.affine_grade == "S" and got is not None and np.all(np.abs(got - truth.y) <= folded):
        return "the output is folded into a·x + b, declared is that the mean is subtracted first"
    return f"the output is worse than the declared grade {numerics.affine_grade}"


@requirement("BN-503", source=HIGHAM, ops=TRAIN)
def extreme_scales(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Values whose squares are tiny or huge are normalized as accurately as others, as far as the range allows."""

    def extreme(truth: TrainingTruth) -> Array:
        magnitude = _magnitude(truth)
        limit = min(LARGE_SCALE, judge.run.numerics.output.big**0.25)
        return (truth.variance > 0) & ((magnitude > limit) | (magnitude < 1 / limit))

    return _on(judge, extreme)


@requirement("BN-504", source="Higham & Mary 2019, A new approach to probabilistic rounding error analysis")
def long_sums(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Over thousands of elements errors grow no faster than sums of random rounding errors do."""
    return _on(judge, lambda truth: np.full((truth.channels, 1), truth.count >= LONG))


@requirement("BN-505", source="Ioffe & Szegedy 2015, Algorithm 1: x − μ is zero", ops=TRAIN)
def constant_channels(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A channel that holds one value only gives β everywhere, and its variance is zero, however large the value."""
    parts = []
    for view in judge.steps("train"):
        truth, bounds = judge.training(view)
        y, mask = judge.got(view, "y"), (truth.variance == 0) & (truth.count > 1)
        if y is None or not mask.any():
            continue
        bound = np.where(mask, bounds.y, np.inf)
        parts.append(judge.compare("y", y, truth.beta + 0 * y, bound, view, scale=np.ones_like(truth.mean)))
        parts += statistics_within(judge, view, mask)
    return combine(parts)


def _outlier(truth: TrainingTruth) -> Array:
    most = np.square(truth.centered).max(axis=1, keepdims=True, initial=0)
    return (truth.variance > 0) & (2 * most > truth.count * truth.variance) & (truth.count >= 8)


@requirement("BN-506", source=HIGHAM, ops=TRAIN)
def one_outlier(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """One value far from all others spoils no more digits of theirs than its size makes inevitable."""
    return _on(judge, _outlier)


def _ordered(truth: TrainingTruth) -> Array:
    steps, falls = np.diff(truth.x, axis=1), np.diff(np.abs(truth.x), axis=1)
    in_order = [(s >= 0).all(axis=1, keepdims=True) | (s <= 0).all(axis=1, keepdims=True) for s in (steps, falls)]
    return (truth.variance > 0) & (in_order[0] | in_order[1]) & (truth.count >= 4)


@requirement("BN-507", source="Higham 2002, section 4.2", ops=TRAIN)
def values_in_order(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Values that come in ascending or falling order are summed as accurately as the same values in disorder."""
    return _on(judge, _ordered)


@requirement("BN-508", source="Ioffe & Szegedy 2015, Algorithm 1: ε is there for it")
def finite_stays_finite(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Finite input that is far from overflow gives finite outputs, gradients and statistics, constants included."""
    parts = []
    for view in judge.steps("train", "infer"):
        mask = _safe(judge, view)
        message = "finite numbers, far from overflow, gave one that is not"
        parts += [finite(judge, view, q, judge.got(view, q), mask, message) for q in ("y", "dx", "dgamma", "dbeta")]
        for statistic in STATISTICS:
            got = moving_statistic(judge, view, statistic)
            declared = statistic == "variance" and judge.run.conventions.moving_variance_single == "nan"
            if not (declared and judge.truth(view).count == 1):
                parts.append(finite(judge, view, "moving_" + statistic, got, mask, message))
    return combine(parts)


def _safe(judge: Judge, view: View) -> Array:
    """Channels (C, 1) for which nothing can overflow, whichever formula is used, and ε keeps the root from zero."""
    truth, numerics, before = judge.truth(view), judge.run.numerics, judge.run.before(view.number, judge.kind)
    with np.errstate(all="ignore"):
        reach = truth.max_abs_x + np.abs(before.mean) + 1
        size = (1 + np.abs(truth.gamma)) * reach / np.sqrt(max(judge.run.epsilon, 0.0)) + np.abs(truth.beta)
        largest = np.maximum(np.square(reach), np.abs(before.variance)) * max(truth.count, 1)
        if view.call.dy is not None:
            dy = np.abs(truth.dy).max(axis=1, keepdims=True, initial=0) + 1
            size = np.square(size) * dy * max(truth.count, 1)
        range_of_sums = min(numerics.compute.big, numerics.statistics.big) / 4
        safe = (largest < range_of_sums) & (size < min(numerics.output.big / 4, range_of_sums))
        # There is no mean of nothing.
        safe &= truth.count > 0
        # What an earlier step may have overflowed stays so, even with a weight of zero: 0 · ∞ is NaN.
        for error in (before.mean_error, before.variance_error):
            safe &= error is None or np.isfinite(error)
        return safe & (before.variance >= 0) & (judge.run.epsilon >= numerics.compute.tau / numerics.compute.u)


@requirement("BN-509", source="A variance is a mean of squares", ops=TRAIN)
def variances_are_not_negative(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A training step leaves no negative moving variance, even where rounding has cost all digits."""
    parts = []
    for view in judge.steps("train"):
        got = moving_statistic(judge, view, "variance")
        if got is None:
            continue
        with np.errstate(all="ignore"):
            mask = (judge.run.before(view.number, judge.kind).variance >= 0) & np.isfinite(got)
            expected = np.maximum(got, 0)
        parts.append(exactly(judge, view, "moving_variance", got, expected, mask, "the moving variance is negative"))
    return combine(parts)


@requirement(
    "BN-510",
    source="Ioffe & Szegedy 2015, Algorithm 1",
    derive=without_epsilon,
    conventions=("epsilon_floor",),
)
def no_epsilon(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """With ε = 0 and a positive variance the output is γ·(x − μ)/σ + β, and all the rest follows."""
    if judge.spec.epsilon > 0:
        return combine([])
    parts = []
    for view in (*judge.steps("train"), *judge.inferences()):
        parts += all_within(judge, view, np.asarray(judge.truth(view).variance > 0))
    for other in judge.derived:
        for view in other.steps("train"):
            parts += all_within(other, view, np.asarray(other.truth(view).variance > 0))
    return combine(parts)
