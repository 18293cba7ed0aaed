"""Family 7xx: state and modes, with what the host observed around each call."""

import numpy as np

from adapters.interface import Array, State
from adapters.program import Observation, Trace
from conformance import derive
from conformance.case import Case
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import pairs, same
from conformance.requirements.running import STATISTICS, update

HOST = "The interface's contract, observed by the host"
ALL = ("train", "infer", "set_state", "get_state")
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def observed(trace: Trace, *kinds: str) -> Evidence:
    """Evidence of the absence of such observations, over all steps and the program as a whole."""
    seen: list[tuple[int, Observation]] = [(s.index, o) for s in trace.steps for o in s.observations]
    seen += [(-1, o) for o in trace.observations]
    parts = [
        require(False, f"{o.kind}: {o.what} {o.detail}".strip(), o.what, index) for index, o in seen if o.kind in kinds
    ]
    return combine(parts or [require(True, "")])


@requirement("BN-701", source=HOST, ops=ALL)
def arguments_are_left_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """No call changes its arguments, nor those of an earlier call."""
    return observed(trace, "mutated")


@requirement("BN-702", source=HOST, ops=ALL, needs="deterministic")
def same_case_same_bits(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The same program on new layers gives the same bits."""
    return observed(trace, "nondeterministic") if case.repeat else NOTHING


@requirement("BN-703", source=HOST, ops=ALL)
def results_are_the_callers_own(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Returned arrays share no memory with arguments, each other or the layer, and nothing later changes them."""
    return observed(trace, "aliased", "overwritten")


def _expected_state(judge: Judge, before: State, index: int) -> State:
    """The state after a step, as far as it is known to the bit: gamma and beta always, the rest unless it trained."""
    call = judge.run.program.calls[index]
    if call.op != "set_state" or call.state is None:
        return before
    gamma, beta, mean, variance = (
        new if new is not None else old for new, old in zip(call.state[:4], before[:4], strict=True)
    )
    return State(gamma, beta, mean, variance)


def _bits(name: str, got: Array | None, expected: Array | None, message: str, index: int) -> Evidence:
    if expected is None:
        return NOTHING
    holds = got is not None and np.array_equal(got, expected, equal_nan=True)
    return require(holds, f"{name} {message}", name, index)


@requirement("BN-704", source="Ioffe & Szegedy 2015: γ and β are learned by the optimizer", ops=ALL)
def gamma_and_beta_are_kept(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Training and inference leave γ and β as they are, to the bit; only setting the state changes them."""
    parts = []
    for layer, state in enumerate(judge.run.program.states):
        expected = state
        for view in judge.run.views:
            if view.call.layer != layer:
                continue
            expected = _expected_state(judge, expected, view.number)
            read = view.trace.state
            if read is not None and view.call.op in ("train", "infer"):
                for name in ("gamma", "beta"):
                    got, value = getattr(read, name), getattr(expected, name)
                    parts.append(_bits(name, got, value, f"was changed by {view.call.op}", view.number))
    return combine(parts)


@requirement("BN-705", source=HOST, ops=ALL, derive=derive.single_layer)
def layers_are_independent(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A layer gives the results that it gives alone, whatever is done to other layers of the same spec meanwhile."""
    parts = []
    for other in judge.derived:
        layer = case.program[-1].layer
        mine = [v for v in judge.run.views if v.call.layer == layer]
        theirs = list(other.run.views)
        for a, b in zip(mine, theirs, strict=False):
            if a.call.op in ("train", "infer"):
                parts += [same(judge, other, a, b, q) for q in ("y", "dx", "dgamma", "dbeta")]
        if judge.run.trace.final and other.run.trace.final:
            first, second = judge.run.trace.final[layer], other.run.trace.final[0]
            parts += [_final(judge, other, name, first, second) for name in ("moving_mean", "moving_variance")]
    return combine(parts)


def _final(judge: Judge, other: Judge, name: str, first: State, second: State) -> Evidence:
    """A moving statistic at the end agrees with that of the run alone."""
    last = other.run.views[-1]
    statistic = name.removeprefix("moving_")
    expected = other.run.after(last.number, other.kind, own=False)
    bound = getattr(expected, statistic + "_error")
    got, alone = (np.asarray(getattr(s, name), np.float64).reshape(-1, 1) for s in (first, second))
    allowed = np.zeros_like(got) if bound is None else 2 * bound
    return other.compare(name, got, alone, allowed, last)


def _reads_back(judge: Judge, trace: Trace) -> list[Evidence]:
    """The state read after building or setting is what was given, and where nothing was given what it was before."""
    parts = []
    for layer, state in enumerate(judge.run.program.states):
        read = trace.initial[layer] if trace.initial else None
        if read is not None:
            parts += [_bits(n, getattr(read, n), getattr(state, n), "is not the start value", -1) for n in NAMES]
    last: dict[int, State | None] = dict(enumerate(trace.initial))
    for view in judge.run.views:
        before, read = last.get(view.call.layer), view.trace.state
        if view.call.op == "set_state" and read is not None and before is not None:
            expected = _expected_state(judge, before, view.number)
            for name in NAMES:
                got, value = getattr(read, name), getattr(expected, name)
                parts.append(_bits(name, got, value, "is not what set_state was given, or left", view.number))
        last[view.call.layer] = read
    return parts


def _takes_effect(judge: Judge) -> list[Evidence]:
    """Steps after a set_state on their layer follow the state that was set."""
    parts = []
    was_set: set[int] = set()
    for view in judge.run.views:
        if view.call.op == "set_state":
            was_set.add(view.call.layer)
        elif view.call.layer in was_set and view.call.op in ("train", "infer"):
            parts += [judge.against_truth(view, q) for q in ("y", "dx")]
            if view.call.op == "train":
                parts += [update(judge, view, s) for s in STATISTICS]
    return parts


@requirement("BN-706", source=HOST, ops=ALL, derive=derive.unread)
def state_is_what_was_set(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A state that is set, or built with, reads back to the bit and takes effect at once; what was not given stays."""
    parts = _reads_back(judge, trace) + _takes_effect(judge)
    for other in judge.derived:
        parts += _takes_effect(other)
    return combine(parts)


@requirement("BN-707", source=HOST, ops=ALL, needs="deterministic")
def nothing_is_shared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Arguments and results are the caller's, to change or to fill anew: the layer shares no memory with it."""
    return observed(trace, "retained") if case.repeat else NOTHING


@requirement("BN-708", source="Program order", ops=("train", "infer"), derive=derive.forward_only)
def modes_do_not_stick(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Each call follows its own mode and its own upstream gradient, whatever calls came before it."""
    parts = []
    for view in judge.steps("train", "infer"):
        parts += [judge.against_truth(view, q) for q in ("y", "dx", "dgamma", "dbeta")]
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            parts.append(same(judge, other, mine, theirs, "y"))
    return combine(parts)
