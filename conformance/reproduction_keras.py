"""How a program is written in Keras on TensorFlow: with Keras' own layer, and with somebody's."""

from conformance.reproduction_kinds import Kind, Lines, Variables, gradients_of, half, single, trainable, unpacked


class KerasLayer(Kind):
    """Layers, called eagerly."""

    needs = "keras and tensorflow"
    tapes = True

    def imports(self) -> Lines:
        """Keras reads the backend's name when it is imported."""
        return [
            'os.environ["KERAS_BACKEND"] = "tensorflow"',
            "import keras",
            "import tensorflow as tf",
            *([] if self.subject.is_ours else self.subject.imported()),
        ]

    def refuses(self) -> str:
        """One axis."""
        return half(self.spec) or single(self.spec)

    def made(self, layer: str) -> Lines:
        """Lines that make a layer."""
        raise NotImplementedError

    def variable(self, layer: str, name: str) -> str:
        """An expression for a variable of the layer."""
        raise NotImplementedError

    def build(self, layer: str, state: Variables) -> Lines:
        """A layer, built for the input's shape."""
        return [*self.made(layer), *self.assign(layer, state)]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Assign to variables."""
        return [f"{self.variable(layer, name)}.assign({variable})" for name, variable in state.items()]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Call the layer, then the tape."""
        if not dy:
            return [f"y = {layer}(tf.constant({x}), training={op == 'train'}).numpy()"]
        return [*self.record(layer, op, x, "tape"), *self.backward(layer, dy, "tape")]

    def record(self, layer: str, op: str, x: str, tape: str) -> Lines:
        """Call the layer on a tape that can be used again."""
        return [
            f"x_{tape} = tf.constant({x})",
            f"with tf.GradientTape(persistent=True) as {tape}:",
            f"    {tape}.watch(x_{tape})",
            f"    y_{tape} = {layer}(x_{tape}, training={op == 'train'})",
            f"y = y_{tape}.numpy()",
        ]

    def backward(self, layer: str, dy: str, tape: str) -> Lines:
        """Run the tape."""
        inputs = ", ".join([f"x_{tape}", *(f"{self.variable(layer, name)}.value" for name in trainable(self.spec))])
        names = unpacked(gradients_of(self.spec))
        return [
            f"found = {tape}.gradient(y_{tape}, [{inputs}], output_gradients=tf.constant({dy}))",
            f"{names} = (g.numpy() for g in found)",
            f"y = y_{tape}.numpy()",
        ]

    def read(self, layer: str, name: str) -> str:
        """A variable's value."""
        return f"keras.ops.convert_to_numpy({self.variable(layer, name)})"


class OwnLayer(KerasLayer):
    """keras.layers.BatchNormalization."""

    reloads = ("state", "file", "checkpoint", "process")

    def made(self, layer: str) -> Lines:
        """With the spec's arguments."""
        spec = self.spec
        flags = "".join(f", {flag}=False" for flag in ("center", "scale") if not getattr(spec, flag))
        given = f"axis={spec.axis[0]}, momentum={spec.decay!r}, epsilon={spec.epsilon!r}{flags}, dtype={spec.dtype!r}"
        return [f"{layer} = keras.layers.BatchNormalization({given})", f"{layer}.build({spec.shape!r})"]

    def variable(self, layer: str, name: str) -> str:
        """Keras names it as we do."""
        return f"{layer}.{name}"

    def renew(self, layer: str, through: str) -> Lines:
        """By the state, or by a saved model of this layer alone."""
        if through == "state":
            return super().renew(layer, through)
        restored = "restored" if through == "checkpoint" else layer
        begin = f"keras.Input(batch_shape={self.spec.shape!r}, dtype={self.spec.dtype!r})"
        return [
            "with tempfile.TemporaryDirectory() as folder:",
            f"    keras.Sequential([{begin}, {layer}]).save(folder + '/layer.keras')",
            f"    {restored} = keras.saving.load_model(folder + '/layer.keras').layers[-1]",
        ]


class GivenLayer(KerasLayer):
    """Somebody's layer; its weights are found by their names."""

    spelled = True

    def made(self, layer: str) -> Lines:
        """With its own arguments and attributes."""
        lines = [f"{layer} = {self.subject.name}({self.words['arguments']})"]
        if self.words["policy"]:
            lines.append(f"{layer}.dtype_policy = keras.dtype_policies.get({self.words['policy']!r})")
        return [
            *lines,
            *self.fill("attributes", layer=layer).splitlines(),
            f"{layer}.build({self.spec.shape!r})",
            f"weights_of_{layer} = {{weight.name: weight for weight in {layer}.weights}}",
        ]

    def variable(self, layer: str, name: str) -> str:
        """A weight by its name."""
        return f"weights_of_{layer}[{self.words[name]!r}]"
