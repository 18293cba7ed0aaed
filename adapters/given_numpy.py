"""Adapter for NumPy classes that have none: objects with ``forward`` and, where there are gradients, ``backward``.

Runs on Python 3.6.
"""

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.common import parameter_names
from adapters.given import Given, texts_of, tiny, values_of
from adapters.interface import Array, Capabilities, Conventions, Description, Layer, Spec, State, Step, Unsupported
from adapters.naming import AdapterError, Options
from adapters.numpy_calls import Calls, assign, held, written
from adapters.signature import find_state, role_of

_GRADIENTS = ("dx", "dgamma", "dbeta")


def _gradient(name: str) -> str:
    """Which gradient an attribute of that name holds; "" if none."""
    owner, _, last = name.rpartition(".")
    role = role_of(last, _GRADIENTS, "")
    if role is None and owner in ("grads", "gradients", "grad"):
        role = {"gamma": "dgamma", "beta": "dbeta"}.get(str(role_of(last, ("gamma", "beta"), "")))
    return role or ""


class GivenNumpyLayer(Layer):
    """An object of somebody's class, the spec's channel axis moved to where the object has its own."""

    def __init__(self, adapter: "GivenNumpyObject", spec: Spec, made: Any, place: int) -> None:
        self.spec = spec
        self.made = made
        self.place = place
        self.calls = Calls(adapter, made)
        self.names = adapter.state_names(spec, made, self)

    def inward(self, a: Array) -> Array:
        """The array itself where its channels are where the object wants them, else a copy with them there."""
        axis = self.spec.channel_axes[0]
        return a if axis == self.place else np.array(np.moveaxis(a, axis, self.place), order="C")

    def outward(self, a: Any, like: Array) -> Any:
        """A result with the channels where the spec has them, rounded to the input's type where it is a wider one."""
        if not isinstance(a, np.ndarray):
            return a
        if a.dtype.kind == "f" and a.dtype.itemsize > like.dtype.itemsize:
            a = a.astype(like.dtype)
        axis = self.spec.channel_axes[0]
        if a.ndim != like.ndim or axis == self.place:
            return a
        return np.array(np.moveaxis(a, self.place, axis), order="C")

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Call forward() in training mode, then backward()."""
        y = self.outward(self.calls.run(self.inward(x), training=True), x)
        if dy is None or self.calls.backward is None:
            return Step(y)
        return Step(y, **self.gradients(self.calls.backward(dy=self.inward(dy)), x))

    def gradients(self, returned: Any, x: Array) -> Dict[str, Any]:
        """The gradients that backward() returned or left as attributes."""
        found = self.gradient_parts(returned)
        result = {"dx": self.outward(found["dx"][0] if "dx" in found else None, x)}
        for name, has in (("dgamma", self.spec.scale), ("dbeta", self.spec.center)):
            if has and name in found:
                result[name] = np.array(found[name][0]).reshape(self.spec.parameter_shape)
        return result

    def gradient_parts(self, returned: Any) -> Dict[str, Tuple[Any, str]]:
        """What backward() returned, in the order dx, dgamma, dbeta or by name, and as attributes; each as code, too."""
        found: Dict[str, Tuple[Any, str]] = {}
        if isinstance(returned, dict):
            items = [(str(role_of(str(k), _GRADIENTS, "")), v, "returned[{!r}]".format(k)) for k, v in returned.items()]
        elif isinstance(returned, (tuple, list)):
            items = [(role, v, "returned[{}]".format(i)) for i, (role, v) in enumerate(zip(_GRADIENTS, returned))]
        else:
            items = [("dx", returned, "returned")]
        items += [(_gradient(name), value, written(name)) for name, value in held(self.made).items()]
        for role, value, text in items:
            if value is not None:
                found.setdefault(role, (value, text))
        return found

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Call forward() in inference mode."""
        return Step(self.outward(self.calls.run(self.inward(x), training=False), x))

    def state(self) -> State:
        """Return copies."""
        there = held(self.made)
        kept: Dict[str, Any] = {
            role: np.array(there[name]).reshape(self.spec.parameter_shape) if name in there else None
            for role, name in self.names.items()
        }
        return State(**kept)

    def set_state(self, state: State) -> None:
        """Copy what is given into attributes of the same shape."""
        for role, name in self.names.items():
            value = getattr(state, role)
            if value is not None:
                assign(self.made, name, np.array(value).reshape(self.shape(name, value.size)))

    def shape(self, name: str, size: int) -> Tuple[int, ...]:
        """The shape in which the object has an attribute; a flat one where it has another number of elements."""
        there: Any = held(self.made).get(name)
        return np.shape(there) if np.size(there) == size else (size,)


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
        layer = self.layer(spec)
        layer.set_state(state)
        return layer

    def layer(self, spec: Spec) -> GivenNumpyLayer:
        """Return a layer around a new object, in the state that it has by itself."""
        if len(spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(spec.axis))
        place = spec.channel_axes[0] if self.binding.takes("axis") else self.place(spec.rank)
        layer = GivenNumpyLayer(self, spec, self.new_object(spec, spec.axis[0]), place)
        if not self._checked:
            self._checked = True
            self.meanings.check(self.who, [*self.binding.roles.values(), *held(layer.made)])
        return layer

    def state_names(self, spec: Spec, made: Any, layer: GivenNumpyLayer) -> Dict[str, str]:
        """Which attribute holds what. Where they are made with the first input, there is one for them."""
        wanted = parameter_names(spec)
        try:
            return find_state(self.target, self.who, held(made), self.meanings, wanted)
        except AdapterError:
            shape = [2 if n is None else n for n in spec.shape]
            layer.calls.run(layer.inward(np.arange(float(np.prod(shape)), dtype=spec.dtype).reshape(shape)), True)
            return find_state(self.target, self.who, held(made), self.meanings, wanted)

    def spelling(self, spec: Spec) -> Dict[str, str]:
        """The object's arguments, its calls, where its state and gradients are, where its channels are."""
        texts = {**texts_of(spec), "axis": repr(spec.axis[0]), "affine": repr(spec.center and spec.scale)}
        layer = self.layer(spec)
        x = np.arange(float(np.prod(tiny(spec))), dtype=spec.dtype).reshape(tiny(spec))
        late = [name for name in layer.names.values() if name not in held(self.new_object(spec, spec.axis[0]))]
        found = {
            **self.spelled_making(self.binding, {**texts, "dtype": "np.dtype({!r})".format(spec.dtype)}),
            **{role: written(name) for role, name in layer.names.items()},
            "place": str(layer.place),
            "first": repr(layer.inward(x).shape) if late else "",
        }
        for role, name in layer.names.items():
            found["shape of " + role] = repr(layer.shape(name, int(np.prod(spec.parameter_shape))))
        for op, training in (("infer", False), ("train", True)):
            layer.calls.run(layer.inward(x.copy()), training)
            found[op], found["before " + op] = layer.calls.text(training), layer.calls.switching[training]
        if layer.calls.backward is not None:
            found["backward"] = "$layer.backward({})".format(layer.calls.backward.text({"dy": "$dy"}))
            parts = layer.gradient_parts(layer.calls.backward(dy=layer.inward(x.copy())))
            found.update({name: text for name, (_, text) in parts.items() if name in _GRADIENTS})
        return found

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
            y = Calls(self, self.new_object(Spec(shape, (place,), 1e-5, 0.9), place)).run(x, training=True)
        except Exception:
            return False
        if not isinstance(y, np.ndarray) or y.shape != x.shape:
            return False
        return bool(np.abs(y.mean(axis=others)).max() < 0.1 and np.abs(y.std(axis=others) - 1).max() < 0.1)
