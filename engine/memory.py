"""Storage and the caching allocator.

Freed blocks are kept by size class and handed out again, so that a training step touches no fresh
pages after its first round: page faults cost more than arithmetic. Sizes up to 1 MiB round up to a
power of two or three quarters of one; larger ones to a multiple of 1/8 of the power below.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from typing import Any

from tilegrad.engine.errors import OutOfMemoryError

ALIGNMENT = 64
_SLAB = 1 << 20
_SMALL = 1 << 15

_address_of = ctypes.addressof


class Storage:
    """A block of memory, shared by an array and its views, with the version that writes bump."""

    __slots__ = ("address", "base", "nbytes", "pool", "version")

    def __init__(self, address: int, nbytes: int, pool: list[int] | None, base: object = None):
        self.address = address
        self.nbytes = nbytes  # of the block
        self.pool = pool  # the free list to return to; None: memory that someone else owns
        self.base = base  # keeps foreign memory alive
        self.version = 0

    def __del__(self) -> None:
        pool = self.pool
        if pool is not None:
            pool.append(self.address)
            _counts.allocated -= self.nbytes


class _Counts:
    __slots__ = ("allocated", "peak", "reserved", "reserved_peak", "segments")

    def __init__(self) -> None:
        self.allocated = self.peak = self.segments = 0
        self.reserved = self.reserved_peak = 0


_counts = _Counts()
_lock = threading.Lock()
_free: dict[int, list[int]] = {}  # size class -> addresses of free blocks
_classes: dict[int, tuple[int, list[int]]] = {}  # requested bytes -> (size class, its free list)
_segments: dict[int, Any] = {}  # address -> mapping, for blocks that own their segment
_slabs: list[Any] = []


def size_class(nbytes: int) -> int:
    """Bytes of the block that serves a request of ``nbytes``."""
    if nbytes <= ALIGNMENT:
        return ALIGNMENT
    power = 1 << (nbytes - 1).bit_length()
    if nbytes <= 1 << 20:
        return power // 4 * 3 if nbytes <= power // 4 * 3 and power >= 256 else power
    step = power // 16
    return -(-nbytes // step) * step


def allocate(nbytes: int) -> Storage:
    """A block of at least ``nbytes`` bytes, 64-byte aligned, contents undefined.

    Raises:
        OutOfMemoryError: the system refuses, also after the cache was emptied.
    """
    try:
        size, pool = _classes[nbytes]
    except KeyError:
        size, pool = _class_of(nbytes)
    try:
        address = pool.pop()
    except IndexError:
        address = _grow(size, pool)
    _counts.allocated = allocated = _counts.allocated + size
    if allocated > _counts.peak:
        _counts.peak = allocated
    return Storage(address, size, pool)


def pool_of(nbytes: int) -> tuple[int, list[int]]:
    """(size class, free list) of requests of ``nbytes``, for callers that allocate often."""
    return _classes.get(nbytes) or _class_of(nbytes)


def _class_of(nbytes: int) -> tuple[int, list[int]]:
    size = size_class(nbytes)
    if len(_classes) > 65536:  # a program with endless shapes must not grow this for ever
        _classes.clear()
    with _lock:
        entry = _classes[nbytes] = (size, _free.setdefault(size, []))
    return entry


def _grow(size: int, pool: list[int]) -> int:
    """A fresh block: its own mapping when large, a piece of a slab when small."""
    if size > _SMALL:
        mapping = _map(size)
        address = _address_of(ctypes.c_char.from_buffer(mapping))
        _segments[address] = mapping
        return address
    mapping = _map(_SLAB)
    _slabs.append(mapping)
    start = _address_of(ctypes.c_char.from_buffer(mapping))
    pool.extend(range(start + size, start + _SLAB - size + 1, size))
    return start


def _map(size: int) -> mmap.mmap:
    try:
        mapping = _try_map(size)
    except (OSError, OverflowError, ValueError):
        empty_cache()
        try:
            mapping = _try_map(size)
        except (OSError, OverflowError, ValueError):
            raise OutOfMemoryError(
                f"allocate: the system refused {size} bytes; {_counts.allocated} bytes are in use, "
                f"{_counts.reserved} reserved"
            ) from None
    counts = _counts
    counts.segments += 1
    counts.reserved += size
    counts.reserved_peak = max(counts.reserved_peak, counts.reserved)
    return mapping


def _try_map(size: int) -> mmap.mmap:
    mapping = mmap.mmap(-1, size)
    if size >= 1 << 21 and hasattr(mmap, "MADV_HUGEPAGE"):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping


def empty_cache() -> None:
    """Give cached blocks that own their segment back to the system."""
    with _lock:
        for size, pool in _free.items():
            if size <= _SMALL:
                continue
            while pool:
                try:
                    address = pool.pop()
                except IndexError:
                    break
                mapping = _segments.pop(address, None)
                if mapping is not None:
                    _counts.reserved -= size
                    _counts.segments -= 1
                    # closing is refused while a ctypes view exists; dropping the last reference
                    # unmaps
                    del mapping


def memory_stats() -> dict[str, int]:
    """Allocator statistics of the CPU, in bytes and counts.

    ``allocated_bytes`` are in live arrays, ``reserved_bytes`` were taken from the system,
    ``cached_bytes`` is their difference, ``segments`` counts pieces taken from the system.
    """
    counts = _counts
    return {
        "allocated_bytes": counts.allocated,
        "peak_allocated_bytes": counts.peak,
        "reserved_bytes": counts.reserved,
        "peak_reserved_bytes": counts.reserved_peak,
        "cached_bytes": counts.reserved - counts.allocated,
        "segments": counts.segments,
    }


def reset_peak_memory_stats() -> None:
    """Start measuring the peaks of :func:`memory_stats` anew."""
    _counts.peak = _counts.allocated
    _counts.reserved_peak = _counts.reserved
