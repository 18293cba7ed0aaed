"""What the installed Keras does where versions and backends differ: found out by asking it. Runs on Python 3.6."""

import functools
import importlib
import os
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Untyped on purpose: the checks of this module must not depend on which Keras is installed, if any.
keras: Any = importlib.import_module("keras")


@functools.lru_cache(maxsize=None)
def moments_grade() -> str:
    """The grade of the variance that the layer takes: "C" where the backend's is E[x^2] - E[x]^2."""
    if not hasattr(keras, "ops"):  # Keras 2 takes that of TensorFlow
        return "A"
    x = keras.ops.convert_to_tensor(np.array([[8192.0], [8193.0]], np.float32))
    return "A" if float(keras.ops.moments(x, axes=[0])[1][0]) == 0.25 else "C"


@functools.lru_cache(maxsize=None)
def narrows() -> bool:
    """Whether a layer of float64 casts x to float32, as that of Keras 3.15 does on torch."""
    if not hasattr(keras, "ops"):
        return False
    layer = keras.layers.BatchNormalization(momentum=0.0, dtype="float64")
    layer(keras.ops.convert_to_tensor(np.array([[2.0**30], [2.0**30 + 2]])), training=True)
    return float(keras.ops.convert_to_numpy(layer.moving_mean)[0]) != 2.0**30 + 1
