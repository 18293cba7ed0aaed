"""Derives cases in which a layer is given a state: that another implementation has trained, or of unusual numbers."""

from typing import Any

import msgspec
import numpy as np

from adapters.interface import State
from adapters.numpy_reference import NumpyReference
from adapters.program import Program
from conformance._layouts import Layout
from conformance.case import Case, Given, Infer, Instruction, Reload, SetState, Start, Train
from conformance.rewrite import rebuilt

replace = msgspec.structs.replace

#: How unusual numbers lie in memory, along one axis and along several.
_LAYOUTS: tuple[tuple[Layout, ...], ...] = (("c", "reversed", "strided"), ("fortran", "reversed", "strided"))


def carried(case: Case) -> tuple[Case, ...]:
    """What follows a training step, on a layer built from the state in which the reference is after that step alone.

    It is the first step that others of its layer follow; nothing where there is none. Training leaves gamma and beta as
    they are.
    """
    held = case.held
    for number, step in enumerate(held.program):
        following = _following(held, number) if isinstance(step, Train) and step.update else []
        if following:
            state = _trained(case.expanded, number)
            statistics = {name: Given.of(getattr(state, name)) for name in ("moving_mean", "moving_variance")}
            start = replace(held.starts[step.layer], **statistics)
            return (rebuilt(case, following, starts=(start,), read="every"),)
    return ()


def _following(case: Case, number: int) -> list[Instruction]:
    """The forward steps of the same layer after one, as steps of a layer of their own."""
    return [
        replace(step, layer=0, tape=-1)
        for step in case.program[number + 1 :]
        if isinstance(step, Train | Infer) and step.layer == case.program[number].layer
    ]


def _trained(program: Program, number: int) -> State:
    """The reference's state after a training step from the state that its layer starts with."""
    call = program.calls[number]
    assert call.x is not None  # a training step has an input
    layer = NumpyReference().build(program.spec, program.states[call.layer])
    with np.errstate(all="ignore"):
        for _ in range(call.times):
            layer.train(call.x)
    return layer.state()


def unusual(case: Case) -> tuple[Case, ...]:
    """A layer that is given unusual numbers and then replaced, in the way in which the case does it.

    They are negative zeros, subnormals, the largest numbers, infinities, NaN and numbers of many digits. There is
    nothing where the case replaces no layer.
    """
    reload = next((step for step in case.program if isinstance(step, Reload)), None)
    if reload is None:
        return ()
    # A process of its own would show no more than a file, and cost much more.
    through = "file" if reload.through == "process" else reload.through
    first = len(case.program) + case.starts[0].seed
    mean, gamma, beta = (_unusual_numbers(case, first + number, signed=True) for number in range(3))
    state = Start(gamma, beta, mean, _unusual_numbers(case, first + 3, signed=False))
    program = (SetState(state), Reload(through=through))
    return (replace(case.held, starts=case.held.starts[:1], program=program, read="every", repeat=False),)


def _unusual_numbers(case: Case, first: int, *, signed: bool) -> Given:
    """An array of the parameters' shape with these numbers in turn, every second one negated where they are signed."""
    dtype: type[np.floating[Any]] = np.float64 if case.spec.parameter_dtype == "float64" else np.float32
    limits = np.finfo(dtype)
    values = np.array((-0.0, limits.smallest_subnormal, np.nan, limits.max, np.inf, 1 / 3), dtype)
    size = int(np.prod(case.spec.parameter_shape, dtype=np.int64))
    dealt = np.resize(np.roll(values if signed else np.abs(values), first), size)
    if signed:
        # The sign of NaN means nothing: not even NumPy keeps it everywhere.
        other = (np.arange(size) // 2 + first) % 2 == 0
        dealt = np.where(other & ~np.isnan(dealt), -dealt, dealt)
    layouts = _LAYOUTS[len(case.spec.axis) > 1]
    return Given.of(dealt.reshape(case.spec.parameter_shape), layouts[first % len(layouts)])
