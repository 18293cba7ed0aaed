"""Adapter for Keras layers that have none, on the TensorFlow backend. Runs on Python 3.6."""

from typing import Any, Dict

from adapters.common import parameter_names
from adapters.given import Given, texts_of, values_of
from adapters.interface import Capabilities, Conventions, Description, Layer, Spec, Unsupported
from adapters.keras_facts import keras
from adapters.keras_layer import POLICIES, KerasBatchNorm
from adapters.naming import Options
from adapters.signature import find_state

_STATE = ("gamma", "beta", "moving_mean", "moving_variance")


class _Named:
    """Somebody's layer, its variables under the names that Keras' own layer has."""

    def __init__(self, layer: Any, variables: Dict[str, Any], names: Dict[str, str]) -> None:
        self.layer = layer
        self.names = names
        self.gamma = variables.get("gamma")
        self.beta = variables.get("beta")
        self.moving_mean = variables.get("moving_mean")
        self.moving_variance = variables.get("moving_variance")

    def __call__(self, x: Any, training: bool) -> Any:
        """Call the layer."""
        return self.layer(x, training=training)


class GivenKerasLayer(Given, KerasBatchNorm):
    """A class of layers with arguments like BatchNormalization's."""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        Given.__init__(self, target, subject, options)
        KerasBatchNorm.__init__(self)
        self.binding = self.constructor()
        self._checked = False

    def describe(self) -> Description:
        """The installed Keras; what the layer can do is to be found out."""
        known = KerasBatchNorm.describe(self)
        arguments = ", ".join("{} is {}".format(role, name) for role, name in self.binding.roles.items())
        return known._replace(
            capabilities=Capabilities(
                axes="single" if self.binding.takes("axis") else "last", dtypes=("float32", "float64"), tape=True
            ),
            notes=("no adapter: {} ({})".format(self.who, arguments), *known.notes),
            undeclared=("capabilities", "conventions"),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """What Keras' own layer does, until it is measured."""
        return Conventions(frozen="inference")

    def new_layer(self, spec: Spec) -> Any:
        """Return a layer for the spec, with its variables."""
        for flag, on in (("center", spec.center), ("scale", spec.scale)):
            if not (on or self.binding.takes(flag)):
                raise Unsupported("{} has no {}=False".format(self.who, flag))
        values = {**values_of(spec), "axis": spec.axis[0], "dtype": POLICIES.get(spec.dtype, spec.dtype)}
        layer = self.binding(**values)
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError("{} made a {}, expected a Keras layer".format(self.who, type(layer).__name__))
        if not self.binding.takes("dtype"):
            layer.dtype_policy = keras.dtype_policies.get(values["dtype"])
        self.configured(layer, values, self.binding)
        layer.build(spec.shape)
        weights = {weight.name: weight for weight in layer.weights}
        names = find_state(self.target, self.who, weights, self.meanings, parameter_names(spec))
        if not self._checked:
            self._checked = True
            self.meanings.check(self.who, [*self.binding.roles.values(), *weights])
        return _Named(layer, {role: weights[name] for role, name in names.items()}, names)

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """The layer's arguments, its dtype policy where that is no argument, and the names of its weights."""
        texts = {**texts_of(spec), "axis": repr(spec.axis[0]), "dtype": repr(spec.dtype)}
        policy = "" if self.binding.takes("dtype") else spec.dtype
        return {**self.new_layer(spec).names, **self.spelled_making(self.binding, texts), "policy": policy}

    def restore(self, spec: Spec, path: str) -> Layer:
        """Keras would need to know the class by name."""
        raise Unsupported("no saved models of custom layers")
