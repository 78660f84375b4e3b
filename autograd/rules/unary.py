"""Elementwise functions of one tensor, PyTorch's names and arguments.

A name that ends in ``_`` writes over its argument.
"""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING

from tilegrad.autograd.rules.elementwise import (
    inplace,
    unary,
)
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops.elementwise import OPS

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

from tilegrad.autograd.rules.arithmetic import clamp, mul, pow
from tilegrad.autograd.rules.assign import copy_
from tilegrad.autograd.rules.define import always, rounding_function, unary_function, unary_inplace

abs = absolute = unary_function("abs")
abs_ = absolute_ = unary_inplace("abs")
neg = negative = unary_function("neg")
neg_ = negative_ = unary_inplace("neg")
sign = sgn = unary_function("sign")
reciprocal = unary_function("reciprocal")
reciprocal_ = unary_inplace("reciprocal")
sqrt = unary_function("sqrt")
sqrt_ = unary_inplace("sqrt")
rsqrt = unary_function("rsqrt")
rsqrt_ = unary_inplace("rsqrt")
floor = rounding_function("floor")
floor_ = unary_inplace("floor")
ceil = rounding_function("ceil")
ceil_ = unary_inplace("ceil")
trunc = fix = rounding_function("trunc")
trunc_ = fix_ = unary_inplace("trunc")
frac = unary_function("frac")
exp = unary_function("exp")
exp_ = unary_inplace("exp")
exp2 = unary_function("exp2")
exp2_ = unary_inplace("exp2")
expm1 = unary_function("expm1")
expm1_ = unary_inplace("expm1")
log = unary_function("log")
log_ = unary_inplace("log")
log1p = unary_function("log1p")
log1p_ = unary_inplace("log1p")
log2 = unary_function("log2")
log2_ = unary_inplace("log2")
log10 = unary_function("log10")
log10_ = unary_inplace("log10")
sigmoid = unary_function("sigmoid")
sigmoid_ = unary_inplace("sigmoid")
tanh = unary_function("tanh")
tanh_ = unary_inplace("tanh")
sin = unary_function("sin")
sin_ = unary_inplace("sin")
cos = unary_function("cos")
cos_ = unary_inplace("cos")
tan = unary_function("tan")
tan_ = unary_inplace("tan")
sinc = unary_function("sinc")
sinc_ = unary_inplace("sinc")
asin = unary_function("asin")
asin_ = unary_inplace("asin")
acos = unary_function("acos")
acos_ = unary_inplace("acos")
atan = unary_function("atan")
atan_ = unary_inplace("atan")
sinh = unary_function("sinh")
sinh_ = unary_inplace("sinh")
cosh = unary_function("cosh")
cosh_ = unary_inplace("cosh")
asinh = unary_function("asinh")
asinh_ = unary_inplace("asinh")
acosh = unary_function("acosh")
acosh_ = unary_inplace("acosh")
atanh = unary_function("atanh")
atanh_ = unary_inplace("atanh")
erfc = unary_function("erfc")
erfc_ = unary_inplace("erfc")
erfinv = unary_function("erfinv")
erfinv_ = unary_inplace("erfinv")
lgamma = unary_function("lgamma")
lgamma_ = unary_inplace("lgamma")
digamma = unary_function("digamma")
digamma_ = unary_inplace("digamma")
arcsin, arccos, arctan = asin, acos, atan
arcsinh, arccosh, arctanh = asinh, acosh, atanh
erf = unary_function("erf")
erf_ = unary_inplace("erf")
relu = unary_function("relu")
relu_ = unary_inplace("relu")
logical_not = unary_function("logical_not")
bitwise_not = unary_function("bitwise_not")
isnan = unary_function("isnan")


def square(input: Tensor) -> Tensor:
    """``input * input``; of bools int64, as their power is."""
    if input.layout.dtype is dt.bool_:
        return pow(input, 2)
    return unary(OPS["square"], input)


def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    return unary(OPS["isinf"], input) if input.dtype.is_floating_point else always(False, input)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    return unary(OPS["isfinite"], input) if input.dtype.is_floating_point else always(True, input)


def positive(input: Tensor) -> Tensor:
    """``+input``: itself.

    Raises:
        RuntimeError: it is bool.
    """
    if input.layout.dtype is dt.bool_:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; or the nearest multiple of ``10 ** -decimals``."""
    if not input.dtype.is_floating_point:
        return unary(OPS["copy"], input)
    if decimals == 0:
        return unary(OPS["round"], input)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return unary(OPS["round"], input * scale) / scale
    return unary(OPS["round"], input / scale) * scale


def round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    """:func:`round`, in place."""
    return (
        inplace(OPS["round"], input)
        if decimals == 0
        else copy_(input, round(input, decimals=decimals))
    )


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return mul(input, math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return mul(input, 180 / math.pi)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, with x kept within ``[eps, 1 - eps]`` if ``eps`` is given.

    Gradient: of ``input``; infinite at 0 and 1 and NaN beyond, zero where ``eps`` took effect.
    """
    return unary(_LOGIT, input if eps is None else clamp(input, eps, 1 - eps))


_LOGIT = OPS["logit"]
