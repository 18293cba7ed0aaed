"""How a program is written for somebody's NumPy class, and for somebody's JAX function."""

from conformance.reproduction_kinds import Kind, Lines, Variables, gradients_of, present, single, trainable


class NumpyObject(Kind):
    """Objects with forward() and maybe backward()."""

    needs = "the class, and what it imports"
    spelled = True

    def refuses(self) -> str:
        """One axis."""
        return single(self.spec)

    def place(self) -> int:
        """Where the class has them."""
        return int(self.words["place"])

    def build(self, layer: str, state: Variables) -> Lines:
        """An object, a first call where that makes its arrays, its state."""
        lines = [f"{layer} = {self.subject.name}({self.words['arguments']})"]
        lines += self.fill("attributes", layer=layer).splitlines()
        if self.words["first"]:
            shape, dtype = self.words["first"], self.spec.dtype
            lines += [
                "# Its arrays are made when it is first called.",
                f"first = np.arange(np.prod({shape}), dtype={dtype!r}).reshape({shape})",
                *self._call(layer, "train", "first", ""),
            ]
        return lines + self.assign(layer, state)

    def _call(self, layer: str, op: str, x: str, y: str) -> Lines:
        before = self.fill("before " + op, layer=layer)
        call = self.fill(op, layer=layer, x=x)
        return [*([before] if before else []), f"{y} = {call}" if y else call]

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Call forward(), then backward()."""
        lines = self._call(layer, op, x, "y")
        if dy and "backward" in self.words:
            lines.append(f"returned = {self.fill('backward', layer=layer, dy=dy)}")
            lines += [f"{name} = {self.fill(name, layer=layer)}" for name in self.gradients()]
        return lines

    def gradients(self) -> list[str]:
        """Those that backward() returns or leaves behind."""
        return [name for name in gradients_of(self.spec) if name in self.words]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Set attributes."""
        return [
            f"{self.fill(name, layer=layer)} = {variable}.reshape({self.words['shape of ' + name]}).copy()"
            for name, variable in state.items()
        ]

    def read(self, layer: str, name: str) -> str:
        """An attribute."""
        return self.fill(name, layer=layer)


class JaxFunction(Kind):
    """Pure functions; a dict of arrays is the layer."""

    needs = "jax"
    spelled = True
    tapes = True

    def imports(self) -> Lines:
        """JAX, with float64 where that is asked for."""
        wide = ["jax.config.update('jax_enable_x64', True)"] if self.spec.dtype == "float64" else []
        return ["import jax", *wide, *self.subject.imported()]

    def refuses(self) -> str:
        """One axis."""
        return single(self.spec)

    def place(self) -> int:
        """Where the function has them."""
        return int(self.words["place"])

    def build(self, layer: str, state: Variables) -> Lines:
        """A dict."""
        return [f"{layer} = {{{', '.join(f'{name!r}: {a}.copy()' for name, a in state.items())}}}"]

    def _function(self, layer: str, op: str) -> Lines:
        state = {name: f"{layer}[{name!r}]" for name in present(self.spec)}
        state.update({name: name for name in trainable(self.spec)})
        call = f"{self.subject.name}({self.fill(op, x='x', **state)})"
        several = self.words["returned by " + op] == "tuple"
        return [
            "@jax.jit",
            f"def call({', '.join(['x', *trainable(self.spec)])}):",
            f"    {'y, *new' if several else 'y'} = {call}",
            f"    return y, jax.tree_util.tree_leaves({'new' if several and op == 'train' else '()'})",
        ]

    def _arguments(self, layer: str, x: str) -> str:
        return ", ".join([x, *(f"{layer}[{name!r}]" for name in trainable(self.spec))])

    def _kept(self, layer: str, op: str) -> Lines:
        return [f"{layer}['moving_mean'], {layer}['moving_variance'] = new"] if op == "train" else []

    def step(self, layer: str, op: str, x: str, dy: str) -> Lines:
        """Call the function, and pull dy back."""
        if dy:
            return [*self.record(layer, op, x, "pull"), *self.backward(layer, dy, "pull")]
        call = f"y, new = call({self._arguments(layer, x)})"
        return [*self._function(layer, op), call, *self._kept(layer, op), "y = np.asarray(y)"]

    def record(self, layer: str, op: str, x: str, tape: str) -> Lines:
        """Keep the pull-back."""
        return [
            *self._function(layer, op),
            f"y, {tape}, new = jax.vjp(call, {self._arguments(layer, x)}, has_aux=True)",
            *self._kept(layer, op),
            f"y = y_{tape} = np.asarray(y)",
        ]

    def backward(self, layer: str, dy: str, tape: str) -> Lines:
        """Pull dy back."""
        names = ", ".join(gradients_of(self.spec))
        return [f"{names}{',' if ',' not in names else ''} = map(np.asarray, {tape}({dy}))", f"y = y_{tape}"]

    def assign(self, layer: str, state: Variables) -> Lines:
        """Set entries."""
        return [f"{layer}[{name!r}] = {variable}.copy()" for name, variable in state.items()]

    def read(self, layer: str, name: str) -> str:
        """An entry."""
        return f"np.asarray({layer}[{name!r}])"
