"""The GPU of this process: which one, its streams and events, and what is still to be checked.

Work is queued on the current stream and done later; the host waits where it reads a result. Errors
that kernels notice (an index out of bounds) are raised at the next such place.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tilegrad.engine.errors import DeviceError
from tilegrad.kernels.builtin import cell
from tilegrad.kernels.cuda.run import driver as drivers, jit
from tilegrad.kernels.cuda.run.driver import Driver, Properties, Unavailable
from tilegrad.kernels.cuda.run.launch import current_stream as _stream_cell

# the thread whose work on the default stream machine code may give memory; 0: no thread's
gate = cell(0)
_device = 0  # number of the GPU this process uses
_used = False
_lost = False  # forked from a process that used the GPU: the driver does not work here


class _Thread(threading.local):
    """What a thread has told the driver."""

    bound = False  # the GPU is current on this thread


_thread = _Thread()


def _after_fork() -> None:
    global _lost
    if _used and not drivers.get().simulated:
        _lost, _thread.bound, gate.value = True, False, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def forget() -> None:
    """In a forked child that uses a device on paper: what the parent did with its own is forgotten."""
    global _lost, _used
    _lost = _used = _thread.bound = False
    gate.value = 0
    jit.forget()


def _found() -> Driver:
    try:
        return drivers.get()
    except Unavailable as error:
        raise DeviceError(str(error)) from None


def driver() -> Driver:
    """The driver, with this process's GPU made current on this thread.

    Raises:
        DeviceError: there is none; the message says what is missing and how to get it.
    """
    global _used
    found = _found()
    if not _thread.bound:
        if _lost:
            raise DeviceError(
                "cuda: Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
                "multiprocessing, you must use the 'spawn' or 'forkserver' start method"
            )
        found.use(_device)
        _thread.bound = _used = True
    return found


def bind_thread() -> None:
    """Make the GPU current on this thread, if it is not yet."""
    if not _thread.bound:
        driver()


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
    count = _found().device_count()
    if not 0 <= index < count:
        raise DeviceError(f"set_device: this machine has {count} GPU(s); got {index}")
    if _used and index != _device:
        raise DeviceError(f"set_device: a process uses one GPU, here cuda:{_device}; got {index}")
    _device = index


def get_device_properties(index: int | None = None) -> Properties:
    """Name, compute capability, memory and multiprocessors of a GPU.

    Raises:
        DeviceError: there is no such GPU.
    """
    found, place = _found(), _device if index is None else index
    if not 0 <= place < found.device_count():
        raise DeviceError(
            f"get_device_properties: this machine has {found.device_count()} GPU(s); got {place}"
        )
    return found.properties(place)


def synchronize() -> None:
    """Wait for all queued work, then raise what kernels have found wrong."""
    driver().synchronize(_device)
    raise_faults()


# --------------------------------------------------------------------------------- later checks

_pending: deque[tuple[int, Callable[[], None]]] = deque()  # with the stream of the work
_PENDING = 256  # checks that may wait before the host stops to make them


def check_later(check: Callable[[], None]) -> None:
    """Call ``check`` when the host next waits for what the current stream has queued anyway."""
    _pending.append((_stream_cell.value, check))
    if len(_pending) >= _PENDING or _debugging:
        synchronize()


def raise_faults(stream: int | None = None) -> None:
    """Make the checks that wait, of work that is done: that of ``stream``, or all of it."""
    for _ in range(len(_pending)):
        entry = _pending.popleft()
        if stream is not None and entry[0] != stream:
            _pending.append(entry)
            continue
        try:
            entry[1]()
        except BaseException:
            _pending.clear()  # what follows from the first fault is no news
            raise


_debugging = False


def debugging() -> bool:
    """Whether every launch is checked at once; see :mod:`tilegrad.engine.debug`."""
    return _debugging


def set_debugging(on: bool) -> None:
    """Make checks at once from now on, or later again."""
    global _debugging
    _debugging = on
    gate.value = 0


# --------------------------------------------------------------------------- streams and events

_idle: dict[int, list[int]] = {}  # priority -> handles of streams that nobody holds


class Stream:
    """A queue of work on the GPU; work on different streams may overlap.

    ``Stream()`` makes a new one, with a lower number of ``priority`` more urgent. As a context
    manager it is the stream that ops are queued on, in all threads.

    A stream that nobody holds any more is used again, never destroyed: memory that was freed in its
    order stays with it.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, handle: int | None = None):
        here = driver()
        self._before: list[int] = []
        if handle is not None:
            self.cuda_stream = handle
            return
        idle = _idle.setdefault(priority, [])
        self.cuda_stream = idle.pop() if idle else here.create_stream(priority)
        weakref.finalize(self, idle.append, self.cuda_stream)

    def __repr__(self) -> str:
        return f"<tilegrad.cuda.Stream device=cuda:{_device} cuda_stream={self.cuda_stream:#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.cuda_stream == self.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def synchronize(self) -> None:
        """Wait until all work queued so far is done."""
        driver().synchronize_stream(self.cuda_stream)
        raise_faults(self.cuda_stream)

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
        self._before.append(_stream_cell.value)
        _stream_cell.value = self.cuda_stream
        gate.value = 0
        return self

    def __exit__(self, *error: object) -> None:
        _stream_cell.value = self._before.pop()
        gate.value = 0


class Event:
    """A mark in a stream; with ``enable_timing`` two of them measure the time between.

    ``blocking`` and ``interprocess`` are PyTorch's; the former changes nothing here, the latter is
    refused.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ):
        if interprocess:
            raise NotImplementedError("Event: interprocess events are not supported; got True")
        here = driver()
        self.cuda_event = here.create_event(enable_timing)
        self._timing = enable_timing
        self._recorded = False
        weakref.finalize(self, here.destroy_event, self.cuda_event).atexit = False

    def __repr__(self) -> str:
        return f"<tilegrad.cuda.Event {self.cuda_event:#x}>"

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
            RuntimeError: one of them was not recorded, or not reached yet.
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
    return Stream(handle=_stream_cell.value)


def default_stream() -> Stream:
    """The stream that ops are queued on unless another was chosen."""
    return Stream(handle=0)


@contextmanager
def stream(chosen: Stream | None) -> Iterator[None]:
    """Queue the ops of the block on ``chosen``; None changes nothing."""
    if chosen is None:
        yield
        return
    with chosen:
        yield
