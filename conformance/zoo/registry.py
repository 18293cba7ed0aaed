"""What an exhibit of the zoo is, and the decorators that turn a layer class into one."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Capabilities, Conventions, Description
from adapters.numpy_reference import CAPABILITIES, NumpyLayer, NumpyReference

#: What the reference declares, and with it every exhibit that does not say otherwise.
REFERENCE = NumpyReference.declared
EVERYTHING = CAPABILITIES._replace(dtypes=("float32",))


class Fault(NamedTuple):
    """A faulty implementation; ``caught_by`` names the requirements that must see it, the most specific one first.

    An empty ``caught_by`` is a known gap: no requirement of today names the fault.
    """

    name: str
    target: str
    description: str
    family: str
    caught_by: tuple[str, ...]
    reference: str = ""


class Variant(NamedTuple):
    """A correct implementation that is not the reference: a failure on it is a false alarm."""

    name: str
    target: str
    description: str


class Exhibit(NumpyReference):
    """The adapter of an exhibit: the reference but for its layer and what it declares."""

    capabilities = EVERYTHING

    def describe(self) -> Description:
        """NumPy, with the exhibit's own description as a note."""
        return Description("numpy", np.__version__, capabilities=self.capabilities, notes=(self.__doc__ or "",))


class RowLayer(NumpyLayer):
    """A layer that sees its input as m rows of one value per channel: what summation orders are written for."""

    def rows(self, a: Array) -> Array:
        """Shape (m, *parameter_shape), in the order of the input's elements."""
        channel_axes = self.spec.channel_axes
        last = tuple(range(-len(channel_axes), 0))
        return np.moveaxis(a, channel_axes, last).reshape(self.count(a), *self.spec.parameter_shape)

    def row_sum(self, rows: Array) -> Array:
        """Sum of the rows, of the parameters' shape."""
        return np.add.reduce(rows, axis=0)

    def row_statistics(self, rows: Array) -> tuple[Array, Array]:
        """Mean and variance of the rows, of the parameters' shape."""
        mean = self.row_sum(rows) / len(rows)
        return mean, self.row_sum(np.square(rows - mean)) / len(rows)

    def sum(self, a: Array) -> Array:
        """Sum by rows."""
        return self.broadcast(self.row_sum(self.rows(a)))

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Statistics by rows."""
        mean, variance = self.row_statistics(self.rows(x))
        return self.broadcast(mean), self.broadcast(variance)


FAULTS: list[Fault] = []
VARIANTS: list[Variant] = []
#: Faults that the cases of the other families are too short for: `bn-conformance scenarios` catches them.
TRAINING_FAULTS: list[Fault] = []


def _exhibit(
    layer: type[NumpyLayer], adapter: type[Exhibit], declares: Conventions, capabilities: Capabilities
) -> tuple[type[Exhibit], str, str, str]:
    made = type(
        layer.__name__,
        (adapter,),
        {
            "__doc__": layer.__doc__,
            "__module__": layer.__module__,
            "layer": layer,
            "declared": declares,
            "capabilities": capabilities,
        },
    )
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", layer.__name__).lower()
    return made, name, f"{layer.__module__}:{layer.__name__}", layer.__doc__ or ""


def fault(
    family: str,
    *caught_by: str,
    reference: str = "",
    declares: Conventions = REFERENCE,
    capabilities: Capabilities = EVERYTHING,
    adapter: type[Exhibit] = Exhibit,
) -> Callable[[type[NumpyLayer]], type[Exhibit]]:
    """Replace a faulty layer class by the adapter that builds it, and register that under the class's name."""

    def register(layer: type[NumpyLayer]) -> type[Exhibit]:
        made, name, target, description = _exhibit(layer, adapter, declares, capabilities)
        FAULTS.append(Fault(name, target, description, family, caught_by, reference))
        return made

    return register


def variant(
    declares: Conventions = REFERENCE,
    capabilities: Capabilities = EVERYTHING,
    adapter: type[Exhibit] = Exhibit,
) -> Callable[[type[NumpyLayer]], type[Exhibit]]:
    """Replace a correct layer class by the adapter that builds it, and register that under the class's name."""

    def register(layer: type[NumpyLayer]) -> type[Exhibit]:
        made, name, target, description = _exhibit(layer, adapter, declares, capabilities)
        VARIANTS.append(Variant(name, target, description))
        return made

    return register


def training_fault(*caught_by: str) -> Callable[[type[NumpyLayer]], type[Exhibit]]:
    """Replace a layer class whose fault only training shows by its adapter, and register that under the class's name.

    It has float64, too: the type in which networks are compared.
    """

    def register(layer: type[NumpyLayer]) -> type[Exhibit]:
        both = EVERYTHING._replace(dtypes=("float32", "float64"))
        made, name, target, description = _exhibit(layer, Exhibit, REFERENCE, both)
        TRAINING_FAULTS.append(Fault(name, target, description, "9", caught_by))
        return made

    return register
