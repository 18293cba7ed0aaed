"""Framework environments: what ``environments.toml`` lists, and implementations made ready to run in them."""

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

import conformance
from adapters.registry import GROUPS, REGISTRY
from conformance._builds import BuildError, Built, Recipe, build, cache_folder, existing, remove, size
from conformance.targets import Target, UsageError, base_name, known_names, nearest, resolve

__all__ = ["CURRENT", "BuildError", "Built", "Environment", "build", "cache_folder", "existing", "remove", "size"]

FILE_NAME = "environments.toml"
#: The interpreter that the suite itself runs in.
CURRENT = "current"
#: Stands for all environments of the file.
ALL = "all"
Tell = Callable[[str], None]


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file."""

    name: str
    python: str
    requires: tuple[str, ...]
    implementations: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    #: Environment variables of its processes.
    variables: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    #: What is worth knowing of it.
    note: str = ""

    @property
    def recipe(self) -> Recipe:
        """What it is built from."""
        return Recipe(self.name, self.python, self.requires, self.overrides)


class Environments(NamedTuple):
    """All entries of a file."""

    file: Path
    entries: tuple[Environment, ...]

    def get(self, name: str) -> Environment:
        """The entry of that name, which is one of ``names``."""
        return next(e for e in self.entries if e.name == name)

    @property
    def names(self) -> list[str]:
        """In the file's order."""
        return [e.name for e in self.entries]

    @property
    def labels(self) -> list[str]:
        """Names that stand for several environments."""
        return [*dict.fromkeys(label for e in self.entries for label in e.labels), ALL]

    def expand(self, names: Iterable[str], *, here: bool = True) -> tuple[str, ...]:
        """The environments that names and labels stand for; UsageError for what is neither.

        "current" is the interpreter that the suite runs in; where that makes no sense, ``here`` is False, and it is a
        label.
        """
        found: list[str] = []
        for name in names:
            if name in self.names or (here and name == CURRENT):
                found.append(name)
            elif name in self.labels:
                found += [e.name for e in self.entries if name == ALL or name in e.labels]
            else:
                hint = nearest(name, [CURRENT, *self.names, *self.labels])
                raise UsageError(f"no environment is called {name!r} in {self.file}: {hint}")
        return tuple(dict.fromkeys(found))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    environment: list[Environment] = []


def default_file() -> Path:
    """The file in the current folder, else the one that comes with the suite."""
    package = Path(conformance.__file__).parent
    places = [Path(FILE_NAME), package.parent / FILE_NAME, package / FILE_NAME]
    return next((place for place in places if place.is_file()), places[0])


def read(file: Path | None = None) -> Environments:
    """Read a file of environments; raises UsageError where it makes no sense."""
    file = file or default_file()
    try:
        entries = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _File).environment
    except FileNotFoundError:
        return Environments(file, ())
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"{file}: {error}") from error
    known = [entry.name for entry in REGISTRY] + list(GROUPS)
    for entry in entries:
        for name in entry.implementations:
            if name not in known:
                raise UsageError(f"{file}: {entry.name} has no implementation {name!r}: {nearest(name, known)}")
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names) or {CURRENT, ALL} & set(names):
        raise UsageError(f"{file}: every environment needs a name of its own, and none is {CURRENT!r} or {ALL!r}")
    return Environments(file, tuple(entries))


def members(environment: Environment) -> tuple[str, ...]:
    """The names of the implementations that it has, groups expanded."""
    return tuple(target.name for target in resolve(environment.implementations))


def spread(names: Iterable[str], chosen: Iterable[str], here: Iterable[str], listed: Environments) -> tuple[str, ...]:
    """Names as ``resolve`` takes them, for implementations in the chosen environments.

    Where none is named, each environment's own, and ``here`` those of the current one. An environment without a named
    implementation is left out; UsageError where no environment has it, and for what no implementation is called.
    """
    asked = tuple(dict.fromkeys(names))
    found: list[str] = []
    placed: set[str] = set()
    for environment in listed.expand(chosen):
        has = known_names() if environment == CURRENT else [*members(listed.get(environment))]
        for name in asked or (tuple(here) if environment == CURRENT else has):
            targets = resolve([name])
            mine = [t for t in targets if t.name in has or ":" in name]
            placed |= {name} if mine else set()
            suffix = "" if environment == CURRENT else f"@{environment}"
            found += [(t.target if ":" in name else t.name) + suffix for t in mine]
    for name in asked:
        if name not in placed:
            where = ", ".join(e.name for e in listed.entries if {t.name for t in resolve([name])} & set(members(e)))
            raise UsageError(f"none of the chosen environments has {name}: " + (f"{where} would" if where else "none"))
    return tuple(found)


def check(targets: Iterable[Target], listed: Environments) -> None:
    """Raise UsageError for a target in an environment that does not exist, or that does not have it."""
    for target in targets:
        if target.environment:
            (name,) = listed.expand([target.environment])
            has = members(listed.get(name))
            if target.module and base_name(target.name) not in has:
                raise UsageError(f"{name} has no {base_name(target.name)}; it has {', '.join(has)}")


def ready(targets: Iterable[Target], listed: Environments, cache: Path, tell: Tell) -> tuple[Target, ...]:
    """The targets with the Python of their environments, each of which is built where it is not there yet.

    Where that fails, its targets carry the reason, and the others run.
    """
    made: dict[str, Built | str] = {}
    found = []
    for target in targets:
        if not target.environment:
            found.append(target)
            continue
        if target.environment not in made:
            made[target.environment] = _made(listed.get(target.environment), cache, tell)
        found.append(_in(target, listed.get(target.environment), made[target.environment]))
    return tuple(found)


def _made(environment: Environment, cache: Path, tell: Tell) -> Built | str:
    if existing(environment.recipe, cache) is None:
        tell(f"building environment {environment.name}: {', '.join(environment.requires)}")
    try:
        return build(environment.recipe, cache)
    except BuildError as error:
        tell(f"no run in {environment.name}: {error}")
        return str(error)


def _in(target: Target, environment: Environment, made: Built | str) -> Target:
    if isinstance(made, str):
        return target._replace(unavailable=made)
    facts = {
        "environment": f"{environment.name}: {', '.join(environment.requires)}",
        "lock": f"{made.digest} ({len(made.lock)} distributions)",
    }
    variables = tuple(sorted(environment.variables.items()))
    return target._replace(python=str(made.python), variables=variables, facts=tuple(facts.items()))


def results_below(place: Path) -> list[Path]:
    """The results files that runs have left in a folder and right below it, in the order of the environments.

    A file, or a folder without any, stands for itself.
    """
    names = [folder.name for folder in sorted(place.iterdir()) if folder.is_dir()] if place.is_dir() else []
    order = read().names if names else []
    names.sort(key=lambda name: order.index(name) if name in order else -1)
    found = [file for name in ["", *names] if (file := place / name / "results.jsonl.gz").is_file()]
    return found or [place]
