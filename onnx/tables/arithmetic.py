"""Elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce as fold
from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.onnx.tables.call import Call, constant, dtype_of, number, plain, says

for _function, _names in (
    (tilegrad.add, "Add"), (tilegrad.sub, "Sub"), (tilegrad.mul, "Mul"), (tilegrad.neg, "Neg"),
    (tilegrad.abs, "Abs"), (tilegrad.sign, "Sign"), (tilegrad.reciprocal, "Reciprocal"), (tilegrad.sqrt, "Sqrt"),
    (tilegrad.floor, "Floor"), (tilegrad.ceil, "Ceil"), (tilegrad.round, "Round"), (tilegrad.exp, "Exp"),
    (tilegrad.log, "Log"), (tilegrad.sigmoid, "Sigmoid"), (tilegrad.tanh, "Tanh"), (tilegrad.sin, "Sin"),
    (tilegrad.cos, "Cos"), (tilegrad.tan, "Tan"), (tilegrad.asin, "Asin"), (tilegrad.acos, "Acos"),
    (tilegrad.atan, "Atan"), (tilegrad.sinh, "Sinh"), (tilegrad.cosh, "Cosh"), (tilegrad.asinh, "Asinh"),
    (tilegrad.acosh, "Acosh"), (tilegrad.atanh, "Atanh"), (tilegrad.erf, "Erf"), (tilegrad.relu, "Relu"),
    (F.softsign, "Softsign"), (tilegrad.isnan, "IsNaN"), (tilegrad.where, "Where"), (F.hardswish, "HardSwish"),
    (F.mish, "Mish"), (tilegrad.bitwise_and, "BitwiseAnd"), (tilegrad.bitwise_or, "BitwiseOr"),
    (tilegrad.bitwise_xor, "BitwiseXor"), (tilegrad.bitwise_not, "BitwiseNot"), (tilegrad.logical_and, "And"),
    (tilegrad.logical_or, "Or"), (tilegrad.logical_xor, "Xor"), (tilegrad.logical_not, "Not"),
    (tilegrad.eq, "Equal"), (tilegrad.gt, "Greater"), (tilegrad.lt, "Less"), (tilegrad.ge, "GreaterOrEqual"),
    (tilegrad.le, "LessOrEqual"), (tilegrad.matmul, "MatMul"), (tilegrad.det, "Det"),
):  # fmt: skip
    plain(_function, _names)


@says("Div")
def _div(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else tilegrad.div(x, y, rounding_mode="trunc")


@says("Mod")
def _mod(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return tilegrad.fmod(x, y) if call.get("fmod", 0) else tilegrad.remainder(x, y)


@says("Pow")
def _pow(call: Call, x: Tensor, y: Tensor) -> Tensor:
    """In the dtype of the base."""
    if not x.is_floating_point() and y.is_floating_point():
        return tilegrad.pow(x.double(), y.double()).to(x.dtype)
    return tilegrad.pow(x, y.to(x.dtype) if x.is_floating_point() else y).to(x.dtype)


def _variadic(function: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
    @says(name)
    def run(call: Call, *inputs: Tensor) -> Tensor:
        return fold(function, inputs) if len(inputs) > 1 else inputs[0].clone()


_variadic(tilegrad.maximum, "Max")
_variadic(tilegrad.minimum, "Min")
_variadic(tilegrad.add, "Sum")


@says("Mean")
def _mean(call: Call, *inputs: Tensor) -> Tensor:
    return fold(tilegrad.add, inputs) / len(inputs)


@says("Clip")
def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """The upper bound goes last, so that it holds where bounds cross."""
    least, most = number(low, call.get("min")), number(high, call.get("max"))
    if least is not None:
        x = tilegrad.maximum(x, constant(least, x.dtype))
    if most is not None:
        x = tilegrad.minimum(x, constant(most, x.dtype))
    return x


@says("BitShift")
def _shift(call: Call, x: Tensor, by: Tensor) -> Tensor:
    """What leaves a number's bits is lost; to the right its sign comes in."""
    bits = x.element_size() * 8
    steps = by.to(tilegrad.int64).clamp(0, bits)
    out = tilegrad.logical_or(by < 0, by >= bits)
    factor = tilegrad.pow(2, steps.clamp(max=62))
    if call.get("direction") == "LEFT":
        made = (x.to(tilegrad.int64) * factor).to(x.dtype)
        return tilegrad.where(out, tilegrad.zeros_like(made), made)
    made = tilegrad.div(x.to(tilegrad.int64), factor, rounding_mode="floor").to(x.dtype)
    sign = tilegrad.where(x < 0, -tilegrad.ones_like(x), tilegrad.zeros_like(x))
    return tilegrad.where(out, sign, made)


@says("IsInf")
def _isinf(call: Call, x: Tensor) -> Tensor:
    found = tilegrad.isinf(x)
    if not call.get("detect_negative", 1):
        found = found & (x > 0)
    if not call.get("detect_positive", 1):
        found = found & (x < 0)
    return found


# ----------------------------------------------------------------------------------- activations


@says("LeakyRelu")
def _leaky(call: Call, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.get("alpha", 0.01))


@says("PRelu")
def _prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    return tilegrad.where(x < 0, slope * x, x)


@says("Elu")
def _elu(call: Call, x: Tensor) -> Tensor:
    return F.elu(x, call.get("alpha", 1.0))


@says("Celu")
def _celu(call: Call, x: Tensor) -> Tensor:
    return F.celu(x, call.get("alpha", 1.0))


@says("Selu")
def _selu(call: Call, x: Tensor) -> Tensor:
    alpha, gamma = (
        call.get("alpha", 1.67326319217681884765625),
        call.get("gamma", 1.05070102214813232421875),
    )
    return gamma * tilegrad.where(x > 0, x, alpha * tilegrad.expm1(x))


@says("Gelu")
def _gelu(call: Call, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.get("approximate", "none"))


@says("Swish")
def _swish(call: Call, x: Tensor) -> Tensor:
    return x * tilegrad.sigmoid(x * call.get("alpha", 1.0))


@says("Softplus")
def _softplus(call: Call, x: Tensor) -> Tensor:
    return tilegrad.log1p(tilegrad.exp(-x.abs())) + tilegrad.relu(x)


@says("HardSigmoid")
def _hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return (call.get("alpha", 0.2) * x + call.get("beta", 0.5)).clamp(0.0, 1.0)


@says("ThresholdedRelu")
def _thresholded(call: Call, x: Tensor) -> Tensor:
    return tilegrad.where(x > call.get("alpha", 1.0), x, tilegrad.zeros_like(x))


@says("Shrink")
def _shrink(call: Call, x: Tensor) -> Tensor:
    width, bias = call.get("lambd", 0.5), call.get("bias", 0.0)
    return tilegrad.where(
        x < -width, x + bias, tilegrad.where(x > width, x - bias, tilegrad.zeros_like(x))
    )


@says("Binarizer", domain="ai.onnx.ml")
def _binarizer(call: Call, x: Tensor) -> Tensor:
    return (x > call.get("threshold", 0.0)).to(x.dtype)


# ------------------------------------------------------------------------------------- dtypes


def converted(call: Call, x: Tensor, to: Any) -> Tensor:
    """In another dtype; floats towards zero."""
    return x.clone() if x.dtype is to else x.to(to)


@says("Cast")
def _cast(call: Call, x: Tensor) -> Tensor:
    return converted(call, x, dtype_of(call.get("to")))


@says("CastLike")
def _cast_like(call: Call, x: Tensor, like: Tensor) -> Tensor:
    return converted(call, x, like.dtype)


@says("BitCast")
def _bit_cast(call: Call, x: Tensor) -> Tensor:
    return x.contiguous().view(dtype_of(call.get("to"))).clone()


@says("Dropout")
def _dropout(
    call: Call, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Any:
    p = number(ratio, call.get("ratio", 0.5))
    mask = tilegrad.ones_like(x, dtype=tilegrad.bool)
    if number(training, False) and p > 0:
        mask = tilegrad.rand(x.shape) >= p
        x = x * mask.to(x.dtype) / (1 - p)
    return (x.clone(), mask)[: max(call.count, 1)]


@says("Momentum", domain="ai.onnx.preview.training")
def _momentum(call: Call, rate: Tensor, step: Tensor, *rest: Tensor) -> list[Tensor]:
    """(tensors, then their momenta), updated."""
    count = len(rest) // 3
    decay, alpha, beta = call.get("norm_coefficient"), call.get("alpha"), call.get("beta")
    xs, vs = [], []
    for x, g, v in zip(rest[:count], rest[count : 2 * count], rest[2 * count :], strict=True):
        g = g + decay * x
        v = alpha * v + (beta if number(step) > 0 else 1.0) * g
        xs.append(x - rate * (g + alpha * v if call.get("mode") == "nesterov" else v))
        vs.append(v)
    return [*xs, *vs]


@says("Adagrad", domain="ai.onnx.preview.training")
def _adagrad(call: Call, rate: Tensor, step: Tensor, *rest: Tensor) -> list[Tensor]:
    count = len(rest) // 3
    now = number(rate) / (1 + number(step) * call.get("decay_factor", 0.0))
    xs, hs = [], []
    for x, g, h in zip(rest[:count], rest[count : 2 * count], rest[2 * count :], strict=True):
        g = g + call.get("norm_coefficient", 0.0) * x
        h = h + g * g
        xs.append(x - now * g / (tilegrad.sqrt(h) + call.get("epsilon", 1e-6)))
        hs.append(h)
    return [*xs, *hs]


@says("Adam", domain="ai.onnx.preview.training")
def _adam(call: Call, rate: Tensor, step: Tensor, *rest: Tensor) -> list[Tensor]:
    count, t = len(rest) // 4, number(step)
    one, two = call.get("alpha", 0.9), call.get("beta", 0.999)
    now = number(rate) * math.sqrt(1 - two**t) / (1 - one**t) if t > 0 else number(rate)
    made: list[list[Tensor]] = [[], [], []]
    for k in range(count):
        x, g, v, h = (rest[k + place * count] for place in range(4))
        g = g + call.get("norm_coefficient", 0.0) * x
        v, h = one * v + (1 - one) * g, two * h + (1 - two) * g * g
        x = x - now * v / (tilegrad.sqrt(h) + call.get("epsilon", 1e-6))
        x = (1 - call.get("norm_coefficient_post", 0.0)) * x
        for place, value in enumerate((x, v, h)):
            made[place].append(value)
    return [*made[0], *made[1], *made[2]]
