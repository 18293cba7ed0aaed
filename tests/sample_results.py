"""Builds results for the tests of the reports: made up, deterministic, with every outcome; never shipped as data."""

import math
import random
from typing import Any

import msgspec

from reports.records import (
    Accuracy,
    Agreement,
    Counterexample,
    Examples,
    Footer,
    Header,
    Histogram,
    Implementation,
    Mismatch,
    Outcome,
    RequirementInfo,
    Result,
    Results,
    Rung,
    number,
)
from reports.settling_record import Settling

#: Markup, quotes, a script's end, a template, a bidirectional override, control characters and half a surrogate pair.
HOSTILE = "<img src=x onerror=alert(1)>'\"</script></style><!--{{7*7}}{%x%}\u202eevil\x1b[31m\x00\udc80&amp;"

TOTAL = 200

FAMILIES = {
    "1xx": ("Normalization in training", ["training_output", "unit_variance", "shift_invariance", "scale_behaviour",
                                          "batch_permutation", "channels_independent", "affine_restores_input"]),
    "2xx": ("Inference", ["moving_statistics_only", "sample_independent_of_batch", "inference_keeps_state",
                          "evaluation_in_batches"]),
    "3xx": ("Running statistics", ["moving_mean_step", "moving_variance_step", "moving_mean_sequence",
                                   "moving_variance_sequence", "one_update_per_step", "decay_honoured"]),
    "4xx": ("Gradients", ["input_gradient", "gamma_gradient", "beta_gradient", "gradient_sums_to_zero",
                          "gradient_orthogonal", "linear_in_upstream", "inference_gradient"]),
    "5xx": ("Numerics", ["large_mean_small_variance", "constant_channel", "subnormal_inputs", "one_value_per_channel"]),
    "6xx": ("Shapes, types and layouts", ["channels_last", "non_contiguous_input", "empty_batch", "dtype_kept"]),
    "7xx": ("State and modes", ["inputs_unmodified", "same_case_same_bits", "interleaved_modes"]),
}  # fmt: skip

CLAIMS = {
    "training_output": "In training, y = γ·(x − μ)/√(σ² + ε) + β with the mean and biased variance of this batch.",
    "moving_variance_step": "After a training step the moving variance is decay·old + (1 − decay)·batch, as declared.",
    "large_mean_small_variance": "The error may grow with the condition number κ = |μ|/σ, no faster than the bound.",
}

SWAPPED = "The weights of the old value and of the batch are swapped: decay = 0.1 fits 200 of 200 examples."
ONE_PASS = "The one-pass variance E[x²] − E[x]² in float32 gives the same values bit for bit."

Special = tuple[Outcome, str, str]

SPECIAL: dict[tuple[str, str], Special] = {
    ("moving_variance_step", "tf_graph.fused"): ("fail", "", SWAPPED),
    ("moving_mean_step", "tf_graph.fused"): ("fail", "", SWAPPED),
    ("moving_variance_sequence", "tf_graph.fused"): ("fail", "", SWAPPED),
    ("large_mean_small_variance", "tf_graph.fused"): ("fail", "", ONE_PASS),
    ("subnormal_inputs", "tf_graph.nn"): ("error", "RuntimeError: failed to render Ops.CAST from 0x1p-149", ""),
    ("empty_batch", "tf_graph.nn"): ("crash", "The host died of signal 8 (SIGFPE).", ""),
    ("empty_batch", "torch"): ("unsupported", "torch refuses a batch without values.", ""),
    ("empty_batch", "keras"): ("timeout", "No answer within 30 s.", ""),
    ("one_value_per_channel", "torch"): ("unsupported", "torch refuses one value per channel in training.", ""),
    ("one_value_per_channel", "keras"): ("mistrusted", "3 of 200 examples are evidence, 20 are needed.", ""),
    ("dtype_kept", "keras"): ("no run", "Five crashes in the family ended it.", ""),
    ("gradient_orthogonal", "keras"): ("known failure", "keras#20511: orthogonal up to ε only.", ""),
    ("linear_in_upstream", "torch"): ("stale known failure", "Listed for torch < 3, but every example passes.", ""),
    ("moving_variance_step", "torch"): ("deviates", "The moving variance is unbiased, as declared.", ""),
    ("moving_variance_sequence", "torch"): ("deviates", "The moving variance is unbiased, as declared.", ""),
    ("constant_channel", "tf_graph.fused"): ("deviates", "Epsilon is at least 1.001e-5, as declared.", ""),
}  # fmt: skip

CODE = """case = Case(
    spec=Spec(shape=(None, 1), axis=(-1,), epsilon=1e-05, decay=0.9, center=True, scale=True, dtype="float32"),
    state=State(gamma=[1.0], beta=[0.0], moving_mean=[0.0], moving_variance=[1.0]),
    steps=[Train(x=[[2048.0], [2049.0]], dy=[[1.0], [-1.0]])],  # γ, β: any other value fails too
)
"""


def sample(seed: int = 4071) -> Results:
    """Return results of five implementations and 35 requirements with all outcomes."""
    draw = random.Random(seed)
    requirements = [
        RequirementInfo(
            id=f"BN-{family[0]}{place:02d}",
            name=name,
            claim=CLAIMS.get(name, f"{name.replace('_', ' ').capitalize()} holds on every legal case."),
            source="Ioffe & Szegedy 2015, Algorithm 1",
            revision=1,
            family=family,
            family_title=title,
        )
        for family, (title, names) in FAMILIES.items()
        for place, name in enumerate(names, start=1)
    ]
    implementations = _implementations()
    results = [_result(draw, info, who.name) for info in requirements for who in implementations]
    return Results(
        header=Header(
            run="20261121T143200Z-4071",
            started="2026-11-21T14:32:00+00:00",
            suite_version="0.1.0",
            profile="default",
            seed=seed,
            cases_per_family=TOTAL,
            environment={
                "machine": "Linux 6.12, x86_64",
                "cpu": "AMD EPYC 9354, 2 cores",
                "python": "3.11.7",
                "numpy": "2.4.6, OpenBLAS 0.3.30",
                "hypothesis": "6.170.15",
            },
            implementations=implementations,
            requirements=requirements,
            command="bn-conformance run numpy tf_graph keras torch --profile default --out results",
        ),
        results=results,
        agreements=_agreements(draw, [who.name for who in implementations]),
        footer=_footer([who.name for who in implementations]),
        source="results/results.jsonl.gz",
    )


def only(results: Results, *implementations: str, requirements: int = 3, outcome: Outcome = "pass") -> Results:
    """Return a small complete run in which every cell has one outcome."""
    who = [i for i in results.header.implementations if i.name in implementations]
    infos = results.header.requirements[:requirements]
    cells = [
        Result(requirement=info.id, revision=1, implementation=i.name, outcome=outcome) for info in infos for i in who
    ]
    header = msgspec.structs.replace(results.header, implementations=who, requirements=infos)
    return msgspec.structs.replace(results, header=header, results=cells, agreements=[])


def hostile(results: Results) -> Results:
    """Return the same results with ``HOSTILE`` in every string and key that is not one of a fixed set."""
    fixed = {"outcome", "kind", "type", "worst_ratio", "ratio", "got", "expected", "allowed", "proven_ratio"}
    fixed |= {"half_gone", "all_gone", "mean", "variance", "output"}
    free_keys = {"environment", "details", "capabilities", "conventions", "observed", "facts", "by_implementation"}

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return value if key in fixed else value + HOSTILE
        if isinstance(value, dict):
            return {k + HOSTILE if key in free_keys else k: spoil(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(v, key) for v in value]
        return value

    return msgspec.convert(spoil(msgspec.to_builtins(results)), Results)


def _implementations() -> list[Implementation]:
    versions = {
        "numpy": ("NumPy", "2.4.6"),
        "tf_graph.nn": ("TensorFlow", "2.21.0"),
        "tf_graph.fused": ("TensorFlow", "2.21.0"),
        "keras": ("Keras", "3.15.0"),
        "torch": ("PyTorch", "2.13.0"),
    }
    return [
        Implementation(
            name=name,
            framework=framework,
            version=version,
            device="cpu",
            python="3.11.7",
            details={"numpy": "2.4.6", "threads": "2", "capability": "AVX512"},
            notes=["Transposes inside, since the framework is channel-first."] if name == "torch" else [],
            capabilities={
                "tape": "yes",
                "second_order": "no" if name == "tf_graph.fused" else "yes",
                "dtypes": "float32",
                "axes": "1" if name == "torch" else "any",
            },
            conventions={
                "moving_variance": ["unbiased"] if name in ("torch", "tf_graph.fused") else ["biased"],
                "epsilon_floor": ["1.001e-05"] if name == "tf_graph.fused" else ["0"],
                "one_value": ["refused"] if name == "torch" else ["y = β"],
                "statistics_dtype": ["float32"],
                "update_timing": ["separate update"] if name.startswith("tf") else ["in the call"],
                "variance_grade": ["B", "C"] if name == "tf_graph.fused" else ["A"],
            },
            observed={
                "moving_variance": ["unbiased"] if name == "torch" else ["biased"],
                "epsilon_floor": ["raised to 1.001e-05"] if name == "tf_graph.fused" else ["none"],
            },
            contradicted=["moving_variance"] if name == "tf_graph.fused" else [],
            accuracy=_accuracy(name),
            settling=_settling(name),
        )
        for name, (framework, version) in versions.items()
    ]


def _accuracy(name: str) -> list[Accuracy]:
    if name == "keras":
        return []
    ladder = [
        Rung(
            kappa=10.0**k,
            variance=min(3.0 * k + 2.5, 24.0),
            output=2.0 + k,
            errors={
                "variance": 3e-7 * 10.0**k,
                "A": 2e-6 * 10.0**k,
                "B": 5e-6 * 10.0**k,
                "C": 7e-6 * 100.0**k,
                "output": 2e-7 * 10.0**k if k < 7 else "inf",
                "S": 2e-6 * 10.0**k,
                "F": 2e-5 * 10.0**k,
            },
        )
        for k in range(8)
    ]
    graded = {"torch": "C", "numpy": ""}.get(name, "A")
    measured = Accuracy(
        dtype="float32", variance_grade=graded, affine_grade="S", half_gone=1e4, all_gone="inf", ladder=ladder
    )
    return [measured, Accuracy(dtype="float64", reason="error: it raised")] if name == "torch" else [measured]


def _settling(name: str) -> Settling | None:
    if name == "keras":
        return None
    if name == "tf_graph.nn":
        return Settling(dtype="float32", decay=0.75, reason="error: it raised")
    left = 0.25 if name == "tf_graph.fused" else 0.75
    shares = [max(left**step, 1e-7) for step in range(1, 41)]
    return Settling(dtype="float32", decay=0.75, mean=list(shares), variance=[*shares[:-1], "nan"])


def _result(draw: random.Random, info: RequirementInfo, who: str) -> Result:
    outcome, reason, cause = SPECIAL.get((info.name, who), ("pass", "", ""))
    centre = draw.uniform(-12, -3)
    failing = 0
    if outcome in ("fail", "known failure"):
        failing = 9 if "one-pass" in cause else 168
    logs = [min(draw.gauss(centre, 1.4), -0.2) for _ in range(TOTAL - failing)]
    logs += [draw.gauss(20, 1.5) if failing > 9 else draw.uniform(2, 12) for _ in range(failing)]
    common: dict[str, Any] = {
        "requirement": info.id,
        "revision": 1,
        "implementation": who,
        "outcome": outcome,
        "reason": reason,
        "cause": cause,
        "seconds": round(draw.uniform(0.1, 2), 3),
    }
    if outcome in ("no run", "unsupported"):
        counts = {"unsupported": TOTAL} if outcome == "unsupported" else {}
        return Result(**common, examples=Examples(total=sum(counts.values()), **counts))
    if outcome in ("error", "crash", "timeout"):
        return Result(
            **common,
            examples=Examples(total=TOTAL, passed=188, broken=12, evidence=180),
            histogram=_histogram(logs[:188]),
            worst_ratio=number(2.0 ** max(logs[:188])),
            decided_by="prob",
            stderr=["Traceback (most recent call last):", '  File "adapters/tf_graph.py", line 38, in train', reason],
            counterexamples=[_counterexample("smallest seen", None, reason)] if outcome == "error" else [],
        )
    if info.name in ("inference_keeps_state", "same_case_same_bits", "inputs_unmodified", "one_update_per_step"):
        return Result(
            **common,
            examples=Examples(total=TOTAL, passed=TOTAL, evidence=TOTAL),
            histogram=Histogram(exact=TOTAL),
            worst_ratio=0.0,
            decided_by="exact",
        )
    worst, smallest = 2.0 ** max(logs), 2.0 ** (logs[-1] - 1)
    if info.name == "moving_variance_sequence" and failing:
        worst = math.nan
    return Result(
        **common,
        examples=Examples(
            total=TOTAL + 40, passed=TOTAL - failing, failing=failing, not_applicable=40, evidence=TOTAL - 14
        ),
        histogram=_histogram(logs),
        worst_ratio=number(worst),
        decided_by="panel" if failing else "prob",
        proven_ratio=number(worst / 6),
        smallest_ratio=number(smallest) if failing else None,
        counterexamples=[_counterexample("smallest", smallest, ""), _counterexample("worst", worst, "")]
        if failing
        else [],
    )


def _histogram(logs: list[float]) -> Histogram:
    low = math.floor(min(logs))
    counts = [0] * (math.floor(max(logs)) - low + 1)
    for value in logs:
        counts[math.floor(value) - low] += 1
    return Histogram(low=low, counts=counts)


def _counterexample(kind: Any, ratio: float | None, message: str) -> Counterexample:
    mismatches = [
        Mismatch(
            quantity=quantity,
            step=0,
            index=index,
            got=number(got),
            expected=number(expected),
            allowed=1.2e-7,
            ratio=number(ratio / (place + 1)),
            got_hex=got.hex(),
            expected_hex=expected.hex(),
        )
        for place, (quantity, index, got, expected) in enumerate(
            [("moving_variance", [0], 1.9, 1.1), ("y", [1, 0], -0.7071067690849304, math.nan)]
        )
        if ratio is not None
    ]
    return Counterexample(
        kind=kind,
        ratio=number(ratio if ratio is not None else math.inf),
        code=CODE if kind != "worst" else CODE.replace("2048.0", "-31744.625").replace("2049.0", "98112.03125"),
        file=f"cases/{kind.replace(' ', '-')}.npz",
        message=message,
        mismatches=mismatches,
        facts={"shape": "(2, 1)", "axis": "-1", "epsilon": "1e-05", "decay": "0.9", "data": "exact, offset 2048"},
        command=f"bn-conformance replay results/cases/{kind.replace(' ', '-')}.npz",
    )


def _agreements(draw: random.Random, names: list[str]) -> list[Agreement]:
    return [
        Agreement(
            first=first,
            second=second,
            quantity=quantity,
            worst_ratio=None if quantity == "dbeta" and first == "numpy" else number(2 ** draw.uniform(-9, -0.3)),
            compared=draw.randrange(10_000, 90_000),
            by_convention=412 if quantity == "moving_variance" and "torch" in (first, second) else 0,
        )
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        for quantity in ("y", "dx", "dgamma", "dbeta", "moving_mean", "moving_variance")
    ]


def _footer(names: list[str]) -> Footer:
    share = {"seconds_framework": 12.5, "seconds_judging": 4.25, "cases": 1400.0, "steps": 4100.0, "checks": 7000.0}
    return Footer(
        complete=True,
        exit_code=1,
        seconds_total=121.4,
        seconds_framework=62.5,
        seconds_import=14.2,
        seconds_drawing=8.1,
        seconds_judging=21.3,
        seconds_explaining=9.7,
        seconds_other=5.6,
        cases=1400,
        steps=20_500,
        checks=35_000,
        workers=2,
        peak_memory_mib=812.5,
        by_implementation=dict.fromkeys(names, share),
    )
