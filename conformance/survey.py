"""Runs a pool of cases on an implementation and judges every requirement on every trace. Nothing raises, all counts."""

import time
from collections.abc import Callable, Iterable

import numpy as np

from adapters.interface import Capabilities
from adapters.program import Failure
from conformance.agreement import sample
from conformance.capability import refusal
from conformance.case import Case
from conformance.deriving import by_derivation, derived_cases, let_go
from conformance.evidence import NOTHING, Evidence
from conformance.judge import Judge, Run
from conformance.pool import Pool, Pooled
from conformance.requirements import Requirement
from conformance.requirements._catalogue import Derive
from conformance.rewrite import asked
from conformance.session import Session, SessionError
from conformance.tally import Survey, Tally, case_size

#: Hosts that die or hang in one family before its remaining cases are given up.
CRASHES_PER_FAMILY = 5
TIMEOUTS_PER_FAMILY = 2
#: Cases per family whose results are kept to compare implementations pairwise.
SAMPLED_CASES = 40

#: From this ratio on, an example that may become a record's worst is judged by the dear bound too.
_CALIBRATED_FROM = 0.75

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

    Requirements that derive further cases do so from those of their own family only. The first failure of a
    requirement in ``stop_at`` ends it.
    """
    here = [r for r in requirements if r.derive is None or pool.family in (0, r.family)]
    result = Survey({r.id: Tally(r) for r in here})
    started = time.perf_counter()
    for index, pooled in pool.numbered:
        try:
            judge_pooled(pooled, result, session, (pool.family, index) if index < SAMPLED_CASES else None, alone=True)
        except SessionError as error:
            # It cannot be started again: what it did until now is judged all the same.
            result.stopped[pool.family] = str(error)
            break
        # What a case caches, its arrays above all, would add up over a pool.
        vars(pooled.case).clear()
        progress(1)
        why = given_up(result)
        if any(t.failing or t.broken for id_, t in result.tallies.items() if id_ in stop_at):
            why = "stopped at the first failure"
        if why:
            result.stopped[pool.family] = why
            break
    accounts = result.accounts
    accounts.other = time.perf_counter() - started - accounts.framework - accounts.judging
    return result


def judge_pooled(
    pooled: Pooled,
    result: Survey,
    session: Session,
    identity: tuple[int, int] | None = None,
    *,
    alone: bool = False,
) -> dict[str, float]:
    """Run a case and count what each requirement says of it; their ratios of error to bound.

    ``identity``, family and number, keeps its results for comparison with other implementations. Where the case is for
    this one ``alone``, what is derived from it is let go as soon as it is judged: large inputs would add up.
    """
    capabilities = session.description.capabilities
    reason = refusal(pooled.case.spec, capabilities)
    if reason:
        for tally in result.tallies.values():
            tally.refuse(reason)
        return {}
    case = asked(pooled.case, capabilities)
    run = execute(case, session, result)
    if run.trace.conventions is not None:
        result.conventions.add(run.trace.conventions)
    derived: dict[Derive, tuple[Run, ...] | None] = {}
    ratios: dict[str, float] = {}
    failed: dict[str, tuple[str, ...]] = {}
    for derive, tallies in by_derivation(result.tallies.values()):
        asking = []
        for tally in tallies:
            able = has_capability(tally.requirement, capabilities)
            tally.total += 1
            tally.unsupported += not able
            asking += [tally] * able
        if not asking:
            continue
        others = () if derive is None else _derived_runs(derived_cases(case, derive), run, session, result)
        started = time.perf_counter()
        for tally in asking:
            evidence = _judge(tally, pooled, run, others)
            ratios[tally.requirement.id] = evidence.ratio
            if evidence.fails:
                failed[tally.requirement.id] = tuple(worst.quantity for worst in evidence.worst)
        result.accounts.judging += time.perf_counter() - started
        result.accounts.checks += len(asking)
        if derive is not None and any(tally.requirement.id in failed for tally in asking):
            derived[derive] = others
        if derive is not None and alone:
            let_go(case, derive)
    _keep(run, derived, failed, result, pooled.family)
    if identity is not None and run.trace.failure is None:
        started = time.perf_counter()
        result.samples += sample(run, identity)
        result.accounts.judging += time.perf_counter() - started
    return ratios


def _keep(
    run: Run,
    derived: dict[Derive, tuple[Run, ...] | None],
    failed: dict[str, tuple[str, ...]],
    result: Survey,
    family: int,
) -> None:
    """Offer what was run for diagnosis: derived runs where a requirement on them failed."""
    result.keeper.offer(run.case, run.trace, failed, family)
    for derive, runs in derived.items():
        theirs = {id_: off for id_, off in failed.items() if result.tallies[id_].requirement.derive is derive}
        for other in runs or () if theirs else ():
            result.keeper.offer(other.case, other.trace, theirs, family)


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
    return not lacking(requirement, capabilities)


def lacking(requirement: Requirement, capabilities: Capabilities) -> list[str]:
    """The capabilities that the requirement asks for and the implementation does not declare."""
    needed = requirement.needs.split()
    if "train" in requirement.ops and "infer" not in requirement.ops:
        needed.insert(0, "training")
    return [name for name in needed if not getattr(capabilities, name)]


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
    return Run(case, trace, session.description.capabilities)


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


def _can_be_judged(requirement: Requirement, run: Run) -> bool:
    failure = run.trace.failure
    return failure is None or (requirement.refusals and failure.kind == "unsupported")


def judge_example(
    requirement: Requirement, run: Run, others: tuple[Run, ...] | None
) -> tuple[Evidence, str, Failure | None]:
    """What a requirement finds, by which bound, and why a run broke if that kept the requirement from judging it.

    A requirement that raises is a mistake of the suite: it costs the example, not the run.
    """
    evidence, decided_by = NOTHING, "prob"
    if others is not None and all(_can_be_judged(requirement, other) for other in others):
        try:
            evidence, decided_by = examine(requirement, run, others)
        except Exception as error:
            raised = f"the requirement itself raised {type(error).__name__}: {error}"
            return NOTHING, decided_by, Failure("error", raised)
    if evidence.fails or (requirement.refusals and evidence.applies):
        return evidence, decided_by, None
    return evidence, decided_by, relevant_failure(requirement, (run, *(others or ())))


def _judge(tally: Tally, pooled: Pooled, run: Run, others: tuple[Run, ...] | None) -> Evidence:
    evidence, decided_by, failure = judge_example(tally.requirement, run, others)
    for convention, what in evidence.observed:
        tally.observed.setdefault(convention, set()).add(what)
    if evidence.fails:
        more = others or ()
        traces = [r.trace for r in (run, *more)]
        tally.add(pooled, evidence, decided_by, derived=[other.case for other in more], traces=traces)
    elif failure is not None and failure.kind == "unsupported":
        tally.unsupported += 1
        tally.refusals[failure.message] = tally.refusals.get(failure.message, 0) + 1
    elif failure is not None:
        tally.broken += 1
        tally.note(pooled.case)
        if tally.failure is None or case_size(pooled.case) < case_size((tally.broken_case or pooled).case):
            tally.failure, tally.broken_case = failure, pooled
    elif not evidence.applies:
        tally.not_applicable += 1
    elif evidence.compared == 0:
        tally.say_nothing(pooled)
    elif others is not None and decided_by == "prob" and evidence.ratio > max(_CALIBRATED_FROM, tally.worst_ratio):
        tally.add(pooled, evidence, "panel", _calibrated(tally.requirement, run, others))
    else:
        tally.add(pooled, evidence, decided_by)
    return evidence


def _calibrated(requirement: Requirement, run: Run, others: tuple[Run, ...]) -> Evidence:
    """The evidence of a passing example by the calibrated bound: the cheap one is too narrow for structured data.

    Sums of equal terms, say, round the same way again and again: to a constant channel the cheap bound leaves nothing.
    """
    with np.errstate(all="ignore"):
        return requirement.check(run.case, run.trace, Judge(run, "panel", others))
