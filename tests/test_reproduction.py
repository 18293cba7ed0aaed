"""Scripts of failures: each runs on its own, exits with 1 while the implementation is wrong, else with 0."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.interface import Array, Spec
from adapters.program import Failure, Trace
from conformance.case import Case, Given, Infer, SetState, Start, Train, given
from conformance.explain import Smallest, judge_case
from conformance.pool import draw
from conformance.reproduction import Failing, array, script
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from tests._judged import SPEC, case, infer, run, traced, train, values, with_state, with_step

ROOT = Path(__file__).parents[1]
FAILING = Failing("BN-999", 'A claim with "quotes" and γ.', "somebody's own")
FORMULATIONS = [
    ("adapters.torch_module:TorchBatchNorm", "torch"),
    ("adapters.keras_layer:KerasBatchNorm", "keras"),
    ("adapters.tf_graph:NNBatchNorm", "tensorflow"),
    ("adapters.tf_graph:FusedBatchNorm", "tensorflow"),
]
#: Channels last, the only layout that all of them have without reshaping.
IMAGES = Spec((None, None, None, 3), (-1,), 1e-3, 0.75)
WRONG = """
import torch

class Norm(torch.nn.BatchNorm1d):
    def forward(self, x):
        if self.training:
            mean, variance = x.mean(0), x.var(0, unbiased=False)
        else:
            mean, variance = self.running_mean, self.running_var
        return self.weight * (x - mean) / WRONG_OR_RIGHT + self.bias
"""


class Ran:
    """A script that was run in a process of its own."""

    def __init__(self, text: str, folder: Path, path: str = "") -> None:
        file = folder / "script.py"
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(file)],
            cwd=folder,
            env={"PATH": "", "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def needs(module: str) -> None:
    """Skip, saying so, where a framework is not installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here")


def program(spec: Spec) -> Case:
    """Training with gradients, other parameters, inference with gradients."""
    shape = (4, 2, 3, 3)

    def start(seed: int) -> Start:
        gamma, beta, mean, variance = (given(np.abs(values(3, seed=seed + n)) + np.float32(0.25)) for n in range(4))
        return Start(gamma, beta, mean, variance)

    def x(seed: int) -> Array:
        return values(*shape, seed=seed)

    steps = (
        Train(given(x(1)), given(x(2))),
        SetState(start(20)),
        Infer(given(x(3)), given(x(4))),
        Train(given(x(5))),
    )
    return Case(spec, (start(10),), steps)


@pytest.mark.parametrize(("target", "framework"), FORMULATIONS, ids=[t.split(":")[1] for t, _ in FORMULATIONS])
def test_native_code_computes_the_same(target: str, framework: str, tmp_path: Path) -> None:
    """In the framework's own words the program gives what it should: the script of a failure made up exits with 0.

    With another expected value the same script exits with 1 and names the element.
    """
    needs(framework)
    case_ = program(IMAGES if framework == "tensorflow" else IMAGES._replace(center=False))
    trace = traced(case_, target)
    assert trace.failure is None
    inference = trace.steps[2].step
    last = trace.steps[3]
    assert inference is not None
    assert inference.dx is not None
    assert last.state is not None
    assert last.state.moving_variance is not None
    made_up = {
        "y": with_step(trace, 2, step=inference._replace(y=inference.y + 1)),
        "dx": with_step(trace, 2, step=inference._replace(dx=inference.dx + 1)),
        "moving_variance": with_state(trace, 3, moving_variance=last.state.moving_variance + 1),
    }
    if framework != "torch":
        # Importing TensorFlow takes ten seconds: one quantity must do.
        del made_up["y"], made_up["moving_variance" if framework == "keras" else "dx"]
    for quantity, wrong in made_up.items():
        text = script(FAILING._replace(quantities=(quantity,)), target, (), [(case_, wrong)])
        assert f"# What {quantity} should be" in text
        assert "adapters" not in text
        assert "conformance" not in text
        ran = Ran(text, tmp_path)
        assert (ran.code, ran.err if ran.code else "") == (0, "")
        assert ran.out.startswith("0 of ")

        other = Ran(text.replace("got = np.asarray(", "expected.flat[0] += 1\ngot = np.asarray("), tmp_path)
        assert other.code == 1
        assert f"{quantity}[0" in other.out
        assert "1 of " in other.out


def test_a_wrong_torch_module(tmp_path: Path) -> None:
    """The script of a wrong module imports it by file and exits with 1, and with 0 once the module is repaired."""
    needs("torch")
    file = tmp_path / "norm.py"
    wrong = WRONG.replace("WRONG_OR_RIGHT", "(torch.sqrt(variance) + self.eps)")
    file.write_text(wrong, encoding="utf-8")
    adapter = tmp_path / "adapter.py"
    adapter.write_text(
        f"""
import importlib.util
from adapters.torch_module import TorchBatchNorm
spec_ = importlib.util.spec_from_file_location("norm", {str(file)!r})
norm = importlib.util.module_from_spec(spec_)
spec_.loader.exec_module(norm)

class Adapter(TorchBatchNorm):
    def module(self, spec):
        return norm.Norm(spec.parameter_shape[0], eps=spec.epsilon, momentum=1 - spec.decay)
""",
        encoding="utf-8",
    )
    case_ = case(train(6))
    with open_session(f"{adapter}:Adapter", in_process=True) as session:
        trace = session.run(case_.expanded)

    text = script(FAILING._replace(quantities=("y",)), f"torch:{file}:Norm", (), [(case_, trace)])

    ran = Ran(text, tmp_path)
    assert ran.code == 1, ran.err
    assert "elements of y are wrong (step 0, train)." in ran.out
    file.write_text(WRONG.replace("WRONG_OR_RIGHT", "torch.sqrt(variance + self.eps)"), encoding="utf-8")
    assert Ran(text, tmp_path).code == 0


@pytest.mark.parametrize("id_", ["BN-101", "BN-102", "BN-302", "BN-406"])
def test_an_adapter_of_somebodys_own(id_: str, tmp_path: Path) -> None:
    """Any adapter's failures run from a script that loads its class; what is about y shows y, whatever is compared."""
    target = "conformance.zoo.statistics:UnbiasedNormalization"
    requirement = CATALOGUE[id_]
    found: Smallest | None = None
    with open_session(target, in_process=True) as session:
        for pooled in draw(requirement.family, 3, 24).cases:
            found = judge_case(requirement, pooled.case, session)
            if found is not None:
                break
        assert found is not None
        others = requirement.derive(found.case) if requirement.derive else ()
        runs = [(c, session.run(c.expanded)) for c in (found.case, *others)]
    failing = Failing(id_, requirement.claim, target, tuple(w.quantity for w in found.evidence.worst))

    text = script(failing, target, (), runs)

    ran = Ran(text, tmp_path, str(ROOT))
    assert ran.code == 1, ran.err
    assert "are wrong" in ran.out
    repaired = text.replace("conformance.zoo.statistics import UnbiasedNormalization", "x import y").replace(
        "from x import y", "from adapters.numpy_reference import NumpyReference as UnbiasedNormalization"
    )
    assert Ran(repaired, tmp_path, str(ROOT)).code == 0


def test_what_raises(tmp_path: Path) -> None:
    """A program that breaks is written out to its end: the script breaks as the program did."""
    adapter = tmp_path / "mine.py"
    adapter.write_text(
        """
from adapters.numpy_reference import NumpyLayer, NumpyReference

class Layer(NumpyLayer):
    def infer(self, x, dy=None):
        raise ArithmeticError("no inference today")

class Mine(NumpyReference):
    layer = Layer
""",
        encoding="utf-8",
    )
    case_ = case(train(3), infer(2))
    with open_session(f"{adapter}:Mine", in_process=True) as session:
        trace = session.run(case_.expanded)
    assert trace.failure is not None

    text = script(FAILING, f"{adapter}:Mine", (), [(case_, trace)])

    ran = Ran(text, tmp_path, str(ROOT))
    assert ran.code == 1
    assert "no inference today" in ran.err
    adapter.write_text(adapter.read_text(encoding="utf-8").replace("raise", "return super().infer(x, dy) #"))
    assert Ran(text, tmp_path, str(ROOT)).code == 0


def test_nothing_to_show() -> None:
    """Where no result is off by itself, or nobody has said how to write such a target, there is no script."""
    right = case(train(3))
    assert script(FAILING, "adapters.numpy_reference:NumpyReference", (), [(right, traced(right))]) == ""
    broken = Trace(None, (), (), failure=Failure("crash", "killed"))
    assert script(FAILING, "cmd:./a.out", (), [(right, broken)]) == ""
    strided = Case(SPEC, (Start(),), (Train(Given.of(values(4, 3), "strided")),))
    assert script(FAILING, "mine:Adapter", (), [(strided, broken)]) == ""
    assert script(FAILING, "mine:Adapter", (), [(right, broken)]) != ""


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16"])
@pytest.mark.parametrize("size", [0, 5, 5000])
def test_arrays_keep_every_bit(dtype: str, size: int) -> None:
    """An array's text gives the array back, special values and large ones included."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2**16, size, np.uint16) if dtype == "uint16" else rng.standard_normal(size).astype(dtype)
    if size and dtype != "uint16":
        a[:4] = [np.inf, -np.inf, np.nan, -0.0]

    namespace = {"np": np, "base64": __import__("base64")}
    back = eval(array(a), namespace)

    assert back.dtype == a.dtype
    assert back.tobytes() == a.tobytes()


def test_state_without_reading() -> None:
    """A script is about a step that was judged, though the state before it was carried and not read."""
    unread = case(train(4), infer(4), spec=SPEC)
    unread = Case(unread.spec, unread.starts, unread.program, "end")
    found = run(unread, "conformance.zoo.epsilon:EpsilonOutsideRoot")

    text = script(FAILING, "conformance.zoo.epsilon:EpsilonOutsideRoot", (), [(unread, found.trace)])

    assert "# Step 0: train." in text
