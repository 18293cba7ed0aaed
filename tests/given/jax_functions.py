"""A pure JAX function without an adapter."""

import importlib
from typing import Any

jnp: Any = importlib.import_module("jax.numpy")


def batch_norm(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, train: bool, momentum: float = 0.9, eps: float = 1e-5
) -> Any:
    """Channels last; the new statistics come in a dict."""
    axes = tuple(range(x.ndim - 1))
    batch_mean, batch_var = (x.mean(axes), x.var(axes)) if train else (mean, var)
    y = (x - batch_mean) / jnp.sqrt(batch_var + eps)
    y = y * (1 if scale is None else scale) + (0 if bias is None else bias)
    if not train:
        return y
    decayed = {"mean": (mean, batch_mean), "var": (var, batch_var)}
    return y, {name: momentum * old + (1 - momentum) * new for name, (old, new) in decayed.items()}


def forgetful(x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, train: bool, decay: float, eps: float) -> Any:
    """Returns no statistics."""
    return batch_norm(x, scale, bias, mean, var, train=False, momentum=decay, eps=eps)
