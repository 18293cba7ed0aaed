"""How a program is written as a TensorFlow graph, as people wrote them before version 2."""

from collections.abc import Callable

from adapters.interface import Spec
from conformance.reproduction_kinds import Kind, Lines, Subject, half, has, trainable


def _graph_imports(subject: Subject) -> Lines:
    return ["import tensorflow", "", 'tf = getattr(getattr(tensorflow, "compat", None), "v1", tensorflow)']


def _graph_build(fused: bool) -> Callable[[Subject, Spec, dict[str, str], str], Lines]:
    def build(subject: Subject, spec: Spec, state: dict[str, str], layer: str) -> Lines:
        broadcast = [1] * spec.rank
        for axis, extent in zip(spec.channel_axes, spec.parameter_shape, strict=True):
            broadcast[axis] = extent
        variables = [f"    {name} = tf.Variable({variable}, name={name!r})" for name, variable in state.items()]
        gamma, beta = ("gamma" if spec.scale else "ones", "beta" if spec.center else "zeros")
        shaped = "".join(
            f"tf.reshape({name}, {broadcast}), " if has(spec, name) else "None, " for name in ("beta", "gamma")
        )
        lines = [
            "graph = tf.Graph()",
            "with graph.as_default():",
            *variables,
            f"    x_, dy_ = (tf.placeholder({spec.dtype!r}, {list(spec.shape)}) for _ in range(2))",
        ]
        if fused:
            lines += [
                f"    ones, zeros = (np.full({spec.parameter_shape}, v, {spec.dtype!r}) for v in (1, 0))",
                f"    y_train, mean, variance = tf.nn.fused_batch_norm(x_, {gamma}, {beta}, epsilon={spec.epsilon!r})",
                f"    y_infer, _, _ = tf.nn.fused_batch_norm(x_, {gamma}, {beta}, mean=tf.identity(moving_mean),",
                f"        variance=tf.identity(moving_variance), epsilon={spec.epsilon!r}, is_training=False)",
                f"    update = [tf.assign_sub(v, (v - b) * {1 - spec.decay!r})",
                "              for v, b in ((moving_mean, mean), (moving_variance, variance))]",
            ]
        else:
            lines += [
                "    def normalize(mean, variance):",
                f"        mean, variance = tf.reshape(mean, {broadcast}), tf.reshape(variance, {broadcast})",
                f"        return tf.nn.batch_normalization(x_, mean, variance, {shaped}{spec.epsilon!r})",
                f"    mean, variance = tf.nn.moments(x_, {list(spec.reduction_axes)})",
                "    y_train, y_infer = normalize(mean, variance), normalize(moving_mean, moving_variance)",
                f"    update = [tf.assign(v, v * {spec.decay!r} + b * {1 - spec.decay!r})",
                "              for v, b in ((moving_mean, mean), (moving_variance, variance))]",
            ]
        variables_ = ", ".join(["x_", *trainable(spec)])
        return [
            *lines,
            f"    gradients = [tf.gradients(y, [{variables_}], dy_) for y in (y_train, y_infer)]",
            "    start = tf.global_variables_initializer()",
            "session = tf.Session(graph=graph)",
            "session.run(start)",
        ]

    return build


def _graph_step(spec: Spec, layer: str, op: str, x: str, dy: str) -> Lines:
    which = "y_train" if op == "train" else "y_infer"
    update = "update" if op == "train" else "[]"
    if not dy:
        return [f"y, _ = session.run([{which}, {update}], {{x_: {x}}})"]
    outputs = ", ".join(["dx", *("d" + name for name in trainable(spec))])
    place = 0 if op == "train" else 1
    return [
        f"y, ({outputs},), _ = session.run([{which}, gradients[{place}], {update}], {{x_: {x}, dy_: {dy}}})",
    ]


def _graph_assign(spec: Spec, layer: str, state: dict[str, str]) -> Lines:
    return [
        f"session.run({name}.initializer, {{{name}.initializer.inputs[1]: {variable}}})"
        for name, variable in state.items()
    ]


def _graph_refuses(fused: bool) -> Callable[[Spec], str]:
    def refuses(spec: Spec) -> str:
        if fused and (spec.rank != 4 or spec.channel_axes != (3,)):
            return "other than rank 4 with the channels last, which this framework has by reshaping only"
        return half(spec)

    return refuses


def graph(fused: bool) -> Kind:
    """The fused op with its separate update, or moments and batch_normalization."""
    return Kind(
        "tensorflow",
        _graph_imports,
        _graph_build(fused),
        _graph_step,
        _graph_assign,
        lambda spec, layer, name: f"session.run({name})",
        refuses=_graph_refuses(fused),
    )
