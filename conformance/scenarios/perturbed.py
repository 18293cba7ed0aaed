"""The bound on a trajectory: how far rounding carries a network within some steps, found on the network itself.

The derivation. An implementation differs from the exact trajectory by the roundings of its operations, each carried on
by all that follows. (1) Of one operation that rounds n times, in whatever order, the error is at most λ·√n·u times the
operation's condition (the sum of the magnitudes that enter) but for a probability of 2·exp(−λ²/2), if roundings are
independent with mean zero (Higham and Mary 2019, theorem 2.4). (2) How the error is carried on is decided by the
network, and is the same for every implementation: it is linear as long as errors are small. So the reference is run
RUNS times in float64 with every operation perturbed by independent numbers, uniform within ±√n·u times its condition,
and its distance from the unperturbed run is seen. (3) A correct implementation's distance is that of one more such
run, with LAMBDA for the tails of (1): within LAMBDA times the largest of the distances, measured for each array by the
Euclidean norm, so that hundreds of elements are averaged and eight runs suffice.

n and the conditions are those of the worst evaluation that the conventions' grades admit: the one-pass variance
E[x²] − E[x]², the folded output x·a + b. Nothing here is fitted to any implementation. ``reference`` has bounds that
are proven instead; worst cases piling up, they say nothing after two steps.
"""

from typing import NamedTuple

import numpy as np

from adapters.interface import Array, BatchNormAdapter, Conventions, Layer, Spec, State
from adapters.network import NetworkSpec
from adapters.network_layers import LayeredNetwork
from adapters.numpy_reference import NumpyLayer, NumpyReference
from conformance.scenarios.balls import FUNCTION

RUNS, LAMBDA = 8, 5.0


class Noise:
    """Perturbations of one run."""

    def __init__(self, u: float, seed: int) -> None:
        self.u = u
        self._rng = np.random.default_rng(seed)

    def __call__(self, a: Array, roundings: int, condition: Array) -> Array:
        """The result of an operation with so many roundings, moved within its error."""
        if not self.u:
            return a
        return a + self._rng.uniform(-1, 1, np.shape(a)) * (self.u * np.sqrt(roundings) * condition)


class PerturbedLayer(NumpyLayer):
    """The reference's layer in float64, each operation perturbed as the worst admitted evaluation may be off."""

    noise: Noise
    decay: float

    def sum(self, a: Array) -> Array:
        """A sum in any order."""
        return self.noise(super().sum(a), self.count(a), super().sum(np.abs(a)))

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """The variance is as far off as E[x²] − E[x]² may be."""
        m = self.count(x)
        mean = self.sum(x) / m
        variance = super().sum(np.square(x - mean)) / m
        q = super().sum(np.square(x)) / m
        return mean, np.maximum(self.noise(variance, 2 * m + 4, 2 * q), 0)

    def rsqrt(self, variance: Array) -> Array:
        """A square root and a division."""
        r = super().rsqrt(variance)
        return self.noise(r, 4, r)

    def affine(self, x: Array, mean: Array, r: Array) -> Array:
        """Folded: a·x + b."""
        a = np.abs(self.scale() * r)
        return self.noise(super().affine(x, mean, r), 4, a * (np.abs(x) + np.abs(mean)) + np.abs(self.shift()))

    def training_gradients(self, x: Array, dy: Array, mean: Array, r: Array) -> tuple[Array, Array, Array]:
        """As automatic differentiation of the folded output finds them."""
        m = self.count(x)
        dx, dgamma, dbeta = super().training_gradients(x, dy, mean, r)
        largest, size = (np.abs(x) + np.abs(mean)) * r, np.abs(dy)
        total = super().sum(size * largest)
        sizes = size + super().sum(size) / m + largest * total / m
        dx = self.noise(dx, 2 * m + 16, np.abs(self.scale() * r) * sizes)
        return dx, self.noise(dgamma, m + 16, total), dbeta

    def moving(self, old: Array, batch: Array) -> Array:
        """With the decay as the implementation holds it."""
        batch = batch.reshape(old.shape)
        new = self.decay * old + (1 - self.decay) * batch
        return self.noise(new, 4, np.abs(old) + np.abs(batch))


class PerturbedReference(NumpyReference):
    """Builds perturbed layers with an implementation's declared conventions."""

    def __init__(self, conventions: Conventions, dtype: str, noise: Noise) -> None:
        self._declared = conventions._replace(compute_dtype="float64", statistics_dtype="float64")
        self._decay_type = np.dtype(conventions.decay_dtype or dtype).type
        self._noise = noise

    def conventions(self, spec: Spec) -> Conventions:
        """The implementation's."""
        return self._declared

    def build(self, spec: Spec, state: State) -> Layer:
        """A layer in float64."""
        layer = PerturbedLayer(spec, state, self._declared)
        layer.noise, layer.decay = self._noise, float(self._decay_type(spec.decay))
        return layer


class PerturbedNetwork(LayeredNetwork):
    """NumPy's layers in float64, perturbed as arithmetic of unit roundoff u may be off."""

    def __init__(self, adapter: BatchNormAdapter, spec: NetworkSpec, noise: Noise) -> None:
        super().__init__(adapter, spec._replace(dtype="float64"))
        self._noise = noise

    def product(self, a: Array, b: Array) -> Array:
        """Inner products in any order."""
        return self._noise(a @ b, a.shape[-1] + 1, np.abs(a) @ np.abs(b)) if self._noise.u else a @ b

    def activate(self, z: Array) -> Array:
        """A library function."""
        value = super().activate(z)
        return value if self.spec.activation == "relu" else self._noise(value, 1, np.full_like(value, FUNCTION))

    def moved(self, a: Array, delta: Array) -> Array:
        """Two roundings of the change, one of the parameter."""
        return self._noise(a - delta, 2, np.abs(a) + np.abs(delta))


class Trajectory(NamedTuple):
    """The reference's states after each step, and how far from each a correct implementation may be."""

    #: The state after each step, and the loss before it under the name "loss".
    states: list[dict[str, Array]]
    #: For each step and array, the bound on the Euclidean distance.
    bounds: list[dict[str, float]]


def trajectory(
    spec: NetworkSpec,
    conventions: Conventions,
    start: dict[str, Array],
    batches: list[tuple[Array, Array]],
) -> Trajectory:
    """The trajectory of the reference under an implementation's conventions."""
    u = float(np.finfo(spec.dtype).eps / 2)
    states = _run(spec, conventions, start, batches, Noise(0.0, 0))
    runs = [_run(spec, conventions, start, batches, Noise(u, seed)) for seed in range(RUNS)]
    bounds = [
        {name: LAMBDA * max(distance(each[k][name], a) for each in runs) for name, a in state.items()}
        for k, state in enumerate(states)
    ]
    return Trajectory(states, bounds)


def distance(a: Array, b: Array) -> float:
    """The Euclidean distance, in float64."""
    return float(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64)))


def _run(
    spec: NetworkSpec,
    conventions: Conventions,
    start: dict[str, Array],
    batches: list[tuple[Array, Array]],
    noise: Noise,
) -> list[dict[str, Array]]:
    """The states after each step of one run, and the losses."""
    network = PerturbedNetwork(PerturbedReference(conventions, spec.dtype, noise), spec, noise)
    network.set_state({name: np.asarray(a, np.float64) for name, a in start.items()})
    found = []
    for x, labels in batches:
        loss = network.train(np.asarray(x, np.float64), labels)
        found.append({**network.state(), "loss": np.array(loss)})
    return found
