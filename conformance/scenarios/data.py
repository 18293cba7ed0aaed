"""The samples that networks are trained on: scikit-learn's digits, or MNIST from IDX files."""

import gzip
import importlib.util
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adapters.interface import Array
from conformance.targets import UsageError

#: Extents of MNIST's images, which the documents' networks take; those of the digits, 8, are stretched to it.
SIDE = 28
#: Training and test samples taken from MNIST, so that a run keeps its time.
MOST = 6000, 1000
_TYPE, _RANKS = 8, {"images": 3, "labels": 1}


class Samples(NamedTuple):
    """Images (n, height, width) within [0, 1], their labels, and how many of them, from the front, are for training."""

    images: Array
    labels: Array
    training: int
    name: str

    def inputs(self, shape: tuple[int, ...], dtype: str) -> Array:
        """The images as a network of that input shape takes them."""
        if len(shape) == 3:
            images = self.images if self.images.shape[1] == shape[0] else _shrunk(self.images, shape[0])
        else:
            images = stretched(self.images, SIDE) if shape[0] == SIDE * SIDE else self.images
        return np.ascontiguousarray(images.reshape(-1, *shape).astype(dtype))


def stretched(images: Array, side: int) -> Array:
    """Each pixel repeated as often as fits, and a border of zeros."""
    factor = side // images.shape[1]
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = side - large.shape[1]
    border = (missing // 2, missing - missing // 2)
    return np.pad(large, ((0, 0), border, border))


def _shrunk(images: Array, side: int) -> Array:
    """The mean of each block of pixels, what is left over at the edges cut off evenly."""
    factor = images.shape[1] // side
    left = (images.shape[1] - factor * side) // 2
    cut = images[:, left : left + factor * side, left : left + factor * side]
    return cut.reshape(-1, side, factor, side, factor).mean(axis=(2, 4))


def digits() -> Samples:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, shuffled with a fixed seed, a fifth of them for tests.

    Raises UsageError where scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        message = 'scikit-learn, which has the digits, is not installed: pip install "bn-conformance[scenarios]"'
        raise UsageError(f"{message}, or give MNIST's files with --mnist DIR")
    images, labels = _table(Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz")
    order = np.random.default_rng(0).permutation(len(labels))
    training = len(labels) - len(labels) // 5
    return Samples(images[order].reshape(-1, 8, 8) / 16.0, labels[order], training, "digits")


def _table(path: Path) -> tuple[Array, Array]:
    """Pixels and labels: of the table itself where it lies, since importing scikit-learn takes a second and more."""
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
        return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images, labels.astype(np.int64)


def patterns() -> Samples:
    """Ten blurred patterns with noise: as easy as digits, and there without scikit-learn."""
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 10
    centres = rng.uniform(0, 1, (10, 8, 8))
    images = np.clip(centres[labels] + 0.25 * rng.standard_normal((900, 8, 8)), 0, 1)
    return Samples(np.round(images * 16) / 16, labels, 720, "patterns")


def mnist(folder: Path) -> Samples:
    """The first samples of MNIST's four IDX files in a folder, compressed or not.

    Raises UsageError, naming the file, for one that is missing, truncated or something else.
    """
    parts = [
        read_idx(_file(folder, f"{part}-{kind}-idx{rank}-ubyte"), rank, most)
        for part, most in (("train", MOST[0]), ("t10k", MOST[1]))
        for kind, rank in _RANKS.items()
    ]
    pairs = {"train": (parts[0], parts[1]), "t10k": (parts[2], parts[3])}
    for part, (images, labels) in pairs.items():
        if len(images) != len(labels):
            raise UsageError(f"{folder}: {part} has {len(images)} images, but {len(labels)} labels")
        if labels.max(initial=0) > 9 or not len(labels):
            raise UsageError(f"{folder}: {part} holds no images with labels from 0 to 9")
    images = np.concatenate([parts[0], parts[2]]) / 255.0
    return Samples(images, np.concatenate([parts[1], parts[3]]).astype(np.int64), len(parts[0]), "MNIST")


def _file(folder: Path, name: str) -> Path:
    """The file of that name in the folder; a dot stands in for the last hyphen in some copies."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, name + ".gz", dotted, dotted + ".gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise UsageError(f"--mnist {folder}: there is no {name} (or {name}.gz) in it")


def read_idx(path: Path, rank: int, most: int) -> Array:
    """The first arrays of an IDX file of bytes. Raises UsageError, naming the file, for what is none or ends early."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * rank)
            if len(head) < 4 + 4 * rank:
                raise UsageError(f"{path} is truncated: it ends within its header, after {len(head)} bytes")
            zero, kind, dimensions = struct.unpack(">HBB", head[:4])
            if (zero, kind, dimensions) != (0, _TYPE, rank):
                raise UsageError(f"{path} is no IDX file of bytes in {rank} dimension{'s' if rank > 1 else ''}")
            extents = struct.unpack(f">{rank}I", head[4:])
            if any(extent != SIDE for extent in extents[1:]):
                raise UsageError(f"{path} holds arrays of {extents[1:]}, not images of {SIDE} x {SIDE} pixels")
            shape = (min(extents[0], most), *extents[1:])
            body = file.read(math.prod(shape))
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if len(body) < math.prod(shape):
        raise UsageError(f"{path} is truncated: {len(body)} bytes of data, where {shape} need {math.prod(shape)}")
    return np.frombuffer(body, np.uint8).reshape(shape)
