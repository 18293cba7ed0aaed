"""pytest plug-in: shows the requirements on your implementations as tests of your own suite.

It reads ``[tool.bn-conformance]`` in the pyproject.toml of pytest's root folder, and does nothing without that table.
The suite runs in a process of its own, ``python -I -m conformance``: nothing else of it is imported here.
"""

import contextlib
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MARKER = "bn_conformance"
#: Keys of the table, with the type that each must have.
KEYS: dict[str, type | tuple[type, ...]] = {
    "implementations": list,
    "command": list,
    "python": str,
    "profile": str,
    "cases": int,
    "seed": int,
    "timeout": (int, float),
    "threads": int,
    "device": str,
    "map": dict,
    "path": list,
    "out": str,
    "arguments": list,
}
#: Keys that are options of ``run`` with one value.
_PLAIN = ("profile", "cases", "seed", "timeout", "threads", "device")
_PATIENCE = 0.2
_SUITE = pytest.StashKey["Suite"]()


class Suite:
    """The table of a pyproject.toml, and the one run of the suite that answers all items."""

    def __init__(self, file: Path, table: dict[str, Any], config: pytest.Config) -> None:
        self.file = file
        self._table = table
        self._results: dict[tuple[str, str], dict[str, Any]] | None = None
        self._said = ""
        #: Ids of the requirements that are asked for; all of them while it is empty.
        self.chosen: set[str] = set()
        run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
        base = Path(tempfile.gettempdir()) / f"bn-conformance-{run_id}" if run_id else None
        cache = getattr(config, "cache", None)
        kept = base or (Path(cache.mkdir(MARKER)) if cache else Path(tempfile.mkdtemp(prefix="bn-conformance-")))
        self.out = file.parent / str(table["out"]) if "out" in table else kept
        self._shared = base

    def check(self) -> None:
        """Raise UsageError for a table that makes no sense."""
        for key, value in self._table.items():
            where = f"{self.file}: [tool.bn-conformance] {key}"
            if key not in KEYS:
                raise pytest.UsageError(f"{where}: there is no such key; known are {', '.join(KEYS)}")
            if not isinstance(value, KEYS[key]) or isinstance(value, bool):
                raise pytest.UsageError(f"{where}: {value!r} is a {type(value).__name__}, which it cannot be")
        if not self._table.get("implementations"):
            raise pytest.UsageError(f"{self.file}: [tool.bn-conformance] lacks implementations = [...]")

    @property
    def command(self) -> list[str]:
        """How the suite is started."""
        default = [sys.executable, "-I", "-m", "conformance"]
        return [str(word) for word in self._table.get("command", default)]

    def collected(self) -> dict[str, Any]:
        """The implementations and requirements that there are, as the suite lists them."""
        ended = self._start(["list", "--json", *self._table["implementations"]])
        if ended.returncode:
            raise pytest.UsageError(f"{' '.join(self.command)} list: {ended.stderr.strip() or ended.stdout.strip()}")
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def _start(self, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [*self.command, *arguments], cwd=self.file.parent, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise pytest.UsageError(f"cannot start {self.command[0]}: {error.strerror}") from error

    def result(self, implementation: str, requirement: str) -> dict[str, Any]:
        """What a requirement came to; the first item that asks runs all that were chosen."""
        if self._results is None:
            with self._turn() as first:
                if first:
                    self._run()
            self._results = _read(self.out / "results.jsonl.gz")
        missing = {"outcome": "no run", "reason": self._said or f"nothing in {self.out} speaks of it"}
        return self._results.get((implementation, requirement), missing)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether this process is to run the suite; with xdist the others wait for the one that does."""
        if self._shared is None:
            yield True
            return
        done = self._shared / "done"
        try:
            self._shared.mkdir(parents=True)
        except FileExistsError:
            while not done.exists():
                time.sleep(_PATIENCE)
            self._said = done.read_text(encoding="utf-8")
            yield False
            return
        try:
            yield True
        finally:
            done.write_text(self._said, encoding="utf-8")

    def _run(self) -> None:
        table = self._table
        options = [f"--{key}={table[key]}" for key in _PLAIN if key in table]
        options += [f"--map={theirs}={ours}" for theirs, ours in table.get("map", {}).items()]
        options += [f"--path={folder}" for folder in table.get("path", [])]
        options += [f"--python={table.get('python', sys.executable)}", f"--out={self.out}"]
        if "profile" not in table:
            options.append("--profile=quick")
        if self.chosen:
            options += ["-k", " or ".join(sorted(self.chosen))]
        options += [str(word) for word in table.get("arguments", [])]
        ended = self._start(["run", *table["implementations"], *options])
        if ended.returncode == 2:
            self._said = ended.stderr.strip()


def _read(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The records of a results file by implementation and requirement."""
    found = {}
    with contextlib.suppress(OSError, EOFError), gzip.open(file, "rt", encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            if record.get("type") == "result":
                found[record["implementation"], record["requirement"]] = record
    return found


class ProjectFile(pytest.File):
    """The pyproject.toml that has the table."""

    def collect(self) -> Iterator[pytest.Collector]:
        """An implementation each."""
        found = self.config.stash[_SUITE].collected()
        for name in found["implementations"]:
            yield Implementation.from_parent(self, name=name, requirements=found["requirements"])


class Implementation(pytest.Collector):
    """An implementation, which has an item for each requirement."""

    def __init__(self, *, requirements: list[dict[str, str]], **more: Any) -> None:
        super().__init__(**more)
        self.requirements = requirements

    def collect(self) -> Iterator[pytest.Item]:
        """A requirement each; ``-k`` finds ids, names, family titles and the implementation."""
        for requirement in self.requirements:
            yield RequirementItem.from_parent(self, name=requirement["id"], requirement=requirement)


class FailedRequirementError(Exception):
    """A requirement that does not hold; the text is all that is shown."""


class RequirementItem(pytest.Item):
    """A requirement on an implementation."""

    def __init__(self, *, requirement: dict[str, str], **more: Any) -> None:
        super().__init__(**more)
        self.requirement = requirement
        self.add_marker(MARKER)
        self.extra_keyword_matches.update(requirement.values())
        self.user_properties += [("claim", requirement["claim"]), ("family", requirement["family"])]

    def runtest(self) -> None:
        """Turn the outcome into one of pytest's."""
        assert self.parent is not None
        result = self.config.stash[_SUITE].result(self.parent.name, self.name)
        outcome, reason = result["outcome"], result.get("reason", "")
        self.user_properties.append(("outcome", outcome))
        if outcome == "unsupported":
            pytest.skip(f"unsupported: {reason}")
        if outcome == "known failure":
            pytest.xfail(reason)
        if outcome not in ("pass", "deviates"):
            raise FailedRequirementError(self._explained(result, outcome, reason))

    def _explained(self, result: dict[str, Any], outcome: str, reason: str) -> str:
        assert self.parent is not None
        lines = [f"{self.name} on {self.parent.name}: {self.requirement['claim']}", f"{outcome}: {reason}"]
        for example in result.get("counterexamples", [])[:1]:
            lines += [example["code"].rstrip(), f"Again: {example['command']}"]
        return "\n".join([*lines, *result.get("stderr", [])])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the text alone."""
        if isinstance(excinfo.value, FailedRequirementError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it comes from."""
        assert self.parent is not None
        return self.path, None, f"{self.name} on {self.parent.name}"


def pytest_configure(config: pytest.Config) -> None:
    """Read the table; without one, do nothing at all."""
    config.addinivalue_line("markers", f"{MARKER}: a requirement of the conformance suite for batch normalization")
    file = config.rootpath / "pyproject.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("bn-conformance")
    except (OSError, tomllib.TOMLDecodeError):
        return
    if table is None:
        return
    suite = Suite(file, table, config)
    suite.check()
    config.stash[_SUITE] = suite
    # Whoever names files wants those alone.
    if config.args_source is not pytest.Config.ArgsSource.ARGS and str(file) not in config.args:
        config.args.append(str(file))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the file with the table."""
    suite = parent.config.stash.get(_SUITE, None)
    return ProjectFile.from_parent(parent, path=file_path) if suite and file_path == suite.file else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ask only for what has been selected."""
    suite = session.config.stash.get(_SUITE, None)
    if suite is not None:
        suite.chosen = {item.name for item in session.items if isinstance(item, RequirementItem)}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the report is."""
    suite = config.stash.get(_SUITE, None)
    if suite is not None and suite.chosen and (suite.out / "report.html").exists():
        terminalreporter.write_line(f"bn-conformance: {suite.out / 'report.html'}")
