"""Tests of ``bisect``: the search, the releases that there are, and a package of which a release broke something."""

import itertools
import sys
import zipfile
from pathlib import Path

import pytest

from conformance import bisect
from conformance._builds import CACHE
from conformance.bisect import Found, Verdict, first_bad, within
from conformance.environments import read
from conformance.targets import UsageError, resolve
from tests._commands import ROOT, command

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NAMES = [f"1.{n}" for n in range(9)]
ADAPTER = """
from adapters.numpy_reference import NumpyLayer, NumpyReference
import bnpretend


class _Layer(NumpyLayer):
    def infer(self, x, dy=None):
        step = super().infer(x, dy)
        return step._replace(y=step.y + bnpretend.WRONG)


class Norm(NumpyReference):
    layer = _Layer
"""


@pytest.mark.parametrize("first", range(1, 9))
def test_the_first_bad_release_is_found(first: int) -> None:
    """Wherever the change is, the releases on its two sides are named, after few tries."""
    tried = []

    def test(version: str) -> Verdict:
        tried.append(version)
        return "bad" if NAMES.index(version) >= first else "good"

    found = first_bad(NAMES, test)
    assert (found.good, found.bad, found.between) == (NAMES[first - 1], NAMES[first], ())
    assert found.tried == len(tried) == len(set(tried)) <= 5


def test_releases_that_cannot_be_tried_are_gone_round() -> None:
    """With any two releases that cannot be tried, the change is found, or enclosed with those that could not."""
    for skipped in itertools.combinations(range(9), 2):
        for first in range(1, 9):
            verdicts: list[Verdict] = ["skipped" if n in skipped else "bad" if n >= first else "good" for n in range(9)]
            found = first_bad(NAMES, lambda version, v=verdicts: v[NAMES.index(version)])  # type: ignore[misc]
            if "good" not in verdicts or "bad" not in verdicts:
                assert not (found.good and found.bad)
                continue
            good = max(n for n in range(9) if verdicts[n] == "good")
            bad = min(n for n in range(9) if verdicts[n] == "bad")
            assert (found.good, found.bad) == (NAMES[good], NAMES[bad])
            assert found.between == tuple(NAMES[good + 1 : bad])


def test_what_holds_everywhere_or_nowhere_is_told() -> None:
    """A case that holds in the newest release, that fails in the oldest, or that nothing can run is no bisection."""
    ends: dict[Verdict, Found] = {
        "good": Found("1.8", "", (), 1),
        "bad": Found("", "1.0", (), 2),
        "skipped": Found("", "", (), 9),
    }
    for verdict, expected in ends.items():
        assert first_bad(NAMES, lambda _, v=verdict: v) == expected  # type: ignore[misc]
    told = [bisect.conclusion(found, "p", Path("c.json")) for found in ends.values()]
    assert told == [
        "c.json holds in p 1.8",
        "c.json fails in every release that could be tried; the oldest is p 1.0",
        "no release could be tried",
    ]


def test_the_range_is_by_version_and_not_by_spelling() -> None:
    """1.10 lies between 1.9 and 2.0; a text that is no version is refused."""
    assert within(["1.2", "1.9", "1.10", "2.0", "2.1"], "1.9.0", "2.0") == ["1.9", "1.10", "2.0"]
    with pytest.raises(UsageError, match="is no version"):
        within(["1.2"], "latest", "")


def test_releases_are_tried_as_in_the_environment_of_the_case() -> None:
    """Python, other requirements and variables are those of the environment that the case failed in."""
    listed = read(ROOT / "environments.toml")
    (target,) = resolve(["tf_graph.layers@tf1.15"])
    given = bisect.setting(target, "TensorFlow", "", ["absl-py<2"], listed)
    assert (given.python, given.others) == ("3.7", ("numpy<2", "protobuf<3.21", "absl-py<2"))
    (here,) = resolve(["torch"])
    assert bisect.setting(here, "torch", "", [], listed) == (HERE, ("numpy",), (), ())


def release(folder: Path, version: str, wrong: int) -> None:
    """Write a wheel of the pretended package."""
    folder.mkdir(exist_ok=True)
    info = f"bnpretend-{version}.dist-info"
    with zipfile.ZipFile(folder / f"bnpretend-{version}-py3-none-any.whl", "w") as file:
        file.writestr("bnpretend.py", f"WRONG = {wrong}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: bnpretend\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_a_release_that_broke_something_is_named(tmp_path: Path) -> None:
    """A case that fails with the newest release leads to the release that broke it, through real environments."""
    for number in range(1, 6):
        release(tmp_path / "wheels", f"1.{number}", int(number >= 4))
    (tmp_path / "norm.py").write_text(ADAPTER, encoding="utf-8")
    (tmp_path / "bnpretend.py").write_text("WRONG = 1\n", encoding="utf-8")
    run = command("run", "norm.py:Norm", "-k", "BN-201", "--cases", "4", folder=tmp_path)
    assert run.code == 1, run.err
    (tmp_path / "bnpretend.py").unlink()
    (case,) = (tmp_path / "results" / "cases").glob("BN-201-*-smallest.json")
    links = {"PIP_FIND_LINKS": str(tmp_path / "wheels"), "UV_FIND_LINKS": "", CACHE: str(tmp_path / "cache")}
    ended = command("bisect", case, "--package", "bnpretend", "--with", "numpy", folder=tmp_path, **links)
    assert ended.code == 0, ended
    assert "5 releases of bnpretend" in ended.out
    assert "the first bad release is bnpretend 1.4, the last good one 1.3" in ended.out.splitlines()[-1]
