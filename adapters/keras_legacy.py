"""Adapter for ``BatchNormalization`` of Keras 2: ``tf_keras``, or the ``keras`` of TensorFlow up to 2.15."""

import importlib
import importlib.util
from typing import Any

import numpy as np

from adapters.interface import Array, Conventions, Spec, Unsupported
from adapters.keras_layer import KerasBatchNorm, TensorFlowEngine

_NAME = "tf_keras" if importlib.util.find_spec("tf_keras") else "keras"


class LegacyEngine(TensorFlowEngine):
    """Its variables are TensorFlow's own."""

    def native(self, variable: Any) -> Any:
        """The variable itself."""
        return variable

    def read(self, variable: Any) -> Array:
        """A copy of its value."""
        return np.array(variable.numpy())


class LegacyKerasBatchNorm(KerasBatchNorm):
    """The layer of Keras 2, which takes the fused op where it can."""

    engine = LegacyEngine
    keras: Any = importlib.import_module(_NAME)

    def new_layer(self, spec: Spec) -> Any:
        """Return a layer of default arguments, which refuses one axis in one of its two spellings."""
        try:
            return super().new_layer(spec)
        except ValueError as error:
            if "Unsupported axis" not in str(error):
                raise
            raise Unsupported("axis=-4 of a 4-D input is refused, as axis 1 of a 5-D one; axis=0 is taken") from error

    def conventions(self, spec: Spec) -> Conventions:
        """Those of the op that the layer chose."""
        declared = super().conventions(spec)._replace(decay_dtype="float32")
        if not self.new_layer(spec).fused:
            return declared
        return declared._replace(moving_variance="unbiased", variance_grade="A", affine_grade="S")
