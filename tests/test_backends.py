"""Tests of the adapters that need a process of their own: Keras on torch and on JAX, Flax, Keras 2."""

from pathlib import Path

import pytest

from adapters.interface import Spec
from conformance import environments
from conformance.case import Backward, Case, Channel, Drawn, Gradient, Start, Train, save
from conformance.targets import Target, resolve
from tests._commands import invoke, results

#: Output, statistics and gradients of training steps.
REQUIREMENTS = "BN-101 or BN-301 or BN-401"


def place(name: str) -> str:
    """The implementation where it can run: here, else in an environment that has been built; skips the test if none."""
    (target,) = resolve([name])
    listed, cache = environments.read(), environments.cache_folder()
    if not target.missing:
        return name
    for entry in listed.entries:
        if name in environments.members(entry) and environments.existing(entry.recipe, cache) is not None:
            return f"{name}@{entry.name}"
    pytest.skip(f"no run: {target.missing}, and no environment that has it is built, so {name} was NOT tested")


@pytest.mark.parametrize("name", ["keras_torch", "keras_jax", "tf_keras", "flax", "flax_two_pass"])
def test_conforms(name: str, tmp_path: Path) -> None:
    """Each does what it declares, but for what is known, in a host of its own, whatever the backend of this process."""
    done = invoke("run", place(name), "-k", REQUIREMENTS, "--cases", "4", "--out", str(tmp_path))
    assert done.code == 0, done.out
    outcomes = {result.requirement: result.outcome for result in results(tmp_path).results}
    assert set(outcomes) == set(REQUIREMENTS.split(" or "))
    known = {"BN-301"} if name == "keras_torch" else set()
    assert {outcome for id_, outcome in outcomes.items() if id_ not in known} <= {"pass", "deviates"}
    assert {outcomes[id_] for id_ in known} <= {"pass", "known failure"}


@pytest.mark.parametrize("name", ["keras_jax", "flax"])
def test_a_tape_keeps_no_result(name: str, tmp_path: Path) -> None:
    """A backward pass gives the output of its forward pass, also where the caller has overwritten what it was given."""
    x = Drawn((4,), (Channel("normal"),), seed=1)
    steps = (Train(x, tape=0), Train(x, tape=1), Backward(0, Gradient()), Backward(1, Gradient()))
    case = Case(Spec((None, 3), (-1,), 1e-3, 0.9), (Start(),), steps, repeat=True)
    save(case, tmp_path / "case.json", implementation=place(name))
    done = invoke("replay", str(tmp_path / "case.json"))
    assert done.code == 0, done.out


def test_an_axis_that_keras_2_refuses(tmp_path: Path) -> None:
    """A refusal by the layer is unsupported, and no error; the same axis, counted from the front, is supported."""
    for axis, code in ((0, 0), (-4, 3)):
        steps = (Train(Drawn((2, 3, 3), (Channel("normal"),), seed=1)),)
        case = Case(Spec((3, None, None, None), (axis,), 1e-3, 0.9), (Start(),), steps)
        save(case, tmp_path / "case.json", implementation=place("tf_keras"))
        done = invoke("replay", str(tmp_path / "case.json"))
        assert done.code == code, done.out
        assert ("unsupported: axis=-4 of a 4-D input" in done.out) == (code == 3)


def test_what_a_backend_needs_is_named() -> None:
    """Where the backend is missing, that is said, and not that Keras is."""
    (found,) = resolve(["keras_torch"])
    assert found.needs == ("torch",)
    absent = Target("keras_lost", "adapters.keras_torch:TorchKerasBatchNorm", "json", "keras", ("no_such_backend",))
    assert absent.missing.startswith("no_such_backend is not installed here")
