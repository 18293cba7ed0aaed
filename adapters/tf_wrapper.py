"""The wrapper with population statistics: a training graph and an inference graph, joined by a Saver's checkpoint."""

import tempfile
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.interface import Array, Capabilities, Conventions, Spec
from adapters.tf_base import BatchNormGraph, v1
from adapters.tf_facts import moments_grade
from adapters.tf_formulations import NNGraph
from adapters.tf_graph import GraphBatchNorm


class TwoOutputsGraph(BatchNormGraph):
    """A formulation without an is_training placeholder: it has two outputs."""

    def inference_output(self) -> Any:
        """The output in inference mode."""
        raise NotImplementedError

    def further_outputs(self) -> List[Any]:
        """That of inference."""
        return [self.inference]

    def output(self) -> Any:
        """The training output; that of inference is made beside it."""
        self.inference = self.inference_output()
        return self.training_output()

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Return output and gradients of one mode."""
        if training:
            return super().run(x, dy, training, update)
        fetches = [self.inference] + (self.gradients_of(self.inference) if dy is not None else [])
        feed = {self.x: x} if dy is None else {self.x: x, self.dy: dy}
        return [np.array(a) for a in self.session.run(fetches, feed)]


class WrapperGraph(NNGraph):
    """The training graph: its output waits for the assignment of the population statistics."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.inference = self.inference_graph(spec)
        self._stale = True

    def inference_graph(self, spec: Spec) -> BatchNormGraph:
        """The other graph."""
        return InferenceGraph(spec)

    def twin(self) -> BatchNormGraph:
        """Of both graphs."""
        twin = super().twin()
        assert isinstance(twin, WrapperGraph)
        twin.inference, twin._stale = self.inference.twin(), True
        return twin

    def output(self) -> Any:
        """The training output alone."""
        return self.normalize(*self.updated_moments())

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Run the graph of the mode; that of inference restores what the training graph has saved since."""
        if training:
            self._stale = True
            return super().run(x, dy, training, update)
        if self._stale:
            with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
                path = folder + "/model"
                self.save(path)
                self.inference.restore(path)
            self._stale = False
        return self.inference.run(x, dy, training, update)

    def write(self, values: Dict[str, Array]) -> None:
        """Assign to the training graph's variables."""
        self._stale = True
        super().write(values)

    def restore(self, path: str) -> None:
        """Assign to the training graph's variables."""
        self._stale = True
        super().restore(path)


class InferenceGraph(NNGraph):
    """The inference graph: the same function with is_training=False."""

    def output(self) -> Any:
        """Normalized with the population statistics."""
        return self.normalize(*self.moving_statistics())


class ByHand(NNGraph):
    """The formula written out; parameters broadcast against the last axes."""

    def normalize(self, mean: Any, variance: Any) -> Any:
        """Subtract, divide by the square root, scale and shift."""
        y = (self.x - mean) / v1.sqrt(variance + self.spec.epsilon)
        y = self.variables["gamma"] * y if "gamma" in self.variables else y
        return y + self.variables["beta"] if "beta" in self.variables else y


class ByHandInferenceGraph(ByHand, InferenceGraph):
    """The formula in the inference graph."""


class ByHandGraph(ByHand, WrapperGraph):
    """The formula in the training graph."""

    def inference_graph(self, spec: Spec) -> BatchNormGraph:
        """The other graph, by hand as well."""
        return ByHandInferenceGraph(spec)


class WrapperBatchNorm(GraphBatchNorm):
    """The wrapper around ``batch_normalization``."""

    formulation = WrapperGraph
    capabilities = Capabilities(axes="several", second_order=True, save=True)
    notes: Tuple[str, ...] = (
        "two graphs; a checkpoint carries the variables from that for training to that for inference",
        "a step: evaluating anything that needs the training graph's output, such as its accuracy on other data",
    )

    def conventions(self, spec: Spec) -> Conventions:
        """The variance is what ``moments`` makes of it."""
        return Conventions(variance_grade=moments_grade(), affine_grade="F")


class ByHandBatchNorm(WrapperBatchNorm):
    """The formula written out."""

    formulation = ByHandGraph
    capabilities = Capabilities(axes="last", second_order=True, save=True)

    def conventions(self, spec: Spec) -> Conventions:
        """The mean is subtracted first."""
        return Conventions(variance_grade=moments_grade(), affine_grade="S")
