"""Tests of the training scenarios: right uses pass, wrong ones and faults that only training shows are caught."""

import gzip
import re
import signal
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from adapters.interface import Array
from adapters.network import Act
from conformance.families import FAMILIES
from conformance.known_failures import KnownFailure
from conformance.mutants import Options, zoo
from conformance.plan import check_known
from conformance.pool import Pool, draw, fitted
from conformance.requirements import CATALOGUE
from conformance.scenarios import data, demonstrations, evaluation, judging, networks, trajectories, traps
from conformance.scenarios.catalogue import SCENARIOS, Evidence
from conformance.scenarios.lab import BATCH, Effort, Lab
from conformance.session import open_session, open_target
from conformance.survey import survey
from conformance.targets import Target, UsageError, resolve
from conformance.training_mutants import judge_training
from conformance.zoo import TRAINING_FAULTS, Fault
from reports import scenario_records, store
from reports.records import Result
from tests._commands import command, invoke, start

REFERENCE = "adapters.numpy_reference:NumpyReference"
EFFORT = Effort(steps=100, followed=3, seeds=1)


samples = cache(data.patterns)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: threads would wait for each other, as in the command, which asks for one before NumPy loads."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A laboratory with the reference."""
    with open_session(REFERENCE, in_process=True) as session:
        yield Lab(session, samples(), EFFORT)


def result(id_: str, target: str) -> Result:
    """What a scenario comes to on an implementation."""
    with open_session(target, in_process=True) as session, np.errstate(all="ignore"):
        return judging.judged(SCENARIOS[id_], Target(target, target), Lab(session, samples(), EFFORT))


@pytest.mark.parametrize("id_", sorted(SCENARIOS))
def test_reference_passes(id_: str, lab: Lab) -> None:
    """The reference passes each scenario, with evidence; the traps' checks see the traps."""
    found = judging.judged(SCENARIOS[id_], Target("numpy", REFERENCE), lab)

    assert (found.outcome, found.reason) == ("pass", "")
    assert found.examples.evidence


def test_trajectory_is_within_the_proven_bounds(lab: Lab) -> None:
    """The first steps are inside balls, which are computed from the formulas and not by the reference's code."""
    found = judging.judged(SCENARIOS["BN-901"], Target("numpy", REFERENCE), lab)

    assert found.proven_ratio is not None
    assert 0 < float(found.proven_ratio) < 1


def test_network_follows_its_gradient(lab: Lab) -> None:
    """A step of gradient descent lowers the loss by rate·‖gradient‖², as the derivative says."""
    spec = networks.CONVOLUTIONS._replace(dtype="float64", rate=1e-6)
    start = networks.start(spec, 1)
    rows = np.tile(np.arange(BATCH), (2, 1))
    (fit,) = lab.attend(spec, start, (Act("fit", rows, keep=True),))
    assert fit.losses is not None
    moved = sum(float(np.sum(np.square(a - start[n]))) for n, a in fit.states[0].items() if not n.startswith("moving"))

    assert fit.losses[0] - fit.losses[1] == pytest.approx(moved / spec.rate, rel=1e-3)


class TestWrongUses:
    """Each wrong use of a right implementation fails the check that is named for it, and the right use passes."""

    def test_batches_of_one(self, lab: Lab) -> None:
        """Batch statistics at test time, one sample at a time."""
        assert worst(evaluation.one_at_a_time(lab, lab.model, training=True)) > 1
        assert worst(evaluation.one_at_a_time(lab, lab.model, training=False)) <= 1

    def test_training_flag_left_on(self, lab: Lab) -> None:
        """Batch statistics in batches of an evaluation."""
        assert worst(evaluation.in_batches(lab, lab.model, training=True)) > 1
        assert worst(evaluation.in_batches(lab, lab.model, training=False)) <= 1

    def test_evaluation_through_the_training_graph(self, lab: Lab) -> None:
        """Test samples enter the moving statistics."""
        assert worst(evaluation.leaves_the_state(lab, lab.model, training=True)) > 1
        assert worst(evaluation.leaves_the_state(lab, lab.model, training=False)) <= 1

    def test_forgotten_updates(self, lab: Lab) -> None:
        """UPDATE_OPS not run."""
        assert worst(evaluation.modes_agree(lab, traps.forgotten(lab), BATCH)) > 1

    def test_lagging_statistics(self, lab: Lab) -> None:
        """A decay of 0.999 after a hundred steps."""
        assert worst(evaluation.modes_agree(lab, traps.lagging(lab), BATCH)) > 1
        assert worst(evaluation.modes_agree(lab, lab.model, BATCH)) <= 1

    def test_tiny_batches(self, lab: Lab) -> None:
        """Batches of two."""
        assert worst(evaluation.modes_agree(lab, traps.tiny(lab), traps.TINY)) > 1

    @pytest.mark.parametrize("distributions", [evaluation.STREAMS, traps.TIME_STEPS])
    def test_shared_statistics(self, lab: Lab, distributions: tuple[tuple[float, float], ...]) -> None:
        """Streams, or time steps, through one layer; with one for each they are centred."""
        assert worst(evaluation.centred(evaluation.streams(lab, distributions, shared=True))) > 1
        assert worst(evaluation.centred(evaluation.streams(lab, distributions, shared=False))) <= 1


def worst(found: list[Evidence]) -> float:
    """The largest ratio."""
    return max(evidence.ratio for evidence in found)


@pytest.mark.parametrize("fault", TRAINING_FAULTS, ids=lambda fault: fault.name)
def test_fault_that_only_training_shows(fault: Fault) -> None:
    """A fault that comes late in a training fails a scenario that names it, and the drawn cases do not see it."""
    (caught,) = judge_training([s for s in zoo(variants=False) if s.name == fault.name], Options())
    assert caught.fate == "caught"
    assert [kill.requirement for kill in caught.kills] == list(fault.caught_by)

    with open_session(fault.target, in_process=True) as session, np.errstate(all="ignore"):
        for family in (3, 7):
            own = fitted(drawn(family), session.description.capabilities)
            tallies = survey(own, list(CATALOGUE.values()), session).tallies.values()
            assert not [t.requirement.id for t in tallies if t.failing or t.broken]


@cache
def drawn(family: int) -> Pool:
    """Some cases of a family."""
    return draw(family, 1, FAMILIES[family].count(4))


@pytest.mark.parametrize("name", ["tf_graph.nn", "keras", "torch"])
def test_framework_writes_its_own_network(name: str) -> None:
    """The networks as users write them follow the reference; a checkpoint and looks at activations work."""
    (target,) = resolve([name])
    if target.missing:
        pytest.skip(f"no run: {target.missing}")
    with open_target(target) as session:
        there = Lab(session, samples(), EFFORT._replace(followed=1))
        spec = networks.CONVOLUTIONS._replace(bias=True, rate=0.125, dtype=there.dtype)
        start = networks.start(spec, 1)
        followed = trajectories.follow(there, spec, start, own=True)
        rows = np.arange(20)
        done = there.attend(
            spec, start, (Act("activations", rows), Act("predict", rows), Act("reload"), Act("predict", rows))
        )

    assert worst(followed) <= 1
    assert all(evidence.evidence for evidence in followed)
    assert [a.shape for a in done[0].activations] == [(20, 6, 6, 6)] * 2 + [(20, 4, 4, 8)] * 2
    assert done[1].logits is not None
    assert done[3].logits is not None
    np.testing.assert_allclose(done[1].logits, done[3].logits, rtol=1e-5, atol=1e-6)


def test_host_and_process_agree() -> None:
    """A course in a host gives what it gives in this process."""
    spec = networks.CONVOLUTIONS
    found: list[Array] = []
    for in_process in (True, False):
        with open_session(REFERENCE, in_process=in_process) as session:
            there = Lab(session, samples(), EFFORT)
            trained = there.train(spec, networks.start(spec, 1), there.batches(5))
            found.append(there.predict(trained, there.test))

    assert np.array_equal(found[0], found[1])


def test_divergence_is_reported_at_its_step(lab: Lab) -> None:
    """A training whose loss stops being finite ends there, and says at which step."""
    spec = networks.SIGMOID._replace(activation="relu", place="none", bias=True, rate=1e6)
    with np.errstate(all="ignore"):
        trained = lab.train(spec, networks.start(spec, 1), lab.batches(50), finite=False)

    assert 0 < trained.diverged < 49
    assert np.isfinite(trained.losses[:-1]).all()


EXPLODING = """
from adapters.interface import State
from adapters.numpy_reference import NumpyLayer, NumpyReference

class Layer(NumpyLayer):
    def set_state(self, state):
        gamma = state.gamma
        super().set_state(state if gamma is None else state._replace(gamma=gamma * 1e100))

class Exploding(NumpyReference):
    layer = Layer
"""


def test_divergence_of_an_implementation_is_a_failure_that_names_the_step(tmp_path: Path) -> None:
    """Where gamma explodes, whatever trains fails with the step: trajectories, and the model that others look at."""
    (tmp_path / "exploding.py").write_text(EXPLODING)
    for id_ in ("BN-901", "BN-903", "BN-904", "BN-905", "BN-911", "BN-932"):
        found = result(id_, f"{tmp_path / 'exploding.py'}:Exploding")
        assert found.outcome == "fail"
        assert re.fullmatch(r"the loss of the training is not finite from step \d+ on", found.reason)


def known(id_: str) -> tuple[KnownFailure, ...]:
    """An entry on any implementation of these tests."""
    return (KnownFailure(id_, "numpy", "it was so", "https://example.org"),)


def test_known_failures_are_known_of_scenarios(lab: Lab) -> None:
    """A failure that is listed is no news, one that is gone makes its entry stale; entries name real scenarios."""
    target = Target("numpy", REFERENCE)
    broken = SCENARIOS["BN-903"]._replace(run=lambda _: [Evidence(2.0, message="too far")])

    assert judging.judged(broken, target, lab, known("BN-903")).outcome == "known failure"
    assert judging.judged(broken, target, lab, known("BN-904")).outcome == "fail"
    stale = judging.judged(SCENARIOS["BN-914"], target, lab, known("BN-914"))
    assert stale.outcome == "stale known failure"
    assert "it was so" in stale.reason
    check_known(known("BN-903"), Path("known_failures.toml"))
    with pytest.raises(UsageError, match="no requirement is called 'BN-999'"):
        check_known(known("BN-999"), Path("known_failures.toml"))


def test_missing_operation_is_named(tmp_path: Path) -> None:
    """An implementation that cannot train is unsupported, with the operation that it lacks."""
    file = tmp_path / "frozen.py"
    file.write_text(
        "from adapters.numpy_reference import CAPABILITIES, NumpyReference\n"
        "class Frozen(NumpyReference):\n"
        "    def describe(self):\n"
        "        return super().describe()._replace(capabilities=CAPABILITIES._replace(training=False))\n"
    )
    found = result("BN-901", f"{file}:Frozen")

    assert found.outcome == "unsupported"
    assert "train()" in found.reason


class TestMnist:
    """MNIST's files are read as they are, and named where they are not what they should be."""

    def write(self, folder: Path, name: str, values: Array) -> Path:
        """Write an IDX file."""
        path = folder / name
        head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        path.write_bytes(head + values.astype(np.uint8).tobytes())
        return path

    def all(self, folder: Path) -> None:
        """Write all four files."""
        rng = np.random.default_rng(0)
        for part, number in (("train", 30), ("t10k", 20)):
            self.write(folder, f"{part}-images-idx3-ubyte", rng.integers(0, 256, (number, 28, 28)))
            self.write(folder, f"{part}-labels-idx1-ubyte", rng.integers(0, 10, number))

    def test_whole(self, tmp_path: Path) -> None:
        """Training and test samples come in this order, scaled to [0, 1]."""
        self.all(tmp_path)
        found = data.mnist(tmp_path)

        assert (found.images.shape, found.training, len(found.labels)) == ((50, 28, 28), 30, 50)
        assert found.images.max() == 1
        assert found.inputs((784,), "float32").shape == (50, 784)
        assert found.inputs((8, 8, 1), "float32").shape == (50, 8, 8, 1)

    def test_missing(self, tmp_path: Path) -> None:
        """A missing file is named."""
        self.all(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte").unlink()

        with pytest.raises(UsageError, match="t10k-labels-idx1-ubyte"):
            data.mnist(tmp_path)

    @pytest.mark.parametrize("left", [0, 5, 100])
    def test_truncated(self, tmp_path: Path, left: int) -> None:
        """A truncated file is named, wherever it ends."""
        self.all(tmp_path)
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:left])

        with pytest.raises(UsageError, match=r"train-images-idx3-ubyte is truncated"):
            data.mnist(tmp_path)

    def test_damaged(self, tmp_path: Path) -> None:
        """A compressed file with a byte that is wrong is named, and one that ends early."""
        self.all(tmp_path)
        plain = self.write(tmp_path, "train-images-idx3-ubyte", np.arange(30 * 28 * 28).reshape(30, 28, 28) % 256)
        whole = gzip.compress(plain.read_bytes())
        plain.unlink()
        path = tmp_path / f"{plain.name}.gz"
        for damaged in (whole[:40] + b"\xff" * 40 + whole[80:], whole[:-100], whole[:5]):
            path.write_bytes(damaged)
            with pytest.raises(UsageError, match=r"train-images-idx3-ubyte.gz (cannot be read|is truncated)"):
                data.mnist(tmp_path)

    def test_other_extents(self, tmp_path: Path) -> None:
        """Images of other extents are named; what a header claims is not believed before that."""
        self.all(tmp_path)
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))
        with pytest.raises(UsageError, match="not images of 28 x 28"):
            data.mnist(tmp_path)

    def test_other_file(self, tmp_path: Path) -> None:
        """A file that is no IDX file is named."""
        self.all(tmp_path)
        (tmp_path / "train-labels-idx1-ubyte").write_text("seven, two, one, zero")

        with pytest.raises(UsageError, match=r"train-labels-idx1-ubyte is no IDX file"):
            data.mnist(tmp_path)


def test_looks_do_not_disturb(lab: Lab) -> None:
    """A demonstration's looks do not disturb the training: the losses are those of a training without looks."""
    spec = networks.SIGMOID
    rows, start = lab.batches(20), networks.start(spec, 1, 1.0)
    watched = demonstrations.Watched(lab, spec, start, rows)

    assert np.array_equal(watched.losses, lab.train(spec, start, rows).losses)


def test_digits_are_those_of_scikit_learn() -> None:
    """The table that is read without importing scikit-learn is the one that it would hand over."""
    datasets = pytest.importorskip("sklearn.datasets", reason="no run: scikit-learn is not installed")
    images, labels = datasets.load_digits(return_X_y=True)
    found = data.digits()
    order = np.random.default_rng(0).permutation(len(labels))

    assert np.array_equal(found.images.reshape(len(labels), -1) * 16, images[order])
    assert np.array_equal(found.labels, labels[order])


def test_command(tmp_path: Path) -> None:
    """The command trains on the digits, writes results, figures and page, and tells how far it is; `report` has all."""
    pytest.importorskip("sklearn", reason="no run: scikit-learn is not installed")
    out = tmp_path / "out"
    done = command("scenarios", "--implementation", "numpy", "--profile", "quick", "--out", out, folder=tmp_path)

    assert done.code == 0
    assert f"numpy conforms to {len(SCENARIOS)} requirements" in done.out
    assert "numpy: BN-938" in done.err
    found = store.read(out / "results.jsonl.gz")
    assert {r.outcome for r in found.results} == {"pass"}
    assert [r.requirement for r in found.results] == sorted(SCENARIOS)
    assert found.footer is not None
    assert found.footer.complete
    drawn = {figure.name for figure in scenario_records.read(out / "figures.json").figures}
    assert {"sigmoid-network", "trap-batch-size", "trap-predictions", "wrong-training", "shared-streams"} <= drawn
    assert invoke("report", out, "-o", tmp_path / "again.html").code == 0
    assert all(f'id="figure-{name}"' in (tmp_path / "again.html").read_text("utf-8") for name in drawn)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_keeps_what_it_has_found(number: signal.Signals, tmp_path: Path) -> None:
    """Results until then and the page are there, marked incomplete; an earlier run's results are kept beside them."""
    pytest.importorskip("sklearn", reason="no run: scikit-learn is not installed")
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl.gz").write_bytes(b"earlier")
    arguments = ("scenarios", "--implementation", "numpy", "--profile", "quick", "--out", out)
    with start(*arguments, folder=tmp_path) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "BN-903" in line)
        process.send_signal(number)
        process.communicate(timeout=30)

    assert process.returncode == 3
    found = store.read(out / "results.jsonl.gz")
    assert [r.requirement for r in found.results][:2] == ["BN-901", "BN-902"]
    assert len(found.results) < len(SCENARIOS)
    assert found.footer is not None
    assert (found.footer.complete, found.footer.reason) == (False, f"interrupted by {number.name}")
    assert found.header.implementations[0].framework == "numpy"
    assert number.name in (out / "report.html").read_text("utf-8")
    assert scenario_records.read(out / "figures.json").figures == []
    assert [path.read_bytes() for path in out.glob("results-*")] == [b"earlier"]


def test_command_names_what_is_missing(tmp_path: Path) -> None:
    """A folder without MNIST's files is a usage error that names the first of them."""
    done = invoke("scenarios", "--implementation", "numpy", "--mnist", tmp_path, "--out", tmp_path / "out")

    assert done.code == 2
    assert "train-images-idx3-ubyte" in done.err
