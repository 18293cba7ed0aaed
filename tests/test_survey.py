"""The survey: everything is counted once, whatever the implementation or a requirement does."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adapters.interface import Capabilities, Spec, State
from adapters.program import Failure, Program, Trace
from conformance import derive
from conformance.capability import refusal
from conformance.case import Case, Channel, Drawn, Infer, Start, Train
from conformance.evidence import NOTHING, Evidence, require
from conformance.judge import Judge
from conformance.pool import Pooled, draw
from conformance.requirements import CATALOGUE
from conformance.rewrite import asked
from conformance.session import InProcessSession, Session, open_session
from conformance.survey import (
    CRASHES_PER_FAMILY,
    SAMPLED_CASES,
    TIMEOUTS_PER_FAMILY,
    examine,
    execute,
    judge_example,
    relevant_failure,
    survey,
)
from conformance.tally import Tally
from tests._judged import REFERENCE, SPEC, Fake, case, dies, infer, judged_y, made, pool_of, run, train

PARTS = ("passed", "failing", "not_applicable", "unsupported", "broken", "vacuous")


@pytest.fixture
def reference() -> Iterator[Session]:
    """A session on the reference."""
    with open_session(REFERENCE, in_process=True) as session:
        yield session


def total(tally: Tally) -> int:
    """The sum of what a tally's examples came to."""
    return sum(getattr(tally, part) for part in PARTS)


class TestTallies:
    """What is counted."""

    @pytest.mark.parametrize("family", [1, 2, 7])
    def test_they_add_up(self, family: int, reference: Session) -> None:
        """Each case comes to exactly one thing for each requirement, and each judged one is in the histogram."""
        pool = draw(family, 4, 20)
        requirements = [r for r in CATALOGUE.values() if r.family == family]
        found = survey(pool, requirements, reference)
        assert set(found.tallies) == {r.id for r in requirements}
        for tally in found.tallies.values():
            assert tally.total == total(tally) == 20
            in_cells = sum(tally.counts.values())
            assert in_cells + tally.exact + tally.nonfinite == tally.passed + tally.failing
            assert tally.evidence <= tally.passed + tally.failing
            assert sum(tally.histogram().counts) == in_cells
            assert tally.examples().total == 20
        assert found.stopped == {}
        assert found.accounts.cases >= 20
        assert found.accounts.checks == 20 * len([r for r in requirements if r.needs != "separate_update"])

    def test_each_way_to_come_out(self, reference: Session) -> None:
        """Passing, failing, vacuous, inapplicable and undeclared examples are told apart."""
        answers = {
            "BN-191": require(True, ""),
            "BN-192": require(False, "wrong"),
            "BN-193": Evidence(unbounded=3),
            "BN-194": NOTHING,
        }
        requirements = [made(lambda c, t, j, e=e: e, id_) for id_, e in answers.items()]  # type: ignore[misc]
        requirements.append(made(judged_y, "BN-195", needs="separate_update"))
        found = survey(pool_of(case(train())), requirements, reference).tallies
        counted = {id_: next(part for part in PARTS if getattr(tally, part)) for id_, tally in found.items()}
        assert list(counted.values()) == ["passed", "failing", "vacuous", "not_applicable", "unsupported"]
        assert found["BN-192"].nonfinite == 1
        assert found["BN-192"].worst is found["BN-192"].smallest
        assert found["BN-191"].exact == 1

    def test_the_worst_and_the_smallest_are_kept(self, reference: Session) -> None:
        """Of the failing examples the one with the largest ratio and the one of fewest steps and elements are kept."""
        ratios = {8: 3.0, 2: 2.0, 5: 9.0, 30: 0.5}

        def check(case: Case, trace: Trace, judge: Judge) -> Evidence:
            x = judge.run.program.calls[0].x
            assert x is not None
            return Evidence(ratios[len(x)], 1, 0, 1)

        cases = [case(train(m)) for m in ratios]
        tally = survey(pool_of(*cases), [made(check)], reference).tallies["BN-199"]
        assert (tally.passed, tally.failing) == (1, 3)
        assert tally.worst is not None
        assert tally.smallest is not None
        assert (tally.worst.evidence.ratio, tally.worst.pooled.case) == (9.0, cases[2])
        assert tally.smallest.pooled.case == cases[1]
        assert tally.counts == {1: 2, 3: 1, -1: 1}

    @pytest.mark.parametrize("target", [REFERENCE, "conformance.zoo.statistics:UnbiasedNormalization"])
    def test_parts_merge_to_the_whole(self, target: str) -> None:
        """Two surveys of half the cases each, merged, come to what one survey of all comes to."""
        pool = draw(1, 4, 20)
        requirements = [r for r in CATALOGUE.values() if r.family == 1]
        with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
            parts = pool._replace(cases=pool.cases[:11]), pool._replace(cases=pool.cases[11:])
            merged, rest, whole = (survey(part, requirements, session) for part in (*parts, pool))
        merged.merge(rest)
        for id_, tally in whole.tallies.items():
            found = merged.tallies[id_]
            assert found.examples() == tally.examples()
            assert found.histogram() == tally.histogram()
            assert (found.worst and found.worst.ratio) == (tally.worst and tally.worst.ratio)
            assert (found.smallest and found.smallest.size) == (tally.smallest and tally.smallest.size)
        assert merged.conventions == whole.conventions
        assert (merged.accounts.cases, merged.accounts.checks) == (whole.accounts.cases, whole.accounts.checks)

    def test_the_smallest_of_merged_breaks_is_kept(self) -> None:
        """Of two surveys that broke, the merged one keeps the smaller case, whichever came first."""
        small, large = (survey(pool_of(case(train(m))), [made(judged_y)], Fake(dies("error"))) for m in (2, 9))
        for first, second in ((small, large), (large, small)):
            merged = survey(pool_of(), [made(judged_y)], Fake(dies("error")))
            merged.merge(first)
            merged.merge(second)
            tally = merged.tallies["BN-199"]
            assert tally.broken == 2
            assert tally.broken_case == small.tallies["BN-199"].broken_case

    def test_ratios_beyond_the_histogram_are_in_its_last_cells(self) -> None:
        """However small or large a finite ratio is, it has a cell; zero and infinity are counted apart."""
        tally = Tally(made(judged_y))
        for ratio in (1e-300, 1e300, 0.0, math.inf, 0.75, 1.0):
            tally.add(Pooled(case(train()), b""), Evidence(ratio, 1), "prob")
        assert tally.counts == {-24: 1, 24: 1, -1: 1, 0: 1}
        assert (tally.exact, tally.nonfinite, tally.passed, tally.failing) == (1, 1, 4, 2)
        assert len(tally.histogram().counts) == 49

    def test_layouts_of_derived_cases_count(self) -> None:
        """A failure that only a derived case's layout shows is none on plain memory."""
        images = Spec((None, 3, None, None), (1,), 1e-3, 0.9)
        plain = Case(images, (Start(),), (Infer(Drawn((2, 4, 5), (Channel("normal"),))),))
        with open_session("conformance.zoo.laid_out:ChannelsLastInferredAsFirst", in_process=True) as session:
            tally = survey(pool_of(plain)._replace(family=6), [CATALOGUE["BN-601"]], session).tallies["BN-601"]
        assert (tally.failing, tally.plain) == (1, 0)

    def test_samples_are_kept_of_the_first_cases(self, reference: Session) -> None:
        """Results to compare with other implementations are kept of so many cases, and of complete runs only."""
        cases = [case(train(seed=seed)) for seed in range(SAMPLED_CASES + 2)]
        found = survey(pool_of(*cases), [made(judged_y)], reference)
        assert {sample.key[:2] for sample in found.samples} == {(1, index) for index in range(SAMPLED_CASES)}
        broken = survey(pool_of(*cases[:2]), [made(judged_y)], Fake(dies("error")))
        assert broken.samples == []

    def test_conventions_and_progress(self, reference: Session) -> None:
        """The conventions that were declared are gathered, and progress is told of every case."""
        seen: list[int] = []
        found = survey(pool_of(case(train()), case(infer())), [made(judged_y)], reference, progress=seen.append)
        assert len(found.conventions) == 1
        assert seen == [1, 1]


class TestBroken:
    """Implementations and requirements that go wrong."""

    def test_a_requirement_that_raises_costs_its_example_only(self, reference: Session) -> None:
        """A mistake in a requirement is an error that names it as such; the other requirements are judged."""

        def raises(case: Case, trace: Trace, judge: Judge) -> Evidence:
            raise KeyError("no such thing")

        found = survey(pool_of(case(train()), case(infer())), [made(raises, "BN-191"), made(judged_y)], reference)
        wrong, right = found.tallies["BN-191"], found.tallies["BN-199"]
        assert (wrong.broken, right.passed) == (2, 2)
        assert wrong.failure is not None
        assert wrong.failure.kind == "error"
        assert wrong.failure.message == "the requirement itself raised KeyError: 'no such thing'"

    def test_a_program_that_breaks_concerns_who_judges_that_step(self) -> None:
        """A program that breaks in inference is an error for requirements on inference, not for those on training."""
        mixed = case(train(), infer())
        session = Fake(dies("error", "infer"))
        requirements = [made(judged_y, "BN-191", ("train",)), made(judged_y, "BN-192", ("infer",))]
        found = survey(pool_of(mixed), requirements, session).tallies
        assert (found["BN-191"].passed, found["BN-191"].broken) == (1, 0)
        assert (found["BN-192"].passed, found["BN-192"].broken) == (0, 1)
        assert found["BN-192"].broken_case == Pooled(mixed, b"")

    def test_what_breaks_while_building_concerns_everybody(self) -> None:
        """Where not even the layer can be built, every requirement has something to lose."""
        for method in ("build", "conventions", "state", ""):
            trace = Trace(None, (), (), failure=Failure("error", "no", method))
            broken = run(case(train()))
            broken.trace = trace
            assert relevant_failure(made(judged_y, ops=("infer",)), [broken]) == trace.failure

    def test_refusals_are_counted_by_reason(self) -> None:
        """What an adapter refuses is unsupported, with the reasons and how often each was given."""
        session = Fake(lambda n, p: Failure("unsupported", "odd" if n % 2 else "even", "build"))
        found = survey(pool_of(*[case(train(seed=s)) for s in range(3)]), [made(judged_y)], session).tallies["BN-199"]
        assert (found.unsupported, found.broken) == (3, 0)
        assert found.refusals == {"even": 2, "odd": 1}

    def test_a_failure_before_the_break_is_a_failure(self) -> None:
        """What was wrong before a program broke counts as a failure, not as the break."""

        def wrong(case: Case, trace: Trace, judge: Judge) -> Evidence:
            return require(not trace.steps, "wrong")

        found = survey(pool_of(case(train(), infer())), [made(wrong)], Fake(dies("error", "infer"))).tallies["BN-199"]
        assert (found.failing, found.broken) == (1, 0)

    def test_the_smallest_broken_case_is_kept(self) -> None:
        """Of the cases that broke, the one of fewest steps and elements is kept with its failure."""
        cases = [case(train(9)), case(train(3)), case(train(5))]
        found = survey(pool_of(*cases), [made(judged_y)], Fake(dies("error"))).tallies["BN-199"]
        assert found.broken_case == Pooled(cases[1], b"")
        assert found.failure is not None
        assert found.failure.message == "error 1"

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_no_result_upsets_a_requirement(self, value: float) -> None:
        """Where every number that comes back is not finite, requirements fail or say nothing, but none raises."""

        class Spoiled(InProcessSession):
            def run(self, program: Program) -> Trace:
                trace = super().run(program)
                steps = []
                for s in trace.steps:
                    step = s.step
                    if step is not None:
                        step = step._replace(
                            **{n: np.full_like(a, value) for n, a in step._asdict().items() if a is not None}
                        )
                    state = s.state
                    if state is not None:
                        gamma, beta, mean, variance = (None if a is None else np.full_like(a, value) for a in state[:4])
                        state = State(gamma, beta, mean, variance)
                    steps.append(s._replace(step=step, state=state))
                return trace._replace(steps=tuple(steps))

        for family in (1, 2, 3, 4, 7):
            requirements = [r for r in CATALOGUE.values() if r.family == family]
            found = survey(draw(family, 4, 8), requirements, Spoiled(REFERENCE, ()))
            assert [t.failure for t in found.tallies.values() if t.failure] == []
            assert any(t.failing for t in found.tallies.values())


class TestBudgets:
    """How long a survey goes on."""

    def test_it_stops_at_the_first_failure_if_asked(self, reference: Session) -> None:
        """A failure of a requirement named in stop_at ends the survey and is said to; others do not."""
        cases = [case(train(seed=s)) for s in range(4)]
        wrong = made(lambda c, t, j: require(False, "wrong"), "BN-191")
        right = made(judged_y)
        stopped = survey(pool_of(*cases), [wrong, right], reference, stop_at=frozenset({"BN-191"}))
        assert stopped.stopped == {1: "stopped at the first failure"}
        assert [t.total for t in stopped.tallies.values()] == [1, 1]
        whole = survey(pool_of(*cases), [wrong, right], reference, stop_at=frozenset({"BN-199"}))
        assert (whole.stopped, whole.tallies["BN-191"].total) == ({}, 4)

    @pytest.mark.parametrize(
        ("kind", "limit", "word"), [("crash", CRASHES_PER_FAMILY, "died"), ("timeout", TIMEOUTS_PER_FAMILY, "hung")]
    )
    def test_dying_hosts_are_given_up(self, kind: str, limit: int, word: str) -> None:
        """After so many crashes or timeouts the family's remaining cases are not run, and the reason says so."""
        session = Fake(dies(kind))
        cases = [case(train(seed=s)) for s in range(20)]
        found = survey(pool_of(*cases), [made(judged_y)], session)
        assert found.stopped == {1: f"its host {word} {limit} times"}
        assert session.asked == limit
        assert found.tallies["BN-199"].broken == limit

    def test_errors_are_not_given_up(self) -> None:
        """An exception costs no restart: all cases are run."""
        session = Fake(dies("error"))
        found = survey(pool_of(*[case(train(seed=s)) for s in range(20)]), [made(judged_y)], session)
        assert (found.stopped, session.asked) == ({}, 20)

    @pytest.mark.parametrize("kind", ["crash", "timeout"])
    def test_a_case_that_kills_is_not_varied(self, kind: str) -> None:
        """Where a case killed its host, the cases derived from it are left alone."""
        session = Fake(lambda n, p: Failure(kind, kind, "train") if n == 0 else None)
        derived = [derive.shifted, derive.scaled, derive.permuted]
        requirements = [made(judged_y, f"BN-19{n}", derived=d) for n, d in enumerate(derived)]
        found = survey(pool_of(case(train())), requirements, session)
        assert session.asked == 1
        assert [t.broken for t in found.tallies.values()] == [1, 1, 1]

    def test_derived_cases_that_kill_count(self) -> None:
        """A derived case that kills is an error of its requirement and is counted; its siblings are not run."""
        session = Fake(lambda n, p: Failure("timeout", "hung", "train") if n else None)
        derived = [derive.shifted, derive.scaled, derive.permuted, derive.other_moving]
        requirements = [made(judged_y, f"BN-19{n}", derived=d) for n, d in enumerate(derived)]
        found = survey(pool_of(case(train()), case(infer())), [*requirements, made(judged_y)], session)
        tallies = found.tallies.values()
        assert found.stopped == {1: "its host hung 2 times"}
        assert session.asked == 1 + TIMEOUTS_PER_FAMILY
        assert [t.broken for t in tallies] == [1, 1, 0, 0, 0]
        assert [t.total for t in tallies] == [total(t) for t in tallies] == [1] * 5

    def test_derived_cases_are_run_once(self, reference: Session) -> None:
        """Requirements that derive the same cases share their runs."""
        session = Fake(lambda n, p: None)
        requirements = [made(judged_y, f"BN-19{n}", derived=derive.shifted) for n in range(3)]
        survey(pool_of(case(train())), requirements, session)
        assert session.asked == 3


class TestCapabilities:
    """What is not asked for."""

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"ranks": (4,)}, "declares no rank 2"),
            ({"axes": "second"}, ""),
            ({"axes": "last"}, ""),
            ({"dtypes": ("float16",)}, "declares no float32"),
            ({"flags": False}, ""),
        ],
    )
    def test_by_the_spec(self, changes: dict[str, Any], reason: str) -> None:
        """A spec outside the declared ranks, axes, types and flags is refused with the reason."""
        assert refusal(SPEC, Capabilities()._replace(**changes)) == reason

    def test_axes_and_flags(self) -> None:
        """Axes count by where they are, not by how they are written; flags only where one is off."""
        last = Spec((None, None, 3), (-1,), 1e-3, 0.5, scale=False)
        assert refusal(last, Capabilities(axes="last")) == ""
        assert refusal(last._replace(axis=(2,)), Capabilities(axes="last")) == ""
        assert refusal(last, Capabilities(axes="second")) == "declares axes 'second' only"
        assert refusal(last, Capabilities(flags=False)) == "declares no center=False and scale=False"
        several = Spec((None, 2, 3), (1, 2), 1e-3, 0.5)
        assert refusal(several, Capabilities(axes="single")) == "declares axes 'single' only"
        assert refusal(several, Capabilities(axes="several")) == ""

    def test_refused_cases_are_not_run(self) -> None:
        """A case that is declared unsupported is counted so, with the reason, and never sent."""
        session = Fake(lambda n, p: None, Capabilities(ranks=(4,)))
        found = survey(pool_of(case(train())), [made(judged_y)], session).tallies["BN-199"]
        assert session.asked == 0
        assert found.refusals == {"declares no rank 2": 1}
        assert (found.total, found.unsupported) == (1, 1)

    def test_gradients_that_are_not_declared_are_not_asked_for(self) -> None:
        """The case goes without the upstream gradients of the kind of step that has none."""
        mixed = case(train(), infer())
        for training, inference in ((True, False), (False, True), (True, True)):
            capabilities = Capabilities(training_gradients=training, inference_gradients=inference)
            given = asked(mixed, capabilities)
            steps = [s for s in given.program if isinstance(s, Train | Infer)]
            assert [s.dy is not None for s in steps] == [training, inference]
            assert given.starts == (mixed if training and inference else mixed.held).starts


class TestDecision:
    """Which bound decides."""

    @pytest.mark.parametrize(
        ("failing", "decided", "fails"),
        [
            ((), "prob", False),
            (("prob",), "panel", False),
            (("prob", "panel"), "panel", True),
            (("prob", "panel", "worst"), "worst", True),
        ],
    )
    def test_the_dear_bound_is_asked_only_between_the_cheap_ones(
        self, failing: tuple[str, ...], decided: str, fails: bool
    ) -> None:
        """Within the cheap bound a case passes, beyond the proven one it fails; between them the dear one decides."""
        asked_for: Counter[str] = Counter()

        def check(case: Case, trace: Trace, judge: Judge) -> Evidence:
            asked_for[judge.kind] += 1
            return judge.compare(
                "y", np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), 0.5 if judge.kind in failing else 2.0),
                judge.run.views[0],
            )  # fmt: skip

        evidence, by = examine(made(check), run(case(train())), ())
        assert (by, evidence.fails) == (decided, fails)
        assert asked_for["panel"] == (decided == "panel")

    def test_claims_without_tolerance_need_no_bound(self) -> None:
        """A violated claim on bits is decided at once."""
        assert examine(made(lambda c, t, j: require(False, "no", "y")), run(case(train())), ())[1] == "exact"
        assert examine(made(lambda c, t, j: require(False, "no")), run(case(train())), ())[1] == "exact"

    def test_incomplete_derived_runs_are_not_judged(self) -> None:
        """Where a derived run broke, the requirement is not asked, and the break counts."""
        whole = run(case(train()))
        broken = execute(case(train()), Fake(dies("error")))
        evidence, _, failure = judge_example(made(judged_y), whole, (broken,))
        assert evidence is NOTHING
        assert failure is broken.trace.failure


def test_a_worst_ratio_is_taken_from_the_calibrated_bound() -> None:
    """Sums of a constant round the same way again and again: near the cheap bound, they are far from the other one."""
    constant = case(Train(Drawn((432,), (Channel("constant", 1.375, 1 / 3),), 4)))
    with open_session("conformance.zoo.orders:SumsInOrder", in_process=True) as session:
        judged = survey(pool_of(constant), [CATALOGUE["BN-101"]], session).tallies["BN-101"]
        found = execute(constant, session)
    cheap = CATALOGUE["BN-101"].check(constant, found.trace, Judge(found)).ratio
    assert 0.75 < cheap <= 1
    assert judged.worst is not None
    assert judged.worst.decided_by == "panel"
    assert judged.worst.ratio < 0.6 * cheap
    assert judged.passed == 1
