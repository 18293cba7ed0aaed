"""Scripts of failures, written and run for the tests."""

import contextlib
import io
import subprocess
import sys
from functools import partial
from pathlib import Path

from adapters.interface import Spec
from adapters.program import Trace
from conformance.case import Case
from conformance.explain import Smallest, judge_case
from conformance.pool import draw
from conformance.reproduction import Failing, Spell, script
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from conformance.spelling import spelling
from conformance.targets import resolve, told

ROOT = Path(__file__).parents[1]
FAILING = Failing("BN-999", 'A claim with "quotes" and γ.', "somebody's own")


def nothing(spec: Spec) -> dict[str, str]:
    """What adapters need not be asked."""
    return {}


def text_of(failing: Failing, target: str, *runs: tuple[Case, Trace], spell: Spell = nothing) -> str:
    """The script of a failure, which must have one."""
    made = script(failing, target, (), runs, spell)
    assert made.why_none == ""
    return made.text


def first_failing(id_: str, target: str, *seeds: int, count: int = 30) -> tuple[Smallest, list[tuple[Case, Trace]]]:
    """The first drawn case that fails a requirement on a target, and its runs, those of derived cases too."""
    requirement = CATALOGUE[id_]
    with open_session(target, in_process=True) as session:
        cases = (pooled.case for seed in seeds for pooled in draw(requirement.family, seed, count).cases)
        found = next(filter(None, (judge_case(requirement, case, session) for case in cases)))
        others = requirement.derive(found.case) if requirement.derive else ()
        return found, [(c, session.run(c.expanded)) for c in (found.case, *others)]


class Ran:
    """A script that was run: in this process, where frameworks are imported once, or in one of its own."""

    def __init__(self, text: str, folder: Path | None = None) -> None:
        self.err = ""
        self.code: object = None
        if folder is not None:
            self._apart(text, folder)
            return
        path, out = list(sys.path), io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                exec(compile(text, "script.py", "exec"), {"__name__": "__main__"})
            except SystemExit as end:
                self.code = end.code
        sys.path[:] = path
        self.out = out.getvalue()

    def _apart(self, text: str, folder: Path) -> None:
        file = folder / "script.py"
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(file)],
            cwd=folder,
            env={"PATH": "", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def shows(
    quantity: str, target: str, case: Case, wrong: Trace, spell: Spell = nothing, folder: Path | None = None
) -> str:
    """The script of a value made up exits with 0, and with another expected value with 1, naming the element."""
    text = text_of(FAILING._replace(quantities=(quantity,)), target, (case, wrong), spell=spell)
    assert f"# What {quantity} should be" in text
    assert "from adapters" not in text
    assert "from conformance" not in text
    ran = Ran(text, folder)
    assert ran.code == 0, ran.out
    assert ran.out.startswith("0 of ")
    other = Ran(text.replace("got = np.asarray(", "expected.flat[0] += 1\ngot = np.asarray("), folder)
    assert other.code == 1
    assert f"{quantity}[0" in other.out
    assert "1 of " in other.out
    return text


class Given:
    """Code without an adapter: what a case gives on it, and the script of a failure."""

    def __init__(self, target: str, *pairs: str) -> None:
        (found,) = told(resolve([target]), map_=pairs)
        self.target = found.target
        self.session = open_session(found.target, in_process=True, options=found.options)

    def trace(self, case: Case) -> Trace:
        """Run a case."""
        return self.session.run(case.expanded)

    @property
    def spell(self) -> Spell:
        """What the adapter that was made for the code says of it."""
        return partial(spelling, self.session)
