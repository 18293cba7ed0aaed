"""Puts faults that only training shows to the test: the scenarios that name them train networks around them."""

import time
from collections.abc import Iterator

import numpy as np

from conformance.mutants import Options, Subject, TooLongError, fate, time_limit
from conformance.scenarios.catalogue import FAMILY, Scenario
from conformance.scenarios.data import patterns
from conformance.scenarios.judging import bare, catalogue, judged
from conformance.scenarios.lab import EFFORTS, Known, Lab
from conformance.session import InProcessSession
from conformance.targets import Target
from reports.mutant_records import Exhibit, Kill
from reports.records import RequirementInfo, Result
from reports.verdict import FAILING


def is_trained(subject: Subject) -> bool:
    """Whether it is for scenarios to catch."""
    return subject.faulty and subject.family == FAMILY[0]


def requirements() -> list[RequirementInfo]:
    """What these faults may fail."""
    return [scenario.info for scenario in catalogue()]


def judge_training(subjects: list[Subject], options: Options) -> Iterator[Exhibit]:
    """Run the scenarios that name each subject on it, or all of them; each of them counts as one case."""
    shared, samples = Known(), patterns()
    for subject in subjects:
        session = InProcessSession(subject.target, options.path)
        # Faults warn of what they do.
        session.warnings = "ignore"
        asked = [s for s in catalogue() if options.whole or s.info.id in subject.named]
        with np.errstate(all="ignore"):
            yield _judged(subject, Lab(session, samples, EFFORTS["quick"], shared), asked, options.limit)


def _judged(subject: Subject, lab: Lab, asked: list[Scenario], limit: float) -> Exhibit:
    kills: list[Kill] = []
    seconds, checks = 0.0, 0
    for number, scenario in enumerate(asked, 1):
        started = time.process_time()
        result = _result(scenario, subject, lab, limit)
        seconds += time.process_time() - started
        checks += result.examples.total
        if result.outcome in FAILING:
            ratio = "inf" if result.worst_ratio is None else result.worst_ratio
            message = result.reason.splitlines()[0][:200] if result.reason else ""
            id_ = scenario.info.id
            kills.append(Kill(requirement=id_, cases=number, seconds=round(seconds, 4), ratio=ratio, message=message))
    return Exhibit(
        **(subject._asdict() | {"named": list(subject.named)}),
        fate=fate(subject, [kill.requirement for kill in kills]),
        kills=kills,
        cases=len(asked),
        checks=checks,
        seconds=round(seconds, 3),
    )


def _result(scenario: Scenario, subject: Subject, lab: Lab, limit: float) -> Result:
    target = Target(subject.name, subject.target)
    try:
        with time_limit(limit):
            return judged(scenario, target, lab)
    except TooLongError as error:
        return bare(scenario, target, "timeout", str(error))
