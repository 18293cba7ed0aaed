"""Tests of runs: reproducible, the same with workers, and readable whatever ends or breaks them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conformance import _tasks, counterexamples, runner, workers
from conformance import pool as pools
from conformance.conversation import Timeouts
from conformance.interruption import Interrupted
from conformance.known_failures import KnownFailure
from conformance.plan import Plan
from conformance.tally import Tally
from conformance.targets import resolve
from conformance.unit import Concluded, Surveyed, Unit, run_unit
from reports.records import Results
from reports.store import read
from reports.verdict import verdict
from tests import _commands
from tests._commands import FAULTY, command, comparable, invoke, outcomes, result, results
from tests._programs import hostile


def run(plan: Plan, cases: int, count: int = 1) -> Results:
    """Run a plan quietly."""
    return runner.run(plan, runner.header(plan, "quick", 1, cases), count, lambda _: None)


# Reproducible


def test_a_seed_makes_a_run_and_workers_do_not_change_it(tmp_path: Path) -> None:
    """The same seed gives equal cases and records, with one worker and with two; another seed gives other cases."""
    names = (
        "numpy",
        "conformance.zoo.variants:Welford",
        "-k",
        "BN-1 or BN-3",
        "--cases",
        "8",
        "--path",
        _commands.ROOT,
    )
    made = {}
    for folder, options in {"a": ("--seed", "7"), "b": ("--seed", "7", "-n", "2"), "c": ("--seed", "8")}.items():
        ended = command("run", *names, *options, "--out", folder, folder=tmp_path)
        assert ended.code in (0, 3), ended.err
        made[folder] = results(tmp_path / folder)
    drawn = {folder: (tmp_path / folder / "cases.json").read_bytes() for folder in made}

    assert comparable(made["a"]) == comparable(made["b"])
    assert drawn["a"] == drawn["b"]
    assert drawn["a"] != drawn["c"]
    assert [made[folder].footer.workers for folder in "ab" if made[folder].footer] == [1, 2]  # type: ignore[union-attr]


def test_workers_where_nobody_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has a worker per processor, no more than four, and one alone where there is little to do or fail_fast."""
    plan = Plan(resolve(("numpy",)), ("BN-101", "BN-201"), {}, tmp_path)
    for processors, expected in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(workers, "_processors", lambda found=processors: found)
        assert workers.fitting_workers(plan, 1000) == expected
    assert workers.fitting_workers(plan, 8) == 1
    assert workers.fitting_workers(plan._replace(fail_fast=True), 1000) == 1
    assert workers.fitting_workers(plan._replace(in_process=True), 1000) == 1


def test_in_process_finds_the_same(tmp_path: Path) -> None:
    """Without a host the same requirements fail at the same ratios."""
    found = []
    for option in ([], ["--in-process"]):
        invoke("run", FAULTY, "-k", "BN-101 or BN-201", "--cases", "6", *option, "--out", tmp_path)
        found.append([(r.requirement, r.outcome, r.worst_ratio) for r in results(tmp_path).results])
    assert found[0] == found[1]
    assert "fail" in {outcome for _, outcome, _ in found[0]}


def test_default_seeds(tmp_path: Path) -> None:
    """Without --seed it is 1, except that every nightly run draws its own; the last --seed wins."""
    seeds = []
    for options in (["quick"], ["nightly"], ["nightly"], ["nightly", "--seed", "5", "--seed", "6"]):
        invoke("run", "numpy", "-k", "BN-101", "--cases", "1", "--out", tmp_path, "--profile", *options)
        seeds.append(results(tmp_path).header.seed)
    assert seeds[0] == 1
    assert seeds[3] == 6
    assert len(set(seeds)) == 4


def test_cases_override_the_profile(tmp_path: Path) -> None:
    """--cases is the number of cases that each family draws, and the header says so."""
    invoke("run", "numpy", "-k", "BN-101", "--cases", "3", "--out", tmp_path)
    found = results(tmp_path)
    assert found.header.cases_per_family == 3
    assert found.results[0].examples.total == 3


def test_threads_are_given_to_the_libraries(tmp_path: Path) -> None:
    """--threads reaches the host's libraries and is recorded; without it there is one."""
    for options, expected in ((["--threads", "2"], "OMP_NUM_THREADS=2"), ([], "OMP_NUM_THREADS=1")):
        invoke("run", "numpy", "-k", "BN-101", "--cases", "1", "--out", tmp_path, *options)
        assert expected in results(tmp_path).header.implementations[0].details["threads"]


def test_earlier_results_are_kept_beside_the_new_ones(tmp_path: Path) -> None:
    """Three runs into one folder, however fast, leave three results files."""
    for seed in (1, 2, 3):
        invoke("run", "numpy", "-k", "BN-101", "--cases", "1", "--seed", str(seed), "--out", tmp_path)
    files = [*tmp_path.glob("results-*.jsonl.gz"), tmp_path / "results.jsonl.gz"]
    assert sorted(read(file).header.seed for file in files) == [1, 2, 3]
    assert results(tmp_path).header.seed == 3


# What implementations do


def test_hostile_adapters_cost_their_own_results_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Deaths, hangs, exits, garbage and wrong shapes end as outcomes with last words, and all others are run."""
    names = ("Segfault", "HardExit", "SystemExits", "Loop", "Garbage", "Prints")
    targets = [hostile(f"processes:{name}") for name in names]
    plan = Plan(
        targets=resolve([*targets, hostile("results:WrongShape"), "numpy"]),
        requirements=("BN-101", "BN-301"),
        pools={},
        out=tmp_path,
        explaining=0.2,
        timeouts=Timeouts(first=8.0, later=4.0),
    )
    found = run(plan, 12, 2)
    kinds = {name: {r.outcome for r in found.results if r.implementation == name} for name in (*names, "numpy")}

    assert kinds["Segfault"] == kinds["HardExit"] == {"crash"}
    assert kinds["SystemExits"] == kinds["Garbage"] == {"error"}
    assert kinds["Loop"] == {"timeout"}
    assert kinds["Prints"] == kinds["numpy"] == {"pass"}
    # The first example shows it: nothing is judged.
    shape = {(r.outcome, "y must have shape" in r.reason) for r in found.results if r.implementation == "WrongShape"}
    assert shape == {("no run", True)}
    segfault, exited = result(found, "BN-301", "Segfault"), result(found, "BN-301", "HardExit")
    assert "killed by SIGSEGV during call" in segfault.reason
    assert "about to read address 0" in segfault.stderr
    assert "exited with code 3" in exited.reason
    assert "leaving without a word" in exited.stderr
    assert any("misbehave" in line for line in result(found, "BN-301", "Loop").stderr)
    assert all(r.counterexamples for r in found.results if r.outcome in ("crash", "timeout", "error"))
    assert found.footer is not None
    assert (found.footer.complete, found.footer.exit_code) == (True, 1)
    assert capfd.readouterr().out == ""


def test_a_host_that_cannot_come_back_keeps_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation that crashes and cannot be loaded again has crashed: its results are not lost as "no run"."""
    monkeypatch.setenv("BN_TEST_MARKER", str(tmp_path / "marker"))
    plan = Plan(resolve([hostile("processes:LoadsOnce"), "numpy"]), ("BN-301",), {}, tmp_path)
    found = run(plan, 12)
    assert outcomes(found) == {("BN-301", "LoadsOnce"): "crash", ("BN-301", "numpy"): "pass"}


def test_fail_fast_ends_the_run_at_its_first_failure(tmp_path: Path) -> None:
    """With --fail-fast what comes after a failure is not run, the file says why, and the report is written."""
    ended = invoke("run", FAULTY, "numpy", "-k", "BN-101", "--cases", "8", "--fail-fast", "--out", tmp_path)
    found = results(tmp_path)
    assert ended.code == 1
    assert found.footer is not None
    assert (found.footer.complete, found.footer.reason) == (False, "interrupted by --fail-fast")
    assert {r.implementation for r in found.results} == {"UnbiasedNormalization"}
    assert (tmp_path / "report.html").exists()


# Known failures


KNOWN = '[[known_failure]]\nrequirement = "{}"\nimplementation = "{}"\nreason = "Bessel"\nurl = "u"\nversions = "{}"\n'


@pytest.mark.parametrize(
    ("requirement", "versions", "outcome", "code"),
    [
        ("BN-101", "", "known failure", 0),
        ("BN-101", ">=99", "fail", 1),
        ("BN-110", "", "stale known failure", 1),
    ],
)
def test_known_failures(
    requirement: str, versions: str, outcome: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known failure is no failure within its versions, and one that passes is a stale entry."""
    monkeypatch.chdir(tmp_path)
    text = KNOWN.format(requirement, "UnbiasedNormalization", versions)
    Path("known_failures.toml").write_text(text + KNOWN.format("BN-101", "not in this run", ""), encoding="utf-8")
    ended = invoke("run", FAULTY, "-k", requirement, "--cases", "12", "--out", "out", "--path", _commands.ROOT)
    assert outcomes(results(tmp_path / "out")) == {(requirement, "UnbiasedNormalization"): outcome}
    assert ended.code == code


@pytest.mark.parametrize("explaining", [30.0, 0.0])
def test_what_is_new_is_explained_before_what_is_known(
    explaining: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known failure takes no time from a new one; without any left it has its smallest case, and says why no more."""
    spent: list[str] = []
    whole = counterexamples._counterexamples

    def noted(tally: Tally, *arguments: Any) -> Any:
        spent.append(tally.requirement.id)
        return whole(tally, *arguments)

    monkeypatch.setattr(counterexamples, "_counterexamples", noted)
    known = KnownFailure("BN-101", "UnbiasedNormalization", "Bessel", "u")
    plan = Plan(resolve([FAULTY]), ("BN-101", "BN-102"), {}, tmp_path, (known,), explaining)
    found = run(plan, 12)
    assert [(r.requirement, r.outcome) for r in found.results] == [("BN-101", "known failure"), ("BN-102", "fail")]
    assert spent == (["BN-102", "BN-101"] if explaining else ["BN-102"])
    (shown, *_) = found.results[0].counterexamples
    assert ("time for explaining" in shown.no_script) == (not explaining)
    assert (tmp_path / shown.file).is_file()


def test_fail_fast_runs_all_cases_where_nothing_fails(tmp_path: Path) -> None:
    """With --fail-fast the same cases are judged as without, a few telling ones first, if none of them fails."""
    found = {}
    for name, option in (("plain", ()), ("fast", ("--fail-fast",))):
        ended = invoke("run", "numpy", "-k", "BN-101 or BN-201", "--cases", "9", *option, "--out", tmp_path / name)
        assert ended.code == 0, ended.err
        found[name] = results(tmp_path / name)

    counts = [{r.requirement: r.examples for r in found[name].results} for name in ("plain", "fast")]
    assert counts[0] == counts[1]
    stored = [Counter(p.case for pool in pools.read(tmp_path / n / "cases.json") for p in pool.cases) for n in found]
    assert stored[0] == stored[1]
    assert sum(stored[0].values()) == 18


def test_fail_fast_passes_over_known_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that everybody knows of does not end a --fail-fast run, nor the survey of its family."""
    monkeypatch.chdir(tmp_path)
    Path("known_failures.toml").write_text(KNOWN.format("BN-101", "UnbiasedNormalization", ""), encoding="utf-8")
    arguments = ("-k", "BN-101 or BN-110", "--cases", "8", "--fail-fast", "--out", "out", "--path", _commands.ROOT)
    ended = invoke("run", FAULTY, "numpy", *arguments)
    assert ended.code == 0
    assert outcomes(results(tmp_path / "out"))["BN-110", "UnbiasedNormalization"] == "pass"
    assert outcomes(results(tmp_path / "out"))["BN-101", "numpy"] == "pass"


# The suite's own faults


def test_a_worker_that_dies_before_there_is_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is gone when the cases are drawn costs one unit, which says so; another takes its place."""
    genuine = workers.Crew.begin

    def begin(crew: workers.Crew, units: list[Unit], plan: Plan) -> None:
        first = next(iter(crew.members.values())).process
        first.kill()
        first.join()
        genuine(crew, units, plan)

    monkeypatch.setattr(workers.Crew, "begin", begin)
    plan = Plan(resolve(["numpy"]), ("BN-101", "BN-201", "BN-301"), {}, tmp_path)
    found = run(plan, 4, 2)
    assert sorted(r.outcome for r in found.results) == ["no run", "pass", "pass"]
    assert [r.reason for r in found.results if r.outcome == "no run"] == ["its worker process was killed by SIGKILL"]


def test_a_fault_of_the_suite_costs_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An exception in the suite's own code is printed, recorded as "no run" with its text, and ends nothing else."""
    genuine = run_unit

    def faulty(unit: Unit, *rest: object) -> Surveyed:
        if unit.family == 2:
            raise ZeroDivisionError("the suite divides by zero")
        return genuine(unit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_tasks, "run_unit", faulty)
    found = run(Plan(resolve(["numpy"]), ("BN-101", "BN-201", "BN-301"), {}, tmp_path), 8)
    assert [r.outcome for r in found.results] == ["pass", "no run", "pass"]
    assert "the suite itself failed: ZeroDivisionError: the suite divides by zero" in found.results[1].reason
    assert "in faulty" in capfd.readouterr().err
    assert verdict(found).exit_code == 3


def interrupt_in(family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt runs when they come to a family."""
    genuine = run_unit

    def interrupted(unit: Unit, *rest: object) -> Surveyed:
        if unit.family == family:
            raise Interrupted("SIGINT")
        return genuine(unit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_tasks, "run_unit", interrupted)


def test_an_interruption_keeps_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an implementation failed before an interruption is recorded; what was not reached is "no run"."""
    interrupt_in(2, monkeypatch)
    found = run(Plan(resolve([FAULTY]), ("BN-101", "BN-201"), {}, tmp_path, path=(str(_commands.ROOT),)), 8)
    assert [r.outcome for r in found.results] == ["fail", "no run"]
    assert found.footer is not None
    assert (found.footer.complete, found.footer.exit_code) == (False, 1)


def test_an_interruption_takes_no_capability_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not reached is "no run", not "unsupported", where the implementation declares what is asked for."""
    interrupt_in(7, monkeypatch)
    found = run(Plan(resolve(["numpy"]), ("BN-101", "BN-711"), {}, tmp_path), 4)
    assert [(r.requirement, r.outcome) for r in found.results] == [("BN-101", "pass"), ("BN-711", "no run")]


def test_progress_counts_every_case_once(tmp_path: Path) -> None:
    """The cases that a run tells of as done add up to all of them, also where a survey gives up early."""
    events: list[runner.Event] = []
    plan = Plan(resolve([hostile("declarations:Incomplete"), "numpy"]), ("BN-101", "BN-201"), {}, tmp_path)
    runner.run(plan, runner.header(plan, "quick", 1, 5), 1, events.append)
    (in_all,) = [event.cases_in_all for event in events if event.cases_in_all]
    assert in_all == sum(event.cases_done for event in events) == 20
    assert sum(isinstance(event.done, Surveyed) for event in events) == 4
    assert sum(isinstance(event.done, Concluded) for event in events) == 2
