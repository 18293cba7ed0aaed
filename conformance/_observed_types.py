"""What the probes show of element types (of decay, moving statistics and arithmetic) and of accuracy."""

import math
from collections.abc import Sequence

import numpy as np

from adapters.interface import Array
from conformance import _probes, grading
from conformance._observed import (
    Observation,
    after,
    broken,
    roundoff,
    rows,
    stored_roundoff,
    trainings,
    undecided,
    weights,
)
from conformance.formats import FORMATS
from conformance.judge import Run

#: The element types that are told apart, the narrowest first, with their digits.
DIGITS: dict[str, int] = dict(sorted(((name, form.digits) for name, form in FORMATS.items()), key=lambda item: item[1]))


def in_words(names: Sequence[str]) -> str:
    """Element types that fit: neighbours in width."""
    fitting = [name for name in DIGITS if name in names]
    if len(fitting) == 1:
        return fitting[0]
    return f"{fitting[0]} or wider" if fitting[-1] == "float64" else f"{fitting[0]} to {fitting[-1]}"


def decay_dtype(runs: Sequence[Run]) -> Observation:
    """The element types to which decay may have been rounded, by the two weights that it came to."""
    if broken(runs):
        return undecided(broken(runs))
    run = runs[0]
    old_mean, old_variance, new = weights(runs)
    slack = 2 * roundoff(run, trainings(run)[0])

    def fit(old_weight: float, new_weight: float) -> bool:
        olds = all(np.all(np.abs(w - old_weight) <= slack) for w in (old_mean, old_variance))
        return olds and bool(np.all(np.abs(new - new_weight) <= slack))

    fits = [name for name in DIGITS if any(fit(*pair) for pair in _rounded_weights(run.spec.decay, name))]
    if not fits:
        return undecided("the weights fit no element type")
    if len(fits) == len(DIGITS):
        return undecided("every element type holds this decay")
    return Observation(in_words(fits), tuple(fits))


def _rounded_weights(decay: float, name: str) -> list[tuple[float, float]]:
    """Weights of the old and the new value, where decay, one minus it, or both are rounded to an element type."""
    kept, rest = (float(np.asarray(value).astype(FORMATS[name].dtype)) for value in (decay, 1 - decay))
    return [(kept, 1 - kept), (1 - rest, rest), (kept, rest)]


def statistics_dtype(runs: Sequence[Run]) -> Observation:
    """The element type that the moving statistics are kept in: the digits that come back, before and after a step."""
    (run,) = runs
    if broken(runs):
        return undecided(broken(runs))
    built, given = run.trace.initial[0], run.program.states[0].moving_mean
    now = run.views[0].trace.state
    if built is None or now is None or given is None:
        return undecided("it shows no state")
    pairs = (built.moving_mean, now.moving_mean), (built.moving_variance, now.moving_variance)
    found = dict(_kept(given, first, second) for first, second in pairs if first is not None and second is not None)
    if len(found) == 1:
        ((text, fits),) = found.items()
        return Observation(text, fits)
    return Observation(" and ".join(sorted(found)))


def _kept(given: Array, built: Array, after_step: Array) -> tuple[str, tuple[str, ...]]:
    """The element types that fit, in words too: what came back of the digits given, and what comes after a step."""
    back = built.astype(np.float64)
    kept = next((n for n in DIGITS if np.all(back == given.astype(FORMATS[n].dtype).astype(np.float64))), "")
    carrier = after_step.dtype.name
    if not kept or carrier not in DIGITS:
        return "other digits than those of an element type", ()
    if DIGITS[carrier] < DIGITS[kept]:
        return f"{kept}, and {carrier} after a step", ()
    if _digits(after_step.astype(np.float64)) > DIGITS[kept]:
        return carrier, (carrier,)
    widest = carrier if kept == given.dtype.name else kept
    fits = tuple(n for n in DIGITS if DIGITS[kept] <= DIGITS[n] <= DIGITS[widest])
    return in_words(fits), fits


def arithmetic(runs: Sequence[Run]) -> Observation:
    """How many digits the arithmetic has: whether it centres what a narrow one cannot, and what it returns."""
    if broken(runs):
        return undecided(broken(runs))
    least, most = _centring(runs[0])
    noise = runs[1]
    needed = _digits(rows(noise, noise.views[0]))
    # What the output's own type rounds off says nothing of what it was computed in.
    narrower = [digits for digits in DIGITS.values() if digits < DIGITS[noise.spec.dtype]]
    most = min([most, *(digits for digits in narrower if digits >= needed)])
    least = max([least, *(digits + 1 for digits in narrower if digits < min(most, needed))])
    fits = tuple(name for name, digits in DIGITS.items() if least <= digits <= most)
    return Observation(in_words(fits), fits) if fits else Observation("no arithmetic of one element type")


def _centring(run: Run) -> tuple[int, int]:
    """The fewest and the most digits that the arithmetic can have, by what it makes of two neighbours."""
    digits = _probes.arithmetic_digits(run.spec)
    constant, pair = trainings(run)
    low, high = _probes.neighbours(run.spec, digits)
    deviation = (high - low) / 2
    height = deviation / math.sqrt(deviation**2 + run.spec.epsilon)
    if not np.all(np.abs(rows(run, pair) - np.array([-height, height])) <= 2.0**-4):
        return 0, digits
    with np.errstate(all="ignore"):
        weight = after(constant)[0] / low
        mean = (after(pair)[0] / weight - low) / deviation
    # Some centre by a shift, and need no more digits; a mean that is returned with one digit more is proof.
    proven = stored_roundoff(pair) < 2.0 ** -(digits + 3) and np.all(np.abs(mean - 1) <= 0.25)
    return digits + int(proven), 64


def _digits(values: Array) -> int:
    """Significand digits that the values need, at most 53."""
    fractions, _ = np.frexp(values[np.isfinite(values)])
    needed = (d for d in range(1, 53) if np.all(np.round(fractions * 2.0**d) == fractions * 2.0**d))
    return next(needed, 53)


def _graded(runs: Sequence[Run], field: str, grades: str) -> Observation:
    """A measured grade of accuracy: it and all worse ones may be declared."""
    if broken(runs):
        return undecided(broken(runs))
    found = grading.judged(runs[0])
    grade = getattr(found, field)
    if not grade:
        return undecided(found.reason or "as good as a worse grade")
    return Observation(grade, tuple(grades[grades.index(grade) :]) if grade in grades else ())


def variance_grade(runs: Sequence[Run]) -> Observation:
    """The accuracy of the variance."""
    return _graded(runs, "variance_grade", "ABC")


def affine_grade(runs: Sequence[Run]) -> Observation:
    """The accuracy of the output."""
    return _graded(runs, "affine_grade", "SF")
