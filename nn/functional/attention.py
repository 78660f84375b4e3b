"""Attention, fused; with dropout composed of products and a softmax."""

from __future__ import annotations

import math

from tilegrad.autograd.rules.attention import attention, spread, weights
from tilegrad.autograd.rules.creation import zeros
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.matmul import linear
from tilegrad.autograd.rules.movement import cat, pad
from tilegrad.autograd.rules.sampling import dropout
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import bool_, float32, float64
from tilegrad.nn.functional.backends import EVERY, chosen, composed


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
        attn_mask: broadcast to (..., L, S): True where a key may be seen, or numbers to add, of float32 or
            the query's dtype.
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
    if (
        attn_mask is not None
        and attn_mask.layout.dtype is float32
        and query.layout.dtype is float64
    ):
        attn_mask = to_dtype(attn_mask, float64)
    factor = 1.0 / math.sqrt(max(1, query.layout.shape[-1])) if scale is None else float(scale)
    key, value, share = _heads(query, key, value) if enable_gqa else (key, value, 1)
    if not dropout_p and (chosen.backends is EVERY or not composed()):
        return attention(query, key, value, attn_mask, is_causal, factor, share)
    shares = weights(query, spread(key, share), attn_mask, is_causal, factor)
    return (dropout(shares, dropout_p, True) if dropout_p else shares) @ spread(value, share)


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


# ------------------------------------------------------------------------------------- many heads


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None,
    bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
    out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
    need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """What :class:`tilegrad.nn.MultiheadAttention` computes: (output, weights or None).

    Args:
        query: (L, N, E) or (L, E); key, value: likewise with S.
        in_proj_weight: (3 E, E), or with ``use_separate_proj_weight`` the three of its own.
        bias_k, bias_v: (1, 1, E), a key and a value to add.
        key_padding_mask: (N, S) or (S,): True for keys to ignore, or a float to add.
        attn_mask: (L, S) or (N heads, L, S): True where a key may not be seen, or a float.
        static_k, static_v: (N heads, S, E / heads), instead of projected keys and values.
    """
    single = _check_heads(query, key, value, key_padding_mask, attn_mask, num_heads)
    E = query.shape[-1]
    if embed_dim_to_check != E:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {E}"
        )
    if E % num_heads:
        raise AssertionError(f"embed_dim {E} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if single:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    rows = [x.transpose(0, 1) for x in (query, key, value)]
    projections = _projections(
        in_proj_weight, (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias, E,
        use_separate_proj_weight,
    )  # fmt: skip
    q, k, v = (linear(x, w, b) for x, (w, b) in zip(rows, projections, strict=True))
    mask = _mask(q, key.shape[0], attn_mask, key_padding_mask, num_heads)
    q = _to_heads(q, num_heads)
    k, v, mask = _added((k, v), mask, bias_k, bias_v)
    k, v = _static(k, static_k, num_heads), _static(v, static_v, num_heads)
    if add_zero_attn:
        none = zeros((*k.shape[:2], 1, k.shape[3]), dtype=k.dtype, device=k.device)
        k, v = cat([k, none], 2), cat([v, none], 2)
        mask = None if mask is None else pad(mask, (0, 1))
    share = dropout_p if training else 0.0
    out, shares = _attended((q, k, v), mask, share, need_weights, average_attn_weights)
    joined = linear(out.permute(2, 0, 1, 3).reshape(*query.shape), out_proj_weight, out_proj_bias)
    if single:
        return joined.squeeze(1), None if shares is None else shares.squeeze(0)
    return joined, shares


def _static(x: Tensor, given: Tensor | None, heads: int) -> Tensor:
    """Projected keys or values by heads, or those that were given (N heads, S, E / heads)."""
    if given is None:
        return _to_heads(x, heads)
    return given.reshape(given.shape[0] // heads, heads, *given.shape[1:])


def _attended(
    qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, share: float, weighed: bool, mean: bool
) -> tuple[Tensor, Tensor | None]:
    """(output, weights if they are wanted, their mean over heads if that is)."""
    q, k, v = qkv
    if not weighed:
        return scaled_dot_product_attention(q, k, v, mask, share), None
    scores = (q * (1.0 / math.sqrt(q.shape[-1]))) @ k.mT
    shares = softmax(scores if mask is None else scores + mask, -1)
    shares = dropout(shares, share) if share else shares
    return shares @ v, shares.mean(1) if mean else shares


def _check_heads(
    query: Tensor, key: Tensor, value: Tensor, ignore: Tensor | None, attend: Tensor | None, heads: int
) -> bool:  # fmt: skip
    """Whether there is no batch; raise where numbers of dimensions or masks do not fit."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"For {'batched (3-D)' if query.ndim == 3 else 'unbatched (2-D)'} `query`, expected `key` and "
            f"`value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors respectively"
        )
    if ignore is not None and ignore.ndim != query.ndim - 1:
        raise AssertionError(
            f"expected `key_padding_mask` to be `None` or {query.ndim - 1}-D but found {ignore.ndim}-D "
            f"tensor instead"
        )
    if attend is not None and attend.ndim not in (2, 3):
        raise AssertionError(
            f"expected `attn_mask` to be `None`, 2-D or 3-D but found {attend.ndim}-D tensor instead"
        )
    return query.ndim == 2


def _projections(
    joint: Tensor | None,
    own: tuple[Tensor | None, ...],
    bias: Tensor | None,
    E: int,
    separate: bool,
) -> list[tuple[Tensor, Tensor | None]]:
    """(weight, bias) of query, key and value."""
    found = []
    for place in range(3):
        if separate:
            weight = own[place]
        else:
            weight = None if joint is None else joint.narrow(0, place * E, E)
        if weight is None:
            kind = ("q", "k", "v")[place]
            raise AssertionError(f"the projection weight of {kind} is needed, but it is None")
        found.append((weight, None if bias is None else bias.narrow(0, place * E, E)))
    return found


def _to_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, E) as (N, heads, L, E / heads)."""
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _mask(
    q: Tensor, keys: int, attend: Tensor | None, ignore: Tensor | None, heads: int
) -> Tensor | None:
    """What to add to the scores, broadcast to (N, heads, L, S)."""
    total: Tensor | None = None
    if attend is not None:
        total = _additive(attend, q)
        N, L = q.shape[:2]
        right = (L, keys) if total.ndim == 2 else (N * heads, L, keys)
        if tuple(total.shape) != right:
            raise RuntimeError(
                f"The shape of the {total.ndim}D attn_mask is {tuple(total.shape)}, but should be {right}."
            )
        if total.ndim == 3:
            total = total.reshape(N, heads, L, keys)
    if ignore is not None:
        row = _additive(ignore, q).reshape(-1, 1, 1, keys)
        total = row if total is None else total + row
    return total


def _added(
    pair: tuple[Tensor, Tensor], mask: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values with those that are learned, which nothing masks."""
    k, v = pair
    if bias_k is None or bias_v is None:
        return k, v, mask
    batch = (k.shape[0], 1, k.shape[2])
    k, v = cat([k, bias_k.expand(batch)], 1), cat([v, bias_v.expand(batch)], 1)
    return k, v, None if mask is None else pad(mask, (0, 1))


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask that is added: minus infinity for True."""
    if mask.dtype is not bool_:
        return mask
    none = zeros(mask.shape, dtype=like.dtype, device=like.device)
    return none.masked_fill(mask, -math.inf)
