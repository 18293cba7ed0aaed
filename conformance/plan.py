"""What a run consists of: implementations, requirements, cases, and the options that all parts of it share."""

import difflib
import importlib.util
import re
from pathlib import Path
from typing import Literal, NamedTuple

from _pytest.mark.expression import Expression

from adapters.registry import GROUPS, REGISTRY, expand
from conformance.known_failures import KnownFailure
from conformance.pool import Pool
from conformance.requirements import CATALOGUE, Requirement
from conformance.strategies import FAMILIES

ProfileName = Literal["quick", "default", "nightly"]


class UsageError(Exception):
    """A request that makes no sense; the text names the offender and what would do."""


class Profile(NamedTuple):
    """How much a run does: cases per family, and seconds that explaining may take per implementation."""

    cases: int
    explaining: float


PROFILES: dict[str, Profile] = {
    "quick": Profile(60, 4.0),
    "default": Profile(200, 20.0),
    "nightly": Profile(2000, 120.0),
}


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
        return f"{self.module} is not installed here (extra {self.extra!r})"


class Plan(NamedTuple):
    """Everything that a unit of the run needs to know; it travels to the workers."""

    targets: tuple[Target, ...]
    #: Ids, in the catalogue's order.
    requirements: tuple[str, ...]
    pools: dict[int, Pool]
    out: Path
    known: tuple[KnownFailure, ...]
    explaining: float
    in_process: bool = False
    fail_fast: bool = False
    path: tuple[str, ...] = ()

    def requirements_of(self, family: int) -> list[Requirement]:
        """The requirements of a family that this run asks for."""
        return [CATALOGUE[id_] for id_ in self.requirements if CATALOGUE[id_].family == family]


def known_names() -> list[str]:
    """Names that ``resolve`` understands."""
    return [*(entry.name for entry in REGISTRY), *GROUPS]


def resolve(names: tuple[str, ...]) -> tuple[Target, ...]:
    """The implementations that these names and import paths stand for, in order and without repetition.

    Raises UsageError for a name that is neither, with the nearest names.
    """
    targets: dict[str, Target] = {}
    for name in names:
        if ":" in name:
            targets[_short(name, targets)] = Target(_short(name, targets), name)
            continue
        if name not in known_names():
            near = difflib.get_close_matches(name, known_names(), 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known_names())}"
            raise UsageError(
                f"no implementation is called {name!r}: {hint} "
                "An adapter of your own is named package.module:Class or path/to/file.py:Class."
            )
        for entry in expand(name):
            targets[entry.name] = Target(entry.name, entry.target, entry.module, entry.extra)
    return tuple(targets.values())


def _short(target: str, taken: dict[str, Target]) -> str:
    """The class name, or the whole import path where two classes are called the same."""
    name = target.rsplit(":", 1)[1]
    return target if name in taken or not name or name in known_names() else name


class _Matcher:
    """Answers the words of a ``-k`` expression as pytest does: a substring of any name, whatever its case."""

    def __init__(self, names: list[str]) -> None:
        self.text = [name.lower() for name in names]

    def __call__(self, word: str, /, **_: object) -> bool:
        return any(word.lower() in text for text in self.text)


def select(expression: str, targets: tuple[Target, ...]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The implementations and requirements that a ``-k`` expression selects (pytest's own grammar).

    It is matched against the requirement's id (BN-101 and BN_101), its name, its family's title and the
    implementation's name. Raises UsageError where it is no expression or matches nothing.
    """
    try:
        compiled = Expression.compile(re.sub(r"BN-(\d)", r"BN_\1", expression, flags=re.IGNORECASE))
    except SyntaxError as error:
        raise UsageError(f"-k {expression!r}: {error}") from error
    chosen = [
        (target, r.id)
        for target in targets
        for r in sorted_catalogue()
        if compiled.evaluate(_Matcher(keywords(r, target.name)))
    ]
    if not chosen:
        raise UsageError(f"-k {expression!r} selects nothing: see `bn-conformance list` for what there is")
    ids = {id_ for _, id_ in chosen}
    return tuple(dict.fromkeys(target for target, _ in chosen)), tuple(r.id for r in sorted_catalogue() if r.id in ids)


def sorted_catalogue() -> list[Requirement]:
    """All requirements in the order of their ids."""
    return [CATALOGUE[id_] for id_ in sorted(CATALOGUE)]


def keywords(requirement: Requirement, implementation: str) -> list[str]:
    """Names by which ``-k`` selects a requirement on an implementation."""
    title = FAMILIES[requirement.family].title
    identifier = requirement.id.replace("-", "_")
    return [identifier, requirement.name, requirement.check.__name__, title, implementation]
