"""Runs one scenario or demonstration on an implementation and turns what came out into a record."""

import time
from collections import Counter

import msgspec
import numpy as np

from conformance import known_failures
from conformance.known_failures import KnownFailure
from conformance.scenarios import biases, demonstrations, evaluation, pictures, trajectories, traps
from conformance.scenarios.catalogue import DEMONSTRATIONS, SCENARIOS, Demonstration, Evidence, Scenario
from conformance.scenarios.lab import BrokenError, DivergedError, Lab
from conformance.targets import Target
from reports.records import Examples, Histogram, Outcome, Result, number
from reports.scenario_records import Figure

#: The modules whose import fills the catalogue.
FILLED_BY = (trajectories, biases, evaluation, traps, demonstrations, pictures)
_OUTCOMES: dict[str, Outcome] = {"unsupported": "unsupported", "crash": "crash", "timeout": "timeout"}


def catalogue() -> list[Scenario]:
    """All scenarios, by their ids."""
    return [scenario for _, scenario in sorted(SCENARIOS.items())]


def shown(profile: str) -> list[Demonstration]:
    """The demonstrations of a profile."""
    return [each for each in DEMONSTRATIONS.values() if each.quick or profile != "quick"]


def judged(each: Scenario, target: Target, lab: Lab, known: tuple[KnownFailure, ...] = ()) -> Result:
    """Run a scenario and judge it, in the light of what is known to fail."""
    begin = time.perf_counter()
    try:
        found = each.run(lab)
    except BrokenError as error:
        kind = error.failure.kind
        reason = f"{error.failure.method}: {error.failure.message}"
        result = bare(each, target, _OUTCOMES.get(kind, "error"), reason, list(error.failure.stderr))
    except DivergedError as error:
        result = msgspec.structs.replace(bare(each, target, "fail", str(error)), worst_ratio="inf")
    else:
        result = _concluded(each, target, found)
    entry = known_failures.find_for(known, each.info.id, target, lab.session.description.version)
    outcome, reason = known_failures.weighed(result.outcome, result.reason, entry, covered=True)
    seconds = round(time.perf_counter() - begin, 3)
    return msgspec.structs.replace(result, outcome=outcome, reason=reason, seconds=seconds)


def bare(each: Scenario, target: Target, outcome: Outcome, reason: str, stderr: list[str] | None = None) -> Result:
    """A result without examples."""
    return Result(
        requirement=each.info.id,
        revision=each.info.revision,
        implementation=target.name,
        outcome=outcome,
        reason=reason,
        stderr=stderr or [],
    )


def _concluded(each: Scenario, target: Target, found: list[Evidence]) -> Result:
    """A failing example fails the requirement; without evidence a pass is mistrusted."""
    ratios = [e.ratio for e in found]
    failing = sum(not ratio <= 1 for ratio in ratios)
    evidence = sum(e.evidence for e in found)
    worst = max(found, key=lambda e: e.ratio)
    proven = [e.proven for e in found if e.proven is not None]
    outcome: Outcome = "fail" if failing else "pass" if evidence else "mistrusted"
    reason = worst.message if failing else "" if evidence else "no bound was tight enough to show a fault"
    return msgspec.structs.replace(
        bare(each, target, outcome, reason),
        worst_ratio=number(worst.ratio),
        decided_by=each.decided_by,
        proven_ratio=number(max(proven)) if proven else None,
        examples=Examples(total=len(found), passed=len(found) - failing, failing=failing, evidence=evidence),
        histogram=_histogram(ratios),
    )


def _histogram(ratios: list[float]) -> Histogram:
    finite = [ratio for ratio in ratios if 0 < ratio < np.inf]
    low = -32
    places = Counter(min(max(int(np.floor(np.log2(ratio))), low), 40) for ratio in finite)
    counts = [places[k] for k in range(low, max(places, default=low) + 1)] if places else []
    exact = sum(ratio == 0 for ratio in ratios)
    return Histogram(low=low, counts=counts, exact=exact, nonfinite=len(ratios) - len(finite) - exact)


def drawn(each: Demonstration, target: Target, lab: Lab) -> list[Figure]:
    """The figures of a demonstration; one that cannot be made says why."""
    try:
        found = each.run(lab)
    except (BrokenError, DivergedError) as error:
        why = f"{error.failure.kind}: {error}" if isinstance(error, BrokenError) else str(error)
        found = [Figure(name=each.name.replace(" ", "-"), title=each.name.capitalize(), caption=f"Not shown, {why}")]
    return [msgspec.structs.replace(figure, implementation=target.name) for figure in found]
