"""The digest of a night: outcome and worst ratio of every cell, and the versions behind them, in little space.

A digest is derived from the night's results files and holds nothing that they do not.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from reports._grid import Grid, complete_grid
from reports.records import OUTCOMES, Implementation, Number, Outcome, Results, real
from reports.verdict import EXIT_3, FAILING

VERSION = 1
NO_RUN: Outcome = "no run"
#: Facts that differ from run to run and mean nothing.
_FLEETING = {"pid"}


class Cell(NamedTuple):
    """A requirement on an implementation in one night."""

    outcome: Outcome
    #: Worst error / bound; NaN where none was measured, infinite where it was not finite.
    ratio: float
    revision: int

    @property
    def decided(self) -> bool:
        """Whether it says anything of the implementation; only such cells are compared."""
        return self.outcome not in EXIT_3

    @property
    def fails(self) -> bool:
        """Whether the implementation is wrong there, or broke."""
        return self.outcome in FAILING


class Columns(msgspec.Struct, frozen=True):
    """The requirements that a row has results of, in its order."""

    ids: tuple[str, ...]
    revisions: tuple[int, ...]


class Row(msgspec.Struct, frozen=True):
    """An implementation in one night: its cells as bytes, and the numbers of its columns and facts."""

    columns: int
    facts: int
    #: One byte per requirement: the number of its outcome in the digest's list.
    outcomes: bytes
    #: Four bytes per requirement: its worst ratio.
    ratios: bytes
    #: Why it took no part.
    no_run: str = ""


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a night."""

    version: int = VERSION
    night: str
    started: str
    profile: str
    seed: int
    suite: str
    #: Facts on the machine that the suite ran on.
    machine: dict[str, str]
    #: File -> bytes: what the digest was derived from.
    sources: dict[str, int]
    #: File -> why it was not used.
    skipped: dict[str, str]
    outcomes: tuple[Outcome, ...]
    columns: list[Columns]
    facts: list[dict[str, str]]
    #: Implementation -> its row.
    rows: dict[str, Row]

    def cells(self, name: str) -> Iterator[tuple[str, Cell]]:
        """The requirements of an implementation that took part, with their cells."""
        row = self.rows[name]
        columns, ratios = self.columns[row.columns], ratios_of(row).tolist()
        for id_, revision, code, ratio in zip(columns.ids, columns.revisions, row.outcomes, ratios, strict=True):
            yield id_, Cell(self.outcomes[code], ratio, revision)

    def cell(self, requirement: str, name: str) -> Cell | None:
        """One cell, if there is one."""
        row = self.rows.get(name)
        if row is None:
            return None
        columns = self.columns[row.columns]
        if requirement not in columns.ids:
            return None
        place = columns.ids.index(requirement)
        return Cell(self.outcomes[row.outcomes[place]], float(ratios_of(row)[place]), columns.revisions[place])

    def about(self, name: str) -> dict[str, str]:
        """What is known of an implementation: framework, version, device, Python and further versions."""
        return self.facts[self.rows[name].facts]

    def ran(self, name: str) -> bool:
        """Whether anything of an implementation was run."""
        row = self.rows.get(name)
        return row is not None and bool(row.outcomes.strip(bytes([self.outcomes.index(NO_RUN)])))

    def failing(self, name: str) -> int:
        """How many cells of an implementation fail."""
        others = bytes(code for code, outcome in enumerate(self.outcomes) if outcome not in FAILING)
        return len(self.rows[name].outcomes.translate(None, others))


def ratios_of(row: Row) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """A row's worst ratios, in the order of its columns."""
    return np.frombuffer(row.ratios, dtype="<f4")


def digest(night: str, results: Results, sources: dict[str, int], skipped: dict[str, str]) -> Digest:
    """Make the digest of a night from its results, merged."""
    grid, header = complete_grid(results), results.header
    columns = Columns(tuple(i.id for i in grid.requirements), tuple(i.revision for i in grid.requirements))
    facts: dict[str, int] = {}
    kinds: list[dict[str, str]] = []
    shapes: dict[Columns, int] = {}
    rows = {}
    for who in grid.implementations:
        known = _facts(who)
        number = facts.setdefault(repr(sorted(known.items())), len(facts))
        if number == len(kinds):
            kinds.append(known)
        rows[who.name] = _row(grid, who, columns, shapes, number)
    return Digest(
        night=night,
        started=header.started,
        profile=header.profile,
        seed=header.seed,
        suite=header.suite_version,
        machine=header.environment,
        sources=sources,
        skipped=skipped,
        outcomes=OUTCOMES,
        columns=list(shapes),
        facts=kinds,
        rows=rows,
    )


def _row(grid: Grid, who: Implementation, columns: Columns, shapes: dict[Columns, int], facts: int) -> Row:
    """An implementation's row, with the requirements that were asked of it: environments may ask for different ones."""
    cells = grid.of(who.name)
    revised = tuple(cell.revision for cell in cells)
    if revised != columns.revisions:
        columns = Columns(columns.ids, revised)
    ratios = np.array([_ratio(cell.worst_ratio) for cell in cells], dtype="<f4")
    return Row(
        columns=shapes.setdefault(columns, len(shapes)),
        facts=facts,
        outcomes=bytes(OUTCOMES.index(cell.outcome) for cell in cells),
        ratios=ratios.tobytes(),
        no_run=who.no_run,
    )


def _ratio(value: Number | None) -> float:
    if value is None:
        return math.nan
    x = real(value)
    return math.inf if math.isnan(x) else x


def _facts(who: Implementation) -> dict[str, str]:
    named = {"framework": who.framework, "version": who.version, "device": who.device, "Python": who.python}
    return {name: value for name, value in {**named, **who.details}.items() if value and name not in _FLEETING}


def write(path: Path, made: Digest) -> None:
    """Write a digest, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(zlib.compress(msgspec.msgpack.encode(made), 6))
    part.replace(path)


def read(path: Path, sources: dict[str, int]) -> Digest | None:
    """Read a digest; None where there is none, or none of these files that this version can use."""
    try:
        found = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()), type=Digest)
    except (OSError, zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    current = found.version == VERSION and found.sources == sources
    return found if current else None
