"""Derived cases: pure, total, and exactly what they claim to be."""

from functools import cache

import msgspec
import numpy as np
import pytest

from adapters.interface import Array, Spec
from conformance import derive, derive_gradients, derive_state, rewrite
from conformance._consistency import check_program
from conformance.case import (
    Backward,
    Case,
    Drawn,
    GetState,
    Given,
    Gradient,
    Infer,
    Reload,
    SecondOrder,
    SetState,
    Start,
    Train,
    given,
)
from conformance.derive import DIGITS
from conformance.families import FAMILIES
from conformance.oracle import TrainingTruth, to_channels
from conformance.pool import draw
from conformance.requirements import CATALOGUE
from conformance.requirements._catalogue import Derive
from conformance.rewrite import recorded_in
from tests._judged import case, infer, train
from tests.test_derive_shapes import SHAPES

#: Every way to derive cases that a requirement asks for, and by how many cases.
DERIVES: dict[str, tuple[Derive, int]] = {
    "shifted": (derive.shifted, 2),
    "scaled": (derive.scaled, 1),
    "permuted": (derive.permuted, 1),
    "other_channels": (derive.other_channels, 1),
    "normalized": (derive.normalized, 1),
    "other_moving": (derive.other_moving, 1),
    "restoring": (derive.restoring, 1),
    "in_batches": (derive.in_batches, 1),
    "one_sample": (derive.one_sample, 1),
    "unread": (derive.unread, 1),
    "forward_only": (derive.forward_only, 1),
    "single_layer": (derive.single_layer, 1),
    "gradient_parts": (derive_gradients.gradient_parts, 3),
    "updates_left_out": (derive.updates_left_out, 1),
    "uninterrupted": (derive.uninterrupted, 1),
    "unrecorded": (derive.unrecorded, 1),
    "penalized": (derive_gradients.penalized, 1),
    "other_gamma": (derive_gradients.other_gamma, 1),
    "carried": (derive_state.carried, 1),
}


@cache
def drawn() -> tuple[Case, ...]:
    """A few hundred cases of all families."""
    return tuple(pooled.case for family in FAMILIES for pooled in draw(family, 6, 48).cases)


def rows(case: Case, index: int, name: str = "x") -> Array:
    """An array of a step as (C, m), in float64."""
    array = getattr(case.expanded.calls[index], name)
    assert array is not None
    return to_channels(array, case.spec).astype(np.float64)


def trains(case: Case) -> list[int]:
    """Indices of the training steps."""
    return [index for index, step in enumerate(case.program) if isinstance(step, Train)]


def exact(values: Array, dtype: str) -> bool:
    """Whether values in float64 are all numbers of an element type."""
    return bool(np.array_equal(values, values.astype(dtype).astype(np.float64)))


def of_family(number: int) -> list[Case]:
    """The cases of one family."""
    place = list(FAMILIES).index(number)
    return list(drawn()[48 * place : 48 * (place + 1)])


class TestAll:
    """What holds of every derivation."""

    def test_the_catalogue_uses_no_other(self) -> None:
        """Every derivation that changes a drawn case is tested here; those that make their own are elsewhere."""
        known = {function for function, _ in DERIVES.values()}
        modules = {derive.__name__, derive_gradients.__name__, rewrite.__name__}
        used = {r.derive for r in CATALOGUE.values() if r.derive is not None and r.derive.__module__ in modules}
        assert used <= known | set(SHAPES)

    @pytest.mark.parametrize("name", DERIVES)
    def test_pure_and_total(self, name: str) -> None:
        """On hundreds of cases of all families it never raises, gives the same twice, and leaves the case as it is."""
        function, count = DERIVES[name]
        applied = 0
        for one in drawn():
            before = [a.tobytes() for call in one.expanded.calls for a in (call.x, call.dy) if a is not None]
            made = function(one)
            assert made == function(Case(one.spec, one.starts, one.program, one.read, one.repeat))
            assert len(made) in (0, count)
            assert before == [a.tobytes() for call in one.expanded.calls for a in (call.x, call.dy) if a is not None]
            applied += bool(made)
            for other in made:
                assert other.spec == one.spec
                assert not other.repeat
                for call in other.expanded.calls:
                    assert call.layer < len(other.starts)
                    assert call.x is None or call.x.dtype == np.dtype(one.spec.dtype)
                    assert call.dy is None or call.x is None or call.dy.shape == call.x.shape
                check_program(other.expanded)
        assert applied > 8

    @pytest.mark.parametrize("name", DERIVES)
    @pytest.mark.parametrize("dtype", DIGITS)
    def test_every_element_type(self, name: str, dtype: str) -> None:
        """It works in every element type that cases come in."""
        function, count = DERIVES[name]
        spec = Spec((None, 3, None), (1,), 1e-3, 0.5, dtype=dtype)
        program = (
            Train(Drawn((4, 2)), Gradient()),
            SetState(Start("mixed"), 1),
            Infer(Drawn((3, 2), seed=1), Gradient(), 1),
            Train(Drawn((4, 2), seed=2), Gradient(), 1),
            Infer(Drawn((3, 2), seed=3), None, 1),
            Train(Drawn((4, 2), seed=4), None, 1, tape=0),
            Backward(0, Gradient(), 1),
            SecondOrder(Drawn((4, 2), seed=4), Gradient(), Gradient(seed=1), 1),
            Reload("file", 1),
            Infer(Drawn((3, 2), seed=3), None, 1),
        )
        mixed = Case(spec, (Start("distinct"), Start()), program)
        made = function(mixed)
        assert len(made) == count
        for other in made:
            x = next(call.x for call in other.expanded.calls if call.x is not None)
            assert np.isfinite(x.astype(np.float64)).all()


class TestShifted:
    """x and x + a constant per channel."""

    def test_the_shift_is_exact(self) -> None:
        """Both inputs are exact in the element type and differ by exactly one number per channel, which is not zero."""
        checked = 0
        for one in of_family(1) + of_family(3):
            plain, moved = derive.shifted(one)
            for index in range(len(plain.program)):
                a, b = rows(plain, index), rows(moved, index)
                shift = (b - a)[:, :1]
                assert np.array_equal(b - a, np.broadcast_to(shift, a.shape))
                assert np.all(shift != 0)
                assert exact(a, one.spec.dtype)
                assert exact(b, one.spec.dtype)
                checked += 1
        assert checked > 90

    def test_the_shift_is_seen(self) -> None:
        """Where a channel's offset is mild, the shift is one to nine spreads and the data are nearly as drawn."""
        for one in of_family(1):
            plain, moved = derive.shifted(one)
            for place, index in enumerate(trains(one)[:1]):
                before, after = rows(one, index), rows(plain, place)
                spread, offset = before.std(axis=1), np.abs(before).max(axis=1)
                digits = derive.DIGITS[one.spec.dtype]
                mild = (spread > 0) & (offset < (100 if digits >= 24 else 8) * spread)
                moves = np.abs(rows(moved, place) - after)[:, 0]
                assert np.all(moves[mild] > 0.9 * spread[mild])
                assert np.all(moves[mild] < 9 * spread[mild])
                assert np.all(np.abs(after - before)[mild] <= max(1e-4, 2.0 ** (6 - digits)) * spread[mild, None])

    @pytest.mark.parametrize("function", [derive.shifted, derive.scaled, derive.normalized, derive.restoring])
    def test_the_first_training_step_alone_is_left(self, function: Derive) -> None:
        """Nothing but the forward pass of the first training step is run, on a layer with the start of its own."""
        whole = case(infer(), train(3, layer=1), train(4), layers=2)
        for made in function(whole):
            (step,) = made.program
            assert isinstance(step, Train)
            assert (step.dy, step.layer, len(made.starts)) == (None, 0, 1)
            assert made.starts[0].moving_mean == whole.held.starts[1].moving_mean
            x = made.expanded.calls[0].x
            assert x is not None
            assert x.shape == (3, 3)


class TestScaled:
    """x times a power of two."""

    def test_the_factor_is_exact(self) -> None:
        """Each channel is exactly its factor times what it was, and neighbours have other factors."""
        for one in of_family(1):
            (made,) = derive.scaled(one)
            for place, index in enumerate(trains(one)[:1]):
                before, after = rows(one, index), rows(made, place)
                factors = derive.scale_factors(one.spec, len(before))
                assert np.array_equal(after, before * factors)
                assert np.all(factors[1:] != factors[:-1])


class TestPermuted:
    """Positions in another order."""

    def test_it_is_a_permutation(self) -> None:
        """Each step's x and dy are taken in the same order, in which every position occurs once."""
        moved = 0
        for one in of_family(1) + of_family(4):
            (made,) = derive.permuted(one)
            for index, call in enumerate(one.expanded.calls):
                for name in ("x", "dy"):
                    if getattr(call, name) is not None:
                        before, after = rows(one, index, name), rows(made, index, name)
                        order = derive.permutation(before.shape[1], recorded_in(one.program, index))
                        assert sorted(order) == list(range(before.shape[1]))
                        assert np.array_equal(after, before[:, order])
                        moved += not np.array_equal(order, np.arange(len(order)))
        assert moved > 100


class TestChannels:
    """Other data in every second channel."""

    def test_half_of_the_channels_stay_and_the_others_change(self) -> None:
        """Data and parameters of kept channels stay to the bit; those of all others change, within half's range."""
        for one in of_family(1):
            for made in derive.other_channels(one):
                for index, call in enumerate(one.expanded.calls):
                    if call.x is None:
                        continue
                    kept = derive.kept_channels(one)
                    assert 0 < np.count_nonzero(kept) < len(kept)
                    before, after = rows(one, index), rows(made, index)
                    assert np.array_equal(after[kept], before[kept])
                    assert np.all(np.any(after[~kept] != before[~kept], axis=1))
                    assert np.abs(after[~kept]).max() <= 6e4
                    for old, new in zip(one.expanded.states, made.expanded.states, strict=True):
                        for a, b in zip(old[:4], new[:4], strict=True):
                            assert (a is None) == (b is None)
                            if a is not None and b is not None:
                                assert np.array_equal((a == b).reshape(-1), kept)

    def test_a_single_channel_has_no_neighbour(self) -> None:
        """Nothing is derived for a single channel."""
        assert derive.other_channels(case(train(), spec=Spec((None, 1), (1,), 1e-3, 0.9))) == ()


class TestStates:
    """Other parameters."""

    def test_normalized(self) -> None:
        """Gamma is one, beta zero where they exist, and the moving statistics are those of the one."""
        for one in of_family(1):
            (made,) = derive.normalized(one)
            for old, new in zip(one.expanded.states, made.expanded.states, strict=True):
                assert new.gamma is None if old.gamma is None else np.all(new.gamma == 1)
                assert new.beta is None if old.beta is None else np.all(new.beta == 0)
                assert np.array_equal(np.asarray(new.moving_mean), np.asarray(old.moving_mean))
                assert np.array_equal(np.asarray(new.moving_variance), np.asarray(old.moving_variance))

    def test_other_moving(self) -> None:
        """Both moving statistics differ in every channel, the variance stays positive, and the rest is the same."""
        for one in of_family(1):
            (made,) = derive.other_moving(one)
            assert made.program == one.held.program
            for old, new in zip(one.expanded.states, made.expanded.states, strict=True):
                assert np.all(np.asarray(new.moving_mean) != np.asarray(old.moving_mean))
                assert np.all(np.asarray(new.moving_variance) > np.asarray(old.moving_variance))
                assert [None if a is None else a.tobytes() for a in new[:2]] == [
                    None if a is None else a.tobytes() for a in old[:2]
                ]

    def test_restoring(self) -> None:
        """Gamma and beta are those of the identity: by the oracle, y is x but for the rounding of the two."""
        seen = 0
        for one in of_family(1):
            for made in derive.restoring(one):
                x = rows(made, 0)
                assert np.array_equal(x, rows(one, trains(one)[0]))
                gamma, beta = made.expanded.states[0][:2]
                truth = TrainingTruth(x, gamma, beta, one.spec.epsilon)
                largest = np.abs(x).max(axis=1, keepdims=True) + np.abs(truth.centered).max(axis=1, keepdims=True)
                assert np.all(np.abs(truth.y - x) <= 3e-7 * largest)
                seen += 1
        assert seen > 10

    def test_restoring_needs_both_parameters_and_training(self) -> None:
        """Without gamma, without beta, or without a training step there is nothing to restore with."""
        assert derive.restoring(case(infer())) == ()
        for off in ("center", "scale"):
            spec = Spec((None, 3), (1,), 1e-3, 0.9, center=off != "center", scale=off != "scale")
            assert derive.restoring(case(train(), spec=spec)) == ()


class TestInference:
    """The whole and its parts."""

    @pytest.mark.parametrize("extent", [2, 3, 4, 5, 16])
    def test_batches_are_the_whole(self, extent: int) -> None:
        """The two batches, one after the other, are the whole; neither is empty, and the second is the smaller."""
        (made,) = derive.in_batches(case(train(), infer(extent), train()))
        assert [step.op for step in made.expanded.calls] == ["train", "infer", "infer", "infer"]
        whole, first, second = (call.x for call in made.expanded.calls[1:])
        assert whole is not None
        assert first is not None
        assert second is not None
        assert np.array_equal(np.concatenate([first, second]), whole)
        assert 1 <= len(second) <= len(first)

    def test_on_every_one(self) -> None:
        """On drawn cases of any rank and axis, the parts make up the whole along the first reduced axis."""
        seen = 0
        for one in of_family(2):
            for made in derive.in_batches(one):
                whole, *parts = (call.x for call in made.expanded.calls[-3:])
                axis = one.spec.reduction_axes[0]
                assert whole is not None
                assert np.array_equal(np.concatenate([p for p in parts if p is not None], axis=axis), whole)
                seen += 1
            for made in derive.one_sample(one):
                whole, *ends = (call.x for call in made.expanded.calls[-3:])
                assert whole is not None
                for end, place in zip(ends, ([0], [-1]), strict=True):
                    assert end is not None
                    assert np.array_equal(end, np.take(whole, place, axis=one.spec.reduction_axes[0]))
        assert seen > 10

    def test_a_single_sample_has_no_parts(self) -> None:
        """A batch of one, or a program without inference, is not split."""
        for function in (derive.in_batches, derive.one_sample):
            assert function(case(infer(1))) == ()
            assert function(case(train())) == ()

    def test_what_comes_before_is_kept(self) -> None:
        """The steps before the first inference, and its layer, stay as they are."""
        whole = case(train(), SetState(Start(), 1), infer(6, layer=1), infer(3), layers=2)
        (made,) = derive.one_sample(whole)
        assert made.program[:2] == whole.held.program[:2]
        assert [step.layer for step in made.program[2:]] == [1, 1, 1]
        assert made.starts == whole.held.starts


class TestReading:
    """Programs that read less."""

    def test_unread(self) -> None:
        """State is read at the end only, and no GetState is left, where an inference follows a change of its layer."""
        (made,) = derive.unread(case(train(), GetState(), infer()))
        assert made.read == "end"
        assert [type(step) for step in made.program] == [Train, Infer]

    @pytest.mark.parametrize("steps", [(infer(), train()), (train(), train()), (train(layer=1), infer())])
    def test_it_needs_an_inference_after_a_change_of_its_layer(self, steps: tuple[Train | Infer, ...]) -> None:
        """Where no inference follows a change of the same layer there is nothing that could be stale."""
        assert derive.unread(case(*steps, layers=2)) == ()

    def test_forward_only(self) -> None:
        """The same program without any upstream gradient; nothing where there is none to leave out."""
        whole = case(train(), infer(), Train(Drawn((3,))), repeat=True)
        (made,) = derive.forward_only(whole)
        for old, new in zip(whole.expanded.calls, made.expanded.calls, strict=True):
            assert new.dy is None
            assert np.array_equal(np.asarray(old.x), np.asarray(new.x))
        assert made.read == whole.read
        assert derive.forward_only(case(Train(Drawn((3,))))) == ()

    def test_gradients_of_some_operations(self) -> None:
        """Gradients can be left out of one operation alone, and what is left is the case."""
        whole = case(train(), infer(), repeat=True)
        made = derive.without_gradients(whole, "infer")
        assert [call.dy is not None for call in made.expanded.calls] == [True, False]
        assert made.repeat

    def test_updates_left_out(self) -> None:
        """Every training step is one without update, and every state is read."""
        (made,) = derive.updates_left_out(case(train(), infer(), train(), read="end"))
        assert [step.update for step in made.program if isinstance(step, Train)] == [False, False]
        assert made.read == "every"


class TestLayers:
    """One layer on its own."""

    def test_single_layer(self) -> None:
        """The steps of the last step's layer, in order, with that layer's start, as layer 0."""
        whole = case(train(3, layer=1), train(4), GetState(1), infer(5, layer=1), layers=2)
        (made,) = derive.single_layer(whole)
        assert made.starts == (whole.held.starts[1],)
        of_layer = [step for step in whole.held.program if step.layer == 1]
        assert made.program == tuple(msgspec.structs.replace(step, layer=0) for step in of_layer)

    def test_nothing_where_one_layer_does_everything(self) -> None:
        """A second layer that is never used does not count."""
        assert derive.single_layer(case(train(), infer(), layers=2)) == ()


class TestGradientParts:
    """a, b and a + b."""

    def test_they_sum_exactly(self) -> None:
        """The third gradient is exactly the sum of the first two, which differ, and all are exact in the type."""
        seen = 0
        for one in of_family(4):
            for first, second, both in filter(None, [derive_gradients.gradient_parts(one)]):
                for index, call in enumerate(one.expanded.calls):
                    if call.dy is None:
                        continue
                    a, b, c = (rows(made, index, "dy") for made in (first, second, both))
                    assert np.array_equal(c, a + b)
                    assert exact(c, one.spec.dtype)
                    if call.x is not None:
                        assert np.array_equal(rows(first, index), rows(one, index))
                    grid = max(1e-6, 2.0 ** (3 - derive.DIGITS[one.spec.dtype]))
                    assert np.abs(a - rows(one, index, "dy")).max() <= grid * np.abs(a).max(initial=1e-6)
                    seen += a.shape[1] > 2 and not np.array_equal(a, b)
        assert seen > 30

    def test_nothing_without_gradients(self) -> None:
        """A program of forward passes has no parts."""
        assert derive_gradients.gradient_parts(case(Train(Drawn((3,))), Infer(Drawn((2,))))) == ()


class TestCarried:
    """What follows a training step, from the state that the reference has then."""

    def test_the_state_is_the_one_that_was_trained(self) -> None:
        """It starts with statistics that are updated by the first input, and with gamma and beta as they were."""
        spec = Spec((None, 2), (1,), 1e-3, 0.25)
        x = given([[1, 2], [3, 6]])
        start = Start(given([2, 3]), given([4, 5]), given([0, 8]), given([4, 0]))
        (made,) = derive_state.carried(Case(spec, (start,), (Train(x), Infer(x), Train(x))))
        state = made.expanded.states[0]
        assert [a.tolist() for a in state[:4] if a is not None] == [[2, 3], [4, 5], [1.5, 5], [1.75, 3]]
        assert made.program == (Infer(x), Train(x))

    def test_nothing_where_nothing_follows(self) -> None:
        """Neither what comes before nor another layer's steps are carried on."""
        assert derive_state.carried(case(infer(), train())) == ()
        assert derive_state.carried(case(train(), msgspec.structs.replace(infer(), layer=1), layers=2)) == ()


def test_given_arrays_can_be_derived_from() -> None:
    """Cases that hold arrays, with values of any kind, are derived from like drawn ones."""
    x = Given.of(np.array([[0.0, 1e-40, 3e38], [-0.0, 1.0, -3e38]], np.float32))
    start = Start(given([1, 2, 3]), given([0, 0, 0]), given([0, 0, 0]), given([1, 1, 1]))
    held = Case(Spec((None, 3), (1,), 1e-3, 0.5), (start,), (Train(x, Given.of(np.ones((2, 3), np.float32))),))
    for function, _ in DERIVES.values():
        for made in function(held):
            assert made.expanded.calls[0].x is not None
