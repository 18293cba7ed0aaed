"""Networks to be trained: what is asked of one, and the course of training and predicting that it goes through.

A network is dense or convolutional layers with batch normalization before or after each activation, a dense layer at
the end, softmax and the mean cross entropy. Every array crosses as NumPy; runs on Python 3.6.
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

from adapters.interface import Array, Conventions, Unsupported
from adapters.program import Failure


class NetworkSpec(NamedTuple):
    """What is fixed when a network is built.

    ``inputs`` is the shape of a sample: (features,), or (height, width, channels) with a ``kernel`` (its extent both
    ways, no padding); ``hidden`` the units or channels of each layer. ``place`` is where batch normalization stands:
    "before" the activation, "after" it, or "none". ``bias`` is whether the hidden layers have one of their own.
    """

    inputs: Tuple[int, ...]
    hidden: Tuple[int, ...]
    outputs: int = 10
    kernel: int = 0
    activation: str = "sigmoid"
    place: str = "before"
    bias: bool = False
    optimizer: str = "sgd"
    rate: float = 0.1
    epsilon: float = 1e-3
    decay: float = 0.9
    dtype: str = "float32"

    @property
    def normalizes(self) -> bool:
        """Whether the network has batch normalization at all."""
        return self.place != "none"

    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        """The shape of every array of the network's state, by name: layer k of n has names ending in k, from 1."""
        found: Dict[str, Tuple[int, ...]] = {}
        extent = self.inputs
        for k, units in enumerate(self.hidden, 1):
            found["w{}".format(k)] = (*self._window(extent[-1]), units)
            if self.bias:
                found["b{}".format(k)] = (units,)
            if self.normalizes:
                found.update({"{}{}".format(name, k): (units,) for name in NORMALIZATION})
            extent = (*[e - self.kernel + 1 for e in extent[:-1]], units)
        features = 1
        for e in extent:
            features *= e
        last = len(self.hidden) + 1
        found["w{}".format(last)] = (features, self.outputs)
        found["b{}".format(last)] = (self.outputs,)
        return found

    def _window(self, channels: int) -> Tuple[int, ...]:
        return (self.kernel, self.kernel, channels) if self.kernel else (channels,)


#: The arrays of each normalization in a network's state, in the order of ``State``.
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
#: Adam's constants, those of its paper, which TensorFlow's documents use.
ADAM = (0.9, 0.999, 1e-8)


class Network:
    """A live network. What it returns is the caller's own."""

    #: Whether ``train(update=False)`` exists: a training step that leaves out the update of the moving statistics.
    forgets = False

    def train(self, x: Array, labels: Array, update: bool = True) -> float:
        """One step of the optimizer on a batch; return the mean cross entropy before it."""
        raise NotImplementedError("{} has no train()".format(type(self).__name__))

    def predict(self, x: Array, training: bool = False) -> Array:
        """The logits; with ``training`` in training mode, with whatever that does to the moving statistics."""
        raise NotImplementedError("{} has no predict()".format(type(self).__name__))

    def activations(self, x: Array) -> List[Array]:
        """What enters each activation and each normalization in inference: z1, n1, z2, n2, ...

        z is the output of the dense or convolutional layer, n that of the normalization, z again where there is none.
        """
        raise Unsupported("no activations()")

    def state(self) -> Dict[str, Array]:
        """Copies of all arrays, by the names of ``NetworkSpec.shapes``."""
        raise NotImplementedError("{} has no state()".format(type(self).__name__))

    def set_state(self, state: Dict[str, Array]) -> None:
        """Copy the given arrays into the network."""
        raise NotImplementedError("{} has no set_state()".format(type(self).__name__))

    def reload(self) -> "Network":
        """Return a network for inference that is restored from a checkpoint of this one."""
        raise Unsupported("no checkpoint of a network")


class Act(NamedTuple):
    """One act of a course.

    "fit" trains on batches, each a row of ``rows`` (row numbers of the data); ``keep`` hands back the state after each
    step; ``update=False`` leaves out the update of the moving statistics. "predict" gives the logits of ``rows`` in
    batches of ``size`` (0: all at once), with ``training`` in training mode. "activations" gives those of ``rows``.
    "state" hands back the state, "reload" puts the network restored from a checkpoint in the place of this one.
    """

    op: str
    rows: Optional[Array] = None
    size: int = 0
    training: bool = False
    update: bool = True
    keep: bool = False


class Course(NamedTuple):
    """A network, its starting state, the samples with their labels, and what is done with it.

    ``own=False`` asks for NumPy's dense layers around the implementation's layer, ``own`` for the framework's own way
    to write a network, where the adapter knows it.
    """

    spec: NetworkSpec
    start: Dict[str, Array]
    data: Array
    labels: Array
    acts: Tuple[Act, ...]
    own: bool = True


class Done(NamedTuple):
    """The result of an act: losses of a fit (they end with the first that is not finite), logits, or states."""

    index: int  # type: ignore[assignment]  # nobody looks for a value in an answer
    losses: Optional[Array] = None
    logits: Optional[Array] = None
    states: Tuple[Dict[str, Array], ...] = ()
    activations: Tuple[Array, ...] = ()
    seconds: float = 0.0


class Over(NamedTuple):
    """The last answer to a course; conventions are those of the normalization in each hidden layer."""

    conventions: Tuple[Conventions, ...] = ()
    failure: Optional[Failure] = None
    #: How the network was written, for the report.
    idiom: str = ""
