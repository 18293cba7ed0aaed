"""Runs once more what newly crashed, hung or raised in a night: a machine that was too busy is no news."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from reports import history_digest, store
from reports.history import RUN_FILE
from reports.history_digest import Digest
from reports.nightly_changes import changes
from reports.records import Outcome, Result, Results
from reports.verdict import exit_code

#: What the machine may be to blame for. A wrong number is found again by the shrinker already.
_ACCIDENTS: frozenset[Outcome] = frozenset({"crash", "timeout", "error"})
_HELD: frozenset[Outcome] = frozenset({"pass", "deviates", "known failure"})
#: So many cells are no accident.
MOST = 60
#: Runs these implementations on the same cases, for requirements of a ``-k`` expression, into a folder.
Runner = Callable[[Sequence[str], str, Path], object]


def doubted(results: Results, past: Sequence[Digest]) -> list[tuple[str, str]]:
    """The requirements and implementations that newly crash, hang or raise; none where they are too many."""
    tonight = history_digest.digest("", results, {}, {})
    new = [change for change in changes(tonight, past).new if change.now.outcome in _ACCIDENTS]
    return [(change.requirement, change.implementation) for change in new] if len(new) <= MOST else []


def confirm(folder: Path, second: Path, past: Sequence[Digest], run: Runner) -> int:
    """Run what is in doubt again, into a second folder; what then holds is mistrusted. Returns how many cells do.

    Raises:
        ResultsError: the run in the folder has left nothing that can be read.
    """
    file = folder / RUN_FILE
    results = store.read(file)
    cells = doubted(results, past)
    if not cells or results.footer is None:
        return 0
    ids = " or ".join(dict.fromkeys(id_ for id_, _ in cells))
    run(list(dict.fromkeys(name for _, name in cells)), ids, second)
    if not (second / RUN_FILE).is_file():
        return 0
    found = {(r.requirement, r.implementation): r for r in store.read(second / RUN_FILE).results}
    passed = {cell: found[cell] for cell in cells if cell in found and found[cell].outcome in _HELD}
    if passed:
        judged = [_weighed(r, passed.get((r.requirement, r.implementation))) for r in results.results]
        code = exit_code((r.outcome for r in judged), results.footer.complete)
        footer = msgspec.structs.replace(results.footer, exit_code=code)
        part = file.with_suffix(".part")
        store.write(part, msgspec.structs.replace(results, results=judged, footer=footer))
        part.replace(file)
    return len(passed)


def _weighed(first: Result, second: Result | None) -> Result:
    if second is None:
        return first
    reason = f"{first.outcome} in one run, {second.outcome} in another of the same cases: {first.reason}"
    return msgspec.structs.replace(first, outcome="mistrusted", reason=reason)
