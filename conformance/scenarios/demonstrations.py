"""Demonstrations of the documents' findings: experiments that give figures, and are never red or green."""

import numpy as np

from adapters.interface import Array
from adapters.network import Act, NetworkSpec
from conformance.scenarios import networks
from conformance.scenarios.catalogue import demonstration
from conformance.scenarios.lab import BATCH, Lab
from reports.records import number
from reports.scenario_records import Curve, Figure, Panel

#: How often a training is interrupted for a look at the network.
LOOKS = 20


class Watched:
    """A training with looks at the test samples in between: accuracy, loss and, where asked for, activations."""

    def __init__(
        self, lab: Lab, spec: NetworkSpec, start: dict[str, Array], rows: Array, look: str = "predict"
    ) -> None:
        self.lab, self.spec = lab, spec
        parts = np.array_split(rows, min(LOOKS, len(rows)))
        acts = [act for part in parts for act in (Act("fit", part), Act(look, lab.test))]
        done = lab.attend(spec, start, tuple(acts))
        self.steps = np.cumsum([len(part) for part in parts]).astype(float).tolist()
        self.losses = np.concatenate([d.losses for d in done[::2] if d.losses is not None])
        self.looks = done[1::2]

    @property
    def accuracy(self) -> list[float]:
        """Of the test samples at each look."""
        return [self.lab.accuracy(d.logits, self.lab.test) for d in self.looks if d.logits is not None]

    @property
    def loss(self) -> list[float]:
        """Of the test samples at each look."""
        return [self.lab.loss(d.logits, self.lab.test) for d in self.looks if d.logits is not None]

    @property
    def diverged(self) -> int:
        """The step at which the loss was no longer finite; -1 if it always was."""
        wrong = np.flatnonzero(~np.isfinite(self.losses))
        return int(wrong[0]) if len(wrong) else -1


def curve(label: str, x: list[float], y: list[float]) -> Curve:
    """A line without spread."""
    return Curve(label=label, x=x, y=[number(value) for value in y])


def medians(label: str, x: list[float], runs: list[list[float]]) -> Curve:
    """The median over runs, with the quartiles for spread where there are several."""
    table = np.array(runs)
    middle = [number(value) for value in np.median(table, axis=0)]
    if len(runs) == 1:
        return Curve(label=label, x=x, y=middle)
    low, high = (np.quantile(table, q, axis=0) for q in (0.25, 0.75))
    return Curve(label=label, x=x, y=middle, low=[number(v) for v in low], high=[number(v) for v in high])


def without(spec: NetworkSpec) -> NetworkSpec:
    """The same network without batch normalization, with biases instead."""
    return spec._replace(place="none", bias=True)


@demonstration
def sigmoid_network(lab: Lab) -> list[Figure]:
    """The wrapper's document: test accuracy of the sigmoid network with and without batch normalization."""
    spec = networks.SIGMOID
    rows = lab.batches(2 * lab.effort.steps)
    found = {}
    for label, each in (("with BN", spec), ("without BN", without(spec))):
        found[label] = Watched(lab, each, networks.start(each, 1, 1.0), rows)
    return [
        Figure(
            name="sigmoid-network",
            title="Test accuracy of the sigmoid network",
            caption=f"784-100-100-10, weights of deviation 1, batches of {BATCH}, as in the wrapper's document: "
            "on MNIST it ends at 0.9721 with BN after 10,000 steps.",
            x_label="training steps",
            y_label="test accuracy",
            panels=[Panel(curves=[curve(label, w.steps, w.accuracy) for label, w in found.items()])],
            facts={f"accuracy {label}": f"{w.accuracy[-1]:.3f}" for label, w in found.items()},
        )
    ]
