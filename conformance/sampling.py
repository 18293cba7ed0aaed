"""Picks a few cases of a pool in which everything occurs that occurs in the pool, on as few specs as that takes.

In a quick run of many systems it is what those get that share their computation with another one of the run.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence

import msgspec

from adapters.interface import Capabilities, Spec, State
from adapters.registry import REGISTRY
from conformance._results import outcome
from conformance.capability import refusal
from conformance.case import Backward, Case, Drawn, Infer, Instruction, Reload, SetState, Train
from conformance.pool import Pool, Pooled, fitted
from conformance.requirements import Requirement
from conformance.rewrite import asked
from conformance.session import Session
from conformance.specs import recast
from conformance.survey import Progress, survey
from conformance.tally import Survey
from conformance.targets import Target, base_name

#: What the first case on a spec costs besides, in cases on specs that have one: a graph and its gradients are built.
_COST_OF_SPEC = 2.0
#: Families that are about shapes, types and conventions: their cases stay on their own specs.
_OF_SHAPES = (6, 8)
#: Families with requirements of their own about an epsilon of zero, and about decays of zero and one.
_OF_LIMITS, _LIMITS = (3, 5), (0.0, 1.0)
#: What the shared specs have: nothing that is its own complement, or that single precision holds exactly.
_CHANNELS, _EPSILONS, _DECAYS = (3, 8, 5, 17, 4), (1e-3, 1e-5, 0.1, 1e-8), (0.9, 0.8, 0.99, 0.3)
#: Added to the number of a case that was moved to another spec.
_MOVED = 1000
_KIN = {entry.name: entry.kin for entry in REGISTRY if entry.kin}


def with_kin(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets, those that compute as another one of theirs does marked as its kin: a sample is enough for them."""
    names = {target.name for target in targets}
    found = []
    for target in targets:
        at = f"@{target.environment}" if target.environment else ""
        kin = _KIN.get(base_name(target.name), "") + at
        fact = "cases", f"a sample of them: it computes as {kin} does"
        found.append(target._replace(kin=kin, facts=(*target.facts, fact)) if kin in names else target)
    return tuple(found)


def sample(pool: Pool, capabilities: Capabilities) -> tuple[Pool, Pool]:
    """A sample of the pool for an implementation, in its order, and what is left of the pool.

    Cases that are refused cost nothing and stay.
    """
    moved = [(n, p) if pool.family in _OF_SHAPES else _moved(n, p, capabilities) for n, p in pool.numbered]
    if all(n < _MOVED for n, _ in moved):
        pool = fitted(pool, capabilities)
        moved = list(pool.numbered)
    allowed = {n: p for n, p in moved if not refusal(p.case.spec, capabilities)}
    chosen = set(
        _covering({n: set(_features(asked(p.case, capabilities), pool.family)) for n, p in allowed.items()}, allowed)
    )
    kept = [(n, p) for n, p in moved if n in chosen or n not in allowed]
    left = [(n, p) for n, p in moved if n in allowed and n not in chosen]
    return _of(pool, kept), _of(pool, left)


def _of(pool: Pool, numbered: list[tuple[int, Pooled]]) -> Pool:
    """The pool with these cases."""
    specs = tuple(dict.fromkeys((*pool.specs, *(p.case.spec for _, p in numbered))))
    return pool._replace(specs=specs, cases=tuple(p for _, p in numbered), numbers=tuple(n for n, _ in numbered))


def survey_sample(pool: Pool, requirements: Sequence[Requirement], session: Session, progress: Progress) -> Survey:
    """Survey a sample of the pool; where that is too little evidence for a requirement, go on with it alone."""
    capabilities = session.description.capabilities
    picked, left = sample(pool, capabilities)
    found = survey(picked, requirements, session, progress=progress)
    for number, pooled in _spare(pool, left, capabilities):
        tallies = [tally for tally in found.tallies.values() if tally.requirement.family == pool.family]
        short = [t.requirement for t in tallies if outcome(t, found, capabilities, None)[0] == "mistrusted"]
        if not short or found.stopped:
            break
        found.merge(survey(_of(left, [(number, pooled)]), short, session))
    return found


def _spare(pool: Pool, left: Pool, capabilities: Capabilities) -> Iterator[tuple[int, Pooled]]:
    """What is left of a pool, then what is drawn for an implementation that refuses much of it."""
    yield from left.numbered
    yield from itertools.islice(fitted(pool, capabilities).numbered, len(pool.cases), None)


def _moved(number: int, pooled: Pooled, capabilities: Capabilities) -> tuple[int, Pooled]:
    """A case on a spec that all families share: its data and steps stay, and its number says that it is another one."""
    spec = _shared(recast(pooled.case.spec, capabilities), pooled.family in _OF_LIMITS)
    if not pooled.choices or len(pooled.case.spec.axis) > 1 or refusal(spec, capabilities):
        return number, pooled
    return number + _MOVED, Pooled(msgspec.structs.replace(pooled.case, spec=spec), b"", pooled.family)


def _shared(spec: Spec, limits: bool) -> Spec:
    """The spec of that rank and those flags that stands for all of them."""
    kind = spec.rank + spec.center + 2 * spec.scale
    shape = (*(None,) * (spec.rank - 1), _CHANNELS[kind % len(_CHANNELS)])
    epsilon = 0.0 if limits and not spec.epsilon else _EPSILONS[kind % len(_EPSILONS)]
    decay = spec.decay if limits and spec.decay in _LIMITS else _DECAYS[kind % len(_DECAYS)]
    return spec._replace(shape=shape, axis=(-1,), epsilon=epsilon, decay=decay)


def _covering(features: dict[int, set[Hashable]], cases: dict[int, Pooled]) -> Iterator[int]:
    """Numbers of cases that have all features between them: again and again that which adds most for its cost.

    What was not drawn, but given to the run, is always among them.
    """
    missing: set[Hashable] = set().union(*features.values())
    there = set()
    yield from (n for n, pooled in cases.items() if n < _MOVED and not pooled.choices)
    while missing:
        best = max(
            features, key=lambda n: len(features[n] & missing) / (1 + _COST_OF_SPEC * (_graph(cases[n]) not in there))
        )
        missing -= features.pop(best)
        there.add(_graph(cases[best]))
        yield best


def _graph(pooled: Pooled) -> Hashable:
    """What a graph is built for."""
    return pooled.case.spec._replace(axis=pooled.case.spec.channel_axes)


def _features(case: Case, family: int) -> Iterator[Hashable]:
    """What occurs in a case: in its spec, in its data, in its steps and from one step to the next."""
    spec = case.spec
    if family in _OF_SHAPES:
        yield "rank", spec.rank, spec.axis[0] < 0
        yield "axes", spec.channel_axes
    if family in _OF_LIMITS:
        yield "limits", spec.epsilon == 0, spec.decay if spec.decay in _LIMITS else None
    yield "flags", spec.center, spec.scale, _is_mild(case)
    yield "dtype", spec.dtype
    yield "layers", case.read, case.repeat, len(case.starts)
    yield from (("poisoned", poison.of) for start in case.starts for poison in start.poison)
    yield from (_written(step) for step in case.program)
    # Each way to reload is there once: a new process imports the framework anew.
    yield from itertools.pairwise(type(step).__name__ for step in case.program)
    for number, step in enumerate(case.program):
        if isinstance(step, Backward):
            yield type(case.recorded(number)), type(case.program[number - 1]), Backward
        x = getattr(step, "x", None)
        if isinstance(x, Drawn):
            yield from (("pattern", channel.pattern) for channel in x.channels)
            yield "input", x.layout, bool(x.poison), set(x.sizes) == {1}


def _is_mild(case: Case) -> bool:
    """Whether its first input is one in which most faults show."""
    x = next((step.x for step in case.program if isinstance(step, Train | Infer)), None)
    return isinstance(x, Drawn) and all(abs(c.offset) <= 2 and c.pattern != "constant" for c in x.channels)


def _written(step: Instruction) -> str:
    """A step without its layer and its values: what is done, and in which way."""
    kind = type(step).__name__
    if isinstance(step, Reload):
        return f"{kind} {step.through}"
    if isinstance(step, SetState):
        given = [name for name in State._fields[:4] if getattr(step.state, name) is not None]
        return f"{kind} {given[0]}" if len(given) == 1 else kind
    if isinstance(step, Train):
        return f"{kind} {step.update} {step.tape >= 0} {step.times > 1}"
    return f"{kind} {step.tape >= 0}" if isinstance(step, Infer) else kind
