"""Arranges failures for reading: grouped by cause, with counterexamples, distributions and commands."""

from typing import NamedTuple

from markupsafe import Markup

from reports import _plots
from reports._format import clip, element, ratio, times_bound, without_home
from reports._grid import Grid
from reports._text import Places, about, highlighted, rerun, slug, title
from reports.records import (
    OUTCOMES,
    Counterexample,
    Header,
    Implementation,
    Mismatch,
    Number,
    Outcome,
    RequirementInfo,
    Result,
    real,
)
from reports.verdict import EXIT_1

_KINDS = {
    "smallest": "Smallest counterexample",
    "smallest seen": "Smallest counterexample seen, not shrunk",
    "worst": "Worst counterexample",
}
_MISMATCHES = 8
_CODE = 6_000
_STDERR = 4_000
#: Articles that are whole, and further ones that lack the code only: what a page shows of many failures is bounded.
_WHOLE, _WITHOUT_CODE = 12, 24


class Element(NamedTuple):
    """A row of a mismatch table."""

    name: str
    where: str
    got: str
    expected: str
    allowed: str
    ratio: str
    hexadecimal: str


class Example(NamedTuple):
    """A counterexample."""

    kind: str
    heading: str
    ratio: str
    message: str
    facts: dict[str, str]
    elements: list[Element]
    more_elements: int
    code: Markup
    file: str
    command: str
    script: Markup
    script_file: str
    no_script: str


class Mark(NamedTuple):
    """A counterexample's place in the distribution."""

    left: float
    text: str
    side: str


class Failure(NamedTuple):
    """A failing result."""

    anchor: str
    id: str
    title: str
    claim: str
    source: str
    implementation: str
    outcome: Outcome
    kind: str
    reason: str
    proven: str
    #: Label, value, unit, whether it is bad.
    figures: list[tuple[str, str, str, bool]]
    examples: list[Example]
    bars: _plots.Bars | None
    marks: list[Mark]
    stderr: str
    command: str
    #: Whether its counterexamples are left to the files beside the results.
    brief: bool


class Group(NamedTuple):
    """Failures of one implementation that have one likely cause, or none known; the first stands for them."""

    implementation: str
    about: str
    cause: str
    failures: list[Failure]


def groups(grid: Grid, header: Header, places: Places, *, known: bool) -> list[Group]:
    """Group the failures, or the known failures: the most severe first, then the largest error."""
    wanted = {"known failure"} if known else EXIT_1
    found: dict[tuple[str, str], list[Result]] = {}
    for result in grid.all():
        if result.outcome in wanted:
            why = result.cause or ("" if result.outcome == "fail" else result.reason)
            found.setdefault((result.implementation, why), []).append(result)
    infos = {info.id: info for info in grid.requirements}
    who = {implementation.name: implementation for implementation in grid.implementations}
    arranged: list[Group] = []
    told = 0
    for results in sorted(found.values(), key=lambda group: min(map(_severity, group))):
        # The catalogue goes from basic to composite requirements: the first that fails explains most.
        results.sort(key=lambda result: OUTCOMES.index(result.outcome))
        by = who[results[0].implementation]
        failures = [
            _failure(result, infos[result.requirement], by, header, places, told + number)
            for number, result in enumerate(results)
        ]
        told += len(results)
        arranged.append(Group(by.name, about(by), results[0].cause, failures))
    return arranged


def _severity(result: Result) -> tuple[int, float]:
    return OUTCOMES.index(result.outcome), -_plots.log2(result.worst_ratio)


def _failure(
    result: Result, info: RequirementInfo, by: Implementation, header: Header, places: Places, number: int
) -> Failure:
    brief = number >= _WHOLE + _WITHOUT_CODE
    bars = _plots.own_bars(result) if not brief else None
    return Failure(
        anchor=places.anchors[result.requirement, result.implementation],
        id=info.id,
        title=title(info),
        claim=info.claim,
        source=info.source,
        implementation=result.implementation,
        outcome=result.outcome,
        kind=slug(result.outcome),
        reason=clip(without_home(result.reason), _CODE),
        proven=_proven(result.proven_ratio),
        figures=_figures(result),
        examples=[] if brief else [_example(example, code=number < _WHOLE) for example in result.counterexamples],
        bars=bars,
        marks=_marks(result, bars) if bars else [],
        stderr=clip(without_home("\n".join(result.stderr)), _STDERR),
        command=rerun(header, result.requirement, by),
        brief=brief,
    )


def _proven(worst: Number | None) -> str:
    if worst is None:
        return ""
    x = real(worst)
    if x <= 1:
        return f"The worst error is {times_bound(worst)} that is proven: some order of summation could explain it."
    how_far = f" It is {times_bound(worst)} that is proven." if x < float("inf") else ""
    return f"Wrong whatever the order of summation.{how_far}"


def _figures(result: Result) -> list[tuple[str, str, str, bool]]:
    examples = result.examples
    applicable = examples.total - examples.not_applicable - examples.unsupported
    figures = []
    if result.worst_ratio is not None:
        unit = f"{result.decided_by} bound" if result.decided_by else ""
        figures.append(("Worst error ÷ bound", ratio(result.worst_ratio), unit, result.outcome == "fail"))
    if result.smallest_ratio is not None:
        figures.append(("Smallest counterexample", ratio(result.smallest_ratio), "", False))
    if result.proven_ratio is not None:
        figures.append(("Worst ÷ proven bound", ratio(result.proven_ratio), "", False))
    if examples.total:
        if examples.failing or not examples.broken:
            figures.append(("Failing examples", str(examples.failing), f"of {examples.total}", False))
        if examples.broken:
            figures.append(("Broken examples", str(examples.broken), f"of {examples.total}", True))
        figures.append(("Evidence", str(examples.evidence), f"of {applicable} applicable", False))
    return figures


def _example(example: Counterexample, *, code: bool) -> Example:
    return Example(
        kind=slug(example.kind),
        heading=_KINDS[example.kind],
        ratio=times_bound(example.ratio) if example.mismatches else "",
        message=clip(without_home(example.message), _CODE),
        facts=example.facts,
        elements=[_element(mismatch) for mismatch in example.mismatches[:_MISMATCHES]],
        more_elements=max(len(example.mismatches) - _MISMATCHES, 0),
        code=highlighted(clip(example.code, _CODE)) if code else Markup(),
        file=example.file,
        command=example.command,
        # Whole: a part of a script is no script.
        script=highlighted(example.script) if code else Markup(),
        script_file=example.script_file,
        no_script=example.no_script,
    )


def _element(mismatch: Mismatch) -> Element:
    index = f"[{', '.join(map(str, mismatch.index))}]" if mismatch.index else ""
    hexadecimal = f"got {mismatch.got_hex}, expected {mismatch.expected_hex}" if mismatch.got_hex else ""
    return Element(
        name=mismatch.quantity + index,
        where=f"step {mismatch.step}" if mismatch.step >= 0 else "whole program",
        got=element(mismatch.got),
        expected=element(mismatch.expected),
        allowed=f"± {real(mismatch.allowed):.2g}",
        ratio=ratio(mismatch.ratio),
        hexadecimal=hexadecimal,
    )


def _marks(result: Result, bars: _plots.Bars) -> list[Mark]:
    """Mark the counterexamples above the distribution; two labels that meet lean away from each other."""
    scale = _plots.own_scale(bars)
    marks = sorted(
        (_plots.position(_plots.log2(example.ratio), scale), example.kind.split()[0])
        for example in result.counterexamples
        if example.mismatches
    )
    crowded = len(marks) > 1 and marks[-1][0] - marks[0][0] < 25
    return [
        Mark(left, text, _side(left, crowded=crowded, first=place == 0)) for place, (left, text) in enumerate(marks)
    ]


def _side(left: float, *, crowded: bool, first: bool) -> str:
    if left > 94 or (crowded and first and left > 8):
        return "left"
    return "right" if left < 6 or crowded else "middle"
