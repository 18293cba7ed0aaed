"""Puts a script beside a failing case's file, and into its record where it is not too long for a page."""

from pathlib import Path

import msgspec

from adapters.program import Failure, Trace
from conformance.explain import Smallest
from conformance.plan import Plan
from conformance.reproduction import Failing, script
from conformance.requirements import Requirement
from conformance.rewrite import asked
from conformance.session import Session, SessionError
from conformance.survey import execute
from conformance.targets import Target
from reports.records import Counterexample

#: Characters of a script that a record and the page carry.
LONGEST = 20_000


def with_script(
    record: Counterexample, found: Smallest, requirement: Requirement, target: Target, plan: Plan, session: Session
) -> Counterexample:
    """The record of a case, with a script that shows its failure, where one can be written."""
    text = _script(found, requirement, target, plan, session)
    if not text:
        return record
    file = Path(record.file).with_suffix(".py")
    (plan.out / file).write_text(text, encoding="utf-8")
    return msgspec.structs.replace(record, script=text if len(text) <= LONGEST else "", script_file=file.as_posix())


def _script(found: Smallest, requirement: Requirement, target: Target, plan: Plan, session: Session) -> str:
    quantities = tuple(worst.quantity for worst in found.evidence.worst)
    who = session.description
    failing = Failing(requirement.id, requirement.claim, f"{target.name} ({who.framework} {who.version})", quantities)
    kind, _, text = found.message.partition(": ")
    if kind in ("timeout", "no run"):
        return ""
    case = asked(found.case, session.description.capabilities)
    if kind == "crash":
        # It is not run again: that would cost another restart.
        return script(failing, target.target, plan.path, [(case, Trace(None, (), (), failure=Failure(kind, text)))])
    try:
        run = execute(case, session)
        others = tuple(execute(c, session) for c in requirement.derive(run.case)) if requirement.derive else ()
    except SessionError:
        return ""
    return script(failing, target.target, plan.path, [(r.case, r.trace) for r in (run, *others)])
