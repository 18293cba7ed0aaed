"""Requirements on how a trained network is evaluated; each check takes the use that is made of the network.

A right use passes its check; ``traps`` hands the wrong ones to the same checks, which must fail on them.
"""

import numpy as np

from adapters.interface import Array, Spec, State
from adapters.network import Act
from adapters.program import Call, Program
from conformance.scenarios.catalogue import GUIDE, LAB, WRAPPER, Evidence, scenario
from conformance.scenarios.lab import BATCH, Lab, Trained
from conformance.scenarios.perturbed import LAMBDA, RUNS, Noise, PerturbedNetwork, PerturbedReference, distance

#: Samples in a batch of an evaluation: the last one is a partial batch.
SIZE = 100
#: Samples that are predicted one at a time, as in the wrapper's document.
SINGLES = 100


def rounding(lab: Lab, trained: Trained, rows: Array) -> float:
    """The bound on the logits' Euclidean error in inference, by the derivation of ``perturbed``."""
    spec, x = trained.spec, lab.inputs(trained.spec)[rows].astype(np.float64)
    u = float(np.finfo(spec.dtype).eps / 2)

    def logits(noise: Noise) -> Array:
        adapter = PerturbedReference(trained.conventions[0], spec.dtype, noise)
        network = PerturbedNetwork(adapter, spec, noise)
        network.set_state({name: a.astype(np.float64) for name, a in trained.state.items()})
        return network.predict(x)

    right = logits(Noise(0.0, 0))
    return LAMBDA * max(distance(logits(Noise(u, seed)), right) for seed in range(RUNS))


def _same(lab: Lab, trained: Trained, rows: Array, one: Array, other: Array, what: str) -> list[Evidence]:
    """Two predictions of the same samples are the same but for the rounding of both."""
    bound = 2 * rounding(lab, trained, rows)
    away = distance(one, other)
    spread = float(np.linalg.norm(one - one.mean(axis=0)))
    ratio = away / bound if np.isfinite(away) else np.inf
    return [Evidence(ratio, bound < 0.1 * spread, message=f"{what}: logits {away:.3g} apart, allowed {bound:.3g}")]


def in_batches(lab: Lab, trained: Trained, *, training: bool) -> list[Evidence]:
    """Compare an evaluation in batches with one of all samples at once."""
    whole, parts = (lab.predict(trained, lab.test, size=size, training=training) for size in (0, SIZE))
    return _same(lab, trained, lab.test, whole, parts, f"in batches of {SIZE} and at once")


def one_at_a_time(lab: Lab, trained: Trained, *, training: bool) -> list[Evidence]:
    """Compare predictions of one sample each with those of a batch in inference."""
    rows = lab.test[:SINGLES]
    batch = lab.predict(trained, rows)
    singles = lab.predict(trained, rows, size=1, training=training)
    return _same(lab, trained, rows, batch, singles, "one at a time and in a batch")


def leaves_the_state(lab: Lab, trained: Trained, *, training: bool) -> list[Evidence]:
    """Compare the state before and after an evaluation, to the bit."""
    acts = (Act("state"), Act("predict", lab.test, size=SIZE, training=training), Act("state"))
    done = lab.attend(trained.spec, trained.state, acts)
    before, after = done[0].states[0], done[2].states[0]
    changed = [name for name, a in before.items() if not np.array_equal(a, after[name], equal_nan=True)]
    return [Evidence(np.inf if changed else 0.0, message=f"evaluating changes {', '.join(changed)}")]


#: What BN-915 states: the difference of accuracy on the training samples. Of a thousand or more samples of which
#: nearly all are right it is ten standard errors.
MODES_WITHIN = 0.05


def modes(lab: Lab, trained: Trained, size: int) -> tuple[float, float]:
    """Accuracy on the training samples in inference, and in training mode in batches of that size."""
    rows = np.arange(lab.samples.training // size * size)
    inference = lab.accuracy(lab.predict(trained, rows), rows)
    return inference, lab.accuracy(lab.predict(trained, rows, size=size, training=True), rows)


def modes_agree(lab: Lab, trained: Trained, size: int) -> list[Evidence]:
    """Compare the modes on the training samples."""
    inference, training = modes(lab, trained, size)
    message = f"training samples: accuracy {inference:.3f} in inference, {training:.3f} in training mode"
    return [Evidence(abs(inference - training) / MODES_WITHIN, message=message)]


#: Updates that a stream sees, with a decay of 0.9: what is left of the start is 0.9^100 = 3e-5 of it.
UPDATES = 100
#: Distance and width of the streams' distributions.
STREAMS = ((0.0, 1.0), (5.0, 2.0))
#: What BN-916 states, in standard deviations: a hundred times what is left of the start.
CENTRED_WITHIN = 0.01


def streams(lab: Lab, distributions: tuple[tuple[float, float], ...], *, shared: bool) -> list[tuple[float, float]]:
    """Mean and deviation of each stream's output in inference, after training in turns, which is done once.

    Each stream is one batch of its distribution, again and again; ``shared`` puts all through one layer.
    """
    return lab.own.get(("streams", distributions, shared), lambda: _streams(lab, distributions, shared))


def _streams(lab: Lab, distributions: tuple[tuple[float, float], ...], shared: bool) -> list[tuple[float, float]]:
    ranks = lab.session.description.capabilities.ranks
    shape: tuple[int | None, ...] = (None, 4) if 2 in ranks else (None, None, None, 4)
    axis = 1
    if 2 not in ranks:
        axis = 1 if lab.session.description.capabilities.axes == "second" else 3
        shape = (None, 4, None, None) if axis == 1 else shape
    spec = Spec(shape, (axis,), 1e-3, 0.9, dtype=lab.dtype)
    rng = np.random.default_rng(3)
    extent = tuple(e or (64 if k == 0 else 1) for k, e in enumerate(shape))
    inputs = [(mean + width * rng.standard_normal(extent)).astype(lab.dtype) for mean, width in distributions]
    ones, zeros = np.ones(4, spec.parameter_dtype), np.zeros(4, spec.parameter_dtype)
    layers = [0] * len(inputs) if shared else list(range(len(inputs)))
    calls = [Call("train", layer, x) for _ in range(UPDATES) for layer, x in zip(layers, inputs, strict=True)]
    calls += [Call("infer", layer, x) for layer, x in zip(layers, inputs, strict=True)]
    states = tuple(State(ones, zeros, zeros, ones) for _ in set(layers))
    trace = lab.run(Program(spec, states, tuple(calls), read="end"))
    outputs = [step.step.y for step in trace.steps[-len(inputs) :] if step.step is not None]
    return [(float(y.mean()), float(y.std())) for y in outputs]


def centred(found: list[tuple[float, float]]) -> list[Evidence]:
    """Every stream's output is centred at β = 0 in inference."""
    return [
        Evidence(abs(mean) / CENTRED_WITHIN, message=f"stream {k}: mean {mean:.3f} in inference")
        for k, (mean, _) in enumerate(found)
    ]


@scenario("BN-911", source=LAB, decided_by="prob")
def evaluation_in_batches(lab: Lab) -> list[Evidence]:
    """Evaluating in batches, the last of them a partial one, gives the logits of evaluating all samples at once."""
    return in_batches(lab, lab.model, training=False)


@scenario("BN-912", source=WRAPPER, decided_by="prob")
def checkpoint_to_inference(lab: Lab) -> list[Evidence]:
    """A network for inference restored from the checkpoint of the one that was trained predicts the same."""
    model = lab.model
    acts = (Act("predict", lab.test), Act("reload"), Act("predict", lab.test))
    done = lab.attend(model.spec, model.state, acts)
    before, after = done[0].logits, done[2].logits
    assert before is not None
    assert after is not None
    return _same(lab, model, lab.test, before, after, "before and after the checkpoint")


@scenario("BN-913", source=WRAPPER, decided_by="prob")
def one_sample_at_a_time(lab: Lab) -> list[Evidence]:
    """Predicting one sample at a time with the moving statistics gives the predictions of a batch."""
    return one_at_a_time(lab, lab.model, training=False)


@scenario("BN-914", source=GUIDE, decided_by="exact")
def evaluation_changes_nothing(lab: Lab) -> list[Evidence]:
    """Evaluating in inference mode leaves weights, γ, β and moving statistics as they are, to the bit."""
    return leaves_the_state(lab, lab.model, training=False)


@scenario("BN-915", source=GUIDE, decided_by="stated")
def inference_represents_training(lab: Lab) -> list[Evidence]:
    """After training, inference and training mode are equally right on the training samples.

    With updates, and a decay that fits the training's length, their accuracies are within five percentage points.
    """
    return modes_agree(lab, lab.model, BATCH)


@scenario("BN-916", source=GUIDE, decided_by="stated")
def statistics_per_stream(lab: Lab) -> list[Evidence]:
    """Layers of their own for streams of different distributions centre each stream in inference.

    After 100 updates with a decay of 0.9 the output's mean is within 0.01 of β.
    """
    return centred(streams(lab, STREAMS, shared=False))
