"""Adapter for ``keras.layers.BatchNormalization`` of Keras 3 on the JAX backend, compiled. Runs on Python 3.6."""

import functools
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

os.environ["KERAS_BACKEND"] = "jax"

from adapters import jax_arrays
from adapters.interface import Array, Spec
from adapters.jax_arrays import from_jax, jax, to_jax
from adapters.keras_layer import Engine, KerasBatchNorm


class JaxEngine(Engine):
    """Makes ``stateless_call`` a pure function, as Keras' own trainer does, and keeps the state that it returns."""

    backend = "jax"
    dtypes = jax_arrays.dtypes()
    notes = (
        "stateless_call, compiled by jax.jit for each shape; tapes and second order run without it",
        "float64 where JAX_ENABLE_X64 is set",
        "arrays are contiguous copies of an input of any layout",
    )

    def __init__(self, spec: Spec, layer: Any) -> None:
        super().__init__(spec, layer)
        self._forward = self._compiled(self.pure)
        self._forward_backward = self._compiled(self._both)

    def _compiled(self, function: Callable[..., Any]) -> Dict[bool, Any]:
        """The function for training and for inference."""
        return {training: jax.jit(functools.partial(function, training)) for training in (True, False)}

    def pure(self, training: bool, others: List[Any], x: Any, trainable: List[Any]) -> Any:
        """The output, and the new values of all that is not trainable."""
        return self.layer.stateless_call(trainable, others, x, training=training)

    def _both(self, training: bool, others: List[Any], x: Any, trainable: List[Any], dy: Any) -> Any:
        y, pull, new = jax.vjp(functools.partial(self.pure, training, others), x, trainable, has_aux=True)
        return y, new, pull(dy)

    def values(self) -> Tuple[List[Any], List[Any]]:
        """The trainable variables' values, and the others'."""
        layer = self.layer
        return [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]

    def keep(self, new: List[Any]) -> None:
        """Take over new values of all that is not trainable."""
        for variable, value in zip(self.layer.non_trainable_variables, new):
            variable.assign(value)

    def run(self, x: Array, dy: Optional[Array], training: bool) -> List[Array]:
        """Run the compiled function."""
        trainable, others = self.values()
        if dy is None:
            y, new = self._forward[training](others, to_jax(self.spec, x), trainable)
            self.keep(new)
            return [from_jax(y)]
        x_, dy_ = to_jax(self.spec, x), to_jax(self.spec, dy)
        y, new, (dx, gradients) = self._forward_backward[training](others, x_, trainable, dy_)
        self.keep(new)
        return [from_jax(a) for a in (y, dx, *gradients)]

    def tape(self, x: Array, training: bool) -> Tuple[Array, Callable[[Array], List[Array]]]:
        """Run forward and keep the pull-back."""
        trainable, others = self.values()
        forward = functools.partial(self.pure, training, others)
        y, pull, new = jax.vjp(forward, to_jax(self.spec, x), trainable, has_aux=True)
        self.keep(new)

        def backward(dy: Array) -> List[Array]:
            dx, gradients = pull(to_jax(self.spec, dy))
            return [from_jax(a) for a in (y, dx, *gradients)]

        return from_jax(y), backward

    def second_order(self, x: Array, dy: Array, v: Array) -> List[Array]:
        """Pull v back through the pull-back of dy."""
        trainable, others = self.values()

        def dx(x: Any, dy: Any, trainable: List[Any]) -> Any:
            forward = functools.partial(self.pure, True, others)
            return jax.vjp(forward, x, trainable, has_aux=True)[1](dy)[0]

        _, pull = jax.vjp(dx, to_jax(self.spec, x), to_jax(self.spec, dy), trainable)
        x_, dy_, parameters = pull(to_jax(self.spec, v))
        return [from_jax(a) for a in (x_, dy_, *parameters[: int(self.spec.scale)])]


class JaxKerasBatchNorm(KerasBatchNorm):
    """The layer on the JAX backend."""

    engine = JaxEngine
