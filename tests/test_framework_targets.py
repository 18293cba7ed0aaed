"""Tests of targets of the frameworks' kinds: right ones pass under any names, wrong ones fail or are advised."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.introduction import FamiliarSession, meet
from conformance.session import SessionError
from conformance.targets import resolve, told
from tests._commands import Ended, invoke, outcomes, prepare, results

GIVEN = Path(__file__).parent / "given"
FEW = ("-k", "BN-101 or BN-201 or BN-301 or BN-302 or BN-401", "--cases", "4")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch)


def need(module: str) -> None:
    """Say loudly that nothing was run where a framework is missing."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"no run: {module} is not installed")


def met(target: str, *pairs: str) -> FamiliarSession:
    """A session that was met with the first example."""
    session = meet(told(resolve([target]), map_=pairs)[0])
    assert isinstance(session, FamiliarSession)
    return session


def conforms(ended: Ended) -> None:
    """Nothing fails, and most passes."""
    found = list(outcomes(results(Path("results"))).values())
    assert set(found) <= {"pass", "deviates", "unsupported", "mistrusted"}, ended.out
    assert found.count("pass") + found.count("deviates") >= len(found) / 2, ended.out


class TestTorch:
    """torch: and torch-function:."""

    def test_right_ones_conform(self) -> None:
        """Torch's own module by dots, somebody's under other names, torch's function, and the same renamed."""
        need("torch")
        names = ["torch:torch.nn.BatchNorm2d", f"torch:{GIVEN}/torch_modules.py:Images"]
        names += ["torch-function:torch.nn.functional:batch_norm"]
        conforms(invoke("run", *names, *FEW))
        pairs = ("--map=rho=1-decay", "--map=e=epsilon", "--map=scale=gamma")
        conforms(invoke("run", f"torch-function:{GIVEN}/torch_modules.py:renamed", *pairs, *FEW))

    def test_wrong_gradients_fail_where_they_are_wrong(self) -> None:
        """A module whose statistics are detached fails the gradients and nothing else."""
        need("torch")
        ended = invoke("run", f"torch:{GIVEN}/torch_modules.py:Detached", *FEW)
        found = outcomes(results(Path("results")))
        assert ended.code == 1
        assert [id_ for (id_, _), outcome in found.items() if outcome == "fail"] == ["BN-401"]

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("torch:{}:Absent", "gradients are absent"),
            ("torch:{}:Elsewhere", "returned y on meta, expected cpu, where x is"),
            ("torch:{}:NoBuffers", "NoBuffers has no beta and no moving_mean and no moving_variance among weight"),
            ("torch:torch.nn.Linear", "--map out_features=VALUE"),
            ("torch:torch.nn.BatchNorm4d", "has no BatchNorm4d; did you mean"),
            ("torch-function:torch.nn.functional:relu", "no argument for moving_mean"),
            ("torch:no_such_package.norm:BN", "no module named 'no_such_package'"),
        ],
    )
    def test_bad_ones_are_advised(self, target: str, message: str) -> None:
        """One statement about the target."""
        need("torch")
        with pytest.raises(SessionError) as caught:
            met(target.format(GIVEN / "torch_modules.py"))
        assert message in str(caught.value)

    def test_a_device_that_is_not_there_is_named(self) -> None:
        """--device is passed to the module; torch says what is wrong with it."""
        need("torch")
        ended = invoke("run", "torch:torch.nn.BatchNorm2d", "--device", "warp:3", *FEW)
        assert ended.code == 3
        assert "torch has no device 'warp:3'" in ended.out

    def test_conventions_are_recognized(self) -> None:
        """Torch's own module is said to be like torch's; somebody's with the biased variance like Keras'."""
        need("torch")
        known = {"torch:torch.nn.BatchNorm2d": "torch.nn.", f"torch:{GIVEN}/torch_modules.py:Images": "Keras 3"}
        for target, like in known.items():
            with met(target) as session:
                assert any(line.startswith("these are the conventions of " + like) for line in session.introduction)


class TestJax:
    """jax:."""

    def test_a_right_function_conforms(self) -> None:
        """Parameters by other names, statistics in a dict, channels last as found by trial."""
        need("jax")
        conforms(invoke("run", f"jax:{GIVEN}/jax_functions.py:batch_norm", *FEW))

    def test_missing_statistics_are_named(self) -> None:
        """A function that returns y alone in training is told what is expected."""
        need("jax")
        with pytest.raises(SessionError, match="returned 0 arrays beside y in training, expected the new moving mean"):
            met(f"jax:{GIVEN}/jax_functions.py:forgetful")


class TestKeras:
    """keras:."""

    def test_a_right_layer_conforms(self) -> None:
        """Weights by other names, no center or scale to switch off."""
        need("keras")
        conforms(invoke("run", f"keras:{GIVEN}/keras_layers.py:Mine", *FEW))


class TestOnnx:
    """onnx:."""

    @pytest.fixture
    def model(self) -> Path:
        """A model of one batch normalization of four channels."""
        need("onnx")
        need("onnxruntime")
        onnx: Any = importlib.import_module("onnx")
        names = ["scale", "b", "mean", "var"]
        node = onnx.helper.make_node("BatchNormalization", ["x", *names], ["y"], epsilon=1e-3)
        ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None, 4, None, None]) for n in "xy"]
        weights = [onnx.numpy_helper.from_array(np.ones(4, np.float32), name) for name in names]
        graph = onnx.helper.make_graph([node], "normalization", ends[:1], ends[1:], weights)
        opsets = [onnx.helper.make_opsetid("", 15)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), "model.onnx")
        return Path("model.onnx")

    def test_a_model_conforms_in_inference(self, model: Path) -> None:
        """What training asks for is unsupported, and is said to be; inference passes."""
        ended = invoke("run", f"onnx:{model}", *FEW)
        found = outcomes(results(Path("results")))
        assert ended.code == 0
        assert found["BN-201", "model"] == "pass"
        assert found["BN-101", "model"] == found["BN-401", "model"] == "unsupported"
        (reason,) = {r.reason for r in results(Path("results")).results if r.requirement == "BN-101"}
        assert reason == "declares no training"

    def test_what_is_no_such_model_is_named(self, model: Path) -> None:
        """A file of something else, and a model without batch normalization."""
        onnx: Any = importlib.import_module("onnx")
        Path("text.onnx").write_text("no model", encoding="utf-8")
        loaded = onnx.load(str(model))
        loaded.graph.node[0].op_type = "Relu"
        del loaded.graph.node[0].input[1:], loaded.graph.node[0].attribute[:]
        onnx.save(loaded, "relu.onnx")
        for file, message in (("text.onnx", "is no ONNX model"), ("relu.onnx", "expected a model with one BatchNorm")):
            with pytest.raises(SessionError, match=message):
                met(f"onnx:{file}")
