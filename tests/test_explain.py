"""Explaining: a failure is shrunk to a small case that still fails, in time, whatever the implementation does."""

import math
import time
from pathlib import Path

import numpy as np
import pytest

from adapters.interface import Capabilities
from adapters.program import Failure, Program, Trace
from conformance import explain
from conformance.case import Case, Infer, Start, Train, load, save
from conformance.derive import permuted
from conformance.evidence import Evidence, require
from conformance.explain import RESTARTS, judge_case, shrink, size
from conformance.judge import Judge
from conformance.pool import Pool, Pooled, draw
from conformance.requirements import CATALOGUE, Requirement
from conformance.session import Session, SessionError, open_session
from conformance.survey import survey
from tests._commands import invoke
from tests._judged import REFERENCE, SPEC, Fake, case, dies, infer, judged_y, made, train

#: Faults of the zoo, the requirement that they fail, and how large a case may remain: steps, elements per channel.
FAULTS = [
    ("conformance.zoo.statistics:UnbiasedNormalization", "BN-101", 1, 3),
    ("conformance.zoo.epsilon:EpsilonOutsideRoot", "BN-109", 1, 3),
    ("conformance.zoo.moving:CumulativeAverage", "BN-305", 1, 2),
    ("conformance.zoo.parameter_gradients:DgammaFromInput", "BN-402", 1, 4),
]


def failing(pool: Pool, requirement: Requirement, session: Session) -> Pooled:
    """A large case of the pool that fails."""
    found = [p for p in pool.cases if judge_case(requirement, p.case, session) is not None]
    return max(found, key=lambda p: size(p.case))


class Dying(Fake):
    """Dies on every program with a training step, and counts what its restarts cost."""

    def __init__(self, restarts_at: int = 0) -> None:
        super().__init__(self.breaks_training)
        self.started = restarts_at

    @property
    def restarts(self) -> int:
        """How often it died."""
        return self.started

    def breaks_training(self, number: int, program: Program) -> Failure | None:
        """Die in the first training step."""
        if all(call.op != "train" for call in program.calls):
            return None
        self.started += 1
        return Failure("crash", "killed by SIGSEGV", "train")


class TestShrinking:
    """Real faults become small cases."""

    @pytest.mark.parametrize(("target", "id_", "steps", "elements"), FAULTS, ids=[f[0].split(":")[1] for f in FAULTS])
    def test_a_fault_ends_small(self, target: str, id_: str, steps: int, elements: int) -> None:
        """A known fault's large failing case ends at one step with a handful of elements, and still fails."""
        requirement = CATALOGUE[id_]
        pool = draw(requirement.family, 2, 24)
        with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
            start = failing(pool, requirement, session)
            begin = time.monotonic()
            found = shrink(requirement, start, pool.specs, session, 10)
            assert time.monotonic() - begin < 8
            assert found is not None
            assert found.evidence.fails
            assert size(found.case) < size(start.case)
            assert len(found.case.program) <= steps
            x = found.case.expanded.calls[0].x
            assert x is not None
            assert x.size / math.prod(found.case.spec.parameter_shape) <= elements
            again = judge_case(requirement, found.case, session)
            assert again is not None
            assert again.evidence.ratio == found.evidence.ratio

    def test_without_recorded_choices_steps_are_left_out(self) -> None:
        """Where Hypothesis's choices could not be recorded, the case still loses the steps and gradients not needed."""
        wide = case(train(8), infer(4), train(3), infer(2))

        def no_infer_of_four(c: Case, t: Trace, j: Judge) -> Evidence:
            return require(all(call.x is None or len(call.x) != 4 for call in c.expanded.calls), "four")

        requirement = made(no_infer_of_four)
        with open_session(REFERENCE, in_process=True) as session:
            found = shrink(requirement, Pooled(wide, b"", 1), (SPEC,), session, 10)
        assert found is not None
        (step,) = found.case.program
        assert isinstance(step, Infer)
        assert step.dy is None

    def test_fixed_programs_lose_their_steps_too(self) -> None:
        """A case drawn with a program in fixed order shrinks to the one step that matters, choices recorded."""
        pool = draw(7, 1, 60)
        requirement = made(
            lambda c, t, j: require(all(not isinstance(s, Train) for s in c.program), "trains"), "BN-799"
        )
        with open_session(REFERENCE, in_process=True) as session:
            start = max((p for p in pool.cases if judge_case(requirement, p.case, session)), key=lambda p: size(p.case))
            found = shrink(requirement, start, pool.specs, session, 20)
        assert len(start.case.program) >= 5
        assert found is not None
        (step,) = found.case.program
        assert isinstance(step, Train)
        assert step.dy is None
        assert found.case.spec.rank == 2

    def test_damaged_choices_leave_the_case_as_it_was(self) -> None:
        """Choices that cannot be read, or that draw a case which passes, do no harm."""
        small = case(train(2))
        requirement = made(lambda c, t, j: require(c.expanded.calls[0].x is None or len(c.program) != 1, "one"))
        with open_session(REFERENCE, in_process=True) as session:
            for choices in (b"\xff\xff\xff", b"\x00"):
                found = shrink(requirement, Pooled(small, choices, 1), (SPEC,), session, 2)
                assert found is not None
                assert size(found.case) <= size(small)
                assert judge_case(requirement, found.case, session) is not None

    def test_what_does_not_fail_again_is_not_explained(self) -> None:
        """A case that passes when it is run again has no smallest case."""
        with open_session(REFERENCE, in_process=True) as session:
            assert shrink(made(judged_y), Pooled(case(train()), b"", 1), (SPEC,), session, 5) is None

    def test_derived_cases_are_judged_with_it(self) -> None:
        """A requirement on derived cases is judged on them in every attempt."""
        requirement = made(lambda c, t, j: require(len(j.derived) != 1, "derived"), derived=permuted)
        with open_session(REFERENCE, in_process=True) as session:
            found = judge_case(requirement, case(train()), session)
        assert found is not None
        assert found.message == "derived"


class TestBudgets:
    """Shrinking ends in time."""

    def test_time(self) -> None:
        """Shrinking slow programs stops soon after its time is over, with the best case so far."""
        pool = draw(3, 1, 12)
        requirement = made(lambda c, t, j: require(False, "always"), "BN-399")

        class Slow(Fake):
            def run(self, program: Program) -> Trace:
                time.sleep(0.02)
                return super().run(program)

        start = max(pool.cases, key=lambda p: size(p.case))
        begin = time.monotonic()
        found = shrink(requirement, start, pool.specs, Slow(lambda n, p: None), 0.4)
        assert 0.4 < time.monotonic() - begin < 1.5
        assert found is not None
        assert size(found.case) < size(start.case)

    def test_no_time_at_all(self) -> None:
        """Without any time nothing is run."""
        session = Fake(lambda n, p: None)
        assert shrink(made(judged_y), Pooled(case(train()), b"", 1), (SPEC,), session, -1) is None
        assert session.asked == 0

    @pytest.mark.parametrize("before", [0, 7])
    def test_crashes(self, before: int) -> None:
        """Shrinking a crash stops after ten restarts more than there were, and ends smaller than it began."""
        pool = draw(3, 1, 24)
        session = Dying(before)
        start = max(pool.cases, key=lambda p: size(p.case))
        found = shrink(made(judged_y, "BN-399"), start, pool.specs, session, 60)
        assert found is not None
        assert found.message == "crash: killed by SIGSEGV"
        assert size(found.case) < size(start.case)
        assert session.restarts - before <= RESTARTS + 1

    def test_a_host_that_cannot_be_restarted(self) -> None:
        """Where the host cannot be started again, the best case so far is the answer, at once."""
        pool = draw(3, 1, 12)

        class Gone(Fake):
            def run(self, program: Program) -> Trace:
                if self.asked == 3:
                    raise SessionError("no memory")
                return super().run(program)

        session = Gone(dies("error"))
        found = shrink(made(judged_y, "BN-399"), pool.cases[0], pool.specs, session, 60)
        assert found is not None
        assert session.asked == 3

    def test_a_keyboard_interrupt_is_the_users(self) -> None:
        """Ctrl-C during the search ends it, and is not taken for a failure of the implementation."""
        pool = draw(3, 1, 12)

        class Interrupted(Fake):
            def run(self, program: Program) -> Trace:
                if self.asked == 3:
                    raise KeyboardInterrupt
                return super().run(program)

        with pytest.raises(KeyboardInterrupt):
            shrink(made(judged_y, "BN-399"), pool.cases[0], pool.specs, Interrupted(dies("error")), 60)


class TestOneCase:
    """Judging a single case, as shrinking and replaying do."""

    def test_breaks_are_found_where_they_matter(self) -> None:
        """A break in a step that the requirement judges is a failure with its kind; a refusal is none."""
        for kind in ("crash", "timeout", "error"):
            found = judge_case(made(judged_y), case(train()), Fake(dies(kind)))
            assert found is not None
            assert found.message == f"{kind}: {kind} 0"
            assert found.evidence.ratio == math.inf
        assert judge_case(made(judged_y), case(train()), Fake(dies("unsupported"))) is None
        mixed = case(train(), infer())
        assert judge_case(made(judged_y, ops=("train",)), mixed, Fake(dies("error", "infer"))) is None

    def test_what_is_not_declared_is_not_run(self) -> None:
        """A case or requirement outside the declared capabilities is not asked for."""
        wrong = made(lambda c, t, j: require(False, "wrong"), needs="separate_update")
        session = Fake(lambda n, p: None)
        assert judge_case(wrong, case(train()), session) is None
        narrow = Fake(lambda n, p: None, Capabilities(ranks=(5,)))
        assert judge_case(made(lambda c, t, j: require(False, "wrong")), case(train()), narrow) is None
        assert session.asked == narrow.asked == 0

    def test_a_requirement_that_raises_is_reported_as_such(self) -> None:
        """A mistake of a requirement is told as one, and not raised."""
        found = judge_case(made(lambda c, t, j: 1 / 0), case(train()), Fake(lambda n, p: None))  # type: ignore[arg-type,return-value]
        assert found is not None
        assert "the requirement itself raised ZeroDivisionError" in found.message

    def test_size_counts_steps_then_elements_then_gradients(self) -> None:
        """Fewer steps beat fewer elements, which beat fewer gradients, which beat a shorter text."""
        two, wide, plain = case(train(1), train(1)), case(train(50)), case(Train(train(50).x))
        short = Case(plain.spec, (Start(),), plain.program)
        ordered = [short, plain, wide, two]
        assert sorted((wide, two, short, plain), key=size) == ordered


def test_the_survey_and_the_search_agree() -> None:
    """The smallest failing case of a survey fails when it is judged on its own, by the same bound."""
    requirement = CATALOGUE["BN-101"]
    pool = draw(1, 3, 24)
    with open_session("conformance.zoo.statistics:UnbiasedNormalization", in_process=True) as session:
        tally = survey(pool, [requirement], session).tallies["BN-101"]
        assert tally.smallest is not None
        again = judge_case(requirement, tally.smallest.pooled.case, session)
    assert again is not None
    assert again.evidence == tally.smallest.evidence
    assert explain.ATTEMPTS >= 100


class TestShrinkingAgain:
    """A saved case, which holds arrays and no recipe, shrinks too."""

    def test_positions_are_left_out(self) -> None:
        """Positions along the free axes go while the case still fails; the shapes of x and dy stay the same."""
        held = case(train(32)).held
        requirement = made(
            lambda c, t, j: require(all(call.x is None or len(call.x) < 5 for call in c.expanded.calls), "five")
        )
        with open_session(REFERENCE, in_process=True) as session:
            found = shrink(requirement, Pooled(held, b""), (SPEC,), session, 20)
        assert found is not None
        (call,) = found.case.expanded.calls
        assert call.x is not None
        assert len(call.x) == 5

    def test_the_command(self, tmp_path: Path) -> None:
        """``replay --shrink`` saves the smaller case beside the first, which fails the same requirement."""
        large = case(train(40), infer(3), train(2))
        file = tmp_path / "case.json"
        save(large, file, requirement="BN-101", implementation="conformance.zoo.statistics:UnbiasedNormalization")

        done = invoke("replay", file, "--shrink", "--in-process")

        assert done.code == 1
        smaller = tmp_path / "case-smaller.json"
        assert str(smaller) in done.out
        again, id_, _ = load(smaller)
        assert id_ == "BN-101"
        assert size(again) < size(large)
        once_more = invoke("replay", smaller, "--in-process")
        assert once_more.code == 1
        assert "BN-101 fails" in once_more.out
        right = invoke("replay", file, "--shrink", "--in-process", "--implementation", "numpy")
        assert right.code == 0
        assert "smaller" not in right.out
