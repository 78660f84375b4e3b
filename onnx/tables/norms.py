"""Normalisations."""

from __future__ import annotations

from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, says


def _wide(v: Tensor, x: Tensor) -> Tensor:
    """A number per channel, beside ``x``."""
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


@says("BatchNormalization")
def _batch(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
    eps, momentum = call.get("epsilon", 1e-5), call.get("momentum", 0.9)
    training = bool(call.get("training_mode", 0))
    if training:
        dims = (0, *range(2, x.ndim))
        now, spread = x.mean(dims), x.var(dims, correction=0)
        kept = mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)
        mean, var = now, spread
    out = (x - _wide(mean, x)) / tilegrad.sqrt(_wide(var, x) + eps) * _wide(scale, x) + _wide(
        bias, x
    )
    return (out.to(x.dtype), *kept) if training else out


def _normed(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(dims, keepdim=True)
    apart = x - mean
    rest = 1 / tilegrad.sqrt((apart * apart).mean(dims, keepdim=True) + eps)
    return apart * rest, mean, rest


@says("LayerNormalization")
def _layer(call: Call, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    axis = call.get("axis", -1) % x.ndim
    out, mean, rest = _normed(x, tuple(range(axis, x.ndim)), call.get("epsilon", 1e-5))
    out = out * scale
    return (out if bias is None else out + bias, mean, rest)[: max(call.count, 1)]


@says("RMSNormalization")
def _rms(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axis = call.get("axis", -1) % x.ndim
    square = (x * x).mean(tuple(range(axis, x.ndim)), keepdim=True)
    return x / tilegrad.sqrt(square + call.get("epsilon", 1e-5)) * scale


@says("InstanceNormalization")
def _instance(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    out, _, _ = _normed(x, tuple(range(2, x.ndim)), call.get("epsilon", 1e-5))
    return out * _wide(scale, x) + _wide(bias, x)


@says("GroupNormalization")
def _group(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = call.get("num_groups")
    parts = x.reshape(x.shape[0], groups, -1)
    out = _normed(parts, (2,), call.get("epsilon", 1e-5))[0]
    if call.version < 21:  # a number per group
        out = out * scale.reshape(1, -1, 1) + bias.reshape(1, -1, 1)
        return out.reshape(x.shape)
    return out.reshape(x.shape) * _wide(scale, x) + _wide(bias, x)


@says("MeanVarianceNormalization")
def _mean_variance(call: Call, x: Tensor) -> Tensor:
    dims = tuple(call.get("axes", [0, 2, 3]))
    apart = x - x.mean(dims, keepdim=True)
    return apart / (tilegrad.sqrt((apart * apart).mean(dims, keepdim=True)) + 1e-9)


@says("LRN")
def _lrn(call: Call, x: Tensor) -> Tensor:
    size, C = call.get("size"), x.shape[1]
    low, high = (size - 1) // 2, -(-(size - 1) // 2)
    square = x * x
    sums = [
        square.narrow(1, max(0, c - low), min(C - 1, c + high) - max(0, c - low) + 1).sum(1)
        for c in range(C)
    ]
    total = tilegrad.stack(sums, 1)
    scaled = call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * total
    return x / scaled ** call.get("beta", 0.75)
