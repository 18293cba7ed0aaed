"""The reference network: a training step in balls, which contain what any correct implementation arrives at.

The bound on a trajectory is derived, not chosen: a state of the network is a ball for each of its arrays; the starting
state has radius zero; ``step`` maps balls to balls by the rules of ``balls``. After k steps every correct
implementation is within them, whatever it sums in which order. Radii grow with every step, since a network amplifies
what comes in: how long they still say something is measured, not assumed (``trajectories``).

For batch normalization over m values the rules must hold for every grade of evaluation, so that they take the worst
(x ± r, μ the mean, q = mean(x²), C and F of the conventions):

    variance:   r moves it by at most 2·mean(|x − μ|·r) + mean(r²), since shifts do not; rounding moves E[x²] − E[x]² by
                at most 2·γ_(2m+4)·q, the two passes and the updating formulas by less;
    output:     x·a + (β − μ·a) with a = γ/√(σ² + ε) is rounded by at most γ_4·(|a|·(|x| + |μ|) + |β|);
    gradients:  with X̂ = (|x| + |μ|)/√(σ² + ε): dγ by γ_(m+16)·Σ|dy|·X̂, dβ by γ_m·Σ|dy|, and dx by
                γ_(2m+16)·|a|·(|dy| + mean|dy| + X̂·mean(|dy|·X̂)): the analytic formula and what automatic
                differentiation makes of the folded output alike.
"""

from typing import NamedTuple

import numpy as np

from adapters.interface import Array, Conventions
from adapters.network import NetworkSpec
from adapters.network_layers import scattered, windows
from conformance.scenarios.balls import Arithmetic, Ball, exact

State = dict[str, Ball]


class Normalized(NamedTuple):
    """A forward pass of batch normalization, as its backward pass needs it: all of shape (m, C) or (C,)."""

    x: Ball
    mean: Ball
    variance: Ball
    r: Ball
    y: Ball
    gamma: Ball


class Reference:
    """A network in balls: trained by plain gradient descent, in the arithmetic of its spec's dtype."""

    def __init__(self, spec: NetworkSpec, conventions: tuple[Conventions, ...]) -> None:
        if spec.optimizer != "sgd":
            raise ValueError("the reference knows plain gradient descent alone")
        self.spec = spec
        self.conventions = conventions
        self.arithmetic = Arithmetic(spec.dtype)

    def step(self, state: State, x: Array, labels: Array) -> tuple[Ball, State]:
        """The loss before a step, and the state after it; radii that overflow say nothing, and are no error."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._step(state, x, labels)

    def _step(self, state: State, x: Array, labels: Array) -> tuple[Ball, State]:
        on = self.arithmetic
        rows, outputs, passes, slopes = self._forward(state, exact(x))
        last = len(self.spec.hidden) + 1
        loss, error = on.cross_entropy(outputs, labels)
        gradients: State = {}
        da = self._linear_backward(state, last, rows[-1], error, gradients)
        new = dict(state)
        for k in range(last - 1, 0, -1):
            da = self._hidden_backward(k, da, passes, slopes, gradients)
            da = self._linear_backward(state, k, rows[k - 1], da, gradients)
            if self.spec.normalizes:
                new.update(self._moved(state, k, passes[k - 1]))
        for name, gradient in gradients.items():
            new[name] = on.subtract(state[name], on.scale(gradient, self.spec.rate))
        return loss, new

    def _forward(
        self, state: State, x: Ball
    ) -> tuple[list[Ball], Ball, list[Normalized], list[tuple[Ball, tuple[int, ...]]]]:
        """The inputs of each linear layer as rows, the logits, the normalizations, and the activations' slopes."""
        on, spec = self.arithmetic, self.spec
        rows, passes, slopes = [], [], []
        a = x
        for k in range(1, len(spec.hidden) + 1):
            rows.append(self._rows(a, state[f"w{k}"]))
            z = self._linear(state, k, rows[-1])
            before = z if spec.place != "after" else on.activation(spec.activation, z)[0]
            n = before
            if spec.normalizes:
                passes.append(self._normalize(state, k, before))
                n = passes[-1].y
            value, slope = on.activation(spec.activation, n if spec.place != "after" else z)
            extent = tuple(e - spec.kernel + 1 for e in a.mid.shape[1:-1]) if spec.kernel else ()
            slopes.append((slope, (len(x.mid), *extent, spec.hidden[k - 1])))
            a = (n if spec.place == "after" else value).reshaped(*slopes[-1][1])
        rows.append(a.reshaped(len(x.mid), -1))
        return rows, self._linear(state, len(spec.hidden) + 1, rows[-1]), passes, slopes

    def _rows(self, a: Ball, w: Ball) -> Ball:
        """The patches that a kernel meets, or the samples, as rows."""
        if w.mid.ndim == 2:
            return a.reshaped(len(a.mid), -1)
        patches = Ball(*(windows(part, self.spec.kernel) for part in a))
        return patches.reshaped(-1, patches.mid.shape[-1])

    def _linear(self, state: State, k: int, rows: Ball) -> Ball:
        w = state[f"w{k}"]
        z = self.arithmetic.matmul(rows, w.reshaped(-1, w.mid.shape[-1]))
        return self.arithmetic.add(z, state[f"b{k}"]) if f"b{k}" in state else z

    def _normalize(self, state: State, k: int, x: Ball) -> Normalized:
        on = self.arithmetic
        m = len(x.mid)
        mean = on.scale(on.sum(x), 1 / m)
        centred = x.mid - mean.mid
        moved = 2 * (np.abs(centred) * x.rad).mean(axis=0) + np.square(x.rad).mean(axis=0)
        rounding = 2 * on.gamma(2 * m + 4) * np.square(x.most).mean(axis=0)
        variance = Ball(np.square(centred).mean(axis=0), moved + rounding)
        epsilon = max(self.spec.epsilon, self.conventions[k - 1].epsilon_floor)
        r = self._rsqrt(on.add(variance, Ball(np.array(epsilon), np.array(on.u * epsilon))))
        gamma, beta = state[f"gamma{k}"], state[f"beta{k}"]
        a_mid, a_most = gamma.mid * r.mid, gamma.most * r.most
        d_rad = x.rad + mean.rad
        mid = a_mid * centred + beta.mid
        rad = a_most * (np.abs(centred) + d_rad) - np.abs(a_mid * centred) + beta.rad
        rounding = on.gamma(4) * (a_most * (x.most + mean.most) + beta.most)
        return Normalized(x, mean, variance, r, Ball(mid, rad + rounding), gamma)

    def _rsqrt(self, s: Ball) -> Ball:
        """1/√s; nothing is known where s may be zero."""
        r = 1 / np.sqrt(s.mid)
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.where(s.rad < s.mid, 1 / np.sqrt(np.maximum(s.mid - s.rad, 0)), np.inf)
        return Ball(r, most - r + self.arithmetic.gamma(4) * most)

    def _backward(self, kept: Normalized, dy: Ball) -> tuple[Ball, Ball, Ball]:
        """Of batch normalization in training: dx, dγ, dβ."""
        on, m = self.arithmetic, len(dy.mid)
        x, mean, _, r, _, gamma = kept
        normalized = (x.mid - mean.mid) * r.mid
        off = (np.abs(x.mid - mean.mid) + x.rad + mean.rad) * r.most - np.abs(normalized)
        largest = (x.most + mean.most) * r.most
        dbeta = on.sum(dy)
        dgamma_rad = (dy.most * (np.abs(normalized) + off) - np.abs(dy.mid * normalized)).sum(axis=0)
        dgamma_rounding = on.gamma(m + 16) * (dy.most * largest).sum(axis=0)
        dgamma = Ball((dy.mid * normalized).sum(axis=0), dgamma_rad + dgamma_rounding)
        inner = dy.mid - dbeta.mid / m - normalized * (dgamma.mid / m)
        product = (np.abs(normalized) + off) * dgamma.most - np.abs(normalized * dgamma.mid)
        inner_rad = dy.rad + dbeta.rad / m + product / m
        a_mid, a_most = gamma.mid * r.mid, gamma.most * r.most
        rad = a_most * (np.abs(inner) + inner_rad) - np.abs(a_mid * inner)
        sizes = dy.most + dy.most.mean(axis=0) + largest * (dy.most * largest).mean(axis=0)
        return Ball(a_mid * inner, rad + on.gamma(2 * m + 16) * a_most * sizes), dgamma, dbeta

    def _moved(self, state: State, k: int, kept: Normalized) -> State:
        """The moving statistics after the step: either formula for them."""
        m = len(kept.x.mid)
        convention = self.conventions[k - 1]
        estimate = kept.variance
        if convention.moving_variance == "unbiased":
            estimate = self.arithmetic.scale(estimate, m / max(m - 1, 1))
        u = self.arithmetic.u
        of_decay = float(np.finfo(convention.decay_dtype or self.spec.dtype).eps) / 2
        decay = self.spec.decay
        found = {}
        for name, batch in (("moving_mean", kept.mean), ("moving_variance", estimate)):
            old = state[f"{name}{k}"]
            mid = decay * old.mid + (1 - decay) * batch.mid
            rad = decay * old.rad + (1 - decay) * batch.rad + (4 * u + 2 * of_decay) * (old.most + batch.most)
            found[f"{name}{k}"] = Ball(mid, rad)
        return found

    def _hidden_backward(
        self,
        k: int,
        da: Ball,
        passes: list[Normalized],
        slopes: list[tuple[Ball, tuple[int, ...]]],
        gradients: State,
    ) -> Ball:
        """From the gradient of a layer's output to that of its linear part, as rows."""
        on = self.arithmetic
        slope = slopes[k - 1][0]
        da = da.reshaped(-1, da.mid.shape[-1]) if self.spec.kernel == 0 else da.reshaped(-1, self.spec.hidden[k - 1])
        after = self.spec.place == "after"
        dn = da if after else on.multiply(da, slope)
        if not self.spec.normalizes:
            return dn
        dx, gradients[f"gamma{k}"], gradients[f"beta{k}"] = self._backward(passes[k - 1], dn)
        return on.multiply(dx, slope) if after else dx

    def _linear_backward(self, state: State, k: int, rows: Ball, dz: Ball, gradients: State) -> Ball:
        """Gradients of weight and bias, and that of the layer's input."""
        on, w = self.arithmetic, state[f"w{k}"]
        flat = w.reshaped(-1, w.mid.shape[-1])
        gradients[f"w{k}"] = on.matmul(rows.T, dz).reshaped(*w.mid.shape)
        if f"b{k}" in state:
            gradients[f"b{k}"] = on.sum(dz)
        if k == 1:
            return dz
        back = on.matmul(dz, flat.T)
        return back if w.mid.ndim == 2 else self._gathered(back, k)

    def _gathered(self, back: Ball, k: int) -> Ball:
        """The gradient of a convolution's input: each element's sum over the patches that it is in."""
        kernel, spec = self.spec.kernel, self.spec
        high, wide = [extent - k * (kernel - 1) for extent in spec.inputs[:2]]
        patches = back.reshaped(-1, high, wide, back.mid.shape[-1])
        shape = (len(patches.mid), high + kernel - 1, wide + kernel - 1, spec.hidden[k - 2])
        mid, rad = (scattered(part, kernel, shape) for part in patches)
        return Ball(mid, rad + self.arithmetic.gamma(kernel * kernel) * scattered(patches.most, kernel, shape))
