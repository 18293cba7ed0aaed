"""The documents' traps: wrong uses of a right implementation, what each looks like, and the check that sees it.

A trap's requirement holds where the check that a user would run fails on the wrong use, by however much: its ratio is
one over the check's.
"""

import numpy as np

from adapters.interface import Array
from adapters.program import Failure
from conformance.scenarios import evaluation, networks
from conformance.scenarios.catalogue import GUIDE, LAB, NOTES, WRAPPER, Evidence, scenario
from conformance.scenarios.lab import BATCH, BrokenError, Lab, Trained

#: Decays so high that the statistics lag behind a training of a few hundred steps.
LAGGING = 0.999
TINY = 2
#: Distributions of a recurrent network's inputs, time step by time step, and those of two streams.
TIME_STEPS = ((0.0, 1.0), (1.0, 2.0), (4.0, 3.0))


def seen(checked: list[Evidence], check: str) -> Evidence:
    """That a check fails on a use: the ratio is at most one where the check's is at least that."""
    worst = max(checked, key=lambda evidence: evidence.ratio)
    ratio = 1 / worst.ratio if worst.ratio > 0 else np.inf
    return Evidence(ratio, message=f"{check} does not see it: {worst.message}")


def chance(lab: Lab, rows: Array) -> float:
    """The accuracy of those who always give the most frequent label, and three standard errors."""
    share = np.bincount(lab.labels[rows]).max() / len(rows)
    return float(share + 3 * np.sqrt(share * (1 - share) / len(rows)))


def at_chance(lab: Lab, logits: Array, rows: Array) -> Evidence:
    """That predictions are no better than chance."""
    accuracy, limit = lab.accuracy(logits, rows), chance(lab, rows)
    return Evidence(accuracy / limit, message=f"accuracy {accuracy:.3f}, no better than chance would be {limit:.3f}")


def forgotten(lab: Lab) -> Trained:
    """The model trained without the update of its moving statistics."""
    spec = networks.SIGMOID._replace(dtype=lab.dtype)
    rows = lab.batches(lab.effort.steps)
    return lab.own.get("forgotten", lambda: lab.train(spec, networks.start(spec, 1, 1.0), rows, update=False))


def lagging(lab: Lab) -> Trained:
    """The model trained with a decay that is too high for so few steps."""
    spec = networks.SIGMOID._replace(dtype=lab.dtype, decay=LAGGING)
    rows = lab.batches(lab.effort.steps)
    return lab.own.get("lagging", lambda: lab.train(spec, networks.start(spec, 1, 1.0), rows))


def tiny(lab: Lab) -> Trained:
    """The model trained in batches of two."""
    spec = networks.SIGMOID._replace(dtype=lab.dtype, rate=0.1)
    rows = lab.batches(lab.effort.steps, TINY)
    return lab.own.get("tiny", lambda: lab.train(spec, networks.start(spec, 1, 1.0), rows))


@scenario("BN-931", source=WRAPPER, decided_by="stated")
def trap_batches_of_one(lab: Lab) -> list[Evidence]:
    """Batch statistics at test time with batches of one give every sample the same class; BN-913 sees it.

    Accuracy is no better than chance, though the same network is right when all samples are one batch.
    """
    rows = lab.test[: evaluation.SINGLES]
    logits = lab.predict(lab.model, rows, size=1, training=True)
    classes = len(set(logits.argmax(axis=1).tolist()))
    collapsed = Evidence(0.0 if classes == 1 else np.inf, message=f"{classes} classes are predicted")
    checked = evaluation.one_at_a_time(lab, lab.model, training=True)
    return [collapsed, at_chance(lab, logits, rows), seen(checked, "BN-913")]


@scenario("BN-932", source=GUIDE, decided_by="stated")
def trap_forgotten_updates(lab: Lab) -> list[Evidence]:
    """UPDATE_OPS forgotten: the moving statistics stay at their start; BN-915 sees it.

    Where the update cannot be left out, its result is dropped, as by those who do not keep a returned state.
    """
    trained = forgotten(lab)
    start = networks.start(trained.spec, 1, 1.0)
    moved = [n for n, a in trained.state.items() if n.startswith("moving") and not np.array_equal(a, start[n])]
    still = Evidence(np.inf if moved else 0.0, message=f"{', '.join(moved)} moved")
    return [still, seen(evaluation.modes_agree(lab, trained, BATCH), "BN-915")]


@scenario("BN-933", source=LAB, decided_by="stated")
def trap_training_flag_left_on(lab: Lab) -> list[Evidence]:
    """The training flag left on at evaluation: predictions depend on the batch; BN-911 sees it.

    Evaluating in batches is then something else than evaluating at once.
    """
    return [seen(evaluation.in_batches(lab, lab.model, training=True), "BN-911")]


@scenario("BN-934", source=GUIDE, decided_by="stated")
def trap_evaluation_through_the_training_graph(lab: Lab) -> list[Evidence]:
    """Evaluating through the training graph: test samples enter the moving statistics; BN-914 sees it.

    Where a forward call in training mode updates nothing, there is no such trap.
    """
    checked = evaluation.leaves_the_state(lab, lab.model, training=True)
    if checked[0].ratio == 0:
        reason = "no update in predict(): a forward call in training mode leaves the moving statistics alone here"
        raise BrokenError(Failure("unsupported", reason, "predict"))
    return [seen(checked, "BN-914")]


@scenario("BN-935", source=WRAPPER, decided_by="stated")
def trap_lagging_statistics(lab: Lab) -> list[Evidence]:
    """A decay too high for the length of the training: the moving statistics lag; BN-915 sees it.

    After a few hundred steps with a decay of 0.999 they are still near their start.
    """
    return [seen(evaluation.modes_agree(lab, lagging(lab), BATCH), "BN-915")]


@scenario("BN-936", source=NOTES, decided_by="stated")
def trap_tiny_batches(lab: Lab) -> list[Evidence]:
    """Batches of two: training sees another network than inference; BN-915 sees it.

    Of two values little but the sign of their difference is left by the normalization.
    """
    return [seen(evaluation.modes_agree(lab, tiny(lab), TINY), "BN-915")]


@scenario("BN-937", source=NOTES, decided_by="stated")
def trap_shared_time_steps(lab: Lab) -> list[Evidence]:
    """One set of statistics for all time steps of a recurrent network: BN-916 sees it.

    The inputs of a time step have a distribution of their own, and none of them is centred in inference.
    """
    return [seen(evaluation.centred(evaluation.streams(lab, TIME_STEPS, shared=True)), "BN-916")]


@scenario("BN-938", source=GUIDE, decided_by="stated")
def trap_shared_streams(lab: Lab) -> list[Evidence]:
    """One layer shared between streams of different distributions: BN-916 sees it.

    Neither stream is centred in inference, while each is with a layer of its own.
    """
    return [seen(evaluation.centred(evaluation.streams(lab, evaluation.STREAMS, shared=True)), "BN-916")]
