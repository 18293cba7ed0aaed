"""The requirements as pytest items: what each came to decides between pass, failure, skip and expected failure."""

import pytest

from conformance.requirements import CATALOGUE
from reports.records import Result


def test_requirement(result: Result) -> None:
    """A requirement holds on an implementation, or fails as it is known to."""
    conclude(result, CATALOGUE[result.requirement].claim)


def conclude(result: Result, claim: str) -> None:
    """Pass, fail, skip, or fail as expected."""
    if result.outcome in ("unsupported", "no run"):
        pytest.skip(f"{result.outcome}: {result.reason}")
    if result.outcome == "known failure":
        pytest.xfail(result.reason)
    if result.outcome not in ("pass", "deviates"):
        pytest.fail(explanation(result, claim), pytrace=False)


def explanation(result: Result, claim: str) -> str:
    """What a reader of a failure wants to know: the claim, the reason, the smallest case and how to run it again."""
    lines = [
        f"{result.requirement} on {result.implementation}: {claim}",
        f"{result.outcome}: {result.reason}",
    ]
    for example in result.counterexamples[:1]:
        lines += [f"{example.kind.capitalize()} counterexample:", example.code.rstrip(), f"Again: {example.command}"]
    return "\n".join([*lines, *result.stderr])
