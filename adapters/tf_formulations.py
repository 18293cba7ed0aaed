"""Batch normalization as TensorFlow graphs: one class per formulation."""

import functools
from typing import Any, List, Tuple

import numpy as np

from adapters.tf_base import BatchNormGraph, on_cpu, session_config, v1


def fused_dtypes() -> Tuple[str, ...]:
    """The element types of x that this version's fused op has a kernel for, with statistics in float32."""
    return tuple(dtype for dtype in ("float32", "float16", "bfloat16") if _fuses(dtype))


@functools.lru_cache(maxsize=None)
def _fuses(dtype: str) -> bool:
    ones = np.ones(1, np.float32)
    try:
        with on_cpu(v1.Graph()):
            x = v1.cast(np.ones([1, 1, 1, 1], np.float32), dtype)
            y = v1.nn.fused_batch_norm(x, ones, ones, ones, ones, is_training=False)[0]
            with v1.Session(config=session_config()) as session:
                session.run(v1.cast(y, "float32"))
    except Exception:  # each version says in its own way what it has not
        return False
    return True


class NNGraph(BatchNormGraph):
    """``moments`` and ``batch_normalization``; evaluating the training output assigns the moving statistics."""

    def moving(self, name: str, batch: Any) -> Any:
        """The op that assigns the new moving value."""
        old = self.variables[name]
        return v1.assign(old, old * self.spec.decay + batch * (1 - self.spec.decay))

    def moments(self) -> Tuple[Any, Any]:
        """Mean and biased variance of the batch, in the parameters' shape."""
        mean, variance = v1.nn.moments(self.x, list(self.spec.reduction_axes))
        return mean, variance

    def updated_moments(self) -> Tuple[Any, Any]:
        """The moments, given out only after the moving statistics have been assigned."""
        mean, variance = self.moments()
        with v1.control_dependencies([self.moving("moving_mean", mean), self.moving("moving_variance", variance)]):
            return v1.identity(mean), v1.identity(variance)

    def moving_statistics(self) -> Tuple[Any, Any]:
        """The moving statistics as they are."""
        return v1.identity(self.variables["moving_mean"]), v1.identity(self.variables["moving_variance"])

    def normalize(self, mean: Any, variance: Any) -> Any:
        """The output, with all parameters shaped to broadcast against x."""
        shape = [1] * self.spec.rank
        for axis, extent in zip(self.spec.channel_axes, self.spec.parameter_shape):
            shape[axis] = extent
        beta, gamma = [self.variables.get(name) for name in ("beta", "gamma")]
        mean, variance, beta, gamma = [
            None if a is None else v1.reshape(a, shape) for a in (mean, variance, beta, gamma)
        ]
        return v1.nn.batch_normalization(self.x, mean, variance, beta, gamma, self.spec.epsilon)

    def output(self) -> Any:
        """One output whose mean and variance are chosen by is_training."""
        mean, variance = v1.cond(self.is_training, self.updated_moments, self.moving_statistics)
        return self.normalize(mean, variance)

    def training_output(self) -> Any:
        """Normalized with the batch's moments, without the assignments."""
        return self.normalize(*self.moments())


class FusedGraph(BatchNormGraph):
    """``fused_batch_norm`` in NHWC, once for each mode; the moving statistics are updated by a separate op."""

    def fused(self, is_training: bool) -> Tuple[Any, Any, Any]:
        """The op's output, mean and variance; in training that variance is the unbiased one."""
        ones, zeros = [np.full(self.spec.parameter_shape, value, self.spec.parameter_dtype) for value in (1, 0)]
        statistics = {}
        if not is_training:
            statistics = {name: v1.identity(self.variables["moving_" + name]) for name in ("mean", "variance")}
        y, mean, variance = v1.nn.fused_batch_norm(
            self.to_nhwc(self.x),
            v1.identity(self.variables.get("gamma", ones)),
            v1.identity(self.variables.get("beta", zeros)),
            epsilon=self.spec.epsilon,
            is_training=is_training,
            **statistics,
        )
        return y, v1.identity(mean), v1.identity(variance)

    def permutation(self) -> List[int]:
        """The order of axes that puts the channels last."""
        return [*self.spec.reduction_axes, *self.spec.channel_axes]

    def to_nhwc(self, a: Any) -> Any:
        """Four dimensions, the channels last."""
        a = v1.transpose(a, self.permutation())
        if self.spec.rank == 4:
            return a
        extents = v1.unstack(v1.shape(a), num=self.spec.rank)
        inner = extents[1:-1]
        height = inner[0] if inner else 1
        width = inner[1] * inner[2] if len(inner) == 3 else 1
        return v1.reshape(a, v1.stack([extents[0], height, width, self.spec.parameter_shape[0]]))

    def from_nhwc(self, a: Any) -> Any:
        """The inverse of ``to_nhwc``."""
        if self.spec.rank != 4:
            a = v1.reshape(a, v1.shape(v1.transpose(self.x, self.permutation())))
        return v1.transpose(a, np.argsort(self.permutation()))

    def output(self) -> Any:
        """The output of one of two ops, chosen by is_training; the update takes the statistics of the chosen one."""
        y, mean, variance = v1.cond(self.is_training, lambda: self.fused(True), lambda: self.fused(False))
        updates = []
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            old = self.variables[name]
            updates.append(v1.assign_sub(old, (old - batch) * (1 - self.spec.decay)))
        self.updates = v1.group(*updates)
        return self.from_nhwc(y)

    def training_output(self) -> Any:
        """The output of the op for training alone."""
        return self.from_nhwc(self.fused(True)[0])
