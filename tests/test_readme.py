"""The README's promises that can be checked without running the suite: its adapter works, its commands exist."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.interface import BatchNormAdapter, Spec, State
from adapters.numpy_reference import NumpyReference
from conformance import environments

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def adapter_of_the_readme() -> BatchNormAdapter:
    """Return the adapter that the README shows."""
    (source,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "my_norm"}
    exec(compile(source, "README.md", "exec"), namespace)
    adapter = namespace["MyAdapter"]()
    assert isinstance(adapter, BatchNormAdapter)
    return adapter


@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, True), (False, False)])
def test_adapter_agrees_with_the_reference(flags: tuple[bool, bool]) -> None:
    """The README's adapter gives what the reference gives, step by step, with and without gamma and beta."""
    center, scale = flags
    spec = Spec((None, 3, 4), (-1,), 1e-3, 0.75, center, scale)
    draw = np.random.default_rng(5)

    def array(*shape: int) -> Any:
        return draw.normal(1, 2, shape).astype(np.float32)

    state = State(array(4) if scale else None, array(4) if center else None, array(4), np.abs(array(4)))
    layers = [adapter.build(spec, state) for adapter in (adapter_of_the_readme(), NumpyReference())]
    for call in ("train", "infer", "train"):
        x, dy = array(5, 3, 4), array(5, 3, 4)
        got, expected = ((*getattr(layer, call)(x, dy), *layer.state()[:4]) for layer in layers)

        for a, b in zip(got, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_tox_environments_exist() -> None:
    """Every tox environment that the README names is defined, in tox.ini or by an entry of environments.toml."""
    config = configparser.ConfigParser()
    config.read(ROOT / "tox.ini")
    defined = {name.removeprefix("testenv:") for name in config.sections()} | set(environments.read().names)

    named = {name for names in re.findall(r"tox (?:run )?-e ([\w.,]+)", README) for name in names.split(",")}

    assert {"conformance", "lint", "tests", "report"} < named <= defined


def test_extras_exist() -> None:
    """Every extra that the README names is defined."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    named = set(re.findall(r"bn-conformance\[(\w+)\]", README))

    assert named
    assert named <= set(project["optional-dependencies"])


def test_folders_exist() -> None:
    """The README's map of the house names folders that exist."""
    named = re.findall(r"^    (\w+)/  ", README, flags=re.MULTILINE)

    assert named == ["adapters", "conformance", "reports", "tests", "docs"]
    assert all((ROOT / name).is_dir() for name in named)
