"""Family 4xx: recorded forward passes, whose backward pass comes late, repeatedly, or after other calls."""

import numpy as np

from adapters.interface import Array
from adapters.program import Trace
from conformance import derive
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import pairs, same, same_statistics

IOFFE = "Ioffe & Szegedy 2015, section 3: the chain rule through the statistics"
REVERSE = "Reverse-mode differentiation: the backward pass is a function of the recorded forward pass"
TRAINING = "tape training_gradients"
INFERENCE = "tape inference_gradients"
ALL = ("train", "infer", "backward")
RESULTS = ("y", "dx", "dgamma", "dbeta")


def _passes(judge: Judge, op: str) -> list[View]:
    """The backward passes of recorded steps of that operation."""
    calls = judge.run.program.calls
    return [view for view in judge.steps("backward") if calls[judge.run.forward(view.number)].op == op]


def _changed_since(judge: Judge, view: View) -> bool:
    """Whether the moving statistics were changed between a recorded step and its backward pass."""
    since = judge.run.program.calls[judge.run.forward(view.number) : view.number]
    return any(call.layer == view.call.layer and call.op in ("train", "set_state", "apply_updates") for call in since)


@requirement("BN-410", source=IOFFE, ops=ALL, needs=TRAINING)
def late_backward(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A backward pass gives the gradients of the training step that was recorded, whatever was called since."""
    return combine([judge.against_truth(view, q) for view in _passes(judge, "train") for q in RESULTS])


@requirement("BN-411", source="Ioffe & Szegedy 2015, Algorithm 2", ops=ALL, needs=INFERENCE)
def late_backward_of_inference(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A backward pass gives the gradients of the inference step that was recorded, whatever was called since."""
    views = [view for view in _passes(judge, "infer") if not _changed_since(judge, view)]
    return combine([judge.against_truth(view, q) for view in views if _certain(judge, view) for q in RESULTS])


@requirement("BN-412", source=REVERSE, ops=ALL, needs=INFERENCE, evidence=0.05)
def backward_uses_the_recorded_statistics(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The backward pass of inference uses the moving statistics of its forward pass, also where they changed since."""
    views = [view for view in _passes(judge, "infer") if _changed_since(judge, view)]
    return combine([judge.against_truth(view, q) for view in views if _certain(judge, view) for q in RESULTS])


def _certain(judge: Judge, view: View) -> bool:
    return judge.run.before(judge.run.forward(view.number), judge.kind).certain


@requirement("BN-413", source=REVERSE, ops=("backward",), needs=TRAINING)
def backward_changes_no_state(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A backward pass leaves γ, β and the moving statistics as they are, to the bit: only forward passes train."""
    parts = []
    for view in judge.steps("backward"):
        before, read = judge.run.before(view.number, judge.kind), view.trace.state
        if read is None or not before.certain:
            continue
        after = judge.run.after(view.number, judge.kind)
        for name in ("gamma", "beta", "mean", "variance"):
            holds = _equal(getattr(before, name), getattr(after, name))
            parts.append(require(holds, f"a backward pass changed {name}", name, view.number))
    return combine(parts)


def _equal(one: Array | None, other: Array | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other, equal_nan=True))


@requirement("BN-414", source=REVERSE, ops=ALL, needs="tape training_gradients deterministic", evidence=0.05)
def backward_repeats_to_the_bit(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Two backward passes of one recorded step with the same dy give the same bits: nothing adds up or is used up."""
    parts = []
    seen: dict[tuple[int, bytes], View] = {}
    for view in judge.steps("backward"):
        if view.call.dy is None:
            continue
        key = (judge.run.forward(view.number), view.call.dy.tobytes())
        first = seen.setdefault(key, view)
        if first is not view:
            for quantity in RESULTS:
                got, expected = judge.got(view, quantity), judge.got(first, quantity)
                parts.append(require(_equal(got, expected), f"{quantity} differs", quantity, view.number))
    return combine(parts)


@requirement("BN-415", source=REVERSE, ops=("train", "infer"), derive=derive.unrecorded, needs="tape")
def recording_changes_nothing(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A recorded step gives the output, and makes the one update, that it would without being recorded."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            parts.append(same(judge, other, mine, theirs, "y"))
            parts.append(same_statistics(judge, other, mine, theirs) if mine.call.op == "train" else NOTHING)
    return combine(parts)
