"""Correct implementations in all element types, by other formulas, and such that declare what they do at extremes."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, Step, Unsupported
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.registry import REFERENCE, Exhibit, RowLayer, variant
from conformance.zoo.types import TYPES


class StatisticsInParameterType(Exhibit):
    """Declares what its statistics are kept in: the parameters' type, whatever the arithmetic's."""

    def conventions(self, spec: Spec) -> Conventions:
        """As declared, with the type of the statistics."""
        return self.declared._replace(statistics_dtype=spec.parameter_dtype)


class WideInside(NumpyLayer):
    """A layer whose arithmetic is wider than what it keeps."""

    def result(self, x: Array, y: Array, gradients: Gradients | None) -> Step:
        """Round the gradients of the parameters to the parameters' type."""
        step = super().result(x, y, gradients)
        parameters = (None if a is None else a.astype(self.spec.parameter_dtype) for a in (step.dgamma, step.dbeta))
        return Step(step.y, step.dx, *parameters)


@variant(REFERENCE, TYPES)
class EveryType(NumpyLayer):
    """Computes in float32, and in float64 where the input is in that."""


@variant(REFERENCE._replace(compute_dtype="float64"), TYPES, StatisticsInParameterType)
class DoubleInEveryType(WideInside):
    """Computes in float64 whatever the input is in."""


@variant(REFERENCE._replace(compute_dtype="longdouble"), TYPES, StatisticsInParameterType)
class LongDoubleInEveryType(WideInside):
    """Computes in the long double whatever the input is in."""


@variant(REFERENCE._replace(variance_grade="C"), TYPES)
class OnePassInEveryType(NumpyLayer):
    """Computes the variance as E[x^2] - E[x]^2, not below zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        mean = self.sum(x) / m
        return mean, np.maximum(self.sum(np.square(x)) / m - np.square(mean), self.compute.type(0))


@variant(REFERENCE._replace(variance_grade="B"), TYPES)
class WelfordInEveryType(RowLayer):
    """Updates mean and variance element by element."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        if not 0 < len(rows) <= 2000:
            return super().row_statistics(rows)
        mean, squares = np.zeros(rows.shape[1:], self.compute), np.zeros(rows.shape[1:], self.compute)
        for n, row in enumerate(rows, 1):
            distance = row - mean
            mean = mean + distance / self.compute.type(n)
            squares = squares + distance * (row - mean)
        return mean, squares / len(rows)


@variant(REFERENCE._replace(affine_grade="F"), TYPES)
class FoldedInEveryType(NumpyLayer):
    """Evaluates the output as a * x + b, and dgamma from sum(dy * x) - mean * sum(dy)."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        factor = self.scale() * r
        return x * factor + (self.shift() - mean * factor)

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m, dbeta = self.count(x), self.sum(dy)
        dgamma = (self.sum(dy * x) - mean * dbeta) * r
        return self.scale() * r * (dy - dbeta / m - (x - mean) * r * (dgamma / m)), dgamma, dbeta


@variant(REFERENCE._replace(moving_variance="unbiased"), TYPES)
class ByDifferenceInEveryType(NumpyLayer):
    """Averages unbiased variances by moving - (1 - decay) * (moving - batch), and declares that."""

    def moving(self, old: Array, batch: Array) -> Array:
        rest = self.compute.type(1 - self.spec.decay)
        return (old - rest * (old - batch.reshape(old.shape))).astype(old.dtype)


@variant(REFERENCE, TYPES)
class EightLanes(RowLayer):
    """Adds up in eight lanes and their rest, then the lanes."""

    def row_sum(self, rows: Array) -> Array:
        whole = len(rows) // 8 * 8
        lanes = rows[:whole].reshape(whole // 8, 8, *rows.shape[1:]).sum(axis=0)
        return lanes.sum(axis=0) + rows[whole:].sum(axis=0)


@variant(REFERENCE, TYPES)
class BlocksOfAThousand(RowLayer):
    """Adds up blocks of 1024 rows, then the blocks."""

    def row_sum(self, rows: Array) -> Array:
        blocks = [rows[start : start + 1024].sum(axis=0) for start in range(0, len(rows), 1024)]
        return np.sum(blocks, axis=0, dtype=self.compute) if blocks else np.zeros(rows.shape[1:], self.compute)


@variant(REFERENCE, TYPES)
class ChannelBlocksOfSixtyFour(NumpyLayer):
    """Takes the statistics of 64 channels at a time, the incomplete last block included."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        axis = self.spec.channel_axes[0]
        blocks = np.split(x, range(64, x.shape[axis], 64), axis=axis)
        parts = [NumpyLayer.batch_statistics(self, block) for block in blocks]
        return np.concatenate([p[0] for p in parts], axis=axis), np.concatenate([p[1] for p in parts], axis=axis)


@variant(REFERENCE, TYPES)
class CopiesToCOrder(NumpyLayer):
    """Copies every input to C order first."""

    def widened(self, a: Array) -> Array:
        return np.ascontiguousarray(super().widened(np.ascontiguousarray(a)))


@variant(REFERENCE, TYPES)
class WorksInFortranOrder(NumpyLayer):
    """Copies every input to Fortran order first, and adds up in that order."""

    def widened(self, a: Array) -> Array:
        return np.asfortranarray(super().widened(a))


@variant(REFERENCE._replace(empty="unchanged"), TYPES)
class EmptyBatchLeavesStatistics(NumpyLayer):
    """Leaves the moving statistics alone on an empty batch, and declares that."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        if m:
            super().update(mean, variance, m)


@variant(REFERENCE._replace(empty="refused"), TYPES)
class EmptyBatchRefused(NumpyLayer):
    """Refuses to train on an empty batch, and declares that."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if not x.size:
            raise Unsupported("an empty batch has no statistics")
        return super().train(x, dy, update)


@variant(REFERENCE._replace(decay_dtype="float32"), TYPES)
class DecayInSingleDeclared(NumpyLayer):
    """Holds the decay in float32 whatever the input is in, and declares that."""

    def moving(self, old: Array, batch: Array) -> Array:
        decay = self.compute.type(np.float32(self.spec.decay))
        return (decay * old + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)
