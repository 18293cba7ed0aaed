"""Keeps the cases that failed, so that runs with other seeds meet them again: nothing is fixed by chance."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from conformance.case import CaseError, load
from conformance.pool import Pool, Pooled
from conformance.requirements import CATALOGUE
from reports.records import Results
from reports.verdict import FAILING

#: Cases kept of a requirement on an implementation, and of all together.
OF_ONE, OF_ALL = 3, 300
Say = Callable[[str], None]


def keep(folder: Path, results: Results, run: Path, night: str) -> None:
    """Copy the smallest case of every failure of a run to the folder, and drop the oldest of too many."""
    for result in results.results:
        if result.outcome not in FAILING:
            continue
        file = next((c.file for c in result.counterexamples if c.kind != "worst"), "")
        if file and (run / file).is_file():
            name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{result.requirement}-{result.implementation}")[:120]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, folder / f"{name}-{night}.json")
    _thin(folder)


def _thin(folder: Path) -> None:
    """Delete what is too much: of one cell's cases the oldest, and before any cell loses its last one."""
    cells: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.json"), key=_night, reverse=True):
        cells.setdefault(file.stem.rpartition("-")[0], []).append(file)
    ranked = [(rank, file) for files in cells.values() for rank, file in enumerate(files)]
    for rank, file in ranked:
        if rank >= OF_ONE:
            file.unlink()
    # Ranks first, then nights: where very much fails in one night, what failed in another keeps a case.
    rest = sorted((pair for pair in ranked if pair[0] < OF_ONE), key=lambda pair: _night(pair[1]), reverse=True)
    for _, file in sorted(rest, key=lambda pair: pair[0])[OF_ALL:]:
        file.unlink()


def _night(file: Path) -> str:
    return file.stem.rpartition("-")[2]


def added(drawn: dict[int, Pool], folder: Path, say: Say) -> dict[int, Pool]:
    """The pools with the folder's cases of their families behind their own; an unusable file is told and left out."""
    found = dict(drawn)
    for file in sorted(folder.glob("*.json")):
        try:
            case, id_, _ = load(file)
        except CaseError as error:
            say(f"left out: {error}")
            continue
        requirement = CATALOGUE.get(id_)
        if requirement is None or requirement.family not in found:
            continue
        pool = found[requirement.family]
        specs = pool.specs if case.spec in pool.specs else (*pool.specs, case.spec)
        cases = (*pool.cases, Pooled(case, b"", pool.family))
        found[requirement.family] = pool._replace(specs=specs, cases=cases)
    return found
