"""Puts a script beside a failing case's file, and into its record where it is not too long for a page."""

from functools import partial
from pathlib import Path

import msgspec

from adapters.program import Failure, Trace
from conformance.explain import Smallest
from conformance.plan import Plan
from conformance.reproduction import Failing, Script, script
from conformance.requirements import Requirement
from conformance.rewrite import asked
from conformance.session import Session, SessionError
from conformance.spelling import spelling
from conformance.survey import execute
from conformance.targets import Target
from reports.records import Counterexample

#: Characters of a script that a record and the page carry.
LONGEST = 20_000


def with_script(
    record: Counterexample, found: Smallest, requirement: Requirement, target: Target, plan: Plan, session: Session
) -> Counterexample:
    """The record of a case, with a script that shows its failure, or with the reason why there is none."""
    made = _script(found, requirement, target, plan, session)
    if not made.text:
        return msgspec.structs.replace(record, no_script=made.why_none)
    file = Path(record.file).with_suffix(".py")
    (plan.out / file).write_text(made.text, encoding="utf-8")
    shown = made.text if len(made.text) <= LONGEST else ""
    return msgspec.structs.replace(record, script=shown, script_file=file.as_posix())


def _script(found: Smallest, requirement: Requirement, target: Target, plan: Plan, session: Session) -> Script:
    quantities = tuple(worst.quantity for worst in found.evidence.worst)
    who = session.description
    name = f"{target.name} ({who.framework} {who.version})"
    failing = Failing(requirement.id, requirement.claim, name, quantities, found.message)
    kind, _, text = found.message.partition(": ")
    spell = partial(spelling, session)
    case = asked(found.case, session.description.capabilities)
    if kind in ("crash", "timeout"):
        # It is not run again: that would cost another restart.
        broken = Trace(None, (), (), failure=Failure(kind, text))
        return script(failing, target.target, plan.path, [(case, broken)], spell)
    try:
        run = execute(case, session)
        others = tuple(execute(c, session) for c in requirement.derive(run.case)) if requirement.derive else ()
    except SessionError as error:
        return Script(why_none=str(error))
    return script(failing, target.target, plan.path, [(r.case, r.trace) for r in (run, *others)], spell)
