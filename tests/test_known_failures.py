"""Known failures: read strictly, matched by requirement, implementation and version."""

import re
from pathlib import Path

import numpy as np
import pytest

from adapters.interface import Capabilities, Spec, State
from adapters.program import StepTrace, Trace
from conformance._results import outcome
from conformance.case import Case, Given, Instruction, SetState, Start, Train
from conformance.evidence import Evidence, Worst
from conformance.known_failures import SAME, KnownFailure, KnownFailureError, allowed, find, find_for, read
from conformance.pool import Pooled
from conformance.requirements import CATALOGUE
from conformance.tally import Survey, Tally
from conformance.targets import resolve

ROOT = Path(__file__).parent.parent
ENTRY = """
[[known_failure]]
requirement = "BN-101"
implementation = "torch"
versions = ">=2.1,<2.3"
reason = "wrong"
url = "https://example.org/1"
"""


def entry(versions: str = "", requirement: str = "BN-101", implementation: str = "torch") -> KnownFailure:
    """An entry for these versions."""
    return KnownFailure(requirement, implementation, "wrong", "https://example.org/1", versions)


class TestCovering:
    """Which results an entry speaks of."""

    @pytest.mark.parametrize(
        ("versions", "version", "covered"),
        [
            ("", "2.1.0", True),
            ("", "unknown", True),
            ("", "", True),
            (">=2.1,<2.3", "2.1", True),
            (">=2.1,<2.3", "2.2.5", True),
            (">=2.1,<2.3", "2.3", False),
            (">=2.1,<2.3", "2.0.9", False),
            (">=2.1", "2.13.0+cpu", True),
            ("==2.13.0", "2.13.0+cpu", True),
            (">=2.1", "2.2.0.dev20240101", True),
            ("<1.0", "0.12.1", True),
            (">=2.1", "unknown", False),
            (">=2.1", "", False),
        ],
    )
    def test_versions(self, versions: str, version: str, covered: bool) -> None:
        """Versions are compared as pip compares them, previews and local builds included; no specifier means all."""
        assert entry(versions).covers("BN-101", "torch", version) == covered

    def test_requirement_and_implementation(self) -> None:
        """Both must be those of the entry, to the letter."""
        assert not entry().covers("BN-102", "torch", "2.1")
        assert not entry().covers("BN-101", "torch_compiled", "2.1")

    def test_environments(self) -> None:
        """An entry without an environment speaks of all of them, one with an environment of that alone."""
        assert entry().covers("BN-101", "torch@torch1.4", "1.4")
        assert entry(implementation="torch@torch1.4").covers("BN-101", "torch@torch1.4", "1.4")
        assert not entry(implementation="torch@torch1.4").covers("BN-101", "torch", "2.1")

    def test_the_first_that_covers_is_found(self) -> None:
        """Of several entries the first that covers a result speaks for it; none is None."""
        entries = (entry("<2"), entry(">=2"), entry())
        assert find(entries, "BN-101", "torch", "2.1") is entries[1]
        assert find(entries, "BN-101", "torch", "1.9") is entries[0]
        assert find(entries[:2], "BN-101", "torch", "unknown") is None
        assert find((), "BN-101", "torch", "2.1") is None

    @pytest.mark.parametrize("text", SAME)
    def test_layers_of_frameworks_without_their_adapter(self, text: str) -> None:
        """What is known of an adapter is known of its layer without one, where it need not show."""
        (mine,), (registered,) = resolve([text]), resolve([SAME[text]])
        known = (entry(implementation=SAME[text]),)
        assert find_for(known, "BN-101", registered, "1.0") == known[0]
        found = find_for(known, "BN-101", mine, "1.0")
        assert found is not None
        assert not found.always
        assert find_for(known, "BN-102", mine, "1.0") is None

    def test_element_types(self) -> None:
        """An entry of some element types excuses failures in those alone, one of none excuses all."""
        some = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", "", ("float16", "bfloat16"))
        assert allowed(some, {"float16"})
        assert allowed(some, {"bfloat16", "float16"})
        assert not allowed(some, {"float16", "float32"})
        assert allowed(entry(), {"float16", "float32"})
        assert not allowed(None, {"float16"})

    def test_layouts(self) -> None:
        """An entry on layouts excuses no failure on plain memory."""
        strided = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", layouts=True)
        assert allowed(strided, {"float32"})
        assert not allowed(strided, {"float32"}, 1)
        assert came_to(strided, "float32")[0] == "fail"

    def test_inputs_that_are_not_finite(self) -> None:
        """An entry on NaN and infinity excuses no failure on finite inputs."""
        broken = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", nonfinite=True)
        assert allowed(broken, {"float32"}, plain=1)
        assert not allowed(broken, {"float32"}, finite=1)
        for value, wanted in ((1.0, "fail"), (np.nan, "known failure")):
            step = Train(Given.of(np.array([[value, 1, 2]], np.float32)), None)
            assert came_to(broken, "float32", steps=(step,))[0] == wanted

    def test_moving_statistics_that_are_infinite(self) -> None:
        """An entry on infinite moving statistics excuses no failure on others, NaN included."""
        broken = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", infinite_statistics=True)
        for value, wanted in ((1.0, "fail"), (np.nan, "fail"), (np.inf, "known failure")):
            array = Given.of(np.array([1, value, 2], np.float32))
            step = Train(Given.of(np.ones((1, 3), np.float32)), None)
            for state in (Start(moving_mean=array), Start(moving_variance=array)):
                assert came_to(broken, "float32", starts=(Start(), state))[0] == wanted
                assert came_to(broken, "float32", steps=(step, SetState(state)), starts=(Start(),))[0] == wanted
            read = StepTrace(0, state=State(moving_variance=array.array))
            trace = Trace(None, (State(),), (read,))
            assert came_to(broken, "float32", steps=(step,), starts=(Start(),), traces=(trace,))[0] == wanted


def came_to(
    known: KnownFailure | None,
    *dtypes: str,
    steps: tuple[Instruction, ...] = (),
    starts: tuple[Start, ...] = (),
    traces: tuple[Trace, ...] = (),
) -> tuple[str, str]:
    """What a requirement comes to that failed in examples of these element types, or passed where there are none."""
    tally = Tally(CATALOGUE["BN-101"])
    evidence = Evidence(2.0, 1, 0, 1, (Worst("y", 0, (0,), 3.0, 1.0, 1.0, 2.0),))
    spec = Spec((None, 3), (-1,), 1e-3, 0.9)
    for dtype in dtypes:
        tally.add(Pooled(Case(spec._replace(dtype=dtype), starts, steps), b""), evidence, "prob", traces=traces)
    if not dtypes:
        tally.add(Pooled(Case(spec, (), ()), b""), evidence._replace(ratio=0.5), "prob")
    return outcome(tally, Survey({"BN-101": tally}), Capabilities(), known)


class TestOutcome:
    """What an entry makes of a result."""

    def test_failures_in_other_types_stay_failures(self) -> None:
        """A failure in a type that the entry does not name is a failure, and the reason says so."""
        known = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", "", ("float16",))
        assert came_to(known, "float16")[0] == "known failure"
        found, reason = came_to(known, "float16", "float32")
        assert found == "fail"
        assert "also beyond the element types" in reason

    def test_an_entry_that_does_not_show_always_is_not_stale(self) -> None:
        """A pass makes an entry stale, unless the entry says that only some data show the failure."""
        seldom = KnownFailure("BN-101", "torch", "wrong", "https://example.org/1", always=False)
        assert came_to(entry())[0] == "stale known failure"
        assert came_to(seldom)[0] == "pass"
        assert came_to(seldom, "float32")[0] == "known failure"


class TestFile:
    """Reading the file."""

    def test_entries(self, tmp_path: Path) -> None:
        """All entries are read, in order, versions being optional."""
        path = tmp_path / "known.toml"
        path.write_text(ENTRY + ENTRY.replace("BN-101", "BN-102").replace('versions = ">=2.1,<2.3"', ""))
        first, second = read(path)
        assert first == entry(">=2.1,<2.3")
        assert second == entry("", "BN-102")

    def test_no_file_and_no_entries(self, tmp_path: Path) -> None:
        """Where there is no file, or nothing in it, nothing is known to fail."""
        assert read(tmp_path / "none.toml") == ()
        (tmp_path / "empty.toml").write_text("# nothing\n")
        assert read(tmp_path / "empty.toml") == ()

    def test_one_reason_may_speak_of_several(self, tmp_path: Path) -> None:
        """Lists of requirements and implementations stand for every pair of them."""
        text = ENTRY.replace('"BN-101"', '["BN-101", "BN-102"]').replace('"torch"', '["torch", "keras"]')
        (tmp_path / "known.toml").write_text(text)
        pairs = [(known.implementation, known.requirement) for known in read(tmp_path / "known.toml")]
        assert pairs == [("torch", "BN-101"), ("torch", "BN-102"), ("keras", "BN-101"), ("keras", "BN-102")]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (ENTRY.replace('reason = "wrong"', ""), "reason"),
            (ENTRY.replace('url = "https://example.org/1"', ""), "url"),
            (ENTRY.replace("requirement =", "requirment ="), "requirment"),
            (ENTRY.replace('"BN-101"', "101"), "got `int`"),
            (ENTRY.replace("[[known_failure]]", "[[known_failures]]"), "known_failures"),
            (ENTRY.replace("[[known_failure]]", "[known_failure]"), "Expected `array`"),
            (ENTRY + ENTRY.replace(">=2.1,<2.3", "2.1 or so"), "entry 2 (BN-101): Invalid specifier: '2.1 or so'"),
            ("this is no TOML", "Expected '='"),
            (b"\xff\xfe", "decode"),
        ],
        ids=["reason", "url", "misspelt", "type", "other table", "no list", "versions", "no TOML", "no UTF-8"],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str | bytes, message: str) -> None:
        """A file that cannot be used is named, with what is wrong in it."""
        path = tmp_path / "known.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(KnownFailureError, match=re.escape(str(path))) as caught:
            read(path)
        assert message in str(caught.value)

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        """A path that cannot be read is named too."""
        with pytest.raises(KnownFailureError, match=re.escape(str(tmp_path))):
            read(tmp_path)

    def test_the_projects_own_file(self) -> None:
        """The file in the repository can be read and speaks of requirements that exist, with a reason and a link."""
        for known in read(ROOT / "known_failures.toml"):
            assert known.requirement in CATALOGUE
            assert known.reason
            assert known.url.startswith("https://")
