"""The judge: from which state each step is judged, with which conventions, and what it makes of a broken trace."""

import math
from typing import get_args

import numpy as np
import pytest

from adapters.interface import Array, Spec
from adapters.program import Failure
from conformance.bounds import Kind, TrainingBounds
from conformance.case import Case, Drawn, GetState, Given, Infer, SetState, Start, Train, given
from conformance.judge import Belief, Judge, Run
from conformance.oracle import TrainingTruth
from conformance.requirements.running import moving_statistics_over_a_sequence
from tests._judged import SPEC, case, infer, run, state_of, traced, train, with_state, with_step

KINDS: tuple[Kind, ...] = get_args(Kind)


def flat(a: Array | None) -> list[float]:
    """A column as a list; fails where there is none."""
    assert a is not None
    return [float(v) for v in a.reshape(-1)]


def training(run: Run, index: int) -> TrainingTruth:
    """The truth of a training step."""
    truth = run.truth(index)
    assert isinstance(truth, TrainingTruth)
    return truth


class TestOwnState:
    """A step is judged from the implementation's own state before it."""

    def test_the_state_read_before_a_step_is_its_start(self) -> None:
        """A state that was read is known exactly, and inference is judged from it."""
        trace = with_state(traced(case(train(), infer())), 0, moving_mean=np.array([7, 8, 9], np.float32))
        judged = Run(case(train(), infer()), trace)
        before = judged.before(1, "prob")
        assert flat(before.mean) == [7, 8, 9]
        assert before.mean_error is None
        assert flat(judged.truth(1).mean) == [7, 8, 9]

    def test_what_is_carried_ignores_what_was_read(self) -> None:
        """Carried from the start, the state is the definition's, with a bound; its own reading does not matter."""
        trace = with_state(traced(case(train(), train())), 0, moving_mean=np.array([7, 8, 9], np.float32))
        judged = Run(case(train(), train()), trace)
        start = judged.program.states[0].moving_mean
        assert start is not None
        first = training(judged, 0).mean.reshape(-1)
        carried = judged.before(1, "prob", own=False)
        assert flat(carried.mean) == pytest.approx(0.75 * start.astype(float) + 0.25 * first, rel=1e-15)
        assert np.all(np.asarray(carried.mean_error) > 0)
        twice = judged.after(1, "prob", own=False)
        second = training(judged, 1).mean.reshape(-1)
        assert flat(twice.mean) == pytest.approx(0.75 * carried.mean.reshape(-1) + 0.25 * second, rel=1e-15)
        assert np.all(np.asarray(twice.mean_error) > 0.75 * np.asarray(carried.mean_error))

    def test_the_expectation_after_a_step_starts_from_its_own_state(self) -> None:
        """A wrong state before a step is not held against the step."""
        trace = with_state(traced(case(train(), train())), 0, moving_variance=np.array([4, 8, 16], np.float32))
        judged = Run(case(train(), train()), trace)
        expected = judged.expected_after(1, "prob")
        assert flat(expected.variance) == pytest.approx(
            0.75 * np.array([4, 8, 16]) + 0.25 * training(judged, 1).variance.reshape(-1), rel=1e-15
        )

    def test_the_initial_state_counts_as_read(self) -> None:
        """What the layer says right after building is where its first step starts from."""
        trace = traced(case(infer()))
        first = trace.initial[0]
        assert first is not None
        wrong = first._replace(moving_mean=np.array([1, 2, 3], np.float32))
        judged = Run(case(infer()), trace._replace(initial=(wrong,)))
        assert flat(judged.start(0).mean) == [1, 2, 3]
        assert flat(judged.start(0, own=False).mean) == flat(judged.program.states[0].moving_mean)

    @pytest.mark.parametrize("decay", [0.0, 1.0])
    def test_decays_of_zero_and_one(self, decay: float) -> None:
        """With decay 1 the expected statistics are the old ones, with decay 0 those of the batch."""
        judged = run(case(train(), spec=SPEC._replace(decay=decay)))
        before, after = judged.before(0, "prob"), judged.expected_after(0, "prob")
        batch = training(judged, 0)
        assert flat(after.mean) == flat(before.mean if decay else batch.mean)
        assert flat(after.variance) == flat(before.variance if decay else batch.variance)


class TestUnread:
    """Programs whose state is read only at the end."""

    def test_the_state_is_carried_with_its_bound(self) -> None:
        """Where nothing was read, inference is judged from the carried state, within a wider bound."""
        unread, read = (run(case(train(), train(), infer(), read=kind)) for kind in ("end", "every"))
        assert unread.trace.steps[1].state is None
        before = unread.before(2, "prob")
        assert np.all(np.asarray(before.mean_error) > 0)
        assert np.all(np.asarray(before.variance_error) > 0)
        own = read.before(2, "prob")
        assert own.mean_error is None
        assert np.all(np.abs(before.mean - own.mean) <= np.asarray(before.mean_error))
        assert np.all(np.abs(before.variance - own.variance) <= np.asarray(before.variance_error))
        assert np.all(unread.bounds(2, "prob").y > read.bounds(2, "prob").y)

    def test_a_read_in_between_is_used(self) -> None:
        """A GetState makes the state known again, also where the program reads it at the end only."""
        judged = run(case(train(), GetState(), infer(), read="end"))
        assert judged.before(1, "prob").mean_error is not None
        assert judged.before(2, "prob").mean_error is None
        assert flat(judged.before(2, "prob").mean) == flat(state_of(judged, 1).moving_mean)

    def test_a_long_correct_sequence_is_within_its_bound(self) -> None:
        """Six updates in float32 stay within the bound carried with them, and leaving one out does not."""
        steps = [train(seed=seed) for seed in range(6)]
        correct = run(case(*steps, read="end"))
        found = moving_statistics_over_a_sequence(correct.case, correct.trace, Judge(correct))
        assert 0 < found.ratio < 1
        assert found.informative
        short = run(case(*steps[:5], read="end"))
        wrong = Run(correct.case, correct.trace._replace(final=short.trace.final))
        assert moving_statistics_over_a_sequence(wrong.case, wrong.trace, Judge(wrong)).fails


class TestSetState:
    """States that are set mid-run."""

    PARTIAL = SetState(Start(given([1, 2, 3]), None, None, given([4, 5, 6]), 0))

    def test_what_is_set_is_known_and_the_rest_is_kept(self) -> None:
        """Of a partial state the given parameters are known exactly, the others stay with their errors."""
        judged = run(case(train(), self.PARTIAL, infer(), read="end"))
        before, after = judged.before(1, "prob"), judged.before(2, "prob")
        assert flat(after.gamma) == [1, 2, 3]
        assert flat(after.beta) == flat(before.beta)
        assert flat(after.variance) == [4, 5, 6]
        assert after.variance_error is None
        assert flat(after.mean) == flat(before.mean)
        assert after.mean_error is before.mean_error
        assert after.mean_error is not None

    def test_each_statistic_can_be_set_alone(self) -> None:
        """A statistic that is set alone is known exactly, while the other stays as uncertain as it was."""
        for state, known, carried in (
            (Start(None, None, given([4, 5, 6]), None), "mean_error", "variance_error"),
            (Start(None, None, None, given([4, 5, 6])), "variance_error", "mean_error"),
        ):
            judged = run(case(train(), SetState(state), infer(), read="end"))
            after = judged.before(2, "prob")
            assert getattr(after, known) is None
            assert getattr(after, carried) is getattr(judged.before(1, "prob"), carried) is not None

    def test_it_is_the_start_of_the_next_step(self) -> None:
        """The step after is judged with the parameters that were set."""
        judged = run(case(self.PARTIAL, train(), infer(), read="end"))
        assert flat(judged.truth(1).gamma) == [1, 2, 3]
        assert flat(judged.truth(2).gamma) == [1, 2, 3]
        moved = flat(judged.expected_after(1, "prob").variance)
        assert moved == pytest.approx(0.75 * np.array([4, 5, 6]) + 0.25 * training(judged, 1).variance.reshape(-1))


class TestLayers:
    """Several layers of one spec."""

    def test_each_layer_has_its_own_history(self) -> None:
        """The state before a step is that after the last step of the same layer, whatever came between."""
        judged = run(case(train(seed=1), train(seed=2, layer=1), infer(), infer(layer=1), layers=2))
        for index, previous in ((2, 0), (3, 1)):
            assert flat(judged.before(index, "prob").mean) == flat(state_of(judged, previous).moving_mean)
        assert flat(judged.before(1, "prob").mean) == flat(judged.program.states[1].moving_mean)
        assert flat(judged.before(2, "prob").mean) != flat(judged.before(3, "prob").mean)

    def test_unread_layers_are_carried_apart(self) -> None:
        """The same holds for states that are carried."""
        steps = (train(seed=1), train(seed=2, layer=1), infer(), infer(layer=1))
        unread, read = (run(case(*steps, layers=2, read=kind)) for kind in ("end", "every"))
        for index in (2, 3):
            carried, own = unread.before(index, "prob"), read.before(index, "prob")
            assert np.all(np.abs(carried.mean - own.mean) <= np.asarray(carried.mean_error))


class TestConventions:
    """The oracle takes the declared conventions."""

    def test_the_unbiased_estimator(self) -> None:
        """Declared unbiased, the variance that enters is Bessel's; otherwise that of the batch."""
        truth = training(run(case(train(5))), 0)
        for name, factor in (("biased", 1.0), ("unbiased", 5 / 4)):
            judged = run(case(train(5)), moving_variance=name)
            bounds = judged.bounds(0, "prob")
            assert isinstance(bounds, TrainingBounds)
            variance, _ = judged.estimate(training(judged, 0), bounds)
            assert flat(variance) == pytest.approx([factor * v for v in flat(truth.variance)], rel=1e-14)

    @pytest.mark.parametrize(("single", "bounded"), [("zero", True), ("nan", False)])
    def test_a_single_element(self, single: str, bounded: bool) -> None:
        """At m = 1 an unbiased variance is zero or anything, as declared; the mean is bounded either way."""
        judged = run(case(train(1)), moving_variance="unbiased", moving_variance_single=single)
        expected = judged.expected_after(0, "prob")
        assert np.isfinite(np.asarray(expected.variance_error)).all() == bounded
        assert np.isfinite(np.asarray(expected.mean_error)).all()
        if bounded:
            assert flat(expected.variance) == pytest.approx([0.75 * v for v in flat(judged.before(0, "prob").variance)])

    @pytest.mark.parametrize(("floor", "effective"), [(0.0, 1e-3), (1e-5, 1e-3), (0.5, 0.5)])
    def test_the_floor_of_epsilon(self, floor: float, effective: float) -> None:
        """The larger of epsilon and the declared floor takes effect, in training and in inference."""
        judged = run(case(train(), infer()), epsilon_floor=floor)
        assert [float(judged.truth(index).epsilon) for index in (0, 1)] == [effective, effective]

    def test_without_any_the_reference_convention_holds(self) -> None:
        """A trace that broke before the conventions came is judged by the reference's."""
        trace = traced(case(train()))._replace(conventions=None)
        judged = Run(case(train()), trace)
        assert judged.conventions.moving_variance == "biased"
        assert judged.epsilon == SPEC.epsilon

    @pytest.mark.parametrize("name", ["", "float16", "bfloat16", "float32", "float64", "longdouble"])
    @pytest.mark.parametrize("field", ["compute_dtype", "statistics_dtype"])
    def test_every_type_that_may_be_declared_has_bounds(self, field: str, name: str) -> None:
        """Whatever element type an adapter may declare, its steps can be judged."""
        judged = run(case(train(), infer()), **{field: name})
        for index in (0, 1):
            assert np.all(judged.bounds(index, "prob").y > 0)
            assert np.isfinite(judged.bounds(index, "prob").y).all()

    def test_grades_widen_the_bounds(self) -> None:
        """The declared grades reach the bounds."""
        sharp = run(case(train()), variance_grade="A", affine_grade="S").bounds(0, "prob").y
        wide = run(case(train()), variance_grade="C", affine_grade="F").bounds(0, "prob").y
        assert np.all(wide > sharp)


class TestAnswers:
    """What a requirement may ask."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_correct_results_are_within_every_bound(self, kind: Kind) -> None:
        """Every result of the reference is within the bounds of each kind, and the bounds are evidence."""
        judge = Judge(run(case(train(), infer())), kind)
        for view in judge.steps("train", "infer"):
            for quantity in ("y", "dx", "dgamma", "dbeta"):
                found = judge.against_truth(view, quantity)
                assert found.ratio < 1
                assert found.informative == 3

    def test_proven_bounds_are_the_widest(self) -> None:
        """The proven bound is nowhere below the calibrated one, nor that below the cheap one."""
        judged = run(case(train(64), infer(64)))
        for index in (0, 1):
            prob, panel, worst = (judged.bounds(index, kind).dx for kind in ("prob", "panel", "worst"))
            assert np.all(prob <= panel)
            assert np.all(panel <= worst)

    def test_a_wrong_element_is_found_where_it_is(self) -> None:
        """One wrong element of a rank 4 output is shown with its place in that output."""
        spec = Spec((None, 2, None, None), (-3,), 1e-3, 0.9)
        wanted = case(Train(Drawn((3, 4, 5), seed=3)), spec=spec)
        trace = traced(wanted)
        assert trace.steps[0].step is not None
        y = trace.steps[0].step.y.copy()
        y[2, 1, 0, 3] += 1
        judge = Judge(Run(wanted, with_step(trace, 0, step=trace.steps[0].step._replace(y=y))))
        found = judge.against_truth(next(judge.steps("train")), "y")
        assert found.fails
        assert found.worst[0].place == (2, 1, 0, 3)
        assert found.worst[0].got == pytest.approx(float(y[2, 1, 0, 3]))

    def test_what_was_not_given_is_not_judged(self) -> None:
        """A step without gradients, and a layer without gamma, give no evidence of them."""
        judge = Judge(run(case(Train(Drawn((4,))), train(), spec=SPEC._replace(scale=False))))
        forward, both = judge.steps("train")
        assert not judge.against_truth(forward, "dx").applies
        assert not judge.against_truth(both, "dgamma").applies
        assert judge.against_truth(both, "dbeta").applies

    def test_a_broken_trace_is_judged_as_far_as_it_goes(self) -> None:
        """Of a program that broke, the steps that were completed can be judged and the rest are not there."""
        wanted = case(train(), train(), infer())
        trace = traced(wanted)
        broken = trace._replace(steps=trace.steps[:1], final=(), failure=Failure("crash", "died"))
        judge = Judge(Run(wanted, broken))
        assert [view.number for view in judge.steps("train", "infer")] == [0]
        assert judge.against_truth(next(judge.steps("train")), "y").compared == 24

    def test_infinite_and_missing_numbers_fail(self) -> None:
        """A NaN or infinity in the output is an infinite error, in training and in inference."""
        wanted = case(train(), infer())
        trace = traced(wanted)
        for index, value in ((0, math.nan), (1, math.inf)):
            step = trace.steps[index].step
            assert step is not None
            y = step.y.copy()
            y[3, 1] = value
            judge = Judge(Run(wanted, with_step(trace, index, step=step._replace(y=y))))
            assert judge.against_truth(judge.run.views[index], "y").ratio == math.inf

    def test_nothing_is_computed_twice(self) -> None:
        """Truths, bounds and beliefs are kept, and shared by the judges of the same run."""
        judged = run(case(train(), infer(), read="end"))
        first, second = Judge(judged), Judge(judged)
        for view in first.steps("train", "infer"):
            assert first.truth(view) is second.truth(view)
            assert first.bound(view, "y") is second.bound(view, "y")
        assert judged.before(1, "prob") is judged.before(1, "prob")

    def test_derived_runs_are_judged_by_the_same_bounds(self) -> None:
        """The judges of derived runs have the kind of the judge they belong to."""
        judge = Judge(run(case(train())), "worst", (run(case(train(4))),))
        assert [d.kind for d in judge.derived] == ["worst"]
        assert judge.derived[0].truth(judge.derived[0].run.views[0]).count == 4

    @pytest.mark.parametrize("m", [1, 2])
    def test_a_tiny_batch_has_a_finite_bound(self, m: int) -> None:
        """One or two elements per channel are judged like any other batch."""
        judge = Judge(run(case(train(m), infer(m))))
        for view in judge.steps("train", "infer"):
            found = judge.against_truth(view, "y")
            assert (found.compared, found.unbounded) == (3 * m, 0)
            assert found.ratio < 1

    def test_states_without_gamma_and_beta(self) -> None:
        """Beliefs of a layer without gamma and beta have none."""
        judged = run(case(train(), spec=SPEC._replace(center=False, scale=False)))
        belief: Belief = judged.after(0, "prob")
        assert belief.gamma is None
        assert belief.beta is None
        assert flat(judged.truth(0).gamma) == [1, 1, 1]


def test_given_arrays_are_judged_like_drawn_ones() -> None:
    """A case that holds its arrays gives the same evidence as its recipe."""
    drawn: Case = case(train(), Infer(Given.of(np.ones((2, 3), np.float32))))
    for view, held in zip(Judge(run(drawn)).steps("train"), Judge(run(drawn.held)).steps("train"), strict=True):
        assert view.trace.step is not None
        assert held.trace.step is not None
        assert np.array_equal(view.trace.step.y, held.trace.step.y)
