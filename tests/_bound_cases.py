"""Cases for the tests of the bounds: one layer's data, each channel drawn independently, mild or adversarial."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from adapters.interface import Array
from conformance.formats import FORMATS

Draw = np.random.Generator


class Case(NamedTuple):
    """A layer and one batch: x, dy (C, m), the parameters and moving statistics (C,), all in the layer's types."""

    dtype: str
    x: Array
    dy: Array
    gamma: Array
    beta: Array
    moving_mean: Array
    moving_variance: Array
    epsilon: float
    decay: float
    patterns: list[str]


class Limits(NamedTuple):
    """What an element type allows: log10 of the offset over the spread and of the scale, and a clip."""

    dtype: Any
    offset: float
    scale: tuple[float, float]
    largest: float


LIMITS = {
    "float16": Limits(np.float16, 3, (-2, 1), 6e4),
    "bfloat16": Limits(ml_dtypes.bfloat16, 2, (-20, 18), 1e37),
    "float32": Limits(np.float32, 7, (-20, 18), 1e37),
    "float64": Limits(np.float64, 15, (-100, 100), 1e300),
}


def _outlier(draw: Draw, n: int) -> Array:
    z = draw.standard_normal(n)
    z[draw.integers(n)] = 10 ** draw.uniform(2, 6)
    return z


def _sorted(draw: Draw, n: int) -> Array:
    # The model of random rounding does not cover the order of long data.
    z = draw.standard_normal(n)
    return np.sort(z) if n <= 256 else z


MILD: dict[str, Callable[[Draw, int], Array]] = {
    "normal": lambda draw, n: draw.standard_normal(n),
    "uniform": lambda draw, n: draw.uniform(-1, 1, n),
    "heavy": lambda draw, n: draw.standard_t(2, n),
    "two values": lambda draw, n: draw.integers(0, 2, n) * 2.0 - 1,
    "sorted": _sorted,
    "alternating": lambda draw, n: (np.arange(n) % 2 * 2.0 - 1) * draw.uniform(0.5, 1, n),
    "lognormal": lambda draw, n: np.exp(draw.standard_normal(n) * draw.uniform(0.5, 3)),
    "integers": lambda draw, n: draw.integers(-8, 9, n) * 1.0,
    "two clusters": lambda draw, n: draw.standard_normal(n) * 0.01 + draw.integers(0, 2, n) * 10.0,
}
ADVERSARIAL: dict[str, Callable[[Draw, int], Array]] = MILD | {
    "constant": lambda draw, n: np.zeros(n),
    "outlier": _outlier,
    "last digits": lambda draw, n: draw.integers(-2, 3, n) * 1.0,
    "cauchy": lambda draw, n: np.clip(draw.standard_cauchy(n), -1e4, 1e4),
}


def _channel(draw: Draw, pattern: str, n: int, limits: Limits, mild: bool) -> Array:
    z = ADVERSARIAL[pattern](draw, n)
    kind = draw.integers(4)
    offset = 0.0 if kind == 0 else draw.uniform(-2, 2)
    scale = 1.0
    if not mild:
        if kind > 1:
            offset = draw.choice([-1, 1]) * 10 ** draw.uniform(0, limits.offset)
        if draw.integers(3) == 2:
            scale = 10 ** draw.uniform(*limits.scale)
    if pattern == "last digits":
        eps = 2 * FORMATS[np.dtype(limits.dtype).name].u
        return np.asarray(scale * (offset or 1.0) * (1 + z * eps))
    return np.asarray(np.clip(scale * (offset + z), -limits.largest, limits.largest))


def _upstream(draw: Draw, n: int) -> Array:
    kind, dy = draw.integers(5), draw.standard_normal(n)
    if kind == 1:
        return np.ones(n)
    if kind == 2:
        return np.asarray(np.eye(1, n, int(draw.integers(n)))[0])
    return np.abs(dy) + 5 if kind == 3 else dy


def _parameter(draw: Draw, channels: int, special: list[float], factors: list[float]) -> Array:
    values = draw.standard_normal(channels) * draw.choice([*factors, 1, 1, 1], channels)
    kind = draw.integers(0, 6, channels)
    for index, value in enumerate(special):
        values[kind == index] = value
    return values


def draw_case(seed: int, n: int, dtype: str = "float32", mild: bool = False, channels: int = 16) -> Case:
    """Draw a case of n elements per channel; equal arguments give equal cases."""
    draw = np.random.default_rng([seed, n, channels])
    limits, parameter = LIMITS[dtype], np.float64 if dtype == "float64" else np.float32
    patterns = [str(p) for p in draw.choice(list(MILD if mild else ADVERSARIAL), channels)]
    x = np.stack([_channel(draw, pattern, n, limits, mild) for pattern in patterns]).astype(limits.dtype)
    dy = np.stack([_upstream(draw, n) for _ in range(channels)]).astype(limits.dtype)
    large = 20.0 if dtype == "float16" else 1e4
    gamma = _parameter(draw, channels, [0.0, 1.0], [large] if mild else [large, 1e-4])
    beta = _parameter(draw, channels, [0.0], [large / 10])
    wide = x.astype(np.float64)
    mean = wide.mean(axis=1) * (1 + 0.1 * draw.standard_normal(channels))
    variance = wide.var(axis=1) * np.exp(0.3 * draw.standard_normal(channels)) + draw.choice([0, 0.1], channels)
    epsilon = draw.choice([1e-3, 1e-5]) if mild else draw.choice([1e-3, 1e-3, 1e-5, 0.0, 1e-12, 1.0, 1e-8])
    return Case(
        dtype=dtype,
        x=x,
        dy=dy,
        gamma=gamma.astype(parameter),
        beta=beta.astype(parameter),
        moving_mean=np.clip(mean, -1e37, 1e37).astype(parameter),
        moving_variance=np.clip(variance, 0, 1e37).astype(parameter),
        epsilon=float(epsilon),
        decay=float(draw.choice([0.99, 0.9, 0.999, 0.5, 0.0, 1 - 2.0**-7])),
        patterns=patterns,
    )
