"""Smoke: one example sized for a hand, run before any drawn case, to tell what is wrong with an *adapter*.

It recognizes the mistakes that would make nearly every requirement fail, and turns them into advice. Whatever else is
wrong is left to the requirements.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adapters.checks import STATE_FIELDS
from adapters.interface import Array, Capabilities, Spec, State
from adapters.program import Call, Failure, Program, Trace
from conformance.session import Session

CHANNELS = 3
DECAY = 0.75
EPSILON = 2.0**-6
#: How far a result may be from the expected one, relative to its largest element: half precision is precise enough.
_CLOSE = 0.03
_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in (\S+)')
#: Parts of the paths of what is not the implementation's own code.
_NOT_THEIRS = ("/adapters/", "/site-packages/", "/lib/python", "<")


class Example(NamedTuple):
    """The example in one rank: what is asked, and what a plausible answer is."""

    spec: Spec
    x: Array
    dy: Array
    before: State
    after: State

    def program(self, capabilities: Capabilities) -> Program:
        """Train, infer, then infer from another state; as far as the capabilities go."""
        dy = self.dy if capabilities.training_gradients else None
        calls = (
            Call("infer", 0, self.x) if not capabilities.training else Call("train", 0, self.x, dy),
            Call("infer", 0, self.x),
            Call("set_state", state=self.after),
            Call("infer", 0, self.x),
        )
        return Program(self.spec, (self.before,), calls)


def ranks(capabilities: Capabilities) -> list[int]:
    """The declared ranks, those first that are most likely to work."""
    preferred = [2, 4, 3, 5, 1, 6]
    return sorted(capabilities.ranks, key=lambda rank: preferred.index(rank) if rank in preferred else rank + 10)


def example(rank: int, capabilities: Capabilities, dtype: str = "float32", flag: str = "") -> Example:
    """The example in a rank, the channels where the capabilities have them, with a flag ("center", "scale") off."""
    axis = rank - 1 if capabilities.axes == "last" or rank == 1 else 1
    extents = [4, 2, 5, 2, 3, 2][:rank] if rank > 1 else [CHANNELS]
    extents[axis] = CHANNELS
    spec = Spec(tuple(CHANNELS if a == axis else None for a in range(rank)), (axis,), EPSILON, DECAY, dtype=dtype)
    spec = spec._replace(center=flag != "center", scale=flag != "scale")
    size = int(np.prod(extents))
    # Small numbers without a pattern: 7 and 11 have no factor in common with any extent.
    x = ((np.arange(size) * 7) % 11 / 4 - 1).reshape(extents)
    along = [1] * rank
    along[axis] = CHANNELS
    x = x * np.reshape([1.0, 0.5, 2.0], along) + np.reshape([0.0, 0.75, -1.5], along)
    dy = ((np.arange(size) * 11 + 3) % 13 / 4 - 1.5).reshape(extents)
    before = _state(spec, [1.5, -2.0, 0.5], [0.5, 1.0, -1.0], [1.0, -0.5, 2.0], [0.25, 2.0, 4.0])
    after = _state(spec, [2.0, 0.75, -1.0], [-0.25, 0.0, 3.0], [-2.0, 0.25, 0.5], [1.0, 0.5, 9.0])
    if dtype == "bfloat16":
        raise ValueError("the example has no bfloat16")
    return Example(spec, x.astype(dtype), dy.astype(dtype), before, after)


def _state(spec: Spec, *values: list[float]) -> State:
    element = "float64" if spec.dtype == "float64" else "float32"
    gamma, beta, mean, variance = [np.array(v, element) for v in values]
    return State(gamma if spec.scale else None, beta if spec.center else None, mean, variance)


def smoke(session: Session) -> tuple[str, ...]:
    """Run the example; return what is wrong with the adapter, and what to do. Nothing, where it is plausible.

    The first rank that works is taken.
    """
    capabilities = session.description.capabilities
    failures: list[tuple[int, Failure]] = []
    for rank in ranks(capabilities):
        asked = example(rank, capabilities, capabilities.dtypes[0]) if _numeric(capabilities) else None
        if asked is None:
            return ()
        trace = session.run(asked.program(capabilities))
        if trace.failure is None:
            return tuple(_mistakes(asked, trace, capabilities.training))
        if trace.failure.kind == "unsupported" and not session.description.undeclared:
            # A refusal with a reason is an answer: it ends up in the report.
            return ()
        failures.append((rank, trace.failure))
        if not session.description.undeclared or trace.failure.kind in ("crash", "timeout"):
            break
    return (_failed(failures),) if failures else ()


def _numeric(capabilities: Capabilities) -> bool:
    return bool(capabilities.ranks) and capabilities.dtypes[0] != "bfloat16"


def _failed(failures: list[tuple[int, Failure]]) -> str:
    """What to say where no rank works: the failure of the rank that came furthest, and in brief those of the others."""
    # What is said of a result is of a call that went through.
    rank, failure = min(failures, key=lambda pair: not any(w in pair[1].message for w in (" must ", " returned ")))
    others = [f"rank {r}: {f.message[:100]}" for r, f in failures if f.message != failure.message]
    return _described(failure, rank) + (
        f" (in other ranks it does not run at all: {'; '.join(others)})" if others else ""
    )


def _described(failure: Failure, rank: int) -> str:
    where = f"{failure.method}(): " if failure.method and not failure.message.startswith(failure.method) else ""
    said = {
        "unsupported": "it refuses the simplest example of what it declares",
        "crash": "the process died",
        "timeout": "it hangs",
    }.get(failure.kind, "it raised")
    hint = ""
    if " got None" in failure.message and any(f" {name} " in failure.message for name in ("dx", "dgamma", "dbeta")):
        said = "gradients are absent"
        hint = (
            ". Return the gradients of sum(y * dy) (nothing between x and y may be detached), or declare "
            "training_gradients=False"
        )
    return f"{said}, with an input of rank {rank}: {where}{failure.message}{_place(failure)}{hint}"


def _place(failure: Failure) -> str:
    """The line of the implementation's own code at which it broke, as far as a stack tells."""
    frames = [found.groups() for line in failure.stderr if (found := _FRAME.search(line))]
    own = [frame for frame in frames if not any(part in frame[0] for part in _NOT_THEIRS)]
    if not own:
        return ""
    # A stack that is written by a dying or hanging process begins with the innermost frame, a traceback ends with it.
    file, line, name = own[0] if failure.kind in ("crash", "timeout") else own[-1]
    return f" ({Path(file).name}, line {line}, in {name})"


def _mistakes(asked: Example, trace: Trace, training: bool) -> list[str]:
    """All mistakes that the example shows, most basic first."""
    unsettable = _unsettable(asked, trace)
    if unsettable:
        return unsettable
    if not training:
        return _untouched(asked, trace)
    return [text for text in (*_modes(asked, trace), _momentum(asked, trace), _gradients(trace)) if text]


def _unsettable(asked: Example, trace: Trace) -> list[str]:
    found = []
    for where, expected, got in (
        ("after build(spec, state)", asked.before, trace.initial[0]),
        ("after set_state(state)", asked.after, trace.steps[2].state),
    ):
        for name in STATE_FIELDS:
            wanted, given = getattr(expected, name), None if got is None else getattr(got, name)
            if wanted is not None and (given is None or not _close(given, wanted)):
                found.append(
                    f"the state cannot be set: {where}, state().{name} is {_shown(given)}, expected {_shown(wanted)}, "
                    "the value that was given"
                )
    return found[:1]


def _normalized(asked: Example, mean: Array, variance: Array, state: State, axis: int) -> Array:
    shape = [1] * asked.x.ndim
    shape[axis] = -1
    gamma = 1.0 if state.gamma is None else state.gamma.astype(float).reshape(shape)
    beta = 0.0 if state.beta is None else state.beta.astype(float).reshape(shape)
    mean, variance = [np.asarray(a, float).reshape(shape) for a in (mean, variance)]
    y: Array = gamma * (asked.x.astype(float) - mean) / np.sqrt(variance + EPSILON) + beta
    return y


def _batch(asked: Example, axis: int) -> tuple[Array, Array]:
    others = tuple(a for a in range(asked.x.ndim) if a != axis)
    x = asked.x.astype(float)
    return x.mean(axis=others), x.var(axis=others)


def _modes(asked: Example, trace: Trace) -> list[str]:
    """Whether training normalizes with the batch, inference with the moving statistics, and both with the state."""
    (axis,) = asked.spec.channel_axes
    mean, variance = _batch(asked, axis)
    train, infer, last = [trace.steps[n].step for n in (0, 1, 3)]
    learned = trace.steps[0].state
    if train is None or infer is None or last is None or learned is None:
        return []
    y_train, y_infer = train.y, infer.y
    by_batch = _normalized(asked, mean, variance, asked.before, axis)
    by_start = _normalized(asked, *_statistics(asked.before), asked.before, axis)
    by_learned = _normalized(asked, *_statistics(learned), asked.before, axis)
    found = []
    if not _close(y_train, by_batch):
        if _close(y_train, by_start) or _close(y_train, by_learned):
            found.append(
                "the training flag is ignored: train() normalizes with the moving statistics; check how training mode "
                "is switched on"
            )
        elif _close(y_train, asked.x):
            found.append("train() returns its input unchanged")
        elif _close(y_train, _normalized(asked, mean, variance, State(), axis)):
            found.append("gamma and beta have no effect on train(): they reach other variables than those in use")
        else:
            found += _other_axis(asked, y_train, axis)
    if not _close(y_infer, by_learned) and _close(y_infer, by_batch):
        found.append(
            "the training flag is ignored: infer() normalizes with the statistics of the batch; check how inference "
            "mode is switched on"
        )
    if _close(last.y, y_infer) and not _close(last.y, _expected_last(asked, axis)):
        found.append("the state cannot be set: infer() gives the same y before and after set_state(state)")
    return found


def _untouched(asked: Example, trace: Trace) -> list[str]:
    """Whether inference alone sees the state."""
    first, last = trace.steps[1].step, trace.steps[3].step
    assert first is not None
    assert last is not None
    if _close(last.y, first.y) and not _close(last.y, _expected_last(asked, asked.spec.channel_axes[0])):
        return ["the state cannot be set: infer() gives the same y before and after set_state(state)"]
    return []


def _expected_last(asked: Example, axis: int) -> Array:
    return _normalized(asked, *_statistics(asked.after), asked.after, axis)


def _statistics(state: State) -> tuple[Array, Array]:
    assert state.moving_mean is not None
    assert state.moving_variance is not None
    return state.moving_mean, state.moving_variance


def _other_axis(asked: Example, y: Array, axis: int) -> list[str]:
    for other in range(asked.x.ndim):
        if other != axis and asked.x.shape[other] == CHANNELS:
            continue
        mean, variance = _batch(asked, other)
        shape = [1] * asked.x.ndim
        shape[other] = -1
        normalized = (asked.x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + EPSILON)
        if other != axis and _close(y, normalized):
            return [f"the channels are taken from axis {other}, expected axis {axis} of {asked.x.ndim}"]
    return []


def _momentum(asked: Example, trace: Trace) -> str:
    (axis,) = asked.spec.channel_axes
    mean, _ = _batch(asked, axis)
    old, _ = _statistics(asked.before)
    learned = trace.steps[0].state
    if learned is None or learned.moving_mean is None:
        return ""
    reversed_ = (1 - DECAY) * old + DECAY * mean
    if not _close(learned.moving_mean, reversed_) or _close(learned.moving_mean, DECAY * old + (1 - DECAY) * mean):
        return ""
    return (
        f"momentum is read the other way around: after a training step with decay {DECAY:g}, the weight of the old "
        f"value, moving_mean is {_shown(learned.moving_mean)}, which a decay of {1 - DECAY:g} gives. If the argument "
        "means just that, say so (--map momentum=decay: the weight of the old value; --map momentum=1-decay: of the "
        "new one; in an adapter pass 1 - spec.decay); if it does not, this is a fault of the update"
    )


def _gradients(trace: Trace) -> str:
    step = trace.steps[0].step
    if step is None or step.dx is None:
        return ""
    zero = [name for name in ("dx", "dgamma", "dbeta") if (g := getattr(step, name)) is not None and not g.any()]
    if not zero:
        return ""
    return f"gradients are absent: {' and '.join(zero)} of train(x, dy) are zero everywhere; is y detached from them?"


def _close(got: Array, expected: Array) -> bool:
    if got.shape != expected.shape:
        return False
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(float) - expected.astype(float)).max(initial=0.0)
    return bool(difference <= _CLOSE * max(1.0, float(np.abs(expected.astype(float)).max(initial=0.0))))


def _shown(array: Array | None) -> str:
    return "missing" if array is None else np.array2string(array.astype(float), precision=4, separator=", ")
