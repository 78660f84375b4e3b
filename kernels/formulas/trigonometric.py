"""Trigonometric functions: scalar formulas for float32 and float64.

float32 is free of branches and calls over the whole range. float64 calls the C library from
|x| = 2^30 on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.primitives import (
    cast,
    const,
    copysign,
    fabs,
    fma,
    parts,
    polynomial,
    rint,
    select,
    turn_quarters,
)
from tilegrad.kernels.function import by_type, inline, intrinsic, mostly

_HALF_PI = "1.57079632679489661923132169163975144209858469968755291048747229615391"
HALF_PI_1, HALF_PI_2, HALF_PI_3 = zip(
    parts(_HALF_PI, np.float32, 3), parts(_HALF_PI, np.float64, 3)
)

# (sin(sqrt z) / sqrt z - 1) / z and (cos(sqrt z) - 1 + z / 2) / z^2 on 0 <= z <= (pi / 4)^2
_SIN = (
    (-0.166666552, 0.00833218917, -0.000195182787),
    (
        -0.1666666666666663,
        0.00833333333332184,
        -0.00019841269829358517,
        2.755731353850721e-06,
        -2.5050734387703542e-08,
        1.5895433172655345e-10,
    ),
)
_COS = (
    (0.0416666456, -0.00138873095, 2.44323273e-05),
    (
        0.041666666666666595,
        -0.0013888888888873335,
        2.4801587288995127e-05,
        -2.7557314214391877e-07,
        2.0875704966407412e-09,
        -1.1358723977288086e-11,
    ),
)
# (cos(t) - sin(t) / t) / t^2 as a series in z = t^2
_SINC_GRAD = tuple((-1) ** (k + 1) * (2 * k + 2) / math.factorial(2 * k + 3) for k in range(8))

# ------------------------------------------------------------------------------ range reduction

_LARGE_SINGLE = 2.0**16
_LARGE_DOUBLE = 2.0**30
# 2^-8 / pi: 8 zero bits, then 248 bits of 1 / pi; in words of 64 bits, the first bits first
_PER_PI = 0x00_517CC1B727220A94FE13ABE8FA9A6EE06DB14ACC9E21C820FF28B1D5EF5DE2
_WORDS = tuple(_PER_PI >> shift & (1 << 64) - 1 for shift in (192, 128, 64, 0))


@intrinsic
def _reduce_large(typing, x):  # type: ignore[no-untyped-def]
    """(r, n): ``|x| == (n + 4 k) pi / 2 + r`` with n in 0..3, for finite float32 |x| >= 2^16.

    Both are float64, |r| <= pi / 4. Payne and Hanek's reduction: of the product of the mantissa
    with 1 / (2 pi), keep the bits below the point, for which 96 bits of 1 / pi suffice, chosen by
    the exponent.
    """
    from numba import types

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        from llvmlite import ir

        i32, i64 = ir.IntType(32), ir.IntType(64)

        def word(value: int) -> Any:
            return ir.Constant(i64, value)

        pattern = builder.bitcast(args[0], i32)
        exponent = builder.and_(builder.lshr(pattern, ir.Constant(i32, 23)), ir.Constant(i32, 255))
        mantissa = builder.and_(pattern, ir.Constant(i32, (1 << 23) - 1))
        mantissa = builder.zext(builder.or_(mantissa, ir.Constant(i32, 1 << 23)), i64)
        # |x| = mantissa * 2^(exponent - 150); the window starts at this bit of 2^-8 / pi
        start = builder.zext(builder.sub(exponent, ir.Constant(i32, 150 - 7)), i64)
        second = builder.icmp_unsigned(">=", start, word(64))
        a, b, c = (builder.select(second, word(_WORDS[k + 1]), word(_WORDS[k])) for k in range(3))
        left = builder.and_(start, word(63))
        right = builder.sub(word(63), left)  # two shifts, since one by 64 would be undefined

        def window(high: Any, low: Any) -> Any:
            low = builder.lshr(builder.lshr(low, word(1)), right)
            return builder.or_(builder.shl(high, left), low)

        below = builder.lshr(window(b, c), word(32))
        turns = builder.add(
            builder.mul(mantissa, window(a, b)),
            builder.lshr(builder.mul(mantissa, below), word(32)),
        )
        near = builder.add(turns, word(1 << 61))
        n = builder.lshr(near, word(62))
        part = builder.sub(turns, builder.shl(n, word(62)))
        double = ir.DoubleType()
        angle = builder.fmul(builder.sitofp(part, double), ir.Constant(double, math.pi * 2.0**-63))
        return context.make_tuple(builder, sig.return_type, [angle, builder.sitofp(n, double)])

    return types.UniTuple(types.float64, 2)(x), codegen


@_reduce_large.in_python
def _(x: Any) -> Any:
    if not np.isfinite(x) or abs(x) < _LARGE_SINGLE:
        return np.float64(0), np.float64(0)
    turns = int(abs(x)) * _PER_PI >> 185  # in units of 2^-64
    n = (turns + (1 << 61)) >> 62
    return np.float64(turns - (n << 62)) * np.float64(math.pi * 2.0**-63), np.float64(n % 4)


@inline
def _reduce_near(x):  # type: ignore[no-untyped-def]
    """(r, low, n): ``x == n pi / 2 + r + low``, |r| <= pi / 4, for x that are not large."""
    n = rint(x * cast(2 / math.pi, x))
    first = fma(n, -const(x, HALF_PI_1), x)  # exact, because so much cancels
    r = fma(n, -const(x, HALF_PI_2), first)
    return r, n * -const(x, HALF_PI_3), n


@inline
def _sine(r, low):  # type: ignore[no-untyped-def]
    """sin(r + low) on |r| <= pi / 4; low is below the last place of r."""
    z = r * r
    return r + fma(r * z, polynomial(z, _SIN), low)


@inline
def _cosine(r, low):  # type: ignore[no-untyped-def]
    """cos(r + low) on |r| <= pi / 4; low is below the last place of r."""
    one, half = cast(1.0, r), cast(0.5, r)
    z = r * r
    near = fma(-half, z, one)
    lost = fma(-half, z, one - near)
    return near + (fma(z * z, polynomial(z, _COS), lost) - r * low)


@inline
def _reduce_single(x):  # type: ignore[no-untyped-def]
    """As :func:`_reduce_near`, for any float32 x; NaN for an infinite one."""
    a = fabs(x)
    r, low, n = _reduce_near(a)
    far, quarters = _reduce_large(x)
    large = (a >= np.float32(_LARGE_SINGLE)) & (a < np.float32(math.inf))
    high = np.float32(far)
    rest = np.float32(far - np.float64(high))
    n = select(large, np.float32(quarters), n)
    return select(large, high, r), select(large, rest, low), n


@inline
def _sin_single(x):  # type: ignore[no-untyped-def]
    r, low, n = _reduce_single(x)
    result = turn_quarters(n, _sine(r, low), _cosine(r, low))
    return select(x < np.float32(0), -result, select(x == np.float32(0), x, result))


@inline
def _cos_single(x):  # type: ignore[no-untyped-def]
    r, low, n = _reduce_single(x)
    return turn_quarters(n + np.float32(1), _sine(r, low), _cosine(r, low))


@inline
def sin_near(x):  # type: ignore[no-untyped-def]
    """:func:`sin`, to the bit, of x that are not large."""
    r, low, n = _reduce_near(x)
    return select(x == cast(0.0, x), x, turn_quarters(n, _sine(r, low), _cosine(r, low)))


@inline
def cos_near(x):  # type: ignore[no-untyped-def]
    """:func:`cos`, to the bit, of x that are not large."""
    r, low, n = _reduce_near(x)
    return turn_quarters(n + cast(1.0, x), _sine(r, low), _cosine(r, low))


@inline
def _sin_double(x):  # type: ignore[no-untyped-def]
    return sin_near(x) if fabs(x) < np.float64(_LARGE_DOUBLE) else math.sin(x)


@inline
def _cos_double(x):  # type: ignore[no-untyped-def]
    return cos_near(x) if fabs(x) < np.float64(_LARGE_DOUBLE) else math.cos(x)


@inline
def _tan_single(x):  # type: ignore[no-untyped-def]
    """sin / cos in double precision, whose reduction is then exact enough for the quotient."""
    a = np.float64(fabs(x))
    n = rint(a * np.float64(2 / math.pi))
    r = fma(n, -np.float64(HALF_PI_1[1]), a)
    r = fma(n, -np.float64(HALF_PI_2[1]), r)
    far, quarters = _reduce_large(x)
    large = (a >= np.float64(_LARGE_SINGLE)) & (a < np.float64(math.inf))
    r, n = select(large, far, r), select(large, quarters, n)
    z = r * r
    s = fma(r * z, polynomial(z, (_SIN[0], _SIN[0])), r)
    c = fma(z * z, polynomial(z, (_COS[0], _COS[0])), fma(z, np.float64(-0.5), np.float64(1)))
    result = turn_quarters(n, s, c) / turn_quarters(n + np.float64(1), s, c)
    return copysign(np.float32(1), x) * np.float32(result)


@inline
def tan_near(x):  # type: ignore[no-untyped-def]
    """:func:`tan`, to the bit, of float64 x that are not large.

    sin / cos, each as a sum of two floats.
    """
    one, half = np.float64(1), np.float64(0.5)
    n = rint(x * np.float64(2 / math.pi))
    first = fma(n, -np.float64(HALF_PI_1[1]), x)
    product = n * np.float64(HALF_PI_2[1])
    r = first - product
    back = r - first
    low = (first - (r - back)) - (product + back)
    low -= fma(n, np.float64(HALF_PI_2[1]), -product) + n * np.float64(HALF_PI_3[1])
    z = r * r
    rest = fma(r * z, polynomial(z, _SIN), low)
    s = r + rest
    s_low = rest - (s - r)
    near = fma(-half, z, one)
    lost = fma(-half, z, one - near) - half * fma(r, r, -z)
    rest = fma(z * z, polynomial(z, _COS), lost) - r * low
    c = near + rest
    c_low = rest - (c - near)
    above, above_low = turn_quarters(n, s, c), turn_quarters(n, s_low, c_low)
    below, below_low = turn_quarters(n + one, s, c), turn_quarters(n + one, s_low, c_low)
    inverse = one / below
    result = above * inverse
    missing = fma(-result, below, above) + fma(-result, below_low, above_low)
    return select(x == np.float64(0), x, fma(missing, inverse, result))


@inline
def _tan_double(x):  # type: ignore[no-untyped-def]
    return tan_near(x) if fabs(x) < np.float64(_LARGE_DOUBLE) else math.tan(x)


@inline
def is_near(x):  # type: ignore[no-untyped-def]
    """Whether :func:`sin_near` and :func:`cos_near` serve x."""
    return fabs(x) < const(x, (_LARGE_SINGLE, _LARGE_DOUBLE))


@mostly(sin_near, is_near)
@by_type(float32=_sin_single, float64=_sin_double)
def sin(x):  # type: ignore[no-untyped-def]
    """The sine."""


@inline
def sin_grad(x):  # type: ignore[no-untyped-def]
    """d sin(x) / dx = cos(x)."""
    return cos(x)


@mostly(cos_near, is_near)
@by_type(float32=_cos_single, float64=_cos_double)
def cos(x):  # type: ignore[no-untyped-def]
    """The cosine."""


@inline
def cos_grad(x):  # type: ignore[no-untyped-def]
    """d cos(x) / dx = -sin(x)."""
    return -sin(x)


@by_type(float32=_tan_single, float64=_tan_double)
def tan(x):  # type: ignore[no-untyped-def]
    """The tangent."""


@inline
def tan_grad(out):  # type: ignore[no-untyped-def]
    """d tan(x) / dx = 1 + tan(x)^2."""
    return fma(out, out, cast(1.0, out))


@inline
def _times_pi(x):  # type: ignore[no-untyped-def]
    """(high, low) with the sum ``pi x``."""
    pi, pi_low = const(x, HALF_PI_1) * cast(2.0, x), const(x, HALF_PI_2) * cast(2.0, x)
    high = x * pi
    return high, fma(x, pi, -high) + x * pi_low


@inline
def _turn_pi(x, quarters):  # type: ignore[no-untyped-def]
    """sin(pi x + quarters pi / 2); the multiples of 1 / 2 leave x, exactly, before pi comes in."""
    x -= cast(2.0, x) * rint(x * cast(0.5, x))
    n = rint(x + x)
    r, low = _times_pi(fma(n, cast(-0.5, x), x))
    return turn_quarters(n + quarters, _sine(r, low), _cosine(r, low))


@inline
def sin_pi(x):  # type: ignore[no-untyped-def]
    """sin(pi x), 0 at the integers."""
    return _turn_pi(x, cast(0.0, x))


@inline
def cos_pi(x):  # type: ignore[no-untyped-def]
    """cos(pi x), 0 halfway between the integers."""
    return _turn_pi(x, cast(1.0, x))


@inline
def sinc(x):  # type: ignore[no-untyped-def]
    """sin(pi x) / (pi x), 1 at 0; its series near 0."""
    one = cast(1.0, x)
    below, below_low = _times_pi(x)
    result = sin_pi(x) / below
    result = fma(-result, below_low / below, result)
    z = below * below
    near = fma(z, fma(z, cast(1 / 120, x), cast(-1 / 6, x)), one)
    return select(fabs(x) < cast(1e-3, x), near, result)


@inline
def sinc_grad(x):  # type: ignore[no-untyped-def]
    """d sinc(x) / dx = (cos(pi x) - sinc(x)) / x; its series near 0."""
    t = x * cast(math.pi, x)
    near = polynomial(t * t, (_SINC_GRAD, _SINC_GRAD)) * (t * cast(math.pi, x))
    return select(fabs(x) < cast(0.25, x), near, (cos_pi(x) - sinc(x)) / x)
