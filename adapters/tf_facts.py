"""What the installed TensorFlow does where its versions differ: found out by asking its ops, not by version numbers."""

import functools

import numpy as np

from adapters.tf_base import session_config, tf, v1


@functools.lru_cache(maxsize=None)
def epsilon_floor(epsilon: float) -> float:
    """What ``fused_batch_norm`` raises this epsilon to before it hands it to its op; 0 where it leaves it alone.

    TensorFlow 0.12 adds 1e-12 to those up to 1e-5, later 1.x raises them to 1.001e-5, 2.x takes them as they are.
    """
    with v1.Graph().as_default():
        y = v1.nn.fused_batch_norm(np.zeros([1, 1, 1, 1], "f"), [1.0], [0.0], epsilon=epsilon)[0]
        taken = float(y.op.get_attr("epsilon"))
    # The attribute is a float32.
    return taken if taken > epsilon * (1 + 1e-6) else 0.0


@functools.lru_cache(maxsize=None)
def moments_grade() -> str:
    """The grade of ``moments``: "A" where it subtracts the mean before it squares, "C" where it does not (0.12)."""
    with v1.Graph().as_default() as graph:
        v1.nn.moments(v1.placeholder("float32", [None, 1]), [0])
        return "C" if any("sufficient_statistics" in op.name for op in graph.get_operations()) else "A"


@functools.lru_cache(maxsize=None)
def differentiates_inference() -> bool:
    """Whether the gradients of ``fused_batch_norm`` in inference are those of inference.

    Those of TensorFlow 0.12 take two outputs of the op that inference never writes: whatever the memory held.
    """
    with v1.Graph().as_default() as graph, graph.device("/cpu:0"):
        x = v1.constant(np.arange(4.0).reshape(4, 1, 1, 1), "float32")
        y = v1.nn.fused_batch_norm(x, [3.0], [0.0], [5.0], [15.0], epsilon=1.0, is_training=False)[0]
        (dx,) = v1.gradients(y, [x])
        with v1.Session(config=session_config()) as session:
            return bool(np.allclose(session.run(dx), 0.75))


def differentiates_single_halves() -> bool:
    """Whether the fused op's gradient for one element of float16 per channel comes back at all.

    That of TensorFlow 1.15 aborts its process ("Check failed: dtype() == expected_dtype"). Trying that would take a
    process of its own, with an import of TensorFlow, in the middle of a call: so all of TensorFlow 1 is taken to do it.
    """
    return not hasattr(tf, "contrib")
