"""Measures how the moving statistics settle: one batch is trained on again and again, and they must come to its own.

Each step should leave ``decay`` of the distance that was there before it; on a log scale that is a straight line, down
to where rounding ends it. Another decay has another slope, another estimator of the variance an end above the rest.
"""

import math

import numpy as np

from adapters.interface import Array, Spec
from conformance._data import from_rows
from conformance.capability import refusal
from conformance.case import Case, Given, Start, Train, parameter_dtype
from conformance.judge import Run
from conformance.oracle import TrainingTruth, unbiased
from conformance.session import Session
from reports.records import Number, number
from reports.settling_record import Settling

#: The family with whose cases it is measured.
FAMILY = 3
#: Exact in every element type, and unlike its complement.
DECAY = 0.75
STEPS = 40
CHANNELS, COUNT = 4, 64
EPSILON = 2.0**-10
_DTYPES = ("float32", "float64", "float16", "bfloat16")
_LAYERS: tuple[tuple[tuple[int | None, ...], int], ...] = (
    ((None, CHANNELS), 1),
    ((None, CHANNELS, None, None), 1),
    ((None, None, None, CHANNELS), 3),
)


def measure(session: Session) -> Settling:
    """How a live implementation's moving statistics settle, on the first element type and layer that it declares."""
    capabilities = session.description.capabilities
    specs = [Spec(shape, (axis,), EPSILON, DECAY, dtype=dtype) for dtype in _DTYPES for shape, axis in _LAYERS]
    spec = next((found for found in specs if not refusal(found, capabilities)), None)
    if spec is None or not capabilities.training:
        return Settling(dtype="", decay=DECAY, reason="declares no layer to measure it on")
    case = settling_case(spec)
    trace = session.run(case.expanded)
    if trace.failure is not None:
        return Settling(dtype=spec.dtype, decay=DECAY, reason=f"{trace.failure.kind}: {trace.failure.message}")
    with np.errstate(all="ignore"):  # wrong results may be anything
        return judged(Run(case, trace))


def settling_case(spec: Spec) -> Case:
    """A case that trains on one batch again and again, from statistics of zero."""
    rng = np.random.default_rng(CHANNELS)
    spread = 2.0 ** (np.arange(CHANNELS) + 0.5)
    rows = (rng.standard_normal((CHANNELS, COUNT)) + 1) * spread[:, None]
    x = Given.of(from_rows(rows, spec, {1: (COUNT,), 3: (COUNT // 4, 2, 2)}[spec.rank - 1]))
    dtype = parameter_dtype(spec)
    zero, one = (Given.of(np.full(spec.parameter_shape, value, dtype)) for value in (0.0, 1.0))
    return Case(spec, (Start(one, zero, zero, zero),), (Train(x),) * STEPS)


def judged(run: Run) -> Settling:
    """What a run of ``settling_case`` shows."""
    truth = run.truth(0)
    assert isinstance(truth, TrainingTruth)
    declared = run.conventions.moving_variance
    variance = unbiased(truth.variance, truth.count) if declared == "unbiased" else truth.variance
    states = [step.state for step in run.trace.steps]
    if any(state is None or state.moving_mean is None or state.moving_variance is None for state in states):
        return Settling(dtype=run.spec.dtype, decay=DECAY, reason="it shows no moving statistics")
    found = [state for state in states if state is not None]
    return Settling(
        dtype=run.spec.dtype,
        decay=DECAY,
        mean=_shares([state.moving_mean for state in found], truth.mean),
        variance=_shares([state.moving_variance for state in found], variance),
    )


def _shares(states: list[Array | None], target: Array) -> list[Number]:
    """The largest remaining distance of any channel after each step, as a share of that at the start."""
    goal = target.reshape(-1).astype(np.float64)
    rows = np.array([np.asarray(state, np.float64).reshape(-1) for state in states])
    shares = np.max(np.abs(rows - goal) / np.abs(goal), axis=1)
    return [number(float(f"{share:.3g}")) if math.isfinite(share) else number(float(share)) for share in shares]
