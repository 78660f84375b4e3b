"""Gradients of regions of memory: of views whose base was written over, and of such bases.

The rules stand in ``autograd/rule.py``; ``autograd/tensor.py`` gives them their VJPs.
"""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of, zeros_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.later import of_one
from tilegrad.autograd.rule import AS_STRIDED, Rule, identity_vjp
from tilegrad.autograd.rules.index import index_add_flat, strided_indices
from tilegrad.autograd.rules.masked import masked_fill
from tilegrad.engine import calls
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.ops import view as ops
from tilegrad.engine.ops.elementwise import copy, fill, full


def as_strided_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Gradient of a region given by strides within the input's own memory, in real numbers where one of
    both is complex and the other is not.
    """
    shape, strides, offset = node.meta
    kind = node.inputs[0]
    if not grad.layout.numel:
        return (zeros_of(kind),)
    of_parts = kind.dtype.is_complex and not grad.layout.dtype.is_complex
    if of_parts:
        memory = _parts(kind)
    else:
        memory = kind
        if grad.layout.dtype.is_complex and not kind.dtype.is_complex:
            grad = of_one("view_as_real", grad)
    made = index_add_flat(grad, strided_indices(shape, strides, offset, kind), memory)
    return (of_one("view_as_complex", made) if of_parts else made,)


def copy_slices_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The base kept its old value outside the region, and took the view's inside it."""
    base, region = node.inputs
    dense = grad
    if grad.layout.strides != base.strides:
        dense = _laid_out_like(grad, base)
    of_parts = base.dtype.is_complex and not region.dtype.is_complex
    if of_parts:
        base, dense = _parts(base), of_one("view_as_real", dense)
    inside = AS_STRIDED.view(dense, *node.meta)
    if region.dtype.is_complex and not base.dtype.is_complex:
        pairs = layout(inside.layout.shape, base.dtype, base.device)
        inside = of_one("view_as_complex", _laid_out_like(inside, pairs))
    outside: Tensor | None = None
    if node.edges[0] is not None:
        mask = tensor_of(full(base.shape, 1, dense.layout.dtype, base.device))
        hole = _laid_out_like(mask, base)
        fill(ops.of(ops.as_strided, hole, *node.meta), 0.0)
        # not a product: what flows there may be infinite
        outside = masked_fill(dense, hole == 0, 0)
        if of_parts:
            outside = of_one("view_as_complex", outside)
    return outside, inside


def _parts(kind: Layout) -> Layout:
    """The memory of complex numbers as real ones: (…) as (…, 2)."""
    strides = (*[2 * s for s in kind.strides], 1)
    return layout((*kind.shape, 2), kind.dtype.to_real(), kind.device, strides)


_LAID_OUT = Rule("clone", identity_vjp)


def _laid_out_like(x: Tensor, kind: Layout) -> Tensor:
    """``x`` copied into memory with the strides of ``kind``, which may have gaps; recorded."""
    reach = sum((n - 1) * s for n, s in zip(kind.shape, kind.strides, strict=True))
    storage = kind.device.allocator.allocate(max(reach + 1, 0) * kind.itemsize)
    return _LAID_OUT.record((x,), copy(x, calls.new(kind, storage, storage.address)))
