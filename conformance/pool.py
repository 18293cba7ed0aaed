"""Draws a family's cases once per run, with the choices behind each, for every implementation and worker to read.

Drawing again elsewhere would give other cases: importing any module changes Hypothesis's stream, and so do ``assume``,
``target`` and failures. Cases are spread evenly over strata, since within one stream Hypothesis repeats itself: of 24
specs it drew 13, a fifth of the cases from one of them.
"""

import functools
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.control import current_build_context
from hypothesis.database import choices_to_bytes

from adapters.interface import Capabilities, Spec
from conformance.capability import refusal
from conformance.case import Case
from conformance.families import FAMILIES, Family
from conformance.specs import Stratum, recast, spec_pool, strata, stratum_choices
from conformance.strategies import cases_of

#: Which part of a pool.
Helping = Literal["all", "first", "rest"]
#: Strata in the first helping; a stratum has one to four cases.
FIRST_STRATA = 3


class Pooled(NamedTuple):
    """A drawn case and the choices that draw it again; ``choices`` is empty where they could not be recorded."""

    case: Case
    choices: bytes
    #: The family that it was drawn for; 0 where it was not drawn.
    family: int = 0


class Pool(NamedTuple):
    """The cases of one family, and the specs that they were drawn from."""

    family: int
    seed: int
    specs: tuple[Spec, ...]
    cases: tuple[Pooled, ...]
    #: The number of the first of them: not 0 where they are the rest of a pool.
    start: int = 0
    #: Their numbers where they do not follow one another: those of a sample.
    numbers: tuple[int, ...] = ()

    @property
    def numbered(self) -> Iterator[tuple[int, Pooled]]:
        """The cases with their numbers, by which the same case is known in other implementations' runs."""
        return zip(self.numbers or itertools.count(self.start), self.cases, strict=False)


def _recorded(first: tuple[int, ...], left_out: int = 0) -> bytes:
    """The choices behind the present example, some first ones before them and some of its own left out.

    The record of choices is not public API of Hypothesis: without it, nothing is shrunk.
    """
    try:
        drawn = current_build_context().data.choices
        return choices_to_bytes((*first, *drawn[left_out:]))
    except (AttributeError, TypeError):
        return b""


def choices_of(case: Case, specs: tuple[Spec, ...]) -> bytes:
    """The choices that draw the present example of ``strategies.cases`` again from these specs, and not from some."""
    return _recorded((specs.index(case.spec),), left_out=1)


def draw(
    family: int, run_seed: int, count: int, specs: tuple[Spec, ...] | None = None, helping: Helping = "all"
) -> Pool:
    """Draw ``count`` cases of a family. The same seed gives the same cases in a process of the same imports.

    A pool can be had in two helpings: a few telling cases "first", then the "rest". Together they are all of it.
    """
    specs = specs or spec_pool(family, run_seed)
    cases = _draw_on(specs, family, run_seed, count, specs, helping)
    return Pool(family, run_seed, specs, cases, count - len(cases) if helping == "rest" else 0)


def fitted(pool: Pool, capabilities: Capabilities) -> Pool:
    """The pool for an implementation: where it refuses more than a quarter, as many again on specs that it allows.

    The pool's own cases stay, for comparison with other implementations; those in an element type that this one lacks
    come in one that it has.
    """
    pool = _recast(pool, capabilities)
    allowed = _further_specs(pool, capabilities)
    if not allowed:
        return pool
    specs = _with_further(pool, allowed)
    cases = _draw_further(allowed, pool.family, pool.seed + 1, _refused(pool, capabilities), specs)
    return pool._replace(specs=specs, cases=pool.cases + cases)


def fitted_specs(pool: Pool, capabilities: Capabilities) -> tuple[Spec, ...]:
    """The specs of the fitted pool, without drawing it."""
    pool = _recast(pool, capabilities)
    return _with_further(pool, _further_specs(pool, capabilities))


def _recast(pool: Pool, capabilities: Capabilities) -> Pool:
    """The same cases from the same choices: an element type takes part in none of them."""
    specs = tuple(recast(spec, capabilities) for spec in pool.specs)
    if specs == pool.specs:
        return pool
    cases = []
    for pooled in pool.cases:
        spec = recast(pooled.case.spec, capabilities)
        same = spec == pooled.case.spec
        cases.append(pooled if same else pooled._replace(case=msgspec.structs.replace(pooled.case, spec=spec)))
    return pool._replace(specs=specs, cases=tuple(cases))


def _with_further(pool: Pool, further: tuple[Spec, ...]) -> tuple[Spec, ...]:
    return pool.specs + tuple(spec for spec in further if spec not in pool.specs)


def _refused(pool: Pool, capabilities: Capabilities) -> int:
    return sum(bool(refusal(pooled.case.spec, capabilities)) for pooled in pool.cases)


def _further_specs(pool: Pool, capabilities: Capabilities) -> tuple[Spec, ...]:
    """Specs to draw further cases on; none where the pool's own are enough."""
    if 4 * _refused(pool, capabilities) <= len(pool.cases):
        return ()
    return spec_pool(pool.family, pool.seed, capabilities)


@functools.lru_cache(maxsize=len(FAMILIES))
def _draw_further(
    allowed: tuple[Spec, ...], family: int, run_seed: int, count: int, specs: tuple[Spec, ...]
) -> tuple[Pooled, ...]:
    """Drawn once for implementations of the same capabilities, which often follow one another."""
    return _draw_on(allowed, family, run_seed, count, specs)


def _draw_on(
    specs: tuple[Spec, ...],
    family: int,
    run_seed: int,
    count: int,
    pool_specs: tuple[Spec, ...],
    helping: Helping = "all",
) -> tuple[Pooled, ...]:
    """Draw cases on some of the pool's specs, spread over strata: some that show most first, the rest in any order."""
    certain = len(FAMILIES[family].certain)
    numbered = list(enumerate(strata(specs, count, run_seed, certain, FAMILIES[family].variety).items()))
    first = [entry for entry in numbered if _shows_much(entry[1][0])][:FIRST_STRATA]
    rest = [entry for entry in numbered if entry not in first]
    drawn: list[Pooled] = []
    for chosen, name in ((first, "first"), (rest, "rest")):
        if helping in ("all", name):
            part: list[Pooled] = []
            for number, (stratum, wanted) in chosen:
                part += _draw_stratum(FAMILIES[family], stratum, wanted, run_seed * 1000 + number, pool_specs)
            random.Random(run_seed).shuffle(part)
            drawn += part
    return tuple(drawn)


def _shows_much(stratum: Stratum) -> bool:
    """Whether most faults show in cases of this stratum: mild data, several elements per channel and channels."""
    spec = stratum.spec
    plain = spec.dtype == "float32" and len(spec.axis) == 1 and spec.center and spec.scale
    return plain and not stratum.adversarial and stratum.extents in ("free", "as channels") and stratum.program < 0


def _draw_stratum(family: Family, stratum: Stratum, wanted: int, stream: int, specs: tuple[Spec, ...]) -> list[Pooled]:
    """Draw that many cases of a stratum. The first that Hypothesis draws, always the simplest, is left out."""
    drawn: list[Pooled] = []

    @seed(stream)
    @settings(
        max_examples=wanted + 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases_of(family, stratum))
    def collect(case: Case) -> None:
        drawn.append(Pooled(case, _recorded(stratum_choices(stratum, specs)), family.number))

    collect()
    return drawn[1 : wanted + 1]


def store(pools: list[Pool], path: Path) -> None:
    """Write the pools beside the run's results."""
    path.write_bytes(msgspec.json.encode(pools))


def read(path: Path) -> list[Pool]:
    """Read what ``store`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=list[Pool])


class Larder(dict[int, Pool]):
    """Pools that are drawn when they are first asked for."""

    def __init__(self, run_seed: int, count: int, helping: Helping) -> None:
        super().__init__()
        self._recipe: tuple[int, int, Helping] = run_seed, count, helping
        #: Spent on drawing so far.
        self.seconds = 0.0

    def __missing__(self, family: int) -> Pool:
        started = time.perf_counter()
        run_seed, count, helping = self._recipe
        self[family] = draw(family, run_seed, FAMILIES[family].count(count), helping=helping)
        self.seconds += time.perf_counter() - started
        return self[family]
