"""Names numerics of a worse grade than the declared one as the cause of what that grade's bounds would have allowed."""

from collections.abc import Iterable, Sequence

import numpy as np

from adapters.interface import Array, Conventions
from conformance.diagnosis import CASES, EXPLAINED, choose, concerns, judged_by
from conformance.diagnosis_facts import Fact, facts
from conformance.grading import WORSE, Measured
from conformance.judge import Run
from conformance.keeping import Kept

_ORDER = {"variance_grade": "ABC", "affine_grade": "SF"}
#: What a grade is, for readers.
_WORDS = {
    "A": "two passes",
    "B": "updating formulas",
    "C": "E[x²] − E[x]² in one pass",
    "S": "subtracting the mean first",
    "F": "folding into a·x + b",
}
_OF = {"variance_grade": "variance", "affine_grade": "output"}
#: The requirements that compare the declared grade with the measured one.
_DECLARED = ("BN-813", "BN-814")


def diagnose_grades(kept: Iterable[Kept], measured: Sequence[Measured], ids: Iterable[str]) -> dict[str, str]:
    """The sentence of a report for each of these requirements whose failures the measured grade accounts for."""
    by_type = {m.dtype: m for m in measured}
    evidence: list[tuple[Kept, list[tuple[Fact, Array]]]] = []
    causes: set[str] = set()
    for k in choose(kept):
        conventions = k.trace.conventions or Conventions()
        found = by_type.get(k.case.spec.dtype)
        loosened, sentence = (conventions, "") if found is None else _loosened(conventions, found)
        if not k.failed or not sentence:
            continue
        causes.add(sentence)
        told = {fact.key: fact.wrong for fact in facts(Run(k.case, k.trace._replace(conventions=loosened)), "panel")}
        evidence.append(
            (k, [(f, f.wrong & ~told[f.key]) for f in facts(Run(k.case, k.trace), "panel") if f.wrong.any()])
        )
    if len(causes) != 1:
        return {}
    left = set(ids)
    counts = {id_: _fits(id_, evidence) for id_ in left}
    named = {id_ for id_, (fits, of) in counts.items() if of and fits >= CASES * of}
    named |= left.intersection(_DECLARED) if named else set()
    fits, of = _fits("", [e for e in evidence if named & set(e[0].failed)])
    return dict.fromkeys(named, f"{causes.pop()} Fits {fits} of {of} failing cases examined.")


def _loosened(conventions: Conventions, measured: Measured) -> tuple[Conventions, str]:
    """The conventions with grades as bad as they were measured to be, and what to say where one is worse."""
    texts = []
    for field, order in _ORDER.items():
        declared, seen = getattr(conventions, field), getattr(measured, field)
        if seen and seen != WORSE and order.index(seen) > order.index(declared):
            conventions = conventions._replace(**{field: seen})
            texts.append(
                f"The {_OF[field]} loses the digits that {_WORDS[seen]} loses (grade {seen}); declared is grade "
                f"{declared}, {_WORDS[declared]}."
            )
    return conventions, " ".join(texts)


def _fits(id_: str, evidence: list[tuple[Kept, list[tuple[Fact, Array]]]]) -> tuple[int, int]:
    """On how many failing cases the grade accounts for what the requirement is about, and of how many; "" is any."""
    fits = of = 0
    for k, found in evidence:
        if id_ and id_ not in k.failed:
            continue
        about = k.failed.get(id_, ())
        shares = [
            (fact.wrong, explained)
            for fact, explained in found
            if concerns(about, fact.symptom) and (not id_ or judged_by(id_, fact.symptom))
        ]
        if shares:
            of += 1
            wrong, explained = (np.concatenate([pair[n] for pair in shares]) for n in (0, 1))
            fits += bool(np.mean(explained[wrong]) >= EXPLAINED)
    return fits, of
