"""Memory layouts that arrays come in: the same values, elsewhere in memory."""

from typing import Literal, get_args

import numpy as np

from adapters.interface import Array

#: "c" and "fortran" order; all axes "reversed" (negative strides); "strided" (every second element along the first and
#: the last axis of a larger array); "channels-last" (axis 1 varies fastest in memory) and "channels-first" (the last
#: axis lies second in memory); "broadcast" (stride 0 along an axis on which nothing varies); "offset" (an address that
#: is a multiple of the element's size and of no vector's); "read-only".
Layout = Literal[
    "c", "fortran", "reversed", "strided", "channels-last", "channels-first", "broadcast", "offset", "read-only"
]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
#: Addresses that are multiples of it suit every vector unit.
_ALIGNED = 64


def lay_out(a: Array, layout: Layout) -> Array:
    """Return the values of ``a`` in that layout, in memory of their own; writeable unless read-only or broadcast."""
    if layout in ("c", "read-only"):
        copy = np.array(a, order="C")
        copy.flags.writeable = layout == "c"
        return copy
    if layout == "fortran":
        return np.array(a, order="F")
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * a.ndim
        return np.array(a[backwards], order="C")[backwards]
    if layout == "strided":
        return _strided(a)
    if layout == "broadcast":
        return _broadcast(a)
    return _offset(a) if layout == "offset" else _permuted(a, layout)


def _strided(a: Array) -> Array:
    shape = list(a.shape)
    index = [slice(None)] * a.ndim
    for axis in {0, a.ndim - 1}:
        shape[axis] *= 2
        index[axis] = slice(None, None, 2)
    # Whoever reads the gaps shall notice.
    view: Array = np.full(shape, np.nan, a.dtype)[tuple(index)]
    view[...] = a
    return view


def _permuted(a: Array, layout: Layout) -> Array:
    if a.ndim <= 2:
        return np.array(a, order="F")
    source, target = (1, -1) if layout == "channels-last" else (-1, 1)
    return np.moveaxis(np.array(np.moveaxis(a, source, target), order="C"), target, source)


def _broadcast(a: Array) -> Array:
    for axis, extent in enumerate(a.shape):
        first = a.take([0], axis=axis) if extent > 1 else a
        if extent > 1 and np.array_equal(a, np.broadcast_to(first, a.shape)):
            return np.broadcast_to(np.array(first, order="C"), a.shape)
    return lay_out(a, "c")


def _offset(a: Array) -> Array:
    memory = np.zeros(a.nbytes + 2 * _ALIGNED, np.uint8)
    address = memory.__array_interface__["data"][0]
    start = -address % _ALIGNED + a.dtype.itemsize
    view = memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def levelled(a: Array, seed: int) -> Array:
    """Values that do not vary along one axis, which the seed chooses among those with more than one element."""
    axes = [axis for axis, extent in enumerate(a.shape) if extent > 1]
    if not axes:
        return a
    return np.array(np.broadcast_to(a.take([0], axis=axes[seed % len(axes)]), a.shape))
