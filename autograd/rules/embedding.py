"""Rows of a table by their numbers, PyTorch's names and arguments."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.index import (
    FRESH,
    index_add,
    index_add_vjp,
    index_copy_,
    index_fill,
    index_of,
    index_select,
    select_by,
    slices,
    zeros,
)
from tilegrad.autograd.rules.masked import where
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import index as ops
from tilegrad.engine.ops.elementwise import full

__all__: list[str] = []


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """Rows of ``weight`` (V, D): the result has the shape of ``input``, then D.

    Args:
        input: int64 or int32 row numbers.
        padding_idx: a row that gets no gradient.
        max_norm: first rescale, in place, the rows read whose ``norm_type`` norm is larger.
        scale_grad_by_freq: divide the gradient of a row by how often it was read.
        sparse: accepted for compatibility; gradients are dense.

    Gradient: of ``weight``; rows read several times add up, in the order of ``input``.
    """
    if weight.layout.ndim != 2:
        kind = weight.layout.describe()
        raise RuntimeError(f"embedding: 'weight' must be 2-D; got {kind}")
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise ValueError(
                f"embedding: Padding_idx must be within num_embeddings; got {padding_idx}"
            )
        padding_idx %= rows
    input = index_of("embedding", input)
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    out = ops.take("embedding", weight, input, 0)
    return _ROWS.record((weight, input), out, (padding_idx, scale_grad_by_freq))


def _renormalise(weight: Tensor, index: Tensor, max_norm: float, p: float) -> None:
    flat = view.reshape(index, (-1,))
    old = weight.detach()
    rows = index_select(old, 0, flat)
    norms = rows.norm(p, dim=1, keepdim=True)
    scale = where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    index_copy_(old, 0, flat, rows * scale)


def _embedding_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    padding, by_frequency = node.meta
    shape = node.inputs[0].shape
    if by_frequency:
        flat = view.reshape(at, (-1,))
        ones = tensor_of(full(flat.shape, 1, grad.dtype, grad.device))
        counts = index_add(zeros(shape[:1], grad), 0, flat, ones)
        grad = grad / view.unsqueeze(select_by(counts, at, 0, "index_select"), -1)
    whole = slices(_GRAD, zeros(shape, grad), at, grad, 0, FRESH)
    if padding is not None:
        whole = index_fill(whole, 0, tensor_of(full((1,), padding, dt.int64, grad.device)), 0)
    return whole, None


_ROWS = Rule("embedding", _embedding_vjp, (1,))
_GRAD = Rule("embedding_backward", index_add_vjp, ((1, 2),))
