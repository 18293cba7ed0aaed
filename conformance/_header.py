"""The header of a results file: what is run, where, and with which versions; and who the implementations are."""

import datetime as dt
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version

from adapters.interface import Conventions
from conformance.families import FAMILIES
from conformance.grading import Measured, recorded
from conformance.plan import Plan
from conformance.requirements import CATALOGUE
from conformance.unit import Observed, Surveyed, declared, declared_conventions
from reports.records import Header, Implementation, RequirementInfo
from reports.settling_record import Settling

#: Notes of an implementation that are kept, and characters of each.
MOST_NOTES, LONGEST_NOTE = 20, 500


def header(plan: Plan, profile: str, seed: int, cases: int) -> Header:
    """The header of a run that starts now."""
    now = dt.datetime.now(dt.UTC)
    return Header(
        run=f"{now:%Y%m%dT%H%M%SZ}-{seed}",
        started=now.isoformat(timespec="seconds"),
        suite_version=suite_version(),
        profile=profile,
        seed=seed,
        cases_per_family=cases,
        environment=environment(),
        implementations=[Implementation(name=target.name) for target in plan.targets],
        requirements=[requirement_info(id_) for id_ in plan.requirements],
        command=shlex.join(["bn-conformance", *sys.argv[1:]]),
    )


def requirement_info(id_: str) -> RequirementInfo:
    """A requirement as the records state it."""
    requirement = CATALOGUE[id_]
    return RequirementInfo(
        id=id_,
        name=requirement.name,
        claim=requirement.claim,
        source=requirement.source,
        revision=requirement.revision,
        family=f"{requirement.family}xx",
        family_title=FAMILIES[requirement.family].title,
    )


def suite_version() -> str:
    """The version of the suite itself; a checkout that is not installed has none."""
    return _version("bn-conformance", missing="unreleased")


def _version(distribution: str, missing: str = "not installed") -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return missing


def environment() -> dict[str, str]:
    """What of this machine and of the suite's own dependencies matters to a result."""
    return {
        "Machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "NumPy": _version("numpy"),
        "Hypothesis": _version("hypothesis"),
    }


def implementation(
    done: Surveyed,
    conventions: set[Conventions],
    observed: Observed,
    accuracy: tuple[Measured, ...],
    settling: Settling | None,
) -> Implementation:
    """The line on an implementation, as far as it is known."""
    who = done.description
    if who is None:
        return Implementation(name=done.unit.target.name, no_run=done.no_run)
    details = dict(done.details)
    return Implementation(
        name=done.unit.target.name,
        target=done.unit.target.target,
        framework=who.framework,
        version=who.version,
        device=who.device,
        python=details.pop("python", ""),
        details=details,
        notes=[note[:LONGEST_NOTE] for note in who.notes[:MOST_NOTES]],
        capabilities=declared(who.capabilities),
        conventions=declared_conventions(conventions),
        observed=observed.seen,
        contradicted=observed.contradicted,
        accuracy=[recorded(measured) for measured in accuracy],
        settling=settling,
    )
