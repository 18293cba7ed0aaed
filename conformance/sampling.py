"""Makes a quick run of many systems cheap: cases move to specs that families share, and most systems get a sample.

A sample is a few cases in which everything occurs that occurs in the pool. It is for those that compute as another one
of the run does; that one gets all the cases.
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
from conformance.survey import Progress, lacking, survey
from conformance.tally import Survey
from conformance.targets import Target, base_name
from conformance.variety import USUAL

#: What the first case on a spec costs besides, in cases on specs that have one: a graph and its gradients are built. It
#: costs less where other families are likely to have built it.
_COST_OF_SPEC, _COST_IF_USUAL = 4.0, 1.0
#: Families that are about shapes, types and conventions: their cases stay on their own specs, but for a sample.
_OF_SHAPES, _OF_CONVENTIONS = 6, 8
#: Families with requirements of their own about an epsilon of zero, and about decays of zero and one.
_OF_LIMITS, _LIMITS = (3, 5), (0.0, 1.0)
#: What the shared specs have: nothing that is its own complement, or that single precision holds exactly.
_CHANNELS, _EPSILONS, _DECAYS = (3, 8, 5, 17, 4), (1e-3, 1e-5, 0.1, 1e-8), (0.9, 0.8, 0.99, 0.3)
#: Extents of several axes; and of one, where inputs are large.
_SEVERAL = (3, 2, 5)
#: Cases beyond a sample for what has seen too little in it.
_MOST_FURTHER = 48
#: Added to the number of a case that was moved to another spec.
_MOVED = 1000
_KIN = {entry.name: entry.kin for entry in REGISTRY if entry.kin}


def with_kin(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets, those marked that compute as another one of them does, and those that others compute as."""
    names = {target.name for target in targets}
    kin = {target.name: name for target in targets if (name := _kin_of(target)) in names}
    found = []
    for target in targets:
        fact: tuple[tuple[str, str], ...] = ()
        if target.name in kin:
            fact = (("cases", f"a sample of them: it computes as {kin[target.name]} does"),)
        elif target.name in kin.values():
            fact = (("cases", "most of them on specs that the families share"),)
        heads = target.name in kin.values()
        found.append(target._replace(kin=kin.get(target.name, ""), heads=heads, facts=(*target.facts, *fact)))
    return tuple(found)


def _kin_of(target: Target) -> str:
    at = f"@{target.environment}" if target.environment else ""
    return _KIN.get(base_name(target.name), "") + at


def gathered(pool: Pool, capabilities: Capabilities) -> Pool:
    """The pool, its cases moved to specs that all families share, where that is not what the family is about."""
    if pool.family in (_OF_SHAPES, _OF_CONVENTIONS):
        return fitted(pool, capabilities)
    return _of(pool, [_moved(n, p, capabilities, all_flags=True) for n, p in pool.numbered])


def sample(pool: Pool, capabilities: Capabilities) -> tuple[Pool, Pool]:
    """A sample of the pool for an implementation, in its order, and what is left of the pool.

    Cases that are refused cost nothing and stay.
    """
    of_its_own = pool.family in (_OF_SHAPES, _OF_CONVENTIONS)
    moved = _all_moved(fitted(pool, capabilities) if of_its_own else pool, capabilities)
    allowed = {n: p for n, p in moved if not refusal(p.case.spec, capabilities)}
    if 4 * len(allowed) < len(moved):
        moved = _all_moved(fitted(pool, capabilities), capabilities)
        allowed = {n: p for n, p in moved if not refusal(p.case.spec, capabilities)}
    chosen = set(
        _covering({n: set(_features(asked(p.case, capabilities), pool.family)) for n, p in allowed.items()}, allowed)
    )
    kept = [(n, p) for n, p in moved if n in chosen or n not in allowed]
    left = [(n, p) for n, p in moved if n in allowed and n not in chosen]
    return _of(pool, kept), _of(pool, left)


def _all_moved(pool: Pool, capabilities: Capabilities) -> list[tuple[int, Pooled]]:
    return [_moved(n, p, capabilities) for n, p in pool.numbered]


def _of(pool: Pool, numbered: list[tuple[int, Pooled]]) -> Pool:
    """The pool with these cases."""
    specs = tuple(dict.fromkeys((*pool.specs, *(p.case.spec for _, p in numbered))))
    return pool._replace(specs=specs, cases=tuple(p for _, p in numbered), numbers=tuple(n for n, _ in numbered))


def survey_sample(pool: Pool, requirements: Sequence[Requirement], session: Session, progress: Progress) -> Survey:
    """Survey a sample of the pool; where that is too little evidence for a requirement, go on with it alone."""
    capabilities = session.description.capabilities
    picked, left = sample(pool, capabilities)
    found = survey(picked, requirements, session, progress=progress)
    for number, pooled in itertools.islice(_spare(pool, left, capabilities), _MOST_FURTHER):
        short = _short(found, pool.family, capabilities)
        if not short or found.stopped:
            break
        found.merge(survey(_of(left, [(number, pooled)]), short, session))
    return found


def _short(found: Survey, family: int, capabilities: Capabilities) -> list[Requirement]:
    """The family's requirements that have seen too little, or nothing but what the implementation refuses."""
    short = []
    for tally in found.tallies.values():
        if tally.requirement.family != family or lacking(tally.requirement, capabilities):
            continue
        if outcome(tally, found, capabilities, None)[0] in ("mistrusted", "unsupported"):
            short.append(tally.requirement)
    return short


def _spare(pool: Pool, left: Pool, capabilities: Capabilities) -> Iterator[tuple[int, Pooled]]:
    """What is left of a pool, then what is drawn for an implementation that refuses much of it."""
    yield from left.numbered
    yield from itertools.islice(_all_moved(fitted(pool, capabilities), capabilities), len(pool.cases), None)


def _moved(number: int, pooled: Pooled, capabilities: Capabilities, all_flags: bool = False) -> tuple[int, Pooled]:
    """A case on a spec that all families share: its data and steps stay, and its number says that it is another one.

    Without ``all_flags`` each rank has half of the flags, and half of the ranks have each, if they are all allowed.
    """
    if not pooled.choices:
        return number, pooled
    own = recast(pooled.case.spec, capabilities)
    if not (all_flags or set(USUAL.ranks) - set(capabilities.ranks)):
        shapes = pooled.family == _OF_SHAPES
        own = own._replace(center=shapes or (own.rank + own.scale) % 2 == 0, scale=shapes or own.scale)
    spec = next((spec for spec in _shared(own, pooled.family) if not refusal(spec, capabilities)), None)
    if spec is None:
        return number, pooled
    return number + _MOVED, Pooled(msgspec.structs.replace(pooled.case, spec=spec), b"", pooled.family)


def _shared(spec: Spec, family: int) -> Iterator[Spec]:
    """Specs of that rank and those flags that stand for all of them, the best first."""
    kind = spec.rank + spec.center + 2 * spec.scale
    limits = family in _OF_LIMITS
    common = spec._replace(
        epsilon=0.0 if limits and not spec.epsilon else _EPSILONS[kind % len(_EPSILONS)],
        decay=spec.decay if limits and spec.decay in _LIMITS else _DECAYS[kind % len(_DECAYS)],
    )
    if len(spec.axis) > 1:
        yield common._replace(shape=_shape(spec.rank, spec.axis, _SEVERAL[: len(spec.axis)]))
    elif family == _OF_SHAPES:
        # What a spec knows of its extents is what some of its cases are about.
        if all(spec.shape[axis] is None for axis in spec.reduction_axes):
            yield common._replace(shape=_shape(spec.rank, spec.axis, _SEVERAL[:1]))
    else:
        for axis in (spec.center * spec.rank - 1 - kind % spec.rank, -1):
            yield common._replace(axis=(axis,), shape=_shape(spec.rank, (axis,), (_CHANNELS[kind % len(_CHANNELS)],)))


def _shape(rank: int, axis: tuple[int, ...], extents: tuple[int, ...]) -> tuple[int | None, ...]:
    known = {a % rank: extent for a, extent in zip(axis, extents, strict=True)}
    return tuple(known.get(a) for a in range(rank))


def _covering(features: dict[int, set[Hashable]], cases: dict[int, Pooled]) -> Iterator[int]:
    """Numbers of cases that have all features between them: again and again that which adds most for its cost.

    What was not drawn, but given to the run, is always among them.
    """
    missing: set[Hashable] = set().union(*features.values())
    there: set[Hashable] = set()
    yield from (n for n, pooled in cases.items() if n < _MOVED and not pooled.choices)
    while missing:
        best = max(features, key=lambda n: len(features[n] & missing) / _cost(cases[n].case.spec, there))
        missing -= features.pop(best)
        there.add(_graph(cases[best].case.spec))
        yield best


def _cost(spec: Spec, there: set[Hashable]) -> float:
    """What a case on a spec costs where there are graphs."""
    if _graph(spec) in there:
        return 1.0
    usual = spec.epsilon > 0 and spec.decay not in _LIMITS
    return 1.0 + (_COST_IF_USUAL if usual else _COST_OF_SPEC)


def _graph(spec: Spec) -> Hashable:
    """What a graph is built for."""
    return spec._replace(axis=spec.channel_axes)


def _features(case: Case, family: int) -> Iterator[Hashable]:
    """What occurs in a case: in its spec, in its data, in its steps and from one step to the next."""
    spec = case.spec
    if family == _OF_CONVENTIONS:
        yield "rank", spec.rank
        # Some raise small ones.
        yield "epsilon", spec.epsilon <= 1e-5
    if family == _OF_SHAPES:
        yield "rank", spec.rank
        yield "axes", len(spec.axis)
        yield "place", _place(spec), spec.axis[0] < 0
        yield "known", any(spec.shape[axis] is not None for axis in spec.reduction_axes)
    if family in _OF_LIMITS:
        yield "no epsilon", spec.epsilon == 0
        yield "limit", spec.decay if spec.decay in _LIMITS else None
    if family != _OF_SHAPES:
        yield "flags", spec.center, spec.scale, family == _OF_CONVENTIONS or _is_mild(case)
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


def _place(spec: Spec) -> str:
    """Where the first of its channel axes is."""
    return {0: "first", spec.rank - 1: "last"}.get(spec.channel_axes[0], "between")


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
