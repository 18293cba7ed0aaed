"""Tests of the executor: programs give all their parts, results are checked, and memory is watched."""

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters import checks
from adapters.executor import execute, load
from adapters.interface import Capabilities, Spec
from adapters.observer import Argument
from adapters.program import Call, Observation, Program, Trace
from conformance.conversation import Collector
from tests._programs import REFERENCE, SPEC, hostile, program, state, values


def run(target: str, given: Program) -> Trace:
    """Run a program in this process."""
    collector = Collector()
    for event in execute(load(target), given):
        collector.add(event)
    return collector.trace()


def observed(trace: Trace) -> list[Observation]:
    """All observations of a trace."""
    return [o for step in trace.steps for o in step.observations] + list(trace.observations)


def seen(trace: Trace) -> set[tuple[str, str]]:
    """Kind and subject of all observations of a trace."""
    return {(o.kind, o.what) for o in observed(trace)}


# Running programs


def test_a_program_gives_all_its_parts() -> None:
    """Conventions, initial states, a step and a state per call, final states and seconds are all there."""
    given = program("train", "infer!", "set_state", "get_state")
    trace = run(REFERENCE, given)
    assert trace.failure is None
    assert trace.conventions is not None
    assert [step.index for step in trace.steps] == [0, 1, 2, 3]
    assert all(step.state is not None for step in trace.steps)
    assert trace.steps[0].step is not None
    assert trace.steps[0].step.dx is not None
    assert trace.steps[1].step is not None
    assert trace.steps[1].step.dx is None
    assert trace.steps[2].step is None
    assert repr(trace.final) == repr((trace.steps[3].state,))
    assert repr(trace.initial) == repr((state(),))
    assert 0 < trace.seconds < trace.wall
    assert seen(trace) == set()


def test_states_read_at_the_end_only() -> None:
    """``read="end"`` reads no state before the last call, except where a program asks."""
    trace = run(REFERENCE, program("train", "get_state", "train", layers=2, read="end"))
    assert trace.initial == (None, None)
    assert [step.state is not None for step in trace.steps] == [False, True, False]
    assert len(trace.final) == 2


def test_arguments_do_not_leak_into_the_program() -> None:
    """An adapter that writes to its arguments changes its own copies, never the case."""
    given = program("train", "train")
    before = repr(given)
    run(hostile("memory:MutatesX"), given)
    assert repr(given) == before


@pytest.mark.parametrize(
    "call",
    [Call("fly"), Call("train"), Call("train", 1, values(2, 3)), Call("infer", dy=values(2, 3)), Call("set_state")],
)
def test_senseless_programs_are_refused(call: Call) -> None:
    """A program with an unknown operation, a missing argument or an unknown layer is the suite's own mistake."""
    with pytest.raises(ValueError, match="call 0"):
        list(execute(load(REFERENCE), Program(SPEC, (state(),), (call,))))


BAD_RESULTS = {
    "WrongShape": ("train", r"train\(\): y must have shape \(4, 3\), got float32\(3, 4\)"),
    "WrongDtype": ("train", r"y must be float32, the input's dtype, got float64\(4, 3\)"),
    "WrongGradient": ("train", r"dx must have shape \(4, 3\), got float32\(1, 3\)"),
    "ReturnsList": ("train", r"y must be a numpy.ndarray, got list"),
    "ReturnsNone": ("train", r"train\(\) returned None, expected a Step"),
    "ReturnsBareArray": ("train", r"train\(\) returned float32\(4, 3\), expected a Step"),
    "NoGradients": ("train", r"dx must be a numpy.ndarray, got None"),
    "IntegerGradient": ("train", r"dgamma must hold floating-point numbers, got int64\(3,\)"),
    "ReturnsMasked": ("train", r"y must be a numpy.ndarray, got MaskedArray of float32"),
    "LosesBeta": ("state", r"state\(\): beta must be a numpy.ndarray, got None"),
    "WideState": ("state", r"moving_mean must have shape \(3,\), got float32\(1, 3\)"),
    "DictState": ("state", r"state\(\) returned dict, expected a State"),
    "ObjectExtra": ("state", r"extra\['step'\] must be a numeric array, got object\(1,\)"),
    "RaisesInTrain": ("train", r"^ValueError: cannot differentiate over two lines$"),
    "RaisesInState": ("state", r"^RuntimeError: no state today$"),
    "RaisesInConventions": ("conventions", r"^LookupError: no conventions$"),
    "RaisesInBuild": ("build", r"^MemoryError: too large$"),
    "BuildsNoLayer": ("build", r"build\(\) returned dict, expected a Layer"),
}


@pytest.mark.parametrize("name", BAD_RESULTS)
def test_bad_results_end_the_program_as_errors(name: str) -> None:
    """What raises, or is no result, ends the program with the method, what was expected and what came."""
    method, message = BAD_RESULTS[name]
    trace = run(hostile(f"results:{name}"), program("train", "infer"))
    assert trace.failure is not None
    assert trace.failure.kind == "error"
    assert trace.failure.method == method
    assert re.search(message, trace.failure.message)
    assert trace.final == ()


def test_an_exception_shows_its_own_lines() -> None:
    """The traceback of a failure begins in the adapter and ends with its exception."""
    failure = run(hostile("results:RaisesInTrain"), program("train")).failure
    assert failure is not None
    assert "results.py" in failure.stderr[1]
    assert not any("executor.py" in line for line in failure.stderr)
    assert failure.stderr[-1] == "over two lines"


def test_steps_before_a_failure_are_kept() -> None:
    """An error in the third call leaves the first two."""
    trace = run(hostile("results:RaisesInTrain"), program("train!", "infer!", "train", "infer"))
    assert [step.index for step in trace.steps] == [0, 1]
    assert trace.failure is not None


def test_a_plain_tuple_is_a_step() -> None:
    """Four arrays in a plain tuple do as a Step."""
    assert run(hostile("results:PlainTuple"), program("train")).failure is None


def test_a_refusal_is_no_error() -> None:
    """Unsupported ends the program with its reason."""
    failure = run(hostile("results:Refuses"), program("train")).failure
    assert failure is not None
    assert failure[:3] == ("unsupported", "epsilon 0.001 is below the 0.01 of the hardware", "build")


def test_an_interrupt_is_the_users() -> None:
    """KeyboardInterrupt is not caught; SystemExit raised by an adapter is."""
    with pytest.raises(KeyboardInterrupt):
        run(hostile("results:Interrupted"), program("train"))
    failure = run(hostile("processes:SystemExits"), program("train", "train")).failure
    assert failure is not None
    assert failure[:3] == ("error", "SystemExit: no more", "train")


def test_flags_decide_which_parameters_exist() -> None:
    """Without scale and center neither gradients nor state of gamma and beta may come back."""
    bare = SPEC._replace(center=False, scale=False)
    given = program("train", "infer", spec=bare)
    given = given._replace(states=(state()._replace(gamma=None, beta=None),))
    assert run(REFERENCE, given).failure is None
    failure = run(REFERENCE, given._replace(states=(state(),))).failure
    assert failure is not None
    assert "gamma must be None with scale=False" in failure.message


# Watching memory


MEMORY = {
    "MutatesX": {("mutated", "x")},
    "MutatesDy": {("mutated", "dy")},
    "MutatesState": {("mutated", "state.gamma")},
    "MutatesEarlier": {("mutated", "x")},
    "ReturnsArguments": {("aliased", "y"), ("aliased", "dx")},
    "ForeignView": {("aliased", "y")},
    "LiveState": {
        ("aliased", "state.gamma"),
        ("aliased", "state.beta"),
        ("aliased", "state.moving_mean"),
        ("overwritten", "state.moving_mean"),
    },
    "OneBuffer": {("aliased", "y"), ("overwritten", "y")},
    "SharedGradients": {("aliased", "dbeta")},
    "Interleaved": set(),
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_watched(name: str) -> None:
    """Each misuse of memory is observed under its name, on the right array, and nothing else is."""
    trace = run(hostile(f"memory:{name}"), program("train", "infer", "train"))
    assert trace.failure is None
    found = {(o.kind, o.what) for o in observed(trace) if o.what != "state.moving_variance" or name != "LiveState"}
    assert found == MEMORY[name]


def test_observations_say_when() -> None:
    """The detail names the call whose argument changed and the call that changed it, once."""
    trace = run(hostile("memory:MutatesEarlier"), program("train", "infer", "train"))
    (mutated,) = observed(trace)
    assert mutated.detail == "of call 0 (train); changed by call 2 (train)"
    assert trace.steps[2].observations == (mutated,)
    (first, *_) = observed(run(hostile("memory:ReturnsArguments"), program("train", "infer")))
    assert first == Observation("aliased", "y", "returned by call 1 (infer); shares memory with x of call 1 (infer)")


def test_nan_equals_itself() -> None:
    """NaN in arguments and results is no mutation, no overwriting and no indeterminism."""
    x = values(4, 3)
    x[1, 1] = np.nan
    given = Program(SPEC, (state(),), (Call("train", 0, x, x), Call("infer", 0, x, x)), repeat=True)
    trace = run(REFERENCE, given)
    assert trace.failure is None
    assert seen(trace) == set()


def test_repeating_finds_indeterminism() -> None:
    """A program run twice with other bits is observed, with the element and both values."""
    trace = run(hostile("memory:NonDeterministic"), program("train", "infer", repeat=True))
    assert seen(trace) == {("nondeterministic", "y")}
    assert observed(trace)[0].detail.startswith("in call 0 (train): 1 of 12 elements differ, first at (3, 2): ")
    assert seen(run(hostile("memory:NonDeterministic"), program("train", "infer"))) == set()


@pytest.mark.parametrize("name", ["RetainsX", "KeepsState"])
def test_spoiling_arguments_finds_what_is_kept(name: str) -> None:
    """An adapter that reads an argument again after the call gives other results when the caller reuses it."""
    trace = run(hostile(f"memory:{name}"), program("train", "infer", repeat=True))
    assert "retained" in {kind for kind, _ in seen(trace)}
    assert "nondeterministic" not in {kind for kind, _ in seen(trace)}


def test_the_reference_is_clean_in_every_mode() -> None:
    """All layouts, several layers and repeated runs give the reference nothing to be blamed for."""
    x = values(6, 8, 3)
    layouts = [x[::2, ::-1], np.asfortranarray(x), np.broadcast_to(x[:1], (5, 8, 3)), x[:, :1]]
    calls = [Call("train", i % 2, a, a) for i, a in enumerate(layouts)] + [Call("infer", 0, layouts[0], layouts[1][:3])]
    for read in ("every", "end"):
        given = Program(Spec((None, None, 3), (2,), 1e-3, 0.9), (state(), state()), tuple(calls), read, True)
        trace = run(REFERENCE, given)
        assert trace.failure is None
        assert seen(trace) == set()


@pytest.mark.parametrize("writeable", [True, False])
def test_layouts_reach_the_adapter(writeable: bool) -> None:
    """The adapter sees the strides of the case and its writeable flag, on memory of its own."""
    x = values(8, 6)[::-2, ::2]
    x.flags.writeable = writeable
    trace = run(hostile("memory:ReportsLayout"), Program(SPEC, (state(),), (Call("train", 0, x),)))
    last = trace.final[0].extra["seen"]
    assert last.tolist() == [*x.strides, int(writeable)]


def test_spoiling_changes_every_element() -> None:
    """Spoiled arguments differ from the original in every element and are finite, 1.75 and infinities included."""
    for array in (
        np.array([1.75, 0, -0.0, np.inf, -np.inf, np.nan, 3e38, 1e-45], np.float32),
        np.array([0, 65504], np.float16),
        np.array([0, 0x3F80], np.uint16),
        np.array(5, np.int64),
        np.array([True, False]),
    ):
        given = Argument("x", array).give()
        assert not given.changed()
        given.spoil()
        assert given.changed()
        assert np.isfinite(given.array.astype(np.float64)).all()
        assert np.all(given.array != array)


def test_bfloat16_of_a_framework_is_accepted() -> None:
    """Where a framework brings ml_dtypes along, its bfloat16 passes for uint16."""
    spec = SPEC._replace(dtype="bfloat16")
    x = np.zeros((4, 3), np.uint16)
    y: Any = x.view(ml_dtypes.bfloat16)
    step = checks.ResultChecks(spec, Capabilities()).step((y, None, None, None), Call("infer", 0, x))
    assert step.y.dtype == np.uint16


def test_a_broken_program_reports_what_it_saw() -> None:
    """An argument that was changed before an error is still reported."""
    trace = run(hostile("memory:MutatesDy"), program("train", "train", read="end")._replace(spec=SPEC))
    assert ("mutated", "dy") in seen(trace)


def test_events_come_one_by_one() -> None:
    """A step is yielded as soon as its call is done, so that a later crash cannot take it along."""
    events = execute(load(hostile("results:RaisesInTrain")), program("infer!", "train"))
    kinds = [type(event) for event in events]
    assert [k.__name__ for k in kinds] == ["Built", "StepTrace", "End"]


def test_buffers_are_filled_anew() -> None:
    """A layer that knows an array by its identity is found out: the program is repeated with buffers filled anew."""
    target = "conformance.zoo.neighbours:KnowsAnArrayByItsIdentity"
    once = Program(SPEC, (state(),), tuple(Call("infer", 0, values(8, 3, seed=n)) for n in (1, 2)))
    assert seen(run(target, once)) == set()
    assert ("retained", "y") in seen(run(target, once._replace(repeat=True)))


def test_another_layer_lives_beside_the_programs_own() -> None:
    """The operation "meanwhile" builds and uses a layer of another epsilon and decay; what it returns is no result."""
    given = Program(SPEC, (state(),), (Call("meanwhile", 0, values(8, 3)), Call("train", 0, values(8, 3))))
    trace = run(REFERENCE, given)
    faulty = run("conformance.zoo.neighbours:EpsilonOfTheClass", given)

    assert trace.failure is faulty.failure is None
    assert trace.steps[0].step is None
    first, second = trace.steps[1].step, faulty.steps[1].step
    assert first is not None
    assert second is not None
    assert not np.allclose(first.y, second.y)
