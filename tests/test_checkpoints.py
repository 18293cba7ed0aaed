"""Tests of the command that carries layers from one implementation's files to another."""

import importlib.util
from pathlib import Path

import pytest

from tests._commands import invoke

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no run: torch is not installed")

THEIRS = """
from adapters.torch_module import TorchBatchNorm

class Forgets(TorchBatchNorm):
    def restore(self, spec, path):
        layer = super().restore(spec, path)
        layer.module.running_var.fill_(1.0)
        return layer

class Slower(TorchBatchNorm):
    def restore(self, spec, path):
        layer = super().restore(spec, path)
        layer.module.momentum = layer.module.momentum / 2
        return layer

class Foreign(TorchBatchNorm):
    def restore(self, spec, path):
        raise KeyError("no such file of ours")
"""


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("TorchBatchNorm", 0, "goes on as it was"),
        ("Forgets", 1, "moving_variance was not restored as it was saved"),
        ("Slower", 1, "what comes after: moving_mean is another one"),
        ("Foreign", 3, "restore: KeyError: 'no such file of ours'"),
    ],
)
def test_a_saved_layer_goes_on(name: str, code: int, said: str, tmp_path: Path) -> None:
    """What is restored is compared with the arrays that were saved, and what follows with a layer built from them."""
    file = tmp_path / "theirs.py"
    file.write_text(THEIRS, encoding="utf-8")
    ended = invoke("checkpoints", "torch", f"{file}:{name}")
    assert ended.code == code, ended.out
    assert ended.out.count(said) == 9
