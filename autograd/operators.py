"""The elementwise methods and operators of tensors, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.rules import elementwise, pointwise
from tilegrad.engine.ops.elementwise import OPS

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

_ADD, _SUB, _MUL, _DIV = (OPS[n] for n in ("add", "sub", "mul", "div"))


def _comparable(other: object) -> bool:
    return isinstance(other, (TensorBase, int, float, np.generic, np.ndarray))


class ElementwiseMethods(TensorBase):
    """What :class:`Tensor` takes from ``autograd/rules/pointwise.py``."""

    __slots__ = ()
    __array_priority__ = 1000  # NumPy's operators leave it to ours

    abs, abs_ = pointwise.abs, pointwise.abs_
    tan, tan_ = pointwise.tan, pointwise.tan_
    sinc, sinc_ = pointwise.sinc, pointwise.sinc_
    asin, asin_ = pointwise.asin, pointwise.asin_
    acos, acos_ = pointwise.acos, pointwise.acos_
    atan, atan_ = pointwise.atan, pointwise.atan_
    sinh, sinh_ = pointwise.sinh, pointwise.sinh_
    cosh, cosh_ = pointwise.cosh, pointwise.cosh_
    asinh, asinh_ = pointwise.asinh, pointwise.asinh_
    acosh, acosh_ = pointwise.acosh, pointwise.acosh_
    atanh, atanh_ = pointwise.atanh, pointwise.atanh_
    erfc, erfc_ = pointwise.erfc, pointwise.erfc_
    erfinv, erfinv_ = pointwise.erfinv, pointwise.erfinv_
    lgamma, lgamma_ = pointwise.lgamma, pointwise.lgamma_
    digamma, digamma_ = pointwise.digamma, pointwise.digamma_
    arcsin = pointwise.arcsin
    arccos = pointwise.arccos
    arctan = pointwise.arctan
    arcsinh = pointwise.arcsinh
    arccosh = pointwise.arccosh
    arctanh = pointwise.arctanh
    atan2 = pointwise.atan2
    arctan2 = pointwise.arctan2
    hypot = pointwise.hypot
    logaddexp = pointwise.logaddexp
    logaddexp2 = pointwise.logaddexp2
    xlogy = pointwise.xlogy
    absolute, absolute_ = pointwise.abs, pointwise.abs_
    add, add_ = pointwise.add, pointwise.add_
    addcdiv, addcdiv_ = pointwise.addcdiv, pointwise.addcdiv_
    addcmul, addcmul_ = pointwise.addcmul, pointwise.addcmul_
    allclose = pointwise.allclose
    bitwise_and, bitwise_and_ = pointwise.bitwise_and, pointwise.bitwise_and_
    bitwise_not = pointwise.bitwise_not
    bitwise_or, bitwise_or_ = pointwise.bitwise_or, pointwise.bitwise_or_
    bitwise_xor, bitwise_xor_ = pointwise.bitwise_xor, pointwise.bitwise_xor_
    bitwise_left_shift = pointwise.bitwise_left_shift
    bitwise_right_shift = pointwise.bitwise_right_shift
    ceil, ceil_ = pointwise.ceil, pointwise.ceil_
    clamp, clamp_ = pointwise.clamp, pointwise.clamp_
    clip, clip_ = pointwise.clamp, pointwise.clamp_
    clamp_max, clamp_min = pointwise.clamp_max, pointwise.clamp_min
    clone, copy_ = pointwise.clone, pointwise.copy_
    cos, cos_ = pointwise.cos, pointwise.cos_
    deg2rad, rad2deg = pointwise.deg2rad, pointwise.rad2deg
    div, div_ = pointwise.div, pointwise.div_
    divide, divide_ = pointwise.div, pointwise.div_
    true_divide = pointwise.true_divide
    eq, ne = pointwise.eq, pointwise.ne
    equal = pointwise.equal
    erf, erf_ = pointwise.erf, pointwise.erf_
    exp, exp_ = pointwise.exp, pointwise.exp_
    exp2, exp2_ = pointwise.exp2, pointwise.exp2_
    expm1, expm1_ = pointwise.expm1, pointwise.expm1_
    fill_, zero_ = pointwise.fill_, pointwise.zero_
    floor, floor_ = pointwise.floor, pointwise.floor_
    floor_divide, floor_divide_ = pointwise.floor_divide, pointwise.floor_divide_
    fmod = pointwise.fmod
    frac = pointwise.frac
    isclose = pointwise.isclose
    isfinite, isinf, isnan = pointwise.isfinite, pointwise.isinf, pointwise.isnan
    lerp, lerp_ = pointwise.lerp, pointwise.lerp_
    log, log_ = pointwise.log, pointwise.log_
    log10, log10_ = pointwise.log10, pointwise.log10_
    log1p, log1p_ = pointwise.log1p, pointwise.log1p_
    log2, log2_ = pointwise.log2, pointwise.log2_
    logical_and, logical_or = pointwise.logical_and, pointwise.logical_or
    logical_not, logical_xor = pointwise.logical_not, pointwise.logical_xor
    logit = pointwise.logit
    lt, le, gt, ge = pointwise.lt, pointwise.le, pointwise.gt, pointwise.ge
    maximum, minimum = pointwise.maximum, pointwise.minimum
    mul, mul_ = pointwise.mul, pointwise.mul_
    multiply, multiply_ = pointwise.mul, pointwise.mul_
    neg, neg_ = pointwise.neg, pointwise.neg_
    negative, positive = pointwise.neg, pointwise.positive
    pow, pow_ = pointwise.pow, pointwise.pow_
    reciprocal, reciprocal_ = pointwise.reciprocal, pointwise.reciprocal_
    relu, relu_ = pointwise.relu, pointwise.relu_
    remainder, remainder_ = pointwise.remainder, pointwise.remainder_
    round, round_ = pointwise.round, pointwise.round_
    rsqrt, rsqrt_ = pointwise.rsqrt, pointwise.rsqrt_
    sigmoid, sigmoid_ = pointwise.sigmoid, pointwise.sigmoid_
    sign, sgn = pointwise.sign, pointwise.sgn
    sin, sin_ = pointwise.sin, pointwise.sin_
    sqrt, sqrt_ = pointwise.sqrt, pointwise.sqrt_
    square = pointwise.square
    sub, sub_ = pointwise.sub, pointwise.sub_
    subtract, subtract_ = pointwise.sub, pointwise.sub_
    tanh, tanh_ = pointwise.tanh, pointwise.tanh_
    trunc, trunc_, fix = pointwise.trunc, pointwise.trunc_, pointwise.fix

    def __add__(self: Any, other: Any) -> Tensor:
        return elementwise.binary(_ADD, self, other)

    def __sub__(self: Any, other: Any) -> Tensor:
        return elementwise.binary(_SUB, self, other)

    def __mul__(self: Any, other: Any) -> Tensor:
        return elementwise.binary(_MUL, self, other)

    def __truediv__(self: Any, other: Any) -> Tensor:
        return elementwise.binary(_DIV, self, other)

    __radd__, __rmul__ = __add__, __mul__
    __rsub__ = pointwise.rsub
    __neg__, __pos__, __abs__ = pointwise.neg, pointwise.positive, pointwise.abs
    __invert__ = pointwise.bitwise_not
    __pow__ = pointwise.pow
    __floordiv__, __mod__ = pointwise.floor_divide, pointwise.remainder
    __and__, __rand__ = pointwise.bitwise_and, pointwise.bitwise_and
    __or__, __ror__ = pointwise.bitwise_or, pointwise.bitwise_or
    __xor__, __rxor__ = pointwise.bitwise_xor, pointwise.bitwise_xor
    __lshift__, __rshift__ = pointwise.bitwise_left_shift, pointwise.bitwise_right_shift
    __iadd__, __isub__, __imul__ = pointwise.add_, pointwise.sub_, pointwise.mul_
    __itruediv__, __ifloordiv__ = pointwise.div_, pointwise.floor_divide_
    __imod__, __ipow__ = pointwise.remainder_, pointwise.pow_
    __iand__, __ior__ = pointwise.bitwise_and_, pointwise.bitwise_or_
    __ixor__ = pointwise.bitwise_xor_
    __lt__, __le__, __gt__, __ge__ = pointwise.lt, pointwise.le, pointwise.gt, pointwise.ge

    def __eq__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        return pointwise.eq(self, other) if _comparable(other) else NotImplemented

    def __ne__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        return pointwise.ne(self, other) if _comparable(other) else NotImplemented

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        if other.__class__ in (int, float) and other == 1 and self.layout.dtype.is_floating_point:
            return pointwise.reciprocal(self)  # whose gradient reads the result
        return pointwise.div(elementwise.operand(other, self, "div"), self)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return pointwise.pow(other, self)

    def __rlshift__(self: Any, other: Any) -> Tensor:
        return pointwise.bitwise_left_shift(other, self)

    def __rrshift__(self: Any, other: Any) -> Tensor:
        return pointwise.bitwise_right_shift(other, self)

    def __rfloordiv__(self: Any, other: Any) -> Tensor:
        return pointwise.floor_divide(elementwise.operand(other, self, "floor_divide"), self)

    def __rmod__(self: Any, other: Any) -> Tensor:
        return pointwise.remainder(elementwise.operand(other, self, "remainder"), self)
