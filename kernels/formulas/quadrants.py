"""Quarter turns: an angle as a multiple of pi / 2 and a rest, for every float.

Small angles take Cody and Waite's subtraction of a split pi / 2, large ones Payne and Hanek's
product with the bits of 1 / pi that matter (*Radian reduction for trigonometric functions*, ACM
SIGNUM 18, 1983). Neither branches, looks up a table or calls a library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.primitives import cast, const, fabs, fma, parts, rint, select
from tilegrad.kernels.function import by_type, inline, intrinsic


def _scaled_pi(bits: int) -> int:
    """``floor(pi * 2**bits)``, but for the last bits, by Machin's formula."""

    def arccot(x: int) -> int:
        term = total = (1 << bits) // x
        for k in range(3, bits, 2):
            term //= -x * x
            total += term // k
        return total

    return 4 * (4 * arccot(5) - arccot(239))


_GUARD = 64
_PI_DIGITS = f"{_scaled_pi(256 + _GUARD) * 10**70 >> 256 + _GUARD}e-70"
_HALF_PI = f"{_scaled_pi(256 + _GUARD) * 10**70 >> 257 + _GUARD}e-70"
HALF_PI_1, HALF_PI_2, HALF_PI_3 = zip(
    parts(_HALF_PI, np.float32, 3), parts(_HALF_PI, np.float64, 3)
)

# where subtraction stops being exact enough
LARGE = (2.0**16, 2.0**30)
_LARGEST = (float(np.finfo(np.float32).max), float(np.finfo(np.float64).max))

# 2^-24 / pi in words of 64 bits, first bits first: the words that the largest float64 needs
_COUNT = 19
_LENGTH = 64 * _COUNT
_PER_PI = (1 << 2 * _LENGTH + _GUARD) // _scaled_pi(_LENGTH + _GUARD) >> 24
_WORDS = tuple(_PER_PI >> 64 * (_COUNT - 1 - k) & (1 << 64) - 1 for k in range(_COUNT))


# ----------------------------------------------------------------------------- the bits of 1 / pi


def _window(builder: Any, start: Any, words: Sequence[int], count: int) -> list[Any]:
    """``count`` words of 64 bits from bit ``start`` of ``words`` on, in steps without a lookup."""
    from llvmlite import ir

    i64 = start.type
    held: list[Any] = [ir.Constant(i64, word) for word in words]
    skip = builder.lshr(start, ir.Constant(i64, 6))
    for jump in (8, 4, 2, 1):
        needed = count + jump  # the words from here on that later jumps can still reach
        if jump >= len(words) - count:
            continue
        bit = builder.and_(skip, ir.Constant(i64, jump))
        ahead = builder.icmp_unsigned("!=", bit, ir.Constant(i64, 0))
        held = [
            builder.select(ahead, held[k + jump] if k + jump < len(held) else held[k], held[k])
            for k in range(min(needed, len(held)))
        ]
    left = builder.and_(start, ir.Constant(i64, 63))
    right = builder.sub(ir.Constant(i64, 63), left)
    out = []
    for high, low in pairwise(held[: count + 1]):
        # two shifts, since one by 64 would be undefined
        low = builder.lshr(builder.lshr(low, ir.Constant(i64, 1)), right)
        out.append(builder.or_(builder.shl(high, left), low))
    return out


def _turns(builder: Any, mantissa: Any, window: list[Any]) -> tuple[Any, Any]:
    """(high, low): ``mantissa * window`` modulo 2^128 of the leading 128 bits, in units of 2^-128.

    ``mantissa`` is below 2^53. High schoolbook products of 32-bit halves: vector units have no
    wider ones.
    """
    from llvmlite import ir

    i64 = mantissa.type
    half, mask = ir.Constant(i64, 32), ir.Constant(i64, (1 << 32) - 1)
    top, bottom = builder.lshr(mantissa, half), builder.and_(mantissa, mask)
    b_top, b_bottom = builder.lshr(window[1], half), builder.and_(window[1], mask)
    c_top, c_bottom = builder.lshr(window[2], half), builder.and_(window[2], mask)
    # the third word adds its product's upper half, but for a carry
    third = builder.add(
        builder.lshr(builder.mul(bottom, c_top), half),
        builder.lshr(builder.mul(top, c_bottom), half),
    )
    third = builder.add(builder.mul(top, c_top), third)
    first = builder.mul(bottom, b_bottom)
    cross = builder.add(builder.mul(top, b_bottom), builder.lshr(first, half))
    other = builder.add(builder.mul(bottom, b_top), builder.and_(cross, mask))
    carried = builder.add(builder.lshr(cross, half), builder.lshr(other, half))
    high = builder.add(builder.mul(top, b_top), carried)
    low = builder.or_(builder.shl(other, half), builder.and_(first, mask))
    total = builder.add(low, third)
    # the carry by logic, since LLVM makes of a comparison an addition that it cannot vectorise
    carry = builder.or_(low, third)
    carry = builder.and_(carry, builder.xor(total, ir.Constant(i64, (1 << 64) - 1)))
    carry = builder.lshr(builder.or_(builder.and_(low, third), carry), ir.Constant(i64, 63))
    high = builder.add(high, builder.add(builder.mul(mantissa, window[0]), carry))
    return high, total


@intrinsic
def large_single(typing, x):
    """(angle, n): ``|x| == (n + 4 k) pi / 2 + angle``, n in 0..3, of finite float32 |x| >= 2^16.

    Both are float64, |angle| <= pi / 4. Of the mantissa's product with 1 / (2 pi) the bits below
    the point are kept, for which 96 bits of 1 / pi suffice, chosen by the exponent.
    """
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        i32, i64, double = ir.IntType(32), ir.IntType(64), ir.DoubleType()
        pattern = builder.bitcast(args[0], i32)
        exponent = builder.and_(builder.lshr(pattern, ir.Constant(i32, 23)), ir.Constant(i32, 255))
        mantissa = builder.and_(pattern, ir.Constant(i32, (1 << 23) - 1))
        mantissa = builder.zext(builder.or_(mantissa, ir.Constant(i32, 1 << 23)), i64)
        # |x| = mantissa * 2^(exponent - 150)
        start = builder.zext(builder.sub(exponent, ir.Constant(i32, 150 - 23)), i64)
        first, second = _window(builder, start, _WORDS[:4], 2)
        below = builder.mul(mantissa, builder.lshr(second, ir.Constant(i64, 32)))
        turns = builder.add(builder.mul(mantissa, first), builder.lshr(below, ir.Constant(i64, 32)))
        n, part = _nearest_quarter(builder, turns)
        angle = builder.fmul(builder.sitofp(part, double), ir.Constant(double, _UNIT))
        return context.make_tuple(builder, sig.return_type, [angle, builder.sitofp(n, double)])

    return types.UniTuple(types.float64, 2)(x), codegen


_UNIT, _UNIT_LOW = (math.ldexp(2 * part, -63) for part in (HALF_PI_1[1], HALF_PI_2[1]))


def _nearest_quarter(builder: Any, turns: Any) -> tuple[Any, Any]:
    """(n, rest) with ``turns == n * 2**62 + rest`` modulo 2^64, n in 0..3, rest signed."""
    from llvmlite import ir

    i64 = turns.type
    n = builder.lshr(builder.add(turns, ir.Constant(i64, 1 << 61)), ir.Constant(i64, 62))
    return n, builder.sub(turns, builder.shl(n, ir.Constant(i64, 62)))


@intrinsic
def _large_double(typing, x):
    """(high, low, n) of finite float64 |x| >= 2^30: as :func:`large_single`.

    The angle is ``(high + low) * pi * 2^-63``, unevaluated.
    """
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        i64, double = ir.IntType(64), ir.DoubleType()
        pattern = builder.bitcast(args[0], i64)
        exponent = builder.and_(builder.lshr(pattern, ir.Constant(i64, 52)), ir.Constant(i64, 2047))
        mantissa = builder.and_(pattern, ir.Constant(i64, (1 << 52) - 1))
        mantissa = builder.or_(mantissa, ir.Constant(i64, 1 << 52))
        # |x| = mantissa * 2^(exponent - 1075)
        start = builder.sub(exponent, ir.Constant(i64, 1075 - 23))
        turns, beyond = _turns(builder, mantissa, _window(builder, start, _WORDS, 3))
        n, part = _nearest_quarter(builder, turns)
        fine = ir.Constant(i64, (1 << 10) - 1)
        high = builder.sitofp(builder.sub(part, builder.and_(part, fine)), double)
        low = builder.sitofp(builder.lshr(beyond, ir.Constant(i64, 11)), double)
        low = builder.fmul(low, ir.Constant(double, 2.0**-53))
        low = builder.fadd(builder.sitofp(builder.and_(part, fine), double), low)
        parts = [high, low, builder.sitofp(n, double)]
        return context.make_tuple(builder, sig.return_type, parts)

    return types.UniTuple(types.float64, 3)(x), codegen


def _exact_turns(x: Any, bits: int) -> tuple[int, int]:
    """(rest, n): ``|x| / (2 pi)`` as quarters n and a signed rest in units of ``2**-bits``."""
    top, bottom = abs(float(x)).as_integer_ratio()
    turns = (top * _PER_PI << bits) // (bottom << _LENGTH - 24 + 1)
    n = (turns + (1 << bits - 3)) >> bits - 2
    return turns - (n << bits - 2), n % 4


@large_single.in_python
def _(x: Any) -> Any:
    if not np.isfinite(x) or abs(x) < LARGE[0]:
        return np.float64(0), np.float64(0)
    rest, n = _exact_turns(x, 64)
    return np.float64(rest) * np.float64(_UNIT), np.float64(n)


@_large_double.in_python
def _(x: Any) -> Any:
    if not np.isfinite(x) or abs(x) < LARGE[1]:
        return np.float64(0), np.float64(0), np.float64(0)
    rest, n = _exact_turns(x, 128)
    part, beyond = rest >> 64, rest & (1 << 64) - 1
    low = (part & 1023) + (beyond >> 11) * 2.0**-53
    return np.float64(part - (part & 1023)), np.float64(low), np.float64(n)


# ------------------------------------------------------------------------------ range reduction


@inline
def quarter_near(x):
    """(r, low, n): ``x == n pi / 2 + r + low``, |r| <= pi / 4, for x that are not large."""
    n = rint(x * cast(2 / math.pi, x))
    first = fma(n, -const(x, HALF_PI_1), x)  # exact, because so much cancels
    r = fma(n, -const(x, HALF_PI_2), first)
    return r, n * -const(x, HALF_PI_3), n


@inline
def is_large(a):
    """Whether a >= 0 is finite and too large for :func:`quarter_near`."""
    # not "< inf", of which LLVM would make a call that it cannot vectorise
    return (a >= const(a, LARGE)) & (a <= const(a, _LARGEST))


@inline
def _quarter_single(x):
    a = fabs(x)
    r, low, n = quarter_near(a)
    angle, quarters = large_single(x)
    large = is_large(a)
    high = np.float32(angle)
    rest = np.float32(angle - np.float64(high))
    n = select(large, np.float32(quarters), n)
    return select(large, high, r), select(large, rest, low), n


@inline
def large_angle(x):
    """(r, low, n) as :func:`quarter_near` of |x|, for float64 x that are large."""
    high, low, n = _large_double(x)
    total = high + low
    low -= total - high
    unit = np.float64(_UNIT)
    r = total * unit
    return r, fma(total, unit, -r) + fma(total, np.float64(_UNIT_LOW), low * unit), n


@inline
def _quarter_double(x):
    a = fabs(x)
    r, low, n = quarter_near(a)
    high, rest, quarters = large_angle(x)
    large = is_large(a)
    return select(large, high, r), select(large, rest, low), select(large, quarters, n)


@by_type(float32=_quarter_single, float64=_quarter_double)
def quarter(x):
    """(r, low, n): ``|x| == n pi / 2 + r + low``, |r| <= pi / 4; NaN for an infinite x."""


@inline
def is_near(x):
    """Whether x is not large: :func:`quarter_near` serves it."""
    return fabs(x) < const(x, LARGE)
