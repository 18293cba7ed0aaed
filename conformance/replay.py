"""Runs a saved case again: on the implementation that it names, or on another."""

from collections.abc import Callable
from pathlib import Path

from conformance.case import Case, CaseError, load
from conformance.evidence import Evidence
from conformance.explain import judge_case
from conformance.plan import UsageError, resolve
from conformance.requirements import CATALOGUE, Requirement
from conformance.session import Session, SessionError, open_session
from conformance.survey import execute

Say = Callable[[str], None]


def replay_file(file: Path, implementation: str, *, in_process: bool, path: tuple[str, ...], say: Say) -> int:
    """Replay a case file and tell what each requirement of its family finds; 1 if any fails, else 0.

    Raises CaseError, UsageError or SessionError, naming what is wrong.
    """
    case, id_, named = load(file)
    name = implementation or named
    if not name:
        raise UsageError(f"{file} names no implementation: choose one with --implementation")
    if id_ and id_ not in CATALOGUE:
        raise CaseError(f"{file} speaks of requirement {id_}, which this version of the suite does not have")
    targets = resolve((name,))
    wanted = CATALOGUE[id_] if id_ else None
    failed = False
    say(repr(case.held) + "\n")
    for target in targets:
        if target.missing:
            raise SessionError(f"{target.name}: {target.missing}")
        with open_session(target.target, path=path, in_process=in_process) as session:
            say(f"{target.name}: {session.description.framework} {session.description.version}")
            failed |= _judge_all(case, wanted, session, say)
    return 1 if failed else 0


def _judge_all(case: Case, wanted: Requirement | None, session: Session, say: Say) -> bool:
    run = execute(case, session)
    if run.trace.failure is not None:
        say(f"  the case ended early: {run.trace.failure.kind} in {run.trace.failure.method}: {run.trace.failure.message}")
        for line in run.trace.failure.stderr:
            say(f"    {line}")
    failed = False
    for requirement in CATALOGUE.values():
        if wanted is not None and requirement.family != wanted.family:
            continue
        found = judge_case(requirement, case, session)
        if found is not None:
            failed = True
            say(f"  {requirement.id} fails: {requirement.claim}")
            for line in _details(found.evidence, found.message):
                say(f"    {line}")
    if not failed:
        say("  every requirement of the family holds" if wanted is not None else "  every requirement holds")
    return failed


def _details(evidence: Evidence, message: str) -> list[str]:
    lines = [message] if message else []
    for worst in evidence.worst:
        where = f"[{', '.join(str(i) for i in worst.place)}]" if worst.place else ""
        lines.append(
            f"step {worst.step}, {worst.quantity}{where}: got {worst.got!r}, expected {worst.expected!r} "
            f"± {worst.allowed:.3g} (error ÷ bound {worst.ratio:.3g})"
        )
    return lines
