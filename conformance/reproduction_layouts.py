"""Writes arrays as code, to the bit, and the memory layouts that they come in."""

import base64
import textwrap
from typing import Any

import ml_dtypes
import numpy as np

from adapters.interface import Array

#: Elements up to which an array is written out; larger ones are packed.
WRITTEN_OUT = 600
#: Characters of a line.
WIDTH = 100


def array(a: Array) -> str:
    """An expression for an array, whose text gives every bit of it back."""
    if a.dtype == ml_dtypes.bfloat16:
        a = a.view(np.uint16)
    if a.size > WRITTEN_OUT:
        data = base64.b64encode(np.ascontiguousarray(a).tobytes()).decode("ascii")
        lines = "\n".join(f'    "{part}"' for part in textwrap.wrap(data, WIDTH))
        return f"np.frombuffer(base64.b64decode(\n{lines}\n), {a.dtype.str!r}).reshape({a.shape}).copy()"
    values = [_number(v) for v in a.reshape(-1)]
    text = f"np.array([{', '.join(values)}], np.{a.dtype})"
    if a.ndim != 1:
        text += f".reshape({', '.join(map(str, a.shape)) or '()'})"
    return "\n    ".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _number(value: Any) -> str:
    if np.isnan(value):
        return "np.nan"
    if np.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    # The shortest text that NumPy reads back as the same number of this type.
    text = str(value)
    return text if text == "-0.0" else text.removesuffix(".0")


def laid_out(name: str, a: Array, layout: str) -> list[str]:
    """Lines that put the array of that variable into a layout: see ``conformance._layouts``."""
    rank = a.ndim
    if layout == "c" or not rank:
        return []
    if layout == "read-only":
        return [f"{name}.flags.writeable = False"]
    if layout == "fortran" or (layout in ("channels-last", "channels-first") and rank <= 2):
        return [f"{name} = np.asfortranarray({name})"]
    if layout == "reversed":
        backwards = ", ".join(["::-1"] * rank)
        return [f"{name} = np.ascontiguousarray({name}[{backwards}])[{backwards}]"]
    if layout in ("channels-last", "channels-first"):
        source, target = (1, -1) if layout == "channels-last" else (-1, 1)
        inner = f"np.ascontiguousarray(np.moveaxis({name}, {source}, {target}))"
        return [f"{name} = np.moveaxis({inner}, {target}, {source})"]
    return _over_memory(name, a, layout)


def _over_memory(name: str, a: Array, layout: str) -> list[str]:
    """Lines for layouts with memory of their own."""
    if layout == "broadcast":
        axis = next((axis for axis, stride in enumerate(a.strides) if stride == 0 and a.shape[axis] > 1), None)
        return [] if axis is None else [f"{name} = np.broadcast_to({name}.take([0], {axis}), {name}.shape)"]
    if layout == "offset":
        memory = f"np.zeros({a.size + 1}, {name}.dtype)[1:].reshape({name}.shape)"
    else:
        shape = tuple(extent * 2 if axis in (0, a.ndim - 1) else extent for axis, extent in enumerate(a.shape))
        index = ", ".join("::2" if axis in (0, a.ndim - 1) else ":" for axis in range(a.ndim))
        memory = f"np.full({shape}, np.nan).astype({name}.dtype)[{index}]"
    return [f"{name}_memory = {memory}", f"{name}_memory[...] = {name}", f"{name} = {name}_memory"]
