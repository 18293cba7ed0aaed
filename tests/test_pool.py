"""Pools: drawn once, the same for everybody, with the choices that draw each case again."""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import ExampleDatabase

from conformance import pool as pools
from conformance.case import Case
from conformance.families import FAMILIES
from conformance.pool import Larder, Pool, draw, read, store
from conformance.specs import spec_pool
from conformance.strategies import cases


class OneExample(ExampleDatabase):
    """A database that holds one example."""

    def __init__(self, choices: bytes) -> None:
        self.choices = choices

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """The example, for the primary key."""
        return [] if b"." in key else [self.choices]

    def save(self, key: bytes, value: bytes) -> None:
        """Nothing is kept."""

    def delete(self, key: bytes, value: bytes) -> None:
        """Nothing is dropped."""


def replayed(pool: Pool, choices: bytes) -> list[Case]:
    """The cases that Hypothesis draws again from recorded choices."""
    seen: list[Case] = []

    @settings(
        database=OneExample(choices), phases=[Phase.reuse], deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(cases(FAMILIES[pool.family], pool.specs))
    def again(case: Case) -> None:
        seen.append(case)

    again()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_draws_the_same_pool(family: int) -> None:
    """In one process the same seed draws the same cases in the same order, whatever was drawn in between."""
    first = draw(family, 7, 30)
    draw(family, 8, 5)
    assert draw(family, 7, 30) == first
    assert {p.case for p in draw(family, 8, 30).cases} != {p.case for p in first.cases}


@pytest.mark.parametrize("count", [1, 2, 23, 24, 60, 100, 201])
def test_as_many_cases_as_asked_for(count: int) -> None:
    """A pool has exactly as many cases as were asked for, nearly all of them different."""
    pool = draw(3, 5, count)
    assert len(pool.cases) == count
    assert len({p.case for p in pool.cases}) >= 0.95 * count


def test_kinds_are_mixed() -> None:
    """The order of a pool tells nothing: its first third has most specs, so that stopping early is fair."""
    pool = draw(1, 5, 200)
    assert len({p.case.spec for p in pool.cases[:67]}) > 0.8 * len(pool.specs)
    assert {p.case.spec for p in pool.cases} == set(pool.specs)


def test_specs_can_be_given() -> None:
    """A pool for given specs draws from those alone."""
    specs = spec_pool(1, 0)[5:8]
    pool = draw(1, 0, 20, specs)
    assert pool.specs == specs
    assert {p.case.spec for p in pool.cases} <= set(specs)


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_choices_draw_the_very_same_case(family: int) -> None:
    """From the choices recorded with a case, Hypothesis draws that case again, with its strategy for shrinking."""
    pool = draw(family, 3, 16)
    for pooled in pool.cases:
        assert replayed(pool, pooled.choices) == [pooled.case]


def test_a_stored_pool_is_read_as_it_was(tmp_path: Path) -> None:
    """What is stored is read again: cases, choices and specs, equal and of equal hash."""
    written = [draw(1, 2, 12), draw(7, 2, 12)]
    store(written, tmp_path / "pools.json")
    again = read(tmp_path / "pools.json")
    assert again == written
    assert [hash(p.case) for pool in again for p in pool.cases] == [
        hash(p.case) for pool in written for p in pool.cases
    ]
    assert replayed(again[0], again[0].cases[3].choices) == [again[0].cases[3].case]


def test_pools_travel_small() -> None:
    """A pool is pickled for workers as recipes, also after its cases were expanded."""
    pool = draw(1, 2, 30)
    for pooled in pool.cases:
        assert pooled.case.expanded.calls
        assert pooled.case.held.starts
    travelled = pickle.dumps(pool)
    assert len(travelled) < 40_000
    assert pickle.loads(travelled) == pool


def test_a_damaged_pool_is_refused(tmp_path: Path) -> None:
    """A file that was cut off is no pool."""
    store([draw(1, 2, 3)], tmp_path / "pools.json")
    whole = (tmp_path / "pools.json").read_bytes()
    (tmp_path / "pools.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(msgspec.MsgspecError):
        read(tmp_path / "pools.json")


@pytest.mark.parametrize("missing", [AttributeError("no data"), TypeError("other data")])
def test_without_hypothesis_s_record_pools_are_drawn_all_the_same(
    monkeypatch: pytest.MonkeyPatch, missing: Exception
) -> None:
    """Where Hypothesis keeps its record of choices elsewhere, the same cases are drawn, without choices."""
    usual = draw(1, 4, 10)

    def no_record() -> Any:
        raise missing

    monkeypatch.setattr(pools, "current_build_context", no_record)
    degraded = draw(1, 4, 10)
    assert [p.case for p in degraded.cases] == [p.case for p in usual.cases]
    assert {p.choices for p in degraded.cases} == {b""}
    assert b"" not in {p.choices for p in usual.cases}


def test_helpings_make_the_pool() -> None:
    """A few telling cases first, then the rest: together they are the pool, numbered as in it."""
    whole, first, rest = (draw(4, 5, 60, helping=helping) for helping in ("all", "first", "rest"))

    assert first.cases + rest.cases == whole.cases
    assert (first.start, rest.start) == (0, len(first.cases))
    assert 3 <= len(first.cases) <= 12
    assert all(p.case.spec.center and p.case.spec.scale for p in first.cases)


def test_larder_draws_when_asked() -> None:
    """A larder holds what was asked for, and draws it once."""
    larder = Larder(5, 60, "first")
    assert not larder

    pool = larder[4]

    assert pool == draw(4, 5, 60, helping="first")
    assert larder[4] is pool
    assert list(larder) == [4]
