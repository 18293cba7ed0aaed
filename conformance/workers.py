"""Runs units of work, in this process or spread over workers that keep to one implementation while they can."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from conformance.plan import Plan
from conformance.unit import Finished, Sessions, Unit, no_run, peak_memory_mib, run_unit

Progress = Callable[[int], None]

#: Seconds for a worker to end by itself, and to end its host when it is told to.
_PATIENCE = 10.0


def run_all(units: list[Unit], plan: Plan, workers: int, progress: Progress) -> Iterator[Finished | float]:
    """Yield each unit as it finishes, and each worker's peak memory in MiB as it ends.

    A unit that fails in the suite's own code, or whose worker dies, is not run, and says why; the others are.
    """
    if min(workers, len(units)) <= 1:
        yield from _run_here(units, plan, progress)
    else:
        yield from _run_spread(units, plan, min(workers, len(units)), progress)


def _run_here(units: list[Unit], plan: Plan, progress: Progress) -> Iterator[Finished | float]:
    sessions = Sessions(plan)
    try:
        for unit in units:
            yield _guarded(unit, plan, sessions, progress)
    finally:
        sessions.close()
    yield peak_memory_mib()


def _guarded(unit: Unit, plan: Plan, sessions: Sessions, progress: Progress) -> Finished:
    """Run a unit and tell of each of its cases once, including those that it gave up."""
    told = 0

    def tell(cases: int) -> None:
        nonlocal told
        told += cases
        progress(cases)

    try:
        return run_unit(unit, plan, sessions, tell)
    except Exception as error:
        # A fault of the suite's own is loud, but must not cost the other units of a night.
        traceback.print_exc(file=sys.stderr)
        sessions.drop(unit.target)
        return no_run(unit, plan, f"the suite itself failed: {type(error).__name__}: {error}")
    finally:
        progress(len(plan.pools[unit.family].cases) - told)


@dataclass
class _Worker:
    process: BaseProcess
    connection: "Connection[Any, Any]"
    unit: Unit | None = None
    #: The implementation that it had last, which may still be loaded.
    last: str = ""


class _Crew:
    """The worker processes and the units that wait for them."""

    def __init__(self, units: list[Unit], plan: Plan) -> None:
        self._waiting, self._plan = list(units), plan
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        #: Those at work, by their connection.
        self.members: dict[Any, _Worker] = {}

    def hire(self) -> None:
        """Start one more worker, if there is work for it."""
        if not self._waiting:
            return
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._plan), daemon=False)
        process.start()
        theirs.close()
        self._processes.append(process)
        self.members[ours] = _Worker(process, ours)
        self._hand_out(self.members[ours])

    def receive(self, connection: Any) -> Finished | float | int:
        """Take a worker's message: a finished unit, cases done, or its memory at its end."""
        worker = self.members[connection]
        try:
            message: Finished | float | int = connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(message, Finished):
            worker.unit = None
            self._hand_out(worker)
        elif isinstance(message, float):
            del self.members[connection]
        return message

    def _hand_out(self, worker: _Worker) -> None:
        """Give a worker its next unit, or tell it to end."""
        busy = [other.unit.target.name for other in self.members.values() if other.unit and other is not worker]
        worker.unit = _next_unit(self._waiting, worker.last, busy) if self._waiting else None
        worker.last = worker.unit.target.name if worker.unit else ""
        try:
            worker.connection.send(worker.unit)
        except OSError:
            # It is dead: receiving from it will tell.
            return

    def _bury(self, worker: _Worker) -> Finished | int:
        """Replace a worker that died; the unit it had is lost."""
        worker.process.join(_PATIENCE)
        del self.members[worker.connection]
        worker.connection.close()
        self.hire()
        if worker.unit is None:
            return 0
        return no_run(worker.unit, self._plan, f"its worker process {_ending(worker.process.exitcode)}")

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


def _next_unit(waiting: list[Unit], last: str, busy: list[str]) -> Unit:
    """Choose a unit of the worker's own implementation, else of one that nobody has, else of the fullest queue."""
    left = Counter(unit.target.name for unit in waiting)
    if last in left:
        chosen = last
    else:
        free = {name: n for name, n in left.items() if name not in busy} or left
        chosen = max(free, key=lambda name: free[name])
    return waiting.pop(next(i for i, unit in enumerate(waiting) if unit.target.name == chosen))


def _run_spread(units: list[Unit], plan: Plan, count: int, progress: Progress) -> Iterator[Finished | float]:
    crew = _Crew(units, plan)
    try:
        for _ in range(count):
            crew.hire()
        while crew.members:
            for connection in wait(list(crew.members)):
                message = crew.receive(connection)
                if isinstance(message, int):
                    progress(message)
                else:
                    yield message
    finally:
        crew.dismiss()


def _serve(connection: "Connection[Any, Any]", plan: Plan) -> None:
    """Run the units that come in, until None does or the run's own process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True, name="watches the run").start()
    sessions = Sessions(plan)
    try:
        while (unit := connection.recv()) is not None:
            connection.send(_guarded(unit, plan, sessions, connection.send))
        sessions.close()
        connection.send(peak_memory_mib())
    except (EOFError, OSError):
        # The run has ended without waiting for this worker.
        pass
    finally:
        sessions.close()


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _leave_with_parent() -> None:
    """End this process, and with it its host, as soon as the run's own is gone, whatever is under way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
