"""Comparisons between a run and the run of a derived case: what both should share, within the sum of their bounds."""

from collections.abc import Callable, Iterator

import numpy as np

from adapters.interface import Array
from conformance.evidence import NOTHING, Evidence, combine
from conformance.judge import Judge, View

Match = Callable[[Array], Array]


def columns(order: Array) -> Match:
    """Take these columns, in this order."""
    return lambda a: a[:, order]


def pairs(judge: Judge, other: Judge, *ops: str) -> Iterator[tuple[View, View]]:
    """Steps of these operations in both runs, in order."""
    return zip(judge.steps(*ops), other.steps(*ops), strict=False)


def same(
    judge: Judge,
    other: Judge,
    mine: View,
    theirs: View,
    quantity: str,
    match: Match | None = None,
    slack: Array | float = 0.0,
) -> Evidence:
    """The same result of two steps agrees; ``match`` maps mine (and its bound) to where theirs has it.

    ``slack`` (C, 1) is added to the bounds: infinite where a channel is not to be compared.

    Two inference steps may start from moving statistics that differ by rounding: what the oracle makes of that
    difference is allowed for.
    """
    got, others = judge.got(mine, quantity), other.got(theirs, quantity)
    if got is None or others is None:
        return NOTHING
    bound, scale = judge.bound(mine, quantity), None
    if quantity == "y":
        scale = judge.variation(mine)
    expected = getattr(judge.truth(mine), quantity)
    if match is not None:
        got, bound, expected = match(got), match(bound), match(expected)
    bound = bound + other.bound(theirs, quantity) + slack
    if mine.call.op == "infer":
        with np.errstate(all="ignore"):
            bound = bound + np.abs(expected - getattr(other.truth(theirs), quantity))
    return other.compare(quantity, others, got, bound, theirs, scale=scale)


def same_statistics(judge: Judge, other: Judge, mine: View, theirs: View) -> Evidence:
    """The moving statistics after two steps agree, where both have been read."""
    first, second = mine.trace.state, theirs.trace.state
    if first is None or second is None:
        return NOTHING
    expected = judge.run.expected_after(mine.number, judge.kind)
    other_expected = other.run.expected_after(theirs.number, other.kind)
    parts = []
    for name, error, value in (
        ("moving_mean", "mean_error", "mean"),
        ("moving_variance", "variance_error", "variance"),
    ):
        got, others = (np.asarray(getattr(s, name), np.float64).reshape(-1, 1) for s in (first, second))
        zero = np.zeros_like(got)
        bounds = [zero if getattr(b, error) is None else getattr(b, error) for b in (expected, other_expected)]
        apart = np.abs(getattr(expected, value) - getattr(other_expected, value))
        parts.append(other.compare(name, others, got, bounds[0] + bounds[1] + apart, theirs))
    return combine(parts)
