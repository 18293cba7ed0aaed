"""Tests of the verdict: the sentence, and the exit code of every outcome."""

import msgspec
import pytest

from reports._grid import complete_grid
from reports.records import OUTCOMES, Outcome, Results
from reports.verdict import exit_code, verdict
from tests.sample_results import only, sample

replace = msgspec.structs.replace

EXIT = {
    "pass": 0,
    "deviates": 0,
    "unsupported": 0,
    "known failure": 0,
    "fail": 1,
    "error": 1,
    "crash": 1,
    "timeout": 1,
    "stale known failure": 1,
    "mistrusted": 3,
    "no run": 3,
}


@pytest.fixture(scope="module")
def results() -> Results:
    """Return sample results."""
    return sample()


class TestVerdict:
    """The sentence, and the exit code of DESIGN.md's table."""

    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_every_outcome_has_its_exit_code(self, results: Results, outcome: Outcome) -> None:
        """Failures exit with 1, what is open with 3, everything else with 0."""
        expected = 3 if outcome == "unsupported" else EXIT[outcome]  # nothing else is there to be judged
        assert verdict(only(results, "torch", outcome=outcome)).exit_code == expected
        judged: list[Outcome] = ["pass"] if EXIT[outcome] == 0 else []
        assert exit_code([*judged, outcome], complete=True) == EXIT[outcome]

    def test_a_failure_outweighs_what_is_open(self) -> None:
        """With a failure and a mistrusted result the exit code is 1; an early end does not hide it either."""
        assert exit_code(["mistrusted", "fail", "pass"], complete=True) == 1
        assert exit_code(["fail"], complete=False) == 1

    def test_an_early_end_is_never_success(self, results: Results) -> None:
        """Without a footer, or with one that says so, passing results exit with 3 and the sentence begins with it."""
        passing = only(results, "torch")
        assert passing.footer is not None
        early = replace(passing.footer, complete=False, reason="interrupted by the user")
        for found in (verdict(replace(passing, footer=None)), verdict(replace(passing, footer=early))):
            assert found.exit_code == 3
            assert found.sentence.startswith("Incomplete run: ")
        assert "interrupted by the user" in found.say

    def test_a_missing_record_is_no_run(self, results: Results) -> None:
        """A cell without a record never counts as a pass; the reason says what is known."""
        passing = only(results, "torch", "keras")
        holes = replace(passing, results=passing.results[:-1])
        found = verdict(holes)
        assert found.tally["no run"] == 1
        assert found.exit_code == 3
        assert "no record" in complete_grid(holes).all()[-1].reason
        assert "ended before" in complete_grid(replace(holes, footer=None)).all()[-1].reason

    def test_an_implementation_that_could_not_start_is_no_run(self, results: Results) -> None:
        """Its reason stands in every of its cells, and the sentence says that it did not run."""
        passing = only(results, "torch", "keras")
        who = [replace(i, no_run="keras is not installed") for i in passing.header.implementations if i.name == "keras"]
        torch = [i for i in passing.header.implementations if i.name == "torch"]
        cells = [result for result in passing.results if result.implementation == "torch"]
        found = replace(passing, header=replace(passing.header, implementations=[*torch, *who]), results=cells)
        assert verdict(found).sentence == "torch conforms; keras did not run"
        assert verdict(found).exit_code == 3
        assert {r.reason for r in complete_grid(found).of("keras")} == {"keras is not installed"}

    def test_nothing_checked_is_not_success(self, results: Results) -> None:
        """A run without requirements or implementations, or one that supports none of them, exits with 3."""
        assert exit_code(["unsupported", "unsupported"], complete=True) == 3
        for empty in (only(results), only(results, "torch", requirements=0)):
            assert verdict(empty).exit_code == 3

    @pytest.mark.parametrize(
        ("outcome", "sentence"),
        [
            ("pass", "torch conforms to 3 requirements"),
            ("deviates", "torch conforms to 3 requirements"),
            ("unsupported", "torch supports nothing"),
            ("crash", "torch fails 3 of 3 requirements"),
            ("mistrusted", "torch leaves open 3 of 3 requirements"),
            ("stale known failure", "torch has 3 stale known failures"),
            ("no run", "torch did not run"),
        ],
    )
    def test_sentences(self, results: Results, outcome: Outcome, sentence: str) -> None:
        """One implementation with one outcome throughout; refusing everything is not conforming."""
        assert verdict(only(results, "torch", outcome=outcome)).sentence == sentence

    def test_what_is_not_supported_is_not_conformed_to(self, results: Results) -> None:
        """The sentence does not count requirements that were refused."""
        passing = only(results, "torch", "keras")
        refused = [replace(passing.results[0], outcome="unsupported"), *passing.results[1:]]
        assert verdict(replace(passing, results=refused)).sentence == (
            "keras and torch conform to what they support of 3 requirements"
        )

    def test_sentence_names_who_fails_how_much(self, results: Results) -> None:
        """The headline of a mixed run holds the names and the numbers, the worst first."""
        assert verdict(results).sentence == (
            "numpy conforms; tf_graph.fused fails 4, tf_graph.nn 2 and keras 1 of 35 requirements; "
            "torch has 1 stale known failure"
        )

    def test_tally_counts_every_cell(self, results: Results) -> None:
        """All outcomes are in the tally, worst first, and add up to requirements times implementations."""
        found = verdict(results)
        assert tuple(found.tally) == OUTCOMES
        assert sum(found.tally.values()) == 35 * 5
        assert all(found.tally.values())
