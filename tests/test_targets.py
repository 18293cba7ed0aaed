"""Tests of targets that have no adapter: how they are named, what is found out about them, what is said of bad ones."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adapters.naming import AdapterError, Options, absolute, parse
from conformance.introduction import FamiliarSession, introduce
from conformance.session import Session, SessionError, open_session
from conformance.smoke import example, smoke
from conformance.targets import UsageError, resolve, told
from tests._commands import ONE, invoke, outcomes, prepare, results

GIVEN = Path(__file__).parent / "given"
NUMPY = f"numpy:{GIVEN}/numpy_classes.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    return prepare(tmp_path, monkeypatch)


def met(target: str, *pairs: str) -> Session:
    """A session in this process on a target that was met with the first example."""
    (found,) = told(resolve([target]), map_=pairs)
    return introduce(open_session(found.target, in_process=True, options=found.options), found.name)


class TestNames:
    """How targets are spelled."""

    @pytest.mark.parametrize(
        ("target", "parts", "label"),
        [
            ("mine.norm:Mine", ("", "mine.norm", "Mine"), "Mine"),
            ("a/norm.py:Mine", ("", "a/norm.py", "Mine"), "Mine"),
            ("torch:a/norm.py:Mine", ("torch", "a/norm.py", "Mine"), "Mine"),
            ("torch:torch.nn.BatchNorm2d", ("torch", "torch.nn", "BatchNorm2d"), "BatchNorm2d"),
            ("torch-function:mine:bn", ("torch-function", "mine", "bn"), "bn"),
            ("onnx:models/bn.onnx", ("onnx", "models/bn.onnx", ""), "bn"),
            ("cmd:./bn --fast", ("cmd", "./bn --fast", ""), "bn"),
        ],
    )
    def test_a_target_is_taken_apart(self, target: str, parts: tuple[str, str, str], label: str) -> None:
        """Adapter classes, kinds with dots or files, models and programs."""
        found = parse(target)
        assert tuple(found) == parts
        assert found.label == label

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("torch:BatchNorm2d", "expected torch:package.module:Class"),
            ("keras:a.py:", "expected keras:package.module:Class"),
            ("onnx:", "expected onnx:model.onnx"),
            ("cmd:", "'cmd:' names no program"),
            ("cmd:'./bn", "No closing quotation"),
            ("mine:", "names no adapter"),
        ],
    )
    def test_what_names_nothing_is_said_to(self, target: str, message: str) -> None:
        """The message says what is expected of that kind."""
        with pytest.raises(AdapterError) as caught:
            parse(target)
        assert message in str(caught.value)

    def test_paths_become_absolute(self, folder: Path) -> None:
        """A host started elsewhere finds the same files; words of a command stay quoted."""
        assert absolute("torch:source/mine.py:Mine") == f"torch:{folder}/source/mine.py:Mine"
        assert absolute("mine.norm:Mine") == "mine.norm:Mine"
        assert absolute("cmd:./bn 'two words'") == f"cmd:{folder}/bn 'two words'"
        assert absolute("onnx:bn.onnx") == f"onnx:{folder}/bn.onnx"

    def test_options_make_sense(self) -> None:
        """A map without "=", an interpreter that is not there, and one beside an environment are refused."""
        targets = resolve(["numpy"])
        for more, message in (
            ({"map_": ["eps"]}, "--map eps: expected NAME=MEANING"),
            ({"python": "no/such/python"}, "--python no/such/python: there is no such program"),
        ):
            with pytest.raises(UsageError, match=message):
                told(targets, **more)
        with pytest.raises(UsageError, match="environment of numpy@old"):
            told(resolve(["numpy@old"]), python=sys.executable)
        (found,) = told(targets, sys.executable, ["eps=epsilon"], "cuda")
        assert found.options == Options((("eps", "epsilon"),), "cuda")
        assert found.arguments == ["--map=eps=epsilon", "--device=cuda", f"--python={Path(sys.executable).absolute()}"]


class TestNumpyClasses:
    """Objects with forward and backward."""

    def test_right_classes_pass_all_that_they_support(self, folder: Path) -> None:
        """Rows with attributes for gradients, and images with a tuple, dict and mode: nothing fails, much passes."""
        ended = invoke("run", f"{NUMPY}:Lecture", f"{NUMPY}:Images", "--cases", "10")
        found = outcomes(results(folder / "results"))
        assert ended.code in (0, 3), ended.out
        for name in ("Lecture", "Images"):
            of_it = [outcome for (_, who), outcome in found.items() if who == name]
            assert of_it.count("pass") > len(of_it) / 2
            assert not {"fail", "error", "crash", "no run"} & set(of_it), ended.out

    def test_what_works_is_found_out(self) -> None:
        """Ranks, types and flags by trial; a class of rows has rank 2, one of images rank 4, its channels second."""
        rows, images = met(f"{NUMPY}:Lecture"), met(f"{NUMPY}:Images")
        assert isinstance(rows, FamiliarSession)
        assert rows.description.capabilities.ranks == (2,)
        assert rows.description.capabilities.dtypes == ("float32", "float64")
        assert not rows.description.capabilities.flags
        assert images.description.capabilities.ranks == (4,)
        assert any("rank 4 (ValueError" in line for line in rows.introduction)

    def test_momentum_is_told(self) -> None:
        """Momentum read the other way around is recognized, and right once it is told."""
        with pytest.raises(SessionError, match=r"momentum is read the other way around.*--map momentum=decay"):
            met(f"{NUMPY}:Reversed")
        assert smoke(met(f"{NUMPY}:Reversed", "momentum=1-decay")) == ()

    def test_values_and_either_order_of_names_are_told(self) -> None:
        """An argument of no meaning is given a value; a name may stand on either side."""
        assert smoke(met(f"{NUMPY}:Groups", "groups=4")) == ()
        assert smoke(met(f"{NUMPY}:Lecture", "eps=epsilon")) == ()
        assert smoke(met(f"{NUMPY}:Lecture", "epsilon=eps")) == ()

    @pytest.mark.parametrize(
        ("name", "pairs", "message"),
        [
            ("Lectur", (), "has no Lectur; did you mean Lecture"),
            ("SEVEN", (), "cannot be called"),
            ("Groups", (), "needs an argument 'groups', which stands for nothing known"),
            ("Lecture", ("epsilom=epsilon",), "--map epsilom=epsilon: Lecture has nothing of that name"),
            ("Lecture", ("eps=epsilom",), "'epsilom' is neither a value nor a meaning; did you mean epsilon"),
            ("NoEpsilon", (), "cannot be told its epsilon"),
            ("NoSwitch", (), "nothing tells NoSwitch training from inference"),
            ("AlwaysTrains", (), "the training flag is ignored: infer"),
            ("NeverTrains", (), "the training flag is ignored: train"),
            ("Locked", (), "the state cannot be set: after build"),
            ("WrongShape", (), "y must have shape"),
            ("Lists", (), "y must be a numpy.ndarray, got list"),
            ("NarrowResults", (), "y must be float32, the input's dtype, got float16"),
            ("ZeroGradients", (), "gradients are absent: dx"),
            ("Raises", (), "RuntimeError: the lookup table has only 4 rows (numpy_classes.py, line "),
            ("Quits", (), "SystemExit: no licence"),
        ],
    )
    def test_bad_ones_are_named(self, name: str, pairs: tuple[str, ...], message: str) -> None:
        """One clear statement about the target: what was expected and what was there."""
        with pytest.raises(SessionError) as caught:
            met(f"{NUMPY}:{name}", *pairs)
        assert message in str(caught.value)


class TestHostileTargets:
    """Whatever a target does, the rest of the run stays intact."""

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("Dies", "killed by SIGSEGV during building (numpy_classes.py, line "),
            ("Loops", "building did not return within"),
            ("Quits", "SystemExit: no licence (numpy_classes.py, line "),
        ],
    )
    def test_the_others_run_on(self, name: str, message: str, folder: Path) -> None:
        """A crash, a hang or an exit in the first example is said once; the other implementation passes."""
        ended = invoke("run", f"{NUMPY}:{name}", "numpy", *ONE, "--timeout", "0.5")
        assert ended.code == 3
        assert outcomes(results(folder / "results")) == {("BN-201", name): "no run", ("BN-201", "numpy"): "pass"}
        assert message in ended.out

    def test_what_is_not_installed_may_be_elsewhere(self, folder: Path) -> None:
        """Code that imports what is not here is told of the option that runs it under another interpreter."""
        Path("norm.py").write_text("import not_installed_anywhere", encoding="utf-8")
        ended = invoke("run", "numpy:norm.py:Norm", *ONE)
        assert ended.code == 3
        assert "No module named 'not_installed_anywhere' (Python: " in ended.out
        assert "--python PATH runs it under an interpreter that has it" in ended.out

    def test_prints_do_no_harm(self, folder: Path) -> None:
        """What a target prints, through Python or beneath it, does not get into the answers."""
        assert invoke("run", f"{NUMPY}:Prints", *ONE).code == 0

    def test_huge_allocations_end_the_target_only(self, folder: Path) -> None:
        """A target that wants 10 GB where its host may have 4 is said to; the run goes on to its end."""
        limited = folder / "limited"
        limited.write_text(f'#!/bin/sh\nulimit -v 4000000\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        limited.chmod(0o755)
        ended = invoke("run", f"{NUMPY}:Allocates", "numpy", *ONE, "--python", limited)
        assert outcomes(results(folder / "results")) == {("BN-201", "Allocates"): "no run", ("BN-201", "numpy"): "pass"}
        assert "Unable to allocate 10.0 GiB" in ended.out

    def test_randomness_is_seen(self, folder: Path) -> None:
        """A target that gives other bits each time fails the requirement on that, not all of them."""
        ended = invoke("run", f"{NUMPY}:Random", "-k", "BN-70", "--cases", "10")
        assert ended.code == 1
        assert "nondeterministic" in ended.out or "differ" in ended.out

    def test_a_late_failure_is_an_error_of_the_requirements(self, folder: Path) -> None:
        """What raises only later passes the first example: the requirements then say "error" with the exception."""
        ended = invoke("run", f"{NUMPY}:RaisesLater", "-k", "BN-10", "--cases", "30")
        assert ended.code == 1
        assert "RuntimeError: out of handles" in ended.out


class TestOtherInterpreters:
    """--python."""

    def test_a_target_runs_under_the_interpreter_that_is_named(self, folder: Path) -> None:
        """The report names it; the replay command carries it on."""
        ended = invoke("run", f"{NUMPY}:Lecture", "--python", sys.executable, *ONE)
        assert ended.code == 0
        assert results(folder / "results").header.implementations[0].details["executable"] == sys.executable

    def test_an_interpreter_that_cannot_serve_is_named(self, folder: Path) -> None:
        """A program that is no Python ends in one line with its name."""
        ended = invoke("run", f"{NUMPY}:Lecture", "--python", "/bin/false", *ONE)
        assert ended.code == 3
        assert "exited with code 1 while importing it (Python: /bin/false)" in ended.out


class TestSmoke:
    """The first example."""

    def test_its_answer_comes_at_once(self) -> None:
        """Smoke of a NumPy class takes well under two seconds."""
        session = open_session(f"{NUMPY}:Lecture", in_process=True)
        started = time.perf_counter()
        assert smoke(session) == ()
        assert time.perf_counter() - started < 2.0

    def test_the_example_tells_channels_and_statistics_apart(self) -> None:
        """No channel has the statistics of another, of the state, or of 0 and 1; so no mistake is mistaken."""
        for rank in (2, 3, 4, 5):
            asked = example(rank, open_session(f"{NUMPY}:Lecture", in_process=True).description.capabilities)
            x = np.moveaxis(asked.x, asked.spec.channel_axes[0], -1).reshape(-1, 3).astype(float)
            means = [*x.mean(0), *np.asarray(asked.before.moving_mean, float), 0.0]
            gaps = np.abs(np.subtract.outer(means[:3], means))
            assert np.sort(gaps, axis=1)[:, 1].min() > 0.05
