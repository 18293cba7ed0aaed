"""Comparisons on some of the channels: those that a requirement speaks of."""

import numpy as np

from adapters.interface import Array
from conformance.belief import Belief
from conformance.evidence import NOTHING, Evidence
from conformance.judge import Judge, View
from conformance.oracle import InferenceTruth, TrainingTruth
from conformance.requirements.running import STATISTICS, Statistic

RESULTS = ("y", "dx", "dgamma", "dbeta")


def within(judge: Judge, view: View, quantity: str, mask: Array) -> Evidence:
    """Compare a result with the oracle on the channels of a mask (C, 1)."""
    got = judge.got(view, quantity)
    if got is None or not mask.any():
        return NOTHING
    bound = np.where(mask, judge.bound(view, quantity), np.inf)
    expected = getattr(judge.truth(view), quantity)
    scale = judge.variation(view) if quantity == "y" else None
    return judge.compare(quantity, got, expected, bound, view, scale=scale)


def with_statistics(judge: Judge, truth: TrainingTruth | InferenceTruth, x: Array) -> InferenceTruth:
    """Inference on x with the statistics and parameters of a truth, as if they were given."""
    gamma, beta, mean, variance = (a.reshape(-1) for a in (truth.gamma, truth.beta, truth.mean, truth.variance))
    return InferenceTruth(x, gamma, beta, mean, variance, judge.run.epsilon, None, judge.run.host)


def moving_statistic(judge: Judge, view: View, statistic: Statistic) -> Array | None:
    """The moving statistic read after a training step with an update, (C, 1)."""
    read = view.trace.state
    if read is None or view.call.op != "train" or not view.call.update:
        return None
    found = getattr(read, "moving_" + statistic)
    return None if found is None else np.asarray(found, np.float64).reshape(-1, 1)


def statistics_within(judge: Judge, view: View, mask: Array) -> list[Evidence]:
    """Compare the moving statistics after a training step with their update, on the channels of a mask (C, 1)."""
    if not mask.any():
        return []
    parts = []
    for statistic in STATISTICS:
        got = moving_statistic(judge, view, statistic)
        if got is None:
            continue
        expected: Belief = judge.run.expected_after(view.number, judge.kind)
        bound = np.where(mask, getattr(expected, statistic + "_error"), np.inf)
        before = getattr(judge.run.before(view.number, judge.kind), statistic)
        value = getattr(expected, statistic)
        with np.errstate(all="ignore"):
            # What the batch contributed: a bound wider than that shows nothing of it.
            scale = np.abs(value - judge.spec.decay * before)
        parts.append(judge.compare("moving_" + statistic, got, value, bound, view, scale=np.nan_to_num(scale)))
    return parts


def all_within(judge: Judge, view: View, mask: Array) -> list[Evidence]:
    """Compare everything that a step gave on the channels of a mask (C, 1)."""
    return [within(judge, view, q, mask) for q in RESULTS] + statistics_within(judge, view, mask)


def finite(judge: Judge, view: View, quantity: str, got: Array | None, mask: Array, message: str) -> Evidence:
    """Require elements to be finite where the mask, (C, 1) or of the shape of ``got``, says so."""
    if got is None or not mask.any():
        return NOTHING
    return exactly(judge, view, quantity, got, np.where(np.isfinite(got), got, 0.0), mask, message)


def not_finite(judge: Judge, view: View, quantity: str, got: Array | None, mask: Array, message: str) -> Evidence:
    """Require elements to be NaN or infinite where the mask, (C, 1) or of the shape of ``got``, says so."""
    if got is None or not mask.any():
        return NOTHING
    is_finite = np.isfinite(got)
    shown, expected = np.where(is_finite, got, 0.0), np.where(is_finite, np.nan, 0.0)
    return exactly(judge, view, quantity, shown, expected, mask, message)


def exactly(
    judge: Judge, view: View, quantity: str, got: Array, expected: Array, mask: Array, message: str = ""
) -> Evidence:
    """Require elements to be these, without tolerance, where the mask says so; both are numbers or NaN."""
    bound = np.where(np.broadcast_to(mask, got.shape), 0.0, np.inf)
    counted = np.broadcast_to(mask, got.shape).all(axis=1, keepdims=True)
    # The largest bound of a channel that is compared in part is infinite: it counts as evidence all the same.
    some = np.broadcast_to(mask, got.shape).any(axis=1, keepdims=True) & ~counted
    evidence = judge.compare(quantity, got, expected, bound, view, scale=counted.astype(float), message=message)
    return evidence._replace(informative=evidence.informative + int(some.sum()))
