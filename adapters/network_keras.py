"""Networks as users of Keras write them: a Sequential model, an optimizer, and a training loop with a gradient tape."""

import importlib
import pathlib
import tempfile
from typing import Any, Dict, List

import numpy as np

from adapters.common import FreeList
from adapters.interface import Array
from adapters.keras_facts import keras
from adapters.network import ADAM, NORMALIZATION, Network, NetworkSpec

#: Of whatever networks a process has built, those that are kept.
KEPT = 24


def model(spec: NetworkSpec) -> Any:
    """A Sequential whose layers are called linear1, norm1, activation1, ..., and at the end the dense layer."""
    layers: List[Any] = [keras.Input(spec.inputs, dtype=spec.dtype)]
    named: Dict[str, Any] = {"dtype": spec.dtype}
    for k, units in enumerate(spec.hidden, 1):
        name = "linear{}".format(k)
        if spec.kernel:
            layers.append(keras.layers.Conv2D(units, spec.kernel, use_bias=spec.bias, name=name, **named))
        else:
            layers.append(keras.layers.Dense(units, use_bias=spec.bias, name=name, **named))
        both = [keras.layers.Activation(spec.activation, name="activation{}".format(k), **named)]
        if spec.normalizes:
            norm = keras.layers.BatchNormalization(
                momentum=spec.decay, epsilon=spec.epsilon, name="norm{}".format(k), **named
            )
            both.insert(0 if spec.place == "before" else 1, norm)
        layers += both
    if spec.kernel:
        layers.append(keras.layers.Flatten(**named))
    layers.append(keras.layers.Dense(spec.outputs, name="linear{}".format(len(spec.hidden) + 1), **named))
    return keras.Sequential(layers)


class Engine:
    """A model with its optimizer and its compiled functions."""

    def __init__(self, spec: NetworkSpec, made: Any) -> None:
        self.spec = spec
        self.model = made
        self.tf: Any = importlib.import_module("tensorflow")
        if spec.optimizer == "adam":
            self.optimizer = keras.optimizers.Adam(beta_1=ADAM[0], beta_2=ADAM[1], epsilon=ADAM[2])
        else:
            self.optimizer = keras.optimizers.SGD()
        self.optimizer.build(self.model.trainable_variables)
        batch = self.tf.TensorSpec((None, *spec.inputs), spec.dtype)
        labels = self.tf.TensorSpec((None,), "int64")
        self.step = self.tf.function(self._step, input_signature=[batch, labels])
        self.forward = {
            training: self.tf.function(lambda x, t=training: self.model(x, training=t), input_signature=[batch])
            for training in (True, False)
        }
        self.variables = self._named()

    def _named(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for layer in self.model.layers:
            kind, k = layer.name.rstrip("0123456789"), layer.name.lstrip("abcdefghijklmnopqrstuvwxyz_")
            if kind == "linear":
                found["w" + k] = layer.kernel
                if layer.use_bias:
                    found["b" + k] = layer.bias
            elif kind == "norm":
                found.update({name + k: getattr(layer, name) for name in NORMALIZATION})
        return found

    def _step(self, x: Any, labels: Any) -> Any:
        """A step of a training loop."""
        with self.tf.GradientTape() as tape:
            logits = self.model(x, training=True)
            losses = self.tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = self.tf.reduce_mean(losses)
        trained = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, [v.value for v in trained]), trained))
        return loss

    def begin(self, rate: float) -> None:
        """Give the optimizer its first state."""
        for variable in self.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.optimizer.learning_rate = rate


class KerasNetworks:
    """Makes networks on engines that are kept for later ones."""

    def __init__(self) -> None:
        self._engines = FreeList(KEPT)

    def network(self, spec: NetworkSpec) -> "KerasNetwork":
        """A network."""
        key = spec._replace(rate=0.0)
        engine = self._engines.take(key) or Engine(spec, model(spec))
        network = KerasNetwork(spec, engine)
        self._engines.lend(network, key, engine)
        return network


class KerasNetwork(Network):
    """A keras.Sequential, a gradient tape and an optimizer, compiled by tf.function."""

    def __init__(self, spec: NetworkSpec, engine: Engine) -> None:
        self.spec = spec
        self.engine = engine
        engine.begin(spec.rate)

    def train(self, x: Array, labels: Array, update: bool = True) -> float:
        """A step of the training loop."""
        return float(self.engine.step(x, labels).numpy())

    def predict(self, x: Array, training: bool = False) -> Array:
        """Call the model."""
        return np.array(self.engine.forward[training](x).numpy())

    def activations(self, x: Array) -> List[Array]:
        """Call layer by layer."""
        found: Dict[str, Array] = {}
        a = self.engine.tf.constant(x)
        for layer in self.engine.model.layers:
            a = layer(a, training=False) if layer.name.startswith("norm") else layer(a)
            found[layer.name] = np.array(a.numpy())
        pairs = [("linear{}".format(k), "norm{}".format(k)) for k in range(1, len(self.spec.hidden) + 1)]
        return [found.get(name, found[pair[0]]) for pair in pairs for name in pair]

    def state(self) -> Dict[str, Array]:
        """Copies of the variables' values."""
        return {name: np.array(keras.ops.convert_to_numpy(v)) for name, v in self.engine.variables.items()}

    def set_state(self, state: Dict[str, Array]) -> None:
        """Assign to the variables."""
        for name, a in state.items():
            self.engine.variables[name].assign(np.array(a))

    def reload(self) -> Network:
        """The model loaded from the file that it was saved to."""
        with tempfile.TemporaryDirectory(prefix="bn-conformance-") as folder:
            path = pathlib.Path(folder) / "model.keras"
            self.engine.model.save(path)
            return KerasNetwork(self.spec, Engine(self.spec, keras.saving.load_model(path)))
