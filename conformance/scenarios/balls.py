"""Balls: midpoints with radii that contain whatever a correct implementation computes, rounding by rounding.

Each operation takes balls that contain its inputs and gives a ball that contains its output, for every order of
summation and with or without fused multiply-add, in arithmetic of unit roundoff u. With γ_n = n·u/(1 − n·u), the bound
on the relative error of n roundings (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1):

    a ± r, b ± s:   a·b has radius |a|·s + r·|b| + r·s, plus γ_1 of the largest product;
    sums of n:      the radii add up, plus γ_n of the largest sum of magnitudes;
    functions f:    radius × the largest slope within the ball, plus 8·u of f's scale: library functions are that good.

Midpoints are computed in float64, whose own roundings are of the same kind: u is the sum of both roundoffs.
"""

from typing import NamedTuple

import numpy as np

from adapters.interface import Array

#: Units in which the last place of a library function may be wrong.
FUNCTION = 8


class Ball(NamedTuple):
    """Arrays of midpoints and radii, of one shape."""

    mid: Array
    rad: Array

    @property
    def most(self) -> Array:
        """The largest magnitude within."""
        return np.abs(self.mid) + self.rad

    def reshaped(self, *shape: int) -> "Ball":
        """The same numbers in another shape."""
        return Ball(self.mid.reshape(*shape), self.rad.reshape(*shape))

    @property
    def T(self) -> "Ball":
        """Transposed."""
        return Ball(self.mid.T, self.rad.T)


def exact(a: Array | float) -> Ball:
    """What is known without error."""
    mid = np.asarray(a, np.float64)
    return Ball(mid, np.zeros_like(mid))


class Arithmetic:
    """Operations in arithmetic of one unit roundoff."""

    def __init__(self, dtype: str) -> None:
        self.u = float(np.finfo(dtype).eps / 2 + np.finfo(np.float64).eps / 2)

    def gamma(self, n: int) -> float:
        """The bound on the relative error of n roundings."""
        return n * self.u / (1 - n * self.u)

    def add(self, a: Ball, b: Ball) -> Ball:
        """The sum, rounded once."""
        mid, rad = a.mid + b.mid, a.rad + b.rad
        return Ball(mid, rad + self.gamma(1) * (np.abs(mid) + rad))

    def subtract(self, a: Ball, b: Ball) -> Ball:
        """The difference, rounded once."""
        return self.add(a, Ball(-b.mid, b.rad))

    def multiply(self, a: Ball, b: Ball) -> Ball:
        """The product, rounded once."""
        mid = a.mid * b.mid
        most = a.most * b.most
        return Ball(mid, most - np.abs(mid) + self.gamma(1) * most)

    def matmul(self, a: Ball, b: Ball) -> Ball:
        """The matrix product, its sums in any order."""
        mid = a.mid @ b.mid
        most = a.most @ b.most
        inner = a.mid.shape[-1]
        return Ball(mid, most - np.abs(a.mid) @ np.abs(b.mid) + self.gamma(inner) * most)

    def sum(self, a: Ball, axis: int = 0) -> Ball:
        """The sum over an axis, in any order."""
        rounding = self.gamma(a.mid.shape[axis]) * a.most.sum(axis=axis)
        return Ball(a.mid.sum(axis=axis), a.rad.sum(axis=axis) + rounding)

    def scale(self, a: Ball, factor: float) -> Ball:
        """Times a number that is itself rounded first."""
        mid, rad = a.mid * factor, a.rad * abs(factor)
        return Ball(mid, rad + self.gamma(2) * (np.abs(mid) + rad))

    def activation(self, name: str, z: Ball) -> tuple[Ball, Ball]:
        """The activation's value and slope; a ReLU's slope is uncertain where the sign of z is."""
        if name == "relu":
            doubt = np.abs(z.mid) <= z.rad
            return Ball(np.maximum(z.mid, 0), z.rad), Ball((z.mid > 0).astype(float), doubt & (z.rad > 0))
        nearest = np.maximum(np.abs(z.mid) - z.rad, 0)
        one = exact(1.0)
        if name == "tanh":
            value = Ball(np.tanh(z.mid), z.rad / np.cosh(np.minimum(nearest, 300)) ** 2 + FUNCTION * self.u)
            return value, self.subtract(one, self.multiply(value, value))
        half = np.tanh(nearest / 2)
        value = Ball((np.tanh(z.mid / 2) + 1) / 2, z.rad * (1 - half * half) / 4 + FUNCTION * self.u)
        return value, self.multiply(value, self.subtract(one, value))

    def cross_entropy(self, logits: Ball, labels: Array) -> tuple[Ball, Ball]:
        """The mean cross entropy after softmax, and its gradient with respect to the logits.

        Logits that move by up to R change each probability by a factor within exp(±2R); the exponentials' arguments are
        rounded relative to their range D, and all else is as many roundings as there are classes and some more.
        """
        m, classes = logits.mid.shape
        shifted = logits.mid - logits.mid.max(axis=1, keepdims=True)
        radius = logits.rad.max(axis=1, keepdims=True)
        range_ = -shifted.min(axis=1, keepdims=True) + 2 * radius
        relative = 2 * radius + 2 * self.u * range_ + self.gamma(classes + 2 * FUNCTION)
        exponentials = np.exp(shifted)
        p = exponentials / exponentials.sum(axis=1, keepdims=True)
        error = p.copy()
        picked = np.arange(m), labels
        error[picked] -= 1
        gradient = Ball(error, p * np.expm1(relative) + self.u)
        losses = np.log(exponentials.sum(axis=1)) - shifted[picked]
        each = Ball(losses, relative[:, 0] + self.gamma(2) * np.abs(losses))
        return self.scale(self.sum(each), 1 / m), self.scale(gradient, 1 / m)
