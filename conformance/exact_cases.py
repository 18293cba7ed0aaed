"""Derives cases whose answers are exact: data with exact means and variances, whatever the order of summation.

The idea is oneDNN's: small integers times powers of two, a power of two of them per channel. All sums are then exact,
and so are the divisions by their number; with dyadic parameters and decays no correct formula rounds at all, but for
the root. Also: zeros of both signs.
"""

import math

import msgspec
import numpy as np

from adapters.interface import Array, Spec
from conformance._data import from_rows
from conformance.case import Case, Given, Infer, Instruction, Start, Train, parameter_dtype
from conformance.derive import first_training, map_arrays

#: Numbers of elements per channel.
COUNTS = (8, 16, 32, 64, 256, 8, 16, 1024)
#: Elements per channel up to which zeros are tried.
_FEW = 600
#: Integers that pairs of opposite elements have; zero makes a constant channel with the others at zero too.
_HEIGHTS = np.array([0, 1, 1, 2, 3])


def _generator(case: Case, salt: int) -> np.random.Generator:
    """As many generators as there are cases, always the same for the same case."""
    seeds = [start.seed for start in case.starts]
    sizes = [n for step in case.program if isinstance(step, Train | Infer) for n in _sizes(step)]
    return np.random.default_rng([salt, *seeds, *sizes, *(spec_number(case.spec))])


def _sizes(step: Train | Infer) -> tuple[int, ...]:
    return step.x.shape if isinstance(step.x, Given) else (*step.x.sizes, step.x.seed)


def spec_number(spec: Spec) -> tuple[int, ...]:
    """Whole numbers that tell specs apart."""
    return (*spec.channel_axes, spec.rank, math.prod(spec.parameter_shape), round(1e9 * spec.decay))


def _extents(spec: Spec, m: int) -> tuple[int, ...]:
    """Extents of the reduced axes with about m elements in all, a power of two; () where the spec's own forbid it."""
    known = [spec.shape[axis] for axis in spec.reduction_axes]
    if not any(known):
        extents = []
        for _ in known[1:]:
            extents.append(min(m, 4))
            m //= extents[-1]
        return (m, *extents)
    fixed = math.prod(extent or 1 for extent in known)
    if fixed & (fixed - 1):
        return ()
    free = max(m // fixed, 2 if fixed == 1 else 1)
    first = known.index(None) if None in known else -1
    return tuple(extent or (free if place == first else 1) for place, extent in enumerate(known))


class Scales:
    """What the channels of a case have in common over its steps: the power of two that all values are multiples of."""

    def __init__(self, spec: Spec, rng: np.random.Generator) -> None:
        self.spec = spec
        self.c = math.prod(spec.parameter_shape)
        # Around the root of epsilon, where its place shows, or small where there is none, so that another one in its
        # place would show; and around one. float16 reaches down to 2**-8 with digits.
        root = math.frexp(math.sqrt(spec.epsilon))[1] if spec.epsilon > 0 else -16
        lowest = -7 if spec.dtype == "float16" else -40
        exponents = np.where(rng.integers(0, 2, self.c) == 0, max(root, lowest), 0) + rng.integers(-1, 2, self.c)
        self.unit = np.ldexp(1.0, exponents).reshape(-1, 1)

    def rows(self, rng: np.random.Generator, m: int) -> Array:
        """Data (C, m) around a whole number of units, now and then constant."""
        half = rng.choice(_HEIGHTS, (self.c, m // 2)).astype(np.float64)
        half[rng.integers(0, 4, self.c) == 0] = 0
        values = rng.permuted(np.concatenate([half, -half], axis=1), axis=1)
        return (values + self.means(rng)) * self.unit

    def means(self, rng: np.random.Generator) -> Array:
        """Means in units, (C, 1): small ones, and some so large that only exact sums find the variance."""
        large = 2.0 ** {"bfloat16": 4, "float16": 7}.get(self.spec.dtype, 10)
        return rng.integers(-8, 9, (self.c, 1)) * np.where(rng.integers(0, 4, (self.c, 1)) == 0, large, 1.0)

    def given(self, rng: np.random.Generator, extents: tuple[int, ...]) -> Given:
        """The same as an input."""
        return Given.of(from_rows(self.rows(rng, math.prod(extents)), self.spec, extents))

    def start(self, rng: np.random.Generator) -> Start:
        """Parameters of few digits, gamma zero now and then; moving statistics of a few units."""
        gamma = rng.choice([1.0, -1.0, 2.0, 0.5, -3.0, 0.0], self.c)
        beta = rng.integers(-4, 5, self.c) / 2.0
        mean = rng.integers(-8, 9, self.c) * self.unit.reshape(-1)
        # Zero is what a dead channel's becomes in time.
        variance = rng.integers(0 if self.spec.epsilon > 0 else 1, 8, self.c) * np.square(self.unit.reshape(-1))
        given = self._parameter
        return Start(given(gamma), given(beta), given(mean), given(variance))

    def _parameter(self, values: Array) -> Given:
        return Given.of(values.reshape(self.spec.parameter_shape).astype(parameter_dtype(self.spec)))


def _exact(case: Case, salt: int, steps: tuple[type[Train | Infer], ...]) -> tuple[Case, ...]:
    if not any(isinstance(step, Train | Infer) for step in case.program):
        return ()
    rng = _generator(case, salt)
    extents = _extents(case.spec, int(rng.choice(COUNTS)))
    if not extents:
        return ()
    scales = Scales(case.spec, rng)
    start = scales.start(rng)
    program: list[Instruction] = [step(scales.given(rng, extents)) for step in steps]
    return (Case(case.spec, (start,), tuple(program)),)


def exact_training(case: Case) -> tuple[Case, ...]:
    """One training step on exact data, of as many elements as the case's seeds say."""
    return _exact(case, 1, (Train,))


def without_epsilon(case: Case) -> tuple[Case, ...]:
    """The same where there is no epsilon; nothing where there is."""
    return () if case.spec.epsilon > 0 else exact_training(case)


def exact_updates(case: Case) -> tuple[Case, ...]:
    """Two training steps on exact data."""
    return _exact(case, 3, (Train, Train))


def exact_inference(case: Case) -> tuple[Case, ...]:
    """One inference step on exact data, from exact statistics."""
    return _exact(case, 2, (Infer,))


def zeros_of_both_signs(case: Case) -> tuple[Case, ...]:
    """Two training steps on the first one's input, its smaller half made +0 and then −0; of one case in three."""

    def zeros(value: float) -> Case:
        def change(rows: Array, _: int) -> Array:
            small = np.abs(rows) <= np.median(np.abs(rows), axis=1, keepdims=True)
            return np.where(small & np.isfinite(rows), value, rows)

        return map_arrays(first_training(case), x=change)

    channels = math.prod(case.spec.parameter_shape)
    sizes = [call.x.size // channels for call in case.expanded.calls if call.op == "train" and call.x is not None]
    # One case in three is enough, and none is too small for it.
    if not sizes or sizes[0] > _FEW or case.starts[0].seed % 3:
        return ()
    positive, negative = zeros(0.0), zeros(-0.0)
    return (msgspec.structs.replace(positive, program=(*positive.program, *negative.program)),)
