"""Requirements on the trajectory of a training: step by step, and at its end."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Conventions
from adapters.network import Act, NetworkSpec
from conformance.scenarios import networks
from conformance.scenarios.balls import exact
from conformance.scenarios.catalogue import WRAPPER, Evidence, scenario
from conformance.scenarios.lab import BrokenError, DivergedError, Lab, matters
from conformance.scenarios.perturbed import (
    Noise,
    PerturbedNetwork,
    PerturbedReference,
    Trajectory,
    distance,
    trajectory,
)
from conformance.scenarios.reference import Reference

#: A bound says something while it is within this share of how far the array has moved.
TELLING = 0.1
#: Rates of dense and of convolutional networks that every type holds exactly: some optimizers keep theirs in float32.
RATES = 0.5, 0.125
#: Steps within which the proven bounds may still say something.
PROVEN = 2


def weights(spec: NetworkSpec) -> dict[str, Array]:
    """Starting weights: of deviation one with sigmoids, as the wrapper's document has them."""
    return networks.start(spec, 1, 1.0 if spec.activation == "sigmoid" else None)


def _followed(lab: Lab, specs: tuple[NetworkSpec, ...], own: bool) -> list[Evidence]:
    """Follow each network that the implementation can have; none at all is the first one's failure."""
    found: list[Evidence] = []
    broken: list[BrokenError] = []
    for spec in specs:
        spec = spec._replace(rate=RATES[spec.kernel > 0])
        try:
            found += lab.in_either(lab.dtype, functools.partial(_in, lab, spec, own))
        except BrokenError as error:
            if error.failure.kind != "unsupported":
                raise
            broken.append(error)
    if not found:
        raise broken[0]
    return found


def _in(lab: Lab, spec: NetworkSpec, own: bool, dtype: str) -> list[Evidence]:
    spec = spec._replace(dtype=dtype)
    return follow(lab, spec, weights(spec), own)


def follow(lab: Lab, spec: NetworkSpec, start: dict[str, Array], own: bool) -> list[Evidence]:
    """One example per step: the network's distance from the reference's, over the bound on it."""
    rows = lab.batches(lab.effort.followed)
    fit, conventions = fitted(lab, spec, start, rows, own)
    x = lab.inputs(spec)
    batches = [(x[r], lab.labels[r]) for r in rows]
    expected = expected_trajectory(lab, spec, conventions, start, batches)
    key = ("balls", spec, len(rows), *map(matters, conventions))
    proven = iter(lab.known.get(key, lambda: list(_proven(Reference(spec, conventions), start, batches))))
    steps = zip(fit.states, fit.losses, expected.states, expected.bounds, strict=True)
    found = []
    for k, (state, loss, right, bounds) in enumerate(steps):
        got = {**state, "loss": np.array(loss)}
        found.append(_step(k, got, right, bounds, start, next(proven, None)))
    return found


class Fit(NamedTuple):
    """A training that was followed: the loss before each step, the state after it."""

    losses: Array
    states: tuple[dict[str, Array], ...]


def fitted(
    lab: Lab, spec: NetworkSpec, start: dict[str, Array], rows: Array, own: bool
) -> tuple[Fit, tuple[Conventions, ...]]:
    """Train, and keep all states; raises DivergedError where a loss is not finite."""
    attended = lab.taken(spec, start, (Act("fit", rows, keep=True),), own)
    (fit,) = attended.done
    assert fit.losses is not None
    if not np.isfinite(fit.losses[-1]):
        raise DivergedError(len(fit.losses) - 1)
    return Fit(fit.losses, fit.states), attended.over.conventions


def expected_trajectory(
    lab: Lab,
    spec: NetworkSpec,
    conventions: tuple[Conventions, ...],
    start: dict[str, Array],
    batches: list[tuple[Array, Array]],
) -> Trajectory:
    """The reference's trajectory, which is worked out once."""
    key = ("trajectory", spec, len(batches), matters(conventions[0]))
    return lab.known.get(key, lambda: trajectory(spec, conventions[0], start, batches))


def _step(
    k: int,
    got: dict[str, Array],
    right: dict[str, Array],
    bounds: dict[str, float],
    start: dict[str, Array],
    balls: dict[str, tuple[Array, Array]] | None,
) -> Evidence:
    """Judge a step by all arrays."""
    ratios = {name: over(distance(got[name], a), bounds[name]) for name, a in right.items()}
    # A bias before the normalization stays where it is: BN-904 and BN-905 judge it.
    moved = {n: distance(a, start[n]) for n, a in right.items() if n in start and not (n[0] == "b" and n[1:].isdigit())}
    telling = all(bounds[name] <= TELLING * way for name, way in moved.items())
    worst = max(ratios, key=lambda name: ratios[name])
    proven = None
    if balls is not None:
        inside = [_ratios(np.abs(got[name] - mid), rad) for name, (mid, rad) in balls.items()]
        proven = float(max(inside))
    message = f"step {k}, {worst}: {distance(got[worst], right[worst]):.3g} away, allowed {bounds[worst]:.3g}"
    return Evidence(ratios[worst], telling, proven, message)


def over(error: float, bound: float) -> float:
    """The error over its bound; NaN is beyond any, and no error is within any."""
    if np.isnan(error):
        return np.inf
    return error / bound if bound else (0.0 if error == 0 else np.inf)


def _ratios(errors: Array, radii: Array) -> float:
    """The largest error over its radius; one that is NaN is beyond any."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors == 0, 0.0, errors / radii)
    return float(np.max(np.where(np.isnan(ratios), np.inf, ratios)))


def _proven(
    reference: Reference, start: dict[str, Array], batches: list[tuple[Array, Array]]
) -> Iterator[dict[str, tuple[Array, Array]]]:
    """The balls of the first steps, as long as they are finite."""
    state = {name: exact(a) for name, a in start.items()}
    for x, labels in batches[:PROVEN]:
        loss, state = reference.step(state, x, labels)
        balls = {**state, "loss": loss}
        if not all(np.isfinite(ball.rad).all() for ball in balls.values()):
            return
        yield {name: (ball.mid, ball.rad) for name, ball in balls.items()}


@scenario("BN-901", source=WRAPPER, decided_by="prob")
def trajectory_around_the_layer(lab: Lab) -> list[Evidence]:
    """NumPy's layers around the implementation's layer train as the reference does, step by step.

    From the same weights, with the same batches and plain gradient descent, the loss, the weights, γ, β and the
    moving statistics are the reference's after each of the first steps, in dense and in convolutional networks.
    """
    return _followed(lab, (networks.SIGMOID, networks.CONVOLUTIONS), own=False)


@scenario("BN-902", source=WRAPPER, decided_by="prob")
def trajectory_in_the_framework(lab: Lab) -> list[Evidence]:
    """The network as the framework's users write it trains as the reference does, step by step.

    With the framework's own layers, gradients and optimizer, and with the normalization before or after the
    activation.
    """
    after = networks.RELU._replace(place="after")
    return _followed(lab, (networks.SIGMOID, networks.CONVOLUTIONS, after), own=True)


#: What BN-903 states: of the reference's loss, and of accuracy.
LOSS_WITHIN, ACCURACY_WITHIN = 0.02, 0.01


def _predictions(spec: NetworkSpec, conventions: Conventions, x: Array, lab: Lab) -> Array:
    """The reference's logits of the test samples after the whole training."""
    quiet = Noise(0.0, 0)
    network = PerturbedNetwork(PerturbedReference(conventions, spec.dtype, quiet), spec, quiet)
    network.set_state({name: np.asarray(a, np.float64) for name, a in weights(spec).items()})
    for rows in lab.batches(lab.effort.steps):
        network.train(x[rows], lab.labels[rows])
    return network.predict(x[lab.test])


@scenario("BN-903", source=WRAPPER, decided_by="stated")
def end_of_the_trajectory(lab: Lab) -> list[Evidence]:
    """The whole training ends where the reference's does.

    The test loss is within 2 % of the reference's, and the accuracy within one percentage point.
    """
    model, test = lab.model, lab.test
    spec, x = model.spec, np.asarray(lab.inputs(model.spec), np.float64)
    conventions = model.conventions[0]
    key = ("predictions", spec, matters(conventions))
    right = lab.known.get(key, lambda: _predictions(spec, conventions, x, lab))
    got = lab.predict(model, test)
    loss, expected = lab.loss(got, test), lab.loss(right, test)
    accuracies = lab.accuracy(got, test), lab.accuracy(right, test)
    return [
        Evidence(abs(loss - expected) / (LOSS_WITHIN * expected), message=f"loss {loss:.4f}, expected {expected:.4f}"),
        Evidence(
            abs(accuracies[0] - accuracies[1]) / ACCURACY_WITHIN,
            message=f"accuracy {accuracies[0]:.3f}, expected {accuracies[1]:.3f}",
        ),
    ]
