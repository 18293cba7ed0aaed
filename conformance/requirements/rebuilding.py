"""Family 7xx: the same call again, and layers that are rebuilt from their state, or saved and restored."""

import numpy as np

from adapters.interface import State
from adapters.observer import difference
from adapters.program import Call, Trace
from conformance import derive, derive_state
from conformance.case import Case
from conformance.evidence import Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements.running import STATISTICS, update

HOST = "The interface's contract, observed by the host"
SAVE = "The framework's own format: checkpoints, state dictionaries, weights files"
ALL = ("train", "infer", "backward", "second_order", "set_state", "get_state", "reload")
RESULTS = ("y", "dx", "dgamma", "dbeta")
FIELDS = ("gamma", "beta", "moving_mean", "moving_variance")


def _same_bits(one: object, other: object) -> bool:
    """Whether two arrays are the same to the bit, dtype and shape included; both may be missing."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return one is other
    return not difference(one, other)


def _same_results(mine: View, theirs: View, index: int, message: str) -> list[Evidence]:
    first, second = mine.trace.step, theirs.trace.step
    if first is None or second is None:
        return []
    return [
        require(_same_bits(getattr(first, q), getattr(second, q)), f"{q} {message}", q, index)
        for q in RESULTS
        if getattr(first, q) is not None
    ]


def _same_states(one: State, other: State, index: int, message: str) -> list[Evidence]:
    parts = [
        require(_same_bits(getattr(one, n), getattr(other, n)), f"{n} {message}", n, index)
        for n in FIELDS
        if getattr(one, n) is not None
    ]
    for key in sorted(set(one.extra) | set(other.extra)):
        holds = _same_bits(one.extra.get(key), other.extra.get(key))
        parts.append(require(holds, f"extra[{key!r}] {message}", key, index))
    return parts


def _inputs(case: Case, number: int, call: Call) -> tuple[object, ...]:
    """The inputs of a call; the order in which a layer sums may follow from how they lie in memory."""
    layouts = tuple(getattr(getattr(case.program[number], name, None), "layout", "c") for name in ("x", "dy"))
    arrays = (call.x, call.dy)
    return layouts, tuple(b"" if a is None else a.tobytes() + bytes(str(a.shape), "ascii") for a in arrays)


@requirement("BN-709", source="A layer is a function of its arguments and its state", needs="deterministic")
def same_call_same_bits(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The same training step again, or the same inference from the same statistics, gives the same bits."""
    parts = []
    seen: dict[object, View] = {}
    for view in judge.steps("train", "infer"):
        before = judge.run.before(view.number, judge.kind)
        parameters = [before.gamma, before.beta]
        if view.call.op == "infer":
            if not before.certain:
                continue
            parameters += [before.mean, before.variance]
        state = tuple(None if p is None else p.tobytes() for p in parameters)
        key = (view.call.op, view.call.layer, view.call.tape < 0, *_inputs(case, view.number, view.call), *state)
        first = seen.setdefault(key, view)
        if first is not view:
            parts += _same_results(first, view, view.number, f"differs from that of the same call, step {first.number}")
    return combine(parts)


def _reloads(judge: Judge, *through: str) -> list[View]:
    return [view for view in judge.steps("reload") if view.call.through in through]


def _kept(judge: Judge, *through: str) -> list[Evidence]:
    """The state that is read after a layer was replaced is the one that was read before, to the bit."""
    parts = []
    for view in _reloads(judge, *through):
        states = [v.trace.state for v in judge.run.views[: view.number] if v.call.layer == view.call.layer]
        before = (states or [judge.run.trace.initial[view.call.layer]])[-1]
        after = view.trace.state
        if before is not None and after is not None:
            parts += _same_states(before, after, view.number, "is not what it was before")
    return parts


def _goes_on(judge: Judge, *through: str) -> list[Evidence]:
    """From the first replaced layer on, all results and states are those of the program without replacing."""
    replaced = _reloads(judge, *through)
    if not replaced or not judge.derived or len(judge.run.views) < len(judge.run.program.calls):
        return []
    (other,) = judge.derived
    mine = [view for view in judge.run.views if view.call.op != "reload"]
    parts = []
    for view, theirs in zip(mine, other.run.views, strict=True):
        if view.number > replaced[0].number:
            parts += _same_results(theirs, view, view.number, "is not what it is without being replaced")
            read, expected = view.trace.state, theirs.trace.state
            if read is not None and expected is not None:
                parts += _same_states(expected, read, view.number, "is not what it is without being replaced")
    for final, expected in zip(judge.run.trace.final, other.run.trace.final, strict=True):
        parts += _same_states(expected, final, -1, "at the end is not what it is without being replaced")
    return parts


@requirement("BN-710", source=HOST, ops=ALL, derive=derive.uninterrupted, needs="deterministic", evidence=0.05)
def a_state_is_everything(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A layer built from another's state, extra arrays included, goes on as that one would have, to the bit."""
    return combine(_kept(judge, "state") + _goes_on(judge, "state"))


@requirement("BN-711", source=SAVE, ops=ALL, needs="save", evidence=0.05)
def saving_loses_nothing(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Saving a layer leaves its state, and restoring gives it back, extra arrays included, to the bit."""
    return combine(_kept(judge, "file", "checkpoint", "process"))


@requirement("BN-712", source=SAVE, ops=ALL, derive=derive.uninterrupted, needs="save deterministic", evidence=0.05)
def restored_layers_go_on(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A layer that was saved goes on as if that had not been, and so does the one restored from it, to the bit."""
    return combine(_goes_on(judge, "file", "checkpoint"))


@requirement("BN-713", source=SAVE, ops=ALL, derive=derive.uninterrupted, needs="save deterministic", evidence=0.05)
def a_new_process_goes_on(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Layers that were saved in one process and restored in another go on as if that had not been, to the bit."""
    return combine(_goes_on(judge, "process"))


@requirement("BN-714", source=HOST, ops=("train", "infer"), derive=derive_state.carried, evidence=0.05)
def another_state_is_taken_over(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """From a state that the reference has trained a layer infers as the reference would, and goes on as it would."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train", "infer"):
            parts.append(other.against_truth(view, "y"))
            if view.call.op == "train":
                parts += [update(other, view, statistic) for statistic in STATISTICS]
    return combine(parts)


@requirement("BN-715", source=HOST, ops=("set_state", "reload"), derive=derive_state.unusual, evidence=0.05)
def unusual_numbers_are_kept(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """NaN, infinities, −0, subnormals and the largest numbers are set, read, saved and restored to the bit."""
    parts = []
    for other in judge.derived:
        for view in other.steps("set_state"):
            given, read = view.call.state, view.trace.state
            if given is not None and read is not None:
                parts += _same_states(
                    given._replace(extra={}), read._replace(extra={}), view.number, "is not what was set"
                )
        parts += _kept(other, "state", "file", "checkpoint")
    return combine(parts)
