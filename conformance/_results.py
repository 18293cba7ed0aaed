"""Turns what a survey found into the records of a results file: outcome, reason, counterexamples."""

import math
import re
import shlex
from typing import Literal

from adapters.interface import Capabilities, Conventions
from adapters.program import Call
from conformance.case import Case, save
from conformance.evidence import Evidence, Worst
from conformance.explain import Smallest
from conformance.known_failures import KnownFailure, allowed, weighed
from conformance.plan import Plan
from conformance.requirements import Requirement
from conformance.survey import lacking
from conformance.tally import Survey, Tally
from conformance.targets import Target
from reports.records import Counterexample, Mismatch, Outcome, Result, number

REFERENCE = Conventions()
#: Examples of an element type from which on it must have the evidence that is asked of all together: where a third of
#: them are evidence, fewer than a tenth of so many are once in three hundred times.
FEW = 20
HALVES = ("float16", "bfloat16")
#: Longest printed case that a record carries; larger ones are in the case file.
LONGEST_CODE = 4000
_INSTRUCTIONS = "Train|Infer|Backward|SecondOrder|SetState|GetState|ApplyUpdates|Reload"


def outcome(
    tally: Tally, survey: Survey, capabilities: Capabilities, known: KnownFailure | None
) -> tuple[Outcome, str]:
    """What a requirement came to on an implementation, and why."""
    found, reason = _outcome(tally, survey, capabilities)
    covered = allowed(known, tally.dtypes, tally.plain, tally.finite, tally.finite_statistics)
    return weighed(found, reason, known, covered=covered)


def _outcome(tally: Tally, survey: Survey, capabilities: Capabilities) -> tuple[Outcome, str]:
    requirement = tally.requirement
    if tally.failing:
        assert tally.worst is not None
        return "fail", describe_failure(tally.worst.evidence)
    if tally.failure is not None:
        kinds: dict[str, Outcome] = {"crash": "crash", "timeout": "timeout", "no run": "no run"}
        where = f"{tally.failure.method}: " if tally.failure.method else ""
        return kinds.get(tally.failure.kind, "error"), where + tally.failure.message
    missing = lacking(requirement, capabilities)
    if missing:
        return "unsupported", f"declares no {' and no '.join(missing)}"
    if requirement.family in survey.stopped:
        return "no run", survey.stopped[requirement.family]
    return _without_failure(tally, survey)


def _without_failure(tally: Tally, survey: Survey) -> tuple[Outcome, str]:
    requirement = tally.requirement
    if tally.passed == 0 and tally.unsupported:
        return "unsupported", max(tally.refusals, key=lambda text: tally.refusals[text])
    judged = tally.passed + tally.vacuous
    if tally.evidence < max(1, math.ceil(round(requirement.evidence * judged, 9))):
        if judged == 0:
            return "mistrusted", "no example says anything of it"
        return "mistrusted", f"only {tally.evidence} of {judged} examples could have shown a fault"
    for dtype, (of_dtype, telling) in sorted(tally.by_dtype.items()):
        if requirement.rounded_away and dtype in HALVES:
            continue
        if of_dtype >= FEW and telling < requirement.evidence * of_dtype:
            return "mistrusted", f"only {telling} of {of_dtype} examples in {dtype} could have shown a fault"
    deviations = sorted(
        {
            f"{name} = {getattr(conventions, name)}"
            for name in requirement.conventions
            for conventions in survey.conventions
            if getattr(conventions, name) != getattr(REFERENCE, name)
        }
    )
    if deviations:
        return "deviates", "as declared: " + ", ".join(deviations)
    return "pass", ""


def describe_failure(evidence: Evidence) -> str:
    """One line on the worst example of a failure."""
    if evidence.message:
        return evidence.message
    if not evidence.worst:
        return ""
    worst = evidence.worst[0]
    if not math.isfinite(worst.got) and math.isfinite(worst.expected):
        return f"{worst.quantity} is {worst.got}, expected {worst.expected:.6g}"
    return f"{worst.quantity} is off by {worst.ratio:.3g} times its bound"


def result(
    tally: Tally,
    implementation: str,
    found: tuple[Outcome, str],
    counterexamples: list[Counterexample],
    proven: float | None,
    seconds: float,
) -> Result:
    """The record of one requirement on one implementation."""
    worst = tally.worst
    smallest = next((c.ratio for c in counterexamples if c.kind != "worst"), None)
    return Result(
        requirement=tally.requirement.id,
        revision=tally.requirement.revision,
        implementation=implementation,
        outcome=found[0],
        reason=found[1],
        worst_ratio=None if worst is None else number(worst.evidence.ratio),
        decided_by="" if worst is None else worst.decided_by,
        proven_ratio=None if proven is None else number(proven),
        smallest_ratio=smallest,
        examples=tally.examples(),
        evidence_by_dtype={dtype: list(counts) for dtype, counts in sorted(tally.by_dtype.items())},
        histogram=tally.histogram(),
        counterexamples=counterexamples,
        stderr=list(tally.failure.stderr) if tally.failure is not None and not tally.failing else [],
        seconds=round(seconds, 4),
    )


def _mismatch(worst: Worst) -> Mismatch:
    def hexadecimal(value: float) -> str:
        return float(value).hex() if math.isfinite(value) else ""

    return Mismatch(
        quantity=worst.quantity,
        step=worst.step,
        index=list(worst.place),
        got=number(worst.got),
        expected=number(worst.expected),
        allowed=number(worst.allowed),
        ratio=number(worst.ratio),
        got_hex=hexadecimal(worst.got),
        expected_hex=hexadecimal(worst.expected),
    )


def facts(case: Case) -> dict[str, str]:
    """What a reader wants to know of a case before its arrays."""
    spec = case.spec
    steps = []
    for call in case.expanded.calls:
        shape = "" if call.x is None else " " + "×".join(str(n) for n in call.x.shape)
        layer = f" on layer {call.layer}" if len(case.starts) > 1 else ""
        steps.append(_operation(call) + shape + (" with dy" if call.dy is not None else "") + layer)
    flags = [name for name in ("center", "scale") if not getattr(spec, name)]
    described = {
        "steps": ", ".join(steps),
        "axis": ", ".join(str(a) for a in spec.axis),
        "epsilon": repr(spec.epsilon),
        "decay": repr(spec.decay),
        "dtype": spec.dtype,
        "state read": "after every step" if case.read == "every" else "at the end only",
    }
    if flags:
        described["switched off"] = ", ".join(flags)
    return described


_RELOADS = {
    "state": "rebuild from its state",
    "file": "save and restore",
    "checkpoint": "save and go on",
    "process": "save and restore in a new process",
}


def _operation(call: Call) -> str:
    """An operation with what distinguishes it, in words."""
    if call.op == "reload":
        return _RELOADS[call.through]
    recorded = f" (record {call.tape})" if call.tape >= 0 else ""
    return call.op.replace("_", " ") + recorded + (f" {call.times} times" if call.times > 1 else "")


def code(case: Case) -> str:
    """The case as code: with its arrays where that stays short, otherwise as the recipe it was drawn from."""
    held = repr(case.held)
    text = held if len(held) <= LONGEST_CODE else repr(case)
    if len(text) > LONGEST_CODE:
        return "# Too large to print: see the case file.\n"
    return "from conformance.case import *\n\n" + _broken_into_lines(text) + "\n"


def _broken_into_lines(text: str) -> str:
    text = text.replace("Case(spec=", "case = Case(\n    spec=", 1)
    for name in ("starts=", "program=", "read="):
        text = text.replace(f", {name}", f",\n    {name}", 1)
    return re.sub(rf", ((?:{_INSTRUCTIONS})\()", r",\n        \1", text)


def counterexample(
    kind: Literal["smallest", "smallest seen", "worst"],
    found: Smallest,
    requirement: Requirement,
    target: Target,
    plan: Plan,
) -> Counterexample:
    """The record of one failing case, which is saved beside the results."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", target.name)
    path = plan.out / "cases" / f"{requirement.id}-{name}-{kind.split()[0]}.json"
    save(found.case, path, requirement=requirement.id, implementation=target.spelled)
    command = ["bn-conformance", "replay", path.as_posix(), *(f"--path={folder}" for folder in plan.path)]
    command += target.arguments
    evidence = found.evidence
    return Counterexample(
        kind=kind,
        ratio=number(evidence.ratio),
        code=code(found.case),
        file=path.relative_to(plan.out).as_posix(),
        message=found.message or describe_failure(evidence),
        mismatches=[_mismatch(w) for w in evidence.worst],
        facts=facts(found.case),
        command=shlex.join(command),
    )
