"""What the specs and inputs of a family run through: ranks, axes, numbers of channels, types, extents, layouts."""

from typing import Literal, NamedTuple

#: A rank and channel axes in it.
Place = tuple[int, tuple[int, ...]]
#: How the extents of the reduced axes come about: drawn freely, equal to the number of channels, all one (m = 1), or
#: one of them large, around a vector's width or a power of two, or huge, or those of few but large images.
Extents = Literal["free", "as channels", "one", "large", "vector", "huge", "images"]


class Variety(NamedTuple):
    """What the specs and inputs of a family run through."""

    ranks: tuple[int, ...] = (2, 3, 4, 5)
    #: Ranks that few declare: one spec each.
    rare_ranks: tuple[int, ...] = ()
    #: Places that every pool has: those that code has paths of its own for.
    always: tuple[Place, ...] = ()
    channels: tuple[int, ...] = (3, 1, 2, 4, 16, 5, 7, 8, 17, 6, 12, 33, 9, 65, 10, 32, 15, 13, 64, 11, 24, 31)
    #: Sets of several channel axes, with their rank, for those who declare them: so many are taken.
    several: tuple[Place, ...] = ((3, (1, 2)), (4, (-1, 1)), (5, (3, -4, 2)), (4, (1, 2, 3)))
    taken: int = 2
    #: Which of five specs in turn come in another element type than float32: none that are of several axes alone.
    typed: tuple[int, ...] = (3,)
    extents: tuple[Extents, ...] = (
        *("free",) * 12,
        *("as channels",) * 4,
        *("one", "one", "large", "images"),
    )
    #: Whether inputs and upstream gradients come in memory layouts other than C order, too.
    layouts: bool = False


USUAL = Variety()
#: Conventions are declared for each type: the family that measures them has more of every type.
TYPED = Variety(typed=(1, 3))
#: Extents and numbers of channels about those where a vector, a block or an unrolled loop ends, and far beyond.
AROUND_VECTORS = (
    *(7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257),
    *(511, 512, 513, 1023, 1024, 1025),
)
SHAPES = Variety(
    rare_ranks=(1, 6),
    always=((4, (1,)), (4, (-1,))),
    channels=(3, 1, 2, 4, *AROUND_VECTORS),
    several=((3, (-1, 0)), (5, (3, -4, 2))),
    typed=(1, 3),
    extents=("free",) * 5 + ("vector",) * 7 + ("one", "images", "as channels") * 2 + ("large", "huge"),
    layouts=True,
)
