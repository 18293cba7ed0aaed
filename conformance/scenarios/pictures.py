"""Figures of the traps: what each wrong use looks like beside its cure."""

from conformance.scenarios import evaluation
from conformance.scenarios.catalogue import demonstration
from conformance.scenarios.demonstrations import curve
from conformance.scenarios.lab import BrokenError, Lab
from reports.scenario_records import Figure, Panel, Strip

#: Sizes of test batches; 0 stands for all samples at once.
SIZES = (1, 2, 8, 100, 0)


@demonstration
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


@demonstration
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
