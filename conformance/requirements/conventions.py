"""Family 8xx: conventions. What an implementation declares is measured, on programs made for it alone."""

from adapters.program import Trace
from conformance.case import Case
from conformance.conventions import CONVENTIONS, find
from conformance.evidence import NOTHING, Evidence, require
from conformance.judge import Judge
from conformance.requirements._catalogue import requirement

DECLARED = "the adapter's own Conventions"
TRAIN = ("train",)


def _judged(judge: Judge, name: str) -> Evidence:
    """What the probes of a convention show, beside what is declared."""
    runs = tuple(derived.run for derived in judge.derived)
    if not runs or judge.run.trace.conventions is None:
        return NOTHING
    convention = CONVENTIONS[name]
    found = find(convention, runs, judge.run.conventions)
    if found.agrees is None:
        return NOTHING
    evidence = require(found.agrees, found.message, convention.title)
    return evidence._replace(observed=((convention.field, found.observed),))


@requirement(
    "BN-801", source=DECLARED, ops=TRAIN, derive=CONVENTIONS["moving_variance"].probe, conventions=("moving_variance",)
)
def estimator_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The divisor m or m − 1 of the variance that enters the moving variance is the declared one, for every m."""
    return _judged(judge, "moving_variance")


@requirement(
    "BN-802",
    source=DECLARED,
    ops=TRAIN,
    derive=CONVENTIONS["moving_variance_single"].probe,
    conventions=("moving_variance_single",),
)
def single_variance_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """What enters the moving variance from a single element per channel is what is declared: zero or NaN."""
    return _judged(judge, "moving_variance_single")


@requirement("BN-803", source="adapters/interface.py: Spec.decay", ops=TRAIN, derive=CONVENTIONS["decay"].probe)
def decay_weighs_the_old_value(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """From the first step on, decay is the weight of the old moving value and 1 − decay that of the batch."""
    return _judged(judge, "decay")


@requirement("BN-804", source=DECLARED, derive=CONVENTIONS["epsilon_floor"].probe, conventions=("epsilon_floor",))
def floor_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The ε that takes effect is the given one, raised to the declared floor, in training and in inference alike."""
    return _judged(judge, "epsilon_floor")


@requirement(
    "BN-805",
    source=DECLARED,
    ops=TRAIN,
    derive=CONVENTIONS["single"].probe,
    conventions=("single",),
    refusals=True,
)
def single_element_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Training on one element per channel gives y = β or is refused, as declared."""
    return _judged(judge, "single")


@requirement(
    "BN-806", source=DECLARED, ops=TRAIN, derive=CONVENTIONS["empty"].probe, conventions=("empty",), refusals=True
)
def empty_batch_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """Training on an empty batch makes the moving statistics NaN, leaves them unchanged or is refused, as declared."""
    return _judged(judge, "empty")


@requirement(
    "BN-807",
    source=DECLARED,
    ops=TRAIN,
    derive=CONVENTIONS["statistics_dtype"].probe,
    conventions=("statistics_dtype",),
)
def statistics_type_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The moving statistics keep as many digits as their declared element type has, before and after a step."""
    return _judged(judge, "statistics_dtype")


@requirement(
    "BN-808", source=DECLARED, ops=TRAIN, derive=CONVENTIONS["decay_dtype"].probe, conventions=("decay_dtype",)
)
def decay_type_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The weights of an update are those of a decay held in the declared element type."""
    return _judged(judge, "decay_dtype")


@requirement(
    "BN-809", source=DECLARED, ops=TRAIN, derive=CONVENTIONS["compute_dtype"].probe, conventions=("compute_dtype",)
)
def arithmetic_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The arithmetic has no fewer digits than the declared element type, and its results no more than it can have."""
    return _judged(judge, "compute_dtype")


@requirement("BN-810", source=DECLARED, ops=TRAIN, derive=CONVENTIONS["update"].probe, conventions=("update_timing",))
def training_updates_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A training step as users make it moves the statistics, and where that is declared an act of its own, it is."""
    return _judged(judge, "update")


@requirement(
    "BN-811",
    source=DECLARED,
    ops=("train", "apply_updates"),
    derive=CONVENTIONS["separate_update"].probe,
    needs="separate_update",
    conventions=("update_timing",),
)
def separate_update_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The update changes the moving statistics when it is run, not before, where that is declared and nowhere else."""
    return _judged(judge, "separate_update")


@requirement(
    "BN-812",
    source=DECLARED,
    ops=TRAIN,
    derive=CONVENTIONS["frozen"].probe,
    conventions=("frozen",),
    refusals=True,
)
def frozen_layer_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """A frozen layer in training mode infers, normalizes with the batch or trains, as declared."""
    return _judged(judge, "frozen")


@requirement(
    "BN-813",
    source="Chan, Golub & LeVeque 1983",
    derive=CONVENTIONS["variance_grade"].probe,
)
def variance_as_accurate_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The variance keeps its digits, as the data's offset grows, as well as an algorithm of the declared grade."""
    return _judged(judge, "variance_grade")


@requirement("BN-814", source=DECLARED, derive=CONVENTIONS["affine_grade"].probe)
def output_as_accurate_as_declared(case: Case, trace: Trace, judge: Judge) -> Evidence:
    """The inference output keeps its digits, as the data's offset grows, as well as the declared form does."""
    return _judged(judge, "affine_grade")
