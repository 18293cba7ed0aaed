"""Family 6xx: shapes, element types and memory layouts."""

import numpy as np

from adapters.interface import Array, State
from adapters.program import Trace
from conformance import derive_shapes
from conformance.case import Case, Infer, Train
from conformance.evidence import NOTHING, Evidence, combine, require
from conformance.judge import Judge, View
from conformance.requirements._catalogue import requirement
from conformance.requirements._pairs import pairs, same, same_statistics
from conformance.requirements.modes import observed
from conformance.requirements.running import STATISTICS, update

CONTRACT = "The interface's contract"
QUANTITIES = ("y", "dx", "dgamma", "dbeta")


def _agree(judge: Judge) -> Evidence:
    """Every result and moving statistic of the derived runs is that of the run itself."""
    parts = []
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            parts += [same(judge, other, mine, theirs, q) for q in QUANTITIES]
            parts.append(same_statistics(judge, other, mine, theirs) if mine.call.op == "train" else NOTHING)
    return combine(parts)


@requirement("BN-601", source="NumPy: strides are no part of an array's value", derive=derive_shapes.laid_out_otherwise)
def layout_does_not_matter(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Results depend on the values of x and dy alone, not on strides, alignment or access of their memory."""
    return _agree(judge)


def _is(got: Array | None, shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str, step: int) -> Evidence:
    if got is None:
        return NOTHING
    message = f"{name} is {got.dtype.name}{got.shape}, not {dtype.name}{shape}"
    return require(got.shape == shape and got.dtype == dtype, message, name, step)


@requirement("BN-602", source=CONTRACT)
def outputs_are_like_the_input(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The output and dx have the shape and the element type of x."""
    parts = []
    for view in judge.steps("train", "infer"):
        x, step = view.call.x, view.trace.step
        assert x is not None
        if step is not None:
            parts += [_is(getattr(step, name), x.shape, x.dtype, name, view.number) for name in ("y", "dx")]
    return combine(parts)


def _kept(before: State | None, after: State | None, view: View) -> list[Evidence]:
    """Arrays of a state that keep shape and type, and gradients that have those of their parameters."""
    parts = []
    for name in State._fields[:4]:
        old, new = getattr(before, name, None), getattr(after, name, None)
        if old is not None:
            parts.append(_is(new, old.shape, old.dtype, name, view.number))
        if name in ("gamma", "beta") and new is not None and view.trace.step is not None:
            gradient = getattr(view.trace.step, "d" + name)
            parts.append(_is(gradient, new.shape, new.dtype, "d" + name, view.number))
    return parts


@requirement("BN-603", source=CONTRACT)
def state_keeps_its_types(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Steps change neither shapes nor element types of the state, and dγ and dβ have those of γ and β."""
    parts = []
    last: dict[int, State | None] = dict(enumerate(trace.initial))
    for view in judge.run.views:
        read = view.trace.state
        if read is not None:
            parts += _kept(last.get(view.call.layer), read, view)
            last[view.call.layer] = read
    return combine(parts)


@requirement("BN-604", source=CONTRACT + ", observed by the host")
def unusual_memory_is_left_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Arguments in any layout are left as they are, the gaps between their elements included, and never returned."""
    steps = [step for step in case.program if isinstance(step, Train | Infer)]
    if all(a is None or a.layout == "c" for step in steps for a in (step.x, step.dy)):
        return NOTHING
    return observed(trace, "mutated", "aliased", "overwritten")


def _same_bits(judge: Judge, view: View, what: str) -> list[Evidence]:
    """The moving statistics after a step are those before it."""
    parts = []
    before, after = (judge.run.before(view.number, judge.kind), judge.run.after(view.number, judge.kind))
    for name in STATISTICS:
        old, new = getattr(before, name), getattr(after, name)
        holds = np.array_equal(old, new, equal_nan=True)
        parts.append(require(holds, f"{what} changed the moving {name}", "moving_" + name, view.number))
    return parts


def _trained_on_nothing(judge: Judge, view: View) -> list[Evidence]:
    """The moving statistics after training on no samples are as declared."""
    declared, read = judge.run.conventions.empty, view.trace.state
    if declared == "refused":
        return [require(False, "an empty batch was to be refused", "y", view.number)]
    if declared == "unchanged":
        return _same_bits(judge, view, "an empty batch")
    parts = []
    for name in ("moving_mean", "moving_variance"):
        value = getattr(read, name, None)
        if value is not None:
            holds = bool(np.isnan(value.astype(np.float64)).all())
            if judge.run.spec.decay == 1:
                # Some compilers leave out what is multiplied with nothing, so that 0 · NaN is 0.
                before = getattr(judge.run.before(view.number, judge.kind), name.removeprefix("moving_"))
                holds = holds or np.array_equal(before, value.astype(before.dtype).reshape(before.shape))
            parts.append(require(holds, f"the {name} of nothing is a number", name, view.number))
    return parts


@requirement(
    "BN-605",
    source="Mean and variance of no elements are undefined",
    derive=derive_shapes.empty_batch,
    conventions=("empty",),
)
def empty_batch(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """An empty batch gives an empty y, makes of the moving statistics what is declared, and leaves nothing else."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train", "infer"):
            x, step = view.call.x, view.trace.step
            if x is None or step is None:
                continue
            if x.size:
                if view.call.op == "train":
                    parts += [other.against_truth(view, "y"), *(update(other, view, s) for s in STATISTICS)]
                continue
            parts.append(_is(step.y, x.shape, x.dtype, "y", view.number))
            nothing = view.call.op == "infer"
            parts += _same_bits(other, view, "inference") if nothing else _trained_on_nothing(other, view)
    return combine(parts)


@requirement(
    "BN-606",
    source="The variance of one element is zero",
    derive=derive_shapes.single_element,
    conventions=("single", "moving_variance", "moving_variance_single"),
)
def single_element(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """With one element per channel training gives y = β and dx = 0 and the declared variance, or is refused."""
    parts = []
    for other in judge.derived:
        for view in other.steps("train"):
            if other.run.conventions.single == "refused":
                parts.append(require(False, "one element per channel was to be refused", "y", view.number))
            y, truth = other.got(view, "y"), other.truth(view)
            if y is not None:
                # Truth is beta where the mean of one element is that element; its magnitude is what beta is told by.
                scale = np.abs(truth.beta) + np.abs(truth.gamma)
                parts.append(other.compare("y", y, truth.beta, other.bound(view, "y"), view, scale=scale))
            parts.append(other.against_truth(view, "dx"))
            parts += [update(other, view, s) for s in STATISTICS]
            parts += _nan_as_declared(other, view)
    return combine(parts)


def _nan_as_declared(judge: Judge, view: View) -> list[Evidence]:
    conventions, read = judge.run.conventions, view.trace.state
    declared = conventions.moving_variance == "unbiased" and conventions.moving_variance_single == "nan"
    if not declared or read is None or read.moving_variance is None:
        return []
    holds = bool(np.isnan(read.moving_variance.astype(np.float64)).all())
    return [require(holds, "the unbiased variance of one element is a number", "moving_variance", view.number)]


@requirement("BN-607", source="Ioffe & Szegedy 2015, section 3", derive=derive_shapes.alone)
def a_channel_alone(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A layer of one channel gives that channel what it gets among others."""
    parts = []
    channel = derive_shapes.chosen_channel(case)
    for other in judge.derived:
        for mine, theirs in pairs(judge, other, "train", "infer"):
            for quantity in QUANTITIES:
                got, single = judge.got(mine, quantity), other.got(theirs, quantity)
                if got is None or single is None:
                    continue
                bound = judge.bound(mine, quantity)[[channel]] + other.bound(theirs, quantity)
                if mine.call.op == "infer":
                    expected = getattr(judge.truth(mine), quantity)[[channel]]
                    with np.errstate(all="ignore"):
                        bound = bound + np.abs(expected - getattr(other.truth(theirs), quantity))
                scale = other.variation(theirs) if quantity == "y" else None
                parts.append(other.compare(quantity, single, got[[channel]], bound, theirs, scale=scale))
    return combine(parts)


@requirement("BN-608", source="NumPy: axes count from either end", derive=derive_shapes.other_axis)
def axes_in_any_form(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Axes mean the same from either end and in any order; several axes' parameters have the sorted axes' shape."""
    return _agree(judge)


@requirement("BN-609", source="Ioffe & Szegedy 2015, section 3.2", derive=derive_shapes.regrouped)
def positions_are_alike(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Only the number of elements per channel counts, not how batch and space share it: (N, H, W) is (N·H·W, 1, 1)."""
    return _agree(judge)


@requirement(
    "BN-610", source="IEEE 754: conversion to a wider format is exact", derive=derive_shapes.widened, needs="half"
)
def half_precision_only_rounds(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """On float16 or bfloat16 results are those on the same numbers in float32, but for the final rounding."""
    return _agree(judge)
