"""Getting to know an implementation before the first drawn case: smoke, then whatever it does not declare."""

from collections.abc import Callable, Sequence
from typing import Any

from adapters.interface import Capabilities, Conventions, Spec
from adapters.program import Call, Failure, Program, Trace
from conformance.conversation import Timeouts
from conformance.session import DEFAULT_TIMEOUTS, Session, SessionError, open_target
from conformance.smoke import Example, example, ranks, smoke
from conformance.targets import Target

__all__ = ["FamiliarSession", "introduce", "meet"]

#: Packages whose implementations are known and need no introduction.
Say = Callable[[str], None]
_OURS = ("adapters.", "conformance.")


def _quiet(_: str) -> None:
    """Say nothing."""


class FamiliarSession(Session):
    """A session on an implementation that declared too little: what was found out stands in for declarations."""

    def __init__(self, inner: Session, capabilities: Capabilities, notes: Sequence[str]) -> None:
        self.inner = inner
        self.target = inner.target
        self.details = inner.details
        self.import_seconds = inner.import_seconds
        self.description = inner.description._replace(
            capabilities=capabilities, notes=(*inner.description.notes, *notes)
        )
        #: What was found out, in words.
        self.introduction = (_summary(capabilities), *notes)
        #: The conventions found, by spec; None where the implementation's own declaration stands.
        self.conventions: Callable[[Spec], Conventions] | None = None

    @property
    def restarts(self) -> int:
        """How often the host has been started again."""
        return self.inner.restarts

    def run(self, program: Program) -> Trace:
        """Run a program; its trace has the conventions that were found."""
        trace = self.inner.run(program)
        if self.conventions is None or trace.conventions is None:
            return trace
        return trace._replace(conventions=self.conventions(program.spec))

    def learn(self) -> tuple[str, ...]:
        """Measure the conventions, since none are declared; what was found, in words."""
        from conformance import wizard

        asked = example(ranks(self.description.capabilities)[0], self.description.capabilities)
        guess = self.inner.run(Program(asked.spec, (asked.before,), ())).conventions or Conventions()
        found = wizard.measure(self, guess)
        self.conventions = found.of
        self.introduction += found.lines
        self.description = self.description._replace(notes=(*self.description.notes, *found.lines))
        return found.lines

    def close(self) -> None:
        """End the session."""
        self.inner.close()


def _summary(capabilities: Capabilities) -> str:
    """What works, in words."""
    ranks_ = ", ".join(str(rank) for rank in capabilities.ranks)
    flags = "" if capabilities.flags else "; always with gamma and beta"
    gradients = "" if capabilities.training_gradients else "; no gradients"
    gradients = gradients if capabilities.training else "; inference only"
    return f"tried and there: ranks {ranks_}; {', '.join(capabilities.dtypes)}{flags}{gradients}"


def is_stranger(target: Target) -> bool:
    """Whether somebody else wrote it: such an implementation is met with an example before it is judged."""
    return not target.target.startswith(_OURS)


def meet(
    target: Target,
    *,
    path: Sequence[str] = (),
    in_process: bool = False,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    threads: int = 1,
    smoked: bool = True,
    say: Say = _quiet,
) -> Session:
    """Open a session on a target, and get to know it where it is somebody's own; without smoke where that is off.

    Raises SessionError where it is missing, and where smoke finds that its adapter is wrong, with advice.
    """
    try:
        session = open_target(target, path=path, in_process=in_process, timeouts=timeouts, threads=threads)
    except SessionError as error:
        if "No module named" in str(error) and not (target.python or target.environment):
            first, *rest = str(error).split("\n")
            advice = f"{first}; --python PATH runs it under an interpreter that has it"
            raise SessionError("\n".join([advice, *rest])) from error
        raise
    if not is_stranger(target):
        return session
    try:
        return introduce(session, target.name, smoked=smoked, say=say)
    except BaseException:
        session.close()
        raise


def introduce(session: Session, name: str, *, smoked: bool = True, say: Say = _quiet) -> Session:
    """Smoke a session, then find out what its implementation does not declare; each finding is said as it comes."""
    mistakes = smoke(session) if smoked else ()
    if mistakes:
        advice = "; ".join(mistakes)
        raise SessionError(f"{name}: nothing was judged, since the first example already shows: {advice}")
    if smoked:
        say("the first example looks right")
    undeclared = session.description.undeclared
    if not undeclared:
        return session
    found = session.description.capabilities, tuple[str, ...]()
    if "capabilities" in undeclared:
        found = find_capabilities(session)
    familiar = FamiliarSession(session, *found)
    for line in familiar.introduction:
        say(line)
    if "conventions" in undeclared and familiar.description.capabilities.training:
        for line in familiar.learn():
            say(line)
    return familiar


class _Trials:
    """Tries one thing after the other on an implementation, and notes what does not work."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.capabilities = session.description.capabilities
        self.notes: list[str] = []

    def works(self, what: str, asked: Example, *more: Call) -> bool:
        """Whether the example runs. A crash or a hang does not count as a refusal: the requirements will show it."""
        calls = [Call("train", 0, asked.x)] * self.capabilities.training + [Call("infer", 0, asked.x), *more]
        failure = self.session.run(Program(asked.spec, (asked.before,), tuple(calls))).failure
        if failure is None or failure.kind in ("crash", "timeout"):
            return True
        self.notes.append(f"tried and not there: {what} ({_first_line(failure)})")
        return False

    def narrow(self, **fields: Any) -> None:
        """Take something back that was declared on trial."""
        self.capabilities = self.capabilities._replace(**fields)


def _first_line(failure: Failure) -> str:
    return failure.message.split("\n", maxsplit=1)[0][:200]


def find_capabilities(session: Session) -> tuple[Capabilities, tuple[str, ...]]:
    """Try what the implementation declares on trial; what of it works, and notes on what does not."""
    trials = _Trials(session)
    declared = trials.capabilities
    works = [rank for rank in ranks(declared) if trials.works(f"rank {rank}", example(rank, declared))]
    trials.narrow(ranks=tuple(sorted(works)))
    if not works:
        return declared, tuple(trials.notes)
    rank = works[0]
    dtypes = [t for t in declared.dtypes if t == "float32" or trials.works(t, example(rank, declared, t))]
    trials.narrow(dtypes=tuple(dtypes))
    flags = all(trials.works(f"{flag}=False", example(rank, declared, "float32", flag)) for flag in ("center", "scale"))
    trials.narrow(flags=declared.flags and flags)
    if declared.second_order:
        asked = example(rank, declared)
        twice = Call("second_order", 0, asked.x, asked.dy, v=asked.x)
        trials.narrow(second_order=trials.works("second order", asked, twice))
    return trials.capabilities, tuple(trials.notes)
