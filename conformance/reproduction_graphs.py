"""How a program is written as a TensorFlow graph, as people wrote them before version 2."""

from conformance.reproduction_kinds import Kind, Lines, Variables, half, present, trainable


class Graph(Kind):
    """A graph with its session; the variables are called as the interface calls them, for the one layer there is."""

    needs = "tensorflow"
    several = False
    reloads = ()

    def imports(self) -> Lines:
        """Version 1, or what version 2 kept of it."""
        return ["import tensorflow", "", 'tf = getattr(getattr(tensorflow, "compat", None), "v1", tensorflow)']

    def refuses(self) -> str:
        """Full precision."""
        return half(self.spec)

    def outputs(self) -> Lines:
        """Lines that define y_train, y_infer and update from x_ and the variables."""
        raise NotImplementedError

    def broadcast(self) -> list[int]:
        """The shape in which a parameter meets the input."""
        shape = [1] * self.spec.rank
        for axis, extent in zip(self.spec.channel_axes, self.spec.parameter_shape, strict=True):
            shape[axis] = extent
        return shape

    def build(self, layer: str, state: Variables) -> Lines:
        """The whole graph, and a session in which its variables start."""
        spec = self.spec
        variables = ", ".join(["x_", *trainable(spec)])
        return [
            "graph = tf.Graph()",
            "with graph.as_default():",
            *(f"    {name} = tf.Variable({variable}, name={name!r})" for name, variable in state.items()),
            f"    x_, dy_ = (tf.placeholder({spec.dtype!r}, {list(spec.shape)}) for _ in range(2))",
            *self.outputs(),
            f"    gradients = [tf.gradients(y, [{variables}], dy_) for y in (y_train, y_infer)]",
            "    start = tf.global_variables_initializer()",
            "session = tf.Session(graph=graph)",
            "session.run(start)",
        ]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Run the output, the gradients and, in training, the update."""
        which, place = ("y_train", 0) if op == "train" else ("y_infer", 1)
        update = "update" if op == "train" else "[]"
        if not dy:
            return [f"y, _ = session.run([{which}, {update}], {{x_: {x}}})"]
        outputs = ", ".join(["dx", *("d" + name for name in trainable(self.spec))])
        feed = f"{{x_: {x}, dy_: {dy}}}"
        return [f"y, ({outputs},), _ = session.run([{which}, gradients[{place}], {update}], {feed})"]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Run the variables' initializers with other values."""
        return [
            f"session.run({name}.initializer, {{{name}.initializer.inputs[1]: {variable}}})"
            for name, variable in state.items()
        ]

    def read(self, layer: str, name: str) -> str:
        """Run a variable."""
        return f"session.run({name})"


class FusedGraph(Graph):
    """The fused op with its separate update."""

    def refuses(self) -> str:
        """Channels last in images."""
        if self.spec.rank != 4 or self.spec.channel_axes != (3,):
            return "other than rank 4 with the channels last, which this framework has by reshaping only"
        return super().refuses()

    def outputs(self) -> Lines:
        """Two ops and their update."""
        spec = self.spec
        gamma, beta = ("gamma" if spec.scale else "ones", "beta" if spec.center else "zeros")
        return [
            f"    ones, zeros = (np.full({spec.parameter_shape}, v, {spec.dtype!r}) for v in (1, 0))",
            f"    y_train, mean, variance = tf.nn.fused_batch_norm(x_, {gamma}, {beta}, epsilon={spec.epsilon!r})",
            f"    y_infer, _, _ = tf.nn.fused_batch_norm(x_, {gamma}, {beta}, mean=tf.identity(moving_mean),",
            f"        variance=tf.identity(moving_variance), epsilon={spec.epsilon!r}, is_training=False)",
            f"    update = [tf.assign_sub(v, (v - b) * {1 - spec.decay!r})",
            "              for v, b in ((moving_mean, mean), (moving_variance, variance))]",
        ]


class FormulaGraph(Graph):
    """Moments and tf.nn.batch_normalization."""

    def outputs(self) -> Lines:
        """Moments, the formula, the update."""
        spec, broadcast = self.spec, self.broadcast()
        shaped = "".join(
            f"tf.reshape({name}, {broadcast}), " if name in present(spec) else "None, " for name in ("beta", "gamma")
        )
        return [
            "    def normalize(mean, variance):",
            f"        mean, variance = tf.reshape(mean, {broadcast}), tf.reshape(variance, {broadcast})",
            f"        return tf.nn.batch_normalization(x_, mean, variance, {shaped}{spec.epsilon!r})",
            f"    mean, variance = tf.nn.moments(x_, {list(spec.reduction_axes)})",
            "    y_train, y_infer = normalize(mean, variance), normalize(moving_mean, moving_variance)",
            f"    update = [tf.assign(v, v * {spec.decay!r} + b * {1 - spec.decay!r})",
            "              for v, b in ((moving_mean, mean), (moving_variance, variance))]",
        ]
