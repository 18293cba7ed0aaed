"""The conventions of an implementation, measured from its results and put beside what it declares.

A convention is shown by a probe (a program of a few steps) and a reading of its trace, which takes no declaration for
granted: both are used by family 8's requirements and by ``bn-conformance conventions``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from adapters.interface import Conventions, Spec
from conformance import _observed, _observed_types, _probes
from conformance._observed import Observation, Read
from conformance.case import Case
from conformance.formats import compute_format
from conformance.judge import Run

__all__ = ["CONVENTIONS", "Convention", "Finding", "Observation", "find"]

Probe = Callable[[Case], tuple[Case, ...]]


class Convention(NamedTuple):
    """Something in which implementations differ: the field of ``Conventions``, and how it is measured.

    The meaning of ``decay`` is no field: it is the same for all.
    """

    name: str
    field: str
    title: str
    probe: Probe
    read: Read
    #: Capability without which it is not asked for.
    needs: str = ""


def declared(field: str, spec: Spec, conventions: Conventions) -> str:
    """What is declared of a field, an empty element type resolved to the one that it stands for."""
    if field == "decay":
        return "weight of the old value"
    value = getattr(conventions, field)
    if value == "" and field == "statistics_dtype":
        return compute_format(spec.dtype, conventions.compute_dtype).name
    if value == "" and field.endswith("_dtype"):
        return compute_format(spec.dtype).name
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Finding(NamedTuple):
    """A convention on one spec: declared, observed, and whether they agree; None where nothing can be told."""

    convention: Convention
    spec: Spec
    declared: str
    seen: Observation
    agrees: bool | None

    @property
    def observed(self) -> str:
        """What was seen, in words that do not depend on the spec."""
        if self.convention.field != "epsilon_floor":
            return self.seen.text
        return "none" if _observed.epsilon_agrees(self.spec, 0.0, self.seen) else f"raised to {self.seen.text}"

    @property
    def message(self) -> str:
        """What is declared, what is observed, and what to declare."""
        field, seen = self.convention.field, self.seen
        if field == "decay":
            return f"decay {self.spec.decay:.6g} is not the weight of the old moving value: {seen.text}"
        text = f"declares {field} = {self.declared}, observed: {seen.text}"
        if field == "epsilon_floor":
            return f"{text} where ε = {self.spec.epsilon:.6g}: {_floor_advice(self.spec, seen)}"
        if self.convention.field.endswith("_grade") and seen.values:
            return f"{text}: declare {seen.values[0]!r}"
        if seen.values:
            return f"{text}: declare {' or '.join(map(repr, seen.values))}"
        return f"{text}, which no declaration allows"


def _floor_advice(spec: Spec, seen: Observation) -> str:
    effective = max(seen.numbers)
    if len(set(seen.numbers)) > 1:
        return "no declaration allows two values"
    if _observed.epsilon_agrees(spec, 0.0, seen):
        return f"declare a floor of at most {spec.epsilon:.6g}, such as 0"
    if effective < spec.epsilon:
        return "no declaration allows a smaller one"
    return f"declare epsilon_floor={effective:.6g}"


def find(convention: Convention, runs: Sequence[Run], conventions: Conventions) -> Finding:
    """Read the runs of a convention's probes, and compare with what is declared."""
    spec = runs[0].spec
    seen = convention.read(runs)
    says = declared(convention.field, spec, conventions)
    if seen.undecided:
        agrees = None
    elif convention.field == "epsilon_floor":
        agrees = _observed.epsilon_agrees(spec, conventions.epsilon_floor, seen)
    else:
        # The long double is judged as float64.
        agrees = ("float64" if says == "longdouble" else says) in seen.values
    return Finding(convention, spec, says, seen, agrees)


_ESTIMATOR = Convention(
    "moving_variance", "moving_variance", "estimator of the moving variance", _probes.estimator, _observed.estimator
)
_SINGLE_VARIANCE = Convention(
    "moving_variance_single",
    "moving_variance_single",
    "what enters the moving variance at m = 1",
    _probes.single,
    _observed.single_variance,
)
_ARITHMETIC = Convention(
    "compute_dtype", "compute_dtype", "element type of the arithmetic", _probes.arithmetic, _observed_types.arithmetic
)
_STATISTICS = Convention(
    "statistics_dtype",
    "statistics_dtype",
    "element type of the moving statistics",
    _probes.statistics,
    _observed_types.statistics_dtype,
)
_SEPARATE = Convention(
    "separate_update",
    "update_timing",
    "whether the update is separate",
    _probes.separate_update,
    _observed.separate_update,
    "separate_update",
)

#: All conventions that can be measured, in the order in which they are shown.
CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        _ESTIMATOR,
        _SINGLE_VARIANCE,
        Convention("decay", "decay", "meaning of decay", _probes.decay, _observed.weight),
        Convention("epsilon_floor", "epsilon_floor", "floor of ε", _probes.epsilon, _observed.epsilon),
        Convention("single", "single", "training at m = 1", _probes.single, _observed.single),
        Convention("empty", "empty", "training on an empty batch", _probes.empty, _observed.empty),
        _ARITHMETIC,
        _STATISTICS,
        Convention(
            "decay_dtype", "decay_dtype", "element type of decay", _probes.decay_type, _observed_types.decay_dtype
        ),
        Convention("update", "update_timing", "when the statistics change", _probes.update, _observed.update),
        _SEPARATE,
        Convention("frozen", "frozen", "frozen layer in training", _probes.frozen, _observed.frozen),
        Convention(
            "variance_grade",
            "variance_grade",
            "accuracy of the variance",
            _probes.ladder,
            _observed_types.variance_grade,
        ),
        Convention(
            "affine_grade", "affine_grade", "accuracy of the output", _probes.ladder, _observed_types.affine_grade
        ),
    )
}
