"""Finds the first release of a package in which a saved case fails: builds environments and runs the case in each."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import uv
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from conformance import environments
from conformance._builds import Recipe, uv_environment
from conformance.case import load
from conformance.environments import BuildError, Environments
from conformance.introduction import meet
from conformance.plan import sorted_catalogue
from conformance.pool import Pool, Pooled
from conformance.session import SessionError
from conformance.survey import survey
from conformance.targets import Target, UsageError, base_name, resolve

_SECONDS = 120
Say = Callable[[str], None]
#: What a release came to: the case holds, fails, or says nothing there.
Verdict = Literal["good", "bad", "skipped"]


class Setting(NamedTuple):
    """What a release is tried with: a Python, other requirements, overrides and variables of the processes."""

    python: str
    others: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


class Found(NamedTuple):
    """Where the change is: the last good release, the first bad one, and those between that could not be tried."""

    good: str
    bad: str
    between: tuple[str, ...]
    tried: int


def first_bad(versions: Sequence[str], test: Callable[[str], Verdict]) -> Found:
    """Bisect releases, oldest first, on the assumption that what breaks stays broken.

    ``good`` is empty where the case fails in the oldest that could be tried, ``bad`` where it holds in the newest.
    """
    results: dict[int, Verdict] = {}

    def tried(place: int) -> Verdict:
        if place not in results:
            results[place] = test(versions[place])
        return results[place]

    newest = next((p for p in reversed(range(len(versions))) if tried(p) != "skipped"), None)
    if newest is None or tried(newest) == "good":
        return Found("" if newest is None else versions[newest], "", (), len(results))
    oldest = next(p for p in range(newest + 1) if tried(p) != "skipped")
    if tried(oldest) == "bad":
        return Found("", versions[oldest], tuple(versions[:oldest]), len(results))
    good, bad = oldest, newest
    while open_ := [p for p in range(good + 1, bad) if p not in results]:
        middle = min(open_, key=lambda p: abs(2 * p - good - bad))
        outcome = tried(middle)
        good, bad = middle if outcome == "good" else good, middle if outcome == "bad" else bad
    return Found(versions[good], versions[bad], tuple(versions[good + 1 : bad]), len(results))


def releases(package: str, python: str, *, pre: bool = False) -> list[str]:
    """The releases of a package that have a wheel for a Python here, oldest first, as pip finds them.

    Raises UsageError where it finds none.
    """
    links = os.environ.get("PIP_FIND_LINKS") or " ".join(os.environ.get("UV_FIND_LINKS", "").split(","))
    command = [uv.find_uv_bin(), "--quiet", "tool", "run", "pip", "index", "versions", package]
    command += ["--python-version", python, "--only-binary", ":all:", *(["--pre"] if pre else [])]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**uv_environment(), **({"PIP_FIND_LINKS": links} if links else {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the releases of {package} could not be listed: {error}") from error
    match = re.search(r"^Available versions: (.*)$", done.stdout, flags=re.MULTILINE)
    if match is None:
        why = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "none is known")
        raise UsageError(f"no release of {package} was found for Python {python}: {why}")
    return sorted((text.strip() for text in match[1].split(",")), key=_version)


def within(versions: Iterable[str], good: str, bad: str) -> list[str]:
    """The releases from a good one to a bad one, both included; empty is no limit."""
    low, high = _version(good) if good else None, _version(bad) if bad else None
    return [
        text for text in versions if (low is None or _version(text) >= low) and (high is None or _version(text) <= high)
    ]


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as error:
        raise UsageError(f"{text!r} is no version: expected one such as 2.1.0") from error


def setting(target: Target, package: str, python: str, others: Sequence[str], listed: Environments) -> Setting:
    """What to try releases with: what is asked for, else what the environment that the case failed in has."""
    entry = next((e for e in listed.entries if e.name == target.environment), None)
    known = [text for text in entry.requires if _name(text) != canonicalize_name(package)] if entry else []
    asked = [*known, *others]
    # A host needs it, and not every framework brings it.
    asked += [] if any(_name(text) == "numpy" for text in asked) else ["numpy"]
    return Setting(
        python or (entry.python if entry else ".".join(map(str, sys.version_info[:2]))),
        tuple(asked),
        entry.overrides if entry else (),
        tuple(sorted(entry.variables.items())) if entry else (),
    )


def _name(requirement: str) -> str:
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement as error:
        raise UsageError(f"{requirement!r} is no requirement: expected one such as numpy<2") from error


def named(file: Path, implementation: str) -> Target:
    """The implementation that a case file names, or another one."""
    _, _, own = load(file)
    if not (implementation or own):
        raise UsageError(f"{file} names no implementation: choose one with --implementation")
    targets = resolve([implementation or own])
    if len(targets) != 1:
        raise UsageError(f"{implementation or own} is several implementations: choose one with --implementation")
    return targets[0]


def tester(
    file: Path, target: Target, package: str, given: Setting, cache: Path, path: tuple[str, ...], say: Say
) -> Callable[[str], Verdict]:
    """What tries a release: builds its environment and runs the case there."""
    case, id_, _ = load(file)
    requirements = [r for r in sorted_catalogue() if not id_ or r.id == id_]
    if not requirements:
        raise UsageError(f"{file} speaks of requirement {id_}, which this version of the suite does not have")

    def test(version: str) -> Verdict:
        requires = (f"{package}=={version}", *given.others)
        try:
            recipe = Recipe(f"bisect-{package}-{version}", given.python, requires, given.overrides)
            built = environments.build(recipe, cache)
            there = target._replace(
                name=base_name(target.name), environment="", python=str(built.python), variables=given.variables
            )
            with meet(there, path=path, smoked=False) as session:
                pool = Pool(0, 0, (case.spec,), (Pooled(case, b""),))
                tallies = survey(pool, requirements, session).tallies.values()
        except (BuildError, SessionError) as error:
            say(f"{package} {version}: skipped, {str(error).splitlines()[0][:300]}")
            return "skipped"
        failing = [tally.requirement.id for tally in tallies if tally.failing or tally.broken]
        held = any(tally.passed for tally in tallies)
        outcome: Verdict = "bad" if failing else "good" if held else "skipped"
        say(f"{package} {version}: {outcome}" + (f", {', '.join(failing)}" if failing else ""))
        return outcome

    return test


def conclusion(found: Found, package: str, file: Path) -> str:
    """What a bisection came to, in a sentence."""
    if not found.bad:
        return f"{file} holds in {package} {found.good}" if found.good else "no release could be tried"
    if not found.good:
        return f"{file} fails in every release that could be tried; the oldest is {package} {found.bad}"
    between = f"; between them could not be tried: {', '.join(found.between)}" if found.between else ""
    return f"the first bad release is {package} {found.bad}, the last good one {found.good}{between}"
