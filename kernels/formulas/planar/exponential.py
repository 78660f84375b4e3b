"""Exponentials, logarithms and powers of complex numbers.

Sines and cosines of the imaginary part reduce their argument modulo pi; a loop runs the twin for angles
that are near, where all are (:func:`tilegrad.kernels.function.mostly`).

Source: W. Kahan, "Branch Cuts for Complex Elementary Functions", 1987, for signs and special values.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.angles import atan2
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.pair import paired, scaled
from tilegrad.kernels.formulas.planar.arithmetic import divide
from tilegrad.kernels.formulas.powers import hypot
from tilegrad.kernels.formulas.primitives import cast, const, copysign, fabs, fma, select, sqrt
from tilegrad.kernels.formulas.quadrants import is_near
from tilegrad.kernels.formulas.transcendental import (
    exp as real_exp,
    exp2 as real_exp2,
    expm1 as real_expm1,
    log as real_log,
    log1p as real_log1p,
)
from tilegrad.kernels.formulas.trigonometric import (
    cos as real_cos,
    cos_near as real_cos_near,
    sin as real_sin,
    sin_near as real_sin_near,
)
from tilegrad.kernels.function import DeviceFunction, by_type, inline, mostly

# e^x of x beyond FAR is e^(x - BACK) times AGAIN: the sine beside it may bring it into range
FAR = (80.0, 700.0)
BACK = (40.0, 100.0)
AGAIN = (math.exp(40.0), math.exp(100.0))
_LN2, _LN10 = math.log(2.0), math.log(10.0)


@inline
def is_odd(y):
    """y is infinite or NaN"""
    return y - y != y - y


@inline
def near_across(z):
    """The imaginary part is an angle that sines reduce in few steps."""
    return is_near(z.imag)


# ------------------------------------------------------------------------------------ exponentials


def _exponential(sine: DeviceFunction, cosine: DeviceFunction) -> DeviceFunction:
    @inline
    def exp(z):
        x, y = z.real, z.imag
        zero, infinity = cast(0.0, x), cast(math.inf, x)
        far = x > const(x, FAR)
        part = real_exp(select(far, x - const(x, BACK), x))
        again = select(far, const(x, AGAIN), cast(1.0, x))
        re, im = part * cosine(y) * again, part * sine(y) * again
        im = select(y == zero, y, im)
        odd = is_odd(y)
        re = select(odd & (x == infinity), x, select(odd & (x == -infinity), zero, re))
        return paired(re, select(odd & (x == -infinity), zero, im))

    return exp


_exp_near, _exp = _exponential(real_sin_near, real_cos_near), _exponential(real_sin, real_cos)


@mostly(_exp_near, near_across)
@inline
def exp(x):
    """e^re (cos im + i sin im)"""
    return _exp(x)


@inline
def exp_grad(out):
    """e^x"""
    return out


@inline
def exp2(x):
    """2^x = e^(x ln 2)"""
    y = x.imag * cast(_LN2, x.imag)
    part = real_exp2(x.real)
    im = select(y == cast(0.0, y), y, part * real_sin(y))
    return paired(part * real_cos(y), im)


@inline
def exp2_grad(out):
    """2^x ln 2"""
    T = type(out)
    return out * T(_LN2)


@inline
def expm1(x):
    """e^x - 1, accurate near 0: expm1(re) cos im - 2 sin(im / 2)^2 + i e^re sin im."""
    half = real_sin(x.imag * cast(0.5, x.imag))
    re = real_expm1(x.real) * real_cos(x.imag) - cast(2.0, half) * half * half
    return paired(re, exp(x).imag)


@inline
def expm1_grad(out):
    """e^x"""
    T = type(out)
    return out + T(1)


@inline
def sigmoid(x):
    """1 / (1 + e^-x), by the exponential that does not overflow."""
    T = type(x)
    left = x.real < cast(0.0, x.real)
    power = exp(paired(-fabs(x.real), select(left, x.imag, -x.imag)))
    one = T(1)
    above = paired(select(left, power.real, one.real), select(left, power.imag, one.imag))
    return divide(above, one + power)


@inline
def sigmoid_grad(out):
    """s (1 - s)"""
    T = type(out)
    return out * (T(1) - out)


@inline
def silu(x):
    """x sigmoid(x)"""
    return x * sigmoid(x)


# -------------------------------------------------------------------------------------- logarithms


@inline
def _excess_single(a, b):
    """a^2 + b^2 - 1, to the last bit."""
    x, y = np.float64(a), np.float64(b)
    return np.float32((x * x - np.float64(1)) + y * y)


@inline
def _excess_double(a, b):
    square, other = a * a, b * b
    rest = fma(a, a, -square) + fma(b, b, -other)
    base = square - np.float64(1)
    total = base + other
    back = total - base
    lost = (base - (total - back)) + (other - back)
    return total + (lost + rest)


@by_type(float32=_excess_single, float64=_excess_double)
def excess(a, b):
    """a^2 + b^2 - 1 of a >= b >= 0 where the sum is near 1."""


@inline
def log_size(x, y):
    """log sqrt(x^2 + y^2), accurate where that is near 0."""
    a, b = fabs(x), fabs(y)
    large, small = select(b > a, b, a), select(b > a, a, b)
    huge = large > const(x, (2.0**126, 2.0**1022))
    scale = select(huge, cast(0.25, x), cast(1.0, x))
    length = hypot(x * scale, y * scale)
    near = (length > cast(0.5, x)) & (length < cast(2.0, x))
    kept, beside = select(near, large, cast(1.0, x)), select(near, small, cast(0.0, x))
    close = cast(0.5, x) * real_log1p(excess(kept, beside))
    other = real_log(length) + select(huge, cast(2 * _LN2, x), cast(0.0, x))
    return select(near, close, other)


@inline
def log(x):
    """log |x| + i times the angle of x"""
    return paired(log_size(x.real, x.imag), atan2(x.imag, x.real))


@inline
def log_grad(g, x):
    """g / x"""
    return divide(g, x)


@inline
def log2(x):
    """log(x) / log(2)"""
    return scaled(log(x), cast(1 / _LN2, x.real))


@inline
def log2_grad(g, x):
    """g / (x ln 2)"""
    T = type(x)
    return divide(g, x * T(_LN2))


@inline
def log10(x):
    """log(x) / log(10)"""
    return scaled(log(x), cast(1 / _LN10, x.real))


@inline
def log10_grad(g, x):
    """g / (x ln 10)"""
    T = type(x)
    return divide(g, x * T(_LN10))


@inline
def _one_beyond_single(x, y):
    """|1 + x + i y|^2 - 1, to the last bit."""
    a, b = np.float64(x), np.float64(y)
    return np.float32((a + a) + (a * a + b * b))


@inline
def _one_beyond_double(x, y):
    square, other, twice = x * x, y * y, x + x
    rest = fma(x, x, -square) + fma(y, y, -other)
    first = twice + other
    back = first - twice
    rest += (twice - (first - back)) + (other - back)
    total = first + square
    back = total - first
    rest += (first - (total - back)) + (square - back)
    return total + rest


@by_type(float32=_one_beyond_single, float64=_one_beyond_double)
def one_beyond(x, y):
    """|1 + x + i y|^2 - 1"""


@inline
def log1p(x):
    """log(1 + x), accurate near 0"""
    a, b = x.real, x.imag
    one = cast(1.0, a)
    length = hypot(one + a, b)
    near = (length > cast(0.5, a)) & (length < cast(2.0, a))
    zero = cast(0.0, a)
    kept, beside = select(near, a, zero), select(near, b, zero)
    close = cast(0.5, a) * real_log1p(one_beyond(kept, beside))
    return paired(select(near, close, log_size(one + a, b)), atan2(b, one + a))


@inline
def log1p_grad(g, x):
    """g / (1 + x)"""
    T = type(x)
    return divide(g, T(1) + x)


@inline
def logaddexp(x, y):
    """log(e^x + e^y) by the larger real part, whose angle stays as it is where the other is far; NaN of any"""
    odd = (x.real != x.real) | (x.imag != x.imag) | (y.real != y.real) | (y.imag != y.imag)
    less = x.real < y.real
    a, b = select(less, y.real, x.real), select(less, y.imag, x.imag)
    c, d = select(less, x.real, y.real), select(less, x.imag, y.imag)
    same = (a == c) & is_odd(a)  # both infinite: no difference is a number
    zero = cast(0.0, a)
    gap = paired(select(same, zero, c - a), d - b)
    more = log1p(exp(gap))
    nothing, lost = a == cast(-math.inf, a), cast(math.nan, a)
    re, im = select(same, a, a + more.real), select(nothing, d, b + more.imag)
    return paired(select(odd, lost, re), select(odd, lost, im))


@inline
def logaddexp_grad_x(g, x, y):
    """g / (1 + e^(y - x))"""
    return g * sigmoid(x - y)


@inline
def logaddexp_grad_y(g, x, y):
    """g / (1 + e^(x - y))"""
    return g * sigmoid(y - x)


# ------------------------------------------------------------------------------------------ powers


@inline
def root(x):
    """The square root with a real part that is not negative."""
    a, b = fabs(x.real), fabs(x.imag)
    one, zero, half = cast(1.0, a), cast(0.0, a), cast(0.5, a)
    large = select(b > a, b, a)
    huge, tiny = large > const(a, (2.0**120, 2.0**1000)), large < const(a, (2.0**-60, 2.0**-900))
    scale = select(huge, cast(2.0**-8, a), select(tiny, const(a, (2.0**60, 2.0**120)), one))
    back = select(huge, cast(2.0**4, a), select(tiny, const(a, (2.0**-30, 2.0**-60)), one))
    p, q = a * scale, b * scale
    first = sqrt((p + hypot(p, q)) * half)
    second = select(first == zero, q, q * half / first)
    first, second = first * back, second * back
    left = x.real < zero
    re, im = select(left, second, first), select(left, first, second)
    endless = b == cast(math.inf, b)
    return paired(select(endless, b, re), copysign(select(endless, b, im), x.imag))


@inline
def root_grad(g, out):
    """g / (2 sqrt(x))"""
    return divide(g, out + out)


@inline
def rsqrt(x):
    """1 / sqrt(x)"""
    T = type(x)
    return divide(T(1), root(x))


@inline
def rsqrt_grad(out):
    """-1/2 x^(-3/2)"""
    T = type(out)
    return out * out * out * T(-0.5)


@inline
def power(x, y):
    """x^y = e^(y log x); of zero 0 where the real part of y is positive, and 1 where y is 0."""
    made = exp(y * log(x))
    zero = cast(0.0, x.real)
    nothing = (x.real == zero) & (x.imag == zero)
    flat = (y.real == zero) & (y.imag == zero)
    vanishes = nothing & (y.real > zero)
    re = select(flat, cast(1.0, zero), select(vanishes, zero, made.real))
    return paired(re, select(flat | vanishes, zero, made.imag))


declare(exp, x=exp_grad)
declare(exp2, x=exp2_grad)
declare(expm1, x=expm1_grad)
declare(sigmoid, x=sigmoid_grad)
declare(log, x=log_grad)
declare(log2, x=log2_grad)
declare(log10, x=log10_grad)
declare(log1p, x=log1p_grad)
declare(logaddexp, x=logaddexp_grad_x, y=logaddexp_grad_y)
declare(root, x=root_grad)
declare(rsqrt, x=rsqrt_grad)

TABLE = table(
    *[
        Formula(function.__name__, function, kind="same")
        for function in (exp, exp2, expm1, sigmoid, silu, log, log2, log10, log1p, rsqrt)
    ],
    Formula("sqrt", root, kind="same"),
    Formula("pow", power, kind="same"),
    Formula("logaddexp", logaddexp, kind="same"),
)
