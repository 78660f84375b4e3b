"""The elementwise methods and operators of tensors, one line each."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase, TensorSlots
from tilegrad.autograd.rule import Rule, identity_vjp
from tilegrad.autograd.rules import (
    arithmetic,
    assign,
    comparison,
    elementwise,
    pointwise,
    unary,
)
from tilegrad.autograd.rules.operands import operand
from tilegrad.engine.dtype import get_default_dtype
from tilegrad.engine.ops.elementwise import OPS

_ADD, _SUB, _MUL, _DIV = (OPS[n] for n in ("add", "sub", "mul", "div"))
_QUOTIENT, _NOT = OPS["quotient"], OPS["bitwise_not"]
_SCALED = Rule("mul", identity_vjp)  # by 1


def _comparable(other: object) -> TypeGuard[Tensor | Number]:
    return isinstance(other, (TensorBase, int, float, complex, np.generic, np.ndarray))


def _apart(made: Tensor) -> Tensor:
    """A recorded quotient, which its node saves, as a tensor of its own: both it and the divisor may be
    written over.
    """
    return _SCALED.record((made,), OPS["copy"](made)) if made._tracked else made


def _eq(self: Tensor, other: object) -> Tensor:
    return pointwise.eq(self, other) if _comparable(other) else NotImplemented


def _ne(self: Tensor, other: object) -> Tensor:
    return pointwise.ne(self, other) if _comparable(other) else NotImplemented


def _rtruediv(self: Tensor, other: Number) -> Tensor:
    if other.__class__ in (int, float):  # gradients read the result
        if other == 1 and self.layout.dtype.is_floating_point:
            return _apart(pointwise.reciprocal(self))
        if 1e-30 < other < 1e30 or -1e30 < other < -1e-30:  # of any float dtype
            return _apart(elementwise.binary(_QUOTIENT, other, self))
    if isinstance(other, np.ndarray) and not self.layout.dtype.has_gradient:
        self = elementwise.to_dtype(self, get_default_dtype())  # as its reciprocal is
    return arithmetic.div(operand(other, self, "div"), self)


def _rpow(self: Tensor, other: Number) -> Tensor:
    return arithmetic.pow(other, self)


def _rlshift(self: Tensor, other: Number) -> Tensor:
    return pointwise.bitwise_left_shift(operand(other, self, "lshift"), self)


def _rrshift(self: Tensor, other: Number) -> Tensor:
    return pointwise.bitwise_right_shift(operand(other, self, "rshift"), self)


def _invert(self: Tensor) -> Tensor:
    try:
        return elementwise.unary(_NOT, self)
    except NotImplementedError as error:
        raise TypeError(
            f"~ (operator.invert) is only implemented on integer and Boolean-type tensors; {error}"
        ) from None


def _rfloordiv(self: Tensor, other: Number) -> Tensor:
    return arithmetic.floor_divide(operand(other, self, "floor_divide"), self)


def _rmod(self: Tensor, other: Number) -> Tensor:
    return arithmetic.remainder(operand(other, self, "remainder"), self)


class ElementwiseMethods(TensorSlots):
    """What :class:`Tensor` takes of the elementwise functions."""

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
    arcsin, arcsin_ = pointwise.arcsin, pointwise.arcsin_
    arccos, arccos_ = pointwise.arccos, pointwise.arccos_
    arctan, arctan_ = pointwise.arctan, pointwise.arctan_
    arcsinh, arcsinh_ = pointwise.arcsinh, pointwise.arcsinh_
    arccosh, arccosh_ = pointwise.arccosh, pointwise.arccosh_
    arctanh, arctanh_ = pointwise.arctanh, pointwise.arctanh_
    atan2, atan2_ = pointwise.atan2, pointwise.atan2_
    arctan2, arctan2_ = pointwise.arctan2, pointwise.arctan2_
    hypot, hypot_ = pointwise.hypot, pointwise.hypot_
    logaddexp = pointwise.logaddexp
    logaddexp2 = pointwise.logaddexp2
    xlogy, xlogy_ = pointwise.xlogy, pointwise.xlogy_
    absolute, absolute_ = pointwise.abs, pointwise.abs_
    add, add_ = arithmetic.add, arithmetic.add_
    addcdiv, addcdiv_ = arithmetic.addcdiv, arithmetic.addcdiv_
    addcmul, addcmul_ = arithmetic.addcmul, arithmetic.addcmul_
    allclose = comparison.allclose
    bitwise_and, bitwise_and_ = pointwise.bitwise_and, pointwise.bitwise_and_
    bitwise_not, bitwise_not_ = pointwise.bitwise_not, pointwise.bitwise_not_
    bitwise_or, bitwise_or_ = pointwise.bitwise_or, pointwise.bitwise_or_
    bitwise_xor, bitwise_xor_ = pointwise.bitwise_xor, pointwise.bitwise_xor_
    bitwise_left_shift = pointwise.bitwise_left_shift
    bitwise_left_shift_ = pointwise.bitwise_left_shift_
    bitwise_right_shift = pointwise.bitwise_right_shift
    bitwise_right_shift_ = pointwise.bitwise_right_shift_
    ceil, ceil_ = pointwise.ceil, pointwise.ceil_
    clamp, clamp_ = arithmetic.clamp, arithmetic.clamp_
    clip, clip_ = arithmetic.clamp, arithmetic.clamp_
    clamp_max, clamp_min = arithmetic.clamp_max, arithmetic.clamp_min
    clone, copy_ = assign.clone, assign.copy_
    cos, cos_ = pointwise.cos, pointwise.cos_
    deg2rad, rad2deg = unary.deg2rad, unary.rad2deg
    div, div_ = arithmetic.div, arithmetic.div_
    divide, divide_ = arithmetic.div, arithmetic.div_
    true_divide = arithmetic.true_divide
    eq, eq_ = pointwise.eq, pointwise.eq_
    ne, ne_ = pointwise.ne, pointwise.ne_
    equal = comparison.equal
    erf, erf_ = pointwise.erf, pointwise.erf_
    exp, exp_ = pointwise.exp, pointwise.exp_
    exp2, exp2_ = pointwise.exp2, pointwise.exp2_
    expm1, expm1_ = pointwise.expm1, pointwise.expm1_
    fill_, zero_ = assign.fill_, assign.zero_
    floor, floor_ = pointwise.floor, pointwise.floor_
    floor_divide, floor_divide_ = arithmetic.floor_divide, arithmetic.floor_divide_
    fmod = arithmetic.fmod
    frac, frac_ = pointwise.frac, pointwise.frac_
    hardshrink = pointwise.hardshrink
    isclose = comparison.isclose
    isfinite, isinf, isnan = unary.isfinite, unary.isinf, pointwise.isnan
    lerp, lerp_ = arithmetic.lerp, arithmetic.lerp_
    log, log_ = pointwise.log, pointwise.log_
    log10, log10_ = pointwise.log10, pointwise.log10_
    log1p, log1p_ = pointwise.log1p, pointwise.log1p_
    log2, log2_ = pointwise.log2, pointwise.log2_
    logical_and, logical_and_ = pointwise.logical_and, pointwise.logical_and_
    logical_not, logical_not_ = pointwise.logical_not, pointwise.logical_not_
    logical_or, logical_or_ = pointwise.logical_or, pointwise.logical_or_
    logical_xor, logical_xor_ = pointwise.logical_xor, pointwise.logical_xor_
    logit = unary.logit
    lt, lt_ = pointwise.lt, pointwise.lt_
    le, le_ = pointwise.le, pointwise.le_
    gt, gt_ = pointwise.gt, pointwise.gt_
    ge, ge_ = pointwise.ge, pointwise.ge_
    not_equal, not_equal_ = pointwise.not_equal, pointwise.not_equal_
    less, less_ = pointwise.less, pointwise.less_
    less_equal, less_equal_ = pointwise.less_equal, pointwise.less_equal_
    greater, greater_ = pointwise.greater, pointwise.greater_
    greater_equal, greater_equal_ = pointwise.greater_equal, pointwise.greater_equal_
    maximum, minimum = pointwise.maximum, pointwise.minimum
    mul, mul_ = pointwise.mul, pointwise.mul_
    multiply, multiply_ = pointwise.mul, pointwise.mul_
    neg, neg_ = pointwise.neg, pointwise.neg_
    negative, negative_ = pointwise.neg, pointwise.neg_
    positive = unary.positive
    pow, pow_ = arithmetic.pow, arithmetic.pow_
    reciprocal, reciprocal_ = pointwise.reciprocal, pointwise.reciprocal_
    relu, relu_ = pointwise.relu, pointwise.relu_
    remainder, remainder_ = arithmetic.remainder, arithmetic.remainder_
    round, round_ = unary.round, unary.round_
    rsqrt, rsqrt_ = pointwise.rsqrt, pointwise.rsqrt_
    sigmoid, sigmoid_ = pointwise.sigmoid, pointwise.sigmoid_
    sign, sign_ = pointwise.sign, pointwise.sign_
    sgn, sgn_ = pointwise.sgn, pointwise.sgn_
    sin, sin_ = pointwise.sin, pointwise.sin_
    sqrt, sqrt_ = pointwise.sqrt, pointwise.sqrt_
    square = unary.square
    sub, sub_ = arithmetic.sub, arithmetic.sub_
    subtract, subtract_ = arithmetic.sub, arithmetic.sub_
    tanh, tanh_ = pointwise.tanh, pointwise.tanh_
    trunc, trunc_ = pointwise.trunc, pointwise.trunc_
    fix, fix_ = pointwise.fix, pointwise.fix_
    copysign, copysign_ = pointwise.copysign, pointwise.copysign_
    nextafter, nextafter_ = pointwise.nextafter, pointwise.nextafter_
    fmax, fmin = pointwise.fmax, pointwise.fmin
    gcd, gcd_ = pointwise.gcd, pointwise.gcd_
    lcm, lcm_ = pointwise.lcm, pointwise.lcm_

    def __add__(self: object, other: object) -> Tensor:
        return elementwise.binary(_ADD, self, other)

    def __sub__(self: object, other: object) -> Tensor:
        return elementwise.binary(_SUB, self, other)

    def __mul__(self: object, other: object) -> Tensor:
        return elementwise.binary(_MUL, self, other)

    def __truediv__(self: object, other: object) -> Tensor:
        return elementwise.binary(_DIV, self, other)

    __radd__, __rmul__ = __add__, __mul__
    __rsub__ = arithmetic.rsub
    __neg__, __pos__, __abs__ = pointwise.neg, unary.positive, pointwise.abs
    __invert__ = _invert
    __pow__ = arithmetic.pow
    __floordiv__, __mod__ = arithmetic.floor_divide, arithmetic.remainder
    __and__, __rand__ = pointwise.bitwise_and, pointwise.bitwise_and
    __or__, __ror__ = pointwise.bitwise_or, pointwise.bitwise_or
    __xor__, __rxor__ = pointwise.bitwise_xor, pointwise.bitwise_xor
    __lshift__, __rshift__ = pointwise.bitwise_left_shift, pointwise.bitwise_right_shift
    __iadd__, __isub__, __imul__ = arithmetic.add_, arithmetic.sub_, pointwise.mul_
    __itruediv__, __ifloordiv__ = arithmetic.div_, arithmetic.floor_divide_
    __imod__, __ipow__ = arithmetic.remainder_, arithmetic.pow_
    __iand__, __ior__ = pointwise.bitwise_and_, pointwise.bitwise_or_
    __ixor__ = pointwise.bitwise_xor_
    __ilshift__, __irshift__ = pointwise.bitwise_left_shift_, pointwise.bitwise_right_shift_
    __lt__, __le__, __gt__, __ge__ = pointwise.lt, pointwise.le, pointwise.gt, pointwise.ge
    __eq__, __ne__ = _eq, _ne  # type: ignore[assignment]  # tensors, as PyTorch's
    __rtruediv__ = __rdiv__ = _rtruediv
    __rpow__ = _rpow
    __rlshift__, __rrshift__ = _rlshift, _rrshift
    __rfloordiv__, __rmod__ = _rfloordiv, _rmod
