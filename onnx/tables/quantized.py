"""Integers that stand for floats: uint8, int8 and int32."""

from __future__ import annotations

from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, dtype_of, says
from tilegrad.onnx.tables.layers import convolved


def _along(v: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Scales or zero points beside ``x``: one, one per place of an axis, or one per block."""
    if v.numel() == 1 and v.ndim <= 1:
        return v.reshape(())
    axis = axis % x.ndim
    if v.ndim == 1:
        return v.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return v.repeat_interleave(block or x.shape[axis] // v.shape[axis], axis)


def _stored(x: Tensor, dtype: Any) -> Tensor:
    info = tilegrad.iinfo(dtype)
    return x.clamp(info.min, info.max).to(dtype)


@says("QuantizeLinear")
def _quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = zero.dtype if zero is not None else dtype_of(call.get("output_dtype") or 2)
    axis, block = call.get("axis", 1), call.get("block_size", 0)
    made = tilegrad.round(x / _along(scale, x, axis, block))
    if zero is not None:
        made = made + _along(zero, x, axis, block).to(made.dtype)
    return _stored(made, kind)


@says("DequantizeLinear")
def _dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis, block = call.get("axis", 1), call.get("block_size", 0)
    apart = x.to(tilegrad.int32)
    if zero is not None:
        apart = apart - _along(zero, x, axis, block).to(tilegrad.int32)
    return apart.to(scale.dtype) * _along(scale, x, axis, block)


@says("DynamicQuantizeLinear")
def _dynamic(call: Call, x: Tensor) -> Any:
    low, high = x.min().clamp(max=0.0), x.max().clamp(min=0.0)
    scale = (high - low) / 255
    scale = tilegrad.where(scale == 0, tilegrad.ones_like(scale), scale)
    zero = tilegrad.round(-low / scale).clamp(0, 255)
    return _stored(tilegrad.round(x / scale) + zero, tilegrad.uint8), scale, zero.to(tilegrad.uint8)


def _centred(x: Tensor, zero: Tensor | None, rows: bool = False) -> Tensor:
    """Whole numbers in float64, which holds their sums of products exactly."""
    made = x.to(tilegrad.float64)
    if zero is None:
        return made
    z = zero.to(tilegrad.float64)
    return made - (z.reshape(-1, 1) if rows and z.ndim == 1 and z.numel() > 1 else z)


@says("MatMulInteger")
def _matmul(
    call: Call, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return tilegrad.matmul(_centred(a, a_zero, True), _centred(b, b_zero)).to(tilegrad.int32)


@says("QLinearMatMul")
def _qmatmul(
    call: Call, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor, scale: Tensor,
    zero: Tensor,
) -> Tensor:  # fmt: skip
    product = tilegrad.matmul(_centred(a, a_zero, True), _centred(b, b_zero))
    factor = a_scale.double() * b_scale.double() / scale.double()
    return _stored(tilegrad.round(product * factor) + zero.double(), zero.dtype)


@says("ConvInteger")
def _conv(
    call: Call, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    if w_zero is not None and w_zero.numel() > 1:  # one per channel of the result
        w_zero = w_zero.reshape(-1, *[1] * (w.ndim - 1))
    return convolved(call, _centred(x, x_zero), _centred(w, w_zero), None).to(tilegrad.int32)


@says("QLinearConv")
def _qconv(
    call: Call, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor, scale: Tensor,
    zero: Tensor, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    def beside(v: Tensor) -> Tensor:
        return v.double().reshape(-1, *[1] * (w.ndim - 1)) if v.numel() > 1 else v.double()

    weight = w.double() - beside(w_zero)
    given = None if bias is None else bias.double()
    made = convolved(call, _centred(x, x_zero), weight, given)
    factor = x_scale.double() * w_scale.double() / scale.double()
    wide = factor.reshape(1, -1, *[1] * (x.ndim - 2)) if factor.numel() > 1 else factor
    return _stored(tilegrad.round(made * wide) + zero.double(), zero.dtype)
