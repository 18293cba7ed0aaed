"""The zoo is sound: every fault really is one, and every correct variant agrees with the truth."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters.executor import execute
from adapters.interface import Array, BatchNormAdapter, Conventions, Spec, State
from adapters.loader import load
from adapters.numpy_reference import NumpyReference
from adapters.program import Call, Observation, Program, StepTrace
from adapters.wire import Built, End
from conformance.derive_shapes import empty_batch, single_element
from conformance.pool import draw
from conformance.zoo import FAULTS, VARIANTS, Fault, Variant
from conformance.zoo.declared import UpdateSeparate
from conformance.zoo.registry import EVERYTHING

FAMILIES = {"1", "2", "3", "4", "5", "6", "7", "8"}
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 17)
EPSILONS = (1e-12, 1e-8, 1e-5, 1e-4, 1e-3, 0.1, 1.0)
DECAYS = (0.0, 0.5, 0.875, 0.9, 0.99, 1.0)
SCALES = (1e-4, 1e-2, 0.3, 1.0, 3.0, 30.0)
#: Beyond what another order of summation changes on these data, below what the finest fault does.
TOLERANCE = 3e-6

#: The arrays that a program gave, whether it broke, and what was observed.
Outcome = tuple[tuple[Array | None, ...], str, tuple[Observation, ...]]


def outcome(adapter: BatchNormAdapter, program: Program) -> Outcome:
    """Run a program in this process, with capabilities that allow everything."""
    arrays: list[Array | None] = []
    observations: list[Observation] = []
    failure = ""
    with np.errstate(all="ignore"):
        for event in execute(adapter, program, EVERYTHING):
            states: list[State | None] = []
            if isinstance(event, Built):
                states = list(event.initial)
            elif isinstance(event, StepTrace):
                arrays += [] if event.step is None else list(event.step)
                states = [event.state]
            elif isinstance(event, End):
                states = list(event.final)
                failure = "" if event.failure is None else f"{event.failure.kind}: {event.failure.message}"
            if event is not None:
                observations += event.observations
            arrays += [a for state in states if state is not None for a in state[:4]]
    return tuple(arrays), failure, tuple(observations)


def far(found: Array | None, expected: Array | None, tolerance: float) -> bool:
    """Whether an array is missing, or further from another than that share of its largest element."""
    if found is None or expected is None:
        return found is not expected
    size = np.max(np.abs(expected), where=np.isfinite(expected), initial=0)
    with np.errstate(all="ignore"):
        return not np.allclose(found, expected, rtol=tolerance, atol=tolerance * size, equal_nan=True)


def types(arrays: tuple[Array | None, ...]) -> list[object]:
    """The element types of arrays."""
    return [a if a is None else a.dtype for a in arrays]


def differs(found: Outcome, expected: Outcome, tolerance: float) -> bool:
    """Whether two outcomes differ."""
    if found[1:] != expected[1:] or len(found[0]) != len(expected[0]):
        return True
    return any(far(a, b, tolerance) for a, b in zip(found[0], expected[0], strict=True))


class Draw:
    """Draws programs by a seeded generator: any rank and axis, steps of all kinds, mild data."""

    def __init__(self, seed: int, *, offset: float = 2.0, separate: bool = False, gap: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.offset = offset
        self.separate = separate
        self.gap = gap

    def choice(self, values: Any) -> Any:
        """One of the values."""
        return values[self.rng.integers(len(values))]

    def chance(self, p: float) -> bool:
        """Whether something happens that has this probability."""
        return bool(self.rng.random() < p)

    def spec(self) -> Spec:
        """A spec whose extents are free but for the channels'."""
        rank = int(self.rng.integers(2, 6))
        if rank > 2 and self.chance(0.1):
            first, second = sorted(self.rng.choice(rank, 2, replace=False).tolist(), reverse=True)
            axes: tuple[int, ...] = (first, second)
            channels = {first: 3, second: 2}
        else:
            axis = int(self.rng.integers(-rank, rank))
            axes = (axis,)
            channels = {axis % rank: 3 if self.chance(0.3) else self.choice(CHANNELS)}
        return Spec(
            tuple(channels.get(a) for a in range(rank)),
            axes,
            self.choice(EPSILONS),
            self.choice(DECAYS),
            center=self.chance(0.75),
            scale=self.chance(0.75),
        )

    def shape(self, spec: Spec) -> tuple[int, ...]:
        """An input's shape: now and then all extents alike, a single element, or many samples."""
        square, single = self.chance(0.3), self.chance(0.1)
        most = {2: 40, 3: 9, 4: 6, 5: 4}[spec.rank]
        shape = [
            extent or (1 if single else 3 if square else int(self.rng.integers(1, most + 1))) for extent in spec.shape
        ]
        if spec.rank == 2 and self.chance(0.2):
            shape[spec.reduction_axes[0]] = int(self.rng.integers(100, 300))
        return tuple(shape)

    def input(self, spec: Spec, shape: tuple[int, ...]) -> Array:
        """Normal data of other scale and offset in each channel, some constant, some with an outlier."""
        per_channel = tuple(n if a in spec.channel_axes else 1 for a, n in enumerate(shape))
        scale = self.rng.choice(SCALES, per_channel)
        x = scale * (self.rng.standard_normal(shape) + self.offset * self.rng.uniform(-1, 1, per_channel))
        if self.chance(0.15):
            x.flat[0] += 10 * x.std()
        x = np.where(self.rng.random(per_channel) < 0.1, 0.5 * self.rng.integers(-4, 5, per_channel), x)
        x = x.astype(np.float32)
        if self.gap:
            x.flat[-1] = np.nan
            x = np.asfortranarray(x)
        return x

    def parameters(self, spec: Spec) -> State:
        """A full state."""
        shape = spec.parameter_shape
        gamma = np.where(self.rng.random(shape) < 0.2, self.rng.choice([0.0, 0.05, 1.0], shape), self.normal(shape))
        variance = self.rng.choice([0.0, 1e-5, 1.0, 10.0], shape) * self.rng.uniform(0.1, 2, shape)
        return State(
            gamma.astype(np.float32) if spec.scale else None,
            self.normal(shape) if spec.center else None,
            2 * self.normal(shape),
            variance.astype(np.float32),
        )

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normal numbers."""
        return self.rng.standard_normal(shape, dtype=np.float32)

    def some(self, state: State) -> State:
        """A state of which some parameters are left out."""
        return State(*[None if self.chance(0.4) else a for a in state[:4]])  # type: ignore[arg-type]

    def call(self, spec: Spec, layers: int, shapes: list[tuple[int, ...]]) -> Call:
        """A call on any layer."""
        layer = int(self.rng.integers(layers))
        op = self.choice(("train", "train", "train", "infer", "infer", "set_state", "get_state"))
        if op == "set_state":
            state = self.parameters(spec)
            if self.chance(0.2) and state.moving_mean is not None:
                state = state._replace(moving_mean=np.zeros_like(state.moving_mean))
            return Call(op, layer, state=self.some(state) if self.chance(0.5) else state)
        if op == "get_state":
            return Call("apply_updates" if self.separate else op, layer)
        shape = self.choice(shapes)
        dy = 2 * self.normal(shape) if self.chance(0.7) else None
        update = not (self.separate and op == "train" and self.chance(0.5))
        return Call(op, layer, self.input(spec, shape), dy, update)

    def program(self) -> Program:
        """A program of one to six steps."""
        spec = self.spec()
        layers = 2 if self.chance(0.3) else 1
        shapes = [self.shape(spec) for _ in range(2)]
        calls = tuple(self.call(spec, layers, shapes) for _ in range(self.rng.integers(1, 7)))
        states = tuple(self.parameters(spec) for _ in range(layers))
        return Program(spec, states, calls, read=self.choice(("every", "every", "end")), repeat=self.chance(0.5))


def as_adapters_see(program: Program) -> Program:
    """The program with bfloat16 as uint16."""

    def bits(a: Array | None) -> Array | None:
        return a.view(np.uint16) if a is not None and a.dtype == ml_dtypes.bfloat16 else a

    return program._replace(calls=tuple(call._replace(x=bits(call.x), dy=bits(call.dy)) for call in program.calls))


def shaped() -> tuple[Program, ...]:
    """Programs of all shapes, types and layouts, with many updates, too, and on no or one element per channel."""
    cases = [pooled.case for family in (6, 3) for pooled in draw(family, 3, 150).cases]
    cases += [made for case in cases[:150:5] for made in (*empty_batch(case), *single_element(case))]
    return tuple(as_adapters_see(case.expanded) for case in cases)


@cache
def programs(kind: str) -> tuple[Program, ...]:
    """The programs of a kind: "mild", "separate" (left-out updates), "offset" (far from zero), "gap", "shapes"."""
    if kind == "shapes":
        return shaped()
    draw = {
        "mild": Draw(1),
        "separate": Draw(2, separate=True),
        "offset": Draw(3, offset=1e4),
        "gap": Draw(4, gap=True),
    }[kind]
    return tuple(draw.program() for _ in range(400 if kind == "mild" else 40))


def has_single(program: Program) -> bool:
    """Whether some input has one element per channel."""
    inputs = [call.x for call in program.calls if call.x is not None]
    return any(x.size == np.prod(program.spec.parameter_shape) for x in inputs)


def reference(declared: Conventions, *, separate: bool) -> BatchNormAdapter:
    """The reference under some conventions."""
    base: type[NumpyReference] = UpdateSeparate if separate else NumpyReference  # type: ignore[assignment]
    made: BatchNormAdapter = type("Reference", (base,), {"declared": declared})()
    return made


@cache
def expected(kind: str, number: int, declared: Conventions, separate: bool) -> Outcome:
    """The reference's outcome of a program."""
    return outcome(reference(declared, separate=separate), programs(kind)[number])


#: Themes of faults that show in some shapes, types and layouts only.
SHAPED = ("types", "layouts", "sizes")
#: Themes of faults that show in plain steps, and in some shapes, types and layouts.
PLAIN = (
    *SHAPED,
    *("statistics", "shapes", "epsilon", "affine", "modes", "folds", "moving", "updates", "gradients"),
    *("parameter_gradients", "inference_gradients", "state", "sharing", "memory"),
)
#: Faults that raise where nothing is wrong.
RAISING = {"read-only-refused", "empty-batch-divides-by-zero"}


def theme(fault: Fault) -> str:
    """The module that a fault is in."""
    return fault.target.split(":")[0].rsplit(".", 1)[1]


def kinds(fault: Fault, *, separate: bool) -> Iterator[str]:
    """The kinds of programs on which a fault may show itself."""
    if theme(fault) in SHAPED or "BN-601" in fault.caught_by:
        yield "shapes"
        return
    yield "mild"
    if separate:
        yield "separate"
    if "numerics" in fault.target:
        yield "offset"
    if not fault.caught_by:
        yield "gap"


def shows(fault: Fault) -> bool:
    """Whether a fault differs from the reference on some program."""
    adapter = load(fault.target)
    separate = adapter.describe().capabilities.separate_update
    for kind in kinds(fault, separate=separate):
        for number, program in enumerate(programs(kind)):
            declared = adapter.conventions(program.spec)
            found = outcome(adapter, program)
            # An exhibit that raises shows nothing but a slip in the zoo; what is no result at all is a fault.
            assert "Error:" not in found[1] or fault.name in RAISING
            # With the reference's own arithmetic but for the fault, types may differ by what float32 does not show.
            tolerance = 1e-12 if theme(fault) == "types" else TOLERANCE
            wanted = expected(kind, number, declared, separate)
            if differs(found, wanted, tolerance) or types(found[0]) != types(wanted[0]):
                return True
    return False


@pytest.mark.parametrize("exhibit", [*FAULTS, *VARIANTS], ids=lambda exhibit: exhibit.name)
def test_loads_and_describes_itself(exhibit: Fault | Variant) -> None:
    """Every exhibit loads by its target, is described by one sentence and builds a layer that trains."""
    adapter = load(exhibit.target)
    capabilities = adapter.describe().capabilities
    axis = 1 if capabilities.axes == "second" else -1
    spec = Spec((None, 3), (axis,), 1e-3, 0.9)
    ones = np.ones(3, np.float32)
    with np.errstate(all="ignore"):
        step = adapter.build(spec, State(ones, ones, ones, ones)).train(np.eye(4, 3, dtype=np.float32))

    assert step.y.shape == (4, 3)
    assert exhibit.description.endswith(".")
    assert "\n" not in exhibit.description


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_family_exists(fault: Fault) -> None:
    """Every fault belongs to a family of requirements."""
    assert fault.family in FAMILIES


@pytest.mark.parametrize("fault", [f for f in FAULTS if theme(f) in PLAIN], ids=lambda fault: fault.name)
def test_fault_shows(fault: Fault) -> None:
    """No fault of these themes is equivalent to the reference: some program tells them apart by more than rounding.

    Faults of other themes need programs, data or declarations that are not drawn here: tests/test_zoo.py shows them.
    """
    assert shows(fault)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_variant_agrees(variant: Variant) -> None:
    """Every correct variant agrees with the reference in float64, and does nothing that must not be observed."""
    adapter = load(variant.target)
    deterministic = adapter.describe().capabilities.deterministic
    compared = 0
    for number, program in enumerate(programs("mild")[:150]):
        declared = adapter.conventions(program.spec)
        # With a tiny epsilon a constant channel shows the rounding of its mean, which is legitimate.
        # So is that of a folded output of a single element.
        rounds = declared.moving_variance_single == "nan" or declared.affine_grade == "F"
        if program.spec.epsilon < 1e-4 or (rounds and has_single(program)):
            continue
        arrays, failure, observations = outcome(adapter, program)
        if failure.startswith("unsupported"):
            continue
        kept = tuple(o for o in observations if deterministic or o.kind != "nondeterministic")
        truth = expected("mild", number, declared._replace(compute_dtype="float64"), False)

        assert not differs((arrays, failure, kept), truth, 1e-3)

        compared += 1
    assert compared >= 10


def test_names_are_unique() -> None:
    """No two exhibits have the same name."""
    names = [fault.name for fault in FAULTS] + [variant.name for variant in VARIANTS]

    assert len(names) == len(set(names))
