"""Seeks cases with large errors: Hypothesis climbs the ratio of error to bound, on one implementation.

Such cases differ from implementation to implementation and cost a run of their own each, so only long runs have them.
What they buy is little, measured on NumPy in families 1, 4 and 5: of 88 largest ratios after 100 drawn cases, 100
sought ones raise 11 and 100 more drawn ones 34; but those of gradients by more (1.7 times, against 1.2).
"""

import math

from hypothesis import HealthCheck, Phase, given, seed, settings, target

from conformance.capability import refusal
from conformance.case import Case, Reload
from conformance.families import FAMILIES
from conformance.pool import Pool, Pooled, choices_of
from conformance.session import Session, SessionError
from conformance.strategies import cases
from conformance.survey import given_up, judge_pooled
from conformance.tally import Survey


class _Stopped(BaseException):
    """Ends the search; Hypothesis takes an Exception for a failure, and shrinks it."""


def seek(pool: Pool, found: Survey, session: Session, count: int) -> None:
    """Run up to ``count`` cases of the pool's family, each drawn towards larger ratios; add them to ``found``."""
    specs = tuple(spec for spec in pool.specs if not refusal(spec, session.description.capabilities))
    if not specs:
        return

    @seed(pool.seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(FAMILIES[pool.family], specs))
    def climb(case: Case) -> None:
        if _starts_a_process(case):
            return
        ratios = _judged(Pooled(case, choices_of(case, pool.specs), pool.family), found, session)
        for id_, ratio in ratios.items():
            if 0 < ratio < math.inf:
                target(math.log2(ratio), label=id_)

    try:
        climb()
    except _Stopped as stopped:
        found.stopped[pool.family] = str(stopped)


def _starts_a_process(case: Case) -> bool:
    """Whether the case starts a host anew: climbing from one would import the framework at every step."""
    return any(isinstance(step, Reload) and step.through == "process" for step in case.program)


def _judged(pooled: Pooled, found: Survey, session: Session) -> dict[str, float]:
    try:
        ratios = judge_pooled(pooled, found, session)
    except SessionError as error:
        raise _Stopped(str(error)) from error
    vars(pooled.case).clear()
    if why := given_up(found):
        raise _Stopped(why)
    return ratios
