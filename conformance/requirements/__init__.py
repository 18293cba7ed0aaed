"""The catalogue of requirements, one module per family and theme."""

from conformance.requirements import (
    conventions,
    exact,
    gradients,
    inference,
    modes,
    numerics,
    rebuilding,
    running,
    second_order,
    shapes,
    special,
    strangers,
    tapes,
    training,
    updates,
)
from conformance.requirements._catalogue import CATALOGUE, Requirement, requirement

__all__ = [
    "CATALOGUE",
    "Requirement",
    "conventions",
    "exact",
    "gradients",
    "inference",
    "modes",
    "numerics",
    "rebuilding",
    "requirement",
    "running",
    "second_order",
    "shapes",
    "special",
    "strangers",
    "tapes",
    "training",
    "updates",
]

# Modules are imported by name, requirements are known by id.
_sorted = sorted(CATALOGUE.items())
CATALOGUE.clear()
CATALOGUE.update(_sorted)
