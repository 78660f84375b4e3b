"""Values between processes through anonymous shared memory.

A value is pickled with its arrays left out of the stream; stream and arrays are written once into
a :class:`Segment`, and the reader's arrays lie over that same memory. A segment is a file without
a name: only its descriptors and mappings hold it, so nothing can be left behind, however a process
ends, and the size limit of ``/dev/shm`` does not count.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
from multiprocessing.reduction import ForkingPickler
from typing import Any

from tilegrad.autograd.copying import of_kind
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.memory import ALIGNMENT, size_class
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import reach

_MINIMUM = 1 << 16  # bytes of the smallest segment


class Segment:
    """Shared memory behind the file descriptor ``fd``, which it owns."""

    def __init__(self, fd: int, size: int, private: bool = False):
        """Map ``size`` bytes; what is written to a ``private`` mapping stays in this process."""
        self.fd = fd
        self.size = size
        flags = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
        self.memory = mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    @classmethod
    def create(cls, nbytes: int) -> Segment:
        """A new one of at least ``nbytes`` bytes.

        Raises:
            OSError: the system has no memory left.
        """
        fd = os.memfd_create("tilegrad", os.MFD_CLOEXEC)
        try:
            return cls(fd, _reserve(fd, nbytes))
        except BaseException:
            os.close(fd)
            raise

    def grow(self, nbytes: int) -> None:
        """Make room for ``nbytes`` bytes. Old arrays keep the old mapping."""
        if nbytes > self.size:
            self.remap(_reserve(self.fd, nbytes))

    def remap(self, size: int) -> None:
        """Follow a change of size made by the other side."""
        if size != self.size:
            self.memory = mmap.mmap(self.fd, size)
            self.size = size

    def close(self) -> None:
        """Give up the descriptor; the memory lives until no array shows it."""
        os.close(self.fd)


def _reserve(fd: int, nbytes: int) -> int:
    size = max(_MINIMUM, size_class(nbytes))
    size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    os.posix_fallocate(fd, 0, size)  # an error here, not a SIGBUS at the first write
    return size


# ------------------------------------------------------------------------------------- pickling


def reduce_tensor(t: Tensor) -> tuple[Any, ...]:
    """How a tensor travels to another process.

    Raises:
        RuntimeError: it is part of a graph, which cannot travel.
    """
    if t.requires_grad and not t.is_leaf:
        raise RuntimeError(
            "pickle: a non-leaf Tensor that requires grad cannot be sent to another process; "
            "detach() it first"
        )
    return t.__reduce_ex__(5)


ForkingPickler.register(Tensor, reduce_tensor)  # for a user's own queues and pipes


def _without_gaps(t: Tensor) -> Tensor:
    """``t``, or a copy of its elements alone: a column must not bring its matrix along."""
    kind = t.layout
    if reach(kind.shape, kind.strides) <= kind.numel or not t.is_leaf:
        return t
    made: Tensor = of_kind(type(t), contiguous(t))
    made._tracked = t._tracked
    made.__dict__.update(t.__dict__)
    return made


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        return reduce_tensor(_without_gaps(value)) if isinstance(value, Tensor) else NotImplemented


class Packed:
    """A value ready to be written into shared memory.

    Layout, in 64-bit words: length of the stream, number of buffers, offset and length of each;
    then the stream, then the buffers, each at a multiple of 64 bytes.
    """

    def __init__(self, value: Any):
        """Pickle ``value``.

        Raises:
            Exception: whatever pickling raises.
        """
        stream, buffers = io.BytesIO(), []  # type: ignore[var-annotated]
        _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
        self.stream = stream.getbuffer()
        self.buffers = [b.raw() for b in buffers]
        end = 8 * (2 + 2 * len(buffers)) + len(self.stream)
        table = [len(self.stream), len(buffers)]
        for buffer in self.buffers:
            begin = -(-end // ALIGNMENT) * ALIGNMENT
            table += [begin, buffer.nbytes]
            end = begin + buffer.nbytes
        self.header = struct.pack(f"<{len(table)}Q", *table)
        self.offsets = table[2::2]
        self.nbytes = end

    def write(self, memory: Any) -> None:
        """Copy everything to the start of ``memory``."""
        with memoryview(memory) as view:
            head = len(self.header)
            view[:head] = self.header
            view[head : head + len(self.stream)] = self.stream
            for begin, buffer in zip(self.offsets, self.buffers, strict=True):
                view[begin : begin + buffer.nbytes] = buffer


def unpack(memory: Any) -> Any:
    """The value written at the start of ``memory``; its arrays keep ``memory`` alive."""
    view = memoryview(memory)
    length, count = struct.unpack_from("<2Q", view)
    table = struct.unpack_from(f"<{2 * count}Q", view, 16)
    start = 16 * (1 + count)
    places = zip(table[::2], table[1::2], strict=True)
    buffers = [view[begin : begin + size] for begin, size in places]
    return pickle.loads(view[start : start + length], buffers=buffers)
