"""Faults in which statistics a mode uses."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

Statistics = tuple[Array | None, Array | None]


class WithStatistics(NumpyLayer):
    """A layer that can run inference with other statistics than its own."""

    def infer_with(self, statistics: Statistics, x: Array, dy: Array | None) -> Step:
        """Inference with the statistics given."""
        own = self.moving_mean, self.moving_variance
        self.moving_mean, self.moving_variance = statistics
        try:
            return NumpyLayer.infer(self, x, dy)
        finally:
            self.moving_mean, self.moving_variance = own

    def statistics_of(self, x: Array) -> tuple[Array, Array]:
        """The batch's statistics, of the parameters' shape."""
        mean, variance = self.batch_statistics(x)
        return mean.reshape(self.spec.parameter_shape), variance.reshape(self.spec.parameter_shape)

    def own(self) -> Statistics:
        """The moving statistics."""
        return self.moving_mean, self.moving_variance


@fault("2", "BN-201", "BN-202")
class InferenceUsesBatch(WithStatistics):
    """Normalizes with the batch's statistics in inference too."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return self.infer_with(self.statistics_of(x), x, dy)


@fault("2", "BN-201", "BN-203")
class InferenceUsesBatchOfMany(WithStatistics):
    """Normalizes with the batch's statistics in inference where there are more than 32 elements per channel."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return self.infer_with(self.statistics_of(x) if self.count(x) > 32 else self.own(), x, dy)


@fault("2", "BN-201", "BN-203")
class InferenceUsesSampleOfOne(WithStatistics):
    """Normalizes a batch of a single sample with that sample's own statistics, where it has more than one position."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        alone = x.shape[self.axes[0]] == 1 and self.count(x) > 1
        return self.infer_with(self.statistics_of(x) if alone else self.own(), x, dy)


@fault("2", "BN-201", "BN-206")
class InferenceUsesLastBatch(WithStatistics):
    """Normalizes with the statistics of the last training batch, where there was one."""

    last: Statistics | None = None

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.last = self.statistics_of(x)
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return self.infer_with(self.last or self.own(), x, dy)


@fault("2", "BN-201", "BN-206")
class InferenceUsesLastBatchOfShape(WithStatistics):
    """Normalizes with the statistics of the last training batch where the input has its shape."""

    last: tuple[tuple[int, ...], Statistics] = ((), (None, None))

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.last = (x.shape, self.statistics_of(x))
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        shape, statistics = self.last
        return self.infer_with(statistics if shape == x.shape else self.own(), x, dy)


@fault("2", "BN-201", "BN-206", "BN-708")
class TrainingModeSticks(WithStatistics):
    """Runs the first inference after a training step with the batch's statistics: the flag is switched too late."""

    training = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        self.training = True
        return super().train(x, dy, update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        training, self.training = self.training, False
        return self.infer_with(self.statistics_of(x) if training else self.own(), x, dy)


@fault("2", "BN-201", "BN-202")
class InferenceBlends(WithStatistics):
    """Normalizes with the average of moving and batch mean in inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        mean, variance = self.own()
        if mean is not None:
            mean = (mean + self.statistics_of(x)[0]) / 2
        return self.infer_with((mean, variance), x, dy)


@fault("2", "BN-201", "BN-202")
class InferenceUpdatesOnTheFly(WithStatistics):
    """Normalizes with the statistics that an update by this batch would give, without keeping them."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        own = self.own()
        self.update(*self.batch_statistics(x), self.count(x))
        updated = self.own()
        self.moving_mean, self.moving_variance = own
        return self.infer_with(updated, x, dy)


@fault("2", "BN-201", "BN-203")
class InferenceUnbiasedByBatch(WithStatistics):
    """Multiplies the moving variance by m / (m - 1) in inference, as the paper has it, with the m of this input."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        mean, variance = self.own()
        m = self.count(x)
        return self.infer_with((mean, None if variance is None else variance * (m / max(m - 1, 1))), x, dy)


@fault("2", "BN-201", "BN-205")
class InferenceTakesDeviation(WithStatistics):
    """Takes the moving variance for a standard deviation."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        mean, variance = self.own()
        return self.infer_with((mean, None if variance is None else np.square(variance)), x, dy)


@fault("2", "BN-201", "BN-203")
class InferenceTailUnnormalized(NumpyLayer):
    """Evaluates four samples at a time and leaves the incomplete last block as it is."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        axis = self.axes[0]
        whole = x.shape[axis] // 4 * 4 or x.shape[axis]
        y = np.concatenate(
            [np.take(a, r, axis=axis) for a, r in ((step.y, range(whole)), (x, range(whole, x.shape[axis])))], axis=axis
        )
        return step._replace(y=y)


@fault("2", "BN-201", "BN-202")
class InferenceQuantized(NumpyLayer):
    """Rounds the inference output to 256 steps between its extremes, as a quantized export does."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        low, high = step.y.min(), step.y.max()
        size = np.maximum((high - low) / np.float32(255), np.float32(1e-30))
        return step._replace(y=low + size * np.round((step.y - low) / size))


@fault("2", "BN-201")
class InferenceClipped(NumpyLayer):
    """Clips inputs in inference to six standard deviations around the moving mean."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        if self.moving_mean is None or self.moving_variance is None:
            return super().infer(x, dy)
        mean, limit = self.broadcast(self.moving_mean), 6 / self.rsqrt(self.broadcast(self.moving_variance))
        return super().infer(np.clip(x, mean - limit, mean + limit), dy)


@fault("2", "BN-409", "BN-201")
class InferenceGradientTrains(WithStatistics):
    """Takes a request for gradients for training: normalizes with the batch's statistics in inference then."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        return self.infer_with(self.own() if dy is None else self.statistics_of(x), x, dy)


@fault("1", "BN-409", "BN-101")
class TrainingNeedsGradient(NumpyLayer):
    """Takes training without gradients for evaluation: normalizes with the moving statistics."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        evaluated = self.infer(x) if dy is None and self.moving_mean is not None else None
        step = super().train(x, dy, update)
        return step if evaluated is None else evaluated


@fault("1", "BN-108", "BN-101")
class TrainingUsesMoving(NumpyLayer):
    """Normalizes with the moving statistics in training."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        evaluated = self.infer(x, dy)
        super().train(x, dy, update)
        return evaluated


@fault("1", "BN-108", "BN-101")
class TrainingUsesUpdated(NumpyLayer):
    """Normalizes with the moving statistics in training, right after their update."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        return step._replace(y=self.infer(x).y)


@fault("1", "BN-108", "BN-101")
class InferenceModeSticks(NumpyLayer):
    """Runs the first training step after an inference with the moving statistics: the flag is switched too late."""

    inferred = False

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        y = super().infer(x).y if self.inferred else None
        self.inferred = False
        step = super().train(x, dy, update)
        return step if y is None else step._replace(y=y)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        self.inferred = True
        return super().infer(x, dy)


@fault("1", "BN-108", "BN-101")
class Renormalized(NumpyLayer):
    """Corrects the training output toward the moving statistics, as batch renormalization does."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        if self.moving_mean is None or self.moving_variance is None:
            return super().affine(x, mean, r)
        moving_r = self.rsqrt(self.broadcast(self.moving_variance))
        factor = np.clip(moving_r / r, np.float32(1 / 3), np.float32(3))
        distance = np.clip((mean - self.broadcast(self.moving_mean)) * moving_r, -5, 5)
        return self.scale() * ((x - mean) * r * factor + distance) + self.shift()


@fault("1", "BN-108", "BN-103")
class CenteredByMovingMean(NumpyLayer):
    """Takes the batch's variance around the moving mean."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        if self.moving_mean is None:
            return mean, variance
        return mean, self.sum(np.square(x - self.broadcast(self.moving_mean))) / self.count(x)
