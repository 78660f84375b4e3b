"""Moving arrays between the host and the GPU, and reading results on the host."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable

import numpy as np

from tilegrad.engine.array import Array, empty_layout, layout, to_numpy
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.memory import Storage
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import permutation_of


def to_device(x: Array, device: Device, non_blocking: bool = False) -> Array:
    """``x`` on ``device``, in the same order of dimensions; itself if it is there already.

    With ``non_blocking`` a copy from page-locked host memory is only queued; the host must leave
    that memory alone until the stream has passed it. Other copies wait for their source to be free
    again, and copies to the host for their result.
    """
    if x.layout.device is device:
        return x
    from tilegrad.engine import cuda

    x = x if _dense(x) else contiguous(x)
    kind = x.layout
    made = empty_layout(layout(kind.shape, kind.dtype, device, kind.strides))
    if kind.nbytes:
        here = cuda.driver()
        stream = cuda.current_stream().cuda_stream
        here.copy(made.address, x.address, kind.nbytes, stream)
        if not (non_blocking and (is_pinned(x) or is_pinned(made))):
            here.synchronize_stream(stream)
    if device is CPU and not non_blocking:
        cuda.raise_faults()
    return made


def _dense(x: Array) -> bool:
    kind = x.layout
    return kind.contiguous or permutation_of(kind.shape, kind.strides) is not None


def host(x: Array) -> np.ndarray:
    """The values of ``x`` as a NumPy array: its own memory on the CPU, else a copy."""
    return to_numpy(to_device(x, CPU))


def when_known(x: Array, check: Callable[[np.ndarray], None]) -> None:
    """Call ``check`` with the values of ``x``: now on the CPU; on the GPU when the host next waits
    for it anyway.
    """
    if x.layout.device is CPU:
        check(to_numpy(x))
        return
    from tilegrad.engine import cuda

    def later() -> None:
        made = empty_layout(layout(x.layout.shape, x.layout.dtype, CPU))
        here = cuda.driver()
        stream = cuda.current_stream().cuda_stream
        here.copy(made.address, x.address, x.layout.nbytes, stream)
        here.synchronize_stream(stream)
        check(to_numpy(made))

    cuda.check_later(later)


# --------------------------------------------------------------------------- page-locked memory

_pinned: dict[int, int] = {}  # address -> bytes


class _Pinned:
    """Keeps a page-locked block until nobody uses it."""

    __slots__ = ("__weakref__", "address")

    def __init__(self, nbytes: int):
        from tilegrad.engine import cuda

        here = cuda.driver()
        self.address = here.allocate_host(nbytes)
        _pinned[self.address] = max(nbytes, 1)
        weakref.finalize(self, _release, here.free_host, self.address)


def _release(free: Callable[[int], None], address: int) -> None:
    del _pinned[address]
    free(address)


def is_pinned(x: Array) -> bool:
    """Whether ``x`` lies in page-locked host memory."""
    if x.layout.device is not CPU:
        return False
    return isinstance(x.storage.base, _Pinned)


def pin_memory(x: Array) -> Array:
    """A copy of the host array ``x`` in page-locked memory; itself if it is there already."""
    if is_pinned(x):
        return x
    x = x if _dense(x) else contiguous(x)
    kind = x.layout
    block = _Pinned(kind.nbytes)
    made = Array(kind, Storage(block.address, kind.nbytes, None, base=block), block.address)
    ctypes.memmove(block.address, x.address, kind.nbytes)
    return made
