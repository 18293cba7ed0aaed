"""One pass over a program: an adapter's live layers, the calls made on them, and what they returned, checked.

Runs on Python 3.6.
"""

import pathlib
import tempfile
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Tuple

from adapters.checks import Malformed, ResultChecks, check_conventions, kind_of
from adapters.interface import Array, BatchNormAdapter, Conventions, Layer, Spec, State, Step, Tape, Unsupported
from adapters.loader import described, last_lines
from adapters.observer import Argument, Given, StateArgument
from adapters.program import Call, Failure, Program


class Broken(Exception):
    """The program cannot go on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class Inputs:
    """The arrays of a program, prepared once for all runs; an array used twice is prepared once."""

    def __init__(self, program: Program) -> None:
        self._arguments: Dict[Tuple[int, str], Argument] = {}
        self.states = [StateArgument(state) for state in program.states]
        self.calls = [self._call(call) for call in program.calls]

    def _call(self, call: Call) -> Tuple[List[Argument], Optional[StateArgument]]:
        arrays = [self._argument("x", call.x), self._argument("dy", call.dy), self._argument("v", call.v)]
        state = None if call.state is None else StateArgument(call.state)
        return [a for a in arrays if a is not None], state

    def _argument(self, name: str, array: Optional[Array]) -> Optional[Argument]:
        if array is None:
            return None
        key = (id(array), name)
        if key not in self._arguments:
            self._arguments[key] = Argument(name, array)
        return self._arguments[key]


class Pass:
    """One pass over a program: layers of its own, fed with copies of the arrays."""

    def __init__(self, adapter: BatchNormAdapter, program: Program, inputs: Inputs, checks: ResultChecks) -> None:
        self.adapter = adapter
        self.program = program
        self.inputs = inputs
        self.checks = checks
        self.layers: List[Layer] = []
        self.tapes: Dict[int, Tape] = {}
        self.bystanders: List[Layer] = []
        #: Arrays that are handed over again, filled anew, where they are: a caller may reuse its buffers.
        self.buffers: Optional[Dict[Any, Given]] = None
        self.seconds = 0.0

    def ask(self, method: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call the adapter; whatever it raises ends the program, but a KeyboardInterrupt is the user's."""
        begin = perf_counter()
        try:
            return function(*arguments, **named)
        except Unsupported as refusal:
            raise Broken(Failure("unsupported", str(refusal) or "no reason given", method)) from refusal
        except (Exception, SystemExit) as error:
            raise Broken(Failure("error", described(error), method, last_lines(error))) from error
        finally:
            self.seconds += perf_counter() - begin

    def conventions(self) -> Conventions:
        """Return the conventions declared for the program's spec."""
        value = self.ask("conventions", self.adapter.conventions, self.program.spec)
        return checked("conventions", check_conventions, value)

    def build(self, number: int) -> List[Given]:
        """Build a layer, or restore it where the program says so; return what was handed over."""
        if self.program.saved:
            self.layers.append(self.restored(self.adapter, self.program.saved[number]))
            return []
        state, given = self.inputs.states[number].give()
        self.layers.append(self.made("build", self.adapter.build, state))
        return given

    def made(self, method: str, function: Callable[..., Any], *arguments: Any, spec: Optional[Spec] = None) -> Layer:
        """Ask the adapter for a layer, of the program's spec where no other is given."""
        layer = self.ask(method, function, spec or self.program.spec, *arguments)
        if not isinstance(layer, Layer):
            found = "{}() returned {}, expected a Layer".format(method, kind_of(layer))
            raise Broken(Failure("error", found, method))
        return layer

    def restored(self, adapter: BatchNormAdapter, path: str) -> Layer:
        """A layer read from what was saved at the path."""
        return self.made("restore", adapter.restore, path)

    def call(self, index: int) -> Tuple[Any, List[Given]]:
        """Make a call; return its result (a Step, a Second, a State or None) and what was handed over."""
        call = self.program.calls[index]
        arguments, state = self.inputs.calls[index]
        layer = self.layers[call.layer]
        if call.op == "get_state":
            return self.state(call.layer), []
        if call.op == "apply_updates":
            return self.ask("apply_updates", layer.apply_updates), []
        if call.op == "save":
            return self.ask("save", layer.save, call.path), []
        if call.op == "reload":
            self.reload(call)
            return None, []
        if state is not None:
            copy, given = state.give()
            self.ask("set_state", layer.set_state, copy)
            return None, given
        given = [self.given(argument) for argument in arguments]
        if call.op == "meanwhile":
            self.meanwhile(call, given[0].array)
            return None, given
        return self.compute(call, layer, [g.array for g in given]), given

    def given(self, argument: Argument) -> Given:
        """The argument as it is handed over: a new copy, or an earlier one that is filled anew."""
        if self.buffers is None:
            return argument.give()
        key = (argument.name, argument.layout)
        earlier = self.buffers.get(key)
        self.buffers[key] = argument.give() if earlier is None else argument.refill(earlier)
        return self.buffers[key]

    def meanwhile(self, call: Call, x: Array) -> None:
        """Build and use a layer of another spec; an adapter that has no such layer is asked for none."""
        spec = self.program.spec
        decay = 0.25 if spec.decay > 0.5 else 0.75
        other = spec._replace(epsilon=2 * spec.epsilon + 0.5, decay=decay)
        state, _ = self.inputs.states[call.layer].give()
        try:
            layer = self.made("build", self.adapter.build, state, spec=other)
            self.bystanders.append(layer)
            self.ask("train", layer.train, x)
            self.ask("infer", layer.infer, x)
        except Broken as broken:
            if broken.failure.kind != "unsupported":
                raise

    def compute(self, call: Call, layer: Layer, arrays: List[Array]) -> Any:
        """Make a call that computes something."""
        if call.op == "second_order":
            return checked(call.op, self.checks.second, self.ask(call.op, layer.second_order, *arrays), call)
        if call.op == "backward":
            value = self.ask("backward", self.tapes[call.tape].backward, *arrays)
        elif call.tape >= 0:
            tape = self.ask("tape", layer.tape, arrays[0], call.op == "train")
            self.tapes[call.tape] = tape
            value = Step(self.ask("tape", getattr, tape, "y"))
        else:
            method = layer.train if call.op == "train" else layer.infer
            named = {} if call.update or call.op == "infer" else {"update": False}
            for _ in range(call.times - 1):
                self.ask(call.op, method, *arrays, **named)
            value = self.ask(call.op, method, *arrays, **named)
        return checked(call.op, self.checks.step, value, call)

    def reload(self, call: Call) -> None:
        """Put a new layer in the place of the call's layer, or of all where a process would be a new one."""
        if call.through == "state":
            state, _ = StateArgument(self.state(call.layer)).give()
            self.layers[call.layer] = self.made("build", self.adapter.build, state)
            return
        fresh = call.through == "process"
        adapter = self.ask("__init__", getattr(self.adapter, "again", type(self.adapter))) if fresh else self.adapter
        for number in range(len(self.layers)) if fresh else [call.layer]:
            with tempfile.TemporaryDirectory() as folder:
                path = str(pathlib.Path(folder) / "layer")
                self.ask("save", self.layers[number].save, path)
                restored = self.restored(adapter, path)
            if call.through != "checkpoint":
                self.layers[number] = restored

    def end(self) -> None:
        """Let go of all layers: an adapter may use what they held for the layers of the next pass."""
        self.layers.clear()
        self.bystanders.clear()
        self.tapes.clear()

    def state(self, number: int) -> State:
        """Read a layer's state."""
        value = self.ask("state", self.layers[number].state)
        return checked("state", self.checks.state, value, self.program.states[number])


def checked(method: str, check: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a check makes of a result; what is no result ends the program."""
    try:
        return check(*arguments)
    except Malformed as malformed:
        raise Broken(Failure("error", str(malformed), method)) from malformed
