"""Cuts a program in two where its layers are saved in one process and restored in the next, and joins the traces."""

from pathlib import Path

from adapters.program import Call, Program, StepTrace, Trace


def first_restart(program: Program) -> int:
    """The number of the first call that asks for a new process; -1 where none does."""
    numbers = (n for n, call in enumerate(program.calls) if call.op == "reload" and call.through == "process")
    return next(numbers, -1)


def cut(program: Program, at: int, folder: Path) -> tuple[Program, Program]:
    """The program up to call ``at``, then saving every layer to the folder; and what follows, on restored layers."""
    paths = tuple(str(folder / f"layer{number}") for number in range(len(program.states)))
    saving = tuple(Call("save", number, path=path) for number, path in enumerate(paths))
    before = program._replace(calls=program.calls[:at] + saving, repeat=False)
    return before, program._replace(calls=program.calls[at + 1 :], repeat=False, saved=paths)


def without_saving(before: Trace, at: int) -> Trace:
    """The trace of the first part without the calls that saved."""
    return before._replace(steps=before.steps[:at])


def joined(before: Trace, after: Trace, at: int, layer: int) -> Trace:
    """One trace of both parts; the call that restarted returned when the layers were restored."""
    steps = list(before.steps[:at])
    if after.conventions is not None:
        read = after.initial[layer] if after.initial else None
        steps.append(StepTrace(at, state=read))
        steps += [step._replace(index=step.index + at + 1) for step in after.steps]
    return Trace(
        before.conventions,
        before.initial,
        tuple(steps),
        after.final,
        before.observations + after.observations,
        after.failure,
        before.seconds + after.seconds,
        before.wall + after.wall,
        {**before.details, **after.details},
    )
