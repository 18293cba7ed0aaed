"""Runs a saved case again: on the implementation that it names, or on another."""

from collections.abc import Callable
from pathlib import Path

from conformance.case import Case, CaseError, load, save
from conformance.explain import shrink, size
from conformance.introduction import meet
from conformance.plan import sorted_catalogue
from conformance.pool import Pool, Pooled
from conformance.requirements import Requirement
from conformance.session import Session
from conformance.survey import survey
from conformance.tally import Tally
from conformance.targets import Target, UsageError, resolve

Say = Callable[[str], None]
#: Seconds that shrinking a case may take.
SHRINKING = 30.0


def replay_file(
    file: Path,
    implementation: str,
    ready: Callable[[tuple[Target, ...]], tuple[Target, ...]],
    *,
    in_process: bool,
    path: tuple[str, ...],
    say: Say,
    smaller: bool = False,
) -> int:
    """Replay a case file and tell what each requirement of its family finds; ``ready`` sees to the environments.

    With ``smaller``, shrink the case too and save what remains beside it.

    Returns the exit code: 1 if any requirement fails, 3 if none could be judged, else 0. Raises CaseError, UsageError
    or SessionError, naming what is wrong.
    """
    case, id_, named = load(file)
    name = implementation or named
    if not name:
        raise UsageError(f"{file} names no implementation: choose one with --implementation")
    requirements = sorted_catalogue()
    if id_ and all(r.id != id_ for r in requirements):
        raise CaseError(f"{file} speaks of requirement {id_}, which this version of the suite does not have")
    targets = ready(resolve((name,)))
    say(repr(case.held) + "\n")
    codes = []
    for target in targets:
        with meet(target, path=path, in_process=in_process, smoked=False) as session:
            say(f"{target.name}: {session.description.framework} {session.description.version}")
            code, failing = _judge(Pooled(case, b""), requirements, session, say)
            codes.append(code)
            if smaller and failing:
                about = next((r for r in failing if r.id == id_), failing[0])
                _shrink(file, case, about, target, session, say)
    return 1 if 1 in codes else max(codes)


def _shrink(file: Path, case: Case, requirement: Requirement, target: Target, session: Session, say: Say) -> None:
    found = shrink(requirement, Pooled(case, b""), (case.spec,), session, SHRINKING)
    if found is None or size(found.case) >= size(case):
        say(f"  no smaller case fails {requirement.id}")
        return
    path = file.with_name(f"{file.stem.removesuffix('-smaller')}-smaller.json")
    save(found.case, path, requirement=requirement.id, implementation=target.spelled)
    say(f"  smallest case that still fails {requirement.id}: {path}\n\n{found.case.held!r}")


def _judge(
    pooled: Pooled, requirements: list[Requirement], session: Session, say: Say
) -> tuple[int, list[Requirement]]:
    """The exit code, and the requirements that fail."""
    found = survey(Pool(0, 0, (pooled.case.spec,), (pooled,)), requirements, session)
    tallies = found.tallies.values()
    failing = [tally for tally in tallies if tally.failing or tally.broken]
    for tally in failing:
        say(f"  {tally.requirement.id} fails: {tally.requirement.claim}")
        for line in _details(tally):
            say(f"    {line}")
    held = sum(tally.passed for tally in tallies)
    silent = len(requirements) - held - len(failing)
    say(f"  {len(failing)} fail, {held} hold, {silent} say nothing of this case")
    for reason in sorted({reason for tally in tallies for reason in tally.refusals}):
        say(f"  unsupported: {reason}")
    return 1 if failing else 0 if held else 3, [tally.requirement for tally in failing]


def _details(tally: Tally) -> list[str]:
    lines = []
    if tally.failing and tally.worst is not None:
        evidence = tally.worst.evidence
        lines += [evidence.message] if evidence.message else []
        for worst in evidence.worst:
            where = f"[{', '.join(str(i) for i in worst.place)}]" if worst.place else ""
            lines.append(
                f"step {worst.step}, {worst.quantity}{where}: got {worst.got!r}, expected {worst.expected!r} "
                f"± {worst.allowed:.3g} (error ÷ bound {worst.ratio:.3g})"
            )
    elif tally.failure is not None:
        method = f" in {tally.failure.method}" if tally.failure.method else ""
        lines += [f"{tally.failure.kind}{method}: {tally.failure.message}", *tally.failure.stderr]
    return lines
