"""The implementations that a user may ask for, by name or by import path, found without importing any framework."""

import difflib
import importlib.util
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from adapters.naming import ADAPTER, KINDS, AdapterError, Options, parse
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
    needs: tuple[str, ...] = ()
    #: The environment that it runs in; empty for the interpreter of the suite.
    environment: str = ""
    #: The Python that it runs under, where not the suite's; an environment's is known once that is ready.
    python: str = ""
    #: An environment's variables for the host, and its facts for the report.
    variables: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    #: Why its environment cannot be had.
    unavailable: str = ""
    #: What the user says of a target that has no adapter.
    options: Options = Options()
    #: Another target of the run that computes as this one does, so that this one gets a sample of the cases.
    kin: str = ""
    #: Whether other targets of the run are its kin, so that the specs of its cases are worth sharing between families.
    heads: bool = False

    @property
    def missing(self) -> str:
        """Why it cannot run where it is to run; empty where it can, or where only trying will tell."""
        if self.unavailable or self.environment:
            return self.unavailable
        if not self.module or self.python:
            return ""
        absent = next((name for name in (self.module, *self.needs) if not _installed(name)), "")
        if absent and (absent != self.module or not self.extra):
            return f"{absent} is not installed here: an environment may have it, see `bn-conformance env list`"
        return f'{absent} is not installed here: pip install "bn-conformance[{self.extra}]"' if absent else ""

    @property
    def arguments(self) -> list[str]:
        """The options of the command line that say the same of it again."""
        told = [f"--map={theirs}={ours}" for theirs, ours in self.options.map]
        told += [f"--device={self.options.device}"] if self.options.device else []
        return told + ([f"--python={self.python}"] if self.python and not self.environment else [])

    @property
    def spelled(self) -> str:
        """What ``resolve`` makes this target of: the name of a registered one, else the import path."""
        if base_name(self.name) in known_names():
            return self.name
        return self.target + (f"@{self.environment}" if self.environment else "")


def told(
    targets: tuple[Target, ...], python: str = "", map_: Iterable[str] = (), device: str = ""
) -> tuple[Target, ...]:
    """The targets with what the user says of them: an interpreter, meanings of names, a device.

    Raises UsageError for what makes no sense.
    """
    pairs = []
    for text in map_:
        theirs, sign, ours = text.partition("=")
        if not sign or not theirs or not ours:
            raise UsageError(f"--map {text}: expected NAME=MEANING or NAME=VALUE, for instance eps=epsilon")
        pairs.append((theirs, ours))
    if python:
        found = shutil.which(Path(python).expanduser())
        if found is None:
            raise UsageError(
                f"--python {python}: there is no such program; expected an interpreter, as in venv/bin/python"
            )
        # Not resolved: a virtual environment's interpreter is a link, which says by its place what it is.
        python = str(Path(found).absolute())
    clash = next((t.name for t in targets if t.environment and python), "")
    if clash:
        raise UsageError(f"--python cannot be combined with the environment of {clash}")
    options = Options(tuple(pairs), device)
    return tuple(t._replace(python=python or t.python, options=options) for t in targets)


def _installed(module: str) -> bool:
    """Whether a module can be imported, found out without importing the package that it is in."""
    package, _, rest = module.partition(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not rest:
        return spec is not None
    return any(Path(folder, *rest.split(".")).is_dir() for folder in spec.submodule_search_locations or [])


def base_name(name: str) -> str:
    """The name of an implementation without that of its environment: "torch" of "torch@torch1.4"."""
    return _split(name)[0]


def _split(name: str) -> tuple[str, str]:
    """A name and the environment behind its last "@", empty where there is none."""
    base, at, environment = name.rpartition("@")
    return (base, environment) if at and not {":", "/"} & set(environment) else (name, "")


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

    Each may end in ``@`` and the name of an environment. Raises UsageError for what is neither, with the nearest names.
    """
    targets: dict[str, Target] = {}
    for spelled in names:
        name, environment = _split(spelled)
        if ":" in name:
            _add_class(name, environment, targets)
            continue
        if name not in known_names():
            raise UsageError(
                f"no implementation is called {name!r}: {nearest(name, known_names())} "
                f"An adapter of your own is named {ADAPTER}; code without one by its kind ({', '.join(KINDS)}), "
                "as in torch:package.module:Class."
            )
        for entry in expand(name):
            full = entry.name + (f"@{environment}" if environment else "")
            targets[full] = Target(full, entry.target, entry.module, entry.extra, entry.needs, environment)
    return tuple(targets.values())


def _add_class(target: str, environment: str, targets: dict[str, Target]) -> None:
    """Add somebody's own code under its own name, or under its whole path where that name is taken."""
    try:
        reference = parse(target)
    except AdapterError as error:
        raise UsageError(str(error)) from error
    if reference.file and not Path(reference.file).is_file():
        raise UsageError(f"{target}: there is no file {reference.file}")
    name = reference.label
    if all((known.target, known.environment) != (target, environment) for known in targets.values()):
        suffix = f"@{environment}" if environment else ""
        taken = name + suffix in targets or name in known_names()
        full = (target if taken else name) + suffix
        targets[full] = Target(full, target, environment=environment)
