"""The implementations that the suite knows by name, listed without importing any framework."""

from typing import Dict, NamedTuple, Tuple


class Entry(NamedTuple):
    """An implementation: where its adapter is, and what must be installed for it.

    ``target`` is ``module:Class``; ``module`` the framework's import name, which tells whether it is available;
    ``extra`` the extra of the distribution that installs it, empty where nothing is needed.
    """

    name: str
    target: str
    module: str
    extra: str
    summary: str


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
        "keras",
        "adapters.keras_layer:KerasBatchNorm",
        "keras",
        "keras",
        "keras.layers.BatchNormalization on TensorFlow, compiled by tf.function",
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
GROUPS: Dict[str, Tuple[str, ...]] = {"tf_graph": ("tf_graph.nn", "tf_graph.fused")}


def expand(name: str) -> Tuple[Entry, ...]:
    """Return the entries that a name stands for: one implementation, or all of a group.

    Raises KeyError for a name that is neither.
    """
    entries = {entry.name: entry for entry in REGISTRY}
    return tuple(entries[member] for member in GROUPS.get(name, (name,)))
