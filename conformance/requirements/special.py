"""Family 5xx: special values. What is not finite stays where it came in, and nothing hides it."""

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance.bounds import InferenceBounds
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine
from conformance.exact_cases import zeros_of_both_signs
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements._masked import all_within, exactly, moving_statistic, not_finite, with_statistics
from conformance.requirements._pairs import same
from conformance.requirements.running import STATISTICS

IEEE = "IEEE 754-2019, section 6.2: NaN propagates"
TRAIN, INFER = ("train",), ("infer",)


def _spoilt(judge: Judge, view: View) -> dict[str, Array]:
    """By argument, which channels (C, 1) have an element in it that is not finite."""
    before, truth = judge.run.before(view.number, judge.kind), judge.truth(view)

    def rows(a: Array) -> Array:
        return np.asarray(~np.isfinite(a).all(axis=1, keepdims=True))

    found = {"x": rows(truth.x), "gamma": rows(truth.gamma), "beta": rows(truth.beta)}
    found["dy"] = rows(truth.dy) if view.call.dy is not None else np.zeros_like(found["x"])
    found["moving_mean"], found["moving_variance"] = rows(before.mean), rows(before.variance)
    return found


@requirement("BN-511", source="Channels are normalized independently")
def what_is_not_finite_stays_in_its_channel(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """NaN or infinity in input, gradient or state of one channel changes nothing in any other."""
    parts = []
    for view in (*judge.steps("train"), *judge.inferences()):
        spoilt = np.logical_or.reduce(list(_spoilt(judge, view).values()))
        if spoilt.any():
            parts += all_within(judge, view, ~spoilt)
    return combine(parts)


@requirement("BN-512", source=IEEE, ops=TRAIN)
def a_spoilt_batch_shows(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training, NaN or infinity in a channel leaves nothing finite in its output, nor in its moving statistics."""
    parts = []
    for view in judge.steps("train"):
        spoilt = _spoilt(judge, view)["x"]
        message = "an input that is not finite went unseen"
        parts.append(not_finite(judge, view, "y", judge.got(view, "y"), spoilt, message))
        if judge.spec.decay < 1:
            for statistic in STATISTICS:
                got = moving_statistic(judge, view, statistic)
                parts.append(not_finite(judge, view, "moving_" + statistic, got, spoilt, message))
    return combine(parts)


@requirement("BN-513", source=IEEE, ops=INFER)
def a_spoilt_element_stands_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In inference, NaN in x gives NaN and ±∞ gives ±∞ in that very element, and changes no other."""
    return combine([_elements(judge, view) for view in judge.inferences()])


def _elements(judge: Judge, view: View) -> Evidence:
    y, spoilt = judge.got(view, "y"), _spoilt(judge, view)
    if y is None or not spoilt["x"].any():
        return NOTHING
    truth, run = judge.truth(view), judge.run
    others = [array for name, array in spoilt.items() if name not in ("x", "dy")]
    channel = spoilt["x"] & ~np.logical_or.reduce(others)
    is_finite = np.isfinite(truth.x)
    # The same step with the mean in place of what is not finite: its bounds are those of the other elements.
    x = np.where(is_finite, truth.x, truth.mean)
    healed = with_statistics(judge, truth, x)
    bound = np.where(channel & is_finite, InferenceBounds(healed, run.numerics, judge.kind).y, np.inf)
    scale = np.where(channel, np.inf, 0.0)
    parts = [judge.compare("y", y, np.asarray(healed.y), bound, view, scale=scale)]
    with np.errstate(all="ignore"):
        factor = np.abs(truth.gamma * truth.r)
        visible = channel & (factor > run.numerics.compute.tau) & np.isfinite(factor)
    expected = np.asarray(truth.y)
    got, wanted = np.where(np.isnan(y), 0.0, y), np.where(np.isnan(expected), 0.0, expected)
    # Both NaN, or the same infinity: differences of infinities would be NaN.
    alike = (np.isnan(y) == np.isnan(expected)) & (got == wanted)
    message = "an element that is not finite did not come out as such"
    parts.append(
        exactly(judge, view, "y", np.where(alike, 0, y), np.where(alike, 0, expected), visible & ~is_finite, message)
    )
    return combine(parts)


@requirement("BN-514", source=IEEE)
def a_spoilt_state_shows(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A channel whose γ or β is not finite, or in inference its M, or whose V is NaN, gives no finite output."""
    parts = []
    for view in (*judge.steps("train"), *judge.inferences()):
        spoilt = _spoilt(judge, view)
        mask = spoilt["gamma"] | spoilt["beta"]
        if view.call.op == "infer":
            mask = mask | spoilt["moving_mean"] | np.isnan(judge.run.before(view.number, judge.kind).variance)
        message = "a parameter or moving statistic that is not finite went unseen"
        parts.append(not_finite(judge, view, "y", judge.got(view, "y"), mask, message))
        parts += _stays(judge, view, spoilt, message)
    return combine(parts)


def _stays(judge: Judge, view: View, spoilt: dict[str, Array], message: str) -> list[Evidence]:
    """A moving statistic that is not finite stays so, as long as its old value has any weight."""
    parts = []
    for statistic in STATISTICS if judge.spec.decay > 0 else ():
        got = moving_statistic(judge, view, statistic)
        parts.append(not_finite(judge, view, "moving_" + statistic, got, spoilt["moving_" + statistic], message))
    return parts


@requirement("BN-515", source=IEEE, needs="training_gradients")
def a_spoilt_gradient_shows(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """NaN or infinity in dy shows in dγ and dβ of its channel and in dx: throughout in training, else where it is."""
    parts = []
    for view in (*judge.steps("train"), *judge.inferences()):
        if view.call.dy is None:
            continue
        spoilt, truth = _spoilt(judge, view)["dy"], judge.truth(view)
        message = "an upstream gradient that is not finite went unseen"
        parts += [not_finite(judge, view, q, judge.got(view, q), spoilt, message) for q in ("dgamma", "dbeta")]
        with np.errstate(all="ignore"):
            visible = np.abs(truth.gamma * truth.r) > judge.run.numerics.compute.tau
        where = spoilt & visible if view.call.op == "train" else visible & ~np.isfinite(truth.dy)
        parts.append(not_finite(judge, view, "dx", judge.got(view, "dx"), where, message))
    return combine(parts)


@requirement("BN-516", source="IEEE 754-2019: −0 = +0", ops=TRAIN, derive=zeros_of_both_signs)
def zeros_have_no_sign(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """It makes no difference whether zeros in x are +0 or −0."""
    parts = []
    for other in judge.derived:
        steps = list(other.steps("train"))
        if len(steps) == 2:
            parts.append(same(other, other, steps[0], steps[1], "y"))
    return combine(parts)
