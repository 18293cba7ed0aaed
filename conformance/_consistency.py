"""Says what does not fit together in a program that was read from a file and that nobody here has drawn."""

import math

from adapters.interface import Array, Spec, State
from adapters.program import Call, Program
from conformance.formats import FORMATS


def check_spec(spec: Spec) -> None:
    """Raise ValueError, naming the field, where the spec is none."""
    if any(not -spec.rank <= axis < spec.rank for axis in spec.axis):
        raise ValueError(f"axis {spec.axis} is not within rank {spec.rank}")
    if not spec.axis or len(set(spec.channel_axes)) < len(spec.axis):
        raise ValueError(f"axis {spec.axis} names no axis, or one twice")
    if any(extent is not None and extent < 0 for extent in spec.shape):
        raise ValueError(f"shape {spec.shape} has a negative extent")
    if spec.dtype not in FORMATS:
        raise ValueError(f"dtype {spec.dtype!r} is none of {', '.join(FORMATS)}")
    if not 0 <= spec.epsilon < math.inf:
        raise ValueError(f"epsilon {spec.epsilon} is no finite number from 0")
    if not 0 <= spec.decay <= 1:
        raise ValueError(f"decay {spec.decay} is not between 0 and 1")
    _ = spec.parameter_shape  # raises ValueError where a channel extent is unknown


def check_program(program: Program) -> None:
    """Raise ValueError, naming the step or layer, where arrays and layers do not fit the spec."""
    if not program.states:
        raise ValueError("there is no layer")
    for layer, state in enumerate(program.states):
        missing = _missing(state, program.spec)
        if missing:
            raise ValueError(f"layer {layer} starts without {missing}")
    recorded: dict[tuple[int, int], tuple[int, ...]] = {}
    for step, call in enumerate(program.calls):
        if not 0 <= call.layer < len(program.states):
            raise ValueError(f"step {step} is on layer {call.layer} of {len(program.states)}")
        _check_arrays(step, call, program.spec)
        if call.tape >= 0 and call.x is not None:
            recorded[call.layer, call.tape] = call.x.shape
        elif call.op == "backward":
            _check_backward(step, call, recorded)


def _check_backward(step: int, call: Call, recorded: dict[tuple[int, int], tuple[int, ...]]) -> None:
    shape = recorded.get((call.layer, call.tape))
    if shape is None:
        raise ValueError(f"step {step}: layer {call.layer} has recorded nothing under {call.tape}")
    if call.dy is None or call.dy.shape != shape:
        raise ValueError(f"step {step}: dy does not fit the recorded x of shape {shape}")


def _missing(state: State, spec: Spec) -> str:
    needed = {"gamma": spec.scale, "beta": spec.center, "moving_mean": True, "moving_variance": True}
    return ", ".join(name for name, exists in needed.items() if exists and getattr(state, name) is None)


def _check_arrays(step: int, call: Call, spec: Spec) -> None:
    if call.x is None:
        return
    extents = zip(call.x.shape, spec.shape, strict=False)
    if call.x.ndim != spec.rank or any(wanted not in (None, extent) for extent, wanted in extents):
        raise ValueError(f"step {step}: x of shape {call.x.shape} does not fit the spec's {spec.shape}")
    for name, array in (("dy", call.dy), ("v", call.v)):
        if array is not None and array.shape != call.x.shape:
            raise ValueError(f"step {step}: {name} of shape {array.shape} does not fit x of shape {call.x.shape}")
    for name, array in (("x", call.x), ("dy", call.dy), ("v", call.v)):
        if array is not None and _name(array) != spec.dtype:
            raise ValueError(f"step {step}: {name} is {_name(array)}, not the spec's {spec.dtype}")


def _name(array: Array) -> str:
    return array.dtype.name
