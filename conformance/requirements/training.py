"""Family 1xx: normalization in training."""

import numpy as np

from adapters.program import Trace
from conformance import derive
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine
from conformance.judge import Judge
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import columns, pairs, same

IOFFE = "Ioffe & Szegedy 2015, Algorithm 1"
TRAIN = ("train",)


@requirement("BN-101", source=IOFFE, ops=TRAIN)
def training_output(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training, y = γ·(x − μ)/√(σ² + ε) + β with the mean μ and the biased variance σ² of this batch."""
    return combine([judge.against_truth(view, "y") for view in judge.steps("train")])


@requirement("BN-102", source=IOFFE + ", step 3", ops=TRAIN, derive=derive.normalized)
def normalized_moments(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """With γ = 1 and β = 0 each channel of y has mean 0 and variance σ²/(σ² + ε)."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            truth, bounds = other.training(view)
            y = other.got(view, "y")
            if y is None:
                continue
            mean = y.mean(axis=1, keepdims=True)
            variance = np.mean(np.square(y - mean), axis=1, keepdims=True)
            expected = truth.variance / truth.shifted
            with np.errstate(all="ignore"):
                mean_bound = bounds.y.mean(axis=1, keepdims=True)
                variance_bound = np.mean(2 * np.abs(truth.y) * bounds.y + np.square(bounds.y), axis=1, keepdims=True)
            zero = np.zeros_like(mean)
            scale = np.sqrt(expected)
            parts.append(other.compare("mean of y", mean, zero, mean_bound, view, scale=scale))
            parts.append(other.compare("variance of y", variance, expected, variance_bound, view))
    return combine(parts)


@requirement("BN-103", source="Ioffe & Szegedy 2015, section 3.2", ops=TRAIN, derive=derive.shifted)
def shift_invariance(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Adding a constant to a channel, as a bias before the layer does, changes nothing in the training output."""
    plain, moved = judge.derived
    return combine([same(plain, moved, a, b, "y") for a, b in pairs(plain, moved, "train")])


@requirement("BN-104", source="Ioffe & Szegedy 2015, section 3.3", ops=TRAIN, derive=derive.scaled)
def scale_behaviour(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Scaling a channel by s changes y − β by the factor s·√((σ² + ε)/(s²σ² + ε)) and by nothing else."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train"):
            truth, scaled = judge.truth(mine), other.truth(theirs)
            got, others = judge.got(mine, "y"), other.got(theirs, "y")
            if got is None or others is None:
                continue
            with np.errstate(all="ignore"):
                factor = derive.scale_factors(case.spec, len(got)) * scaled.r / truth.r
                bound = other.bound(theirs, "y") + np.abs(factor) * judge.bound(mine, "y")
                expected = truth.beta + factor * (got - truth.beta)
            parts.append(other.compare("y", others, expected, bound, theirs, scale=other.variation(theirs)))
    return combine(parts)


@requirement("BN-105", source=IOFFE, ops=TRAIN, derive=derive.permuted)
def order_of_positions(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The order of the batch and of the spatial positions does not matter: y and dx follow, the sums stay."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train"):
            order = derive.permutation(judge.truth(mine).count, mine.number)
            parts += [same(judge, other, mine, theirs, q, columns(order)) for q in ("y", "dx")]
            parts += [same(judge, other, mine, theirs, q) for q in ("dgamma", "dbeta")]
    return combine(parts)


@requirement("BN-106", source="Ioffe & Szegedy 2015, section 3", derive=derive.other_channels)
def channels_are_independent(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A channel's results do not depend on what the other channels hold, data and parameters alike."""
    others = np.where(derive.kept_channels(case), 0.0, np.inf).reshape(-1, 1)
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            parts += [same(judge, other, mine, theirs, q, slack=others) for q in ("y", "dx", "dgamma", "dbeta")]
    return combine(parts)


@requirement(
    "BN-107", source=IOFFE + " and section 3: “represent the identity transform”", ops=TRAIN, derive=derive.restoring
)
def identity_is_reachable(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """With γ = √(σ² + ε) and β = μ the layer gives its input back."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            truth, bounds = other.training(view)
            y = other.got(view, "y")
            if y is None:
                continue
            with np.errstate(all="ignore"):
                bound = bounds.y + np.abs(truth.y - truth.x)
            parts.append(other.compare("y", y, truth.x, bound, view, scale=other.variation(view)))
    return combine(parts)


@requirement("BN-108", source=IOFFE, ops=TRAIN, derive=derive.other_moving)
def moving_statistics_do_not_matter(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The training output and its gradients ignore the moving statistics."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train"):
            parts += [same(judge, other, mine, theirs, q) for q in ("y", "dx", "dgamma", "dbeta")]
    return combine(parts)


@requirement("BN-109", source=IOFFE + ", step 3", ops=TRAIN, conventions=("epsilon_floor",))
def epsilon_in_training(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The output implies the given ε (or its declared floor): 1/√(σ² + ε) is what y − β is multiplied by."""
    return combine([implied_scale(judge, view.number) for view in judge.steps("train")])


def implied_scale(judge: Judge, index: int) -> Evidence:
    """Compare the r = 1/√(variance + ε) that y implies with the one of the given ε, where ε can be seen in it.

    r is the projection of y − β on γ·(x − mean); its bound is that of y, projected likewise. A channel counts where a
    variance without ε would move r by more than the bound.
    """
    view = judge.run.views[index]
    y = judge.got(view, "y")
    if y is None:
        return NOTHING
    truth, bound = judge.truth(view), judge.bound(view, "y")
    with np.errstate(all="ignore"):
        weight = np.sum(truth.gamma * np.square(truth.centered), axis=1, keepdims=True)
        r = np.sum((y - truth.beta) * truth.centered, axis=1, keepdims=True) / weight
        r_bound = np.sum(bound * np.abs(truth.centered), axis=1, keepdims=True) / np.abs(weight)
        r_bound = np.where((weight == 0) | np.isnan(r_bound), np.inf, r_bound)
        visible = np.abs(truth.r - 1 / np.sqrt(truth.variance))
        visible = np.where(np.isnan(visible), 0.0, visible)
        implied = 1 / np.square(r) - truth.variance
        worst = int(np.argmax(np.abs(r - truth.r) / r_bound)) if r.size else 0
        message = f"y implies ε = {float(implied[worst, 0]):.6g} in channel {worst}, not {judge.run.epsilon:.6g}"
    return judge.compare("1/√(σ² + ε)", r, np.asarray(truth.r), r_bound, view, scale=visible, message=message)


@requirement("BN-110", source=IOFFE + ", step 4", ops=TRAIN, derive=derive.normalized)
def scale_and_shift_come_last(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """γ and β act on the normalized value, each on its own channel: y = γ·x̂ + β with x̂ the output at γ = 1, β = 0."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train"):
            got, normalized = judge.got(mine, "y"), other.got(theirs, "y")
            if got is None or normalized is None:
                continue
            truth = judge.truth(mine)
            with np.errstate(all="ignore"):
                expected = truth.gamma * normalized + truth.beta
                bound = judge.bound(mine, "y") + np.abs(truth.gamma) * other.bound(theirs, "y")
            scale = judge.variation(mine) + np.abs(truth.beta)
            parts.append(judge.compare("y", got, expected, bound, mine, scale=scale))
    return combine(parts)
