"""Family 3xx: running statistics."""

from typing import Literal

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance import derive
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Belief, Judge, View
from conformance.oracle import moving
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import pairs, same_statistics

SOURCE = "Ioffe & Szegedy 2015, section 3.1: moving averages"
TRAIN = ("train",)
Statistic = Literal["mean", "variance"]
STATISTICS: tuple[Statistic, Statistic] = ("mean", "variance")


def _column(a: Array | None) -> Array:
    return np.asarray(a, np.float64).reshape(-1, 1)


def _batch(judge: Judge, view: View, statistic: Statistic) -> tuple[Array, Array]:
    """The batch's statistic that enters the moving one, by the declared estimator, and its bound."""
    truth, bounds = judge.training(view)
    return (truth.mean, bounds.mean) if statistic == "mean" else judge.run.estimate(truth, bounds)


def update(judge: Judge, view: View, statistic: Statistic) -> Evidence:
    """Compare the moving statistic read after a step with the update of the one before it."""
    read = view.trace.state
    if read is None or not view.call.update:
        return NOTHING
    name = "moving_" + statistic
    got = _column(getattr(read, name))
    expected = judge.run.expected_after(view.number, judge.kind)
    bound = getattr(expected, statistic + "_error")
    batch, _ = _batch(judge, view, statistic)
    old = getattr(judge.run.before(view.number, judge.kind), statistic)
    with np.errstate(all="ignore"):
        scale = np.abs(old - batch)
    return judge.compare(
        name, got, getattr(expected, statistic), bound, view, scale=np.where(np.isnan(scale), 0, scale)
    )


@requirement("BN-301", source=SOURCE, ops=TRAIN)
def moving_mean(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A training step sets the moving mean to decay·old + (1 − decay)·μ, μ the mean of the batch."""
    return combine([update(judge, view, "mean") for view in judge.steps("train")])


@requirement("BN-302", source=SOURCE, ops=TRAIN, conventions=("moving_variance", "moving_variance_single"))
def moving_variance(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A training step sets the moving variance to decay·old + (1 − decay)·s², s² by the declared estimator."""
    return combine([update(judge, view, "variance") for view in judge.steps("train")])


def _sequence(judge: Judge, layer: int, statistic: Statistic) -> Evidence:
    """Compare a layer's moving statistic at the end with the one carried through the whole program."""
    views = [v for v in judge.run.views if v.call.layer == layer]
    if not views or not judge.run.trace.final:
        return NOTHING
    expected: Belief = judge.run.after(views[-1].number, judge.kind, own=False)
    bound = getattr(expected, statistic + "_error")
    if bound is None:
        return NOTHING
    name = "moving_" + statistic
    got = _column(getattr(judge.run.trace.final[layer], name))
    start = getattr(judge.run.start(layer, own=False), statistic)
    value = getattr(expected, statistic)
    with np.errstate(all="ignore"):
        scale = np.abs(value - start)
    return judge.compare(name, got, value, bound, views[-1], scale=np.where(np.isnan(scale), 0, scale))


@requirement("BN-303", source=SOURCE, conventions=("moving_variance", "moving_variance_single"))
def moving_statistics_over_a_sequence(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """After any program the moving statistics are those of its training steps in order, whoever read them between."""
    layers = range(len(judge.run.program.states))
    return combine([_sequence(judge, layer, s) for layer in layers for s in STATISTICS])


def _multiplicity(judge: Judge, view: View) -> Evidence:
    """Count the updates that a step made, where none, one and two can be told apart."""
    read = view.trace.state
    if read is None or not view.call.update:
        return NOTHING
    expected = judge.run.expected_after(view.number, judge.kind)
    parts = []
    for statistic in STATISTICS:
        batch, _ = _batch(judge, view, statistic)
        bound = getattr(expected, statistic + "_error")
        old, once = getattr(judge.run.before(view.number, judge.kind), statistic), getattr(expected, statistic)
        with np.errstate(all="ignore"):
            twice = moving(once, batch, judge.spec.decay)
            told_apart = np.minimum(np.abs(once - old), np.abs(twice - once))
            bound = np.where(told_apart > 4 * bound, bound, np.inf)
        got = _column(getattr(read, "moving_" + statistic))
        message = _count_message(got, old, twice, bound)
        parts.append(judge.compare("moving_" + statistic, got, once, bound, view, scale=told_apart, message=message))
    return combine(parts)


def _count_message(got: Array, old: Array, twice: Array, bound: Array) -> str:
    judged = np.isfinite(bound)
    for count, value in (("no update", old), ("two updates", twice)):
        if judged.any() and np.all(np.abs(got - value)[judged] <= 2 * bound[judged]):
            return f"the training step made {count}"
    return ""


@requirement("BN-304", source=SOURCE, ops=TRAIN, derive=derive.forward_only)
def exactly_one_update(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Each training step updates the moving statistics exactly once, with or without a backward pass."""
    parts = [_multiplicity(judge, view) for view in judge.steps("train")]
    for other in judge.derived:
        parts += [_multiplicity(other, view) for view in other.steps("train")]
        parts += [same_statistics(judge, other, mine, theirs) for mine, theirs in pairs(judge, other, "train")]
    return combine(parts)


def _implied_decay(judge: Judge, view: View, statistic: Statistic) -> Evidence:
    """Compare the decay that an update implies over all channels with the given one."""
    read = view.trace.state
    if read is None or not view.call.update or view.call.times > 1:
        return NOTHING
    batch, _ = _batch(judge, view, statistic)
    expected = judge.run.expected_after(view.number, judge.kind)
    old = getattr(judge.run.before(view.number, judge.kind), statistic)
    got, bound = _column(getattr(read, "moving_" + statistic)), getattr(expected, statistic + "_error")
    with np.errstate(all="ignore"):
        apart = old - batch
        usable = np.isfinite(bound) & (np.abs(apart) > 16 * bound) & np.isfinite(got)
        if not usable.any():
            return NOTHING
        unit = np.max(np.abs(apart[usable]))
        apart, got, batch, bound = (a[usable] / unit for a in (apart, got, batch, bound))
        weight = np.sum(np.square(apart))
        implied = np.array([[np.sum((got - batch) * apart) / weight]])
        # The second term is the rounding of this function's own sums.
        allowed = np.array([[np.sum(bound * np.abs(apart)) / weight + 16 * (len(got) + 1) * np.finfo(float).eps]])
    decay = np.array([[judge.spec.decay]])
    message = f"the {statistic} implies decay = {float(implied[0, 0]):.6g}, not {judge.spec.decay:.6g}"
    name = f"decay of the moving {statistic}"
    return judge.compare(name, implied, decay, allowed, view, scale=np.ones((1, 1)), message=message)


@requirement("BN-305", source=SOURCE, ops=TRAIN)
def decay_is_honoured(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The update implies the given decay as the weight of the old value, the same for mean and variance."""
    return combine([_implied_decay(judge, view, s) for view in judge.steps("train") for s in STATISTICS])


@requirement(
    "BN-306",
    source="TensorFlow: the UPDATE_OPS collection",
    ops=TRAIN,
    derive=derive.updates_left_out,
    needs="separate_update",
)
def updates_can_be_left_out(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A training step whose update is not run leaves the moving statistics as they are, to the bit."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            before, read = other.run.before(view.number, other.kind), view.trace.state
            if read is None or not before.certain or view.call.update:
                continue
            for name, old in (("moving_mean", before.mean), ("moving_variance", before.variance)):
                holds = np.array_equal(_column(getattr(read, name)), old, equal_nan=True)
                parts.append(require(holds, f"a step without update changed {name}", name, view.number))
    return combine(parts)
