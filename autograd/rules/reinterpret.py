"""The bytes of a tensor as elements of another dtype."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import detached_view
from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.array import layout

__all__: list[str] = []


def view_dtype(input: Tensor, dtype: object) -> Tensor:
    """The same memory as elements of another dtype; the last dimension is as much longer or shorter as
    these are smaller or larger. A constant: no gradient flows through it.

    Raises:
        RuntimeError: of a dtype of another size: ``input`` has no dimension, or its last one is not
            adjacent, or sizes, strides or the beginning do not divide.
    """
    kind, old = dt.dtype(dtype), input.layout
    if kind is old.dtype:
        return detached_view(input)
    shape, strides = old.shape, old.strides
    if kind.itemsize != old.itemsize:
        shape, strides = _resized(input, kind)
    made: Tensor = calls.new(layout(shape, kind, old.device, strides), input.storage, input.address)
    return made


def _resized(input: Tensor, kind: dt.DType) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides over elements of another size."""
    old = input.layout
    what = f"to view {old.dtype.name} as {kind.name} (different element sizes)"
    if not old.ndim:
        raise RuntimeError(f"self.dim() cannot be 0 {what}")
    if old.strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {old.strides[-1]}")
    if kind.itemsize < old.itemsize:
        ratio = old.itemsize // kind.itemsize
        inner = tuple([s * ratio for s in old.strides[:-1]])
        return (*old.shape[:-1], old.shape[-1] * ratio), (*inner, 1)
    ratio = kind.itemsize // old.itemsize
    counts = [("self.size(-1)", old.shape[-1]), ("self.storage_offset()", input.offset)]
    counts += [(f"self.stride({k})", step) for k, step in enumerate(old.strides[:-1])]
    for name, count in counts:
        if count % ratio:
            raise RuntimeError(f"{name} must be divisible by {ratio} {what}, but got {count}")
    inner = tuple([s // ratio for s in old.strides[:-1]])
    return (*old.shape[:-1], old.shape[-1] // ratio), (*inner, 1)
