"""Builds results of many environments for the tests and the benchmark of the reports: made up, deterministic."""

import random
from typing import Any

import msgspec

from reports.records import Agreement, Implementation, Outcome, RequirementInfo, Result, Results
from tests.sample_results import only, sample

#: Requirements, implementations and environments of the announced budgets: 12,000 cells.
FULL = (40, 15, 20)
FRAMEWORKS = ("TensorFlow", "Keras", "PyTorch", "JAX", "ONNX Runtime")


def large(requirements: int, implementations: int, environments: int, seed: int = 1) -> Results:
    """Return a complete run of so many of each; one pair in a hundred fails from some version on, some do not run."""
    draw = random.Random(seed)
    base = sample()
    infos = [_info(base.header.requirements[n % 35], n) for n in range(requirements)]
    who = [_who(base.header.implementations[n % 5], n, e) for e in range(environments) for n in range(implementations)]
    kinds = {r.outcome: r for r in base.results}
    courses = {(info.id, n): _course(draw, environments) for info in infos for n in range(implementations)}
    cells = [
        _cell(draw, kinds, info, one, courses[info.id, number % implementations][number // implementations])
        for info in infos
        for number, one in enumerate(who)
    ]
    header = msgspec.structs.replace(base.header, implementations=who, requirements=infos)
    return msgspec.structs.replace(base, header=header, results=cells, agreements=_agreements(who, implementations))


def environments_side_by_side() -> Results:
    """Return a small run of three implementations in two environments; one requirement fails in the older one."""
    found = only(sample(), "tf_graph.nn", "tf_graph.fused", "keras", requirements=4)
    who = [
        msgspec.structs.replace(one, name=f"{one.name}{suffix}", version=version)
        for suffix, version in (("", "2.21.0"), ("@tf1.4", "1.4.1"))
        for one in found.header.implementations
    ]
    cells = [
        msgspec.structs.replace(cell, implementation=one.name, outcome=_outcome(cell, one), worst_ratio=0.25)
        for one in who
        for cell in found.results
        if cell.implementation == one.name.partition("@")[0]
    ]
    header = msgspec.structs.replace(found.header, implementations=who)
    return msgspec.structs.replace(found, header=header, results=cells)


def _outcome(cell: Result, one: Implementation) -> Outcome:
    return "fail" if (cell.requirement, one.name) == ("BN-102", "keras@tf1.4") else cell.outcome


def _info(like: RequirementInfo, number: int) -> RequirementInfo:
    return like if number < 35 else msgspec.structs.replace(like, id=f"{like.id}-{number}")


def _who(like: Implementation, number: int, environment: int) -> Implementation:
    suffix = f"@env{environment}" if environment else ""
    return msgspec.structs.replace(
        like,
        name=f"layer{number}{suffix}",
        framework=FRAMEWORKS[number % 5],
        version=f"{1 + environment // 4}.{environment % 4}.0",
    )


def _course(draw: random.Random, environments: int) -> list[Outcome]:
    """Return what a requirement comes to on an implementation in one environment after the other."""
    kind: Outcome = draw.choices(("pass", "deviates", "unsupported", "fail", "error"), (930, 25, 35, 8, 2))[0]
    since = draw.randrange(environments) if kind in ("fail", "error") else 0
    return [kind if environment >= since else "pass" for environment in range(environments)]


def _cell(
    draw: random.Random, kinds: dict[Outcome, Result], info: RequirementInfo, one: Implementation, outcome: Outcome
) -> Result:
    if one.name == "layer3@env2":
        outcome = "no run"
    changed: dict[str, Any] = {"requirement": info.id, "implementation": one.name}
    if outcome == "pass":
        changed["worst_ratio"] = round(2.0 ** draw.uniform(-12, -0.05), 6) if draw.random() < 0.8 else 0.0
    return msgspec.structs.replace(kinds[outcome], **changed)


def _agreements(who: list[Implementation], many: int) -> list[Agreement]:
    """Return the agreements within each environment."""
    like = sample().agreements[0]
    return [
        msgspec.structs.replace(like, first=a.name, second=b.name, quantity=quantity)
        for start in range(0, len(who), many)
        for place, a in enumerate(who[start : start + many])
        for b in who[start + place + 1 : start + many]
        for quantity in ("training y", "dx")
    ]
