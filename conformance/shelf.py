"""Keeps the truths and bounds of one case, so that implementations with the same state before a step share them."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Shelf:
    """What was computed once for a case: truths by step and state, bounds by truth, formats and kind.

    A run of one implementation gains little by it; where many run the same cases, the oracle is most of the work.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def keep(self, make: Callable[[], T], *key: object) -> T:
        """Return what was made for this key before, else make it; arrays in the key count by their bits."""
        parts = tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in key)
        if parts not in self._kept:
            self._kept[parts] = make()
        kept: T = self._kept[parts]
        return kept
