"""Tells how measured implementations differ, and what to set in one of them to get what another does."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from conformance.targets import UsageError

#: The conventions that a table shows, by the words at the head of their column.
COLUMNS = {
    "moving_variance": "moving variance",
    "moving_variance_single": "its value at m = 1",
    "single": "training at m = 1",
    "empty": "empty batch",
    "epsilon_floor": "floor of ε",
    "update_timing": "statistics change",
    "frozen": "frozen layer",
    "variance_grade": "variance",
    "affine_grade": "output",
}
#: The argument that sets decay, by the beginning of an implementation's name; the longest one counts.
DECAY = {
    "torch": "momentum = 1 − decay",
    "keras": "momentum = decay",
    "tf_keras": "momentum = decay",
    "flax": "momentum = decay",
    "tf_graph.layers": "momentum = decay",
    "tf_graph.contrib": "decay",
}
ESTIMATOR = {
    ("biased", "unbiased"): "the moving variance gets m/(m − 1) of A's: multiply what enters it by (m − 1)/m",
    ("unbiased", "biased"): "the moving variance gets (m − 1)/m of A's: multiply what enters it by m/(m − 1)",
}
GRADES = ("A", "B", "C")


class Found(msgspec.Struct):
    """One row of a measurement: ``agrees`` is None where nothing could be told."""

    field: str
    where: str
    observed: str
    agrees: bool | None


class Measured(msgspec.Struct):
    """What ``bn-conformance conventions --json`` writes of one implementation."""

    implementation: str
    framework: str
    version: str
    conventions: list[Found]

    def seen(self, field: str, rank: int = 2) -> str:
        """What was observed of a convention in float32 at a rank; a dash where nothing could be."""
        places = ("", f"rank {rank}", "float32", f"rank {rank} float32")
        rows = [row for row in self.conventions if row.field == field and row.agrees is not None]
        fitting = [row.observed for row in rows if set(places) & set(row.where.split(", "))]
        text = "; ".join(dict.fromkeys(fitting or [f"{row.observed} ({row.where})" for row in rows])) or "–"
        return "–" if text.startswith("not observable") else text

    def cell(self, field: str) -> str:
        """The same at ranks 2 and 4, where fused ops may step in."""
        two, four = self.seen(field), self.seen(field, 4)
        return two if four in (two, "–") else four if two == "–" else f"{two}; rank 4: {four}"


def read(files: Iterable[Path]) -> list[Measured]:
    """All implementations that these files tell of; raises UsageError for what is no such file."""
    found = []
    for file in files:
        try:
            found += msgspec.json.decode(file.read_bytes(), type=list[Measured])
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"{file}: {error}; expected what `conventions --json` prints") from error
    return found


def conventions_table(measured: list[Measured]) -> list[str]:
    """A row for each implementation and version, a column for each convention, in Markdown."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for one in measured:
        cells = [one.cell(field) for field in COLUMNS]
        lines.append(f"| {one.implementation} ({one.version}) | {' | '.join(cells)} |")
    return lines


def porting_table(measured: list[Measured]) -> list[str]:
    """For each ordered pair of implementations that differ: what to set in B to get what A does."""
    lines = ["| A | B | in B |", "|---|---|---|"]
    for a in measured:
        for b in measured:
            advice = steps(a, b) if a is not b else []
            if advice:
                lines.append(f"| {_called(a)} | {_called(b)} | {'; '.join(advice)} |")
    return lines


def steps(a: Measured, b: Measured) -> list[str]:
    """What to set in B, or to know where nothing can be set, to get what A does."""
    return [text for text in (_decay(a, b), *_estimators(a, b), _floor(a, b), *_cases(a, b), _accuracy(a, b)) if text]


def _called(one: Measured) -> str:
    return f"{one.implementation.partition('@')[0]} {one.version}"


def _argument(one: Measured) -> str:
    name = one.implementation.partition("@")[0]
    fitting = [known for known in DECAY if name.startswith(known)]
    return DECAY[max(fitting, key=len)] if fitting else "decay, as written out"


def _decay(a: Measured, b: Measured) -> str:
    mine, theirs = _argument(a), _argument(b)
    if mine == theirs:
        return ""
    if {mine, theirs} == {"momentum = 1 − decay", "momentum = decay"}:
        return "momentum = 1 − A's momentum"
    return f"{theirs}, where A has {mine}"


def _estimators(a: Measured, b: Measured) -> list[str]:
    """Layers that are fused for rank 4 alone differ there."""
    two, four = [ESTIMATOR.get((a.seen("moving_variance", r), b.seen("moving_variance", r)), "") for r in (2, 4)]
    if two == four:
        return [two]
    return [f"rank {rank}: {text}" for rank, text in ((2, two), (4, four)) if text]


def _floor(a: Measured, b: Measured) -> str:
    mine, theirs = a.seen("epsilon_floor"), b.seen("epsilon_floor")
    if mine == theirs or "raised" not in mine + theirs:
        return ""
    if "raised" in mine:
        return f"epsilon: A has every smaller one {mine}"
    return f"no epsilon below its floor: B has it {theirs}"


def _cases(a: Measured, b: Measured) -> list[str]:
    texts = {
        "single": "training at m = 1",
        "empty": "training on an empty batch",
        "update_timing": "when statistics change",
        "frozen": "a frozen layer in training",
    }
    found = []
    for field, words in texts.items():
        mine, theirs = a.seen(field), b.seen(field)
        if mine != theirs and "–" not in (mine, theirs):
            found.append(f"not to be set: {words}, {mine} in A, {theirs} in B")
    return found


def _accuracy(a: Measured, b: Measured) -> str:
    mine, theirs = a.seen("variance_grade"), b.seen("variance_grade")
    if mine not in GRADES or theirs not in GRADES or GRADES.index(theirs) <= GRADES.index(mine):
        return ""
    way = "use_fast_variance=False" if b.framework == "flax" else "center the data first"
    return f"{way}: the variance has grade {theirs}, A's {mine}"
