"""Multi-head attention (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd.rules.creation import empty, zeros
from tilegrad.autograd.rules.movement import cat, pad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import bool_
from tilegrad.nn import functional as F, init
from tilegrad.nn.modules.linear import Linear
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention in ``num_heads`` parts of the features, each by projections of its own.

    Args:
        embed_dim: features of the query and of the output.
        num_heads: a divisor of embed_dim.
        dropout: share of the attention weights that training drops.
        bias: whether the projections have one.
        add_bias_kv: add one learned key and value; add_zero_attn: add a key and value of zeros.
        kdim, vdim: features of key and value, if not embed_dim.
        batch_first: inputs are (N, L, E) instead of (L, N, E).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        how = {"device": device, "dtype": dtype}
        joint = self.kdim == self.vdim == embed_dim
        sizes = {
            "q_proj_weight": None if joint else (embed_dim, embed_dim),
            "k_proj_weight": None if joint else (embed_dim, self.kdim),
            "v_proj_weight": None if joint else (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim) if joint else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
            "bias_k": (1, 1, embed_dim) if add_bias_kv else None,
            "bias_v": (1, 1, embed_dim) if add_bias_kv else None,
        }
        for name, shape in sizes.items():
            made = None if shape is None else Parameter(empty(shape, **how))
            self.register_parameter(name, made)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, **how)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from ``query`` to ``key`` and ``value``.

        Args:
            query: (L, N, E), with ``batch_first`` (N, L, E), or (L, E); key, value likewise with S.
            key_padding_mask: (N, S) or (S,): True for keys to ignore, or a float to add.
            attn_mask: (L, S) or (N heads, L, S): True where a key may not be seen, or a float.
            need_weights: also return the weights, (N, L, S), without ``average_attn_weights`` one
                set per head.
            is_causal: a hint that attn_mask is the causal one, which must be given.

        Returns:
            The output, shaped like the query, and the weights or None.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        single = query.ndim == 2
        q, k, v = self._project(*(self._batch(x, single) for x in (query, key, value)))
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (
            x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)
            for x in (q, k, v)
        )
        share = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * (1.0 / math.sqrt(self.head_dim))) @ k.mT
            weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = F.dropout(weights, share) if share else weights
            out = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, share)
        out = self.out_proj(out.transpose(1, 2).reshape(*_joined_shape(q)))
        if single:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _batch(self, x: Tensor, single: bool) -> Tensor:
        """``x`` as (N, L, E)."""
        if x.ndim != (2 if single else 3):
            raise AssertionError(
                f"query, key and value must all be 2-D or all 3-D; got {tuple(x.shape)}"
            )
        if single:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size, bias = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = tuple(self.in_proj_weight.narrow(0, i * size, size) for i in range(3))
        parts = [None if bias is None else bias.narrow(0, i * size, size) for i in range(3)]
        first, second, third = (
            F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, parts, strict=True)
        )
        return first, second, third

    def _mask(
        self, q: Tensor, k: Tensor, attend: Tensor | None, ignore: Tensor | None
    ) -> Tensor | None:
        """What to add to the scores, broadcast to (N, heads, L, S)."""
        total = None
        if attend is not None:
            attend = _additive(attend, q)
            if attend.ndim == 3:
                attend = attend.reshape(q.shape[0], self.num_heads, *attend.shape[1:])
            total = attend
        if ignore is not None:
            row = _additive(ignore, q).reshape(-1, 1, 1, k.shape[1])
            total = row if total is None else total + row
        return total

    def _extended(
        self, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values with those that the constructor asked to add, which nothing masks."""
        batch = (k.shape[0], 1, self.embed_dim)
        added = []
        if self.bias_k is not None:
            added.append((self.bias_k.expand(batch), self.bias_v.expand(batch)))
        if self.add_zero_attn:
            none = zeros(batch, dtype=k.dtype, device=k.device)
            added.append((none, none))
        for key, value in added:
            k, v = cat([k, key], 1), cat([v, value], 1)
            mask = None if mask is None else pad(mask, (0, 1))
        return k, v, mask


def _joined_shape(q: Tensor) -> tuple[int, int, int]:
    """(N, L, E) of a query (N, heads, L, E / heads)."""
    batch, heads, length, size = q.shape
    return batch, length, heads * size


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask that is added: minus infinity for True."""
    if mask.dtype is not bool_:
        return mask
    none = zeros(mask.shape, dtype=like.dtype, device=like.device)
    return none.masked_fill(mask, -math.inf)
