"""Correct implementations that add up in another order than the reference."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import EVERYTHING, RowLayer, variant


def in_order(rows: Array) -> Array:
    """Sum of the rows, added one after the other."""
    return np.add.accumulate(rows, axis=0)[-1] if len(rows) else np.add.reduce(rows, axis=0)


class LanesLayer(RowLayer):
    """A layer that adds up in lanes, as vector units do, and then over the lanes."""

    lanes = 1

    def row_sum(self, rows: Array) -> Array:
        """Sum in lanes."""
        return in_order(np.stack([in_order(rows[lane :: self.lanes]) for lane in range(self.lanes)]))


@variant()
class SumsInOrder(LanesLayer):
    """Adds the elements one after the other."""


@variant()
class SumsInFourLanes(LanesLayer):
    """Adds up in four lanes."""

    lanes = 4


@variant()
class SumsInSevenLanes(LanesLayer):
    """Adds up in seven lanes."""

    lanes = 7


@variant()
class SumsInSixteenLanes(LanesLayer):
    """Adds up in sixteen lanes."""

    lanes = 16


@variant()
class SumsBackwards(RowLayer):
    """Adds the elements from the last to the first."""

    def row_sum(self, rows: Array) -> Array:
        return in_order(rows[::-1])


@variant()
class SumsInBlocks(RowLayer):
    """Adds up blocks of 32 elements, then the blocks, the incomplete last one included."""

    def row_sum(self, rows: Array) -> Array:
        blocks = [in_order(rows[start : start + 32]) for start in range(0, len(rows), 32)]
        return in_order(np.stack(blocks)) if blocks else in_order(rows)


@variant()
class SumsOfPairs(RowLayer):
    """Adds up pairs, then pairs of pairs."""

    def row_sum(self, rows: Array) -> Array:
        while len(rows) > 1:
            half = len(rows) // 2
            rows = np.concatenate([rows[:half] + rows[half : 2 * half], rows[2 * half :]])
        return in_order(rows)


@variant(capabilities=EVERYTHING._replace(deterministic=False))
class SumsInDeclaredDisorder(RowLayer):
    """Adds the elements in another order each time, and declares that."""

    generator = np.random.default_rng(4)

    def row_sum(self, rows: Array) -> Array:
        return in_order(self.generator.permutation(rows))


@variant()
class SumsInDouble(NumpyLayer):
    """Adds up in float64, and does the rest in float32."""

    def sum(self, a: Array) -> Array:
        return np.sum(a, axis=self.axes, keepdims=True, dtype=np.float64).astype(self.compute)
