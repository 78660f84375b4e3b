"""Multi-head attention (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.rules.creation import empty
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F, init
from tilegrad.nn.modules.linear import NonDynamicallyQuantizableLinear
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
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **how)
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
        single = query.ndim == 2
        turn = self.batch_first and not single
        q, k, v = (x.transpose(0, 1) if turn else x for x in (query, key, value))
        out, weights = F.multi_head_attention_forward(
            q, k, v, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias,
            self.bias_k, self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight,
            self.out_proj.bias, self.training, key_padding_mask, need_weights, attn_mask,
            self.in_proj_weight is None, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return out.transpose(0, 1) if turn else out, weights
