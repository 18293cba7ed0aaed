"""The numerics family's own data: every rung is climbed, what is poisoned is, and all of it can be replayed."""

import math
from collections import Counter
from functools import cache

import msgspec
import numpy as np

from adapters.interface import Spec
from conformance.case import Case, Channel, Drawn, Gradient, Infer, Poison, Start, Train
from conformance.judge import Run
from conformance.oracle import TrainingTruth, to_channels
from conformance.pool import draw
from tests._judged import run, train

COUNT = 200
SPEC = Spec((None, 3), (-1,), 1e-3, 0.75)


@cache
def cases() -> tuple[Case, ...]:
    """The cases of a default run."""
    return tuple(pooled.case for pooled in draw(5, 1, COUNT).cases)


def inputs() -> list[tuple[Spec, Drawn]]:
    """The recipes of all inputs, with their specs."""
    found = [(case.spec, step.x) for case in cases() for step in case.program if isinstance(step, Train | Infer)]
    return [(spec, x) for spec, x in found if isinstance(x, Drawn)]


@cache
def truths() -> tuple[TrainingTruth, ...]:
    """The statistics of all inputs in float32 that are finite."""
    calls = [(case.spec, call.x) for case in cases() for call in case.expanded.calls if case.spec.dtype == "float32"]
    rows = [to_channels(x, spec) for spec, x in calls if x is not None and np.isfinite(x).all()]
    return tuple(TrainingTruth(a, None, None, 1.0) for a in rows)


def test_condition_numbers_are_spread_over_seven_decades() -> None:
    """Most where algorithms differ, and up to where nothing is left."""
    with np.errstate(all="ignore"):
        kappas = [np.abs(t.mean) / np.sqrt(t.variance) for t in truths()]
    decades = Counter(math.floor(math.log10(k)) for k in np.concatenate(kappas).reshape(-1) if 0 < k < math.inf)
    assert all(decades[decade] > 8 for decade in range(7))
    assert min(decades[decade] for decade in (1, 2, 3)) > 40


def test_scales_reach_both_ends_of_the_range() -> None:
    """Magnitudes from subnormal to nearly the largest occur, and those around the roots of both."""
    exponents = {int(np.log2(v)) for t in truths() for v in t.max_abs_x.reshape(-1) if v > 0}
    assert min(exponents) < -126
    assert max(exponents) > 110
    assert {e for e in exponents if 55 < abs(e) < 70}


def test_long_sums_occur() -> None:
    """Inputs of 2**16 elements in a channel occur, none has more than two million in all."""
    counts = [math.prod(x.sizes) for _, x in inputs()]
    assert 1 << 16 in counts
    assert max(counts) <= 1 << 20
    assert 0.03 < sum(count >= 1024 for count in counts) / len(counts) < 0.2
    assert max(math.prod(x.sizes) * math.prod(s.parameter_shape) for s, x in inputs()) <= 1 << 21


def test_outliers_constants_and_orders_occur() -> None:
    """Channels of each kind are in at least one input in thirty."""
    patterns = Counter(pattern for _, x in inputs() for pattern in {channel.pattern for channel in x.channels})
    for pattern in ("outlier", "constant", "ascending", "falling", "cancelling", "ulp"):
        assert patterns[pattern] > len(inputs()) / 30


def test_what_is_not_finite_occurs_everywhere() -> None:
    """NaN and both infinities in inputs, gradients and states, and never so often that little else is left."""
    values = Counter(p.value for _, x in inputs() for p in x.poison)
    assert set(values) == {"nan", "inf", "-inf"}
    steps = [step for case in cases() for step in case.program if isinstance(step, Train | Infer)]
    gradients = [step.dy for step in steps if isinstance(step.dy, Gradient)]
    assert 0.1 < sum(bool(dy.poison) for dy in gradients) / len(gradients) < 0.4
    assert 0.15 < sum(bool(x.poison) for _, x in inputs()) / len(inputs()) < 0.45
    assert {p.of for case in cases() for p in case.starts[0].poison} == {
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    }


def test_epsilon_is_zero_now_and_then() -> None:
    """Some cases have no epsilon, and most have one."""
    assert 0.05 < sum(case.spec.epsilon == 0 for case in cases()) / COUNT < 0.3


def test_poison_is_put_where_it_says() -> None:
    """Places count channel by channel in an input, in C order in a gradient, and channels in a state."""
    x = Drawn((4,), (Channel("normal"),), 1, (Poison("nan", 5), Poison("-inf", 12 + 8)))
    dy = Gradient("normal", 1.0, 1, (Poison("inf", 1),))
    start = Start("distinct", "distinct", "random", "random", 3, (Poison("nan", 4, "gamma"),))
    program = Case(SPEC, (start,), (Train(x, dy),)).expanded
    rows = to_channels(np.asarray(program.calls[0].x), SPEC)
    assert np.argwhere(np.isnan(rows)).tolist() == [[1, 1]]
    assert np.argwhere(np.isneginf(rows)).tolist() == [[2, 0]]
    given = np.asarray(program.calls[0].dy)
    assert np.argwhere(~np.isfinite(given)).tolist() == [[0, 1]]
    assert np.isnan(np.asarray(program.states[0].gamma)).tolist() == [False, True, False]
    assert np.isfinite(np.asarray(program.states[0].beta)).all()


def test_cases_travel() -> None:
    """Poisoned cases survive the file format, and print as code that gives them back."""
    poisoned = next(case for case in cases() if any(x.poison for _, x in inputs()) and case.starts[0].poison)
    assert msgspec.json.decode(msgspec.json.encode(poisoned), type=Case) == poisoned
    namespace: dict[str, object] = {}
    exec("from conformance.case import *", namespace)
    assert eval(repr(poisoned), namespace) == poisoned


def test_long_data_are_in_no_order() -> None:
    """Beyond 256 elements an order is left out: no bound there is true of every algorithm."""
    for m, ordered in ((256, True), (257, False)):
        case = Case(SPEC, (Start(),), (Train(Drawn((m,), (Channel("ascending"),), 1)),))
        x = np.asarray(case.expanded.calls[0].x)
        assert bool(np.all(np.diff(x, axis=0) >= 0)) == ordered


def test_stored_statistics_out_of_range_are_not_judged() -> None:
    """Arithmetic in float64 that stores float32: what cannot be stored has no bound, what is subnormal a wide one."""
    spread = Drawn((8,), (Channel("normal", 0.0, 2.0**70), Channel("normal", 0.0, 2.0**-70), Channel("normal")), 1)
    case = msgspec.structs.replace(Case(SPEC, (Start(),), (train(),)), program=(Train(spread),))
    judged: Run = run(case, "conformance.zoo.variants:DoubleInside")
    error = np.asarray(judged.expected_after(0, "prob").variance_error).reshape(-1)
    assert np.isinf(error[0])
    assert 2.0**-127 <= error[1] < 1e-6
    assert error[2] < 1e-6
