"""The catalogue of family 9xx: requirements on training, and demonstrations, which are never red or green."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from reports.records import RequirementInfo
from reports.scenario_records import Figure

if TYPE_CHECKING:
    from conformance.scenarios.lab import Lab

FAMILY, FAMILY_TITLE = "9xx", "Training scenarios"
#: The five documents that the scenarios come from, as reports name them.
WRAPPER = "Implementing Batch Normalization in TensorFlow (R2RT, 2016)"
GUIDE = "A Gentle Guide to Using Batch Normalization in TensorFlow (Rui Shu, 2016)"
HELPER = "ConvolutionalBatchNormalizer (dga, 2015)"
NOTES = "Batch normalization (neverset, 2020)"
LAB = "Lab: Batchnormalization Layer (model and solver)"


class Evidence(NamedTuple):
    """What one example came to: its largest error over its bound, and whether that bound could show a fault."""

    ratio: float
    evidence: bool = True
    #: The same against a proven bound, where there is one.
    proven: float | None = None
    #: What is to be said where the ratio exceeds one.
    message: str = ""


class Scenario(NamedTuple):
    """A requirement on training: a function that runs it on an implementation and says what came out."""

    info: RequirementInfo
    run: Callable[["Lab"], list[Evidence]]
    decided_by: Literal["prob", "worst", "exact", "stated"]


class Demonstration(NamedTuple):
    """An experiment that gives figures; ``quick`` where the quick profile has it, too."""

    name: str
    run: Callable[["Lab"], list[Figure]]
    quick: bool


SCENARIOS: dict[str, Scenario] = {}
DEMONSTRATIONS: dict[str, Demonstration] = {}
_ID = re.compile(r"BN-9\d\d")


def scenario(
    id_: str, *, source: str, decided_by: Literal["prob", "worst", "exact", "stated"]
) -> Callable[[Callable[["Lab"], list[Evidence]]], Callable[["Lab"], list[Evidence]]]:
    """Add the decorated function to the catalogue; its docstring is the claim, in one sentence.

    ``decided_by``: the kind of bound; "stated" is a tolerance that the claim itself states.
    """

    def add(run: Callable[["Lab"], list[Evidence]]) -> Callable[["Lab"], list[Evidence]]:
        claim = " ".join((run.__doc__ or "").split())
        if not _ID.fullmatch(id_) or id_ in SCENARIOS or not claim:
            raise ValueError(f"{run.__name__}: {id_!r} is no free id of the family, or nothing is claimed")
        name = run.__name__.replace("_", " ")
        info = RequirementInfo(
            id=id_, name=name, claim=claim, source=source, revision=1, family=FAMILY, family_title=FAMILY_TITLE
        )
        SCENARIOS[id_] = Scenario(info, run, decided_by)
        return run

    return add


def demonstration(*, quick: bool) -> Callable[[Callable[["Lab"], list[Figure]]], Callable[["Lab"], list[Figure]]]:
    """Add the decorated function to the demonstrations."""

    def add(run: Callable[["Lab"], list[Figure]]) -> Callable[["Lab"], list[Figure]]:
        name = run.__name__.replace("_", " ")
        DEMONSTRATIONS[name] = Demonstration(name, run, quick)
        return run

    return add
