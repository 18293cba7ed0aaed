"""A program of calls on live layers, and the trace of what came back: what travels between the suite and a host."""

from typing import Any, Dict, NamedTuple, Optional, Tuple

from adapters.interface import Array, Conventions, Spec, State, Step

#: The operations of a program, and the arrays that each takes; "train" and "infer" take dy or not.
OPERATIONS = {
    "train": ("x",),
    "infer": ("x",),
    "backward": ("dy",),
    "second_order": ("x", "dy", "v"),
    "set_state": ("state",),
    "get_state": (),
    "apply_updates": (),
    "reload": (),
    "save": (),
    "meanwhile": ("x",),
}


class Call(NamedTuple):
    """One call on the layer of that number. ``dy=None`` asks for no gradients; ``update`` concerns "train" alone.

    ``tape`` >= 0 records a forward call under that number, and names the record that "backward" runs. ``times``
    repeats a training call; its last result is what it returns.

    "reload" puts another layer in the place of this one, made ``through`` its own state ("state"), the framework's
    format ("file"), or that format with all layers in a new process ("process"; without one, by a new adapter).
    With "checkpoint" it saves and restores the layer, but the one that was saved goes on.
    "save" writes the layer to ``path`` for such a process.

    "meanwhile" builds a layer of another epsilon and decay beside the program's, trains it and infers with it; it
    stays alive, and nothing that it returns is kept.
    """

    op: str
    layer: int = 0
    x: Optional[Array] = None
    dy: Optional[Array] = None
    update: bool = True
    state: Optional[State] = None
    tape: int = -1
    v: Optional[Array] = None
    times: int = 1
    through: str = "state"
    path: str = ""


class Second(NamedTuple):
    """The gradients of sum(v * dx) with respect to x, dy and gamma, dx being the gradient of a training call."""

    x: Array
    dy: Array
    gamma: Optional[Array] = None


class Program(NamedTuple):
    """Layers of one spec, each with its starting state, and the calls made on them in order.

    ``read="every"`` reads the layers' states after building and a layer's state after each call on it;
    ``read="end"`` reads all states only once, after the last call, so that reading cannot heal a stale layer.
    ``repeat`` runs the program twice more: once as it is and once changing each argument and result right after
    its call. ``saved``, where given, has a path per layer: it is restored from there instead of being built.
    """

    spec: Spec
    states: Tuple[State, ...]
    calls: Tuple[Call, ...]
    read: str = "every"
    repeat: bool = False
    saved: Tuple[str, ...] = ()


class Observation(NamedTuple):
    """What the host saw around a call and a pipe cannot show.

    ``kind``: "mutated" (a call changed one of its arguments, or one of an earlier call), "aliased" (a returned array
    shares memory with an argument, another returned array or the layer), "overwritten" (an array returned earlier has
    changed), "nondeterministic" (the program run again gives other bits), "retained" (changing an argument or a result
    after its call changed a later result). ``what`` names the array, ``detail`` says the rest in words.
    """

    kind: str
    what: str
    detail: str = ""


class Failure(NamedTuple):
    """Why a program ended early.

    ``kind``: "unsupported" (the adapter refused, with a reason), "error" (it raised, or returned something that is
    no result), "crash" (its process died), "timeout" (it did not return in time), "no run" (it was not asked).
    """

    kind: str
    message: str
    #: The adapter's method that was running, and the last lines of standard error or of the traceback.
    method: str = ""
    stderr: Tuple[str, ...] = ()


class StepTrace(NamedTuple):
    """One call's result: its index in the program, what it returned, and the state read after it.

    ``step`` is that of "train", "infer" and "backward", ``second`` that of "second_order".
    """

    index: int  # type: ignore[assignment]  # nobody looks for a value in a trace
    step: Optional[Step] = None
    state: Optional[State] = None
    observations: Tuple[Observation, ...] = ()
    #: Seconds inside the adapter.
    seconds: float = 0.0
    second: Optional[Second] = None


class Trace(NamedTuple):
    """All that a program gave: complete when ``failure`` is None, otherwise the steps before it broke."""

    conventions: Optional[Conventions]
    #: State of each layer right after building, where it was read.
    initial: Tuple[Optional[State], ...]
    steps: Tuple[StepTrace, ...]
    #: State of each layer after the last call; empty when the program broke.
    final: Tuple[State, ...] = ()
    #: What was observed while building, at the end, and in the repeated runs.
    observations: Tuple[Observation, ...] = ()
    failure: Optional[Failure] = None
    #: Seconds inside the adapter, building and repeated runs included, and seconds until the answer was complete.
    seconds: float = 0.0
    wall: float = 0.0
    details: Dict[str, Any] = {}
