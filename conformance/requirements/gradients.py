"""Family 4xx: gradients. ``dy`` is the upstream gradient, dx, dγ and dβ those of Σ y·dy."""

import numpy as np

from adapters.program import Trace
from conformance import derive, derive_gradients
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import pairs, same, same_statistics

IOFFE = "Ioffe & Szegedy 2015, section 3: the chain rule through the statistics"
TRAIN = ("train",)


@requirement("BN-401", source=IOFFE, ops=TRAIN, needs="training_gradients")
def input_gradient(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training, dx = γ·r·(dy − mean(dy) − x̂·mean(dy·x̂)) with r = 1/√(σ² + ε): the statistics depend on x too."""
    return combine([judge.against_truth(view, "dx") for view in judge.steps("train")])


@requirement("BN-402", source=IOFFE, ops=TRAIN, needs="training_gradients")
def gamma_gradient(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training, dγ = Σ dy·x̂ over the channel."""
    return combine([judge.against_truth(view, "dgamma") for view in judge.steps("train")])


@requirement("BN-403", source=IOFFE, needs="training_gradients")
def beta_gradient(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """dβ = Σ dy over the channel, in training and in inference."""
    return combine([judge.against_truth(view, "dbeta") for view in judge.steps("train", "infer")])


@requirement("BN-404", source="Ioffe & Szegedy 2015, Algorithm 2", ops=("infer",), needs="inference_gradients")
def inference_gradients(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In inference the statistics are constants: dx = γ·dy/√(V + ε) and dγ = Σ dy·(x − M)/√(V + ε)."""
    return combine([judge.against_truth(view, q) for view in judge.inferences() for q in ("dx", "dgamma")])


def _gradient_view(judge: Judge, view: View) -> "tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], ...] | None":
    dx = judge.got(view, "dx")
    return None if dx is None else (dx, judge.bound(view, "dx"))


@requirement("BN-405", source=IOFFE, ops=TRAIN, needs="training_gradients")
def input_gradients_sum_to_zero(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training Σ dx = 0 in each channel, since a shift of the channel changes nothing."""
    parts = []
    for view in judge.steps("train"):
        found = _gradient_view(judge, view)
        if found is not None:
            dx, bound = found
            total = dx.sum(axis=1, keepdims=True)
            scale = np.abs(dx).sum(axis=1, keepdims=True)
            zero = np.zeros_like(total)
            parts.append(judge.compare("Σ dx", total, zero, bound.sum(axis=1, keepdims=True), view, scale=scale))
    return combine(parts)


@requirement("BN-406", source=IOFFE, ops=TRAIN, needs="training_gradients")
def input_gradients_are_orthogonal(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """In training Σ dx·x̂ = γ·r·Σ dy·x̂·ε/(σ² + ε): zero but for ε, since scaling a channel changes nothing else."""
    parts = []
    for view in judge.steps("train"):
        found = _gradient_view(judge, view)
        if found is not None and found[0].size:
            dx, bound = found
            truth, _ = judge.training(view)
            with np.errstate(all="ignore"):
                expected = truth.gamma * truth.r * truth.dgamma * truth.epsilon / truth.shifted
                allowed = np.sum(bound * np.abs(truth.normalized), axis=1, keepdims=True)
                total = np.sum(dx * truth.normalized, axis=1, keepdims=True)
                scale = np.sum(np.abs(dx * truth.normalized), axis=1, keepdims=True)
            parts.append(judge.compare("Σ dx·x̂", total, expected, allowed, view, scale=scale))
    return combine(parts)


@requirement(
    "BN-407",
    source="Linearity of the chain rule",
    derive=derive_gradients.gradient_parts,
    needs="training_gradients",
)
def gradients_are_linear(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Gradients are linear in dy: those of a + b are those of a plus those of b."""
    if not judge.derived:
        return NOTHING
    first, second, both = judge.derived
    parts = []
    triples = zip(*(d.steps("train", "infer") for d in judge.derived), strict=False)
    for one, two, three in triples:
        for quantity in ("dx", "dgamma", "dbeta"):
            a, b, c = first.got(one, quantity), second.got(two, quantity), both.got(three, quantity)
            if a is None or b is None or c is None:
                continue
            bound = first.bound(one, quantity) + second.bound(two, quantity) + both.bound(three, quantity)
            # Zero, unless inference starts from moving statistics that differ by rounding from run to run.
            expected = [getattr(d.truth(v), quantity) for d, v in zip(judge.derived, (one, two, three), strict=True)]
            with np.errstate(all="ignore"):
                apart = np.abs(expected[0] + expected[1] - expected[2])
            parts.append(both.compare(quantity, c, a + b, bound + apart, three))
    return combine(parts)


@requirement("BN-408", source="tf.keras.layers.BatchNormalization: center, scale")
def center_and_scale_off(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Without scale the layer has no γ and behaves as γ = 1; without center it has no β and behaves as β = 0."""
    spec = case.spec
    if spec.center and spec.scale:
        return NOTHING
    parts = []
    for view in (*judge.steps("train"), *judge.inferences()):
        parts += [judge.against_truth(view, quantity) for quantity in ("y", "dx")]
        step = view.trace.step
        if step is not None and step.dx is not None:
            parts.append(require(spec.scale or step.dgamma is None, "a γ gradient without γ", "dgamma", view.number))
            parts.append(require(spec.center or step.dbeta is None, "a β gradient without β", "dbeta", view.number))
    return combine(parts)


@requirement(
    "BN-409",
    source="Reverse-mode differentiation has no side effects",
    derive=derive.forward_only,
    needs="training_gradients",
)
def asking_for_gradients_changes_nothing(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The output and the state after a step do not depend on whether gradients were asked for."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            parts.append(same(judge, other, mine, theirs, "y"))
            parts.append(same_statistics(judge, other, mine, theirs) if mine.call.op == "train" else NOTHING)
    return combine(parts)
