"""Programs of more than forward steps: how they are written, run, rewritten for what an adapter can do, and judged."""

import numpy as np
import pytest

from adapters.executor import execute, load
from adapters.interface import Capabilities, State
from adapters.program import Call, Program, Trace
from conformance import case as written
from conformance.case import (
    ApplyUpdates,
    Backward,
    Case,
    Drawn,
    Gradient,
    Infer,
    Reload,
    SecondOrder,
    SetState,
    Start,
    Train,
)
from conformance.conversation import Collector
from conformance.families import FAMILIES, Planned, planned
from conformance.rewrite import asked, recorded_in, sound
from tests._judged import case, run, train
from tests._programs import REFERENCE, SPEC, state, values

ALL = Capabilities(tape=True, second_order=True, save=True, separate_update=True)
X = Drawn((8,), seed=3)
TAPED = case(Train(X, tape=0), Infer(X, tape=1), train(5), Backward(0, Gradient(seed=2)), Backward(1, Gradient(seed=5)))


def traced(*calls: Call, layers: int = 1, repeat: bool = False) -> Trace:
    """Run calls on the reference in this process."""
    collector = Collector()
    for event in execute(load(REFERENCE), Program(SPEC, (state(),) * layers, calls, repeat=repeat)):
        collector.add(event)
    return collector.trace()


class TestWriting:
    """Steps as the families write them."""

    @pytest.mark.parametrize(
        ("text", "step"),
        [
            ("train", Planned("train")),
            ("infer2", Planned("infer", 2)),
            ("train1@0", Planned("train", 1, 0)),
            ("backward@2", Planned("backward", 0, 2)),
            ("train*300", Planned("train", times=300)),
            ("train-", Planned("train", update=False)),
            ("reload1:process", Planned("reload", 1, through="process")),
            ("second_order", Planned("second_order")),
        ],
    )
    def test_each_part_is_read(self, text: str, step: Planned) -> None:
        """Layer, tape, number of times, what is left out, and the way of reloading."""
        assert planned(text) == step

    @pytest.mark.parametrize("text", ["", "Train", "train@", "train:paper", "train 1"])
    def test_nonsense_is_refused(self, text: str) -> None:
        """What is not written so is no step."""
        with pytest.raises(ValueError, match="is no step"):
            planned(text)

    def test_all_programs_of_the_families_can_be_read(self) -> None:
        """Every program of every family is written correctly, and is one of those that a pool can draw."""
        for family in FAMILIES.values():
            for program in (*family.programs, *family.certain):
                assert all(planned(step) for step in program)


class TestRunning:
    """What the executor makes of them."""

    def test_a_late_backward_pass_is_that_of_its_forward_pass(self) -> None:
        """Recorded, then disturbed by another step: the gradients are those of the step at once, to the bit."""
        x, dy = values(4, 3, seed=1), values(4, 3, seed=2)
        other = Call("train", 0, values(4, 3, seed=7), values(4, 3, seed=8))
        late = traced(Call("train", 0, x, tape=3), other, Call("backward", 0, dy=dy, tape=3)).steps[2].step
        once = traced(Call("train", 0, x, dy)).steps[0].step
        assert late is not None
        assert once is not None
        assert all(np.array_equal(a, b) for a, b in zip(late, once, strict=True) if a is not None and b is not None)

    def test_times_repeats_a_step(self) -> None:
        """A step made three times is three steps."""
        x = values(4, 3, seed=1)
        assert repr(traced(Call("train", 0, x, times=3)).final) == repr(traced(*[Call("train", 0, x)] * 3).final)

    @pytest.mark.parametrize("through", ["state", "file", "checkpoint", "process"])
    def test_reloading_changes_nothing(self, through: str) -> None:
        """Whatever way the layer is replaced, what follows is the same, to the bit, and nothing is observed."""
        x = values(4, 3, seed=1)
        plain = traced(Call("train", 0, x), Call("infer", 0, x))
        trace = traced(Call("train", 0, x), Call("reload", 0, through=through), Call("infer", 0, x), repeat=True)
        assert trace.failure is None
        assert trace.observations == ()
        assert repr(trace.steps[2].step) == repr(plain.steps[1].step)
        assert repr(trace.steps[1].state) == repr(plain.steps[0].state)

    def test_second_order_is_kept_apart(self) -> None:
        """Its three gradients come back as such, and it changes no state."""
        x = values(4, 3, seed=1)
        trace = traced(Call("second_order", 0, x, values(4, 3, seed=2), v=values(4, 3, seed=3)), repeat=True)
        (step,) = trace.steps
        assert step.step is None
        assert step.second is not None
        assert step.second.x.shape == x.shape
        assert repr(trace.final) == repr(trace.initial)
        assert trace.observations == ()

    @pytest.mark.parametrize(
        "call",
        [
            Call("backward", 0, dy=values(4, 3), tape=1),
            Call("backward", 0, dy=values(4, 3)),
            Call("train", 0, values(4, 3), values(4, 3), tape=0),
            Call("train", 0, values(4, 3), update=False, tape=0),
            Call("infer", 0, values(4, 3), times=2),
            Call("second_order", 0, values(4, 3), values(4, 3)),
            Call("reload", 0, values(4, 3)),
            Call("set_state", 0),
        ],
    )
    def test_senseless_calls_are_refused(self, call: Call) -> None:
        """They are mistakes of the suite, and said to be."""
        with pytest.raises(ValueError, match="call 0"):
            traced(call)


class TestAsked:
    """What is left of a program for an adapter that can do less."""

    def test_everything_is_asked_of_those_who_can(self) -> None:
        """A case within the capabilities is the case itself."""
        full = case(*TAPED.program, SecondOrder(X, Gradient(), Gradient()), Reload("file"), ApplyUpdates())
        assert asked(full, ALL) is full

    def test_without_tapes_the_upstream_gradient_moves(self) -> None:
        """A recorded step becomes an ordinary one with the dy of its first backward pass."""
        got = asked(TAPED, ALL._replace(tape=False)).program
        assert got == (Train(X, Gradient(seed=2)), Infer(X, Gradient(seed=5)), train(5))

    def test_what_stands_for_the_rest(self) -> None:
        """Second order becomes a training step, saving a state, an update left out an ordinary one."""
        full = case(
            SecondOrder(X, Gradient(), Gradient(seed=1)), Reload("process"), Train(X, update=False), ApplyUpdates()
        )
        assert asked(full, Capabilities()).program == (Train(X, Gradient()), Reload("state"), Train(X))

    def test_backward_passes_go_with_the_gradients(self) -> None:
        """Without training gradients a recorded training step has no backward pass, that of inference stays."""
        got = asked(TAPED, ALL._replace(training_gradients=False)).program
        assert [type(step) for step in got] == [Train, Infer, Train, Backward]


class TestPrograms:
    """What belongs to what."""

    def test_a_backward_pass_belongs_to_the_last_recording(self) -> None:
        """Numbers may be used again; each backward pass belongs to the latest step of its number."""
        program = (Train(X, tape=0), Train(X, tape=0), Backward(0, Gradient()))
        assert recorded_in(program, 2) == 1
        assert sound(program)
        assert not sound((Backward(0, Gradient()), *program[:2]))
        assert not sound((Train(X, tape=0, layer=1), Backward(0, Gradient())))

    def test_a_saved_case_is_the_case(self) -> None:
        """Holding the arrays changes no call of a program with tapes, second order and reloading."""
        full = case(*TAPED.program, SecondOrder(X, Gradient(), Gradient(seed=1)), Reload("process"))
        for one, other in zip(full.expanded.calls, full.held.expanded.calls, strict=True):
            assert (one.op, one.layer, one.tape, one.through) == (other.op, other.layer, other.tape, other.through)
            for name in ("x", "dy", "v"):
                a, b = getattr(one, name), getattr(other, name)
                assert a is b is None or np.array_equal(a, b)
        assert eval(repr(full.held), dict(vars(written))) == full.held


class TestJudging:
    """What the oracle expects."""

    def test_a_late_backward_pass_is_judged_from_the_state_before_its_recording(self) -> None:
        """The recorded inference used the statistics of then, not those after a training step."""
        judged = run(TAPED)
        assert judged.forward(4) == 1
        assert np.array_equal(judged.truth(4).mean, judged.truth(1).mean)
        assert not np.array_equal(judged.before(4, "prob").mean, judged.before(1, "prob").mean)

    def test_an_update_applied_later_is_that_of_the_step_that_left_it(self) -> None:
        """The expected statistics follow those of the moment it is applied."""
        target = "conformance.zoo.declared:UpdateSeparate"
        moved = SetState(Start(None, None, "random", "random", 9))
        judged = run(case(Train(X, update=False), moved, ApplyUpdates()), target)
        assert np.array_equal(judged.expected_after(0, "prob").mean, judged.start(0).mean)
        after = judged.expected_after(2, "prob")
        read = judged.trace.steps[2].state
        assert read is not None
        assert after.mean_error is not None
        assert np.all(np.abs(np.asarray(read.moving_mean).reshape(-1, 1) - after.mean) <= after.mean_error)

    def test_many_steps_are_one_after_another(self) -> None:
        """A step made n times is judged as n steps: the old value weighs decay to the power of n."""
        judged = run(case(Train(X, times=5)))
        start, after = judged.start(0), judged.expected_after(0, "prob")
        weight = SPEC_DECAY**5
        assert np.allclose(after.mean, weight * start.mean + (1 - weight) * judged.truth(0).mean)


SPEC_DECAY = case().spec.decay


def test_states_are_spoiled_too() -> None:
    """A state that was read belongs to the caller: a layer that hands out its own arrays is found out."""
    target = "conformance.zoo.state:StateIsLive"
    found = run(case(train(), train(), repeat=True), target).trace
    seen = {o.kind for step in found.steps for o in step.observations} | {o.kind for o in found.observations}
    assert seen & {"overwritten", "aliased", "retained"}
    assert isinstance(found.final[0], State)


def test_a_case_without_steps_is_a_case() -> None:
    """Nothing is recorded, nothing is unsound."""
    assert sound(())
    assert asked(Case(SPEC, (Start(),), ()), Capabilities()).program == ()
