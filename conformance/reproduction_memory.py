"""Scripts of failures that no single result shows: memory that is shared or changed, and runs that differ."""

from collections.abc import Callable
from typing import Literal

from adapters.interface import Array, Spec
from adapters.program import Call
from conformance.judge import Run
from conformance.reproduction_kinds import Kind, Lines, present
from conformance.reproduction_writer import Writer

How = Literal["again", "spoiled", "replaced", "alone"]

_WATCH = """
#: Arrays that were handed over and that came back: their names, themselves, and what they were.
given, returned = [], []


def give(name, a):
    # With what is between its elements, where it is a part of something larger.
    memory = a if a.base is None else a.base
    given.append((name, memory, memory.tobytes()))


def take(name, a):
    returned.append((name, a, a.tobytes()))

""".splitlines()
_SEEN = """
wrong = [f"{name} was changed" for name, a, before in given if a.tobytes() != before]
wrong += [f"{name} changed after it was returned" for name, a, before in returned if a.tobytes() != before]
for number, (name, a, _) in enumerate(returned):
    for other, b, _ in given + returned[:number]:
        if np.shares_memory(a, b):
            wrong.append(f"{name} shares memory with {other}")
print("\\n".join(wrong) or "No array was changed or shared.")
sys.exit(1 if wrong else 0)
""".splitlines()
_REUSE = """
places = {}


def hand_over(name, a, reuse):
    \"\"\"A copy of the array; with reuse in the same memory each time, as a caller may have it.\"\"\"
    if not reuse:
        return a.copy()
    place = places.setdefault((name, a.shape, a.dtype), np.empty_like(a))
    place[...] = a
    return place


def spoil(*arrays):
    \"\"\"Change arrays that are the caller's own.\"\"\"
    for a in arrays:
        if a is not None and a.flags.writeable:
            a[...] = 7 - 3 * a

""".splitlines()
_COMPARED = """
differ = [name for name, bits in program({first}) if (name, bits) not in {{*program({second})}}]
print("\\n".join(name + " differs" for name in differ) or "Both runs give the same bits.")
sys.exit(1 if differ else 0)
"""


class Watched(Writer):
    """A call changes its arguments or earlier results, or shares memory with them."""

    def __init__(self, make: Callable[[Spec], Kind], run: Run) -> None:
        super().__init__(make, run, len(run.program.calls) - 1)

    def handed(self, what: str, name: str, a: Array | None) -> str:
        """Remember it."""
        self.arrays.append(f"give({what!r}, {name})")
        return name

    def returned(self, number: int, names: list[str]) -> None:
        """Remember them."""
        for name in names:
            self.body.append(f"take('{name} of step {number}', {name})")
        self._read(number, self.calls[number].layer)

    def _read(self, number: int, layer: int) -> None:
        """Where reading the state gives arrays, those count too."""
        if self.kind.contract and self.run.program.read == "every":
            for name in present(self.spec):
                self.body.append(f"take('{name} after step {number}', {self.kind.read(self.layer(layer), name)})")

    def framed(self) -> Lines:
        """With the helpers before."""
        return [*_WATCH, *super().framed()]

    def end(self) -> Lines:
        """Look at everything once more."""
        return _SEEN


class Variants(Writer):
    """Two runs of one program differ.

    "again": the same again. "spoiled": its arguments and results are changed after each call. "replaced": its layers
    are replaced by others of their state. "alone": there are other layers, too.
    """

    def __init__(self, make: Callable[[Spec], Kind], run: Run, how: How) -> None:
        super().__init__(make, run, len(run.program.calls) - 1)
        self.how = how
        self.handed_now: list[str] = []

    def handed(self, what: str, name: str, a: Array | None) -> str:
        """A copy in each run."""
        copy = f"{name}_"
        role, *_ = what.split()
        made = f"hand_over({role!r}, {name}, changed)" if self.how == "spoiled" else f"{name}.copy(order='K')"
        self.body.append(f"{copy} = {made}")
        self.handed_now.append(copy)
        return copy

    def others(self, layer: int) -> bool:
        """Whether a layer is one of those that are there in one of two runs only."""
        return self.how == "alone" and layer != self.calls[-1].layer

    def step(self, number: int, call: Call) -> None:
        """The step, then what it did to the state."""
        self.handed_now.clear()
        start = len(self.body)
        super().step(number, call)
        if self.run.program.read == "every" or call.op == "get_state":
            self._keep_state(call.layer, f"after step {number}")
        if call.state is not None:
            self._spoil([])
        if self.others(call.layer):
            self.body[start:] = conditional(self.body[start:])

    def _keep_state(self, layer: int, when: str) -> None:
        for name, expression in self.kind.bits(self.layer(layer)):
            self.body.append(f"found.append(('{name} {when}', {expression}))")

    def _spoil(self, results: list[str]) -> None:
        if self.how == "spoiled" and self.handed_now + results:
            self.body += ["if changed:", f"    spoil({', '.join(self.handed_now + results)})"]

    def build(self) -> None:
        """The layers, and what was given to make them."""
        super().build()
        self._spoil([])

    def returned(self, number: int, names: list[str]) -> None:
        """Keep the bits."""
        for name in names:
            self.body.append(f"found.append(('{name} of step {number}', np.array({name}).tobytes()))")
        self._spoil(names)

    def renew(self, layer: str, call: Call) -> None:
        """In one of the two runs."""
        lines = self.renewed(layer, call)
        self.body += conditional(lines) if self.how == "replaced" else lines

    def framed(self) -> Lines:
        """The steps as a function."""
        helpers = _REUSE if self.how == "spoiled" else [""]
        for number in range(len(self.run.program.states)):
            if not self.others(number):
                self._keep_state(number, f"of {self.layer(number)} at the end")
        body = ["    " + line if line.strip() else line for text in self.body for line in text.splitlines()]
        return [
            *helpers,
            *self.arrays,
            "",
            "",
            "def program(changed):",
            "    found = []",
            *body,
            "    return found",
            "",
        ]

    def end(self) -> Lines:
        """Run twice: what the plain one gives must be in the other, too."""
        both = ("False", "False") if self.how == "again" else ("False", "True")
        return _COMPARED.format(first=both[0], second=both[1]).splitlines()


def conditional(lines: Lines) -> Lines:
    """Lines that are run in one of two runs only."""
    return ["if changed:", *("    " + line for text in lines for line in text.splitlines())]


class Twins(Writer):
    """A step differs from an earlier one of the same inputs."""

    def __init__(self, make: Callable[[Spec], Kind], run: Run, first: int, second: int, quantity: str) -> None:
        super().__init__(make, run, second)
        self.first, self.second, self.quantity = first, second, quantity

    def returned(self, number: int, names: list[str]) -> None:
        """Keep the earlier one."""
        if number == self.first:
            self.body.append(f"earlier = np.array({self.quantity})")

    def end(self) -> Lines:
        """Compare bits."""
        return [
            f"\nlater = np.asarray({self.quantity})",
            "cells = [np.ascontiguousarray(a).reshape(a.size, 1).view(np.uint8) for a in (earlier, later)]",
            "differs = (cells[0] != cells[1]).any(axis=1).reshape(later.shape)",
            "for place in np.argwhere(differs)[:8]:",
            "    at = tuple(int(i) for i in place)",
            f"    values = f'{{earlier[at]!r}} in step {self.first}, {{later[at]!r}} in step {self.second}'",
            f"    print(f'{self.quantity}{{list(at)}}: {{values}}')",
            f"where = '{self.quantity} differ between two equal steps, {self.first} and {self.second}.'",
            "print(f'{np.count_nonzero(differs)} of {differs.size} elements of {where}')",
            "sys.exit(1 if differs.any() else 0)",
        ]
