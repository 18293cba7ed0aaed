"""Tests of how runs end before their time: signals and dying workers leave readable results and no process behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conformance.interruption import Interrupted, Interruptible
from reports.verdict import verdict
from tests import _commands
from tests._commands import invoke, outcomes, result, results, start

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no run: finds processes in /proc")

SLOW = """
import time
from adapters.numpy_reference import NumpyLayer, NumpyReference

class _Layer(NumpyLayer):
    def infer(self, x, dy=None):
        time.sleep(0.2)
        return super().infer(x, dy)

class Slow(NumpyReference):
    layer = _Layer
"""


def begun(folder: Path, marked: str, *options: str) -> subprocess.Popen[str]:
    """Start a run of numpy and of a slow implementation, and return when numpy's results are written."""
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    arguments = ("run", "numpy", "slow.py:Slow", "-k", "BN-201", "--cases", "150", "--out", "out", *options)
    process = start(*arguments, folder=folder, **{_commands.MARK: marked})
    assert process.stderr is not None
    for line in process.stderr:
        if "numpy: 1 pass" in line:
            break
    # The slow one's host is up, so that there is something to leave behind.
    deadline = time.monotonic() + 30
    while sum("host.pyz" in line for line in _commands.processes(marked).values()) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ()),
        (signal.SIGINT, ("-n", "2")),
        (signal.SIGTERM, ("-n", "2")),
        (signal.SIGKILL, ()),
        (signal.SIGKILL, ("-n", "2")),
    ],
)
def test_an_interrupted_run_is_readable_and_leaves_nothing_behind(
    number: signal.Signals, options: tuple[str, ...], tmp_path: Path
) -> None:
    """Ctrl-C, SIGTERM and SIGKILL leave a file marked incomplete with what was done, and no process at all."""
    marked = _commands.mark()
    with begun(tmp_path, marked, *options) as process:
        # A terminal sends Ctrl-C to the whole group, everything else goes to one process.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        process.communicate(timeout=30)
    found = results(tmp_path / "out")

    assert process.returncode == (3 if number != signal.SIGKILL else -9)
    assert outcomes(found) == {("BN-201", "numpy"): "pass"}
    if number == signal.SIGKILL:
        assert found.footer is None
    else:
        assert found.footer is not None
        assert (found.footer.complete, found.footer.reason) == (False, f"interrupted by {number.name}")
        assert "interrupted by" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert verdict(found).exit_code == 3
    assert invoke("report", tmp_path / "out" / "results.jsonl.gz", "-o", tmp_path / "page.html").code == 3
    assert _commands.gone(marked), _commands.processes(marked)


def test_a_run_interrupted_while_it_draws_cases_is_readable(tmp_path: Path) -> None:
    """The results file is there from the first second, so that nobody takes an earlier run's for this one's."""
    with start("run", "numpy", "--cases", "100000", "--out", "out", folder=tmp_path) as process:
        assert process.stderr is not None
        assert "drawing cases" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 3
    assert results(tmp_path / "out").results == []
    footer = results(tmp_path / "out").footer
    assert footer is not None
    assert footer.reason == "interrupted by SIGTERM"


def test_a_signal_waits_while_a_line_is_written() -> None:
    """Within a shield a signal waits for its end; the first signal alone raises; the old handlers come back."""
    before = signal.getsignal(signal.SIGTERM)
    steps = []
    with pytest.raises(Interrupted, match="SIGTERM"), Interruptible() as interruptible:  # noqa: PT012 - the order matters
        try:
            with interruptible.shield():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("written")
            steps.append("not reached")
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("cleaned up")
    assert steps == ["written", "cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_worker_that_dies_costs_its_unit(tmp_path: Path) -> None:
    """What a killed worker was at is "no run" with the reason; the run goes on and ends properly."""
    marked = _commands.mark()
    with begun(tmp_path, marked, "-n", "2") as process:
        crew = [pid for pid, line in _commands.processes(marked).items() if "spawn_main" in line]
        assert crew
        for pid in crew:
            os.kill(pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    found = results(tmp_path / "out")

    assert process.returncode == 3, out
    assert result(found, "BN-201", "numpy").outcome == "pass"
    assert result(found, "BN-201", "Slow").reason == "its worker process was killed by SIGKILL"
    assert "its worker process was killed by SIGKILL" in out
    assert found.footer is not None
    assert found.footer.complete
    assert _commands.gone(marked), _commands.processes(marked)
