"""``tf.layers.batch_normalization`` with ``UPDATE_OPS`` (TensorFlow 1.4 to today, there with the layers of Keras 2)."""

import functools
from typing import Any

from adapters.interface import Capabilities, Description, Spec, Unsupported
from adapters.tf_base import BatchNormGraph, session_config, v1
from adapters.tf_library import LibraryBatchNorm, LibraryGraph


class LayersGraph(LibraryGraph):
    """The train step waits for the update ops of this model, which it finds by the scope that it was built in."""

    fused = False

    def layer(self) -> Any:
        """The output of the layer."""
        if len(self.spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(self.spec.axis))
        with v1.variable_scope("model"):
            return v1.layers.batch_normalization(
                self.x,
                axis=self.spec.axis[0],
                momentum=self.spec.decay,
                epsilon=self.spec.epsilon,
                center=self.spec.center,
                scale=self.spec.scale,
                training=self.is_training,
                fused=self.fused,
                name="bn",
            )

    def output(self) -> Any:
        """What the layer gave; the train step waits for the updates."""
        with v1.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS, scope="model")):
            self.updates = v1.no_op(name="train_step")
        return self.made


class FusedLayersGraph(LayersGraph):
    """The same with the fused op."""

    fused = True


@functools.lru_cache(maxsize=None)
def channels_first() -> bool:
    """Whether this version's fused op has a kernel for channels in axis 1 on the CPU."""
    with v1.Graph().as_default() as graph, graph.device("/cpu:0"):
        ones = v1.ones([1])
        y = v1.nn.fused_batch_norm(v1.ones([2, 1, 2, 2]), ones, ones, data_format="NCHW")[0]
        with v1.Session(config=session_config()) as session:
            try:
                session.run(y)
            except Exception:  # each version says in its own way that it has none
                return False
    return True


class AnyLayersBatchNorm(LibraryBatchNorm):
    """With or without the fused op."""

    def kind(self, spec: Spec) -> Spec:
        """The layer is given the axis as it is."""
        return spec


class LayersBatchNorm(AnyLayersBatchNorm):
    """Without the fused op, as before it was the default."""

    formulation = LayersGraph
    in_networks = True
    capabilities = Capabilities(axes="single", separate_update=True, save=True)
    notes = (
        "training is a placeholder; fused=False",
        "a step: running the train step, which waits for get_collection(UPDATE_OPS, scope)",
    )


class FusedLayersBatchNorm(AnyLayersBatchNorm):
    """With the fused op: inputs of rank 4 alone."""

    formulation = FusedLayersGraph
    in_networks = True
    capabilities = Capabilities(ranks=(4,), axes="single", separate_update=True, save=True)
    notes = (
        "training is a placeholder; fused=True",
        "a step: running the train step, which waits for get_collection(UPDATE_OPS, scope)",
    )

    def describe(self) -> Description:
        """With the axes that this version takes."""
        described = super().describe()
        axes = "single" if channels_first() else "last"
        return described._replace(capabilities=self.capabilities._replace(axes=axes))

    def new_graph(self, spec: Spec) -> BatchNormGraph:
        """Refused where the layer takes the axis and either leaves the op out, without a word, or the op fails."""
        if spec.channel_axes not in ((1,), (3,)):
            raise Unsupported("with fused=True the layer takes the fused op for axis 1 or 3 alone")
        if spec.channel_axes == (1,) and not channels_first():
            raise Unsupported("this version's fused op has no kernel for channels in axis 1 on the CPU")
        return super().new_graph(spec)
