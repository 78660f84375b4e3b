"""Exponentials, logarithms and what follows from them: scalar formulas for float32 and float64.

Every formula is free of branches and calls, so loops over it are vectorised, and each follows C99
Annex F for zeros, infinities, NaN and the ends of the range. The error stated with a function, here
and in the modules beside this one, is the largest found in units in the last place of the exact
result: over 2^24 evenly spaced bit patterns in float32, over 10^5 to 10^6 random numbers and those
close to the hard ones in float64.

Derivatives stand beside their functions; their parameters say what they read: ``x`` and ``y`` the
inputs, ``out`` the function's result.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.primitives import (
    cast,
    clamp,
    const,
    copysign,
    fabs,
    fma,
    parts,
    polynomial,
    power2,
    rint,
    scale2,
    select,
    split,
)
from tilegrad.kernels.function import by_type, inline

# ln 2, log2 e, log10 e and log10 2 to 60 digits; below, each as a sum of floats
_LN2 = "0.693147180559945309417232121458176568075500134360255254120680009"
_LOG2E = "1.442695040888963407359924681001892137426645954152985934135449407"
_LOG10E = "0.434294481903251827651128918916605082294397005803666566114453783"
_LOG10_2 = "0.301029995663981195213738894724493026768189881462108541310427461"

LN2_HIGH, LN2_LOW = zip(parts(_LN2, np.float32, 2), parts(_LN2, np.float64, 2))
LOG2E_HIGH, LOG2E_LOW = zip(parts(_LOG2E, np.float32, 2), parts(_LOG2E, np.float64, 2))
LOG10E_HIGH, LOG10E_LOW = zip(parts(_LOG10E, np.float32, 2), parts(_LOG10E, np.float64, 2))
# the high part short enough that its product with any exponent is exact
LOG10_2_HIGH = (math.ldexp(round(math.ldexp(float(_LOG10_2), 14)), -14),) * 2
LOG10_2_LOW = (float(_LOG10_2) - LOG10_2_HIGH[0],) * 2
LN10 = math.log(10)

# (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, minimax in the relative error of e^r - 1
EXPM1 = (
    (0.5, 0.166666359, 0.0416665114, 0.00834151171, 0.00139305426, 0.000150440232),
    (
        0.5,
        0.16666666666666677,
        0.04166666666666669,
        0.00833333333332178,
        0.0013888888888888627,
        0.00019841269885293645,
        2.4801587289376136e-05,
        2.755724528253634e-06,
        2.755732194518459e-07,
        2.5108620933259745e-08,
        2.089576375011855e-09,
    ),
)
# for float32 also minimax in the relative error of e^r, which asks for one term less
_EXP = ((0.5, 0.166664883, 0.0416655503, 0.00837228447, 0.00140360417), EXPM1[1])
# logarithms take the mantissa from [_PIVOT, 2 _PIVOT)
_PIVOT = (2 / 3, math.sqrt(0.5))
# (log(1 + f) - f + f^2 / 2) / f^3 on |f| <= 1/3
_LOG_SINGLE = (
    0.333333343,
    -0.249998108,
    0.199997649,
    -0.166800857,
    0.142989531,
    -0.121878609,
    0.108220473,
    -0.128826007,
    0.11728397,
)
# (2 atanh(sqrt z) / sqrt z - 2) / z on 0 <= z <= (3 - 2 sqrt 2)^2
_ATANH_DOUBLE = (
    0.6666666666666734,
    0.39999999999416536,
    0.2857142874206794,
    0.22222198599664103,
    0.18183563188725049,
    0.15314074920550291,
    0.14795744252330048,
)
# (tanh(sqrt z) / sqrt z - 1) / z on 0 <= z <= 0.625^2
_TANH = (
    (-0.333333313, 0.133332208, -0.0539481789, 0.021706894, -0.00819001347, 0.00215268391),
    (
        -0.33333333333333315,
        0.1333333333332996,
        -0.05396825396614964,
        0.02186948847070763,
        -0.00886323433891039,
        0.0035921142240626434,
        -0.0014557272203026756,
        0.0005894566626718499,
        -0.00023702410781449226,
        9.157851444552968e-05,
        -3.0206073584721187e-05,
        6.0502373092149065e-06,
    ),
)


# -------------------------------------------------------------------------------- exponentials


@inline
def _reduce_exp(x):
    """(n, r) with ``x == n ln 2 + r``, n an integer and ``|r| <= ln(2) / 2``."""
    n = rint(x * const(x, LOG2E_HIGH))
    r = fma(n, -const(x, LN2_HIGH), x)
    return n, fma(n, -const(x, LN2_LOW), r)


@inline
def exp_parts(x):
    """(y, n) with ``e^x == y * 2**n``, y in [0.7, 1.42]."""
    n, r = _reduce_exp(x)
    return cast(1.0, x) + fma(r * r, polynomial(r, _EXP), r), n


@inline
def exp(x):
    """e^x.

    Error: 1.01 ulp in float32, 0.97 in float64.
    """
    y, n = exp_parts(clamp(x, const(x, (-104.0, -746.0)), const(x, (89.0, 710.0))))
    return scale2(y, n)


@inline
def half_exp(x):
    """e^x / 2, which overflows later than e^x."""
    y, n = exp_parts(clamp(x, const(x, (-104.0, -746.0)), const(x, (90.0, 711.0))))
    return scale2(y, n - cast(1.0, x))


@inline
def exp_decay(x):
    """e^x of x <= 0, in fewer steps; to the bit that of :func:`exp`."""
    least = const(x, (-104.0, -746.0))
    y, n = exp_parts(select(x < least, least, x))
    return y * power2(n + const(x, (24.0, 54.0))) * const(x, (2.0**-24, 2.0**-54))


@inline
def exp_within(x):
    """e^x where it is a normal number below the largest power of 2, in the fewest steps."""
    y, n = exp_parts(x)
    return y * power2(n)


@inline
def exp_grad(out):
    """d e^x / dx = e^x."""
    return out


@inline
def exp2(x):
    """2^x.

    Error: 1.02 ulp in float32, 1.04 in float64.
    """
    kept = clamp(x, const(x, (-151.0, -1076.0)), const(x, (129.0, 1025.0)))
    n = rint(kept)
    part = kept - n
    r = part * const(x, LN2_HIGH)
    tail = fma(r * r, polynomial(r, _EXP), r)
    return scale2(cast(1.0, x) + tail, n)


@inline
def exp2_grad(out):
    """d 2^x / dx = ln 2 * 2^x."""
    return out * const(out, LN2_HIGH)


@inline
def expm1(x):
    """e^x - 1, accurate near 0.

    Error: 1.21 ulp in float32, 1.44 in float64.
    """
    one = cast(1.0, x)
    kept = clamp(x, const(x, (-20.0, -40.0)), const(x, (89.0, 710.0)))
    n, r = _reduce_exp(kept)
    rest = r * r * polynomial(r, EXPM1)
    # half of 2^n (r + rest) + 2^n - 1, since 2^n alone may overflow; the sum in two parts
    power = power2(n - one)
    base = power - cast(0.5, x)
    step = power * r
    total = base + step
    lost = step - (total - base)
    half = total + fma(power, rest, lost)
    return select(x == cast(0.0, x), x, half + half)


@inline
def expm1_grad(out):
    """d (e^x - 1) / dx = e^x."""
    return out + cast(1.0, out)


# ---------------------------------------------------------------------------------- logarithms


@inline
def _log_rest_single(f):
    """log(1 + f) - f on |f| <= 1/3."""
    return f * f * fma(f, polynomial(f, (_LOG_SINGLE, _LOG_SINGLE)), cast(-0.5, f))


@inline
def _log_rest_double(f):
    """log(1 + f) - f for 1 + f in [0.7, 1.42], by s = f / (2 + f): log(1 + f) = 2 atanh(s) (fdlibm)."""
    s = f / (np.float64(2) + f)
    z = s * s
    half = np.float64(0.5) * f * f
    series = z * polynomial(z, (_ATANH_DOUBLE, _ATANH_DOUBLE))
    return fma(s, half + series, -half)


@by_type(float32=_log_rest_single, float64=_log_rest_double)
def _log_rest(f):
    """log(1 + f) - f where 1 + f is a mantissa from _PIVOT on."""


@inline
def _log_ends(x, result):
    """``result`` where 0 < x < inf, else what a logarithm is there."""
    zero, infinity = cast(0.0, x), cast(math.inf, x)
    other = select(x == zero, -infinity, cast(math.nan, x))
    return select(x > zero, select(x < infinity, result, x), other)


@inline
def _log_sum(f, e):
    """log(1 + f) + e ln 2."""
    rest = fma(e, const(f, LN2_LOW), _log_rest(f))
    base = e * const(f, LN2_HIGH)
    total = base + f
    lost = f - (total - base) + fma(e, const(f, LN2_HIGH), -base)
    return total + (rest + lost)


@inline
def log(x):
    """The natural logarithm.

    Error: 0.8 ulp in float32, 0.85 in float64.
    """
    m, e = split(x, const(x, _PIVOT))
    return _log_ends(x, _log_sum(m - cast(1.0, x), e))


@inline
def log_grad(x):
    """d log(x) / dx = 1 / x."""
    return cast(1.0, x) / x


@inline
def log1p(x):
    """log(1 + x), accurate near 0.

    Error: 1.54 ulp in float32, 1.34 in float64.
    """
    one = cast(1.0, x)
    _, e = split(one + x, const(x, _PIVOT))
    # (1 + x) 2^-e - 1 rounded once; the quarter keeps 2^-e normal for the largest x
    power, quarter = power2(cast(2.0, x) - e), cast(0.25, x)
    f = fma(x * quarter, power, fma(power, quarter, -one))
    result = _log_ends(one + x, _log_sum(f, e))
    return select(fabs(x) < const(x, (2.0**-26, 2.0**-55)), x, result)


@inline
def log1p_grad(x):
    """d log(1 + x) / dx = 1 / (1 + x)."""
    return cast(1.0, x) / (cast(1.0, x) + x)


@inline
def _log_to_base(x, high, low, base_high, base_low):
    """``log(x) * (high + low)``, where log 2 of that base is ``base_high + base_low``."""
    m, e = split(x, const(x, _PIVOT))
    f = m - cast(1.0, x)
    rest = _log_rest(f)
    total = f + rest
    lost = (f - total) + rest
    product = total * high
    extra = fma(total, high, -product) + fma(total, low, lost * high)
    base = e * base_high
    result = base + product
    return _log_ends(x, result + ((product - (result - base)) + fma(e, base_low, extra)))


@inline
def log2(x):
    """The logarithm to base 2; exact for powers of 2.

    Error: 0.9 ulp in float32, 0.9 in float64.
    """
    high, low = const(x, LOG2E_HIGH), const(x, LOG2E_LOW)
    return _log_to_base(x, high, low, cast(1.0, x), cast(0.0, x))


@inline
def log2_grad(x):
    """d log2(x) / dx = 1 / (x ln 2)."""
    return cast(1.0, x) / (x * const(x, LN2_HIGH))


@inline
def log10(x):
    """The logarithm to base 10.

    Error: 0.72 ulp in float32, 0.81 in float64.
    """
    high, low = const(x, LOG10E_HIGH), const(x, LOG10E_LOW)
    return _log_to_base(x, high, low, const(x, LOG10_2_HIGH), const(x, LOG10_2_LOW))


@inline
def log10_grad(x):
    """d log10(x) / dx = 1 / (x ln 10)."""
    return cast(1.0, x) / (x * cast(LN10, x))


# ------------------------------------------------------------- sigmoids and hyperbolic functions


@inline
def sigmoid(x):
    """1 / (1 + e^-x), by e^-|x| so that nothing overflows.

    Error: 1.76 ulp in float32, 1.88 in float64.
    """
    one = cast(1.0, x)
    t = exp_decay(-fabs(x))
    total = one + t
    lost = t - (total - one)
    result = select(x < cast(0.0, x), t, one) / total
    # less what the sum lost, over 1 + t, with 1 / (1 + t) as 1 - t / 2
    return fma(-result, lost * fma(t, cast(-0.5, x), one), result)


@inline
def sigmoid_grad(out):
    """d sigmoid(x) / dx = s (1 - s)."""
    return out * (cast(1.0, out) - out)


@inline
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|).

    Error: 1.85 ulp in float32, 1.63 in float64.
    """
    zero = cast(0.0, x)
    return select(x > zero, x, zero) + log1p(exp_decay(-fabs(x)))


@inline
def softplus_grad(x):
    """d softplus(x) / dx = sigmoid(x)."""
    return sigmoid(x)


@inline
def tanh(x):
    """The hyperbolic tangent: an odd polynomial below 0.625, else 1 - 2 / (e^2|x| + 1).

    Error: 1.3 ulp in float32, 1.32 in float64.
    """
    one, two = cast(1.0, x), cast(2.0, x)
    a = fabs(x)
    z = x * x
    near = fma(a * z, polynomial(z, _TANH), a)
    far = one - two / (exp_within(two * clamp(a, cast(0.0, x), const(x, (10.0, 20.0)))) + one)
    return copysign(select(a < const(x, (0.625, 0.625)), near, far), x)


@inline
def tanh_grad(out):
    """d tanh(x) / dx = 1 - tanh(x)^2."""
    return fma(-out, out, cast(1.0, out))
