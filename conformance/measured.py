"""Measures all conventions of a live implementation, and groups what was found by where it differs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adapters.interface import Capabilities, Conventions, Spec
from conformance.capability import refusal
from conformance.case import Case, Drawn, Start, Train
from conformance.conventions import CONVENTIONS, Convention, Finding, Observation, find
from conformance.judge import Run
from conformance.session import Session
from conformance.specs import SEVERAL

EPSILON, DECAY = 1e-3, 0.9
#: Smaller epsilons, down to where a floor can be; the first is tried everywhere.
LADDER = (1e-8, 1e-5, 1e-12, 0.0)
#: Elements per channel: few, and so many that an implementation may take another way.
COUNTS = (3, 64)
CHANNELS = 3


class Row(NamedTuple):
    """What was found of one convention on some of the specs; ``agrees`` is None where nothing can be told."""

    field: str
    title: str
    where: str
    declared: str
    observed: str
    agrees: bool | None
    message: str = ""


def specs(capabilities: Capabilities) -> list[Spec]:
    """Specs that differ in what a convention may depend on: rank, place of the channel axis, and element type."""
    found = []
    for rank in range(1, 7):
        places = dict.fromkeys([rank - 1, min(1, rank - 1), 0])
        allowed = [spec for axis in places if not refusal(spec := _spec(rank, (axis,), capabilities), capabilities)]
        # The place of the channel axis matters where there are kernels for either.
        found += allowed[: 2 if rank == 4 else 1]
    several = (_spec(rank, axes, capabilities) for rank, axes in SEVERAL)
    found += [spec for spec in several if not refusal(spec, capabilities)][:1]
    others = [dtype for dtype in capabilities.dtypes if dtype != (found[0].dtype if found else "")]
    for dtype in others:
        recast = {
            spec.rank: spec._replace(dtype=dtype) for spec in found if spec.rank in (2, 4) and len(spec.axis) == 1
        }
        found += recast.values()
    return found


def _spec(rank: int, axis: tuple[int, ...], capabilities: Capabilities) -> Spec:
    shape: list[int | None] = [None] * rank
    for place in axis:
        shape[place] = CHANNELS
    dtype = "float32" if "float32" in capabilities.dtypes or not capabilities.dtypes else capabilities.dtypes[0]
    return Spec(tuple(shape), axis, EPSILON, DECAY, dtype=dtype)


def measure(session: Session) -> list[Row]:
    """Measure every convention on every spec that the implementation declares, and group the findings."""
    with np.errstate(all="ignore"):
        chosen = specs(session.description.capabilities)
        # A layer for each epsilon: two ranks, for which there are kernels of their own, are climbed all the way.
        first = {(spec.rank, spec.dtype): spec for spec in reversed(chosen)}
        climbed = {spec for (rank, dtype), spec in first.items() if dtype == chosen[0].dtype and rank in (2, 4)}
        findings = [f for spec in chosen for f in _findings(session, spec, LADDER if spec in climbed else LADDER[:1])]
        return list(_rows(findings))


def _findings(session: Session, spec: Spec, ladder: tuple[float, ...]) -> Iterator[Finding]:
    for convention in CONVENTIONS.values():
        if convention.needs and not getattr(session.description.capabilities, convention.needs):
            continue
        floor, estimator = convention.field == "epsilon_floor", convention.field == "moving_variance"
        for epsilon in (EPSILON, *ladder) if floor else (EPSILON,):
            for count in COUNTS if estimator else COUNTS[:1]:
                yield from _finding(session, convention, spec._replace(epsilon=epsilon), count)


def _finding(session: Session, convention: Convention, spec: Spec, count: int) -> Iterator[Finding]:
    sizes = (count,) + (1,) * (len(spec.reduction_axes) - 1) if spec.reduction_axes else ()
    base = Case(spec, (Start(),), (Train(Drawn(sizes)),))
    cases = convention.probe(base)
    if not cases:
        return
    runs = [Run(case, session.run(case.expanded), session.description.capabilities) for case in cases]
    known = (run.trace.conventions for run in runs if run.trace.conventions is not None)
    conventions = next(known, None) or _asked(session, base)
    if conventions is not None:
        yield find(convention, runs, conventions)._replace(spec=spec)


def _asked(session: Session, base: Case) -> Conventions | None:
    """What is declared for a case that is not run: its program is empty."""
    empty = Case(base.spec, base.starts, ())
    return session.run(empty.expanded).conventions


def _rows(findings: Sequence[Finding]) -> Iterator[Row]:
    for convention in CONVENTIONS.values():
        of_this = [finding for finding in findings if finding.convention is convention]
        decided = [finding for finding in of_this if finding.agrees is not None]
        if convention.field == "epsilon_floor":
            decided = [finding._replace(seen=seen) for finding, seen in _floors(decided)]
        groups: dict[tuple[str, str, bool | None], list[Finding]] = {}
        for finding in decided or of_this:
            observed = finding.seen.text + (f": {finding.seen.undecided}" if finding.seen.undecided else "")
            groups.setdefault((finding.declared, observed, finding.agrees), []).append(finding)
        if not decided:
            groups = dict(list(groups.items())[:1])
        everywhere = [finding.spec for finding in decided or of_this]
        for (says, observed, agrees), group in groups.items():
            where = places([finding.spec for finding in group], everywhere) if decided else ""
            message = group[0].message if agrees is False else ""
            yield Row(convention.field, convention.title, where, says, observed, agrees, message)


def _floors(findings: Sequence[Finding]) -> Iterator[tuple[Finding, Observation]]:
    """Say of each finding what floor the whole ladder shows in its place."""
    by_place: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        spec = finding.spec
        by_place.setdefault((spec.shape, spec.axis, spec.dtype), []).append(finding)
    lowest = min((finding.spec.epsilon for finding in findings), default=0.0)
    for group in by_place.values():
        wrong = [f for f in group if f.observed != "none"]
        higher = {number for f in wrong for number in f.seen.numbers if number > f.spec.epsilon}
        raised = " or ".join(sorted({f"{number:.4g}" for number in higher}))
        text = f"raised to {raised}" if raised else f"none down to ε = {lowest:g}"
        # Where ε is larger there is no floor to declare.
        floor = max((finding.declared for finding in group), key=float)
        for finding in group:
            yield finding._replace(declared=floor), finding.seen._replace(text=text)


def places(some: Sequence[Spec], everywhere: Iterable[Spec]) -> str:
    """In which specs of all something is so, in words; empty for all of them."""
    others = [spec for spec in everywhere if spec not in some]
    if not others:
        return ""
    for attributes in (("rank",), ("dtype",), ("axis",), ("epsilon",), ("rank", "dtype"), ("rank", "axis")):
        mine, theirs = ({tuple(_place(spec, a) for a in attributes) for spec in group} for group in (some, others))
        if not mine & theirs:
            return ", ".join(sorted(" ".join(values) for values in mine))
    return "; ".join(dict.fromkeys(f"{spec.shape} axis {spec.axis} {spec.dtype}" for spec in some))


def _place(spec: Spec, attribute: str) -> str:
    if attribute == "rank":
        return f"rank {spec.rank}"
    if attribute == "axis":
        last = spec.channel_axes == (spec.rank - 1,)
        return "several axes" if len(spec.axis) > 1 else "channels last" if last else f"axis {spec.channel_axes[0]}"
    return f"ε = {spec.epsilon:g}" if attribute == "epsilon" else str(getattr(spec, attribute))
