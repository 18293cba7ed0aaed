"""Family 3xx: many updates, updates on their own, and the decays at both ends."""

import numpy as np

from adapters.program import Trace
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements.running import STATISTICS, Statistic

SOURCE = "Ioffe & Szegedy 2015, section 3.1: moving averages"


def _read(judge: Judge, view: View, statistic: Statistic) -> Evidence:
    """Compare a moving statistic that was read after a step with what it should have become."""
    if view.trace.state is None:
        return NOTHING
    got = np.asarray(getattr(view.trace.state, "moving_" + statistic), np.float64).reshape(-1, 1)
    expected = judge.run.expected_after(view.number, judge.kind)
    value, bound = getattr(expected, statistic), getattr(expected, statistic + "_error")
    if bound is None:
        return NOTHING
    old = getattr(judge.run.before(view.number, judge.kind), statistic)
    with np.errstate(all="ignore"):
        scale = np.nan_to_num(np.abs(value - old))
    return judge.compare("moving_" + statistic, got, value, bound, view, scale=scale)


@requirement("BN-307", source=SOURCE, ops=("train",), conventions=("moving_variance", "moving_variance_single"))
def many_steps_converge(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """After n steps on one batch the moving statistics are decayⁿ·old + (1 − decayⁿ)·batch: they converge to it."""
    return combine([_read(judge, v, s) for v in judge.steps("train") if v.call.times > 1 for s in STATISTICS])


@requirement("BN-308", source=SOURCE, ops=("train",))
def decay_one_keeps(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """With decay 1, training leaves finite moving statistics as they are, to the bit."""
    if judge.spec.decay != 1:
        return NOTHING
    parts = []
    for view in judge.steps("train"):
        before, read = judge.run.before(view.number, judge.kind), view.trace.state
        if read is None or not before.certain:
            continue
        truth, bounds = judge.training(view)
        for statistic, finite in (("mean", bounds.mean), ("variance", judge.run.estimate(truth, bounds)[1])):
            got = np.asarray(getattr(read, "moving_" + statistic), np.float64).reshape(-1, 1)
            old = getattr(before, statistic)
            holds = np.all((got == old) | ~np.isfinite(old) | ~np.isfinite(finite))
            parts.append(require(bool(holds), f"the moving {statistic} changed", statistic, view.number))
    return combine(parts)


@requirement(
    "BN-309",
    source="TensorFlow: the UPDATE_OPS collection",
    ops=("train", "apply_updates"),
    needs="separate_update",
    conventions=("moving_variance", "moving_variance_single"),
)
def updates_can_come_later(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """An update that is applied later is that of the last step which left one undone, on the statistics of now."""
    return combine([_read(judge, view, s) for view in judge.steps("apply_updates") for s in STATISTICS])
