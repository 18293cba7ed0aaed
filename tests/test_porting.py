"""Tests of the tables that say how implementations differ and what porting from one to another takes."""

from pathlib import Path

import msgspec
import pytest

from conformance.porting import Found, Measured, conventions_table, porting_table, read, steps
from conformance.targets import UsageError
from tests._commands import invoke


def measured(name: str, framework: str = "", **seen: str) -> Measured:
    """An implementation of which these conventions were observed, everywhere or at the rank after an underscore."""
    rows = []
    for key, value in seen.items():
        field, _, rank = key.partition("__")
        rows.append(Found(field, f"rank {rank}, rank 3" if rank else "", value, True))
    return Measured(name, framework or name, "1.0", rows)


TORCH = measured("torch", moving_variance="unbiased", single="refused", variance_grade="A", epsilon_floor="none")
KERAS = measured("keras@k", moving_variance="biased", single="beta", variance_grade="A", epsilon_floor="none")
FLAX = measured("flax", moving_variance="biased", single="beta", variance_grade="C", epsilon_floor="none")
FUSED = measured("tf_graph.fused", moving_variance="unbiased", single="beta", epsilon_floor="raised to 1.001e-05")
LEGACY = measured("tf_keras", moving_variance__2="biased", moving_variance__4="unbiased", single="beta")


def test_what_agrees_takes_no_steps() -> None:
    """Two implementations without a difference need nothing, and have no row."""
    assert steps(KERAS, KERAS) == []
    assert len(porting_table([KERAS, KERAS])) == 2


def test_momentum_is_turned_round() -> None:
    """Between the two meanings of momentum it becomes one minus itself, whichever way."""
    assert steps(TORCH, KERAS)[0] == steps(KERAS, TORCH)[0] == "momentum = 1 − A's momentum"


def test_the_estimator_is_put_right() -> None:
    """Who divides by m instead of m − 1 is told the factor, and where it holds."""
    assert "the moving variance gets (m − 1)/m of A's: multiply what enters it by m/(m − 1)" in steps(TORCH, KERAS)
    assert "the moving variance gets m/(m − 1) of A's: multiply what enters it by (m − 1)/m" in steps(KERAS, TORCH)
    (only,) = [text for text in steps(LEGACY, KERAS) if "moving variance" in text]
    assert only.startswith("rank 4: the moving variance gets (m − 1)/m of A's")


def test_a_floor_of_epsilon() -> None:
    """A floor in A is to be imitated, one in B to be kept away from."""
    assert "epsilon: A has every smaller one raised to 1.001e-05" in steps(FUSED, KERAS)
    assert "no epsilon below its floor: B has it raised to 1.001e-05" in steps(KERAS, FUSED)


def test_what_cannot_be_set_is_said() -> None:
    """Behaviour that no argument changes is told as it is on both sides."""
    assert "not to be set: training at m = 1, refused in A, beta in B" in steps(TORCH, KERAS)


def test_a_worse_variance_is_warned_of() -> None:
    """Only who comes to a worse variance hears of it, with the option that mends it."""
    assert steps(KERAS, FLAX) == ["use_fast_variance=False: the variance has grade C, A's A"]
    assert steps(FLAX, KERAS) == []


def test_conventions_are_a_table() -> None:
    """A row for each implementation; what differs at rank 4 is beside what holds at rank 2."""
    *_, row = conventions_table([LEGACY])
    assert row.startswith("| tf_keras (1.0) | biased; rank 4: unbiased | – | beta |")


def test_the_command_reads_what_conventions_prints(tmp_path: Path) -> None:
    """Measured now, written, read again: one row, and no porting from a thing to itself."""
    done = invoke("conventions", "numpy", "--json")
    file = tmp_path / "numpy.json"
    file.write_text(done.out, encoding="utf-8")
    ported = invoke("porting", file)
    assert ported.code == 0
    assert "| numpy (" in ported.out
    assert "| biased | zero | beta | nan | none down to ε = 0 |" in ported.out


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file of something else is named, with what was expected."""
    file = tmp_path / "other.json"
    file.write_bytes(msgspec.json.encode({"a": 1}))
    with pytest.raises(UsageError, match=r"other\.json.*expected what `conventions --json` prints"):
        read([file])
