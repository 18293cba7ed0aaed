"""The common batch-normalization interface: what an adapter receives, returns and declares.

Every array crosses this interface as a NumPy array. The names are the field's: ``epsilon`` is added to the variance,
``decay`` is the weight of the *old* moving value (``moving = decay * moving + (1 - decay) * batch``), ``center`` and
``scale`` say whether beta and gamma exist. The module needs NumPy at most and runs on Python 3.6.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    import numpy as np

    from adapters.network import Network, NetworkSpec

    Array = np.ndarray[Any, Any]
else:
    Array = Any


@lru_cache(maxsize=1024)
def _axes(rank: int, axis: Tuple[int, ...]) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Channel axes and all others, counted from the front."""
    channel_axes = tuple(sorted(a % rank for a in axis))
    return channel_axes, tuple(a for a in range(rank) if a not in channel_axes)


class Unsupported(Exception):
    """Raised by an adapter that refuses a request; its text is the reason, shown in the report."""


class Execution(NamedTuple):
    """How the framework runs the layer: a mode of its own naming, and a device.

    The mode "frozen" asks for a layer whose parameters are frozen, called forward only; where there is no such layer,
    ``build`` refuses it with Unsupported.
    """

    mode: str = "default"
    device: str = "cpu"


class Spec(NamedTuple):
    """What is fixed when a layer is built.

    ``shape`` has one entry per dimension of the input, ``None`` where the extent is free; channel extents are always
    known. ``axis`` holds the channel axes as a user writes them, negative ones included. ``dtype`` is that of x, dy, y
    and dx; arrays of bfloat16 are uint16 on the adapter's side, the upper half of a float32's bits.
    """

    shape: Tuple[Optional[int], ...]
    axis: Tuple[int, ...]
    epsilon: float
    decay: float
    center: bool = True
    scale: bool = True
    dtype: str = "float32"
    execution: Execution = Execution()

    @property
    def rank(self) -> int:
        """Number of dimensions of the input."""
        return len(self.shape)

    @property
    def channel_axes(self) -> Tuple[int, ...]:
        """The channel axes, counted from the front, in ascending order."""
        return _axes(len(self.shape), self.axis)[0]

    @property
    def reduction_axes(self) -> Tuple[int, ...]:
        """All other axes: those over which the statistics are taken."""
        return _axes(len(self.shape), self.axis)[1]

    @property
    def parameter_shape(self) -> Tuple[int, ...]:
        """Shape of gamma, beta and the moving statistics: the extents of the sorted channel axes."""
        extents = []
        for a in self.channel_axes:
            extent = self.shape[a]
            if extent is None:
                raise ValueError("the extent of channel axis {} is unknown in {}".format(a, self.shape))
            extents.append(extent)
        return tuple(extents)

    @property
    def parameter_dtype(self) -> str:
        """Element type of gamma, beta and the moving statistics as they cross: the input's, float32 at least."""
        return "float64" if self.dtype == "float64" else "float32"


class State(NamedTuple):
    """The state of a layer: arrays of ``Spec.parameter_shape``, ``None`` where the layer has no such parameter.

    ``extra`` holds further named arrays (batch counters, zero-debias terms) without which a continued run would not
    be the same run; their meaning is the adapter's own.
    """

    gamma: Optional[Array] = None
    beta: Optional[Array] = None
    moving_mean: Optional[Array] = None
    moving_variance: Optional[Array] = None
    extra: Dict[str, Array] = {}


class Step(NamedTuple):
    """What one call returns: ``y`` of the input's shape and, where ``dy`` was given, the gradients of sum(y * dy)."""

    y: Array
    dx: Optional[Array] = None
    dgamma: Optional[Array] = None
    dbeta: Optional[Array] = None


class Capabilities(NamedTuple):
    """What an adapter can do. The suite asks for nothing that is not declared here, and reports what is missing."""

    ranks: Tuple[int, ...] = (2, 3, 4, 5)
    #: "last", "second" (axis 1), "single" (any one axis), "several" (any set of axes) or "activations" (all but the
    #: first).
    axes: str = "single"
    dtypes: Tuple[str, ...] = ("float32",)
    #: Whether center=False and scale=False exist.
    flags: bool = True
    training_gradients: bool = True
    inference_gradients: bool = True
    #: ``train(update=False)`` and ``apply_updates()``: the update of the moving statistics is an act of its own.
    separate_update: bool = False
    #: ``tape()``: backward passes late, repeated, or after other calls.
    tape: bool = False
    #: ``second_order()``: gradients of the gradients.
    second_order: bool = False
    #: ``save()`` and ``BatchNormAdapter.restore()``: the framework's own format.
    save: bool = False
    #: Whether the same case gives the same bits each time.
    deterministic: bool = True
    #: Whether the adapter moves the channel axis to where the framework wants it.
    transposes: bool = False
    #: ``train()``; without it nothing but inference is asked for.
    training: bool = True

    @property
    def half(self) -> bool:
        """Whether any of the half-precision types is declared."""
        return "float16" in self.dtypes or "bfloat16" in self.dtypes


class Conventions(NamedTuple):
    """Where implementations legitimately differ. Declared per spec, then verified; the oracle takes them as given."""

    #: Estimator that enters the moving variance: "biased" (divide by m) or "unbiased" (divide by m - 1).
    moving_variance: str = "biased"
    #: What enters the moving variance where m = 1: "zero" or "nan".
    moving_variance_single: str = "zero"
    #: Training with one element per channel: "beta" (y = beta) or "refused".
    single: str = "beta"
    #: Training with an empty batch: "nan" (moving statistics become NaN), "unchanged" or "refused".
    empty: str = "nan"
    #: The smallest epsilon that takes effect; smaller ones are raised to it.
    epsilon_floor: float = 0.0
    #: Element types of the arithmetic, of the moving statistics and of the decay; "" is that of the input, float32 at
    #: least, for the statistics that of the arithmetic, and for the decay that of the statistics.
    compute_dtype: str = ""
    statistics_dtype: str = ""
    decay_dtype: str = ""
    #: Accuracy of the variance: "A" (two passes), "B" (updating formulas), "C" (E[x^2] - E[x]^2).
    variance_grade: str = "C"
    #: Evaluation of the output: "S" (subtract the mean first) or "F" (folded into y = a * x + b).
    affine_grade: str = "F"
    #: When the moving statistics change: "forward" (with the training call) or "separate" (an act of its own).
    update_timing: str = "forward"
    #: A layer whose parameters are frozen, called in training mode: "inference", "batch" (normalizes with the
    #: batch, updates nothing), "training" (nothing is different) or "absent".
    frozen: str = "absent"


class Description(NamedTuple):
    """Who an adapter is. ``notes`` are facts for the report, such as where the adapter transposes.

    ``undeclared`` holds "capabilities" where those are only what may be tried, and "conventions" where nobody has
    declared any: the suite then finds them out.
    """

    framework: str
    version: str
    device: str = "cpu"
    capabilities: Capabilities = Capabilities()
    notes: Tuple[str, ...] = ()
    undeclared: Tuple[str, ...] = ()


class Tape:
    """A recorded forward pass whose backward pass can come late, twice, or after other calls."""

    y: Array

    def backward(self, dy: Array) -> Step:
        """Return y and the gradients of sum(y * dy) with respect to x, gamma and beta of the recorded call."""
        raise NotImplementedError("{} has no backward()".format(type(self).__name__))


class Layer:
    """A live layer. Every method leaves its arguments unchanged and returns arrays that nothing later changes."""

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """Run a training step on x; with dy (of x's shape) the gradients too; one update of the moving statistics.

        ``update=False`` leaves the moving statistics as they are; only adapters with ``separate_update`` are asked.
        """
        raise NotImplementedError("{} has no train()".format(type(self).__name__))

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Run inference on x with the moving statistics; with dy the gradients too. Changes no state."""
        raise NotImplementedError("{} has no infer()".format(type(self).__name__))

    def state(self) -> State:
        """Return a copy of the layer's state."""
        raise NotImplementedError("{} has no state()".format(type(self).__name__))

    def set_state(self, state: State) -> None:
        """Copy the given arrays into the layer; ``None`` leaves a parameter as it is."""
        raise NotImplementedError("{} has no set_state()".format(type(self).__name__))

    def apply_updates(self) -> None:
        """Run the update of the moving statistics that the last ``train(update=False)`` left undone."""
        raise Unsupported("no separate update")

    def tape(self, x: Array, training: bool) -> Tape:
        """Run forward on x and return the tape; with training=True the moving statistics are updated."""
        raise Unsupported("no tape")

    def second_order(self, x: Array, dy: Array, v: Array) -> Tuple[Array, Array, Optional[Array]]:
        """Return the gradients of sum(v * dx) with respect to x, dy and gamma, in training mode, without update."""
        raise Unsupported("no second-order gradients")

    def save(self, path: str) -> None:
        """Write the layer to a path in the framework's own format."""
        raise Unsupported("no format of its own")


class BatchNormAdapter:
    """One implementation under test. Subclasses take no constructor arguments and import their framework lazily."""

    def describe(self) -> Description:
        """Return name, version, device and capabilities of the implementation."""
        raise NotImplementedError("{} has no describe()".format(type(self).__name__))

    def conventions(self, spec: Spec) -> Conventions:
        """Return the conventions that the implementation follows for this spec."""
        raise NotImplementedError("{} has no conventions()".format(type(self).__name__))

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a new layer for the spec that starts from a copy of the given state.

        Raises Unsupported, with the reason, where the implementation has no such layer.
        """
        raise NotImplementedError("{} has no build()".format(type(self).__name__))

    def restore(self, spec: Spec, path: str) -> Layer:
        """Return a layer read from what ``Layer.save`` wrote."""
        raise Unsupported("no format of its own")

    def network(self, spec: "NetworkSpec") -> "Network":
        """Return a network, written as the framework's users write one; by default NumPy's layers around this one's."""
        from adapters.network_layers import LayeredNetwork

        return LayeredNetwork(self, spec)
