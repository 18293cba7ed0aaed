"""What a host watches around every call and a pipe cannot show: memory that is shared, changed or kept.

Arguments are handed over as copies whose bytes stay known; returned arrays are remembered together with a copy. All
comparisons are of bytes, so that NaN equals itself and -0 differs from 0. Runs on Python 3.6.
"""

from typing import Any, List, NamedTuple, Tuple

import numpy as np

from adapters.checks import STATE_FIELDS
from adapters.interface import Array, State
from adapters.layout import Layout, arrange, layout_of, memory_of, reach
from adapters.program import Observation

#: Effort at most for deciding whether two strided arrays share an element; beyond it they count as sharing.
_EFFORT = 100000


class Argument:
    """An array of a program, ready to be handed over as a fresh copy of the same layout."""

    __slots__ = ("layout", "memory", "name")

    def __init__(self, name: str, array: Array) -> None:
        self.name = name
        self.layout = layout_of(array)
        self.memory = memoryview(memory_of(array))  # type: ignore[arg-type]

    def give(self) -> "Given":
        """Return a copy; its bytes live in a bytearray, which compares with a buffer without a copy."""
        buffer = bytearray(self.memory)
        return Given(self, buffer, arrange(buffer, self.layout))


class Given(NamedTuple):
    """A copy that was handed to the adapter, and the bytes below it."""

    argument: Argument
    buffer: bytearray
    array: Array

    def changed(self) -> bool:
        """Whether the adapter wrote to it."""
        return self.buffer != self.argument.memory

    def spoil(self) -> None:
        """Overwrite it with other finite values, as a caller may who reuses its arrays."""
        array = arrange(self.buffer, self.argument.layout._replace(writeable=True))
        kind = array.dtype.kind
        if kind == "f":
            with np.errstate(all="ignore"):
                other = 7 - 3 * array
            other[~np.isfinite(other) | (other == array)] = 3
            array[...] = other
        elif kind in "iu":
            array[...] = array ^ array.dtype.type(64)
        elif kind == "b":
            array[...] = ~array


class StateArgument:
    """A state of a program, ready to be handed over as fresh copies."""

    def __init__(self, state: State) -> None:
        arrays = [(name, getattr(state, name)) for name in STATE_FIELDS]
        self.fields = [(name, Argument("state." + name, a)) for name, a in arrays if a is not None]
        self.extra = [(key, Argument("state.extra[{!r}]".format(key), a)) for key, a in state.extra.items()]

    def give(self) -> Tuple[State, List[Given]]:
        """Return a state of copies, and the copies."""
        fields = {name: argument.give() for name, argument in self.fields}
        extra = {key: argument.give() for key, argument in self.extra}
        arrays = {name: given.array for name, given in fields.items()}
        state = State(extra={key: given.array for key, given in extra.items()})._replace(**arrays)
        return state, [*fields.values(), *extra.values()]


class _Span(NamedTuple):
    """The addresses from the lowest to behind the highest element."""

    low: int
    high: int
    array: Array
    name: str
    where: str


def _span(array: Array, name: str, where: str) -> _Span:
    start: int = array.__array_interface__["data"][0]
    if array.flags.c_contiguous:
        return _Span(start, start + array.nbytes, array, name, where)
    before, after = reach(array)
    return _Span(start - before, start + after, array, name, where)


class _Returned(NamedTuple):
    """An array that the adapter returned, its bytes in C order as they were, and where it came from."""

    array: Array
    content: bytearray
    name: str
    where: str

    def changed(self) -> bool:
        """Whether it no longer holds what it held."""
        array = self.array
        return self.content != (array if array.flags.c_contiguous else np.ascontiguousarray(array))


def _same_memory(a: Array, b: Array) -> bool:
    try:
        return bool(np.shares_memory(a, b, max_work=_EFFORT))  # type: ignore[arg-type]
    except Exception:  # NumPy's TooHardError has moved between its versions
        return True


class Watch:
    """Everything that one run handed over and got back."""

    def __init__(self) -> None:
        self._given: List[Tuple[Given, str]] = []
        self._returned: List[_Returned] = []
        self._spans: List[_Span] = []
        self._found: List[Observation] = []

    def give(self, given: List[Given], where: str) -> None:
        """Remember arguments."""
        for g in given:
            self._given.append((g, where))
            if g.array.size:
                self._spans.append(_span(g.array, g.argument.name, where))

    def take(self, array: Array, name: str, where: str) -> Array:
        """Remember a returned array; return a copy of it that nobody else holds."""
        content = bytearray(memoryview(array))  # type: ignore[arg-type]
        if array.size:
            span = _span(array, name, where)
            low, high = span.low, span.high
            for other in self._spans:
                if other.low < high and low < other.high and _same_memory(array, other.array):
                    self._found.append(_aliased(span, other))
                    break
            self._spans.append(span)
        self._returned.append(_Returned(array, content, name, where))
        return arrange(content, Layout(array.dtype, array.shape))

    def look(self, where: str) -> Tuple[Observation, ...]:
        """Return what was found since the last look; each change is reported once."""
        changed = [entry for entry in self._given if entry[0].changed()]
        overwritten = [entry for entry in self._returned if entry.changed()]
        found, self._found = self._found, []
        if changed:
            self._given = [entry for entry in self._given if not any(entry is c for c in changed)]
            found.extend(Observation("mutated", g.argument.name, _by(given, where)) for g, given in changed)
        if overwritten:
            self._returned = [entry for entry in self._returned if not any(entry is c for c in overwritten)]
            found.extend(Observation("overwritten", r.name, _by(r.where, where)) for r in overwritten)
        return tuple(found)


def _aliased(span: _Span, other: _Span) -> Observation:
    access = "" if span.array.flags.writeable else ", read-only"
    detail = "returned by {}{}; shares memory with {} of {}".format(span.where, access, other.name, other.where)
    return Observation("aliased", span.name, detail)


def _by(origin: str, where: str) -> str:
    return "of {}".format(origin) if origin == where else "of {}; changed by {}".format(origin, where)


def difference(found: Any, expected: Any) -> str:
    """Say how an array's bits differ from another's; "" where they do not."""
    if found is None or expected is None:
        return "" if found is expected else "present in one run only"
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return "{}{} instead of {}{}".format(found.dtype, found.shape, expected.dtype, expected.shape)
    if found.tobytes() == expected.tobytes():
        return ""
    cells = np.ascontiguousarray(found).reshape(-1).view(np.uint8).reshape(found.size, -1)
    others = np.ascontiguousarray(expected).reshape(-1).view(np.uint8).reshape(found.size, -1)
    places = np.flatnonzero((cells != others).any(axis=1))
    index = np.unravel_index(places[0], found.shape)
    where = tuple(int(i) for i in index)
    return "{} of {} elements differ, first at {}: {!r} instead of {!r}".format(
        len(places), found.size, where, found[where].item(), expected[where].item()
    )
