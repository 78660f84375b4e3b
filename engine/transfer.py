"""Moving arrays between the host and the GPU, and reading results on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout, empty_layout, layout, to_numpy
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.ops.elementwise import contiguous, copy
from tilegrad.engine.shape import permutation_of


def to_device(x: Array, device: Device, non_blocking: bool = False) -> Array:
    """``x`` on ``device``, in the same order of dimensions; itself if it is there already.

    With ``non_blocking`` a copy from page-locked host memory is only queued, and one to the host
    goes to such memory, which holds the result once the stream has passed the copy. Other copies
    wait for that themselves.
    """
    if x.layout.device is device:
        return x
    x = x if _dense(x) else contiguous(x)
    kind = x.layout
    target = layout(kind.shape, kind.dtype, device, kind.strides)
    made = _pinned(target) if non_blocking and device is CPU else empty_layout(target)
    _copy(made, x, non_blocking)
    return made


def copy_across(target: Array, source: Array, non_blocking: bool = False) -> None:
    """Write ``source``, broadcast and cast, over ``target`` on another device."""
    have, want = source.layout, target.layout
    alike = (have.shape, have.strides, have.dtype) == (want.shape, want.strides, want.dtype)
    if alike and _dense(source):
        _copy(target, source, non_blocking)
        target.storage.version += 1
    else:
        copy(to_device(source, want.device, non_blocking and want.device is not CPU), target)


def _copy(target: Array, source: Array, non_blocking: bool) -> None:
    """Queue a copy between gapless arrays of one layout; wait for it unless it may go on alone."""
    from tilegrad.engine import cuda, device_memory

    if not source.layout.nbytes:
        return
    here = cuda.driver()
    stream = cuda.current_stream().cuda_stream
    here.copy(target.address, source.address, source.layout.nbytes, stream)
    onto_host = target.layout.device is CPU
    host = target if onto_host else source
    if non_blocking and device_memory.is_pinned(host.storage):
        device_memory.use_on_stream(host.storage, stream)
        return
    here.synchronize_stream(stream)
    if onto_host:
        cuda.raise_faults(stream)


def _dense(x: Array) -> bool:
    kind = x.layout
    return kind.contiguous or permutation_of(kind.shape, kind.strides) is not None


def host(x: Array) -> np.ndarray:
    """The values of ``x`` as a NumPy array: its own memory on the CPU, else a copy."""
    return to_numpy(to_device(x, CPU))


def check_unless(quiet: int, x: Array, check: Callable[[np.ndarray], None]) -> None:
    """:func:`check_when_ready`, but on the CPU only if some element of the int64 ``x`` is not ``quiet``."""
    if x.layout.device is not CPU or not calls.all_equal(x, quiet):
        check_when_ready(x, check)


def check_when_ready(x: Array, check: Callable[[np.ndarray], None]) -> None:
    """Call ``check`` with the values of ``x``: now on the CPU; on the GPU when the host next waits
    for it anyway.
    """
    if x.layout.device is CPU:
        check(to_numpy(x))
        return
    from tilegrad.engine import cuda

    made = to_device(contiguous(x), CPU, non_blocking=True)
    cuda.check_later(lambda: check(to_numpy(made)))


# --------------------------------------------------------------------------- page-locked memory


def _pinned(kind: Layout) -> Array:
    from tilegrad.engine import device_memory

    storage = device_memory.pinned(kind.nbytes)
    return calls.new(kind, storage, storage.address)  # type: ignore[no-any-return]


def is_pinned(x: Array) -> bool:
    """Whether ``x`` lies in page-locked host memory."""
    if x.layout.device is not CPU:
        return False
    from tilegrad.engine import device_memory

    return device_memory.is_pinned(x.storage)


def pin_memory(x: Array) -> Array:
    """A copy of the host array ``x`` in page-locked memory; itself if it is there already.

    Raises:
        RuntimeError: ``x`` is not on the CPU.
        DeviceError: there is no GPU.
    """
    if x.layout.device is not CPU:
        raise RuntimeError(
            f"pin_memory: only dense CPU tensors can be pinned; got {x.layout.describe()}"
        )
    if is_pinned(x):
        return x
    x = x if _dense(x) else contiguous(x)
    made = _pinned(x.layout)
    ctypes.memmove(made.address, x.address, x.layout.nbytes)
    return made
