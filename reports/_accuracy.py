"""Arranges what was measured of the implementations' accuracy: grades, and the digits lost at each condition number."""

from typing import NamedTuple

from reports._grid import Grid
from reports.records import Number, real


class Graded(NamedTuple):
    """One implementation on one element type, as the report shows it."""

    name: str
    dtype: str
    variance: str
    output: str
    half_gone: str
    all_gone: str
    reason: str


class Losses(NamedTuple):
    """Digits lost by condition number: one row per implementation and element type."""

    kappas: list[str]
    #: Name, then per condition number what is lost of the variance and of the inference output, where measured.
    rows: list[tuple[str, list[str]]]


_MEANING = {
    "A": "A: two passes",
    "B": "B: updating",
    "C": "C: E[x²] − E[x]²",
    "S": "S: subtracts first",
    "F": "F: folded a·x + b",
    "": "cannot be told",
}


def grades(grid: Grid) -> list[Graded]:
    """The measured grades, with the declared ones where they differ."""
    rows = []
    for who in grid.implementations:
        for one in who.accuracy:
            declared = who.conventions
            rows.append(
                Graded(
                    who.name,
                    one.dtype,
                    _grade(one.variance_grade, declared.get("variance_grade", [])),
                    _grade(one.affine_grade, declared.get("affine_grade", [])),
                    _condition(one.half_gone),
                    _condition(one.all_gone),
                    one.reason,
                )
            )
    return rows


def _grade(measured: str, declared: list[str]) -> str:
    text = _MEANING.get(measured, measured)
    if measured and declared and measured not in declared:
        text += f" (declared {', '.join(declared)})"
    return text


def _condition(kappa: Number) -> str:
    value = real(kappa)
    return "never" if value == float("inf") else _power(value)


def _power(value: float) -> str:
    return f"{value:g}" if value < 1e4 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


def losses(grid: Grid) -> Losses:
    """The ladders of all implementations and element types side by side."""
    measured = [(f"{who.name} {one.dtype}", one) for who in grid.implementations for one in who.accuracy]
    kappas = sorted({rung.kappa for _, one in measured for rung in one.ladder})
    rows = []
    for name, one in measured:
        found = {rung.kappa: f"{rung.variance:.0f} / {rung.output:.0f}" for rung in one.ladder}
        if found:
            rows.append((name, [found.get(kappa, "") for kappa in kappas]))
    return Losses([_power(kappa) for kappa in kappas], rows)
