"""The strategies draw what the suite needs: every kind of spec and data, in shares that let faults show."""

import itertools
import math
from collections import Counter
from functools import cache

import numpy as np
import pytest

from adapters.interface import Array, Spec
from conformance import _data
from conformance.case import Case, Channel, Drawn, GetState, Gradient, Infer, SetState, Start, Train
from conformance.families import FAMILIES
from conformance.judge import Judge, Run
from conformance.oracle import to_channels
from conformance.pool import draw
from conformance.session import open_session
from conformance.specs import DECAYS, DECAYS_OF, EPSILONS, EPSILONS_OF, spec_pool, strata
from conformance.strategies import GRADIENTS, MILD_PATTERNS, PARAMETERS
from tests._judged import REFERENCE

#: The families that draw the usual data; the others climb ladders.
USUAL = [number for number, family in FAMILIES.items() if not family.ladders]
SEEDS = range(12)
COUNT = 96
LARGE_SCALES = {2.0**exponent for exponent in (8, -8, 24, -24, 50, -50)}


@cache
def cases(family: int, seed: int = 1) -> tuple[Case, ...]:
    """A family's cases."""
    return tuple(pooled.case for pooled in draw(family, seed, COUNT).cases)


def inputs(case: Case) -> list[Drawn]:
    """The recipes of a case's inputs."""
    return [s.x for s in case.program if isinstance(s, Train | Infer) and isinstance(s.x, Drawn)]


def is_adversarial(case: Case) -> bool:
    """Whether any channel of a case is beyond the mild ones."""
    channels = [channel for x in inputs(case) for channel in x.channels]
    hard = ("outlier", "ulp", "heavy")
    return any(c.pattern in hard or abs(c.offset) > 2 or c.spread in LARGE_SCALES - {0.125, 8.0} for c in channels)


def rows_of(channel: Channel, m: int) -> Array:
    """Five channels of a recipe as (5, m)."""
    spec = Spec((None, 5), (-1,), 1e-3, 0.9)
    return to_channels(_data.expand_input(Drawn((m,), (channel,), 3), spec), spec)


class TestSpecs:
    """The pool of specs."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_each_family_has_every_value(self, family: int) -> None:
        """Whatever the seed: every rank, epsilon and decay (0 and 1 too), axes counted from both ends, flags off."""
        for seed in SEEDS:
            pool = spec_pool(family, seed)
            assert len(pool) == 24
            assert len(set(pool)) >= 22
            variety = FAMILIES[family].variety
            assert {spec.rank for spec in pool} == {2, 3, 4, 5, *variety.rare_ranks}
            assert {spec.epsilon for spec in pool} == set(EPSILONS_OF.get(family, EPSILONS))
            assert {spec.decay for spec in pool} == set(DECAYS_OF.get(family, DECAYS))
            # Of another type there may be one spec alone, which must show what moves.
            assert all(spec.decay < 1 for spec in pool if spec.dtype != "float32")
            assert {spec.axis[0] < 0 for spec in pool} == {True, False}
            assert {spec.center for spec in pool} == {spec.scale for spec in pool} == {True, False}

    def test_all_families_have_every_axis_and_flag(self) -> None:
        """Over the families of one run every axis of every rank is the channels', and all flags are combined."""
        every = {(rank, axis) for rank in (2, 3, 4, 5) for axis in range(rank)}
        for seed in SEEDS:
            specs = [spec for family in FAMILIES for spec in spec_pool(family, seed)]
            assert {(spec.rank, spec.channel_axes[0]) for spec in specs if len(spec.axis) == 1} >= every
            assert len({(spec.center, spec.scale) for spec in specs}) == 4
            assert any(len(spec.axis) > 1 for spec in specs)

    def test_one_and_many_channels(self) -> None:
        """Over the families of one run a single channel occurs, and more than any vector register holds."""
        for seed in SEEDS:
            channels = {math.prod(spec.parameter_shape) for f in FAMILIES for spec in spec_pool(f, seed)}
            assert 1 in channels
            assert max(channels) >= 17

    def test_some_extents_are_known(self) -> None:
        """In every family some specs know the extents of all axes but one, and the inputs drawn on them have those."""
        for family in FAMILIES:
            specs = [spec for spec in spec_pool(family, 3) if spec.rank > 2 and spec.shape.count(None) == 1]
            assert len([spec for spec in specs if len(spec.axis) == 1]) >= 2

        pool = draw(1, 3, 60)
        drawn = [(pooled.case.spec, x) for pooled in pool.cases for x in inputs(pooled.case)]
        assert any(spec.rank > 2 and spec.shape.count(None) == 1 for spec, _ in drawn)
        for spec, x in drawn:
            known = [spec.shape[axis] for axis in spec.reduction_axes]
            assert all(extent in (None, size) for extent, size in zip(known, x.sizes, strict=True))

    def test_simple_specs_come_first(self) -> None:
        """Specs are in ascending order of rank, and those of few channels come first, so that shrinking ends there."""
        pool = spec_pool(1, 3)
        assert [spec.rank for spec in pool] == sorted(spec.rank for spec in pool)
        assert math.prod(pool[0].parameter_shape) <= 4

    def test_the_seed_decides(self) -> None:
        """The same seed gives the same pool; another seed or family another."""
        assert spec_pool(1, 3) == spec_pool(1, 3)
        assert len({spec_pool(1, 3), spec_pool(1, 4), spec_pool(2, 3)}) == 3


class TestShares:
    """How often what is drawn."""

    @pytest.mark.parametrize("count", [24, 60, 200])
    def test_strata_are_even(self, count: int) -> None:
        """No spec comes more than twice as often as another, one case in four is adversarial, and some have m = 1."""
        spread = strata(spec_pool(1, 5), count, 5)
        assert sum(spread.values()) == count
        by_spec = Counter(dict.fromkeys(spec_pool(1, 5), 0))
        for stratum, n in spread.items():
            by_spec[stratum.spec] += n
        assert max(by_spec.values()) <= 2 * min(by_spec.values())
        adversarial = sum(n for stratum, n in spread.items() if stratum.adversarial)
        assert abs(adversarial - count / 4) <= 4
        extents = Counter(dict.fromkeys(("free", "as channels", "one"), 0))
        for stratum, n in spread.items():
            extents[stratum.extents] += n
        assert count / 20 <= extents["one"] <= count / 6
        assert extents["as channels"] >= count / 12

    @pytest.mark.parametrize("family", USUAL)
    def test_one_in_four_is_adversarial(self, family: int) -> None:
        """About one drawn case in four has a channel that is beyond the mild ones."""
        with_inputs = [case for case in cases(family) if inputs(case)]
        assert 0.15 < sum(map(is_adversarial, with_inputs)) / len(with_inputs) < 0.35

    def test_one_in_four_is_read_at_the_end_only(self) -> None:
        """Over all families about one case in four reads no state before the end, and no family has none."""
        shares = [sum(case.read == "end" for case in cases(family)) / COUNT for family in FAMILIES]
        assert min(shares) > 0.1
        assert 0.18 < sum(shares) / len(shares) < 0.38

    @pytest.mark.parametrize("family", FAMILIES)
    def test_single_elements_and_channels_occur(self, family: int) -> None:
        """Every family has inputs of one element per channel, and of more than a hundred."""
        sizes = [math.prod(x.sizes) for case in cases(family) for x in inputs(case)]
        assert 0.04 < sizes.count(1) / len(sizes) < 0.3
        assert max(sizes) > 100

    @pytest.mark.parametrize("family", FAMILIES)
    def test_batches_as_long_as_there_are_channels(self, family: int) -> None:
        """Inputs occur in which another extent equals the channels', where confused axes keep their shape.

        How many depends on the channels of a pool's specs, so that there are several pools.
        """
        square = [
            case
            for seed in (1, 2, 3)
            for case in cases(family, seed)
            for x in inputs(case)
            if len(case.spec.axis) == 1 and case.spec.parameter_shape[0] in x.sizes and case.spec.parameter_shape[0] > 1
        ]
        assert len(square) > 3 * COUNT / 20

    @pytest.mark.parametrize("family", FAMILIES)
    def test_programs(self, family: int) -> None:
        """Programs of every length occur, and single operations where the family has no fixed order."""
        lengths = Counter(len(case.program) for case in cases(family))
        assert set(range(1, FAMILIES[family].longest + 1)) <= set(lengths)
        kinds = {type(step) for case in cases(family) for step in case.program}
        assert kinds >= {Train, Infer}
        if family in {2, 7}:
            assert kinds >= {SetState, GetState}
        starts = {len(case.starts) for case in cases(family)}
        assert starts == ({2, 3} if family == 7 else {FAMILIES[family].layers})

    def test_training_comes_first_where_it_must(self) -> None:
        """Families on training begin with it."""
        for family in (1, 3):
            assert all(isinstance(case.program[0], Train) for case in cases(family))

    def test_two_layers_are_both_used(self) -> None:
        """In the family of several layers, programs act on the second too, and half are repeated."""
        layers = [{step.layer for step in case.program} for case in cases(7)]
        assert sum(used == {0, 1} for used in layers) > COUNT / 5
        assert 0.3 < sum(case.repeat for case in cases(7)) / COUNT < 0.7
        assert not any(case.repeat for case in cases(1))

    def test_gradients(self) -> None:
        """The family of gradients nearly always asks for them, the others half the time, constants nearly never."""
        for family, least, most in ((4, 0.75, 0.95), (1, 0.35, 0.65), (3, 0.35, 0.65)):
            steps = [
                s
                for case in cases(family)
                for s in case.program
                if isinstance(s, Train | Infer) and s.tape < 0 and (not isinstance(s, Train) or s.times == 1)
            ]
            assert least < sum(s.dy is not None for s in steps) / len(steps) < most
        patterns = Counter(
            s.dy.pattern
            for case in cases(4)
            for s in case.program
            if isinstance(s, Train | Infer) and isinstance(s.dy, Gradient)
        )
        assert set(patterns) == set(GRADIENTS)
        assert patterns["normal"] == max(patterns.values())
        assert sum(patterns[p] for p in ("ones", "zeros", "input")) < 0.35 * patterns.total()

    def test_states(self) -> None:
        """Every kind of gamma, beta and moving statistics occurs; states that are set leave some parameters alone."""
        for name in Start.__struct_fields__[:4]:
            drawn = Counter(getattr(case.starts[0], name) for case in cases(2))
            assert set(drawn) == (set(PARAMETERS) if name in ("gamma", "beta") else {"plain", "random", "near"})
            assert drawn["plain"] > COUNT / 10
        was_set = [s.state for case in cases(7) for s in case.program if isinstance(s, SetState)]
        assert {getattr(state, name) is None for state in was_set for name in ("gamma", "moving_mean")} == {True, False}

    def test_inputs_change_from_step_to_step(self) -> None:
        """Within programs, inputs of the same sizes, of new sizes and the very same input all occur."""
        relations: Counter[str] = Counter()
        for case in cases(3):
            drawn = inputs(case)
            for before, after in itertools.pairwise(drawn):
                relations["same" if before is after else "sizes" if before.sizes == after.sizes else "new"] += 1
        assert min(relations[kind] for kind in ("same", "sizes", "new")) > 20


class TestConditioning:
    """The suite's own health: its data can show faults."""

    @pytest.mark.parametrize("grades", [("A", "S"), ("C", "F")], ids="".join)
    def test_mild_channels_are_well_conditioned(self, grades: tuple[str, str]) -> None:
        """In four of five mild channels the bound of y is narrower than y varies, in training and in inference.

        Steps count alike, whatever their number of channels.
        """
        shares: dict[str, list[float]] = {"train": [], "infer": []}
        with open_session(REFERENCE, in_process=True) as session, np.errstate(all="ignore"):
            for family in USUAL:
                for case in cases(family):
                    if is_adversarial(case) or any(math.prod(x.sizes) == 1 for x in inputs(case)):
                        continue
                    trace = session.run(case.expanded)
                    assert trace.conventions is not None
                    declared = trace.conventions._replace(variance_grade=grades[0], affine_grade=grades[1])
                    judge = Judge(Run(case, trace._replace(conventions=declared)))
                    for view in judge.steps("train", "infer"):
                        informative = judge.against_truth(view, "y").informative
                        shares[view.call.op].append(informative / math.prod(case.spec.parameter_shape))
        for share in shares.values():
            assert len(share) > 150
            assert sum(share) / len(share) >= 0.8

    def test_the_adversarial_ones_are_hard(self) -> None:
        """Among the adversarial channels, offsets reach a million spreads, and scales both ends."""
        channels = [c for family in USUAL for case in cases(family) for x in inputs(case) for c in x.channels]
        assert max(abs(c.offset) for c in channels) >= 1e6
        assert max(c.spread for c in channels) == 2.0**50
        assert min(c.spread for c in channels) == 2.0**-96
        assert {c.pattern for c in channels} >= {"ulp", "outlier", "heavy", "constant"}

    def test_every_number_is_finite(self) -> None:
        """No drawn input, gradient or state overflows its element type, and no variance is negative."""
        for family in USUAL:
            for case in cases(family):
                program = case.expanded
                arrays = [a for call in program.calls for a in (call.x, call.dy)]
                arrays += [a for state in program.states for a in state[:4]]
                assert all(np.isfinite(a).all() for a in arrays if a is not None)
                assert all(np.all(np.asarray(state.moving_variance) > 0) for state in program.states)

    def test_cases_stay_small(self) -> None:
        """No input is so large that a run of hundreds of cases would take long, and most are far smaller."""
        elements = sorted(call.x.size for c in cases(1) for call in c.expanded.calls if call.x is not None)
        assert elements[-1] < 100_000
        assert elements[len(elements) // 2] < 1000


class TestExactData:
    """Data whose mean is exact in any order of summation."""

    @pytest.mark.parametrize("m", [1, 2, 3, 17, 64, 100, 4097])
    @pytest.mark.parametrize("spread", [1.0, 8.0, 0.125, math.sqrt(1e-3), 3 * math.sqrt(1e-5), 1e-6 / 3])
    def test_any_order_gives_the_same_sums(self, m: int, spread: float) -> None:
        """In float32, sums of x and of (x − mean)² are the same in every order, and the mean is the offset exactly."""
        for offset in (0.0, -2.0, 1.375):
            x = rows_of(Channel("exact", offset, spread), m)
            assert x.dtype == np.float32
            true = x.astype(np.float64)
            rng = np.random.default_rng(m)
            for order in (np.arange(m), np.arange(m)[::-1], rng.permutation(m), np.argsort(np.abs(x[0]))):
                total = np.cumsum(x[:, order], axis=1, dtype=np.float32)[:, -1]
                assert np.array_equal(total, true.sum(axis=1))
                mean = total / np.float32(m)
                assert np.array_equal(mean, true.mean(axis=1))
                squares = np.cumsum(np.square(x - mean[:, None])[:, order], axis=1, dtype=np.float32)[:, -1]
                assert np.array_equal(squares, np.square(true - true.mean(axis=1, keepdims=True)).sum(axis=1))

    def test_spreads_stay_near_what_was_asked_for(self) -> None:
        """A spread is rounded to the nearest power of two: the variance is within a factor of two of the usual one."""
        wanted = rows_of(Channel("exact", 0.0, 1.0), 1000).var()
        for spread in (0.3, 1.4, 3.0, 1e-6):
            assert 0.49 < rows_of(Channel("exact", 0.0, spread), 1000).var() / (wanted * spread**2) < 2.01

    def test_they_are_drawn(self) -> None:
        """Exact data are among the mild patterns, and first, since they shrink readably."""
        assert MILD_PATTERNS[0] == "exact"
        assert Channel().pattern == "exact"


class TestPatterns:
    """Each pattern is what its name says."""

    def test_constant(self) -> None:
        """Constant channels do not vary."""
        x = rows_of(Channel("constant", 3.0, 0.1), 50)
        assert np.all(x == x[:, :1])
        assert np.all(np.abs(x - 0.3) < 1e-7)

    def test_outlier(self) -> None:
        """One element in each channel is far from the rest."""
        distance = np.sort(np.abs(rows_of(Channel("outlier"), 100)), axis=1)
        assert np.all(distance[:, -1] >= 10)
        assert np.all(distance[:, -2] < 6)

    def test_ulp(self) -> None:
        """Rounding noise: within a few last digits of a constant, and not constant."""
        x = rows_of(Channel("ulp", 1e4), 50).astype(np.float64)
        assert np.all(np.abs(x / 1e4 - 1) < 4e-7)
        assert np.all(np.ptp(x, axis=1) > 0)

    def test_alternating(self) -> None:
        """Neighbours are opposite."""
        x = rows_of(Channel("alternating"), 50)
        assert np.all(x[:, ::2] == -x[:, 1::2])

    def test_clusters(self) -> None:
        """All elements are near one of two values."""
        assert np.all(np.abs(np.abs(rows_of(Channel("clusters"), 200)) - 1) < 0.1)

    @pytest.mark.parametrize("pattern", ["normal", "uniform"])
    def test_offset_and_spread(self, pattern: _data.Pattern) -> None:
        """Mean and deviation are the offset in units of the spread, and the spread."""
        x = rows_of(Channel(pattern, -1.5, 4.0), 4000).astype(np.float64)
        assert np.all(np.abs(x.mean(axis=1) + 6) < 0.4)
        assert np.all(np.abs(x.std(axis=1) - 4) < 0.3)

    def test_gradients_are_not_constant(self) -> None:
        """No pattern of upstream gradients is the same in all positions, nor zero."""
        for pattern in ("normal", "integers", "one-hot", "one-signed"):
            dy = _data.expand_gradient(Gradient(pattern, 2.0, 1), np.ones((40, 3), np.float32))
            assert np.ptp(dy) > 0
            assert dy.dtype == np.float32
        assert np.count_nonzero(_data.expand_gradient(Gradient("one-hot"), np.ones((40, 3), np.float32))) == 1
        assert np.all(_data.expand_gradient(Gradient("one-signed"), np.ones((40, 3), np.float32)) > 0)
