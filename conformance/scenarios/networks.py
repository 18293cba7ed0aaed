"""The networks of the source documents, and their starting states."""

import numpy as np

from adapters.interface import Array
from adapters.network import NetworkSpec

#: 784-100-100-10 with sigmoids, normalized before them, no bias before batch normalization. Its rate of 0.01 is for
#: the loss summed over a batch of 60: 0.6 for the mean.
SIGMOID = NetworkSpec((784,), (100, 100), activation="sigmoid", rate=0.6, epsilon=1e-3, decay=0.9)
#: 784-100-100-10 with ReLUs, epsilon and rate the defaults of TensorFlow's contrib layer and of its guide.
RELU = NetworkSpec((784,), (100, 100), activation="relu", bias=True, rate=0.01, epsilon=1e-3, decay=0.99)
#: The model of the model and solver pair: 32-32 hidden units, ReLU, Adam at 0.01.
MODEL = NetworkSpec((784,), (32, 32), activation="relu", bias=True, optimizer="adam", rate=0.01, decay=0.99)
#: Small convolutions, on the 8 x 8 pixels themselves.
CONVOLUTIONS = NetworkSpec((8, 8, 1), (6, 8), kernel=3, activation="relu", rate=0.1, epsilon=1e-3, decay=0.9)


def start(spec: NetworkSpec, seed: int, deviation: float | None = None) -> dict[str, Array]:
    """A starting state: normal weights, of that deviation or scaled by their fan-in; the rest as layers begin.

    With ``deviation=1`` these are the weights of the document on the sigmoid network.
    """
    rng = np.random.default_rng([seed, len(spec.hidden)])
    found: dict[str, Array] = {}
    for name, shape in spec.shapes().items():
        if name.startswith("w"):
            fan_in = int(np.prod(shape[:-1]))
            scale = (2.0 / fan_in) ** 0.5 if deviation is None else deviation
            values = rng.standard_normal(shape) * scale
        else:
            values = np.full(shape, float(name.startswith(("gamma", "moving_variance"))))
        found[name] = values.astype(np.float32).astype(spec.dtype)
    return found


def batches(samples: int, size: int, steps: int, seed: int) -> Array:
    """The rows of each batch, (steps, size): passes over shuffled samples, each without its last partial batch."""
    rng = np.random.default_rng([seed, size])
    per_pass = samples // size
    passes = -(-steps // per_pass)
    rows = [rng.permutation(samples)[: per_pass * size].reshape(per_pass, size) for _ in range(passes)]
    return np.concatenate(rows)[:steps]
