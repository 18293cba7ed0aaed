"""Hypothesis strategies that draw cases: meaning rather than raw floats, simple things first so that they shrink well.

Three cases in four are mild: offsets of at most two spreads, spreads around one and around the square root of epsilon,
small m, where faults show best. One in four is adversarial: large offsets and scales, outliers, constants, rounding
noise. Specs come from a pool, since a new graph costs a hundred times as much as a step.
"""

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec
from hypothesis import strategies as st

from adapters.interface import Spec
from conformance.case import (
    Case,
    Channel,
    Drawn,
    GetState,
    Gradient,
    Infer,
    Instruction,
    SetState,
    Start,
    Train,
)

EPSILONS = (1e-3, 1e-5, 1.0, 2.0**-10, 1e-8, 0.1, 1e-12)
DECAYS = (0.5, 0.9, 0.99, 0.0, 1.0, 0.875, 1 - 2.0**-7, 0.999)
CHANNELS = (3, 1, 2, 4, 16, 5, 7, 8, 17, 6, 12, 33, 9, 65)
BATCHES = (2, 3, 4, 5, 1, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200, 255, 256)
SMALL_BATCHES = (2, 3, 1, 4, 5, 7, 8, 11, 16)
SPATIAL = (2, 1, 3, 4, 5, 7)
#: Positions up to which all extents are made equal to the number of channels, rather than one of them.
CUBE = 700
#: Sets of several channel axes, with their rank, for those who declare them.
SEVERAL: tuple[tuple[int, tuple[int, ...]], ...] = ((3, (1, 2)), (4, (-1, 1)), (5, (3, -4, 2)))
#: Extents of the large stratum: around powers of two, where blocks and tails of a kernel begin.
LARGE = (257, 512, 513, 1023, 1025, 2049, 4096)
#: Elements that a large case stays under, as far as its channels allow.
LARGEST_OF_ALL = 12_000
#: Elements that a case stays under, except for the large ones.
LARGEST = 6000
ADVERSARIAL_PATTERNS = ("normal", "constant", "outlier", "ulp", "heavy", "lognormal", "clusters", "alternating")
MILD_PATTERNS = ("exact", "normal", "uniform", "alternating", "normal", "clusters", "lognormal", "constant")


#: How the extents of the reduced axes come about: drawn freely, equal to the number of channels, all one (m = 1), or
#: one of them large.
Extents = Literal["free", "as channels", "one", "large"]


class Stratum(NamedTuple):
    """What is spread evenly over a pool, since Hypothesis's own draws come in clumps."""

    spec: Spec
    adversarial: bool = False
    extents: Extents = "free"


ADVERSARIAL = (False, True)
EXTENTS: tuple[Extents, ...] = ("free", "as channels", "one", "large")


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


STALE = (
    ("train", "infer"),
    ("infer", "train", "infer"),
    ("infer", "set_state", "infer"),
    ("train", "set_state", "infer"),
    ("infer", "infer", "train", "train", "infer"),
)
SET = (
    ("train", "set_state", "train"),
    ("train", "set_state", "infer", "train", "infer"),
    ("set_state", "get_state", "train", "get_state"),
)
TWO_LAYERS = (
    ("train", "train1", "infer", "infer1"),
    ("infer", "set_state1", "train1", "infer", "train"),
    ("train", "infer1", "train", "infer1", "get_state"),
)
FREE = ("train", "infer", "train", "infer", "set_state", "get_state")

FAMILIES = {
    family.number: family
    for family in (
        Family(1, "Normalization in training", 3, 2, ("train", "train", "infer")),
        Family(2, "Inference", 4, 2, ("infer", "train", "infer", "set_state", "get_state"), ("infer", "train"), STALE),
        Family(3, "Running statistics", 6, 2, ("train", "train", "infer"), programs=(*SET[:2], ("train",) * 8)),
        Family(4, "Gradients", 3, 6, ("train", "train", "infer"), ("train", "infer")),
        Family(7, "State and modes", 6, 2, FREE, FREE, STALE + SET + TWO_LAYERS, layers=2, repeats=True),
    )
}


def spec_pool(family: int, seed: int, size: int = 24, ranks: Iterable[int] = (2, 3, 4, 5)) -> tuple[Spec, ...]:
    """Specs for one family: every rank with most of its axes, and each epsilon, decay, flag and channel count often.

    Each property runs through its values in an order of its own, so that all of them occur, in ever new combinations.
    """
    rng = random.Random(f"{seed}/{family}")
    places = [(rank, (axis,)) for rank in ranks for axis in _single(rank)]
    several = [(rank, axis) for rank, axis in SEVERAL if rank in ranks]
    rng.shuffle(places)
    # A third of the places comes twice, with other parameters: what an implementation keeps by shape must not mix them.
    chosen = [*places[: 2 * size // 3 - 2], *several[:2]]
    rng.shuffle(chosen)
    columns = [
        _endless(rng, values) for values in (CHANNELS, EPSILONS, DECAYS, (True, True, False), (True, False, True))
    ]
    specs = []
    for rank, axis in itertools.islice(itertools.cycle(chosen), size):
        channels, epsilon, decay, center, scale = (next(column) for column in columns)
        shape: list[int | None] = [None] * rank
        for place, extent in zip(axis, (channels if len(axis) == 1 else min(channels, 5), 2, 3), strict=False):
            shape[place] = extent
        specs.append(Spec(tuple(shape), axis, epsilon, decay, center, scale))
    return tuple(sorted(specs, key=_simplicity))


def _single(rank: int) -> list[int]:
    """Single channel axes as users write them: the first, second, middle and last ones, from both ends."""
    return sorted({axis for axis in (-1, 1, 0, rank - 2, rank // 2, -rank, 1 - rank) if axis < rank})


def _endless(rng: random.Random, values: tuple[Any, ...]) -> Iterator[Any]:
    """Run through the values again and again, each time in a new order."""
    order = list(values)
    while True:
        rng.shuffle(order)
        yield from order


def _simplicity(spec: Spec) -> tuple[object, ...]:
    """Simple specs come first, so that shrinking ends there."""
    channels = math.prod(spec.parameter_shape)
    return (
        spec.rank,
        len(spec.axis),
        channels,
        not (spec.center and spec.scale),
        EPSILONS.index(spec.epsilon),
        spec.axis[0] < 0,
    )


@cache
def among(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """One of these. Made once each: making a strategy costs as much as several draws from it."""
    return st.sampled_from(values)


@cache
def whole(low: int, high: int) -> st.SearchStrategy[int]:
    """A whole number of this range."""
    return st.integers(low, high)


def sizes(draw: st.DrawFn, rank: int, extents: Extents, channels: int) -> tuple[int, ...]:
    """Draw extents of the axes that are reduced; e.g. ``(17, 3, 2)``."""
    reduced = rank - 1
    if extents == "one":
        return (1,) * reduced
    if extents == "as channels" and channels**reduced <= CUBE:
        return (channels,) * reduced
    if extents == "free" and reduced == 1:
        return (draw(among(BATCHES), label="batch"),)
    chosen = [draw(among(SMALL_BATCHES), label="batch")]
    for _ in range(reduced - 1):
        extent = draw(among(SPATIAL), label="extent")
        chosen.append(extent if math.prod(chosen) * extent * channels <= LARGEST else 1)
    which = draw(whole(0, reduced - 1), label="which") if extents != "free" and reduced > 1 else 0
    if extents == "as channels":
        chosen[which] = channels
    if extents == "large":
        chosen = [2 if k == 0 else 1 for k in range(reduced)]
        fitting = tuple(extent for extent in LARGE if extent * channels * chosen[0] <= LARGEST_OF_ALL)
        chosen[which] = draw(among(fitting or LARGE[:1]), label="large")
    return tuple(chosen)


def mild_channels(draw: st.DrawFn, epsilon: float) -> Channel:
    """Draw a channel with |offset| <= 2 spreads and a spread that shows epsilon or is about one."""
    root = math.sqrt(epsilon)
    return Channel(
        draw(among(MILD_PATTERNS), label="pattern"),
        draw(whole(-16, 16), label="offset") / 8,
        draw(among((1.0, root, 3 * root, root / 3, 0.125, 8.0)), label="spread"),
    )


def adversarial_channels(draw: st.DrawFn) -> Channel:
    """Draw a channel with a large offset, an extreme scale, or data that round badly."""
    pattern = draw(among(ADVERSARIAL_PATTERNS), label="pattern")
    decade = draw(whole(0, 14), label="offset in half decades") / 2
    offset = draw(among((0.0, 1.0, -1.0)), label="sign of the offset") * 10.0**decade
    exponent = draw(among((0, 0, 0, 8, -8, 24, -24, 50, -50)), label="binary exponent of the scale")
    return Channel(pattern, offset, 2.0**exponent)


def inputs(draw: st.DrawFn, stratum: Stratum) -> Drawn:
    """Draw an input: up to three channel recipes and a seed."""
    spec = stratum.spec
    count = math.prod(spec.parameter_shape)
    kinds = range(min(3, count))
    if stratum.adversarial:
        channels = tuple(adversarial_channels(draw) for _ in kinds)
    else:
        channels = tuple(mild_channels(draw, spec.epsilon) for _ in kinds)
    extents = sizes_of(draw, stratum)
    return Drawn(extents, channels, draw(whole(0, 4095), label="seed"))


def sizes_of(draw: st.DrawFn, stratum: Stratum) -> tuple[int, ...]:
    """Draw extents for a stratum."""
    spec = stratum.spec
    return sizes(draw, len(spec.reduction_axes) + 1, stratum.extents, spec.parameter_shape[0])


def gradients(draw: st.DrawFn) -> Gradient:
    """Draw an upstream gradient, random in three cases of four: one that is constant in x proves nothing."""
    pattern = draw(among(("normal", "normal", "integers", "one-hot", "one-signed")), label="gradient")
    scale = draw(among((1.0, 1.0, 2.0**-10, 1e3)), label="scale of the gradient")
    return Gradient(pattern, scale, draw(whole(0, 4095), label="seed of the gradient"))


def starts(draw: st.DrawFn) -> Start:
    """Draw a starting state."""
    return Start(
        draw(among(("plain", "distinct", "mixed")), label="gamma"),
        draw(among(("plain", "distinct", "mixed")), label="beta"),
        draw(among(("plain", "random", "near")), label="moving mean"),
        draw(among(("plain", "random", "near")), label="moving variance"),
        draw(whole(0, 4095), label="seed of the state"),
    )


def partial_states(draw: st.DrawFn) -> Start:
    """Draw a state to set mid-run; some parameters are left as they are."""
    start = starts(draw)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    left = [name for name in names if draw(among((False, True)), label=f"leave {name}")]
    return msgspec.structs.replace(start, **dict.fromkeys(left))


def programs(draw: st.DrawFn, family: Family) -> tuple[tuple[str, int], ...]:
    """Draw the operations of a program and the layers they act on; e.g. ``(("train", 0), ("infer", 0))``."""
    fixed: tuple[str, ...] = ()
    if family.programs and draw(among((False, True)), label="fixed"):
        fixed = draw(among(family.programs), label="program")
    if fixed:
        return tuple((op.removesuffix("1"), int(op.endswith("1"))) for op in fixed)
    count = draw(whole(1, family.longest), label="steps")
    steps = []
    for number in range(count):
        op = draw(among(family.ops if number else family.first), label="operation")
        steps.append((op, draw(whole(0, family.layers - 1), label="layer") if family.layers > 1 else 0))
    return tuple(steps)


@st.composite
def instructions(
    draw: st.DrawFn, family: Family, stratum: Stratum, op: str, layer: int, previous: list[Instruction]
) -> Instruction:
    """Draw a step of this operation on this layer."""
    if op == "set_state":
        return SetState(partial_states(draw), layer)
    if op == "get_state":
        return GetState(layer)
    x = _step_inputs(draw, stratum, previous)
    wanted = draw(whole(0, family.without_gradients - 1), label="gradients")
    dy = gradients(draw) if wanted else None
    return Train(x, dy, layer) if op == "train" else Infer(x, dy, layer)


def _step_inputs(draw: st.DrawFn, stratum: Stratum, previous: list[Instruction]) -> Drawn:
    """Draw an input like the last one but for its values, or of other sizes, or all new, or now and then the same."""
    last = next((p.x for p in reversed(previous) if isinstance(p, Train | Infer)), None)
    if not isinstance(last, Drawn):
        return inputs(draw, stratum)
    choice = draw(among(("values", "sizes", "all", "values", "sizes", "nothing")), label="new")
    if choice == "nothing":
        return last
    if choice == "all":
        return inputs(draw, stratum)
    extents = sizes_of(draw, stratum) if choice == "sizes" else last.sizes
    return Drawn(extents, last.channels, draw(whole(0, 4095), label="seed"))


@st.composite
def cases_of(draw: st.DrawFn, family: Family, stratum: Stratum) -> Case:
    """Draw a case of a family and stratum; e.g. a training step on a (17, 3) input, then inference."""
    read: Literal["every", "end"] = "end" if draw(whole(0, 3), label="read at the end only") == 3 else "every"
    repeat = family.repeats and draw(among((False, True)), label="repeat")
    program: list[Instruction] = []
    for op, layer in programs(draw, family):
        program.append(draw(instructions(family, stratum, op, layer, program), label="step"))
    states = tuple(starts(draw) for _ in range(family.layers))
    return Case(stratum.spec, states, tuple(program), read, repeat)


@st.composite
def cases(draw: st.DrawFn, family: Family, specs: tuple[Spec, ...]) -> Case:
    """Draw a case of a family, its spec from the pool. The first three choices are those of ``stratum_choices``."""
    spec = draw(among(specs), label="spec")
    adversarial = draw(among(ADVERSARIAL), label="adversarial")
    extents = draw(among(EXTENTS), label="extents")
    return draw(cases_of(family, Stratum(spec, adversarial, extents)))


def stratum_choices(stratum: Stratum, specs: tuple[Spec, ...]) -> tuple[int, int, int]:
    """The choices by which ``cases`` draws this stratum."""
    return specs.index(stratum.spec), ADVERSARIAL.index(stratum.adversarial), EXTENTS.index(stratum.extents)


def strata(specs: tuple[Spec, ...], count: int, seed: int) -> dict[Stratum, int]:
    """Spread ``count`` cases: every spec as often, one case in four adversarial, one in ten with m = 1.

    Four in twenty have an extent that equals the number of channels, where confused axes go unnoticed by their shape;
    one in twenty has a large extent. A stratum gets several cases, since starting Hypothesis costs as much as a few.
    """
    rng = random.Random(f"{seed}/strata")
    adversarial = _endless(rng, (False, False, False, True))
    extents = _endless(rng, ("free",) * 13 + ("as channels",) * 4 + ("one",) * 2 + ("large",))
    pool = _endless(rng, specs)
    each = max(1, min(4, count // len(specs)))
    spread: dict[Stratum, int] = {}
    while count > 0:
        stratum = Stratum(next(pool), next(adversarial), next(extents))
        spread[stratum] = spread.get(stratum, 0) + min(each, count)
        count -= each
    return spread
