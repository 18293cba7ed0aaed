"""Compares implementations with each other on the same cases: largest disagreement over the sum of their bounds.

Only results that the oracle expects to be equal are compared: not those after states that differ by rounding, and not
those on which the two follow different conventions.
"""

import hashlib
import itertools
from typing import NamedTuple

import numpy as np

from adapters.interface import Array
from conformance.judge import Judge, Run, View
from reports.records import Agreement, number

#: Quantities in the order of the report.
QUANTITIES = ("training y", "dx", "dgamma", "dbeta", "inference y", "moving_mean", "moving_variance")


class Sample(NamedTuple):
    """One result of one implementation: what it is of, a digest of what was expected, the values and their bounds."""

    key: tuple[int, int, int, str]
    quantity: str
    expected: bytes
    got: Array
    bound: Array


def sample(run: Run, identity: tuple[int, int]) -> list[Sample]:
    """The results of a complete run, for comparison with other implementations' on the same case."""
    samples = []
    for view in run.views:
        if view.call.op not in ("train", "infer"):
            continue
        for quantity in ("y", "dx", "dgamma", "dbeta"):
            name = f"{'training' if view.call.op == 'train' else 'inference'} y" if quantity == "y" else quantity
            judge = Judge(run)
            got = judge.got(view, quantity)
            if got is not None:
                expected = getattr(judge.truth(view), quantity)
                samples.append(_sample(run, identity, view, quantity, name, got, expected))
        if view.call.op == "train" and view.trace.state is not None and view.call.update:
            samples += _statistics(run, identity, view)
    return samples


def _sample(
    run: Run, identity: tuple[int, int], view: View, quantity: str, name: str, got: Array, expected: Array
) -> Sample:
    bound = Judge(run).bound(view, quantity)
    with np.errstate(all="ignore"):
        if np.any(np.abs(got - expected) > bound):
            bound = Judge(run, "panel").bound(view, quantity)
    return _pack(run, identity, view, name, got, expected, bound)


def _pack(
    run: Run, identity: tuple[int, int], view: View, name: str, got: Array, expected: Array, bound: Array
) -> Sample:
    digest = hashlib.blake2b(np.ascontiguousarray(expected, np.float64).tobytes(), digest_size=8).digest()
    # Who lacks an element type was given the same case in another.
    key = (*identity, view.number, f"{run.spec.dtype} {name}")
    # Samples are many: only the bounds of float64 would underflow in float32.
    kept = np.float64 if run.spec.dtype == "float64" else np.float32
    with np.errstate(over="ignore"):
        return Sample(key, name, digest, got.astype(np.float64, copy=False), bound.astype(kept))


def _statistics(run: Run, identity: tuple[int, int], view: View) -> list[Sample]:
    expected = run.expected_after(view.number, "prob")
    samples = []
    for name in ("mean", "variance"):
        got = np.asarray(getattr(view.trace.state, "moving_" + name), np.float64).reshape(-1, 1)
        value, bound = getattr(expected, name), getattr(expected, name + "_error")
        with np.errstate(all="ignore"):
            if np.any(np.abs(got - value) > bound):
                bound = getattr(run.expected_after(view.number, "panel"), name + "_error")
        samples.append(_pack(run, identity, view, "moving_" + name, got, value, bound))
    return samples


def agreements(samples: dict[str, list[Sample]]) -> list[Agreement]:
    """Compare every pair of implementations, quantity by quantity."""
    indexed = {name: {s.key: s for s in of} for name, of in samples.items()}
    return [
        _agreement(first, second, quantity, indexed[first], indexed[second])
        for first, second in itertools.combinations(indexed, 2)
        for quantity in QUANTITIES
    ]


def _agreement(
    first: str,
    second: str,
    quantity: str,
    mine: dict[tuple[int, int, int, str], Sample],
    theirs: dict[tuple[int, int, int, str], Sample],
) -> Agreement:
    worst, compared, by_convention = 0.0, 0, 0
    for key, a in mine.items():
        b = theirs.get(key)
        if b is None or a.quantity != quantity:
            continue
        if a.expected != b.expected:
            by_convention += a.got.size
            continue
        worst = max(worst, _disagreement(a, b))
        compared += a.got.size
    ratio = number(worst) if compared else None
    return Agreement(
        first=first,
        second=second,
        quantity=quantity,
        worst_ratio=ratio,
        compared=compared,
        by_convention=by_convention,
    )


def _disagreement(a: Sample, b: Sample) -> float:
    with np.errstate(all="ignore"):
        bound = a.bound.astype(np.float64) + b.bound
        ratio = np.abs(a.got - b.got) / bound
        equal = (a.got == b.got) | (np.isnan(a.got) & np.isnan(b.got))
        ratio = np.where(equal | np.isinf(bound), 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    return float(ratio.max(initial=0.0))
