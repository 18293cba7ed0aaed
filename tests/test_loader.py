"""Tests of loading: targets are found, or refused with one message that names what is wrong and where."""

import sys
from pathlib import Path

import numpy as np
import pytest

from adapters import checks
from adapters.executor import AdapterError, describe, load
from adapters.interface import Capabilities, Conventions
from tests._programs import REFERENCE, hostile


def test_a_dotted_target_is_loaded() -> None:
    """A dotted name gives an instance of its class."""
    assert describe(load(REFERENCE)).framework == "numpy"


def test_a_file_is_loaded_under_a_private_name(tmp_path: Path) -> None:
    """A file called like a package shadows nothing, finds its neighbours, and its folder comes last on the path."""
    (tmp_path / "numpy.py").write_text(
        "import neighbour_of_it\nfrom adapters.numpy_reference import NumpyReference as Mine\n"
    )
    (tmp_path / "neighbour_of_it.py").write_text("")
    adapter = load(f"{tmp_path}/numpy.py:Mine")
    assert sys.modules["numpy"] is np
    assert sys.path[-1] == str(tmp_path)
    assert describe(adapter).framework == "numpy"


def test_a_path_entry_is_searched_last(tmp_path: Path) -> None:
    """``path`` finds a package that nothing else provides, and cannot hide one that is there."""
    (tmp_path / "bn_test_package.py").write_text("from adapters.numpy_reference import NumpyReference as Mine\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('hidden')\n")
    load("bn_test_package:Mine", [str(tmp_path)])
    sys.modules.pop("json.tool", None)
    assert sys.path[-1] == str(tmp_path)


BAD_TARGETS = {
    "no_colon": r"'no_colon' names no adapter: expected package.module:Class or path/to/file.py:Class",
    "module:not-a-name": "names no adapter",
    "no_such_package.sub:Mine": r"no module named 'no_such_package' here or in .*--path",
    "adapters.no_such:Mine": r"no module named 'adapters.no_such' here",
    "no/such/file.py:Mine": r"there is no file .*no/such/file.py",
    "adapters.numpy_reference:NumpyRefrence": r"has no class NumpyRefrence; did you mean NumpyReference\?",
    hostile("declarations:NOT_A_CLASS"): r"no subclass of adapters.interface.BatchNormAdapter, but 3",
    hostile("declarations:NotAnAdapter"): r"but the class NotAnAdapter with bases object",
    hostile("declarations:Incomplete"): (
        r"class Incomplete \(.*declarations.py:\d+\) lacks conventions\(self, spec: .*Spec\) -> .*Conventions; "
        r"build\(self, spec: .*Spec, state: .*State\)"
    ),
    hostile("declarations:NeedsArguments"): r"constructor of NeedsArguments \(.*py:\d+\) needs device",
    hostile("declarations:RaisesWhenMade"): r"RaisesWhenMade\(\) raised: OSError: libcudart.so.99",
    hostile("quits_on_import:Mine"): r"importing it failed: SystemExit: usage: quits_on_import.py FILE",
}


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_bad_targets_are_explained(target: str) -> None:
    """A target that cannot be used gives one message that names what is wrong with it, and where."""
    with pytest.raises(AdapterError, match=BAD_TARGETS[target]):
        load(target)


def test_errors_inside_a_module_are_told_from_a_missing_module(tmp_path: Path) -> None:
    """An import that fails inside the target's module is reported with the line that fails; so is bad syntax."""
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_package_at_all\n")
    with pytest.raises(AdapterError, match=r"(?s)importing it failed: ModuleNotFoundError.*broken\.py.*line 1"):
        load(f"{broken}:Mine")
    with pytest.raises(AdapterError, match="importing it failed: ModuleNotFoundError: No module named 'no_such_pack"):
        load("broken:Mine", [str(tmp_path)])
    broken.write_text("class Adapter(\n")
    with pytest.raises(AdapterError, match="importing it failed: SyntaxError"):
        load(f"{broken}:Mine")


BAD_DECLARATIONS = {
    "RaisesInDescribe": r"RaisesInDescribe \(.*py:\d+\): describe\(\) raised: KeyError: 'version'",
    "DescribesNothing": r"describe\(\) returned dict, expected a Description",
    "NumericVersion": r"Description.version must be a string, got 1.0",
    "UnknownCapability": r"UnknownCapability .*: describe\(\): .* field 'tapes'; did you mean tape",
    "UnknownAxes": r"axes is 'first', which is none of 'last', 'second', 'single', 'several'",
    "UnknownDtype": r"dtypes is 'fp16', which is none of 'float16', 'bfloat16', 'float32'",
    "RanksAsNumber": r"ranks must be a tuple, got 4",
    "FlagAsNumber": r"tape must be True or False, got 1",
    "UnknownConvention": r"UnknownConvention .*: conventions\(\): .* 'epsilon_flor'; did you mean epsilon_floor\?",
    "UnknownEstimator": r"moving_variance is 'unbaised', which is none of 'biased', 'unbiased'",
    "NegativeFloor": r"epsilon_floor must be a finite number from 0, got -1.0",
}


@pytest.mark.parametrize("name", BAD_DECLARATIONS)
def test_bad_declarations_are_explained(name: str) -> None:
    """A declaration of something that does not exist names the adapter, the word and the nearest known ones."""
    with pytest.raises(AdapterError, match=BAD_DECLARATIONS[name]):
        describe(load(hostile(f"declarations:{name}")))


def test_every_declared_field_has_its_values() -> None:
    """The tables of allowed values cover the interface's records exactly and allow their defaults."""
    assert tuple(checks.CAPABILITIES) == Capabilities._fields
    assert tuple(checks.CONVENTIONS) == Conventions._fields
    assert checks.check_conventions(Conventions()) == Conventions()
