"""Copies of tensors by ``copy`` and ``pickle``; what shares memory shares it in the copy too.

Pickles are for other processes (files are safetensors, see ``data/serialization.py``): a tensor
travels as a leaf with the bytes between its first and its last element.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import LEAF
from tilegrad.engine import array as arrays, calls, dtype as dt
from tilegrad.engine.array import Array
from tilegrad.engine.device import Device, device as as_device
from tilegrad.engine.ops import elementwise
from tilegrad.engine.shape import reach
from tilegrad.engine.sharing import Shared
from tilegrad.engine.transfer import host, to_device

_WORD = 8  # runs of bytes begin at multiples of the largest element


T = TypeVar("T", bound=Array)


def of_kind(kind: type[T], array: Array) -> T:
    """A leaf of the class ``kind`` over the memory of ``array``."""
    made = object.__new__(kind)
    made.layout, made.storage, made.address = array.layout, array.storage, array.address
    for name, value in LEAF.items():
        setattr(made, name, value)
    return made


def shallow(self: Tensor) -> Tensor:
    """``copy.copy``: another leaf over the same memory, without gradient and hooks."""
    _warn_of_hooks(self)
    made: Tensor = of_kind(type(self), self)
    made._tracked = self.requires_grad
    made.__dict__.update(self.__dict__)
    return made


def deep(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """``copy.deepcopy``: a leaf over a copy of the whole storage, which other copies under ``memo``
    share, with its gradient.

    Raises:
        RuntimeError: the tensor is no leaf.
    """
    found: Tensor | None = memo.get(id(self))
    if found is not None:
        return found
    if not self.is_leaf:
        raise RuntimeError(
            "deepcopy: Only Tensors created explicitly by the user (graph leaves) support the "
            "deepcopy protocol at the moment"
        )
    storage = self.storage
    block = memo.get(id(storage))
    if block is None:
        whole = _bytes(self, storage.address, storage.nbytes)
        block = memo[id(storage)] = elementwise.clone(whole).storage
    made: Tensor = of_kind(type(self), self)
    made.storage, made.address = block, block.address + self.address - storage.address
    made._tracked = self.requires_grad
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = deep(self.grad, memo)
    made.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return made


def reduced(self: Tensor, protocol: object) -> tuple[object, ...]:
    """What ``pickle`` keeps: the bytes, how they are shown, whether a gradient is wanted and the
    tensor's own attributes; of the storage only which tensors had it in common.
    """
    _warn_of_hooks(self)
    kind, storage = self.layout, self.storage
    offset = self.address - storage.address
    begin = offset // _WORD * _WORD
    count = offset - begin + reach(kind.shape, kind.strides) * kind.itemsize
    held = _bytes(self, storage.address + begin, count)
    shown = (kind.device, kind.dtype, kind.shape, kind.strides, offset, self.requires_grad)
    return rebuild, (type(self), storage, begin, host(held), *shown), dict(self.__dict__) or None


def rebuild(
    kind: type[Tensor],
    shared: Shared,
    begin: int,
    data: np.ndarray,
    device: Device,
    dtype: dt.DType,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    requires_grad: bool,
) -> Tensor:
    """The tensor that :func:`reduced` took apart; lies over the memory of ``data`` where it may."""
    piece = arrays.from_numpy(data if data.flags.writeable else data.copy())
    device = as_device(device)
    layout = arrays.layout(shape, dtype, device, strides)
    made = of_kind(kind, calls.new(layout, piece.storage, piece.address))
    made._tracked = requires_grad
    shared.add(begin, to_device(piece, device), made, offset)
    return made


def _bytes(array: Array, address: int, count: int) -> Array:
    made = arrays.layout((count,), dt.uint8, array.layout.device)
    return calls.new(made, array.storage, address)  # type: ignore[no-any-return]


def _warn_of_hooks(tensor: Tensor) -> None:
    for hook in tensor._hooks if isinstance(tensor._hooks, list) else ():
        warnings.warn(
            f"backward hook {hook.__wrapped__!r} on tensor will not be serialized.",
            UserWarning,
            stacklevel=4,
        )
