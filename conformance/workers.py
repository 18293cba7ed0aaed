"""Runs units of work, here or spread over worker processes that keep to one implementation while they can."""

import contextlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from conformance._tasks import Done, Progress, Task, guarded, not_done, serve
from conformance.families import FAMILIES
from conformance.plan import Plan
from conformance.sessions import Sessions
from conformance.tally import Survey
from conformance.targets import Target
from conformance.unit import (
    Concluded,
    Conclusion,
    Surveyed,
    Unit,
    not_run,
    peak_memory_mib,
)

#: Where nobody says how many workers to start: so many at most, and one more for so many cases, since each imports the
#: framework anew.
MOST_WORKERS, CASES_PER_WORKER = 4, 200
#: Seconds for a worker to end by itself, and to end its host when it is told to.
_PATIENCE = 10.0


def fitting_workers(plan: Plan, cases_per_family: int) -> int:
    """How many workers to start where nobody says.

    With ``fail_fast`` it is one: which case fails first is then the same on each machine.
    """
    if plan.fail_fast or plan.in_process:
        return 1
    cases = len(plan.targets) * sum(FAMILIES[family].count(cases_per_family) for family in plan.families)
    return min(_processors(), MOST_WORKERS, 1 + cases // CASES_PER_WORKER)


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Gathering:
    """Puts an implementation's surveys together, and says when they are to be concluded."""

    def __init__(self, units: list[Unit], plan: Plan) -> None:
        self._plan = plan
        self._missing = Counter(unit.target.name for unit in units)
        self.gathered: dict[str, Conclusion] = {}

    def add(self, done: Surveyed) -> Conclusion | None:
        """Take a survey; with the last of an implementation, return what is to be concluded.

        With ``--fail-fast`` a failure makes it the last: the other families are not run.
        """
        name = done.unit.target.name
        self.gathered.setdefault(name, Conclusion(done.unit.target, Survey({}))).take(done)
        self._missing[name] -= 1
        if done.unit.family in done.survey.stopped and self._plan.fail_fast and self._missing[name]:
            self._leave_out(done)
        return self.gathered.pop(name) if not self._missing[name] else None

    def _leave_out(self, done: Surveyed) -> None:
        """Count the families that are not run as stopped."""
        name, why = done.unit.target.name, done.survey.stopped[done.unit.family]
        survey = self.gathered[name].survey
        for family in self._plan.families:
            survey.merge(not_run(Unit(done.unit.target, family), self._plan, why).survey)
        self._missing[name] = 0


def _run_here(units: list[Unit], plan: Plan, progress: Progress, sessions: Sessions) -> Iterator[Done | float]:
    gathering = Gathering(units, plan)
    concluded: set[str] = set()
    try:
        for unit in units:
            if unit.target.name in concluded:
                continue
            done = guarded(unit, plan, sessions, progress)
            assert isinstance(done, Surveyed)
            yield done
            conclusion = gathering.add(done)
            if conclusion is not None:
                concluded.add(unit.target.name)
                yield guarded(conclusion, plan, sessions, progress)
    finally:
        sessions.close()
    yield peak_memory_mib()


@dataclass
class _Worker:
    process: BaseProcess
    connection: "Connection[Any, Any]"
    task: Task | None = None
    #: The implementation that it had last, which may still be loaded.
    last: str = ""


class Crew:
    """The worker processes and the tasks that wait for them.

    They are hired before there is work: while the cases are drawn they import the suite and start their first hosts.
    """

    def __init__(self, plan: Plan, count: int) -> None:
        self._plan = plan
        self._waiting: list[Task] = []
        self._gathering = Gathering([], plan)
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        #: Those that have not ended, by their connection.
        self.members: dict[Any, _Worker] = {}
        for number in range(count):
            self._hire(plan.targets[number % len(plan.targets)])

    def _hire(self, target: Target) -> _Worker:
        """Start one more worker, which gets ready for a target."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._plan, target), daemon=False)
        process.start()
        theirs.close()
        self._processes.append(process)
        self.members[ours] = _Worker(process, ours)
        return self.members[ours]

    def begin(self, units: list[Unit], plan: Plan) -> None:
        """Give all of them the plan with its cases, and work."""
        self._plan, self._waiting, self._gathering = plan, list(units), Gathering(units, plan)
        for worker in self.members.values():
            self._begin(worker)

    def _begin(self, worker: _Worker) -> None:
        # One that is dead is found out by receiving from it.
        with contextlib.suppress(OSError):
            worker.connection.send(self._plan)
        self._hand_out(worker)

    def receive(self, connection: Any) -> Done | float | int:
        """Take a worker's message: a task done, cases done, or its memory at its end."""
        worker = self.members[connection]
        try:
            message: Done | float | int = connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(message, Surveyed | Concluded):
            self._take(worker, message)
        elif isinstance(message, float):
            del self.members[connection]
        return message

    def _take(self, worker: _Worker | None, done: Done) -> None:
        """Put a survey with the others of its implementation; give every idle worker what there is to do now."""
        if isinstance(done, Surveyed):
            conclusion = self._gathering.add(done)
            if conclusion is not None:
                name = conclusion.target.name
                self._waiting = [task for task in self._waiting if task.target.name != name]
                self._waiting.insert(0, conclusion)
        if worker is not None:
            worker.task = None
        for member in self.members.values():
            if member.task is None:
                self._hand_out(member)

    def _hand_out(self, worker: _Worker) -> None:
        """Give a worker its next task; with none left, and none to come, tell it to end."""
        others = [other.task for other in self.members.values() if other.task is not None and other is not worker]
        if not self._waiting and others:
            return
        busy = [task.target.name for task in others]
        worker.task = _next_task(self._waiting, worker.last, busy) if self._waiting else None
        worker.last = worker.task.target.name if worker.task else ""
        try:
            worker.connection.send(worker.task)
        except OSError:
            # It is dead: receiving from it will tell.
            return

    def _bury(self, worker: _Worker) -> Done | int:
        """Replace a worker that died; the task it had is lost."""
        worker.process.join(_PATIENCE)
        del self.members[worker.connection]
        worker.connection.close()
        if worker.task is None:
            return 0
        lost = not_done(worker.task, self._plan, f"its worker process {_ending(worker.process.exitcode)}")
        self._take(None, lost)
        if self._waiting:
            self._begin(self._hire(worker.task.target))
        return lost

    def dismiss(self) -> None:
        """End all workers: those still at work at once."""
        for worker in self.members.values():
            worker.process.terminate()
        for process in self._processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join(_PATIENCE)


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its connection"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


def _next_task(waiting: list[Task], last: str, busy: list[str]) -> Task:
    """Choose a task of the worker's own implementation, else of one that nobody has, else of the fullest queue."""
    left = Counter(task.target.name for task in waiting)
    if last in left:
        chosen = last
    else:
        free = {name: n for name, n in left.items() if name not in busy} or left
        chosen = max(free, key=lambda name: free[name])
    return waiting.pop(next(i for i, task in enumerate(waiting) if task.target.name == chosen))


#: Where the work is done: in this process, in its sessions, or by a crew.
Place = Sessions | Crew


def run_all(units: list[Unit], plan: Plan, place: Place, progress: Progress) -> Iterator[Done | float]:
    """Yield each unit as it is surveyed, each implementation as it is concluded, each worker's peak memory in MiB.

    They are run in this process, with these sessions, or by a crew. A unit that fails in the suite's own code, or whose
    worker dies, is not run, and says why; the others are. The sessions are closed, the crew is dismissed.
    """
    if isinstance(place, Sessions):
        yield from _run_here(units, plan, progress, place)
    else:
        yield from _run_spread(units, plan, place, progress)


def _run_spread(units: list[Unit], plan: Plan, crew: Crew, progress: Progress) -> Iterator[Done | float]:
    try:
        crew.begin(units, plan)
        while crew.members:
            for connection in wait(list(crew.members)):
                message = crew.receive(connection)
                if isinstance(message, int):
                    progress(message)
                else:
                    yield message
    finally:
        crew.dismiss()
