"""The schema of a results file: a header, one record per requirement and implementation, agreements and a footer.

A file is one JSON object per line, tagged by ``type``, compressed with gzip (``results.jsonl.gz``). Non-finite
numbers travel as the strings "nan", "inf" and "-inf": see ``Number``.
"""

import json
import math
from typing import Annotated, Literal, get_args

import msgspec

from reports.settling_record import Settling

SCHEMA_VERSION = 1

#: All outcomes, worst first; the order in which tallies are shown.
Outcome = Literal[
    "fail",
    "crash",
    "timeout",
    "error",
    "stale known failure",
    "mistrusted",
    "no run",
    "known failure",
    "deviates",
    "unsupported",
    "pass",
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: A float, or the name of a non-finite one.
Number = float | Literal["nan", "inf", "-inf"]


def number(value: float) -> Number:
    """Encode a float for a record: non-finite values become strings, since JSON has none."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(value)


def real(value: Number) -> float:
    """Decode what ``number`` encoded."""
    return float(value)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all parts of a results file have in common."""


class Rung(Record, frozen=True, kw_only=True):
    """What is lost at one condition number, in binary digits: of the batch's variance, and of the inference output."""

    kappa: float
    variance: float
    output: float
    #: The largest relative errors there, of "variance" and "output", and the largest that each grade's bound allows.
    errors: dict[str, Number] = {}


class Accuracy(Record, frozen=True, kw_only=True):
    """The accuracy of an implementation on one element type, as measured.

    Grades are those of the conventions ``variance_grade`` and ``affine_grade``, or "worse", or "" where they cannot be
    told. ``half_gone`` and ``all_gone`` are the condition numbers at which that part of the variance's digits is lost.
    """

    dtype: str
    variance_grade: str = ""
    affine_grade: str = ""
    half_gone: Number = "inf"
    all_gone: Number = "inf"
    ladder: list[Rung] = []
    #: Why it was not measured.
    reason: str = ""


class Implementation(Record, frozen=True, kw_only=True, tag="implementation"):
    """An implementation of the run: who it says it is, or why it could not be asked.

    The header names all of them; a line of its own says the rest as soon as it is known.
    """

    name: str
    #: What the command line calls it, such as ``package.module:Class``; empty when that is its name.
    target: str = ""
    framework: str = ""
    version: str = ""
    device: str = ""
    python: str = ""
    #: Further versions that matter there: NumPy, BLAS, CPU capability, threads.
    details: dict[str, str] = {}
    notes: list[str] = []
    #: Capability name -> printed value, as declared.
    capabilities: dict[str, str] = {}
    #: Convention name -> printed values, over the specs of the run, as declared.
    conventions: dict[str, list[str]] = {}
    #: Convention name -> what was seen of it, over the specs of the run; empty where it was not measured.
    observed: dict[str, list[str]] = {}
    #: Conventions of which something was seen that contradicts what is declared.
    contradicted: list[str] = []
    #: One per element type; empty where the numerics family was not run.
    accuracy: list[Accuracy] = []
    #: None where the running statistics were not run.
    settling: Settling | None = None
    #: Why it took no part; empty when it did.
    no_run: str = ""


class RequirementInfo(Record, frozen=True, kw_only=True):
    """A requirement as the catalogue states it."""

    id: str
    name: str
    claim: str
    source: str
    revision: int
    family: str
    family_title: str


class Header(Record, frozen=True, kw_only=True, tag="header"):
    """The first line: what was run, where, and with which seed."""

    schema: int = SCHEMA_VERSION
    run: str
    started: str
    suite_version: str
    profile: str
    seed: int
    cases_per_family: int
    #: Printed facts on the machine and the versions of the suite's own dependencies.
    environment: dict[str, str]
    implementations: list[Implementation]
    requirements: list[RequirementInfo]
    command: str = ""


class Examples(Record, frozen=True, kw_only=True):
    """How many examples a requirement saw, by what they came to. All but ``evidence`` add up to ``total``."""

    total: int = 0
    passed: int = 0
    failing: int = 0
    #: The requirement says nothing of such a case.
    not_applicable: int = 0
    #: The adapter refused the case, with a reason.
    unsupported: int = 0
    #: The case ended in an error, a crash or a timeout before it could be judged.
    broken: int = 0
    #: Applicable, but every bound was infinite or wider than the value.
    vacuous: int = 0
    #: Passed or failing examples whose bounds were tight enough to show a fault.
    evidence: int = 0


class Histogram(Record, frozen=True, kw_only=True):
    """Examples by log2 of their worst error / bound: ``counts[i]`` holds those in [low + i, low + i + 1)."""

    low: int = -32
    counts: list[int] = []
    #: Examples without any error at all.
    exact: int = 0
    #: Examples whose ratio is infinite or NaN.
    nonfinite: int = 0


class Mismatch(Record, frozen=True, kw_only=True):
    """One element of a counterexample: where, what came back, what was expected and how far off it may be."""

    quantity: str
    #: Step of the program, counted from 0; -1 when it belongs to the whole program.
    step: int
    index: list[int]
    got: Number
    expected: Number
    allowed: Number
    ratio: Number
    got_hex: str = ""
    expected_hex: str = ""


class Counterexample(Record, frozen=True, kw_only=True):
    """A case that fails: printed as code, saved as a file, with its worst elements."""

    #: "smallest" (after shrinking), "smallest seen" (not shrunk) or "worst".
    kind: Literal["smallest", "smallest seen", "worst"]
    ratio: Number
    code: str
    #: Case file, relative to the results file.
    file: str = ""
    message: str = ""
    mismatches: list[Mismatch] = []
    #: Readable facts: shape, axis, epsilon, data pattern.
    facts: dict[str, str] = {}
    command: str = ""
    #: A script that shows the failure with the framework and NumPy alone, and its file, relative to the results file.
    script: str = ""
    script_file: str = ""
    #: Why there is no such script.
    no_script: str = ""


class Result(Record, frozen=True, kw_only=True, tag="result"):
    """One requirement on one implementation."""

    requirement: str
    revision: int
    implementation: str
    outcome: Outcome
    reason: str = ""
    #: Largest error / bound of all examples and the bound that decided it ("prob", "panel", "worst" or "exact").
    worst_ratio: Number | None = None
    decided_by: str = ""
    #: The worst ratio against the proven bound: above 1 the result is wrong whatever the order of summation.
    proven_ratio: Number | None = None
    #: Ratio of the smallest counterexample.
    smallest_ratio: Number | None = None
    examples: Examples = Examples()
    #: Element type of the input -> examples judged, and how many of them could have shown a fault.
    evidence_by_dtype: dict[str, list[int]] = {}
    histogram: Histogram = Histogram()
    counterexamples: list[Counterexample] = []
    #: Last standard-error lines of the host where it broke.
    stderr: list[str] = []
    cause: str = ""
    seconds: float = 0.0


class Agreement(Record, frozen=True, kw_only=True, tag="agreement"):
    """The largest disagreement of two implementations on the same cases, over the sum of their bounds."""

    first: str
    second: str
    quantity: str
    worst_ratio: Number | None
    #: Elements compared, and elements left out since the two follow different conventions there.
    compared: int
    by_convention: int = 0


class Footer(Record, frozen=True, kw_only=True, tag="footer"):
    """The last line: the run's own accounting. A file without it is incomplete."""

    complete: bool
    reason: str = ""
    exit_code: int
    seconds_total: float
    #: Inside framework calls, in the hosts.
    seconds_framework: float
    seconds_import: float
    seconds_drawing: float
    seconds_judging: float
    #: Shrinking and explaining, framework time excluded.
    seconds_explaining: float
    #: Wire, waiting and the rest.
    seconds_other: float
    cases: int
    steps: int
    checks: int
    workers: int
    peak_memory_mib: float
    #: Implementation -> its share of the above: seconds_framework, seconds_judging, cases, steps, checks.
    by_implementation: dict[str, dict[str, float]] = {}


Line = Header | Implementation | Result | Agreement | Footer

#: Any line of a results file, for decoding.
TaggedLine = Annotated[Line, msgspec.Meta(title="Line of a BN Conformance results file")]


class Results(Record, frozen=True, kw_only=True):
    """A whole results file in memory. ``footer`` is None when the run ended before writing one."""

    header: Header
    results: list[Result]
    agreements: list[Agreement]
    footer: Footer | None
    #: File name, for messages.
    source: str = ""
    #: What a reader should know of how this was put together: cut off after which line, which duplicates were dropped.
    notes: list[str] = []


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of one line of a results file."""
    return msgspec.json.schema(TaggedLine)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
