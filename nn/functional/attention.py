"""Attention, fused; with dropout composed of products and a softmax."""

from __future__ import annotations

import math

from tilegrad.autograd.rules.attention import attention, spread, weights
from tilegrad.autograd.rules.sampling import dropout
from tilegrad.autograd.tensor import Tensor


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

    Without dropout the matrix of scores is never stored; see
    :func:`tilegrad.autograd.rules.attention.attention`.

    Args:
        query: (..., L, E); key: (..., S, E); value: (..., S, F).
        attn_mask: broadcast to (..., L, S): True where a key may be seen, or a float to add.
        dropout_p: share of the weights to drop, whatever the mode.
        is_causal: query i sees keys 0..i only.
        scale: 1 / sqrt(E) if not given.
        enable_gqa: each head of key and value serves several heads of query.

    Returns:
        (..., L, F); 0 for a query that sees no key.

    Raises:
        RuntimeError: both ``attn_mask`` and ``is_causal``, or operands that do not go together.
    """
    if attn_mask is not None and is_causal:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    factor = 1.0 / math.sqrt(max(1, query.layout.shape[-1])) if scale is None else float(scale)
    key, value, share = _heads(query, key, value) if enable_gqa else (key, value, 1)
    if not dropout_p:
        return attention(query, key, value, attn_mask, is_causal, factor, share)
    shares = weights(query, spread(key, share), attn_mask, is_causal, factor)
    return dropout(shares, dropout_p, True) @ spread(value, share)


def _heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, int]:
    """Key and value with as many heads, and how many heads of query each of them serves."""
    heads, fewer, few = query.layout.shape[-3], key.layout.shape[-3], value.layout.shape[-3]
    if 0 in (fewer, few) or heads % fewer or heads % few:
        raise RuntimeError(
            f"scaled_dot_product_attention: Number of heads in key and value must divide the "
            f"number of heads in query; got {fewer}, {few} and {heads}"
        )
    if fewer == few:
        return key, value, heads // fewer
    return spread(key, heads // fewer), spread(value, heads // few), 1
