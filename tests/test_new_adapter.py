"""Tests of ``bn-conformance new-adapter``: every template runs as it is written, and so does its test."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.new_adapter import Kind
from tests._commands import environment, invoke, outcomes, prepare, results

FEW = ("-k", "BN-101 or BN-201 or BN-202 or BN-301 or BN-302 or BN-401 or BN-404 or BN-801", "--cases", "6")
MODULES: dict[Kind, str] = {
    "torch": "torch",
    "keras": "keras",
    "jax": "jax",
    "numpy": "numpy",
    "tf1": "tensorflow",
    "generic": "numpy",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    return prepare(tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", list(MODULES))
def test_a_template_runs_as_it_is(kind: Kind, folder: Path) -> None:
    """The adapter that is written passes the first example and the requirements, in a host."""
    if importlib.util.find_spec(MODULES[kind]) is None:
        pytest.skip(f"no run: {MODULES[kind]} is not installed")
    written = invoke("new-adapter", "MyNorm", "--kind", kind, "-o", "mine")
    assert written.code == 0
    assert "Try it: bn-conformance run mine/my_norm.py:MyNorm" in written.out
    ended = invoke("run", "mine/my_norm.py:MyNorm", *FEW)
    found = list(outcomes(results(folder / "results")).values())
    assert ended.code in (0, 3), ended.out
    assert set(found) <= {"pass", "deviates", "mistrusted", "unsupported"}, ended.out
    assert found.count("pass") >= 6
    assert "TODO" in Path("mine/my_norm.py").read_text(encoding="utf-8")


def test_the_written_test_runs(folder: Path) -> None:
    """Pytest runs the test that comes with an adapter, which starts the suite in a process of its own."""
    invoke("new-adapter", "Lean", "--kind", "numpy")
    suite = f"{sys.executable} -m conformance"
    given = environment(BN_CONFORMANCE=suite, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_lean.py"],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def test_nothing_is_overwritten_and_mistakes_are_named(folder: Path) -> None:
    """Existing files, names that are no class, unknown kinds and unwritable folders end with code 2 and the reason."""
    assert invoke("new-adapter", "MyNorm").code == 0
    before = Path("my_norm.py").read_bytes()
    again = invoke("new-adapter", "MyNorm", "--kind", "torch")
    assert (again.code, "my_norm.py exists" in again.err) == (2, True)
    assert Path("my_norm.py").read_bytes() == before
    for name in ("2norm", "my-norm", "class"):
        ended = invoke("new-adapter", name)
        assert (ended.code, "expected the name of a class" in ended.err) == (2, True)
    assert invoke("new-adapter", "Other", "--kind", "caffe").code == 2
    file = invoke("new-adapter", "Other", "-o", "my_norm.py/folder")
    assert (file.code, "cannot write to" in file.err) == (2, True)
