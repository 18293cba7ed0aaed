"""Measures how accurate an implementation is: the grades of its variance and of its output, and where digits are gone.

Grades are those of the bounds. Variance: "A" two passes, "B" updating formulas, "C" E[x²] - E[x]²; output: "S"
subtracts the mean first, "F" folds it into y = a·x + b. A ladder of condition numbers κ = √(1 + μ²/σ²) is climbed
with normal data, four channels to a rung. The grade is the best one whose bound holds on all rungs up to where the
grades differ. Sums in a wider type than the results come in count as grade A, as they do in the bounds.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Capabilities, Spec
from conformance._data import from_rows
from conformance.bounds import InferenceBounds, TrainingBounds, moving_bound
from conformance.capability import refusal
from conformance.case import Case, Given, Infer, SetState, Start, Train, parameter_dtype
from conformance.formats import FORMATS, Format, compute_format
from conformance.judge import Run
from conformance.oracle import InferenceTruth, TrainingTruth, unbiased
from conformance.session import Session
from reports.records import Accuracy, number
from reports.records import Rung as RungRecord

_EVERY_HALF_DECADE = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
#: The condition numbers of each element type: up to where its numbers themselves cannot tell the values apart.
LADDERS: dict[str, tuple[float, ...]] = {
    "float32": _EVERY_HALF_DECADE,
    "float64": tuple(10.0**k for k in range(16)),
    "float16": _EVERY_HALF_DECADE[:7],
    "bfloat16": _EVERY_HALF_DECADE[:5],
}
#: The rungs that are graded: below, all algorithms do well; above, even two passes do not.
GRADED: dict[str, tuple[float, float]] = {
    "float32": (10, 1e3),
    "float64": (1e2, 1e6),
    "float16": (10, 1e3),
    "bfloat16": (10, 1e2),
}
CHANNELS_PER_RUNG = 4
#: Elements per channel.
COUNT = 256
EPSILON, DECAY = 2.0**-10, 0.5
#: How much looser the next grade's bound must be somewhere for the two to be told apart.
_APART = 4.0
WORSE = "worse"


class Rung(NamedTuple):
    """What is lost at one condition number, in binary digits: of the batch's variance, and of the inference output."""

    kappa: float
    variance: float
    output: float
    #: The largest relative errors there, of "variance" and "output", and the largest that each grade's bound allows.
    errors: tuple[tuple[str, float], ...] = ()


class Measured(NamedTuple):
    """The accuracy of an implementation on one element type, the worst over the places of the channel axis tried.

    A grade is "worse" where even the loosest bound is exceeded, and "" where it cannot be told from a better one.
    ``half_gone`` and ``all_gone`` are the smallest condition numbers of the ladder at which that part of the variance's
    digits is lost, infinite where it never is. ``reason`` says why nothing was measured.
    """

    dtype: str
    variance_grade: str = ""
    affine_grade: str = ""
    half_gone: float = math.inf
    all_gone: float = math.inf
    #: The estimator that fits the moving variance best: "biased" or "unbiased".
    estimator: str = ""
    ladder: tuple[Rung, ...] = ()
    reason: str = ""


def measure(session: Session) -> tuple[Measured, ...]:
    """The accuracy of a live implementation, for each element type that it declares."""
    capabilities = session.description.capabilities
    return tuple(measured(session, dtype) for dtype in FORMATS if dtype in capabilities.dtypes)


def measured(session: Session, dtype: str) -> Measured:
    """The accuracy on one element type."""
    specs = _specs(dtype, session.description.capabilities)
    parts = [_climbed(session, spec) for spec in specs]
    done = [part for part in parts if not part.reason]
    if not done:
        return Measured(dtype, reason=parts[0].reason if parts else "declares no layer to measure it on")
    return _worst(done)


def _specs(dtype: str, capabilities: Capabilities) -> list[Spec]:
    """Specs that differ in what implementations choose their algorithm by: rank, and place of the channel axis."""
    specs = [spec(rank, axis, dtype) for rank, axis in ((2, 1), (4, 1), (4, 3), (3, 1), (3, 2))]
    return [found for found in specs if not refusal(found, capabilities)][:3]


def spec(rank: int, axis: int, dtype: str) -> Spec:
    """A spec with as many channels as the ladder has places."""
    shape: list[int | None] = [None] * rank
    shape[axis] = CHANNELS_PER_RUNG * len(LADDERS[dtype])
    return Spec(tuple(shape), (axis,), EPSILON, DECAY, dtype=dtype)


def ladder_case(spec: Spec, seed: int = 0) -> Case:
    """A case that climbs the ladder: inference around the true mean, then training from moving statistics of zero."""
    rungs = np.repeat(np.array(LADDERS[spec.dtype]), CHANNELS_PER_RUNG)
    c = len(rungs)
    rng = np.random.default_rng([seed, c])
    offset = np.sqrt(np.square(rungs) - 1) * rng.choice([-1.0, 1.0], c)
    # All differ in their leading digits, so that no rung is spared by round numbers.
    spread = 2.0 ** rng.uniform(-0.5, 0.5, c)
    rows = (offset[:, None] + rng.standard_normal((c, COUNT))) * spread[:, None]
    sizes = {1: (COUNT,), 2: (16, 16), 3: (16, 4, 4)}[spec.rank - 1]
    x = Given.of(from_rows(rows, spec, sizes))
    dtype = parameter_dtype(spec)

    def parameter(values: Array) -> Given:
        return Given.of(values.astype(dtype).reshape(spec.parameter_shape))

    gamma, beta = parameter(rng.uniform(0.5, 2, c)), parameter(rng.standard_normal(c))
    start = Start(gamma, beta, parameter(offset * spread), parameter(np.square(spread)))
    zero = parameter(np.zeros(c))
    return Case(spec, (start,), (Infer(x), SetState(Start(None, None, zero, zero)), Train(x)))


def _climbed(session: Session, spec: Spec) -> Measured:
    case = ladder_case(spec)
    trace = session.run(case.expanded)
    if trace.failure is not None:
        return Measured(spec.dtype, reason=f"{trace.failure.kind}: {trace.failure.message}")
    with np.errstate(all="ignore"):  # a wrong result may be anything
        return judged(Run(case, trace))


@functools.lru_cache(maxsize=2)
def judged(run: Run) -> Measured:
    """What a run of ``ladder_case`` shows."""
    dtype = run.spec.dtype
    training, inference = run.truth(2), run.truth(0)
    assert isinstance(training, TrainingTruth)
    assert isinstance(inference, InferenceTruth)
    read, step = run.trace.steps[2].state, run.trace.steps[0].step
    if read is None or read.moving_variance is None or step is None:
        return Measured(dtype, reason="it shows no moving variance")
    got = read.moving_variance.astype(np.float64).reshape(-1, 1) / DECAY
    estimator = _estimator(got, training)
    truth = unbiased(training.variance, training.count) if estimator == "unbiased" else training.variance
    compute = _arithmetic(run)
    off = np.abs(got - truth)
    y = np.abs(run.rows(step.y) - inference.y)
    scale = np.sqrt(np.mean(np.square(inference.y - inference.beta), axis=1, keepdims=True))
    formats = compute.digits, run.numerics.output.digits
    variances = {g: _variance_bound(run, training, g, estimator) for g in "ABC"}
    outputs = {g: _output_bound(run, inference, g) for g in "SF"}
    relative = {name: error / truth for name, error in {"variance": off, **variances}.items()}
    relative |= {name: error / scale for name, error in {"output": y, **outputs}.items()}
    ladder = _ladder(dtype, relative, (compute.u, run.numerics.output.u), formats)
    return Measured(
        dtype,
        _best(dtype, "ABC", off, variances),
        _best(dtype, "SF", y, outputs),
        _gone(ladder, formats[0] / 2),
        _gone(ladder, formats[0]),
        estimator,
        ladder,
    )


def _arithmetic(run: Run) -> Format:
    """The arithmetic that is graded: the declared one, but none wider than what the element type usually comes with."""
    return max(run.numerics.compute, compute_format(run.spec.dtype), key=lambda format_: format_.u)


def _estimator(got: Array, truth: TrainingTruth) -> str:
    """The estimator that is nearer to what was found, where the condition number is one."""
    first = slice(CHANNELS_PER_RUNG)
    biased, other = truth.variance[first], unbiased(truth.variance, truth.count)[first]
    nearer = np.abs(got[first] - biased).max() <= np.abs(got[first] - other).max()
    return "biased" if nearer else "unbiased"


def _variance_bound(run: Run, truth: TrainingTruth, grade: str, estimator: str) -> Array:
    """The bound of twice the moving variance after one step from zero."""
    numerics = run.numerics._replace(compute=_arithmetic(run), variance_grade=grade)
    bounds = TrainingBounds(truth, numerics, "panel")
    variance, bound = truth.variance, bounds.variance
    if estimator == "unbiased":
        variance, bound = unbiased(truth.variance, truth.count), bounds.unbiased_variance
    zero = np.zeros_like(variance)
    return moving_bound(zero, zero, variance, bound, DECAY, numerics) / DECAY


def _output_bound(run: Run, truth: InferenceTruth, grade: str) -> Array:
    return InferenceBounds(truth, run.numerics._replace(compute=_arithmetic(run), affine_grade=grade), "panel").y


def _best(dtype: str, grades: str, error: Array, bounds: dict[str, Array]) -> str:
    """The best grade whose bound holds up to the last graded rung; "" where it is not told apart from the next one."""
    low, high = GRADED[dtype]
    rungs = np.repeat(np.array(LADDERS[dtype]), CHANNELS_PER_RUNG)
    held, graded = rungs <= high, (rungs >= low) & (rungs <= high)
    for grade, looser in zip(grades, [*grades[1:], ""], strict=True):
        if np.all(error[held] <= bounds[grade][held]):
            apart = not looser or np.max(bounds[looser][graded] / bounds[grade][graded]) > _APART
            return grade if apart else ""
    return WORSE


def _ladder(
    dtype: str, relative: dict[str, Array], units: tuple[float, float], formats: tuple[int, int]
) -> tuple[Rung, ...]:
    """The digits lost on each rung, of those that there are, and the relative errors that they are lost by."""
    rungs = []
    for rung, kappa in enumerate(LADDERS[dtype]):
        here = slice(rung * CHANNELS_PER_RUNG, (rung + 1) * CHANNELS_PER_RUNG)
        largest = {name: float(np.max(errors[here])) for name, errors in relative.items()}
        variance = _digits(largest["variance"] / units[0], formats[0])
        output = _digits(largest["output"] / units[1], formats[1])
        rungs.append(Rung(kappa, variance, output, tuple(largest.items())))
    return tuple(rungs)


def _digits(largest: float, most: int) -> float:
    return round(min(math.log2(max(largest, 1.0)), most), 1) if math.isfinite(largest) else float(most)


def _gone(ladder: tuple[Rung, ...], digits: float) -> float:
    return next((rung.kappa for rung in ladder if rung.variance >= digits), math.inf)


def _worst(parts: list[Measured]) -> Measured:
    """The worst of what was measured at several places."""
    variance = max((part.variance_grade for part in parts), key=("", "A", "B", "C", WORSE).index)
    affine = max((part.affine_grade for part in parts), key=("", "S", "F", WORSE).index)
    ladder = tuple(
        Rung(
            rungs[0].kappa,
            max(r.variance for r in rungs),
            max(r.output for r in rungs),
            tuple((name, max(dict(r.errors)[name] for r in rungs)) for name, _ in rungs[0].errors),
        )
        for rungs in zip(*(part.ladder for part in parts), strict=True)
    )
    estimators = "/".join(sorted({part.estimator for part in parts}))
    half, all_ = min(part.half_gone for part in parts), min(part.all_gone for part in parts)
    return Measured(parts[0].dtype, variance, affine, half, all_, estimators, ladder)


def recorded(measured: Measured) -> Accuracy:
    """The record of what was measured."""
    return Accuracy(
        dtype=measured.dtype,
        variance_grade=measured.variance_grade,
        affine_grade=measured.affine_grade,
        half_gone=number(measured.half_gone),
        all_gone=number(measured.all_gone),
        ladder=[
            RungRecord(
                kappa=r.kappa,
                variance=r.variance,
                output=r.output,
                # Three digits are more than a plot shows.
                errors={name: number(float(f"{error:.3g}")) for name, error in r.errors},
            )
            for r in measured.ladder
        ],
        reason=measured.reason,
    )
