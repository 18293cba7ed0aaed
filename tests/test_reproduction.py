"""Scripts of failures: each runs on its own, exits with 1 while the implementation is wrong, else with 0."""

import base64
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.interface import Array, Spec
from adapters.program import Failure, Trace
from conformance._layouts import LAYOUTS, lay_out
from conformance.case import Case, Infer, SecondOrder, SetState, Start, Train, given
from conformance.reproduction import Failing, script
from conformance.reproduction_layouts import array, laid_out
from conformance.requirements import CATALOGUE
from conformance.session import open_session
from tests._judged import SPEC, case, infer, run, traced, train, values, with_state, with_step
from tests._scripts import FAILING, Given, Ran, first_failing, nothing, shows, text_of

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
    for quantity, wrong in made_up.items():
        shows(quantity, target, case_, wrong)


def test_a_wrong_torch_module(tmp_path: Path) -> None:
    """The script of a wrong module imports it by file and exits with 1, and with 0 once the module is repaired."""
    needs("torch")
    file = tmp_path / "norm.py"
    wrong = WRONG.replace("WRONG_OR_RIGHT", "(torch.sqrt(variance) + self.eps)")
    file.write_text(wrong, encoding="utf-8")
    module = Given(f"torch:{file}:Norm")
    case_ = case(train(6))

    text = text_of(FAILING._replace(quantities=("y",)), module.target, (case_, module.trace(case_)), spell=module.spell)

    ran = Ran(text, tmp_path)
    assert ran.code == 1, ran.err
    assert "elements of y are wrong (step 0, train)." in ran.out
    file.write_text(WRONG.replace("WRONG_OR_RIGHT", "torch.sqrt(variance + self.eps)"), encoding="utf-8")
    assert Ran(text).code == 0


@pytest.mark.parametrize("id_", ["BN-101", "BN-102", "BN-302", "BN-406"])
def test_an_adapter_of_somebodys_own(id_: str) -> None:
    """Any adapter's failures run from a script that loads its class; what is about y shows y, whatever is compared."""
    target = "conformance.zoo.statistics:UnbiasedNormalization"
    found, runs = first_failing(id_, target, 3, count=24)
    failing = Failing(id_, CATALOGUE[id_].claim, target, tuple(w.quantity for w in found.evidence.worst))

    text = text_of(failing, target, *runs)

    ran = Ran(text)
    assert ran.code == 1
    assert "are wrong" in ran.out
    repaired = text.replace("conformance.zoo.statistics import UnbiasedNormalization", "x import y").replace(
        "from x import y", "from adapters.numpy_reference import NumpyReference as UnbiasedNormalization"
    )
    assert Ran(repaired).code == 0


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

    text = text_of(FAILING, f"{adapter}:Mine", (case_, trace))

    ran = Ran(text, tmp_path)
    assert ran.code == 1
    assert "no inference today" in ran.err
    adapter.write_text(adapter.read_text(encoding="utf-8").replace("raise", "return super().infer(x, dy) #"))
    assert Ran(text).code == 0


def test_nothing_to_show() -> None:
    """Where no result is off, or there are no words for what was done, there is no script, and the reason is told."""
    right = case(train(3))
    broken = Trace(None, (), (), failure=Failure("crash", "killed"))
    twice = Case(SPEC, (Start(),), (SecondOrder(given(values(4, 3)), given(values(4, 3)), given(values(4, 3))),))
    large = Case(SPEC, (Start(),), (Train(given(values(100_000, 3))),))
    for target, case_, trace, why in (
        ("adapters.numpy_reference:NumpyReference", right, traced(right), "how results compare"),
        ("numpy:mine:Norm", right, broken, "could not be asked how it is called"),
        ("mine:Adapter", twice, broken, "no words for gradients of gradients"),
        ("mine:Adapter", large, broken, "its inputs have 300000 elements"),
    ):
        made = script(FAILING, target, (), [(case_, trace)], nothing)
        assert made.text == ""
        assert why in made.why_none
    assert script(FAILING, "mine:Adapter", (), [(right, broken)], nothing).text


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16"])
@pytest.mark.parametrize("size", [0, 5, 5000])
def test_arrays_keep_every_bit(dtype: str, size: int) -> None:
    """An array's text gives the array back, special values and large ones included."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2**16, size, np.uint16) if dtype == "uint16" else rng.standard_normal(size).astype(dtype)
    if size and dtype != "uint16":
        a[:4] = [np.inf, -np.inf, np.nan, -0.0]

    back = eval(array(a), {"np": np, "base64": base64})

    assert back.dtype == a.dtype
    assert back.tobytes() == a.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_arrays_keep_their_layout(layout: str, shape: tuple[int, ...]) -> None:
    """The lines of a layout give an array of the same values, strides and access."""
    a = lay_out(np.array(np.broadcast_to(values(1, *shape[1:]), shape)), layout)  # type: ignore[arg-type]
    namespace: dict[str, Any] = {"np": np, "x": np.array(a)}

    exec("\n".join(laid_out("x", a, layout)), namespace)

    x: Array = namespace["x"]
    assert np.array_equal(x, a)
    assert x.strides == a.strides
    assert x.flags.writeable == a.flags.writeable
    assert (x.ctypes.data % 16 > 0) >= (layout == "offset")


def test_state_without_reading() -> None:
    """A script is about a step that was judged, though the state before it was carried and not read."""
    unread = case(train(4), infer(4), spec=SPEC)
    unread = Case(unread.spec, unread.starts, unread.program, "end")
    found = run(unread, "conformance.zoo.epsilon:EpsilonOutsideRoot")

    text = text_of(FAILING, "conformance.zoo.epsilon:EpsilonOutsideRoot", (unread, found.trace))

    assert "# Step 0: train." in text
