"""Other sizes for a tensor that is there."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from sys import getrefcount
from types import SimpleNamespace
from typing import cast

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.size import sizes
from tilegrad.engine import calls
from tilegrad.engine.array import Array, layout
from tilegrad.engine.dtype import uint8
from tilegrad.engine.formats import MemoryFormat, contiguous_format
from tilegrad.engine.memory import Storage, counted_apart, owner
from tilegrad.engine.ops.elementwise import OPS

__all__ = ["resize_as_"]


def resize_(
    input: Tensor, *size: int | Sequence[int], memory_format: MemoryFormat = contiguous_format
) -> Tensor:
    """Give ``input`` other sizes, row-major or of a format, in place. Its elements stay in the order of its memory;
    where that ends too early, it grows for all tensors that share it, by elements that are undefined.

    Raises:
        RuntimeError: ``input`` requires a gradient, a size is negative, or the memory must grow and is not of
            tensors alone, but NumPy's, for instance.
    """
    shape = sizes(size)
    if input.requires_grad:
        raise RuntimeError("resize_: cannot resize variables that require grad")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_: requested resize to {list(shape)}, but a size is negative")
    old = input.layout
    if shape == old.shape:
        return input
    made = layout(shape, old.dtype, old.device, memory_format.strides(shape))
    if made.nbytes:
        enlarge("resize_", input, input.address - input.storage.address + made.nbytes)
    input.storage.version += 1
    input.layout = made
    return input


def resize_as_(input: Tensor, the_template: Tensor) -> Tensor:
    """:func:`resize_` to the sizes of another tensor."""
    return resize_(input, *the_template.layout.shape)


def enlarge(op: str, array: Array, nbytes: int) -> None:
    """See that the storage of ``array`` has so many bytes: if not, it moves to a block that has them, and all arrays
    over it with it.

    Raises:
        RuntimeError: it must grow, and others than arrays hold its memory.
    """
    block = owner(array.storage)
    if block.nbytes >= nbytes:
        return
    if array.storage is block and _references(array) <= _ALONE + 1:
        over = _over(block, [array])
    else:
        with _thawed():
            over = _over(block, gc.get_objects())
    if over is None:
        raise RuntimeError(f"{op}: Trying to resize storage that is not resizable")
    here = array.layout.device
    fresh = here.allocator.allocate(nbytes)
    kept = layout((block.nbytes,), uint8, here)
    OPS["copy"](calls.new(kept, block, block.address), calls.new(kept, fresh, fresh.address))
    for arrays in over:
        held = arrays[0].storage
        moved = fresh if held is block else counted_apart(fresh)
        moved.version = held.version
        for one in arrays:
            one.storage, one.address = moved, one.address + fresh.address - block.address


@contextmanager
def _thawed() -> Iterator[None]:
    """Objects that ``gc.freeze`` hides from the collector are seen meanwhile, and hidden again, with those of
    this moment, after it.
    """
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()


def _over(block: Storage, objects: list[object]) -> list[list[Array]] | None:
    """The arrays among ``objects`` over a block, by their storages, its own and those counted apart; None where
    somebody else holds one of these, or the block is lent.
    """
    found: dict[int, list[Array]] = {}
    for one in cast("list[Array]", objects):  # those that are
        if issubclass(type(one), Array) and owner(one.storage) is block:
            found.setdefault(id(one.storage), []).append(one)
    if block.pool is None and block.address:
        return None
    for arrays in found.values():
        for holder in gc.get_referrers(arrays[0].storage) if len(objects) > 1 else ():
            if holder is not objects and not issubclass(type(holder), (Array, type(block))):
                return None
    return list(found.values())


def _references(array: object) -> int:
    return getrefcount(cast(Array, array).storage)


_ALONE = _references(SimpleNamespace(storage=object()))  # to a storage that one array holds
