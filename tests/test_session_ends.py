"""Tests of how sessions begin and end: load errors are explained, and no host outlives its session."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import host_process
from conformance.session import HostSession, Session, SessionError, Timeouts, open_session
from tests._programs import REFERENCE, hostile, program

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reference() -> Iterator[Session]:
    """A session with the reference in a host."""
    with open_session(REFERENCE) as session:
        yield session


# Sessions that cannot be had


@pytest.mark.parametrize("in_process", [True, False])
def test_load_errors_name_target_and_python(in_process: bool) -> None:
    """A target that cannot be loaded gives the loader's message and the Python that tried."""
    with pytest.raises(SessionError, match=r"has no class Nothing.*\(.*python") as caught:
        open_session("adapters.numpy_reference:Nothing", in_process=in_process)
    assert sys.executable in str(caught.value)
    with pytest.raises(SessionError, match="names no adapter"):
        open_session("nothing", in_process=in_process)
    with pytest.raises(SessionError, match="moving_variance is 'unbaised'"):
        open_session(hostile("declarations:UnknownEstimator"), in_process=in_process)


def test_a_death_while_loading_is_explained() -> None:
    """A host that dies while its adapter is loaded shows the exit code and its last lines."""
    with pytest.raises(SessionError, match=r"(?s)exited with code 7 while importing it.*licence server"):
        open_session(hostile("processes:DiesWhenLoaded"))


def test_a_hang_while_loading_is_explained() -> None:
    """An import that does not end is given up after its limit, with the stack of where it was."""
    with pytest.raises(SessionError, match=r"(?s)importing it took more than 1 s.*in __init__"):
        open_session(hostile("processes:HangsWhenLoaded"), timeouts=Timeouts(load=1.0))


def test_a_python_that_cannot_host_is_explained(tmp_path: Path) -> None:
    """No such interpreter, one without NumPy, and a program that is no Python: one message each."""
    with pytest.raises(SessionError, match="cannot start no-such-python: No such file"):
        open_session(REFERENCE, python="no-such-python")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(SessionError, match="a host needs NumPy: No module named 'numpy'"):
        open_session(REFERENCE, python=str(bare / "bin" / "python"))
    with pytest.raises(SessionError, match="while being imported it wrote something that is no frame"):
        open_session(REFERENCE, python=shutil.which("echo"))


def test_paths_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory serves dotted names, also after a restart from elsewhere; ``path`` replaces it."""
    (tmp_path / "my_own_norm.py").write_text("from adapters.numpy_reference import NumpyReference as Mine\n")
    with pytest.raises(SessionError, match="no module named 'my_own_norm'"):
        open_session("my_own_norm:Mine", path=["/nonexistent"])
    open_session("my_own_norm:Mine", path=[str(tmp_path)]).close()
    monkeypatch.chdir(tmp_path)
    for target in ("my_own_norm:Mine", "my_own_norm.py:Mine"):
        with open_session(target) as session:
            monkeypatch.chdir("/")
            assert isinstance(session, HostSession)
            session.drop()
            assert session.run(program("train")).failure is None
            monkeypatch.chdir(tmp_path)


def test_folders_called_like_ours_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own ``adapters`` and ``json`` beside the target do not get in the host's way."""
    for name in ("adapters", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    open_session(REFERENCE).close()


# The end of a host


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends soon."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_closing_ends_the_host() -> None:
    """close() leaves no process and no descriptor, and may be called twice."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    session = open_session(REFERENCE)
    pid = int(session.details["pid"])
    session.close()
    session.close()
    assert gone(pid)
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:  # noqa: PTH208
        time.sleep(0.01)
    # Fewer is fine: the reader of an earlier host's standard error may have ended meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


PARENT = """
import os, sys, threading, time
sys.path.insert(0, {root!r})
from conformance.session import open_session
from tests._programs import hostile, program
session = open_session(hostile("processes:Loop"))
print(session.details["pid"], flush=True)
if {busy}:
    threading.Timer(0.5, print, ("busy",), {{"flush": True}}).start()
    session.run(program("train", "train"))
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no run: the lifeline needs Linux")
@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_host_outlives_its_session(busy: bool, number: signal.Signals) -> None:
    """When the suite is killed or interrupted its host ends, waiting or in an endless loop."""
    code = PARENT.format(root=str(ROOT), busy=busy)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    if busy:
        assert parent.stdout.readline() == "busy\n"
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    assert gone(pid)


def test_an_interrupt_of_the_suite_does_not_reach_hosts(reference: Session) -> None:
    """Hosts have a process group of their own, so that Ctrl-C at the terminal is the suite's alone."""
    pid = int(reference.details["pid"])
    assert os.getpgid(pid) != os.getpgid(0)


def test_the_archive_is_removed(tmp_path: Path) -> None:
    """The archive of hosts is made once and leaves nothing behind."""
    code = "from conformance.host_process import archive; print(archive(), archive() == archive())"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.startswith(str(tmp_path))
    assert output.stdout.endswith("True\n")
    assert list(tmp_path.iterdir()) == []
    assert host_process.archive().is_file()
