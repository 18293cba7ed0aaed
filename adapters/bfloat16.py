"""bfloat16 for adapters, with NumPy alone: such arrays reach them as uint16, the upper half of a float32's bits."""

import numpy as np

from adapters.interface import Array


def widen(bits: Array) -> Array:
    """Return the numbers of bfloat16 bits as float32, exactly."""
    wide: Array = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide


def narrow(a: Array) -> Array:
    """Return the bits of the nearest bfloat16 numbers, ties to even: rounded once, from float64 too."""
    single = a.astype(np.float32)
    bits = single.view(np.uint32)
    if a.dtype.itemsize > 4:
        # Rounding to odd keeps what the second rounding needs to know of the digits that the first one drops.
        bits = np.where(np.abs(single) > np.abs(a), bits - np.uint32(1), bits) | (single != a).astype(np.uint32)
    even = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    quiet = (bits | np.uint32(0x400000)) & np.uint32(0xFFFF0000)
    return (np.where(np.isnan(a), quiet, even) >> np.uint32(16)).astype(np.uint16)
