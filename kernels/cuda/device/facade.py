"""What the names of ``numba.cuda`` mean on the simulated device, for bodies that users write.

In a body the module ``numba.cuda`` is :data:`CUDA`. numba's compiler takes it for the module itself
(:mod:`tilegrad.kernels.cuda.run.backend`); the simulated device looks its names up here.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.simulator import WARP, KernelFault, Pointer, machine

FULL = 0xFFFFFFFF
GARBAGE = 0xA5


class NumbaCuda(types.ModuleType):
    """``numba.cuda`` in a body."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the simulated GPU has no {self.__name__}.{name}")


class _Dims:
    """Three numbers, looked up when they are asked for."""

    def __init__(self, read: Callable[[], tuple[int, int, int]]):
        self.read = read

    x = property(lambda self: self.read()[0])
    y = property(lambda self: self.read()[1])
    z = property(lambda self: self.read()[2])


def thread_index() -> tuple[int, int, int]:
    """The thread's place in its block."""
    width, height, _ = machine.shape
    number = machine.thread
    return number % width, number // width % height, number // (width * height)


class Tile:
    """Memory of several dimensions, checked as the simulator's pointers are."""

    __slots__ = ("dtype", "items", "ndim", "shape", "size", "strides", "where")

    def __init__(self, items: np.ndarray, where: str):
        self.items, self.where = items, where
        self.shape, self.size, self.dtype = items.shape, items.size, items.dtype
        self.ndim, self.strides = items.ndim, items.strides

    def place(self, index: Any) -> tuple[int, ...]:
        """Where an element, or a row, is, if it is there; indices below zero count from the end."""
        many = index if isinstance(index, tuple) else (index,)
        given = tuple([int(k) for k in many])
        found = tuple([k + n if k < 0 else k for k, n in zip(given, self.shape, strict=False)])
        inside = all(0 <= k < n for k, n in zip(found, self.shape, strict=False))
        if len(given) > self.ndim or not inside:
            text = ", ".join(map(str, given))
            raise KernelFault(f"access outside {self.where}: [{text}] of {list(self.shape)}")
        return found

    def __getitem__(self, index: Any) -> Any:
        where = self.place(index)
        found = self.items[where]
        return found if len(where) == self.ndim else Tile(found, self.where)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.items[self.place(index)] = value

    def __len__(self) -> int:
        return int(self.shape[0])


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple([int(n) for n in shape]) if isinstance(shape, tuple) else (int(shape),)


def _numpy(dtype: Any) -> np.dtype:
    """The dtype that NumPy's or numba's type stands for."""
    return np.dtype(dtype if isinstance(dtype, (type, np.dtype)) else str(dtype))


def _shared_array(shape: Any, dtype: Any, alignment: int | None = None) -> Tile | Pointer:
    """Memory of the block; each place in the source has its own. Size 0 is the dynamic memory."""
    sizes, kind = _sizes(shape), _numpy(dtype)
    if sizes == (0,):
        return machine.dynamic(0, kind)
    frame = sys._getframe(1)
    name = f"{frame.f_code.co_filename}:{frame.f_lineno}:{frame.f_lasti}"
    whole = machine.shared(name, kind.name, math.prod(sizes))
    return Tile(whole.items.reshape(sizes), "a shared array")


def _local_array(shape: Any, dtype: Any, alignment: int | None = None) -> Tile:
    """Memory of the thread."""
    sizes, kind = _sizes(shape), _numpy(dtype)
    raw = np.full(math.prod(sizes) * kind.itemsize, GARBAGE, np.uint8)
    return Tile(raw.view(kind).reshape(sizes), "a local array")


def _grid(ndim: int) -> Any:
    found = [
        b * d + t for b, d, t in zip(machine.block, machine.shape, thread_index(), strict=True)
    ]
    return found[0] if ndim == 1 else tuple(found[:ndim])


def _gridsize(ndim: int) -> Any:
    found = [g * d for g, d in zip(machine.grid, machine.shape, strict=True)]
    return found[0] if ndim == 1 else tuple(found[:ndim])


def _whole_warp(mask: int) -> None:
    if int(mask) & FULL != FULL:
        raise KernelFault(f"the simulated GPU has operations of whole warps only; got {mask:#x}")


def _shuffles(mode: str) -> Callable[[int, Any, int], Any]:
    def shuffle(mask: int, value: Any, lane: int) -> Any:
        _whole_warp(mask)
        return machine.shuffle(mode, value, int(lane))

    return shuffle


def _ballot(mask: int, condition: Any) -> int:
    _whole_warp(mask)
    return machine.ballot(bool(condition))


def _sync(mask: int = FULL) -> None:
    _whole_warp(mask)
    machine.warp_barrier()


def _atomic(change: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def atomic(target: Any, index: Any, value: Any) -> Any:
        old = target[index]
        target[index] = change(old, value)
        return old

    return atomic


def _cas(target: Any, index: Any, old: Any, value: Any) -> Any:
    found = target[index]
    if found == old:
        target[index] = value
    return found


def _namespace(name: str, **values: Any) -> NumbaCuda:
    made = NumbaCuda(name)
    made.__dict__.update(values)
    return made


_CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "max": max, "min": min,
    "and_": lambda a, b: a & b, "or_": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "exch": lambda a, b: b,
}  # fmt: skip
_KINDS = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
)  # fmt: skip


def _nothing() -> None:
    """Writes are seen at once."""


def _names() -> dict[str, Any]:
    """What stands behind each name of the module."""
    atomics = {name: _atomic(change) for name, change in _CHANGES.items()}
    return {
        "threadIdx": _Dims(thread_index),
        "blockIdx": _Dims(lambda: machine.block),
        "blockDim": _Dims(lambda: machine.shape),
        "gridDim": _Dims(lambda: machine.grid),
        "grid": _grid,
        "gridsize": _gridsize,
        "warpsize": WARP,
        "shared": _namespace("cuda.shared", array=_shared_array),
        "local": _namespace("cuda.local", array=_local_array),
        "atomic": _namespace("cuda.atomic", cas=_cas, **atomics),
        "syncthreads": machine.barrier,
        "syncwarp": _sync,
        "shfl_sync": _shuffles("idx"),
        "shfl_down_sync": _shuffles("down"),
        "shfl_up_sync": _shuffles("up"),
        "shfl_xor_sync": _shuffles("bfly"),
        "ballot_sync": _ballot,
        "any_sync": lambda mask, condition: _ballot(mask, condition) != 0,
        "all_sync": lambda mask, condition: _ballot(mask, condition) == FULL,
        "threadfence": _nothing,
        "threadfence_block": _nothing,
        "threadfence_system": _nothing,
        "popc": lambda word: int(word).bit_count(),
        **{kind: np.dtype(kind).type for kind in _KINDS},
    }


CUDA = NumbaCuda("cuda")
CUDA.__dict__.update(_names())
