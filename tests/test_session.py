"""Tests of sessions: whatever a host does, its case ends in a trace with a reason, and the run goes on."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from adapters.interface import State
from adapters.program import Call, Program, Trace
from conformance.host_process import environment
from conformance.session import HostSession, Session, SessionError, Timeouts, open_session
from tests._programs import REFERENCE, SPEC, hostile, program, state, values

SHORT = Timeouts(load=60.0, first=6.0, later=1.5)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reference() -> Iterator[Session]:
    """A session with the reference in a host."""
    with open_session(REFERENCE) as session:
        yield session


def run(target: str, given: Program, timeouts: Timeouts = SHORT) -> Trace:
    """Run one program in a host of its own, and see that the session goes on afterwards."""
    with open_session(target, timeouts=timeouts) as session:
        trace = session.run(given)
        again = session.run(program("infer"))
        assert again.failure is None
        assert isinstance(session, HostSession)
        assert session.restarts == int(trace.failure is not None)
        return trace


def bits(trace: Trace) -> str:
    """Everything in a trace but times, exactly."""
    steps = [(step.index, step.step, step.state, step.observations) for step in trace.steps]
    with np.printoptions(floatmode="unique", threshold=sys.maxsize):
        return repr((trace.conventions, trace.initial, steps, trace.final, trace.observations, trace.failure))


# Healthy hosts


def test_a_host_says_who_it_is(reference: Session) -> None:
    """Description, versions, threads, process id and import time arrive with the session."""
    assert reference.description.framework == "numpy"
    assert reference.details["numpy"] == np.__version__
    assert reference.details["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert "OMP_NUM_THREADS=1" in reference.details["threads"]
    assert int(reference.details["pid"]) != os.getpid()
    assert 0 < reference.import_seconds < 20
    assert reference.restarts == 0


@pytest.mark.parametrize("read", ["every", "end"])
def test_host_and_process_give_the_same_trace(reference: Session, read: str) -> None:
    """The same program gives bit for bit the same trace in a host and in this process."""
    given = program("train", "infer!", "set_state", "train", "get_state", layers=2, read=read, repeat=True)
    with open_session(REFERENCE, in_process=True) as local:
        assert local.run(given).failure is None
        assert bits(local.run(given)) == bits(reference.run(given))


@pytest.mark.parametrize("in_process", [True, False])
def test_bfloat16_reaches_adapters_as_uint16(in_process: bool) -> None:
    """bfloat16 is uint16 for the adapter and bfloat16 again in the trace, with and without a host."""
    spec = SPEC._replace(dtype="bfloat16")
    x = values(4, 3).astype(ml_dtypes.bfloat16)
    given = Program(spec, (state(),), (Call("infer", 0, x),))
    with open_session(hostile("results:PlainTuple"), in_process=in_process) as session:
        trace = session.run(given)
    assert trace.failure is None
    assert trace.steps[0].step is not None
    assert trace.steps[0].step.y.dtype == x.dtype


def test_observations_cross_the_wire() -> None:
    """What a host observes is in the trace."""
    trace = run(hostile("memory:MutatesX"), program("train"))
    assert [o.kind for o in trace.steps[0].observations] == ["mutated"]


def test_large_arrays_cross() -> None:
    """Arrays far larger than a pipe's buffer go both ways."""
    x = np.random.default_rng(0).standard_normal((200_000, 8)).astype(np.float32)
    spec = SPEC._replace(shape=(None, 8))
    ones = State(np.ones(8), np.ones(8), np.ones(8), np.ones(8))
    with open_session(REFERENCE) as session:
        trace = session.run(Program(spec, (ones,), (Call("train", 0, x, x), Call("train", 0, x[::-1], x))))
    assert trace.failure is None
    assert trace.steps[1].step is not None
    assert trace.steps[1].step.y.shape == x.shape


def test_programs_beyond_the_limit_are_not_run() -> None:
    """A program too large for a frame is no run, a result too large an error; both cost no restart."""
    with open_session(REFERENCE, limit=4000) as session:
        large = Program(SPEC, (state(),), (Call("infer", 0, values(400, 3)),))
        failure = session.run(large).failure
        assert failure is not None
        assert failure.kind == "no run"
        assert "exceeds the limit of 4,000" in failure.message
        broadcast = np.broadcast_to(values(1, 3), (400, 3))
        failure = session.run(large._replace(calls=(Call("infer", 0, broadcast),))).failure
        assert failure is not None
        assert failure.kind == "error"
        assert "exceeds the limit of 4,000" in failure.message
        assert session.run(program("train")).failure is None
        assert session.restarts == 0


def test_warnings_are_no_errors_in_this_process() -> None:
    """An empty batch, which makes NumPy warn, gives a trace even where warnings are errors, as here."""
    given = Program(SPEC, (state(),), (Call("train", 0, values(0, 3)),))
    with open_session(REFERENCE, in_process=True) as local, pytest.warns(RuntimeWarning):
        assert local.run(given).failure is None


@pytest.mark.parametrize("in_process", [True, False])
def test_senseless_programs_never_pass(in_process: bool) -> None:
    """A program that the suite made wrongly raises or fails; it is no result of the implementation."""
    given = Program(SPEC, (state(),), (Call("fly"),))
    with open_session(REFERENCE, in_process=in_process) as session:
        if in_process:
            with pytest.raises(ValueError, match="call 0 is 'fly'"):
                session.run(given)
        else:
            failure = session.run(given).failure
            assert failure is not None
            assert failure.message == "the host failed: ValueError: call 0 is 'fly' on layer 0"


@pytest.mark.parametrize("name", ["WrongShape", "ReturnsNone", "RaisesInState", "Refuses", "RaisesInBuild"])
def test_errors_are_the_same_with_and_without_a_host(name: str) -> None:
    """An error or refusal has the same kind, message and method in a host, and costs no restart."""
    with open_session(hostile(f"results:{name}"), in_process=True) as local:
        expected = local.run(program("train")).failure
    with open_session(hostile(f"results:{name}")) as session:
        found = session.run(program("train")).failure
        assert session.restarts == 0
    assert expected is not None
    assert found is not None
    assert found[:3] == expected[:3]


def test_printing_does_no_harm() -> None:
    """Prints of Python, of C and of children go to standard error; standard input is empty; results are right."""
    given = program("train", "infer")
    with open_session(hostile("processes:Prints")) as session, open_session(REFERENCE) as plain:
        assert bits(session.run(given)) == bits(plain.run(given))
        assert isinstance(session, HostSession)
        assert session._host is not None
        deadline = time.monotonic() + 5
        while len(session._host.tail.lines()) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        lines = session._host.tail.lines()
        assert sorted(lines) == ["echoed by a child", "printed by Python", "written to descriptor 1"]


def test_a_flood_on_standard_error_does_no_harm() -> None:
    """Much more than a pipe holds is drained; the last lines are kept, shortened."""
    with open_session(hostile("processes:Chatty")) as session:
        assert session.run(program("train")).failure is None
        assert isinstance(session, HostSession)
        assert session._host is not None
        assert len(session._host.tail.lines()) <= 40


# Hosts that break


def test_a_crash_keeps_the_steps_before_it() -> None:
    """A segmentation fault in the second call keeps the first, names the signal and shows the stack."""
    trace = run(hostile("processes:Segfault"), program("train", "train", "infer"))
    assert trace.failure is not None
    assert trace.failure[:3] == ("crash", "killed by SIGSEGV during call 1 (train)", "train")
    assert any("about to read address 0" in line for line in trace.failure.stderr)
    assert any("Segmentation fault" in line for line in trace.failure.stderr)
    assert any("in misbehave" in line for line in trace.failure.stderr)
    assert [step.index for step in trace.steps] == [0]
    assert trace.conventions is not None
    assert trace.seconds > 0


def test_an_exit_names_its_code() -> None:
    """A host that leaves by os._exit() is a crash with its code and last words."""
    failure = run(hostile("processes:HardExit"), program("train", "train")).failure
    assert failure is not None
    assert failure[:3] == ("crash", "exited with code 3 during call 1 (train)", "train")
    assert failure.stderr[-1] == "leaving without a word"


def test_a_hang_is_ended_and_shown() -> None:
    """An endless loop is killed after the limit, which is named, with the stack of where it was."""
    begin = time.monotonic()
    trace = run(hostile("processes:Loop"), program("train", "train"))
    assert time.monotonic() - begin < 20
    assert trace.failure is not None
    assert trace.failure.kind == "timeout"
    assert "call 1 (train) did not return within 1.5 s, the limit for later calls" in trace.failure.message
    assert any("in misbehave" in line for line in trace.failure.stderr)
    assert len(trace.steps) == 1


def test_a_hang_in_a_repeated_run_is_ended() -> None:
    """A hang that only the repeated run meets keeps all steps of the first."""
    with open_session(hostile("processes:HangsWhenRepeated"), timeouts=SHORT) as session:
        trace = session.run(program("train", "infer", repeat=True))
    assert trace.failure is not None
    assert trace.failure.kind == "timeout"
    assert "repeating the program" in trace.failure.message
    assert len(trace.steps) == 2


def test_first_calls_have_a_limit_of_their_own() -> None:
    """A first call may compile for longer than a later call may take."""
    with open_session(hostile("processes:SlowFirst"), timeouts=SHORT) as session:
        assert session.run(program("train", "train")).failure is None
        tight = open_session(hostile("processes:SlowFirst"), timeouts=Timeouts(60.0, 1.0, 5.0))
        failure = tight.run(program("train")).failure
        tight.close()
    assert failure is not None
    assert "within 1 s, the limit for the first call of its kind" in failure.message


def test_garbage_on_the_channel_is_an_error() -> None:
    """Bytes on the channel that are no frame are shown, and the host is replaced."""
    failure = run(hostile("processes:Garbage"), program("train", "train")).failure
    assert failure is not None
    assert failure[:1] + failure[2:3] == ("error", "train")
    assert "wrote something that is no frame; first bytes: b'garbage on the channel" in failure.message


def test_a_death_between_programs_is_noted() -> None:
    """A host killed after its answer is replaced for the next program, whose trace says so."""
    with open_session(hostile("processes:DiesLater")) as session:
        assert session.run(program("train")).failure is None
        time.sleep(0.6)
        trace = session.run(program("infer"))
        assert trace.failure is None
        assert (
            trace.details["before"]
            == "the host was gone after the program before: killed by SIGKILL, perhaps for want of memory"
        )
        assert session.restarts == 1


def test_a_host_that_cannot_be_replaced_ends_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the adapter cannot be loaded a second time, the next program raises SessionError."""
    monkeypatch.setenv("BN_TEST_MARKER", str(tmp_path / "marker"))
    with open_session(hostile("processes:LoadsOnce")) as session:
        assert session.run(program("train", "train")).failure is not None
        with pytest.raises(SessionError, match="RuntimeError: loaded twice"):
            session.run(program("train"))


# Cost


def test_the_cost_of_a_program(reference: Session, record_property: Any) -> None:
    """A program of three steps with six small arrays costs little more than the adapter's own time."""
    given = program("train", "train", "infer")
    walls = sorted((trace.wall - trace.seconds, trace.wall) for trace in (reference.run(given) for _ in range(300)))
    overhead, wall = walls[len(walls) // 2]
    record_property("overhead_ms", overhead * 1e3)
    record_property("wall_ms", wall * 1e3)
    assert walls[len(walls) // 10][0] < 5e-3


def test_tensorflow_here_does_not_change_an_older_one_in_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing TensorFlow 2 sets TF2_BEHAVIOR, which TensorFlow 1.15 would obey; what is given to a host is kept."""
    monkeypatch.setenv("TF2_BEHAVIOR", "1")
    monkeypatch.setenv("ELSE", "kept")
    made = environment(2, {"GIVEN": "too"})
    assert "TF2_BEHAVIOR" not in made
    assert (made["ELSE"], made["GIVEN"], made["OMP_NUM_THREADS"]) == ("kept", "too", "2")
    assert environment(1, {"TF2_BEHAVIOR": "1"})["TF2_BEHAVIOR"] == "1"
