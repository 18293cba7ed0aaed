"""Recipes of arrays: hashable, short, and expanded to the same values wherever they are read.

Channels are independent in batch normalization, so a recipe says what each channel holds: a pattern, its offset in
units of its spread, and the spread. Up to three such channel recipes are dealt to the channels in turn; the values
still differ from channel to channel.
"""

import math
from collections.abc import Callable
from typing import Literal

import ml_dtypes
import msgspec
import numpy as np

from adapters.interface import Array, Spec
from conformance._layouts import Layout, lay_out, levelled

Pattern = Literal[
    "exact",
    "normal",
    "uniform",
    "alternating",
    "clusters",
    "constant",
    "outlier",
    "heavy",
    "lognormal",
    "ulp",
    "rectified",
    "bytes",
    "ascending",
    "falling",
    "cancelling",
]
GradientPattern = Literal["normal", "integers", "one-hot", "one-signed", "negative", "ones", "zeros", "input"]


def element_type(name: str) -> np.dtype[np.generic]:
    """NumPy's element type of that name, bfloat16 included."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


class Channel(msgspec.Struct, frozen=True):
    """What one channel holds: a pattern of spread about one, times ``spread``, around ``offset * spread``."""

    pattern: Pattern = "exact"
    offset: float = 0.0
    spread: float = 1.0


class Poison(msgspec.Struct, frozen=True):
    """A value that no arithmetic gives back: put at a place, counted modulo the number of elements, of an array.

    In an input places are counted channel by channel, in a gradient in C order; ``of`` names an array of a state.
    """

    value: Literal["nan", "inf", "-inf"] = "nan"
    place: int = 0
    of: Literal["", "gamma", "beta", "moving_mean", "moving_variance"] = ""


class Drawn(msgspec.Struct, frozen=True, tag="drawn"):
    """An input: extents of the axes that are reduced, the channels' recipes, and a seed for their values."""

    sizes: tuple[int, ...]
    channels: tuple[Channel, ...] = (Channel(),)
    seed: int = 0
    poison: tuple[Poison, ...] = ()
    layout: Layout = "c"


class Gradient(msgspec.Struct, frozen=True, tag="gradient"):
    """An upstream gradient of the same shape as the input it belongs to; "input" is that input itself, unscaled."""

    pattern: GradientPattern = "normal"
    scale: float = 1.0
    seed: int = 0
    poison: tuple[Poison, ...] = ()
    layout: Layout = "c"


class Given(msgspec.Struct, frozen=True, tag="given"):
    """An array as it is: little-endian bytes in C order, and the layout that it is handed over in."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    layout: Layout = "c"

    @classmethod
    def of(cls, array: Array, layout: Layout = "c") -> "Given":
        """Hold a copy of an array."""
        array = np.asarray(array)
        name = "bfloat16" if array.dtype == ml_dtypes.bfloat16 else array.dtype.name
        return cls(name, array.shape, array.astype(element_type(name), copy=False).tobytes(), layout)

    @property
    def array(self) -> Array:
        """The values in C order, read-only."""
        return np.frombuffer(self.data, dtype=element_type(self.dtype)).reshape(self.shape)

    def __repr__(self) -> str:
        """Print nested lists of the shortest numbers that round to the values, or the bytes where numbers lose bits."""
        layout = "" if self.layout == "c" else f", {self.layout!r}"
        if 0 in self.shape or not _usual_nans(self.array):
            return f"Given({self.dtype!r}, {self.shape!r}, {self.data!r}{layout})"
        return f"given({_nested(self.array)}, {self.dtype!r}{layout})"


def _usual_nans(a: Array) -> bool:
    """Whether every NaN has the bits of ``float("nan")``; arithmetic on x86 also gives others."""
    with np.errstate(invalid="ignore"):
        found = a[np.isnan(a)]
    return found.tobytes() == np.full(found.shape, np.nan, a.dtype).tobytes()


def _nested(a: Array) -> str:
    if a.ndim == 0:
        # bfloat16 prints its negative zero as an integer, which has no sign.
        text = str(a[()]) if a[()] else repr(float(a[()]))
        return text if text.lstrip("-")[0].isdigit() else f"float({text!r})"
    return "[" + ", ".join(_nested(part) for part in a) + "]"


def given(values: object, dtype: str = "float32", layout: Layout = "c") -> Given:
    """Hold nested lists of numbers, as a printed case writes them."""
    return Given.of(np.array(values, dtype=element_type(dtype)), layout)


Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, int, int], Matrix]


def _exact(rng: np.random.Generator, c: int, m: int) -> Matrix:
    """Pairs of opposite small integers: sums are exact in any order, and so is the mean."""
    half = rng.integers(1, 5, (c, m // 2)).astype(np.float64)
    values = np.concatenate([half, -half, np.zeros((c, m % 2))], axis=1)
    return rng.permuted(values, axis=1)


def _outlier(rng: np.random.Generator, c: int, m: int) -> Matrix:
    values = rng.standard_normal((c, m))
    values[np.arange(c), rng.integers(m, size=c)] = 10 ** rng.uniform(1, 5, c)
    return values


#: Elements up to which data are put in order: of longer sums in order, no model of random rounding is true.
_LONGEST_ORDER = 256


def _in_order(rng: np.random.Generator, c: int, m: int, key: Callable[[Matrix], Matrix]) -> Matrix:
    values = rng.standard_normal((c, m))
    return values if m > _LONGEST_ORDER else np.take_along_axis(values, np.argsort(key(values), axis=1), axis=1)


def _cancelling(rng: np.random.Generator, c: int, m: int) -> Matrix:
    """Large numbers that cancel the ones before them, and small ones between."""
    values = rng.standard_normal((c, m))
    values[:, 0 : m - m % 2 : 2] += 1000
    values[:, 1::2] -= 1000
    return values


_PATTERNS: dict[str, Draw] = {
    "exact": _exact,
    "normal": lambda rng, c, m: rng.standard_normal((c, m)),
    "uniform": lambda rng, c, m: rng.uniform(-1.75, 1.75, (c, m)),
    "alternating": lambda rng, c, m: (1.0 - 2.0 * (np.arange(m) % 2)) * rng.uniform(0.5, 1, (c, 1)),
    "clusters": lambda rng, c, m: rng.standard_normal((c, m)) / 64 + 2.0 * rng.integers(0, 2, (c, m)) - 1,
    "constant": lambda rng, c, m: np.zeros((c, m)),
    "outlier": _outlier,
    "heavy": lambda rng, c, m: rng.standard_t(2, (c, m)),
    "lognormal": lambda rng, c, m: np.exp(rng.standard_normal((c, m)) * 1.5),
    "rectified": lambda rng, c, m: np.maximum(rng.standard_normal((c, m)) - 0.5, 0),
    "bytes": lambda rng, c, m: rng.integers(0, 256, (c, m)).astype(np.float64),
    "ulp": lambda rng, c, m: rng.integers(-2, 3, (c, m)).astype(np.float64),
    "ascending": lambda rng, c, m: _in_order(rng, c, m, lambda values: values),
    "falling": lambda rng, c, m: _in_order(rng, c, m, lambda values: -np.abs(values)),
    "cancelling": _cancelling,
}

_ULP = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


#: float16 has no room for the scales of the others: spreads within these leave data whole digits, and values below
#: the last can be squared, summed and scaled in float32 as all others can. A gradient's scale has limits of its own.
_HALF_SPREADS, _HALF_SCALES, _HALF_LARGEST = (2.0**-9, 2.0**8), (2.0**-8, 2.0**6), 2.0**13


def in_range(recipe: Channel, dtype: str) -> Channel:
    """The recipe as far as the element type has room for it: float16 limits spread and offset."""
    if dtype != "float16":
        return recipe
    low, high = _HALF_SPREADS
    spread = min(max(recipe.spread, low), high)
    most = _HALF_LARGEST / 2 / spread
    return Channel(recipe.pattern, min(max(recipe.offset, -most), most), spread)


def _channel_values(recipe: Channel, rng: np.random.Generator, c: int, m: int, dtype: str) -> Matrix:
    values = _wide_values(in_range(recipe, dtype), rng, c, m, dtype)
    return np.clip(values, -_HALF_LARGEST, _HALF_LARGEST) if dtype == "float16" else values


def _wide_values(recipe: Channel, rng: np.random.Generator, c: int, m: int, dtype: str) -> Matrix:
    values = _PATTERNS[recipe.pattern](rng, c, m)
    if recipe.pattern == "exact":
        # The nearest power of two: any other spread would round what is to be exact.
        return (recipe.offset + values) * 2.0 ** round(math.log2(recipe.spread))
    if recipe.pattern == "ulp":
        return (recipe.offset or 1.0) * (1.0 + values * _ULP[dtype]) * recipe.spread
    return (recipe.offset + values) * recipe.spread


def _position_shape(spec: Spec, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The input's shape for these extents of the reduced axes."""
    shape = [0] * spec.rank
    for axis, extent in zip(spec.reduction_axes, sizes, strict=True):
        shape[axis] = extent
    for axis, extent in zip(spec.channel_axes, spec.parameter_shape, strict=True):
        shape[axis] = extent
    return tuple(shape)


def from_rows(rows: Matrix, spec: Spec, sizes: tuple[int, ...]) -> Array:
    """Lay out one row per channel as an input, rounded to the spec's element type."""
    shape = _position_shape(spec, sizes)
    stacked = rows.reshape(spec.parameter_shape + sizes)
    order = [0] * spec.rank
    for source, axis in enumerate(spec.channel_axes + spec.reduction_axes):
        order[axis] = source
    with np.errstate(over="ignore"):
        laid_out = np.ascontiguousarray(stacked.transpose(order)).astype(element_type(spec.dtype))
    assert laid_out.shape == shape
    return laid_out


def expand_input(recipe: Drawn | Given, spec: Spec) -> Array:
    """The input array of a recipe, in the recipe's layout."""
    if isinstance(recipe, Given):
        return lay_out(recipe.array, recipe.layout)
    if not recipe.channels:
        raise ValueError("an input without a recipe for its channels")
    c = int(np.prod(spec.parameter_shape, dtype=np.int64))
    m = int(np.prod(recipe.sizes, dtype=np.int64))
    rng = np.random.default_rng([recipe.seed, m])
    rows = np.empty((c, m))
    kinds = len(recipe.channels)
    for k, channel in enumerate(recipe.channels[:c]):
        dealt = rows[k::kinds]
        dealt[:] = _channel_values(channel, rng, len(dealt), m, spec.dtype)
    return _laid_out(from_rows(poisoned(rows, recipe.poison), spec, recipe.sizes), recipe)


def poisoned(a: Array, poison: tuple[Poison, ...]) -> Array:
    """Put the values in their places, in C order, of an array of its own memory."""
    for one in poison:
        if a.size:
            a.reshape(-1)[one.place % a.size] = float(one.value)
    return a


def _laid_out(values: Array, recipe: Drawn | Gradient) -> Array:
    if recipe.layout == "c":
        return values
    return lay_out(levelled(values, recipe.seed) if recipe.layout == "broadcast" else values, recipe.layout)


def _one_hot(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values = np.zeros(shape)
    if values.size:
        values.reshape(-1)[rng.integers(values.size)] = 1
    return values


_GRADIENTS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "integers": lambda rng, shape: rng.integers(-4, 5, shape).astype(np.float64),
    "one-hot": _one_hot,
    "one-signed": lambda rng, shape: np.abs(rng.standard_normal(shape)) + 5,
    "negative": lambda rng, shape: -np.abs(rng.standard_normal(shape)) - 0.5,
    "ones": lambda rng, shape: np.ones(shape),
    "zeros": lambda rng, shape: np.zeros(shape),
}


def expand_gradient(recipe: Gradient | Given, x: Array) -> Array:
    """The upstream gradient of a recipe for the input x, of its shape and element type, in the recipe's layout."""
    if isinstance(recipe, Given):
        return lay_out(recipe.array, recipe.layout)
    if recipe.pattern == "input":
        return _laid_out(np.array(x, order="C"), recipe)
    rng = np.random.default_rng([recipe.seed, 1])
    low, high = _HALF_SCALES
    scale = min(max(recipe.scale, low), high) if x.dtype == np.float16 else recipe.scale
    values = poisoned((_GRADIENTS[recipe.pattern](rng, x.shape) * scale).astype(x.dtype), recipe.poison)
    return _laid_out(values, recipe)
