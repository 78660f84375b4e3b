"""Pointer tables: addresses in device memory, for kernels that work on many arrays in one launch."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.run import driver
from tilegrad.kernels.cuda.run.launch import current_stream
from tilegrad.kernels.cuda.tuning import CHUNKS, TABLES_KEPT, row
from tilegrad.kernels.forking import DRIVER, fork_lock

_lock = fork_lock(DRIVER)  # over the copies of every table


def cut(sizes: Sequence[int], dtype: str) -> np.ndarray:
    """The elements of arrays of these sizes in chunks of one array each, (n, 3) int64: which array,
    the chunk's first element, how many.

    Chunks begin at multiples of the table's ``chunk``. They depend on the sizes alone.
    """
    least, blocks = row(CHUNKS, dtype, "cut")[:2]
    chunk = max(1, -(-sum(sizes) // (least * blocks))) * least
    spans = [
        (index, begin, min(chunk, size - begin))
        for index, size in enumerate(sizes)
        for begin in range(0, size, chunk)
    ]
    return np.array(spans, np.int64).reshape(-1, 3)


class _Copy(NamedTuple):
    """Where one copy is: on the device, in page-locked memory on its way there, and the mark in the
    stream behind that way.
    """

    device: int
    host: int
    event: int


class PointerTables:
    """Device copies of host tables. Each lies in a block of memory of its own, followed by numbers
    that are the same for all of them, then by scratch memory.

    The steps of a training loop mostly bring the same addresses again, so copies are found by what
    the tables hold, and one is made only for new addresses. It is queued like a launch; the block
    of the table that was new longest ago on the same stream is then written over, which earlier
    kernels have read by that time.

    Attributes:
        numbers, scratch: bytes from a table's start to those parts.
    """

    def __init__(self, count: int, numbers: np.ndarray, scratch: int = 0):
        self.nbytes = 8 * count  # of a table
        self.numbers = self.nbytes
        self.scratch = -(-(self.nbytes + numbers.nbytes) // 16) * 16
        self._tail = np.ascontiguousarray(numbers, np.int64)
        self._whole = self.scratch + scratch
        self._streams: dict[int, dict[bytes, _Copy]] = {}
        weakref.finalize(self, _free, self._streams).atexit = False

    def on_device(self, table: int) -> int:
        """The device address of a copy of the host table at ``table``, for the current stream."""
        content = ctypes.string_at(table, self.nbytes)
        stream = current_stream.value
        with _lock:
            kept = self._streams.setdefault(stream, {})
            copy = kept.get(content)
            if copy is None:
                here = driver.get()
                if len(kept) < TABLES_KEPT:
                    copy = self._new(here, stream)
                else:
                    copy = kept.pop(next(iter(kept)))
                    here.synchronize_event(copy.event)  # long past
                ctypes.memmove(copy.host, content, self.nbytes)
                here.copy(copy.device, copy.host, self.nbytes, stream)
                here.record_event(copy.event, stream)
                kept[content] = copy
        return copy.device

    def _new(self, here: driver.Driver, stream: int) -> _Copy:
        host = here.allocate_host(self.nbytes)
        copy = _Copy(
            here.allocate(here.device, self._whole, stream), host, here.create_event(False)
        )
        if self._tail.nbytes:
            here.copy(copy.device + self.numbers, self._tail.ctypes.data, self._tail.nbytes, stream)
        return copy


def _free(streams: dict[int, dict[bytes, _Copy]]) -> None:
    here = driver.get()
    for stream, kept in streams.items():
        for copy in kept.values():
            here.free(here.device, copy.device, stream)
            here.free_host(copy.host)
            here.destroy_event(copy.event)


class DeviceConstant:
    """Numbers that are copied to the device once and stay there as long as this object lives."""

    __slots__ = ("__weakref__", "address")

    def __init__(self, numbers: np.ndarray):
        here, stream = driver.get(), 0
        values = np.ascontiguousarray(numbers, np.int64)
        self.address = here.allocate(here.device, max(values.nbytes, 8), stream)
        if values.nbytes:
            here.copy(self.address, values.ctypes.data, values.nbytes, stream)
            here.synchronize_stream(stream)
        release = weakref.finalize(self, here.free, here.device, self.address, stream)
        release.atexit = False
