"""Conventions: each is measured from results alone, put beside its declaration, and told where it differs."""

import importlib.util
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.interface import Conventions, Spec
from adapters.registry import REGISTRY
from conformance import measured
from conformance.case import Case, Drawn, Given, Gradient, Infer, Start, Train
from conformance.conventions import CONVENTIONS, Finding, find
from conformance.deriving import derived_cases
from conformance.evidence import Evidence
from conformance.judge import Judge, Run
from conformance.requirements import CATALOGUE
from conformance.session import Session, open_session
from conformance.survey import execute, judge_example
from tests._commands import invoke
from tests._judged import REFERENCE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
RANK_2 = Spec((None, 3), (1,), 1e-3, 0.9)
RANK_4 = Spec((None, None, None, 3), (3,), 1e-3, 0.9)
OURS = "conformance.zoo.conventions:"
THEIRS = "conformance.zoo.declared_types:"


def base(spec: Spec, m: int = 6) -> Case:
    """A case of m elements per channel, of which probes take the spec."""
    sizes = (m,) + (1,) * (len(spec.reduction_axes) - 1) if spec.reduction_axes else ()
    return Case(spec, (Start(),), (Train(Drawn(sizes)),))


def found(target: str, name: str, spec: Spec = RANK_2, m: int = 6) -> Finding:
    """What is found of a convention on one spec."""
    convention = CONVENTIONS[name]
    with np.errstate(all="ignore"), open_session(target, in_process=True) as session:
        declared = session.run(base(spec, 2).expanded).conventions
        assert declared is not None
        capabilities = session.description.capabilities
        cases = convention.probe(base(spec, m))
        return find(convention, [Run(case, session.run(case.expanded), capabilities) for case in cases], declared)


def installed(name: str) -> Any:
    """Skip where the framework is not there."""
    (entry,) = (entry for entry in REGISTRY if entry.name == name)
    missing = importlib.util.find_spec(entry.module) is None
    return pytest.param(entry.target, id=name, marks=pytest.mark.skipif(missing, reason=f"{entry.module} is missing"))


ALL = [installed(name) for name in ("numpy", "tf_graph.nn", "tf_graph.fused", "keras", "torch")]


class TestCoverage:
    """Every field of Conventions has its measurement."""

    def test_every_field_is_measured(self) -> None:
        """What can be declared is measured, and family 8 has a requirement for each."""
        assert {c.field for c in CONVENTIONS.values()} == {*Conventions._fields, "decay"}
        # A better grade than the reference's is no deviation: its requirements depend on no convention.
        named = {name for r in CATALOGUE.values() if r.family == 8 for name in r.conventions}
        assert named | {"variance_grade", "affine_grade"} == set(Conventions._fields)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    @pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-3, 4.0])
    def test_probes_are_exact_in_every_type(self, dtype: str, epsilon: float) -> None:
        """No probe holds an infinity or a zero that the element type made of its data."""
        spec = RANK_2._replace(dtype=dtype, epsilon=epsilon)
        for name, convention in CONVENTIONS.items():
            for case in convention.probe(base(spec)):
                for call in case.expanded.calls:
                    x = None if call.x is None else call.x.astype(np.float64)
                    assert x is None or np.isfinite(x).all(), name
                if name == "epsilon_floor":
                    assert all(
                        np.abs(call.x.astype(float)).min() > 0 for call in case.expanded.calls if call.x is not None
                    )

    def test_fixed_extents_are_freed(self) -> None:
        """Where a spec fixes extents that are reduced, the probes have extents of their own all the same."""
        spec = RANK_4._replace(shape=(None, 5, 4, 3))
        for name in CONVENTIONS:
            if name != "separate_update":
                assert found(REFERENCE, name, spec).agrees, name

    def test_rank_one_has_one_element_per_channel(self) -> None:
        """Where nothing is reduced, the probes that need two elements say nothing, and the others do not break."""
        spec = Spec((3,), (0,), 1e-3, 0.9)
        silent = {name for name, c in CONVENTIONS.items() if not c.probe(base(spec))}
        graded = {"variance_grade", "affine_grade"}
        assert silent - graded == {"moving_variance", "empty", "compute_dtype", "update", "separate_update", "frozen"}
        assert found(REFERENCE, "single", spec).agrees
        assert found(REFERENCE, "epsilon_floor", spec).seen.text == "0.001"


class TestReadings:
    """What is read from an implementation, whatever it declares."""

    @pytest.mark.parametrize(
        ("target", "name", "spec", "message"),
        [
            ("DeclaresUnbiased", "moving_variance", RANK_2, "= unbiased, observed: biased: declare 'biased'"),
            ("DeclaresBiased", "moving_variance", RANK_4, "= biased, observed: unbiased: declare 'unbiased'"),
            (
                "CorrectedTwice",
                "moving_variance",
                RANK_2,
                "by m - (1.5) at m = 2 and divided by m - (1.83333) at m = 6",
            ),
            (
                "UnbiasedWhereMany",
                "moving_variance",
                RANK_2,
                "biased at m = 2 and unbiased at m = 6, which no declaration",
            ),
            ("DeclaresNotANumberAtOne", "moving_variance_single", RANK_2, "= nan, observed: zero: declare 'zero'"),
            ("NotANumberAtOne", "moving_variance_single", RANK_2, "= zero, observed: nan: declare 'nan'"),
            ("OneAtOne", "moving_variance_single", RANK_2, "= zero, observed: 1 enters, which no declaration allows"),
            (
                "MomentumReversed",
                "decay",
                RANK_2,
                "decay 0.9 is not the weight of the old moving value: weight of the new",
            ),
            ("DecayWarmedUp", "decay", RANK_2, "old mean × 0.1, old variance × 0.1, new mean × 0.818182"),
            (
                THEIRS + "DecayInHalf",
                "decay_dtype",
                RANK_2._replace(decay=0.99),
                "= float32, observed: float16: declare 'float16'",
            ),
            (
                THEIRS + "DeclaresDecayInHalf",
                "decay_dtype",
                RANK_2,
                "= bfloat16, observed: float32 or wider: declare 'float32' or",
            ),
            ("FloorUndeclared", "epsilon_floor", RANK_2._replace(epsilon=1e-8), "declare epsilon_floor=1.001e-05"),
            (
                "DeclaresFloor",
                "epsilon_floor",
                RANK_4._replace(epsilon=1e-8),
                "declare a floor of at most 1e-08, such as 0",
            ),
            (
                "FloorInInferenceOnly",
                "epsilon_floor",
                RANK_2._replace(epsilon=0.0),
                "0 and 1.001e-05 where ε = 0: no declar",
            ),
            ("SingleRefused", "single", RANK_2, "= beta, observed: refused: declare 'refused'"),
            ("DeclaresSingleRefused", "single", RANK_2, "= refused, observed: beta: declare 'beta'"),
            ("EmptySkipped", "empty", RANK_4, "= nan, observed: unchanged: declare 'unchanged'"),
            ("EmptyRefused", "empty", RANK_2, "= nan, observed: refused: declare 'refused'"),
            ("EmptyDecays", "empty", RANK_2, "moving mean and variance 0.5 and 2.0 become 0.45 and 1.8, which no"),
            (
                THEIRS + "DeclaresWiderStatistics",
                "statistics_dtype",
                RANK_2,
                "= float64, observed: float32: declare 'float32'",
            ),
            (
                THEIRS + "MovingStatisticsKeptInHalf",
                "statistics_dtype",
                RANK_2,
                "= float32, observed: float16: declare 'float16'",
            ),
            (THEIRS + "DeclaresDouble", "compute_dtype", RANK_2, "= float64, observed: float32: declare 'float32'"),
            (THEIRS + "DeclaresHalf", "compute_dtype", RANK_2, "= float16, observed: float32: declare 'float32'"),
            (THEIRS + "HalfInside", "compute_dtype", RANK_4, "= float32, observed: float16: declare 'float16'"),
            (
                THEIRS + "DeclaresSeparateUpdate",
                "update",
                RANK_2,
                "= separate, observed: changed by a training step: declare 'forward'",
            ),
            (
                THEIRS + "UpdateForgotten",
                "update",
                RANK_2,
                "a training step changes no moving statistics, which",
            ),
            (
                THEIRS + "SeparateUpdateUndeclared",
                "separate_update",
                RANK_2,
                "can be left out and made later: declare 'separate'",
            ),
            (
                THEIRS + "FrozenTrains",
                "frozen",
                RANK_2,
                "observed: training: declare 'training' or 'absent'",
            ),
            (THEIRS + "FrozenNormalizesWithBatch", "frozen", RANK_2, "= inference, observed: batch: declare 'batch'"),
        ],
    )
    def test_a_wrong_declaration_is_told_with_what_to_declare(
        self, target: str, name: str, spec: Spec, message: str
    ) -> None:
        """Declared, observed, and which declaration would hold, in one line."""
        finding = found(target if ":" in target else OURS + target, name, spec)
        assert finding.agrees is False
        assert message in finding.message

    @pytest.mark.parametrize(
        ("name", "spec", "why"),
        [
            ("moving_variance", RANK_2._replace(decay=1.0), "nothing enters the moving statistics"),
            ("moving_variance_single", RANK_2._replace(decay=1.0), "next to nothing enters the moving statistics"),
            ("decay", RANK_2._replace(decay=0.5), "old and new value weigh the same"),
            ("decay_dtype", RANK_2._replace(decay=0.5), "every element type holds this decay"),
        ],
    )
    def test_what_cannot_decide_says_so(self, name: str, spec: Spec, why: str) -> None:
        """A spec that shows nothing of a convention makes it undecided, with the reason."""
        finding = found(REFERENCE, name, spec)
        assert finding.agrees is None
        assert finding.seen.undecided == why

    def test_a_refusal_is_a_reason(self) -> None:
        """Where training at m = 1 is refused nobody can tell what it would have entered."""
        finding = found("conformance.zoo.declared:SingleElementRefused", "moving_variance_single")
        assert finding.agrees is None
        assert finding.seen.undecided == "unsupported: one element per channel has no variance"

    def test_a_large_batch_is_too_large_for_half_statistics(self) -> None:
        """M and m - 1 are told apart as long as the roundoff allows, and not beyond."""
        assert found(REFERENCE, "moving_variance", m=4096).agrees
        few = found(OURS + "UnbiasedWhereFew", "moving_variance", RANK_2._replace(dtype="bfloat16"), m=4096)
        assert few.seen.text == "unbiased"

    def test_frozen_layers_that_nobody_knows_of_are_not_observable(self) -> None:
        """The reference refuses to build one, which is what it declares."""
        assert found(REFERENCE, "frozen").seen.text == "not observable: the adapter refuses to build one"
        assert found(THEIRS + "FrozenInfers", "frozen").seen.text == "inference"

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_the_reference_is_as_declared_in_every_type(self, dtype: str) -> None:
        """No reading contradicts a correct implementation, in any element type, and most decide."""
        findings = [
            found(REFERENCE, name, RANK_2._replace(dtype=dtype)) for name in CONVENTIONS if name != "separate_update"
        ]
        assert [f.message for f in findings if f.agrees is False] == []
        assert sum(f.agrees is True for f in findings) >= 9

    def test_double_arithmetic_is_not_taken_for_single(self) -> None:
        """Computing in float64 and returning float32 fits the declaration of either."""
        finding = found("conformance.zoo.variants:DoubleInside", "compute_dtype")
        assert finding.agrees
        assert finding.seen.values == ("float32", "float64")


def judged(requirement_id: str, case: Case, session: Session) -> Evidence:
    """What a requirement says of a case."""
    requirement = CATALOGUE[requirement_id]
    assert requirement.derive is not None
    run = execute(case, session)
    others = tuple(execute(c, session) for c in derived_cases(case, requirement.derive))
    return judge_example(requirement, run, others)[0]


class TestRequirements:
    """Family 8 on single cases."""

    def test_refusals_are_judged(self) -> None:
        """A refusal that is declared holds, and one that is not fails: it is not counted as unsupported."""
        with open_session("conformance.zoo.declared:SingleElementRefused", in_process=True) as session:
            assert judged("BN-805", base(RANK_2), session).compared == 1
        with open_session(OURS + "SingleRefused", in_process=True) as session:
            assert judged("BN-805", base(RANK_2), session).fails

    def test_what_is_undecided_says_nothing(self) -> None:
        """A decay of one half has no meaning to measure."""
        with open_session(REFERENCE, in_process=True) as session:
            assert not judged("BN-803", base(RANK_2._replace(decay=0.5)), session).applies
            assert judged("BN-803", base(RANK_2), session).observed == (("decay", "weight of the old value"),)

    def test_a_case_without_answers_says_nothing(self) -> None:
        """Without a trace of the probes there is nothing to judge."""
        with open_session(REFERENCE, in_process=True) as session:
            run = execute(base(RANK_2), session)
        assert not CATALOGUE["BN-801"].check(run.case, run.trace, Judge(run)).applies


class TestMeasured:
    """All conventions of an implementation."""

    @pytest.mark.parametrize("target", ALL)
    def test_nothing_contradicts_a_declaration(self, target: str) -> None:
        """Every installed implementation is as it declares, wherever anything can be told."""
        with open_session(target) as session:
            rows = measured.measure(session)
        assert [row.message for row in rows if row.agrees is False] == []
        assert {row.title for row in rows} >= {c.title for c in CONVENTIONS.values() if not c.needs}

    def test_what_differs_by_rank_is_told_by_rank(self) -> None:
        """An estimator that switches with the rank has two rows, and the wrong one names its rank."""
        with np.errstate(all="ignore"), open_session(OURS + "UnbiasedAtRankFour", in_process=True) as session:
            rows = [row for row in measured.measure(session) if row.field == "moving_variance"]
        assert {(row.observed, row.where, row.agrees) for row in rows} == {
            ("biased", "rank 2, rank 3, rank 5, rank 6", True),
            ("unbiased", "rank 4", False),
        }

    def test_floors_are_told_over_the_ladder(self) -> None:
        """A floor is one row for all epsilons, with its height."""
        with np.errstate(all="ignore"), open_session(OURS + "FloorUndeclared", in_process=True) as session:
            rows = [row for row in measured.measure(session) if row.field == "epsilon_floor"]
        assert {row.observed for row in rows} == {"raised to 1.001e-05"}
        assert any(row.agrees is False and "declare epsilon_floor=1.001e-05" in row.message for row in rows)

    def test_grades_are_beside_their_declarations(self) -> None:
        """A grade that is worse than declared contradicts, one that is better does not."""
        with (
            np.errstate(all="ignore"),
            open_session("conformance.zoo.numerics:OnePassDeclaredTwoPass", in_process=True) as s,
        ):
            rows = {row.field: row for row in measured.measure(s) if row.where in ("", "float32", "float32, float64")}
        assert (rows["variance_grade"].declared, rows["variance_grade"].observed) == ("A", "C")
        assert rows["variance_grade"].agrees is False

    def test_places(self) -> None:
        """Where something is so is said by one attribute if that tells it apart, else by two, else spec by spec."""
        half = RANK_4._replace(dtype="float16")
        assert measured.places([RANK_2], [RANK_2]) == ""
        assert measured.places([RANK_2], [RANK_2, RANK_4]) == "rank 2"
        assert measured.places([half], [RANK_2, RANK_4, half]) == "float16"
        assert measured.places([RANK_2, half], [RANK_2, RANK_4, half]) == "rank 2 float32, rank 4 float16"


class TestCommand:
    """bn-conformance conventions."""

    def test_a_table_and_exit_0_where_all_agree(self) -> None:
        """One line per convention, declared beside observed."""
        ended = invoke("conventions", "numpy", "--in-process")
        assert ended.code == 0
        lines = [line.split() for line in ended.out.splitlines()]
        assert ["estimator", "of", "the", "moving", "variance", "biased", "=", "biased"] in lines
        assert all(convention.title in ended.out for convention in CONVENTIONS.values() if not convention.needs)

    def test_a_contradiction_is_explained_and_exit_1(self) -> None:
        """Below the table is what to declare, and where."""
        ended = invoke("conventions", OURS + "UnbiasedAtRankFour", "--in-process")
        assert ended.code == 1
        assert "declares moving_variance = biased, observed: unbiased: declare 'unbiased' (rank 4)" in ended.out

    def test_json(self) -> None:
        """The same as data, with every row's agreement as true, false or null."""
        ended = invoke("conventions", "numpy", OURS + "DeclaresBiased", "--in-process", "--json")
        assert ended.code == 1
        first, second = msgspec.json.decode(ended.out)
        assert (first["implementation"], first["framework"]) == ("numpy", "numpy")
        assert {row["agrees"] for row in first["conventions"]} <= {True, None}
        wrong = [row for row in second["conventions"] if row["agrees"] is False]
        assert [(row["field"], row["declared"], row["observed"]) for row in wrong] == [
            ("moving_variance", "biased", "unbiased")
        ]

    def test_mistakes(self) -> None:
        """An unknown implementation ends with code 2 and the nearest names, as everywhere."""
        ended = invoke("conventions", "nmpy")
        assert ended.code == 2
        assert "did you mean numpy?" in ended.err
        assert invoke("conventions").code == 2


class TestEmptyBatches:
    """Arrays without elements go everywhere that others go."""

    @pytest.mark.parametrize("target", ALL)
    def test_they_cross_the_wire_and_are_judged(self, target: str) -> None:
        """Training and inference on empty batches and single elements give no alarm, and empty outputs, in any type."""
        with open_session(target) as session:
            for dtype in session.description.capabilities.dtypes:
                for spec, sizes in ((RANK_2, (0,)), (RANK_4, (0, 2, 2)), (RANK_4, (2, 0, 2)), (RANK_4, (1, 1, 1))):
                    x = Drawn(sizes)
                    program = (Infer(x, Gradient()), Train(x, Gradient()), Infer(x))
                    case = Case(spec._replace(dtype=dtype), (Start("distinct", "distinct"),), program, repeat=True)
                    run = execute(case, session)
                    if run.trace.failure is not None:
                        assert run.trace.failure.kind == "unsupported"
                        assert sizes == (1, 1, 1)
                        continue
                    assert not run.trace.observations
                    self.check(run)

    def check(self, run: Run) -> None:
        """Every requirement without derived cases holds."""
        for view in run.views:
            assert view.trace.step is not None
            assert view.call.x is not None
            assert view.trace.step.y.shape == view.call.x.shape
        for requirement in CATALOGUE.values():
            if requirement.derive is None:
                evidence, _, failure = judge_example(requirement, run, ())
                assert (evidence.fails, failure) == (False, None), (requirement.id, evidence)

    def test_saved_cases_keep_them(self) -> None:
        """A held array without elements prints as code that makes it again."""
        empty = Given.of(np.zeros((0, 3), np.float32))
        assert eval(repr(empty), {"Given": Given}) == empty
