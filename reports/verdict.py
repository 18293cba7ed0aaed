"""Says in one sentence what a run found; the headline, the terminal and the exit code all come from here."""

import math
from collections import Counter
from collections.abc import Iterable

import msgspec

from reports._format import count, listing, ratio, times_bound
from reports._grid import Grid, complete_grid
from reports.records import OUTCOMES, Outcome, Result, Results, real

#: Outcomes of an implementation that is wrong, or that broke.
FAILING: frozenset[Outcome] = frozenset({"fail", "crash", "timeout", "error"})
#: Outcomes that make the exit code 1, and those that make it 3 where nothing makes it 1.
EXIT_1: frozenset[Outcome] = FAILING | {"stale known failure"}
EXIT_3: frozenset[Outcome] = frozenset({"mistrusted", "no run"})
#: Names listed one by one in the sentence; more are counted.
_LISTED = 6

_MILD: tuple[tuple[Outcome, str], ...] = (
    ("known failure", "are known to fail"),
    ("deviates", "deviate as declared"),
    ("unsupported", "are unsupported"),
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    #: One sentence with numbers in it.
    sentence: str
    #: What a reader wants to know next, in a few sentences.
    say: str
    exit_code: int
    #: Outcome -> how many checks came to it; all outcomes, worst first.
    tally: dict[Outcome, int]


def exit_code(outcomes: Iterable[Outcome], complete: bool) -> int:
    """Return 1 if anything failed, else 3 if anything is open, nothing was judged or the run ended early, else 0."""
    seen = set(outcomes)
    if seen & EXIT_1:
        return 1
    return 3 if seen & EXIT_3 or not complete or seen <= {"unsupported"} else 0


def verdict(results: Results) -> Verdict:
    """Judge whole results. A pair of requirement and implementation without a record counts as "no run"."""
    grid = complete_grid(results)
    outcomes = Counter(result.outcome for result in grid.cells.values())
    complete = results.footer is not None and results.footer.complete
    sentence = "; ".join(_clauses(grid)) or "Nothing was checked"
    return Verdict(
        sentence=sentence if complete else f"Incomplete run: {sentence}",
        say=" ".join([*_early_end(results), *_failures(grid), *_loose_ends(outcomes), *_passes(grid, outcomes)]),
        exit_code=exit_code(outcomes, complete),
        tally={outcome: outcomes[outcome] for outcome in OUTCOMES},
    )


def _clauses(grid: Grid) -> list[str]:
    """Say for every implementation whether it conforms, fails, is undecided or did not run."""
    groups: dict[str, dict[str, int]] = {name: {} for name in ("good", "bad", "stale", "open", "refuses", "absent")}
    for who in grid.implementations:
        seen = Counter(result.outcome for result in grid.of(who.name))
        if bad := sum(seen[outcome] for outcome in FAILING):
            groups["bad"][who.name] = bad
        elif seen["stale known failure"]:
            groups["stale"][who.name] = seen["stale known failure"]
        elif seen["no run"] == seen.total():
            groups["absent"][who.name] = seen["no run"]
        elif undecided := seen["mistrusted"] + seen["no run"]:
            groups["open"][who.name] = undecided
        else:
            groups["refuses" if seen["unsupported"] == seen.total() else "good"][who.name] = 0
    requirements = count(len(grid.requirements), "requirement")
    of_all = f"of {requirements}"
    to_all = f" to {_supported(grid, requirements)}" if len(groups["good"]) == len(grid.implementations) else ""
    return [
        *_plain(list(groups["good"]), f"conforms{to_all}", f"conform{to_all}"),
        *_shares(groups["bad"], "fails", of_all),
        *_shares(
            groups["stale"], "has", f"stale known {'failure' if sum(groups['stale'].values()) == 1 else 'failures'}"
        ),
        *_shares(groups["open"], "leaves open", of_all),
        *_plain(list(groups["refuses"]), "supports nothing", "support nothing"),
        *_plain(list(groups["absent"]), "did not run", "did not run"),
    ]


def _supported(grid: Grid, requirements: str) -> str:
    """Name the requirements; where some are not supported everywhere, say that those do not count."""
    if all(result.outcome != "unsupported" for result in grid.cells.values()):
        return requirements
    return f"what {'they support' if len(grid.implementations) > 1 else 'it supports'} of {requirements}"


def _plain(names: list[str], one: str, many: str) -> list[str]:
    if not names:
        return []
    who = listing(names) if len(names) <= _LISTED else f"{len(names)} implementations"
    return [f"{who} {one if len(names) == 1 else many}"]


def _shares(shares: dict[str, int], verb: str, of_all: str) -> list[str]:
    """Say how many each name has, the worst first; of many names only the worst one's."""
    if not shares:
        return []
    names = sorted(shares, key=lambda name: -shares[name])
    if len(names) > _LISTED:
        return [
            f"{len(names)} implementations fall short, most of all {names[0]}: it {verb} {shares[names[0]]} {of_all}"
        ]
    first, *others = names
    return [f"{listing([f'{first} {verb} {shares[first]}', *(f'{name} {shares[name]}' for name in others)])} {of_all}"]


def _early_end(results: Results) -> list[str]:
    if results.footer is None:
        return ["The results file has no footer: the run ended before it was done."]
    if not results.footer.complete:
        return [f"The run ended early: {results.footer.reason or 'no reason was given'}."]
    return []


def _failures(grid: Grid) -> list[str]:
    """Say which failure is the worst and whether one cause explains several."""
    failing = [result for result in grid.cells.values() if result.outcome in FAILING]
    measured = [result for result in failing if result.worst_ratio is not None]
    parts = []
    if measured:
        worst = max(measured, key=_size)
        where = f"{worst.requirement} on {worst.implementation}"
        parts.append(f"The worst error is {times_bound(worst.worst_ratio)} ({where}).")
    causes = Counter((result.implementation, result.cause) for result in failing if result.cause)
    for (name, cause), number in causes.most_common(1):
        if number > 1:
            parts.append(f"{number} failures of {name} share one likely cause: {cause.rstrip('.')}.")
    return parts


def _loose_ends(outcomes: Counter[Outcome]) -> list[str]:
    """Say what needs somebody's attention although nothing failed there."""
    parts = []
    if stale := outcomes["stale known failure"]:
        parts.append(
            f"{count(stale, 'known failure')} no longer {'fails or matches' if stale == 1 else 'fail or match'}."
        )
    if mistrusted := outcomes["mistrusted"]:
        parts.append(f"{count(mistrusted, 'check')} saw too little evidence to be trusted.")
    if missing := outcomes["no run"]:
        parts.append(f"{count(missing, 'check')} of {outcomes.total()} did not run.")
    return parts


def _passes(grid: Grid, outcomes: Counter[Outcome]) -> list[str]:
    """Say how much passes and how close it came to its bounds."""
    passing = [result for result in grid.cells.values() if result.outcome == "pass"]
    if not passing:
        return []
    mild = [f"{outcomes[outcome]} {word}" for outcome, word in _MILD if outcomes[outcome]]
    passed = f"{len(passing)} of {count(outcomes.total(), 'check')} {'passes' if len(passing) == 1 else 'pass'}"
    parts = [f"{listing([passed, *mild])}."]
    closest = max(passing, key=_size)
    if _size(closest):
        where = f"{closest.requirement} on {closest.implementation}"
        parts.append(f"The closest to its bound is {where}, at {ratio(closest.worst_ratio)} of it.")
    return parts


def _size(result: Result) -> float:
    """Return the worst ratio for sorting, NaN above all."""
    value = real(result.worst_ratio or 0.0)
    return math.inf if math.isnan(value) else value
