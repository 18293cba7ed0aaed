"""The schema of the figures of training scenarios (``figures.json``), beside the results that they illustrate."""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import field

from reports.records import Number, Record
from reports.store import ResultsError

FILE_NAME = "figures.json"


class Curve(Record, frozen=True, kw_only=True):
    """A line of a plot; ``low`` and ``high``, where given, are the spread around it."""

    label: str
    x: list[float]
    y: list[Number]
    low: list[Number] = field(default_factory=list)
    high: list[Number] = field(default_factory=list)


class Panel(Record, frozen=True, kw_only=True):
    """A plot of a figure: panels stand side by side and share their axes."""

    title: str = ""
    curves: list[Curve]


class Strip(Record, frozen=True, kw_only=True):
    """Predicted classes, one after the other, and which of them are right."""

    label: str
    classes: list[int]
    right: list[bool]


class Figure(Record, frozen=True, kw_only=True):
    """A figure: plots or strips with what there is to be seen in them."""

    name: str
    title: str
    caption: str
    implementation: str = ""
    #: The requirement whose result it shows; empty for a demonstration.
    requirement: str = ""
    x_label: str = ""
    y_label: str = ""
    x_scale: Literal["linear", "log", "categories"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    #: Words for the places 0, 1, ... of an axis of categories.
    categories: list[str] = field(default_factory=list)
    #: Whether points are joined by lines: those of unordered categories are not.
    joined: bool = True
    #: The ends of the y axis, where they are not those of the curves.
    y_range: list[float] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    #: Numbers that the figure shows: name -> printed value.
    facts: dict[str, str] = field(default_factory=dict)


class Figures(Record, frozen=True, kw_only=True):
    """All figures of a run."""

    schema: int = 1
    data: str
    figures: list[Figure]


def beside(results: list[Path]) -> Figures | None:
    """The figures that lie beside results files, of all of them together; None where there are none."""
    parts = [read(path) for path in dict.fromkeys(file.with_name(FILE_NAME) for file in results) if path.is_file()]
    if not parts:
        return None
    data = ", ".join(dict.fromkeys(part.data for part in parts))
    return Figures(data=data, figures=[figure for part in parts for figure in part.figures])


def write(found: Figures, path: Path) -> None:
    """Write figures to a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))


def read(path: Path) -> Figures:
    """Read what ``write`` wrote. Raises ResultsError, naming the file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Figures)
    except OSError as error:
        raise ResultsError(path, f"cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ResultsError(path, f"holds no figures of scenarios: {error}") from error
