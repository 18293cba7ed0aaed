"""Tests of what a run consists of: names and import paths, ``-k`` expressions, known failures."""

from pathlib import Path

import pytest

from adapters.interface import Capabilities
from conformance import known_failures
from conformance._results import outcome
from conformance.known_failures import KnownFailure, KnownFailureError, find
from conformance.plan import check_known, keywords, select
from conformance.requirements import CATALOGUE
from conformance.tally import Survey, Tally
from conformance.targets import Target, UsageError, known_names, nearest, resolve

FILE = f"{Path(__file__).parent}/hostile/processes.py"


# Implementations


def test_names_and_groups_resolve_in_order_and_once() -> None:
    """Names keep their order, a group stands for its members, and what is named twice runs once."""
    names = [target.name for target in resolve(["torch", "tf_graph", "tf_graph.nn", "numpy", "torch"])]
    assert names == ["torch", "tf_graph.nn", "tf_graph.fused", "numpy"]


@pytest.mark.parametrize(
    ("word", "near"), [("nmpy", "numpy"), ("Torch", "torch"), ("tfgraph", "tf_graph"), ("keras3", "keras")]
)
def test_an_unknown_name_is_answered_with_the_nearest(word: str, near: str) -> None:
    """A misspelt name is refused with the names that it resembles."""
    with pytest.raises(UsageError, match=rf"no implementation is called '{word}': did you mean .*{near}"):
        resolve([word])


def test_a_name_like_no_other_is_answered_with_all() -> None:
    """Where nothing is near, all names are listed, and how an adapter of one's own is named."""
    with pytest.raises(UsageError) as caught:
        resolve(["zzz"])
    assert all(name in str(caught.value) for name in [*known_names(), "path/to/file.py:Class"])


def test_classes_are_called_by_their_name() -> None:
    """An adapter class goes by its own name, and by its whole path where that name is taken."""
    targets = resolve(["a.b:Norm", f"{FILE}:Segfault", "c:Norm", "a.b:Norm", "d:torch"])
    assert [target.name for target in targets] == ["Norm", "Segfault", "c:Norm", "d:torch"]
    assert [target.target for target in targets] == ["a.b:Norm", f"{FILE}:Segfault", "c:Norm", "d:torch"]


def test_what_a_target_is_spelled_like_resolves_to_it() -> None:
    """What a case file names leads back to the same target, also for classes that no registry knows."""
    for target in resolve(["numpy", "tf_graph.fused", "a.b:Norm", f"{FILE}:Segfault"]):
        assert resolve([target.spelled]) == (target,)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":", "names no adapter: expected package.module:Class"),
        ("module:", "'module:' names no adapter"),
        (":Class", "':Class' names no adapter"),
        ("module:Not a class", "names no adapter"),
        ("no/such.py:Class", "no/such.py:Class: there is no file no/such.py"),
        ("such.py:Class", "there is no file such.py"),
    ],
)
def test_import_paths_that_cannot_be_right_are_refused_at_once(name: str, message: str) -> None:
    """An import path without module, class or file is a usage error before anything runs."""
    with pytest.raises(UsageError, match=message):
        resolve([name])


def test_a_framework_that_is_not_installed_is_named_with_its_extra() -> None:
    """A target says what is missing and how to install it; one without a framework never does."""
    assert "no_such_thing is not installed here" in Target("x", "m:C", "no_such_thing", "extra").missing
    assert "bn-conformance[extra]" in Target("x", "m:C", "no_such_thing", "extra").missing
    assert Target("x", "m:C", "numpy", "").missing == ""
    assert Target("x", "no_such_thing:C").missing == ""


# -k


def selected(expression: str, *names: str) -> set[tuple[str, str]]:
    """Implementation and requirement of all that an expression selects."""
    targets, requirements = select(expression, resolve(names or ["numpy"]))
    return {(target.name, id_) for target in targets for id_ in requirements}


def family(digit: str) -> set[str]:
    """The ids of a family."""
    return {id_ for id_ in CATALOGUE if id_.startswith(f"BN-{digit}")}


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("BN-101", {"BN-101"}),
        ("BN_101", {"BN-101"}),
        ("bn-101 or Bn_201", {"BN-101", "BN-201"}),
        ("BN-1", family("1")),
        ("BN-1 and not BN-101", family("1") - {"BN-101"}),
        ("not (BN-1 or BN-2)", set(CATALOGUE) - family("1") - family("2")),
        ("training_output", {"BN-101", "BN-108"}),
        ("running", family("3")),
        ("numpy and BN-101", {"BN-101"}),
    ],
)
def test_expressions_select_by_id_name_family_and_implementation(expression: str, ids: set[str]) -> None:
    """Ids with dash or underscore, names of functions, family titles and implementations can all be combined."""
    found = {id_ for _, id_ in selected(expression)}
    if expression == "training_output":
        assert found == {id_ for id_, r in CATALOGUE.items() if "training_output" in r.check.__name__} >= {"BN-101"}
    else:
        assert found == ids


def test_expressions_select_implementations() -> None:
    """An implementation's name in an expression leaves the others out."""
    assert {name for name, _ in selected("torch", "numpy", "torch")} == {"torch"}
    assert {name for name, _ in selected("not tf_graph", "numpy", "tf_graph")} == {"numpy"}


@pytest.mark.parametrize("expression", ["BN-1 and", "(", "BN-1 BN-2", "not", "a and and b", "'", "a$"])
def test_what_is_no_expression_is_refused_with_its_place(expression: str) -> None:
    """A syntax error names the expression and the column."""
    with pytest.raises(UsageError, match=r"(?s)^-k .*column \d+"):
        selected(expression)


@pytest.mark.parametrize("expression", ["BN-999", "numpy and torch", " "])
def test_an_expression_that_selects_nothing_is_refused(expression: str) -> None:
    """An empty selection is an error, not an empty success."""
    with pytest.raises(UsageError, match="selects nothing: see `bn-conformance list`"):
        selected(expression)


def test_keywords_hold_both_spellings_of_an_id() -> None:
    """A requirement is found by its id as printed and as pytest users write names."""
    assert {"BN-101", "BN_101", "torch"} <= set(keywords(CATALOGUE["BN-101"], "torch"))


# Known failures


def entry(requirement: str = "BN-101", implementation: str = "torch", versions: str = "") -> KnownFailure:
    """A known failure."""
    return KnownFailure(requirement, implementation, "a reason", "https://example.org", versions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[known_failure]", "Expected"),
        ("[[known_failures]]", "unknown field `known_failures`"),
        ('[[known_failure]]\nrequirement = "BN-101"', "missing required field `implementation`"),
        ('[[known_failure]]\nrequirement = 101\nimplementation = "a"\nreason = ""\nurl = ""', "got `int`"),
        (
            '[[known_failure]]\nrequirement = "BN-101"\nimplementation = "a"\nreason = ""\nurl = ""\nversions = "new"',
            r"entry 1 \(BN-101\): Invalid specifier",
        ),
    ],
)
def test_a_broken_file_of_known_failures_is_named(text: str, message: str, tmp_path: Path) -> None:
    """Whatever is wrong in the file, the message names the file and the place."""
    file = tmp_path / "known_failures.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(KnownFailureError, match=message) as caught:
        known_failures.read(file)
    assert str(file) in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A file that is not UTF-8, or is a folder, is named."""
    file = tmp_path / "known_failures.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(KnownFailureError, match=r"known_failures.toml"):
        known_failures.read(file)
    with pytest.raises(KnownFailureError, match="Is a directory"):
        known_failures.read(tmp_path)


def test_an_entry_covers_its_versions_only() -> None:
    """Entries are found by requirement, implementation and version; a version that is no version matches any range."""
    entries = (entry(versions=">=2.1,<2.3"),)
    assert find(entries, "BN-101", "torch", "2.2.0+cpu") is entries[0]
    assert find(entries, "BN-101", "torch", "2.3.0.dev1") is None
    assert find(entries, "BN-101", "torch", "2.4") is None
    assert find(entries, "BN-102", "torch", "2.2") is None
    assert find(entries, "BN-101", "keras", "2.2") is None
    assert find(entries, "BN-101", "torch", "built yesterday") is None
    assert find((entry(),), "BN-101", "torch", "built yesterday") is not None


def test_an_entry_that_can_match_nothing_is_refused() -> None:
    """A requirement that does not exist is a usage error with the nearest ids; other implementations are nobody's."""
    file = Path("known_failures.toml")
    check_known((entry(implementation="somebody's"),), file)
    with pytest.raises(UsageError, match=r"known_failures.toml: entry 2 matches nothing: .* 'BN-1O1'; did you mean"):
        check_known((entry(), entry("BN-1O1")), file)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"passed": 9, "evidence": 9}, "stale known failure"),
        ({"unsupported": 9, "refusals": {"no": 9}}, "stale known failure"),
        ({"passed": 9, "evidence": 0}, "mistrusted"),
    ],
)
def test_a_known_failure_that_does_not_fail_is_stale(counts: dict[str, object], expected: str) -> None:
    """Passing and unsupported are not failing; too little evidence does not say."""
    tally = Tally(CATALOGUE["BN-101"], total=9)
    for name, value in counts.items():
        setattr(tally, name, value)
    found, reason = outcome(tally, Survey({"BN-101": tally}), Capabilities(), entry())
    assert found == expected
    assert ("a reason (https://example.org)" in reason) == (expected == "stale known failure")


def test_nearest_lists_everything_where_nothing_is_near() -> None:
    """A hint is either the near names or all of them."""
    assert nearest("nunpy", ["numpy", "torch"]) == "did you mean numpy?"
    assert nearest("?", ["numpy", "torch"]) == "known are numpy, torch."
