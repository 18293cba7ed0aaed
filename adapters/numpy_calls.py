"""How an object of somebody's NumPy class is called, and what it holds. Runs on Python 3.6."""

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

import numpy as np

from adapters.interface import Array
from adapters.naming import AdapterError
from adapters.signature import Binding, bind, role_of

if TYPE_CHECKING:
    from adapters.given_numpy import GivenNumpyObject

_FLAGS = ("training", "inference")


def held(made: Any) -> Dict[str, Any]:
    """Arrays and numbers that an object holds, by attribute, those in dicts by ``attribute.key``."""
    found: Dict[str, Any] = {}
    for name, value in vars(made).items():
        if isinstance(value, dict):
            found.update({"{}.{}".format(name, key): v for key, v in value.items() if isinstance(v, np.ndarray)})
        elif isinstance(value, (np.ndarray, np.floating, float, int)) and not isinstance(value, bool):
            found[name] = value
    return found


def assign(made: Any, name: str, value: Any) -> None:
    """Set what ``held`` names so."""
    owner, dot, key = name.partition(".")
    if dot:
        getattr(made, owner)[key] = value
    else:
        setattr(made, owner, value)


def written(name: str) -> str:
    """What ``held`` names so, as code."""
    owner, dot, key = name.partition(".")
    return "$layer.{}[{!r}]".format(owner, key) if dot else "$layer." + owner


class Calls:
    """How an object is called: its forward and backward methods, and its switch between training and inference."""

    def __init__(self, adapter: "GivenNumpyObject", made: Any) -> None:
        self.made = made
        #: What tells the object its mode, as code: in inference, in training.
        self.switching: Tuple[str, ...] = ("", "")
        #: Whether the output was the first of several results.
        self.several = False
        method = next((n for n in ("forward", "__call__", "call") if callable(getattr(made, n, None))), None)
        if method is None:
            own = ", ".join(n for n in dir(made) if not n.startswith("_")) or "nothing"
            raise AdapterError("{}: {} has no forward(); it has {}".format(adapter.target, adapter.who, own))
        self.method = "" if method == "__call__" else "." + method
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
                values = found != "training", found == "training"
                self.switching = tuple("$layer.{} = {}".format(name, value) for value in values)
                return lambda training: setattr(self.made, name, training is (found == "training"))
        train, evaluate = getattr(self.made, "train", None), getattr(self.made, "eval", None)
        if callable(train) and callable(evaluate):
            self.switching = ("$layer.eval()", "$layer.train()")
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
        self.several = isinstance(found, tuple) and bool(found)
        return found[0] if self.several else found

    def text(self, training: bool) -> str:
        """The call of ``run`` as code."""
        arguments = self.forward.text({"x": "$x", "training": repr(training), "inference": repr(not training)})
        return "$layer{}({}){}".format(self.method, arguments, "[0]" if self.several else "")
