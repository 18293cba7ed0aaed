"""General fault models: alternative formulas that no exhibit of the zoo stands for, many of them with a parameter.

Each is a layer of the reference with one thing changed; its docstring is the cause as a report names it.
"""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

from collections.abc import Callable

import numpy as np

from adapters.interface import Array, Step
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.statistics import PartialReduction

Gradients = tuple[Array, Array, Array]
Layers = list[type[NumpyLayer]]


def _layer(base: type[NumpyLayer], name: str, cause: str, **methods: Callable[..., object]) -> type[NumpyLayer]:
    made: type[NumpyLayer] = type(name, (base,), {"__doc__": cause, "__module__": __name__, **methods})
    return made


def _with_epsilon(name: str, cause: str, effective: Callable[[float], float]) -> type[NumpyLayer]:
    def rsqrt(self: NumpyLayer, variance: Array) -> Array:
        return 1 / np.sqrt(variance + self.compute.type(effective(self.spec.epsilon)))

    return _layer(NumpyLayer, name, cause, rsqrt=rsqrt)


def _constant_epsilon(value: float) -> type[NumpyLayer]:
    return _with_epsilon(f"EpsilonIs{value:g}", f"Uses an epsilon of {value:g} whatever is given.", lambda given: value)


def _raised_epsilon(value: float) -> type[NumpyLayer]:
    return _with_epsilon(
        f"EpsilonAtLeast{value:g}", f"Raises epsilon to {value:g}, undeclared.", lambda given: max(given, value)
    )


def _with_decay(name: str, cause: str, effective: Callable[[float], float]) -> type[NumpyLayer]:
    def moving(self: NumpyLayer, old: Array, batch: Array) -> Array:
        decay = self.compute.type(effective(self.spec.decay))
        return (decay * old + (1 - decay) * batch.reshape(old.shape)).astype(old.dtype)

    return _layer(NumpyLayer, name, cause, moving=moving)


def _constant_decay(value: float) -> type[NumpyLayer]:
    return _with_decay(f"DecayIs{value:g}", f"Uses a decay of {value:g} whatever is given.", lambda given: value)


EPSILON: Layers = [
    *(_constant_epsilon(value) for value in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12)),
    *(_raised_epsilon(value) for value in (1e-3, 1e-4, 1e-5, 1e-6)),
    _with_epsilon("EpsilonHalved", "Adds half of epsilon to the variance.", lambda given: given / 2),
    _with_epsilon("EpsilonRoot", "Adds the square root of epsilon to the variance.", lambda given: given**0.5),
    _with_epsilon("EpsilonOmitted", "Leaves epsilon out, in training and in inference.", lambda given: 0.0),
    _with_epsilon("EpsilonSubtracted", "Subtracts epsilon from the variance.", lambda given: -given),
]

DECAY: Layers = [
    *(_constant_decay(value) for value in (0.9, 0.95, 0.997, 0.999, 0.5, 0.1, 0.01)),
    _with_decay("DecayRoot", "Uses the square root of the decay.", lambda given: given**0.5),
    _with_decay("DecayCapped", "Caps the decay at 0.99.", lambda given: min(given, 0.99)),
    _with_decay("BatchOnly", "Replaces the moving statistics by those of the batch.", lambda given: 0.0),
]


class LayerStatistics(PartialReduction):
    """Takes the statistics of each sample over all other axes, the channels' included, as layer normalization does."""

    def partial(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(self.spec.rank) if axis != self.axes[0])


class WholeStatistics(PartialReduction):
    """Takes the statistics over all axes, those of the channels included."""

    def partial(self) -> tuple[int, ...]:
        return tuple(range(self.spec.rank))


class LastAxisForgotten(PartialReduction):
    """Does not reduce over the last of the reduction axes."""

    def partial(self) -> tuple[int, ...]:
        return self.axes[:-1] or self.axes


class SumsNotDivided(NumpyLayer):
    """Takes the sum of squares for the variance, not divided by m."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, variance = super().batch_statistics(x)
        return mean, variance * self.count(x)


class MedianForMean(NumpyLayer):
    """Takes the median for the mean."""

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean = np.median(x, axis=self.axes, keepdims=True)
        return mean, self.sum(np.square(x - mean)) / self.count(x)


STATISTICS: Layers = [LayerStatistics, WholeStatistics, LastAxisForgotten, SumsNotDivided, MedianForMean]


class DividedByVariance(NumpyLayer):
    """Divides by variance + epsilon, without the square root."""

    def rsqrt(self, variance: Array) -> Array:
        return np.square(super().rsqrt(variance))


class MultipliedByDeviation(NumpyLayer):
    """Multiplies by the standard deviation instead of dividing by it."""

    def rsqrt(self, variance: Array) -> Array:
        return 1 / super().rsqrt(variance)


class MeanNotSubtracted(NumpyLayer):
    """Does not subtract the mean in the output."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, np.zeros_like(mean), r)


class MeanAdded(NumpyLayer):
    """Adds the mean instead of subtracting it."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        return super().affine(x, -mean, r)


FORMULA: Layers = [DividedByVariance, MultipliedByDeviation, MeanNotSubtracted, MeanAdded]


class GammaIgnored(NumpyLayer):
    """Leaves gamma out."""

    def scale(self) -> Array:
        return np.ones_like(super().scale())


class BetaIgnored(NumpyLayer):
    """Leaves beta out."""

    def shift(self) -> Array:
        return np.zeros_like(super().shift())


class BetaSubtracted(NumpyLayer):
    """Subtracts beta instead of adding it."""

    def shift(self) -> Array:
        return -super().shift()


class GammaSquared(NumpyLayer):
    """Multiplies by gamma twice in the output."""

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        gamma = self.scale()
        return gamma * gamma * ((x - mean) * r) + self.shift()


def _reordered(which: str, order: str) -> type[NumpyLayer]:
    """A layer that gives each channel another channel's gamma or beta."""

    def other(self: NumpyLayer) -> Array:
        values = getattr(NumpyLayer, which)(self)
        flat = values.reshape(-1)
        return (flat[::-1] if order == "reversed" else np.roll(flat, -1)).reshape(values.shape)

    parameter = {"scale": "gamma", "shift": "beta"}[which]
    how = "in reversed order" if order == "reversed" else "of the next channel"
    return _layer(NumpyLayer, f"{parameter.title()}{order.title()}", f"Uses the {parameter} {how}.", **{which: other})


class GammaIgnoredInInference(NumpyLayer):
    """Leaves gamma out in inference."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        own, self.gamma = self.gamma, None
        try:
            return super().infer(x, dy)
        finally:
            self.gamma = own


AFFINE: Layers = [
    GammaIgnored,
    BetaIgnored,
    BetaSubtracted,
    GammaSquared,
    GammaIgnoredInInference,
    *(_reordered(which, order) for which in ("scale", "shift") for order in ("reversed", "shifted")),
]


def _training_gradients(
    name: str, cause: str, change: Callable[[NumpyLayer, Array, Array, Array, Array, Gradients], Gradients]
) -> type[NumpyLayer]:
    def training_gradients(self: NumpyLayer, x: Array, dy: Array, mean: Array, r: Array) -> Gradients:
        return change(self, x, dy, mean, r, NumpyLayer.training_gradients(self, x, dy, mean, r))

    return _layer(NumpyLayer, name, cause, training_gradients=training_gradients)


DX: Layers = [
    _training_gradients("DxZero", "Gives dx = 0 in training.", lambda s, x, dy, m, r, g: (0 * g[0], *g[1:])),
    _training_gradients("DxIsUpstream", "Returns dy for dx.", lambda s, x, dy, m, r, g: (dy, *g[1:])),
    _training_gradients("DxNegated", "Gives dx the wrong sign.", lambda s, x, dy, m, r, g: (-g[0], *g[1:])),
    _training_gradients(
        "DxNotDivided", "Leaves 1 / sqrt(variance + epsilon) out of dx.", lambda s, x, dy, m, r, g: (g[0] / r, *g[1:])
    ),
    _training_gradients(
        "VarianceTermNegated",
        "Gives the variance's share of dx the wrong sign.",
        lambda s, x, dy, m, r, g: (g[0] + 2 * s.scale() * r * (x - m) * r * (g[1] / s.count(x)), *g[1:]),
    ),
    _training_gradients(
        "VarianceTermUnscaled",
        "Takes x - mean for the normalized value in the variance's share of dx.",
        lambda s, x, dy, m, r, g: (g[0] + s.scale() * r * (x - m) * (r - 1) * (g[1] / s.count(x)), *g[1:]),
    ),
    _training_gradients(
        "SumsNotAveragedInDx",
        "Forgets to divide the sums in dx by m.",
        lambda s, x, dy, m, r, g: (s.scale() * r * (dy - g[2] - (x - m) * r * g[1]), *g[1:]),
    ),
    _training_gradients("DxAveraged", "Divides dx by m.", lambda s, x, dy, m, r, g: (g[0] / s.count(x), *g[1:])),
]

PARAMETERS: Layers = [
    _training_gradients(
        "ParameterGradientsAveraged",
        "Averages dgamma and dbeta over the elements instead of summing.",
        lambda s, x, dy, m, r, g: (g[0], g[1] / s.count(x), g[2] / s.count(x)),
    ),
    _training_gradients(
        "DbetaAveraged",
        "Averages dbeta over the elements instead of summing.",
        lambda s, x, dy, m, r, g: (g[0], g[1], g[2] / s.count(x)),
    ),
    _training_gradients(
        "DgammaScaled", "Multiplies dgamma by gamma.", lambda s, x, dy, m, r, g: (g[0], s.scale() * g[1], g[2])
    ),
    _training_gradients(
        "DgammaZero", "Gives dgamma = 0 in training.", lambda s, x, dy, m, r, g: (g[0], 0 * g[1], g[2])
    ),
    _training_gradients("DbetaZero", "Gives dbeta = 0 in training.", lambda s, x, dy, m, r, g: (*g[:2], 0 * g[2])),
    _training_gradients("DgammaNegated", "Gives dgamma the wrong sign.", lambda s, x, dy, m, r, g: (g[0], -g[1], g[2])),
    _training_gradients(
        "DgammaOfUpstreamTimesDeviation",
        "Computes dgamma from the values multiplied by the standard deviation.",
        lambda s, x, dy, m, r, g: (g[0], g[1] / (r * r), g[2]),
    ),
]


class UpdatedTwice(NumpyLayer):
    """Updates the moving statistics twice in every training step."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(mean, variance, m)
        super().update(mean, variance, m)


class MeanNeverUpdated(NumpyLayer):
    """Updates the moving variance only."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_mean
        super().update(mean, variance, m)
        self.moving_mean = old


class MovingSwapped(NumpyLayer):
    """Updates the moving mean with the batch's variance, and the moving variance with its mean."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        super().update(variance, mean, m)


class MovingOfDeviation(NumpyLayer):
    """Averages the standard deviation into the moving variance."""

    def moving_estimate(self, variance: Array, m: int) -> Array:
        return np.sqrt(super().moving_estimate(variance, m))


class MovingOfSecondMoment(NumpyLayer):
    """Averages the mean of the squares into the moving variance."""

    def update(self, mean: Array, variance: Array, m: int) -> None:
        old = self.moving_mean
        super().update(mean, variance + np.square(mean), m)
        if old is not None:
            self.moving_mean = self.moving(old, mean)


UPDATES: Layers = [MeanNeverUpdated]
MOVING: Layers = [MovingSwapped, MovingOfDeviation]
