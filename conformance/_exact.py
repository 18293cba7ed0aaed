"""Exact moments of float64 data, for machines whose long double is no wider than float64."""

import math
from fractions import Fraction

import numpy as np

from adapters.interface import Array

_DIGITS = 53


def exact_moments(row: Array) -> tuple[Fraction, Fraction]:
    """Return the mean and the biased variance of a row of finite floats, without any rounding.

    All values are integers on the grid of the smallest one's last digit, so both moments come from two integer sums:
    n Σk² - (Σk)² cannot cancel. Raises ValueError for an empty row and for values that are not finite.
    """
    values = np.asarray(row, dtype=np.float64).ravel()
    if not values.size or not np.isfinite(values).all():
        raise ValueError("exact moments need at least one value and only finite ones")
    mantissas, exponents = np.frexp(values)
    lowest = int(exponents.min())
    whole = np.ldexp(mantissas, _DIGITS).astype(np.int64).tolist()
    integers = [k << e for k, e in zip(whole, (exponents - lowest).tolist(), strict=True)]
    n, total, squares = len(integers), sum(integers), sum(k * k for k in integers)
    grid = Fraction(2) ** (lowest - _DIGITS)
    return Fraction(total, n) * grid, Fraction(n * squares - total * total, n * n) * grid**2


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def rounded_moments(rows: Array) -> tuple[Array, Array, Array]:
    """Return the mean's leading and trailing part and the variance of each row of (C, m), as float64 (C, 1).

    Each is the exact value rounded once; the two parts of the mean carry about 106 digits together. A row that is
    empty or not finite gives NaN.
    """
    result = np.full((3, rows.shape[0], 1), np.nan)
    for channel, row in enumerate(rows):
        if row.size and np.isfinite(row).all():
            mean, variance = exact_moments(row)
            head = _nearest(mean)
            tail = _nearest(mean - Fraction(head)) if math.isfinite(head) else 0.0
            result[:, channel, 0] = head, tail, _nearest(variance)
    return result[0], result[1], result[2]


def row_sums(rows: Array) -> Array:
    """Return the correctly rounded sum of each row of (C, m), as float64 (C, 1)."""
    return np.array([[_fsum(row)] for row in rows.tolist()], dtype=np.float64).reshape(rows.shape[0], 1)


def _fsum(row: list[float]) -> float:
    try:
        return math.fsum(row)
    except (OverflowError, ValueError):
        return math.nan
