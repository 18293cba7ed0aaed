"""The suite in pytest: ``pytest conformance --implementation torch -k gradients``.

There is an item for each requirement and implementation. With ``-n 2`` the items of an implementation stay in one
worker, since every requirement judges the cases of all families.
"""

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conformance import known_failures, pool
from conformance.conversation import Timeouts
from conformance.plan import PROFILES, Plan, check_known, keywords, sorted_catalogue
from conformance.pool import Pool
from conformance.requirements import Requirement
from conformance.sessions import Sessions
from conformance.tally import Survey
from conformance.targets import Target, UsageError, resolve
from conformance.unit import Conclusion, Unit, conclude, run_unit
from reports.records import Result

_PLAN = pytest.StashKey["_Conductor"]()
_POOLS = pytest.StashKey[str]()


class Item(NamedTuple):
    """What an item is about."""

    target: Target
    requirement: Requirement


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that the command line has too."""
    group = parser.getgroup("conformance", "conformance of batch normalization")
    group.addoption(
        "--implementation",
        action="append",
        default=[],
        metavar="NAME",
        help="a name of `bn-conformance list`, package.module:Class or file.py:Class; can be repeated (default: numpy)",
    )
    group.addoption("--profile", choices=list(PROFILES), default="quick", help="how many cases (default: quick)")
    group.addoption("--cases", type=int, default=0, metavar="N", help="cases per family, for the profile's")
    group.addoption("--seed", type=int, default=1, metavar="N", help="seed of the cases (default: 1)")
    group.addoption("--in-process", action="store_true", help="run adapters in this process, for a debugger")
    group.addoption("--timeout", type=float, default=20.0, metavar="SECONDS", help="time for a call (default: 20)")
    group.addoption("--path", action="append", default=[], metavar="FOLDER", help="folder to import adapters from")
    group.addoption("--scenarios", action="store_true", help="train networks, too: an item for each of family 9xx")
    group.addoption("--out", type=Path, default=Path("results"), metavar="FOLDER", help="folder for failing cases")


class _Conductor:
    """Draws each family's pool once and runs each implementation once, when the first of its items is asked for."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        self._profile = PROFILES[option.profile]
        self._cases, self._seed = option.cases or self._profile.cases, option.seed
        file = known_failures.default_file()
        known = known_failures.read(file)
        check_known(known, file)
        self.plan = Plan(
            targets=resolve(option.implementation or ["numpy"]),
            requirements=tuple(r.id for r in sorted_catalogue()),
            pools=_read_pools(config),
            out=option.out,
            known=known,
            explaining=self._profile.explaining,
            in_process=option.in_process,
            path=tuple(option.path),
            timeouts=Timeouts(first=3 * option.timeout, later=option.timeout),
        )
        self._sessions = Sessions(self.plan)
        self._results: dict[str, dict[str, Result]] = {}

    def restrict(self, requirements: set[str]) -> None:
        """Run only these requirements."""
        chosen = tuple(id_ for id_ in self.plan.requirements if id_ in requirements)
        self.plan = self.plan._replace(requirements=chosen)

    def pool(self, family: int) -> Pool:
        """The cases of a family."""
        if family not in self.plan.pools:
            self.plan.pools[family] = pool.draw(family, self._seed, self._cases)
        return self.plan.pools[family]

    def result(self, item: Item) -> Result:
        """What an item's requirement came to on its implementation."""
        target, requirement = item
        if target.name not in self._results:
            found = Survey({})
            for family in self.plan.families:
                self.pool(family)
                found.merge(run_unit(Unit(target, family), self.plan, self._sessions, lambda _: None).survey)
            concluded = conclude(Conclusion(target, found), self.plan, self._sessions)
            self._results[target.name] = {r.requirement: r for r in concluded.results}
        return self._results[target.name][requirement.id]

    def close(self) -> None:
        """End all sessions."""
        self._sessions.close()


def _read_pools(config: pytest.Config) -> dict[int, Pool]:
    """The pools that xdist's controller drew for all of its workers; none where there is no controller."""
    file = getattr(config, "workerinput", {}).get("conformance_pools")
    return {drawn.family: drawn for drawn in pool.read(Path(file))} if file else {}


def pytest_configure(config: pytest.Config) -> None:
    """Check the options; nothing is drawn or run before it is needed."""
    try:
        config.stash[_PLAN] = _Conductor(config)
    except (UsageError, known_failures.KnownFailureError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Train networks only where that is asked for: it takes longer than all else."""
    return True if collection_path.name == "test_scenarios.py" and not config.getoption("--scenarios") else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """End all sessions."""
    if _PLAN in config.stash:
        config.stash[_PLAN].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Draw the cases once, in xdist's controller, for all workers to read."""
    config = node.config
    if _POOLS not in config.stash:
        conductor = config.stash[_PLAN]
        folder = tempfile.TemporaryDirectory(prefix="bn-conformance-")
        config.add_cleanup(folder.cleanup)
        config.stash[_POOLS] = str(Path(folder.name) / "cases.json")
        pool.store([conductor.pool(family) for family in conductor.plan.families], Path(config.stash[_POOLS]))
    node.workerinput["conformance_pools"] = config.stash[_POOLS]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the items of an implementation in one worker: xdist's own groups have no effect with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ImplementationScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return re.sub(r"\[BN-\d\d\d-", "[", nodeid)

    return ImplementationScheduling(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item for every requirement on every implementation; their ids hold both."""
    if "result" not in metafunc.fixturenames:
        return
    parameters = [
        pytest.param(
            Item(target, requirement),
            id=f"{requirement.id}-{target.name}",
        )
        for target in metafunc.config.stash[_PLAN].plan.targets
        for requirement in sorted_catalogue()
    ]
    metafunc.parametrize("result", parameters, indirect=True)


def _params(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _about(item: pytest.Item) -> Item | None:
    about = _params(item).get("result")
    return about if isinstance(about, Item) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``-k`` select by what it does on the command line: names, family titles, implementations."""
    about = _about(item)
    if about is not None:
        item.extra_keyword_matches.update(keywords(about.requirement, about.target.name))
    elif "training" in _params(item):
        item.extra_keyword_matches.update(_params(item)["training"].keywords)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Judge only what has been selected."""
    chosen = {about.requirement.id for item in session.items if (about := _about(item)) is not None}
    if chosen:
        session.config.stash[_PLAN].restrict(chosen)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not run at all: a skipped item must not look as if it had been judged."""
    skipped = (str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    reasons = Counter(text.split("no run: ", maxsplit=1)[1].split("\n")[0] for text in skipped if "no run: " in text)
    if reasons:
        terminalreporter.section("not run", red=True)
        for reason, count in reasons.items():
            terminalreporter.line(f"{count} requirements: {reason}", red=True)


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Result:
    """What the item's requirement came to on its implementation; the first item of an implementation runs all."""
    about: Item = request.param
    return request.config.stash[_PLAN].result(about)
