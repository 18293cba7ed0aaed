"""A program for ``cmd:`` targets in plain Python, which misbehaves in the way that its first argument names."""

import os
import sys
import time
from typing import Any

import numpy as np

HOW = sys.argv[1] if len(sys.argv) > 1 else ""
reading, writing = sys.stdin.buffer, sys.stdout.buffer


def body() -> tuple[dict[str, str], dict[str, Any]]:
    """Fields and arrays of a message."""
    fields: dict[str, str] = {}
    arrays: dict[str, Any] = {}
    while (line := reading.readline().decode().rstrip("\n")) != "end":
        key, _, value = line.partition(" ")
        if key == "array":
            name, dtype, *extents = value.split()
            shape = tuple(map(int, extents))
            content = reading.read(int(np.prod(shape)) * np.dtype(dtype).itemsize)
            arrays[name] = np.frombuffer(content, dtype).reshape(shape).copy()
        else:
            fields[key] = value
    return fields, arrays


def answer(status: str = "ok", lines: str = "", **arrays: Any) -> None:
    """Write a message."""
    writing.write(f"{status}\n{lines}".encode())
    for name, array in arrays.items():
        extents = " ".join(str(n) for n in array.shape)
        writing.write(f"array {name} {array.dtype.name} {extents}\n".encode() + array.tobytes())
    writing.write(b"end\n")
    writing.flush()


def main() -> None:
    """Answer until the input ends."""
    layers: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
    while line := reading.readline().decode().split():
        request, *rest = line
        fields, arrays = body()
        if HOW == "prints" and request == "train":
            writing.write(b"step 1: loss 0.5\n")
        if HOW == "dies" and request == "train":
            os.kill(os.getpid(), 11)
        if HOW == "exits" and request == "train":
            sys.exit(3)
        if HOW == "hangs" and request == "train":
            time.sleep(60)
        if request == "hello":
            answer(lines="ranks 2\nepsilon_flor 1e-5\n" if HOW == "misspells" else "name python program\nversion 2\n")
        elif request in ("build", "set"):
            if HOW == "refuses":
                answer("unsupported only on Sundays")
                continue
            if request == "build":
                layers[rest[0]] = (fields, {})
            layers[rest[0]][1].update(arrays)
            answer()
        elif request == "state":
            answer(**layers[rest[0]][1])
        elif request == "free":
            del layers[rest[0]]
            answer()
        else:
            fields, state = layers[rest[0]]
            answer(**step(request, float(fields["epsilon"]), float(fields["decay"]), state, arrays))


def step(request: str, epsilon: float, decay: float, state: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Train or infer on rows of channels."""
    x = arrays["x"]
    mean, variance = state["moving_mean"], state["moving_variance"]
    if request == "train":
        mean, variance = x.mean(0), x.var(0)
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            state[name] = (decay * state[name] + (1 - decay) * batch).astype(x.dtype)
    r = (1 / np.sqrt(variance + epsilon)).astype(x.dtype)
    normalized = (x - mean) * r
    gamma, beta = state.get("gamma", np.ones_like(mean)), state.get("beta", np.zeros_like(mean))
    found = {"y": gamma * normalized + beta}
    if "dy" in arrays:
        dy, m = arrays["dy"], len(x)
        dgamma, dbeta = (dy * normalized).sum(0), dy.sum(0)
        training = request == "train"
        found["dx"] = gamma * r * (dy - dbeta / m - normalized * dgamma / m if training else dy)
        found |= {f"d{name}": g for name, g in (("gamma", dgamma), ("beta", dbeta)) if name in state}
    return {name: a.astype(x.dtype) for name, a in found.items()}


if __name__ == "__main__":
    main()
