"""Known failures: requirement, implementation, versions and reason of what is known to fail, read from one file."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

import conformance
from conformance.targets import Target, base_name
from reports.records import Outcome

FILE_NAME = "known_failures.toml"
#: Registered implementations that are also to be had as code without an adapter: what is known of them is known of it.
SAME = {
    "torch:torch.nn:BatchNorm1d": "torch",
    "torch:torch.nn:BatchNorm2d": "torch",
    "torch:torch.nn:BatchNorm3d": "torch",
    "torch-function:torch.nn.functional:batch_norm": "torch",
    "keras:keras.layers:BatchNormalization": "keras",
}


class KnownFailureError(Exception):
    """A file of known failures that cannot be used; the text names the file and the entry."""


class KnownFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: this requirement fails on this implementation in these versions, for this reason.

    "torch" speaks of torch in every environment, "torch@torch1.4" of that one alone.
    """

    requirement: str
    implementation: str
    reason: str
    url: str
    #: Versions of the framework, as in a requirement of pip: ">=2.1,<2.3". Empty: all.
    versions: str = ""
    #: Element types of x in which it fails; a failure in any other is none of it. Empty: all.
    dtypes: tuple[str, ...] = ()
    #: Whether it fails only where an input is not in C order; a failure where all are is none of it.
    layouts: bool = False
    #: Whether it fails only where an input holds infinity or NaN; a failure where none does is none of it.
    nonfinite: bool = False
    #: Whether it fails only where a moving statistic was infinite, as set or as read; other failures are none of it.
    infinite_statistics: bool = False
    #: Whether every run shows it. Where only some data do, a run without the failure does not make the entry stale.
    always: bool = True

    def covers(self, requirement: str, implementation: str, version: str) -> bool:
        """Whether the entry speaks of this requirement on this implementation in this version."""
        if self.requirement != requirement or self.implementation not in (implementation, base_name(implementation)):
            return False
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return not self.versions


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An entry as it is written: one reason may speak of several requirements and implementations."""

    requirement: str | list[str]
    implementation: str | list[str]
    reason: str
    url: str
    versions: str = ""
    dtypes: tuple[str, ...] = ()
    layouts: bool = False
    nonfinite: bool = False
    infinite_statistics: bool = False
    always: bool = True

    def each(self) -> list[KnownFailure]:
        """The entry for each requirement on each implementation."""
        return [
            KnownFailure(
                *(requirement, implementation, self.reason, self.url, self.versions, self.dtypes),
                layouts=self.layouts,
                nonfinite=self.nonfinite,
                infinite_statistics=self.infinite_statistics,
                always=self.always,
            )
            for implementation in _several(self.implementation)
            for requirement in _several(self.requirement)
        ]


def _several(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


class _File(msgspec.Struct, forbid_unknown_fields=True):
    known_failure: list[_Entry] = []


def read(path: Path) -> tuple[KnownFailure, ...]:
    """Read the entries of a file; a file that is not there has none."""
    if not path.exists():
        return ()
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).known_failure
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise KnownFailureError(f"{path}: {error}") from error
    for number, entry in enumerate(entries, 1):
        try:
            SpecifierSet(entry.versions)
        except InvalidSpecifier as error:
            raise KnownFailureError(f"{path}: entry {number} ({entry.requirement}): {error}") from error
    return tuple(one for entry in entries for one in entry.each())


def allowed(
    known: KnownFailure | None, dtypes: Iterable[str], plain: int = 0, finite: int = 0, finite_statistics: int = 0
) -> bool:
    """Whether failures in these element types, so many on plain memory, finite inputs and statistics, are all known."""
    if known is None or (known.layouts and plain) or (known.nonfinite and finite):
        return False
    if known.infinite_statistics and finite_statistics:
        return False
    return not known.dtypes or set(dtypes) <= set(known.dtypes)


def weighed(outcome: Outcome, reason: str, known: KnownFailure | None, *, covered: bool) -> tuple[Outcome, str]:
    """What an outcome becomes in the light of an entry; ``covered``: whether it allows for all that has failed."""
    if known is None:
        return outcome, reason
    where = f"{known.reason} ({known.url})"
    if outcome in ("fail", "error", "crash", "timeout"):
        if not covered:
            return outcome, f"{reason} (also beyond the element types, layouts or inputs of the known failure)"
        return "known failure", where
    if outcome in ("pass", "deviates", "unsupported") and known.always:
        return "stale known failure", f"listed as known to fail, yet it does not: {where}"
    return outcome, reason


def default_file() -> Path:
    """The file in the current folder, else the one that comes with the suite."""
    package = Path(conformance.__file__).parent
    places = [Path(FILE_NAME), package.parent / FILE_NAME, package / FILE_NAME]
    return next((place for place in places if place.exists()), places[0])


def find(entries: tuple[KnownFailure, ...], requirement: str, implementation: str, version: str) -> KnownFailure | None:
    """The first entry that covers this, if any."""
    return next((e for e in entries if e.covers(requirement, implementation, version)), None)


def find_for(entries: tuple[KnownFailure, ...], requirement: str, target: Target, version: str) -> KnownFailure | None:
    """The same for what somebody asked to run: a framework's own layer without an adapter is known by its name.

    Of that less may be asked than of the adapter, so that a failure that is missing makes no entry stale.
    """
    found = find(entries, requirement, target.name, version)
    if found is None and target.target in SAME:
        found = find(entries, requirement, SAME[target.target], version)
        return None if found is None else msgspec.structs.replace(found, always=False)
    return found
