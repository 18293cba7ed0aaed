"""Adapters for TensorFlow in graph mode, one per formulation of ``adapters.tf_formulations``.

Graphs are kept for later layers of the same spec, because building one takes a hundred times as long as a step.
"""

import weakref
from typing import TYPE_CHECKING, List, Optional, Tuple, Type

import numpy as np

from adapters.common import FreeList, complete, named_state, named_step, refuse_undeclared
from adapters.interface import (
    Array,
    BatchNormAdapter,
    Capabilities,
    Conventions,
    Description,
    Layer,
    Spec,
    State,
    Step,
    Unsupported,
)
from adapters.network import Network, NetworkSpec
from adapters.tf_base import BatchNormGraph, tf
from adapters.tf_facts import differentiates_inference, differentiates_single_halves, epsilon_floor, moments_grade
from adapters.tf_formulations import FusedGraph, NNGraph, fused_dtypes

if TYPE_CHECKING:
    from adapters.network_tf import GraphNetworks


class GraphLayer(Layer):
    """A live layer: the only user of its graph while it lives."""

    def __init__(self, spec: Spec, graph: BatchNormGraph, state: State) -> None:
        self.spec = spec
        self.graph = graph
        self._undone: Optional[Array] = None
        graph.extra.write(state.extra, fresh=True)
        self.set_state(complete(spec, state))

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Run the graph with is_training=True."""
        if not update:
            if self.graph.updates is None:
                raise Unsupported("evaluating the training output assigns the moving statistics")
            self._undone = np.array(x)
        return named_step(self.spec, self.graph.run(x, dy, training=True, update=update))

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Run the graph with is_training=False."""
        return named_step(self.spec, self.graph.run(x, dy, training=False, update=False))

    def apply_updates(self) -> None:
        """Run the update ops alone, on the x that was last trained on without them."""
        if self.graph.updates is None:
            raise Unsupported("evaluating the training output assigns the moving statistics")
        if self._undone is None:
            raise ValueError("no update is left undone")
        self.graph.update(self._undone)
        self._undone = None

    def state(self) -> State:
        """Return the variables' values."""
        return named_state(self.graph.read())._replace(extra=self.graph.extra.read())

    def set_state(self, state: State) -> None:
        """Assign the given arrays to the variables that the layer has."""
        self.graph.extra.write(state.extra)
        given = {name: getattr(state, name) for name in self.graph.variables}
        self.graph.write({name: value for name, value in given.items() if value is not None})

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Run the ops of ``tf.gradients`` applied to what ``tf.gradients`` gave."""
        try:
            found = self.graph.second_order(x, dy, v)
        except LookupError as refusal:  # the gradient op of an old version's fused op has no gradient itself
            raise Unsupported("TensorFlow: {}".format(refusal)) from refusal
        return found[0], found[1], found[2] if self.spec.scale else None

    def save(self, path: str) -> None:
        """Write a checkpoint with a Saver; the files' names begin with the path."""
        self.graph.save(path)


class GraphBatchNorm(BatchNormAdapter):
    """What the formulations have in common as adapters."""

    formulation: Type[BatchNormGraph]
    capabilities: Capabilities
    notes: Tuple[str, ...]
    #: Whether its formulation can stand in the graph of a whole network.
    in_networks = False

    def __init__(self) -> None:
        self._graphs = FreeList()
        #: The last of each spec, for as long as anybody has it.
        self._built: "weakref.WeakValueDictionary[Spec, BatchNormGraph]" = weakref.WeakValueDictionary()
        self._networks: "Optional[GraphNetworks]" = None

    def describe(self) -> Description:
        """The installed TensorFlow, on the CPU."""
        return Description("tensorflow", str(tf.__version__), capabilities=self.capabilities, notes=self.notes)

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer on an idle graph of the spec, or on a new one."""
        return self.layer(spec, state)

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return a layer whose variables come from a checkpoint."""
        layer = self.layer(spec, State())
        layer.graph.restore(path)
        return layer

    def layer(self, spec: Spec, state: State) -> GraphLayer:
        """Lend a graph to a new layer."""
        refuse_undeclared(spec, self.capabilities)
        kind = self.kind(spec)
        graph = self._graphs.take(kind) or self._another(kind)
        layer = GraphLayer(spec, graph, state)
        self._graphs.lend(layer, kind, graph)
        return layer

    def kind(self, spec: Spec) -> Spec:
        """The spec that stands for all that get the same graph: how an axis is counted makes no difference."""
        return spec._replace(axis=spec.channel_axes)

    def _another(self, spec: Spec) -> BatchNormGraph:
        """A twin of a graph that is in use; a new graph where there is none of that spec."""
        known = self._built.get(spec)
        graph = self.new_graph(spec) if known is None else known.twin()
        self._built[spec] = graph
        return graph

    def network(self, spec: NetworkSpec) -> Network:
        """A graph of the whole network, where the formulation can stand in one."""
        if not self.in_networks:
            return super().network(spec)
        from adapters.network_tf import GraphNetworks

        self._networks = self._networks or GraphNetworks(self.formulation, self.describe().capabilities)
        return self._networks.network(spec)

    def new_graph(self, spec: Spec) -> BatchNormGraph:
        """A graph of the formulation."""
        return self.formulation(spec)


class NNBatchNorm(GraphBatchNorm):
    """Moments, batch_normalization and assigned moving statistics: how TensorFlow's users first wrote it."""

    formulation = NNGraph
    in_networks = True
    capabilities = Capabilities(axes="several", dtypes=("float32", "float64"), second_order=True, save=True)
    notes = (
        "is_training is a placeholder; tf.cond chooses between the batch's moments and the moving statistics",
        "moving statistics: assign(v, v * decay + batch * (1 - decay)), a control dependency of the training output",
        "no float16 or bfloat16: moments returns their statistics rounded to the input's type",
        "arrays are fed as they are: TensorFlow copies them, whatever their layout",
    )

    def conventions(self, spec: Spec) -> Conventions:
        """The variance is what ``moments`` makes of it."""
        return Conventions(variance_grade=moments_grade(), affine_grade="F")


class CheckedFusedGraph(FusedGraph):
    """Refuses what would end the process."""

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Run, unless a version's gradient op aborts on it."""
        if dy is not None:
            self._check(x)
        return super().run(x, dy, training, update)

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """Differentiate twice, unless a version's gradient op aborts on it."""
        self._check(x)
        return super().second_order(x, dy, v)

    def _check(self, x: Array) -> None:
        single = x.size == np.prod(self.spec.parameter_shape)
        if single and self.spec.dtype == "float16" and not differentiates_single_halves():
            raise Unsupported("the gradient of one element of float16 per channel aborts this version's process")


class FusedBatchNorm(GraphBatchNorm):
    """The fused op with a separate update of the moving statistics, as the layers of TensorFlow 1 had it."""

    formulation = CheckedFusedGraph
    in_networks = True
    capabilities = Capabilities(
        axes="single",
        dtypes=fused_dtypes(),
        inference_gradients=differentiates_inference(),
        separate_update=True,
        second_order=True,
        save=True,
        transposes=True,
    )
    notes = (
        "is_training is a placeholder; tf.cond chooses between the op for training and the op for inference",
        "moving statistics: assign_sub(v, (v - batch) * (1 - decay)), run together with the training step or later",
        "the channel axis is moved to the end and back",
        "ranks 2, 3 and 5 are reshaped to rank 4: (N, 1, 1, C), (N, L, 1, C), (N, D, H * W, C)",
        "float16 and bfloat16 inputs meet parameters and statistics in float32; the op has no float64",
        "arrays are fed as they are: TensorFlow copies them, whatever their layout",
    )

    def conventions(self, spec: Spec) -> Conventions:
        """Unbiased moving variance; a floor on epsilon where this version has one."""
        return Conventions(
            moving_variance="unbiased",
            epsilon_floor=epsilon_floor(spec.epsilon),
            variance_grade="A",
            affine_grade="S",
            update_timing="separate",
        )
