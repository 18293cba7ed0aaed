"""The catalogue of requirements, one module per family."""

from conformance.requirements import gradients, inference, modes, running, training
from conformance.requirements._catalogue import CATALOGUE, Requirement, requirement

__all__ = ["CATALOGUE", "Requirement", "gradients", "inference", "modes", "requirement", "running", "training"]
