"""What counts as a step: when TensorFlow's systems change their moving statistics, tried in each environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from conformance import environments
from conformance.environments import CURRENT, Environments
from conformance.host_process import archive

_SECONDS = 300


class Claim(msgspec.Struct, frozen=True):
    """A claim on a system, and what came of trying it."""

    name: str
    system: str
    claim: str
    #: "holds", "fails", or "absent" where the version has no such part.
    outcome: str
    why: str = ""


class Column(NamedTuple):
    """The claims in one environment, or why nothing could be tried there."""

    environment: str
    version: str = ""
    claims: tuple[Claim, ...] = ()
    no_run: str = ""


class _Answer(msgspec.Struct):
    version: str
    claims: tuple[Claim, ...]


def tried(name: str, listed: Environments, cache: Path, tell: Callable[[str], None]) -> Column:
    """Try all claims in one environment, which is built where need be."""
    python, variables = sys.executable, {}
    if name != CURRENT:
        entry = listed.get(name)
        try:
            python = str(environments.build(entry.recipe, cache).python)
        except environments.BuildError as error:
            return Column(name, no_run=str(error))
        variables = entry.variables
    tell(f"trying the updates in {name}")
    script = f"import sys; sys.path.append({str(archive())!r}); from adapters.tf_updates import main; main()"
    try:
        done = subprocess.run(
            [python, "-I", "-c", script],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables},
        )
    except subprocess.TimeoutExpired as error:
        return Column(name, no_run=str(error))
    try:
        answer = msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=_Answer)
    except (IndexError, msgspec.DecodeError):
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return Column(name, no_run=f"exit code {done.returncode}: {last[0]}")
    return Column(name, answer.version, answer.claims)


def table(columns: list[Column]) -> list[str]:
    """The claims as a Markdown table, a column for each environment."""
    ran = [column for column in columns if column.claims]
    lines = [
        f"| system | claim | {' | '.join(f'{c.environment} ({c.version})' for c in ran)} |",
        "|---" * (len(ran) + 2) + "|",
    ]
    for index, first in enumerate(ran[0].claims if ran else ()):
        cells = [{"absent": "–"}.get(c.claims[index].outcome, c.claims[index].outcome) for c in ran]
        lines.append(f"| {first.system} | {first.claim} | {' | '.join(cells)} |")
    return lines if ran else []


def report(columns: list[Column]) -> list[str]:
    """The table, and what is to be said of environments that could not be had and of claims that fail."""
    lines = table(columns)
    for column in columns:
        if column.no_run:
            lines.append(f"no run in {column.environment}: {column.no_run}")
        lines += [
            f"fails in {column.environment}: {claim.system}: {claim.claim} {claim.why}".rstrip()
            for claim in column.claims
            if claim.outcome == "fails"
        ]
    return lines


def exit_code(columns: list[Column]) -> int:
    """1 where a claim fails, else 3 where an environment could not be had, else 0."""
    if any(claim.outcome == "fails" for column in columns for claim in column.claims):
        return 1
    return 3 if any(column.no_run for column in columns) else 0
