"""Keeps some of a survey's cases with their traces: those that failed, and a few that did not, to be diagnosed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.program import Trace
from conformance.case import Case

#: Failing cases per requirement and family, and passing ones per family.
FAILING, PASSING = 6, 10
#: Elements of a case that is kept.
LARGEST = 20_000


class Kept(NamedTuple):
    """A case with its trace, and what failed on it: requirement -> the quantities that were off; {} where none did."""

    case: Case
    trace: Trace
    failed: dict[str, tuple[str, ...]]
    #: The family that it was drawn for.
    family: int = 0


@dataclass
class Keeper:
    """A bounded number of cases, in the order in which they were met."""

    kept: list[Kept] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def offer(self, case: Case, trace: Trace, failed: dict[str, tuple[str, ...]], family: int) -> None:
        """Keep a case, unless there are enough of its kind."""
        ids = tuple(failed) or ("",)
        most = FAILING if failed else PASSING
        wanted = [id_ for id_ in ids if self._counts.get(id_, 0) < most]
        if not wanted or _elements(case) > LARGEST:
            return
        for id_ in ids:
            self._counts[id_] = self._counts.get(id_, 0) + 1
        self.kept.append(Kept(case, trace, failed, family))

    def extend(self, others: Iterable[Kept]) -> None:
        """Keep what another survey kept."""
        self.kept += others


def _elements(case: Case) -> int:
    return sum(0 if call.x is None else call.x.size for call in case.expanded.calls)
