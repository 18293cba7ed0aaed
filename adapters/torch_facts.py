"""What the installed torch does where its versions differ: found out by asking it, not by version numbers."""

import functools
import importlib
import math
from typing import Any, Tuple

# Untyped on purpose: the checks of this module must not depend on which torch is installed, if any.
torch: Any = importlib.import_module("torch")


@functools.lru_cache(maxsize=None)
def dtypes() -> Tuple[str, ...]:
    """The element types of x that batch normalization takes on the CPU, parameters and buffers in float32 at least.

    The halves came late: float16 is not implemented in torch 1.0, and that has no bfloat16.
    """
    return tuple(dtype for dtype in ("float32", "float64", "float16", "bfloat16") if _takes(dtype))


def _takes(dtype: str) -> bool:
    module = torch.nn.BatchNorm1d(1)
    try:
        x = torch.zeros(2, 1).to(getattr(torch, dtype)).requires_grad_(True)
        module.to(torch.float64 if dtype == "float64" else torch.float32)(x).sum().backward()
    except (AttributeError, RuntimeError):
        return False
    return True


@functools.lru_cache(maxsize=None)
def differentiates_bias_alone() -> bool:
    """Whether a module with a bias and without a weight can be differentiated: "undefined Tensor" in torch 1.0."""
    module = torch.nn.BatchNorm1d(1)
    module.weight = None
    try:
        module(torch.tensor([[0.0], [1.0]])).sum().backward()
    except RuntimeError:
        return False
    return True


@functools.lru_cache(maxsize=None)
def empty() -> str:
    """What training on an empty batch does to the running statistics, as ``Conventions.empty`` says it."""
    module = torch.nn.BatchNorm1d(1)
    try:
        module(torch.zeros(0, 1))
    except (RuntimeError, ValueError):
        return "refused"
    return "nan" if math.isnan(float(module.running_mean)) else "unchanged"
