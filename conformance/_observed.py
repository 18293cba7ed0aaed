"""What the probes of a convention show: pure readings of their traces, which take no declaration for granted."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Spec, State
from conformance import _probes
from conformance.formats import FORMATS
from conformance.judge import Run, View


class Observation(NamedTuple):
    """What was seen of one convention on one spec.

    ``values`` are those declarations that fit, none where no declaration does; ``numbers`` are measured values of ε,
    in training and in inference. ``undecided`` says why nothing can be told; then nothing contradicts it.
    """

    text: str
    values: tuple[str, ...] = ()
    undecided: str = ""
    numbers: tuple[float, ...] = ()


Read = Callable[[Sequence[Run]], Observation]


def undecided(why: str) -> Observation:
    """Nothing can be told."""
    return Observation("undecided", undecided=why)


def column(a: Array | None) -> Array:
    if a is None:
        return np.full(1, np.nan)
    return np.asarray(a).astype(np.float64).reshape(-1)


def after(view: View) -> tuple[Array, Array]:
    """Moving mean and variance read after a step, (C,)."""
    state = view.trace.state or State()
    return column(state.moving_mean), column(state.moving_variance)


def stored_roundoff(view: View) -> float:
    """The roundoff of the element type that the moving statistics are read in."""
    state = view.trace.state
    kept = "float32" if state is None or state.moving_variance is None else state.moving_variance.dtype.name
    return FORMATS[kept].u if kept in FORMATS else FORMATS["float64"].u


def roundoff(run: Run, view: View) -> float:
    """The roundoff that moving statistics may come with: of the type that they are read in, and of a half input."""
    half = run.spec.dtype in ("float16", "bfloat16")
    return max(stored_roundoff(view), FORMATS[run.spec.dtype].u if half else 0.0)


def broken(runs: Sequence[Run]) -> str:
    """Why a program broke; empty where all went through."""
    found = (run.trace.failure for run in runs if run.trace.failure is not None)
    return next((f"{failure.kind}: {failure.message}" for failure in found), "")


def _refused(runs: Sequence[Run]) -> bool:
    """Whether a step was refused after an ordinary one was taken."""
    failure = runs[0].trace.failure
    return failure is not None and failure.kind == "unsupported" and bool(runs[0].views)


def _after_control(run: Run) -> list[View]:
    """The training steps but for the ordinary one that comes first wherever anything is reduced."""
    return trainings(run)[1 if run.spec.reduction_axes else 0 :]


def trainings(run: Run) -> list[View]:
    return [view for view in run.views if view.call.op == "train"]


def rows(run: Run, view: View) -> Array:
    """The step's output as (C, m)."""
    assert view.trace.step is not None
    return run.rows(view.trace.step.y)


def _printed(values: Array) -> str:
    """One number, or the range of several."""
    low, high = float(np.min(values)), float(np.max(values))
    return " to ".join(dict.fromkeys(f"{value:.6g}" for value in (low, high)))


def estimator(runs: Sequence[Run]) -> Observation:
    """The divisor of the sum of squares that entered the moving variance, relative to the number of elements m.

    Mean and variance enter with the same weight, which the mean shows: neither decay nor its meaning matters.
    """
    (run,) = runs
    if broken(runs):
        return undecided(broken(runs))
    means = _probes.channel_means(run.spec).reshape(-1)
    found: dict[str, list[int]] = {}
    for view in trainings(run):
        assert view.call.x is not None
        m = view.call.x.size // len(means)
        mean, variance = after(view)
        with np.errstate(all="ignore"):
            weight = mean / means
            missing = m - (2 * (m // 2)) * weight / variance
        if not np.all(np.abs(weight) > 1e-30):
            return undecided("nothing enters the moving statistics")
        # What m - divisor may be off by: the sums are exact, and a few roundings follow.
        slack = 8 * m * roundoff(run, view)
        if slack < 0.25:
            found.setdefault(_estimator_name(missing), []).append(m)
    if not found:
        return undecided("too many elements to tell m from m - 1")
    if len(found) == 1:
        (name,) = found
        return Observation(name, (name,) if name in ("biased", "unbiased") else ())
    return Observation(" and ".join(f"{name} at m = {', '.join(map(str, ms))}" for name, ms in found.items()))


def _estimator_name(missing: Array) -> str:
    for name, expected in (("biased", 0), ("unbiased", 1)):
        if np.all(np.abs(missing - expected) <= 0.25):
            return name
    return f"divided by m - ({_printed(missing)})"


def single(runs: Sequence[Run]) -> Observation:
    """The output of a training step with one element per channel."""
    (run,) = runs
    if _refused(runs):
        return Observation("refused", ("refused",))
    steps = _after_control(run)
    if not steps:
        return undecided(broken(runs))
    y = rows(run, steps[0])
    beta = _probes.BETA if run.spec.center else 0.0
    if np.all(np.abs(y - beta) <= 2.0**-4):
        return Observation("beta", ("beta",))
    return Observation("y is NaN" if np.isnan(y).all() else f"y = {_printed(y)} where β = {beta}")


def single_variance(runs: Sequence[Run]) -> Observation:
    """What entered the moving variance in a training step with one element per channel."""
    (run,) = runs
    if broken(runs):
        return undecided(broken(runs))
    first, second = _after_control(run)
    (mean, variance), (new_mean, new_variance) = after(first), after(second)
    if np.isnan(new_variance).all():
        return Observation("nan", ("nan",))
    with np.errstate(all="ignore"):
        weight = (new_mean - mean) / (_probes.SINGLE - mean)
        entered = (new_variance - (1 - weight) * variance) / weight
        # Two weights that were rounded to float32 do not quite add up to one.
        slack = 8 * max(roundoff(run, second), FORMATS["float32"].u) * np.max(np.abs(variance) + 1) / np.abs(weight)
    if not np.all(slack < 1):
        return undecided("next to nothing enters the moving statistics")
    if np.all(np.abs(entered) <= slack):
        return Observation("zero", ("zero",))
    return Observation(f"{_printed(entered)} enters")


def empty(runs: Sequence[Run]) -> Observation:
    """The moving statistics after training on an empty batch."""
    (run,) = runs
    if _refused(runs):
        return Observation("refused", ("refused",))
    steps = _after_control(run)
    if not steps:
        return undecided(broken(runs))
    mean, variance = after(steps[0])
    if np.isnan(mean).all() and np.isnan(variance).all():
        return Observation("nan", ("nan",))
    if np.all(mean == _probes.EMPTY_MEAN) and np.all(variance == _probes.EMPTY_VARIANCE):
        return (
            undecided("nothing enters at decay 1") if run.spec.decay == 1 else Observation("unchanged", ("unchanged",))
        )
    was = f"{_probes.EMPTY_MEAN} and {_probes.EMPTY_VARIANCE}"
    return Observation(f"moving mean and variance {was} become {_printed(mean)} and {_printed(variance)}")


def epsilon_slack(spec: Spec) -> float:
    """How far a measured ε may be off, relative to ε + a² with a² the variance of the probe."""
    return 64 * max(FORMATS[spec.dtype].u, FORMATS["float32"].u)


def epsilon(runs: Sequence[Run]) -> Observation:
    """The ε that took effect in training and in inference, from the output where the variance is next to nothing."""
    numbers = []
    for run in runs:
        for view in run.views:
            y, a = rows(run, view), _probes.small(run.spec)
            height = (y[:, 0] - y[:, -1]) / 2 if y.shape[1] > 1 else y[:, 0]
            with np.errstate(all="ignore"):
                implied = a * a * (np.square(a / height / a) - 1) if np.all(np.isfinite(height)) else height * np.nan
            clear = np.where(np.abs(implied) <= epsilon_slack(run.spec) * a * a, 0.0, implied)
            numbers.append(float(np.median(clear)))
    if not numbers:
        return undecided(broken(runs))
    return Observation(" and ".join(dict.fromkeys(f"{number:.6g}" for number in numbers)), numbers=tuple(numbers))


def epsilon_agrees(spec: Spec, floor: float, seen: Observation) -> bool:
    """Whether every measured ε is the given one, raised to the floor."""
    expected, a = max(spec.epsilon, floor), _probes.small(spec)
    return all(abs(number - expected) <= epsilon_slack(spec) * (expected + a * a) for number in seen.numbers)


def weights(runs: Sequence[Run]) -> tuple[Array, Array, Array]:
    """Weights of the old moving mean, of the old moving variance and of the batch's mean, (C,) each."""
    first, second = trainings(runs[0])
    return *after(first), after(second)[0]


def weight(runs: Sequence[Run]) -> Observation:
    """Whether decay is the weight of the old moving value or of the new one."""
    if broken(runs):
        return undecided(broken(runs))
    old_mean, old_variance, new = weights(runs)
    decay, slack = runs[0].spec.decay, 2.0**-7
    fits = [
        name
        for name, old in (("weight of the old value", decay), ("weight of the new value", 1 - decay))
        if all(np.all(np.abs(w - old) <= slack) for w in (old_mean, old_variance))
        and np.all(np.abs(new - 1 + old) <= slack)
    ]
    if len(fits) == 2:
        return undecided("old and new value weigh the same")
    if fits:
        return Observation(fits[0], (fits[0],))
    numbers = (_printed(w) for w in (old_mean, old_variance, new))
    return Observation("old mean × {}, old variance × {}, new mean × {}".format(*numbers))


def _moved(view: View) -> bool:
    mean, variance = after(view)
    return not (np.all(mean == _probes.FROZEN_MEAN) and np.all(variance == _probes.FROZEN_VARIANCE))


def update(runs: Sequence[Run]) -> Observation:
    """Whether a training step as users make it changes the moving statistics."""
    if broken(runs):
        return undecided(broken(runs))
    if _moved(runs[0].views[0]):
        capabilities = runs[0].capabilities
        separable = capabilities is not None and capabilities.separate_update
        return Observation("changed by a training step", ("forward", "separate") if separable else ("forward",))
    return Observation("a training step changes no moving statistics")


def separate_update(runs: Sequence[Run]) -> Observation:
    """Whether the update can be left out of a training step and made later."""
    if broken(runs):
        return undecided(broken(runs))
    trained, updated = (_moved(view) for view in runs[0].views)
    if updated and not trained:
        return Observation("can be left out and made later", ("separate",))
    if trained:
        return Observation("made in any case", ("forward",))
    return Observation("changes no moving statistics")


def frozen(runs: Sequence[Run]) -> Observation:
    """What a layer does in training mode that was asked to be frozen."""
    (run,) = runs
    failure = run.trace.failure
    if failure is not None and (failure.kind, failure.method) == ("unsupported", "build"):
        return Observation("not observable: the adapter refuses to build one", ("absent",))
    if broken(runs):
        return undecided(broken(runs))
    view, epsilon_ = run.views[0], run.spec.epsilon
    y, moved = rows(run, view), _moved(run.views[0])
    batch = _probes.pairs(2) / math.sqrt(1 + epsilon_)
    x = _probes.channel_means(run.spec) + _probes.pairs(2)
    inference = (x - _probes.FROZEN_MEAN) / math.sqrt(_probes.FROZEN_VARIANCE + epsilon_)
    if np.all(np.abs(y - batch) <= 2.0**-4):
        # An adapter that knows of no frozen layers may build an ordinary one.
        return Observation("training", ("training", "absent")) if moved else Observation("batch", ("batch",))
    if np.all(np.abs(y - inference) <= 2.0**-4) and not moved:
        return Observation("inference", ("inference",))
    return Observation(f"y = {_printed(y)}" + (", and the moving statistics change" if moved else ""))
