"""Correct implementations that are not the reference, by other formulas."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Conventions, Spec, State, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.folds import FoldingLayer
from conformance.zoo.gradients import Gradients
from conformance.zoo.orders import in_order
from conformance.zoo.registry import EVERYTHING, REFERENCE, RowLayer, variant


@variant(REFERENCE._replace(compute_dtype="float64", statistics_dtype="float32"))
class DoubleInside(NumpyLayer):
    """Computes in float64 throughout, and returns and keeps float32."""

    def result(self, x: Array, y: Array, gradients: Gradients | None) -> Step:
        step = super().result(x, y, gradients)
        parameters = (None if a is None else a.astype(x.dtype) for a in (step.dgamma, step.dbeta))
        return Step(step.y, step.dx, *parameters)


@variant()
class ReciprocalOfCount(NumpyLayer):
    """Multiplies the sums by 1 / m."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        factor = 1 / np.float32(self.count(x))
        mean = self.sum(x) * factor
        return mean, self.sum(np.square(x - mean)) * factor


@variant()
class CorrectedTwoPass(NumpyLayer):
    """Corrects both passes by the sum of the deviations, which is not quite zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        mean = self.sum(x) / m
        residue = self.sum(x - mean) / m
        return mean + residue, np.maximum(self.sum(np.square(x - mean)) / m - np.square(residue), np.float32(0))


@variant(REFERENCE._replace(variance_grade="B"))
class Welford(RowLayer):
    """Updates mean and variance element by element."""

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        # There is no mean of nothing.
        mean = np.full(rows.shape[1:], 0 if len(rows) else np.nan, self.compute)
        squares = np.zeros_like(mean)
        for n, row in enumerate(rows, 1):
            distance = row - mean
            mean = mean + distance / n
            squares = squares + distance * (row - mean)
        return mean, squares / len(rows)


@variant(REFERENCE._replace(variance_grade="B"))
class ChanPairwise(RowLayer):
    """Merges mean and sum of squares of two halves, each computed in the same way."""

    def merged(self, rows: Array) -> tuple[Array, Array]:
        """Mean and sum of squared deviations."""
        m = len(rows)
        if m <= 2:
            mean = in_order(rows) / m
            return mean, in_order(np.square(rows - mean))
        half = m // 2
        (mean_a, squares_a), (mean_b, squares_b) = self.merged(rows[:half]), self.merged(rows[half:])
        distance = mean_b - mean_a
        squares = squares_a + squares_b + np.square(distance) * np.float32(half * (m - half) / m)
        return mean_a + distance * np.float32((m - half) / m), squares

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        mean, squares = self.merged(rows)
        return mean, squares / len(rows)


@variant(REFERENCE._replace(variance_grade="C"))
class OnePass(NumpyLayer):
    """Computes the variance as E[x^2] - E[x]^2, not below zero."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        mean = self.sum(x) / m
        return mean, np.maximum(self.sum(np.square(x)) / m - np.square(mean), np.float32(0))


@variant(REFERENCE._replace(affine_grade="F"))
class FoldedAffine(NumpyLayer):
    """Evaluates the output as a * x + b."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        factor = self.scale() * r
        return x * factor + (self.shift() - mean * factor)


@variant(REFERENCE._replace(affine_grade="F"))
class FoldedInInference(NumpyLayer):
    """Evaluates the output as a * x + b in inference, and subtracts the mean first in training."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if self.moving_mean is None or self.moving_variance is None:
            return step
        factor = self.scale() * self.rsqrt(self.broadcast(self.moving_variance))
        return step._replace(y=x * factor + (self.shift() - self.broadcast(self.moving_mean) * factor))


@variant(REFERENCE._replace(affine_grade="F"))
class FoldedGradients(NumpyLayer):
    """Computes dgamma from sum(dy * x) - mean * sum(dy)."""

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m = self.count(x)
        dbeta = self.sum(dy)
        dgamma = (self.sum(dy * x) - mean * dbeta) * r
        return self.scale() * r * (dy - dbeta / m - (x - mean) * r * (dgamma / m)), dgamma, dbeta

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dbeta = self.sum(dy)
        return self.scale() * r * dy, (self.sum(dy * x) - mean * dbeta) * r, dbeta


@variant()
class MovingByDifference(NumpyLayer):
    """Updates by moving - (1 - decay) * (moving - batch)."""

    def moving(self, old: Array, batch: Array) -> Array:
        return old - np.float32(1 - self.spec.decay) * (old - batch.reshape(old.shape))


@variant()
class MovingByComplement(NumpyLayer):
    """Holds 1 - decay in float32, and takes the decay from that."""

    def moving(self, old: Array, batch: Array) -> Array:
        complement = np.float32(1 - self.spec.decay)
        return (1 - complement) * old + complement * batch.reshape(old.shape)


@variant(capabilities=EVERYTHING._replace(transposes=True))
class ChannelsFirstInside(RowLayer):
    """Brings the channels to the front, and works on contiguous rows."""

    def row_sum(self, rows: Array) -> Array:
        channels = int(np.prod(rows.shape[1:]))
        return np.ascontiguousarray(rows.reshape(len(rows), channels).T).sum(axis=1).reshape(rows.shape[1:])


@variant()
class ChannelBlocks(NumpyLayer):
    """Takes the statistics of four channels at a time, the incomplete last block included."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        axis = self.spec.channel_axes[0]
        blocks = np.split(x, range(4, x.shape[axis], 4), axis=axis)
        parts = [NumpyLayer.batch_statistics(self, block) for block in blocks]
        return np.concatenate([p[0] for p in parts], axis=axis), np.concatenate([p[1] for p in parts], axis=axis)


@variant()
class ScratchBuffers(NumpyLayer):
    """Reuses memory of its own for the centered input, and returns none of it."""

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.scratch: dict[tuple[int, ...], Array] = {}

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        buffer = self.scratch.setdefault(x.shape, np.empty(x.shape, self.compute))
        np.subtract(x, mean, out=buffer)
        np.multiply(buffer, r, out=buffer)
        return self.scale() * buffer + self.shift()


@variant()
class FoldDropped(FoldingLayer):
    """Keeps what inference needs until the next training step or set_state."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.drop()
        return super().train(x, dy, update)

    def set_state(self, state: State) -> None:
        self.drop()
        super().set_state(state)


@variant()
class UpdatedInPlace(NumpyLayer):
    """Updates the moving statistics in its own memory."""

    def moving(self, old: Array, batch: Array) -> Array:
        old[...] = super().moving(old, batch)
        return old


@variant()
class RootByPower(NumpyLayer):
    """Computes (variance + epsilon) ** -0.5, the power in float64."""

    def rsqrt(self, variance: Array) -> Array:
        w = variance + np.float32(self.spec.epsilon)
        return np.power(w.astype(np.float64), -0.5).astype(self.compute)


@variant()
class RootRefined(NumpyLayer):
    """Refines a 12-bit estimate of 1 / sqrt by two Newton steps."""

    def rsqrt(self, variance: Array) -> Array:
        w = variance + np.float32(self.spec.epsilon)
        guess = super().rsqrt(variance) * np.float32(1 + 2**-12)
        for _ in range(2):
            guess = guess + np.float32(0.5) * guess * (1 - (w * guess) * guess)
        return guess


@variant()
class DividesByDeviation(NumpyLayer):
    """Divides by the standard deviation instead of multiplying by its reciprocal."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return self.scale() * ((x - mean) / (1 / r)) + self.shift()


# The reference's file has no extra arrays.
@variant(capabilities=EVERYTHING._replace(save=False))
class BatchesCounted(NumpyLayer):
    """Counts the training batches in its extra state, as torch does."""

    batches = 0

    def __init__(self, spec: Spec, state: State, conventions: Conventions) -> None:
        super().__init__(spec, state, conventions)
        self.batches = int(state.extra.get("num_batches", 0))

    def update(self, mean: Array, variance: Array, m: int) -> None:
        self.batches += 1
        super().update(mean, variance, m)

    def state(self) -> State:
        return super().state()._replace(extra={"num_batches": np.array(self.batches)})

    def set_state(self, state: State) -> None:
        super().set_state(state)
        self.batches = int(state.extra.get("num_batches", self.batches))


def flushed(a: Array) -> Array:
    """Numbers below the smallest normal one become zero, as processors do with them when told to."""
    return np.where(np.abs(a) < np.finfo(a.dtype).tiny, a.dtype.type(0), a)


@variant()
class FlushesToZero(NumpyLayer):
    """Flushes subnormal numbers to zero, wherever they come in or arise."""

    def sum(self, a: Array) -> Array:
        return flushed(super().sum(flushed(a)))

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        m = self.count(x)
        mean = flushed(self.sum(x) / m)
        return mean, flushed(self.sum(np.square(flushed(flushed(x) - mean))) / m)

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        normalized = flushed(flushed(flushed(x) - mean) * r)
        return flushed(flushed(self.scale()) * normalized) + flushed(self.shift())

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        m, dy = self.count(x), flushed(dy)
        normalized = flushed(flushed(flushed(x) - mean) * r)
        dbeta, dgamma = self.sum(dy), self.sum(flushed(dy * normalized))
        inner = flushed(flushed(dy - flushed(dbeta / m)) - flushed(normalized * flushed(dgamma / m)))
        return flushed(flushed(self.scale() * r) * inner), dgamma, dbeta

    def inference_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        dy = flushed(dy)
        normalized = flushed(flushed(flushed(x) - mean) * r)
        return flushed(r * flushed(self.scale() * dy)), self.sum(flushed(dy * normalized)), self.sum(dy)

    def moving(self, old: Array, batch: Array) -> Array:
        return flushed(super().moving(flushed(old), flushed(batch)))


@variant()
class GradientsUnasked(NumpyLayer):
    """Returns gradients, of the sum of its outputs, also where none were asked for."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, np.ones_like(x) if dy is None else dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return super().infer(x, np.ones_like(x) if dy is None else dy)
