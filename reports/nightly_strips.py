"""The plots of the nightly page: a strip of nights for each implementation, and the trend of the worst ratios."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reports._format import count, listing, power_of_two, ratio
from reports._plots import Tick, position
from reports.history_digest import Digest, Row, ratios_of
from reports.nightly_changes import HELD, WINDOW

#: Exponents of two between which a trend is drawn.
SCALE = (-8, 0)
#: Height of a trend of an implementation, and of the trend of all, in units of the drawing.
LOW, HIGH = 16, 100
#: Failing cells of a night -> the class of its mark; more have the last.
KINDS = ("", "f1", "f2", "f3")
#: The class of a night without a run.
GAP = "gap"


class Mark(NamedTuple):
    """A version that changed, at a percentage of the strip's width."""

    left: float
    text: str


class Strip(NamedTuple):
    """An implementation's nights."""

    name: str
    about: str
    #: Class -> SVG path in a box as wide as there are nights and 1 high.
    paths: list[tuple[str, str]]
    marks: list[Mark]
    failing: int
    worst: str
    #: SVG path of the worst ratio among what holds, over the last nights.
    trend: str
    label: str


class Line(NamedTuple):
    """A curve of the trend of all cells."""

    kind: str
    word: str
    path: str
    now: str


class Trend(NamedTuple):
    """The ratios of all cells that hold, night by night."""

    lines: list[Line]
    ticks: list[Tick]
    width: int
    label: str


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def day(night: str) -> str:
    """A night's name for a reader in a hurry: ``21 Nov``."""
    return f"{int(night[6:8])} {_MONTHS[int(night[4:6]) - 1]}"


def when(night: str) -> str:
    """A night's name for a reader: ``21 Nov, 02:00``."""
    return f"{day(night)}, {night[9:11]}:{night[11:13]}"


class Group(NamedTuple):
    """The strips of an environment, and what all its implementations are of, where that is the same."""

    environment: str
    about: str
    strips: list[Strip]


def by_environment(nights: Sequence[Digest]) -> list[Group]:
    """The strips of all implementations of the last night, by environment; nights are given oldest first."""
    found: dict[str, list[Strip]] = {}
    for name in nights[-1].rows:
        environment = name.rpartition("@")[2] if "@" in name else ""
        found.setdefault(environment, []).append(strip(name, nights))
    return [_group(environment, strips) for environment, strips in found.items()]


def _group(environment: str, strips: list[Strip]) -> Group:
    abouts = {strip.about for strip in strips}
    if len(abouts) > 1 or len(strips) == 1:
        return Group(environment, "", strips)
    return Group(environment, abouts.pop(), [strip._replace(about="") for strip in strips])


def strip(name: str, nights: Sequence[Digest]) -> Strip:
    """An implementation's strip, and its trend over the last nights."""
    kinds = [_kind(digest, name) for digest in nights]
    marks = _marks(name, nights)
    tonight = nights[-1]
    bad = sum(kind in KINDS[1:] for kind in kinds)
    worst = [_worst(digest, name) for digest in nights[-WINDOW:]]
    about = tonight.about(name)
    said = [f"fails in {bad} of {count(len(nights), 'night')}", *(mark.text for mark in marks)]
    return Strip(
        name=name,
        about=f"{about.get('framework', '')} {about.get('version', '')}".strip(),
        paths=[(kind, path) for kind in (*KINDS[1:], GAP) if (path := _runs(kinds, kind))],
        marks=marks,
        failing=tonight.failing(name),
        worst="" if math.isnan(worst[-1]) else ratio(worst[-1]),
        trend=_curve(worst, LOW),
        label=", ".join(said),
    )


def _kind(digest: Digest, name: str) -> str:
    if not digest.ran(name):
        return GAP
    return KINDS[min(digest.failing(name), len(KINDS) - 1)]


def _marks(name: str, nights: Sequence[Digest]) -> list[Mark]:
    marks, before = [], None
    for place, digest in enumerate(nights):
        if not digest.ran(name):
            continue
        about = digest.about(name)
        now = about.get("version", "")
        if before is not None and now != before:
            text = f"{about.get('framework', '')} {before} → {now} on {day(digest.night)}".strip()
            marks.append(Mark(round(100 * (place + 0.5) / len(nights), 1), text))
        before = now
    return marks


def _runs(kinds: Sequence[str], kind: str) -> str:
    """Draw the nights of a kind, those next to each other as one."""
    path, start = "", None
    for place, each in enumerate([*kinds, None]):
        if each == kind and start is None:
            start = place
        elif each != kind and start is not None:
            path += f"M{start} 0h{place - start}v1h-{place - start}z"
            start = None
    return path


def _worst(digest: Digest, name: str) -> float:
    """The largest finite ratio among what holds; NaN where there is none."""
    row = digest.rows.get(name)
    if row is None:
        return math.nan
    held = _held(digest, [row])
    return float(held.max()) if held.size else math.nan


def _held(digest: Digest, rows: Sequence[Row]) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """The finite ratios of what holds."""
    ratios = np.concatenate([ratios_of(row) for row in rows]) if rows else np.empty(0, np.float32)
    codes = np.frombuffer(b"".join(row.outcomes for row in rows), np.uint8)
    held = np.isin(codes, [digest.outcomes.index(outcome) for outcome in HELD])
    return ratios[held & np.isfinite(ratios)]


def _curve(values: Sequence[float], height: int) -> str:
    """Draw ratios night by night on the log2 scale, the bound on top; nights without any are gaps."""
    points: list[tuple[int, int] | None] = []
    for place, value in enumerate(values):
        if math.isnan(value):
            points.append(None)
            continue
        exponent = math.log2(value) if value > 0 else -math.inf
        points.append((place, round(height * (1 - position(exponent, SCALE) / 100))))
    path = ""
    for place, point in enumerate(points):
        if point is None:
            continue
        before, after = points[place - 1] if place else None, points[place + 1] if place + 1 < len(points) else None
        level = before is not None and before[1] == point[1]
        # In the middle of a level stretch nothing need be drawn.
        if level and after is not None and after[1] == point[1]:
            continue
        path += f"H{point[0]}" if level else f"{'M' if before is None else 'L'}{point[0]} {point[1]}"
    return path


def trend(nights: Sequence[Digest]) -> Trend | None:
    """The worst ratio, the largest of 99 % and of half of all cells that hold, night by night."""
    shares = (("worst", "worst", 100.0), ("most", "99 % are below", 99.0), ("half", "half are below", 50.0))
    held = [_held(digest, list(digest.rows.values())) for digest in nights]
    if len(nights) < 2 or not held[-1].size:
        return None
    lines = []
    for kind, word, share in shares:
        values = [float(np.percentile(found, share)) if found.size else math.nan for found in held]
        lines.append(Line(kind, word, _curve(values, HIGH), ratio(values[-1])))
    low, high = SCALE
    ticks = [Tick(100 - position(e, SCALE), "bound" if e == 0 else power_of_two(e)) for e in range(low, high + 1, 2)]
    said = listing([f"{line.word} {line.now}" for line in lines])
    return Trend(lines, ticks, max(len(nights) - 1, 1), f"Error ÷ bound over {len(nights)} nights; tonight {said}")
