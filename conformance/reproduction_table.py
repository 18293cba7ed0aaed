"""Which kind of script an implementation gets."""

from adapters.naming import parse
from conformance.reproduction_graphs import graph
from conformance.reproduction_kinds import ADAPTER, KERAS, TORCH, Kind

#: Import path of an adapter of ours, or the kind that a target's name begins with -> how it is written.
KINDS: dict[str, Kind] = {
    "adapters.torch_module:TorchBatchNorm": TORCH,
    "adapters.keras_layer:KerasBatchNorm": KERAS,
    "adapters.tf_graph:NNBatchNorm": graph(fused=False),
    "adapters.tf_graph:FusedBatchNorm": graph(fused=True),
    "torch": TORCH,
    "keras": KERAS,
}


#: Kinds of targets that have no adapter of their own and no words here yet.
_WORDLESS = ("torch-function", "jax", "numpy", "onnx", "cmd")


def kind_of(target: str) -> tuple[Kind | None, str]:
    """How a target is written, None where nobody has said yet, and its import path without the kind."""
    if target in KINDS:
        return KINDS[target], target
    reference = parse(target)
    if reference.kind in _WORDLESS:
        return None, ""
    return KINDS.get(reference.kind, ADAPTER), f"{reference.module}:{reference.name}"
