"""How a program is written for ONNX models, and for programs in any language that speak the suite's protocol."""

from adapters.naming import words
from conformance.reproduction_kinds import Kind, Lines, Variables, present, single

_MODEL = """
def session(state):
    \"\"\"The model with these weights, an epsilon of {epsilon!r} and free extents.\"\"\"
    model = onnx.load({path!r})
    (node,) = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    names = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), list(node.input)[1:5]))
    kept = [i for i in model.graph.initializer if i.name not in names.values()]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(state[role], name) for role, name in names.items())
    others = [a for a in node.attribute if a.name != "epsilon"]
    del node.attribute[:]
    node.attribute.extend([*others, onnx.helper.make_attribute("epsilon", {epsilon!r})])
    held = [i.name for i in model.graph.initializer]
    for values in (model.graph.input, model.graph.output):
        for value in values:
            if value.name not in held:
                shape, element = {shape!r}, onnx.helper.np_dtype_to_tensor_dtype(np.dtype({dtype!r}))
                value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element, shape))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

"""

_CLIENT = """
process = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
numbers = iter(range(1, 1000))


def ask(request, *lines, **arrays):
    \"\"\"Send a request with these lines and arrays; return the arrays of the answer.\"\"\"
    message = "".join(line + "\\n" for line in (request, *lines)).encode()
    for name, a in arrays.items():
        element = "bfloat16" if a.dtype == np.uint16 else a.dtype.name
        message += " ".join(["array", name, element, *map(str, a.shape)]).encode() + b"\\n" + a.tobytes()
    process.stdin.write(message + b"end\\n")
    process.stdin.flush()
    status, found = process.stdout.readline().decode(), {{}}
    while not (line := process.stdout.readline().decode()).startswith("end"):
        if not line:
            sys.exit(f"The program ended with code {{process.wait()}} after {{request!r}}.")
        if line.startswith("array "):
            _, name, element, *shape = line.split()
            shape, element = [int(n) for n in shape], np.dtype(element.replace("bfloat16", "uint16"))
            content = process.stdout.read(int(np.prod(shape)) * element.itemsize)
            found[name] = np.frombuffer(content, element).reshape(shape)
    if not status.startswith("ok"):
        sys.exit(f"The program answered {{status!r}} to {{request!r}}.")
    return found


ask("hello 1")
"""


class OnnxModel(Kind):
    """A model of one batch normalization in ONNX Runtime; a dict of arrays is the layer."""

    needs = "onnx and onnxruntime"

    def imports(self) -> Lines:
        """The model is loaded anew for each state."""
        shape: list[int | None] = [None] * self.spec.rank
        shape[self.place()] = self.spec.parameter_shape[0]
        made = _MODEL.format(path=self.subject.target, epsilon=self.spec.epsilon, shape=shape, dtype=self.spec.dtype)
        return ["import onnx", "import onnxruntime", *made.splitlines()]

    def refuses(self) -> str:
        """One axis."""
        return single(self.spec)

    def place(self) -> int:
        """Second."""
        return min(1, self.spec.rank - 1)

    def build(self, layer: str, state: Variables) -> Lines:
        """A dict with all four, which the model needs."""
        filled = {"gamma": "np.ones", "beta": "np.zeros"}
        shape, dtype = self.spec.parameter_shape, self.spec.parameter_dtype
        entries = [f"{name!r}: {variable}.copy()" for name, variable in state.items()]
        entries += [
            f"{name!r}: {make}({shape}, {dtype!r})" for name, make in filled.items() if name not in present(self.spec)
        ]
        return [f"{layer} = {{{', '.join(entries)}}}"]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Run the model."""
        return [
            f"running = session({layer})",
            f"(y,) = running.run([running.get_outputs()[0].name], {{running.get_inputs()[0].name: {x}}})",
        ]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Set entries."""
        return [f"{layer}[{name!r}] = {variable}.copy()" for name, variable in state.items()]

    def read(self, layer: str, name: str) -> str:
        """An entry."""
        return f"{layer}[{name!r}]"


class Command(Kind):
    """A program on the other side of two pipes; its number is the layer."""

    needs = "the program"

    def imports(self) -> Lines:
        """A client of the protocol of docs/wire-protocol.md."""
        return _CLIENT.format(command=list(words(self.subject.target))).splitlines()

    def build(self, layer: str, state: Variables) -> Lines:
        """Ask for a layer."""
        spec = self.spec
        described = [
            f"dtype {spec.dtype}",
            f"rank {spec.rank}",
            f"axes {' '.join(map(str, spec.channel_axes))}",
            f"channels {' '.join(map(str, spec.parameter_shape))}",
            f"epsilon {spec.epsilon!r}",
            f"decay {spec.decay!r}",
            f"center {'yes' if spec.center else 'no'}",
            f"scale {'yes' if spec.scale else 'no'}",
        ]
        return [
            f"{layer} = next(numbers)",
            f"ask(f'build {{{layer}}}', *{described!r},",
            f"    {_named(state)})",
        ]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Ask for a step."""
        given = {"x": x, "dy": dy} if dy else {"x": x}
        lines = [f"found = ask(f'{op} {{{layer}}}', {_named(given)})", "y = found['y']"]
        return lines + ["dx, dgamma, dbeta = (found.get(name) for name in ('dx', 'dgamma', 'dbeta'))"] * bool(dy)

    def assign(self, layer: str, state: Variables) -> Lines:
        """Send what is set."""
        return [f"ask(f'set {{{layer}}}', {_named(state)})"]

    def read(self, layer: str, name: str) -> str:
        """Ask for the state."""
        return f"ask(f'state {{{layer}}}')[{name!r}]"


def _named(arrays: Variables) -> str:
    return ", ".join(f"{name}={variable}" for name, variable in arrays.items())
