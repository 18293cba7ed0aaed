"""What a run consists of: implementations, requirements, cases, and the options that all parts of it share."""

from pathlib import Path
from typing import Literal, NamedTuple

from conformance.conversation import Timeouts
from conformance.families import FAMILIES
from conformance.known_failures import KnownFailure
from conformance.pool import Larder, Pool
from conformance.requirements import CATALOGUE, Requirement
from conformance.targets import Target, UsageError, nearest

ProfileName = Literal["quick", "default", "nightly"]


class Profile(NamedTuple):
    """How much a run does: cases per family, seconds that explaining may take, and further cases that are sought.

    Seconds and sought cases are per implementation; cases are sought (see ``conformance.seek``) in each family.
    """

    cases: int
    explaining: float
    sought: int = 0
    #: Whether a sample of the cases is enough for what computes as another implementation of the run does.
    samples: bool = False


PROFILES: dict[ProfileName, Profile] = {
    "quick": Profile(60, 4.0, samples=True),
    "default": Profile(150, 20.0),
    "nightly": Profile(1000, 120.0, sought=150),
}


#: Seconds that explaining may take where the first failure ends the run: whoever asks for that wants to know soon.
SHORT_EXPLAINING = 0.25


class Plan(NamedTuple):
    """Everything that a unit of the run needs to know; it travels to the workers."""

    targets: tuple[Target, ...]
    #: Ids, in the catalogue's order.
    requirements: tuple[str, ...]
    #: The cases by family; empty until they are drawn.
    pools: dict[int, Pool]
    #: Folder for the results and the failing cases.
    out: Path
    known: tuple[KnownFailure, ...] = ()
    #: Seconds per implementation.
    explaining: float = 0.0
    #: Cases per implementation and family that are sought for their large errors.
    sought: int = 0
    #: Folder of case files that are run as well.
    kept: Path | None = None
    in_process: bool = False
    #: Threads of a host's numerical libraries.
    threads: int = 1
    fail_fast: bool = False
    #: The rest of the cases by family, where ``pools`` are only a first helping.
    further: Larder | None = None
    #: Folders to import adapters from.
    path: tuple[str, ...] = ()
    timeouts: Timeouts = Timeouts()

    @property
    def families(self) -> tuple[int, ...]:
        """The families that have a requirement in this run."""
        return tuple(sorted({CATALOGUE[id_].family for id_ in self.requirements}))

    @property
    def catalogue(self) -> list[Requirement]:
        """The requirements that this run asks for."""
        return [CATALOGUE[id_] for id_ in self.requirements]


def sorted_catalogue() -> list[Requirement]:
    """All requirements in the order of their ids."""
    return [CATALOGUE[id_] for id_ in sorted(CATALOGUE)]


def keywords(requirement: Requirement, implementation: str) -> list[str]:
    """Names by which ``-k`` selects a requirement on an implementation, here and in pytest."""
    title = FAMILIES[requirement.family].title
    identifier = requirement.id.replace("-", "_")
    return [requirement.id, identifier, requirement.name, requirement.check.__name__, title, implementation]


class _Matcher:
    """Answers the words of a ``-k`` expression as pytest does: a substring of any name, whatever its case."""

    def __init__(self, names: list[str]) -> None:
        self.text = [name.lower() for name in names]

    def __call__(self, word: str, /, **_: object) -> bool:
        return any(word.lower() in text for text in self.text)


def select(expression: str, targets: tuple[Target, ...]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The implementations and requirements that a ``-k`` expression selects (pytest's own grammar).

    Every requirement selected on one of the implementations runs on all of them: a report has no holes. Raises
    UsageError where it is no expression or matches nothing.
    """
    # Imported here since it is slow. It is private to pytest, but there is no other way to have its very grammar.
    from _pytest.mark.expression import Expression

    try:
        compiled = Expression.compile(expression)
    except SyntaxError as error:
        raise UsageError(f"-k {expression!r}: {error.msg} (column {error.offset})") from error
    catalogue = sorted_catalogue()
    chosen = [
        (target, r.id) for target in targets for r in catalogue if compiled.evaluate(_Matcher(keywords(r, target.name)))
    ]
    if not chosen:
        raise UsageError(f"-k {expression!r} selects nothing: see `bn-conformance list` for what there is")
    ids = {id_ for _, id_ in chosen}
    return tuple(dict.fromkeys(target for target, _ in chosen)), tuple(r.id for r in catalogue if r.id in ids)


def check_known(known: tuple[KnownFailure, ...], file: Path) -> None:
    """Raise UsageError for an entry that no run can ever match, since there is no such requirement.

    An implementation may be anybody's, and one that takes no part in this run: its name is not checked.
    """
    for number, entry in enumerate(known, 1):
        if entry.requirement not in CATALOGUE and entry.requirement not in _scenarios():
            hint = nearest(entry.requirement, (r.id for r in sorted_catalogue()))
            raise UsageError(
                f"{file}: entry {number} matches nothing: no requirement is called {entry.requirement!r}; {hint}"
            )


def _scenarios() -> set[str]:
    """The ids of the requirements on training; their modules are imported where somebody asks for one."""
    from conformance.scenarios.judging import catalogue

    return {scenario.info.id for scenario in catalogue()}
