"""Adapter for NumPy classes that have none: objects with ``forward`` and, where there are gradients, ``backward``.

Runs on Python 3.6.
"""

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from adapters.common import parameter_names
from adapters.given import Given, values_of
from adapters.interface import Array, Capabilities, Conventions, Description, Layer, Spec, State, Step, Unsupported
from adapters.naming import AdapterError, Options
from adapters.signature import Binding, bind, find_state, role_of

_FLAGS = ("training", "inference")
_GRADIENTS = ("dx", "dgamma", "dbeta")


def _held(made: Any) -> Dict[str, Any]:
    """Arrays and numbers that an object holds, by attribute, those in dicts by ``attribute.key``."""
    found: Dict[str, Any] = {}
    for name, value in vars(made).items():
        if isinstance(value, dict):
            found.update({"{}.{}".format(name, key): v for key, v in value.items() if isinstance(v, np.ndarray)})
        elif isinstance(value, (np.ndarray, np.floating, float, int)) and not isinstance(value, bool):
            found[name] = value
    return found


def _set(made: Any, name: str, value: Any) -> None:
    owner, dot, key = name.partition(".")
    if dot:
        getattr(made, owner)[key] = value
    else:
        setattr(made, owner, value)


class _Calls:
    """How an object is called: its forward and backward methods, and its switch between training and inference."""

    def __init__(self, adapter: "GivenNumpyObject", made: Any) -> None:
        self.made = made
        method = next((n for n in ("forward", "__call__", "call") if callable(getattr(made, n, None))), None)
        if method is None:
            own = ", ".join(n for n in dir(made) if not n.startswith("_")) or "nothing"
            raise AdapterError("{}: {} has no forward(); it has {}".format(adapter.target, adapter.who, own))
        who, meanings, momentum = adapter.who + "." + method, adapter.meanings, adapter.momentum
        self.forward = bind(getattr(made, method), who, ("x", *_FLAGS), meanings, momentum, ("x",))
        backward = getattr(made, "backward", None)
        self.backward: Optional[Binding] = None
        if callable(backward):
            self.backward = bind(backward, adapter.who + ".backward", ("dy",), meanings, momentum, ("dy",))
        self.switch = self._switch(adapter)

    def _switch(self, adapter: "GivenNumpyObject") -> Callable[[bool], None]:
        """What tells the object the mode where forward() has no argument for it."""
        if any(self.forward.takes(flag) for flag in _FLAGS):
            return lambda training: None
        for name, value in vars(self.made).items():
            role = adapter.meanings.told(name, _FLAGS, "") or role_of(name, _FLAGS, "")
            if isinstance(value, (bool, np.bool_)) and isinstance(role, str):
                found = role
                return lambda training: setattr(self.made, name, training is (found == "training"))
        train, evaluate = getattr(self.made, "train", None), getattr(self.made, "eval", None)
        if callable(train) and callable(evaluate):
            return lambda training: (train if training else evaluate)()
        what = (
            "{}: nothing tells {} training from inference: expected an argument of forward() or an attribute such as "
            "training (--map ITS_NAME=training), or methods train() and eval()"
        )
        raise AdapterError(what.format(adapter.target, adapter.who))

    def run(self, x: Array, training: bool) -> Any:
        """The output; the first of several results."""
        self.switch(training)
        found = self.forward(x=x, training=training, inference=not training)
        return found[0] if isinstance(found, tuple) and found else found


class GivenNumpyLayer(Layer):
    """An object of somebody's class, the spec's channel axis moved to where the object has its own."""

    def __init__(self, adapter: "GivenNumpyObject", spec: Spec, made: Any, place: int) -> None:
        self.spec = spec
        self.made = made
        self.place = place
        self.calls = _Calls(adapter, made)
        self.names = adapter.state_names(spec, made, self)

    def inward(self, a: Array) -> Array:
        """A copy with the channels where the object wants them."""
        return np.array(np.moveaxis(a, self.spec.channel_axes[0], self.place), order="C")

    def outward(self, a: Any, like: Array) -> Any:
        """A copy with the channels where the spec has them, rounded to the input's type where it is a wider one."""
        if not isinstance(a, np.ndarray):
            return a
        if a.dtype.kind == "f" and a.dtype.itemsize > like.dtype.itemsize:
            a = a.astype(like.dtype)
        if a.ndim != like.ndim:
            return a
        return np.array(np.moveaxis(a, self.place, self.spec.channel_axes[0]), order="C")

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Call forward() in training mode, then backward()."""
        y = self.outward(self.calls.run(self.inward(x), training=True), x)
        if dy is None or self.calls.backward is None:
            return Step(y)
        return Step(y, **self.gradients(self.calls.backward(dy=self.inward(dy)), x))

    def gradients(self, returned: Any, x: Array) -> Dict[str, Any]:
        """What backward() returned, in the order dx, dgamma, dbeta or by name; what is missing is an attribute."""
        found: Dict[str, Any] = {}
        if isinstance(returned, dict):
            found = {str(role_of(str(k), _GRADIENTS, "")): v for k, v in returned.items()}
        elif isinstance(returned, (tuple, list)):
            found = dict(zip(_GRADIENTS, returned))
        else:
            found["dx"] = returned
        for name, value in _held(self.made).items():
            role = role_of(name.rpartition(".")[2], _GRADIENTS, "")
            if role is None and name.partition(".")[0] in ("grads", "gradients", "grad"):
                role = {"gamma": "dgamma", "beta": "dbeta"}.get(
                    str(role_of(name.partition(".")[2], ("gamma", "beta"), ""))
                )
            if role is not None:
                found.setdefault(role, value)
        result = {"dx": self.outward(found.get("dx"), x)}
        for name, has in (("dgamma", self.spec.scale), ("dbeta", self.spec.center)):
            value = found.get(name)
            if has and value is not None:
                result[name] = np.array(value).reshape(self.spec.parameter_shape)
        return result

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Call forward() in inference mode."""
        return Step(self.outward(self.calls.run(self.inward(x), training=False), x))

    def state(self) -> State:
        """Return copies."""
        held = _held(self.made)
        kept: Dict[str, Any] = {
            role: np.array(held[name]).reshape(self.spec.parameter_shape) if name in held else None
            for role, name in self.names.items()
        }
        return State(**kept)

    def set_state(self, state: State) -> None:
        """Copy what is given into attributes of the same shape."""
        held = _held(self.made)
        for role, name in self.names.items():
            value = getattr(state, role)
            if value is not None:
                there: Any = held.get(name)
                fits = np.size(there) == value.size
                _set(self.made, name, np.array(value).reshape(np.shape(there) if fits else value.shape))


class GivenNumpyObject(Given):
    """A class of objects that normalize NumPy arrays."""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        self.binding = self.constructor()
        self._places: Dict[int, int] = {}
        self._checked = False

    def describe(self) -> Description:
        """What is to be tried; gradients where there is a backward()."""
        arguments = ", ".join("{} is {}".format(role, name) for role, name in self.binding.roles.items())
        return Description(
            "numpy",
            np.__version__,
            capabilities=Capabilities(
                dtypes=("float32", "float64"),
                training_gradients=callable(getattr(self.subject, "backward", None)),
                inference_gradients=False,
                transposes=not self.binding.takes("axis"),
            ),
            notes=(
                "no adapter: {} ({})".format(self.who, arguments or "no arguments of known meaning"),
                "results in a wider type than the input's are rounded to it",
                "backward() is called after training calls only",
            ),
            undeclared=("capabilities", "conventions"),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Nothing is known but that NumPy sums pairwise and in the input's type at least."""
        return Conventions()

    def new_object(self, spec: Spec, axis: int) -> Any:
        """Return a new object for the spec."""
        if self.binding.takes("affine") and spec.center != spec.scale:
            raise Unsupported("{} has beta and gamma, or neither".format(self.who))
        for flag, on in (("center", spec.center), ("scale", spec.scale)):
            if not (on or self.binding.takes(flag) or self.binding.takes("affine")):
                raise Unsupported("{} has no {}=False".format(self.who, flag))
        values = {**values_of(spec), "axis": axis, "affine": spec.center and spec.scale, "dtype": np.dtype(spec.dtype)}
        made = self.binding(**values)
        if not hasattr(made, "__dict__"):
            raise TypeError("{} made a {}, expected an object with attributes".format(self.who, type(made).__name__))
        self.configured(made, values, self.binding)
        return made

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer around a new object."""
        if len(spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(spec.axis))
        place = spec.channel_axes[0] if self.binding.takes("axis") else self.place(spec.rank)
        layer = GivenNumpyLayer(self, spec, self.new_object(spec, spec.axis[0]), place)
        if not self._checked:
            self._checked = True
            self.meanings.check(self.who, [*self.binding.roles.values(), *_held(layer.made)])
        layer.set_state(state)
        return layer

    def state_names(self, spec: Spec, made: Any, layer: GivenNumpyLayer) -> Dict[str, str]:
        """Which attribute holds what. Where they are made with the first input, there is one for them."""
        wanted = parameter_names(spec)
        try:
            return find_state(self.target, self.who, _held(made), self.meanings, wanted)
        except AdapterError:
            shape = [2 if n is None else n for n in spec.shape]
            layer.calls.run(layer.inward(np.arange(float(np.prod(shape)), dtype=spec.dtype).reshape(shape)), True)
            return find_state(self.target, self.who, _held(made), self.meanings, wanted)

    def place(self, rank: int) -> int:
        """Where the object has its channels: last or second, whichever is normalized; last where neither is."""
        if rank not in self._places:
            works = [place for place in (rank - 1, 1) if self._normalizes(rank, place)]
            self._places[rank] = works[0] if works else rank - 1
        return self._places[rank]

    def _normalizes(self, rank: int, place: int) -> bool:
        extents: List[int] = [4, 5, 2, 6, 2, 2][:rank]
        extents[place] = 3
        others: Tuple[int, ...] = tuple(a for a in range(rank) if a != place)
        x = ((np.arange(np.prod(extents)) * 7) % 11 - 4).reshape(extents).astype("float32")
        shape = tuple(3 if a == place else None for a in range(rank))
        try:
            y = _Calls(self, self.new_object(Spec(shape, (place,), 1e-5, 0.9), place)).run(x, training=True)
        except Exception:
            return False
        if not isinstance(y, np.ndarray) or y.shape != x.shape:
            return False
        return bool(np.abs(y.mean(axis=others)).max() < 0.1 and np.abs(y.std(axis=others) - 1).max() < 0.1)
