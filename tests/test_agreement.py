"""Agreement: implementations are compared pairwise, within the sum of their bounds, where they should be equal."""

import math
from typing import Any

import numpy as np
import pytest

from adapters.program import Trace
from conformance.agreement import QUANTITIES, Sample, agreements, sample
from conformance.case import Case
from conformance.judge import Run
from reports.records import Agreement, real
from tests._judged import SPEC, case, infer, run, traced, train, with_step


def table(**runs: Run) -> dict[str, Agreement]:
    """Agreements of the first two runs by quantity."""
    found = agreements({name: sample(of, (1, 0)) for name, of in runs.items()})
    first, second = list(runs)[:2]
    return {a.quantity: a for a in found if (a.first, a.second) == (first, second)}


def spoiled(case: Case, index: int, quantity: str, change: Any) -> Run:
    """A run of the reference with one result changed."""
    trace: Trace = traced(case)
    step = trace.steps[index].step
    assert step is not None
    value = getattr(step, quantity)
    return Run(case, with_step(trace, index, step=step._replace(**{quantity: change(value)})))


class TestSamples:
    """What is kept of a run."""

    def test_every_result_is_sampled_once(self) -> None:
        """A training step gives six results, an inference step four, each under a key of its own."""
        samples = sample(run(case(train(), infer())), (3, 7))
        assert [s.key for s in samples] == [(3, 7, s.key[2], f"float32 {s.quantity}") for s in samples]
        by_step = [[s.quantity for s in samples if s.key[2] == step] for step in (0, 1)]
        assert by_step[0] == ["training y", "dx", "dgamma", "dbeta", "moving_mean", "moving_variance"]
        assert by_step[1] == ["inference y", "dx", "dgamma", "dbeta"]
        assert len({s.key for s in samples}) == 10
        assert {s.quantity for s in samples} == set(QUANTITIES)

    def test_what_is_not_there_is_not_sampled(self) -> None:
        """Without gradients, without gamma, without a state that was read, there is nothing to compare."""
        unread = sample(run(case(train(), spec=SPEC._replace(scale=False), read="end")), (1, 0))
        assert [s.quantity for s in unread] == ["training y", "dx", "dbeta"]


class TestPairs:
    """Two implementations side by side."""

    def test_equal_implementations(self) -> None:
        """An implementation agrees with itself to the bit in every quantity."""
        both = case(train(), infer())
        found = table(mine=run(both), theirs=run(both))
        assert list(found) == list(QUANTITIES)
        assert {a.worst_ratio for a in found.values()} == {0.0}
        assert all(a.compared > 0 and a.by_convention == 0 for a in found.values())
        assert found["training y"].compared == 24

    def test_another_order_of_summation_agrees(self) -> None:
        """Correct implementations that round differently stay below 1."""
        both = case(train(33), infer(33))
        found = table(mine=run(both), theirs=run(both, "conformance.zoo.variants:DoubleInside"))
        ratios = [real(a.worst_ratio) for a in found.values() if a.worst_ratio is not None]
        assert 0 < max(ratios) < 1

    @pytest.mark.parametrize(
        ("target", "quantity"),
        [
            ("conformance.zoo.statistics:UnbiasedNormalization", "training y"),
            ("conformance.zoo.parameter_gradients:DgammaFromInput", "dgamma"),
            ("conformance.zoo.moving:BatchNotWeighted", "moving_variance"),
        ],
    )
    def test_a_faulty_one_disagrees(self, target: str, quantity: str) -> None:
        """A faulty implementation shows far above 1 in the quantity that is wrong."""
        both = case(train(), infer())
        found = table(reference=run(both), faulty=run(both, target))
        ratio = found[quantity].worst_ratio
        assert ratio is not None
        assert real(ratio) > 100

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_not_finite_disagrees(self, value: float) -> None:
        """A NaN or an infinity beside a number is an infinite disagreement; beside its like it is none."""
        both = case(train())
        first = spoiled(both, 0, "y", lambda y: np.where(np.arange(3) == 1, np.float32(value), y))
        found = table(mine=run(both), theirs=first)["training y"]
        assert found.worst_ratio == "inf"
        assert table(mine=first, theirs=first)["training y"].worst_ratio == 0.0

    def test_beyond_the_cheap_bound_the_calibrated_one_counts(self) -> None:
        """A result outside the cheap bound is kept with the calibrated one, which is at least as wide."""
        both = case(train(64))
        within = {s.quantity: s for s in sample(run(both), (1, 0))}
        beyond = {s.quantity: s for s in sample(spoiled(both, 0, "y", lambda y: y + 1), (1, 0))}
        panel = run(both).bounds(0, "panel").y
        assert np.array_equal(beyond["training y"].bound, panel.astype(np.float32))
        assert np.all(beyond["training y"].bound >= within["training y"].bound)

    def test_unbounded_elements_say_nothing(self) -> None:
        """Where one of the two has no bound, no difference counts."""
        key = (1, 0, 0, "dx")
        value, infinite, one = np.ones((1, 1)), np.full((1, 1), np.inf, np.float32), np.ones((1, 1), np.float32)
        samples = {
            "a": [Sample(key, "dx", b"same", value, infinite)],
            "b": [Sample(key, "dx", b"same", value * 100, one)],
            "c": [Sample(key, "dx", b"same", value * 3, one)],
        }
        ratios = {(a.first, a.second): a.worst_ratio for a in agreements(samples) if a.quantity == "dx"}
        assert ratios == {("a", "b"): 0.0, ("a", "c"): 0.0, ("b", "c"): 48.5}

    def test_every_pair_is_compared(self) -> None:
        """Three implementations make three pairs, one none."""
        one = sample(run(case(train())), (1, 0))
        assert {(a.first, a.second) for a in agreements({"a": one, "b": one, "c": one})} == {
            ("a", "b"),
            ("a", "c"),
            ("b", "c"),
        }
        assert agreements({"a": one}) == []

    def test_only_common_cases_are_compared(self) -> None:
        """Results that only one of the two has are left out, and nothing in common is no ratio."""
        one = run(case(train()))
        found = agreements({"a": sample(one, (1, 0)), "b": sample(one, (1, 1)), "c": []})
        assert {(a.compared, a.by_convention, a.worst_ratio) for a in found} == {(0, 0, None)}


class TestConventions:
    """What is not compared."""

    def test_other_estimators(self) -> None:
        """Under other declared conventions the moving variances are not compared, but counted; the rest is."""
        both = case(train())
        theirs = run(both, moving_variance="unbiased")
        found = table(mine=run(both), theirs=theirs)
        assert (found["moving_variance"].compared, found["moving_variance"].by_convention) == (0, 3)
        assert found["moving_variance"].worst_ratio is None
        for quantity in ("training y", "dx", "moving_mean"):
            assert (found[quantity].compared > 0, found[quantity].by_convention) == (True, 0)

    def test_another_effective_epsilon(self) -> None:
        """A floor on epsilon that takes effect leaves out whatever depends on it, and a lower one nothing."""
        both = case(train())
        left_out = {
            floor: [
                q for q, a in table(mine=run(both), theirs=run(both, epsilon_floor=floor)).items() if a.by_convention
            ]
            for floor in (1e-5, 0.5)
        }
        assert left_out == {1e-5: [], 0.5: ["training y", "dx", "dgamma"]}

    def test_states_that_differ_by_rounding(self) -> None:
        """After updates that were rounded differently inference is not compared: each was judged from its own state."""
        both = case(train(33), infer(33))
        found = table(mine=run(both), theirs=run(both, "conformance.zoo.variants:MovingByDifference"))
        assert found["moving_mean"].compared > 0
        assert found["inference y"].by_convention > 0
        assert found["inference y"].compared == 0
