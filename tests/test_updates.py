"""Tests of the command that tells what counts as a step."""

import importlib.util

import pytest

from conformance import environments
from conformance.updates import Claim, Column, exit_code, report, tried
from tests._commands import invoke

HOLDS, FAILS = Claim("a", "ema", "It moves.", "holds"), Claim("a", "ema", "It moves.", "fails", "it did not")
ABSENT = Claim("a", "ema", "It moves.", "absent")


def test_claims_stand_beside_each_other() -> None:
    """A claim is a row, an environment a column; a part that a version lacks is a dash, and what fails is said why."""
    columns = [Column("old", "0.1", (ABSENT,)), Column("new", "2.0", (FAILS,)), Column("lost", no_run="no Python")]
    assert report(columns) == [
        "| system | claim | old (0.1) | new (2.0) |",
        "|---|---|---|---|",
        "| ema | It moves. | – | fails |",
        "fails in new: ema: It moves. it did not",
        "no run in lost: no Python",
    ]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ([Column("a", "1", (HOLDS, ABSENT))], 0),
        ([Column("a", "1", (HOLDS,)), Column("b", no_run="gone")], 3),
        ([Column("a", "1", (FAILS,)), Column("b", no_run="gone")], 1),
    ],
)
def test_the_exit_code_says_the_worst(columns: list[Column], code: int) -> None:
    """A claim that fails is 1, an environment that is missing 3; what a version lacks is no failure."""
    assert exit_code(columns) == code


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="no run: TensorFlow is not installed")
def test_claims_are_tried_here() -> None:
    """Today's TensorFlow has the wrapper and the averages, of which all claims hold, and no contrib."""
    column = tried(environments.CURRENT, environments.read(), environments.cache_folder(), lambda _: None)
    assert column.no_run == ""
    outcomes = {(claim.system, claim.outcome) for claim in column.claims}
    assert {("wrapper", "holds"), ("ema", "holds"), ("contrib", "absent")} <= outcomes
    assert not [claim for claim in column.claims if claim.outcome == "fails"]


def test_an_environment_that_is_unknown_is_named() -> None:
    """A name that no environment has ends with code 2."""
    ended = invoke("updates", "--env", "nowhere")
    assert (ended.code, "no environment is called 'nowhere'" in ended.err) == (2, True)
