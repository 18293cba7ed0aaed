"""Measures how soon ``run --fail-fast`` ends on the faults of the zoo: ``python -m tests.measure_fail_fast [EVERY]``.

Each fault gets a command of its own, start-up, report and exit included. Printed are seconds by the clock and processor
seconds of the command with its host: on a machine that is busy otherwise, only the second kind means anything.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from conformance.zoo import FAULTS, Fault

ROOT = Path(__file__).parents[1]
GOAL = 2.0


class Timed(NamedTuple):
    """One command."""

    fault: Fault
    code: int
    clock: float
    processor: float


def timed(fault: Fault, folder: str) -> Timed:
    """Run the command on a fault."""
    arguments = [sys.executable, "-m", "conformance", "run", fault.target, "--profile", "quick", "--fail-fast"]
    before, started = os.times(), time.perf_counter()
    ended = subprocess.run([*arguments, "--out", folder], cwd=ROOT, capture_output=True, check=False)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Timed(fault, ended.returncode, time.perf_counter() - started, processor)


def main() -> None:
    """Measure every fault, or every n-th."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        # The first one compiles what Python keeps compiled.
        timed(FAULTS[0], folder)
        found = [timed(fault, folder) for fault in FAULTS[::every]]
    for one in sorted(found, key=lambda one: one.processor):
        print(f"{one.clock:6.2f} s {one.processor:6.2f} s  exit {one.code}  {one.fault.name}")
    killed = [one for one in found if one.code == 1]
    for name in ("clock", "processor"):
        within = sum(getattr(one, name) <= GOAL for one in killed)
        print(f"{within} of {len(found)} faults ({within / len(found):.0%}) within {GOAL:g} s by the {name}")
    print(f"{len(killed)} of {len(found)} found at all")


if __name__ == "__main__":
    main()
