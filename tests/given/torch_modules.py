"""torch modules and functions without adapters: right ones under unusual names, and ones that are wrong."""

# ruff: noqa: D102 - the methods are those of any such class

import importlib
from typing import Any

torch: Any = importlib.import_module("torch")


class Images(torch.nn.Module):  # type: ignore[misc]
    """Rank 4, gamma and beta with extents of one, biased moving variance, its own names."""

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.gamma = torch.nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = torch.nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("moving_avg", torch.zeros(channels))
        self.register_buffer("moving_var", torch.ones(channels))
        self.epsilon, self.momentum = epsilon, momentum

    def statistics(self, x: Any) -> tuple[Any, Any]:
        if not self.training:
            return self.moving_avg.clone(), self.moving_var.clone()
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        with torch.no_grad():
            self.moving_avg.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.moving_var.mul_(1 - self.momentum).add_(self.momentum * variance)
        return mean, variance

    def forward(self, x: Any) -> Any:
        mean, variance = [a.view(1, -1, 1, 1) for a in self.statistics(x)]
        return self.gamma * (x - mean) / torch.sqrt(variance + self.epsilon) + self.beta


class Detached(Images):
    """Nothing flows back through its statistics: the classical wrong gradient."""

    def statistics(self, x: Any) -> tuple[Any, Any]:
        mean, variance = super().statistics(x)
        return mean.detach(), variance.detach()


class Absent(Images):
    """Nothing flows back at all."""

    def forward(self, x: Any) -> Any:
        return super().forward(x).detach()


class Elsewhere(Images):
    """Returns y on another device."""

    def forward(self, x: Any) -> Any:
        return super().forward(x).to("meta")


class NoBuffers(torch.nn.Module):  # type: ignore[misc]
    """Keeps no moving statistics."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Any) -> Any:
        return x * self.weight


def renamed(inputs: Any, mu: Any, sigma2: Any, scale: Any, offset: Any, is_training: bool, rho: float, e: float) -> Any:
    """F.batch_norm in another order under other names."""
    return torch.nn.functional.batch_norm(inputs, mu, sigma2, scale, offset, is_training, rho, e)
