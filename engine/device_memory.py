"""The memory of a GPU and page-locked memory of the host: caching allocators that know of streams.

A block goes back to the stream it was allocated on as soon as nobody holds it, and may serve work
that comes later on that stream at once. Blocks that work on other streams uses too
(:func:`use_on_stream`), and page-locked ones that copies still read or write, wait until that work is done.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from tilegrad.engine import cuda
from tilegrad.engine.errors import OutOfMemoryError
from tilegrad.engine.memory import Allocator, Counts, FreeList, Storage, new_storage, owner
from tilegrad.kernels.builtin import cell
from tilegrad.kernels.cuda.run.driver import CudaOutOfMemory
from tilegrad.kernels.cuda.run.launch import current_stream

SHUT = cell(0)  # a gate that lets no thread through

# ------------------------------------------------------------------------------ sources of memory


class _Segments:
    """Segments from the driver's stream-ordered pool, for work on one stream."""

    spare = math.inf  # a GPU that is full says so, and the cache is emptied then

    def __init__(self, device: int, stream: int):
        self.device = device
        self.stream = stream

    def take(self, nbytes: int) -> int:
        try:
            return cuda.driver().allocate(self.device, nbytes, self.stream)
        except CudaOutOfMemory:
            raise MemoryError from None

    def give(self, address: int, nbytes: int) -> None:
        cuda.driver().free(self.device, address, self.stream)

    def describe(self) -> str:
        free, total = cuda.driver().memory_info(self.device)
        return f", {free} of the GPU's {total} bytes are free"


class _PageLocked:
    """Host memory that the GPU can copy from and to by itself."""

    spare = math.inf

    def take(self, nbytes: int) -> int:
        try:
            return cuda.driver().allocate_host(nbytes)
        except CudaOutOfMemory:
            raise MemoryError from None

    def give(self, address: int, nbytes: int) -> None:
        cuda.driver().free_host(address)

    def describe(self) -> str:
        return " (page-locked memory)"


_PINNED = Allocator(_PageLocked())

# ------------------------------------------------------------------------------------ allocators


class DeviceAllocator:
    """The memory of a GPU: a caching allocator per stream, with common counts."""

    def __init__(self, device: int):
        self.device = device
        self.counts = Counts()
        self._streams: dict[tuple[int, bool], Allocator] = {}
        self._none = FreeList()  # always empty: callers come to allocate, which knows the stream
        self._none.belong_to(self.counts, _Segments(device, 0), SHUT, 0)

    def allocate(self, nbytes: int) -> Storage:
        """A block for work on the current stream; see :meth:`Allocator.allocate`.

        Where nothing is out of the ordinary, the thread's next ones come from machine code.
        """
        cuda.bind_thread()
        if _waiting:
            _reclaim()
        key = (current_stream.value, cuda.debugging())
        plain = key == (0, False) and not _waiting
        cuda.gate.value = threading.get_ident() if plain else 0
        found = self._streams.get(key) or self._new(key)
        try:
            return found.allocate(nbytes)
        except OutOfMemoryError:
            cuda.driver().synchronize(self.device)
            _reclaim()
            self.empty_cache()  # of all streams
            return found.allocate(nbytes)

    def _new(self, key: tuple[int, bool]) -> Allocator:
        stream, debugging = key
        exact = debugging or cuda.driver().simulated
        made = (_ExactAllocator if exact else Allocator)(
            _Segments(self.device, stream), self.counts, SHUT if stream else cuda.gate
        )
        return self._streams.setdefault(key, made)

    def pool_of(self, nbytes: int) -> FreeList:
        """The list of the default stream, for as long as the gate is open; or an empty one, so that
        callers come to :meth:`allocate`.
        """
        if cuda.driver().simulated:
            return self._none
        key = (0, False)
        return (self._streams.get(key) or self._new(key)).pool_of(nbytes)

    def empty_cache(self) -> None:
        """Give cached segments back to the driver."""
        for found in list(self._streams.values()):
            found.empty_cache()


class _Returned(FreeList):
    """A free list that keeps nothing."""

    __slots__ = ()

    def append(self, address: int, leaving: Callable[[], bool] = sys.is_finalizing) -> None:
        if leaving():  # the modules that this needs are gone
            return
        self.source.give(address, self.size)
        self.counts.reserved -= self.size
        self.counts.segments -= 1


class _ExactAllocator(Allocator):
    """No cache and no rounding, so that every stray access is noticed."""

    def allocate(self, nbytes: int) -> Storage:
        counts = self.counts
        address = self._take(nbytes)
        counts.add(nbytes)
        pool = _Returned()
        pool.belong_to(counts, self.source, SHUT, nbytes)
        return new_storage(address, nbytes, pool)


def pinned(nbytes: int) -> Storage:
    """A block of page-locked host memory.

    Raises:
        DeviceError: there is no GPU.
        OutOfMemoryError: the system refuses.
    """
    cuda.bind_thread()
    if _waiting:
        _reclaim()
    return _PINNED.allocate(nbytes)


def is_pinned(storage: Storage) -> bool:
    """Whether a block is page-locked host memory of this allocator."""
    return storage.pool is not None and storage.pool.source is _PINNED.source


# --------------------------------------------------------------------------- work on other streams


class _Lent(FreeList):
    """Stands in for the free list of a block that other streams use: takes it back for them."""

    __slots__ = ("home", "streams")

    def __init__(self, home: FreeList):
        super().__init__()
        self.home = home
        self.belong_to(home.counts, home.source, SHUT, home.size)
        self.streams: set[int] = set()

    def append(self, address: int, leaving: Callable[[], bool] = sys.is_finalizing) -> None:
        if leaving():
            return
        here, events = cuda.driver(), []
        for stream in self.streams:
            event = here.create_event(False)
            here.record_event(event, stream)
            events.append(event)
        _waiting.append((events, self.home, address))
        cuda.gate.value = 0  # until they are back


_waiting: deque[tuple[list[int], FreeList, int]] = deque()


def use_on_stream(storage: Storage, stream: int) -> None:
    """Let ``stream`` use the block: once nobody holds it, it serves others only when the work that
    the stream has queued by then is done.
    """
    storage = owner(storage)
    pool: Any = storage.pool
    if pool is None or getattr(pool.source, "stream", None) == stream:
        return
    if not isinstance(pool, _Lent):
        storage.pool = pool = _Lent(pool)
    pool.streams.add(stream)


def _reclaim() -> None:
    """Put blocks whose work is done back on their free lists."""
    here = cuda.driver()
    while _waiting:
        events, home, address = entry = _waiting.popleft()
        if not all(here.event_is_done(event) for event in events):
            _waiting.appendleft(entry)
            return
        for event in events:
            here.destroy_event(event)
        home.append(address)
