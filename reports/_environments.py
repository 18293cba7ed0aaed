"""Tells environments and versions apart: which implementations ran where, and which are the same one elsewhere."""

import re
from typing import NamedTuple

from reports._grid import Grid
from reports._text import about
from reports.records import Implementation

#: What the environment of the suite's own interpreter is called.
HERE = "current"


class Place(NamedTuple):
    """An environment with the implementations that ran in it, by their number among all."""

    name: str
    about: str
    columns: list[int]


def split(name: str) -> tuple[str, str]:
    """Return an implementation's name without its environment, and that, as in ``torch@torch1.4``."""
    base, at, environment = name.rpartition("@")
    return (base, environment) if at and not {":", "/"} & set(environment) else (name, HERE)


def environments(grid: Grid) -> list[Place]:
    """Return the environments in the order in which they come."""
    places: dict[str, list[int]] = {}
    for number, who in enumerate(grid.implementations):
        places.setdefault(split(who.name)[1], []).append(number)
    return [
        Place(name, _about([grid.implementations[n] for n in columns]), columns) for name, columns in places.items()
    ]


def part(grid: Grid, columns: list[int]) -> Grid:
    """Return the grid of some implementations only."""
    return grid._replace(implementations=[grid.implementations[number] for number in columns])


def _about(members: list[Implementation]) -> str:
    versions = dict.fromkeys(f"{who.framework} {who.version}".strip() for who in members if who.version)
    pythons = dict.fromkeys(f"Python {who.python}" for who in members if who.python)
    return ", ".join([*versions, *pythons])


def across_versions(grid: Grid) -> dict[str, list[Implementation]]:
    """Return the implementations that ran in several environments, by name, from the oldest version to the newest."""
    members: dict[str, list[Implementation]] = {}
    for who in grid.implementations:
        members.setdefault(split(who.name)[0], []).append(who)
    return {name: sorted(found, key=_order) for name, found in members.items() if len(found) > 1}


def _order(who: Implementation) -> tuple[tuple[int, ...], str]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", who.version)), who.name


def version(who: Implementation) -> str:
    """Return what tells an implementation from the same one in another environment."""
    return f"{who.framework} {who.version}".strip() or about(who) or split(who.name)[1]
