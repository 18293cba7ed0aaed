"""The catalogue of requirements, one module per family."""

from conformance.requirements import (
    conventions,
    gradients,
    inference,
    modes,
    rebuilding,
    running,
    tapes,
    training,
    updates,
)
from conformance.requirements._catalogue import CATALOGUE, Requirement, requirement

__all__ = [
    "CATALOGUE",
    "Requirement",
    "conventions",
    "gradients",
    "inference",
    "modes",
    "rebuilding",
    "requirement",
    "running",
    "tapes",
    "training",
    "updates",
]
