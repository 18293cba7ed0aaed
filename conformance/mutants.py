"""Runs the requirements on many implementations at once: those of the zoo, faulty and correct, and mechanical mutants.

Cases are drawn and expanded once, and the oracle's truths are shared: the loop goes over cases outside, over
implementations inside.
"""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import FrameType
from typing import NamedTuple, NoReturn

import numpy as np

from adapters.interface import Capabilities
from conformance.families import in_turn
from conformance.pool import Pool, Pooled, fitted
from conformance.requirements import CATALOGUE
from conformance.session import InProcessSession, Session, SessionError
from conformance.survey import judge_pooled
from conformance.tally import Survey, Tally
from reports.mutant_records import Exhibit, Fate, Kill, Margin
from reports.records import number

#: Cases per family that every fault sees, so that the matrix shows more than its first killers.
SEEN = 6
#: Exhibits that share the oracle's work in one block.
BLOCK = 12
#: Seconds that a case may take on one exhibit: a mutant may loop for ever.
LIMIT = 20.0


class Subject(NamedTuple):
    """An implementation to be put to the test; ``named`` are the requirements that must catch it, if it is faulty."""

    name: str
    target: str
    description: str
    theme: str
    faulty: bool
    family: str = ""
    named: tuple[str, ...] = ()
    reference: str = ""


class Options(NamedTuple):
    """How far the subjects are followed."""

    #: Cases per family that each fault sees at least.
    seen: int = SEEN
    #: Run all cases, whatever has been caught.
    whole: bool = False
    path: tuple[str, ...] = ()
    limit: float = LIMIT
    #: What cannot be loaded counts as caught.
    mechanical: bool = False


class TooLongError(Exception):
    """A case took longer than it may."""


@dataclass
class _Trial:
    """A subject under way."""

    subject: Subject
    session: Session
    #: Family -> the requirements that are still to be failed.
    surveys: dict[int, Survey]
    #: The cases of each family that it is asked for, by identity.
    asked: dict[int, frozenset[int]]
    kills: list[Kill] = field(default_factory=list)
    cases: int = 0
    seconds: float = 0.0

    def judge(self, family: int, pooled: Pooled, limit: float) -> None:
        """Run a case; a requirement that fails is not asked again."""
        if id(pooled) not in self.asked[family]:
            return
        # Processor time: other workers must not show in it.
        started = time.process_time()
        with time_limit(limit):
            judge_pooled(pooled, self.surveys[family], self.session)
        self.seconds += time.process_time() - started
        self.cases += 1
        for id_, tally in list(self.surveys[family].tallies.items()):
            if tally.failing or tally.broken:
                self.kills.append(_kill(tally, self.cases, self.seconds))
                for survey in self.surveys.values():
                    survey.tallies.pop(id_, None)

    def over(self, seen: int, options: Options) -> bool:
        """Whether further cases would say nothing new of it."""
        if options.whole or not self.subject.faulty or seen < options.seen or not self.kills:
            return False
        return set(self.subject.named) <= {kill.requirement for kill in self.kills}

    def record(self) -> Exhibit:
        """What it came to."""
        subject = self.subject
        return Exhibit(
            **(subject._asdict() | {"named": list(subject.named)}),
            fate=fate(subject, [kill.requirement for kill in self.kills]),
            kills=self.kills,
            cases=self.cases,
            checks=sum(survey.accounts.checks for survey in self.surveys.values()),
            seconds=round(self.seconds, 3),
            margins=[] if subject.faulty else self._margins(),
        )

    def _margins(self) -> list[Margin]:
        """How close each quantity came to its bound, closest first."""
        closest: dict[str, Margin] = {}
        tallies = [tally for survey in self.surveys.values() for tally in survey.tallies.values()]
        worst = [(w, tally.requirement.id) for tally in tallies if tally.worst for w in tally.worst.evidence.worst]
        for element, id_ in sorted(worst, key=lambda entry: -entry[0].ratio):
            margin = Margin(quantity=element.quantity, requirement=id_, ratio=number(element.ratio))
            closest.setdefault(element.quantity, margin)
        return list(closest.values())


def fate(subject: Subject, killers: list[str]) -> Fate:
    """What a subject came to that these requirements failed on."""
    if not subject.faulty:
        return "false alarm" if killers else "passes"
    if not killers:
        return "survivor"
    return "caught" if not subject.named or set(killers) & set(subject.named) else "caught elsewhere"


def _unloadable(subject: Subject, why: str) -> Exhibit:
    kill = Kill(requirement="loading", cases=0, seconds=0.0, ratio="inf", message=why.splitlines()[0][:200])
    return Exhibit(**(subject._asdict() | {"named": []}), fate="caught", kills=[kill])


def _kill(tally: Tally, cases: int, seconds: float) -> Kill:
    example, failure = tally.smallest, tally.failure
    ratio, message = float("inf"), "" if failure is None else f"{failure.kind}: {failure.message}"
    if example is not None:
        ratio, message = example.ratio, example.evidence.message
    shown = message.splitlines()[0][:200] if message else ""
    return Kill(
        requirement=tally.requirement.id,
        cases=cases,
        seconds=round(seconds, 4),
        ratio=number(ratio),
        message=shown,
    )


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooLongError in whatever runs inside for longer; outside the main thread nothing is limited."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TooLongError(f"took more than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def judge_block(subjects: list[Subject], pools: dict[int, Pool], options: Options) -> list[Exhibit]:
    """Put some subjects to the test, case by case."""
    fits: dict[tuple[int, Capabilities], Pool] = {}
    records: list[Exhibit] = []
    trials: list[_Trial] = []
    for subject in subjects:
        try:
            trials.append(_trial(subject, pools, fits, options))
        except SessionError as error:
            if not options.mechanical:
                raise
            records.append(_unloadable(subject, str(error)))
    under_way = trials
    with np.errstate(all="ignore"):
        for seen in range(max((len(pool.cases) for pool in fits.values()), default=0)):
            for family in in_turn(pools):
                for pooled in _distinct([pool for (f, _), pool in fits.items() if f == family], seen):
                    for trial in under_way:
                        trial.judge(family, pooled, options.limit)
                    # What a case keeps, its arrays above all, would add up.
                    vars(pooled.case).clear()
            under_way = [trial for trial in under_way if not trial.over(seen + 1, options)]
            if not under_way:
                break
    return [*records, *(trial.record() for trial in trials)]


def _distinct(pools: list[Pool], number: int) -> list[Pooled]:
    """The cases of this number in these pools, which share most of them."""
    return list({id(pooled): pooled for pool in pools for pooled in pool.cases[number : number + 1]}.values())


def _trial(
    subject: Subject, pools: dict[int, Pool], fits: dict[tuple[int, Capabilities], Pool], options: Options
) -> _Trial:
    session = InProcessSession(subject.target, options.path)
    # Faults warn of what they do.
    session.warnings = "ignore"
    capabilities = session.description.capabilities
    for family, pool in pools.items():
        if (family, capabilities) not in fits:
            fits[family, capabilities] = fitted(pool, capabilities)
    asked = {family: frozenset(map(id, fits[family, capabilities].cases)) for family in pools}
    return _Trial(subject, session, {family: _survey(family) for family in pools}, asked)


def _survey(family: int) -> Survey:
    here = [r for r in CATALOGUE.values() if r.derive is None or r.family == family]
    return Survey({r.id: Tally(r) for r in here})


def judge_all(
    subjects: list[Subject], pools: dict[int, Pool], options: Options, workers: int = 1
) -> Iterator[list[Exhibit]]:
    """Put all subjects to the test and yield what they came to, block by block, in no certain order."""
    # What passes takes longest: it comes first.
    ordered = sorted(subjects, key=lambda subject: subject.faulty)
    blocks = [ordered[start : start + BLOCK] for start in range(0, len(ordered), BLOCK)]
    if workers <= 1 or len(blocks) <= 1:
        yield from (judge_block(block, pools, options) for block in blocks)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(pools, options)) as executor:
        try:
            for future in as_completed([executor.submit(_serve, block) for block in blocks]):
                yield future.result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


_given: list[tuple[dict[int, Pool], Options]] = []


def _begin(pools: dict[int, Pool], options: Options) -> None:
    _given.append((pools, options))


def _serve(block: list[Subject]) -> list[Exhibit]:
    pools, options = _given[-1]
    return judge_block(block, pools, options)


def zoo(*, faults: bool = True, variants: bool = True) -> list[Subject]:
    """The shipped zoo; its faults of family 9 are for ``training_mutants``."""
    from conformance.zoo import FAULTS, TRAINING_FAULTS, VARIANTS

    subjects = []
    if faults:
        subjects += [
            Subject(f.name, f.target, f.description, theme(f.target), True, f.family, f.caught_by, f.reference)
            for f in (*FAULTS, *TRAINING_FAULTS)
        ]
    if variants:
        subjects += [Subject(v.name, v.target, v.description, theme(v.target), False) for v in VARIANTS]
    return subjects


def theme(target: str) -> str:
    """The module of the zoo that an exhibit is in, as words."""
    return target.partition(":")[0].rpartition(".")[2].replace("_", " ")
