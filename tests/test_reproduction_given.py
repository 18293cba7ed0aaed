"""Scripts for code without an adapter, and of failures that no single result shows: memory, tapes, replaced layers."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.interface import Conventions, Spec
from adapters.program import Trace
from conformance.case import Backward, Case, Infer, Instruction, SetState, Start, Train, given
from conformance.case import Given as Held
from conformance.reproduction import Failing
from conformance.requirements import CATALOGUE
from tests._judged import values, with_state, with_step
from tests._scripts import FAILING, Given, Ran, first_failing, shows, text_of

GIVEN = Path(__file__).parent / "given"
#: Rows of features, channels last and second at once; the last axis of images, where classes may want it second.
ROWS, IMAGES = Spec((None, 3), (-1,), 1e-3, 0.75), Spec((None, None, None, 3), (-1,), 1e-3, 0.75)
CONVENTIONS = Conventions(single="refused", empty="unchanged")
MUTATING = '''
import numpy as np

class Norm:
    """A right one, but for what is done to x, and to y of the call before."""

    def __init__(self, channels, eps, momentum):
        self.gamma, self.beta = np.ones(channels, "f"), np.zeros(channels, "f")
        self.mean, self.var = np.zeros(channels, "f"), np.ones(channels, "f")
        self.eps, self.momentum = np.float32(eps), np.float32(momentum)
        self.buffers = {}

    def forward(self, x, training):
        mean, var = (x.mean(0), x.var(0)) if training else (self.mean, self.var)
        if training:
            self.mean = self.momentum * self.mean + (1 - self.momentum) * mean
            self.var = self.momentum * self.var + (1 - self.momentum) * var
        y = RESULT
        y -= mean
        y *= self.gamma / np.sqrt(var + self.eps)
        y += self.beta
        return y
'''
FAULTY = {
    "mutated": ("x", "x of step 0 was changed"),
    "overwritten": ("self.buffer(x)", "y of step 0 changed after it was returned"),
}
KEPT = """
    def buffer(self, x):
        if x.shape not in self.buffers:
            self.buffers[x.shape] = np.empty_like(x)
        self.buffers[x.shape][...] = x
        return self.buffers[x.shape]
"""


def needs(*modules: str) -> None:
    """Skip, saying so, where a framework is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed here")


def start(seed: int) -> Start:
    """A state of arrays."""
    gamma, beta, mean, variance = (given(np.abs(values(3, seed=seed + n)) + np.float32(0.25)) for n in range(4))
    return Start(gamma, beta, mean, variance)


def off(trace: Trace, number: int, quantity: str) -> Trace:
    """The trace with another value of a step's result, or of the state after it."""
    step, state = trace.steps[number].step, trace.steps[number].state
    if quantity == "moving_variance":
        return with_state(trace, number, moving_variance=getattr(state, quantity) + 1)
    assert step is not None
    return with_step(trace, number, step=step._replace(**{quantity: getattr(step, quantity) + 1}))


def program(spec: Spec, *, trains: bool = True, gradients: bool = True, tape: bool = False) -> Case:
    """Training with gradients, other parameters, inference, as far as the code can."""
    shape = (4, 2, 3, 3) if spec.rank == 4 else (5, 3)

    def x(seed: int) -> Held:
        return given(values(*shape, seed=seed))

    steps: list[Instruction] = [SetState(start(20)), Infer(x(3))]
    if trains:
        steps = [Train(x(1), x(2) if gradients else None), *steps, Train(x(5))]
    if tape:
        steps += [Train(x(6), tape=1), Infer(x(7)), Backward(1, x(8))]
    return Case(spec, (start(10),), tuple(steps))


@pytest.mark.parametrize(
    ("target", "pairs", "spec", "module"),
    [
        (f"numpy:{GIVEN}/numpy_classes.py:Lecture", (), ROWS, "numpy"),
        (f"numpy:{GIVEN}/numpy_classes.py:Images", (), IMAGES, "numpy"),
        (f"torch:{GIVEN}/torch_modules.py:Images", (), IMAGES, "torch"),
        (f"torch-function:{GIVEN}/torch_modules.py:renamed", ("rho=momentum", "e=eps"), ROWS, "torch"),
        (f"jax:{GIVEN}/jax_functions.py:batch_norm", (), IMAGES, "jax"),
        (f"keras:{GIVEN}/keras_layers.py:Mine", (), ROWS, "keras"),
    ],
    ids=["numpy-rows", "numpy-images", "torch", "torch-function", "jax", "keras"],
)
def test_given_code_computes_the_same(target: str, pairs: tuple[str, ...], spec: Spec, module: str) -> None:
    """In the code's own words, its names, places and gradients, the script gives what the adapter gave.

    That is shown for every quantity by a value made up: the right one is confirmed, another one refuted.
    """
    needs(module, *(["tensorflow"] if module == "keras" else []))
    code = Given(target, *pairs)
    variance = "unbiased" if "renamed" in target else "biased"
    case_ = program(spec, tape=code.session.description.capabilities.tape)
    trace = code.trace(case_)._replace(conventions=CONVENTIONS._replace(moving_variance=variance))
    assert trace.failure is None
    made_up = {"y": 2, "dx": 0, "dgamma": 0, "moving_variance": 3}
    # What compiles is slow.
    for quantity in {"keras": ["dgamma"], "jax": ["moving_variance"]}.get(module, [*made_up]):
        shows(quantity, code.target, case_, off(trace, made_up[quantity], quantity), code.spell)
    if code.session.description.capabilities.tape:
        text = shows("dx", code.target, case_, off(trace, 6, "dx"), code.spell)
        assert "Step 6: backward" in text


def test_models(tmp_path: Path) -> None:
    """A model file is run by its script with the case's weights, epsilon and shape."""
    needs("onnx", "onnxruntime")
    onnx = importlib.import_module("onnx")
    names = ["scale", "b", "mean", "var"]
    node = onnx.helper.make_node("BatchNormalization", ["x", *names], ["y"], epsilon=1e-3)
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None, 4, None, None]) for n in "xy"]
    weights = [onnx.numpy_helper.from_array(np.ones(4, np.float32), name) for name in names]
    graph = onnx.helper.make_graph([node], "normalization", ends[:1], ends[1:], weights)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=9)
    onnx.save(made, str(tmp_path / "model.onnx"))
    code = Given(f"onnx:{tmp_path}/model.onnx")
    for spec in (IMAGES, ROWS._replace(scale=False)):
        case_ = program(spec, trains=False)
        trace = code.trace(case_)
        shows("y", code.target, case_, off(trace, 1, "y"), code.spell)


def test_programs(tmp_path: Path) -> None:
    """A program is asked by its script as the suite asks it, and a crash of it shows."""
    command = f"cmd:{sys.executable} {GIVEN}/batch_norm_program.py"
    case_ = program(ROWS)
    code = Given(command)
    shows("dx", code.target, case_, off(code.trace(case_), 0, "dx"), code.spell, tmp_path)

    broken = Given(f"{command} exits")
    text = text_of(FAILING, broken.target, (case_, broken.trace(case_)), spell=broken.spell)
    ended = Ran(text, tmp_path)
    assert ended.code == 1
    assert "The program ended with code 3 after 'train 1'." in ended.err


@pytest.mark.parametrize("kind", FAULTY)
def test_memory_of_given_code(kind: str, tmp_path: Path) -> None:
    """A class that works in its argument, or returns one buffer each time: the script names the array.

    Once the class is repaired, the script ends with 0.
    """
    file = tmp_path / "norm.py"
    expression, message = FAULTY[kind]
    file.write_text(MUTATING.replace("RESULT", expression) + KEPT, encoding="utf-8")
    code = Given(f"numpy:{file}:Norm")
    case_ = Case(ROWS, (start(10),), (Train(given(values(4, 3))), Train(given(values(4, 3, seed=1)))))
    trace = code.trace(case_)
    assert kind in {o.kind for step in trace.steps for o in step.observations}

    failing = FAILING._replace(message=f"{kind}: an array")
    text = text_of(failing, code.target, (case_, trace), spell=code.spell)

    ran = Ran(text)
    assert ran.code == 1
    assert message in ran.out
    file.write_text(MUTATING.replace("RESULT", "x.copy()") + KEPT, encoding="utf-8")
    assert Ran(text).code == 0


#: Faults of the zoo that no single result need show, by a requirement that sees them.
UNSEEN = {
    "BN-410": "tapes:LastTapeOnly",
    "BN-412": "tapes:BackwardUsesCurrentStatistics",
    "BN-413": "tapes:BackwardUpdatesToo",
    "BN-414": "tapes:TapeIsUsedUp",
    "BN-601": "shapes:MemoryReadInOrder",
    "BN-604": "layouts:GapsWritten",
    "BN-701": "memory:InputCenteredInPlace",
    "BN-702": "memory:SumsInAnyOrder",
    "BN-703": "memory:OutputBufferReused",
    "BN-705": "sharing:StatisticsByName",
    "BN-707": "memory:UpdateFromRetainedInput",
    "BN-709": "counting:EverySecondCallRounded",
    "BN-710": "rebuilding:ExtraNotSet",
    "BN-711": "rebuilding:SavesInHalf",
    "BN-712": "saving:RestoredEpsilonIsSingle",
    "BN-713": "rebuilding:RestoreTakesMomentumForDecay",
}


@pytest.mark.parametrize("id_", UNSEEN)
def test_what_no_single_result_shows(id_: str) -> None:
    """A fault in memory, layouts, tapes or saving is shown by its script, which has nothing to say of the reference."""
    target = f"conformance.zoo.{UNSEEN[id_]}"
    found, runs = first_failing(id_, target, 3, 4)
    quantities = tuple(w.quantity for w in found.evidence.worst)

    text = text_of(Failing(id_, CATALOGUE[id_].claim, target, quantities, found.message), target, *runs)

    assert Ran(text).code == 1
    module, _, name = target.partition(":")
    right = text.replace(
        f"from {module} import {name}", f"from adapters.numpy_reference import NumpyReference as {name}"
    )
    assert Ran(right).code == 0
