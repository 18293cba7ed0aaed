"""Tests of the framework adapters against a plain float64 computation, and of the registry that lists them."""

import gc
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from adapters.common import FreeList
from adapters.interface import BatchNormAdapter, Execution, Layer, Spec, State, Step, Unsupported
from adapters.registry import GROUPS, REGISTRY, Entry, expand
from conformance.capability import refusal

SHAPES = {
    "nc": ((None, 4), (-1,)),
    "cn": ((4, None), (0,)),
    "nlc": ((None, None, 3), (2,)),
    "ncl": ((None, 3, None), (1,)),
    "nhwc": ((None, None, None, 5), (-1,)),
    "nchw": ((None, 5, None, None), (-3,)),
    "ndhwc": ((None, None, None, None, 2), (4,)),
    "ncdhw": ((None, 2, None, None, None), (1,)),
    "fixed": ((6, 3, 2, 5), (2,)),
}
EXTENTS = (7, 3, 4, 2, 3)
#: The first of these that an adapter declares is the one for tests that are not about shapes.
SPECS = tuple(
    Spec(shape, axis, 1e-3, 0.75)
    for shape, axis in (((None, 3), (1,)), ((None, None, None, 3), (3,)), ((None, 2, 2, 3), (1, 2, 3)))
)


class Expected(NamedTuple):
    """What a step should give, in float64."""

    step: Step
    moving_mean: Any
    moving_variance: Any


def expected(
    adapter: BatchNormAdapter, spec: Spec, state: State, x: np.ndarray, dy: np.ndarray, training: bool
) -> Expected:
    """Compute a step in float64 by the textbook's formulas, in the adapter's declared conventions."""
    conventions = adapter.conventions(spec)
    axes, m = spec.reduction_axes, x.size // int(np.prod(spec.parameter_shape))
    wide = [1 if a in axes else n for a, n in enumerate(x.shape)]
    x, dy = x.astype("f8"), dy.astype("f8")
    gamma, beta, moving_mean, moving_variance = (
        np.full(wide, default, "f8") if a is None else a.astype("f8").reshape(wide)
        for a, default in zip(state[:4], (1, 0, 0, 1), strict=True)
    )
    mean, variance = (
        (x.mean(axes, keepdims=True), x.var(axes, keepdims=True)) if training else (moving_mean, moving_variance)
    )
    r = 1 / np.sqrt(variance + max(spec.epsilon, conventions.epsilon_floor))
    x_hat = (x - mean) * r
    dgamma, dbeta = (dy * x_hat).sum(axes, keepdims=True), dy.sum(axes, keepdims=True)
    dx = gamma * r * (dy - (dbeta + x_hat * dgamma) / m if training else dy)
    if training:
        estimate = variance * (m / max(m - 1, 1) if conventions.moving_variance == "unbiased" else 1)
        moving_mean = spec.decay * moving_mean + (1 - spec.decay) * mean
        moving_variance = spec.decay * moving_variance + (1 - spec.decay) * estimate
    shape = spec.parameter_shape
    step = Step(
        gamma * x_hat + beta,
        dx,
        dgamma.reshape(shape) if spec.scale else None,
        dbeta.reshape(shape) if spec.center else None,
    )
    return Expected(step, moving_mean.reshape(shape), moving_variance.reshape(shape))


def aligned(values: Any, dtype: str) -> np.ndarray:
    """Return an array at a multiple of 64 bytes: such arrays TensorFlow borrows, others it copies."""
    values = np.asarray(values, dtype)
    memory = np.empty(values.nbytes + 64, "u1")
    start = -memory.ctypes.data % 64
    array = memory[start : start + values.nbytes].view(dtype).reshape(values.shape)
    array[...] = values
    return array


def make_state(spec: Spec, seed: int = 1) -> State:
    """Return random start values for all that the layer has."""
    rng = np.random.default_rng(seed)
    shape, dtype = spec.parameter_shape, spec.dtype
    gamma, beta, mean = (aligned(rng.normal(size=shape), dtype) for _ in range(3))
    variance = aligned(rng.uniform(0.5, 2, size=shape), dtype)
    return State(gamma if spec.scale else None, beta if spec.center else None, mean, variance)


def make_data(spec: Spec, batch: int = 7, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return an input and an upstream gradient; free extents are filled in, the first with the batch size."""
    rng = np.random.default_rng(seed)
    free = iter((batch, *EXTENTS[1:]))
    shape = [next(free) if n is None else n for n in spec.shape]
    return aligned(rng.normal(0.5, 2, size=shape), spec.dtype), aligned(rng.normal(size=shape), spec.dtype)


def assert_step(actual: Step, wanted: Step, dtype: str = "float32") -> None:
    """Compare all fields: same presence, shape and dtype, values within a loose tolerance."""
    for name, value, target in zip(Step._fields, actual, wanted, strict=True):
        assert (value is None) == (target is None), name
        if value is not None:
            assert value.dtype == dtype, name
            assert_close(value, target, name)


def assert_close(actual: Any, wanted: Any, name: str = "") -> None:
    """Compare shapes and values, as closely as the dtype allows without counting roundings."""
    assert actual.shape == wanted.shape, name
    tolerance = 1e-11 if actual.dtype == "float64" else 2e-5
    np.testing.assert_allclose(
        actual, wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max()), err_msg=name
    )


@pytest.fixture(params=REGISTRY, ids=lambda entry: entry.name, scope="module")
def adapter(request: pytest.FixtureRequest) -> BatchNormAdapter:
    """Every adapter of the registry whose framework is installed here."""
    entry: Entry = request.param
    if importlib.util.find_spec(entry.module) is None:
        pytest.skip(f"no run: {entry.module} is not installed, so {entry.name} was NOT tested")
    if entry.needs:
        pytest.skip("Keras has one backend per process: the others are tested in tests/test_backends.py")
    module, name = entry.target.split(":")
    made = getattr(importlib.import_module(module), name)()
    assert isinstance(made, BatchNormAdapter)
    return made


@pytest.fixture
def spec(adapter: BatchNormAdapter) -> Spec:
    """A plain spec that the adapter declares."""
    capabilities = adapter.describe().capabilities
    return next(spec for spec in SPECS if not refusal(spec, capabilities))


def build(adapter: BatchNormAdapter, spec: Spec, state: State) -> Layer:
    """Build a layer; a spec that is not declared must be refused, and the rest of the test does not apply to it."""
    why = refusal(spec, adapter.describe().capabilities)
    if why:
        skip_reference(adapter)
        with pytest.raises(Unsupported):
            adapter.build(spec, state)
        pytest.skip(f"refused: it {why}")
    return adapter.build(spec, state)


def skip_reference(adapter: BatchNormAdapter) -> None:
    """The NumPy reference takes what it does not declare, because the suite's own oracle and faults build on it."""
    if adapter.describe().framework == "numpy":
        pytest.skip("the reference is not held to this")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_dy", [False, True], ids=["forward", "gradients"])
def test_training(adapter: BatchNormAdapter, spec: Spec, shape: str, with_dy: bool) -> None:
    """Output, gradients and moving statistics of training steps are right in every rank and channel position."""
    spec = spec._replace(shape=SHAPES[shape][0], axis=SHAPES[shape][1])
    state = make_state(spec)
    layer = build(adapter, spec, state)
    for seed in (3, 4):
        x, dy = make_data(spec, seed=seed)
        wanted = expected(adapter, spec, state, x, dy, training=True)
        assert_step(layer.train(x, dy if with_dy else None), wanted.step if with_dy else Step(wanted.step.y))
        state = layer.state()
        assert_close(state.moving_mean, wanted.moving_mean, "moving_mean")
        assert_close(state.moving_variance, wanted.moving_variance, "moving_variance")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_dy", [False, True], ids=["forward", "gradients"])
def test_inference(adapter: BatchNormAdapter, spec: Spec, shape: str, with_dy: bool) -> None:
    """Output and gradients of inference follow from the moving statistics, and no bit of the state changes."""
    spec = spec._replace(shape=SHAPES[shape][0], axis=SHAPES[shape][1])
    state = make_state(spec)
    layer = build(adapter, spec, state)
    x, dy = make_data(spec)
    wanted = expected(adapter, spec, state, x, dy, training=False)
    assert_step(layer.infer(x, dy if with_dy else None), wanted.step if with_dy else Step(wanted.step.y))
    for before, after in zip(state[:4], layer.state()[:4], strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("axis", [(1, 3), (-1, 1), (0,), (0, 2, 3)], ids=str)
def test_several_axes(adapter: BatchNormAdapter, spec: Spec, axis: tuple[int, ...]) -> None:
    """Several channel axes work where declared, parameters in the sorted axes' shape; elsewhere they are refused."""
    spec = spec._replace(shape=(3, 4, 5, 2), axis=axis)
    state = make_state(spec)
    x, dy = make_data(spec)
    layer = build(adapter, spec, state)
    assert_step(layer.train(x, dy), expected(adapter, spec, state, x, dy, training=True).step)
    state = layer.state()
    assert_step(layer.infer(x, dy), expected(adapter, spec, state, x, dy, training=False).step)


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("rank", [2, 4])
def test_flags(adapter: BatchNormAdapter, center: bool, scale: bool, rank: int) -> None:
    """Without center or scale there is no beta or gamma, no gradient of it, and the rest is right in both modes."""
    spec = Spec((None,) * (rank - 1) + (3,), (-1,), 1e-2, 0.5, center=center, scale=scale)
    state = make_state(spec)
    layer = build(adapter, spec, state)
    x, dy = make_data(spec)
    assert_step(layer.train(x, dy), expected(adapter, spec, state, x, dy, training=True).step)
    state = layer.state()
    assert (state.gamma is not None, state.beta is not None) == (scale, center)
    assert_step(layer.infer(x, dy), expected(adapter, spec, state, x, dy, training=False).step)


def test_float64(adapter: BatchNormAdapter, spec: Spec) -> None:
    """Where float64 is declared, results and state are float64 and accurate to it; elsewhere it is refused."""
    spec = spec._replace(dtype="float64", decay=0.9)
    state = make_state(spec)
    layer = build(adapter, spec, state)
    x, dy = make_data(spec)
    wanted = expected(adapter, spec, state, x, dy, training=True)
    assert_step(layer.train(x, dy), wanted.step, "float64")
    assert_close(layer.state().moving_mean, wanted.moving_mean)
    assert_close(layer.state().moving_variance, wanted.moving_variance)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("epsilon", [1e-7, 1.0])
def test_decay_and_epsilon(adapter: BatchNormAdapter, spec: Spec, decay: float, epsilon: float) -> None:
    """The ends of the range of decay, a tiny epsilon and a large one are taken as they are."""
    spec = spec._replace(decay=decay, epsilon=epsilon)
    state = make_state(spec)
    layer = build(adapter, spec, state)
    x, dy = make_data(spec)
    x *= np.float32(1e-2)
    wanted = expected(adapter, spec, state, x, dy, training=True)
    assert_step(layer.train(x, dy), wanted.step)
    assert_close(layer.state().moving_variance, wanted.moving_variance)


def test_changing_batch_size(adapter: BatchNormAdapter, spec: Spec) -> None:
    """One layer takes batches of any size, one after the other, in both modes."""
    spec = spec._replace(shape=(None, None, 3))
    spec = spec._replace(axis=(2,))
    layer = build(adapter, spec, make_state(spec))
    for batch in (5, 1, 9, 2):
        x, dy = make_data(spec, batch)
        state = layer.state()
        assert_step(layer.infer(x, dy), expected(adapter, spec, state, x, dy, training=False).step)
        assert_step(layer.train(x, dy), expected(adapter, spec, state, x, dy, training=True).step)


def test_layers_are_separate(adapter: BatchNormAdapter, spec: Spec) -> None:
    """Two live layers of one spec have nothing in common: training one leaves the other's state alone."""
    first, second = (build(adapter, spec, make_state(spec, seed)) for seed in (5, 6))
    first.train(*make_data(spec))
    for before, after in zip(make_state(spec, 6)[:4], second.state()[:4], strict=True):
        np.testing.assert_array_equal(before, after)


def test_new_layer_forgets(adapter: BatchNormAdapter, spec: Spec) -> None:
    """A layer built after another of its spec is gone remembers nothing of it, even where the state gives no values."""
    skip_reference(adapter)
    layer = build(adapter, spec, make_state(spec))
    layer.train(*make_data(spec))
    del layer
    gc.collect()
    state = build(adapter, spec, State()).state()
    for value, wanted in zip(state[:4], (1, 0, 0, 1), strict=True):
        np.testing.assert_array_equal(value, np.full(spec.parameter_shape, wanted, "f4"))


def test_state_is_a_copy(adapter: BatchNormAdapter, spec: Spec) -> None:
    """Neither the arrays given to build and set_state nor those that state returned are tied to the layer."""
    given = make_state(spec)
    layer = build(adapter, spec, given)
    _spoil(given)
    _spoil(layer.state())
    assert_state(layer, make_state(spec))
    other = make_state(spec, 7)
    layer.set_state(other)
    _spoil(other)
    taken = layer.state()
    layer.train(*make_data(spec))
    assert_close(taken.moving_mean, make_state(spec, 7).moving_mean)
    layer.set_state(State(beta=np.zeros(spec.parameter_shape, "f4")))
    layer.set_state(taken._replace(beta=None))
    assert_state(layer, make_state(spec, 7)._replace(beta=np.zeros(spec.parameter_shape, "f4")))


def _spoil(state: State) -> None:
    for array in state[:4]:
        if array is not None:
            array.fill(99)


def assert_state(layer: Layer, wanted: State) -> None:
    """The four arrays of the layer's state are exactly these."""
    for name, value, target in zip(State._fields[:4], layer.state()[:4], wanted[:4], strict=True):
        np.testing.assert_array_equal(value, target, err_msg=name)


@pytest.mark.parametrize("training", [True, False], ids=["train", "infer"])
@pytest.mark.parametrize("shape", ["nc", "nchw"])
def test_arguments_and_results_stay(adapter: BatchNormAdapter, spec: Spec, training: bool, shape: str) -> None:
    """Arguments keep their values, and results keep theirs when arguments, results or the layer change later."""
    spec = spec._replace(shape=SHAPES[shape][0], axis=SHAPES[shape][1])
    layer = build(adapter, spec, make_state(spec))
    x, dy = make_data(spec)
    call = layer.train if training else layer.infer
    results = [a for a in (*call(x, dy), call(x).y) if a is not None]
    np.testing.assert_array_equal(x, make_data(spec)[0])
    np.testing.assert_array_equal(dy, make_data(spec)[1])
    before = [a.copy() for a in results]
    x.fill(99)
    dy.fill(99)
    layer.train(*make_data(spec, seed=8))
    layer.set_state(make_state(spec, 9))
    for was, now in zip(before, results, strict=True):
        np.testing.assert_array_equal(was, now)
        now.fill(99)
    assert_state(layer, make_state(spec, 9))


@pytest.mark.parametrize("with_dy", [False, True], ids=["forward", "gradients"])
def test_one_update_per_training_step(adapter: BatchNormAdapter, spec: Spec, with_dy: bool) -> None:
    """A training step updates the moving statistics once, not more and not less, whether gradients are asked or not."""
    spec = spec._replace(decay=0.5)
    layer = build(adapter, spec, make_state(spec)._replace(moving_mean=np.zeros(spec.parameter_shape, "f4")))
    x, dy = (np.full_like(a, value) for a, value in zip(make_data(spec, 4), (8, 1), strict=True))
    for mean in (4, 6, 7):
        layer.train(x, dy if with_dy else None)
        np.testing.assert_array_equal(layer.state().moving_mean, np.full(spec.parameter_shape, mean, "f4"))


def test_separate_update(adapter: BatchNormAdapter, spec: Spec) -> None:
    """Where the update is an act of its own it can be left out and made up for; elsewhere leaving it out is refused."""
    layer = build(adapter, spec, make_state(spec))
    x, dy = make_data(spec)
    separate = adapter.describe().capabilities.separate_update
    assert (adapter.conventions(spec).update_timing == "separate") == separate
    if not separate:
        with pytest.raises(Unsupported):
            layer.apply_updates()
        skip_reference(adapter)
        with pytest.raises(Unsupported):
            layer.train(x, dy, update=False)
        return
    wanted = expected(adapter, spec, make_state(spec), x, dy, training=True)
    assert_step(layer.train(x, dy, update=False), wanted.step)
    assert_state(layer, make_state(spec))
    x.fill(99)
    layer.apply_updates()
    assert_close(layer.state().moving_mean, wanted.moving_mean)
    assert_close(layer.state().moving_variance, wanted.moving_variance)
    with pytest.raises(ValueError, match="undone"):
        layer.apply_updates()


@pytest.mark.parametrize("training", [True, False], ids=["train", "infer"])
def test_tape(adapter: BatchNormAdapter, spec: Spec, training: bool) -> None:
    """A tape, where declared, gives right gradients late, twice and with other dy, after other tapes of the layer."""
    spec = spec._replace(shape=(None, 3, None), axis=(1,))
    state = make_state(spec)
    layer = build(adapter, spec, state)
    x, dy = make_data(spec)
    if not adapter.describe().capabilities.tape:
        with pytest.raises(Unsupported):
            layer.tape(x, training)
        return
    tape = layer.tape(x, training)
    wanted = expected(adapter, spec, state, x, dy, training)
    assert_close(layer.state().moving_mean, wanted.moving_mean)
    x.fill(99)
    other = make_data(spec, seed=8)
    layer.tape(other[0], training).backward(other[1])
    assert_close(tape.y, wanted.step.y)
    for scale in (1, 1, -2):
        scaled = expected(adapter, spec, state, make_data(spec)[0], scale * dy, training)
        assert_step(tape.backward(scale * dy), scaled.step)


@pytest.mark.parametrize("scale", [True, False], ids=["gamma", "no gamma"])
@pytest.mark.parametrize("shape", ["nc", "nhwc", "nchw"])
def test_second_order(adapter: BatchNormAdapter, spec: Spec, scale: bool, shape: str) -> None:
    """Second-order gradients, where declared, are the finite differences of dx; they update nothing."""
    spec = spec._replace(shape=SHAPES[shape][0], axis=SHAPES[shape][1], scale=scale, epsilon=0.1)
    state = make_state(spec)
    layer = build(adapter, spec, state)
    (x, dy), v = make_data(spec, 4), make_data(spec, 4, seed=11)[1]
    if not adapter.describe().capabilities.second_order:
        with pytest.raises(Unsupported):
            layer.second_order(x, dy, v)
        return

    def inner(x: np.ndarray, dy: np.ndarray, gamma: np.ndarray | None) -> float:
        dx = expected(adapter, spec, state._replace(gamma=gamma), x, dy, training=True).step.dx
        assert dx is not None
        return float((v.astype("f8") * dx).sum())

    arguments = [None if a is None else a.astype("f8") for a in (x, dy, state.gamma)]
    found = layer.second_order(x, dy, v)
    assert_state(layer, state)
    for position, (value, argument) in enumerate(zip(found, arguments, strict=True)):
        assert (value is None) == (argument is None)
        if value is None or argument is None:
            continue
        difference = value - _finite_difference(inner, arguments, position)
        if position == 0 and uses_moments(adapter):
            assert np.abs(difference).max() > 1e-3, "tf.nn.moments is repaired: drop uses_moments"
            difference -= difference.mean(spec.reduction_axes, keepdims=True)
        np.testing.assert_allclose(difference, 0, atol=2e-5)


def uses_moments(adapter: BatchNormAdapter) -> bool:
    """Whether dx is differentiated through tf.nn.moments: its stop_gradient on the mean loses a term of d2/dx2.

    The first gradient does not notice, because the derivative of the variance by the mean is zero; the second one is
    off by the same amount in all elements of a channel.
    """
    framework, fused = adapter.describe().framework, type(adapter).__name__ == "FusedBatchNorm"
    return framework == "keras" or (framework == "tensorflow" and not fused)


def _finite_difference(function: Any, arguments: list[Any], position: int, h: float = 1e-5) -> np.ndarray:
    argument = arguments[position]
    result: np.ndarray = np.empty_like(argument)
    for index in np.ndindex(*argument.shape):
        values = []
        for step in (h, -h):
            changed = argument.copy()
            changed[index] += step
            values.append(function(*arguments[:position], changed, *arguments[position + 1 :]))
        result[index] = (values[0] - values[1]) / (2 * h)
    return result


@pytest.mark.parametrize("shape", ["nc", "nhwc"])
def test_save(adapter: BatchNormAdapter, spec: Spec, tmp_path: Path, shape: str) -> None:
    """A saved layer, where declared, comes back with its whole state and goes on as the first one does."""
    spec = spec._replace(shape=SHAPES[shape][0], axis=SHAPES[shape][1])
    layer = build(adapter, spec, make_state(spec))
    layer.train(*make_data(spec))
    path = str(tmp_path / "layer")
    if not adapter.describe().capabilities.save:
        with pytest.raises(Unsupported):
            layer.save(path)
        return
    layer.save(path)
    restored = adapter.restore(spec, path)
    assert_state(restored, layer.state())
    np.testing.assert_equal(dict(restored.state().extra), dict(layer.state().extra))
    x, dy = make_data(spec, 3, seed=8)
    for one, two in zip(layer.train(x, dy), restored.train(x, dy), strict=True):
        np.testing.assert_array_equal(one, two)
    assert_state(restored, layer.state())


def test_single_element(adapter: BatchNormAdapter, spec: Spec) -> None:
    """With one element per channel, training does what is declared: y = beta and a known variance, or a refusal."""
    state = make_state(spec)
    layer = build(adapter, spec, state)
    conventions = adapter.conventions(spec)
    assert state.beta is not None
    assert state.moving_variance is not None
    x = np.ones([1] * (spec.rank - len(spec.axis)) + list(spec.parameter_shape), "f4")
    if conventions.single == "refused":
        with pytest.raises(Unsupported, match="more than 1 value per channel"):
            layer.train(x)
        return
    step = layer.train(x, x)
    assert_close(step.y.reshape(spec.parameter_shape), state.beta)
    np.testing.assert_array_equal(step.dx, np.zeros_like(x))
    single = {"zero": 0.75 * state.moving_variance, "nan": np.full(spec.parameter_shape, np.nan)}
    assert_close(layer.state().moving_variance, single[conventions.moving_variance_single])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_empty_batch(adapter: BatchNormAdapter, spec: Spec) -> None:
    """With an empty batch, training gives an empty y and does to the moving statistics what is declared."""
    layer = build(adapter, spec, make_state(spec))
    x = make_data(spec)[0][:0]
    assert layer.train(x).y.shape == x.shape
    wanted = {"nan": np.full(spec.parameter_shape, np.nan, "f4"), "unchanged": make_state(spec).moving_mean}
    np.testing.assert_array_equal(layer.state().moving_mean, wanted[adapter.conventions(spec).empty])


@pytest.mark.parametrize(
    "change", [{"execution": Execution("xla")}, {"execution": Execution(device="tpu")}, {"dtype": "complex64"}], ids=str
)
def test_undeclared_is_refused(adapter: BatchNormAdapter, spec: Spec, change: dict[str, Any]) -> None:
    """An execution mode, device or dtype that is not declared is refused, never silently replaced."""
    skip_reference(adapter)
    with pytest.raises(Unsupported):
        adapter.build(spec._replace(**change), State())


def test_description(adapter: BatchNormAdapter) -> None:
    """A description names framework, version and device, and says where the adapter transposes."""
    description = adapter.describe()
    assert description.framework
    assert description.version[0].isdigit()
    assert description.device == "cpu"
    if description.capabilities.transposes:
        assert any("channel" in note or "axis" in note for note in description.notes)


def test_graphs_are_built_once_for_layers_that_live_together() -> None:
    """Two layers of one spec, its axis counted from either end, have one graph, values of their own, and twins end."""
    pytest.importorskip("tensorflow")
    from adapters.tf_graph import GraphLayer, NNBatchNorm

    adapter, spec = NNBatchNorm(), Spec((None, 3), (-1,), 1e-3, 0.5)
    state = make_state(spec)
    layers = [adapter.build(spec._replace(axis=(axis,)), state) for axis in (-1, 1)]
    assert all(isinstance(layer, GraphLayer) for layer in layers)
    one, other = [layer.graph for layer in layers if isinstance(layer, GraphLayer)]
    assert one.graph is other.graph
    assert one.session is not other.session
    x, dy = make_data(spec)

    def means() -> list[str]:
        return [repr(layer.state().moving_mean) for layer in layers]

    layers[0].train(x, dy)
    trained, untouched = means()
    assert trained != untouched == repr(state.moving_mean)
    size = len(one.graph.get_operations())
    layers[1].train(x, dy)
    assert means() == [trained, trained]
    assert len(one.graph.get_operations()) == size


def test_torch_counter(adapter: BatchNormAdapter, spec: Spec) -> None:
    """The batch counter of torch is part of the state: read, written, and counting training steps."""
    if adapter.describe().framework != "torch":
        pytest.skip("only torch counts batches")
    layer = build(adapter, spec, make_state(spec)._replace(extra={"num_batches_tracked": np.array(5)}))
    layer.train(*make_data(spec))
    assert layer.state().extra["num_batches_tracked"] == 6


def test_registry_imports_no_framework() -> None:
    """Listing the registry and expanding its names imports neither NumPy's adapters nor any framework."""
    code = (
        "import sys; from adapters.registry import REGISTRY, expand; [expand(e.name) for e in REGISTRY]; "
        "print([m for m in ('torch', 'tensorflow', 'keras', 'numpy', 'adapters.torch_module') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_registry_names() -> None:
    """Names are unique, a group stands for its members in order, a name for itself, and anything else is a KeyError."""
    names = [entry.name for entry in REGISTRY]
    assert len(set(names)) == len(names)
    assert [entry.name for entry in expand("tf_graph")] == ["tf_graph.nn", "tf_graph.fused"]
    assert all(expand(entry.name) == (entry,) for entry in REGISTRY)
    assert not set(GROUPS) & set(names)
    with pytest.raises(KeyError):
        expand("tensorflaw")


def test_free_list() -> None:
    """A lent thing comes back when its owner is gone, goes to one owner only, and the list stays within its size."""

    class Owner:
        pass

    idle = FreeList(size=2)
    assert idle.take("a") is None
    owners = {name: Owner() for name in ("old", "new", "newest")}
    for name, owner in owners.items():
        idle.lend(owner, name, name + "'s")
    del owner
    assert idle.take("old") is None
    for name in tuple(owners):
        del owners[name]
    assert [idle.take(name) for name in ("old", "new", "new", "newest")] == [None, "new's", None, "newest's"]
