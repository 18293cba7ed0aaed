"""Tests of the samples that are taken of pools: what occurs in a pool occurs in its sample, on fewer specs."""

import itertools

import pytest

from adapters.interface import Capabilities
from adapters.numpy_reference import CAPABILITIES
from conformance._results import outcome
from conformance.capability import refusal
from conformance.families import FAMILIES
from conformance.pool import Pool, draw, fitted
from conformance.requirements import CATALOGUE
from conformance.rewrite import asked
from conformance.sampling import _features, gathered, sample, survey_sample, with_kin
from conformance.session import InProcessSession
from conformance.survey import survey
from conformance.tally import Survey
from conformance.targets import resolve
from conformance.zoo import FAULTS, Fault


@pytest.fixture(scope="module")
def pools() -> dict[int, Pool]:
    """The cases of a quick run."""
    return {number: draw(number, 1, family.count(60)) for number, family in FAMILIES.items()}


def quiet(target: str) -> InProcessSession:
    """A session on an adapter whose warnings are nobody's concern."""
    session = InProcessSession(target, [])
    session.warnings = "ignore"
    return session


@pytest.mark.parametrize(
    "capabilities",
    [CAPABILITIES, Capabilities(axes="last", dtypes=("float32",)), Capabilities(ranks=(4,), dtypes=("float32",))],
)
def test_everything_that_occurs_in_a_pool_occurs_in_its_sample(
    pools: dict[int, Pool], capabilities: Capabilities
) -> None:
    """A sample has every feature of the cases that an implementation allows, in a few dozen at most.

    Flags alone may be other ones than a case had: that all of them occur in mild data and in others, families see to
    between them.
    """
    flags = set()
    for number, pool in pools.items():
        drawn = fitted(pool, capabilities) if number in (6, 8) else pool
        whole, part = (
            {
                feature
                for pooled in cases
                if not refusal(pooled.case.spec, capabilities)
                for feature in _features(asked(pooled.case, capabilities), number)
            }
            for cases in (drawn.cases, sample(pool, capabilities)[0].cases)
        )
        of_flags = {feature for feature in whole | part if isinstance(feature, tuple) and feature[0] == "flags"}
        assert whole - of_flags <= part
        flags |= part & of_flags
        assert sum(not refusal(p.case.spec, capabilities) for p in sample(pool, capabilities)[0].cases) in range(1, 25)
    assert {*flags} >= {("flags", *combination) for combination in itertools.product((True, False), repeat=3)}


def test_most_families_share_a_few_specs(pools: dict[int, Pool]) -> None:
    """A graph is built for every spec: all families but those about shapes and conventions have theirs in common."""
    shared = {p.case.spec for number in (1, 2, 3, 4, 5, 7) for p in sample(pools[number], CAPABILITIES)[0].cases}
    assert len(shared) < 40 < len({spec for number in (1, 2, 3, 4, 5, 7) for spec in pools[number].specs}) / 3


@pytest.mark.parametrize("capabilities", [CAPABILITIES, Capabilities(axes="last", dtypes=("float32",))])
def test_whom_others_compute_as_gets_all_cases_on_shared_specs(
    pools: dict[int, Pool], capabilities: Capabilities
) -> None:
    """All data and steps of a pool stay, on a few specs; families about shapes and conventions keep their own."""
    specs = set()
    for number, pool in pools.items():
        found = gathered(pool, capabilities)
        if number in (6, 8):
            assert found == fitted(pool, capabilities)
            continue
        assert [n % 1000 for n, _ in found.numbered] == [n for n, _ in pool.numbered]
        assert [p.case.program for p in found.cases] == [p.case.program for p in pool.cases]
        assert [p.case.starts for p in found.cases] == [p.case.starts for p in pool.cases]
        specs |= {p.case.spec for p in found.cases if not refusal(p.case.spec, capabilities)}
    assert {spec.rank for spec in specs} == {2, 3, 4, 5}
    assert {(spec.center, spec.scale) for spec in specs} == {(a, b) for a in (True, False) for b in (True, False)}
    assert len(specs) < 60
    if capabilities is CAPABILITIES:
        assert {spec.channel_axes for spec in specs if len(spec.axis) == 1} == {(axis,) for axis in range(5)}
        assert any(len(spec.axis) > 1 for spec in specs)


def test_what_a_sample_does_not_reach_is_looked_for_beyond_it(
    pools: dict[int, Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requirement that saw nothing but refused cases is not given up while there are cases that are allowed."""
    monkeypatch.setattr("conformance.sampling._covering", lambda features, cases: [*features][:1])
    capabilities = CAPABILITIES._replace(ranks=(4,), dtypes=("float32",))
    found, alone = Survey({}), Survey({})
    with quiet("adapters.numpy_reference:NumpyReference") as session:
        session.description = session.description._replace(capabilities=capabilities)
        for number in (1, 6):
            found.merge(survey_sample(pools[number], [*CATALOGUE.values()], session, lambda _: None))
            alone.merge(survey(sample(pools[number], capabilities)[0], [*CATALOGUE.values()], session))
    reached, not_reached = (
        {id_ for id_, t in s.tallies.items() if outcome(t, s, capabilities, None)[0] in ("pass", "deviates")}
        for s in (found, alone)
    )
    families = [r.id for r in CATALOGUE.values() if r.family in (1, 6)]
    assert len(reached & {*families}) > len(families) - 3 > len(not_reached & {*families})


def test_who_takes_no_shared_spec_gets_cases_of_its_own(pools: dict[int, Pool]) -> None:
    """Parameters for each activation: no case can be moved, and hardly one of the pool is allowed."""
    capabilities = Capabilities(ranks=(3, 4), axes="activations", dtypes=("float32",))
    for number, pool in pools.items():
        specs = {pooled.case.spec for pooled in sample(pool, capabilities)[0].cases}
        # The family of shapes has no such axes for anybody.
        assert sum(not refusal(spec, capabilities) for spec in specs) >= (0 if number == 6 else 3)


def test_cases_of_a_sample_keep_their_numbers(pools: dict[int, Pool]) -> None:
    """Implementations are compared on the same cases by their numbers: what was moved to another spec has another."""
    for pool in pools.values():
        numbered = dict(pool.numbered)
        for number, pooled in sample(pool, CAPABILITIES)[0].numbered:
            assert (numbered[number] is pooled) if number in numbered else pooled.case.spec not in pool.specs


def test_what_is_refused_and_what_was_given_stays(pools: dict[int, Pool]) -> None:
    """A refusal costs nothing and is counted; a case that the user gave is run."""
    pool = pools[1]._replace(cases=(*pools[1].cases, pools[1].cases[7]._replace(choices=b"")))
    assert sample(pool, CAPABILITIES)[0].cases[-1] is pool.cases[-1]
    assert sample(pool, CAPABILITIES._replace(ranks=()))[0].cases == pool.cases


@pytest.mark.parametrize("ranks", [CAPABILITIES.ranks, (4,)])
def test_a_sample_is_evidence_for_every_requirement(pools: dict[int, Pool], ranks: tuple[int, ...]) -> None:
    """On the reference nothing fails, and no requirement has seen too little: where it has, more cases are run."""
    found = Survey({})
    with quiet("adapters.numpy_reference:NumpyReference") as session:
        capabilities = CAPABILITIES._replace(ranks=ranks, dtypes=("float32",))
        session.description = session.description._replace(capabilities=capabilities)
        for pool in pools.values():
            found.merge(survey_sample(pool, [*CATALOGUE.values()], session, lambda _: None))
    came_to = {id_: outcome(tally, found, capabilities, None)[0] for id_, tally in found.tallies.items()}
    assert set(came_to.values()) <= {"pass", "deviates", "unsupported"}, came_to


def shown(pools: dict[int, Pool], fault: Fault) -> bool:
    """Whether a fault fails something on the samples."""
    with quiet(fault.target) as session:
        capabilities, everything = session.description.capabilities, frozenset(CATALOGUE)
        surveys = (
            survey(sample(pool, capabilities)[0], CATALOGUE.values(), session, stop_at=everything)
            for pool in pools.values()
        )
        return any(tally.failing or tally.broken for found in surveys for tally in found.tallies.values())


def test_samples_show_nearly_all_faults(pools: dict[int, Pool]) -> None:
    """Of the zoo's faults, every twenty-fifth is tried: nine in ten show at least."""
    tried = FAULTS[::25]
    missed = [fault.name for fault in tried if not shown(pools, fault)]
    assert len(missed) <= len(tried) / 10, missed


def test_kin_is_who_runs_in_the_same_environment() -> None:
    """A sample is for those whose computation the run tests in full, in the same version of the framework."""
    names = [
        "tf_graph.nn@tf1.4",
        "tf_graph.contrib_loss@tf1.4",
        "tf_graph.contrib_loss@tf1.15",
        "tf_graph.wrapper",
    ]
    found = {target.name: target for target in with_kin(resolve(names))}
    kin = {name: target.kin for name, target in found.items()}
    assert kin == dict.fromkeys(names, "") | {"tf_graph.contrib_loss@tf1.4": "tf_graph.nn@tf1.4"}
    assert [name for name, target in found.items() if target.heads] == ["tf_graph.nn@tf1.4"]
