"""Family 7xx: layers of other specs beside a layer."""

from adapters.program import Trace
from conformance.case import Case
from conformance.evidence import Evidence, combine
from conformance.judge import Judge
from conformance.requirements._catalogue import requirement
from conformance.requirements.running import STATISTICS, update


@requirement(
    "BN-720", source="A layer has its own epsilon and decay", ops=("train", "infer", "meanwhile"), evidence=0.05
)
def other_specs_do_not_matter(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A layer keeps to its own ε and decay when a layer of others is built, trained and used beside it."""
    parts = []
    meanwhile = False
    for view in judge.run.views:
        meanwhile |= view.call.op == "meanwhile"
        if not meanwhile or view.call.op not in ("train", "infer"):
            continue
        if view.call.op == "train":
            parts += [update(judge, view, statistic) for statistic in STATISTICS]
        elif not judge.run.before(view.number, judge.kind).certain:
            continue
        parts += [judge.against_truth(view, quantity) for quantity in ("y", "dx", "dgamma")]
    return combine(parts)
