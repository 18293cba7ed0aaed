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
#: The training loss whose first step is compared, and the units that are looked at.
SOUGHT_LOSS, UNITS = 0.1, 5
#: Samples in a batch of the model and solver pair.
SOLVER_BATCH = 32
RATES = (0.001, 0.01, 0.1, 1.0, 10.0)
#: Where the biases of the network with dying units begin.
SHIFT = -1.0


class Watched:
    """A training with looks at the test samples in between: accuracy, loss and, where asked for, activations."""

    def __init__(
        self,
        lab: Lab,
        spec: NetworkSpec,
        start: dict[str, Array],
        rows: Array,
        at: tuple[str, ...] = ("predict",),
        looks: int = LOOKS,
    ) -> None:
        self.lab, self.spec = lab, spec
        parts = np.array_split(rows, min(looks, len(rows)))
        acts = [act for part in parts for act in (Act("fit", part), *(Act(look, lab.test) for look in at))]
        done = lab.attend(spec, start, tuple(acts))
        self.steps = np.cumsum([len(part) for part in parts]).astype(float).tolist()
        self.losses = np.concatenate([d.losses for d in done if d.losses is not None])
        self._logits = [d.logits for d in done if d.logits is not None]
        #: Of each layer before and after its normalization, at each look.
        self.activations = [d.activations for d in done if d.activations]

    @property
    def accuracy(self) -> list[float]:
        """Of the test samples at each look."""
        return [self.lab.accuracy(logits, self.lab.test) for logits in self._logits]

    @property
    def loss(self) -> list[float]:
        """Of the test samples at each look."""
        return [self.lab.loss(logits, self.lab.test) for logits in self._logits]


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


@demonstration(quick=True)
def sigmoid_network(lab: Lab) -> list[Figure]:
    """The wrapper's document: accuracy with and without batch normalization, and units before and after it."""
    spec = networks.SIGMOID._replace(dtype=lab.dtype)
    bare = without(spec)
    rows = lab.batches(2 * lab.effort.steps)
    start = networks.start(spec, 1, 1.0)
    zeros = {name: np.zeros(shape, spec.dtype) for name, shape in bare.shapes().items() if name.startswith("b")}
    starts = {spec: start, bare: {**{n: a for n, a in start.items() if n in bare.shapes()}, **zeros}}
    names = {spec: "with BN", bare: "without BN"}
    found = {names[each]: Watched(lab, each, starts[each], rows, ("predict", "activations")) for each in names}
    accuracy = Figure(
        name="sigmoid-network",
        title="Test accuracy of the sigmoid network",
        caption=f"784-100-100-10, weights of deviation 1, batches of {BATCH}, as in the wrapper's document: on MNIST "
        "it ends at 0.9721 with BN after 10,000 steps.",
        x_label="training steps",
        y_label="test accuracy",
        panels=[Panel(curves=[curve(label, w.steps, w.accuracy) for label, w in found.items()])],
        facts={f"accuracy {label}": f"{w.accuracy[-1]:.3f}" for label, w in found.items()}
        | {
            f"steps to a training loss of {SOUGHT_LOSS} {label}": first(w.losses, SOUGHT_LOSS)
            for label, w in found.items()
        },
    )
    return [accuracy, _units(found)]


def first(losses: Array, wanted: float) -> str:
    """The first step at which the mean loss of ten steps is no more than wanted."""
    means = np.convolve(losses, np.ones(10) / 10, "valid")
    reached = np.flatnonzero(means <= wanted)
    return str(int(reached[0]) + 10) if len(reached) else f"not in {len(losses)}"


def _units(found: dict[str, Watched]) -> Figure:
    """What enters the sigmoids of five units of the second layer, averaged over the test samples."""
    panels = []
    for label, watched in found.items():
        # z1, n1, z2, n2: what enters the second activation is n2.
        entering = [look[3] for look in watched.activations]
        curves = []
        for unit in range(UNITS):
            values = [look[:, unit] for look in entering]
            low, high = ([number(np.quantile(v, q)) for v in values] for q in (0.25, 0.75))
            means = [number(v.mean()) for v in values]
            curves.append(Curve(label=f"unit {unit}", x=watched.steps, y=means, low=low, high=high))
        panels.append(Panel(title=label, curves=curves))
    return Figure(
        name="sigmoid-units",
        title="What enters the sigmoids of the second layer",
        caption="Means over the test samples of the first units, and the middle half of the samples. With BN it stays "
        "where a sigmoid has a slope; without, it is wide from the start.",
        x_label="training steps",
        y_label="input of the activation",
        panels=panels,
    )


@demonstration(quick=False)
def model_and_solver(lab: Lab) -> list[Figure]:
    """The model and solver pair: 32-32 ReLUs and Adam, evaluated after each epoch."""
    epoch = lab.samples.training // SOLVER_BATCH
    epochs = max(2, 2 * lab.effort.steps // epoch)
    rows = lab.batches(epochs * epoch, SOLVER_BATCH)
    losses, accuracies, facts = [], [], {}
    for label, spec in (("with BN", networks.MODEL), ("without BN", without(networks.MODEL))):
        watched = Watched(lab, spec, networks.start(spec, 1), rows, looks=epochs)
        x = [float(k + 1) for k in range(epochs)]
        losses.append(curve(label, x, watched.loss))
        accuracies.append(curve(label, x, watched.accuracy))
        facts[f"last epoch {label}"] = f"loss {watched.loss[-1]:.3f}, accuracy {watched.accuracy[-1]:.3f}"
    caption = "784-32-32-10, ReLU, Adam at 0.01, batches of 32, test samples evaluated in batches after each epoch."
    return [
        Figure(
            name=f"model-and-solver-{what}",
            title=f"Model and solver: {what}",
            caption=caption,
            x_label="epochs",
            y_label=f"test {what}",
            panels=[Panel(curves=curves)],
            facts=facts,
        )
        for what, curves in (("loss", losses), ("accuracy", accuracies))
    ]


@demonstration(quick=False)
def before_or_after_the_activation(lab: Lab) -> list[Figure]:
    """The guide's comparison: batch normalization before the activation, after it, or none."""
    steps = lab.effort.steps // 2
    rows = [lab.batches(steps, seed=seed + 1) for seed in range(lab.effort.seeds)]
    panels, facts = [], {}
    for activation in ("relu", "sigmoid", "tanh"):
        curves = []
        for place in ("before", "after", "none"):
            spec = networks.RELU._replace(activation=activation, place=place, rate=0.1)
            runs = [
                Watched(lab, spec, networks.start(spec, s + 1), batches, looks=10) for s, batches in enumerate(rows)
            ]
            curves.append(medians(place, runs[0].steps, [run.accuracy for run in runs]))
            facts[f"{activation}, {place}"] = f"{np.median([run.accuracy[-1] for run in runs]):.3f}"
        panels.append(Panel(title=activation, curves=curves))
    seeds = f"medians and quartiles over {lab.effort.seeds} seeds" if lab.effort.seeds > 1 else "one seed"
    return [
        Figure(
            name="before-or-after",
            title="Before the activation, after it, or no batch normalization",
            caption=f"784-100-100-10, rate 0.1, {seeds}. The guide found BN to help with ReLUs on either side.",
            x_label="training steps",
            y_label="test accuracy",
            panels=panels,
            facts=facts,
        )
    ]


@demonstration(quick=False)
def learning_rates(lab: Lab) -> list[Figure]:
    """The rates that a network trains at: the loss at the end of a short training against the rate."""
    rows = lab.batches(lab.effort.steps)
    curves, facts = [], {}
    for label, base in (("with BN", networks.RELU), ("without BN", without(networks.RELU))):
        losses, reached = [], {}
        for rate in RATES:
            spec = base._replace(rate=rate)
            watched = lab.train(spec, networks.start(spec, 1), rows, finite=False)
            losses.append(float(np.mean(watched.losses[-20:])) if watched.diverged < 0 else float("nan"))
            if watched.diverged >= 0:
                facts[f"rate {rate:g} {label}"] = f"the loss is not finite at step {watched.diverged}"
            reached[rate] = first(watched.losses, SOUGHT_LOSS)
        curves.append(curve(label, list(RATES), losses))
        facts[f"best {label}"] = f"{np.nanmin(losses):.3g} at a rate of {RATES[int(np.nanargmin(losses))]:g}"
        facts[f"steps to a loss of {SOUGHT_LOSS} {label}"] = ", ".join(
            f"{n} at {rate:g}" for rate, n in reached.items()
        )
    return [
        Figure(
            name="learning-rates",
            title="Learning rates that are tolerated",
            caption=f"784-100-100-10, ReLU: the mean training loss of the last 20 of {lab.effort.steps} steps.",
            x_label="learning rate",
            y_label="training loss",
            x_scale="log",
            y_scale="log",
            panels=[Panel(curves=curves)],
            facts=facts,
        )
    ]


@demonstration(quick=False)
def dying_units(lab: Lab) -> list[Figure]:
    """ReLUs whose input starts far below zero: with batch normalization the shift is gone at once."""
    rows = lab.batches(lab.effort.steps)
    curves, facts = [], {}
    base = networks.RELU._replace(rate=0.1, decay=0.9)
    for label, spec in (("with BN", base), ("without BN", without(base))):
        start = networks.start(spec, 1)
        for k in range(1, len(spec.hidden) + 1):
            start[f"b{k}"] = np.full_like(start[f"b{k}"], SHIFT)
        watched = Watched(lab, spec, start, rows, ("activations",), looks=10)
        dead = [float(np.mean([(n <= 0).all(axis=0).mean() for n in look[1::2]])) for look in watched.activations]
        curves.append(curve(label, watched.steps, dead))
        facts[f"dead units at the end {label}"] = f"{dead[-1]:.0%}"
    return [
        Figure(
            name="dying-units",
            title="Units that are zero for every sample",
            caption=f"784-100-100-10, ReLU, biases that start at {SHIFT:g}: the share of hidden units whose input is "
            "below zero for all test samples. Without BN they get no gradient any more.",
            x_label="training steps",
            y_label="share of dead units",
            y_range=[0.0, 1.0],
            panels=[Panel(curves=curves)],
            facts=facts,
        )
    ]
