"""Derives cases from a drawn one: shifted, scaled, permuted, with other parameters, split, or read less often.

All are pure and total: the same case gives the same derived cases, and ``()`` where the change makes no sense.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from adapters.interface import Array, Spec
from adapters.program import Call
from conformance.case import (
    Case,
    Given,
    Infer,
    Instruction,
    Start,
    Train,
)
from conformance.oracle import TrainingTruth, from_channels, to_channels
from conformance.rewrite import (
    forward_only,
    rebuilt,
    recorded_in,
    single_layer,
    uninterrupted,
    unread,
    unrecorded,
    updates_left_out,
    without_gradients,
)

__all__ = [
    "forward_only",
    "single_layer",
    "uninterrupted",
    "unread",
    "unrecorded",
    "updates_left_out",
    "without_gradients",
]

#: Significand digits of the element types that cases come in.
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}

Change = Callable[[Array, int], Array]


def map_arrays(case: Case, *, x: Change | None = None, dy: Change | None = None) -> Case:
    """Apply changes to every step's x and dy; each is given the (C, m) matrix and the step's index.

    The dy of a backward pass is changed as that of the recorded step would be.
    """
    program: list[Instruction] = []
    for index, (step, call) in enumerate(zip(case.held.program, case.expanded.calls, strict=True)):
        changed: dict[str, Given] = {}
        if x is not None and call.x is not None:
            changed["x"] = _changed(case, call.x, x, index, call.x.shape)
        if dy is not None and call.dy is not None:
            changed["dy"] = _changed(case, call.dy, dy, recorded_in(case.program, index), call.dy.shape)
        program.append(msgspec.structs.replace(step, **changed) if changed else step)
    return rebuilt(case, program)


def _changed(case: Case, a: Array, change: Change, index: int, shape: tuple[int, ...]) -> Given:
    rows = to_channels(a, case.spec).astype(np.float64)
    with np.errstate(all="ignore"):
        return Given.of(from_channels(change(rows, index), case.spec, shape).astype(a.dtype))


def first_training(case: Case) -> Case:
    """The case's first training step, forward only, on a layer of its own."""
    index = next((i for i, step in enumerate(case.held.program) if isinstance(step, Train)), None)
    if index is None:
        return rebuilt(case, [], read="end")
    step = case.held.program[index]
    program: list[Instruction] = [msgspec.structs.replace(step, dy=None, layer=0, tape=-1, times=1)]
    return rebuilt(case, program, starts=(case.held.starts[step.layer],), read="end")


def exponent(a: Array) -> Array:
    """Per channel (C, 1), the binary exponent of the largest magnitude (0 for a channel of zeros)."""
    largest = np.max(np.abs(a), axis=1, keepdims=True, initial=0.0)
    exponent: Array = np.where(largest > 0, np.frexp(largest)[1], 0)
    return exponent


def on_grid(case: Case, a: Array, exponent: Array) -> tuple[Array, Array]:
    """Round (C, m) to multiples of the grid on which values below 2**exponent are exact; the grid too, (C, 1)."""
    grid = np.ldexp(1.0, np.maximum(exponent - DIGITS[case.spec.dtype], -1000))
    return np.round(a / grid) * grid, grid


def _shift(case: Case, rows: Array) -> tuple[Array, Array]:
    """The rows on a grid and a shift per channel of about two spreads, such that rows + shift is exact."""
    spread = np.std(rows, axis=1, keepdims=True)
    spread = np.where(spread > 0, spread, np.maximum(np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0), 1.0))
    shift = np.ldexp(1.0, np.frexp(spread)[1] + 1)
    rounded, grid = on_grid(case, rows, np.maximum(exponent(rows), exponent(shift)) + 2)
    return rounded, np.maximum(np.round(shift / grid), 1) * grid


def shifted(case: Case) -> tuple[Case, ...]:
    """The first training step on a grid, and the same with an exact shift per channel."""
    case = first_training(case)
    plain = map_arrays(case, x=lambda rows, _: _shift(case, rows)[0])
    moved = map_arrays(case, x=lambda rows, _: sum(_shift(case, rows), np.zeros(())))
    return plain, moved


def scaled(case: Case) -> tuple[Case, ...]:
    """The first training step with x times a power of two, differing from channel to channel."""
    return (map_arrays(first_training(case), x=lambda rows, _: rows * scale_factors(case.spec, len(rows))),)


def scale_factors(spec: Spec, channels: int) -> Array:
    """Per channel (C, 1): the factor that ``scaled`` applies. In float16 none shrinks, which may not be exact."""
    factors = (4.0, 2.0, -2.0) if spec.dtype == "float16" else (4.0, 0.25, -2.0)
    return np.resize(np.array(factors), channels).reshape(-1, 1)


def permutation(m: int, index: int) -> Array:
    """The order in which ``permuted`` takes the m positions of step ``index``."""
    return np.random.default_rng([m, index, 5]).permutation(m)


def permuted(case: Case) -> tuple[Case, ...]:
    """The case with the positions of each input, and of each upstream gradient, in another order."""

    def change(rows: Array, index: int) -> Array:
        return rows[:, permutation(rows.shape[1], index)]

    return (map_arrays(case, x=change, dy=change),)


def kept_channels(case: Case) -> Array:
    """Which channels ``other_channels`` leaves as they are: about half, in no pattern; (C,) booleans."""
    channels = int(np.prod(case.spec.parameter_shape))
    first = next((call.x.size for call in case.expanded.calls if call.x is not None), 0)
    kept = np.random.default_rng([channels, first]).permutation(channels) < (channels + 1) // 2
    return np.asarray(kept)


def other_channels(case: Case) -> tuple[Case, ...]:
    """The case with half of the channels given other data and parameters; nothing for a single channel."""
    kept = kept_channels(case)
    if kept.all():
        return ()

    def change(rows: Array, _: int) -> Array:
        return np.where(kept.reshape(-1, 1), rows, np.clip(rows[:, ::-1] * -8 + 64, -6e4, 6e4))

    def other(start: Start, _: int) -> Start:
        changed = {}
        for name, factor, offset in (
            ("gamma", -2, 5),
            ("beta", 2, -5),
            ("moving_mean", -1, 7),
            ("moving_variance", 4, 2),
        ):
            held = getattr(start, name)
            if isinstance(held, Given):
                mask = kept.reshape(held.shape)
                changed[name] = Given.of(np.where(mask, held.array, held.array * factor + offset).astype(held.dtype))
        return msgspec.structs.replace(start, **changed)

    return (with_starts(map_arrays(case, x=change, dy=change), other),)


def with_starts(case: Case, change: Callable[[Start, int], Start]) -> Case:
    starts = tuple(change(start, layer) for layer, start in enumerate(case.held.starts))
    return rebuilt(case, list(case.held.program), starts=starts)


def _filled_like(held: Given, values: Array | float) -> Given:
    return Given.of(np.broadcast_to(np.asarray(values), held.shape).astype(held.dtype))


def normalized(case: Case) -> tuple[Case, ...]:
    """The first training step with gamma = 1 and beta = 0."""

    def change(start: Start, _: int) -> Start:
        gamma = _filled_like(start.gamma, 1.0) if isinstance(start.gamma, Given) else None
        beta = _filled_like(start.beta, 0.0) if isinstance(start.beta, Given) else None
        return msgspec.structs.replace(start, gamma=gamma, beta=beta)

    return (with_starts(first_training(case), change),)


def other_moving(case: Case) -> tuple[Case, ...]:
    """The case with other moving statistics at the start."""

    def change(start: Start, _: int) -> Start:
        assert isinstance(start.moving_mean, Given)
        assert isinstance(start.moving_variance, Given)
        mean = Given.of(start.moving_mean.array * 2 + np.float32(3))
        variance = Given.of(start.moving_variance.array * 5 + np.float32(1))
        return msgspec.structs.replace(start, moving_mean=mean, moving_variance=variance)

    return (with_starts(case, change),)


def restoring(case: Case) -> tuple[Case, ...]:
    """The first training step with gamma = sqrt(variance + epsilon) and beta = mean of its own input."""
    case = first_training(case)
    if not (case.program and case.spec.scale and case.spec.center):
        return ()
    x = case.expanded.calls[0].x
    assert x is not None
    truth = TrainingTruth(to_channels(x, case.spec), None, None, case.spec.epsilon)

    def change(start: Start, _: int) -> Start:
        assert isinstance(start.gamma, Given)
        assert isinstance(start.beta, Given)
        with np.errstate(over="ignore"):
            gamma = Given.of(np.sqrt(truth.shifted).reshape(start.gamma.shape).astype(start.gamma.dtype))
            beta = Given.of(truth.mean.reshape(start.beta.shape).astype(start.beta.dtype))
        return msgspec.structs.replace(start, gamma=gamma, beta=beta)

    return (with_starts(case, change),)


def _first_inference(case: Case) -> tuple[int, Infer, Call] | None:
    for index, (step, call) in enumerate(zip(case.held.program, case.expanded.calls, strict=True)):
        if isinstance(step, Infer):
            return index, step, call
    return None


def in_batches(case: Case) -> tuple[Case, ...]:
    """The first inference step in place, then again in two batches, the second a partial one."""
    found = _first_inference(case)
    if found is None or not case.spec.reduction_axes:
        return ()
    index, step, call = found
    axis = case.spec.reduction_axes[0]
    assert call.x is not None
    extent = call.x.shape[axis]
    if extent < 2:
        return ()
    cut = (2 * extent + 2) // 3
    parts = np.split(call.x, [min(cut, extent - 1)], axis=axis)
    program = [*case.held.program[:index], msgspec.structs.replace(step, dy=None, tape=-1)]
    program += [Infer(Given.of(part), None, step.layer) for part in parts]
    return (rebuilt(case, program),)


def one_sample(case: Case) -> tuple[Case, ...]:
    """The first inference step in place, then its first sample alone, then its last."""
    found = _first_inference(case)
    if found is None or not case.spec.reduction_axes:
        return ()
    index, step, call = found
    axis = case.spec.reduction_axes[0]
    assert call.x is not None
    if call.x.shape[axis] < 2:
        return ()
    alone = [Given.of(np.take(call.x, [place], axis=axis)) for place in (0, -1)]
    program = [*case.held.program[:index], msgspec.structs.replace(step, dy=None, tape=-1)]
    program += [Infer(sample, None, step.layer) for sample in alone]
    return (rebuilt(case, program),)
