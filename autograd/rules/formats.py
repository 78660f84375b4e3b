"""Copies in a memory format."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules import elementwise, view
from tilegrad.autograd.rules.assign import clone
from tilegrad.engine import formats

__all__: list[str] = []


def contiguous(input: Tensor, memory_format: formats.MemoryFormat) -> Tensor:
    """``input`` if it has this format, else a copy that does; recorded.

    Raises:
        RuntimeError: the format is for another number of dimensions, or preserve_format, which is none.
    """
    kind = input.layout
    if memory_format.fits(kind.shape, kind.strides):
        return input
    if memory_format is formats.preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return in_format(input, memory_format)


def in_format(input: Tensor, memory_format: formats.MemoryFormat) -> Tensor:
    """``input`` if it has exactly the strides of this format, else a copy that does; recorded."""
    kind = input.layout
    if kind.strides == memory_format.strides(kind.shape):
        return input
    return copied(input, memory_format)


def copied(input: Tensor, memory_format: formats.MemoryFormat) -> Tensor:
    """A copy in this format, or in that of ``input`` for preserve_format."""
    if memory_format is formats.preserve_format:
        return clone(input)
    memory_format.strides(input.layout.shape)  # is for this number of dimensions
    if memory_format.rank is None:
        return _row_major(input)
    last = (0, *range(2, memory_format.rank), 1)
    back = (0, memory_format.rank - 1, *range(1, memory_format.rank - 1))
    return view.permute(_row_major(view.permute(input, last)), back)


def _row_major(input: Tensor) -> Tensor:
    """A row-major copy, whose strides are so for dimensions of size 1, too."""
    made = elementwise.contiguous(input)
    if made is not input:
        return made
    flat = clone(view.reshape(input, (input.layout.numel,)))
    return view.reshape(flat, input.layout.shape)
