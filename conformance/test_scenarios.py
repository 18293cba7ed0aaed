"""The training scenarios as pytest items: ``pytest conformance --scenarios --implementation torch -k trajectory``."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import NamedTuple

import pytest

from conformance import known_failures
from conformance.introduction import meet
from conformance.scenarios.catalogue import FAMILY_TITLE, Scenario
from conformance.scenarios.data import Samples, digits
from conformance.scenarios.judging import catalogue, judged
from conformance.scenarios.lab import EFFORTS, Known, Lab
from conformance.session import DEFAULT_TIMEOUTS, SessionError
from conformance.targets import Target, UsageError, resolve
from conformance.test_conformance import conclude


class Training(NamedTuple):
    """What an item is about."""

    target: Target
    scenario: Scenario

    @property
    def keywords(self) -> list[str]:
        """Names by which ``-k`` selects it."""
        info = self.scenario.info
        return [info.id, info.id.replace("-", "_"), info.name, FAMILY_TITLE, self.target.name]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item for every scenario on every implementation."""
    targets = resolve(metafunc.config.getoption("--implementation") or ["numpy"])
    every = [Training(target, scenario) for target in targets for scenario in catalogue()]
    metafunc.parametrize("training", every, ids=[f"{t.scenario.info.id}-{t.target.name}" for t in every])


@pytest.fixture(scope="session")
def samples() -> Samples:
    """The digits that networks are trained on."""
    try:
        return digits()
    except UsageError as error:
        pytest.skip(f"no run: {error}")


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config, samples: Samples) -> Iterator[Callable[[Target], Lab]]:
    """A laboratory for each implementation, which is opened when its first item asks for it."""
    effort = EFFORTS["quick" if pytestconfig.getoption("--profile") == "quick" else "default"]
    shared = Known()
    with ExitStack() as opened:

        @cache
        def of(target: Target) -> Lab | str:
            try:
                session = meet(
                    target,
                    path=tuple(pytestconfig.getoption("--path")),
                    in_process=pytestconfig.getoption("--in-process"),
                    timeouts=DEFAULT_TIMEOUTS,
                    threads=1,
                    say=lambda _: None,
                )
            except SessionError as error:
                return str(error).split("\n", maxsplit=1)[0]
            return Lab(opened.enter_context(session), samples, effort, shared)

        def or_skip(target: Target) -> Lab:
            found = of(target)
            if isinstance(found, str):
                pytest.skip(f"no run: {found}")
            return found

        yield or_skip


def test_scenario(training: Training, lab: Callable[[Target], Lab]) -> None:
    """A requirement on training holds on an implementation, or fails as it is known to."""
    known = known_failures.read(known_failures.default_file())
    result = judged(training.scenario, training.target, lab(training.target), known)
    conclude(result, training.scenario.info.claim)
