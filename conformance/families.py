"""The families of requirements, and which programs of steps the cases of each consist of."""

from collections.abc import Iterable
from typing import NamedTuple


class Family(NamedTuple):
    """How the cases of a requirement family are made: which steps, how many, and how often gradients are asked for."""

    number: int
    title: str
    longest: int
    #: One step in so many comes without gradients; 1 means none has any.
    without_gradients: int
    #: Operations that are drawn freely; the first step is of ``first``.
    ops: tuple[str, ...]
    first: tuple[str, ...] = ("train",)
    #: Programs that are drawn as often as free ones: what goes wrong between steps needs them in a certain order.
    #: "1" after an operation is the second layer.
    programs: tuple[tuple[str, ...], ...] = ()
    layers: int = 1
    repeats: bool = False
    #: One case is drawn for so many that other families draw, but at least ``FEWEST``.
    rarity: int = 1

    def count(self, cases: int) -> int:
        """How many cases to draw where others draw that many."""
        return cases if self.rarity == 1 else max(min(cases, FEWEST), cases // self.rarity)


STALE = (
    ("train", "infer"),
    ("infer", "train", "infer"),
    ("infer", "set_state", "infer"),
    ("train", "set_state", "infer"),
    ("infer", "infer", "train", "train", "infer"),
    ("infer", "infer", "infer", "infer", "train", "infer"),
)
SET = (
    ("train", "set_state", "train"),
    ("train", "set_state", "infer", "train", "infer"),
    ("set_state", "get_state", "train", "get_state"),
    ("train", "set_state", "set_state", "infer", "train"),
)
TWO_LAYERS = (
    ("train", "train1", "infer", "infer1"),
    ("infer", "set_state1", "train1", "infer", "train"),
    ("train", "infer1", "train", "infer1", "get_state"),
)
#: Cases of a family that draws few: each spec of a pool once.
FEWEST = 24
FREE = ("train", "infer", "train", "infer", "set_state", "get_state")

FAMILIES = {
    family.number: family
    for family in (
        Family(1, "Normalization in training", 3, 2, ("train", "train", "infer")),
        Family(2, "Inference", 4, 2, ("infer", "train", "infer", "set_state", "get_state"), ("infer", "train"), STALE),
        Family(3, "Running statistics", 6, 2, ("train", "train", "infer"), programs=(*SET[:2], ("train",) * 10)),
        Family(4, "Gradients", 3, 6, ("train", "train", "infer"), ("train", "infer"), (*STALE[:2], ("train",) * 6)),
        Family(7, "State and modes", 6, 2, FREE, FREE, STALE + SET + TWO_LAYERS, layers=2, repeats=True),
        Family(8, "Conventions", 1, 1, ("train", "infer"), ("train", "infer"), rarity=8),
    )
}

#: Families in the order in which their cases find most faults soonest, measured over the zoo.
_TELLING = (2, 3, 1, 4, 7)


def in_turn(families: Iterable[int]) -> list[int]:
    """These families, the most telling first: for those who stop at the first failure."""
    return sorted(families, key=lambda family: _TELLING.index(family) if family in _TELLING else len(_TELLING))
