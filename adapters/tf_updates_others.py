"""When the moving statistics of ``tf.layers``, the wrapper and the EMA helper change: claims, tried in users' words."""

from typing import Any, Tuple

import numpy as np

from adapters.tf_base import v1
from adapters.tf_claims import DECAY, ONCE, START, TWICE, LayersModel, X, claim, layers, moving


@claim("layers")
def layers_on_train_step() -> bool:
    """UPDATE_OPS hung on the train step change the statistics once per step."""
    model = LayersModel()
    with v1.control_dependencies(model.updates):
        step = model.minimize(model.loss)
    model.begin()
    model.run(model.loss)
    before = model.are(START)
    model.run(step)
    return before and model.are(ONCE)


def two_models() -> Tuple[Any, Any, Any]:
    """Two models in one graph, in scopes of which one is the beginning of the other."""
    x, phase = v1.placeholder("float32", [None, 2]), v1.placeholder("bool", [])
    for scope in ("bn", "bn2"):
        with v1.variable_scope(scope):
            layers(x, phase, name="layer")
    return x, phase, v1.Session()


def trained(scope: str) -> Tuple[Any, Any]:
    """The statistics of both models after a step of one."""
    x, phase, session = two_models()
    group = v1.group(*v1.get_collection(v1.GraphKeys.UPDATE_OPS, scope=scope))
    session.run(v1.global_variables_initializer())
    session.run(group, {x: X, phase: True})
    return moving(session, "bn/"), moving(session, "bn2/")


@claim("layers")
def scoped() -> bool:
    """With get_collection(UPDATE_OPS, scope) training one model never moves another's statistics."""
    mine, theirs = trained("bn/")
    return np.allclose(mine, ONCE) and np.allclose(theirs, START)


@claim("layers")
def prefix() -> bool:
    """The scope is a prefix: "bn" also matches "bn2"."""
    mine, theirs = trained("bn")
    return np.allclose(mine, ONCE) and np.allclose(theirs, ONCE)


@claim("wrapper")
def wrapper_evaluation() -> bool:
    """Evaluating through the training graph moves the population statistics each time."""
    x = v1.placeholder("float32", [None, 2])
    mean, variance = (v1.Variable(np.full(2, value, np.float32), trainable=False) for value in (0, 1))
    batch_mean, batch_variance = v1.nn.moments(x, [0])
    assigned = [
        v1.assign(old, old * DECAY + new * (1 - DECAY)) for old, new in ((mean, batch_mean), (variance, batch_variance))
    ]
    with v1.control_dependencies(assigned):
        y = v1.nn.batch_normalization(x, batch_mean, batch_variance, None, None, 1e-3)
    accuracy = v1.reduce_mean(y)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        session.run(accuracy, {x: X})
        once = np.allclose(session.run([mean, variance]), ONCE)
        session.run(accuracy, {x: X})
        return once and np.allclose(session.run([mean, variance]), TWICE)


@claim("ema")
def assigner() -> bool:
    """The averages change only when the assigner runs, once for each time."""
    x = v1.placeholder("float32", [None, 2])
    mean, variance = (v1.Variable(np.full(2, value, np.float32), trainable=False) for value in (0, 1))
    average = v1.train.ExponentialMovingAverage(DECAY)
    run_assigner = average.apply([mean, variance])
    batch_mean, batch_variance = v1.nn.moments(x, [0])
    with v1.control_dependencies([v1.assign(mean, batch_mean), v1.assign(variance, batch_variance)]):
        y = v1.nn.batch_normalization(x, batch_mean, batch_variance, None, None, 1e-3)
    averages = [average.average(mean), average.average(variance)]
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        session.run(y, {x: X})
        before = np.allclose(session.run(averages), START)
        session.run(run_assigner)
        return before and np.allclose(session.run(averages), ONCE)
