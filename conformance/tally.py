"""What a survey adds up: examples per requirement by what they came to, and where the time went."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from adapters.interface import Conventions
from adapters.program import Failure, Trace
from conformance.agreement import Sample
from conformance.case import Case
from conformance.evidence import Evidence
from conformance.keeping import Keeper
from conformance.pool import Pooled
from conformance.requirements import Requirement
from reports.records import Examples, Histogram

#: Histogram cells: log2 of error / bound, from 2**LOWEST up.
LOWEST, HIGHEST = -24, 24


@dataclass
class Example:
    """One judged example that is kept: the case as drawn, its evidence, and which bound decided."""

    pooled: Pooled
    evidence: Evidence
    decided_by: str

    @property
    def ratio(self) -> float:
        """The largest error over bound."""
        return self.evidence.ratio

    @property
    def size(self) -> tuple[int, int]:
        """How large the case is."""
        return case_size(self.pooled.case)


#: The counts that are recorded.
_COUNTS = ("total", "passed", "failing", "not_applicable", "unsupported", "broken", "vacuous", "evidence")


@dataclass
class Tally:
    """What a requirement came to so far."""

    requirement: Requirement
    total: int = 0
    passed: int = 0
    failing: int = 0
    not_applicable: int = 0
    unsupported: int = 0
    broken: int = 0
    vacuous: int = 0
    evidence: int = 0
    exact: int = 0
    nonfinite: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    worst: Example | None = None
    smallest: Example | None = None
    failure: Failure | None = None
    broken_case: Pooled | None = None
    refusals: dict[str, int] = field(default_factory=dict)
    #: Convention -> what was seen of it.
    observed: dict[str, set[str]] = field(default_factory=dict)
    #: Element type of the input -> examples judged, and how many of them could have shown a fault.
    by_dtype: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Element types of the failing and broken examples, how many of them have all inputs in C order, those of derived
    #: cases too, how many no input that holds infinity or NaN, and how many no infinite moving statistic.
    dtypes: set[str] = field(default_factory=set)
    plain: int = 0
    finite: int = 0
    finite_statistics: int = 0

    def merge(self, other: "Tally") -> None:
        """Add what the same requirement came to on other cases."""
        for name in (*_COUNTS, "exact", "nonfinite"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for cell, count in other.counts.items():
            self.counts[cell] = self.counts.get(cell, 0) + count
        self.dtypes |= other.dtypes
        self.plain += other.plain
        self.finite += other.finite
        self.finite_statistics += other.finite_statistics
        for reason, count in other.refusals.items():
            self.refusals[reason] = self.refusals.get(reason, 0) + count
        for dtype, (judged, telling) in other.by_dtype.items():
            self._count(dtype, judged, telling)
        for convention, seen in other.observed.items():
            self.observed.setdefault(convention, set()).update(seen)
        if other.worst is not None and (self.worst is None or other.worst.ratio > self.worst.ratio):
            self.worst = other.worst
        if other.smallest is not None and (self.smallest is None or other.smallest.size < self.smallest.size):
            self.smallest = other.smallest
        mine, theirs = self.broken_case, other.broken_case
        if theirs is not None and (mine is None or case_size(theirs.case) < case_size(mine.case)):
            self.failure, self.broken_case = other.failure, theirs

    def examples(self) -> Examples:
        """The counts as recorded."""
        return Examples(**{name: getattr(self, name) for name in _COUNTS})

    def histogram(self) -> Histogram:
        """All examples by the log2 of their ratio, as recorded."""
        if not self.counts:
            return Histogram(low=0, counts=[], exact=self.exact, nonfinite=self.nonfinite)
        low, high = min(self.counts), max(self.counts)
        counts = [self.counts.get(k, 0) for k in range(low, high + 1)]
        return Histogram(low=low, counts=counts, exact=self.exact, nonfinite=self.nonfinite)

    def add(
        self,
        pooled: Pooled,
        evidence: Evidence,
        decided_by: str,
        calibrated: Evidence | None = None,
        derived: Iterable[Case] = (),
        traces: Iterable[Trace] = (),
    ) -> None:
        """Count an example that was judged; the worst is kept by its calibrated evidence, where there is any.

        Of one that fails, the cases that were derived for it are looked at, too, and the traces of all.
        """
        self._count_ratio(evidence.ratio)
        self.evidence += evidence.informative > 0
        self._count(pooled.case.spec.dtype, 1, int(evidence.informative > 0))
        example = Example(pooled, calibrated or evidence, decided_by)
        if self.worst is None or example.ratio > self.worst.ratio:
            self.worst = example
        if not evidence.fails:
            self.passed += 1
            return
        self.failing += 1
        self.note(pooled.case, derived, traces)
        if self.smallest is None or example.size < self.smallest.size:
            self.smallest = example

    @property
    def worst_ratio(self) -> float:
        """The largest ratio so far."""
        return 0.0 if self.worst is None else self.worst.ratio

    def note(self, case: Case, derived: Iterable[Case] = (), traces: Iterable[Trace] = ()) -> None:
        """Remember in which element type and layouts a case failed, and whether its numbers are finite."""
        self.dtypes.add(case.spec.dtype)
        steps = [step for one in (case, *derived) for step in one.program]
        arrays = (getattr(step, name, None) for step in steps for name in ("x", "dy", "v"))
        self.plain += all(a is None or a.layout == "c" for a in arrays)
        inputs = (a for call in case.expanded.calls for a in (call.x, call.dy) if a is not None)
        self.finite += all(bool(np.isfinite(a).all()) for a in inputs)
        states = [*case.expanded.states, *(call.state for call in case.expanded.calls)]
        for trace in traces:
            states += [*trace.initial, *(step.state for step in trace.steps)]
        statistics = [a for state in states if state is not None for a in (state.moving_mean, state.moving_variance)]
        self.finite_statistics += not any(bool(np.isinf(a).any()) for a in statistics if a is not None)

    def refuse(self, reason: str) -> None:
        """Count an example that the implementation declares not to support."""
        self.total += 1
        self.unsupported += 1
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def say_nothing(self, pooled: Pooled) -> None:
        """Count an example whose bounds were all infinite."""
        self.vacuous += 1
        self._count(pooled.case.spec.dtype, 1, 0)

    def _count(self, dtype: str, judged: int, telling: int) -> None:
        before = self.by_dtype.get(dtype, (0, 0))
        self.by_dtype[dtype] = before[0] + judged, before[1] + telling

    def _count_ratio(self, ratio: float) -> None:
        if ratio == 0:
            self.exact += 1
        elif not math.isfinite(ratio):
            self.nonfinite += 1
        else:
            cell = min(max(math.floor(math.log2(ratio)), LOWEST), HIGHEST)
            self.counts[cell] = self.counts.get(cell, 0) + 1


def case_size(case: Case) -> tuple[int, int]:
    """What makes a counterexample small: few steps, few elements."""
    elements = sum(0 if call.x is None else call.x.size for call in case.expanded.calls)
    return len(case.program), elements


@dataclass
class Accounts:
    """Where the time went, in seconds, and how much was done."""

    framework: float = 0.0
    #: Drawing cases of an implementation's own, where it refuses too many of the shared ones.
    drawing: float = 0.0
    judging: float = 0.0
    #: All the rest of a survey: the wire, deriving and expanding cases, counting.
    other: float = 0.0
    cases: int = 0
    steps: int = 0
    checks: int = 0

    def add(self, other: "Accounts") -> None:
        """Add another account to this one."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Survey:
    """A family's pool on one implementation: a tally per requirement, and what else came up."""

    tallies: dict[str, Tally]
    accounts: Accounts = field(default_factory=Accounts)
    conventions: set[Conventions] = field(default_factory=set)
    samples: list[Sample] = field(default_factory=list)
    #: Cases with their traces, for diagnosis.
    keeper: Keeper = field(default_factory=Keeper)
    #: Family -> why its survey ended before its cases did.
    stopped: dict[int, str] = field(default_factory=dict)
    crashes: int = 0
    timeouts: int = 0

    def merge(self, other: "Survey") -> None:
        """Add another family's survey of the same implementation."""
        for id_, tally in other.tallies.items():
            self.tallies.setdefault(id_, Tally(tally.requirement)).merge(tally)
        self.accounts.add(other.accounts)
        self.conventions |= other.conventions
        self.stopped |= other.stopped
        self.keeper.extend(other.keeper.kept)
