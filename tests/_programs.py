"""Small programs for the tests of executor, hosts and sessions."""

from pathlib import Path
from typing import Any

import numpy as np

from adapters.interface import Spec, State
from adapters.program import Call, Program

HOSTILE = Path(__file__).parent / "hostile"
REFERENCE = "adapters.numpy_reference:NumpyReference"
SPEC = Spec((None, 3), (-1,), 1e-3, 0.5)
Array = np.ndarray[Any, Any]


def hostile(name: str) -> str:
    """Return the target of a hostile adapter given as ``module:Class``."""
    return f"{HOSTILE}/{name.replace(':', '.py:')}"


def values(*shape: int, seed: int = 0) -> Array:
    """Return random float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def state() -> State:
    """Return a state of three channels."""
    return State(values(3, seed=1), values(3, seed=2), values(3, seed=3), np.abs(values(3, seed=4)))


def program(*operations: str, layers: int = 1, read: str = "every", repeat: bool = False, spec: Spec = SPEC) -> Program:
    """Return a program of those operations on layers in turn; "train!" and "infer!" ask for no gradients."""
    calls = []
    for index, operation in enumerate(operations):
        name, layer = operation.rstrip("!"), index % layers
        if name == "set_state":
            calls.append(Call(name, layer, state=state()))
        elif name in ("train", "infer"):
            dy = None if operation.endswith("!") else values(4, 3, seed=20 + index)
            calls.append(Call(name, layer, values(4, 3, seed=10 + index), dy))
        else:
            calls.append(Call(name, layer))
    return Program(spec, (state(),) * layers, tuple(calls), read, repeat)
