"""Hypothesis strategies that draw cases: meaning rather than raw floats, simple things first so that they shrink well.

Three cases in four are mild: offsets of at most two spreads, spreads around one and around the square root of epsilon,
small m, where faults show best. One in four is adversarial: large offsets and scales, outliers, constants, rounding
noise. Specs come from a pool, since a new graph costs a hundred times as much as a step.
"""

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

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
SEVERAL = ((3, (1, 2)), (4, (-1, 1)), (5, (3, -4, 2)))
#: Extents of the large stratum: around powers of two, where blocks and tails of a kernel begin.
LARGE = (512, 513, 1023, 1025, 2049, 4096)
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
        Family(3, "Running statistics", 6, 2, ("train", "train", "infer"), programs=(*SET[:2], ("train",) * 12)),
        Family(4, "Gradients", 3, 6, ("train", "train", "infer"), ("train", "infer")),
        Family(7, "State and modes", 6, 2, FREE, FREE, STALE + SET + TWO_LAYERS, layers=2, repeats=True),
    )
}


def spec_pool(family: int, seed: int, size: int = 24, ranks: Iterable[int] = (2, 3, 4, 5)) -> tuple[Spec, ...]:
    """Specs for one family: every rank with every axis, and each epsilon, decay, flag and channel count often.

    Each property runs through its values in an order of its own, so that all of them occur, in ever new combinations.
    """
    rng = random.Random(f"{seed}/{family}")
    places = [(rank, axis) for rank in ranks for axis in {-1, 1, 0, rank - 2, -rank, 1 - rank} if axis < rank]
    several = [(rank, axis) for rank, axis in SEVERAL if rank in ranks]
    rng.shuffle(places)
    # A third of the places comes twice, with other parameters: what an implementation keeps by shape must not mix them.
    places = [*[(rank, (axis,)) for rank, axis in places[: 2 * size // 3 - 2]], *several[:2]]
    rng.shuffle(places)
    columns = [
        _endless(rng, values) for values in (CHANNELS, EPSILONS, DECAYS, (True, True, False), (True, False, True))
    ]
    specs = []
    for rank, axis in itertools.islice(itertools.cycle(places), size):
        channels, epsilon, decay, center, scale = (next(column) for column in columns)
        shape: list[int | None] = [None] * rank
        for place, extent in zip(axis, (channels if len(axis) == 1 else min(channels, 5), 2, 3), strict=False):
            shape[place] = extent
        specs.append(Spec(tuple(shape), axis, epsilon, decay, center, scale))
    return tuple(sorted(specs, key=_simplicity))


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


@st.composite
def sizes(draw: st.DrawFn, rank: int, extents: Extents, channels: int) -> tuple[int, ...]:
    """Draw extents of the axes that are reduced; e.g. ``(17, 3, 2)``."""
    reduced = rank - 1
    if extents == "one":
        return (1,) * reduced
    if extents == "as channels" and channels**reduced <= CUBE:
        return (channels,) * reduced
    if extents == "free" and reduced == 1:
        return (draw(st.sampled_from(BATCHES), label="batch"),)
    chosen = [draw(st.sampled_from(SMALL_BATCHES), label="batch")]
    for _ in range(reduced - 1):
        extent = draw(st.sampled_from(SPATIAL), label="extent")
        chosen.append(extent if math.prod(chosen) * extent * channels <= LARGEST else 1)
    which = draw(st.integers(0, reduced - 1), label="which") if extents != "free" and reduced > 1 else 0
    if extents == "as channels":
        chosen[which] = channels
    if extents == "large":
        chosen = [1 if k else min(extent, 2) for k, extent in enumerate(chosen)]
        chosen[which] = draw(st.sampled_from(LARGE), label="large")
    return tuple(chosen)


@st.composite
def mild_channels(draw: st.DrawFn, epsilon: float) -> Channel:
    """Draw a channel with |offset| <= 2 spreads and a spread that shows epsilon or is about one."""
    root = math.sqrt(epsilon)
    return Channel(
        draw(st.sampled_from(MILD_PATTERNS), label="pattern"),
        draw(st.integers(-16, 16), label="offset") / 8,
        draw(st.sampled_from((1.0, root, 3 * root, root / 3, 0.125, 8.0)), label="spread"),
    )


@st.composite
def adversarial_channels(draw: st.DrawFn) -> Channel:
    """Draw a channel with a large offset, an extreme scale, or data that round badly."""
    pattern = draw(st.sampled_from(ADVERSARIAL_PATTERNS), label="pattern")
    decade = draw(st.integers(0, 14), label="offset in half decades") / 2
    offset = draw(st.sampled_from((0.0, 1.0, -1.0)), label="sign of the offset") * 10.0**decade
    exponent = draw(st.sampled_from((0, 0, 0, 8, -8, 24, -24, 50, -50)), label="binary exponent of the scale")
    return Channel(pattern, offset, 2.0**exponent)


@st.composite
def inputs(draw: st.DrawFn, stratum: Stratum, of_sizes: tuple[int, ...] | None) -> Drawn:
    """Draw an input: up to three channel recipes and a seed."""
    spec = stratum.spec
    count = math.prod(spec.parameter_shape)
    channel = adversarial_channels() if stratum.adversarial else mild_channels(spec.epsilon)
    channels = tuple(draw(channel, label=f"channel {k}") for k in range(min(3, count)))
    if of_sizes is None:
        reduced = len(spec.reduction_axes)
        of_sizes = draw(sizes(reduced + 1, stratum.extents, spec.parameter_shape[0]), label="sizes")
    return Drawn(of_sizes, channels, draw(st.integers(0, 4095), label="seed"))


@st.composite
def gradients(draw: st.DrawFn) -> Gradient:
    """Draw an upstream gradient, random in three cases of four: one that is constant in x proves nothing."""
    pattern = draw(st.sampled_from(("normal", "normal", "integers", "one-hot", "one-signed")), label="gradient")
    scale = draw(st.sampled_from((1.0, 1.0, 2.0**-10, 1e3)), label="scale of the gradient")
    return Gradient(pattern, scale, draw(st.integers(0, 4095), label="seed of the gradient"))


@st.composite
def starts(draw: st.DrawFn) -> Start:
    """Draw a starting state."""
    return Start(
        draw(st.sampled_from(("plain", "distinct", "mixed")), label="gamma"),
        draw(st.sampled_from(("plain", "distinct", "mixed")), label="beta"),
        draw(st.sampled_from(("plain", "random", "near")), label="moving mean"),
        draw(st.sampled_from(("plain", "random", "near")), label="moving variance"),
        draw(st.integers(0, 4095), label="seed of the state"),
    )


@st.composite
def partial_states(draw: st.DrawFn) -> Start:
    """Draw a state to set mid-run; some parameters are left as they are."""
    start = draw(starts(), label="state")
    keep = [draw(st.booleans(), label="leave") for _ in range(4)]
    values = (start.gamma, start.beta, start.moving_mean, start.moving_variance)
    return Start(*(None if k else v for k, v in zip(keep, values, strict=True)), seed=start.seed)


@st.composite
def programs(draw: st.DrawFn, family: Family) -> tuple[tuple[str, int], ...]:
    """Draw the operations of a program and the layers they act on; e.g. ``(("train", 0), ("infer", 0))``."""
    fixed = draw(st.sampled_from(((), *family.programs)), label="program") if draw(_half(family), label="fixed") else ()
    if fixed:
        return tuple((op.removesuffix("1"), int(op.endswith("1"))) for op in fixed)
    count = draw(st.integers(1, family.longest), label="steps")
    steps = []
    for number in range(count):
        op = draw(st.sampled_from(family.ops if number else family.first), label="operation")
        steps.append((op, draw(st.integers(0, family.layers - 1), label="layer") if family.layers > 1 else 0))
    return tuple(steps)


def _half(family: Family) -> st.SearchStrategy[bool]:
    return st.booleans() if family.programs else st.just(False)


@st.composite
def instructions(
    draw: st.DrawFn, family: Family, stratum: Stratum, op: str, layer: int, previous: list[Instruction]
) -> Instruction:
    """Draw a step of this operation on this layer."""
    if op == "set_state":
        return SetState(draw(partial_states(), label="state"), layer)
    if op == "get_state":
        return GetState(layer)
    x = draw(_step_inputs(stratum, previous), label="x")
    wanted = draw(st.integers(0, family.without_gradients - 1), label="gradients")
    dy = draw(gradients(), label="dy") if wanted else None
    return Train(x, dy, layer) if op == "train" else Infer(x, dy, layer)


@st.composite
def _step_inputs(draw: st.DrawFn, stratum: Stratum, previous: list[Instruction]) -> Drawn:
    """Draw an input of the last step's sizes (a fresh one half of the time), or now and then the last input itself."""
    last = next((p.x for p in reversed(previous) if isinstance(p, Train | Infer)), None)
    if not isinstance(last, Drawn):
        return draw(inputs(stratum, None))
    choice = draw(st.sampled_from(("same sizes", "new sizes", "same sizes", "new sizes", "same input")), label="sizes")
    if choice == "same input":
        return last
    return draw(inputs(stratum, last.sizes if choice == "same sizes" else None))


@st.composite
def cases_of(draw: st.DrawFn, family: Family, stratum: Stratum) -> Case:
    """Draw a case of a family and stratum; e.g. a training step on a (17, 3) input, then inference."""
    read = "end" if draw(st.integers(0, 3), label="read at the end only") == 3 else "every"
    repeat = family.repeats and draw(st.booleans(), label="repeat")
    program: list[Instruction] = []
    for op, layer in draw(programs(family), label="program"):
        program.append(draw(instructions(family, stratum, op, layer, program), label="step"))
    states = tuple(draw(starts(), label="start") for _ in range(family.layers))
    return Case(stratum.spec, states, tuple(program), read, repeat)


@st.composite
def cases(draw: st.DrawFn, family: Family, specs: tuple[Spec, ...]) -> Case:
    """Draw a case of a family, its spec from the pool. The first three choices are those of ``stratum_choices``."""
    spec = draw(st.sampled_from(specs), label="spec")
    adversarial = draw(st.sampled_from(ADVERSARIAL), label="adversarial")
    extents = draw(st.sampled_from(EXTENTS), label="extents")
    return draw(cases_of(family, Stratum(spec, adversarial, extents)))


def stratum_choices(stratum: Stratum, specs: tuple[Spec, ...]) -> tuple[int, int, int]:
    """The choices by which ``cases`` draws this stratum."""
    return specs.index(stratum.spec), ADVERSARIAL.index(stratum.adversarial), EXTENTS.index(stratum.extents)


def strata(specs: tuple[Spec, ...], count: int, seed: int) -> dict[Stratum, int]:
    """Spread ``count`` cases: every spec as often, one case in four adversarial, one in fourteen with m = 1.

    Two in fourteen have an extent that equals the number of channels, where confused axes go unnoticed by their shape;
    one in fourteen has a large extent.
    """
    rng = random.Random(f"{seed}/strata")
    adversarial = _endless(rng, (False, False, False, True))
    extents = _endless(rng, ("free",) * 10 + ("as channels",) * 2 + ("one", "large"))
    pool = _endless(rng, specs)
    spread: dict[Stratum, int] = {}
    for _ in range(count):
        stratum = Stratum(next(pool), next(adversarial), next(extents))
        spread[stratum] = spread.get(stratum, 0) + 1
    return spread
