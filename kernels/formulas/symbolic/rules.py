"""Derivatives of Python's and ``math``'s functions and of the primitives.

Each ``<f>_grad`` (``<f>_grad_<argument>`` where there are several) names as its parameters what
it reads: arguments of f, or ``out``, its result. They are formulas themselves, so their own
derivatives are derived. At kinks they follow PyTorch.
"""

from __future__ import annotations

import ast
import math
import operator
from typing import Any

import numpy as np

from tilegrad.kernels.formulas import primitives
from tilegrad.kernels.formulas.arithmetic import (
    maximum_grad_x,
    maximum_grad_y,
    minimum_grad_x,
    minimum_grad_y,
)
from tilegrad.kernels.function import DeviceFunction, inline


@inline
def abs_grad(x):
    """The sign of x, 0 at 0."""
    T = type(x)
    return T(1) if x > T(0) else (T(-1) if x < T(0) else x * T(0))


@inline
def power_grad_x(x, y):
    """y x^(y - 1), 0 where y = 0."""
    T = type(x)
    return T(0) if y == T(0) else y * x ** (y - T(1))


@inline
def power_grad_y(x, y, out):
    """x^y log x, 0 where 0^y is constant for y >= 0."""
    T = type(x)
    if x > T(0):
        return out * T(math.log(x))
    if x == T(0):
        return T(0) if y >= T(0) else T(-math.inf)
    return T(math.nan)


@inline
def mod_grad_y(x, y):
    """-floor(x / y)"""
    return -primitives.floor(x / y)


@inline
def fmod_grad_y(x, y):
    """-trunc(x / y)"""
    return -primitives.trunc(x / y)


@inline
def exp_grad(out):
    """e^x"""
    return out


@inline
def exp2_grad(out):
    """2^x log 2"""
    T = type(out)
    return out * T(math.log(2))


@inline
def expm1_grad(out):
    """e^x"""
    T = type(out)
    return out + T(1)


@inline
def log_grad(x):
    """1 / x"""
    T = type(x)
    return T(1) / x


@inline
def log1p_grad(x):
    """1 / (1 + x)"""
    T = type(x)
    return T(1) / (T(1) + x)


@inline
def log2_grad(x):
    """1 / (x log 2)"""
    T = type(x)
    return T(1) / (x * T(math.log(2)))


@inline
def log10_grad(x):
    """1 / (x log 10)"""
    T = type(x)
    return T(1) / (x * T(math.log(10)))


@inline
def sqrt_grad(out):
    """1 / (2 sqrt x)"""
    T = type(out)
    return T(0.5) / out


@inline
def sin_grad(x):
    """cos x"""
    T = type(x)
    return T(math.cos(x))


@inline
def cos_grad(x):
    """-sin x"""
    T = type(x)
    return -T(math.sin(x))


@inline
def tan_grad(out):
    """1 + tan^2"""
    T = type(out)
    return T(1) + out * out


@inline
def asin_grad(x):
    """1 / sqrt(1 - x^2)"""
    T = type(x)
    return T(1) / T(math.sqrt((T(1) - x) * (T(1) + x)))


@inline
def acos_grad(x):
    """-1 / sqrt(1 - x^2)"""
    T = type(x)
    return T(-1) / T(math.sqrt((T(1) - x) * (T(1) + x)))


@inline
def atan_grad(x):
    """1 / (1 + x^2)"""
    T = type(x)
    return T(1) / (T(1) + x * x)


@inline
def atan2_grad_y(y, x):
    """x / (x^2 + y^2)"""
    return x / (x * x + y * y)


@inline
def atan2_grad_x(y, x):
    """-y / (x^2 + y^2)"""
    return -y / (x * x + y * y)


@inline
def sinh_grad(x):
    """cosh x"""
    T = type(x)
    return T(math.cosh(x))


@inline
def cosh_grad(x):
    """sinh x"""
    T = type(x)
    return T(math.sinh(x))


@inline
def tanh_grad(out):
    """1 - tanh^2"""
    T = type(out)
    return T(1) - out * out


@inline
def asinh_grad(x):
    """1 / sqrt(x^2 + 1)"""
    T = type(x)
    return T(1) / T(math.sqrt(x * x + T(1)))


@inline
def acosh_grad(x):
    """1 / sqrt(x^2 - 1)"""
    T = type(x)
    return T(1) / T(math.sqrt((x - T(1)) * (x + T(1))))


@inline
def atanh_grad(x):
    """1 / (1 - x^2)"""
    T = type(x)
    return T(1) / ((T(1) - x) * (T(1) + x))


@inline
def erf_grad(x):
    """2 e^(-x^2) / sqrt(pi)"""
    T = type(x)
    return T(2 / math.sqrt(math.pi)) * T(math.exp(-x * x))


@inline
def erfc_grad(x):
    """-2 e^(-x^2) / sqrt(pi)"""
    T = type(x)
    return T(-2 / math.sqrt(math.pi)) * T(math.exp(-x * x))


@inline
def hypot_grad_x(x, out):
    """x / hypot(x, y)"""
    return x / out


@inline
def hypot_grad_y(y, out):
    """y / hypot(x, y)"""
    return y / out


@inline
def copysign_grad_x(x, out):
    """1, or -1 where the sign was changed; 0 at 0."""
    T = type(x)
    same = T(1) if (x < T(0)) == (out < T(0)) else T(-1)
    return same if x != T(0) else T(0)


@inline
def polynomial_grad(x, tables):
    """c[1] + 2 c[2] x + 3 c[3] x^2 + …"""
    return primitives.polynomial_derivative(x, tables)


@inline
def polynomial_grad_2(x, tables):
    """2 c[2] + 6 c[3] x + 12 c[4] x^2 + …"""
    return primitives.polynomial_derivative_2(x, tables)


@inline
def polynomial_grad_3(x, tables):
    """6 c[3] + 24 c[4] x + 60 c[5] x^2 + …"""
    return primitives.polynomial_derivative_3(x, tables)


@inline
def polynomial_grad_4(x, tables):
    """24 c[4] + 120 c[5] x + 360 c[6] x^2 + …"""
    return primitives.polynomial_derivative_4(x, tables)


# --------------------------------------------------------------------------------------- tables

_Row = dict[str, DeviceFunction | int]
_UNARY: _Row = {  # by math's names
    "exp": exp_grad, "exp2": exp2_grad, "expm1": expm1_grad, "log": log_grad, "log1p": log1p_grad,
    "log2": log2_grad, "log10": log10_grad, "sqrt": sqrt_grad, "sin": sin_grad, "cos": cos_grad,
    "tan": tan_grad, "asin": asin_grad, "acos": acos_grad, "atan": atan_grad, "sinh": sinh_grad,
    "cosh": cosh_grad, "tanh": tanh_grad, "asinh": asinh_grad, "acosh": acosh_grad,
    "atanh": atanh_grad, "erf": erf_grad, "erfc": erfc_grad, "fabs": abs_grad, "floor": 0,
    "ceil": 0, "trunc": 0, "isnan": 0, "isinf": 0, "isfinite": 0,
}  # fmt: skip
_HYPOT: _Row = {"x": hypot_grad_x, "y": hypot_grad_y}
_MAXIMUM: _Row = {"x": maximum_grad_x, "y": maximum_grad_y}
_MINIMUM: _Row = {"x": minimum_grad_x, "y": minimum_grad_y}
_COPYSIGN: _Row = {"x": copysign_grad_x, "y": 0}
_POWER: _Row = {"x": power_grad_x, "y": power_grad_y}

ROWS: dict[Any, _Row] = {
    **{getattr(math, name): {"x": grad} for name, grad in _UNARY.items()},
    **{getattr(np, name): {"x": grad} for name, grad in _UNARY.items() if hasattr(np, name)},
    math.atan2: {"y": atan2_grad_y, "x": atan2_grad_x},
    math.hypot: _HYPOT,
    math.pow: _POWER,
    math.copysign: _COPYSIGN,
    math.fmod: {"x": 1, "y": fmod_grad_y},
    np.hypot: _HYPOT,
    np.copysign: _COPYSIGN,
    np.absolute: {"x": abs_grad},
    np.rint: {"x": 0},
    np.sign: {"x": 0},
    np.maximum: _MAXIMUM,
    np.minimum: _MINIMUM,
    abs: {"x": abs_grad},
    round: {"x": 0},
    operator.pow: _POWER,
    operator.mod: {"x": 1, "y": mod_grad_y},
    operator.floordiv: {"x": 0, "y": 0},
    primitives.sqrt: {"x": sqrt_grad},
    primitives.fabs: {"x": abs_grad},
    primitives.floor: {"x": 0},
    primitives.ceil: {"x": 0},
    primitives.trunc: {"x": 0},
    primitives.rint: {"x": 0},
    primitives.const: {"x": 0, "pair": 0},
    primitives.polynomial: {"x": polynomial_grad, "tables": 0},
    primitives.polynomial_derivative: {"x": polynomial_grad_2, "tables": 0},
    primitives.polynomial_derivative_2: {"x": polynomial_grad_3, "tables": 0},
    primitives.polynomial_derivative_3: {"x": polynomial_grad_4, "tables": 0},
    primitives.isnan: {"x": 0},
    primitives.copysign: _COPYSIGN,
    primitives.maximum: _MAXIMUM,
    primitives.minimum: _MINIMUM,
}

# calls that the tangent repeats, by how their arguments enter
COMPARISONS: dict[Any, type[ast.cmpop]] = {min: ast.Lt, max: ast.Gt}
SELECT = primitives.select
FUSED = primitives.fma
CAST = primitives.cast
