"""Floating-point formats: the numbers about an element type that the error bounds need."""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


class Format(NamedTuple):
    """A binary floating-point format (IEEE 754-2019, table 3.5; bfloat16 as float32 cut to 8 digits)."""

    name: str
    #: Unit roundoff: half the distance from 1 to the next larger number.
    u: float
    #: Smallest normal number. Results below it may be flushed to zero.
    tau: float
    #: Smallest subnormal number.
    sub: float
    #: Largest finite number.
    big: float
    #: Precision in bits, the implicit one included.
    digits: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The NumPy element type of this format."""
        return np.dtype(ml_dtypes.bfloat16 if self.name == "bfloat16" else self.name)


def _format(name: str, digits: int, max_exponent: int) -> Format:
    min_exponent = 1 - max_exponent
    return Format(
        name=name,
        u=2.0**-digits,
        tau=2.0**min_exponent,
        sub=2.0 ** (min_exponent - digits + 1),
        big=(2 - 2.0 ** (1 - digits)) * 2.0**max_exponent,
        digits=digits,
    )


FORMATS: dict[str, Format] = {
    "float16": _format("float16", 11, 15),
    "bfloat16": _format("bfloat16", 8, 127),
    "float32": _format("float32", 24, 127),
    "float64": _format("float64", 53, 1023),
}


def compute_format(dtype: str, declared: str = "") -> Format:
    """Return the format of the arithmetic on inputs of an element type.

    It is the one declared; where nothing is declared, the input's own, float32 at least.
    """
    if declared:
        return declared_format(declared)
    return FORMATS["float64" if dtype == "float64" else "float32"]


def declared_format(name: str) -> Format:
    """Return the format of a declared element type; the long double is judged as float64, whose errors are larger."""
    return FORMATS["float64" if name == "longdouble" else name]


def host_dtype(compute: str) -> np.dtype[np.floating[Any]]:
    """Return the element type in which the truth of arithmetic in format ``compute`` is evaluated.

    It is float64 for the narrower formats and the long double for float64, even where that has no more digits than
    float64: the oracle then works with exact integers.
    """
    return np.dtype(np.longdouble) if compute == "float64" else np.dtype(np.float64)
