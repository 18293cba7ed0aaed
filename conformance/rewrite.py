"""Rewrites the programs of cases: fewer steps or reads, forward passes only, without what an adapter cannot do.

All are pure and total, as in ``conformance.derive``.
"""

from collections.abc import Sequence

import msgspec

from adapters.interface import Capabilities
from conformance.case import (
    ApplyUpdates,
    Backward,
    Case,
    GetState,
    Given,
    Gradient,
    Infer,
    Instruction,
    Reload,
    SecondOrder,
    SetState,
    Train,
)

replace = msgspec.structs.replace


def rebuilt(case: Case, program: Sequence[Instruction], **changes: object) -> Case:
    """The case with another program, holding its arrays: recipes of a state may speak of the first input.

    Layers are saved and restored in the drawn case alone: that is dear, and what follows from it is judged there.
    """
    cheap = tuple(replace(step, through="state") if isinstance(step, Reload) else step for step in program)
    return replace(case.held, program=cheap, repeat=False, **changes)


def recorded_in(program: tuple[Instruction, ...], number: int) -> int:
    """The number of the step whose backward pass step ``number`` is; ``number`` itself for any other step."""
    of = program[number]
    if not isinstance(of, Backward):
        return number
    for earlier in range(number - 1, -1, -1):
        step = program[earlier]
        if isinstance(step, Train | Infer) and step.tape == of.tape:
            return earlier
    raise ValueError(f"step {number} is a backward pass of nothing")


def sound(program: tuple[Instruction, ...]) -> bool:
    """Whether every backward pass belongs to a recorded step of its layer."""
    recorded = {(s.tape, s.layer, at) for at, s in enumerate(program) if isinstance(s, Train | Infer)}
    return all(
        any((s.tape, s.layer, at) in recorded for at in range(number))
        for number, s in enumerate(program)
        if isinstance(s, Backward)
    )


def asked(case: Case, capabilities: Capabilities) -> Case:
    """The case without what the capabilities exclude, as much of its meaning kept as they allow."""
    program = case.program
    if not capabilities.tape or not capabilities.training:
        program = _without_tapes(program)
    program = tuple(step for old in program for step in _allowed(old, capabilities))
    if not capabilities.training:
        program = tuple(step for step in program if not isinstance(step, Train | SecondOrder | ApplyUpdates))
    if program != case.program:
        case = replace(case, program=program)
    gradients = (("train", capabilities.training_gradients), ("infer", capabilities.inference_gradients))
    without = [op for op, has in gradients if not has]
    return without_gradients(case, *without) if without else case


def _without_tapes(program: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    """Forward steps with the upstream gradient of their first backward pass in place of recorded ones."""
    upstream: dict[int, Gradient | Given] = {}
    for number, step in enumerate(program):
        if isinstance(step, Backward):
            upstream.setdefault(recorded_in(program, number), step.dy)
    return tuple(
        replace(step, tape=-1, dy=upstream.get(number, step.dy)) if isinstance(step, Train | Infer) else step
        for number, step in enumerate(program)
        if not isinstance(step, Backward)
    )


def _allowed(step: Instruction, capabilities: Capabilities) -> tuple[Instruction, ...]:
    if isinstance(step, SecondOrder) and not capabilities.second_order:
        return (Train(step.x, step.dy, step.layer),)
    if isinstance(step, Reload) and not capabilities.save:
        return (replace(step, through="state"),)
    if not capabilities.separate_update:
        if isinstance(step, ApplyUpdates):
            return ()
        if isinstance(step, Train) and not step.update:
            return (replace(step, update=True),)
    return (step,)


def without_gradients(case: Case, *ops: str) -> Case:
    """The case with forward passes only, in steps of these operations (by default in all)."""
    forward: dict[str, type[Train | Infer]] = {"train": Train, "infer": Infer}
    kinds = tuple(forward[op] for op in ops or forward)
    program: list[Instruction] = []
    for number, step in enumerate(case.held.program):
        backward = isinstance(step, Backward) and isinstance(case.program[recorded_in(case.program, number)], kinds)
        if backward or (isinstance(step, SecondOrder) and Train in kinds):
            continue
        program.append(replace(step, dy=None) if isinstance(step, kinds) else step)
    return replace(case.held, program=tuple(program))


def has_gradients(case: Case) -> bool:
    """Whether any step asks for gradients."""
    return any(
        isinstance(step, Backward | SecondOrder) or (isinstance(step, Train | Infer) and step.dy is not None)
        for step in case.program
    )


def forward_only(case: Case) -> tuple[Case, ...]:
    """The case with forward passes only, where it has any gradients."""
    return (rebuilt(case, list(without_gradients(case).program)),) if has_gradients(case) else ()


def unread(case: Case) -> tuple[Case, ...]:
    """The case with its state read at the end only; nothing unless an inference follows a change of its layer."""
    changed: set[int] = set()
    useful = False
    for step in case.program:
        useful |= isinstance(step, Infer) and step.layer in changed
        if isinstance(step, Train | SetState):
            changed.add(step.layer)
    if not useful:
        return ()
    return (rebuilt(case, [s for s in case.held.program if not isinstance(s, GetState | Reload)], read="end"),)


def single_layer(case: Case) -> tuple[Case, ...]:
    """The last step's layer on its own; nothing where the program uses one layer only."""
    if len({step.layer for step in case.program}) < 2:
        return ()
    kept = case.program[-1].layer
    program = [replace(step, layer=0) for step in case.held.program if step.layer == kept]
    return (rebuilt(case, program, starts=(case.held.starts[kept],)),)


def updates_left_out(case: Case) -> tuple[Case, ...]:
    """The case with every training step's update left out; a recorded step's cannot be."""
    program: list[Instruction] = [
        replace(step, update=False) if isinstance(step, Train) and step.tape < 0 else step
        for step in case.held.program
        if not isinstance(step, ApplyUpdates)
    ]
    return (rebuilt(case, program, read="every"),)


def uninterrupted(case: Case) -> tuple[Case, ...]:
    """The case without the layers' being replaced by others; nothing where none is."""
    program = [step for step in case.held.program if not isinstance(step, Reload)]
    return (rebuilt(case, program),) if len(program) < len(case.program) else ()


def unrecorded(case: Case) -> tuple[Case, ...]:
    """The case with each recorded step as an ordinary one, its backward passes left out; nothing where none is."""
    if all(not isinstance(step, Train | Infer) or step.tape < 0 for step in case.program):
        return ()
    program: list[Instruction] = [
        replace(step, tape=-1) if isinstance(step, Train | Infer) else step
        for step in case.held.program
        if not isinstance(step, Backward)
    ]
    return (rebuilt(case, program),)
