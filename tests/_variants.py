"""Correct implementations of batch normalization that differ in what frameworks differ in: order and algebra.

All work on (C, m) arrays in one element type, that of the data they are given, and follow their declared grades.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adapters.interface import Array
from tests._bound_cases import Case

Sum = Callable[[Array], Array]
Moments = Callable[[Array, Sum], tuple[Array, Array]]


def pairwise(a: Array) -> Array:
    """NumPy's own sum."""
    return np.asarray(np.ascontiguousarray(a).sum(axis=1, keepdims=True))


def sequential(a: Array) -> Array:
    """From left to right."""
    return np.cumsum(a, axis=1, dtype=a.dtype)[:, -1:]


def backwards(a: Array) -> Array:
    """From right to left."""
    return sequential(a[:, ::-1])


def by_magnitude(a: Array) -> Array:
    """From the smallest magnitude to the largest."""
    return sequential(np.take_along_axis(a, np.argsort(np.abs(a), axis=1), axis=1))


def shuffled(a: Array) -> Array:
    """In a random order."""
    return sequential(a[:, np.random.default_rng(a.shape[1]).permutation(a.shape[1])])


def lanes(count: int) -> Sum:
    """In strided partial sums, as vector units do."""

    def total(a: Array) -> Array:
        padded = np.pad(a, ((0, 0), (0, -a.shape[1] % count)))
        return sequential(np.cumsum(padded.reshape(a.shape[0], -1, count), axis=1, dtype=a.dtype)[:, -1])

    return total


def blocks(size: int) -> Sum:
    """In blocks of neighbours, then the blocks, as GPU kernels do."""

    def total(a: Array) -> Array:
        padded = np.pad(a, ((0, 0), (0, -a.shape[1] % size)))
        return sequential(np.cumsum(padded.reshape(a.shape[0], -1, size), axis=2, dtype=a.dtype)[:, :, -1])

    return total


def two_passes(x: Array, total: Sum) -> tuple[Array, Array]:
    """The mean first, then the squares of the differences."""
    n = x.dtype.type(x.shape[1])
    mean = total(x) / n
    return mean, total(np.square(x - mean)) / n


def reciprocal(x: Array, total: Sum) -> tuple[Array, Array]:
    """Two passes, multiplied with 1/n instead of divided by n."""
    scale = x.dtype.type(1) / x.dtype.type(x.shape[1])
    mean = total(x) * scale
    return mean, total(np.square(x - mean)) * scale


def scaled_first(x: Array, total: Sum) -> tuple[Array, Array]:
    """Two passes, each term divided by n before it is added."""
    n = x.dtype.type(x.shape[1])
    mean = total(x / n)
    return mean, total(np.square(x - mean) / n)


def corrected(x: Array, total: Sum) -> tuple[Array, Array]:
    """Two passes, the second corrected by what the mean lost."""
    n = x.dtype.type(x.shape[1])
    mean = total(x) / n
    difference = x - mean
    return mean, (total(np.square(difference)) - np.square(total(difference)) / n) / n


def one_pass(x: Array, total: Sum) -> tuple[Array, Array]:
    """E[x²] - E[x]²."""
    n = x.dtype.type(x.shape[1])
    mean = total(x) / n
    return mean, np.maximum(total(np.square(x)) / n - np.square(mean), 0)


def welford(x: Array, _: Sum) -> tuple[Array, Array]:
    """Welford's update, element by element."""
    work = x.dtype.type
    mean, squares = np.zeros_like(x[:, 0]), np.zeros_like(x[:, 0])
    for index, value in enumerate(x.T, start=1):
        delta = value - mean
        mean = mean + delta / work(index)
        squares = squares + delta * (value - mean)
    return mean[:, None], squares[:, None] / work(x.shape[1])


def chan(x: Array, total: Sum) -> tuple[Array, Array]:
    """Chan's merge of halves, down to single elements."""
    mean, squares = _chan(x)
    return mean[:, None], squares[:, None] / x.dtype.type(x.shape[1])


def _chan(x: Array) -> tuple[Array, Array]:
    """Return the mean and the sum of squares by Chan's merge of halves."""
    n = x.shape[1]
    if n == 1:
        return x[:, 0], np.zeros_like(x[:, 0])
    half, work = n // 2, x.dtype.type
    (mean, squares), (other_mean, other_squares) = _chan(x[:, :half]), _chan(x[:, half:])
    delta = other_mean - mean
    merged = mean + delta * (work(n - half) / work(n))
    return merged, squares + other_squares + np.square(delta) * (work(half) * work(n - half) / work(n))


class Variant(NamedTuple):
    """A correct implementation and the grades it declares."""

    moments: Moments
    total: Sum
    variance_grade: str
    affine_grade: str
    #: Whether the arithmetic is done in float64, whatever the data.
    wide: bool = False


VARIANTS = {
    "pairwise": Variant(two_passes, pairwise, "A", "S"),
    "sequential": Variant(two_passes, sequential, "A", "S"),
    "backwards, folded": Variant(two_passes, backwards, "A", "F"),
    "by magnitude": Variant(two_passes, by_magnitude, "A", "S"),
    "shuffled": Variant(reciprocal, shuffled, "A", "S"),
    "scaled first": Variant(scaled_first, sequential, "A", "S"),
    "4 lanes": Variant(two_passes, lanes(4), "A", "S"),
    "7 lanes, folded": Variant(reciprocal, lanes(7), "A", "F"),
    "16 lanes": Variant(two_passes, lanes(16), "A", "S"),
    "blocks of 32, folded": Variant(two_passes, blocks(32), "A", "F"),
    "corrected": Variant(corrected, pairwise, "A", "S"),
    "welford": Variant(welford, sequential, "B", "S"),
    "chan": Variant(chan, pairwise, "B", "F"),
    "one pass": Variant(one_pass, pairwise, "C", "S"),
    "one pass, sequential, folded": Variant(one_pass, sequential, "C", "F"),
    "one pass, 16 lanes, folded": Variant(one_pass, lanes(16), "C", "F"),
    "wide": Variant(two_passes, pairwise, "A", "S", wide=True),
}


class Fault(NamedTuple):
    """Relative errors built into an implementation; all zero in a correct one."""

    rsqrt: float = 0.0
    epsilon: float = 0.0
    decay: float = 0.0
    #: Whether the batch is normalized with Bessel's correction.
    bessel: bool = False
    #: Whether epsilon is added to the standard deviation instead of the variance.
    outside: bool = False


FAULTLESS = Fault()


def _rsqrt(variance: Array, epsilon: float, fault: Fault) -> Array:
    work = variance.dtype.type
    shift = work(epsilon * (1 + fault.epsilon))
    r = work(1) / (np.sqrt(variance) + shift if fault.outside else np.sqrt(variance + shift))
    return (r.astype(np.longdouble) * (1 + np.longdouble(fault.rsqrt))).astype(variance.dtype)


def _affine(x: Array, mean: Array, r: Array, gamma: Array, beta: Array, grade: str) -> Array:
    if grade == "S":
        return gamma * ((x - mean) * r) + beta
    slope = gamma * r
    return slope * x + (beta - mean * slope)


def _sums(x: Array, dy: Array, mean: Array, variant: Variant) -> tuple[Array, Array]:
    """Return the sums of dy and of dy · (x - mean)."""
    total = variant.total(dy)
    if variant.affine_grade == "F":
        return total, variant.total(dy * x) - mean * total
    return total, variant.total(dy * (x - mean))


def _cast(case: Case, variant: Variant) -> tuple[Array, Array, Array, Array]:
    work = np.float64 if variant.wide else case.gamma.dtype
    return (
        case.x.astype(work),
        case.dy.astype(work),
        case.gamma.astype(work)[:, None],
        case.beta.astype(work)[:, None],
    )


def _rounded(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    types = {"y": case.x.dtype, "dx": case.x.dtype}
    return {name: a.astype(types.get(name, case.gamma.dtype)) for name, a in arrays.items()}


def train(case: Case, variant: Variant, fault: Fault = FAULTLESS) -> dict[str, Array]:
    """Return mean, variance, y, dx, dgamma, dbeta of a training step, by the names of the bounds' attributes."""
    with np.errstate(all="ignore"):
        x, dy, gamma, beta = _cast(case, variant)
        work, n = x.dtype.type, x.dtype.type(x.shape[1])
        mean, variance = variant.moments(x, variant.total)
        used = variance * (n / (n - work(1))) if fault.bessel else variance
        r = _rsqrt(used, case.epsilon, fault)
        total, weighted = _sums(x, dy, mean, variant)
        slope = r * r * (weighted / n)
        # What automatic differentiation of E[x²] - E[x]² gives: x and the mean separately.
        centered = x * slope - mean * slope if variant.variance_grade == "C" else (x - mean) * slope
        return _rounded(
            case,
            {
                "mean": mean,
                "variance": variance,
                "y": _affine(x, mean, r, gamma, beta, variant.affine_grade),
                "dx": gamma * r * (dy - total / n - centered),
                "dgamma": r * weighted,
                "dbeta": total,
            },
        )


def infer(case: Case, variant: Variant, fault: Fault = FAULTLESS) -> dict[str, Array]:
    """Return y, dx, dgamma, dbeta of an inference step with the case's moving statistics."""
    with np.errstate(all="ignore"):
        x, dy, gamma, beta = _cast(case, variant)
        mean = case.moving_mean.astype(x.dtype)[:, None]
        r = _rsqrt(case.moving_variance.astype(x.dtype)[:, None], case.epsilon, fault)
        total, weighted = _sums(x, dy, mean, variant)
        y = _affine(x, mean, r, gamma, beta, variant.affine_grade)
        return _rounded(case, {"y": y, "dx": gamma * r * dy, "dgamma": r * weighted, "dbeta": total})


def update(previous: Array, statistic: Array, decay: float, fault: Fault = FAULTLESS) -> Array:
    """Return the new moving statistic in the old one's type; the form alternates with the decay."""
    work = previous.dtype.type
    weight = work(decay * (1 + fault.decay))
    with np.errstate(all="ignore"):
        if decay < 0.95:
            return previous - (previous - statistic) * (work(1) - weight)
        return weight * previous + (work(1) - weight) * statistic
