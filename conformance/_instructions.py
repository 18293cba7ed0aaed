"""The steps that a case is made of, as recipes: forward and backward passes, and what is done to a layer's state."""

from typing import Literal

import msgspec

from conformance._data import Drawn, Given, Gradient, Poison
from conformance._layouts import Layout


class Start(msgspec.Struct, frozen=True, tag="start"):
    """A state: how gamma, beta and the moving statistics are chosen, or the arrays themselves.

    gamma and beta: "plain" (1 and 0), "distinct" (differing, of both signs), "mixed" (zeros, ones, large, tiny),
    "negative" and "zeros" (all of them).
    moving: "plain" (0 and 1), "random" (mean about 0, variance about 1), "near" (about those of the first input).
    ``None`` in place of an array leaves that parameter as it is (in ``SetState`` only).
    """

    gamma: Literal["plain", "distinct", "mixed", "negative", "zeros"] | Given | None = "plain"
    beta: Literal["plain", "distinct", "mixed", "negative", "zeros"] | Given | None = "plain"
    moving_mean: Literal["plain", "random", "near"] | Given | None = "plain"
    moving_variance: Literal["plain", "random", "near"] | Given | None = "plain"
    seed: int = 0
    poison: tuple[Poison, ...] = ()
    #: Of the arrays that are drawn; those that are given have their own.
    layout: Layout = "c"


class Train(msgspec.Struct, frozen=True, tag="train"):
    """A training step, made ``times`` times; with gradients where dy is given, recorded where ``tape`` is no -1."""

    x: Drawn | Given
    dy: Gradient | Given | None = None
    layer: int = 0
    update: bool = True
    tape: int = -1
    times: int = 1


class Infer(msgspec.Struct, frozen=True, tag="infer"):
    """An inference step, with gradients where dy is given, recorded where ``tape`` is no -1."""

    x: Drawn | Given
    dy: Gradient | Given | None = None
    layer: int = 0
    tape: int = -1


class Backward(msgspec.Struct, frozen=True, tag="backward"):
    """The backward pass of the step that was last recorded under this number."""

    tape: int
    dy: Gradient | Given
    layer: int = 0


class SecondOrder(msgspec.Struct, frozen=True, tag="second_order"):
    """The gradients of Σ v·dx, dx being the input gradient of a training step."""

    x: Drawn | Given
    dy: Gradient | Given
    v: Gradient | Given
    layer: int = 0


class SetState(msgspec.Struct, frozen=True, tag="set_state"):
    """Set the parameters that are not None."""

    state: Start
    layer: int = 0


class GetState(msgspec.Struct, frozen=True, tag="get_state"):
    """Read the state, also where the program reads it nowhere else."""

    layer: int = 0


class ApplyUpdates(msgspec.Struct, frozen=True, tag="apply_updates"):
    """Run the update of the moving statistics that a training step left undone."""

    layer: int = 0


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Go on with another layer in place of this one.

    It is built from this one's state ("state"), or saved and restored ("file"), all layers in a new process
    ("process"). With "checkpoint" the layer is saved and restored too, but the one that was saved goes on.
    """

    through: Literal["state", "file", "checkpoint", "process"] = "state"
    layer: int = 0


class Meanwhile(msgspec.Struct, frozen=True, tag="meanwhile"):
    """Build a layer of another epsilon and decay, train it and infer with it; it stays alive beside the others."""

    x: Drawn | Given
    layer: int = 0


Instruction = Meanwhile | Train | Infer | Backward | SecondOrder | SetState | GetState | ApplyUpdates | Reload
