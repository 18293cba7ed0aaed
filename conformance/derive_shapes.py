"""Derives cases of other shapes, layouts and element types: the same numbers, seen otherwise.

As in ``conformance.derive`` all are pure and total. Those that need another spec, and with it another graph, do so for
a share of the specs only.
"""

import math
import zlib
from collections.abc import Callable

import msgspec
import numpy as np

from adapters.interface import Array, Spec, State
from conformance._layouts import Layout
from conformance.case import Case, Given, Infer, Instruction, SetState, Start, Train
from conformance.derive import first_training

#: What an array of a step becomes: the array itself, and the number of its step.
Reshape = Callable[[Array, int], Array]


def _reshaped(case: Case, change: Reshape, layout: Layout = "c") -> list[Instruction]:
    """The program with every array of x's shape changed, in C order or in another layout."""
    program: list[Instruction] = []
    for index, (step, call) in enumerate(zip(case.held.program, case.expanded.calls, strict=True)):
        arrays = {name: getattr(call, name) for name in ("x", "dy", "v") if getattr(step, name, None) is not None}
        changed = {name: Given.of(change(a, index), layout) for name, a in arrays.items()}
        program.append(msgspec.structs.replace(step, **changed) if changed else step)
    return program


def _with(case: Case, program: list[Instruction], **changes: object) -> Case:
    return msgspec.structs.replace(case.held, program=tuple(program), repeat=False, **changes)


def laid_out_otherwise(case: Case) -> tuple[Case, ...]:
    """The case with all arrays in C order; where they are, as is usual beside it. Images come with channels last."""
    given = (getattr(step, name, None) for step in case.program for name in ("x", "dy", "v"))
    layouts = {a.layout for a in given if a is not None}
    if not layouts:
        return ()
    usual = _usual(case.spec)
    other = usual if layouts == {"c"} or (usual == "channels-last" and layouts != {usual}) else "c"
    return (_with(case, _reshaped(case, lambda a, _: a, other)),)


def _usual(spec: Spec) -> Layout:
    """The layout beside C order that arrays of a spec come in most often: what convolutions like, or transposed."""
    if spec.rank < 3 or len(spec.axis) > 1:
        return "fortran"
    if spec.channel_axes == (1,):
        return "channels-last"
    return "channels-first" if spec.channel_axes == (spec.rank - 1,) else "fortran"


def _first_training(case: Case, change: Callable[[Array], Array]) -> Case | None:
    """The first training step with its gradients, on x and dy changed; None where there is none."""
    index = next((i for i, step in enumerate(case.held.program) if isinstance(step, Train)), None)
    if index is None:
        return None
    step, call = case.held.program[index], case.expanded.calls[index]
    assert isinstance(step, Train)
    assert call.x is not None
    dy = None if call.dy is None else Given.of(change(call.dy))
    x = Given.of(change(call.x))
    alone = msgspec.structs.replace(step, x=x, dy=dy, layer=0, tape=-1, times=1, update=True)
    return _with(first_training(case), [alone], read="every")


def empty_batch(case: Case) -> tuple[Case, ...]:
    """The first training step on no samples, inference on none and on what there was; the step on that once more.

    Before the last one the state is set anew: what no samples made of the moving statistics is gone by then.
    """
    if not case.spec.reduction_axes:
        return ()
    axis = case.spec.reduction_axes[0]
    found = _first_training(case, lambda a: a.take([], axis=axis))
    whole = _first_training(case, lambda a: a)
    if found is None or whole is None:
        return ()
    empty, full = found.program[0], whole.program[0]
    assert isinstance(empty, Train)
    assert isinstance(full, Train)
    program: list[Instruction] = [empty, Infer(empty.x), Infer(full.x)]
    assert isinstance(full.x, Given)
    if full.x.array.size > math.prod(case.spec.parameter_shape):
        program += [SetState(found.starts[0]), full]
    return (_with(found, program, read="every"),)


def _free(spec: Spec) -> bool:
    """Whether the extents of all reduced axes are free."""
    return all(spec.shape[axis] is None for axis in spec.reduction_axes)


def single_element(case: Case) -> tuple[Case, ...]:
    """The first training step on the first position alone: one element per channel, where the extents are free."""
    if not _free(case.spec):
        return ()
    corner = tuple(slice(None) if a in case.spec.channel_axes else slice(0, 1) for a in range(case.spec.rank))
    found = _first_training(case, lambda a: a[corner])
    return () if found is None else (found,)


def regrouped(case: Case) -> tuple[Case, ...]:
    """The case with all positions along the first reduced axis, or along the last where they were along the first."""
    axes = case.spec.reduction_axes
    if len(axes) < 2 or not _free(case.spec):
        return ()
    order = case.spec.channel_axes + axes
    back = np.argsort(order)

    def change(a: Array, _: int) -> Array:
        moved = a.transpose(order)
        count = int(np.prod([a.shape[axis] for axis in axes]))
        along_first = a.shape[axes[0]] < count
        ones = (1,) * (len(axes) - 1)
        channels = moved.shape[: -len(axes)]
        return moved.reshape(channels + ((count, *ones) if along_first else (*ones, count))).transpose(back)

    return (_with(case, _reshaped(case, change)),)


def _seldom(case: Case) -> bool:
    """True for one spec in three: a derived spec costs another graph, whatever the number of cases."""
    return zlib.crc32(repr(case.spec).encode()) % 3 == 0


def chosen_channel(case: Case) -> int:
    """The channel that ``alone`` takes: the last of an odd number, else the one in the middle."""
    channels = int(np.prod(case.spec.parameter_shape))
    return channels - 1 if channels % 2 else channels // 2


def alone(case: Case) -> tuple[Case, ...]:
    """The case with one channel only; nothing where it has no more, and for two specs in three."""
    spec = case.spec
    if int(np.prod(spec.parameter_shape)) < 2 or not _seldom(case):
        return ()
    place = np.unravel_index(chosen_channel(case), spec.parameter_shape)
    index: list[slice] = [slice(None)] * spec.rank
    for axis, i in zip(spec.channel_axes, place, strict=True):
        index[axis] = slice(int(i), int(i) + 1)
    shape = tuple(1 if axis in spec.channel_axes else extent for axis, extent in enumerate(spec.shape))

    def start(held: Start) -> Start:
        changed = {}
        for name in State._fields[:4]:
            value = getattr(held, name)
            if isinstance(value, Given):
                changed[name] = Given.of(value.array[place].reshape((1,) * len(place)))
        return msgspec.structs.replace(held, **changed)

    program = [
        msgspec.structs.replace(s, state=start(s.state)) if isinstance(s, SetState) else s
        for s in _reshaped(case, lambda a, _: a[tuple(index)])
    ]
    return (_with(case, program, spec=spec._replace(shape=shape), starts=tuple(start(s) for s in case.held.starts)),)


def other_axis(case: Case) -> tuple[Case, ...]:
    """The case with its axes written otherwise: from the other end, in the other order; for one spec in three."""
    if not _seldom(case):
        return ()
    rank = case.spec.rank
    axis = tuple(a - rank if a >= 0 else a + rank for a in reversed(case.spec.axis))
    return (_with(case, list(case.held.program), spec=case.spec._replace(axis=axis)),)


def widened(case: Case) -> tuple[Case, ...]:
    """A case in half precision on the same numbers in float32; nothing for other types."""
    if case.spec.dtype not in ("float16", "bfloat16"):
        return ()
    spec: Spec = case.spec._replace(dtype="float32")
    return (_with(case, _reshaped(case, lambda a, _: a.astype(np.float32)), spec=spec),)
