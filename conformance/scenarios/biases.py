"""Requirements on a bias before the normalization: the batch's mean takes it away, and its gradient is zero."""

import functools

import numpy as np

from adapters.interface import Array
from adapters.network import NetworkSpec
from conformance.scenarios import networks
from conformance.scenarios.catalogue import HELPER, NOTES, Evidence, scenario
from conformance.scenarios.lab import Lab
from conformance.scenarios.perturbed import distance
from conformance.scenarios.trajectories import RATES, TELLING, expected_trajectory, fitted, over, weights


def _biased(spec: NetworkSpec) -> tuple[NetworkSpec, dict[str, Array]]:
    """The same network with biases before the normalization, which are not zero."""
    spec = spec._replace(bias=True)
    start = weights(spec)
    rng = np.random.default_rng(2)
    for k in range(1, len(spec.hidden) + 1):
        start[f"b{k}"] = np.asarray(rng.standard_normal(start[f"b{k}"].shape), np.float32).astype(spec.dtype)
    return spec, start


@scenario("BN-904", source=HELPER, decided_by="prob")
def bias_before_normalization_receives_no_gradient(lab: Lab) -> list[Evidence]:
    """A bias of the layer before the normalization receives a gradient of zero: it stays what it was."""
    return lab.in_either(lab.dtype, functools.partial(_still, lab))


def _still(lab: Lab, dtype: str) -> list[Evidence]:
    spec, start = _biased(networks.CONVOLUTIONS._replace(dtype=dtype, rate=RATES[1]))
    rows, x = lab.batches(lab.effort.followed), lab.inputs(spec)
    fit, conventions = fitted(lab, spec, start, rows, own=True)
    batches = [(x[r], lab.labels[r]) for r in rows]
    expected = expected_trajectory(lab, spec, conventions, start, batches)
    names = [f"b{k}" for k in range(1, len(spec.hidden) + 1)]
    found = []
    for k, state in enumerate(fit.states):
        for name in names:
            away, bound = distance(state[name], start[name]), expected.bounds[k][name]
            # A gradient as large as that of beta would be no rounding.
            scale = distance(expected.states[k][name.replace("b", "beta")], start[name.replace("b", "beta")])
            message = f"step {k}: {name} moved by {away:.3g}, allowed {bound:.3g}"
            found.append(Evidence(over(away, bound), bound <= TELLING * scale, message=message))
    return found


@scenario("BN-905", source=NOTES, decided_by="prob")
def bias_before_normalization_changes_nothing(lab: Lab) -> list[Evidence]:
    """With and without a bias before the normalization the trajectories agree, step by step.

    So do the losses and all weights, γ, β and moving variances; the moving means differ by the bias times the
    weight of what they have taken in, 1 − decayⁿ.
    """
    return lab.in_either(lab.dtype, functools.partial(_alike, lab))


def _alike(lab: Lab, dtype: str) -> list[Evidence]:
    spec, start = _biased(networks.CONVOLUTIONS._replace(dtype=dtype, rate=RATES[1]))
    bare = spec._replace(bias=False)
    rows, x = lab.batches(lab.effort.followed), lab.inputs(spec)
    found, bounds = [], []
    for each in (spec, bare):
        given = {name: start[name] for name in each.shapes()}
        fit, conventions = fitted(lab, each, given, rows, own=True)
        found.append(fit.states)
        batches = [(x[r], lab.labels[r]) for r in rows]
        bounds.append(expected_trajectory(lab, each, conventions, given, batches).bounds)
    return [
        _compared(k, spec, *states, bounds[0][k], bounds[1][k], start)
        for k, states in enumerate(zip(found[0], found[1], strict=True))
    ]


def _compared(
    k: int,
    spec: NetworkSpec,
    biased: dict[str, Array],
    bare: dict[str, Array],
    first: dict[str, float],
    second: dict[str, float],
    start: dict[str, Array],
) -> Evidence:
    """Judge a step by the arrays that both have."""
    ratios, telling = {}, True
    for name, a in bare.items():
        expected = np.asarray(a, np.float64)
        if name.startswith("moving_mean"):
            expected = expected + (1 - spec.decay ** (k + 1)) * start[f"b{name[-1]}"]
        bound = first[name] + second[name]
        ratios[name] = over(distance(biased[name], expected), bound)
        telling = telling and bound <= TELLING * max(distance(a, start[name]), distance(expected, start[name]))
    worst = max(ratios, key=lambda name: ratios[name])
    return Evidence(ratios[worst], telling, message=f"step {k}: {worst} with and without a bias")
