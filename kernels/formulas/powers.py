"""Powers, remainders and sums of exponentials: scalar formulas of two operands."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.primitives import (
    cast,
    clamp,
    const,
    copysign,
    fabs,
    floor,
    fma,
    polynomial,
    power2,
    rint,
    scale2,
    select,
    split,
    sqrt,
    trunc,
)
from tilegrad.kernels.formulas.transcendental import (
    EXPM1,
    LN2_HIGH,
    LN2_LOW,
    LOG2E_HIGH,
    LOG2E_LOW,
    exp2,
    exp_decay,
    log,
    log1p,
    sigmoid,
)
from tilegrad.kernels.function import by_type, inline, intrinsic, mostly

# ((2 atanh(sqrt z)) / sqrt z - 2 - 2 z / 3) / z^2 on 0 <= z <= (3 - 2 sqrt 2)^2, for results
# that are float32 and float64; all evaluated in float64
_LOG_SHORT = (0.4000015222394668, 0.28547128580781067, 0.23418702036306957)
_LOG_LONG = (
    0.3999999999999998,
    0.2857142857144384,
    0.22222222217789606,
    0.1818181884402831,
    0.15384558424879474,
    0.13336264683473603,
    0.11675776170432313,
    0.11981797181414108,
)
# (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, likewise
_EXP_SHORT = (
    0.5,
    0.1666664802491131,
    0.04166648243546075,
    0.008337817191766994,
    0.001393327483843578,
    0.00017365814359988275,
)
_THIRD, _THIRD_LOW = 2 / 3, float(Fraction(2, 3) - Fraction(2 / 3))


# -------------------------------------------------------------------------------------- powers


@inline
def _pow_ends(x, y, size):
    """C99's pow(x, y), given |x|^y where |x| is neither 0 nor infinite nor 1."""
    zero, one, nan = cast(0.0, x), cast(1.0, x), cast(math.nan, x)
    infinity = cast(math.inf, x)
    a = fabs(x)
    half = y * cast(0.5, y)
    whole = floor(y) == y
    odd = whole & (floor(half) != half)
    # a zero or infinite base: by whether the power grows
    ends = select((a == zero) == (y < zero), infinity, zero)
    size = select((a == zero) | (a == infinity), ends, size)
    size = select((a == one) & (y == y), one, size)
    size = select((x < zero) & (a < infinity) & (whole == (y != y)), nan, size)
    signed = select(odd & (copysign(one, x) < zero), -size, size)
    result = select((x != x) | (y != y), x + y, signed)
    return select((y == zero) | (x == one), one, result)


@inline
def _pow_single(x, y):
    """2^(y log2 x) in double precision."""
    one = np.float64(1)
    m, e = split(np.float64(fabs(x)), np.float64(math.sqrt(0.5)))
    s = (m - one) / (m + one)
    z = s * s
    series = fma(z, polynomial(z, (_LOG_SHORT, _LOG_SHORT)), np.float64(2 / 3))
    logarithm = fma(s * fma(z, series, np.float64(2)), np.float64(LOG2E_HIGH[1]), e)
    power = clamp(np.float64(y) * logarithm, np.float64(-200), np.float64(200))
    n = rint(power)
    r = (power - n) * np.float64(LN2_HIGH[1])
    tail = fma(r * r, polynomial(r, (_EXP_SHORT, _EXP_SHORT)), r)
    return _pow_ends(x, y, np.float32((one + tail) * power2(n)))


@inline
def log2_pair(a):
    """log2(a) of a finite float64 a > 0 as a sum, to about 2^-68 of its size."""
    one, two = np.float64(1), np.float64(2)
    m, e = split(a, np.float64(math.sqrt(0.5)))
    f = m - one
    total = two + f
    total_low = f - (total - two)
    inverse = one / total
    s = f * inverse
    s_low = fma(-s, total_low, fma(-s, total, f)) * inverse
    z = s * s
    z_low = fma(s, s, -z) + two * s * s_low
    # 2 atanh(s) = 2 s + s z (2/3 + z q(z))
    rest = z * polynomial(z, (_LOG_LONG, _LOG_LONG))
    third = np.float64(_THIRD) + rest
    third_low = (np.float64(_THIRD) - third) + rest + np.float64(_THIRD_LOW)
    product = z * third
    product_low = fma(z, third, -product) + fma(z, third_low, z_low * third)
    curve = s * product
    curve_low = fma(s, product, -curve) + fma(s, product_low, s_low * product)
    high = two * s + curve
    low = ((two * s - high) + curve) + fma(two, s_low, curve_low)
    scaled = high * np.float64(LOG2E_HIGH[1])
    scaled_low = fma(high, np.float64(LOG2E_HIGH[1]), -scaled)
    scaled_low += fma(high, np.float64(LOG2E_LOW[1]), low * np.float64(LOG2E_HIGH[1]))
    result = e + scaled
    return result, ((e - result) + scaled) + scaled_low


@inline
def _pow_double(x, y):
    high, low = log2_pair(fabs(x))
    power = y * high
    power_low = fma(y, high, -power) + y * low
    inside = fabs(power) < np.float64(1100)
    power_low = select(inside, power_low, np.float64(0))
    power = clamp(power, np.float64(-1100), np.float64(1100))
    n = rint(power)
    part = power - n
    r = part * np.float64(LN2_HIGH[1])
    r_low = fma(part, np.float64(LN2_HIGH[1]), -r)
    r_low += fma(part, np.float64(LN2_LOW[1]), power_low * np.float64(LN2_HIGH[1]))
    tail = fma(r * r, polynomial(r, EXPM1), r)
    total = np.float64(1) + tail
    lost = tail - (total - np.float64(1))
    return _pow_ends(x, y, scale2(total + fma(r_low, total, lost), n))


@by_type(float32=_pow_single, float64=_pow_double)
def pow(x, y):
    """x^y with C99's ends; NaN for a negative x and a y that is no integer.

    Error: 0.51 ulp in float32, 1.13 in float64.
    """


@inline
def pow_grad_x(g, x, y):
    """g d x^y / dx = g y x^(y - 1), 0 where y = 0, whatever g is."""
    zero = cast(0.0, y)
    return select(y == zero, zero, g * (y * pow(x, y - cast(1.0, y))))


@inline
def pow_grad_y(x, y, out):
    """d x^y / dy = x^y log(x), 0 where x = 0 and y >= 0."""
    zero = cast(0.0, x)
    return select((x == zero) & (y >= zero), zero, out * log(x))


@inline
def _hypot_single(x, y):
    a, b = np.float64(x), np.float64(y)
    return _hypot_ends(x, y, np.float32(sqrt(fma(a, a, b * b))))


@inline
def _hypot_double(x, y):
    a, b = fabs(x), fabs(y)
    large, small = select(a < b, b, a), select(a < b, a, b)
    one = np.float64(1)
    scale = select(large > np.float64(2.0**500), np.float64(2.0**-600), one)
    scale = select(large < np.float64(2.0**-450), np.float64(2.0**600), scale)
    large, small = large * scale, small * scale
    square, rest = large * large, small * small
    total = square + rest
    lost = (rest - (total - square)) + fma(large, large, -square) + fma(small, small, -rest)
    root = sqrt(total)
    # one Newton step for what the sum lost and the root's own rounding
    step = (fma(-root, root, total) + lost) / (root + root)
    root += select(root > np.float64(0), step, np.float64(0))
    back = select(scale > one, np.float64(2.0**-600), one)
    back = select(scale < one, np.float64(2.0**600), back)
    return _hypot_ends(x, y, root * back)


@inline
def _hypot_ends(x, y, result):
    """Infinite where either is, even beside a NaN."""
    infinity = cast(math.inf, x)
    return select((fabs(x) == infinity) | (fabs(y) == infinity), infinity, result)


@by_type(float32=_hypot_single, float64=_hypot_double)
def hypot(x, y):
    """sqrt(x^2 + y^2) without overflow or underflow on the way.

    Error: 0.5 ulp in float32, 0.5 in float64.
    """


@inline
def hypot_grad_x(x, out):
    """d hypot(x, y) / dx = x / hypot(x, y)."""
    return x / out


@inline
def hypot_grad_y(y, out):
    """d hypot(x, y) / dy = y / hypot(x, y)."""
    return y / out


# ----------------------------------------------------------------------------------- remainders


@intrinsic
def _rest(typing, x, y):
    """LLVM's remainder of a division."""

    def codegen(context, builder, sig, args):
        return builder.frem(args[0], args[1])

    return x(x, x), codegen


@_rest.in_python
def _(x: Any, y: Any) -> Any:
    return np.fmod(x, y)


@inline
def quotient_is_whole(x, y):
    """Whether the type of x holds trunc(x / y), or its neighbour, exactly."""
    return fabs(x) < fabs(y) * const(y, (2.0**22, 2.0**51))


@inline
def fmod_near(x, y):
    """:func:`fmod` of quotients that are whole: every step but the division is exact."""
    zero = cast(0.0, x)
    a, b = fabs(x), fabs(y)
    rest = fma(-trunc(a / b), b, a)
    rest = select(rest < zero, rest + b, rest)  # where a / b was rounded up to an integer
    return copysign(select(b < cast(math.inf, x), rest, a), x)


@mostly(fmod_near, quotient_is_whole)
@inline
def fmod(x, y):
    """x - y trunc(x / y), exact, with the sign of x (C's fmod, which it calls)."""
    return _rest(x, y)


@inline
def fmod_grad_y(x, y):
    """d fmod(x, y) / dy = -trunc(x / y)."""
    return -trunc(x / y)


@inline
def _towards(rest, y):
    """The remainder of y's sign, from one of the dividend's."""
    zero = cast(0.0, y)
    return select((rest != zero) & ((rest < zero) != (y < zero)), rest + y, rest)


@inline
def remainder_near(x, y):
    """:func:`remainder` of quotients that are whole."""
    return _towards(fmod_near(x, y), y)


@mostly(remainder_near, quotient_is_whole)
@inline
def remainder(x, y):
    """x - y floor(x / y) with the sign of y (Python's %)."""
    return _towards(_rest(x, y), y)


@inline
def remainder_grad_y(x, y):
    """d remainder(x, y) / dy = -floor(x / y), -1 below a quotient that rounds to 0; NaN where the
    remainder is.
    """
    zero, one = cast(0.0, x), cast(1.0, x)
    quotient = x / y
    below = (quotient == zero) & (x != zero) & ((x < zero) != (y < zero))
    whole = select(below, -one, floor(quotient))
    return select((x - x == zero) | (y == zero), -whole, (x - x) * quotient)


# -------------------------------------------------------------------------- sums of exponentials


@inline
def _larger_and_gap(x, y):
    """(the larger, -|x - y|), the gap 0 for equal infinities."""
    return select(x < y, y, x), -fabs(select(x == y, cast(0.0, x), x - y))


@inline
def logaddexp(x, y):
    """log(e^x + e^y).

    Error: 2.3 ulp in float32, 2.4 in float64 of the largest of x, y and the result.
    """
    larger, gap = _larger_and_gap(x, y)
    return larger + log1p(exp_decay(gap))


@inline
def logaddexp_grad_x(x, y):
    """d logaddexp(x, y) / dx = sigmoid(x - y)."""
    return sigmoid(x - y)


@inline
def logaddexp_grad_y(x, y):
    """d logaddexp(x, y) / dy = sigmoid(y - x)."""
    return sigmoid(y - x)


@inline
def logaddexp2(x, y):
    """log2(2^x + 2^y).

    Error: 2.3 ulp in float32, 2.2 in float64 of the largest of x, y and the result.
    """
    larger, gap = _larger_and_gap(x, y)
    return larger + log1p(exp2(gap)) * const(x, LOG2E_HIGH)


@inline
def logaddexp2_grad_x(x, y):
    """d logaddexp2(x, y) / dx = sigmoid((x - y) ln 2)."""
    return sigmoid((x - y) * const(x, LN2_HIGH))


@inline
def logaddexp2_grad_y(x, y):
    """d logaddexp2(x, y) / dy = sigmoid((y - x) ln 2)."""
    return sigmoid((y - x) * const(x, LN2_HIGH))


@inline
def xlogy(x, y):
    """x log(y), 0 where x = 0 unless y is NaN.

    Error: 1.66 ulp in float32, 1.52 in float64.
    """
    zero = cast(0.0, x)
    return select((x == zero) & (y == y), zero, x * log(y))


@inline
def xlogy_grad_x(g, x, y):
    """g d xlogy(x, y) / dx = g log(y), 0 where x = 0 and y <= 0, or where g = 0 unless y is NaN."""
    zero = cast(0.0, x)
    return select((x == zero) & (y <= zero), zero, xlogy(g, y))


@inline
def xlogy_grad_y(x, y):
    """d xlogy(x, y) / dy = x / y."""
    return x / y
