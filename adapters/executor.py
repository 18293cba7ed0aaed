"""Running a program on an adapter's live layers, with everything watched that a pipe cannot show.

The same code serves a host and a session in the suite's own process. Runs on Python 3.6.
"""

from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

from adapters.checks import STATE_FIELDS, ResultChecks
from adapters.interface import BatchNormAdapter, Capabilities, State, Step
from adapters.loader import AdapterError, describe, load
from adapters.observer import Given, Watch, difference, spoil
from adapters.passes import Broken, Inputs, Pass
from adapters.program import OPERATIONS, Call, Observation, Program, Second, StepTrace
from adapters.wire import Built, End

__all__ = ["AdapterError", "Event", "describe", "execute", "load"]

#: What execute() yields: Built, then a StepTrace per call, then End; None is a sign of life in between.
Event = Union[Built, StepTrace, End, None]


_STATE_NAMES = tuple("state." + name for name in STATE_FIELDS)


def _check_program(program: Program) -> None:
    """A malformed program is the suite's mistake, not the adapter's."""
    recorded = set()
    for index, call in enumerate(program.calls):
        if call.op not in OPERATIONS or not 0 <= call.layer < len(program.states):
            raise ValueError("call {} is {!r} on layer {}".format(index, call.op, call.layer))
        if not _fitting(call):
            raise ValueError("call {}, {!r}, has the wrong arguments".format(index, call.op))
        if call.op == "backward" and (call.tape, call.layer) not in recorded:
            raise ValueError("call {} runs tape {} of layer {}, which is none".format(index, call.tape, call.layer))
        recorded.add((call.tape, call.layer))
    if program.read not in ("every", "end"):
        raise ValueError("a program reads states 'every' or 'end', not {!r}".format(program.read))


def _fitting(call: Call) -> bool:
    """Whether a call has the arguments that its operation takes."""
    given = {name for name in ("x", "dy", "v", "state") if getattr(call, name) is not None}
    forward = call.op in ("train", "infer")
    # The gradients of a recorded call are those of its backward passes.
    free = {"dy"} if forward and call.tape < 0 else set()
    plain = call.times == 1 or (call.op == "train" and call.tape < 0)
    if call.op == "backward" and call.tape < 0:
        return False
    return given - free == set(OPERATIONS[call.op]) - free and plain and (call.update or call.tape < 0)


class _Execution:
    """The watched run of a program, and the runs that repeat it."""

    def __init__(self, adapter: BatchNormAdapter, program: Program, capabilities: Capabilities) -> None:
        _check_program(program)
        self.adapter = adapter
        self.program = program
        self.inputs = Inputs(program)
        self.checks = ResultChecks(program.spec, capabilities)
        self.watch = Watch()
        self.run = self.new_run()
        self.steps: List[StepTrace] = []
        self.initial: List[Optional[State]] = []
        self.reported = 0.0

    def new_run(self) -> Pass:
        return Pass(self.adapter, self.program, self.inputs, self.checks)

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
        except Broken as broken:
            failure = broken.failure
        observations = self.watch.look("the last call that was made")
        seconds = self.seconds()
        self.run.end()
        if self.program.repeat and failure is None:
            for run, kind in ((self.new_run(), "nondeterministic"), (self.new_run(), "retained")):
                found: List[Observation] = []
                yield from self.repeat(run, kind, final, found)
                run.end()
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
        second = self.keep_second(value, where) if isinstance(value, Second) else None
        state = self.keep_state(value, where) if isinstance(value, State) else None
        if state is None and self.program.read == "every":
            state = self.read(call.layer, "the state after " + where)
        return StepTrace(index, step, state, self.watch.look(where), self.seconds(), second)

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

    def keep_second(self, second: Second, where: str) -> Second:
        take = self.watch.take
        kept = {name: take(a, "gradient of " + name, where) for name, a in zip(Second._fields, second) if a is not None}
        return Second(**kept)

    def keep_state(self, state: State, where: str) -> State:
        take = self.watch.take
        gamma, beta, mean, variance = [
            None if a is None else take(a, name, where) for name, a in zip(_STATE_NAMES, state[:4])
        ]
        extra = {key: take(a, "state.extra[{!r}]".format(key), where) for key, a in state.extra.items()}
        return State(gamma, beta, mean, variance, extra)

    def repeat(self, run: Pass, kind: str, final: Sequence[State], found: List[Observation]) -> Iterator[Event]:
        """Run the program again and add what differs.

        Spoiling each argument after its call, and filling it anew for the next, shows what is kept.
        """
        if kind == "retained":
            run.buffers = {}
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
                if kind == "retained" and isinstance(value, (Step, Second)):
                    spoil_results(value)
                yield None
            if not (self.program.read == "every" and len(self.program.states) == 1):
                for number, state in enumerate(final):
                    found.extend(_state_differences(kind, run.state(number), state, "at the end"))
        except Broken as broken:
            what = broken.failure.method + "()"
            found.append(Observation(kind, what, "worked, then failed when run again: " + broken.failure.message))

    def reuse(self, given: Sequence[Given], kind: str) -> None:
        if kind == "retained":
            for g in given:
                g.spoil()

    def differences(self, run: Pass, kind: str, value: Any, expected: StepTrace) -> List[Observation]:
        call = self.program.calls[expected.index]
        where = "in call {} ({})".format(expected.index, call.op)
        found = []
        for results in (expected.step, expected.second):
            if results is not None and type(value) is type(results):
                for name, a, b in zip(results._fields, value, results):
                    found.extend(_difference(kind, name, a, b, where))
        if expected.state is not None:
            state = value if isinstance(value, State) else run.state(call.layer)
            found.extend(_state_differences(kind, state, expected.state, where.replace("in", "after", 1)))
            if kind == "retained":
                spoil_results(state)
        return found


def spoil_results(results: Union[Step, Second, State]) -> None:
    """Overwrite what a call returned: it is the caller's own."""
    extra = list(results.extra.values()) if isinstance(results, State) else []
    for array in [*results[:4], *extra]:
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
