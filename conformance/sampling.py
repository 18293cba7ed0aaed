"""Picks a few cases of a pool in which everything occurs that occurs in the pool, on as few specs as that takes.

In a quick run of many systems it is what those get that share their computation with another one of the run.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence

from adapters.interface import Capabilities, State
from adapters.registry import REGISTRY
from conformance.capability import refusal
from conformance.case import Backward, Case, Drawn, Infer, Instruction, Reload, SetState, Train
from conformance.pool import Pool, Pooled
from conformance.rewrite import asked
from conformance.targets import Target, base_name

#: What the first case on a spec costs besides, in cases on specs that have one: a graph and its gradients are built.
_COST_OF_SPEC = 2.0
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


def sample(pool: Pool, capabilities: Capabilities) -> Pool:
    """The pool with a sample of its cases, in its order; those that are refused cost nothing and stay."""
    allowed = {n: pooled for n, pooled in pool.numbered if not refusal(pooled.case.spec, capabilities)}
    chosen = set(_covering(allowed, capabilities))
    kept = [(n, pooled) for n, pooled in pool.numbered if n in chosen or n not in allowed]
    return pool._replace(cases=tuple(pooled for _, pooled in kept), numbers=tuple(n for n, _ in kept))


def _covering(cases: dict[int, Pooled], capabilities: Capabilities) -> Iterator[int]:
    """Numbers of cases that have all features between them: again and again that which adds most for its cost.

    What was not drawn, but given to the run, is always among them.
    """
    features = {n: set(_features(asked(pooled.case, capabilities))) for n, pooled in cases.items()}
    specs = {n: pooled.case.spec._replace(axis=pooled.case.spec.channel_axes) for n, pooled in cases.items()}
    missing: set[Hashable] = set().union(*features.values())
    there = set()
    yield from (n for n, pooled in cases.items() if not pooled.choices)
    while missing:
        best = max(features, key=lambda n: len(features[n] & missing) / (1 + _COST_OF_SPEC * (specs[n] not in there)))
        missing -= features.pop(best)
        there.add(specs[best])
        yield best


def _features(case: Case) -> Iterator[Hashable]:
    """What occurs in a case: in its spec, in its data, in its steps and from one step to the next."""
    spec = case.spec
    yield "rank", spec.rank, spec.axis[0] < 0
    yield "axes", spec.channel_axes
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
