"""Transformer layers (Vaswani et al. 2017; normalised first: Xiong et al. 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from tilegrad.autograd.rules.creation import full
from tilegrad.autograd.rules.masked import triu
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.memory import A_TENSOR, refuse_beyond_memory
from tilegrad.nn import functional as F, init
from tilegrad.nn.modules.attention import MultiheadAttention
from tilegrad.nn.modules.container import ModuleList
from tilegrad.nn.modules.dropout import Dropout
from tilegrad.nn.modules.linear import Linear
from tilegrad.nn.modules.module import Module
from tilegrad.nn.modules.normalization import LayerNorm

Activation = str | Callable[[Tensor], Tensor]


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    known: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
    if given not in known:
        raise RuntimeError(f"activation should be relu/gelu, not {given}")
    return known[given]


class _Layer(Module):
    """Attention and a feed-forward network, each with dropout, a shortcut and a LayerNorm."""

    def _feed_forward_parts(
        self, d_model: int, wide: int, dropout: float, bias: bool, how: dict[str, Any]
    ) -> None:
        self.linear1 = Linear(d_model, wide, bias=bias, **how)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(wide, d_model, bias=bias, **how)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))  # type: ignore[no-any-return]

    def _around(self, x: Tensor, norm: Module, drop: Module, block: Any) -> Tensor:
        """``x`` plus the block of it, with the norm before the block or after the sum."""
        if self.norm_first:
            return x + drop(block(norm(x)))  # type: ignore[no-any-return]
        return norm(x + drop(block(x)))  # type: ignore[no-any-return]


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward network.

    Args:
        d_model: features; nhead: heads; dim_feedforward: width of the network.
        dropout: share that training drops, everywhere.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: of the LayerNorms. bias: whether layers have one.
        batch_first: inputs are (N, L, E) instead of (L, N, E).
        norm_first: normalise before each block instead of after.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        how = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias=bias, batch_first=batch_first, **how
        )
        self._feed_forward_parts(d_model, dim_feedforward, dropout, bias, how)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **how)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **how)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Encode ``src``; masks as of :class:`MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(  # type: ignore[no-any-return]
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )[0]

        x = self._around(src, self.norm1, self.dropout1, attend)
        return self._around(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, then a feed-forward network.

    Arguments as of :class:`TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        how = {"device": device, "dtype": dtype}
        heads = {"bias": bias, "batch_first": batch_first, **how}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, **heads)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, **heads)
        self._feed_forward_parts(d_model, dim_feedforward, dropout, bias, how)
        self.norm_first = norm_first
        for index in (1, 2, 3):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **how)
            self.add_module(f"norm{index}", norm)
        for index in (1, 2, 3):
            self.add_module(f"dropout{index}", Dropout(dropout))
        self.activation = _activation(activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Decode ``tgt`` with ``memory``; masks as of :class:`MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(  # type: ignore[no-any-return]
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]

        def look_up(x: Tensor) -> Tensor:
            return self.multihead_attn(  # type: ignore[no-any-return]
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        x = self._around(tgt, self.norm1, self.dropout1, attend)
        x = self._around(x, self.norm2, self.dropout2, look_up)
        return self._around(x, self.norm3, self.dropout3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer, one after the other, and a norm at the end if there is one."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None):
        super().__init__()
        if not isinstance(layer, Module):
            raise TypeError(
                f"{type(self).__name__}: {type(layer).__name__} is not a Module subclass"
            )
        each = sum([A_TENSOR + p.nbytes for p in layer.parameters()])
        refuse_beyond_memory(type(self).__name__, num_layers, each)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _run(self, x: Tensor, *args: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, *args)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """``num_layers`` copies of ``encoder_layer``, then ``norm``.

    ``enable_nested_tensor`` and ``mask_check`` are accepted; there are no nested tensors.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ):
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Encode ``src``; masks as of :class:`MultiheadAttention`."""
        return self._run(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """``num_layers`` copies of ``decoder_layer``, then ``norm``."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Decode ``tgt`` with ``memory``; masks as of :class:`MultiheadAttention`."""
        return self._run(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            bool(tgt_is_causal), memory_is_causal,
        )  # fmt: skip


class Transformer(Module):
    """An encoder, and a decoder that looks at what it gives (Vaswani et al. 2017).

    Args:
        num_encoder_layers, num_decoder_layers: layers of each; others as :class:`TransformerEncoderLayer`.
        custom_encoder, custom_decoder: instead of these.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        how = {"device": device, "dtype": dtype}
        given: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        if custom_encoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **how)
            layer = TransformerEncoderLayer(*given, **how)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        if custom_decoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **how)
            below = TransformerDecoderLayer(*given, **how)
            custom_decoder = TransformerDecoder(below, num_decoder_layers, norm)
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for weight in self.parameters():
            if weight.ndim > 1:
                init.xavier_uniform_(weight)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Decode ``tgt`` with what ``src`` is encoded as; masks as of :class:`MultiheadAttention`."""
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(  # type: ignore[no-any-return]
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """(sz, sz) of minus infinity where a later place may not be seen, 0 elsewhere."""
        return triu(full((sz, sz), -math.inf, device=device, dtype=dtype), 1)
