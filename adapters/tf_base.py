"""A batch normalization layer as a TensorFlow graph with a session: what all formulations have in common.

Uses ``tf.compat.v1`` where it exists and plain ``tf`` before that.
"""

import contextlib
import copy
import importlib
import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from adapters.common import DEFAULTS, parameter_names
from adapters.interface import Array, Spec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Untyped on purpose: TensorFlow has no type information, and the checks must not depend on its being installed.
tf: Any = importlib.import_module("tensorflow")
v1: Any = getattr(getattr(tf, "compat", None), "v1", tf)
# Gradients are added to graphs that have been run: a conditional must have given out what they need of it by then.
if hasattr(getattr(v1, "experimental", None), "output_all_intermediates"):
    v1.experimental.output_all_intermediates(True)


def session_config() -> Any:
    """One thread, so that runs are comparable, unless TensorFlow's own environment variables say otherwise."""
    return v1.ConfigProto(
        intra_op_parallelism_threads=int(os.environ.get("TF_NUM_INTRAOP_THREADS", "1")),
        inter_op_parallelism_threads=int(os.environ.get("TF_NUM_INTEROP_THREADS", "1")),
    )


class BatchNormGraph:
    """A graph with placeholders, variables, output, gradients and updates, and its session.

    A subclass is a formulation: it says how output and updates follow from ``x``, ``is_training`` and the variables.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.graph = v1.Graph()
        self._saver: List[Any] = []
        self._gradients: Dict[str, List[Any]] = {}
        self._second_order: List[Any] = []
        with self.scope():
            self.x = v1.placeholder(spec.dtype, spec.shape, name="x")
            self.dy = v1.placeholder(spec.dtype, spec.shape, name="dy")
            self.is_training = v1.placeholder("bool", [], name="is_training")
            self.variables = self.make_variables()
            self.assignments = {name: assignment(variable) for name, variable in self.variables.items()}
            self.trainable = [self.variables[name] for name in ("gamma", "beta") if name in self.variables]
            #: The update where it is an act of its own, else None.
            self.updates: Any = None
            self.y = self.output()
            if _branches_are_functions():
                # Their gradients change the op of the branches, which a session does not notice once it has begun.
                for y in (self.y, *self.further_outputs()):
                    self.gradients_of(y)
            self.extra = Extra(list(self.variables.values()))
        self.begin()

    def begin(self) -> None:
        """Open a session, which is where the variables have their values."""
        self.session = v1.Session(graph=self.graph, config=session_config())
        self.extra.begin(self.session)

    def twin(self) -> "BatchNormGraph":
        """The same ops in a session of their own: what is added to the graph later is there for both."""
        twin = copy.copy(self)
        twin.extra = copy.copy(self.extra)
        twin.begin()
        return twin

    def make_variables(self) -> Dict[str, Any]:
        """The variables of the parameters and the moving statistics, by their names here."""
        return {name: self.variable(name) for name in parameter_names(self.spec)}

    def output(self) -> Any:
        """The output for both modes; ops of the update are made here, too."""
        raise NotImplementedError

    def further_outputs(self) -> List[Any]:
        """Outputs besides that are differentiated, too."""
        return []

    def training_output(self) -> Any:
        """The output in training mode, without any update."""
        raise NotImplementedError

    def scope(self) -> Any:
        """A context in which ops are added to this graph, on the CPU."""
        return on_cpu(self.graph)

    def variable(self, name: str) -> Any:
        """A variable of the parameters' shape."""
        value = DEFAULTS[name if name in DEFAULTS else "moving_" + name]
        initial = np.full(self.spec.parameter_shape, value, dtype=self.spec.parameter_dtype)
        return v1.Variable(initial, trainable=name in ("gamma", "beta"), name=name)

    def read(self) -> Dict[str, Array]:
        """The variables' values."""
        found = self.session.run(list(self.variables.values()))
        return dict(zip(self.variables, found))

    def write(self, values: Dict[str, Array]) -> None:
        """Assign copies of the given values: a variable shares the memory of an aligned array that is fed to it."""
        feed = {self.assignments[name][0]: np.array(value) for name, value in values.items()}
        self.session.run([self.assignments[name][1] for name in values], feed)

    def fed(self, a: Array) -> Array:
        """The array as TensorFlow takes it: bfloat16 has an element type of its own there."""
        return a.view(tf.bfloat16.as_numpy_dtype) if self.spec.dtype == "bfloat16" else a

    def gradients_of(self, y: Any) -> List[Any]:
        """The gradients of sum(y * dy); their ops, most of the graph, are added when they are first needed."""
        if y.name not in self._gradients:
            with self.scope():
                self._gradients[y.name] = v1.gradients(y, [self.x, *self.trainable], self.dy)
        return self._gradients[y.name]

    def run(self, x: Array, dy: Optional[Array], training: bool, update: bool) -> List[Array]:
        """Return output and gradients of one run; a separate update, where wanted, happens in the same run."""
        fetches, feed = [self.y], {self.x: self.fed(x), self.is_training: training}
        if dy is not None:
            fetches += self.gradients_of(self.y)
            feed[self.dy] = self.fed(dy)
        count = len(fetches)
        if update and self.updates is not None:
            fetches.append(self.updates)
        return [np.array(a) for a in self.session.run(fetches, feed)[:count]]

    def update(self, x: Array) -> None:
        """Run the separate update alone."""
        self.session.run(self.updates, {self.x: self.fed(x), self.is_training: True})

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """The gradients of sum(v * dx); their ops are added on the first call."""
        if not self._second_order:
            with self.scope():
                v_ = v1.placeholder(self.spec.dtype, self.spec.shape, name="v")
                (dx,) = v1.gradients(self.training_output(), [self.x], self.dy)
                gamma = [self.variables["gamma"]] if self.spec.scale else []
                self._second_order += [v_, v1.gradients(dx, [self.x, self.dy, *gamma], v_)]
        v_, found = self._second_order
        feed = {self.x: self.fed(x), self.dy: self.fed(dy), v_: self.fed(v)}
        return [np.array(a) for a in self.session.run(found, feed)]

    def save(self, path: str) -> None:
        """Write a checkpoint of all variables; its files' names begin with the path."""
        with self.scope():
            self.saver().save(self.session, path, write_meta_graph=False)

    def restore(self, path: str) -> None:
        """Assign to all variables what a checkpoint holds."""
        with self.scope():
            self.saver().restore(self.session, path)

    def saver(self) -> Any:
        """A Saver of all variables, made on the first call."""
        if not self._saver:
            self._saver.append(v1.train.Saver(dict(self.variables, **self.extra.variables)))
        return self._saver[0]


def assignment(variable: Any) -> Tuple[Any, Any]:
    """A placeholder and the op that assigns it to the variable."""
    value = v1.placeholder(variable.dtype.base_dtype, variable.get_shape(), name="new_value")
    return value, v1.assign(variable, value).op


class Extra:
    """The other variables of a graph: what a library keeps besides is part of a layer's state, too."""

    def __init__(self, known: List[Any]) -> None:
        self.variables = {v.op.name: v for v in v1.global_variables() if all(v is not k for k in known)}
        self._assignments = {name: assignment(v) for name, v in self.variables.items()}
        self._initializer = v1.group(*[v.initializer for v in self.variables.values()])
        self._start: Dict[str, Array] = {}
        self._session: Any = None

    def begin(self, session: Any) -> None:
        """Initialize them."""
        self._session = session
        if self.variables:
            session.run(self._initializer)
            self._start = self.read()

    def read(self) -> Dict[str, Array]:
        """Their values."""
        found = self._session.run(self.variables) if self.variables else {}
        return {name: np.array(value) for name, value in found.items()}

    def write(self, values: Dict[str, Array], fresh: bool = False) -> None:
        """Assign copies of the values; ``fresh`` makes what is not given what it was at the start."""
        values = dict(self._start, **values) if fresh else values
        if values:
            feed = {self._assignments[name][0]: np.array(value) for name, value in values.items()}
            self._session.run([self._assignments[name][1] for name in values], feed)


def _branches_are_functions() -> bool:
    """Whether ``cond`` makes an op of functions, as in TensorFlow 2, and not switches and merges."""
    return bool(getattr(v1, "control_flow_v2_enabled", bool)())


@contextlib.contextmanager
def on_cpu(graph: Any) -> Iterator[None]:
    """A context in which ops are added to the graph, on the CPU."""
    with graph.as_default(), graph.device("/cpu:0"):
        yield
