"""How a program is written in torch: with modules, torch's own or somebody's, and with functions like F.batch_norm."""

from conformance.reproduction_kinds import Kind, Lines, Variables, gradients_of, half, single, trainable, unpacked

#: Our names of the parameters, and torch's.
NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class TorchModule(Kind):
    """Modules with the channels second."""

    needs = "torch"
    tapes = True
    reloads: tuple[str, ...] = ("state", "file", "checkpoint", "process")

    def imports(self) -> Lines:
        """Torch's own modules need nothing else."""
        return ["import torch", *self.subject.imported()]

    def refuses(self) -> str:
        """One axis, as torch has it."""
        return half(self.spec) or single(self.spec)

    def place(self) -> int:
        """Second."""
        return 1

    def made(self) -> str:
        """An expression for a new module."""
        return f"{self.subject.name}({self.words['arguments']}){self._to()}"

    def _to(self) -> str:
        device = self.words.get("device", "cpu")
        return f".to(torch.{self.spec.dtype})" + ("" if device == "cpu" else f".to({device!r})")

    def removed(self) -> list[str]:
        """Names of parameters that the spec does without."""
        return self.words["removed"].split()

    def tensor(self, layer: str, name: str) -> str:
        """An expression for a parameter or buffer."""
        return f"{layer}.{self.words[name]}"

    def given(self, a: str) -> str:
        """An expression for a tensor of an array's own memory."""
        device = self.words.get("device", "cpu")
        return f"torch.from_numpy({a})" + ("" if device == "cpu" else f".to({device!r})")

    def build(self, layer: str, state: Variables) -> Lines:
        """A module, its attributes, its parameters."""
        attributes = self.fill("attributes", layer=layer).splitlines() if self.words.get("attributes") else []
        removed = [f"{layer}.{name} = None" for name in self.removed()]
        return [f"{layer} = {self.made()}", *attributes, *removed, *self.assign(layer, state)]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Copy into parameters and buffers."""
        copies = [
            f"    {tensor}.copy_(torch.tensor({variable}).reshape({tensor}.shape))"
            for tensor, variable in ((self.tensor(layer, name), variable) for name, variable in state.items())
        ]
        return ["with torch.no_grad():", *copies] if copies else []

    def call(self, layer: str, op: str, x: str, y: str) -> Lines:
        """Lines of a forward pass that leaves a tensor in a variable."""
        return [f"{layer}.{'train' if op == 'train' else 'eval'}()", f"{y} = {layer}({x})"]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Call the module, then autograd."""
        if not dy:
            lines = self.call(layer, op, self.given(x), "y")
            return ["with torch.no_grad():", *("    " + line for line in lines), f"y = {self.array('y')}"]
        return [
            f"x = {self.given(x)}.requires_grad_()",
            *self.call(layer, op, "x", "y"),
            *self._gradients(layer, "x", "y", dy, ""),
        ]

    def array(self, tensor: str) -> str:
        """An expression for a tensor's array."""
        return f"{tensor}.detach().cpu().numpy()"

    def _gradients(self, layer: str, x: str, y: str, dy: str, keep: str) -> Lines:
        inputs = ", ".join([x, *(self.tensor(layer, name) for name in trainable(self.spec))])
        names = unpacked(gradients_of(self.spec))
        return [
            f"found = torch.autograd.grad({y}, [{inputs}], {self.given(dy)}{keep})",
            f"{names} = ({self.array('g')} for g in found)",
            f"y = {self.array(y)}",
        ]

    def record(self, layer: str, op: str, x: str, tape: str) -> Lines:
        """Keep x and y."""
        return [
            f"x_{tape} = {self.given(f'np.array({x})')}.requires_grad_()",
            *self.call(layer, op, f"x_{tape}", f"y_{tape}"),
            f"y = {self.array(f'y_{tape}')}",
        ]

    def backward(self, layer: str, dy: str, tape: str) -> Lines:
        """Run autograd and keep its graph."""
        return self._gradients(layer, f"x_{tape}", f"y_{tape}", dy, ", retain_graph=True")

    def read(self, layer: str, name: str) -> str:
        """A parameter's or buffer's array."""
        return self.array(self.tensor(layer, name))

    def renew(self, layer: str, through: str) -> Lines:
        """By a state_dict, which is saved to memory unless it is handed over."""
        restored = "restored" if through == "checkpoint" else layer
        kept = ["kept = {name: value.clone() for name, value in " + layer + ".state_dict().items()}"]
        if through != "state":
            kept = ["file = io.BytesIO()", f"torch.save({layer}.state_dict(), file)", "file.seek(0)"]
        return [
            *kept,
            *self.build(restored, {}),
            f"{restored}.load_state_dict({'kept' if through == 'state' else 'torch.load(file)'})",
        ]


class OwnModule(TorchModule):
    """torch.nn.BatchNorm1d, 2d and 3d."""

    def imports(self) -> Lines:
        """Torch alone."""
        return ["import torch"]

    def made(self) -> str:
        """The module for the input's rank."""
        spec, kind = self.spec, {2: "1d", 3: "1d", 4: "2d", 5: "3d"}[self.spec.rank]
        arguments = f"{spec.parameter_shape[0]}, eps={spec.epsilon!r}, momentum={1 - spec.decay!r}"
        return f"torch.nn.BatchNorm{kind}({arguments}, dtype=torch.{spec.dtype})"

    def removed(self) -> list[str]:
        """Torch names them so."""
        return [NAMES[name] for name in ("gamma", "beta") if name not in trainable(self.spec)]

    def tensor(self, layer: str, name: str) -> str:
        """Torch names it so."""
        return f"{layer}.{NAMES[name]}"


class GivenModule(TorchModule):
    """Somebody's module."""

    spelled = True


class GivenFunction(TorchModule):
    """Somebody's function; a dict of tensors is the layer."""

    spelled = True
    reloads = ("state",)

    def tensor(self, layer: str, name: str) -> str:
        """An entry."""
        return f"{layer}[{name!r}]"

    def build(self, layer: str, state: Variables) -> Lines:
        """A dict."""
        device = "" if self.words["device"] == "cpu" else f", device={self.words['device']!r}"
        lines = [
            f"    {name!r}: torch.tensor({variable}{', requires_grad=True' * (name in trainable(self.spec))}{device}),"
            for name, variable in state.items()
        ]
        return [f"{layer} = {{", *lines, "}"]

    def call(self, layer: str, op: str, x: str, y: str) -> Lines:
        """Call the function; what it returns beside y are the new statistics."""
        state = {name: self.tensor(layer, name) for name in NAMES}
        call = f"{self.subject.name}({self.fill(op, x=x, **state)})"
        returned = int(self.words["returned by " + op])
        if op == "train" and returned == 3:
            statistics = ("moving_mean", "moving_variance")
            new = [f"    {self.tensor(layer, name)}.copy_(new_{name}.reshape(-1))" for name in statistics]
            return [f"{y}, new_moving_mean, new_moving_variance = {call}", "with torch.no_grad():", *new]
        return [f"{y} = {call}" + ("[0]" if returned else "")]

    def renew(self, layer: str, through: str) -> Lines:
        """There is no state_dict."""
        return Kind.renew(self, layer, through)
