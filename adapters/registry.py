"""The implementations that the suite knows by name, listed without importing any framework."""

from typing import Dict, NamedTuple, Tuple


class Entry(NamedTuple):
    """An implementation: where its adapter is, and what must be installed for it.

    ``target`` is ``module:Class``; ``module`` the framework's import name, which tells whether it is available;
    ``extra`` the extra of the distribution that installs it, empty where nothing is needed or none does.
    """

    name: str
    target: str
    module: str
    extra: str
    summary: str
    #: Import names that must be there besides.
    needs: Tuple[str, ...] = ()
    #: An implementation of the same framework that computes by the same ops: what differs is how they are put together,
    #: when the moving statistics are updated, or one option.
    kin: str = ""


REGISTRY: Tuple[Entry, ...] = (
    Entry(
        "numpy",
        "adapters.numpy_reference:NumpyReference",
        "numpy",
        "",
        "the reference: plain two-pass NumPy, any axes",
    ),
    Entry(
        "tf_graph.nn",
        "adapters.tf_graph:NNBatchNorm",
        "tensorflow",
        "tensorflow",
        "TensorFlow graph: moments and batch_normalization, moving statistics assigned under control dependencies",
    ),
    Entry(
        "tf_graph.fused",
        "adapters.tf_graph:FusedBatchNorm",
        "tensorflow",
        "tensorflow",
        "TensorFlow graph: fused_batch_norm, moving statistics updated by an op of their own",
    ),
    Entry(
        "tf_graph.global_normalization",
        "adapters.tf_ema:GlobalNormalizationBatchNorm",
        "tensorflow",
        "tensorflow",
        "batch_norm_with_global_normalization, scale_after_normalization both ways",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.ema",
        "adapters.tf_ema:EMABatchNorm",
        "tensorflow",
        "tensorflow",
        "the normalizer object of 2015: an assigner applies an ExponentialMovingAverage; convolutions",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.ema_dense",
        "adapters.tf_ema:DenseEMABatchNorm",
        "tensorflow",
        "tensorflow",
        "the normalizer object, moments over axis 0 of rank 2",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.ema_per_activation",
        "adapters.tf_ema:PerActivationEMABatchNorm",
        "tensorflow",
        "tensorflow",
        "the normalizer object, moments over axis 0 alone: parameters for each activation",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.wrapper",
        "adapters.tf_wrapper:WrapperBatchNorm",
        "tensorflow",
        "tensorflow",
        "a training and an inference graph, joined by a checkpoint; statistics assigned with the output",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.by_hand",
        "adapters.tf_wrapper:ByHandBatchNorm",
        "tensorflow",
        "tensorflow",
        "the same with the formula written out: moments, division, square root",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.layers",
        "adapters.tf_layers:LayersBatchNorm",
        "tf_keras",
        "",
        "tf.layers.batch_normalization, UPDATE_OPS of its scope hung on the train step",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.layers_fused",
        "adapters.tf_layers:FusedLayersBatchNorm",
        "tf_keras",
        "",
        "the same with fused=True",
        kin="tf_graph.fused",
    ),
    # In TensorFlow 0.12 the variance of contrib's layers is their own: there a sample is all that tests it in "quick".
    Entry(
        "tf_graph.contrib",
        "adapters.tf_contrib:ContribBatchNorm",
        "tensorflow.contrib",
        "",
        "tf.contrib.layers.batch_norm, UPDATE_OPS hung on the train step",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.contrib_debiased",
        "adapters.tf_contrib:DebiasedContribBatchNorm",
        "tensorflow.contrib",
        "",
        "the same with zero_debias_moving_mean=True",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.contrib_fused",
        "adapters.tf_contrib:FusedContribBatchNorm",
        "tensorflow.contrib",
        "",
        "the same with fused=True",
        kin="tf_graph.fused",
    ),
    Entry(
        "tf_graph.contrib_loss",
        "adapters.tf_contrib:LossContribBatchNorm",
        "tensorflow.contrib",
        "",
        "tf.contrib.layers.batch_norm, UPDATE_OPS hung on the total loss",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.contrib_inline",
        "adapters.tf_contrib:InlineContribBatchNorm",
        "tensorflow.contrib",
        "",
        "tf.contrib.layers.batch_norm, updates_collections=None",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.contrib_cond",
        "adapters.tf_contrib:CondContribBatchNorm",
        "tensorflow.contrib",
        "",
        "tf.cond between two contrib layers that share variables, updates_collections=None",
        kin="tf_graph.nn",
    ),
    Entry(
        "tf_graph.contrib_cond_collected",
        "adapters.tf_contrib:CollectedCondContribBatchNorm",
        "tensorflow.contrib",
        "",
        "the same with updates in UPDATE_OPS, hung on the train step",
        kin="tf_graph.nn",
    ),
    Entry(
        "keras",
        "adapters.keras_layer:KerasBatchNorm",
        "keras",
        "keras",
        "keras.layers.BatchNormalization on TensorFlow, compiled by tf.function",
    ),
    Entry(
        "keras_torch",
        "adapters.keras_torch:TorchKerasBatchNorm",
        "keras",
        "keras",
        "keras.layers.BatchNormalization on torch, eager",
        needs=("torch",),
    ),
    Entry(
        "keras_jax",
        "adapters.keras_jax:JaxKerasBatchNorm",
        "keras",
        "keras",
        "keras.layers.BatchNormalization on JAX, compiled by jax.jit",
        needs=("jax",),
    ),
    Entry(
        "tf_keras",
        "adapters.keras_legacy:LegacyKerasBatchNorm",
        "tf_keras",
        "",
        "BatchNormalization of Keras 2, compiled by tf.function",
    ),
    Entry(
        "flax",
        "adapters.flax_layer:FlaxBatchNorm",
        "flax",
        "",
        "flax.linen.BatchNorm, compiled by jax.jit",
    ),
    Entry(
        "flax_two_pass",
        "adapters.flax_layer:TwoPassFlaxBatchNorm",
        "flax",
        "",
        "the same with use_fast_variance=False",
        kin="flax",
    ),
    Entry(
        "torch",
        "adapters.torch_module:TorchBatchNorm",
        "torch",
        "torch",
        "torch.nn.BatchNorm1d, 2d and 3d, eager",
    ),
)

#: Names that stand for several implementations.
GROUPS: Dict[str, Tuple[str, ...]] = {
    "tf_graph": ("tf_graph.nn", "tf_graph.fused"),
    "tf_systems": tuple(entry.name for entry in REGISTRY if entry.name.startswith("tf_graph.")),
}


def expand(name: str) -> Tuple[Entry, ...]:
    """Return the entries that a name stands for: one implementation, or all of a group.

    Raises KeyError for a name that is neither.
    """
    entries = {entry.name: entry for entry in REGISTRY}
    return tuple(entries[member] for member in GROUPS.get(name, (name,)))
