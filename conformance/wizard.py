"""The conventions of an implementation that declares none: measured, said in words, compared with known frameworks."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from adapters.interface import Capabilities, Conventions, Spec
from conformance import grading
from conformance.case import Case, Drawn, Start, Train
from conformance.conventions import CONVENTIONS, Convention, find
from conformance.judge import Run
from conformance.session import Session
from conformance.smoke import ranks

__all__ = ["KNOWN", "Found", "compared", "measure"]

#: What frameworks do (docs/requirements.md has family 8's claims; the values are measured by its requirements).
KNOWN: dict[str, Conventions] = {
    "Keras 3, Flax and ONNX Runtime": Conventions(),
    "torch.nn.BatchNorm": Conventions(moving_variance="unbiased", single="refused", empty="unchanged"),
    "TensorFlow's fused batch normalization": Conventions(moving_variance="unbiased", epsilon_floor=1.001e-5),
    "TensorFlow 2's fused batch normalization": Conventions(moving_variance="unbiased"),
}
#: The conventions that tell frameworks apart: what they mean, not how accurately they compute.
COMPARED = ("moving_variance", "moving_variance_single", "single", "empty", "epsilon_floor")
#: What may depend on the rank, since implementations choose another algorithm by it.
_BY_RANK = ("moving_variance", "epsilon_floor")
_EPSILON, _DECAY, _CHANNELS, _COUNT = 1e-3, 0.9, 3, 3
#: Smaller epsilons, down to where a floor can be.
_SMALLER = (1e-5, 1e-8)
Place = tuple[int, str]


class Found(NamedTuple):
    """The conventions that were measured, by rank and element type."""

    table: dict[Place, Conventions]

    def of(self, spec: Spec) -> Conventions:
        """Those of a spec; of the nearest one that was measured where it was not."""
        near = sorted(self.table, key=lambda p: (p[1] != spec.dtype, abs(p[0] - spec.rank)))
        return self.table.get((spec.rank, spec.dtype)) or self.table[near[0]]

    @property
    def lines(self) -> tuple[str, ...]:
        """What was measured, in words, and which framework that is like."""
        shown = [f"{field} = {self._value(field)}" for field in (*COMPARED, "variance_grade", "affine_grade")]
        return f"declares no conventions; measured and used: {', '.join(shown)}", compared(self.table.values())

    def _value(self, field: str) -> str:
        by_value: dict[str, list[Place]] = {}
        for place, conventions in self.table.items():
            by_value.setdefault(_shown(getattr(conventions, field)), []).append(place)
        if len(by_value) == 1:
            return next(iter(by_value))
        parts = []
        for value, places in by_value.items():
            where = dict.fromkeys(f"rank {rank} {dtype}" for rank, dtype in places)
            parts.append(f"{value} ({', '.join(where)})")
        return " or ".join(parts)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def compared(table: Iterable[Conventions]) -> str:
    """Which known framework has these conventions, or which is nearest and in what it differs."""
    mine = list(table)
    differences = {
        name: [(field, getattr(one, field), getattr(known, field)) for one in mine for field in _differing(one, known)]
        for name, known in KNOWN.items()
    }
    name = min(differences, key=lambda name: len(differences[name]))
    if not differences[name]:
        return f"these are the conventions of {name}"
    told = dict.fromkeys(
        f"{field} is {_shown(theirs)} there, {_shown(ours)} here" for field, ours, theirs in differences[name]
    )
    return f"no known framework has just these conventions; the nearest is {name}: {'; '.join(told)}"


def _differing(one: Conventions, other: Conventions) -> list[str]:
    return [field for field in COMPARED if not _same(getattr(one, field), getattr(other, field))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float):
        return abs(one - other) <= 0.05 * max(one, other)
    return bool(one == other)


def measure(session: Session, guess: Conventions) -> Found:
    """Measure the conventions of a live implementation; what cannot be told stays as guessed."""
    capabilities = session.description.capabilities
    order = [rank for rank in ranks(capabilities) if rank > 1] or list(capabilities.ranks)
    table: dict[Place, Conventions] = {}
    with np.errstate(all="ignore"):
        graded = {found.dtype: found for found in grading.measure(session)}
        for dtype in capabilities.dtypes:
            known = guess
            for rank in order:
                names = list(CONVENTIONS) if rank == order[0] else [n for n in CONVENTIONS if n in _BY_RANK]
                known = _measured(session, _spec(rank, dtype, capabilities), names, known)
                table[rank, dtype] = _graded(known, graded.get(dtype))
    return Found(table)


def _spec(rank: int, dtype: str, capabilities: Capabilities) -> Spec:
    axis = rank - 1 if capabilities.axes == "last" or rank == 1 else 1
    shape = tuple(_CHANNELS if a == axis else None for a in range(rank))
    return Spec(shape, (axis,), _EPSILON, _DECAY, dtype=dtype)


def _graded(conventions: Conventions, found: grading.Measured | None) -> Conventions:
    """With the measured grades; the loosest ones where even they do not hold: a requirement will say so."""
    if found is None or found.reason:
        return conventions
    variance = found.variance_grade if found.variance_grade in ("A", "B", "C") else "C"
    affine = found.affine_grade if found.affine_grade in ("S", "F") else "F"
    return conventions._replace(variance_grade=variance, affine_grade=affine)


def _measured(session: Session, spec: Spec, names: list[str], known: Conventions) -> Conventions:
    for name in names:
        convention = CONVENTIONS[name]
        if convention.field not in Conventions._fields or (
            convention.needs and not getattr(session.description.capabilities, convention.needs)
        ):
            continue
        if convention.field == "epsilon_floor":
            known = known._replace(epsilon_floor=_floor(session, spec, convention, known))
            continue
        values = next(_values(session, convention, spec, known), None)
        if values and getattr(known, convention.field) not in values:
            changed: dict[str, Any] = {convention.field: values[0]}
            known = known._replace(**changed)
    return known


def _values(session: Session, convention: Convention, spec: Spec, known: Conventions) -> Iterator[tuple[str, ...]]:
    """The declarations that fit what is seen; nothing where it cannot be seen."""
    for runs in _runs(session, convention, spec):
        finding = find(convention, runs, known)
        if not finding.agrees and not finding.seen.undecided:
            yield finding.seen.values


def _runs(session: Session, convention: Convention, spec: Spec) -> Iterator[list[Run]]:
    sizes = (_COUNT,) + (1,) * (len(spec.reduction_axes) - 1) if spec.reduction_axes else ()
    cases = convention.probe(Case(spec, (Start(),), (Train(Drawn(sizes)),)))
    if cases:
        yield [Run(case, session.run(case.expanded), session.description.capabilities) for case in cases]


def _floor(session: Session, spec: Spec, convention: Convention, known: Conventions) -> float:
    """The epsilon that takes effect in place of smaller ones; zero where none does."""
    for epsilon in _SMALLER:
        for runs in _runs(session, convention, spec._replace(epsilon=epsilon)):
            finding = find(convention, runs, known._replace(epsilon_floor=0.0))
            if finding.agrees is False and finding.seen.numbers and max(finding.seen.numbers) > 1.01 * epsilon:
                return max(finding.seen.numbers)
    return 0.0
