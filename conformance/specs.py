"""The specs that cases are built on, and how cases are spread over them.

Specs come from a pool, since a new graph costs a hundred times as much as a step.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from adapters.interface import Capabilities, Spec
from conformance.capability import refusal
from conformance.families import FAMILIES
from conformance.variety import USUAL, Extents, Place, Variety

EPSILONS = (1e-3, 1e-5, 1.0, 2.0**-10, 1e-8, 0.1, 1e-12, 4.0)
DECAYS = (0.5, 0.9, 0.99, 0.0, 1.0, 0.875, 1 - 2.0**-7, 0.999, 0.25, 0.1, 1 - 2.0**-14, 2.0**-8)
#: What the numerics family has instead: no epsilon too, and decays that leave much of the batch to be seen.
EPSILONS_OF = {5: (1e-3, 0.0, 2.0**-10, 1e-5, 1.0, 1e-8, 0.0, 1e-12, 1e-3)}
DECAYS_OF = {5: (0.5, 0.0, 0.875, 0.25, 0.9, 0.5)}
#: Sets of several channel axes, with their rank, for those who declare them.
SEVERAL = USUAL.several
#: Specs in a pool.
SIZE = 24
#: Extents of reduced axes that a spec knows.
KNOWN = (1, 2, 3, 4, 5, 7)
#: Elements per sample that those extents stay under.
KNOWN_IN_ALL = 600
#: Element types beside float32, which one spec in five comes in.
OTHER_DTYPES = ("float64", "float16", "bfloat16")


#: Channels of inputs that are large images.
MOST_OF_IMAGES = 17
#: The certain program that is run on several axes, where there are any.
_ON_SEVERAL = 7


class Stratum(NamedTuple):
    """What is spread evenly over a pool, since Hypothesis's own draws come in clumps."""

    spec: Spec
    adversarial: bool = False
    extents: Extents = "free"
    #: Which of the family's certain programs; -1 for one that is drawn.
    program: int = -1


ADVERSARIAL = (False, True)
EXTENTS: tuple[Extents, ...] = get_args(Extents)


def spec_pool(family: int, seed: int, capabilities: Capabilities | None = None, size: int = SIZE) -> tuple[Spec, ...]:
    """Specs for one family: every rank with many of its axes, and each epsilon, decay, flag and channel count often.

    Each property runs through its values in an order of its own, so that all of them occur, in ever new combinations.
    With capabilities, all are such as they allow; there are none where they allow nothing that the suite draws.
    """
    rng = random.Random(f"{seed}/{family}")
    variety = variety_of(family)
    by_rank = []
    for rank in variety.ranks:
        places: list[Place] = [(rank, (axis,)) for axis in range(-rank, rank)]
        # The same order for all families, each starting elsewhere, so that between them they have every axis.
        random.Random(f"{seed}/{rank}").shuffle(places)
        start = 3 * family % len(places)
        by_rank.append(places[start:] + places[:start])
    # Ranks in turn, so that all are drawn as often.
    single = [place for turn in itertools.zip_longest(*by_rank) for place in turn if place is not None]
    single = list(dict.fromkeys((*single[:1], *variety.always, *single)))
    rare: list[Place] = [(rank, (rng.randrange(-rank, rank),)) for rank in variety.rare_ranks]
    several = list(variety.several)
    if capabilities is not None:
        single, rare, several = ([p for p in ps if _allowed(p, capabilities)] for ps in (single, rare, several))
    special = [*rare, *several[: variety.taken]]
    chosen = [*single[: 2 * size // 3 - len(special)], *special]
    if not chosen:
        return ()
    flags = capabilities is None or capabilities.flags
    epsilons, decays = EPSILONS_OF.get(family, EPSILONS), DECAYS_OF.get(family, DECAYS)
    columns = [_endless(rng, values) for values in (variety.channels, epsilons, decays)]
    center, scale = (_endless(rng, values) for values in ((True, True, False), (True, False, True)))
    # The first place is a simple one, for shrinking to end at. A third of the places comes twice, of the same shape and
    # with other parameters: what an implementation keeps by shape must not mix them.
    shapes = {(rank, axis): _shape(rank, axis, next(columns[0])) for rank, axis in chosen}
    # Many axes need room for extents above one.
    most = max(variety.ranks)
    shapes |= {(rank, axis): _shape(rank, axis, min(next(columns[0]), 5)) for rank, axis in chosen if rank > most}
    rank, axis = chosen[0]
    shapes[chosen[0]] = _shape(rank, axis, min(next(columns[0]), 3))
    specs = []
    later: list[float] = []
    for number, place in enumerate(itertools.islice(itertools.cycle(chosen), size)):
        epsilon, dtype = next(columns[1]), _dtype(number, family, variety.typed)
        decay = _decay(columns[2], later, dtype)
        spec = Spec(shapes[place], place[1], epsilon, decay, next(center) or not flags, next(scale) or not flags, dtype)
        specs.append(spec._replace(shape=_known_extents(spec, rng)) if number % 4 == 2 else spec)
    return tuple(recast(spec, capabilities) for spec in sorted(specs, key=_simplicity))


def variety_of(family: int) -> Variety:
    """What the family's specs run through."""
    return FAMILIES[family].variety if family in FAMILIES else USUAL


def _dtype(number: int, family: int, typed: tuple[int, ...]) -> str:
    """The element type of a spec, by its number in the pool before that is sorted."""
    turn, place = divmod(number, 5)
    if place not in typed:
        return "float32"
    return OTHER_DTYPES[(turn * len(typed) + typed.index(place) + family) % len(OTHER_DTYPES)]


def recast(spec: Spec, capabilities: Capabilities | None) -> Spec:
    """The spec in an element type that the capabilities allow: its own, else float32, else the first of theirs."""
    allowed = (spec.dtype,) if capabilities is None else capabilities.dtypes
    if spec.dtype in allowed or not allowed:
        return spec
    return spec._replace(dtype="float32" if "float32" in allowed else allowed[0])


def _shape(rank: int, axis: tuple[int, ...], channels: int) -> tuple[int | None, ...]:
    shape: list[int | None] = [None] * rank
    # Of several axes two have the same extent where the number is even: what confuses them goes unnoticed by its shape.
    extents = (channels,) if len(axis) == 1 else (min(channels, 5) if channels % 2 else 2, 2, 3)
    for place, extent in zip(axis, extents, strict=False):
        shape[place] = extent
    return tuple(shape)


def _known_extents(spec: Spec, rng: random.Random) -> tuple[int | None, ...]:
    """The shape with its extents known, but for the batch's: an implementation may then take another way."""
    shape = list(spec.shape)
    for axis in spec.reduction_axes[1:]:
        extent = rng.choice(KNOWN)
        shape[axis] = extent if math.prod(e or 1 for e in shape) * extent <= KNOWN_IN_ALL else 1
    return tuple(shape)


def _allowed(place: Place, capabilities: Capabilities) -> bool:
    rank, axis = place
    return not refusal(recast(Spec(_shape(rank, axis, 1), axis, 1.0, 0.5), capabilities), capabilities)


def _endless(rng: random.Random, values: tuple[Any, ...]) -> Iterator[Any]:
    """Run through the values again and again, each time in a new order."""
    order = list(values)
    while True:
        rng.shuffle(order)
        yield from order


def _decay(decays: Iterator[float], later: list[float], dtype: str) -> float:
    """The next decay. A type may have one spec alone: a decay at which nothing moves waits for one of float32."""
    if dtype == "float32":
        return later.pop() if later else next(decays)
    for decay in decays:
        if decay < 1:
            return decay
        later.append(decay)
    raise AssertionError("the decays have no end")


def _simplicity(spec: Spec) -> tuple[object, ...]:
    """Simple specs come first, so that shrinking ends there."""
    channels = math.prod(spec.parameter_shape)
    return (
        spec.rank == 1,
        spec.rank,
        len(spec.axis),
        spec.dtype != "float32",
        channels,
        not (spec.center and spec.scale),
        EPSILONS.index(spec.epsilon) if spec.epsilon in EPSILONS else len(EPSILONS),
        spec.axis[0] < 0,
    )


def stratum_choices(stratum: Stratum, specs: tuple[Spec, ...]) -> tuple[int, ...]:
    """The choices by which ``cases`` draws this stratum."""
    first = specs.index(stratum.spec), ADVERSARIAL.index(stratum.adversarial), EXTENTS.index(stratum.extents)
    return (*first, stratum.program)


def _certain_spec(specs: tuple[Spec, ...], number: int) -> Spec:
    """The spec that a certain program is run on: of all flags in turn, and one that nearly all implementations allow.

    One in five is of float64, where what is kept or saved in float32 loses digits; one has several axes.
    """
    single = [spec for spec in specs if len(spec.axis) == 1]
    if number == _ON_SEVERAL:
        chosen = [spec for spec in specs if len(spec.axis) > 1]
    else:
        chosen = [spec for spec in single if spec.dtype == ("float64" if number % 5 == 1 else "float32")]
    chosen = chosen or [spec for spec in single if spec.dtype == "float32"] or list(specs)
    flags = [[s for s in chosen if (s.center, s.scale) == (c, k)] for c in (True, False) for k in (True, False)]
    such = [specs_of_flags for specs_of_flags in flags if specs_of_flags]
    turn, place = divmod(number, len(such))
    return such[place][turn % len(such[place])]


def _has_room(spec: Spec) -> bool:
    """Whether inputs can be images: two free axes beside the batch's, and few enough channels."""
    return spec.shape.count(None) >= 3 and math.prod(spec.parameter_shape) <= MOST_OF_IMAGES


def strata(
    specs: tuple[Spec, ...], count: int, seed: int, certain: int = 0, variety: Variety = USUAL
) -> dict[Stratum, int]:
    """Spread ``count`` cases: every spec as often, one case in four adversarial, one in ten with m = 1.

    Four in twenty have an extent that equals the number of channels, where confused axes go unnoticed by their shape;
    one in twenty has a large extent. A stratum gets several cases, since starting Hypothesis costs as much as a few.

    The first ``certain`` cases have one of as many programs each.
    """
    rng = random.Random(f"{seed}/strata")
    adversarial = _endless(rng, (False, False, False, True))
    extents = _endless(rng, variety.extents)
    pool = _endless(rng, specs)
    each = max(1, min(4, count // len(specs)))
    first = range(min(certain, count // 2))
    spread = {Stratum(_certain_spec(specs, number), program=number): 1 for number in first}
    count -= len(spread)
    drawn: list[tuple[Stratum, int]] = []
    while count > 0:
        stratum = Stratum(next(pool), next(adversarial), next(extents))
        wanted = min(each, count)
        if stratum.extents == "huge":
            # One of them is enough, and needs few channels to be one.
            fewest = min(specs, key=lambda spec: (not spec.reduction_axes, math.prod(spec.parameter_shape)))
            stratum, wanted = stratum._replace(spec=fewest), 1
        drawn.append((stratum, wanted))
        count -= wanted
    for stratum, wanted in _given_room(drawn):
        spread[stratum] = spread.get(stratum, 0) + wanted
    return spread


def _given_room(drawn: list[tuple[Stratum, int]]) -> list[tuple[Stratum, int]]:
    """The strata, those of images on specs that have room for them: exchanged for those of free extents."""
    result = list(drawn)
    for place, (stratum, wanted) in enumerate(drawn):
        if stratum.extents != "images" or _has_room(stratum.spec):
            continue
        for other, (free, as_many) in enumerate(result):
            if free.extents == "free" and _has_room(free.spec) and as_many == wanted:
                result[other] = (free._replace(spec=stratum.spec), wanted)
                result[place] = (stratum._replace(spec=free.spec), wanted)
                break
    return result
