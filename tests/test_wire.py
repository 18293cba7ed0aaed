"""Tests of the wire: values and layouts survive a crossing, and what is no frame is refused with a clear message."""

import contextlib
import io
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters import wire
from adapters.interface import Capabilities, Conventions, Description, Execution, Spec, State, Step
from adapters.layout import layout_of, memory_of
from adapters.program import Call, Failure, Observation, Program, StepTrace, Trace

SPEC = Spec((None, 3), (-1,), 1e-3, 0.9, execution=Execution("graph", "gpu:0"))


def crossed(value: Any, **options: Any) -> Any:
    """Write a value to a stream and read it back."""
    data = b"".join(wire.pack("kind", value))
    kind, result = read(data, **options)
    assert kind == "kind"
    return result


def read(data: bytes, **options: Any) -> Any:
    """Read one frame from bytes that arrive a few at a time."""
    stream = io.BytesIO(data)

    def readinto(view: memoryview) -> int:
        return stream.readinto(view[:7])

    return wire.Reader(readinto, **options).frame()


def base() -> np.ndarray[Any, Any]:
    """A block of distinct values to cut views from."""
    return np.arange(4 * 6 * 5, dtype=np.float32).reshape(4, 6, 5)


LAYOUTS: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
    "contiguous": base,
    "transposed": lambda: base().transpose(2, 0, 1),
    "fortran": lambda: np.asfortranarray(base()),
    "reversed": lambda: base()[::-1, :, ::-1],
    "every second": lambda: base()[::2, 1::3],
    "backwards in steps": lambda: base()[::-2, :, ::-3],
    "broadcast": lambda: np.broadcast_to(base()[0, 0], (7, 5)),
    "broadcast channel": lambda: np.broadcast_to(base()[0, :1, :], (6, 5)),
    "scalar": lambda: np.array(2.5, np.float32),
    "scalar view": lambda: base()[1, 2, 3, ...],
    "empty": lambda: np.zeros((0, 3), np.float32),
    "empty view": lambda: base()[:, 2:2],
    "one of many": lambda: base()[::4, ::6, ::5],
    "big-endian": lambda: base().astype(">f4"),
    "overlapping windows": lambda: np.lib.stride_tricks.sliding_window_view(np.arange(9.0), 4),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("writeable", [True, False])
def test_layouts_are_rebuilt(name: str, writeable: bool) -> None:
    """Values, dtype, strides and the writeable flag of any layout arrive as they were sent."""
    array = LAYOUTS[name]()
    if array.flags.writeable:
        array.flags.writeable = writeable
    result = crossed(array)
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.flags.writeable == array.flags.writeable
    if not array.flags.c_contiguous:
        assert result.strides == array.strides
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("name", LAYOUTS)
def test_memory_holds_the_gaps(name: str) -> None:
    """The bytes that cross are those between the lowest and the highest element, those of the gaps included."""
    array = LAYOUTS[name]()
    memory = memory_of(array)
    if array.size:
        assert np.shares_memory(memory, array)
    assert bytes(memory_of(crossed(array))) == bytes(memory)
    assert layout_of(crossed(array)) == layout_of(array)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f4", "f8", "g", "c8"])
def test_dtypes_cross(dtype: str) -> None:
    """Every numeric dtype arrives as itself, bit for bit."""
    array = np.array([0, 1, 3], dtype)
    result = crossed(array)
    assert result.dtype == array.dtype
    assert result.tobytes() == array.tobytes()


def test_bfloat16_is_uint16_without_ml_dtypes() -> None:
    """A host gets bfloat16 as uint16; what it answers with that label is bfloat16 again on the suite's side."""
    array = np.array([1.5, -0.0, math.nan], ml_dtypes.bfloat16)[::-1]
    hosted = crossed(array)
    assert hosted.dtype == np.uint16
    assert hosted.strides == array.strides
    data = b"".join(wire.pack("kind", hosted, bfloat16=True))
    back = read(data, bfloat16=wire.bfloat16_dtype())[1]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["O", "U3", "M8[s]", "V4"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    """Objects, text, dates and structures do not cross, and the message names the dtype."""
    with pytest.raises(wire.WireError, match="cannot cross the wire"):
        wire.pack("kind", np.zeros(2, dtype))


@pytest.mark.parametrize("number", [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan])
def test_scalars_are_exact(number: float) -> None:
    """A float arrives with its bits, infinities and NaN too."""
    (result,) = crossed((number,))
    assert np.float64(result).tobytes() == np.float64(number).tobytes()


def test_records_are_rebuilt() -> None:
    """Every record arrives as itself, nested ones and empty fields included."""
    state = State(np.ones(3), None, np.zeros(3), np.ones(3), {"count": np.array(3, np.int64)})
    step = Step(np.zeros((2, 3)), None, None, np.ones(3))
    trace = StepTrace(0, step, state, (Observation("aliased", "y", "ü \ud800"),), 0.25)
    failure = Failure("crash", "killed", "train", ("line",))
    for value in (
        Program(
            SPEC, (state, State()), (Call("train", 1, np.ones((2, 3))), Call("set_state", state=state)), "end", True
        ),
        Description("mine", "1", "cpu", Capabilities(ranks=(2,), dtypes=("float32", "bfloat16")), ("a", "b")),
        Trace(
            Conventions(epsilon_floor=math.inf), (None, state), (trace,), (), (), failure, 1.0, 2.0, {"a": 1, "b": ()}
        ),
        wire.Built(Conventions(), (state,)),
        wire.End((state,), (), failure, 0.5),
    ):
        assert repr(crossed(value)) == repr(value)
        assert type(crossed(value)) is type(value)


def test_numpy_scalars_become_plain() -> None:
    """NumPy's scalars and subclasses of plain types cross as the plain types."""
    values = (np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a"))
    assert [type(v) for v in crossed(values)] == [float, float, int, bool, str]


def test_an_array_sent_twice_crosses_once() -> None:
    """The same array as x of two calls costs its bytes once."""
    x = np.zeros(100000, np.float32)
    assert sum(len(memoryview(piece)) for piece in wire.pack("run", (x, x))) < 1.1 * x.nbytes


def test_large_bodies_are_not_joined() -> None:
    """Large arrays are written from where they are, without a copy."""
    x = np.ones((300, 400), np.float32)
    pieces = wire.pack("run", (np.ones(3), x, x[:, ::2]))
    assert any(np.shares_memory(np.asarray(piece), x) for piece in pieces if isinstance(piece, memoryview))
    _, (_, whole, half) = read(b"".join(pieces))
    np.testing.assert_array_equal(whole, x)
    np.testing.assert_array_equal(half, x[:, ::2])


def test_arrays_are_aligned_and_writeable() -> None:
    """Arrays lie on whole elements behind arrays of odd sizes, and can be written to."""
    first, second = crossed((np.zeros(3, np.int8), np.zeros(5, np.float64)))
    assert second.flags.aligned
    assert second.flags.behaved
    first[...] = 1
    assert second.sum() == 0


def test_unknown_objects_are_refused() -> None:
    """What has no place on the wire is refused by name when it is sent."""
    with pytest.raises(wire.WireError, match=r"a builtins\.object cannot cross"):
        wire.pack("kind", (1, object()))
    with pytest.raises(wire.WireError, match="the key 3 is no string"):
        wire.pack("kind", {3: 1})


def test_frames_follow_each_other() -> None:
    """Frames that arrive in one piece are taken apart; between two of them the stream may end."""
    stream = io.BytesIO(b"".join(wire.pack("a", 1) + wire.pack("b", np.arange(50000)) + wire.pack("c")))
    reader = wire.Reader(stream.readinto)
    assert reader.frame() == ("a", 1)
    frame = reader.frame()
    assert frame is not None
    assert frame[1][-1] == 49999
    assert reader.frame() == ("c", None)
    assert reader.frame() is None


def test_every_truncation_is_noticed() -> None:
    """A stream that ends anywhere inside a frame raises TruncatedError."""
    data = b"".join(wire.pack("kind", (SPEC, np.arange(7.0))))
    for size in range(1, len(data)):
        with pytest.raises(wire.TruncatedError, match="ended inside a frame"):
            read(data[:size])


@pytest.mark.parametrize("garbage", [b"h", b"hello", b"\x89PNG\r\n", bytes(100), b"\x89BNX" + bytes(30)])
def test_garbage_is_refused_at_once(garbage: bytes) -> None:
    """Bytes that begin no frame are refused and shown, without waiting for as many as a frame would have."""
    with pytest.raises(wire.WireError, match="no frame; first bytes: b'") as caught:
        read(garbage)
    assert not isinstance(caught.value, wire.TruncatedError)


def test_another_version_is_named() -> None:
    """A frame of another version is refused by its number."""
    data = bytearray(b"".join(wire.pack("kind")))
    data[4] = 99
    with pytest.raises(wire.WireError, match="version 99, where this side speaks version 1"):
        read(bytes(data))


@pytest.mark.parametrize("where", ["header", "body"])
def test_oversized_frames_are_refused(where: str) -> None:
    """A frame that announces more than the limit is refused before its memory is allocated."""
    header, body = (1 << 31, 0) if where == "header" else (2, 1 << 62)
    prefix = wire._PREFIX.pack(wire.MAGIC, wire.VERSION, header, body)
    with pytest.raises(wire.WireError, match=f"with a {where} of .* bytes exceeds the limit of"):
        read(prefix + b"{}")


def test_the_limit_holds_for_sending_too() -> None:
    """What is too large is refused where it is sent, with both sizes."""
    with pytest.raises(wire.WireError, match="body of 8,000 bytes exceeds the limit of 1,000"):
        wire.pack("kind", np.zeros(1000), limit=1000)


HEADERS = {
    "no JSON": b"{",
    "no pair": b"3",
    "too deep": b"[" * 100000,
    "no text": b"\xff\xfe",
    "kind no string": b"[1,2]",
    "unknown record": b'["kind",{"os.system":["true"]}]',
    "two tags": b'["kind",{"a":[],"f":"1"}]',
    "too many fields": b'["kind",{"Execution":[1,2,3]}]',
    "missing fields": b'["kind",{"Spec":[]}]',
    "array beyond the body": b'["kind",{"a":[0,"<f4",[100]]}]',
    "array before the body": b'["kind",{"a":[-8,"<f4",[1]]}]',
    "array behind the body": b'["kind",{"a":[99,"<f4",[0]]}]',
    "offset behind the body": b'["kind",{"a":[0,"<f4",[2],[4],1000,true]}]',
    "offset before the body": b'["kind",{"a":[8,"<f4",[2],[4],-8,true]}]',
    "huge shape": b'["kind",{"a":[0,"<f4",[4611686018427387904,4611686018427387904]]}]',
    "negative shape": b'["kind",{"a":[0,"<f4",[-1]]}]',
    "strides beyond the body": b'["kind",{"a":[0,"<f4",[4],[4000],0,true]}]',
    "strides before the body": b'["kind",{"a":[0,"<f4",[4],[-4],0,true]}]',
    "objects": b'["kind",{"a":[0,"|O",[1]]}]',
    "unknown dtype": b'["kind",{"a":[0,"<f5",[1]]}]',
    "shape no list": b'["kind",{"a":[0,"<f4",null]}]',
    "no float": b'["kind",{"f":[1]}]',
}


@pytest.mark.parametrize("name", HEADERS)
def test_malformed_headers_raise_wire_errors(name: str) -> None:
    """Whatever a header says, reading it raises WireError and nothing else."""
    header = HEADERS[name]
    prefix = wire._PREFIX.pack(wire.MAGIC, wire.VERSION, len(header), 16)
    with pytest.raises(wire.WireError, match="does not decode"):
        read(prefix + header + bytes(16))


def test_mangled_frames_raise_wire_errors_only() -> None:
    """Random damage to a real frame gives a value or a WireError, never another exception."""
    data = b"".join(wire.pack("kind", (SPEC, State(np.ones(3)), np.arange(12.0)[::-2])))
    rng = np.random.default_rng(1)
    for _ in range(3000):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(wire.WireError):
            read(bytes(damaged), limit=1 << 20)
