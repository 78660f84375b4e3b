"""The GPU of this process: its memory, streams, events, and what is still to be checked.

Work is queued on the current stream and done later; the host waits where it reads a result. Errors
that kernels notice (an index out of bounds) are raised at the next such place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tilegrad.engine.errors import DeviceError
from tilegrad.engine.memory import Allocator, Counts, FreeList, Storage
from tilegrad.kernels.cuda import driver as drivers
from tilegrad.kernels.cuda.driver import CudaOutOfMemory, Driver, Properties, Unavailable
from tilegrad.kernels.cuda.launch import current_stream as _stream_cell

_device = 0  # number of the GPU this process uses
_used = False


def driver() -> Driver:
    """The driver, with this process's GPU made current.

    Raises:
        DeviceError: there is none; the message says what is missing and how to get it.
    """
    global _used
    try:
        found = drivers.get()
    except Unavailable as error:
        raise DeviceError(str(error)) from None
    if not _used:
        found.use(_device)
        _used = True
    return found


def is_available() -> bool:
    """Whether a GPU, its driver and the packages of ``tilegrad[cuda]`` are there."""
    try:
        return drivers.get().device_count() > 0
    except Unavailable:
        return False


def device_count() -> int:
    """GPUs of this machine; 0 if none can be used."""
    return drivers.get().device_count() if is_available() else 0


def current_device() -> int:
    """Number of the GPU this process uses.

    Raises:
        DeviceError: there is none.
    """
    driver()
    return _device


def set_device(index: int) -> None:
    """Choose the GPU of this process, before anything was done with one.

    Raises:
        DeviceError: another one is in use already, or there is no such GPU.
    """
    global _device
    if index == _device:
        return
    if _used:
        raise DeviceError(f"set_device: cuda:{_device} is in use already; got {index}")
    if not 0 <= index < device_count():
        raise DeviceError(f"set_device: this machine has {device_count()} GPU(s); got {index}")
    _device = index


def get_device_properties(index: int | None = None) -> Properties:
    """Name, compute capability, memory and multiprocessors of a GPU."""
    return driver().properties(_device if index is None else index)


# ---------------------------------------------------------------------------------------- memory


class _Segments:
    """Segments from the driver's stream-ordered pool, for work on one stream."""

    def __init__(self, device: int, stream: int):
        self.device = device
        self.stream = stream

    def take(self, nbytes: int) -> int:
        try:
            return driver().allocate(self.device, nbytes, self.stream)
        except CudaOutOfMemory:
            raise MemoryError from None

    def give(self, address: int, nbytes: int) -> None:
        driver().free(self.device, address, self.stream)

    def describe(self) -> str:
        free, total = driver().memory_info(self.device)
        return f", {free} of the GPU's {total} bytes are free"


class DeviceAllocator:
    """The memory of a GPU: a caching allocator per stream, with common counts.

    A block goes back to the stream it was allocated on, and may be handed out again at once to work
    that comes later on that stream.
    """

    def __init__(self, device: int):
        self.device = device
        self.counts = Counts()
        self._exact = driver().simulated
        self._streams: dict[int, Any] = {}
        self._none = FreeList()  # always empty: callers come to allocate, which knows the stream

    def allocate(self, nbytes: int) -> Storage:
        """A block for work on the current stream; see :meth:`Allocator.allocate`."""
        stream = _stream_cell.value
        found = self._streams.get(stream)
        if found is None:
            source = _Segments(self.device, stream)
            made = _ExactAllocator if self._exact else Allocator
            found = self._streams[stream] = made(source, self.counts)
        block: Storage = found.allocate(nbytes)
        return block

    def pool_of(self, nbytes: int) -> tuple[int, FreeList]:
        """An empty list, so that callers come to :meth:`allocate`."""
        return nbytes, self._none

    def empty_cache(self) -> None:
        """Give cached segments back to the driver."""
        for found in self._streams.values():
            found.empty_cache()


class _Returned(FreeList):
    """A free list that keeps nothing."""

    __slots__ = ("size", "source")

    def append(self, address: int) -> None:
        self.source.give(address, self.size)
        self.counts.reserved -= self.size


class _ExactAllocator(Allocator):
    """No cache and no rounding, so that the simulated device notices every stray access."""

    def allocate(self, nbytes: int) -> Storage:
        counts = self.counts
        address = self._take(nbytes)
        counts.allocated += nbytes
        counts.peak = max(counts.peak, counts.allocated)
        pool = _Returned()
        pool.counts, pool.size, pool.source = counts, nbytes, self.source
        return Storage(address, nbytes, pool)


def synchronize() -> None:
    """Wait for all queued work, then raise what kernels have found wrong."""
    driver().synchronize(_device)
    raise_faults()


# --------------------------------------------------------------------------------- later checks

_pending: list[Callable[[], None]] = []
_PENDING = 256  # checks that may wait before the host stops to make them


def check_later(check: Callable[[], None]) -> None:
    """Call ``check`` when the host next waits for the device anyway."""
    _pending.append(check)
    if len(_pending) >= _PENDING or _debug:
        synchronize()


def raise_faults() -> None:
    """Make the checks that wait; the work they look at must be done."""
    while _pending:
        check = _pending.pop(0)
        try:
            check()
        except BaseException:
            _pending.clear()
            raise


_debug = False


# --------------------------------------------------------------------------- streams and events


class Stream:
    """A queue of work on the GPU; work on different streams may overlap.

    ``Stream()`` makes a new one, with a lower number of ``priority`` more urgent.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, handle: int | None = None):
        here = driver()
        self.cuda_stream = here.create_stream(priority) if handle is None else handle
        if handle is None:
            weakref.finalize(self, here.destroy_stream, self.cuda_stream)

    def __repr__(self) -> str:
        return f"<tilegrad.cuda.Stream device=cuda:{_device} cuda_stream={self.cuda_stream:#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.cuda_stream == self.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def synchronize(self) -> None:
        """Wait until all work queued so far is done."""
        driver().synchronize_stream(self.cuda_stream)
        raise_faults()

    def query(self) -> bool:
        """Whether all work queued so far is done."""
        return driver().stream_is_done(self.cuda_stream)

    def wait_event(self, event: Event) -> None:
        """Let work queued from now on wait for ``event``."""
        driver().wait_event(self.cuda_stream, event.cuda_event)

    def wait_stream(self, stream: Stream) -> None:
        """Let work queued from now on wait for what ``stream`` has queued."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Mark this place in the queue."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        self._before = _stream_cell.value
        _stream_cell.value = self.cuda_stream
        return self

    def __exit__(self, *error: object) -> None:
        _stream_cell.value = self._before


class Event:
    """A mark in a stream; with ``enable_timing`` two of them measure the time between."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False):
        here = driver()
        self.cuda_event = here.create_event(enable_timing)
        self._timing = enable_timing
        self._recorded = False
        weakref.finalize(self, here.destroy_event, self.cuda_event)

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind what ``stream`` (default: the current one) has queued."""
        where = _stream_cell.value if stream is None else stream.cuda_stream
        driver().record_event(self.cuda_event, where)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Let work queued on ``stream`` from now on wait for the mark."""
        where = _stream_cell.value if stream is None else stream.cuda_stream
        driver().wait_event(where, self.cuda_event)

    def synchronize(self) -> None:
        """Wait until the mark is reached."""
        driver().synchronize_event(self.cuda_event)

    def query(self) -> bool:
        """Whether the mark is reached."""
        return driver().event_is_done(self.cuda_event)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to ``end_event``.

        Raises:
            ValueError: one of them measures no time.
            RuntimeError: one of them was not recorded.
        """
        if not (self._timing and end_event._timing):
            raise ValueError(
                "elapsed_time: both events must be created with argument 'enable_timing=True'."
            )
        if not (self._recorded and end_event._recorded):
            raise RuntimeError("elapsed_time: both events must be recorded before")
        return driver().elapsed(self.cuda_event, end_event.cuda_event)


def current_stream() -> Stream:
    """The stream that ops are queued on."""
    driver()
    return Stream(handle=_stream_cell.value)


def default_stream() -> Stream:
    """The stream that ops are queued on unless another was chosen."""
    driver()
    return Stream(handle=0)


@contextmanager
def stream(chosen: Stream | None) -> Iterator[None]:
    """Queue the ops of the block on ``chosen``; None changes nothing."""
    if chosen is None:
        yield
        return
    with chosen:
        yield
