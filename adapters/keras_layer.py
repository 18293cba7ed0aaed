"""Adapter for ``keras.layers.BatchNormalization`` of Keras 3 on the TensorFlow backend, compiled by ``tf.function``.

Other backends, and Keras 2, are subclasses in modules of their own.
"""

import functools
import importlib
import pathlib
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Type

import numpy as np

from adapters.common import FreeList, complete, named_state, named_step, parameter_names, refuse_undeclared
from adapters.interface import (
    Array,
    BatchNormAdapter,
    Capabilities,
    Conventions,
    Description,
    Layer,
    Spec,
    State,
    Step,
    Tape,
    Unsupported,
)
from adapters.keras_facts import keras, moments_grade, narrows
from adapters.network import Network, NetworkSpec

if TYPE_CHECKING:
    from adapters.network_keras import KerasNetworks

#: The dtype policy for an element type of x: variables are kept in float32 at least.
POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


class Engine:
    """Runs a Keras layer on a backend, with gradients as the backend's users take them."""

    backend: str
    dtypes: Tuple[str, ...] = ("float32", "float64", "float16", "bfloat16")
    notes: Tuple[str, ...] = ()

    def __init__(self, spec: Spec, layer: Any) -> None:
        self.layer = layer
        self.spec = spec
        # Keras 3.0 leaves out the attributes of what a layer does not have.
        self.gamma, self.beta = [getattr(layer, name, None) for name in ("gamma", "beta")]

    def read(self, variable: Any) -> Array:
        """A copy of a variable's value."""
        return np.array(keras.ops.convert_to_numpy(variable))

    def run(self, x: Array, dy: Optional[Array], training: bool) -> List[Array]:
        """Return the output and, where dy is given, the gradients, as copies."""
        raise NotImplementedError

    def tape(self, x: Array, training: bool) -> Tuple[Array, Callable[[Array], List[Array]]]:
        """Return the output of a call, and its backward pass, which can be called any number of times."""
        raise NotImplementedError

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """Return the gradients of sum(v * dx) with respect to x, dy and gamma; it may update the statistics."""
        raise NotImplementedError


class TensorFlowEngine(Engine):
    """Runs it on TensorFlow: compiled by ``tf.function``, the spec's free extents left free."""

    backend = "tensorflow"
    notes = (
        "compiled by tf.function, one trace for all extents; tapes and second order run eagerly",
        "tensors are made by tf.constant, which copies an input of any layout",
    )

    def __init__(self, spec: Spec, layer: Any) -> None:
        super().__init__(spec, layer)
        self.tf: Any = importlib.import_module("tensorflow")
        # The tape watches TensorFlow's own variables inside those of Keras.
        variables = [v for v in (self.gamma, self.beta) if v is not None]
        self.trainable = [self.native(variable) for variable in variables]
        signature = self.tf.TensorSpec(spec.shape, spec.dtype)
        self._forward = self._compiled(self._call, [signature])
        self._forward_backward = self._compiled(self._call_with_gradients, [signature, signature])

    def native(self, variable: Any) -> Any:
        """The framework's own variable inside that of Keras."""
        return variable.value

    def _compiled(self, function: Callable[..., Any], signature: List[Any]) -> Dict[bool, Any]:
        """The function for training and for inference, each traced when first called."""
        return {
            training: self.tf.function(functools.partial(function, training), input_signature=signature)
            for training in (True, False)
        }

    def _call(self, training: bool, x: Any) -> Any:
        return self.layer(x, training=training)

    def _call_with_gradients(self, training: bool, x: Any, dy: Any) -> List[Any]:
        tape, y = self.record(x, training)
        return [y, *self.gradients(tape, x, y, dy)]

    def record(self, x: Any, training: bool, persistent: bool = False) -> Tuple[Any, Any]:
        """Return the tape and the output of a forward call."""
        with self.tf.GradientTape(persistent=persistent) as tape:
            tape.watch(x)
            y = self._call(training, x)
        return tape, y

    def gradients(self, tape: Any, x: Any, y: Any, dy: Any) -> List[Any]:
        """The gradients of sum(y * dy) with respect to x and to gamma and beta as far as the layer has them."""
        found: List[Any] = tape.gradient(y, [x, *self.trainable], output_gradients=dy)
        return found

    def constant(self, a: Array) -> Any:
        """A tensor with a copy of the array; bfloat16 has an element type of its own there."""
        return self.tf.constant(a.view(self.tf.bfloat16.as_numpy_dtype) if self.spec.dtype == "bfloat16" else a)

    def run(self, x: Array, dy: Optional[Array], training: bool) -> List[Array]:
        """Return the output and, where dy is given, the gradients, as copies."""
        constant = self.constant
        if dy is None:
            return [np.array(self._forward[training](constant(x)).numpy())]
        return [np.array(a.numpy()) for a in self._forward_backward[training](constant(x), constant(dy))]

    def tape(self, x: Array, training: bool) -> Tuple[Array, Callable[[Array], List[Array]]]:
        """Return the output of an eager call, and its backward pass, which can be called any number of times."""
        x_ = self.constant(x)
        tape, y = self.record(x_, training, persistent=True)

        def backward(dy: Array) -> List[Array]:
            return [np.array(a.numpy()) for a in (y, *self.gradients(tape, x_, y, self.constant(dy)))]

        return np.array(y.numpy()), backward

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """Return the gradients of sum(v * dx) with respect to x, dy and gamma; like any training call, it updates."""
        x_, dy_ = self.constant(x), self.constant(dy)
        gamma = [] if self.gamma is None else self.trainable[:1]
        with self.tf.GradientTape() as outer:
            outer.watch([x_, dy_])
            tape, y = self.record(x_, training=True)
            dx = tape.gradient(y, x_, output_gradients=dy_)
        found = outer.gradient(dx, [x_, dy_, *gamma], output_gradients=self.constant(v))
        return [np.array(a.numpy()) for a in found]


class KerasTape(Tape):
    """A forward call whose backward pass is kept."""

    def __init__(self, layer: "KerasLayer", x: Array, training: bool) -> None:
        self._spec = layer.spec
        self.y, self._backward = layer.engine.tape(x, training)

    def backward(self, dy: Array) -> Step:
        """Run the backward pass, once more if it was run before."""
        return named_step(self._spec, self._backward(dy))


class KerasLayer(Layer):
    """A live layer: the only user of its engine while it lives."""

    def __init__(self, spec: Spec, engine: Engine, keras: Any) -> None:
        self.spec = spec
        self.engine = engine
        self.keras = keras
        self.variables = {name: getattr(engine.layer, name) for name in parameter_names(spec)}

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Call the layer with training=True, which updates its moving statistics."""
        if not update:
            raise Unsupported("Keras updates the moving statistics in the forward call")
        return named_step(self.spec, self.engine.run(x, dy, training=True))

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Call the layer with training=False."""
        return named_step(self.spec, self.engine.run(x, dy, training=False))

    def state(self) -> State:
        """Return copies of the variables' values."""
        return named_state({name: self.engine.read(variable) for name, variable in self.variables.items()})

    def set_state(self, state: State) -> None:
        """Assign the given arrays to the variables that the layer has."""
        for name, variable in self.variables.items():
            value = getattr(state, name)
            if value is not None:
                variable.assign(np.array(value))

    def tape(self, x: Array, training: bool) -> Tape:
        """Call the layer eagerly on a persistent tape."""
        return KerasTape(self, x, training)

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Differentiate twice, then put the moving statistics back, which Keras cannot leave alone in training."""
        before = self.state()
        found = self.engine.second_order(x, dy, v)
        self.set_state(before)
        return found[0], found[1], found[2] if self.spec.scale else None

    def save(self, path: str) -> None:
        """Write a model of this layer alone, ``layer.keras``, into a folder at the path."""
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        begin = self.keras.Input(batch_shape=self.spec.shape, dtype=self.spec.dtype)
        model = self.keras.Sequential([begin, self.engine.layer])
        model.save(pathlib.Path(path) / "layer.keras")


class KerasBatchNorm(BatchNormAdapter):
    """``keras.layers.BatchNormalization``. A subclass for another backend brings an engine and declares its own."""

    engine: Type[Engine] = TensorFlowEngine
    keras: Any = keras

    def __init__(self) -> None:
        backend = self.keras.backend.backend()
        if backend != self.engine.backend:
            raise Unsupported("Keras runs on {}, not on {}".format(backend, self.engine.backend))
        self._engines = FreeList()
        self._networks: Optional["KerasNetworks"] = None

    def describe(self) -> Description:
        """The installed Keras and its backend, on the CPU."""
        backend = importlib.import_module(self.engine.backend)
        return Description(
            "keras",
            str(self.keras.__version__),
            capabilities=Capabilities(dtypes=self.engine.dtypes, tape=True, second_order=True, save=True),
            notes=(
                "backend: {} {}".format(self.engine.backend, backend.__version__),
                *self.engine.notes,
                "float16 and bfloat16 by the policies mixed_float16 and mixed_bfloat16",
                "second_order: the moving statistics are put back after the call",
            ),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Biased moving variance in all ranks; a frozen layer runs in inference mode."""
        declared = Conventions(variance_grade=moments_grade(), affine_grade="F", frozen="inference")
        if spec.dtype == "float64" and narrows():
            return declared._replace(compute_dtype="float32", decay_dtype="float32", statistics_dtype="float64")
        return declared

    def new_layer(self, spec: Spec) -> Any:
        """Return a Keras layer for the spec, with its variables."""
        layer = self.keras.layers.BatchNormalization(
            axis=spec.axis[0],
            momentum=spec.decay,
            epsilon=spec.epsilon,
            center=spec.center,
            scale=spec.scale,
            dtype=POLICIES.get(spec.dtype, spec.dtype),
        )
        layer.build(spec.shape)
        layer.trainable = spec.execution.mode != "frozen"
        return layer

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer on an idle engine of the spec, or on a new one."""
        refuse_undeclared(spec, self.describe().capabilities, ("default", "frozen"))
        engine = self._engines.take(spec) or self.engine(spec, self.new_layer(spec))
        layer = KerasLayer(spec, engine, self.keras)
        self._engines.lend(layer, spec, engine)
        layer.set_state(complete(spec, state))
        return layer

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return the layer of a saved model. It is not used again: its configuration is the file's, not the spec's."""
        refuse_undeclared(spec, self.describe().capabilities)
        model = self.keras.saving.load_model(pathlib.Path(path) / "layer.keras")
        return KerasLayer(spec, self.engine(spec, model.layers[-1]), self.keras)

    def network(self, spec: NetworkSpec) -> Network:
        """A keras.Sequential, on TensorFlow."""
        if self.engine is not TensorFlowEngine:
            return super().network(spec)
        from adapters.network_keras import KerasNetworks

        self._networks = self._networks or KerasNetworks()
        return self._networks.network(spec)
