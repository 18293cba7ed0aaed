"""The schema of what `bn-conformance mutants` writes: a header, one line per exhibit and a footer, as JSON lines."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from reports.records import Number, Record, RequirementInfo

#: What an exhibit came to, worst first.
Fate = Literal["survivor", "false alarm", "caught elsewhere", "caught", "passes"]
FATES: tuple[Fate, ...] = get_args(Fate)
#: Those that the suite must not leave.
WRONG: frozenset[Fate] = frozenset({"survivor", "false alarm"})


class Kill(Record, frozen=True, kw_only=True):
    """The first case on which a requirement failed."""

    requirement: str
    #: Cases of the exhibit run until then, this one included, and the seconds they took.
    cases: int
    seconds: float
    #: Error / bound; infinite where the program broke or something was false to the bit.
    ratio: Number
    message: str = ""


class Margin(Record, frozen=True, kw_only=True):
    """The example on which a quantity came closest to its bound: error / bound, up to 1."""

    quantity: str
    requirement: str
    ratio: Number


class Exhibit(Record, frozen=True, kw_only=True, tag="exhibit"):
    """A faulty implementation, or a correct variant, and what the requirements made of it."""

    name: str
    target: str
    description: str
    theme: str
    faulty: bool
    fate: Fate
    #: The requirements that must catch it.
    named: list[str]
    #: In the order in which they came.
    kills: list[Kill]
    family: str = ""
    #: Where the fault is known from.
    reference: str = ""
    cases: int = 0
    checks: int = 0
    seconds: float = 0.0
    #: Of a correct variant: each quantity's smallest margin, the smallest of all first.
    margins: list[Margin] = msgspec.field(default_factory=list)


class MutantsHeader(Record, frozen=True, kw_only=True, tag="header"):
    """The first line."""

    started: str
    suite_version: str
    profile: str
    seed: int
    cases_per_family: int
    #: Cases per family that every fault sees, before those caught by all that name them are let go.
    seen: int
    requirements: list[RequirementInfo]
    environment: dict[str, str]
    command: str = ""


class MutantsFooter(Record, frozen=True, kw_only=True, tag="footer"):
    """The last line: a file without it is incomplete."""

    seconds: float
    drawing: float
    workers: int
    exit_code: int


MutantLine = MutantsHeader | Exhibit | MutantsFooter
_TaggedLine = Annotated[MutantLine, msgspec.Meta(title="Line of a file of bn-conformance mutants")]


class Mutants(Record, frozen=True, kw_only=True):
    """A whole run over the zoo in memory."""

    header: MutantsHeader
    exhibits: list[Exhibit]
    footer: MutantsFooter

    def lines(self) -> list[MutantLine]:
        """What the file holds."""
        return [self.header, *self.exhibits, self.footer]


def write(mutants: Mutants, path: Path) -> None:
    """Write all lines."""
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in mutants.lines()))


def read(path: Path) -> Mutants:
    """Read what ``write`` wrote; raises msgspec.ValidationError or ValueError for anything else."""
    lines = [msgspec.json.decode(line, type=_TaggedLine) for line in path.read_bytes().splitlines()]
    headers = [line for line in lines if isinstance(line, MutantsHeader)]
    footers = [line for line in lines if isinstance(line, MutantsFooter)]
    if len(headers) != 1 or len(footers) != 1:
        raise ValueError(f"{path} is no whole file of bn-conformance mutants")
    return Mutants(header=headers[0], exhibits=[e for e in lines if isinstance(e, Exhibit)], footer=footers[0])


def exit_code(exhibits: list[Exhibit]) -> int:
    """0 where nothing survived and nothing correct was flagged."""
    return int(any(exhibit.fate in WRONG for exhibit in exhibits))
