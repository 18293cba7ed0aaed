"""What the commands of ``bn-conformance env`` do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance import environments
from conformance._interpreters import MissingInterpreterError, find
from conformance.environments import CURRENT, BuildError, Environment
from conformance.targets import UsageError

Say = Callable[[str], None]


class Place(NamedTuple):
    """Where environments are listed, and where they are kept; None is the usual place."""

    file: Path | None
    cache: Path | None


def show(place: Place, say: Say) -> None:
    """Tell of each environment what it is, whether it is there, and what it can run."""
    listed, cache = environments.read(place.file), environments.cache_folder(place.cache)
    say(f"Environments of {listed.file}, kept in {cache}\n")
    for entry in listed.entries:
        say(f"{entry.name:18} Python {entry.python}, {', '.join(entry.requires)}")
        say(f"{'':18} {_state(entry, cache)}")
        say(f"{'':18} has {', '.join(entry.implementations)}")
        if entry.note:
            say(f"{'':18} {entry.note}")
    for label in listed.labels:
        say(f"{label:18} stands for {', '.join(listed.expand([label], here=False))}")
    say(f"\n`run --env {CURRENT}` means the interpreter that the suite itself runs in.")


def _state(entry: Environment, cache: Path) -> str:
    built = environments.existing(entry.recipe, cache)
    if built is not None:
        return f"built in {built.folder}, {_megabytes(built.folder)}, lock {built.digest}"
    try:
        found = find(entry.python, download=False)
    except MissingInterpreterError as error:
        return f"not built: {error}"
    return f"not built; Python {found.version} is found on {found.place}: {found.executable}"


def create(names: Sequence[str], place: Place, say: Say, *, upgrade: bool) -> int:
    """Build environments; return 3 if any could not be had, else 0."""
    listed, cache = environments.read(place.file), environments.cache_folder(place.cache)
    code = 0
    for name in listed.expand(_given(names), here=False):
        try:
            built = environments.build(listed.get(name).recipe, cache, upgrade=upgrade)
        except BuildError as error:
            say(f"{name}: no run: {error}")
            code = 3
            continue
        how = f"built in {built.seconds:.1f} s" if built.seconds else "was there"
        say(f"{name}: {how}, Python {built.version}, {len(built.lock)} distributions, {_megabytes(built.folder)}")
        say(f"  {built.folder}")
    return code


def remove(names: Sequence[str], place: Place, say: Say) -> None:
    """Delete environments with their locks."""
    listed, cache = environments.read(place.file), environments.cache_folder(place.cache)
    for name in listed.expand(_given(names), here=False):
        there = environments.remove(listed.get(name).recipe, cache)
        say(f"{name}: {'removed' if there else 'was not there'}")


def _given(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise UsageError("name the environments: `bn-conformance env list` tells them")
    return names


def _megabytes(folder: Path) -> str:
    return f"{environments.size(folder) / 1e6:,.0f} MB"
