"""What claims about updates are made of: a registry, models that they are tried on, and the trial."""

import importlib
import traceback
from typing import Any, Callable, List, Tuple

import numpy as np

from adapters.tf_base import v1

DECAY = 0.5
X = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
#: After one step from 0 and 1, and after two, with the biased variance.
ONCE = ([1.0, 2.0], [1.0, 2.5])
TWICE = ([1.5, 3.0], [1.0, 3.25])
START = ([0.0, 0.0], [1.0, 1.0])

CLAIMS: List[Tuple[str, Callable[[], bool]]] = []


class Missing(Exception):
    """This version does not have the part."""


def claim(system: str) -> Callable[[Callable[[], bool]], Callable[[], bool]]:
    """Register an experiment that says whether the claim holds that its docstring makes."""

    def register(function: Callable[[], bool]) -> Callable[[], bool]:
        CLAIMS.append((system, function))
        return function

    return register


class Model:
    """A layer, a loss that all its parameters matter to, and a session with initialized variables."""

    def __init__(self, **options: Any) -> None:
        self.x = v1.placeholder("float32", [None, 2])
        self.phase = v1.placeholder("bool", [])
        self.y = self.layer(**options)
        self.loss = v1.reduce_sum(v1.square(self.y - 3.0) * self.x)
        self.updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        self.session: Any = None

    def layer(self, **options: Any) -> Any:
        """The layer's output."""
        return contrib(self.x, is_training=self.phase, scope="bn", **options)

    def minimize(self, loss: Any) -> Any:
        """A train step."""
        return v1.train.GradientDescentOptimizer(0.01).minimize(loss)

    def begin(self) -> "Model":
        """Initialize the variables; no ops are added after this."""
        self.session = v1.Session()
        self.session.run(v1.global_variables_initializer())
        return self

    def run(self, fetch: Any, training: bool = True) -> Any:
        """Run ops on X."""
        return self.session.run(fetch, {self.x: X, self.phase: training})

    def statistics(self) -> Tuple[List[float], List[float]]:
        """Moving mean and variance."""
        return moving(self.session)

    def are(self, expected: Tuple[List[float], List[float]]) -> bool:
        """Whether the moving statistics are these."""
        return np.allclose(self.statistics(), expected)


class LayersModel(Model):
    """The same with ``tf.layers``."""

    def layer(self, **options: Any) -> Any:
        """The layer's output."""
        return layers(self.x, self.phase, name="bn")


def contrib(x: Any, **options: Any) -> Any:
    """``tf.contrib.layers.batch_norm``."""
    try:
        function = importlib.import_module("tensorflow.contrib.layers").batch_norm
    except ImportError as error:
        raise Missing("no tf.contrib") from error
    return function(x, decay=DECAY, scale=True, **dict({"fused": False}, **options))


def layers(x: Any, phase: Any, **options: Any) -> Any:
    """``tf.layers.batch_normalization``."""
    try:
        function = v1.layers.batch_normalization
    except AttributeError as error:
        raise Missing("no tf.layers: {}".format(error)) from error
    return function(x, momentum=DECAY, training=phase, fused=False, **options)


def variables(part: str, scope: str = "") -> List[Any]:
    """Variables by a part of their name, in a scope."""
    return [v for v in v1.global_variables() if part in v.op.name and v.op.name.startswith(scope)]


def moving(session: Any, scope: str = "") -> Tuple[List[float], List[float]]:
    """Moving mean and variance of a layer."""
    (mean,), (variance,) = variables("moving_mean", scope), variables("moving_variance", scope)
    found = session.run([mean, variance])
    return found[0].tolist(), found[1].tolist()


def tried(function: Callable[[], bool]) -> Tuple[str, str]:
    """Whether a claim "holds", "fails" or is "absent" for want of the part, and why."""
    try:
        with v1.Graph().as_default(), v1.device("/cpu:0"):
            return ("holds" if function() else "fails"), ""
    except Missing as missing:
        return "absent", str(missing)
    except Exception as error:
        traceback.print_exc()
        return "fails", "{}: {}".format(type(error).__name__, error)[:300]
