"""Tests of hosts under a real Python 3.6: the oldest interpreter that old frameworks need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.program import Call, Program
from conformance.session import SessionError, open_session
from tests._programs import REFERENCE, SPEC, program, state, values

ROOT = Path(__file__).parents[1]


def python36() -> str | None:
    """Find a real Python 3.6."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which("python3.6"), *sorted(str(p) for p in root.glob("versions/3.6.*/bin/python"))]
    for candidate in candidates:
        if candidate is not None:
            command = [candidate, "-c", "import sys; print(sys.version_info[:2])"]
            answer = subprocess.run(command, capture_output=True, check=False)
            if answer.stdout.strip() == b"(3, 6)":
                return candidate
    return None


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment of Python 3.6 with NumPy, built by uv."""
    found, uv = python36(), shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None or uv is None:
        pytest.skip("no run: there is no Python 3.6" if found is None else "no run: there is no uv")
    folder = tmp_path_factory.mktemp("python36") / "environment"
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "-q", "--python", found, str(folder)], check=True, capture_output=True)
    command = [uv, "pip", "install", "-q", "--python", python, "numpy"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"no run: NumPy for Python 3.6 cannot be installed: {built.stderr[-300:]}")
    return python


def test_python36_gives_the_same_trace(old_python: str) -> None:
    """A host of Python 3.6 with its old NumPy serves the reference, layouts and repeated runs included."""
    x = values(8, 6)[::-2, ::2]
    x.flags.writeable = False
    calls = (Call("train", 0, x, x[::-1]), Call("infer", 0, x, x), Call("get_state"))
    with open_session(REFERENCE, python=old_python) as session, open_session(REFERENCE) as reference:
        assert session.details["python"].startswith("3.6.")
        for read in ("every", "end"):
            given = Program(SPEC, (state(),), calls, read, repeat=True)
            old, new = session.run(given), reference.run(given)
            assert old.failure is None
            assert old.observations == ()
            for a, b in zip(old.steps, new.steps, strict=True):
                if a.step is not None and b.step is not None:
                    np.testing.assert_allclose(a.step.y, b.step.y, rtol=1e-5, atol=1e-6)


def test_python36_finds_the_same_faults(old_python: str, tmp_path: Path) -> None:
    """Crashes, declarations and misuse of memory are named under Python 3.6 as they are under today's."""
    file = tmp_path / "old.py"
    file.write_text(OLD)
    with open_session(f"{file}:Mutates", python=old_python) as session:
        trace = session.run(program("train", "infer"))
        assert [(o.kind, o.what) for o in trace.steps[0].observations] == [("mutated", "x")]
    with open_session(f"{file}:Crashes", python=old_python) as session:
        failure = session.run(program("train")).failure
        assert failure is not None
        assert failure.message == "killed by SIGSEGV during call 0 (train)"
    with pytest.raises(SessionError, match=r"UnknownName .*: describe\(\): .* field 'tapes'; did you mean tape"):
        open_session(f"{file}:UnknownName", python=old_python)


OLD = """
import ctypes
from adapters.interface import Capabilities, Description
from adapters.numpy_reference import NumpyLayer, NumpyReference

class MutatingLayer(NumpyLayer):
    def train(self, x, dy=None, update=True):
        step = super().train(x, dy, update)
        x += 1
        return step

class Mutates(NumpyReference):
    layer = MutatingLayer

class CrashingLayer(NumpyLayer):
    def train(self, x, dy=None, update=True):
        ctypes.string_at(0)

class Crashes(NumpyReference):
    layer = CrashingLayer

class UnknownName(NumpyReference):
    def describe(self):
        return Description("mine", "1", capabilities=Capabilities(tapes=True))
"""


def test_every_module_of_adapters_compiles_under_python36(old_python: str) -> None:
    """All modules of adapters/ are Python 3.6, and those without a framework can be imported there."""
    code = (
        "import sys, pathlib, importlib\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for file in sorted(folder.glob('adapters/*.py')):\n"
        "    compile(file.read_text(encoding='utf-8'), str(file), 'exec')\n"
        "sys.path.insert(0, str(folder))\n"
        "sys.dont_write_bytecode = True\n"
        "for file in sorted(folder.glob('adapters/*.py')):\n"
        "    try:\n"
        "        importlib.import_module('adapters.' + file.stem)\n"
        "    except ImportError as error:\n"
        "        assert error.name.split('.')[0] in ('tensorflow', 'keras', 'torch', 'jax', 'onnx'), error\n"
        "    else:\n"
        "        print(file.stem)\n"
    )
    answer = subprocess.run([old_python, "-c", code, str(ROOT)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    framework_free = {"interface", "program", "layout", "wire", "observer", "checks", "loader", "executor", "host"}
    assert framework_free | {"numpy_reference", "given_numpy", "given_command"} <= set(answer.stdout.split())
