"""Arrays of the GPU in other libraries' hands and theirs in ours, without a copy.

Two protocols: ``__cuda_array_interface__`` and DLPack. In both the side that makes the memory says
on which stream it is ready, and the other side's stream waits for that.

Source: the CUDA Array Interface, version 3 (numba documentation); dlpack.h, version 0.8, and the
Python array API's ``__dlpack__``.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np

from tilegrad.engine import calls, cuda, dtype as dt
from tilegrad.engine.array import Array, layout
from tilegrad.engine.device import CPU, Device, device as as_device
from tilegrad.engine.device_memory import use_on_stream
from tilegrad.engine.errors import DeviceError
from tilegrad.engine.memory import new_storage
from tilegrad.kernels.builtin import forever

LEGACY_DEFAULT = 1  # what both protocols call the default stream, whose handle is 0

# device types of DLPack
ON_CPU, ON_CUDA, ON_CUDA_HOST, ON_CUDA_MANAGED = 1, 2, 3, 13


def _current() -> int:
    return cuda.current_stream().cuda_stream


def _order(earlier: int, later: int) -> None:
    """Let what ``later`` queues from now on wait for what ``earlier`` has queued."""
    if earlier in (later, None) or {earlier, later} == {0, LEGACY_DEFAULT}:
        return
    here = cuda.driver()
    event = here.create_event(False)
    here.record_event(event, earlier)
    here.wait_event(later, event)
    here.destroy_event(event)


class _Foreign:
    """Keeps memory of someone else alive, and knows how much of it there is."""

    __slots__ = ("__weakref__", "address", "nbytes", "owner")

    def __init__(self, address: int, nbytes: int, owner: object):
        self.address = address
        self.nbytes = nbytes
        self.owner = owner
        if nbytes:
            _foreign.add(self)


_foreign: weakref.WeakSet[_Foreign] = weakref.WeakSet()


def foreign_memory() -> list[tuple[int, int]]:
    """(address, bytes) of all memory that arrays have borrowed."""
    return [(f.address, f.nbytes) for f in _foreign]


def _borrowed(
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    kind: dt.DType,
    device: Device,
    owner: object,
) -> Array:
    """An array over memory of ``owner``; strides in elements."""
    made = layout(shape, kind, device, strides)
    reach = sum((n - 1) * s for n, s in zip(made.shape, made.strides, strict=True))
    nbytes = (reach + 1) * kind.itemsize if made.numel else 0
    storage = new_storage(address, nbytes, None, base=_Foreign(address, nbytes, owner))
    return calls.new(made, storage, address)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------ CUDA array interface


def cuda_interface(x: Array) -> dict[str, Any]:
    """The ``__cuda_array_interface__`` of an array of the GPU."""
    kind = x.layout
    steps = None if kind.contiguous else tuple([s * kind.itemsize for s in kind.strides])
    return {
        "version": 3,
        "typestr": kind.dtype.numpy.str,
        "shape": kind.shape,
        "strides": steps,
        "data": (x.address if kind.numel else 0, False),
        "stream": _current() or LEGACY_DEFAULT,
    }


def from_cuda_interface(source: Any) -> Array:
    """An array over the memory of an object with ``__cuda_array_interface__``.

    Raises:
        DeviceError: there is no GPU.
        TypeError: the dtype is not supported, or the object has a mask.
        ValueError: a stride is negative or not a multiple of the item size.
    """
    found = source.__cuda_array_interface__
    kind = dt.BY_NUMPY.get(np.dtype(found["typestr"]))
    if kind is None or found.get("mask") is not None:
        names = ", ".join(d.name for d in dt.ALL)
        raise TypeError(
            f"from_cuda_interface: dtype must be one of {names}, without a mask; "
            f"got {found['typestr']}"
        )
    strides = found.get("strides")
    if strides is not None:
        if any(s < 0 or s % kind.itemsize for s in strides):
            raise ValueError(
                f"from_cuda_interface: strides must be non-negative multiples of the item size "
                f"{kind.itemsize}; got {strides} bytes"
            )
        strides = tuple([s // kind.itemsize for s in strides])
    device = as_device("cuda")
    if found.get("stream") is not None:
        _order(found["stream"], _current())
    return _borrowed(found["data"][0], tuple(found["shape"]), strides, kind, device, source)


# --------------------------------------------------------------------------------------- DLPack


class _Device(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [
    ("dl_tensor", _Tensor),
    ("manager_ctx", ctypes.c_void_p),
    ("deleter", _Deleter),
]

_FRESH, _USED = b"dltensor", b"used_dltensor"  # names of a capsule before and after it was taken
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6, "c": 5}
_BY_CODE = {(_CODES[d.numpy.kind], 8 * d.itemsize): d for d in dt.ALL}

_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new_capsule: Any = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor
)(("PyCapsule_New", ctypes.pythonapi))


def _capsule_function(name: str, result: Any, capsule: Any, *rest: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, capsule, *rest)((name, ctypes.pythonapi))


_is_valid = _capsule_function("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_held_by = _capsule_function(
    "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p
)
_pointer_of = _capsule_function(
    "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
)
_rename = _capsule_function("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)

_exported: dict[int, Any] = {}  # address of a managed tensor -> what must live as long as it


@_Deleter  # type: ignore[untyped-decorator]
def _delete(managed: Any, held: Any = _exported, address_of: Any = ctypes.addressof) -> None:
    held.pop(address_of(managed.contents), None)


@_Destructor  # type: ignore[untyped-decorator]
def _destroy(
    capsule: int, held: Any = _exported, fresh: bytes = _FRESH, valid: Any = _is_valid,
    address_of: Any = _held_by,
) -> None:  # fmt: skip
    if valid(capsule, fresh):  # nobody took it
        held.pop(address_of(capsule, fresh), None)


# others call them as long as they hold a capsule, also when this module is gone
forever((_delete, _destroy))


def to_dlpack(x: Array, stream: int | None = None) -> Any:
    """A DLPack capsule over the memory of an array of the GPU.

    Args:
        stream: the consumer's, which waits for the current one: None or 1 the default stream, -1
            none at all, else a handle.

    Raises:
        ValueError: the stream is 0.
    """
    if stream == 0:
        raise ValueError("__dlpack__: stream 0 is ambiguous, 1 is the default stream; got 0")
    if stream != -1:
        theirs = LEGACY_DEFAULT if stream is None else stream
        _order(_current(), theirs)
        use_on_stream(x.storage, 0 if theirs == LEGACY_DEFAULT else theirs)
    kind = x.layout
    numbers = ctypes.c_int64 * max(kind.ndim, 1)
    shape, strides = numbers(*kind.shape), numbers(*kind.strides)
    managed = _Managed()
    managed.dl_tensor = _Tensor(
        x.address,
        _Device(ON_CUDA, kind.device.index or 0),
        kind.ndim,
        _DataType(_CODES[kind.dtype.numpy.kind], 8 * kind.itemsize, 1),
        shape,
        strides,
        0,
    )
    managed.deleter = _delete
    address = ctypes.addressof(managed)
    _exported[address] = (managed, shape, strides, x)
    return _new_capsule(address, _FRESH, _destroy)


def from_dlpack(source: Any, kind: int) -> Array:
    """An array over the memory of an object with ``__dlpack__``, whose device type is ``kind``.

    Raises:
        DeviceError: it is on another GPU than this process uses, or there is none.
        TypeError: the dtype or the device type is not supported.
    """
    if kind == ON_CUDA_HOST:
        capsule, device = source.__dlpack__(), CPU
    elif kind in (ON_CUDA, ON_CUDA_MANAGED):
        device = as_device("cuda")
        capsule = source.__dlpack__(stream=_current() or LEGACY_DEFAULT)
    else:
        raise TypeError(f"from_dlpack: device must be the CPU or CUDA; got device type {kind}")
    address = _pointer_of(capsule, _FRESH)
    managed = _Managed.from_address(address)
    held = managed.dl_tensor
    code = (held.dtype.code, held.dtype.bits)
    if code not in _BY_CODE or held.dtype.lanes != 1:
        raise TypeError(f"from_dlpack: dtype is not supported; got code and bits {code}")
    if device is not CPU and held.device.device_id != device.index:
        raise DeviceError(
            f"from_dlpack: a process uses one GPU, here {device}; got cuda:{held.device.device_id}"
        )
    shape = tuple(held.shape[: held.ndim])
    strides = tuple(held.strides[: held.ndim]) if held.strides else None
    if strides is not None and any(s < 0 for s in strides):
        raise TypeError(f"from_dlpack: strides must be non-negative; got {strides}")
    _rename(capsule, _USED)
    place = (held.data or 0) + held.byte_offset
    made = _borrowed(place, shape, strides, _BY_CODE[code], device, managed)
    weakref.finalize(made.storage.base, _give_back, address).atexit = False
    return made


def _give_back(address: int) -> None:
    managed = _Managed.from_address(address)
    if managed.deleter:
        managed.deleter(ctypes.pointer(managed))
