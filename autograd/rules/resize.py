"""Other sizes for a tensor that is there."""

from __future__ import annotations

from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.size import sizes
from tilegrad.engine.array import empty_layout, layout, window
from tilegrad.engine.ops.elementwise import OPS

__all__ = ["resize_as_"]


def resize_(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """Give ``input`` other sizes, row-major, in place. Its elements stay in the order of its memory; where it
    has too little, it gets new memory, whose further elements are undefined.

    Raises:
        RuntimeError: ``input`` requires a gradient, or a size is negative.
    """
    shape = sizes(size)
    if input.requires_grad:
        raise RuntimeError("resize_: cannot resize variables that require grad")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_: requested resize to {list(shape)}, but a size is negative")
    old = input.layout
    if shape == old.shape:
        return input
    made = layout(shape, old.dtype, old.device)
    end = input.storage.address + input.storage.nbytes
    input.storage.version += 1
    if input.address + made.nbytes > end:
        kept = (end - input.address) // old.itemsize
        fresh = empty_layout(made)
        if kept:
            OPS["copy"](window(input, (kept,), (1,)), window(fresh, (kept,), (1,)))
        fresh.storage.version = input.storage.version
        input.storage, input.address = fresh.storage, fresh.address
    input.layout = made
    return input


def resize_as_(input: Tensor, the_template: Tensor) -> Tensor:
    """:func:`resize_` to the sizes of another tensor."""
    return resize_(input, *the_template.layout.shape)
