"""Derives cases in which a layer takes over the state that another implementation has trained."""

import msgspec
import numpy as np

from adapters.interface import State
from adapters.numpy_reference import NumpyReference
from adapters.program import Program
from conformance.case import Case, Given, Infer, Instruction, Train
from conformance.rewrite import rebuilt

replace = msgspec.structs.replace


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
