"""Memory layouts: what each is, and that they reach an adapter as they were drawn, whichever way."""

import io
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest

from adapters import wire
from adapters.interface import Array, Spec, State, Step
from adapters.layout import phase
from adapters.numpy_reference import NumpyLayer, NumpyReference
from adapters.observer import Argument
from conformance._data import Channel, Drawn, Given, Gradient
from conformance._layouts import LAYOUTS, Layout, lay_out, levelled
from conformance.case import Case, Infer, Start, Train
from conformance.session import open_session

EVERY = pytest.mark.parametrize("layout", LAYOUTS)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ml_dtypes.bfloat16])
SHAPE = (4, 3, 2, 5)


def values(dtype: Any = "float32", shape: tuple[int, ...] = SHAPE) -> Array:
    """Different numbers everywhere, exact in every type."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape).astype(dtype)


def as_adapters_see(a: Array) -> Array:
    """The array on an adapter's side of the wire."""
    return a.view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else a


def same_layout(a: Array, b: Array) -> bool:
    """Whether two arrays lie alike: strides, access and place among vectors."""
    moving = [(x, y) for x, y, n in zip(a.strides, b.strides, a.shape, strict=True) if n > 1]
    return all(x == y for x, y in moving) and a.flags.writeable == b.flags.writeable and phase(a) == phase(b)


@EVERY
@DTYPES
@pytest.mark.parametrize("shape", [(5,), (4, 3), SHAPE, (1, 1, 1), (2, 0, 3), (3, 1, 2, 1, 2, 3)])
def test_values_stay(layout: Layout, dtype: Any, shape: tuple[int, ...]) -> None:
    """Whatever the layout, rank, extents and type, the values are those that were given, in other memory."""
    a = values(dtype, shape)
    laid_out = lay_out(a, layout)
    assert laid_out.dtype == a.dtype
    assert laid_out.shape == shape
    assert np.array_equal(laid_out, a)
    assert not np.shares_memory(laid_out, a)


class TestEach:
    """Each layout is what its name says."""

    def test_strides(self) -> None:
        """Orders, signs and gaps are seen in the strides, in elements."""
        a = values()
        found = {layout: tuple(s // 4 for s in lay_out(a, layout).strides) for layout in LAYOUTS}
        assert found["c"] == found["read-only"] == found["offset"] == (30, 10, 5, 1)
        assert found["fortran"] == (1, 4, 12, 24)
        assert found["reversed"] == (-30, -10, -5, -1)
        assert found["strided"] == (120, 20, 10, 2)
        assert found["channels-last"] == (30, 1, 15, 3)
        assert found["channels-first"] == (30, 2, 1, 6)
        assert found["broadcast"] == (30, 10, 5, 1)

    def test_gaps_hold_no_numbers(self) -> None:
        """Who reads between the elements of a strided array reads NaN."""
        base: Any = lay_out(values(), "strided").base
        assert np.isnan(base).sum() == base.size - values().size

    def test_access(self) -> None:
        """Only what is read-only, or one element in many places, cannot be written to."""
        level = levelled(values(), 2)
        access = {layout: lay_out(level, layout).flags.writeable for layout in LAYOUTS}
        assert [layout for layout in LAYOUTS if not access[layout]] == ["broadcast", "read-only"]

    @DTYPES
    def test_offset(self, dtype: Any) -> None:
        """An offset array begins one element after a multiple of 64 bytes."""
        a = lay_out(values(dtype), "offset")
        assert a.__array_interface__["data"][0] % 64 == a.itemsize == phase(a)
        assert a.flags.carray

    @pytest.mark.parametrize("seed", range(8))
    def test_broadcast(self, seed: int) -> None:
        """Levelled values have stride 0 along an axis, another for another seed, whether it was drawn or held."""
        level = levelled(values(), seed)
        assert lay_out(level, "broadcast").strides[seed % 4] == 0
        assert sum(s == 0 for s in lay_out(level, "broadcast").strides) == 1

    def test_rank_two_is_transposed(self) -> None:
        """In rank 2 both kinds of channel order are the transpose."""
        assert lay_out(values(shape=(4, 3)), "channels-last").strides == (4, 16)
        assert lay_out(values(shape=(4, 3)), "channels-first").strides == (4, 16)


SPEC = Spec((None, 3, None), (1,), 1e-3, 0.9)


def recipe(layout: Layout, spec: Spec = SPEC) -> Case:
    """A case whose x and dy come in that layout."""
    x = Drawn((4, 6), (Channel("normal"),), 3, layout=layout)
    return Case(spec, (Start(),), (Train(x, Gradient("normal", 1.0, 2, layout=layout)), Infer(x)))


@EVERY
class TestCases:
    """Layouts in cases."""

    def test_drawn_and_held(self, layout: Layout) -> None:
        """Arrays of a recipe come in its layout, and so do those of the case that holds them, printed and read."""
        case = recipe(layout)
        again = eval(repr(case.held), {"Case": Case, **vars(__import__("conformance.case", fromlist=["case"]))})
        stored = msgspec.json.decode(msgspec.json.encode(case.held), type=Case)
        for other in (case.held, again, stored):
            for call, same in zip(case.expanded.calls, other.expanded.calls, strict=True):
                for a, b in ((call.x, same.x), (call.dy, same.dy)):
                    if a is not None and b is not None:
                        assert np.array_equal(a, b)
                        assert same_layout(a, b)

    def test_given(self, layout: Layout) -> None:
        """A held array says its layout only where it is not the usual one."""
        held = Given.of(values(), layout)
        assert (repr(layout) in repr(held)) == (layout != "c")


@EVERY
@DTYPES
class TestWays:
    """Layouts on their way to an adapter."""

    def test_wire(self, layout: Layout, dtype: Any) -> None:
        """A frame carries the layout: strides, gaps, access and place among vectors."""
        a = lay_out(levelled(values(dtype), 1), layout)
        pieces = wire.pack("x", (np.zeros(3, np.float32), a), limit=1 << 20)
        frame = wire.Reader(io.BytesIO(b"".join(pieces)).readinto, np.dtype(ml_dtypes.bfloat16)).frame()
        assert frame is not None
        b = frame[1][1]
        assert np.array_equal(a, b)
        assert same_layout(a, b)

    def test_observer(self, layout: Layout, dtype: Any) -> None:
        """What the observer hands over lies as the argument does, again and again."""
        a = as_adapters_see(lay_out(levelled(values(dtype), 1), layout))
        argument = Argument("x", a)
        for _ in range(3):
            given = argument.give()
            assert np.array_equal(given.array, a)
            assert same_layout(given.array, a)
            assert not given.changed()

    def test_writing_is_seen(self, layout: Layout, dtype: Any) -> None:
        """A change of an element, and of a gap between elements, is noticed."""
        a = as_adapters_see(lay_out(levelled(values(dtype), 1), layout))
        given = Argument("x", a).give()
        given.buffer[a.itemsize] ^= 1
        assert given.changed()
        if layout in ("broadcast", "read-only"):
            return
        for place in {0, -1}:
            given = Argument("x", a).give()
            given.array[(place,) * a.ndim] += 1
            assert given.changed()


class Sees(NumpyLayer):
    """Puts what it sees of its inputs' layout into the extra state."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[int] = []

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        """Look, then train."""
        for a in (x, dy):
            if a is not None:
                self.seen += [*a.strides, a.flags.writeable, phase(a)]
        return super().train(x, dy, update)

    def state(self) -> State:
        """The state, with what was seen."""
        return super().state()._replace(extra={"seen": np.array(self.seen)})


class SeesAdapter(NumpyReference):
    """The reference with eyes."""

    layer: Any = Sees


@pytest.mark.parametrize("in_process", [True, False], ids=["in process", "host"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_sees_the_layout(in_process: bool, dtype: str) -> None:
    """In this process and in a host, x and dy reach the adapter in the layout that they were drawn in."""
    spec = SPEC._replace(dtype=dtype)
    with open_session("tests.test_layouts:SeesAdapter", in_process=in_process, path=(".",)) as session:
        for layout in LAYOUTS:
            program = recipe(layout, spec).expanded
            trace = session.run(program)
            assert trace.failure is None, trace.failure
            state = trace.steps[0].state
            assert state is not None
            expected: list[int] = []
            for a in (program.calls[0].x, program.calls[0].dy):
                assert a is not None
                expected += [*a.strides, a.flags.writeable, phase(a)]
            assert state.extra["seen"].tolist() == expected
