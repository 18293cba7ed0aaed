"""Implementations of the fault models that err in one of two places."""

from adapters.numpy_reference import NumpyReference
from conformance import diagnosis_partial as partial

#: The last of each family.
NAMES = [layers[-1].__name__ for layers in (partial.DECAY, partial.AFFINE, partial.MODE, partial.BESSEL)]
for _name in NAMES:
    globals()[_name] = type(_name, (NumpyReference,), {"__doc__": _name, "layer": getattr(partial, _name)})
