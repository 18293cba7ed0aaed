"""Which kind of script an implementation gets."""

from adapters.naming import parse
from conformance.reproduction_arrays import JaxFunction, NumpyObject
from conformance.reproduction_graphs import FormulaGraph, FusedGraph
from conformance.reproduction_keras import GivenLayer, OwnLayer
from conformance.reproduction_kinds import Adapter, Kind
from conformance.reproduction_programs import Command, OnnxModel
from conformance.reproduction_torch import GivenFunction, GivenModule, OwnModule

#: Import path of an adapter of ours, or the kind that a target's name begins with -> how it is written.
KINDS: dict[str, type[Kind]] = {
    "adapters.torch_module:TorchBatchNorm": OwnModule,
    "adapters.keras_layer:KerasBatchNorm": OwnLayer,
    "adapters.tf_graph:NNBatchNorm": FormulaGraph,
    "adapters.tf_graph:FusedBatchNorm": FusedGraph,
    "torch": GivenModule,
    "torch-function": GivenFunction,
    "keras": GivenLayer,
    "jax": JaxFunction,
    "numpy": NumpyObject,
    "onnx": OnnxModel,
    "cmd": Command,
}


def kind_of(target: str) -> tuple[type[Kind], str]:
    """How a target is written, and its import path without the kind."""
    if target in KINDS:
        return KINDS[target], target
    reference = parse(target)
    path = f"{reference.module}:{reference.name}" if reference.name else reference.module
    return KINDS.get(reference.kind, Adapter), path
