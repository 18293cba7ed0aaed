"""Short programs that each show one convention, whatever the implementation declares: family 8's derived cases.

Each takes a case, of which it keeps the spec and at most the extents of the first input, and gives programs of one to
four steps, or ``()`` where the spec cannot show the convention. All data but noise are exact.
"""

import math

import numpy as np

from adapters.interface import Array, Execution, Spec
from conformance import grading
from conformance._data import from_rows
from conformance.case import ApplyUpdates, Case, Drawn, Given, Infer, Instruction, SetState, Start, Train
from conformance.formats import FORMATS

#: Beta and gamma where the output at m = 1 is asked for.
BETA, GAMMA = 0.75, 2.0
#: The second value given to a layer one element at a time.
SINGLE = 3.0
#: Moving statistics before an empty batch, and before a frozen layer's step.
EMPTY_MEAN, EMPTY_VARIANCE = 0.5, 2.0
FROZEN_MEAN, FROZEN_VARIANCE = 8.0, 16.0
#: 1 + 2^-7 + 2^-10 + 2^-23 + 2^-52: each element type keeps another part of it.
DIGITS = 1 + 2.0**-7 + 2.0**-10 + 2.0**-23 + 2.0**-52
#: Elements per channel of the probe that shows how many digits an output has.
ROUNDED = 16


def extents(case: Case) -> tuple[int, ...]:
    """Extents of the axes that the case's first input is reduced over."""
    first = next((step.x for step in case.program if isinstance(step, Train | Infer)), None)
    if isinstance(first, Drawn):
        return first.sizes
    if isinstance(first, Given):
        return tuple(first.shape[axis] for axis in case.spec.reduction_axes)
    return _sizes(case.spec, 2)


def freed(spec: Spec) -> Spec:
    """The spec with all extents free that are reduced: probes have their own."""
    shape = tuple(extent if axis in spec.channel_axes else None for axis, extent in enumerate(spec.shape))
    return spec._replace(shape=shape)


def _sizes(spec: Spec, m: int) -> tuple[int, ...]:
    """M elements per channel, all along the first axis that is reduced."""
    reduced = len(spec.reduction_axes)
    return (m,) + (1,) * (reduced - 1) if reduced else ()


def _given(spec: Spec, rows: Array, sizes: tuple[int, ...]) -> Given:
    """An input of the spec, of one row for all channels or of (C, m)."""
    channels = math.prod(spec.parameter_shape)
    return Given.of(from_rows(np.ascontiguousarray(np.broadcast_to(rows, (channels, math.prod(sizes)))), spec, sizes))


def _parameter(spec: Spec, value: float) -> Given:
    return Given.of(np.full(spec.parameter_shape, value))


def _start(spec: Spec, mean: float, variance: float, gamma: float = 1.0, beta: float = 0.0) -> Start:
    return Start(_parameter(spec, gamma), _parameter(spec, beta), _parameter(spec, mean), _parameter(spec, variance))


def _moved(spec: Spec, mean: float, variance: float) -> SetState:
    return SetState(Start(None, None, _parameter(spec, mean), _parameter(spec, variance)))


def _case(spec: Spec, start: Start, *program: Instruction) -> Case:
    return Case(spec, (start,), program)


def channel_means(spec: Spec) -> Array:
    """Means of the channels in ``estimator``, (C, 1): small integers."""
    return 1.0 + np.arange(math.prod(spec.parameter_shape)).reshape(-1, 1) % 3


def pairs(m: int) -> Array:
    """Deviations of (m,): as many 1 as -1, and one 0 where m is odd."""
    return np.concatenate([np.tile([1.0, -1.0], m // 2), np.zeros(m % 2)])


def estimator(case: Case) -> tuple[Case, ...]:
    """Training from moving statistics of zero, with two elements per channel and with as many as the case has."""
    spec = freed(case.spec)
    if not spec.reduction_axes:
        return ()
    chosen = dict.fromkeys([_sizes(spec, 2), extents(case)])
    program: list[Instruction] = []
    for sizes in chosen:
        m = math.prod(sizes)
        if m < 2:
            continue
        program += [_moved(spec, 0, 0)] if program else []
        program.append(Train(_given(spec, channel_means(spec) + pairs(m), sizes)))
    return (_case(spec, _start(spec, 0, 0), *program),)


def near_root(spec: Spec) -> float:
    """A power of two about √ε, normal in the spec's element type."""
    exponent = round(math.log2(math.sqrt(spec.epsilon))) if spec.epsilon else 0
    return 2.0 ** max(exponent, -14 if spec.dtype == "float16" else -60)


def _control(spec: Spec, mean: float, variance: float) -> list[Instruction]:
    """An ordinary training step: only where it is taken does a refusal of the next one tell anything."""
    return [Train(_two(spec)), _moved(spec, mean, variance)] if spec.reduction_axes else []


def single(case: Case) -> tuple[Case, ...]:
    """Training on an ordinary batch, then on one element per channel: about √ε, where rounding is small, and 3."""
    spec = freed(case.spec)
    if not spec.epsilon:
        return ()
    sizes = _sizes(spec, 1)
    steps = [Train(_given(spec, np.full(1, value), sizes)) for value in (near_root(spec), SINGLE)]
    return (_case(spec, _start(spec, 0, 1, GAMMA, BETA), *_control(spec, 0, 1), *steps),)


def empty(case: Case) -> tuple[Case, ...]:
    """Training on an ordinary batch, then on one without elements."""
    spec = freed(case.spec)
    if not spec.reduction_axes:
        return ()
    sizes = (0,) + (2,) * (len(spec.reduction_axes) - 1)
    x = _given(spec, np.zeros((math.prod(spec.parameter_shape), 0)), sizes)
    state = EMPTY_MEAN, EMPTY_VARIANCE
    return (_case(spec, _start(spec, *state), *_control(spec, *state), Train(x)),)


def small(spec: Spec) -> float:
    """A deviation whose square is far below any ε that the element type can show."""
    return 2.0**-12 if spec.dtype == "float16" else 2.0**-30


def epsilon(case: Case) -> tuple[Case, ...]:
    """Training on, then inference with, a variance so small that the output shows ε alone."""
    spec = freed(case.spec)
    a = small(spec)
    sizes = _sizes(spec, 2)
    alone = _case(spec, _start(spec, 0, a * a), Infer(_given(spec, np.array([a, -a])[: math.prod(sizes)], sizes)))
    if not spec.reduction_axes:
        return (alone,)
    return _case(spec, _start(spec, 0, 1), Train(_given(spec, np.array([a, -a]), sizes))), alone


def decay(case: Case) -> tuple[Case, ...]:
    """Training on zeros from moving statistics of one, then on ones from a moving mean of zero: the two weights."""
    spec = freed(case.spec)
    sizes = _sizes(spec, 2)
    zeros, ones = (_given(spec, np.full(1, value), sizes) for value in (0.0, 1.0))
    return (_case(spec, _start(spec, 1, 1), Train(zeros), _moved(spec, 0, 1), Train(ones)),)


def decay_type(case: Case) -> tuple[Case, ...]:
    """The same with a decay that float64 alone holds, where the inputs are float64."""
    spec = case.spec
    if spec.dtype == "float64" and float(np.float32(spec.decay)) == spec.decay:
        case = Case(spec._replace(decay=0.9), case.starts, case.program)
    return decay(case)


def statistics(case: Case) -> tuple[Case, ...]:
    """Moving statistics of many digits, read back after building and after a training step."""
    spec = freed(case.spec)
    return (_case(spec, _start(spec, DIGITS, DIGITS), Train(_given(spec, np.full(1, 1.0), _sizes(spec, 2)))),)


def neighbours(spec: Spec, digits: int) -> tuple[float, float]:
    """Neighbours of that many digits whose mean needs one more, far enough apart to be seen beside ε."""
    step = 2.0 ** math.ceil(math.log2(4 * math.sqrt(spec.epsilon or 2.0**-20)))
    return step * 2.0**digits, step * (2.0**digits + 2)


def arithmetic_digits(spec: Spec) -> int:
    """Digits of the widest arithmetic that an input of this element type can tell from wider ones."""
    return min(FORMATS[spec.dtype].digits, 24)


def arithmetic(case: Case) -> tuple[Case, ...]:
    """Training on data that no narrow arithmetic can centre, after a constant that shows the weight; and on noise."""
    spec = freed(case.spec)
    if not spec.reduction_axes:
        return ()
    pair = neighbours(spec, arithmetic_digits(spec))
    constant, differing = (Train(_given(spec, np.array(rows), _sizes(spec, 2))) for rows in (pair[:1], pair))
    centred = _case(spec, _start(spec, 0, 1), constant, _moved(spec, 0, 1), differing)
    noise = np.random.default_rng(8).standard_normal(ROUNDED)
    shown = Train(_given(spec, noise * near_root(spec), _sizes(spec, ROUNDED)))
    return centred, _case(spec, _start(spec, 0, 1), shown)


def _two(spec: Spec) -> Given:
    return _given(spec, channel_means(spec) + pairs(2), _sizes(spec, 2))


def update(case: Case) -> tuple[Case, ...]:
    """A training step as users make it."""
    spec = freed(case.spec)
    if not spec.reduction_axes or spec.decay == 1:
        return ()
    return (_case(spec, _start(spec, FROZEN_MEAN, FROZEN_VARIANCE), Train(_two(spec))),)


def separate_update(case: Case) -> tuple[Case, ...]:
    """A training step whose update is left out, and then the update."""
    spec = freed(case.spec)
    if not spec.reduction_axes or spec.decay == 1:
        return ()
    start = _start(spec, FROZEN_MEAN, FROZEN_VARIANCE)
    return (_case(spec, start, Train(_two(spec), update=False), ApplyUpdates()),)


def ladder(case: Case) -> tuple[Case, ...]:
    """The ladder of condition numbers, for the specs that there are kernels for: each is a layer of its own."""
    spec = freed(case.spec)
    if len(spec.axis) != 1 or spec.rank not in (2, 4) or spec.channel_axes[0] not in (1, spec.rank - 1):
        return ()
    return (grading.ladder_case(grading.spec(spec.rank, spec.channel_axes[0], spec.dtype)),)


def frozen(case: Case) -> tuple[Case, ...]:
    """A training step of a layer that is asked to be frozen; for a few specs only, since each is a layer of its own."""
    spec = freed(case.spec)
    if not spec.reduction_axes or spec.decay == 1 or len(spec.axis) != 1 or spec.channel_axes[0] not in (1, 3):
        return ()
    spec = spec._replace(execution=Execution("frozen"))
    return (_case(spec, _start(spec, FROZEN_MEAN, FROZEN_VARIANCE), Train(_two(spec))),)
