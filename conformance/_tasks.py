"""Does one task after another in one process, and keeps a fault of the suite's own from costing the others."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from conformance.plan import Plan
from conformance.sessions import Sessions
from conformance.targets import Target
from conformance.unit import (
    Concluded,
    Conclusion,
    Surveyed,
    Unit,
    conclude,
    not_run,
    peak_memory_mib,
    run_unit,
    unexplained,
)

Progress = Callable[[int], None]
Task = Unit | Conclusion
Done = Surveyed | Concluded


def guarded(task: Task, plan: Plan, sessions: Sessions, progress: Progress) -> Done:
    """Do a task and tell of each of its cases once, including those that it gave up."""
    told = 0

    def tell(cases: int) -> None:
        nonlocal told
        told += cases
        progress(cases)

    try:
        return conclude(task, plan, sessions) if isinstance(task, Conclusion) else run_unit(task, plan, sessions, tell)
    except Exception as error:
        # A fault of the suite's own is loud, but must not cost the other units of a night.
        traceback.print_exc(file=sys.stderr)
        sessions.drop(task.target)
        return not_done(task, plan, f"the suite itself failed: {type(error).__name__}: {error}")
    finally:
        if isinstance(task, Unit):
            progress(len(task.pool(plan).cases) - told)


def not_done(task: Task, plan: Plan, reason: str) -> Done:
    """What a task comes to that could not be done."""
    if isinstance(task, Unit):
        return not_run(task, plan, reason)
    return Concluded(task.target, unexplained(task, plan))


def serve(connection: "Connection[Any, Any]", plan: Plan, target: Target) -> None:
    """Get ready for a target, take the plan with its cases, and run the units that come in.

    It ends when None comes in or the run's own process is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True, name="watches the run").start()
    sessions = Sessions(plan)
    sessions.prepare(target)
    try:
        plan = connection.recv()
        while (task := connection.recv()) is not None:
            connection.send(guarded(task, plan, sessions, connection.send))
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
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
