"""Arrays to JAX and back, for the adapters that run on it. Runs on Python 3.6."""

import importlib
from typing import Any, Tuple

import numpy as np

from adapters.interface import Array, Spec

# Untyped on purpose: the checks of this module must not depend on which JAX is installed, if any.
jax: Any = importlib.import_module("jax")


def dtypes() -> Tuple[str, ...]:
    """The element types that this process' JAX has: float64 where JAX_ENABLE_X64 is set."""
    return ("float32", "float16", "bfloat16", *(("float64",) if jax.config.jax_enable_x64 else ()))


def to_jax(spec: Spec, a: Array) -> Any:
    """A copy of an array of the spec's element type."""
    copy = np.array(a, order="C")
    # jax.numpy.asarray compiles a copy for each shape.
    return jax.device_put(copy.view(jax.numpy.bfloat16) if spec.dtype == "bfloat16" else copy)


def from_jax(a: Any) -> Array:
    """A copy of an array; the upper halves of floats where it is of bfloat16."""
    found = np.array(a, order="C")
    return found.view(np.uint16) if found.dtype == jax.numpy.bfloat16 else found
