"""Networks as TensorFlow's users wrote them in graph mode: placeholders, variables, a session, a train step.

The train step is an optimizer's, under control dependencies on the update ops; an inference graph of its own is
restored from the training graph's checkpoint. Uses ``tf.compat.v1`` where it exists and plain ``tf`` before that.
"""

import pathlib
import tempfile
from typing import Any, Dict, List, Optional, Type

import numpy as np

from adapters.common import FreeList
from adapters.interface import Array, Capabilities, Unsupported
from adapters.network import ADAM, NORMALIZATION, Network, NetworkSpec
from adapters.network_layers import layer_spec
from adapters.tf_base import BatchNormGraph, assignment, session_config, v1

#: Of whatever networks a process has built, those that are kept.
KEPT = 24


class NetworkGraph:
    """A graph with its session: for training with a placeholder for the mode, or for inference alone."""

    def __init__(
        self, spec: NetworkSpec, formulation: Type[BatchNormGraph], capabilities: Capabilities, inference: bool
    ) -> None:
        self.spec = spec
        self._formulation = formulation
        self._capabilities = capabilities
        self.graph = v1.Graph()
        self.variables: Dict[str, Any] = {}
        self.parts: List[BatchNormGraph] = []
        self.looks: List[Any] = []
        self.updates: List[Any] = []
        with self.graph.as_default(), self.graph.device("/cpu:0"):
            self.x = v1.placeholder(spec.dtype, (None, *spec.inputs), name="x")
            self.labels = v1.placeholder("int64", [None], name="labels")
            self.phase = v1.constant(False) if inference else v1.placeholder("bool", [], name="phase")
            self.rate = v1.placeholder(spec.dtype, [], name="rate")
            self.logits = self._forward()
            if not inference:
                self._train()
            self._initializer = v1.global_variables_initializer()
            self._assignments = {name: assignment(variable) for name, variable in self.variables.items()}
            self._saver = v1.train.Saver(self.variables)
        self.session = v1.Session(graph=self.graph, config=session_config())

    def _variable(self, name: str) -> Any:
        shape = self.spec.shapes()[name]
        self.variables[name] = v1.Variable(np.zeros(shape, self.spec.dtype), name=name)
        return self.variables[name]

    def _linear(self, k: int, a: Any) -> Any:
        """A dense or convolutional layer."""
        w = self._variable("w{}".format(k))
        shape = w.get_shape().as_list()
        if len(shape) == 4:
            z = v1.nn.conv2d(a, w, [1, 1, 1, 1], "VALID")
        else:
            z = v1.matmul(v1.reshape(a, [-1, shape[0]]), w)
        name = "b{}".format(k)
        return z + self._variable(name) if name in self.spec.shapes() else z

    def _forward(self) -> Any:
        """The logits."""
        activation = {"relu": v1.nn.relu, "sigmoid": v1.sigmoid, "tanh": v1.tanh}[self.spec.activation]
        a = self.x
        for k in range(1, len(self.spec.hidden) + 1):
            z = self._linear(k, a)
            n = activation(z) if self.spec.place == "after" else z
            if self.spec.normalizes:
                n = self._normalized(k, n)
            self.looks += [z, n]
            a = n if self.spec.place == "after" else activation(n)
        return self._linear(len(self.spec.hidden) + 1, a)

    def _normalized(self, k: int, x: Any) -> Any:
        """Batch normalization in the adapter's own formulation, of this graph's tensor."""
        spec = layer_spec(self.spec, self._capabilities, k)
        part = self._formulation.__new__(self._formulation)
        part.spec, part.graph, part.is_training, part.updates = spec, self.graph, self.phase, None
        if spec.rank == 4 and not self.spec.kernel:
            x = v1.reshape(x, [-1, 1, 1, spec.shape[3]])
        part.x = x
        with v1.variable_scope("layer{}".format(k)):
            part.variables = part.make_variables()
            y = part.output()
        self.parts.append(part)
        self.variables.update({"{}{}".format(name, k): part.variables[name] for name in NORMALIZATION})
        return y if self.spec.kernel else v1.reshape(y, [-1, self.spec.hidden[k - 1]])

    def _train(self) -> None:
        """Loss and train steps: one that waits for the update ops, and one that forgets them."""
        losses = v1.nn.sparse_softmax_cross_entropy_with_logits(logits=self.logits, labels=self.labels)
        self.loss = v1.reduce_mean(losses)
        collected = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        self.updates = collected or [part.updates for part in self.parts if part.updates is not None]
        if self.spec.optimizer == "adam":
            optimizer = v1.train.AdamOptimizer(self.rate, *ADAM)
        else:
            optimizer = v1.train.GradientDescentOptimizer(self.rate)
        trained = [variable for name, variable in self.variables.items() if not name.startswith("moving")]
        gradients = optimizer.compute_gradients(self.loss, trained)
        self.bare_step = optimizer.apply_gradients(gradients)
        with v1.control_dependencies(self.updates):
            self.train_step = optimizer.apply_gradients(gradients)

    def run(self, fetches: Any, feed: Optional[Dict[Any, Any]] = None) -> Any:
        """Run the session; an op that this version has no kernel for makes the network unsupported.

        Old versions place the whole graph at the first run, whatever is fetched.
        """
        try:
            return self.session.run(fetches, feed)
        except v1.errors.InvalidArgumentError as error:
            if "No OpKernel" not in str(error):
                raise
            what = "convolutions" if self.spec.kernel else "matrix products"
            raise Unsupported("TensorFlow: no {} of {} on the CPU".format(what, self.spec.dtype)) from error

    def begin(self) -> None:
        """Give all variables, the optimizer's too, their first values."""
        self.run(self._initializer)

    def read(self) -> Dict[str, Array]:
        """The variables' values."""
        found = self.run(list(self.variables.values()))
        return {name: np.array(a) for name, a in zip(self.variables, found)}

    def write(self, values: Dict[str, Array]) -> None:
        """Assign copies of the given values."""
        feed = {self._assignments[name][0]: np.array(a) for name, a in values.items()}
        self.run([self._assignments[name][1] for name in values], feed)

    def save(self, path: str) -> None:
        """Write a checkpoint."""
        with self.graph.as_default():
            self._saver.save(self.session, path, write_meta_graph=False)

    def restore(self, path: str) -> None:
        """Read a checkpoint."""
        with self.graph.as_default():
            self._saver.restore(self.session, path)


class GraphNetworks:
    """Makes networks of one adapter, on graphs that are kept for later ones."""

    def __init__(self, formulation: Type[BatchNormGraph], capabilities: Capabilities) -> None:
        self._formulation = formulation
        self._capabilities = capabilities
        self._graphs = FreeList(KEPT)

    def network(self, spec: NetworkSpec, inference: bool = False) -> "GraphNetwork":
        """A network, for inference alone where that is wanted."""
        if spec.normalizes and spec.dtype not in self._capabilities.dtypes:
            raise Unsupported("no dtype {}".format(spec.dtype))
        if spec.kernel and 4 not in self._capabilities.ranks:
            raise Unsupported("no rank 4")
        key = spec._replace(rate=0.0), inference
        graph = self._graphs.take(key) or NetworkGraph(spec, self._formulation, self._capabilities, inference)
        network = GraphNetwork(self, spec, graph)
        self._graphs.lend(network, key, graph)
        return network


class GraphNetwork(Network):
    """A TensorFlow graph: placeholders, a session, and an optimizer's train step that waits for the update ops."""

    def __init__(self, networks: GraphNetworks, spec: NetworkSpec, graph: NetworkGraph) -> None:
        self.spec = spec
        self._networks = networks
        self.graph = graph
        # Where the updates are ops of their own, a train step can leave them out.
        self.forgets = bool(graph.updates)
        graph.begin()

    def train(self, x: Array, labels: Array, update: bool = True) -> float:
        """Run a train step and the loss."""
        graph = self.graph
        step = graph.train_step if update else graph.bare_step
        feed = {graph.x: x, graph.labels: labels, graph.phase: True, graph.rate: self.spec.rate}
        return float(graph.run([graph.loss, step], feed)[0])

    def _fed(self, x: Array, training: bool) -> Dict[Any, Any]:
        feed: Dict[Any, Any] = {self.graph.x: x}
        if self.graph.phase.op.type.startswith("Placeholder"):
            feed[self.graph.phase] = training
        return feed

    def predict(self, x: Array, training: bool = False) -> Array:
        """Run the logits; what they wait for runs, too."""
        return np.array(self.graph.run(self.graph.logits, self._fed(x, training)))

    def activations(self, x: Array) -> List[Array]:
        """Run what enters and leaves each normalization."""
        return [np.array(a) for a in self.graph.run(self.graph.looks, self._fed(x, False))]

    def state(self) -> Dict[str, Array]:
        """The variables' values."""
        return self.graph.read()

    def set_state(self, state: Dict[str, Array]) -> None:
        """Assign to the variables."""
        self.graph.write(state)

    def reload(self) -> Network:
        """The inference graph, restored from a Saver's checkpoint."""
        network = self._networks.network(self.spec, inference=True)
        with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
            path = str(pathlib.Path(folder) / "model")
            self.graph.save(path)
            network.graph.restore(path)
        return network
