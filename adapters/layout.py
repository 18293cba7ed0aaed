"""Memory layouts of arrays: what an array's elements span, and the same layout rebuilt over a copy of it.

Python's own memory lies at multiples of sixteen bytes: where a contiguous array's does not (its *phase*), a copy keeps
that too.
"""

from typing import Any, NamedTuple, Optional, Tuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from adapters.interface import Array

#: Arrays begin at multiples of so many bytes in the frames of the wire, too.
ALIGNMENT = 16


class Layout(NamedTuple):
    """How an array lies in its memory; ``strides`` is None where it is contiguous in C order."""

    dtype: Any
    shape: Tuple[int, ...]
    strides: Optional[Tuple[int, ...]] = None
    offset: int = 0
    writeable: bool = True


def reach(array: Array) -> Tuple[int, int]:
    """Return the bytes that a non-empty array reaches before its first element and from there to its end."""
    before, after = 0, array.itemsize
    for extent, stride in zip(array.shape, array.strides):
        if stride < 0:
            before -= stride * (extent - 1)
        else:
            after += stride * (extent - 1)
    return before, after


def phase(array: Array) -> int:
    """Return how many bytes a contiguous array begins after a multiple of sixteen: none if NumPy made its memory."""
    if array.base is None or not array.size or not array.flags.c_contiguous:
        return 0
    address: int = array.__array_interface__["data"][0]
    return address % ALIGNMENT


def layout_of(array: Array) -> Layout:
    """Return how the array lies in ``memory_of(array)``."""
    if array.flags.c_contiguous:
        return Layout(array.dtype, array.shape, None, 0, array.flags.writeable)
    return Layout(array.dtype, array.shape, array.strides, reach(array)[0], array.flags.writeable)


def memory_of(array: Array) -> Array:
    """Return the bytes that the array spans, gaps between its elements included, as a flat view of them."""
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8)
    before, after = reach(array)
    lowest = array[tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in array.strides)]
    element = lowest[(slice(0, 1),) * array.ndim].reshape(1).view(np.uint8)
    return as_strided(element, shape=(before + after,), strides=(1,), writeable=False)


def arrange(buffer: Any, layout: Layout) -> Array:
    """Return an array of that layout over a buffer, without a copy; ValueError where it does not fit."""
    array: Array = np.ndarray(layout.shape, layout.dtype, buffer, layout.offset, layout.strides)
    if not layout.writeable:
        array.flags.writeable = False
    return array
