"""Runs a pool of cases on an implementation and judges every requirement on every trace. Nothing raises, all counts."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from adapters.interface import Capabilities, Conventions, Spec
from adapters.program import Failure
from conformance.agreement import Sample, sample
from conformance.case import Case
from conformance.derive import without_gradients
from conformance.evidence import NOTHING, Evidence
from conformance.judge import Judge, Run
from conformance.pool import Pool, Pooled
from conformance.requirements import Requirement
from conformance.requirements._catalogue import Derive
from conformance.session import Session, SessionError
from reports.records import Examples, Histogram

#: Hosts that die or hang in one family before its remaining cases are given up.
CRASHES_PER_FAMILY = 5
TIMEOUTS_PER_FAMILY = 2
#: Cases per family whose results are kept to compare implementations pairwise.
SAMPLED_CASES = 40
#: Histogram cells: log2 of error / bound, from 2**LOWEST up.
LOWEST, HIGHEST = -24, 24


@dataclass
class Example:
    """One judged example that is kept: the case as drawn, its evidence, and which bound decided."""

    pooled: Pooled
    evidence: Evidence
    decided_by: str


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

    def examples(self) -> Examples:
        """The counts as recorded."""
        names = ("total", "passed", "failing", "not_applicable", "unsupported", "broken", "vacuous", "evidence")
        return Examples(**{name: getattr(self, name) for name in names})

    def histogram(self) -> Histogram:
        """All examples by the log2 of their ratio, as recorded."""
        if not self.counts:
            return Histogram(low=0, counts=[], exact=self.exact, nonfinite=self.nonfinite)
        low, high = min(self.counts), max(self.counts)
        counts = [self.counts.get(k, 0) for k in range(low, high + 1)]
        return Histogram(low=low, counts=counts, exact=self.exact, nonfinite=self.nonfinite)

    def add(self, pooled: Pooled, evidence: Evidence, decided_by: str) -> None:
        """Count an example that was judged."""
        self._count_ratio(evidence.ratio)
        self.evidence += evidence.informative > 0
        example = Example(pooled, evidence, decided_by)
        if self.worst is None or evidence.ratio > self.worst.evidence.ratio:
            self.worst = example
        if not evidence.fails:
            self.passed += 1
            return
        self.failing += 1
        if self.smallest is None or _size(pooled.case) < _size(self.smallest.pooled.case):
            self.smallest = example

    def refuse(self, reason: str) -> None:
        """Count an example that the implementation declares not to support."""
        self.total += 1
        self.unsupported += 1
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def _count_ratio(self, ratio: float) -> None:
        if ratio == 0:
            self.exact += 1
        elif not math.isfinite(ratio):
            self.nonfinite += 1
        else:
            cell = min(max(math.floor(math.log2(ratio)), LOWEST), HIGHEST)
            self.counts[cell] = self.counts.get(cell, 0) + 1


def _size(case: Case) -> tuple[int, int]:
    """What makes a counterexample small: few steps, few elements."""
    elements = sum(0 if call.x is None else call.x.size for call in case.expanded.calls)
    return len(case.program), elements


@dataclass
class Accounts:
    """Where the time went, in seconds, and how much was done."""

    framework: float = 0.0
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
    #: Why the survey ended before the pool did; empty when it did not.
    stopped: str = ""
    crashes: int = 0
    timeouts: int = 0


Progress = Callable[[int], None]


def survey(
    pool: Pool,
    requirements: Iterable[Requirement],
    session: Session,
    *,
    stop_at: frozenset[str] = frozenset(),
    progress: Progress = lambda _: None,
) -> Survey:
    """Run the pool and judge every requirement on every trace; ``progress`` is told of each case done.

    The first failure of a requirement in ``stop_at`` ends it.
    """
    result = Survey({r.id: Tally(r) for r in requirements})
    started = time.perf_counter()
    for index, pooled in enumerate(pool.cases):
        try:
            _judge_case(pooled, result, session, keep=index < SAMPLED_CASES, identity=(pool.family, index))
        except SessionError as error:
            # It cannot be started again: what it did until now is judged all the same.
            result.stopped = str(error)
            break
        # What a case caches, its arrays above all, would add up over a pool.
        vars(pooled.case).clear()
        progress(1)
        if stop_at and any(t.failing or t.broken for id_, t in result.tallies.items() if id_ in stop_at):
            result.stopped = "stopped at the first failure"
        result.stopped = result.stopped or given_up(result)
        if result.stopped:
            break
    accounts = result.accounts
    accounts.other = time.perf_counter() - started - accounts.framework - accounts.judging
    return result


def refusal(spec: Spec, capabilities: Capabilities) -> str:
    """Why a case of this spec is not asked for, by the declared capabilities; empty where it is."""
    axes = spec.channel_axes
    placed = {
        "last": axes == (spec.rank - 1,),
        "second": axes == (1,),
        "single": len(axes) == 1,
        "several": True,
    }
    if spec.rank not in capabilities.ranks:
        return f"declares no rank {spec.rank}"
    if not placed.get(capabilities.axes, False):
        return f"declares axes {capabilities.axes!r} only"
    if spec.dtype not in capabilities.dtypes:
        return f"declares no {spec.dtype}"
    if not capabilities.flags and not (spec.center and spec.scale):
        return "declares no center=False and scale=False"
    return ""


def asked(case: Case, capabilities: Capabilities) -> Case:
    """The case without the gradients that the capabilities exclude."""
    without = [op for op, has in _gradient_capabilities(capabilities) if not has]
    return without_gradients(case, *without) if without else case


def _gradient_capabilities(capabilities: Capabilities) -> tuple[tuple[str, bool], ...]:
    return ("train", capabilities.training_gradients), ("infer", capabilities.inference_gradients)


def _judge_case(pooled: Pooled, result: Survey, session: Session, *, keep: bool, identity: tuple[int, int]) -> None:
    capabilities = session.description.capabilities
    reason = refusal(pooled.case.spec, capabilities)
    if reason:
        for tally in result.tallies.values():
            tally.refuse(reason)
        return
    case = asked(pooled.case, capabilities)
    run = execute(case, session, result)
    if run.trace.conventions is not None:
        result.conventions.add(run.trace.conventions)
    derived: dict[Derive, tuple[Run, ...] | None] = {}
    for tally in result.tallies.values():
        requirement = tally.requirement
        tally.total += 1
        if not has_capability(requirement, capabilities):
            tally.unsupported += 1
            continue
        if requirement.derive is not None and requirement.derive not in derived:
            derived[requirement.derive] = _derived_runs(requirement.derive(case), run, session, result)
        others = () if requirement.derive is None else derived[requirement.derive]
        started = time.perf_counter()
        _judge(tally, pooled, run, others)
        result.accounts.judging += time.perf_counter() - started
        result.accounts.checks += 1
    if keep and run.trace.failure is None:
        started = time.perf_counter()
        result.samples += sample(run, identity)
        result.accounts.judging += time.perf_counter() - started


def _derived_runs(cases: tuple[Case, ...], run: Run, session: Session, result: Survey) -> tuple[Run, ...] | None:
    """Run the derived cases up to one that kills the host; None where the case itself did, or too many have.

    Each could cost another restart or timeout.
    """
    runs: list[Run] = []
    for case in cases:
        if _lost(run) or given_up(result):
            return None
        runs.append(execute(case, session, result))
        if _lost(runs[-1]):
            break
    return tuple(runs)


def _lost(run: Run) -> bool:
    return run.trace.failure is not None and run.trace.failure.kind in ("crash", "timeout", "no run")


def given_up(result: Survey) -> str:
    """Why no more cases are run; empty while they are."""
    if result.crashes >= CRASHES_PER_FAMILY:
        return f"its host died {result.crashes} times"
    if result.timeouts >= TIMEOUTS_PER_FAMILY:
        return f"its host hung {result.timeouts} times"
    return ""


def has_capability(requirement: Requirement, capabilities: Capabilities) -> bool:
    """Whether the implementation declares what the requirement asks for."""
    return not requirement.needs or bool(getattr(capabilities, requirement.needs))


def execute(case: Case, session: Session, result: Survey | None = None) -> Run:
    """Run a case, and count what it cost."""
    trace = session.run(case.expanded)
    if result is not None:
        accounts = result.accounts
        accounts.framework += trace.seconds
        accounts.cases += 1
        accounts.steps += len(trace.steps)
        if trace.failure is not None:
            result.crashes += trace.failure.kind == "crash"
            result.timeouts += trace.failure.kind == "timeout"
    return Run(case, trace)


def examine(requirement: Requirement, run: Run, others: tuple[Run, ...]) -> tuple[Evidence, str]:
    """Judge one example by the cheap bound; where that is exceeded by the proven one, cheap too, then by the dear one.

    The dear bound lies between the other two: it need not be computed where they agree.
    """
    case, trace = run.case, run.trace
    with np.errstate(all="ignore"):  # wrong results may be anything
        evidence = requirement.check(case, trace, Judge(run, "prob", others))
        if not evidence.fails:
            return evidence, "prob"
        if all(w.allowed == 0 for w in evidence.worst):
            return evidence, "exact"
        if requirement.check(case, trace, Judge(run, "worst", others)).fails:
            return evidence, "worst"
        return requirement.check(case, trace, Judge(run, "panel", others)), "panel"


def measure(requirement: Requirement, run: Run, others: tuple[Run, ...]) -> tuple[Evidence, float]:
    """Judge a failing example exactly: by the calibrated bound, and its ratio against the proven one.

    A proven ratio above 1 is wrong whatever the order of summation.
    """
    with np.errstate(all="ignore"):
        evidence = requirement.check(run.case, run.trace, Judge(run, "panel", others))
        return evidence, requirement.check(run.case, run.trace, Judge(run, "worst", others)).ratio


def relevant_failure(requirement: Requirement, runs: Iterable[Run]) -> Failure | None:
    """Why one of these runs broke, if it broke where the requirement has something to judge."""
    for run in runs:
        failure = run.trace.failure
        if failure is None:
            continue
        done = len(run.trace.steps)
        calls = run.program.calls
        building = failure.method in ("build", "conventions", "") or done >= len(calls)
        if building or calls[done].op in requirement.ops or failure.method in ("state", "set_state"):
            return failure
    return None


def judge_example(
    requirement: Requirement, run: Run, others: tuple[Run, ...] | None
) -> tuple[Evidence, str, Failure | None]:
    """What a requirement finds, by which bound, and why a run broke if that kept the requirement from judging it.

    A requirement that raises is a mistake of the suite: it costs the example, not the run.
    """
    evidence, decided_by = NOTHING, "prob"
    if others is not None and all(other.trace.failure is None for other in others):
        try:
            evidence, decided_by = examine(requirement, run, others)
        except Exception as error:
            raised = f"the requirement itself raised {type(error).__name__}: {error}"
            return NOTHING, decided_by, Failure("error", raised)
    if evidence.fails:
        return evidence, decided_by, None
    return evidence, decided_by, relevant_failure(requirement, (run, *(others or ())))


def _judge(tally: Tally, pooled: Pooled, run: Run, others: tuple[Run, ...] | None) -> None:
    evidence, decided_by, failure = judge_example(tally.requirement, run, others)
    if evidence.fails:
        tally.add(pooled, evidence, decided_by)
    elif failure is not None and failure.kind == "unsupported":
        tally.unsupported += 1
        tally.refusals[failure.message] = tally.refusals.get(failure.message, 0) + 1
    elif failure is not None:
        tally.broken += 1
        if tally.failure is None or _size(pooled.case) < _size((tally.broken_case or pooled).case):
            tally.failure, tally.broken_case = failure, pooled
    elif not evidence.applies:
        tally.not_applicable += 1
    elif evidence.compared == 0:
        tally.vacuous += 1
    else:
        tally.add(pooled, evidence, decided_by)
