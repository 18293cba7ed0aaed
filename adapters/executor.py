"""Running a program on an adapter's live layers, with everything watched that a pipe cannot show.

The same code serves a host and a session in the suite's own process. Runs on Python 3.6.
"""

from time import perf_counter
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from adapters.checks import STATE_FIELDS, Malformed, ResultChecks, check_conventions, kind_of
from adapters.interface import (
    Array,
    BatchNormAdapter,
    Capabilities,
    Conventions,
    Layer,
    State,
    Step,
    Unsupported,
)
from adapters.loader import AdapterError, describe, described, last_lines, load
from adapters.observer import Argument, Given, StateArgument, Watch, difference, spoil
from adapters.program import OPERATIONS, Call, Failure, Observation, Program, StepTrace
from adapters.wire import Built, End

__all__ = ["AdapterError", "Event", "describe", "execute", "load"]

#: What execute() yields: Built, then a StepTrace per call, then End; None is a sign of life in between.
Event = Union[Built, StepTrace, End, None]


_STATE_NAMES = tuple("state." + name for name in STATE_FIELDS)


class _Broken(Exception):
    """The program cannot go on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class _Inputs:
    """The arrays of a program, prepared once for all runs; an array used twice is prepared once."""

    def __init__(self, program: Program) -> None:
        self._arguments: Dict[Tuple[int, str], Argument] = {}
        self.states = [StateArgument(state) for state in program.states]
        self.calls = [self._call(call) for call in program.calls]

    def _call(self, call: Call) -> Tuple[List[Argument], Optional[StateArgument]]:
        arrays = [self._argument("x", call.x), self._argument("dy", call.dy)]
        state = None if call.state is None else StateArgument(call.state)
        return [a for a in arrays if a is not None], state

    def _argument(self, name: str, array: Optional[Array]) -> Optional[Argument]:
        if array is None:
            return None
        key = (id(array), name)
        if key not in self._arguments:
            self._arguments[key] = Argument(name, array)
        return self._arguments[key]


class _Run:
    """One pass over a program: layers of its own, fed with copies of the arrays."""

    def __init__(self, adapter: BatchNormAdapter, program: Program, inputs: _Inputs, checks: ResultChecks) -> None:
        self.adapter = adapter
        self.program = program
        self.inputs = inputs
        self.checks = checks
        self.layers: List[Layer] = []
        self.seconds = 0.0

    def ask(self, method: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call the adapter; whatever it raises ends the program, but a KeyboardInterrupt is the user's."""
        begin = perf_counter()
        try:
            return function(*arguments, **named)
        except Unsupported as refusal:
            raise _Broken(Failure("unsupported", str(refusal) or "no reason given", method)) from refusal
        except (Exception, SystemExit) as error:
            raise _Broken(Failure("error", described(error), method, last_lines(error))) from error
        finally:
            self.seconds += perf_counter() - begin

    def conventions(self) -> Conventions:
        """Return the conventions declared for the program's spec."""
        value = self.ask("conventions", self.adapter.conventions, self.program.spec)
        return _checked("conventions", check_conventions, value)

    def build(self, number: int) -> List[Given]:
        """Build a layer; return what was handed over."""
        state, given = self.inputs.states[number].give()
        layer = self.ask("build", self.adapter.build, self.program.spec, state)
        if not isinstance(layer, Layer):
            found = "build() returned {}, expected a Layer".format(kind_of(layer))
            raise _Broken(Failure("error", found, "build"))
        self.layers.append(layer)
        return given

    def call(self, index: int) -> Tuple[Any, List[Given]]:
        """Make a call; return its result (a Step, a State or None) and what was handed over."""
        call = self.program.calls[index]
        arguments, state = self.inputs.calls[index]
        layer = self.layers[call.layer]
        if call.op == "get_state":
            return self.state(call.layer), []
        if call.op == "apply_updates":
            return self.ask("apply_updates", layer.apply_updates), []
        if state is not None:
            copy, given = state.give()
            self.ask("set_state", layer.set_state, copy)
            return None, given
        given = [argument.give() for argument in arguments]
        method = layer.train if call.op == "train" else layer.infer
        named = {} if call.update or call.op == "infer" else {"update": False}
        value = self.ask(call.op, method, *[g.array for g in given], **named)
        return _checked(call.op, self.checks.step, value, call), given

    def state(self, number: int) -> State:
        """Read a layer's state."""
        value = self.ask("state", self.layers[number].state)
        return _checked("state", self.checks.state, value, self.program.states[number])


def _checked(method: str, check: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return check(*arguments)
    except Malformed as malformed:
        raise _Broken(Failure("error", str(malformed), method)) from malformed


def _check_program(program: Program) -> None:
    """A malformed program is the suite's mistake, not the adapter's."""
    for index, call in enumerate(program.calls):
        if call.op not in OPERATIONS or not 0 <= call.layer < len(program.states):
            raise ValueError("call {} is {!r} on layer {}".format(index, call.op, call.layer))
        wanted = (call.op in ("train", "infer"), call.op == "set_state")
        if (call.x is not None, call.state is not None) != wanted or (call.dy is not None and call.x is None):
            raise ValueError("call {}, {!r}, has the wrong arguments".format(index, call.op))
    if program.read not in ("every", "end"):
        raise ValueError("a program reads states 'every' or 'end', not {!r}".format(program.read))


class _Execution:
    """The watched run of a program, and the runs that repeat it."""

    def __init__(self, adapter: BatchNormAdapter, program: Program, capabilities: Capabilities) -> None:
        _check_program(program)
        self.adapter = adapter
        self.program = program
        self.inputs = _Inputs(program)
        self.checks = ResultChecks(program.spec, capabilities)
        self.watch = Watch()
        self.run = self.new_run()
        self.steps: List[StepTrace] = []
        self.initial: List[Optional[State]] = []
        self.reported = 0.0

    def new_run(self) -> _Run:
        return _Run(self.adapter, self.program, self.inputs, self.checks)

    def seconds(self) -> float:
        """Seconds in the adapter since this was last asked."""
        passed, self.reported = self.run.seconds - self.reported, self.run.seconds
        return passed

    def events(self) -> Iterator[Event]:
        final: Tuple[State, ...] = ()
        failure = None
        try:
            yield from self.build()
            for index in range(len(self.program.calls)):
                step = self.step(index)
                self.steps.append(step)
                yield step
            final = self.final()
        except _Broken as broken:
            failure = broken.failure
        observations = self.watch.look("the last call that was made")
        seconds = self.seconds()
        if self.program.repeat and failure is None:
            for run, kind in ((self.new_run(), "nondeterministic"), (self.new_run(), "retained")):
                found: List[Observation] = []
                yield from self.repeat(run, kind, final, found)
                observations += tuple(found)
                seconds += run.seconds
                if found:
                    break
        yield End(final, observations, failure, seconds)

    def build(self) -> Iterator[Event]:
        conventions = self.run.conventions()
        every = self.program.read == "every"
        for number in range(len(self.program.states)):
            if number:
                yield None
            where = "building layer {}".format(number)
            self.watch.give(self.run.build(number), where)
            self.initial.append(self.read(number, "reading layer {}".format(number)) if every else None)
        yield Built(conventions, tuple(self.initial), self.watch.look("building"), self.seconds())

    def step(self, index: int) -> StepTrace:
        call = self.program.calls[index]
        where = "call {} ({})".format(index, call.op)
        value, given = self.run.call(index)
        self.watch.give(given, where)
        step = self.keep_step(value, where) if isinstance(value, Step) else None
        state = self.keep_state(value, where) if isinstance(value, State) else None
        if state is None and self.program.read == "every":
            state = self.read(call.layer, "the state after " + where)
        return StepTrace(index, step, state, self.watch.look(where), self.seconds())

    def final(self) -> Tuple[State, ...]:
        """With one layer the last state read is the final one; several are read again, lest one changed another."""
        if self.program.read == "every" and len(self.program.states) == 1:
            states = self.initial + [step.state for step in self.steps]
            return tuple(state for state in states[-1:] if state is not None)
        return tuple(self.read(n, "the final state of layer {}".format(n)) for n in range(len(self.program.states)))

    def read(self, number: int, where: str) -> State:
        return self.keep_state(self.run.state(number), where)

    def keep_step(self, step: Step, where: str) -> Step:
        take = self.watch.take
        kept = {name: take(a, name, where) for name, a in zip(Step._fields, step) if a is not None}
        return Step(**kept)

    def keep_state(self, state: State, where: str) -> State:
        take = self.watch.take
        gamma, beta, mean, variance = [
            None if a is None else take(a, name, where) for name, a in zip(_STATE_NAMES, state[:4])
        ]
        extra = {key: take(a, "state.extra[{!r}]".format(key), where) for key, a in state.extra.items()}
        return State(gamma, beta, mean, variance, extra)

    def repeat(self, run: _Run, kind: str, final: Sequence[State], found: List[Observation]) -> Iterator[Event]:
        """Run the program again and add what differs; spoiling each argument after its call shows what is kept."""
        try:
            for number in range(len(self.program.states)):
                self.reuse(run.build(number), kind)
                if self.program.read == "every":
                    found.extend(_state_differences(kind, run.state(number), self.initial[number], "at the start"))
                yield None
            for index, expected in enumerate(self.steps):
                value, given = run.call(index)
                self.reuse(given, kind)
                found.extend(self.differences(run, kind, value, expected))
                if kind == "retained" and isinstance(value, Step):
                    spoil_results(value)
                yield None
            if not (self.program.read == "every" and len(self.program.states) == 1):
                for number, state in enumerate(final):
                    found.extend(_state_differences(kind, run.state(number), state, "at the end"))
        except _Broken as broken:
            what = broken.failure.method + "()"
            found.append(Observation(kind, what, "worked, then failed when run again: " + broken.failure.message))

    def reuse(self, given: Sequence[Given], kind: str) -> None:
        if kind == "retained":
            for g in given:
                g.spoil()

    def differences(self, run: _Run, kind: str, value: Any, expected: StepTrace) -> List[Observation]:
        call = self.program.calls[expected.index]
        where = "in call {} ({})".format(expected.index, call.op)
        found = []
        if isinstance(value, Step) and expected.step is not None:
            for name, a, b in zip(Step._fields, value, expected.step):
                found.extend(_difference(kind, name, a, b, where))
        if expected.state is not None:
            state = value if isinstance(value, State) else run.state(call.layer)
            found.extend(_state_differences(kind, state, expected.state, where.replace("in", "after", 1)))
        return found


def spoil_results(step: Step) -> None:
    """Overwrite what a call returned: it is the caller's own."""
    for array in step:
        if array is not None and array.flags.writeable:
            spoil(array)


def _difference(kind: str, name: str, found: Any, expected: Any, where: str) -> List[Observation]:
    text = difference(found, expected)
    return [Observation(kind, name, "{}: {}".format(where, text))] if text else []


def _state_differences(kind: str, found: State, expected: Optional[State], where: str) -> List[Observation]:
    if expected is None:
        return []
    result = []
    for name, a, b in zip(STATE_FIELDS, found, expected):
        result.extend(_difference(kind, "state." + name, a, b, where))
    for key in sorted(set(found.extra) | set(expected.extra)):
        name = "state.extra[{!r}]".format(key)
        result.extend(_difference(kind, name, found.extra.get(key), expected.extra.get(key), where))
    return result


def execute(
    adapter: BatchNormAdapter, program: Program, capabilities: Optional[Capabilities] = None
) -> Iterator[Event]:
    """Run a program; yield Built, a StepTrace as soon as each call is done, then End; None is a sign of life.

    Where the program breaks, End has the failure and what could not be yielded is missing. ``capabilities`` are
    those of the adapter's description, which is asked where they are not given. Raises ValueError for a program
    that makes no sense, AdapterError for a description that does not.
    """
    known = describe(adapter).capabilities if capabilities is None else capabilities
    return _Execution(adapter, program, known).events()
