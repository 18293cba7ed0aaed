"""Adapter for pure JAX functions: y and, in training, new moving statistics, from x, parameters and statistics.

Runs on Python 3.6.
"""

import functools
import importlib
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from adapters.checks import kind_of
from adapters.common import complete, named_state, named_step, parameter_names
from adapters.given import Given, texts_of, tiny, values_of
from adapters.interface import (
    Array,
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
from adapters.naming import AdapterError, Options
from adapters.signature import Binding, bind

# Untyped on purpose: the checks of this module must not depend on which JAX is installed, if any.
jax: Any = importlib.import_module("jax")

_CALL = (
    *("x", "gamma", "beta", "moving_mean", "moving_variance", "training", "inference"),
    *("epsilon", "decay", "1-decay", "axis"),
)
_STATISTICS = ("moving_mean", "moving_variance")


class JaxTape(Tape):
    """A forward pass and its pull-back, which can be called any number of times."""

    def __init__(self, layer: "JaxLayer", x: Any, training: bool) -> None:
        self._layer = layer
        y, self._pull, new = jax.vjp(layer.pure(training), x, layer.parameters(), has_aux=True)
        layer.keep(new)
        self._y = y
        self.y = layer.back(y)

    def backward(self, dy: Array) -> Step:
        """Pull dy back."""
        return self._layer.result(self._y, *self._pull(self._layer.put(dy)))


class JaxLayer(Layer):
    """Parameters and statistics for a function that has none of its own."""

    def __init__(self, adapter: "GivenJaxFunction", spec: Spec, state: State) -> None:
        self.adapter = adapter
        self.spec = spec
        self.place = adapter.place(spec)
        self.arrays: Dict[str, Any] = {}
        self.set_state(complete(spec, state))

    def put(self, a: Array) -> Any:
        """A copy on the device, its channels where the function wants them."""
        return jax.device_put(np.moveaxis(a, self.spec.channel_axes[0], self.place), self.adapter.where)

    def back(self, a: Any) -> Any:
        """A copy with the channels where the spec has them."""
        if not isinstance(a, (jax.Array, np.ndarray)):
            raise TypeError("{} returned {} for y, expected an array".format(self.adapter.who, kind_of(a)))
        found = np.asarray(a)
        if found.ndim != self.spec.rank:
            return np.array(found)
        return np.array(np.moveaxis(found, self.place, self.spec.channel_axes[0]), order="C")

    def parameters(self) -> Dict[str, Any]:
        """Gamma and beta as far as there are any."""
        return {name: self.arrays[name] for name in ("gamma", "beta") if name in self.arrays}

    def pure(self, training: bool) -> Callable[..., Any]:
        """The function of x and the parameters alone: y, and the new statistics."""
        statistics = {name: self.arrays[name] for name in _STATISTICS}
        return functools.partial(self.adapter.forward(self.spec, training), statistics)

    def keep(self, new: Any) -> None:
        """Take over new statistics."""
        for name, value in zip(_STATISTICS, new):
            self.arrays[name] = value

    def run(self, x: Array, dy: Optional[Array], training: bool) -> Step:
        """Run forward, and backward where dy is given, compiled for the shapes at hand."""
        statistics = {name: self.arrays[name] for name in _STATISTICS}
        compiled = self.adapter.compiled(self.spec, training, dy is not None)
        if dy is None:
            y, new = compiled(statistics, self.put(x), self.parameters())
            self.keep(new)
            return Step(self.back(y))
        y, new, dx, gradients = compiled(statistics, self.put(x), self.parameters(), self.put(dy))
        self.keep(new)
        return self.result(y, dx, gradients)

    def result(self, y: Any, dx: Any, gradients: Dict[str, Any]) -> Step:
        """A step of arrays."""
        shape = self.spec.parameter_shape
        named = [np.array(gradients[name]).reshape(shape) for name in ("gamma", "beta") if name in gradients]
        return named_step(self.spec, [self.back(y), self.back(dx), *named])

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Call the function in training and keep the statistics that it returns."""
        return self.run(x, dy, training=True)

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Call the function in inference."""
        return self.run(x, dy, training=False)

    def tape(self, x: Array, training: bool) -> Tape:
        """Run forward and keep the pull-back."""
        return JaxTape(self, self.put(x), training)

    def state(self) -> State:
        """Return copies."""
        shape = self.spec.parameter_shape
        return named_state({name: np.array(a).reshape(shape) for name, a in self.arrays.items()})

    def set_state(self, state: State) -> None:
        """Copy what is given."""
        for name in parameter_names(self.spec):
            value = getattr(state, name)
            if value is not None:
                self.arrays[name] = jax.device_put(np.array(value), self.adapter.where)


class GivenJaxFunction(Given):
    """A function of x, parameters and statistics, in any order and under any of the usual names."""

    default_device = "cpu"

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        try:
            self.where = jax.devices(self.device)[0]
        except RuntimeError as error:
            raise AdapterError("{}: JAX has no device {!r}: {}".format(target, self.device, error)) from error
        self.binding: Binding = bind(
            subject, self.who, _CALL, self.meanings, self.momentum, ("x", "moving_mean", "moving_variance", "epsilon")
        )
        if not self.binding.takes("training") and not self.binding.takes("inference"):
            what = "{}: {} has no argument that tells training from inference: name it with --map ITS_NAME=training"
            raise AdapterError(what.format(target, self.who))
        self.meanings.check(self.who, list(self.binding.roles.values()))
        self._places: Dict[int, int] = {}
        self._tuple = True
        self._compiled: Dict[Any, Any] = {}

    def describe(self) -> Description:
        """The installed JAX."""
        arguments = ", ".join("{} is {}".format(role, name) for role, name in self.binding.roles.items())
        wide = ("float64",) if jax.config.jax_enable_x64 else ()
        return Description(
            "jax",
            str(jax.__version__),
            self.device,
            Capabilities(dtypes=("float32", *wide), tape=True, transposes=not self.binding.takes("axis")),
            (
                "no adapter: {} ({})".format(self.who, arguments),
                "compiled by jax.jit for each shape; tapes run without it",
                "float64 where JAX_ENABLE_X64 is set",
            ),
            ("capabilities", "conventions"),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Nothing is known."""
        return Conventions()

    def forward(self, spec: Spec, training: bool) -> Callable[..., Any]:
        """The function of statistics, x and parameters: y, and the new statistics, which nothing flows back from."""
        place = spec.axis[0] if self.binding.takes("axis") else self.place(spec)
        values = {**values_of(spec), "training": training, "inference": not training, "axis": place}

        def call(statistics: Dict[str, Any], x: Any, parameters: Dict[str, Any]) -> Tuple[Any, Tuple[Any, ...]]:
            absent = {name: None for name in ("gamma", "beta") if name not in parameters}
            found = self.binding(**{**values, **statistics, **absent, **parameters, "x": x})
            return self.split(found, training)

        return call

    def split(self, found: Any, training: bool) -> Tuple[Any, Tuple[Any, ...]]:
        """The output and, in training, the new statistics of what the function returned."""
        y, rest = (found[0], found[1:]) if isinstance(found, (tuple, list)) else (found, ())
        self._tuple = isinstance(found, (tuple, list))
        if not training:
            return y, ()
        leaves = jax.tree_util.tree_leaves(rest)
        if len(leaves) != 2:
            what = "{} returned {} arrays beside y in training, expected the new moving mean and moving variance"
            raise TypeError(what.format(self.who, len(leaves)))
        return y, tuple(leaves)

    def compiled(self, spec: Spec, training: bool, gradients: bool) -> Any:
        """The compiled forward pass, with the backward pass behind it where gradients are wanted."""
        key = (spec, training, gradients)
        if key not in self._compiled:
            forward = self.forward(spec, training)

            def both(statistics: Any, x: Any, parameters: Any, dy: Any) -> Any:
                y, pull, new = jax.vjp(functools.partial(forward, statistics), x, parameters, has_aux=True)
                return (y, new, *pull(dy))

            self._compiled[key] = jax.jit(both if gradients else forward)
        return self._compiled[key]

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """The function's arguments in training and in inference, whether it returns a tuple, where its channels are."""
        layer = self.build(spec, State())
        state = {name: "$" + name if name in layer.arrays else "None" for name in _CALL[1:5]}
        place = spec.axis[0] if self.binding.takes("axis") else self.place(spec)
        found = {"place": str(self.place(spec))}
        for op, training in (("infer", False), ("train", True)):
            layer.tape(np.arange(float(np.prod(tiny(spec))), dtype=spec.dtype).reshape(tiny(spec)), training)
            modes = {"training": repr(training), "inference": repr(not training)}
            found[op] = self.binding.text({**texts_of(spec), "axis": repr(place), "x": "$x", **state, **modes})
            found["returned by " + op] = "tuple" if self._tuple else "y"
        return found

    def place(self, spec: Spec) -> int:
        """Where the function has the channels: where it is told, else last or second, whichever it normalizes."""
        if self.binding.takes("axis"):
            return spec.channel_axes[0]
        if spec.rank not in self._places:
            works = [place for place in (spec.rank - 1, 1) if self._normalizes(spec.rank, place)]
            self._places[spec.rank] = works[0] if works else spec.rank - 1
        return self._places[spec.rank]

    def _normalizes(self, rank: int, place: int) -> bool:
        extents: List[int] = [4, 5, 2, 6, 2, 2][:rank]
        extents[place] = 3
        others = tuple(a for a in range(rank) if a != place)
        x = ((np.arange(np.prod(extents)) * 7) % 11 - 4).reshape(extents).astype("float32")
        ones, zeros = np.ones(3, "float32"), np.zeros(3, "float32")
        values = {"epsilon": 1e-5, "decay": 0.9, "1-decay": 0.1, "training": True, "inference": False}
        state = {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}
        try:
            y = np.asarray(self.split(self.binding(x=jax.numpy.asarray(x), **state, **values), True)[0])
        except Exception:
            return False
        if y.shape != x.shape:
            return False
        return bool(np.abs(y.mean(axis=others)).max() < 0.1 and np.abs(y.std(axis=others) - 1).max() < 0.1)

    def build(self, spec: Spec, state: State) -> JaxLayer:
        """Return a layer with copies of the state."""
        if len(spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(spec.axis))
        return JaxLayer(self, spec, state)
