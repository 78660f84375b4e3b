"""Views: functions that show a tensor's memory in another shape, and how gradients flow back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import (
    UNRECORDED,
    needs_graph,
    own,
    part_of,
    record,
    record_one,
    recorded,
    zeros_of,
)
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rules.elementwise import contiguous
from tilegrad.autograd.size import sizes
from tilegrad.engine import calls
from tilegrad.engine.array import Layout, layout as make_layout
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops import elementwise as elementwise_ops, view as ops
from tilegrad.engine.shape import Shape, as_index, infer_size, normalize_dim, view_strides

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

__all__ = [
    "as_strided", "diagonal", "narrow", "permute", "reshape", "select", "squeeze", "swapaxes",
    "transpose", "unsqueeze",
]  # fmt: skip


def show(op: Op, vjp: Any, x: Tensor, meta: Any, *values: Any) -> Tensor:
    """The view ``op`` of ``x`` with its metadata in order, recorded."""
    result: Tensor | None = calls.show(op, x, *values)
    if result is not None:
        if not x._tracked:
            if x._base is not None:
                result._index = x._index
        elif state.grad:
            record_one(op.name, vjp, (x,), result, (), meta)
        else:
            result._index = UNRECORDED
        return result
    result = part_of(x, ops.of(op, x, *values))
    if not x._tracked:
        result._index = x._index
    elif state.grad:
        record(op.name, vjp, (x,), (result,), (), meta)
    else:
        result._index = UNRECORDED
    return result


def show_all(
    name: str, op: Op, vjp: Any, x: Tensor, meta: Any, several: Sequence[tuple[Any, ...]]
) -> tuple[Tensor, ...]:
    """A view of ``x`` for each of ``several`` metadata, all of them outputs of one node."""
    pieces = []
    for values in several:
        piece: Tensor | None = calls.show(op, x, *values)
        pieces.append(part_of(x, ops.of(op, x, *values)) if piece is None else piece)
    found = tuple(pieces)
    if found and x._tracked and state.grad:
        record(name, vjp, (x,), found, (), meta)
    return found


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """``input`` with two dimensions swapped; shares its memory."""
    return show(ops.transpose, _transpose_vjp, input, (dim0, dim1), dim0, dim1)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """:func:`transpose`."""
    return show(ops.transpose, _transpose_vjp, input, (axis0, axis1), axis0, axis1)


def _transpose_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (transpose(grad, *node.meta),)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """``input`` with its dimensions in the order ``dims``; shares its memory."""
    dims = tuple(dims)
    return show(ops.permute, permute_vjp, input, dims, dims)


def permute_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The inverse permutation."""
    ndim = len(node.meta)
    inverse = [0] * ndim
    for position, dim in enumerate(node.meta):
        inverse[dim % ndim] = position
    return (permute(grad, inverse),)


def expand(input: Tensor, shape: Sequence[int]) -> Tensor:
    """``input`` with size-1 dimensions repeated to ``shape`` (-1 keeps a size); shares its memory."""
    return show(ops.expand, broadcast_vjp, input, None, tuple(shape))


def broadcast_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The graph sums the gradient back to the input's shape."""
    return (grad,)


def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same memory in another shape.

    Raises:
        RuntimeError: the sizes do not fit, or the strides would need a copy.
    """
    return show(ops.view, reshape_vjp, input, None, tuple(shape))


def reshape_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient in the input's shape."""
    return (reshape(grad, node.inputs[0].shape),)


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """``input`` in another shape, as a view where its strides allow, else as a copy."""
    layout = input.layout
    target = infer_size("reshape", tuple(shape), layout.numel)
    if view_strides(layout.shape, layout.strides, target) is None:
        input = contiguous(input)
    return view(input, target)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """``input`` without its size-1 dimensions, or without those of ``dim``."""
    dims = None if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    return show(ops.squeeze, reshape_vjp, input, None, dims)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """``input`` with a dimension of size 1 put in at ``dim``."""
    return show(ops.unsqueeze, reshape_vjp, input, None, dim)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice ``index`` of dimension ``dim``, without that dimension."""
    if index.__class__ is not int:
        index = as_index("select", index, "index")
    return show(ops.select, _region_vjp, input, (ops.select, dim, index), dim, index)


def slice_(
    x: Tensor, dim: int, start: int | None = None, stop: int | None = None, step: int = 1
) -> Tensor:
    """``x[start:stop:step]`` along ``dim``."""
    values = (dim, start, stop, step)
    return show(ops.slice_, _region_vjp, x, (ops.slice_, *values), *values)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` slices of dimension ``dim`` from ``start`` on.

    Raises:
        IndexError: ``start`` does not lie within the dimension.
        RuntimeError: the last does not, or there is no dimension.
    """
    if not input.layout.ndim:
        raise RuntimeError("narrow: narrow() cannot be applied to a 0-dim tensor.")
    size = input.layout.shape[normalize_dim("narrow", dim, input.layout.ndim)]
    if not -size <= start <= size:
        raise IndexError(
            f"narrow: start out of range (expected to be in range of [{-size}, {size}], but got "
            f"{start})"
        )
    begin = start + size if start < 0 else start
    if length < 0 or not 0 <= begin <= size or begin + length > size:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size})"
        )
    return slice_(input, dim, begin, begin + length)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as the last dimension."""
    values = (offset, dim1, dim2)
    return show(ops.diagonal, _region_vjp, input, (ops.diagonal, *values), *values)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` every ``step`` along ``dimension``, as a new last dimension."""
    values = (dimension, size, step)
    return show(ops.unfold, _overlapping_vjp, input, (ops.unfold, *values), *values)


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """The storage of ``input`` through any sizes and strides (in elements).

    Raises:
        RuntimeError: an element would lie outside the storage.
    """
    array = input
    start = array.offset if storage_offset is None else storage_offset
    shape, strides = sizes(tuple(size)), sizes(tuple(stride))
    if len(shape) != len(strides):
        raise RuntimeError(
            f"as_strided: mismatch in length of strides and shape; got {strides} for {shape}"
        )
    reach = start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    within = array.storage.nbytes // array.layout.itemsize
    if all(shape) and (start < 0 or reach >= within):
        raise RuntimeError(
            f"as_strided: setStorage: sizes {list(shape)}, strides {list(strides)} and storage "
            f"offset {start} are out of bounds for storage of {within} elements"
        )
    values = (shape, strides, start - array.offset)
    return show(ops.as_strided, as_strided_vjp, input, values, *values)


# ------------------------------------------------------------------------- gradients of regions


def _region_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    op, *values = node.meta
    return (embed(grad, node.inputs[0].shape, op, *values),)


def embed(grad: Tensor, shape: Shape, op: Op, *values: Any) -> Tensor:
    """Zeros of ``shape`` whose region ``ops.of(op, …, *values)``, without overlaps, holds ``grad``."""
    source = grad.layout
    whole = zeros_of(make_layout(shape, source.dtype, source.device))
    elementwise_ops.copy(grad, ops.of(op, whole, *values))
    if state.grad and needs_graph((grad,)):
        record("embed", _embed_vjp, (grad,), (whole,), (), (op, *values))
    return whole


def _embed_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    op, *values = node.meta
    vjp = _overlapping_vjp if op is ops.unfold else _region_vjp
    return (show(op, vjp, grad, node.meta, *values),)


def _overlapping_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Windows may share elements: add the windows up, one offset within the window at a time."""
    _, dimension, size, step = node.meta
    shape = node.inputs[0].shape
    if not shape:
        return (reshape(grad, ()),)
    axis = normalize_dim("unfold", dimension, len(shape))
    total: Tensor | None = None
    for offset in range(size):
        part = select(grad, -1, offset)
        stop = offset + (part.shape[axis] - 1) * step + 1
        piece = embed(part, shape, ops.slice_, axis, offset, stop, step)
        total = piece if total is None else total + piece
    if total is None:
        return (zeros_of(node.inputs[0]),)
    return (total,)


def as_strided_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Gradient of a region given by strides within the input's own memory."""
    shape, strides, offset = node.meta
    if not grad.layout.numel:
        return (zeros_of(node.inputs[0]),)
    return (_gather_back(grad, node.inputs[0], shape, strides, offset),)


def _gather_back(grad: Tensor, kind: Any, shape: Shape, strides: Shape, offset: int) -> Tensor:
    """Put ``grad`` at the elements of an input of layout ``kind`` that the region shows."""
    from tilegrad.autograd.rules.index import index_add_flat, strided_indices

    positions = strided_indices(shape, strides, offset, kind)
    return index_add_flat(grad, positions, kind)


def copy_slices_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The base kept its old value outside the region, and took the view's inside it."""
    from tilegrad.autograd.rules.masked import masked_fill

    base = node.inputs[0]
    dense = grad
    if grad.layout.strides != base.strides:
        dense = _laid_out_like(grad, base)
    inside = show(ops.as_strided, as_strided_vjp, dense, node.meta, *node.meta)
    outside: Tensor | None = None
    if node.edges[0] is not None:
        mask = own(elementwise_ops.full(base.shape, 1, grad.dtype, base.device))
        hole = _laid_out_like(mask, base)
        elementwise_ops.fill(ops.of(ops.as_strided, hole, *node.meta), 0.0)
        outside = masked_fill(
            dense, hole == 0, 0
        )  # not a product: what flows there may be infinite
    return outside, inside


def _laid_out_like(x: Tensor, kind: Layout) -> Tensor:
    """``x`` copied into memory with the strides of ``kind``, which may have gaps; recorded."""
    reach = sum((n - 1) * s for n, s in zip(kind.shape, kind.strides, strict=True))
    storage = kind.device.allocator.allocate(max(reach + 1, 0) * kind.itemsize)
    out = own(elementwise_ops.copy(x, calls.new(kind, storage, storage.address)))
    return recorded("clone", _copy_vjp, (x,), out, (), None)


def _copy_vjp(node: Node, grad: Tensor) -> tuple[Tensor]:
    return (grad,)
