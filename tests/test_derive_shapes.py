"""Cases of other shapes, layouts and types derived from drawn ones: pure, total, and the same numbers."""

from functools import cache

import ml_dtypes
import numpy as np
import pytest

from adapters.interface import Array, Spec, State
from conformance import derive_shapes
from conformance.case import Case, Drawn, Gradient, Infer, Start, Train
from conformance.families import FAMILIES
from conformance.oracle import to_channels
from conformance.pool import draw
from conformance.requirements._catalogue import Derive

#: Every derivation of this module.
SHAPES = (
    derive_shapes.laid_out_otherwise,
    derive_shapes.empty_batch,
    derive_shapes.single_element,
    derive_shapes.regrouped,
    derive_shapes.alone,
    derive_shapes.other_axis,
    derive_shapes.widened,
)


@cache
def drawn() -> tuple[Case, ...]:
    """Cases of all families, most of the one on shapes."""
    return tuple(pooled.case for family in FAMILIES for pooled in draw(family, 6, 120 if family == 6 else 24).cases)


def rows(case: Case, index: int, name: str = "x") -> Array:
    """An array of a step as (C, m), in float64."""
    array = getattr(case.expanded.calls[index], name)
    assert array is not None
    return to_channels(array, case.spec).astype(np.float64)


def inputs(case: Case) -> list[int]:
    """Indices of the steps with an input."""
    return [index for index, call in enumerate(case.expanded.calls) if call.x is not None]


@pytest.mark.parametrize("function", SHAPES, ids=lambda f: f.__name__)
def test_pure_and_total(function: Derive) -> None:
    """On cases of all families it never raises, gives the same twice, leaves the case as it is, and applies to some."""
    applied = 0
    for one in drawn():
        before = [a.tobytes() for call in one.expanded.calls for a in (call.x, call.dy) if a is not None]
        made = function(one)
        assert made == function(Case(one.spec, one.starts, one.program, one.read, one.repeat))
        assert len(made) <= 1
        assert before == [a.tobytes() for call in one.expanded.calls for a in (call.x, call.dy) if a is not None]
        applied += bool(made)
        for other in made:
            assert not other.repeat
            for call in other.expanded.calls:
                assert call.layer < len(other.starts)
                for a in (call.x, call.dy):
                    assert a is None or (a.flags.c_contiguous and a.ndim == other.spec.rank) or function in LAID_OUT
                    assert a is None or _name(a) == other.spec.dtype
    assert applied > 8


#: Derivations that keep the layouts of the case, or give it others.
LAID_OUT = (derive_shapes.other_axis, derive_shapes.laid_out_otherwise)


def _name(a: Array) -> str:
    return "bfloat16" if a.dtype == ml_dtypes.bfloat16 else a.dtype.name


def _layouts(case: Case) -> set[str]:
    """The layouts of the case's arrays."""
    arrays = (getattr(step, name, None) for step in case.program for name in ("x", "dy", "v"))
    return {a.layout for a in arrays if a}


def test_laid_out_otherwise() -> None:
    """The values are the same to the bit, in another layout: C order, or the usual one beside it."""
    usual = set()
    for one in drawn():
        made = derive_shapes.laid_out_otherwise(one)
        assert bool(made) == bool(_layouts(one))
        for other in made:
            (layout,) = _layouts(other)
            assert {layout} != _layouts(one)
            if layout != "c":
                usual.add((one.spec.channel_axes if one.spec.rank > 2 else (), layout))
        for other in made:
            for a, b in zip(one.expanded.calls, other.expanded.calls, strict=True):
                assert (a.x is None) == (b.x is None)
                assert a.x is None or b.x is None or a.x.tobytes() == b.x.tobytes()
                assert a.dy is None or b.dy is None or a.dy.tobytes() == b.dy.tobytes()
    assert ((1,), "channels-last") in usual
    assert not [axes for axes, layout in usual if (axes == (1,)) != (layout == "channels-last")]


def _same(one: State | None, other: State) -> bool:
    """Whether two states hold the same values, NaN included."""
    values = [[None if a is None else a.tolist() for a in state[:4]] for state in (one, other) if state is not None]
    return len(values) == 2 and repr(values[0]) == repr(values[1])


def test_empty_batch() -> None:
    """Training and inference on no samples, then inference on the samples themselves, from the same start.

    Then training on them from that start, where there is more than one to a channel.
    """
    for one in drawn():
        for other in derive_shapes.empty_batch(one):
            calls = other.expanded.calls
            several = rows(other, 2).shape[1] > 1
            further = ["set_state", "train"] if several else []
            assert [call.op for call in calls] == ["train", "infer", "infer", *further]
            if several:
                assert _same(calls[3].state, other.expanded.states[0])
            sizes = [call.x.size for call in calls if call.x is not None]
            assert sizes[:2] == [0, 0]
            assert min(sizes[2:]) > 0
            assert other.read == "every"


def test_single_element() -> None:
    """One position is left, the first, with its upstream gradient."""
    for one in drawn():
        for other in derive_shapes.single_element(one):
            first = next(i for i, step in enumerate(one.program) if isinstance(step, Train))
            assert np.array_equal(rows(other, 0), rows(one, first)[:, :1], equal_nan=True)


def test_regrouped() -> None:
    """The matrix of channels and positions stays, the extents do not, unless there is one position only."""
    for one in drawn():
        for other in derive_shapes.regrouped(one):
            for index in inputs(one):
                assert np.array_equal(rows(other, index), rows(one, index), equal_nan=True)
                a, b = one.expanded.calls[index].x, other.expanded.calls[index].x
                assert a is not None
                assert b is not None
                assert a.shape != b.shape or rows(one, index).shape[1] == 1


def test_alone() -> None:
    """One channel is left of data and parameters, the one that is said to be chosen."""
    for one in drawn():
        channel = derive_shapes.chosen_channel(one)
        for other in derive_shapes.alone(one):
            assert np.prod(other.spec.parameter_shape) == 1
            for index in inputs(one):
                assert np.array_equal(rows(other, index), rows(one, index)[[channel]], equal_nan=True)
            for mine, theirs in zip(one.expanded.states, other.expanded.states, strict=True):
                assert mine.moving_mean is not None
                assert theirs.moving_mean is not None
                assert np.array_equal(theirs.moving_mean.item(), mine.moving_mean.reshape(-1)[channel], equal_nan=True)


def test_other_axis() -> None:
    """The axes are the same, written otherwise; the arrays are the same too."""
    for one in drawn():
        for other in derive_shapes.other_axis(one):
            assert other.spec.axis != one.spec.axis
            assert other.spec.channel_axes == one.spec.channel_axes
            assert [c.x is None for c in other.expanded.calls] == [c.x is None for c in one.expanded.calls]


def test_widened() -> None:
    """The numbers are the same, in float32; nothing for float32 and float64."""
    for one in drawn():
        made = derive_shapes.widened(one)
        assert bool(made) == (one.spec.dtype in ("float16", "bfloat16"))
        for other in made:
            for index in inputs(one):
                assert np.array_equal(rows(other, index), rows(one, index), equal_nan=True)


def test_rank_one() -> None:
    """An input of channels alone has neither an empty batch nor positions to regroup."""
    one = Case(Spec((4,), (0,), 1e-3, 0.5), (Start(),), (Train(Drawn(()), Gradient()), Infer(Drawn(()))))
    assert derive_shapes.empty_batch(one) == ()
    assert derive_shapes.regrouped(one) == ()
    assert len(derive_shapes.single_element(one)) == 1
