"""When the moving statistics of ``tf.contrib.layers.batch_norm`` change: claims, tried in its users' own words."""

import tempfile
from typing import Any, Tuple

import numpy as np

from adapters.tf_base import tf, v1
from adapters.tf_claims import ONCE, START, TWICE, Missing, Model, X, claim, contrib, moving


@claim("contrib")
def not_run() -> bool:
    """With UPDATE_OPS not run, the moving statistics stay at their start."""
    model = Model()
    step = model.minimize(model.loss)
    model.begin()
    model.run([model.y, model.loss, step])
    return model.are(START)


@claim("contrib")
def on_train_step() -> bool:
    """Hung on the train step, they change once per step."""
    model = Model()
    with v1.control_dependencies(model.updates):
        step = model.minimize(model.loss)
    model.begin()
    model.run(step)
    once = model.are(ONCE)
    model.run(step)
    return once and model.are(TWICE)


@claim("contrib")
def placeholder_false() -> bool:
    """With the placeholder False they never change, even when the train step runs."""
    model = Model()
    with v1.control_dependencies(model.updates):
        step = model.minimize(model.loss)
    model.begin()
    model.run([step, model.y], training=False)
    return model.are(START)


@claim("contrib")
def loss_beside_train_step() -> bool:
    """Hung on the train step, computing the loss never updates."""
    model = Model()
    with v1.control_dependencies(model.updates):
        model.minimize(model.loss)
    model.begin()
    model.run([model.loss, model.y])
    return model.are(START)


@claim("contrib")
def on_total_loss() -> bool:
    """Hung on the total loss, computing it with the placeholder True updates, with False it does not."""
    model = Model()
    with v1.control_dependencies(model.updates):
        total = v1.identity(model.loss)
    model.begin()
    model.run(total, training=False)
    before = model.are(START)
    model.run(total)
    return before and model.are(ONCE)


@claim("contrib")
def minimized_total_loss() -> bool:
    """Hung on the total loss, minimizing it does not update unless it is computed, too: gradients do not need it."""
    model = Model()
    with v1.control_dependencies(model.updates):
        total = v1.identity(model.loss)
    step = model.minimize(total)
    model.begin()
    model.run(step)
    return model.are(START)


@claim("contrib")
def in_place() -> bool:
    """With updates_collections=None, computing the output with the placeholder True updates, with False not."""
    model = Model(updates_collections=None).begin()
    model.run(model.y, training=False)
    before = model.are(START)
    model.run(model.y)
    return before and model.are(ONCE)


@claim("contrib")
def made_outside() -> bool:
    """An op made outside of control_dependencies is not affected by it, one made inside is."""
    model = Model()
    with v1.control_dependencies(model.updates):
        same, inside = model.loss, v1.identity(model.loss)
    model.begin()
    model.run(same)
    before = model.are(START)
    model.run(inside)
    return before and model.are(ONCE)


@claim("contrib")
def trainable() -> bool:
    """Exactly gamma and beta are trainable, and the optimizer moves nothing else."""
    model = Model()
    step = model.minimize(model.loss)
    model.begin()
    before = model.session.run(v1.global_variables())
    model.run(step)
    after = model.session.run(v1.global_variables())
    names = [v.op.name for v in v1.global_variables()]
    moved = {name for name, a, b in zip(names, before, after) if not np.array_equal(a, b)}
    return moved == {v.op.name for v in v1.trainable_variables()} == {"bn/gamma", "bn/beta"}


@claim("contrib")
def checkpoints() -> bool:
    """A checkpoint of all variables keeps the moving statistics, one of the trainable ones loses them."""
    model = Model()
    group = v1.group(*model.updates)
    model.begin()
    model.run(group)
    found = []
    for kept in (v1.global_variables(), v1.trainable_variables()):
        with tempfile.TemporaryDirectory() as folder:
            path = v1.train.Saver(kept).save(model.session, folder + "/model", write_meta_graph=False)
            with v1.Session() as other:
                other.run(v1.global_variables_initializer())
                v1.train.Saver(kept).restore(other, path)
                found.append(moving(other))
    return np.allclose(found[0], ONCE) and np.allclose(found[1], START)


def two_streams(second: float) -> Tuple[Any, Any, Any, Any]:
    """One layer on x and on a multiple of it: the model, its second output, and update ops."""
    model = Model()
    other = contrib(model.x * second, is_training=model.phase, scope="bn", reuse=True)
    return model, other, v1.get_collection(v1.GraphKeys.UPDATE_OPS), v1.trainable_variables()


@claim("contrib")
def two_streams_update_twice() -> bool:
    """One layer on two streams updates twice: one after the other, or both from the value before."""
    # Which of the three is left undefined, and may be another one for each channel and statistic.
    model, _, updates, _ = two_streams(3.0)
    group = v1.group(*updates)
    model.begin()
    model.run(group)
    mean = np.array(model.statistics()[0])
    first, second = X.mean(axis=0), 3 * X.mean(axis=0)
    # From 0, with a weight of 1/2 for the new value; both updates may have read the old one before either wrote.
    results = [first / 4 + second / 2, second / 4 + first / 2, first / 2 + second / 2]
    return any(np.allclose(mean, result) for result in results)


@claim("contrib")
def two_streams_sum_gradients() -> bool:
    """One layer on two streams before one backward pass sums its gradients."""
    model, other, _, parameters = two_streams(3.0)
    losses = [model.loss, v1.reduce_sum(v1.square(other) * model.x)]
    together = v1.gradients(losses[0] + losses[1], parameters)
    alone = [v1.gradients(loss, parameters) for loss in losses]
    model.begin()
    together, alone = model.run(together), model.run(alone)
    return all(np.allclose(t, a + b, rtol=1e-4, atol=1e-4) for t, a, b in zip(together, alone[0], alone[1]))


@claim("contrib")
def zero_debiased() -> bool:
    """With zero_debias_moving_mean=True the first step makes the moving mean the batch's, whatever was set before."""
    try:
        model = Model(zero_debias_moving_mean=True)
    except TypeError as error:
        raise Missing("no zero_debias_moving_mean") from error
    group = v1.group(*model.updates)
    (mean,) = [variable for variable in v1.global_variables() if variable.op.name == "bn/moving_mean"]
    set_mean = mean.assign([100.0, 200.0])
    model.begin()
    model.session.run(set_mean)
    model.run(group)
    return np.allclose(model.session.run(mean), X.mean(axis=0))


def cond(**options: Any) -> Model:
    """The wrapper with two branches."""

    class Wrapped(Model):
        def layer(self, **_: Any) -> Any:
            def branch(training: bool) -> Any:
                reuse = None if training else True
                return contrib(self.x, is_training=training, scope="bn", reuse=reuse, **options)

            return v1.cond(self.phase, lambda: branch(True), lambda: branch(False))

    return Wrapped()


@claim("contrib_cond")
def cond_in_place() -> bool:
    """With updates_collections=None the wrapper with two branches updates in training alone."""
    model = cond(updates_collections=None).begin()
    model.run(model.y, training=False)
    before = model.are(START)
    model.run(model.y)
    return before and model.are(ONCE)


@claim("contrib_cond")
def cond_fetched() -> bool:
    """Its collected updates cannot be fetched: they are inside of tf.cond."""
    model = cond().begin()
    try:
        model.run(model.updates)
    except (ValueError, TypeError) as error:
        return "not fetchable" in str(error)
    return False


@claim("contrib_cond")
def cond_on_train_step() -> bool:
    """A train step that waits for them updates once per step."""
    model = cond()
    with v1.control_dependencies(model.updates):
        step = model.minimize(model.loss)
    model.begin()
    model.run(step)
    return model.are(ONCE)


@claim("contrib_cond")
def cond_on_total_loss() -> bool:
    """A loss that waits for them cannot be computed with the placeholder False."""
    model = cond()
    with v1.control_dependencies(model.updates):
        total = v1.identity(model.loss)
    model.begin()
    model.run(total)
    updated = model.are(ONCE)
    try:
        model.run(total, training=False)
    except tf.errors.InvalidArgumentError:
        return updated
    return False
