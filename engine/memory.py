"""Storage and the caching allocator: one policy for every device.

Freed blocks are kept by size class and handed out again, so that a training step touches no fresh
memory after its first round: page faults and driver calls cost more than arithmetic. Sizes up to
1 MiB round up to a power of two or three quarters of one; larger ones to a multiple of 1/8 of the
power below.
"""

from __future__ import annotations

import copyreg
import ctypes
import math
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from tilegrad.engine import plain
from tilegrad.engine.errors import OutOfMemoryError
from tilegrad.engine.interpreter import chosen
from tilegrad.engine.native_storage import compile_storage
from tilegrad.kernels.builtin import cell
from tilegrad.kernels.forking import DATA, compiler, fork_lock

ALIGNMENT = 64
A_TENSOR = 512  # bytes of the objects that a tensor is, at least
_SLAB = 1 << 20
_SMALL = 1 << 15

_address_of = ctypes.addressof


OPEN = cell(-1)  # a gate for every thread; 0 lets none through


def refuse_beyond_memory(op: str, count: int, nbytes: int) -> None:
    """For what would be made one by one until there is no memory left.

    Raises:
        OutOfMemoryError: ``count`` of ``nbytes`` are more than this machine has.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if count * nbytes > most:
        raise OutOfMemoryError(
            f"{op}: {count} times {nbytes} bytes are more than the {most} that this machine has"
        )


class Counts:
    """What an allocator has given out and taken from the system, in bytes."""

    __slots__ = ("cells", "reserved", "reserved_peak", "retries", "segments")

    def __init__(self) -> None:
        self.cells = (ctypes.c_int64 * 2)()  # allocated, peak: machine code counts here
        self.segments = self.retries = self.reserved = self.reserved_peak = 0

    @property
    def allocated(self) -> int:
        """Bytes in blocks that are in use."""
        return self.cells[0]

    @property
    def peak(self) -> int:
        """The most there were."""
        return self.cells[1]

    def add(self, nbytes: int) -> None:
        """A block was given out."""
        self.cells[0] += nbytes
        if self.cells[0] > self.cells[1]:
            self.cells[1] = self.cells[0]


class FreeList(list):
    """Addresses of free blocks of one size, with the counts and the source of their allocator."""

    __slots__ = ("cells", "counts", "gate", "size", "source")
    size: int  # of a block, in bytes
    cells: int  # the address of the counts' cells
    counts: Counts
    gate: int  # the address of the thread that machine code may serve from here
    source: Source

    def belong_to(self, counts: Counts, source: Source, gate: ctypes.c_int64, size: int) -> None:
        """Set what free lists of one allocator have in common, and the ``size`` of the blocks."""
        self.counts, self.source, self.size = counts, source, size
        self.cells, self.gate = ctypes.addressof(counts.cells), ctypes.addressof(gate)


class Storage(Protocol):
    """A block of memory, shared by an array and its views. Made by :func:`new_storage`; when nobody
    holds it any more, the block returns to its pool.

    Attributes:
        address: of the block; nbytes: as many as were asked for, which its pool may have rounded up: what
            lies behind them belongs to nobody.
        pool: the free list to return to; None: memory that someone else owns.
        base: keeps foreign memory alive.
        version: counts writes.
    """

    address: int
    nbytes: int
    pool: FreeList | None
    base: object
    version: int


def new_storage(address: int, nbytes: int, pool: FreeList | None, base: object = None) -> Storage:
    """A storage over the block at ``address``; see :class:`Storage`."""
    global _make_storage
    if _make_storage is None:
        with compiler:
            if _make_storage is None:
                make = chosen(lambda: compile_storage(FreeList), lambda: plain.Storage)
                copyreg.pickle(type(make(0, 0, None, None)), _reduced)
                _make_storage = make
    return _make_storage(address, nbytes, pool, base)  # type: ignore[no-any-return]


def counted_apart(storage: Storage) -> Storage:
    """A storage over the same block, which it keeps alive, with a count of writes of its own."""
    return new_storage(storage.address, storage.nbytes, None, owner(storage))


def owner(storage: Storage) -> Storage:
    """The storage that holds the block: itself, unless it was counted apart."""
    base: Any = storage.base
    return storage if storage.pool is not None or base.__class__ is not storage.__class__ else base


def overlap(one: Storage, other: Storage) -> bool:
    """Whether two storages have memory in common: they are one, or blocks of which one is lent: by another storage
    that counts apart, by NumPy, or by whoever else does not say to how many.
    """
    if one is other:
        return True
    if one.pool is not None and other.pool is not None:
        return False
    first, begin = one.address, other.address
    return bool(first) and first < begin + other.nbytes and begin < first + one.nbytes


_make_storage: Callable[..., Any] | None = None


def _reduced(storage: Storage) -> tuple[Any, ...]:
    """A storage in a pickle; the arrays over it bring its bytes."""
    from tilegrad.engine.sharing import Shared

    return Shared, ()


class Source(Protocol):
    """Where an allocator takes segments from and gives them back to.

    Attributes:
        spare: bytes that may lie in cached blocks whatever is in use; more is cached only up to as
            much as ever was in use.
    """

    spare: float

    def take(self, nbytes: int) -> int:
        """The address of a new segment.

        Raises:
            MemoryError: there is none.
        """

    def give(self, address: int, nbytes: int) -> None:
        """Return a segment."""

    def describe(self) -> str:
        """How much is left, for the message of an error; may be empty."""


def size_class(nbytes: int) -> int:
    """Bytes of the block that serves a request of ``nbytes``."""
    if nbytes <= ALIGNMENT:
        return ALIGNMENT
    power = 1 << (nbytes - 1).bit_length()
    if nbytes <= 1 << 20:
        return power // 4 * 3 if nbytes <= power // 4 * 3 and power >= 256 else power
    step = power // 16
    return -(-nbytes // step) * step


class Allocator:
    """Blocks from the segments of one source, cached by size class."""

    def __init__(self, source: Source, counts: Counts | None = None, gate: ctypes.c_int64 = OPEN):
        self.source = source
        self.gate = gate
        self.counts = Counts() if counts is None else counts
        self._lock = fork_lock(DATA)
        self._free: dict[int, FreeList] = {}  # size class -> free blocks
        self._classes: dict[int, FreeList] = {}  # requested bytes -> the list of its size class
        self._segments: set[int] = set()  # addresses of the blocks that are segments of their own
        self._most = 0  # bytes in use when a segment was taken, at most

    def allocate(self, nbytes: int) -> Storage:
        """A block of at least ``nbytes`` bytes, 64-byte aligned, contents undefined.

        Raises:
            OutOfMemoryError: the system refuses, also after the cache was emptied.
        """
        try:
            pool = self._classes[nbytes]
        except KeyError:
            pool = self._class_of(nbytes)
        size = pool.size
        try:
            address = pool.pop()
        except IndexError:
            address = self._grow(size, pool)
        self.counts.add(size)
        return new_storage(address, nbytes, pool)

    def pool_of(self, nbytes: int) -> FreeList:
        """The free list of requests of ``nbytes``, for callers that allocate often."""
        found = self._classes.get(nbytes)  # which may be empty, that is false
        return self._class_of(nbytes) if found is None else found

    def _class_of(self, nbytes: int) -> FreeList:
        size = size_class(nbytes)
        if len(self._classes) > 65536:  # a program with endless shapes must not grow this for ever
            self._classes.clear()
        with self._lock:
            pool = self._free.get(size)
            if pool is None:
                pool = FreeList()
                pool.belong_to(self.counts, self.source, self.gate, size)
                self._free[size] = pool
            self._classes[nbytes] = pool
        return pool

    def _grow(self, size: int, pool: FreeList) -> int:
        """A fresh block: a segment of its own when large, a piece of a slab when small."""
        if size > _SMALL:
            address = self._take(size)
            self._segments.add(address)
            return address
        start = self._take(_SLAB)
        pool.extend(range(start + size, start + _SLAB - size + 1, size))
        return start

    def _take(self, size: int) -> int:
        counts = self.counts
        in_use = counts.allocated
        if in_use + size > _ceiling.get():
            raise OutOfMemoryError(
                f"allocate: {size} more bytes are above the limit set here; {in_use} bytes are in use"
            )
        self._most = max(self._most, in_use + size)
        if counts.reserved - in_use > max(self._most, self.source.spare):
            self.empty_cache()  # sizes that change for ever would else be cached for ever
        try:
            address = self.source.take(size)
        except MemoryError:
            counts.retries += 1
            self.empty_cache()
            try:
                address = self.source.take(size)
            except MemoryError:
                raise OutOfMemoryError(
                    f"allocate: out of memory: the system refused {size} bytes; {counts.allocated} "
                    f"bytes are in use, {counts.reserved - counts.allocated} "
                    f"cached{self.source.describe()}"
                ) from None
        counts.segments += 1
        counts.reserved += size
        counts.reserved_peak = max(counts.reserved_peak, counts.reserved)
        return address

    def empty_cache(self) -> None:
        """Give cached blocks that are segments of their own back to the system."""
        with self._lock:
            for size, pool in self._free.items():
                if size <= _SMALL:
                    continue
                while pool:
                    try:
                        address = pool.pop()
                    except IndexError:
                        break
                    self._segments.discard(address)
                    self.source.give(address, size)
                    self.counts.reserved -= size
                    self.counts.segments -= 1


_ceiling: ContextVar[float] = ContextVar("bytes in use at most", default=math.inf)


@contextmanager
def at_most(nbytes: float) -> Iterator[None]:
    """In this block, and this thread, memory of the CPU that is in use may grow by ``nbytes``: what would need
    more is an :class:`OutOfMemoryError`. Blocks that are cached count as in use.
    """
    before = _ceiling.set(max(HOST.counts.reserved, HOST.counts.allocated + nbytes))
    try:
        yield
    finally:
        _ceiling.reset(before)


_PRIVATE: dict[str, int] = (  # mmap's own default is memory that children share
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)


def _memory(root: Path = Path("/")) -> float:
    """Bytes of memory that this process may use: the machine's, or its control group's."""
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, float((root / "sys/fs/cgroup" / name).read_text()))
        except (OSError, ValueError):  # none, or "max"
            continue
    return memory


class HostPages:
    """Anonymous pages of the host, in huge pages where they are large.

    They are private: a forked child has a copy of what was in them, made page by page when either
    side writes, and with it free lists and counts of its own over the same addresses. What the two
    write, take and give back after the fork, the other does not see.
    """

    def __init__(self) -> None:
        self._mappings: dict[int, mmap.mmap] = {}
        self.spare = _memory() / 16

    def take(self, nbytes: int) -> int:
        try:
            mapping = mmap.mmap(-1, nbytes, **_PRIVATE)
        except (OSError, OverflowError, ValueError):
            raise MemoryError from None
        if nbytes >= 1 << 21 and hasattr(mmap, "MADV_HUGEPAGE"):
            mapping.madvise(mmap.MADV_HUGEPAGE)
        address = _address_of(ctypes.c_char.from_buffer(mapping))
        self._mappings[address] = mapping
        return address

    def give(self, address: int, nbytes: int) -> None:
        # closing is refused while a ctypes view exists; dropping the last reference unmaps
        del self._mappings[address]

    def describe(self) -> str:
        return ""


HOST = Allocator(HostPages())


def empty_cache() -> None:
    """Give cached blocks of the CPU back to the system."""
    HOST.empty_cache()


def statistics(counts: Counts) -> dict[str, int]:
    """Counts by name: ``allocated_bytes`` are in live arrays, ``reserved_bytes`` were taken from the
    system, ``cached_bytes`` is their difference, ``segments`` counts pieces taken from the system,
    ``retries`` how often the cache was emptied for want of memory.
    """
    return {
        "allocated_bytes": counts.allocated,
        "peak_allocated_bytes": counts.peak,
        "reserved_bytes": counts.reserved,
        "peak_reserved_bytes": counts.reserved_peak,
        "cached_bytes": counts.reserved - counts.allocated,
        "segments": counts.segments,
        "retries": counts.retries,
    }


def memory_stats() -> dict[str, int]:
    """Allocator statistics of the CPU; see :func:`statistics`."""
    return statistics(HOST.counts)


def reset_peaks(counts: Counts) -> None:
    """Start measuring peaks anew."""
    counts.cells[1] = counts.cells[0]
    counts.reserved_peak = counts.reserved


def reset_peak_memory_stats() -> None:
    """Start measuring the peaks of :func:`memory_stats` anew."""
    reset_peaks(HOST.counts)


Allocates = Any  # an Allocator, or what a device has in its place: allocate, pool_of, empty_cache
