"""Trigonometric functions: scalar formulas for float32 and float64.

All are free of branches and calls over the whole range.
"""

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
    rint,
    select,
    turn_quarters,
)
from tilegrad.kernels.formulas.quadrants import (
    HALF_PI_1,
    HALF_PI_2,
    HALF_PI_3,
    is_large,
    is_near,
    large_angle,
    large_single,
    quarter,
    quarter_near,
)
from tilegrad.kernels.function import by_type, inline, mostly

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


@inline
def _sine(r, low):
    """sin(r + low) on |r| <= pi / 4; low is below the last place of r."""
    z = r * r
    return r + fma(r * z, polynomial(z, _SIN), low)


@inline
def _cosine(r, low):
    """cos(r + low) on |r| <= pi / 4; low is below the last place of r."""
    one, half = cast(1.0, r), cast(0.5, r)
    z = r * r
    near = fma(-half, z, one)
    lost = fma(-half, z, one - near)
    return near + (fma(z * z, polynomial(z, _COS), lost) - r * low)


@inline
def sin_near(x):
    """:func:`sin`, to the bit, of x that are not large."""
    r, low, n = quarter_near(x)
    return select(x == cast(0.0, x), x, turn_quarters(n, _sine(r, low), _cosine(r, low)))


@inline
def cos_near(x):
    """:func:`cos`, to the bit, of x that are not large."""
    r, low, n = quarter_near(x)
    return turn_quarters(n + cast(1.0, x), _sine(r, low), _cosine(r, low))


@inline
def _tan_quotient_single(x, r, n):
    """sin / cos of n quarter turns and r in float64, with the sign of x, as a float32."""
    z = r * r
    s = fma(r * z, polynomial(z, (_SIN[0], _SIN[0])), r)
    c = fma(z * z, polynomial(z, (_COS[0], _COS[0])), fma(z, np.float64(-0.5), np.float64(1)))
    result = turn_quarters(n, s, c) / turn_quarters(n + np.float64(1), s, c)
    return copysign(np.float32(1), x) * np.float32(result)


@inline
def _tan_near_single(x):
    """In double precision, whose reduction is exact enough for the quotient."""
    r, _, n = quarter_near(np.float64(fabs(x)))
    return _tan_quotient_single(x, r, n)


@inline
def _tan_single(x):
    r, _, n = quarter_near(np.float64(fabs(x)))
    far, quarters = large_single(x)
    large = is_large(fabs(x))
    return _tan_quotient_single(x, select(large, far, r), select(large, quarters, n))


@inline
def _quarter_exact(x):
    """As :func:`quarter_near` for float64, with all that r does not hold in low."""
    n = rint(x * np.float64(2 / math.pi))
    first = fma(n, -np.float64(HALF_PI_1[1]), x)
    product = n * np.float64(HALF_PI_2[1])
    r = first - product
    back = r - first
    low = (first - (r - back)) - (product + back)
    low -= fma(n, np.float64(HALF_PI_2[1]), -product) + n * np.float64(HALF_PI_3[1])
    return r, low, n


@inline
def _tan_quotient(r, low, n):
    """sin / cos of n quarter turns and r + low, each as a sum of two float64."""
    one, half = np.float64(1), np.float64(0.5)
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
    return fma(missing, inverse, result)


@inline
def _tan_near_double(x):
    r, low, n = _quarter_exact(x)
    return select(x == np.float64(0), x, _tan_quotient(r, low, n))


@inline
def _tan_double(x):
    a = fabs(x)
    r, low, n = _quarter_exact(a)
    high, rest, quarters = large_angle(x)
    large = is_large(a)
    result = _tan_quotient(
        select(large, high, r), select(large, rest, low), select(large, quarters, n)
    )
    return select(x < np.float64(0), -result, select(x == np.float64(0), x, result))


@mostly(sin_near, is_near)
@inline
def sin(x):
    """The sine.

    Error: 1.52 ulp in float32, 1.48 in float64.
    """
    r, low, n = quarter(x)
    result = turn_quarters(n, _sine(r, low), _cosine(r, low))
    return select(x < cast(0.0, x), -result, select(x == cast(0.0, x), x, result))


@inline
def sin_grad(x):
    """d sin(x) / dx = cos(x)."""
    return cos(x)


@mostly(cos_near, is_near)
@inline
def cos(x):
    """The cosine.

    Error: 1.5 ulp in float32, 1.5 in float64.
    """
    r, low, n = quarter(x)
    return turn_quarters(n + cast(1.0, x), _sine(r, low), _cosine(r, low))


@inline
def cos_grad(x):
    """d cos(x) / dx = -sin(x)."""
    return -sin(x)


@by_type(float32=_tan_near_single, float64=_tan_near_double)
def tan_near(x):
    """:func:`tan`, to the bit, of x that are not large."""


@mostly(tan_near, is_near)
@by_type(float32=_tan_single, float64=_tan_double)
def tan(x):
    """The tangent.

    Error: 0.57 ulp in float32, 1.07 in float64.
    """


@inline
def tan_grad(out):
    """d tan(x) / dx = 1 + tan(x)^2."""
    return fma(out, out, cast(1.0, out))


@inline
def _times_pi(x):
    """(high, low) with the sum ``pi x``."""
    pi, pi_low = const(x, HALF_PI_1) * cast(2.0, x), const(x, HALF_PI_2) * cast(2.0, x)
    high = x * pi
    return high, fma(x, pi, -high) + x * pi_low


@inline
def _turn_pi(x, quarters):
    """sin(pi x + quarters pi / 2); the multiples of 1 / 2 leave x, exactly, before pi comes in."""
    x -= cast(2.0, x) * rint(x * cast(0.5, x))
    n = rint(x + x)
    r, low = _times_pi(fma(n, cast(-0.5, x), x))
    return turn_quarters(n + quarters, _sine(r, low), _cosine(r, low))


@inline
def sin_pi(x):
    """sin(pi x), 0 at the integers.

    Error: 0.84 ulp in float32, 0.74 in float64.
    """
    return _turn_pi(x, cast(0.0, x))


@inline
def sin_pi_grad(x):
    """d sin(pi x) / dx = pi cos(pi x)."""
    return cast(math.pi, x) * cos_pi(x)


@inline
def cos_pi(x):
    """cos(pi x), 0 halfway between the integers.

    Error: 0.84 ulp in float32, 0.75 in float64.
    """
    return _turn_pi(x, cast(1.0, x))


@inline
def cos_pi_grad(x):
    """d cos(pi x) / dx = -pi sin(pi x)."""
    return cast(-math.pi, x) * sin_pi(x)


@inline
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0; its series near 0.

    Error: 1.88 ulp in float32, 1.91 in float64.
    """
    one, whole = cast(1.0, x), cast(2.0**60, x)
    below, below_low = _times_pi(select(fabs(x) > whole, whole, x))  # pi x may overflow
    result = sin_pi(x) / below
    result = fma(-result, below_low / below, result)
    z = below * below
    near = fma(z, fma(z, cast(1 / 120, x), cast(-1 / 6, x)), one)
    return select(fabs(x) < cast(1e-3, x), near, result)


@inline
def sinc_grad(x):
    """d sinc(x) / dx = (cos(pi x) - sinc(x)) / x; its series near 0."""
    t = x * cast(math.pi, x)
    near = polynomial(t * t, (_SINC_GRAD, _SINC_GRAD)) * (t * cast(math.pi, x))
    return select(fabs(x) < cast(0.25, x), near, (cos_pi(x) - sinc(x)) / x)
