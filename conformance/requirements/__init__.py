"""The catalogue of requirements, one module per family."""

from conformance.requirements import conventions, gradients, inference, modes, running, training
from conformance.requirements._catalogue import CATALOGUE, Requirement, requirement

__all__ = [
    "CATALOGUE",
    "Requirement",
    "conventions",
    "gradients",
    "inference",
    "modes",
    "requirement",
    "running",
    "training",
]
