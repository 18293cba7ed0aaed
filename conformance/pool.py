"""Draws a family's cases once per run, with the choices behind each, for every implementation and worker to read.

Drawing again elsewhere would give other cases: importing any module changes Hypothesis's stream, and so do ``assume``,
``target`` and failures.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.control import current_build_context
from hypothesis.database import choices_to_bytes

from adapters.interface import Spec
from conformance.case import Case
from conformance.strategies import FAMILIES, cases, spec_pool


class Pooled(NamedTuple):
    """A drawn case and the choices that draw it again; ``choices`` is empty where they could not be recorded."""

    case: Case
    choices: bytes


class Pool(NamedTuple):
    """The cases of one family, and the specs that they were drawn from."""

    family: int
    specs: tuple[Spec, ...]
    cases: tuple[Pooled, ...]


def _current_choices() -> bytes:
    """The choices behind the example being drawn. Not public API of Hypothesis: without it, shrinking starts afresh."""
    try:
        return choices_to_bytes(current_build_context().data.choices)
    except (AttributeError, TypeError):
        return b""


def draw(family: int, run_seed: int, count: int, specs: tuple[Spec, ...] | None = None) -> Pool:
    """Draw ``count`` cases of a family. The same seed gives the same cases in a process of the same imports."""
    specs = specs or spec_pool(family, run_seed)
    drawn: list[Pooled] = []

    @seed(run_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(FAMILIES[family], specs))
    def collect(case: Case) -> None:
        drawn.append(Pooled(case, _current_choices()))

    collect()
    return Pool(family, specs, tuple(drawn))


def store(pools: list[Pool], path: Path) -> None:
    """Write the pools beside the run's results."""
    path.write_bytes(msgspec.json.encode(pools))


def read(path: Path) -> list[Pool]:
    """Read what ``store`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=list[Pool])
