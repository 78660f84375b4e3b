"""Arrays: memory with a layout. No gradients, no arithmetic."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tilegrad.engine import calls
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.dtype import BY_NUMPY, DType
from tilegrad.engine.memory import FreeList, Storage, new_storage
from tilegrad.engine.shape import reach


class Layout:
    """Shape, strides (in elements), dtype and device. Interned: equal layouts are one object,
    so that ops can look their plans up by identity.

    ``pool``, the free list of its blocks, is there once an array of it was made: machine code serves the
    next ones.
    """

    __slots__ = (
        "contiguous", "device", "dtype", "itemsize", "nbytes", "ndim", "numel", "pool", "shape",
        "strides",
    )  # fmt: skip

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    device: Device
    ndim: int
    numel: int
    itemsize: int
    nbytes: int
    contiguous: bool
    pool: FreeList

    def __repr__(self) -> str:
        return f"Layout({self.shape}, {self.strides}, {self.dtype.name}, {self.device})"

    def describe(self) -> str:
        """For error messages: shape, dtype and, off the CPU, the device."""
        where = "" if self.device is CPU else f" on {self.device}"
        return f"{self.shape} {self.dtype.name}{where}"


_layouts: dict[tuple[Any, ...], Layout] = {}
_LAYOUT_LIMIT = 100_000


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements, of ``shape``."""
    strides = [1] * len(shape)
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Row-major with no gaps, ignoring dimensions of size 1 (and anything, if empty)."""
    if 0 in shape:
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def _whole(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([operator.index(size) + 0 for size in sizes])


def layout(
    shape: tuple[int, ...],
    dtype: DType,
    device: Device = CPU,
    strides: tuple[int, ...] | None = None,
) -> Layout:
    """The interned layout; row-major unless ``strides`` are given.

    Raises:
        TypeError: a size or a stride is no integer.
        ValueError: a size has more than 63 bits. RuntimeError: a stride, or the number of elements or of
            the bytes behind them, has.
    """
    key = (shape, strides, dtype, device)
    found = _layouts.get(key)
    if found is not None:
        return found
    shape = _whole(shape)  # (2.0,) would be found for (2,) ever after
    strides = contiguous_strides(shape) if strides is None else _whole(strides)
    if any(s >> 63 for s in strides if s > 0) and not any(n >> 63 for n in shape):
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}"
        )
    full = (shape, strides, dtype, device)
    made = _layouts.get(full)
    if made is None:
        made = Layout()
        made.shape, made.strides, made.dtype, made.device = full
        made.ndim = len(shape)
        numel = 1
        for size in shape:
            numel *= size
            if size >= 1 << 63:
                raise ValueError(f"Overflow when unpacking long long; got sizes {shape}")
        if numel >> 63:
            raise RuntimeError(f"numel: integer multiplication overflow; got sizes {shape}")
        made.numel = numel
        made.itemsize = dtype.itemsize
        made.nbytes = numel * dtype.itemsize
        made.contiguous = is_contiguous(shape, strides)
        if made.contiguous and made.nbytes >> 63:
            raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
        if len(_layouts) > _LAYOUT_LIMIT:
            _layouts.clear()  # later equal layouts are new objects: plans are made again, no more
        _layouts[full] = made
    _layouts[key] = made
    return made


class Array:
    """``layout`` over ``storage``, beginning at byte ``address``.

    Never made as such: tensors are arrays with more slots, and ops make tensors.
    """

    __slots__ = ("address", "layout", "storage")

    address: int
    layout: Layout
    storage: Storage

    shape = property(lambda self: self.layout.shape)
    dtype = property(lambda self: self.layout.dtype)
    device = property(lambda self: self.layout.device)

    @property
    def offset(self) -> int:
        """Elements between the start of the storage and this array's first element."""
        return (self.address - self.storage.address) // self.layout.itemsize

    def __repr__(self) -> str:
        return f"Array({self.layout!r})"


def output(plan: Any) -> Any:
    """A tensor for the output of ``plan``."""
    made = calls.fresh(plan)
    return empty_layout(plan.out) if made is None else made


def window(
    array: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> Array:
    """The memory of ``array`` through another shape; ``offset`` in elements from its start."""
    old = array.layout
    made = layout(shape, old.dtype, old.device, strides)
    return calls.new(made, array.storage, array.address + offset * old.itemsize)  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: DType, device: Device = CPU) -> Array:
    """A row-major array of undefined contents."""
    return empty_layout(layout(shape, dtype, device))


def empty_layout(made: Layout) -> Array:
    """A new array of this gapless layout, contents undefined."""
    allocator = made.device.allocator
    made.pool = allocator.pool_of(made.nbytes)
    storage = allocator.allocate(made.nbytes)
    return calls.new(made, storage, storage.address)  # type: ignore[no-any-return]


class _Exporter:
    """Lets NumPy borrow an array's memory and keep its storage alive."""

    def __init__(self, array: Array):
        kind = array.layout
        self.storage = array.storage
        self.__array_interface__ = {
            "version": 3,
            "typestr": kind.dtype.numpy.str,
            "shape": kind.shape,
            "strides": tuple(s * kind.itemsize for s in kind.strides),
            "data": (array.address, False),
        }


def to_numpy(array: Array) -> np.ndarray:
    """A NumPy array over the same memory.

    Raises:
        TypeError: the array is not on the CPU.
    """
    if array.layout.device is not CPU:
        raise TypeError(
            f"numpy: can't convert {array.layout.device} device type tensor to numpy. Use "
            f"Tensor.cpu() to copy the tensor to host memory first."
        )
    return np.asarray(_Exporter(array))


def from_numpy(source: np.ndarray) -> Array:
    """An array over the same memory as ``source``.

    Raises:
        TypeError: the dtype is not supported.
        ValueError: the bytes are swapped; a stride is negative or not a multiple of the item size.
    """
    kind = BY_NUMPY.get(source.dtype)
    if not source.dtype.isnative:
        raise ValueError(
            f"from_numpy: given numpy array has byte order different from the native byte order; "
            f"got {source.dtype} (take a copy with astype first)"
        )
    if kind is None:
        names = ", ".join(d.name for d in BY_NUMPY.values())
        raise TypeError(f"from_numpy: dtype must be one of {names}; got {source.dtype}")
    strides = []
    for stride in source.strides:
        if stride < 0 or stride % kind.itemsize:
            raise ValueError(
                f"from_numpy: strides must be non-negative multiples of the item size "
                f"{kind.itemsize}; got {source.strides} bytes (take a copy first)"
            )
        strides.append(stride // kind.itemsize)
    address = source.__array_interface__["data"][0]
    made = layout(source.shape, kind, CPU, tuple(strides))
    nbytes = reach(made.shape, made.strides) * kind.itemsize
    storage = new_storage(address, nbytes, None, base=source)
    return calls.new(made, storage, address)  # type: ignore[no-any-return]
