"""Tests of the pytest plug-in: somebody's own suite shows the requirements, and loads nothing else of ours."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests._commands import ROOT, Ended, environment

MODULE = """
from numpy_classes import Lecture

class Shifted(Lecture):
    def forward(self, x, train=True):
        return super().forward(x, train) + 0.125
"""
OTHER = """
import sys

def test_nothing_else_is_loaded():
    assert not {"adapters", "conformance", "reports", "hypothesis", "numpy"} & set(sys.modules)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a right and a wrong class, a test of its own, and folders that have our names."""
    given = ROOT / "tests" / "given" / "numpy_classes.py"
    (tmp_path / "numpy_classes.py").write_text(given.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "norms.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "test_other.py").write_text(OTHER, encoding="utf-8")
    for name in ("adapters", "conformance", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong folder')", encoding="utf-8")
    configure(tmp_path, implementations=["numpy:norms:Lecture", "numpy:norms:Shifted"], cases=4)
    return tmp_path


def configure(folder: Path, **table: object) -> None:
    """Write the table; the suite is started from this checkout."""
    # Each start of the suite leaves a line.
    start = f"import sys; open('started', 'a').write(sys.argv[1] + chr(10)); sys.path.insert(0, {str(ROOT)!r}); "
    start += "from conformance.cli import main; main()"
    whole = {"command": [sys.executable, "-I", "-c", start], **table}
    lines = [f"{key} = {json.dumps(value)}" for key, value in whole.items()]
    (folder / "pyproject.toml").write_text("\n".join(["[tool.bn-conformance]", *lines, ""]), encoding="utf-8")


def run(folder: Path, *arguments: str) -> Ended:
    """Run pytest as a user would who has the plug-in installed."""
    command = [sys.executable, "-m", "pytest", "-p", "bn_conformance_pytest", "-p", "no:cacheprovider", *arguments]
    given = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", BN="1")
    # A worker of these tests is none of the project's.
    given = {name: value for name, value in given.items() if not name.startswith("PYTEST_XDIST")}
    # The module alone is on the path, as where it is installed.
    plugin = folder / "site"
    plugin.mkdir(exist_ok=True)
    source = (ROOT / "bn_conformance_pytest.py").read_text(encoding="utf-8")
    (plugin / "bn_conformance_pytest.py").write_text(source, encoding="utf-8")
    given["PYTHONPATH"] = str(plugin)
    ended = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=300, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_requirements_are_tests_beside_those_of_the_project(project: Path) -> None:
    """Selected by -k, they pass, fail with claim and command, and are written to JUnit; the others run too."""
    ended = run(project, "-k", "BN-201 or BN-101 or other", "--junitxml=junit.xml", "-v")
    assert ended.code == 1, ended.out + ended.err
    assert "pyproject.toml::Lecture::BN-201 PASSED" in ended.out
    assert "pyproject.toml::Shifted::BN-101 FAILED" in ended.out
    assert "test_other.py::test_nothing_else_is_loaded PASSED" in ended.out
    assert "Again: bn-conformance replay" in ended.out
    assert "Traceback" not in ended.out
    cases = {case.get("name"): case for case in ET.parse(project / "junit.xml").getroot().iter("testcase")}
    assert {"BN-101", "BN-201", "test_nothing_else_is_loaded"} <= set(cases)


def test_markers_ids_and_files_select(project: Path) -> None:
    """The marker leaves them out, an id asks for one, a file named leaves them out; families and names are words."""
    assert "1 passed" in run(project, "-m", "not bn_conformance", "-q").out
    assert "1 passed" in run(project, "test_other.py", "-q").out
    assert "1 passed" in run(project, "pyproject.toml::Lecture::BN-301", "-q").out
    listed = run(project, "--collect-only", "-q", "-k", "running and Lecture").out
    assert "pyproject.toml::Lecture::BN-301" in listed
    assert "BN-101" not in listed


def test_without_a_table_it_does_nothing(project: Path) -> None:
    """A project that does not ask for it has its own tests and no others."""
    (project / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n", encoding="utf-8")
    assert "1 passed" in run(project, "-q").out


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"implementation": ["numpy"]}, "implementation: there is no such key"),
        ({"implementations": "numpy"}, "'numpy' is a str, which it cannot be"),
        ({"cases": 3}, "lacks implementations"),
        ({"implementations": ["nmpy"]}, "did you mean numpy?"),
        ({"implementations": ["numpy"], "command": ["no-such-program"]}, "cannot start no-such-program"),
    ],
)
def test_bad_tables_are_named(table: dict[str, object], message: str, project: Path) -> None:
    """Each mistake is one line with file and key, and ends with pytest's code for wrong usage."""
    configure(project, **table)
    ended = run(project, "-q", "-k", "BN-201 and numpy")
    assert ended.code in (2, 4), ended.out + ended.err
    assert message in ended.out + ended.err


def test_what_cannot_be_judged_fails(project: Path) -> None:
    """An implementation that is not there is no pass and no skip."""
    configure(project, implementations=["numpy:norms:Missing"], cases=2)
    ended = run(project, "-k", "BN-201", "-q")
    assert ended.code == 1
    assert "norms" in ended.out
    assert "has no Missing" in ended.out


def test_workers_share_one_run(project: Path) -> None:
    """With xdist the suite runs once for all workers."""
    pytest.importorskip("xdist")
    ended = run(project, "-p", "xdist", "-n", "2", "-k", "BN-201 or BN-301 or BN-101", "-q", "pyproject.toml")
    assert ended.code == 1
    assert "2 failed, 4 passed" in ended.out
    assert (project / "started").read_text(encoding="utf-8").split().count("run") == 1
