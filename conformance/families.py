"""The families of requirements, and which programs of steps the cases of each consist of."""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from conformance.variety import SHAPES, TYPED, USUAL, Variety

Through = Literal["state", "file", "checkpoint", "process"]
Parameter = Literal["", "gamma", "beta", "moving_mean", "moving_variance"]


class Planned(NamedTuple):
    """A step of a program before anything but its operation is drawn.

    Written ``train``, ``train1`` (on the second layer), ``train@2`` (recorded under 2), ``backward@2`` (of that),
    ``train*40`` (forty times), ``train-`` (its update left out), ``infer-`` (forward only), ``reload:file``,
    ``set_state:gamma`` (that alone), ``again`` (the last computing step once more), ``first`` (the first one so).
    """

    op: str
    layer: int = 0
    tape: int = -1
    times: int = 1
    update: bool = True
    through: Through = "state"
    only: Parameter = ""


_WRITTEN = re.compile(
    r"([a-z_]+)(\d?)(?:@(\d))?(?:\*(\d+))?(-?)"
    r"(?::(?:(state|file|checkpoint|process)|(gamma|beta|moving_mean|moving_variance)))?"
)


def planned(text: str) -> Planned:
    """Return the step that is written so. Raises ValueError for one that is not."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no step")
    op, layer, tape, times, left_out, given, parameter = found.groups()
    through: Any = given or "state"
    only: Any = parameter or ""
    return Planned(op, int(layer or 0), int(tape or -1), int(times or 1), not left_out, through, only)


class Family(NamedTuple):
    """How the cases of a requirement family are made: which steps, how many, and how often gradients are asked for."""

    number: int
    title: str
    longest: int
    #: One step in so many comes without gradients; 1 means none has any.
    without_gradients: int
    #: Operations that are drawn freely; the first step is of ``first``. "record" is a recorded training step.
    ops: tuple[str, ...]
    first: tuple[str, ...] = ("train",)
    #: Programs that are drawn as often as free ones, as ``Planned`` are written: what goes wrong between steps needs
    #: them in a certain order.
    programs: tuple[tuple[str, ...], ...] = ()
    layers: int = 1
    repeats: bool = False
    #: Whether its data climb the ladders of ``conformance.ladders``, and some of them are not finite.
    ladders: bool = False
    #: Programs that the first cases of a pool have, one each, whatever is drawn: nothing else shows what they do, or
    #: they are too dear to be drawn often.
    certain: tuple[tuple[str, ...], ...] = ()
    variety: Variety = USUAL
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
#: Each parameter set alone, the same input before and after: what is folded or cached must follow every one of them.
SET_ALONE = (
    (
        *("infer", "set_state:moving_mean", "again", "set_state:moving_variance", "again", "set_state:beta", "again"),
        *("set_state:gamma", "again", "set_state:gamma", "again"),
    ),
    ("train", "infer", "set_state:moving_mean", "again", "train", "set_state:moving_variance", "infer"),
    ("train", "set_state:gamma", "train", "set_state:beta", "again", "infer"),
)
TWO_LAYERS = (
    ("train", "train1", "infer", "infer1"),
    ("infer", "set_state1", "train1", "infer", "train"),
    ("train", "infer1", "train", "infer1", "get_state"),
)
THREE_LAYERS = (
    ("train2", "train", "train1", "infer2", "infer"),
    ("infer2", "set_state", "train1", "first", "infer"),
)
TAPES = (
    ("train@0", "backward@0", "again", "backward@0"),
    ("train@0", "train", "infer", "backward@0", "again"),
    ("train@0", "train@1", "train@2", "backward@1", "backward@0", "backward@2"),
    ("infer@0", "infer@1", "backward@0", "backward@1", "backward@0"),
    ("train@0", "infer@1", "backward@1", "backward@0"),
    ("infer@0", "train", "backward@0"),
    ("train@0", "backward@0", "again", "train", "backward@0", "infer"),
)
SECOND_ORDER = (
    ("second_order",),
    ("second_order", "second_order"),
    ("train", "second_order", "train"),
    ("infer", "second_order", "infer"),
)
TAPES_OF_LAYERS = (
    ("train@0", "train1@1", "backward@0", "backward1@1"),
    ("train@0", "set_state1", "train1", "backward@0", "get_state"),
)
#: What takes arrays beside training and inference.
LAID_OUT = (("train@0", "backward@0", "set_state", "infer"), ("infer@0", "backward@0"), ("second_order",))
MEANWHILE = (
    ("meanwhile", "train", "infer"),
    ("train", "meanwhile", "train", "infer"),
    ("infer", "meanwhile", "infer"),
)
REPEATED = (
    ("train", "again", "again", "infer"),
    ("infer", "again", "get_state", "again"),
    ("train", "infer", "first", "train", "first"),
    ("infer", "second_order", "first"),
)
#: Batch after batch, as in an evaluation.
EVALUATION = (("infer-", "infer-", "infer-", "infer-", "train", "infer-", "infer-"),)
REBUILT = (
    ("train", "reload", "train", "infer"),
    ("train", "train", "reload", "infer", "train"),
    ("infer", "reload", "infer", "train"),
    ("train1", "reload1", "train", "train1", "infer1"),
    ("train", "set_state", "reload", "train", "train"),
)
SAVING = (
    ("train", "reload:process", "infer", "train"),
    ("train", "train1", "reload:process", "infer", "infer1", "train"),
    ("set_state", "infer", "reload:process", "infer", "train", "infer"),
    ("train", "train", "reload:file", "infer", "train"),
    ("infer", "reload:file", "infer", "train", "infer"),
    ("set_state", "reload:file", "train", "get_state"),
    ("train", "train1", "reload1:file", "train", "train1", "infer1", "infer"),
    ("infer", "train", "infer", "reload:file", "infer", "train"),
    ("train", "reload:checkpoint", "train", "reload:file", "infer", "train"),
    ("infer", "train", "reload:checkpoint", "set_state", "infer"),
)
UPDATES = (
    ("train-", "set_state", "apply_updates", "infer"),
    ("train-", "apply_updates", "infer"),
    ("train", "train-", "infer", "apply_updates", "train", "infer"),
    ("train-", "train-", "apply_updates", "train-", "apply_updates"),
)
MANY = (("train*300", "infer"), ("train*7", "train", "train*60"))
#: Cases of a family that draws few: each spec of a pool once.
FEWEST = 24
FREE = ("train", "infer", "train", "infer", "set_state", "get_state")
TAPED = (*FREE, "record", "backward", "backward", "reload", "again")

FAMILIES = {
    family.number: family
    for family in (
        Family(1, "Normalization in training", 3, 2, ("train", "train", "infer")),
        Family(
            *(2, "Inference", 4, 2, ("infer", "train", "infer", "set_state", "get_state"), ("infer", "train")),
            programs=STALE,
            certain=SET_ALONE * 2,
        ),
        Family(
            *(3, "Running statistics", 6, 2, ("train", "train", "infer")),
            programs=(*SET[:2], ("train",) * 10, *UPDATES, *MANY),
            certain=UPDATES + MANY * 2,
        ),
        Family(
            *(4, "Gradients", 3, 6, ("train", "train", "infer"), ("train", "infer")),
            programs=(*STALE[:2], ("train",) * 6, *STALE[:2], ("train",) * 6, *TAPES, *SECOND_ORDER),
            certain=TAPES * 2 + SECOND_ORDER,
        ),
        Family(5, "Numerics", 2, 2, ("train", "infer"), ("train", "infer"), (("train", "infer"),), ladders=True),
        Family(
            *(6, "Shapes, types and layouts", 2, 8, ("train", "infer"), ("train", "train", "infer")),
            programs=(
                *LAID_OUT,
                ("train@0", "backward@0"),
                *((("train",), ("train", "infer"), ("infer", "train")) * 2),
            ),
            certain=LAID_OUT * 2,
            variety=SHAPES,
        ),
        Family(
            *(7, "State and modes", 6, 2, TAPED, FREE),
            programs=STALE + SET + TWO_LAYERS + THREE_LAYERS + TAPES_OF_LAYERS + REPEATED + REBUILT,
            layers=2,
            repeats=True,
            certain=SAVING + MEANWHILE + THREE_LAYERS + TAPES_OF_LAYERS + REPEATED + EVALUATION + REBUILT[:2],
        ),
        Family(8, "Conventions", 1, 1, ("train", "infer"), ("train", "infer"), variety=TYPED, rarity=8),
    )
}

#: Families in the order in which their cases find most faults soonest, measured over the zoo: a few cases of each, then
#: all others, where those with the most varied programs find what is left.
_TELLING, _VARIED = (2, 3, 1, 4, 7, 6), (7, 4, 6, 3, 2, 1)


def in_turn(families: Iterable[int], *, rest: bool = False) -> list[int]:
    """These families, the most telling first: for those who stop at the first failure."""
    order = _VARIED if rest else _TELLING
    return sorted(families, key=lambda family: order.index(family) if family in order else len(order))
