"""Hypothesis strategies that draw cases: meaning rather than raw floats, simple things first so that they shrink well.

Three cases in four are mild: offsets of at most two spreads, spreads around one and around the square root of epsilon,
small m, where faults show best. One in four is adversarial: large offsets and scales, outliers, constants, rounding
noise. The numerics family draws its data from ``conformance.ladders``.
"""

import math

import msgspec
from hypothesis import strategies as st

from adapters.interface import Spec, State
from conformance import ladders
from conformance._draws import among, whole
from conformance._layouts import LAYOUTS, Layout
from conformance.case import (
    ApplyUpdates,
    Backward,
    Case,
    Channel,
    Drawn,
    GetState,
    Gradient,
    Infer,
    Instruction,
    Meanwhile,
    Reload,
    SecondOrder,
    SetState,
    Start,
    Train,
)
from conformance.families import Family, Planned, planned
from conformance.specs import ADVERSARIAL, EXTENTS, Stratum
from conformance.variety import AROUND_VECTORS, Extents

BATCHES = (2, 3, 4, 5, 1, 6, 7, 8, 9, 10, 12, 15, 16, 17, 20, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200, 256)
SMALL_BATCHES = (2, 3, 1, 4, 5, 6, 7, 8, 10, 12, 16)
SPATIAL = (2, 1, 3, 4, 5, 6, 7, 8)
#: Positions up to which all extents are made equal to the number of channels, rather than one of them.
CUBE = 700
#: Extents of the large stratum: around powers of two, where blocks and tails of a kernel begin.
LARGE = (257, 512, 513, 1023, 1025, 2048, 2049, 4097, 8193)
#: Extents of which one is enough in a run: beyond 16 bits, where counters and blocks of blocks end.
HUGE = (40_000, 32_769, 65_537, 65_536)
#: Extents of images, and elements that a batch of them stays under.
IMAGES, LARGEST_IMAGES = (32, 28, 33, 56, 17, 64, 65), 30_000
#: Elements that a huge case stays under.
HUGEST = 140_000
#: With more channels than this, other extents stay small.
MANY_CHANNELS = 100
#: Elements that a large case stays under, as far as its channels allow.
LARGEST_OF_ALL = 12_000
#: Elements that a case stays under, except for the large ones.
LARGEST = 6000
ADVERSARIAL_PATTERNS = ("normal", "constant", "outlier", "ulp", "heavy", "lognormal", "clusters", "alternating")
MILD_PATTERNS = (
    "exact",
    "normal",
    "uniform",
    "alternating",
    "normal",
    "clusters",
    "lognormal",
    "constant",
    "rectified",
    "bytes",
)
GRADIENTS = ("normal",) * 5 + ("integers", "one-hot", "one-signed", "negative", "normal", "ones", "zeros", "input")
PARAMETER_NAMES = State._fields[:4]
PARAMETERS = ("plain", "distinct", "mixed", *("distinct", "mixed", "plain") * 4, "negative", "negative", "zeros")


def sizes(draw: st.DrawFn, rank: int, extents: Extents, channels: int) -> tuple[int, ...]:
    """Draw extents of the axes that are reduced; e.g. ``(17, 3, 2)``."""
    reduced = rank - 1
    if extents == "one" or not reduced:
        return (1,) * reduced
    if extents in ("vector", "huge") or (extents != "free" and channels > MANY_CHANNELS):
        return around_vectors(draw, reduced, channels, huge=extents == "huge")
    if extents == "images":
        return images(draw, reduced, channels)
    if extents == "as channels" and channels**reduced <= CUBE:
        return (channels,) * reduced
    if extents == "free" and reduced == 1:
        return (draw(among(BATCHES if channels <= MANY_CHANNELS else SMALL_BATCHES), label="batch"),)
    chosen = [draw(among(SMALL_BATCHES), label="batch")]
    for _ in range(reduced - 1):
        extent = draw(among(SPATIAL), label="extent")
        chosen.append(extent if math.prod(chosen) * extent * channels <= LARGEST else 1)
    which = draw(whole(0, reduced - 1), label="which") if extents != "free" and reduced > 1 else 0
    # Beside a long extent the others are short.
    if extents == "large" or (extents == "as channels" and math.prod(chosen) * channels**2 > LARGEST_OF_ALL):
        chosen = [2 if k == 0 else 1 for k in range(reduced)]
    if extents == "as channels":
        chosen[which] = channels
    if extents == "large":
        fitting = tuple(extent for extent in LARGE if extent * channels * chosen[0] <= LARGEST_OF_ALL)
        chosen[which] = draw(among(fitting or LARGE[:1]), label="large")
    return tuple(chosen)


def images(draw: st.DrawFn, reduced: int, channels: int) -> tuple[int, ...]:
    """Draw extents of a few large samples; e.g. ``(2, 33, 28)``. A single axis has them all."""
    chosen = [draw(among((2, 1, 3)), label="batch")]
    for _ in range(reduced - 1):
        room = LARGEST_IMAGES // (channels * math.prod(chosen))
        fitting = tuple(extent for extent in IMAGES if extent <= room)
        chosen.append(draw(among(fitting), label="extent of an image") if fitting else 1)
    return tuple(chosen) if reduced > 1 else (chosen[0] * draw(among(IMAGES), label="extent of an image"),)


def around_vectors(draw: st.DrawFn, reduced: int, channels: int, *, huge: bool) -> tuple[int, ...]:
    """Draw extents of which one is next to a vector's width or a power of two, the others small; e.g. ``(2, 129)``."""
    chosen = [draw(among((1, 2, 3)), label="extent") for _ in range(reduced)]
    which = draw(whole(0, reduced - 1), label="which")
    chosen[which] = 1
    room = (HUGEST if huge else LARGEST_OF_ALL) // (channels * math.prod(chosen))
    fitting = tuple(extent for extent in (HUGE if huge else AROUND_VECTORS) if extent <= room)
    chosen[which] = draw(among(fitting or AROUND_VECTORS[:4]), label="extent around a vector")
    return tuple(chosen)


def layouts_of(draw: st.DrawFn, family: Family) -> Layout:
    """Draw a layout, a third of them plain; all are where the family does not look at layouts."""
    if not family.variety.layouts:
        return "c"
    layout: Layout = draw(among(("c",) * 4 + LAYOUTS[1:]), label="layout")
    return layout


def mild_channels(draw: st.DrawFn, epsilon: float) -> Channel:
    """Draw a channel with |offset| <= 2 spreads and a spread that shows epsilon or is about one."""
    root = math.sqrt(epsilon)
    pattern = draw(among(MILD_PATTERNS), label="pattern")
    # What rectified units and images look like: an offset would make other data of them.
    offset = 0.0 if pattern in ("rectified", "bytes") else draw(whole(-16, 16), label="offset") / 8
    spreads = (1.0, root, 3 * root, root / 3, 0.125, 8.0)
    return Channel(pattern, offset, draw(among(spreads), label="spread"))


def adversarial_channels(draw: st.DrawFn) -> Channel:
    """Draw a channel with a large offset, an extreme scale, or data that round badly."""
    pattern = draw(among(ADVERSARIAL_PATTERNS), label="pattern")
    decade = draw(whole(0, 14), label="offset in half decades") / 2
    offset = draw(among((0.0, 1.0, -1.0)), label="sign of the offset") * 10.0**decade
    exponent = draw(among((0, 0, 0, 8, -8, 24, -24, 50, -50, -96)), label="binary exponent of the scale")
    return Channel(pattern, offset, 2.0**exponent)


def inputs(draw: st.DrawFn, family: Family, stratum: Stratum) -> Drawn:
    """Draw an input: up to three channel recipes, a seed and a layout."""
    spec = stratum.spec
    if family.ladders:
        ladder = draw(among(ladders.LADDERS), label="ladder")
        channels = ladders.channels(draw, ladder, spec)
        extents = ladders.extents(draw, spec) if ladder == "count" else sizes_of(draw, stratum)
        poison = ladders.poison(draw) if ladder == "poison" else ()
        return Drawn(extents, channels, draw(whole(0, 4095), label="seed"), poison=poison)
    count = math.prod(spec.parameter_shape)
    # Now and then all channels are alike: what looks at a whole input sees it then.
    kinds = range(1 if draw(whole(0, 3), label="alike") == 3 else min(3, count))
    if stratum.adversarial:
        channels = tuple(adversarial_channels(draw) for _ in kinds)
    else:
        channels = tuple(mild_channels(draw, spec.epsilon) for _ in kinds)
    extents = sizes_of(draw, stratum)
    return Drawn(extents, channels, draw(whole(0, 4095), label="seed"), layout=layouts_of(draw, family))


def sizes_of(draw: st.DrawFn, stratum: Stratum) -> tuple[int, ...]:
    """Draw extents for a stratum."""
    spec = stratum.spec
    drawn = sizes(draw, len(spec.reduction_axes) + 1, stratum.extents, spec.parameter_shape[0])
    known = [spec.shape[axis] for axis in spec.reduction_axes[1:]]
    if not known or None in known:
        return drawn
    fixed = tuple(extent or 1 for extent in known)
    most = (LARGEST_OF_ALL if stratum.extents == "large" else LARGEST) // math.prod((*fixed, *spec.parameter_shape))
    return (max(1, min(drawn[0], most)), *fixed)


def gradients(draw: st.DrawFn, family: Family) -> Gradient:
    """Draw an upstream gradient, mostly random: one that is constant, or the input itself, proves little."""
    pattern = draw(among(GRADIENTS), label="gradient")
    scale = draw(among((1.0, 1.0, 1.0, 2.0**-10, 1e3, 2.0**-30, 2.0**20)), label="scale of the gradient")
    seed = draw(whole(0, 4095), label="seed of the gradient")
    return Gradient(pattern, scale, seed, layout=layouts_of(draw, family))


def starts(draw: st.DrawFn, family: Family | None = None) -> Start:
    """Draw a starting state; now and then, where the family has ladders, one that is not finite everywhere."""
    poison = family is not None and family.ladders and draw(whole(0, 4), label="poisoned") == 4
    return Start(
        draw(among(PARAMETERS), label="gamma"),
        draw(among(PARAMETERS), label="beta"),
        draw(among(("plain", "random", "near")), label="moving mean"),
        draw(among(("plain", "random", "near")), label="moving variance"),
        draw(whole(0, 4095), label="seed of the state"),
        ladders.poisoned_state(draw) if poison else (),
        layouts_of(draw, family) if family is not None else "c",
    )


def partial_states(draw: st.DrawFn, family: Family) -> Start:
    """Draw a state to set mid-run, of finite numbers; some parameters are left as they are."""
    start = starts(draw, family._replace(ladders=False))
    left = [name for name in PARAMETER_NAMES if draw(among((False, True)), label=f"leave {name}")]
    return msgspec.structs.replace(start, **dict.fromkeys(left))


def only(start: Start, parameter: str) -> Start:
    """That parameter of a state; all others are left as they are. Gamma is not zero throughout: it is to be seen."""
    left = [name for name in PARAMETER_NAMES if name != parameter]
    seen = msgspec.structs.replace(start, gamma="distinct") if start.gamma == "zeros" else start
    return msgspec.structs.replace(seen, **dict.fromkeys(left))


def programs(draw: st.DrawFn, family: Family, certain: int = -1) -> tuple[Planned, ...]:
    """Draw the steps of a program; e.g. those of ``("train", "infer")``. ``certain`` is the number of one to take."""
    fixed: tuple[str, ...] = ()
    if certain >= 0:
        fixed = family.certain[certain]
    elif family.programs and draw(among((False, True)), label="fixed"):
        fixed = draw(among(family.programs), label="program")
    if fixed:
        return tuple(planned(step) for step in fixed)
    count = draw(whole(1, family.longest), label="steps")
    steps: list[Planned] = []
    for number in range(count):
        op = draw(among(family.ops if number else family.first), label="operation")
        layer = draw(whole(0, family.layers - 1), label="layer") if family.layers > 1 else 0
        steps.append(_free_step(draw, op, layer, steps))
    return tuple(steps)


def _free_step(draw: st.DrawFn, op: str, layer: int, steps: list[Planned]) -> Planned:
    """A step of that operation, or where it makes no sense after those steps a plain one.

    Nothing between a recorded step and its backward pass sets the state of their layer: frameworks differ in what that
    means, and some refuse it.
    """
    if op == "record":
        return Planned("train", layer, sum(step.tape >= 0 for step in steps))
    if op == "backward":
        since = max(
            (n for n, step in enumerate(steps) if step[:2] in (("set_state", layer), ("reload", layer))), default=-1
        )
        open_ = [step.tape for step in steps[since + 1 :] if step.layer == layer and step[0] == "train"]
        tapes = tuple(sorted({tape for tape in open_ if tape >= 0}))
        return Planned("backward", layer, draw(among(tapes), label="tape")) if tapes else Planned("train", layer)
    return Planned(op, layer)


@st.composite
def instructions(
    draw: st.DrawFn, family: Family, stratum: Stratum, step: Planned, previous: list[Instruction]
) -> Instruction:
    """Draw the step that is planned."""
    if step.op in ("again", "first"):
        return _repeated(previous, last=step.op == "again")
    if step.op == "set_state":
        return SetState(only(starts(draw), step.only) if step.only else partial_states(draw, family), step.layer)
    if step.op == "get_state":
        return GetState(step.layer)
    if step.op == "apply_updates":
        return ApplyUpdates(step.layer)
    if step.op == "reload":
        return Reload(step.through, step.layer)
    if step.op == "backward":
        return Backward(step.tape, gradients(draw, family), step.layer)
    x = _step_inputs(draw, family, stratum, previous)
    if step.op == "infer" and family.ladders and not x.poison and draw(whole(0, 2), label="poisoned") == 2:
        x = msgspec.structs.replace(x, poison=ladders.poison(draw))
    if step.op == "meanwhile":
        return Meanwhile(x, step.layer)
    if step.op == "second_order":
        return SecondOrder(x, gradients(draw, family), gradients(draw, family), step.layer)
    wanted = draw(whole(0, family.without_gradients - 1), label="gradients")
    alone = step.tape < 0 and step.times == 1 and (step.update or step.op == "train")
    dy = gradients(draw, family) if wanted and alone else None
    if dy is not None and family.ladders and draw(whole(0, 4), label="poisoned gradient") == 4:
        dy = msgspec.structs.replace(dy, poison=ladders.poison(draw))
    if step.op == "infer":
        return Infer(x, dy, step.layer, step.tape)
    return Train(x, dy, step.layer, step.update, step.tape, step.times)


def _repeated(previous: list[Instruction], *, last: bool) -> Instruction:
    """The first or last step that computed something, once more; recorded only once."""
    computed = [step for step in previous if isinstance(step, Train | Infer | Backward | SecondOrder)]
    if not computed:
        return GetState()
    step = computed[-1 if last else 0]
    return msgspec.structs.replace(step, tape=-1) if isinstance(step, Train | Infer) else step


def _step_inputs(draw: st.DrawFn, family: Family, stratum: Stratum, previous: list[Instruction]) -> Drawn:
    """Draw an input like the last one but for its values, or of other sizes, or all new, or now and then the same.

    Other sizes are those of an earlier input as often as new ones: training on batches of one size and inferring on
    those of another, in turn, is what users do.
    """
    before = [p.x for p in previous if isinstance(p, Train | Infer | SecondOrder) and isinstance(p.x, Drawn)]
    if not before:
        return inputs(draw, family, stratum)
    last = before[-1]
    choices = ("values", "sizes", "all", "values", "sizes", "nothing") if stratum.program < 0 else ("values", "sizes")
    choice = draw(among(choices), label="new")
    if choice == "nothing":
        return last
    if choice == "all":
        return inputs(draw, family, stratum)
    earlier = tuple(dict.fromkeys(x.sizes for x in before if x.sizes != last.sizes))
    if choice == "values":
        extents = last.sizes
    elif earlier and draw(among((True, False)), label="sizes of an earlier input"):
        extents = draw(among(earlier), label="earlier sizes")
    else:
        extents = sizes_of(draw, stratum)
    return Drawn(extents, last.channels, draw(whole(0, 4095), label="seed"), layout=layouts_of(draw, family))


@st.composite
def cases_of(draw: st.DrawFn, family: Family, stratum: Stratum) -> Case:
    """Draw a case of a family and stratum; e.g. a training step on a (17, 3) input, then inference."""
    certain = stratum.program >= 0
    unread = draw(whole(0, 3), label="read at the end only") == 3
    repeat = family.repeats and draw(among((False, True)), label="repeat")
    program: list[Instruction] = []
    steps = programs(draw, family, stratum.program)
    for step in steps:
        program.append(draw(instructions(family, stratum, step, program), label="step"))
    if certain:
        # Saving is dear: not thrice. One such program in three has nothing read between: reading may do what is due.
        saving = any(step.through != "state" for step in steps)
        repeat, unread = family.repeats and not saving, saving and stratum.program % 3 == 0
    layers = max(family.layers, *(1 + step.layer for step in steps))
    states = tuple(starts(draw, family) for _ in range(layers))
    return Case(stratum.spec, states, tuple(program), "end" if unread else "every", repeat)


@st.composite
def cases(draw: st.DrawFn, family: Family, specs: tuple[Spec, ...]) -> Case:
    """Draw a case of a family, its spec from the pool. The first choices are those of ``stratum_choices``."""
    spec = draw(among(specs), label="spec")
    adversarial = draw(among(ADVERSARIAL), label="adversarial")
    extents = draw(among(EXTENTS), label="extents")
    certain = draw(whole(-1, len(family.certain) - 1), label="certain program")
    return draw(cases_of(family, Stratum(spec, adversarial, extents, certain)))
