"""NumPy classes without adapters: right ones in the shapes that such code has, and ones that cannot be used."""

# ruff: noqa: D102 - the methods are those of any such class

import os
import sys
import time
from typing import Any

import numpy as np


class Lecture:
    """Rows of features; the gradients of the parameters become attributes."""

    def __init__(self, n_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = np.ones(n_features), np.zeros(n_features)
        self.running_mean, self.running_var = np.zeros(n_features), np.ones(n_features)

    def forward(self, x: Any, train: bool = True) -> Any:
        mean, variance = (x.mean(0), x.var(0)) if train else (self.running_mean, self.running_var)
        if train:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * variance
        self.std = np.sqrt(variance + self.eps)
        self.normalized = (x - mean) / self.std
        return self.gamma * self.normalized + self.beta

    def backward(self, dout: Any) -> Any:
        n = len(dout)
        self.dgamma, self.dbeta = (dout * self.normalized).sum(0), dout.sum(0)
        return self.gamma / self.std * (dout - self.dbeta / n - self.normalized * self.dgamma / n)


class Images:
    """Channels second, parameters with extents of one, a mode of its own, gradients returned as a tuple."""

    def __init__(self, num_channels: int, epsilon: float, decay: float) -> None:
        shape = (1, num_channels, 1, 1)
        self.epsilon, self.decay, self.is_training = epsilon, decay, True
        self.params = {"weight": np.ones(shape), "bias": np.zeros(shape)}
        self.mean, self.var = np.zeros(shape), np.ones(shape)

    def __call__(self, x: Any) -> Any:
        axes = (0, 2, 3)
        mean, variance = self.mean, self.var
        if self.is_training:
            mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            self.mean = self.decay * self.mean + (1 - self.decay) * mean
            self.var = self.decay * self.var + (1 - self.decay) * variance
        self.r = 1 / np.sqrt(variance + self.epsilon)
        self.normalized = (x - mean) * self.r
        return self.params["weight"] * self.normalized + self.params["bias"]

    def backward(self, grad_output: Any) -> Any:
        axes, m = (0, 2, 3), grad_output.size // grad_output.shape[1]
        dbeta = grad_output.sum(axes, keepdims=True)
        dgamma = (grad_output * self.normalized).sum(axes, keepdims=True)
        dx = self.params["weight"] * self.r * (grad_output - dbeta / m - self.normalized * dgamma / m)
        return dx, dgamma, dbeta


class Reversed(Lecture):
    """What it calls momentum is the weight of the new value."""

    def __init__(self, n_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(n_features, eps, 1 - momentum)


class Groups(Lecture):
    """Needs an argument that stands for nothing."""

    def __init__(self, groups: int, n_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__(n_features, eps, momentum)


class NoEpsilon(Lecture):
    """Has no epsilon to set."""

    def __init__(self, n_features: int, momentum: float = 0.9) -> None:
        super().__init__(n_features, 1e-5, momentum)
        del self.eps


class AlwaysTrains(Lecture):
    """Takes the training flag and forgets it."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, True)


class NeverTrains(Lecture):
    """Takes the training flag and forgets it, the other way."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, False)


class NoSwitch:
    """Knows no modes."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        self.gamma = self.beta = np.zeros(channels)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Any) -> Any:
        return x


class Locked(Lecture):
    """Has a moving mean that cannot be set."""

    @property
    def running_mean(self) -> Any:
        return self.__dict__["running_mean"]

    @running_mean.setter
    def running_mean(self, value: Any) -> None:
        self.__dict__.setdefault("running_mean", np.zeros(np.shape(value)))


class WrongShape(Lecture):
    """Returns what has another shape."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, train)[:-1]


class Lists(Lecture):
    """Returns lists."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, train).tolist()


class NarrowResults(Lecture):
    """Returns half precision."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, train).astype("float16")


class ZeroGradients(Lecture):
    """Returns gradients of nothing."""

    def backward(self, dout: Any) -> Any:
        super().backward(dout)
        return np.zeros_like(dout)


class Raises(Lecture):
    """Raises half-way."""

    def forward(self, x: Any, train: bool = True) -> Any:
        raise RuntimeError("the lookup table has only 4 rows")


class RaisesLater(Lecture):
    """Raises at its hundredth call."""

    calls = 0

    def forward(self, x: Any, train: bool = True) -> Any:
        RaisesLater.calls += 1
        if RaisesLater.calls > 100:
            raise RuntimeError("out of handles")
        return super().forward(x, train)


class Loops(Lecture):
    """Never returns."""

    def forward(self, x: Any, train: bool = True) -> Any:
        while True:
            time.sleep(0.01)


class Allocates(Lecture):
    """Wants 10 GB and more each time, and writes to all of it."""

    def forward(self, x: Any, train: bool = True) -> Any:
        return super().forward(x, train) + np.ones(10 * 2**30, np.uint8).sum()


class Prints(Lecture):
    """Talks on standard output."""

    def forward(self, x: Any, train: bool = True) -> Any:
        print("forward of", x.shape)
        os.write(1, b"straight to the descriptor\n")
        return super().forward(x, train)


class Quits(Lecture):
    """Ends the interpreter."""

    def forward(self, x: Any, train: bool = True) -> Any:
        sys.exit("no licence")


class Dies(Lecture):
    """Dies of a segmentation fault."""

    def forward(self, x: Any, train: bool = True) -> Any:
        os.kill(os.getpid(), 11)


class Random(Lecture):
    """Gives other results each time."""

    def forward(self, x: Any, train: bool = True) -> Any:
        noise = np.random.default_rng().normal(size=x.shape) * 1e-4
        return super().forward(x, train) + noise.astype(x.dtype)


SEVEN = 7
