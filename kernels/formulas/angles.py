"""Inverse trigonometric functions: scalar formulas for float32 and float64."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.primitives import (
    cast,
    const,
    copysign,
    fabs,
    fma,
    polynomial,
    select,
    sqrt,
)
from tilegrad.kernels.formulas.quadrants import HALF_PI_1, HALF_PI_2
from tilegrad.kernels.function import by_type, inline

# (atan(sqrt z) / sqrt z - 1) / z on 0 <= z <= 1
_ATAN = (
    (
        -0.333332986,
        0.199985296,
        -0.142640159,
        0.109508775,
        -0.0839927644,
        0.0578803048,
        -0.0310951415,
        0.0108671961,
        -0.00178235874,
    ),
    (
        -0.33333333333333287,
        0.19999999999990617,
        -0.14285714285044962,
        0.1111111108666984,
        -0.09090908550977166,
        0.07692299754112408,
        -0.06666584067939492,
        0.05881718244213331,
        -0.05259443430516811,
        0.04744960592524654,
        -0.04286487597562304,
        0.03821220505706455,
        -0.03278918368676429,
        0.026156873475017745,
        -0.018619870567605393,
        0.011322442357937662,
        -0.0056154611999200636,
        0.0021530339406157957,
        -0.0005933633295458888,
        0.00010396623989430707,
        -8.6630106144109e-06,
    ),
)
# (asin(sqrt z) / sqrt z - 1) / z on 0 <= z <= 1/4
_ASIN = (
    (0.166666597, 0.0750052184, 0.0445133857, 0.0318387784, 0.0143175721, 0.0376898162),
    (
        0.1666666666666676,
        0.07499999999970865,
        0.04464285717456264,
        0.030381942709780275,
        0.02237221493828482,
        0.017351612810815584,
        0.013980811812253168,
        0.011398978320191296,
        0.010779907237757912,
        0.0037076345450808247,
        0.021704629938665697,
        -0.02099527830433672,
        0.03262636792960598,
    ),
)


@inline
def _atan_rest(q):
    """atan(q) - q on 0 <= q <= 1."""
    z = q * q
    return q * z * polynomial(z, _ATAN)


@inline
def atan(x):
    """The angle in [-pi / 2, pi / 2] with tangent x; beyond 1 from that of 1 / x.

    Error: 1.08 ulp in float32, 1.16 in float64.
    """
    a, one = fabs(x), cast(1.0, x)
    steep = a > one
    q = select(steep, one / a, a)
    rest = _atan_rest(q)
    right = const(x, HALF_PI_1)
    total = right - q
    beyond = total + (((right - total) - q) + (const(x, HALF_PI_2) - rest))
    return copysign(select(steep, beyond, q + rest), x)


@inline
def atan_grad(x):
    """d atan(x) / dx = 1 / (1 + x^2)."""
    return cast(1.0, x) / fma(x, x, cast(1.0, x))


@inline
def _angle(x, y, q, rest):
    """The angle of the point (y, x), whose smaller over larger side has the angle q + rest."""
    zero = cast(0.0, q)
    steep = fabs(x) > fabs(y)
    left = copysign(cast(1.0, y), y) < cast(0.0, y)
    right, right_low = const(q, HALF_PI_1), const(q, HALF_PI_2)
    base = select(steep, right, select(left, right + right, zero))
    base_low = select(steep, right_low, select(left, right_low + right_low, zero))
    back = steep != left
    q, rest = select(back, -q, q), select(back, -rest, rest)
    total = base + q
    return total + ((q - (total - base)) + (base_low + rest))


@inline
def _sides(x, y):
    """(smaller, larger) of |x| and |y|; (1, 1) if both are infinite."""
    a, b = fabs(x), fabs(y)
    one, infinity = cast(1.0, x), cast(math.inf, x)
    both = (a == infinity) & (b == infinity)
    small, large = select(a > b, b, a), select(a > b, a, b)
    return select(both, one, small), select(both, one, large)


@inline
def _atan2_single(x, y):
    small, large = _sides(x, y)
    q = np.float64(small) / np.float64(large)
    q = select(small == np.float32(0), np.float64(0), q)
    z = q * q
    rest = q * z * polynomial(z, (_ATAN[0], _ATAN[0]))
    angle = copysign(np.float32(_angle(x, y, q, rest)), x)
    return select((x != x) | (y != y), x + y, angle)


@inline
def _atan2_double(x, y):
    one, zero = np.float64(1), np.float64(0)
    small, large = _sides(x, y)
    # keep the inverse of the larger side in range
    scale = select(large > np.float64(2.0**900), np.float64(2.0**-200), one)
    scale = select(large < np.float64(2.0**-900), np.float64(2.0**200), scale)
    small, large = small * scale, large * scale
    inverse = one / large
    q = small * inverse
    low = fma(-q, large, small) * inverse
    q = select(small == zero, zero, q)
    low = select((small > zero) & (large < np.float64(math.inf)), low, zero)
    rest = fma(low, fma(q * q, np.float64(-0.5), one), _atan_rest(q))
    return select((x != x) | (y != y), x + y, copysign(_angle(x, y, q, rest), x))


@by_type(float32=_atan2_single, float64=_atan2_double)
def atan2(x, y):
    """The angle in [-pi, pi] of the point with ordinate x and abscissa y (in C's order).

    Error: 0.55 ulp in float32, 1.07 in float64.
    """


@inline
def atan2_grad_x(g, x, y):
    """g d atan2(x, y) / dx = g y / (x^2 + y^2); g times 0 at the origin."""
    T = type(x)
    return g * (T(0) if x == T(0) and y == T(0) else y / fma(x, x, y * y))


@inline
def atan2_grad_y(g, x, y):
    """g d atan2(x, y) / dy = g -x / (x^2 + y^2); g times 0 at the origin."""
    T = type(x)
    return g * (T(0) if x == T(0) and y == T(0) else -x / fma(x, x, y * y))


@inline
def _asin_rest(a, z):
    """asin(a) - a on 0 <= a <= 1/2, with z = a^2."""
    return a * z * polynomial(z, _ASIN)


@inline
def asin(x):
    """The angle in [-pi / 2, pi / 2] with sine x; above 1/2 by pi/2 - 2 asin(sqrt((1 - x) / 2)).

    Error: 1.07 ulp in float32, 1.09 in float64.
    """
    a, half = fabs(x), cast(0.5, x)
    wide = a > half
    z = select(wide, half - half * a, a * a)
    root = select(wide, sqrt(z), a)
    rest = _asin_rest(root, z)
    right = const(x, HALF_PI_1)
    total = right - (root + root)
    beyond = total + (((right - total) - (root + root)) + (const(x, HALF_PI_2) - (rest + rest)))
    return copysign(select(wide, beyond, root + rest), x)


@inline
def asin_grad(x):
    """d asin(x) / dx = 1 / sqrt(1 - x^2)."""
    one = cast(1.0, x)
    return one / sqrt((one - x) * (one + x))


@inline
def acos(x):
    """The angle in [0, pi] with cosine x.

    Error: 1.07 ulp in float32, 1.08 in float64.
    """
    a, half, zero = fabs(x), cast(0.5, x), cast(0.0, x)
    wide = a > half
    z = select(wide, half - half * a, a * a)
    root = select(wide, sqrt(z), a)
    rest = _asin_rest(root, z)
    # base -+ (root + rest), twice that beyond 1/2
    right, right_low = const(x, HALF_PI_1), const(x, HALF_PI_2)
    left = x < zero
    base = select(wide, select(left, right + right, zero), right)
    base_low = select(wide, select(left, right_low + right_low, zero), right_low)
    root, rest = select(wide, root + root, root), select(wide, rest + rest, rest)
    back = wide == left
    root, rest = select(back, -root, root), select(back, -rest, rest)
    total = base + root
    return total + ((root - (total - base)) + (base_low + rest))


@inline
def acos_grad(x):
    """d acos(x) / dx = -1 / sqrt(1 - x^2)."""
    one = cast(1.0, x)
    return -one / sqrt((one - x) * (one + x))
