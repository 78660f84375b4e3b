"""Attention, where its definition in ONNX's own operators is not what runs."""

from __future__ import annotations

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, says


@says("RotaryEmbedding")
def _rotary(
    call: Call, x: Tensor, cos: Tensor, sin: Tensor, places: Tensor | None = None
) -> Tensor:
    """Pairs of features turned by angles of their position."""
    flat = x.ndim == 3
    if flat:
        heads = call.get("num_heads")
        parts = x.reshape(x.shape[0], x.shape[1], heads, -1)
    else:
        parts = x.transpose(1, 2)
    size = call.get("rotary_embedding_dim", 0) or parts.shape[-1]
    turned, rest = parts[..., :size], parts[..., size:]
    if places is not None:
        at = places.reshape(-1)
        cos, sin = (t.index_select(0, at).reshape(*places.shape, -1) for t in (cos, sin))
    cos, sin = (t[..., : size // 2].unsqueeze(2) for t in (cos, sin))
    if call.get("interleaved", 0):
        one, two = turned[..., 0::2], turned[..., 1::2]
    else:
        one, two = turned[..., : size // 2], turned[..., size // 2 :]
    real, imag = cos * one - sin * two, sin * one + cos * two
    if call.get("interleaved", 0):
        made = tilegrad.stack([real, imag], -1).reshape(turned.shape)
    else:
        made = tilegrad.cat([real, imag], -1)
    made = tilegrad.cat([made, rest], -1)
    return made.reshape(x.shape) if flat else made.transpose(1, 2)
