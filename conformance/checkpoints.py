"""Tells whether a layer saved by one implementation goes on in another: what is restored, infers and trains the same.

The framework's own format goes from a host into another one, such as that of a later version. What the restored layer
gives is compared, to the bit, with a layer of the second implementation that was built from the first one's arrays.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Spec, State, Step
from adapters.program import Call, Failure, Program, Trace
from conformance.capability import refusal
from conformance.restart import cut
from conformance.session import Session

CHANNELS = 3
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


class Carried(NamedTuple):
    """What came of carrying one layer over: empty texts where all is well."""

    spec: Spec
    #: Why one of the two has no such layer.
    absent: str = ""
    #: Why nothing could be saved, restored or run.
    refused: str = ""
    #: What is not the same.
    differs: str = ""


def carry(first: Session, second: Session) -> Iterator[Carried]:
    """Save trained layers in the first session, restore them in the second one, infer and go on training there."""
    mine, theirs = first.description.capabilities, second.description.capabilities
    for axis, rank in ((1, 2), (3, 4), (1, 4)):
        for flags in ((True, True), (False, True), (True, False)):
            shape = tuple(CHANNELS if a == axis else None for a in range(rank))
            spec = Spec(shape, (axis,), 1e-3, 0.75, center=flags[0], scale=flags[1])
            if not refusal(spec, mine) and not refusal(spec, theirs):
                yield _carried(first, second, spec)


def _carried(first: Session, second: Session, spec: Spec) -> Carried:
    program = _program(spec)
    with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
        before, after = cut(program, 2, Path(folder))
        saved = first.run(before)
        if saved.failure is not None:
            return _broken(spec, saved.failure, "saving")
        state = saved.steps[1].state
        assert state is not None
        restored = second.run(after)
    built = second.run(after._replace(states=(state,), saved=()))
    for trace, what in ((restored, "restoring"), (built, "building")):
        if trace.failure is not None:
            return _broken(spec, trace.failure, what)
    return Carried(spec, differs=_difference(state, restored, built))


def _broken(spec: Spec, failure: Failure, what: str) -> Carried:
    text = f"{failure.method or what}: {failure.message}"
    return Carried(spec, absent=text) if failure.kind == "unsupported" else Carried(spec, refused=text)


def _program(spec: Spec) -> Program:
    """Two training steps, a new process, an inference step, two training steps, and an inference step."""
    rng = np.random.default_rng(7)

    def data(m: int) -> Array:
        shape = [m if extent is None else extent for extent in spec.shape]
        return rng.normal(0.5, 2, shape).astype(spec.dtype)

    gamma, beta, mean = [rng.normal(size=CHANNELS).astype(spec.dtype) for _ in range(3)]
    variance = rng.uniform(0.5, 2, CHANNELS).astype(spec.dtype)
    state = State(gamma if spec.scale else None, beta if spec.center else None, mean, variance)
    ops = ("train", "train", "reload", "infer", "train", "train", "infer")
    calls = [Call(op, through="process") if op == "reload" else Call(op, x=data(4), dy=data(4)) for op in ops]
    return Program(spec, (state,), tuple(calls))


def _difference(state: State, restored: Trace, built: Trace) -> str:
    """The first thing in which a restored layer is not one that was built from the same arrays."""
    for name in NAMES:
        if not _same(getattr(state, name), getattr(restored.initial[0], name)):
            return f"{name} was not restored as it was saved"
    for mine, theirs in zip(restored.steps, built.steps, strict=True):
        what = "inference" if mine.index == 0 else "what comes after"
        assert mine.step is not None
        assert theirs.step is not None
        pairs = [(name, getattr(mine.step, name), getattr(theirs.step, name)) for name in Step._fields]
        pairs += [(name, getattr(mine.state, name, None), getattr(theirs.state, name, None)) for name in NAMES]
        wrong = next((name for name, a, b in pairs if not _same(a, b)), "")
        if wrong:
            return f"{what}: {wrong} is another one"
    return ""


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a.reshape(-1), b.reshape(-1).astype(a.dtype), equal_nan=True)
