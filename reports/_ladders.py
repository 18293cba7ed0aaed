"""Plots the κ ladder of an implementation: measured errors by condition number, with the bounds of all grades."""

import math
from typing import NamedTuple

from reports._chart import Axis, Chart, Label, Plane, decades
from reports._grid import Grid
from reports.records import Accuracy, Rung, real

#: Implementations with charts on a page; further ones are in the table.
MOST = 6
#: Relative errors from which on nothing of a value is left; bounds may be above, but that tells nothing.
_TOP = 1
_PARTS = (("variance", "Variance", "ABC", "of the variance"), ("output", "Output", "SF", "of the inference output"))
#: Where the name of each grade's curve is: its side, and the error up to which it is followed; so that none meet.
_NAMED = {"A": ("below", 1e-3), "B": ("above", 1e-2), "C": ("above", 1e-1), "S": ("below", 1.0), "F": ("above", 1e-2)}


class Ladders(NamedTuple):
    """The charts of one implementation on one element type: variance and output."""

    name: str
    dtype: str
    charts: list[Chart]


def ladders(grid: Grid) -> list[Ladders]:
    """Plot what was measured: all element types of one implementation, or the first of each of several."""
    single = len(grid.implementations) == 1
    measured = [(who.name, [one for one in who.accuracy if _drawable(one)]) for who in grid.implementations]
    return [
        Ladders(name, one.dtype, [_chart(one, *part) for part in _PARTS])
        for name, types in measured
        for one in (types if single else types[:1])
    ][:MOST]


def _drawable(one: Accuracy) -> bool:
    return any(rung.errors for rung in one.ladder)


def _chart(one: Accuracy, name: str, title: str, grades: str, what: str) -> Chart:
    rungs = [rung for rung in one.ladder if name in rung.errors]
    graded = one.variance_grade if name == "variance" else one.affine_grade
    curves = {key: [(rung.kappa, real(rung.errors[key])) for rung in rungs if key in rung.errors] for key in grades}
    measured = [(rung.kappa, real(rung.errors[name])) for rung in rungs]
    smallest = [y for points in (measured, *curves.values()) for _, y in points[:1] if 0 < y < math.inf]
    low = math.floor(math.log10(min([1e-3, *smallest])))
    right = max(1, math.ceil(math.log10(max([10.0, *(rung.kappa for rung in rungs)]))))
    plane = Plane(Axis(0, right), Axis(low, _TOP))
    return Chart(
        title=f"{title}: {_grade(graded)}",
        across="condition number κ",
        up=f"relative error {what}",
        x_ticks=plane.x_ticks(decades(0, right)),
        y_ticks=plane.y_ticks(decades(low, _TOP - 1, 4)),
        curves=[
            *(plane.line(f"bound {key}", points) for key, points in curves.items()),
            plane.line("seen", measured),
            plane.dots("seen dots", measured),
        ],
        labels=[_label(plane, key, points) for key, points in curves.items() if points],
        alternative=_alternative(what, rungs, name, grades, graded),
    )


def _label(plane: Plane, grade: str, points: list[tuple[float, float]]) -> Label:
    side, limit = _NAMED[grade]
    place = next((point for point in reversed(points[:-3]) if point[1] < limit), points[0])
    return plane.label(side, grade, place)


def _grade(graded: str) -> str:
    return {"": "grade cannot be told", "worse": "worse than every grade"}.get(graded, f"grade {graded}")


def _alternative(what: str, rungs: list[Rung], name: str, grades: str, graded: str) -> str:
    """Say what the chart shows, for those who cannot see it."""
    if not rungs:
        return "nothing was measured"
    last = rungs[-1]
    ends = " to ".join(f"{real(rung.errors[name]):.1e} at κ = {rung.kappa:g}" for rung in (rungs[0], last))
    bounds = ", ".join(f"{key} {real(last.errors[key]):.1e}" for key in grades if key in last.errors)
    return f"Relative error {what} from {ends}: {_grade(graded)}. The bounds there: {bounds}."
