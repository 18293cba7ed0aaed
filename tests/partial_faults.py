"""Implementations of the fault models that err in one of two places, and one that fails otherwise in a corner."""

from adapters.interface import Array, Conventions, Spec
from adapters.numpy_reference import NumpyReference
from conformance import diagnosis_partial as partial
from conformance.zoo import gradients

#: The last of each family.
NAMES = [layers[-1].__name__ for layers in (partial.DECAY, partial.AFFINE, partial.MODE, partial.BESSEL)]
for _name in NAMES:
    globals()[_name] = type(_name, (NumpyReference,), {"__doc__": _name, "layer": getattr(partial, _name)})


class _DividesByZero(gradients.CountLessOne.layer):  # type: ignore[name-defined, misc]
    """As it is, but for a single element."""

    def divisor(self, x: Array) -> float:
        return float(self.count(x) - 1)


class CountLessOneOfAny(NumpyReference):
    """The adapter of it."""

    layer = _DividesByZero


class StatisticsAsComputed(NumpyReference):
    """Computes float64 in float32 as it declares, and so gives moving statistics of float64 too few digits."""

    def conventions(self, spec: Spec) -> Conventions:
        """As keras_torch declares."""
        if spec.dtype != "float64":
            return self.declared
        return self.declared._replace(compute_dtype="float32", decay_dtype="float32", statistics_dtype="float64")
