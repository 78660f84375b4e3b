"""The regularized incomplete gamma functions: scalar formulas for float32 and float64.

Below a = 12, P of x <= max(a + 1, 2) by its power series and Q beyond by Stieltjes' continued fraction, both times
``x^a e^-x / gamma(a + 1)``; Q of small a and x by a series of its own. From a = 12 on both by Temme's uniform
expansion where x is near a, and as below where it is not. What is later subtracted, and exponents, are kept as two
numbers; where float32 asks for one, the compiler leaves the other out.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import plus, product, quotient, with_heads
from tilegrad.kernels.formulas.gamma import digamma, lgamma_near
from tilegrad.kernels.formulas.powers import log2_pair
from tilegrad.kernels.formulas.primitives import (
    fabs,
    fma,
    polynomial,
    power2,
    rint,
    scale2,
    select,
    sqrt,
)
from tilegrad.kernels.formulas.special import exp_pair
from tilegrad.kernels.formulas.temme import LOWEST, exponent, near
from tilegrad.kernels.formulas.transcendental import LN2_HIGH, LN2_LOW, LOG2E_HIGH, exp, log
from tilegrad.kernels.function import by_type, inline, mostly

_END = 2.0**-58  # of series, in float64
_END_SHORT = 2.0**-32
_LARGE = 12.0  # from which a on there is the uniform expansion
# log gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2, as a series in 1 / a^2, over a
_STIRLING = tuple(
    b / ((2 * k + 2) * (2 * k + 1))
    for k, b in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6))
)
# 1 / gamma(y + 1) on 0 <= y <= 1 in y - 1 / 2: the first coefficients in two numbers, and the others
_RGAMMA_HEADS = (
    (1.1283791670955126, 1.533545961316588e-17),
    (-0.0411745264452831, -2.280998820005396e-18),
    (-0.5266544355255445, -6.406844323008305e-18),
    (0.17510202604393435, 1.3290062106077522e-18),
)
_RGAMMA = (
    0.050966860247706136,
    -0.04215516936852384,
    0.006612897826820958,
    0.0021207314422774662,
    -0.0011107302545151887,
    0.00015235762470316286,
    2.535520386106474e-05,
    -1.3896835437533617e-05,
    2.1562113294434155e-06,
    5.8070298070884785e-08,
    -8.917014541433564e-08,
    1.6813402437575466e-08,
    -8.521820446681207e-10,
)
# log(gamma(a + 1)) / a on 0 <= a <= 1 / 2, likewise
_LGAMMA_HEADS = (
    (-0.5772156649015329, 5.094447140966304e-18),
    (0.822467033424113, 4.0719903058649936e-17),
    (-0.40068563438648896, 9.50782042972145e-18),
    (0.27058080842413595, 1.6581411634588175e-17),
)
_LGAMMA = (
    -0.20738555086285299,
    0.16955717239554227,
    -0.14404981187422422,
    0.12550856973787153,
    -0.11132388170757912,
    0.10002613345156848,
    -0.0905598793431525,
    0.08172167936666096,
    -0.07168522041289471,
    0.05826979381910883,
    -0.040779157312008804,
    0.02221148943216459,
    -0.008111438344538497,
    0.001455912627655452,
)
# (e^r - 1 - r - r^2 / 2) / r^3 on |r| <= ln(2) / 2
_EXP = (
    0.16666666666666669,
    0.041666666666666664,
    0.008333333333329994,
    0.0013888888888886504,
    0.00019841269863392214,
    2.48015873173863e-05,
    2.7557267935231926e-06,
    2.755728259480407e-07,
    2.5100634461878497e-08,
    2.0911414421956654e-09,
)


@inline
def _natural(high, low):
    """A logarithm of base 2 in two parts as a natural one."""
    return product(high, low, np.float64(LN2_HIGH[1]), np.float64(LN2_LOW[1]))


@inline
def _exp(high, low):
    """(t, t_low, n) with ``e^(high + low) == (1 + t + t_low) * 2**n``, to 2^-60."""
    half = np.float64(0.5)
    n = rint(high * np.float64(LOG2E_HIGH[1]))
    first = fma(n, -np.float64(LN2_HIGH[1]), high)
    second = fma(n, -np.float64(LN2_LOW[1]), low)
    r = first + second
    r_low = second - (r - first)
    square, square_low = product(r, r_low, r, r_low)
    rest = fma(square * r, polynomial(r, (_EXP, _EXP)), fma(half, square_low, r_low))
    t = fma(half, square, r)
    t_low = fma(half, square, r - t) + rest
    made = t + t_low
    return made, t_low - (made - t), n


# ------------------------------------------------------------------- x^a e^-x / gamma(a + 1)


@inline
def _power(a, x, less):
    """(m, m_low, n) with ``x^(a - less) e^-x / gamma(a + 1) == (m + m_low) * 2**n``, of a < 12."""
    zero, one, half = np.float64(0), np.float64(1), np.float64(0.5)
    log_high, log_low = log2_pair(x)
    log_high, log_low = _natural(log_high, log_low)
    power, power_low = plus(a, zero, -less)
    high, low = product(log_high, log_low, power, power_low)
    high, low = plus(high, low, -x)
    if not high > np.float64(LOWEST):
        return zero, zero, zero
    t, t_low, n = _exp(high, low)
    # 1 / gamma(a + 1) by recurrence to [1, 2]
    y, factor, factor_low = a, one, zero
    while y > one:
        factor, factor_low = product(factor, factor_low, y, zero)
        y -= one
    y -= half
    inverse, inverse_low = with_heads(y, _RGAMMA_HEADS, polynomial(y, (_RGAMMA, _RGAMMA)))
    inverse, inverse_low = quotient(inverse, inverse_low, factor, factor_low)
    whole = one + t
    m, m_low = product(whole, t - (whole - one) + t_low, inverse, inverse_low)
    return m, m_low, n


@inline
def _over_stirling(high, low, a):
    """(m, n) with ``e^(high + low)`` over sqrt(2 pi a) and Stirling's series of a >= 12 as ``m * 2**n``."""
    if not high > np.float64(LOWEST):
        return np.float64(0), np.float64(0)
    inverse = np.float64(1) / a
    low -= inverse * polynomial(inverse * inverse, (_STIRLING, _STIRLING))
    y, y_low, n = exp_pair(high, low)
    return (y + y_low) / sqrt(np.float64(2 * math.pi) * a), n


@inline
def _large_power(a, x, less):
    """The same of a >= 12, times a^less: e to ``(a - less) log(x / a) + a - x`` over Stirling's series; (m, 0, n)."""
    zero = np.float64(0)
    if x < a * np.float64(2.0**-100):
        return zero, zero, zero
    ratio, ratio_low = quotient(x, zero, a, zero)
    log_high, log_low = log2_pair(ratio)
    log_high, log_low = _natural(log_high, log_low)
    power, power_low = plus(a, zero, -less)
    high, low = product(log_high, log_low + ratio_low / ratio, power, power_low)
    rest, rest_low = plus(a, zero, -x)
    high, low = plus(high, low + rest_low, rest)
    m, n = _over_stirling(high, low, a)
    return m, zero, n


# --------------------------------------------------------------------- series and fraction


@inline
def _series(a, x, end):
    """``1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + …`` in two parts."""
    zero, one = np.float64(0), np.float64(1)
    term, term_low, total, total_low, n, n_low = one, zero, one, zero, a, zero
    while term > total * end:
        n, n_low = plus(n, n_low, one)
        ratio, ratio_low = quotient(x, zero, n, n_low)
        term, term_low = product(term, term_low, ratio, ratio_low)
        made = total + term
        total_low += (term - (made - total)) + term_low
        total = made
    return total, total_low


@inline
def _fraction(a, x, levels):
    """``x^a e^-x / (Q gamma(a))``, from the last of its levels up: roundings shrink on the way.

    f(k) is ``x + (k + 1 - a) / (1 + (k + 1) / f(k + 1))``, or where that subtracts, its contraction
    ``x - a + k + 1 + (k + 1) (a - k - 1) / (f(k + 1) + k + 1)``. The last is what has f(k) = f(k + 1).
    """
    zero, one = np.float64(0), np.float64(1)
    d = x - a
    f = np.float64(0.5) * (d + sqrt(fma(d, d, np.float64(4) * x * (levels + one))))
    k = levels
    while k > one:
        before = k < a
        above = (k - a) * select(before, -k, f)
        f = select(before, d + k, x) + above / (f + k)
        k -= one
    # the last in two parts
    before = a > one
    d, d_low = plus(x, zero, -a)
    d, d_low = plus(select(before, d, x), select(before, d_low, zero), select(before, one, zero))
    above, above_low = plus(one, zero, -a)
    above, above_low = product(above, above_low, select(before, -one, f), zero)
    below, below_low = plus(f, zero, one)
    above, above_low = quotient(above, above_low, below, below_low)
    return plus(d, d_low + above_low, above)


@inline
def _levels(a, x, short):
    """Levels of the fraction for 2^-55, or 2^-30 where ``short``; found by counting."""
    if short:
        return rint(np.float64(8.5) + np.float64(12) / x)
    return select(
        a < np.float64(_LARGE), rint(np.float64(6.5) + np.float64(84) / x), np.float64(17)
    )


@inline
def _away(a, x, end, short):
    """(P, the rest of P, Q) where the uniform expansion does not hold."""
    zero, one = np.float64(0), np.float64(1)
    m, m_low, n = _large_power(a, x, zero) if a >= np.float64(_LARGE) else _power(a, x, zero)
    left = x <= a + one or x < np.float64(2)
    if m == zero:
        p = select(left, zero, one)
        return p, one - p
    if left:
        total, total_low = _series(a, x, end)
        p, p_low = product(m, m_low, total, total_low)
        if short:
            p_low = zero
        return scale2(p + p_low, n), (one - scale2(p, n)) - scale2(p_low, n)
    m, m_low = product(m, m_low, a, zero)
    f, f_low = _fraction(a, x, _levels(a, x, short))
    m, m_low = quotient(m, m_low, f, f_low)
    if short:
        m_low = zero
    q = scale2(m + m_low, n)
    return one - q, q


# ------------------------------------------------------------------------- the functions


@inline
def _is_near(a, x):
    """Whether the uniform expansion holds."""
    return a >= np.float64(_LARGE) and fabs(x - a) <= np.float64(0.2) * x + np.float64(0.2) * a


@inline
def _parts(a, x, end, short):
    """(P, Q) of finite positive numbers."""
    if _is_near(a, x):
        d, d_low = plus(x, np.float64(0), -a)
        return near(a, x, d, d_low)
    return _away(a, x, end, short)


@inline
def _alternating(a, x, end):
    """The sum of ``(-x)^n / (n! (a + n))`` over n from 1 on, in two parts."""
    zero, one = np.float64(0), np.float64(1)
    term, term_low, total, total_low, n = one, zero, zero, zero, zero
    while fabs(term) > end:
        n += one
        term, term_low = product(term, term_low, -x, zero)
        term, term_low = quotient(term, term_low, n, zero)
        below = n + a
        step, step_low = quotient(term, term_low, below, a - (below - n))
        total, total_low = plus(total, total_low + step_low, step)
    return total, total_low


@inline
def _small_q(a, x, end, short):
    """Q of a < 1/2 and x < 2, where P is near 1: ``1 - x^a / gamma(a + 1) (1 + a sum)``, of which with
    ``r = x^a / gamma(a + 1) - 1`` only ``-r - a sum (1 + r)`` is left.
    """
    zero, one = np.float64(0), np.float64(1)
    log_high, log_low = log2_pair(x)
    log_high, log_low = _natural(log_high, log_low)
    back, back_low = with_heads(a, _LGAMMA_HEADS, polynomial(a, (_LGAMMA, _LGAMMA)))
    high, low = plus(log_high, log_low - back_low, -back)
    high, low = product(high, low, a, zero)
    r, r_low, n = _exp(high, low)
    if n != zero:
        r, r_low = plus(one, r_low, r)
        r, r_low = plus(r * power2(n), r_low * power2(n), -one)
    total, total_low = _alternating(a, x, end)
    total, total_low = product(total, total_low, a, zero)
    whole, whole_low = plus(one, r_low, r)
    more, more_low = product(total, total_low, whole, whole_low)
    high, low = plus(r, r_low + more_low, more)
    return -high if short else -(high + low)


@inline
def _outside(a, x):
    """Whether (a, x) is no pair of positive finite numbers."""
    zero, infinity = np.float64(0), np.float64(math.inf)
    return not (a > zero and x > zero and a < infinity and x < infinity)


@inline
def _at_ends(a, x):
    """P where :func:`_outside` holds."""
    zero, one, infinity = np.float64(0), np.float64(1), np.float64(math.inf)
    nan = np.float64(math.nan)
    if not (a >= zero and x >= zero):
        return nan
    if a == zero:
        return select(x > zero, one, nan)
    if x == zero:
        return zero
    if a == infinity:
        return select(x == infinity, nan, zero)
    return one


@inline
def _lower(a, x, end, short):
    if _outside(a, x):
        return _at_ends(a, x)
    return _parts(a, x, end, short)[0]


@inline
def _upper(a, x, end, short):
    if _outside(a, x):
        return np.float64(1) - _at_ends(a, x)
    if a < np.float64(0.5) and x < np.float64(2):
        return _small_q(a, x, end, short)
    return _parts(a, x, end, short)[1]


@inline
def _gammainc_double(a, x):
    return _lower(a, x, np.float64(_END), False)


@inline
def _gammainc_single(a, x):
    return np.float32(_lower(np.float64(a), np.float64(x), np.float64(_END_SHORT), True))


@by_type(float32=_gammainc_single, float64=_gammainc_double)
def gammainc(input, other):
    """P(a, x): the integral of ``t^(a - 1) e^-t`` from 0 to x, over gamma(a); NaN of negative numbers.

    Error: 0.51 ulp in float32, 2.7 in float64, of any a and x.
    """


@inline
def _gammaincc_double(a, x):
    return _upper(a, x, np.float64(_END), False)


@inline
def _gammaincc_single(a, x):
    return np.float32(_upper(np.float64(a), np.float64(x), np.float64(_END_SHORT), True))


@by_type(float32=_gammaincc_single, float64=_gammaincc_double)
def gammaincc(input, other):
    """Q(a, x) = 1 - P(a, x): the integral from x on; NaN of negative numbers.

    Error: 0.51 ulp in float32, 3 in float64, of any a and x.
    """


@inline
def _plain_density(a, x):
    return exp((a - np.float64(1)) * log(x) - x - lgamma_near(a))


@inline
def _density_double(a, x):
    one = np.float64(1)
    if _outside(a, x):
        return _plain_density(a, x)
    if _is_near(a, x):
        d, d_low = plus(x, np.float64(0), -a)
        t, t_low = exponent(a, x, d, d_low)
        m, n = _over_stirling(-t, -t_low, a)
        return scale2(m * (a / x), n)
    if a >= np.float64(_LARGE):
        m, _, n = _large_power(a, x, one)
        return scale2(m, n)
    m, m_low, n = _power(a, x, one)
    half = rint(np.float64(0.5) * n)
    return (m + m_low) * (a * power2(half)) * power2(n - half)  # a may be denormal


@inline
def _plain_density_single(a, x):
    return np.float32(_plain_density(np.float64(a), np.float64(x)))


@inline
def _density_single(a, x):
    if _is_plain_single(a, x):
        return _plain_density_single(a, x)
    return np.float32(_density_double(np.float64(a), np.float64(x)))


@inline
def _is_plain_single(a, x):
    return (a < np.float32(2.0**17)) & (x < np.float32(2.0**17))


@inline
def _is_plain_double(a, x):
    return False


@by_type(float32=_is_plain_single, float64=_is_plain_double)
def is_plain(input, other):
    """Whether float64 has digits enough for an exponent of one number."""


@by_type(float32=_plain_density_single, float64=_density_double)
def plain_density(input, other):
    """:func:`gamma_density`, to the bit, where :func:`is_plain` holds."""


@mostly(plain_density, is_plain)
@by_type(float32=_density_single, float64=_density_double)
def gamma_density(input, other):
    """The derivative of P(a, x) by x: ``x^(a - 1) e^-x / gamma(a)``.

    Error: 0.51 ulp in float32, 4 in float64, of any a and x.
    """


@inline
def gamma_density_grad_input(input, other, out):
    """d gamma_density(a, x) / da"""
    return out * (log(other) - digamma(input))


@inline
def gamma_density_grad_other(input, other, out):
    """d gamma_density(a, x) / dx"""
    T = type(input)
    return out * ((input - T(1)) / other - T(1))
