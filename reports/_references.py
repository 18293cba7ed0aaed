"""Turns references to issues of frameworks into addresses."""

import re

#: Where issue numbers live.
_REPOSITORIES = {
    "pytorch": "pytorch/pytorch",
    "tensorflow": "tensorflow/tensorflow",
    "keras": "keras-team/keras",
    "onnx": "onnx/onnx",
    "onnxruntime": "microsoft/onnxruntime",
    "caffe": "BVLC/caffe",
    "mlx": "ml-explore/mlx",
    "jax": "jax-ml/jax",
    "flax": "google/flax",
    "mxnet": "apache/mxnet",
    "chainer": "chainer/chainer",
    "theano": "Theano/Theano",
    "tvm": "apache/tvm",
    "paddle": "PaddlePaddle/Paddle",
    "tinygrad": "tinygrad/tinygrad",
    "oneDNN": "uxlfoundation/oneDNN",
}
_ISSUE = re.compile(r"(?P<name>[\w./-]*)#(?P<number>\d+)")


def links(reference: str) -> list[tuple[str, str]]:
    """A reference in parts, each with an address or none: ``pytorch#1`` is an issue there, a bare ``#2`` another."""
    found, repository = [], ""
    for part in filter(None, (part.strip() for part in reference.split(","))):
        match = _ISSUE.fullmatch(part)
        if match is not None and match["name"]:
            repository = _REPOSITORIES.get(match["name"], match["name"])
        known = match is not None and "/" in repository
        if part.startswith("https://"):
            found.append((part.removeprefix("https://"), part))
        else:
            found.append((part, f"https://github.com/{repository}/issues/{match['number']}" if known and match else ""))
    return found
