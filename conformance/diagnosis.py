"""Likely causes: scores what failed against a library of fault models, and names one where it clearly fits best.

A model is right about a channel where it gives what the implementation gave outside the truth's bounds, and wrong
where the implementation was right and the model says something else. One cause may explain several requirements; a
requirement gets none where no model fits, or where models of different kinds fit alike.
"""

import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from adapters.interface import Array
from conformance.diagnosis_facts import Fact, compare, facts, predict
from conformance.diagnosis_models import Model, library
from conformance.judge import Run
from conformance.keeping import Kept
from conformance.requirements import CATALOGUE

#: A cause must explain this share of what is wrong in a case, in this share of the cases.
EXPLAINED, CASES = 0.8, 0.7
#: Of all that a cause says, this share at most may be contradicted.
CONTRADICTED = 0.04
#: A cause must explain so many cases more than one of another family.
MARGIN = 0.5
#: A cause must explain this share of all cases that fail, or of those that a greater cause leaves over: what explains
#: a corner of a failure is a consequence of its cause.
SHARE = 0.2
#: Failing cases of a requirement that are looked at, of all requirements, and passing ones.
PER_REQUIREMENT, FAILING, PASSING = 5, 36, 16

Symptom = tuple[str, str]


class Cause(NamedTuple):
    """A cause, and on how many of the failing cases that were looked at it fits."""

    model: Model
    fits: int
    of: int

    @property
    def text(self) -> str:
        """The sentence of a report."""
        return f"{self.model.cause} Fits {self.fits} of {self.of} failing cases examined."


def vector(parts: list[Array]) -> Array:
    """One vector of all."""
    return np.concatenate(parts) if parts else np.zeros(0, bool)


class _Evidence:
    """The facts of the chosen runs as flat vectors over channels, to which each model adds its own."""

    def __init__(self, kept: list[Kept]) -> None:
        self.kept = kept
        self.runs = [Run(k.case, k.trace) for k in kept]
        self.facts: list[list[Fact]] = [facts(run) for run in self.runs]
        sizes = [(n, fact) for n, found in enumerate(self.facts) for fact in found]
        self.symptoms = sorted({fact.symptom for _, fact in sizes})
        number = {symptom: i for i, symptom in enumerate(self.symptoms)}
        self.run_of = vector([np.full(len(f.wrong), n) for n, f in sizes])
        self.symptom_of = vector([np.full(len(f.wrong), number[f.symptom]) for _, f in sizes])
        self.wrong = vector([f.wrong for _, f in sizes]).astype(bool)
        self.finite = vector([np.atleast_1d(np.isfinite(f.got).all(axis=1)) for _, f in sizes]).astype(bool)
        self.starts = np.cumsum([0, *(sum(len(f.wrong) for f in found) for found in self.facts)])

    def probes(self) -> list[int]:
        """A few runs, small ones, in which everything is wrong that is wrong anywhere.

        Finite values come first: in what overflows or is divided by zero, all models look alike, or none fits.
        """
        chosen = self._covering(self.wrong & self.finite)
        return chosen + [n for n in self._covering(self.wrong) if n not in chosen]

    def _covering(self, wrong: Array) -> list[int]:
        size = np.diff(self.starts)
        missing = set(np.unique(self.symptom_of[wrong]))
        within = {n: set(np.unique(self.symptom_of[wrong & (self.run_of == n)])) for n in range(len(self.runs))}
        chosen: list[int] = []
        while missing:
            chosen.append(max(within, key=lambda n: (len(within[n] & missing), -size[n])))
            missing -= within[chosen[-1]]
        return chosen

    def is_promising(self, model: Model, run: int) -> bool:
        """Whether a model explains at least half of something that is wrong in a run."""
        predicted = predict(model, self.runs[run])
        for fact in self.facts[run]:
            value = predicted.get(fact.key)
            if fact.wrong.any() and value is not None and value.shape == fact.got.shape:
                explained = compare(fact, value).explained
                if 2 * explained.sum() >= fact.wrong.sum():
                    return True
        return False

    def judge(self, model: Model, run: int) -> tuple[Array, Array]:
        """Which channels of a run a model explains, and which contradict it."""
        predicted = predict(model, self.runs[run])
        explained, contradicted = [], []
        for fact in self.facts[run]:
            value = predicted.get(fact.key)
            nothing = np.zeros(len(fact.wrong), bool)
            if value is None or value.shape != fact.got.shape:
                explained.append(nothing)
                contradicted.append(nothing)
                continue
            verdict = compare(fact, value)
            explained.append(verdict.explained)
            contradicted.append(verdict.contradicted)
        return vector(explained), vector(contradicted)


class _Candidate(NamedTuple):
    """A model with what it explains, channel by channel."""

    model: Model
    explained: Array
    #: Cases that it explains, each in the share that it explains, and the share of what it says that is contradicted.
    cases: float
    contradicted: float


def choose(kept: Iterable[Kept]) -> list[Kept]:
    """A bounded number of the cases that surveys kept: some of every requirement that failed, small ones first."""
    # The same for any number of workers, whose families come in any order.
    ordered = sorted(kept, key=lambda k: (_size(k), k.family))
    chosen: list[Kept] = []
    seen: dict[str, int] = {}
    for candidate in ordered:
        if len(chosen) < FAILING and any(seen.get(id_, 0) < PER_REQUIREMENT for id_ in candidate.failed):
            chosen.append(candidate)
            for id_ in candidate.failed:
                seen[id_] = seen.get(id_, 0) + 1
    passing = [k for k in ordered if not k.failed]
    step = max(1, len(passing) // PASSING)
    return chosen + passing[::step][:PASSING]


def _size(kept: Kept) -> int:
    return sum(0 if call.x is None else call.x.size for call in kept.case.expanded.calls)


def diagnose(kept: Iterable[Kept], seconds: float, models: tuple[Model, ...] | None = None) -> dict[str, Cause]:
    """The likely cause by requirement; without an entry where none is clearly the best, or time ran out."""
    deadline = time.monotonic() + seconds
    evidence = _Evidence(choose(kept))
    if not evidence.wrong.any():
        return {}
    candidates = _candidates(evidence, library() if models is None else models, deadline)
    found: dict[str, Cause] = {}
    for id_ in sorted({id_ for k in evidence.kept for id_ in k.failed}):
        best = _best(id_, evidence, candidates)
        if best is not None:
            found[id_] = best
    return _counted(_major(found, evidence, candidates), evidence, candidates)


def _candidates(evidence: _Evidence, models: tuple[Model, ...], deadline: float) -> list[_Candidate]:
    probes = evidence.probes()
    found = []
    for model in models:
        if time.monotonic() > deadline:
            # Some were never asked: a best one of the rest would be chance.
            return []
        if not any(evidence.is_promising(model, n) for n in probes):
            continue
        judged = [evidence.judge(model, n) for n in range(len(evidence.runs))]
        explained, contradicted = (vector([j[i] for j in judged]) for i in (0, 1))
        said = explained.sum() + contradicted.sum()
        found.append(_Candidate(model, explained, _cases(evidence, explained), contradicted.sum() / max(said, 1)))
    return found


def _cases(evidence: _Evidence, explained: Array) -> float:
    """Cases explained, each counted by the share of its wrong channels that is."""
    runs = len(evidence.runs)
    wrong = np.bincount(evidence.run_of[evidence.wrong], minlength=runs)
    right = np.bincount(evidence.run_of[explained], minlength=runs)
    return float(np.sum(right / np.maximum(wrong, 1)))


def _best(id_: str, evidence: _Evidence, candidates: list[_Candidate]) -> Cause | None:
    fitting = []
    for candidate in candidates:
        fits, of = _fits(id_, evidence, candidate)
        if of and fits >= CASES * of and candidate.contradicted <= CONTRADICTED:
            fitting.append((candidate, fits, of))
    if not fitting:
        return None
    # Python's sort is stable: of models that fit alike, the library's earlier one comes first.
    fitting.sort(key=lambda f: -round(f[0].cases * (1 - f[0].contradicted), 6))
    first, fits, of = fitting[0]
    for other, _, _ in fitting[1:]:
        if other.model.family != first.model.family and other.cases > first.cases - MARGIN:
            return None
    return Cause(first.model, fits, of)


def _major(found: dict[str, Cause], evidence: _Evidence, candidates: list[_Candidate]) -> dict[str, Cause]:
    """The causes that explain enough of what fails."""
    explains = {candidate.model.name: candidate.cases for candidate in candidates}
    greatest = max((explains[cause.model.name] for cause in found.values()), default=0.0)
    failing = len(np.unique(evidence.run_of[evidence.wrong]))

    def suffices(cause: Cause) -> bool:
        mine = explains[cause.model.name]
        return mine >= SHARE * (failing if mine == greatest else failing - greatest)

    return {id_: cause for id_, cause in found.items() if suffices(cause)}


def _fits(id_: str, evidence: _Evidence, candidate: _Candidate) -> tuple[int, int]:
    """On how many of a requirement's failing cases a model explains what that requirement is about, and of how many."""
    fits = of = 0
    for n, kept in enumerate(evidence.kept):
        if id_ not in kept.failed:
            continue
        here = slice(evidence.starts[n], evidence.starts[n + 1])
        relevant = [i for i, s in enumerate(evidence.symptoms) if concerns(kept.failed[id_], s) and judged_by(id_, s)]
        wrong = evidence.wrong[here] & np.isin(evidence.symptom_of[here], relevant)
        if wrong.any():
            of += 1
            fits += int(np.mean(candidate.explained[here][wrong]) >= EXPLAINED)
    return fits, of


#: Words in what a requirement compares -> the quantity that it is about.
_WORDS = (
    ("Σ dx", "dx"),
    ("dx", "dx"),
    ("dgamma", "dgamma"),
    ("dbeta", "dbeta"),
    ("moving_mean", "moving_mean"),
    ("moving mean", "moving_mean"),
    ("moving_variance", "moving_variance"),
    ("moving variance", "moving_variance"),
    ("gamma", "gamma"),
    ("beta", "beta"),
    ("y", "y"),
    ("1/√", "y"),
)


def concerns(quantities: tuple[str, ...], symptom: Symptom) -> bool:
    """Whether a symptom is among the quantities that were off; what is not understood may be about anything."""
    about = set()
    for quantity in quantities:
        named = next((name for word, name in _WORDS if word in quantity), None)
        if named is None:
            return True
        about.add(named)
    return not about or symptom[1] in about


def judged_by(id_: str, symptom: Symptom) -> bool:
    """Whether a requirement judges the operation; what it does to the state may show after any."""
    return symptom[0] not in ("train", "infer") or id_ not in CATALOGUE or symptom[0] in CATALOGUE[id_].ops


def _counted(found: dict[str, Cause], evidence: _Evidence, candidates: list[_Candidate]) -> dict[str, Cause]:
    """The causes, each with its count over all requirements that it stands for: equal texts make a group."""
    explained = {candidate.model.name: candidate.explained for candidate in candidates}
    counts: dict[str, tuple[int, int]] = {}
    for name in {cause.model.name for cause in found.values()}:
        ids = {id_ for id_, cause in found.items() if cause.model.name == name}
        fits = of = 0
        for n, kept in enumerate(evidence.kept):
            if ids & set(kept.failed):
                here = slice(evidence.starts[n], evidence.starts[n + 1])
                of += 1
                fits += bool(explained[name][here].any())
        counts[name] = fits, of
    return {id_: Cause(cause.model, *counts[cause.model.name]) for id_, cause in found.items()}
