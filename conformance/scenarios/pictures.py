"""Figures of the traps: what each wrong use looks like beside its cure."""

import numpy as np

from adapters.interface import Array
from adapters.network import Act
from conformance.scenarios import evaluation, networks, traps
from conformance.scenarios.catalogue import demonstration
from conformance.scenarios.demonstrations import curve
from conformance.scenarios.lab import BATCH, BrokenError, Lab
from reports.scenario_records import Figure, Panel, Strip

#: Sizes of test batches; 0 stands for all samples at once.
SIZES = (1, 2, 8, 100, 0)
DECAYS = (0.9, 0.99, 0.999)
#: Looks at a training, and the samples that are looked at.
LOOKS, FIRST = 10, np.arange(300)


@demonstration(quick=True)
def trap_by_batch_size(lab: Lab) -> list[Figure]:
    """Accuracy with batch statistics at test time against the size of the test batch."""
    model, test = lab.model, lab.test
    found: dict[int, float] = {}
    for size in SIZES:
        try:
            # Whole batches only: a last one of a single sample would be refused by some.
            rows = test[: len(test) // (size or 1) * (size or 1)]
            found[size] = lab.accuracy(lab.predict(model, rows, size=size, training=True), rows)
        except BrokenError as error:
            if error.failure.kind != "unsupported":
                raise
    right = lab.accuracy(lab.predict(model, test), test)
    places = [float(SIZES.index(size)) for size in found]
    names = [str(size or "all") for size in SIZES]
    refused = "" if len(found) == len(SIZES) else " It refuses batches of one."
    return [
        Figure(
            name="trap-batch-size",
            requirement="BN-931",
            title="The trap of batch statistics at test time",
            caption="Test accuracy of one trained network. With all samples in one batch the trap looks healthy; with "
            f"batches of one every sample is given the same class.{refused}",
            x_label="test batch size",
            y_label="test accuracy",
            x_scale="categories",
            categories=names,
            y_range=[0.0, 1.0],
            panels=[
                Panel(
                    curves=[
                        curve("batch statistics", places, list(found.values())),
                        curve("moving statistics", [float(k) for k in range(len(SIZES))], [right] * len(SIZES)),
                    ]
                )
            ],
            facts={f"accuracy in batches of {size or 'all'}": f"{value:.3f}" for size, value in found.items()},
        )
    ]


@demonstration(quick=True)
def trap_predictions(lab: Lab) -> list[Figure]:
    """The first hundred test samples, predicted one at a time: the trap beside the cure."""
    model, rows = lab.model, lab.test[: evaluation.SINGLES]
    strips, facts = [], {}
    for label, training in (("batch statistics", True), ("moving statistics", False)):
        try:
            classes = lab.predict(model, rows, size=1, training=training).argmax(axis=1)
        except BrokenError as error:
            if error.failure.kind != "unsupported":
                raise
            facts[f"accuracy with {label}"] = f"refused: {error.failure.message}"
            continue
        right = classes == lab.labels[rows]
        strips.append(Strip(label=label, classes=classes.tolist(), right=right.tolist()))
        facts[f"accuracy with {label}"] = f"{right.mean():.2f}"
    return [
        Figure(
            name="trap-predictions",
            requirement="BN-931",
            title="A hundred samples, predicted one at a time",
            caption="The wrapper's document has 0.02 for the trap, one class for all, and 0.99 for its cure.",
            strips=strips,
            facts=facts,
        )
    ]


@demonstration(quick=False)
def lag_of_the_moving_statistics(lab: Lab) -> list[Figure]:
    """How far the moving statistics are from those of the training samples, for several decays."""
    rows = lab.batches(lab.effort.steps)
    curves, facts = [], {}
    for decay in DECAYS:
        spec = networks.SIGMOID._replace(decay=decay, dtype=lab.dtype)
        parts = np.array_split(rows, LOOKS)
        acts = [act for part in parts for act in (Act("fit", part), Act("state"), Act("activations", FIRST))]
        done = lab.attend(spec, networks.start(spec, 1, 1.0), tuple(acts))
        lags = [_lag(state.states[0], look.activations[0]) for state, look in zip(done[1::3], done[2::3], strict=True)]
        steps = np.cumsum([len(part) for part in parts]).astype(float).tolist()
        curves.append(curve(f"decay {decay:g}", steps, lags))
        facts[f"decay {decay:g}"] = f"{lags[-1]:.2f} after {len(rows)} steps"
    return [
        Figure(
            name="lag",
            requirement="BN-935",
            title="Lag of the moving statistics",
            caption="The moving standard deviation of the first layer against that of training samples: the median "
            "over units of |ln(moving / actual)|. With a decay d, dⁿ of the start is left after n steps.",
            x_label="training steps",
            y_label="lag",
            panels=[Panel(curves=curves)],
            facts=facts,
        )
    ]


def _lag(state: dict[str, Array], entering: Array) -> float:
    actual = entering.astype(np.float64).var(axis=0)
    return float(np.median(np.abs(np.log(np.sqrt(state["moving_variance1"] / np.maximum(actual, 1e-12))))))


@demonstration(quick=True)
def wrong_uses_of_training(lab: Lab) -> list[Figure]:
    """Accuracy in both modes of networks that were trained wrongly, beside one that was not."""
    uses = (
        ("right", lab.model, BATCH),
        ("updates forgotten", traps.forgotten(lab), BATCH),
        (f"decay {traps.LAGGING:g}", traps.lagging(lab), BATCH),
        ("batches of 2", traps.tiny(lab), traps.TINY),
    )
    both = [evaluation.modes(lab, trained, size) for _, trained, size in uses]
    places = [float(k) for k in range(len(uses))]
    modes = ("inference", "training mode")
    return [
        Figure(
            name="wrong-training",
            requirement="BN-932",
            title="Wrong uses in training: accuracy on the training samples",
            caption="BN-915 compares the two modes; they belong together where the moving statistics are those of the "
            "training.",
            x_label="use",
            y_label="accuracy on the training samples",
            x_scale="categories",
            categories=[name for name, _, _ in uses],
            joined=False,
            y_range=[0.0, 1.0],
            panels=[Panel(curves=[curve(mode, places, [pair[k] for pair in both]) for k, mode in enumerate(modes)])],
            facts={
                f"{use[0]}, {mode}": f"{pair[k]:.3f}"
                for use, pair in zip(uses, both, strict=True)
                for k, mode in enumerate(modes)
            },
        )
    ]


@demonstration(quick=True)
def shared_statistics(lab: Lab) -> list[Figure]:
    """Streams, and time steps, through one layer and through one for each."""
    figures = []
    for name, distributions, requirement, what in (
        ("streams", evaluation.STREAMS, "BN-938", "stream"),
        ("time-steps", traps.TIME_STEPS, "BN-937", "time step"),
    ):
        curves, facts = [], {}
        for label, shared in (("one layer for all", True), ("a layer for each", False)):
            found = evaluation.streams(lab, distributions, shared=shared)
            curves.append(curve(label, [float(k) for k in range(len(found))], [mean for mean, _ in found]))
            facts[label] = ", ".join(f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in found)
        figures.append(
            Figure(
                name=f"shared-{name}",
                requirement=requirement,
                title=f"Statistics shared between {what}s",
                caption=f"The mean of each {what}'s output in inference; normalized, it is 0 ± 1. Their inputs have "
                f"means {', '.join(f'{mean:g}' for mean, _ in distributions)}.",
                x_label=what,
                y_label="mean output in inference",
                x_scale="categories",
                categories=[f"{what} {k + 1}" for k in range(len(distributions))],
                joined=False,
                panels=[Panel(curves=curves)],
                facts=facts,
            )
        )
    return figures
