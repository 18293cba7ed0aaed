"""What layers that make their own variables and ops have in common, as graphs and as adapters."""

from typing import Any, Dict, Optional

from adapters.common import parameter_names
from adapters.interface import Conventions, Spec, State, Unsupported
from adapters.tf_base import BatchNormGraph, v1
from adapters.tf_facts import moments_grade
from adapters.tf_graph import GraphBatchNorm, GraphLayer


class LibraryGraph(BatchNormGraph):
    """A graph around a layer of TensorFlow's."""

    def layer(self) -> Any:
        """Call TensorFlow's function; its variables and update ops go to the graph's collections."""
        raise NotImplementedError

    def make_variables(self) -> Dict[str, Any]:
        """Let TensorFlow make the layer, and find its variables by the ends of their names."""
        self.made = self.layer()
        found = {variable.op.name.rsplit("/", 1)[-1]: variable for variable in v1.global_variables()}
        return {name: found[name] for name in parameter_names(self.spec)}


class LibraryBatchNorm(GraphBatchNorm):
    """An adapter whose conventions are those of the ops that its layer chose."""

    def __init__(self) -> None:
        super().__init__()
        self._conventions: Dict[Spec, Conventions] = {}

    def conventions(self, spec: Spec) -> Conventions:
        """Told from the ops of a graph of the spec."""
        if spec not in self._conventions:
            try:
                layer = self.build(spec, State())
            except Unsupported:
                return Conventions()
            assert isinstance(layer, GraphLayer)
            self._conventions[spec] = self.told(layer.graph)
        return self._conventions[spec]

    def told(self, graph: BatchNormGraph) -> Conventions:
        """The conventions of a graph."""
        timing = "forward" if graph.updates is None else "separate"
        taken = fused_epsilon(graph.graph)
        if taken is None:
            return Conventions(variance_grade=moments_grade(), affine_grade="F", update_timing=timing)
        return Conventions(
            moving_variance="unbiased",
            # The attribute is a float32.
            epsilon_floor=taken if taken > graph.spec.epsilon * (1 + 1e-6) else 0.0,
            variance_grade="A",
            affine_grade="S",
            update_timing=timing,
        )


def fused_epsilon(graph: Any) -> Optional[float]:
    """The epsilon of the fused op that a layer chose to use, at the top or within a branch; None if it chose none."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return next((node.attr["epsilon"].f for node in nodes if node.op.startswith("FusedBatchNorm")), None)
