"""Faults that show in some memory layouts only: strides forgotten, gaps touched, access misunderstood."""

# ruff: noqa: D102  (the docstring of a class says what the methods that it overrides do)

import numpy as np
from numpy.lib.stride_tricks import as_strided

from adapters.interface import Array, Step
from adapters.layout import phase
from adapters.numpy_reference import NumpyLayer
from conformance.zoo.registry import fault

CAUGHT = ("BN-601", "BN-101")


def in_memory_order(a: Array) -> Array:
    """The elements in the order of their memory, as an array of that shape."""
    return a.ravel(order="K").reshape(a.shape)


def has_gaps(a: Array) -> bool:
    """Whether every second element along the last axis is not the array's."""
    return bool(a.size) and a.ndim > 0 and a.strides[-1] == 2 * a.itemsize


class Misread(NumpyLayer):
    """A layer that reads its arguments in a way of its own."""

    def read(self, a: Array) -> Array:
        """The argument as it is taken to be."""
        return a

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        """Train on what was read."""
        return super().train(self.read(x), None if dy is None else self.read(dy), update)

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        """Infer on what was read."""
        return super().infer(self.read(x), None if dy is None else self.read(dy))


@fault("6", *CAUGHT)
class FortranReadAsC(Misread):
    """Reads an input in Fortran order as if it lay in C order."""

    def read(self, a: Array) -> Array:
        return in_memory_order(a) if a.flags.f_contiguous and not a.flags.c_contiguous else a


@fault("6", *CAUGHT)
class NegativeStridesIgnored(Misread):
    """Reads a reversed input forwards."""

    def read(self, a: Array) -> Array:
        return a[tuple(slice(None, None, -1) if s < 0 else slice(None) for s in a.strides)]


@fault("6", *CAUGHT)
class FirstStrideNegativeOnly(Misread):
    """Reads an input forwards along its first axis where that runs backwards, with the other axes as they are."""

    def read(self, a: Array) -> Array:
        return a[::-1] if a.strides[0] < 0 else a


@fault("6", *CAUGHT)
class GapsRead(Misread):
    """Reads consecutive elements where every second one is meant."""

    def read(self, a: Array) -> Array:
        return as_strided(a, a.shape, (*a.strides[:-1], a.itemsize)) if has_gaps(a) else a


@fault("6", *CAUGHT)
class BatchStrideComputed(Misread):
    """Computes the stride of the batch from the extents where the last axis has none of its own."""

    def read(self, a: Array) -> Array:
        if a.ndim < 2 or not has_gaps(a):
            return a
        computed = a.strides[-1] * int(np.prod(a.shape[1:]))
        return as_strided(a, a.shape, (min(computed, a.strides[0]), *a.strides[1:]))


@fault("6", *CAUGHT, reference="pytorch#175189, channels_last on MPS")
class ChannelsLastMemoryReadAsFirst(Misread):
    """Reads channels-last memory, from rank 3 on, as channels-first memory."""

    def read(self, a: Array) -> Array:
        ordered = a.ndim > 2 and np.moveaxis(a, 1, -1).flags.c_contiguous and not a.flags.c_contiguous
        return in_memory_order(a) if ordered else a


@fault("6", *CAUGHT)
class ChannelsFirstMemoryReadAsLast(Misread):
    """Reads channels-first memory, from rank 3 on, as channels-last memory."""

    def read(self, a: Array) -> Array:
        ordered = a.ndim > 2 and np.moveaxis(a, -1, 1).flags.c_contiguous and not a.flags.c_contiguous
        return in_memory_order(a) if ordered else a


@fault("6", *CAUGHT)
class MisalignedStartRoundedDown(Misread):
    """Loads vectors from the aligned address before a misaligned start."""

    def read(self, a: Array) -> Array:
        return np.roll(a.reshape(-1), 1).reshape(a.shape) if phase(a) else a


@fault("6", *CAUGHT)
class MisalignedTailDropped(Misread):
    """Reads a zero for the last element of an input whose start is not aligned."""

    def read(self, a: Array) -> Array:
        if not phase(a):
            return a
        a = a.copy()
        a.flat[-1] = 0
        return a


@fault("6", *CAUGHT)
class BroadcastCountedOnce(NumpyLayer):
    """Counts the elements along a broadcast axis once."""

    stride_zero = 1

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        reduced = [n for a, n in enumerate(x.shape) if x.strides[a] == 0 and n > 1 and a in self.axes]
        self.stride_zero = int(np.prod(reduced, dtype=np.int64))
        return super().train(x, dy, update)

    def count(self, x: Array) -> int:
        return super().count(x) // self.stride_zero


@fault("6", "BN-601", "BN-401")
class ReadOnlyNeedsNoGradient(NumpyLayer):
    """Gives zero for dx where x is read-only: it is taken for a constant."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        return step if step.dx is None or x.flags.writeable else step._replace(dx=np.zeros_like(step.dx))


@fault("6", "BN-601", "BN-401", "BN-402")
class UpstreamReadInMemoryOrder(NumpyLayer):
    """Reads dy, but not x, in the order of its memory."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        return super().train(x, None if dy is None else in_memory_order(dy), update)


@fault("6", "BN-601", "BN-401", "BN-404")
class UpstreamBroadcastTakenForOne(NumpyLayer):
    """Takes a broadcast dy for ones: it usually comes of a sum."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if dy is not None and any(s == 0 and n > 1 for s, n in zip(dy.strides, dy.shape, strict=True)):
            dy = np.ones_like(dy)
        return super().train(x, dy, update)


@fault("6", "BN-601", "BN-201")
class InferenceInMemoryOrder(NumpyLayer):
    """Returns the inference output with the elements of an input that is not in C order in the order of memory."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        return step if x.flags.c_contiguous else step._replace(y=in_memory_order(step.y))


@fault("6", "BN-601", "BN-401")
class DxLaidOutLikeX(NumpyLayer):
    """Returns dx in the memory order of x, with the shape that C order has."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if step.dx is None or not x.flags.f_contiguous or x.flags.c_contiguous:
            return step
        return step._replace(dx=step.dx.ravel(order="F").reshape(x.shape))


@fault("6", "BN-601", "BN-301", "BN-302")
class UpdateFromMemory(NumpyLayer):
    """Takes the moving statistics from the input's memory order, and the batch's from the input."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update=False)
        if update:
            xc = self.widened(in_memory_order(x))
            self.update(*self.batch_statistics(xc), self.count(xc))
        return step


@fault("6", "BN-604", "BN-701")
class GapsWritten(NumpyLayer):
    """Uses the gaps between an input's elements as scratch memory."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if has_gaps(x) and x.flags.writeable and x.shape[0] > 1:
            rows = as_strided(x, (2 * x.shape[0] - 1, *x.shape[1:]), (x.strides[0] // 2, *x.strides[1:]))
            rows[1::2] = 0
        return step


@fault("6", "BN-604", "BN-701")
class CenteredInPlaceWhereStrided(NumpyLayer):
    """Centers an input in its own memory unless that is contiguous: the copy is taken to have been made."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if x.flags.writeable and not x.flags.c_contiguous:
            x -= self.batch_statistics(x)[0]
        return step


@fault("6", "BN-604", "BN-703")
class FortranInferredInPlace(NumpyLayer):
    """Writes the inference output over an input in Fortran order."""

    def infer(self, x: Array, dy: Array | None = None) -> Step:
        step = super().infer(x, dy)
        if x.flags.c_contiguous or not x.flags.f_contiguous or not x.flags.writeable:
            return step
        x[...] = step.y
        return step._replace(y=x)


@fault("6", "BN-604", "BN-701")
class ReadOnlyMadeWriteable(NumpyLayer):
    """Centers a read-only input in its own memory, which it takes leave to write to."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        step = super().train(x, dy, update)
        if not x.flags.writeable and x.flags.c_contiguous:
            leave = as_strided(x, writeable=True) if x.base is None else x
            leave.flags.writeable = True
            leave -= self.batch_statistics(x)[0]
        return step


@fault("6", "BN-601")
class ReadOnlyRefused(NumpyLayer):
    """Cannot work on read-only memory, since it asks for a buffer to write to."""

    def train(self, x: Array, dy: Array | None = None, update: bool = True) -> Step:
        if not x.flags.writeable:
            raise ValueError("buffer source array is read-only")
        return super().train(x, dy, update)
