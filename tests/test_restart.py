"""Programs that go on in a new process: cut, run in two hosts, joined."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adapters.program import Call, Program
from conformance.case import Reload
from conformance.host_process import HostProcess
from conformance.judge import Judge, Run
from conformance.requirements import CATALOGUE
from conformance.restart import cut, first_restart
from conformance.rewrite import uninterrupted
from conformance.session import HostSession, Session, SessionError, Timeouts, open_session
from tests._judged import case, infer, train
from tests._programs import REFERENCE, program

MEMORY = "conformance.zoo.rebuilding:RestoredFromMemory"


@pytest.fixture
def session() -> Iterator[Session]:
    """The reference in a host."""
    with open_session(REFERENCE) as opened:
        yield opened


DIES = """
import os
from adapters.numpy_reference import NumpyReference

class DiesRestoring(NumpyReference):
    def restore(self, spec, path):
        os._exit(3)
"""


#: Takes too long to import the second time.
LATE = """
import pathlib, time
from adapters.numpy_reference import NumpyReference as Late

imports = pathlib.Path(__file__).with_suffix(".imports")
count = len(imports.read_text()) if imports.exists() else 0
imports.write_text("i" * (count + 1))
time.sleep(3 * (count == 1))
"""


def with_restart(*operations: str, at: int, layers: int = 1) -> Program:
    """A program in which call ``at`` asks for a new process."""
    plain = program(*operations, layers=layers)
    calls = (*plain.calls[:at], Call("reload", 0, through="process"), *plain.calls[at:])
    return plain._replace(calls=calls)


def hosts_started(monkeypatch: pytest.MonkeyPatch) -> list[HostProcess]:
    """The hosts that start from now on."""
    started: list[HostProcess] = []
    load = HostSession._load

    def noted(session: HostSession, process: HostProcess) -> None:
        load(session, process)
        started.append(process)

    monkeypatch.setattr(HostSession, "_load", noted)
    return started


class TestRunning:
    """What a host session makes of it."""

    def test_it_goes_on_as_if_nothing_had_been(self, session: Session) -> None:
        """Results and states are those of the program without the restart, to the bit."""
        trace = session.run(with_restart("train", "infer", "train", at=1))
        plain = session.run(program("train", "infer", "train"))
        assert trace.failure is None
        assert [step.index for step in trace.steps] == [0, 1, 2, 3]
        assert repr(trace.final) == repr(plain.final)
        assert repr([trace.steps[i].step for i in (0, 2, 3)]) == repr([step.step for step in plain.steps])
        assert repr(trace.steps[1].state) == repr(trace.steps[0].state)
        assert trace.observations == ()

    def test_it_is_another_process(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        """The host is a new one, which does not count as one that had to be started again."""
        started = hosts_started(monkeypatch)
        session.run(with_restart("train", "infer", at=1))
        (new,) = started
        assert str(new.process.pid) != session.details["pid"]
        assert session.restarts == 0

    def test_both_hosts_wait(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        """Later programs run where programs ran before, which may have built graphs, and restart in the same other."""
        before = session.details["pid"]
        started = hosts_started(monkeypatch)
        for _ in range(2):
            assert session.run(with_restart("train", "infer", at=1)).failure is None
            assert session.run(program("train")).failure is None
        (other,) = started
        assert session.details["pid"] == before != str(other.process.pid)
        assert session.restarts == 0
        session.close()
        assert not other.alive()

    def test_another_host_that_died_is_replaced(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether it died idle or not: the next program gets a new one."""
        started = hosts_started(monkeypatch)
        for count in (1, 2):
            assert session.run(with_restart("train", "infer", at=1)).failure is None
            assert len(started) == count
            started[-1].process.kill()
            started[-1].process.wait()

    def test_another_host_that_cannot_load_in_time_is_replaced(self, tmp_path: Path) -> None:
        """Its late answer is nobody's: the next program that asks for another host gets a new one."""
        file = tmp_path / "late.py"
        file.write_text(LATE)
        with open_session(REFERENCE, timeouts=Timeouts(load=2.0)) as session:
            assert session.run(with_restart("train", "infer", at=1)).failure is None
            assert isinstance(session, HostSession)
            session.turn_to(f"{file}:Late")
            with pytest.raises(SessionError, match="more than 2 s"):
                session.run(with_restart("train", "infer", at=1))
            assert session.run(with_restart("train", "infer", at=1)).failure is None

    def test_a_crash_of_the_new_host_leaves_that_before_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the trace's failure, and nothing is started again for the next program."""
        file = tmp_path / "dies.py"
        file.write_text(DIES)
        with open_session(f"{file}:DiesRestoring") as session:
            started = hosts_started(monkeypatch)
            failure = session.run(with_restart("train", "infer", at=1)).failure
            assert failure is not None
            assert failure.kind == "crash"
            assert session.run(program("train")).failure is None
            assert len(started) == 1

    def test_all_layers_come_along(self, session: Session) -> None:
        """With two layers both are saved and restored."""
        trace = session.run(with_restart("train", "train", "infer", "infer", at=2, layers=2))
        assert trace.failure is None
        assert len(trace.final) == 2
        plain = session.run(program("train", "train", "infer", "infer", layers=2))
        assert repr(trace.final) == repr(plain.final)

    def test_twice_and_first_and_last(self, session: Session) -> None:
        """A program may begin and end with a restart."""
        twice = program("train")
        restart = Call("reload", 0, through="process")
        trace = session.run(twice._replace(calls=(restart, *twice.calls, restart)))
        assert trace.failure is None
        assert [step.index for step in trace.steps] == [0, 1, 2]
        assert repr(trace.final) == repr(session.run(twice).final)


class TestCutting:
    """The two parts."""

    def test_nothing_to_cut(self) -> None:
        """Other ways of reloading need no new process."""
        plain = program("train")
        assert first_restart(plain) == -1
        assert first_restart(plain._replace(calls=(Call("reload", 0, through="file"),))) == -1

    def test_paths_differ_by_layer(self, tmp_path: Path) -> None:
        """Each layer is saved to a path of its own, and restored from it."""
        before, after = cut(with_restart("train", "train", at=1, layers=2), 1, tmp_path)
        assert [call.path for call in before.calls[1:]] == list(after.saved)
        assert len(set(after.saved)) == 2
        assert [call.op for call in after.calls] == ["train"]


@pytest.mark.parametrize(("target", "fails"), [(REFERENCE, False), (MEMORY, True)])
def test_what_lives_in_memory_only_is_found_out(target: str, fails: bool) -> None:
    """A layer that restores what its process remembers fails in a new one."""
    whole = case(train(), Reload("process"), infer(), train())
    with open_session(target) as opened, np.errstate(all="ignore"):
        run = Run(whole, opened.run(whole.expanded))
        others = tuple(Run(other, opened.run(other.expanded)) for other in uninterrupted(whole))
    evidence = CATALOGUE["BN-713"].check(whole, run.trace, Judge(run, "prob", others))
    assert evidence.applies
    assert evidence.fails == fails
