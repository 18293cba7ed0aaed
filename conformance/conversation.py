"""A program under way: which answer comes next, how long it may take, and the trace gathered so far."""

from time import perf_counter
from typing import Any, NamedTuple

from adapters.executor import Event
from adapters.program import Call, Failure, Program, StepTrace, Trace
from adapters.wire import Built, End, WireError


class Timeouts(NamedTuple):
    """Limits in seconds: until the adapter is loaded, for the first call of its kind on a spec, for each later one."""

    load: float = 120.0
    first: float = 60.0
    later: float = 20.0


class Collector:
    """Gathers the events of a program into its trace."""

    def __init__(self) -> None:
        self.begin = perf_counter()
        self.built: Built | None = None
        self.steps: list[StepTrace] = []
        self.end: End | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, Built):
            self.built = event
        elif isinstance(event, StepTrace):
            self.steps.append(event)
        elif isinstance(event, End):
            self.end = event

    def trace(self, failure: Failure | None = None, details: dict[str, Any] | None = None) -> Trace:
        """Return the trace; a failure is given where the end never came."""
        built, end = self.built, self.end or End(failure=failure)
        observations = (built.observations if built else ()) + end.observations
        return Trace(
            built.conventions if built else None,
            built.initial if built else (),
            tuple(self.steps),
            end.final,
            observations,
            failure or end.failure,
            (built.seconds if built else 0.0) + sum(step.seconds for step in self.steps) + end.seconds,
            perf_counter() - self.begin,
            details or {},
        )


class Awaited:
    """Which answer comes next, and how long it may take: compiled modes need long for the first call of a kind."""

    def __init__(self, program: Program, seen: set[Any], timeouts: Timeouts) -> None:
        self._program, self._seen, self._timeouts = program, seen, timeouts
        self._next = -1
        self._key = self._kind()

    @property
    def _call(self) -> Call | None:
        return self._program.calls[self._next] if 0 <= self._next < len(self._program.calls) else None

    def _kind(self) -> Any:
        """What makes a call the first of its kind: another spec, operation or gradient is compiled anew.

        Shapes do not count: free extents differ in nearly every case, so that every hang would take the long limit.
        """
        call = self._call
        if call is None:
            return (self._program.spec, "build" if self._next < 0 else "end")
        return (self._program.spec, call.op, call.dy is None, call.update, call.tape < 0, call.through)

    @property
    def _first(self) -> bool:
        return self._key not in self._seen

    @property
    def seconds(self) -> float:
        """Seconds that the next answer may take."""
        return self._timeouts.first if self._first else self._timeouts.later

    @property
    def limit(self) -> str:
        """The limit in words."""
        return f"{self.seconds:g} s, the limit for {'the first call of its kind' if self._first else 'later calls'}"

    @property
    def method(self) -> str:
        """The adapter's method that is probably running."""
        return self._call.op if self._call else ("build" if self._next < 0 else "")

    @property
    def what(self) -> str:
        """What is going on, in words."""
        if self._call:
            return f"call {self._next} ({self._call.op})"
        return "building" if self._next < 0 else "reading the final states or repeating the program"

    def checked(self, event: Any) -> Any:
        """Take the answer and expect the next one; WireError where it is not the one expected."""
        wanted = Built if self._next < 0 else StepTrace if self._call else End
        if isinstance(event, End):
            return event
        if not isinstance(event, wanted) or (isinstance(event, StepTrace) and event.index != self._next):
            raise WireError(f"an answer out of turn: {type(event).__name__} instead of {wanted.__name__}")
        self._seen.add(self._key)
        self._next += 1
        self._key = self._kind()
        return event
