"""Inverse trigonometric and hyperbolic functions of complex numbers.

Sources: T. E. Hull, T. F. Fairgrieve and P. T. P. Tang, "Implementing the Complex Arcsine and Arccosine
Functions Using Exception Handling", 1997; W. Kahan, "Branch Cuts for Complex Elementary Functions", 1987.
"""

from __future__ import annotations

import math

from tilegrad.kernels.formulas.angles import (
    acos as real_acos,
    asin as real_asin,
    atan2 as real_atan2,
)
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.pair import over_i, paired, times_i
from tilegrad.kernels.formulas.planar.arithmetic import divide
from tilegrad.kernels.formulas.planar.exponential import log_size, root
from tilegrad.kernels.formulas.powers import hypot
from tilegrad.kernels.formulas.primitives import cast, const, copysign, fabs, select, sqrt
from tilegrad.kernels.formulas.transcendental import log as real_log, log1p as real_log1p
from tilegrad.kernels.function import inline

_LARGE = (2.0**50, 2.0**450)  # beyond which x and sqrt(x^2 - 1) are the same
_TINY = (2.0**-60, 2.0**-500)  # whose square is lost
_TURN = 0.6417  # where Hull, Fairgrieve and Tang go over from asin to atan


@inline
def _ellipse(x, y):
    """Of x, y >= 0: (r, s, half of r + s): the distances from -1 and from 1, and the half axis of the ellipse
    through x + i y about them.
    """
    one = cast(1.0, x)
    r, s = hypot(x + one, y), hypot(x - one, y)
    return r, s, cast(0.5, x) * (r + s)


@inline
def _beside(x, y, r, s, half):
    """sqrt(half^2 - x^2) of :func:`_ellipse`, without cancellation."""
    one, two = cast(1.0, x), cast(0.5, x)
    total, square = half + x, y * y
    rest = select(x <= one, s + (one - x), square / (s + (x - one)))
    inside = sqrt(two * total * (square / (r + x + one) + rest))
    outside = y * sqrt(two * (total / (r + x + one) + total / (s + (x - one))))
    return select(x <= one, inside, outside)


@inline
def _height(x, y, r, s, half):
    """log(half + sqrt(half^2 - 1)) of :func:`_ellipse`."""
    one, two = cast(1.0, x), cast(0.5, x)
    square = y * y
    left = square / (s + (one - x))
    right = s + (x - one)
    above = two * (square / (r + x + one) + select(x < one, left, right))
    near = real_log1p(above + sqrt(above * (half + one)))
    far = real_log(half + sqrt(half * half - one))
    result = select(half <= cast(1.5, x), near, far)
    thin = (y < const(x, _TINY)) & (x < one)
    return select(thin, y / sqrt((one - x) * (one + x)), result)


@inline
def _kept(x, y):
    """(x, y, whether they are too large for squares), those as 1."""
    huge = (x > const(x, _LARGE)) | (y > const(x, _LARGE))
    one = cast(1.0, x)
    return select(huge, one, x), select(huge, one, y), huge


@inline
def _far_height(x, y):
    """log |2 (x + i y)|"""
    return log_size(x, y) + cast(math.log(2.0), x)


@inline
def asin(x):
    """The z with sine x and a real part in [-pi / 2, pi / 2]."""
    p, q = fabs(x.real), fabs(x.imag)
    u, v, huge = _kept(p, q)
    r, s, half = _ellipse(u, v)
    ratio = u / half
    low = ratio <= cast(_TURN, u)
    angle = select(
        low, real_asin(select(low, ratio, cast(0.0, u))), real_atan2(u, _beside(u, v, r, s, half))
    )
    re = select(huge, real_atan2(p, q), angle)
    im = select(huge, _far_height(p, q), _height(u, v, r, s, half))
    lost = (x.real != x.real) & (q != q)
    zero = cast(0.0, p)
    re = select((p == zero), p, select(lost, p, re))
    return paired(copysign(re, x.real), copysign(im, x.imag))


@inline
def acos(x):
    """The z with cosine x and a real part in [0, pi]."""
    p, q = fabs(x.real), fabs(x.imag)
    u, v, huge = _kept(p, q)
    r, s, half = _ellipse(u, v)
    ratio = copysign(u / half, x.real)
    signed = copysign(u, x.real)
    low = fabs(ratio) <= cast(_TURN, u)
    beside = _beside(u, v, r, s, half)
    angle = select(low, real_acos(select(low, ratio, cast(0.0, u))), real_atan2(beside, signed))
    re = select(huge, real_atan2(q, x.real), angle)
    re = select(p == cast(0.0, p), cast(math.pi / 2, p), re)
    im = select(huge, _far_height(p, q), _height(u, v, r, s, half))
    return paired(re, -copysign(im, x.imag))


@inline
def asinh(x):
    """asin(i x) / i"""
    return over_i(asin(times_i(x)))


@inline
def acosh(x):
    """i acos(x), or its negative: the one with a real part that is not negative."""
    z = acos(x)
    return paired(fabs(z.imag), copysign(z.real, x.imag))


@inline
def atanh(x):
    """(log(1 + x) - log(1 - x)) / 2"""
    p, y = fabs(x.real), x.imag
    q = fabs(y)
    one, zero, quarter = cast(1.0, p), cast(0.0, p), cast(0.25, p)
    huge = (p > const(p, _LARGE)) | (q > const(p, _LARGE))
    u, v = select(huge, one, p), select(huge, one, q)
    apart = (one - u) * (one - u) + v * v
    # at 1 the square of a small part is lost
    thin = (u == one) & (v < const(p, _TINY))
    near = quarter * real_log1p(cast(4.0, p) * u / select(thin, one, apart))
    near = select(thin, cast(0.5, p) * (cast(math.log(2.0), p) - real_log(v)), near)
    length = hypot(p * quarter, q * quarter)
    far = (p * quarter) / length / length * quarter
    endless = (p == cast(math.inf, p)) | (q == cast(math.inf, p))
    re = select(huge, select(endless, zero, far), near)
    im = cast(0.5, p) * real_atan2(v + v, (one - u) * (one + u) - v * v)
    im = select(huge, cast(math.pi / 2, p), im)
    im = select(y != y, y, im)
    re = select(p == zero, p, re)
    return paired(copysign(re, x.real), copysign(im, y))


@inline
def atan(x):
    """atanh(i x) / i"""
    return over_i(atanh(times_i(x)))


@inline
def asin_grad(g, x):
    """g / sqrt(1 - x^2)"""
    T = type(x)
    return divide(g, root(T(1) - x * x))


@inline
def acos_grad(g, x):
    """-g / sqrt(1 - x^2)"""
    T = type(x)
    return -divide(g, root(T(1) - x * x))


@inline
def atan_grad(g, x):
    """g / (1 + x^2)"""
    T = type(x)
    return divide(g, T(1) + x * x)


@inline
def asinh_grad(g, x):
    """g / sqrt(1 + x^2)"""
    T = type(x)
    return divide(g, root(T(1) + x * x))


@inline
def acosh_grad(g, x):
    """g / (sqrt(x - 1) sqrt(x + 1))"""
    T = type(x)
    return divide(g, root(x - T(1)) * root(x + T(1)))


@inline
def atanh_grad(g, x):
    """g / (1 - x^2)"""
    T = type(x)
    return divide(g, T(1) - x * x)


declare(asin, x=asin_grad)
declare(acos, x=acos_grad)
declare(atan, x=atan_grad)
declare(asinh, x=asinh_grad)
declare(acosh, x=acosh_grad)
declare(atanh, x=atanh_grad)

TABLE = table(
    *[
        Formula(function.__name__, function, kind="same")
        for function in (asin, acos, atan, asinh, acosh, atanh)
    ]
)
