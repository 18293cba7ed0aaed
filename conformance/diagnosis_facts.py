"""What a failing implementation gave, what is true, and how far off it may be, channel by channel."""

from collections.abc import Iterator
from typing import NamedTuple

import ml_dtypes
import numpy as np

from adapters.interface import Array, State
from adapters.numpy_reference import NumpyLayer
from conformance.belief import column
from conformance.bounds import Kind
from conformance.diagnosis_models import Model
from conformance.judge import Judge, Run, View

RESULTS = ("y", "dx", "dgamma", "dbeta")
PARAMETERS = ("gamma", "beta", "moving_mean", "moving_variance")
#: A model's own rounding, in units of u times its value.
_ROUNDING = 32.0
#: A model that is so many times its tolerance away from the truth says something else than the truth.
_APART = 4.0
#: By the cheap bound, which is too narrow for some structured data, a result is wrong beyond so many times the bound.
_CLEAR = 4.0
#: Share of a channel's elements that may be off by chance, where results are rounded coarsely.
_STRAYS = 0.05

#: Step (-1 - layer for what was read right after building) and quantity.
Key = tuple[int, str]
Predictions = dict[Key, Array]


class Fact(NamedTuple):
    """A quantity of one step, as (C, n) matrices; ``wrong`` and ``right`` say which channels are, (C,)."""

    key: Key
    op: str
    got: Array
    truth: Array
    bound: Array
    wrong: Array
    right: Array
    #: Unit roundoff of the result.
    u: float

    @property
    def symptom(self) -> tuple[str, str]:
        """The operation, and what it got wrong."""
        return self.op, self.key[1]


def facts(run: Run, kind: Kind = "prob", beyond: bool = False) -> list[Fact]:
    """Everything that can be judged in a run, as far as it went; by the cheap bound what is clear, by others all.

    That ends at the first operation that no fault model knows, unless what is beyond it is asked for.
    """
    judge = Judge(run, kind)
    found: list[Fact] = []
    with np.errstate(all="ignore"):
        found.extend(_built(run))
        for view in run.views:
            if not beyond and view.call.op not in ("train", "infer", "set_state", "get_state"):
                break
            found.extend(_results(judge, view))
            found.extend(_state(run, view, kind))
    return found


def _fact(key: Key, op: str, got: Array, truth: Array, bound: Array, u: float, clear: float = 1.0) -> Fact:
    truth, bound = (np.broadcast_to(a, got.shape) for a in (truth, bound))
    judged = np.isfinite(bound)
    off = ~(np.abs(got - truth) <= bound) & ~(np.isnan(got) & np.isnan(truth)) & (got != truth) & judged
    clearly = off & ~(np.abs(got - truth) <= clear * bound)
    return Fact(key, op, got, truth, bound, clearly.any(axis=1), judged.any(axis=1) & ~off.any(axis=1), u)


def _results(judge: Judge, view: View) -> Iterator[Fact]:
    if view.trace.step is None or view.call.op not in ("train", "infer", "backward"):
        return
    numerics = judge.run.numerics
    clear = _CLEAR if judge.kind == "prob" else 1.0
    u = max(numerics.compute.u, numerics.output.u)
    truth = judge.truth(view)
    for quantity in RESULTS:
        got = judge.got(view, quantity)
        if got is not None and got.size and (quantity == "y" or view.call.dy is not None):
            bound = judge.bound(view, quantity)
            yield _fact((view.number, quantity), view.call.op, got, getattr(truth, quantity), bound, u, clear)


def _state(run: Run, view: View, kind: Kind) -> Iterator[Fact]:
    read = view.trace.state
    if read is None:
        return
    expected = run.expected_after(view.number, kind)
    u = run.numerics.statistics.u
    known: dict[str, tuple[Array | None, Array | None]] = {
        "gamma": (expected.gamma, None),
        "beta": (expected.beta, None),
        "moving_mean": (expected.mean, expected.mean_error),
        "moving_variance": (expected.variance, expected.variance_error),
    }
    for name, (truth, error) in known.items():
        got = column(getattr(read, name))
        if got is not None and truth is not None:
            bound = np.abs(truth) * u if error is None else error
            yield _fact((view.number, name), view.call.op, got, truth, bound, u)


def _built(run: Run) -> Iterator[Fact]:
    u = run.numerics.statistics.u
    for layer, (given, read) in enumerate(zip(run.program.states, run.trace.initial, strict=False)):
        for name in PARAMETERS if read is not None else ():
            truth, got = column(getattr(given, name)), column(getattr(read, name))
            if truth is not None and got is not None:
                yield _fact((-1 - layer, name), "build", got, truth, np.abs(truth) * u, u)


class Verdict(NamedTuple):
    """What a model makes of a fact, per channel (C,)."""

    explained: Array
    contradicted: Array


def compare(fact: Fact, predicted: Array) -> Verdict:
    """A wrong channel is explained where the model gives it; a right one contradicts a model that gives another."""
    with np.errstate(all="ignore"):
        allowed = 2 * fact.bound + _ROUNDING * fact.u * np.abs(predicted)
        same = (np.abs(fact.got - predicted) <= allowed) | (fact.got == predicted)
        same |= ~np.isfinite(fact.got) & ~np.isfinite(predicted)
        off = ~same & np.isfinite(fact.bound)
        outside = ~(np.abs(fact.got - fact.truth) <= fact.bound) & np.isfinite(fact.bound)
        # A model that says what the truth says explains nothing, even of a small error.
        nearer = 2 * np.abs(fact.got - predicted) <= np.abs(fact.got - fact.truth)
        off |= outside & ~nearer & np.isfinite(fact.got)
        strays, missed = off.mean(axis=1), np.sum(off & outside, axis=1)
        explained = fact.wrong & (strays <= _STRAYS) & (missed <= 2 * _STRAYS * np.sum(outside, axis=1))
        apart = ~(np.abs(predicted - fact.truth) <= _APART * allowed) & np.isfinite(fact.bound) & off
    return Verdict(explained, fact.right & apart.any(axis=1))


def predict(model: Model, run: Run) -> Predictions:
    """What the model gives for a run's program, each step from the implementation's own state before it.

    A model that raises predicts nothing from there on.
    """
    spec, program = run.spec, run.program
    conventions = run.conventions._replace(compute_dtype="float64") if model.wide else run.conventions
    found: Predictions = {}
    try:
        with np.errstate(all="ignore"):
            layers = [model.layer(spec, state, conventions) for state in program.states]
            known: list[State | None] = list(run.trace.initial) or [None] * len(layers)
            for number, layer in enumerate(layers):
                if known[number] is not None:
                    _read(layer, -1 - number, found)
            for view in run.views:
                layer = layers[view.call.layer]
                if not _step(run, view, layer, known[view.call.layer], found):
                    break
                known[view.call.layer] = view.trace.state
    except Exception:
        return found
    return found


def _step(run: Run, view: View, layer: NumpyLayer, own: State | None, found: Predictions) -> bool:
    """Take one step from the implementation's own state; False for an operation that no model knows."""
    call = view.call
    if own is not None:
        for name in PARAMETERS:
            value = getattr(own, name)
            if value is not None:
                setattr(layer, name, np.array(value))
    if call.op in ("train", "infer") and call.x is not None:
        # Copies, since some models change what they are given.
        x, dy = crossed(call.x), None if call.dy is None else crossed(call.dy)
        for _ in range(call.times - 1):
            layer.train(crossed(call.x), None, call.update)
        step = layer.train(x, dy, call.update) if call.op == "train" else layer.infer(x, dy)
        for quantity in RESULTS:
            value = getattr(step, quantity)
            if value is not None:
                rows = run.rows(_back(value, run)) if quantity in ("y", "dx") else column(value)
                found[view.number, quantity] = np.asarray(rows)
    elif call.op == "set_state" and call.state is not None:
        layer.set_state(call.state)
    elif call.op != "get_state":
        return False
    if view.trace.state is not None:
        _read(layer, view.number, found)
    return True


def crossed(a: Array) -> Array:
    """A copy as an adapter is given it: bfloat16 as uint16."""
    return np.array(a).view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else np.array(a)


def _back(a: Array, run: Run) -> Array:
    """A result with the element type that it stands for."""
    return a.view(ml_dtypes.bfloat16) if run.spec.dtype == "bfloat16" and a.dtype == np.uint16 else a


def _read(layer: NumpyLayer, number: int, found: Predictions) -> None:
    state = layer.state()
    for name in PARAMETERS:
        value = column(getattr(state, name))
        if value is not None:
            found[number, name] = value
