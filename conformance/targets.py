"""The implementations that a user may ask for, by name or by import path, found without importing any framework."""

import difflib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from adapters.registry import GROUPS, REGISTRY, expand


class UsageError(Exception):
    """A request that makes no sense; the text names the offender and what would do."""


class Target(NamedTuple):
    """An implementation to run: its name in the report, and where its adapter is."""

    name: str
    target: str
    #: What must be installed for it, where that is known.
    module: str = ""
    extra: str = ""

    @property
    def missing(self) -> str:
        """Why it cannot run in this interpreter; empty where it can, or where only trying will tell."""
        if not self.module or importlib.util.find_spec(self.module) is not None:
            return ""
        return f'{self.module} is not installed here: pip install "bn-conformance[{self.extra}]"'

    @property
    def spelled(self) -> str:
        """What ``resolve`` makes this target of: the name of a registered one, else the import path."""
        return self.name if self.name in known_names() else self.target


def known_names() -> list[str]:
    """Names that ``resolve`` understands."""
    return [*(entry.name for entry in REGISTRY), *GROUPS]


def nearest(word: str, names: Iterable[str]) -> str:
    """What somebody who wrote ``word`` may have meant, as the end of a message."""
    known = list(names)
    close = difflib.get_close_matches(word.lower(), known, 3, 0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}."


def resolve(names: Iterable[str]) -> tuple[Target, ...]:
    """The implementations that these names and import paths stand for, in order and without repetition.

    Raises UsageError for what is neither, with the nearest names.
    """
    targets: dict[str, Target] = {}
    for name in names:
        if ":" in name:
            _add_class(name, targets)
            continue
        if name not in known_names():
            raise UsageError(
                f"no implementation is called {name!r}: {nearest(name, known_names())} "
                "An adapter of your own is named package.module:Class or path/to/file.py:Class."
            )
        for entry in expand(name):
            targets[entry.name] = Target(entry.name, entry.target, entry.module, entry.extra)
    return tuple(targets.values())


def _add_class(target: str, targets: dict[str, Target]) -> None:
    """Add an adapter class under its own name, or under its whole path where that name is taken."""
    from adapters.loader import AdapterError, is_file, split

    try:
        module, name = split(target)
    except AdapterError as error:
        raise UsageError(str(error)) from error
    if is_file(module) and not Path(module).is_file():
        raise UsageError(f"{target}: there is no file {module}")
    if all(known.target != target for known in targets.values()):
        taken = name in targets or name in known_names()
        targets[target if taken else name] = Target(target if taken else name, target)
