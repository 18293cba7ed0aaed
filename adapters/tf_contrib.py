"""``tf.contrib.layers.batch_norm`` (up to TensorFlow 1.15), by the ways in which its users ran its updates."""

import importlib
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.interface import Array, Capabilities, Description
from adapters.tf_base import v1
from adapters.tf_facts import differentiates_inference
from adapters.tf_library import LibraryBatchNorm, LibraryGraph

LAST = Capabilities(axes="last", dtypes=("float32",), save=True)
ON_TRAIN_STEP = (
    "a step: running the train step, which waits for the ops in UPDATE_OPS; computing output or gradients is none"
)


def contrib_batch_norm(*arguments: Any, **named: Any) -> Any:
    """The layer, imported when it is first called: the whole of contrib takes seconds."""
    return importlib.import_module("tensorflow.contrib.layers").batch_norm(*arguments, **named)


class ContribGraph(LibraryGraph):
    """The update ops are collected, and hung on the train step as control dependencies."""

    options: Dict[str, Any] = {"fused": False}

    def layer(self, **more: Any) -> Any:
        """The layer's output, with the options of the variant."""
        options = dict({"is_training": self.is_training}, **self.options)
        options.update(more)
        return contrib_batch_norm(
            self.x,
            decay=self.spec.decay,
            epsilon=self.spec.epsilon,
            center=self.spec.center,
            scale=self.spec.scale,
            scope="bn",
            **options,
        )

    def output(self) -> Any:
        """What the layer gave; here, the train step is all that waits for the updates."""
        with v1.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            self.updates = v1.no_op(name="train_step")
        return self.made


class FusedContribGraph(ContribGraph):
    """The same with the fused op."""

    options = {"fused": True}


class DebiasedContribGraph(ContribGraph):
    """The same with a moving mean that is divided by what its start still weighs, after its own count of steps."""

    options = {"fused": False, "zero_debias_moving_mean": True}


class LossContribGraph(ContribGraph):
    """The updates are hung on the total loss: computing it is what runs them."""

    def output(self) -> Any:
        """What the layer gave; the loss waits for the updates, and nothing else does."""
        loss = v1.reduce_sum(self.made * self.dy)
        with v1.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            self.total_loss = v1.identity(loss)
        return self.made

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Compute the loss with everything else, whatever the mode: its updates follow is_training."""
        fetches = [self.y] + (self.gradients_of(self.y) if dy is not None else [])
        feed = {self.x: x, self.dy: np.zeros_like(x) if dy is None else dy, self.is_training: training}
        return [np.array(a) for a in self.session.run([*fetches, self.total_loss], feed)[:-1]]


class InlineContribGraph(ContribGraph):
    """``updates_collections=None``: the output waits for the updates."""

    options = {"fused": False, "updates_collections": None}

    def output(self) -> Any:
        """What the layer gave, updates included."""
        return self.made


class CollectedCondContribGraph(ContribGraph):
    """Two layers that share variables, one for each mode, chosen by ``tf.cond``; the train step waits for the updates.

    The update ops are inside of ``tf.cond``: they cannot be fetched, but what is outside can wait for them.
    """

    def layer(self, **more: Any) -> Any:
        """The output of one of two layers."""

        def branch(training: bool) -> Any:
            return super(CollectedCondContribGraph, self).layer(is_training=training, reuse=None if training else True)

        return v1.cond(self.is_training, lambda: branch(True), lambda: branch(False))


class CondContribGraph(CollectedCondContribGraph):
    """The same with ``updates_collections=None``: the output waits for the updates."""

    options = {"fused": False, "updates_collections": None}

    def output(self) -> Any:
        """What the layers gave, updates included."""
        return self.made


def fused_ranks() -> Tuple[int, ...]:
    """The ranks that ``fused=True`` takes with an unknown extent of the batch: 0.12 cannot reshape rank 2 then."""
    try:
        with v1.Graph().as_default():
            contrib_batch_norm(v1.placeholder("float32", [None, 1]), fused=True)
    except ValueError:
        return (4,)
    return (2, 4)


class ContribBatchNorm(LibraryBatchNorm):
    """As its documentation and the first guides advised: updates hung on the train step."""

    formulation = ContribGraph
    in_networks = True
    capabilities = LAST._replace(separate_update=True)
    notes: Tuple[str, ...] = (
        "is_training is a placeholder; fused=False",
        ON_TRAIN_STEP,
    )


class DebiasedContribBatchNorm(LibraryBatchNorm):
    """With zero_debias_moving_mean, which departs from the definition of a moving mean."""

    formulation = DebiasedContribGraph
    capabilities = LAST._replace(separate_update=True)
    notes = (
        "is_training is a placeholder; fused=False, zero_debias_moving_mean=True",
        "two more variables, moving_mean/biased and moving_mean/local_step, which setting moving_mean leaves alone",
        ON_TRAIN_STEP,
    )


class FusedContribBatchNorm(LibraryBatchNorm):
    """With the fused op; the same train step."""

    formulation = FusedContribGraph
    in_networks = True
    capabilities = LAST._replace(separate_update=True, inference_gradients=differentiates_inference())
    notes = (
        "is_training is a placeholder; fused=True",
        ON_TRAIN_STEP,
    )

    def describe(self) -> Description:
        """With the ranks that this version takes."""
        return super().describe()._replace(capabilities=self.capabilities._replace(ranks=fused_ranks()))


class LossContribBatchNorm(LibraryBatchNorm):
    """With the older recipe: updates hung on the total loss."""

    formulation = LossContribGraph
    capabilities = LAST
    notes = (
        "is_training is a placeholder; fused=False",
        "a step: computing the total loss, sum(y * dy), with is_training=True; it waits for the ops in UPDATE_OPS",
    )


class InlineContribBatchNorm(LibraryBatchNorm):
    """With the updates in place."""

    formulation = InlineContribGraph
    in_networks = True
    capabilities = LAST
    notes = (
        "is_training is a placeholder; fused=False, updates_collections=None",
        "a step: computing the output with is_training=True",
    )


class CondContribBatchNorm(LibraryBatchNorm):
    """The wrapper with two branches, in the one way in which it works."""

    formulation = CondContribGraph
    capabilities = LAST
    notes = (
        "tf.cond(is_training, ...) around two layers with shared variables; updates_collections=None",
        "a step: computing the output with is_training=True",
    )


class CollectedCondContribBatchNorm(LibraryBatchNorm):
    """The wrapper with two branches, as it is most often quoted."""

    formulation = CollectedCondContribGraph
    capabilities = LAST._replace(separate_update=True)
    notes = (
        "tf.cond(is_training, ...) around two layers with shared variables; updates in UPDATE_OPS, inside of tf.cond",
        "a step: running a train step that waits for UPDATE_OPS",
        "fetching UPDATE_OPS is an error, and so is computing, with is_training=False, a loss that waits for them",
    )
