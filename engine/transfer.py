"""Moving arrays between the host and the GPU, and reading results on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout, empty_layout, layout, to_numpy
from tilegrad.engine.device import CPU, META, Device
from tilegrad.engine.dispatch import Op, Plan
from tilegrad.engine.ops.elementwise import contiguous, copy
from tilegrad.engine.shape import permutation_of


def _plan(source: Layout, *over: Layout, device: Device, wait: bool) -> Plan:
    """A copy of gapless ``source`` in new memory on ``device``, or over an array of one layout there."""
    nbytes, onto_host = source.nbytes, device is CPU
    between_hosts = onto_host and source.device is CPU

    def launch(x: int, y: int) -> None:
        if between_hosts:
            ctypes.memmove(y, x, nbytes)
        elif nbytes:
            _copy_memory(x, y, nbytes, wait, onto_host)

    if over:
        return Plan((), launch, writes=(1,), device=device)
    return Plan((layout(source.shape, source.dtype, device, source.strides),), launch)


_transfer = Op("transfer", _plan, ("device", "wait"), anywhere=True, of_bytes=True)


def _copy_memory(x: int, y: int, nbytes: int, wait: bool, onto_host: bool) -> None:
    """Queue a copy on the current stream and ``wait`` for it."""
    from tilegrad.engine import cuda

    here = cuda.driver()
    stream = cuda.current_stream().cuda_stream
    here.copy(y, x, nbytes, stream)
    if wait:
        here.synchronize_stream(stream)
        if onto_host:
            cuda.raise_faults(stream)


def to_device(x: Array, device: Device, non_blocking: bool = False) -> Array:
    """``x`` on ``device``, in the same order of dimensions; itself if it is there already.

    With ``non_blocking`` a copy from page-locked host memory is only queued, and one to the host
    goes to such memory, which holds the result once the stream has passed the copy. Other copies
    wait for that themselves.
    """
    if x.layout.device is device:
        return x
    if device is META or x.layout.device is META:
        return _without_memory(x, device)
    x = x if _dense(x) else contiguous(x)
    if not non_blocking:
        made: Array = _transfer(x, device=device, wait=True)
        return made
    kind = x.layout
    target = layout(kind.shape, kind.dtype, device, kind.strides)
    if device is CPU:
        made = _pinned(target)
        _write(made, x, non_blocking)
        made.storage.version -= 1  # new memory: nobody has seen it otherwise
        return made
    made = _transfer(x, device=device, wait=not is_pinned(x))
    _use(x)
    return made


def _without_memory(x: Array, device: Device) -> Array:
    """``x`` without its values.

    Raises:
        NotImplementedError: it has none to be copied.
    """
    if device is not META:
        raise NotImplementedError(
            "Cannot copy out of meta tensor; no data! Tensor.item() cannot be called on meta tensors"
        )
    kind = x.layout
    strides = kind.strides if _dense(x) else None
    return empty_layout(layout(kind.shape, kind.dtype, META, strides))


def copy_across(target: Array, source: Array, non_blocking: bool = False) -> None:
    """Write ``source``, broadcast and cast, over ``target`` on another device."""
    if target.layout.device is META or source.layout.device is META:
        _without_memory(source, target.layout.device)
        return
    have, want = source.layout, target.layout
    alike = (have.shape, have.strides, have.dtype) == (want.shape, want.strides, want.dtype)
    if alike and _dense(source):
        _write(target, source, non_blocking)
    else:
        copy(to_device(source, want.device, non_blocking and want.device is not CPU), target)


def _write(target: Array, source: Array, non_blocking: bool) -> None:
    """Copy between gapless arrays of one layout; wait for it unless it may go on alone."""
    host = target if target.layout.device is CPU else source
    wait = not (non_blocking and is_pinned(host))
    _transfer(source, target, device=target.layout.device, wait=wait)
    if not wait:
        _use(host)


def _use(x: Array) -> None:
    """If ``x`` is page-locked memory, the current stream uses it for what is queued."""
    if x.layout.nbytes and is_pinned(x):
        from tilegrad.engine import cuda, device_memory

        device_memory.use_on_stream(x.storage, cuda.current_stream().cuda_stream)


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
    if x.layout.device is META:
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
    _write(made, x, False)
    made.storage.version -= 1  # as in to_device
    return made
