"""Adapter for ``flax.linen.BatchNorm``, compiled by ``jax.jit``. Runs on Python 3.6."""

import functools
import importlib
import pathlib
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from adapters.common import complete, named_state, named_step, parameter_names, refuse_undeclared
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
from adapters.jax_arrays import from_jax, jax, to_jax

# Untyped on purpose: the checks of this module must not depend on which Flax is installed, if any.
flax: Any = importlib.import_module("flax")
linen: Any = importlib.import_module("flax.linen")

#: Flax's collection and name for each of our parameters.
NAMES = {
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}
Collection = Dict[str, Any]


class Functions:
    """The pure functions of a module, compiled when they are first called with a shape."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.forward = {training: jax.jit(self.pure(training)) for training in (True, False)}
        self.forward_backward = {training: jax.jit(self._both(training)) for training in (True, False)}

    def pure(self, training: bool) -> Callable[..., Any]:
        """The output, and the new statistics, of statistics, x and parameters."""

        def call(statistics: Collection, x: Any, parameters: Collection) -> Tuple[Any, Collection]:
            y, new = self.module.apply(
                {"params": parameters, "batch_stats": statistics},
                x,
                use_running_average=not training,
                mutable=["batch_stats"],
            )
            return y, new["batch_stats"]

        return call

    def _both(self, training: bool) -> Callable[..., Any]:
        forward = self.pure(training)

        def call(statistics: Collection, x: Any, parameters: Collection, dy: Any) -> Any:
            y, pull, new = jax.vjp(functools.partial(forward, statistics), x, parameters, has_aux=True)
            return (y, new, *pull(dy))

        return call


class FlaxTape(Tape):
    """A forward pass and its pull-back, which can be called any number of times."""

    def __init__(self, layer: "FlaxLayer", x: Array, training: bool) -> None:
        self._layer = layer
        forward = functools.partial(layer.functions.pure(training), layer.collections["batch_stats"])
        y, self._pull, new = jax.vjp(forward, to_jax(layer.spec, x), layer.collections["params"], has_aux=True)
        layer.collections["batch_stats"] = new
        self._y = y
        self.y = from_jax(y)

    def backward(self, dy: Array) -> Step:
        """Pull dy back."""
        return self._layer.result(from_jax(self._y), *self._pull(to_jax(self._layer.spec, dy)))


class FlaxLayer(Layer):
    """The variables of a module."""

    def __init__(self, spec: Spec, functions: Functions, state: State) -> None:
        self.spec = spec
        self.functions = functions
        self.collections: Dict[str, Collection] = {"params": {}, "batch_stats": {}}
        self.set_state(complete(spec, state))

    def _run(self, x: Array, dy: Optional[Array], training: bool) -> Step:
        statistics, parameters = self.collections["batch_stats"], self.collections["params"]
        x_ = to_jax(self.spec, x)
        if dy is None:
            y, self.collections["batch_stats"] = self.functions.forward[training](statistics, x_, parameters)
            return Step(from_jax(y))
        found = self.functions.forward_backward[training](statistics, x_, parameters, to_jax(self.spec, dy))
        y, self.collections["batch_stats"], dx, gradients = found
        return self.result(from_jax(y), dx, gradients)

    def result(self, y: Array, dx: Any, gradients: Collection) -> Step:
        """A step of arrays."""
        named = [from_jax(gradients[name]) for name in ("scale", "bias") if name in gradients]
        return named_step(self.spec, [y, from_jax(dx), *named])

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Apply the module with use_running_average=False, and keep the statistics that it returns."""
        if not update:
            raise Unsupported("Flax returns new statistics from the forward call")
        return self._run(x, dy, training=True)

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Apply the module with use_running_average=True."""
        return self._run(x, dy, training=False)

    def tape(self, x: Array, training: bool) -> Tape:
        """Run forward and keep the pull-back."""
        return FlaxTape(self, x, training)

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Pull v back through the pull-back of dy."""
        forward = functools.partial(self.functions.pure(training=True), self.collections["batch_stats"])

        def dx(x: Any, dy: Any, parameters: Collection) -> Any:
            return jax.vjp(forward, x, parameters, has_aux=True)[1](dy)[0]

        _, pull = jax.vjp(dx, to_jax(self.spec, x), to_jax(self.spec, dy), self.collections["params"])
        x_, dy_, parameters = pull(to_jax(self.spec, v))
        return from_jax(x_), from_jax(dy_), from_jax(parameters["scale"]) if self.spec.scale else None

    def state(self) -> State:
        """Return copies of the variables."""
        places = {name: NAMES[name] for name in parameter_names(self.spec)}
        return named_state({name: from_jax(self.collections[group][key]) for name, (group, key) in places.items()})

    def set_state(self, state: State) -> None:
        """Copy what is given."""
        for name in parameter_names(self.spec):
            value = getattr(state, name)
            if value is not None:
                group, key = NAMES[name]
                # A new dict: a tape may hold the old one.
                self.collections[group] = dict(self.collections[group], **{key: jax.device_put(np.array(value))})

    def save(self, path: str) -> None:
        """Write the variables as Flax serializes them."""
        pathlib.Path(path).write_bytes(flax.serialization.to_bytes(self.collections))


class FlaxBatchNorm(BatchNormAdapter):
    """As it comes: the variance by E[x^2] - E[x]^2, in float32."""

    two_pass = False

    def __init__(self) -> None:
        self._functions: Dict[Spec, Functions] = {}

    def describe(self) -> Description:
        """The installed Flax, on the CPU."""
        return Description(
            "flax",
            str(flax.__version__),
            capabilities=Capabilities(
                axes="several",
                dtypes=("float32", "float16", "bfloat16"),
                tape=True,
                second_order=True,
                save=True,
            ),
            notes=(
                "jax: {}".format(jax.__version__),
                "use_fast_variance={}".format(not self.two_pass),
                "compiled by jax.jit for each shape; tapes and second order run without it",
                "float16 and bfloat16 inputs meet parameters and statistics in float32; no float64",
                "arrays are contiguous copies of an input of any layout",
            ),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Biased moving variance."""
        return Conventions(variance_grade="A" if self.two_pass else "C", affine_grade="S")

    def functions(self, spec: Spec) -> Functions:
        """The functions of the spec's module; they have no state."""
        refuse_undeclared(spec, self.describe().capabilities)
        if spec not in self._functions:
            module = linen.BatchNorm(
                axis=spec.axis[0] if len(spec.axis) == 1 else spec.axis,
                momentum=spec.decay,
                epsilon=spec.epsilon,
                use_bias=spec.center,
                use_scale=spec.scale,
                dtype=spec.dtype,
                use_fast_variance=not self.two_pass,
            )
            self._functions[spec] = Functions(module)
        return self._functions[spec]

    def build(self, spec: Spec, state: State) -> Layer:
        """Return variables for the spec's module."""
        return FlaxLayer(spec, self.functions(spec), state)

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return variables read from a file."""
        layer = FlaxLayer(spec, self.functions(spec), State())
        layer.collections = flax.serialization.from_bytes(layer.collections, pathlib.Path(path).read_bytes())
        return layer


class TwoPassFlaxBatchNorm(FlaxBatchNorm):
    """With use_fast_variance=False."""

    two_pass = True
