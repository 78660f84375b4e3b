"""Attention, composed of products and a softmax."""

from __future__ import annotations

import math

from tilegrad.autograd.rules.creation import ones
from tilegrad.autograd.rules.sampling import dropout
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import bool_


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v (Vaswani et al. 2017).

    Args:
        query: (..., L, E); key: (..., S, E); value: (..., S, F).
        attn_mask: broadcast to (..., L, S): True where a key may be seen, or a float to add.
        dropout_p: share of the weights to drop, whatever the mode.
        is_causal: query i sees keys 0..i only.
        scale: 1 / sqrt(E) if not given.
        enable_gqa: each head of key and value serves several heads of query.

    Returns:
        (..., L, F).

    Raises:
        RuntimeError: both ``attn_mask`` and ``is_causal``.
    """
    if attn_mask is not None and is_causal:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(groups, -3) for x in (key, value))
    scores = (query * factor) @ key.mT
    if is_causal:
        size = (query.shape[-2], key.shape[-2])
        attn_mask = ones(size, dtype=bool_, device=query.device).tril()
    if attn_mask is not None:
        if attn_mask.dtype is bool_:
            scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
        else:
            scores = scores + attn_mask
    weights = softmax(scores, dim=-1)
    return dropout(weights, dropout_p, True) @ value if dropout_p else weights @ value
