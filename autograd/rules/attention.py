"""Scaled dot-product attention, fused or composed, with gradients of any order."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of, zeros_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import extrema, masked, reduce, view
from tilegrad.autograd.rules.creation import ones
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.engine.array import Layout
from tilegrad.engine.dtype import bool_
from tilegrad.engine.ops import attention as ops
from tilegrad.engine.shape import Shape, broadcast_shapes, numel


class _Meta(NamedTuple):
    """What a backward pass needs besides the operands."""

    causal: bool
    scale: float
    share: int


def weights(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(q k^T * scale + mask), composed; 0 for a query that sees no key."""
    scores = matmul(query * scale, view.transpose(key, -2, -1))
    if causal:
        size = (query.layout.shape[-2], key.layout.shape[-2])
        mask = masked.tril(ones(size, dtype=bool_, device=query.device))
    if mask is None or not scores.layout.shape[-1]:
        return softmax(scores, -1)
    if mask.dtype is bool_:
        scores = masked.masked_fill(scores, mask.logical_not(), -math.inf)
    else:
        scores = scores + mask
    blind = extrema.amax(scores.detach(), -1, True) == -math.inf
    return masked.masked_fill(softmax(masked.masked_fill(scores, blind, 0), -1), blind, 0)


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """In one pass over blocks of scores, unless it is to be differentiated again."""
    q, k, v, *mask, lse, out = node.unpack()
    meta: _Meta = node.meta
    if v is None:  # its gradient alone is wanted, and does not read it
        v, out = zeros_of(node.inputs[2]), grad
    if state.grad:
        grads = _composed(q, k, v, mask[0] if mask else None, grad, meta)
    else:
        held = mask[0] if mask else None
        made = ops.attention_backward(grad, q, k, v, out, lse, held, meta.causal, meta.scale)
        grads = (tensor_of(made[0]), tensor_of(made[1]), tensor_of(made[2]))
    by_k, by_v = (_gathered(x, meta.share) for x in grads[1:])
    return (grads[0], by_k, by_v, *[None] * (len(mask) + 1))


_PLAIN = Rule("attention", _vjp, (0, 1, (2, 0, 1), 3, (-1, 0, 1)))
_MASKED = Rule("attention", _vjp, (0, 1, (2, 0, 1), 3, 4, (-1, 0, 1)))


def _composed(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grad: Tensor, meta: _Meta
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in tensor functions."""
    k, v = spread(k, meta.share), spread(v, meta.share)
    p = weights(q, k, mask, meta.causal, meta.scale)
    by_p = matmul(grad, view.transpose(v, -2, -1))
    score_grad = p * (by_p - reduce.sum(p * by_p, -1, True)) * meta.scale
    transposed = view.transpose(score_grad, -2, -1)
    return matmul(score_grad, k), matmul(transposed, q), matmul(view.transpose(p, -2, -1), grad)


def spread(x: Tensor, share: int) -> Tensor:
    """Every head of (…, H, S, E) ``share`` times."""
    if share == 1:
        return x
    wide = (*x.shape[:-2], share, *x.shape[-2:])
    shape = (*x.shape[:-3], x.shape[-3] * share, *x.shape[-2:])
    return view.reshape(view.expand(view.unsqueeze(x, -3), wide), shape)


def _gathered(x: Tensor, share: int) -> Tensor:
    """The gradient of :func:`spread`."""
    if share == 1:
        return x
    N, H, S, E = x.shape
    return reduce.sum(view.reshape(x, (N, H // share, share, S, E)), 2)


def _four(x: Tensor, batch: Shape) -> Tensor:
    """``x``, whose batch dimensions broadcast to ``batch``, with two of them."""
    shape = (*batch, *x.layout.shape[-2:])
    if x.layout.shape != shape:
        x = view.expand(x, shape)
    if len(batch) == 2:
        return x
    return view.reshape(x, (numel(batch[:-1]), *(batch[-1:] or (1,)), *x.layout.shape[-2:]))


@lru_cache(maxsize=4096)  # the checks of layouts that were seen before are a look-up
def _arranged(
    q: Layout, k: Layout, v: Layout, mask: Layout | None, share: int
) -> tuple[Shape, bool]:
    """(the batch dimensions, whether the fused op takes such operands).

    Raises:
        RuntimeError: shapes or dtypes that do not go together.
    """
    ops.check(q, k, v, mask)
    few = [x.shape[:-2] for x in (k, v)]
    wide = [(*s[:-1], s[-1] * share) if share > 1 else s for s in few]
    batch = broadcast_shapes(ops.NAME, q.shape[:-2], *wide)
    scores = (*batch, q.shape[-2], k.shape[-2])
    if mask is not None and broadcast_shapes(ops.NAME, mask.shape, scores) != scores:
        raise RuntimeError(
            f"{ops.NAME}: attn_mask must broadcast to {scores}; got {tuple(mask.shape)}"
        )
    return batch, ops.fits(q, k, v)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    share: int = 1,
) -> Tensor:
    """softmax(q k^T * scale + mask) v.

    The matrix of scores is never stored where the fused op takes the operands
    (:func:`tilegrad.engine.ops.attention.fits`) and the mask wants no gradient.

    Args:
        query: (…, H, L, E); key: (…, H / share, S, E); value: (…, H / share, S, F); floating point.
        mask: broadcast to (…, H, L, S): True where a key may be seen, or a float to add.
        causal: query i sees keys 0 … i only.

    Gradient: of query, key and value; all are saved, with the result and a number per query (value
    and result only where query or key needs a gradient).

    Raises:
        RuntimeError: shapes or dtypes that do not go together.

    Source: T. Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work
    Partitioning", 2023.
    """
    q_kind, k_kind, v_kind = query.layout, key.layout, value.layout
    mask_kind = None if mask is None else mask.layout
    batch, fits = _arranged(q_kind, k_kind, v_kind, mask_kind, share)
    L, S = q_kind.shape[-2], k_kind.shape[-2]
    if not fits or (mask is not None and mask.requires_grad):
        p = weights(query, spread(key, share), mask, causal, scale)
        return matmul(p, spread(value, share))
    fewer = (*batch[:-1], batch[-1] // share) if share > 1 else batch
    q, k, v = _four(query, batch), _four(key, fewer), _four(value, fewer)
    given = [q, k, v]
    if mask is not None:
        m = mask if mask.ndim > 1 else view.unsqueeze(mask, 0)
        m = _four(m, batch)
        given.append(view.expand(m, (*m.shape[:2], L, S)))
    held = given[3] if mask is not None else None
    out, lse = ops.attention(q, k, v, held, causal, scale)
    given.append(tensor_of(lse))
    rule = _MASKED if mask is not None else _PLAIN
    result = rule.record(tuple(given), out, _Meta(causal, scale, share))
    return view.reshape(result, (*batch, L, value.layout.shape[-1])) if len(batch) != 2 else result
