"""Hypothesis strategies that are made once: making one costs as much as several draws from it."""

from functools import cache
from typing import Any

from hypothesis import strategies as st


@cache
def among(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """One of these."""
    return st.sampled_from(values)


@cache
def whole(low: int, high: int) -> st.SearchStrategy[int]:
    """A whole number of this range."""
    return st.integers(low, high)
