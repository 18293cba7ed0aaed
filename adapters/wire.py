"""Frames: how programs and traces cross a pipe, as a JSON header followed by the raw bytes of the arrays.

A frame is ``magic, version, length of the header, length of the body``, the header, the body. Nothing in it is ever
executed: a header names records from a fixed list, and arrays are bytes with a layout. Bytes keep the order that
their dtype names, little-endian everywhere that matters. bfloat16, which NumPy does not know, crosses as uint16 with
a logical dtype. Runs on Python 3.6.
"""

import json
import math
import struct
from functools import lru_cache
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from adapters.interface import Array, Capabilities, Conventions, Description, Execution, Spec, State, Step
from adapters.layout import ALIGNMENT, layout_of, memory_of, phase
from adapters.network import Act, Course, Done, NetworkSpec, Over
from adapters.program import Call, Failure, Observation, Program, Second, StepTrace, Trace

MAGIC = b"\x89BNC"
VERSION = 1
#: The largest body, in bytes, unless a caller says otherwise; headers are limited to an eighth of it.
LIMIT = 1 << 30
_PREFIX = struct.Struct("<4sHIQ")
#: Pieces up to this size are joined, so that a small frame is one write.
_JOINED = 1 << 18
_KINDS = "fiubc"
_PLAIN = frozenset((type(None), bool, int, str))
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


class WireError(Exception):
    """What was read is no frame, or what was to be written does not fit into one."""


class TruncatedError(WireError):
    """The stream ended in the middle of a frame: whoever wrote it is gone."""


class Built(NamedTuple):
    """First answer to a program: the layers exist. The fields are those of Trace."""

    conventions: Conventions
    initial: Tuple[Optional[State], ...]
    observations: Tuple[Observation, ...] = ()
    seconds: float = 0.0


class End(NamedTuple):
    """Last answer to a program; ``seconds`` is the time in the adapter that no other answer contains."""

    final: Tuple[State, ...] = ()
    observations: Tuple[Observation, ...] = ()
    failure: Optional[Failure] = None
    seconds: float = 0.0


_RECORDS: Dict[str, Any] = {
    record.__name__: record
    for record in (
        *(Spec, State, Execution, Step, Capabilities, Conventions, Description),
        *(Call, Program, Observation, Failure, Second, StepTrace, Trace, Built, End),
        *(NetworkSpec, Act, Course, Done, Over),
    )
}
_NAMES = {record: name for name, record in _RECORDS.items()}


class _Encoder:
    """Turns a value into JSON types, collecting the arrays' bytes on the way."""

    def __init__(self, bfloat16: bool) -> None:
        self.bfloat16 = bfloat16
        self.parts: List[Any] = []
        self.size = 0
        self._known: Dict[int, Any] = {}

    def all(self, values: Iterable[Any]) -> List[Any]:
        """Encode several values; plain ones are met most and need no call."""
        return [v if type(v) in _PLAIN else self.encode(v) for v in values]

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _NAMES:
            return {_NAMES[kind]: self.all(value)}
        if kind is np.ndarray:
            return self.array(value)
        if kind is float:
            return value if math.isfinite(value) else {"f": repr(value)}
        if kind is tuple or kind is list:
            return self.all(value)
        if kind is dict:
            return {"d": {self.text(key): self.encode(v) for key, v in value.items()}}
        return self.converted(value)

    def converted(self, value: Any) -> Any:
        """Subclasses of the plain types, NumPy's scalars among them, cross as those types."""
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, np.generic):
            return self.encode(value.item())
        for plain in (int, float, str):
            if isinstance(value, plain):
                return self.encode(plain(value))
        raise WireError(f"a {type(value).__module__}.{type(value).__qualname__} cannot cross the wire")

    def text(self, key: Any) -> str:
        if not isinstance(key, str):
            raise WireError(f"the key {key!r} is no string")
        return str(key)

    def array(self, value: Array) -> Any:
        """Arrays that occur twice cross once. They live as long as the value, so their id() stays theirs."""
        found = self._known.get(id(value))
        if found is None:
            found = self._known[id(value)] = {"a": self.new_array(value)}
        return found

    def new_array(self, value: Array) -> List[Any]:
        name = self.dtype_name(value.dtype)
        padding = (phase(value) - self.size) % ALIGNMENT
        if padding:
            self.parts.append(bytes(padding))
        start = self.size + padding
        plain = value.flags.carray
        memory = value if plain and name != "bfloat16" else memory_of(value)
        self.parts.append(memory)
        self.size = start + memory.nbytes
        if plain:
            return [start, name, value.shape]
        layout = layout_of(value)
        return [start, name, value.shape, layout.strides, layout.offset, layout.writeable]

    def dtype_name(self, dtype: Any) -> str:
        """The logical dtype: bfloat16, or NumPy's name with the byte order."""
        if dtype.kind not in _KINDS:
            if dtype.name == "bfloat16":
                return "bfloat16"
            raise WireError(f"an array of {dtype} cannot cross the wire")
        return "bfloat16" if self.bfloat16 and dtype == np.uint16 else str(dtype.str)


class _Decoder:
    """Turns JSON types back; arrays become views of the body."""

    def __init__(self, body: Any, bfloat16: Any) -> None:
        self.body = body
        self.bfloat16 = bfloat16

    def all(self, values: List[Any]) -> List[Any]:
        """Decode several values; plain ones are met most and need no call."""
        return [v if type(v) in _PLAIN else self.decode(v) for v in values]

    def decode(self, value: Any) -> Any:
        if type(value) is list:
            return tuple(self.all(value))
        if type(value) is not dict:
            return value
        ((tag, content),) = value.items()
        if tag == "a":
            return self.array(*content)
        if tag in _RECORDS:
            return _RECORDS[tag](*self.all(content))
        if tag == "d":
            return {key: self.decode(v) for key, v in content.items()}
        if tag == "f":
            return float(content)
        raise ValueError(f"there is no record {tag!r}")

    def array(
        self,
        start: int,
        name: str,
        shape: List[int],
        strides: Optional[List[int]] = None,
        offset: int = 0,
        writeable: bool = True,
    ) -> Array:
        """NumPy refuses what reaches beyond the body, but not what begins before it, nor negative extents."""
        if start < 0 or offset < 0 or (shape and min(shape) < 0):
            raise ValueError(f"an array of shape {shape} at byte {start} + {offset}")
        places = None if strides is None else tuple(strides)
        bfloat16 = name == "bfloat16"
        element = _element("<u2" if bfloat16 else name)
        array: Array = np.ndarray(tuple(shape), element, self.body, start + offset, places)
        if bfloat16 and self.bfloat16 is not None:
            array = array.view(self.bfloat16)
        if not writeable:
            array.flags.writeable = False
        return array


@lru_cache(maxsize=None)
def _element(dtype: str) -> Any:
    element = np.dtype(dtype)
    if element.kind not in _KINDS:
        raise ValueError(f"arrays of {element} do not cross the wire")
    return element


def bfloat16_dtype() -> Any:
    """Return ml_dtypes' bfloat16 where it is installed, otherwise None: such arrays then stay uint16."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def pack(kind: str, value: Any = None, bfloat16: bool = False, limit: int = LIMIT) -> List[Any]:
    """Return a frame as pieces to be written in order; ``bfloat16`` labels every uint16 array as such.

    Raises WireError for what cannot be sent and for frames whose body exceeds the limit in bytes.
    """
    encoder = _Encoder(bfloat16)
    header = _JSON.encode([kind, encoder.encode(value)]).encode()
    _check_sizes(len(header), encoder.size, limit)
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header), encoder.size)
    if encoder.size <= _JOINED:
        return [b"".join([prefix, header, *encoder.parts])]
    return [prefix + header, *[part if isinstance(part, bytes) else memory_of(part).data for part in encoder.parts]]


def _check_sizes(header: int, body: int, limit: int) -> None:
    for name, size, most in (("header", header, max(limit // 8, 1 << 16)), ("body", body, limit)):
        if size > most:
            raise WireError(f"a frame with a {name} of {size:,} bytes exceeds the limit of {most:,}")


def unpack(header: Any, body: Any, bfloat16: Any = None) -> Tuple[str, Any]:
    """Return kind and value of a frame whose parts were read; arrays are views of the body.

    ``bfloat16`` is the dtype that arrays of that logical dtype become; None leaves them uint16.
    """
    try:
        kind, value = json.loads(header.decode())
        if not isinstance(kind, str):
            raise ValueError(f"its kind is {kind!r}")
        return kind, _Decoder(body, bfloat16).decode(value)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise WireError(f"a frame does not decode: {type(error).__name__}: {error}") from error


class Reader:
    """Reads frames from ``readinto(view) -> count``, which blocks or raises as its owner likes; 0 is the end."""

    def __init__(self, readinto: Callable[[memoryview], int], bfloat16: Any = None, limit: int = LIMIT) -> None:
        self._readinto = readinto
        self._bfloat16 = bfloat16
        self.limit = limit
        self._buffer = bytearray(1 << 16)
        self._start = self._stop = 0

    @property
    def pending(self) -> bytes:
        """What was read ahead of the frames taken so far."""
        return bytes(self._buffer[self._start : self._stop])

    def frame(self) -> Optional[Tuple[str, Any]]:
        """Return kind and value of the next frame, or None where the stream ended between two frames."""
        prefix = self._prefix()
        if prefix is None:
            return None
        _, version, header_size, body_size = _PREFIX.unpack(prefix)
        if version != VERSION:
            raise WireError(f"a frame of version {version}, where this side speaks version {VERSION}")
        _check_sizes(header_size, body_size, self.limit)
        header = self._exactly(header_size)
        return unpack(header, self._exactly(body_size), self._bfloat16)

    def _prefix(self) -> Optional[bytes]:
        """Bytes that cannot begin a frame are refused at once, without waiting for more of them."""
        while True:
            got = self.pending if self._stop - self._start < 64 else bytes(self._buffer[self._start : self._start + 64])
            if got[: len(MAGIC)] != MAGIC[: len(got)]:
                raise WireError(f"something that is no frame; first bytes: {got!r}")
            if len(got) >= _PREFIX.size:
                self._start += _PREFIX.size
                return got[: _PREFIX.size]
            if not self._fill():
                if got:
                    raise TruncatedError(f"the stream ended inside a frame, after {len(got)} bytes")
                return None

    def _fill(self) -> int:
        """Read ahead what is there, behind the bytes not yet taken (fewer than a prefix)."""
        rest = self._stop - self._start
        self._buffer[:rest] = self._buffer[self._start : self._stop]
        self._start, self._stop = 0, rest
        with memoryview(self._buffer) as view:
            count = self._readinto(view[rest:])
        self._stop += count
        return count

    def _exactly(self, size: int) -> bytearray:
        """Large bodies are read straight into the memory that the arrays will share."""
        result = bytearray(size)
        done = min(size, self._stop - self._start)
        result[:done] = self._buffer[self._start : self._start + done]
        self._start += done
        with memoryview(result) as view:
            while done < size:
                count = self._readinto(view[done:])
                if not count:
                    raise TruncatedError(f"the stream ended inside a frame: {done:,} of {size:,} bytes")
                done += count
        return result
