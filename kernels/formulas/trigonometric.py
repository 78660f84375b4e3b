"""Trigonometric functions and their inverses: scalar formulas for float32 and float64.

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
    fabs,
    fma,
    parts,
    polynomial,
    rint,
    select,
    turn_quarters,
)
from tilegrad.kernels.function import by_type, inline, intrinsic

_HALF_PI = "1.57079632679489661923132169163975144209858469968755291048747229615391"
_PART_1, _PART_2, _PART_3 = zip(parts(_HALF_PI, np.float32, 3), parts(_HALF_PI, np.float64, 3))

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
        a, b, c = (
            builder.select(second, word(_WORDS[k + 1]), word(_WORDS[k])) for k in range(3)
        )
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
    first = fma(n, -const(x, _PART_1), x)  # exact, because so much cancels
    r = fma(n, -const(x, _PART_2), first)
    return r, n * -const(x, _PART_3), n


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
def _sin_double(x):  # type: ignore[no-untyped-def]
    return sin_near(x) if fabs(x) < np.float64(_LARGE_DOUBLE) else math.sin(x)


@inline
def _cos_double(x):  # type: ignore[no-untyped-def]
    return cos_near(x) if fabs(x) < np.float64(_LARGE_DOUBLE) else math.cos(x)


@inline
def sin_near(x):  # type: ignore[no-untyped-def]
    """:func:`sin`, to the bit, of x that are not large."""
    r, low, n = _reduce_near(x)
    return turn_quarters(n, _sine(r, low), _cosine(r, low))


@inline
def cos_near(x):  # type: ignore[no-untyped-def]
    """:func:`cos`, to the bit, of x that are not large."""
    r, low, n = _reduce_near(x)
    return turn_quarters(n + cast(1.0, x), _sine(r, low), _cosine(r, low))


@by_type(float32=_sin_single, float64=_sin_double)
def sin(x):  # type: ignore[no-untyped-def]
    """The sine."""


@inline
def sin_grad(x):  # type: ignore[no-untyped-def]
    """d sin(x) / dx = cos(x)."""
    return cos(x)


@by_type(float32=_cos_single, float64=_cos_double)
def cos(x):  # type: ignore[no-untyped-def]
    """The cosine."""


@inline
def cos_grad(x):  # type: ignore[no-untyped-def]
    """d cos(x) / dx = -sin(x)."""
    return -sin(x)
