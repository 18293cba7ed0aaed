"""The zoo: faulty implementations that the suite must catch, and correct ones that it must let pass.

Every exhibit is an adapter, made from a subclass of the reference's layer by a decorator of ``registry``; its target
("conformance.zoo.statistics:UnbiasedNormalization") is what a host loads.
"""

from importlib import import_module

from conformance.zoo import registry
from conformance.zoo.registry import Fault, Variant

__all__ = ["FAULTS", "TRAINING_FAULTS", "VARIANTS", "Fault", "Variant"]

for _theme in (
    "statistics",
    "shapes",
    "extents",
    "epsilon",
    "affine",
    "modes",
    "folds",
    "alone",
    "moving",
    "updates",
    "gradients",
    "parameter_gradients",
    "inference_gradients",
    "numerics",
    "special",
    "extremes",
    "state",
    "sharing",
    "neighbours",
    "memory",
    "orders",
    "tapes",
    "second_order",
    "rebuilding",
    "saving",
    "counting",
    "cunning",
    "rare",
    "variants",
    "algorithms",
    "declared",
    "conventions",
    "declared_types",
    "types",
    "layouts",
    "laid_out",
    "sizes",
    "typed_variants",
    "training",
):
    import_module(f"conformance.zoo.{_theme}")

FAULTS: tuple[Fault, ...] = tuple(registry.FAULTS)
VARIANTS: tuple[Variant, ...] = tuple(registry.VARIANTS)
TRAINING_FAULTS: tuple[Fault, ...] = tuple(registry.TRAINING_FAULTS)
