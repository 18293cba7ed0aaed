"""Makes up nights for the tests of the history: a few implementations, cells set one by one."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import msgspec

from reports import store
from reports.history import Added, History
from reports.nightly_changes import Night, night
from reports.records import (
    Counterexample,
    Examples,
    Implementation,
    Mismatch,
    Outcome,
    Result,
    Results,
)
from tests.sample_results import sample

FIRST = dt.datetime(2026, 11, 1, 2, 0, tzinfo=dt.UTC)
NAMES = ("numpy", "torch@latest", "keras@latest")
#: (requirement, implementation) -> outcome and worst ratio.
Cells = Mapping[tuple[str, str], tuple[Outcome, float]]


def results(day: int, cells: Cells | None = None, version: str = "2.1", names: tuple[str, ...] = NAMES) -> Results:
    """A run in which everything passes at a tenth of the bound, but for the cells that are given."""
    base = sample()
    infos = base.header.requirements[:6]
    header = msgspec.structs.replace(
        base.header,
        started=(FIRST + dt.timedelta(days=day)).isoformat(timespec="seconds"),
        seed=day,
        profile="nightly",
        requirements=infos,
        implementations=[
            Implementation(
                name=name,
                framework=name.partition("@")[0],
                version=version if "@" in name else "1.0",
                device="cpu",
                python="3.11.7",
                details={"pid": str(1000 + day)},
            )
            for name in names
        ],
    )
    found = [
        _result(info.id, name, *(cells or {}).get((info.id, name), ("pass", 0.1))) for info in infos for name in names
    ]
    return msgspec.structs.replace(base, header=header, results=found, agreements=[])


def _result(requirement: str, name: str, outcome: Outcome, ratio: float) -> Result:
    failing = outcome == "fail"
    example = Counterexample(
        kind="smallest",
        ratio=ratio,
        code="case = Case()",
        script=f"# {requirement} on {name}\nprint('shown')\n",
        mismatches=[Mismatch(quantity="y", step=0, index=[0], got=1.0, expected=2.0, allowed=0.1, ratio=ratio)],
    )
    return Result(
        requirement=requirement,
        revision=1,
        implementation=name,
        outcome=outcome,
        reason=f"y is off by {ratio} times its bound" if failing else "",
        worst_ratio=ratio,
        examples=Examples(total=10, passed=0 if failing else 10, failing=10 if failing else 0, evidence=10),
        counterexamples=[example] if failing else [],
    )


def write(folder: Path, day: int, found: Results) -> list[Path]:
    """Write a run's results as the environments' runs do."""
    file = folder / f"runs-{day}" / "all" / "results.jsonl.gz"
    store.write(file, found)
    return [file]


def add(
    folder: Path, day: int, cells: Cells | None = None, version: str = "2.1", names: tuple[str, ...] = NAMES
) -> Added:
    """Add a night to the history in a folder."""
    return History(folder / "history").add(write(folder, day, results(day, cells, version, names)))


def after(folder: Path, *nights: Cells, version: str = "2.1", names: tuple[str, ...] = NAMES) -> Night:
    """The last of several nights, beside those before it; version and names are the last one's."""
    for day, cells in enumerate(nights[:-1]):
        add(folder, day, cells)
    return night(History(folder / "history"), add(folder, len(nights) - 1, nights[-1], version, names))
