"""Random numbers, of tilegrad's generator: a seed in the graph begins one of its own."""

from __future__ import annotations

from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, checked_sizes, dtype_of, says


def _generator(call: Call) -> Any:
    seed = call.get("seed")
    return None if seed is None else tilegrad.Generator().manual_seed(int(seed) & (1 << 62) - 1)


def _drawn(call: Call, shape: Any, dtype: Any) -> Tensor:
    normal = "Normal" in call.kind
    made = (tilegrad.randn if normal else tilegrad.rand)(
        shape, generator=_generator(call), dtype=dtype
    )
    if normal:
        return made * call.get("scale", 1.0) + call.get("mean", 0.0)
    low, high = call.get("low", 0.0), call.get("high", 1.0)
    return made * (high - low) + low


@says("RandomUniform", "RandomNormal")
def _random(call: Call) -> Tensor:
    return _drawn(call, checked_sizes(call, call.get("shape")), dtype_of(call.get("dtype", 1)))


@says("RandomUniformLike", "RandomNormalLike")
def _like(call: Call, x: Tensor) -> Tensor:
    kind = x.dtype if call.get("dtype") is None else dtype_of(call.get("dtype"))
    return _drawn(call, x.shape, kind)


@says("Bernoulli")
def _bernoulli(call: Call, x: Tensor) -> Tensor:
    kind = x.dtype if call.get("dtype") is None else dtype_of(call.get("dtype"))
    return tilegrad.bernoulli(x, generator=_generator(call)).to(kind)


@says("Multinomial")
def _multinomial(call: Call, x: Tensor) -> Tensor:
    """Classes by the logarithms of their weights."""
    drawn = tilegrad.multinomial(
        x.exp(), call.get("sample_size", 1), True, generator=_generator(call)
    )
    return drawn.to(dtype_of(call.get("dtype", 6)))
