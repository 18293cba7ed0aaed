"""What the framework adapters share: refusals, results by name, starting values, and a list of layers for reuse."""

import weakref
from collections import OrderedDict
from typing import Any, Dict, Hashable, List, Optional, Tuple

import numpy as np

from adapters.interface import Array, Capabilities, Spec, State, Step, Unsupported

#: What a framework starts with where a state does not say. A reused layer must be told: it remembers another run.
DEFAULTS = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


def refuse_undeclared(spec: Spec, capabilities: Capabilities, modes: Tuple[str, ...] = ("default",)) -> None:
    """Raise Unsupported for a spec outside the capabilities, and for any execution but these modes on the CPU."""
    if spec.execution.mode not in modes or spec.execution.device != "cpu":
        raise Unsupported("no execution mode {!r} on device {!r}".format(*spec.execution))
    if spec.rank not in capabilities.ranks:
        raise Unsupported("no rank {}".format(spec.rank))
    if spec.dtype not in capabilities.dtypes:
        raise Unsupported("no dtype {}".format(spec.dtype))
    if not takes_axes(spec, capabilities.axes):
        raise Unsupported("axes {}: declared are {!r} only".format(spec.axis, capabilities.axes))
    if not (capabilities.flags or (spec.center and spec.scale)):
        raise Unsupported("no center=False and no scale=False")


def takes_axes(spec: Spec, axes: str) -> bool:
    """Whether the channel axes of a spec are among those that a capability's ``axes`` stands for."""
    found = spec.channel_axes
    return {
        "last": found == (spec.rank - 1,),
        "second": found == (1,),
        "single": len(found) == 1,
        "several": True,
        "activations": found == tuple(range(1, spec.rank)),
    }.get(axes, False)


def parameter_names(spec: Spec) -> List[str]:
    """The parameters and statistics that a layer of the spec has."""
    flags = {"gamma": spec.scale, "beta": spec.center}
    return [name for name in DEFAULTS if flags.get(name, True)]


def complete(spec: Spec, state: State) -> State:
    """Return the state with the usual starting values where it has none."""
    values: Dict[str, Any] = {
        name: np.full(spec.parameter_shape, value, spec.parameter_dtype)
        for name, value in DEFAULTS.items()
        if getattr(state, name) is None
    }
    return state._replace(**values)


def named_state(arrays: Dict[str, Array]) -> State:
    """Return a state of copies of the named arrays."""
    copies: Dict[str, Any] = {name: np.array(array) for name, array in arrays.items()}
    return State(**copies)


def named_step(spec: Spec, arrays: List[Array]) -> Step:
    """Return a step of y and, where given, dx and the gradients of the parameters that the layer has, in that order."""
    names = ["y", "dx"] + ["d" + name for name in parameter_names(spec) if name in ("gamma", "beta")]
    return Step(**dict(zip(names, arrays)))


class FreeList:
    """Idle things by key, the most recently used ones kept.

    A thing is either idle here or lent to exactly one owner; it comes back when its owner is garbage-collected.
    """

    def __init__(self, size: int = 192) -> None:
        self.size = size
        self._idle: "OrderedDict[Hashable, List[Any]]" = OrderedDict()

    def take(self, key: Hashable) -> Optional[Any]:
        """Return an idle thing of that key, now no longer idle, or None."""
        things = self._idle.pop(key, [])
        thing = things.pop() if things else None
        if things:
            self._idle[key] = things
        return thing

    def lend(self, owner: Any, key: Hashable, thing: Any) -> None:
        """Arrange for the thing to become idle when its owner is gone."""
        weakref.finalize(owner, self._give, key, thing).atexit = False

    def _give(self, key: Hashable, thing: Any) -> None:
        self._idle.setdefault(key, []).append(thing)
        self._idle.move_to_end(key)
        if sum(len(things) for things in self._idle.values()) > self.size:
            self.take(next(iter(self._idle)))
