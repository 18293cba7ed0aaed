"""Tests of the TensorFlow systems: each follows the reference, and its updates run when it says that they do.

Here those that today's TensorFlow has; in the environments of the older ones, where these have been built, all others.
"""

import importlib.util
import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from adapters.interface import Capabilities, Spec, State, Step
from adapters.numpy_reference import NumpyReference
from adapters.program import Call, Program, Trace
from conformance import environments
from conformance.session import Session, open_target
from conformance.targets import Target, resolve

SYSTEMS = resolve(["tf_systems"])
LISTED = environments.read()
TOLERANCE = 2e-5


def placed() -> Iterator[pytest.param]:  # type: ignore[valid-type]
    """Every system here and in each environment, with the reason where it cannot run."""
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    for target in SYSTEMS:
        if not target.missing:
            yield pytest.param(target, id=target.name)
        elif not tensorflow:
            yield pytest.param(target, id=target.name, marks=pytest.mark.skip(reason=f"no run: {target.missing}"))
    for entry in LISTED.entries:
        built = environments.existing(entry.recipe, environments.cache_folder())
        for target in resolve(f"{name}@{entry.name}" for name in environments.members(entry)):
            if not target.name.startswith("tf_graph."):
                continue
            if built is None:
                skip = pytest.mark.skip(reason=f"no run: environment {entry.name} has not been built")
                yield pytest.param(target, id=target.name, marks=skip)
            else:
                (ready,) = environments.ready([target], LISTED, environments.cache_folder(), lambda _: None)
                yield pytest.param(ready, id=target.name)


def spec_of(capabilities: Capabilities) -> Spec:
    """A spec that an implementation declares."""
    rank = max(rank for rank in capabilities.ranks if rank < 5)
    axes = tuple(range(1, rank)) if capabilities.axes == "activations" else (rank - 1,)
    shape = tuple((4, 3, 2, 5)[-rank:][a] if a in axes else None for a in range(rank))
    return Spec(shape, axes, 1e-3, 0.75)


def arrays(spec: Spec, count: int) -> list[np.ndarray]:
    """Inputs of a spec."""
    rng = np.random.default_rng(1)
    shape = [6 if extent is None else extent for extent in spec.shape]
    return [rng.normal(0.5, 2.0, shape).astype("float32") for _ in range(count)]


def start(spec: Spec) -> State:
    """A state that is not the usual start."""
    rng = np.random.default_rng(2)
    values = rng.uniform(0.5, 2.0, (4, *spec.parameter_shape)).astype("float32")
    return State(*values)


@pytest.fixture
def session(target: Target) -> Iterator[Session]:
    """A session on a system where it lives."""
    with open_target(target, in_process=not target.environment) as opened:
        yield opened


def run(session: Session, spec: Spec, *calls: Call) -> Trace:
    """Run calls on one layer and expect that nothing breaks."""
    trace = session.run(Program(spec, (start(spec),), calls))
    assert trace.failure is None, trace.failure
    return trace


def same(step: Step | None, expected: Step) -> bool:
    """Whether a step is the expected one, up to rounding."""
    assert step is not None
    for got, wanted in zip(step, expected, strict=True):
        if got is None or wanted is None:
            if got is not wanted:
                return False
        elif not np.allclose(got, wanted, atol=TOLERANCE * max(1, abs(wanted).max())):
            return False
    return True


def moved(before: State | None, after: State | None) -> bool:
    """Whether the moving variance changed."""
    assert before is not None
    assert before.moving_variance is not None
    assert after is not None
    assert after.moving_variance is not None
    return not np.array_equal(before.moving_variance, after.moving_variance)


@pytest.mark.parametrize("target", list(placed()))
def test_a_system_follows_the_reference_and_updates_when_it_says(target: Target, session: Session) -> None:
    """Steps and gradients are the reference's; the statistics move with each step, and not without its update."""
    capabilities = session.description.capabilities
    spec = spec_of(capabilities)
    x, dy, other = arrays(spec, 3)
    inferring = dy if capabilities.inference_gradients else None
    calls = [Call("train", x=x, dy=dy), Call("infer", x=other, dy=inferring)]
    if capabilities.separate_update:
        calls += [Call("train", x=x, dy=dy, update=False), Call("apply_updates")]
    trace = run(session, spec, *calls)
    reference = NumpyReference().build(spec, start(spec))
    assert same(trace.steps[0].step, reference.train(x, dy))
    after = trace.steps[0].state
    assert after is not None
    reference.set_state(after)
    assert same(trace.steps[1].step, reference.infer(other, inferring))
    states = [start(spec), *(step.state for step in trace.steps)]
    assert [moved(a, b) for a, b in itertools.pairwise(states)] == [True, False, False, True][: len(calls)]


@pytest.mark.parametrize("target", [p for p in placed() if "tf_graph.layers_fused" in str(p)])
def test_the_fused_layer_takes_the_fused_op_or_is_refused(session: Session) -> None:
    """No case is answered by the ops that the layer takes for other axes: they are another system."""
    taken = []
    for axis in range(4):
        spec = Spec((None,) * axis + (3,) + (None,) * (3 - axis), (axis,), 1e-3, 0.75)
        trace = session.run(Program(spec, (start(spec),), (Call("infer", x=arrays(spec, 1)[0]),)))
        if trace.failure is None:
            assert trace.conventions is not None
            assert trace.conventions.moving_variance == "unbiased"
            taken.append(axis)
        else:
            assert trace.failure.kind == "unsupported", trace.failure
    assert taken[-1:] == [3]
    assert set(taken) <= {1, 3}
