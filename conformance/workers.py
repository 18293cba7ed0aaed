"""Runs units of work, in this process or spread over worker processes that keep to one implementation while they can."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from conformance.plan import Plan
from conformance.unit import Finished, Sessions, Unit, peak_memory_mib, run_unit

Progress = Callable[[int], None]


class WorkerError(Exception):
    """A worker process that died, or failed in the suite's own code; the text says where."""


class _Worker(NamedTuple):
    process: BaseProcess
    connection: "Connection[Any, Any]"


def run_all(units: list[Unit], plan: Plan, workers: int, progress: Progress) -> Iterator[Finished | float]:
    """Yield each unit as it finishes, and each worker's peak memory in MiB as it ends."""
    if min(workers, len(units)) <= 1:
        yield from _run_here(units, plan, progress)
    else:
        yield from _run_spread(units, plan, min(workers, len(units)), progress)


def _run_here(units: list[Unit], plan: Plan, progress: Progress) -> Iterator[Finished | float]:
    sessions = Sessions(plan)
    try:
        for unit in units:
            yield run_unit(unit, plan, sessions, progress)
    finally:
        sessions.close()
    yield peak_memory_mib()


def _next_unit(waiting: list[Unit], last: str, busy: list[str]) -> Unit:
    """Choose a unit of the worker's own implementation, else of one that nobody has, else of the fullest queue."""
    left: dict[str, int] = {}
    for unit in waiting:
        left[unit.target.name] = left.get(unit.target.name, 0) + 1
    if last in left:
        chosen = last
    else:
        free = {name: n for name, n in left.items() if name not in busy} or left
        chosen = max(free, key=lambda name: free[name])
    return waiting.pop(next(i for i, unit in enumerate(waiting) if unit.target.name == chosen))


def _run_spread(units: list[Unit], plan: Plan, count: int, progress: Progress) -> Iterator[Finished | float]:
    context = multiprocessing.get_context("spawn")
    waiting, crew = list(units), []
    last: dict[int, str] = {}
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, plan), daemon=False)
            process.start()
            theirs.close()
            crew.append(_Worker(process, ours))
        open_ = {worker.connection: number for number, worker in enumerate(crew)}
        for connection, number in open_.items():
            _hand_out(connection, number, waiting, last)
        while open_:
            for ready in wait(list(open_)):
                number = open_[ready]  # type: ignore[index]
                message = _received(crew[number])
                if isinstance(message, int):
                    progress(message)
                elif isinstance(message, str):
                    raise WorkerError(message)
                else:
                    yield message
                    if isinstance(message, float):
                        del open_[crew[number].connection]
                    else:
                        _hand_out(crew[number].connection, number, waiting, last)
    finally:
        for worker in crew:
            worker.connection.close()
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.terminate()


def _hand_out(connection: "Connection[Any, Any]", number: int, waiting: list[Unit], last: dict[int, str]) -> None:
    """Give a worker its next unit, or tell it to end."""
    if not waiting:
        last.pop(number, None)
        connection.send(None)
        return
    unit = _next_unit(waiting, last.get(number, ""), list(last.values()))
    last[number] = unit.target.name
    connection.send(unit)


def _received(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, OSError) as error:
        worker.process.join(timeout=5)
        raise WorkerError(f"a worker process died (exit code {worker.process.exitcode})") from error


def _serve(connection: "Connection[Any, Any]", plan: Plan) -> None:
    """Run the units that come in; what goes wrong in the suite's own code goes back as a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sessions = Sessions(plan)
    try:
        while True:
            unit = connection.recv()
            if unit is None:
                break
            connection.send(run_unit(unit, plan, sessions, connection.send))
        sessions.close()
        connection.send(peak_memory_mib())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception:  # noqa: BLE001 - whatever it was, the run must hear of it
        connection.send(traceback.format_exc())
    finally:
        sessions.close()
