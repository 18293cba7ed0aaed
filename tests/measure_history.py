"""Measures the history's speed on made-up nights: 365 of 20 environments x 15 implementations x 40 requirements.

    python -m tests.measure_history [--nights N] [--folder FOLDER]

The folder is kept, so that the pages can be looked at and measured again; without one it is a temporary one.
"""

import argparse
import datetime as dt
import gzip
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from reports import nightly
from reports.history import History
from reports.nightly_changes import night
from reports.records import Examples, Footer, Header, Histogram, Implementation, Outcome, RequirementInfo, Result

ENVIRONMENTS, IMPLEMENTATIONS, REQUIREMENTS = 20, 15, 40
T = TypeVar("T")
FIRST = dt.datetime(2026, 1, 1, 2, 0, tzinfo=dt.UTC)
FRAMEWORKS = ("tensorflow", "keras", "torch", "jax", "onnxruntime")
ENCODE = msgspec.json.Encoder().encode
INFOS = [
    RequirementInfo(
        id=f"BN-{1 + n // 5}{n % 5 + 1:02d}",
        name=f"requirement_{n}",
        claim="The output is that of the definition.",
        source="Ioffe & Szegedy 2015",
        revision=1,
        family=f"{1 + n // 5}xx",
        family_title=f"Family {1 + n // 5}",
    )
    for n in range(REQUIREMENTS)
]


class Cells:
    """All cells over time: a steady ratio each, with noise, and now and then another outcome."""

    def __init__(self) -> None:
        self.draw = random.Random(365)
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.ratios: dict[tuple[str, str], float] = {}
        self.versions: dict[str, int] = {}

    def result(self, requirement: str, name: str) -> Result:
        """Tonight's result of a cell: a thousandth of them breaks, a tenth of what is broken is mended."""
        key, draw = (requirement, name), self.draw
        ratio = self.ratios.setdefault(key, 2 ** draw.uniform(-7, -0.7))
        outcome = self.outcomes.setdefault(key, draw.choices(("pass", "fail", "deviates"), (97, 1, 2))[0])
        broken = outcome in ("fail", "error")
        if draw.random() < (0.1 if broken else 0.001):
            outcome = self.outcomes[key] = "pass" if broken else draw.choice(("fail", "error"))
        worst = ratio * draw.uniform(0.9, 1.1) * (40 if outcome == "fail" else 1)
        return Result(
            requirement=requirement,
            revision=1,
            implementation=name,
            outcome=outcome,
            worst_ratio=worst,
            decided_by="prob",
            examples=Examples(total=2000, passed=1990, not_applicable=10, evidence=1900),
            evidence_by_dtype={"float32": [1500, 1450], "float64": [490, 450]},
            histogram=Histogram(low=-20, counts=[3, 9, 40, 200, 500, 700, 420, 100, 20, 8], exact=3),
            seconds=draw.random(),
        )


def names(environment: int) -> list[str]:
    """The implementations of an environment."""
    return [f"implementation_{n}@env{environment}" for n in range(IMPLEMENTATIONS)]


def write_night(number: int, cells: Cells, folder: Path) -> list[Path]:
    """Write a night's results files."""
    files = []
    for environment in range(ENVIRONMENTS):
        framework = FRAMEWORKS[environment % len(FRAMEWORKS)]
        version = cells.versions.setdefault(str(environment), 0)
        if cells.draw.random() < 0.02:
            cells.versions[str(environment)] = version + 1
        who = [
            Implementation(
                name=name,
                framework=framework,
                version=f"2.{version}.0",
                device="cpu",
                python="3.11.7",
                details={"NumPy": "2.4.6", "lock": f"{environment:06x}{version:06x} (40 distributions)"},
            )
            for name in names(environment)
        ]
        header = Header(
            run=f"night-{number}",
            started=(FIRST + dt.timedelta(days=number, minutes=environment)).isoformat(timespec="seconds"),
            suite_version="0.1.0",
            profile="nightly",
            seed=number,
            cases_per_family=2000,
            environment={"Machine": "Linux 6.12, x86_64, 2 cores", "Python": "3.11.7", "NumPy": "2.4.6"},
            implementations=who,
            requirements=INFOS,
        )
        lines = [header, *(cells.result(info.id, i.name) for info in INFOS for i in who), FOOTER]
        place = folder / f"env{environment}" / "results.jsonl.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(gzip.compress(b"".join(ENCODE(line) + b"\n" for line in lines), 1, mtime=0))
        files.append(place)
    return files


FOOTER = Footer(
    complete=True,
    exit_code=1,
    seconds_total=900.0,
    seconds_framework=400.0,
    seconds_import=5.0,
    seconds_drawing=10.0,
    seconds_judging=400.0,
    seconds_explaining=50.0,
    seconds_other=35.0,
    cases=16_000,
    steps=50_000,
    checks=400_000,
    workers=2,
    peak_memory_mib=900.0,
)


def megabytes(folder: Path, name: str) -> float:
    """What the files of that name take."""
    return sum(file.stat().st_size for file in folder.rglob(name)) / 1e6


def main() -> None:
    """Make the nights, then measure the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        history, cells = History(folder / "history"), Cells()
        adding = []
        for number in range(asked.nights):
            files = write_night(number, cells, folder / "runs")
            adding.append(timed(lambda files=files: history.add(files))[0])  # type: ignore[misc]
            if number % 30 == 0:
                print(f"night {number} added in {adding[-1]}", file=sys.stderr)
        print(f"adding the last night: {adding[-1]}; slowest of all: {max(adding)}")
        added = history.night(history.nights()[-1])
        seconds, page = timed(lambda: nightly.render(night(history, added)))
        print(f"nightly page: {seconds}, {len(page.encode()) / 1000:.0f} kB")
        (folder / "nightly.html").write_text(page, encoding="utf-8")
        seconds, digests = timed(lambda: list(history.digests()))
        print(f"reading {len(digests)} digests: {seconds}")
        sizes = [megabytes(history.folder, name) for name in ("*.jsonl.gz", "digest.*")]
        print(f"results {sizes[0]:.0f} MB, digests {sizes[1]:.1f} MB")


class Seconds(NamedTuple):
    """How long something took, on the clock and of a processor."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f} s of a processor)"


def timed(do: Callable[[], T]) -> tuple[Seconds, T]:
    """Do something and say how long it took."""
    wall, processor = time.perf_counter(), time.process_time()
    result = do()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor), result


if __name__ == "__main__":
    main()
