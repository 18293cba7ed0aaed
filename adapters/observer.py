"""What a host watches around every call and a pipe cannot show: memory that is shared, changed or kept.

Arguments are handed over as copies whose bytes stay known; returned arrays are remembered together with a copy. All
comparisons are of bytes, so that NaN equals itself and -0 differs from 0. Runs on Python 3.6.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from adapters.checks import STATE_FIELDS
from adapters.interface import Array, State
from adapters.layout import arrange, layout_of, memory_of, phase, reach
from adapters.program import Observation

#: Effort at most for deciding whether two strided arrays share an element; beyond it they count as sharing.
_EFFORT = 100000


class Argument:
    """An array of a program, ready to be handed over as a fresh copy of the same layout."""

    __slots__ = ("layout", "memory", "name")

    def __init__(self, name: str, array: Array) -> None:
        self.name = name
        self.layout = layout_of(array)
        contiguous: Any = array if array.flags.c_contiguous else memory_of(array)
        self.memory = memoryview(contiguous)
        before = phase(array)
        if before:
            self.layout = self.layout._replace(offset=before)
            self.memory = memoryview(bytes(before) + self.memory.tobytes())

    def give(self) -> "Given":
        """Return a copy; its bytes live in a bytearray, which compares with a buffer without a copy."""
        buffer = bytearray(self.memory)
        return Given(self, buffer, arrange(buffer, self.layout))

    def refill(self, given: "Given") -> "Given":
        """Return the very array that was handed over before, of the same layout, with this argument's elements."""
        given.buffer[:] = self.memory
        return given._replace(argument=self)


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
        spoil(arrange(self.buffer, self.argument.layout._replace(writeable=True)))


def spoil(array: Array) -> None:
    """Overwrite an array with other finite values."""
    kind = array.dtype.kind
    if kind == "f":
        with np.errstate(all="ignore"):
            other = np.asarray(7 - 3 * array)
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
        arrays: Dict[str, Any] = {name: given.array for name, given in fields.items()}
        state = State(extra={key: given.array for key, given in extra.items()})._replace(**arrays)
        return state, [*fields.values(), *extra.values()]


def _same_memory(a: Array, b: Array) -> bool:
    try:
        return bool(np.shares_memory(a, b, max_work=_EFFORT))  # type: ignore[arg-type]
    except Exception:  # NumPy's TooHardError has moved between its versions
        return True


class _Held:
    """An array that somebody holds; its addresses are looked up when they are first needed, which is dear."""

    __slots__ = ("_span", "array", "name", "where")

    def __init__(self, array: Array, name: str, where: str) -> None:
        self.array = array
        self.name = name
        self.where = where
        self._span: Optional[Tuple[int, int]] = None

    def span(self) -> Tuple[int, int]:
        """The addresses of the lowest element and of the end of the highest."""
        if self._span is None:
            start: int = self.array.__array_interface__["data"][0]
            before, after = reach(self.array)
            self._span = (start - before, start + after)
        return self._span

    def shares(self, other: "_Held") -> bool:
        """Whether an element of the one is an element of the other."""
        (low, high), (other_low, other_high) = self.span(), other.span()
        return other_low < high and low < other_high and _same_memory(self.array, other.array)


def _owner(array: Array) -> int:
    """Identify the object that alone owns the array's memory; 0 where a framework may own it."""
    base: Any = array.base
    while type(base) is np.ndarray:
        array, base = base, base.base
    if base is None:
        return id(array) if array.flags.owndata else 0
    return id(base) if type(base) is bytearray else 0


class _Memories:
    """All arrays held so far. Those of different owners cannot share memory; a framework's may with any."""

    def __init__(self) -> None:
        self._owned: Dict[int, List[_Held]] = {}
        self._foreign: List[_Held] = []

    def add(self, held: _Held) -> Optional[_Held]:
        """Remember an array; return one that was there before and shares memory with it."""
        if not held.array.size:
            return None
        owner = _owner(held.array)
        if owner:
            kin = self._owned.setdefault(owner, [])
            others = kin + self._foreign
        else:
            kin = self._foreign
            others = [other for group in self._owned.values() for other in group] + kin
        shared = next((other for other in others if held.shares(other)), None) if others else None
        kin.append(held)
        return shared


class Watch:
    """Everything that one run handed over and got back."""

    def __init__(self) -> None:
        self._given: List[Tuple[Given, str]] = []
        self._returned: List[Tuple[_Held, bytearray, Array]] = []
        self._strided: List[Tuple[_Held, bytearray, Array]] = []
        self._memories = _Memories()
        self._found: List[Observation] = []

    def give(self, given: List[Given], where: str) -> None:
        """Remember arguments."""
        for g in given:
            self._given.append((g, where))
            self._memories.add(_Held(g.array, g.argument.name, where))

    def take(self, array: Array, name: str, where: str) -> Array:
        """Remember a returned array; return a copy of it that nobody else holds."""
        content = bytearray(memoryview(array))  # type: ignore[arg-type]
        held = _Held(array, name, where)
        other = self._memories.add(held)
        if other is not None:
            self._found.append(_aliased(held, other))
        (self._returned if array.flags.c_contiguous else self._strided).append((held, content, array))
        return np.ndarray(array.shape, array.dtype, content)

    def look(self, where: str) -> Tuple[Observation, ...]:
        """Return what was found since the last look; each change is reported once."""
        found, self._found = self._found, []
        changed = [entry for entry in self._given if entry[0].changed()]
        if changed:
            self._given = [entry for entry in self._given if not any(entry is c for c in changed)]
            found.extend(Observation("mutated", g.argument.name, _by(origin, where)) for g, origin in changed)
        overwritten = [entry for entry in self._returned if entry[1] != entry[2]]
        overwritten += [entry for entry in self._strided if entry[1] != np.ascontiguousarray(entry[2])]
        if overwritten:
            self._returned = [entry for entry in self._returned if not any(entry is c for c in overwritten)]
            self._strided = [entry for entry in self._strided if not any(entry is c for c in overwritten)]
            found.extend(Observation("overwritten", entry[0].name, _by(entry[0].where, where)) for entry in overwritten)
        return tuple(found)


def _aliased(held: _Held, other: _Held) -> Observation:
    access = "" if held.array.flags.writeable else ", read-only"
    detail = "returned by {}{}; shares memory with {} of {}".format(held.where, access, other.name, other.where)
    return Observation("aliased", held.name, detail)


def _by(origin: str, where: str) -> str:
    return "of {}".format(origin) if origin == where else "of {}; changed by {}".format(origin, where)


def _cells(array: Array) -> Array:
    """The bytes of each element; of the long double those alone that hold the number, the rest may be anything."""
    cells = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)
    is_padded = array.dtype == np.longdouble and np.finfo(np.longdouble).nmant == 63
    return cells[:, :10] if is_padded else cells


def difference(found: Any, expected: Any) -> str:
    """Say how an array's bits differ from another's; "" where they do not."""
    if found is None or expected is None:
        return "" if found is expected else "present in one run only"
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return "{}{} instead of {}{}".format(found.dtype, found.shape, expected.dtype, expected.shape)
    cells, others = _cells(found), _cells(expected)
    if cells.tobytes() == others.tobytes():
        return ""
    places = np.flatnonzero((cells != others).any(axis=1))
    index = np.unravel_index(places[0], found.shape)
    where = tuple(int(i) for i in index)
    return "{} of {} elements differ, first at {}: {!r} instead of {!r}".format(
        len(places), found.size, where, found[where].item(), expected[where].item()
    )
