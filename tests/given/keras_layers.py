"""A Keras layer without an adapter, its weights under other names than Keras' own."""

# ruff: noqa: D102 - the methods are those of any such class

import importlib
from typing import Any

keras: Any = importlib.import_module("keras")


class Mine(keras.layers.Layer):  # type: ignore[misc]
    """Any axis, always with scale and offset."""

    def __init__(self, axis: int = -1, momentum: float = 0.99, eps: float = 1e-3, **more: Any) -> None:
        super().__init__(**more)
        self.axis, self.momentum, self.eps = axis, momentum, eps

    def build(self, shape: Any) -> None:
        channels = (shape[self.axis],)
        self.scale = self.add_weight(shape=channels, initializer="ones", name="scale")
        self.offset = self.add_weight(shape=channels, initializer="zeros", name="offset")
        self.mean = self.add_weight(shape=channels, initializer="zeros", name="running_mean", trainable=False)
        self.var = self.add_weight(shape=channels, initializer="ones", name="running_var", trainable=False)
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        axis = self.axis % len(x.shape)
        shape = [x.shape[axis] if a == axis else 1 for a in range(len(x.shape))]
        mean, var = self.mean, self.var
        if training:
            mean, var = keras.ops.moments(x, [a for a in range(len(x.shape)) if a != axis])
            self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
            self.var.assign(self.momentum * self.var + (1 - self.momentum) * var)
        scale, offset, mean, var = [keras.ops.reshape(a, shape) for a in (self.scale, self.offset, mean, var)]
        return scale * (x - mean) * keras.ops.rsqrt(var + self.eps) + offset
