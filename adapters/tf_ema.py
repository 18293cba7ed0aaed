"""The fused op's predecessor, ``batch_norm_with_global_normalization``, alone and in a helper that averages by itself.

The helper keeps the last batch's mean and variance in variables; its assigner, to be run after the optimizer, applies
an ``ExponentialMovingAverage`` to them.
"""

from typing import Any, Dict, List, Optional, Tuple

from adapters.common import parameter_names
from adapters.interface import Array, Capabilities, Conventions, Spec
from adapters.tf_base import BatchNormGraph, v1
from adapters.tf_facts import moments_grade
from adapters.tf_formulations import NNGraph
from adapters.tf_graph import GraphBatchNorm
from adapters.tf_wrapper import TwoOutputsGraph


def globally_normalized(graph: BatchNormGraph, mean: Any, variance: Any) -> Any:
    """The op: gamma is multiplied with the normalized input where ``scale_after_normalization`` says so."""
    spec = graph.spec
    beta = graph.variables.get("beta", v1.zeros(spec.parameter_shape))
    gamma = graph.variables.get("gamma", v1.ones(spec.parameter_shape))
    return v1.nn.batch_norm_with_global_normalization(
        graph.x, mean, variance, v1.identity(beta), v1.identity(gamma), spec.epsilon, spec.scale
    )


class GlobalNormalizationGraph(NNGraph):
    """Moments and assigned moving statistics around the op; parameters broadcast against the last axes."""

    def normalize(self, mean: Any, variance: Any) -> Any:
        """Applied by the op."""
        return globally_normalized(self, mean, variance)


class EMAGraph(TwoOutputsGraph):
    """The helper, with an output for each mode; that for training assigns the batch's statistics."""

    def make_variables(self) -> Dict[str, Any]:
        """The averages of the batch's statistics are the moving statistics."""
        made = {name: self.variable(name) for name in parameter_names(self.spec) if name in ("gamma", "beta")}
        self.batch = [self.variable(name) for name in ("mean", "variance")]
        average = v1.train.ExponentialMovingAverage(self.spec.decay)
        self.assigner = average.apply(self.batch)
        made["moving_mean"], made["moving_variance"] = [average.average(variable) for variable in self.batch]
        return made

    def output(self) -> Any:
        """The two outputs; the assigner is run by itself."""
        self.updates = self.assigner
        return super().output()

    def training_output(self) -> Any:
        """Normalized with the batch's statistics, which are assigned first."""
        mean, variance = v1.nn.moments(self.x, list(self.spec.reduction_axes))
        with v1.control_dependencies([v1.assign(self.batch[0], mean), v1.assign(self.batch[1], variance)]):
            return globally_normalized(self, mean, variance)

    def inference_output(self) -> Any:
        """Normalized with the averages."""
        mean, variance = self.variables["moving_mean"], self.variables["moving_variance"]
        return globally_normalized(self, v1.identity(mean), v1.identity(variance))

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Run the assigner after the step."""
        found = super().run(x, dy, training, False)
        if update:
            self.session.run(self.updates)
        return found

    def update(self, x: Array) -> None:
        """Run the assigner: it takes the variables that the last step assigned."""
        self.session.run(self.updates)


class GlobalNormalizationBatchNorm(GraphBatchNorm):
    """The op in a graph that assigns the moving statistics itself."""

    formulation = GlobalNormalizationGraph
    capabilities = Capabilities(axes="last", second_order=True, save=True)
    notes: Tuple[str, ...] = (
        "scale=True is scale_after_normalization=True, scale=False is False, with a gamma of ones that is not used",
        "a step: computing the output with is_training=True",
    )

    def conventions(self, spec: Spec) -> Conventions:
        """The variance is what ``moments`` makes of it."""
        return Conventions(variance_grade=moments_grade(), affine_grade="F")


class EMABatchNorm(GraphBatchNorm):
    """The helper as it was published: moments over axes 0, 1 and 2, for convolutions."""

    formulation = EMAGraph
    capabilities = Capabilities(ranks=(4,), axes="last", separate_update=True, second_order=True, save=True)
    notes = (
        "the normalizer object: moments over all axes but the last",
        "a step: running the assigner after the training output, which assigns the batch's mean and variance",
    )

    def conventions(self, spec: Spec) -> Conventions:
        """The variance is what ``moments`` makes of it; the average is what the assigner makes of that."""
        return Conventions(variance_grade=moments_grade(), affine_grade="F", update_timing="separate")


class DenseEMABatchNorm(EMABatchNorm):
    """The helper with moments over axis 0, for dense layers."""

    capabilities = EMABatchNorm.capabilities._replace(ranks=(2,))


class PerActivationEMABatchNorm(EMABatchNorm):
    """The helper with moments over axis 0 of images: parameters for each activation."""

    capabilities = EMABatchNorm.capabilities._replace(ranks=(3, 4), axes="activations")
    notes = (
        "the normalizer object: moments over the first axis, parameters (H, W, C)",
        "a step: running the assigner after the training output, which assigns the batch's mean and variance",
    )
