"""Family 2xx: inference."""

import numpy as np

from adapters.program import Trace
from conformance import derive
from conformance.case import Case
from conformance.evidence import Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import columns, same
from conformance.requirements.training import implied_scale

IOFFE = "Ioffe & Szegedy 2015, Algorithm 2"
INFER = ("infer",)


@requirement("BN-201", source=IOFFE + ", step 11", ops=INFER)
def inference_output(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In inference, y = γ·(x − M)/√(V + ε) + β with exactly the moving mean M and moving variance V."""
    return combine([judge.against_truth(view, "y") for view in judge.inferences()])


def _split(judge: Judge, parts: int) -> tuple[Judge, View, list[View]] | None:
    """The derived run, its whole inference and the last ``parts`` inferences on parts of the same input."""
    for other in judge.derived:
        views = list(other.steps("infer"))
        expected = len([c for c in other.run.program.calls if c.op == "infer"])
        if len(views) == expected and expected > parts:
            return other, views[-parts - 1], views[-parts:]
    return None


def _positions(judge: Judge, whole: View, part: View, first: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Columns of the whole's (C, m) matrix that a part of its first reduced axis, from ``first`` on, holds."""
    axes = judge.spec.reduction_axes
    assert whole.call.x is not None
    assert part.call.x is not None
    extents = [whole.call.x.shape[a] for a in axes]
    numbers = np.arange(int(np.prod(extents))).reshape(extents)
    return numbers[first : first + part.call.x.shape[axes[0]]].reshape(-1)


def _parts_agree(judge: Judge, whole: View, parts: list[tuple[View, int]]) -> Evidence:
    evidence = []
    for part, first in parts:
        match = columns(_positions(judge, whole, part, first))
        evidence.append(same(judge, judge, whole, part, "y", match))
    return combine(evidence)


@requirement("BN-202", source=IOFFE, ops=INFER, derive=derive.one_sample)
def a_sample_stands_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A sample's inference output does not depend on the batch that it comes in."""
    found = _split(judge, 2)
    if found is None:
        return combine([])
    other, whole, (first, last) = found
    assert whole.call.x is not None
    extent = whole.call.x.shape[judge.spec.reduction_axes[0]]
    return _parts_agree(other, whole, [(first, 0), (last, extent - 1)])


@requirement("BN-203", source=IOFFE, ops=INFER, derive=derive.in_batches)
def batches_equal_the_whole(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Inference in batches, a partial last one included, gives the outputs of inference on the whole."""
    found = _split(judge, 2)
    if found is None:
        return combine([])
    other, whole, (first, second) = found
    assert first.call.x is not None
    return _parts_agree(other, whole, [(first, 0), (second, first.call.x.shape[judge.spec.reduction_axes[0]])])


@requirement("BN-204", source=IOFFE, ops=INFER)
def inference_changes_no_state(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Inference leaves gamma, beta and the moving statistics as they are, to the bit."""
    parts = []
    for view in judge.steps("infer"):
        read = view.trace.state
        if read is None:
            continue
        before = judge.run.before(view.number, judge.kind)
        after = judge.run.after(view.number, judge.kind)
        if not before.certain:
            continue
        for name in ("gamma", "beta", "mean", "variance"):
            old, new = getattr(before, name), getattr(after, name)
            holds = (old is None and new is None) or np.array_equal(old, new, equal_nan=True)
            parts.append(require(holds, f"inference changed the {_NAMES[name]}", name, view.number))
    return combine(parts)


_NAMES = {"gamma": "gamma", "beta": "beta", "mean": "moving mean", "variance": "moving variance"}


@requirement("BN-205", source=IOFFE + ", step 11", ops=INFER, conventions=("epsilon_floor",))
def epsilon_in_inference(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The inference output implies the given ε (or its declared floor), the same as in training."""
    return combine([implied_scale(judge, view.number) for view in judge.inferences()])


@requirement("BN-206", source=IOFFE, derive=derive.unread, evidence=0.05)
def inference_follows_the_latest_statistics(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Inference uses the statistics as the last training step or setting left them, also where nobody read them."""
    parts = []
    for other in judge.derived:
        changed: set[int] = set()
        for view in other.run.views:
            layer = view.call.layer
            if view.call.op in ("train", "set_state"):
                changed.add(layer)
            elif view.call.op == "infer" and layer in changed:
                parts.append(other.against_truth(view, "y"))
    return combine(parts)
