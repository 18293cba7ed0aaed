"""Tests of the mechanical mutation: every change is one, runs, and is told apart from what cannot be loaded."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from adapters import numpy_reference
from conformance.mechanical import changes, subjects
from conformance.mutants import Options, Subject, judge_block
from conformance.pool import draw
from tests._commands import invoke

SOURCE = Path(numpy_reference.__file__).read_text(encoding="utf-8")
SMALL = '''
"""A module."""
LIMIT = 3

class Layer:
    """A class."""

    def value(self, x: "float") -> "float":
        """A method."""
        y = x * 2
        if y is None:
            return self.gamma
        return max(y.astype("float32"), 0)
'''


def test_changes_of_a_small_module() -> None:
    """Operators, constants, comparisons, statements, branches, functions, casts and caches are changed, one each."""
    found = changes(SMALL)

    made = [(change.kind, change.after) for change in found]
    assert ("operator", "y = x / 2") in made
    assert ("constant", "y = x * 3") in made
    assert ("comparison", "if y is not None:") in made
    assert ("statement missing", "pass") in made
    assert ("always", "if True:") in made
    assert ("function", "return min(y.astype('float32'), 0)") in made
    assert ("cast dropped", "return max(y, 0)") in made
    assert ("arguments swapped", "return max(0, y.astype('float32'))") in made
    assert ("attribute", "return self.beta") in made
    assert ("stale cache", "@_stale") in made
    assert not any("LIMIT" in change.before or "A method" in change.before for change in found)


def test_changes_of_the_reference_are_distinct_modules() -> None:
    """Every mutant of the reference is another program than the reference and than all others, and compiles."""
    found = changes(SOURCE)
    kinds = Counter(change.kind for change in found)

    assert len(found) > 200
    assert len({change.source for change in found}) == len(found)
    assert ast.unparse(ast.parse(SOURCE)) not in {change.source for change in found}
    for change in found:
        compile(change.source, "mutant", "exec")
    assert {"operator", "constant", "comparison", "dtype", "statement missing", "arguments swapped"} <= set(kinds)
    assert {"copy dropped", "stale cache", "axis dropped", "keepdims dropped"} <= set(kinds)


@pytest.mark.parametrize(
    ("after", "killers"),
    [
        ("return (mean, self.sum(np.square(x + mean)) / m)", {"BN-101"}),
        ("return 1 * np.sqrt(variance + self.compute.type(epsilon))", {"BN-101"}),
    ],
)
def test_a_mutant_is_run_and_killed(after: str, killers: set[str], tmp_path: Path) -> None:
    """A mutant is loaded from its file and judged like any exhibit."""
    mutant = next(s for s in subjects(tmp_path) if s.description.endswith(after))
    (found,) = judge_block([mutant], {1: draw(1, 1, 2)}, Options(seen=1, mechanical=True))

    assert found.fate == "caught"
    assert killers <= {kill.requirement for kill in found.kills}


def test_what_cannot_be_loaded_is_caught(tmp_path: Path) -> None:
    """A mutant that fails while it is loaded counts as caught by that; an exhibit of the zoo must not."""
    (tmp_path / "broken.py").write_text("raise ValueError('broken')\n", encoding="utf-8")
    broken = Subject("broken", f"{tmp_path / 'broken.py'}:Class", "", "statement", True)
    (found,) = judge_block([broken], {1: draw(1, 1, 1)}, Options(mechanical=True))

    assert found.fate == "caught"
    assert [kill.requirement for kill in found.kills] == ["loading"]
    assert "broken" in found.kills[0].message


def test_command() -> None:
    """The command runs the mutants of a kind, and ends with 0 though some may be equivalent."""
    ended = invoke("mutants", "--mechanical", "keepdims dropped", "--cases", "2")
    assert ended.code == 0
    assert "1 fault caught" in ended.out

    ended = invoke("mutants", "--mechanical", "keepdims")
    assert ended.code == 2
    assert "keepdims dropped" in ended.err
