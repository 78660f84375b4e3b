"""The normal law's distribution function, its logarithm and inverse, and the scaled complement of erf."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.powers import xlogy
from tilegrad.kernels.formulas.primitives import clamp, fabs, fma, polynomial, scale2, select, sqrt
from tilegrad.kernels.formulas.special import ERFCX_LONG, erfc, erfinv, exp_pair, normal_bell
from tilegrad.kernels.formulas.transcendental import exp, log, log1p
from tilegrad.kernels.function import by_type, inline

_ROOT_HALF = math.sqrt(0.5)
# a sqrt(pi) e^(a^2) erfc(a) in 1 / (2 a^2): (-1)^k (2 k - 1)!!
_FAR = (1.0, -1.0, 3.0, -15.0, 105.0, -945.0, 10395.0, -135135.0)
# the inverse to 1e-7: PPND7 of M. J. Wichura, Algorithm AS 241 (Applied Statistics 37, 1988)
_MIDDLE = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103)
_MIDDLE_BELOW = (1.0, 0.73700164250, 0.12021132975)
_TAIL = (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997)
_TAIL_BELOW = (1.0, 0.24197894225, 0.012258202635)


@inline
def _exp_square(a, sign):
    """e^(sign a^2) of |a| <= 40, the square kept to its last bit; sign: 1, -1, 1/2 or -1/2."""
    square = a * a
    low = fma(a, a, -square)
    y, y_low, n = exp_pair(square * sign, low * sign)
    return scale2(y + y_low, n)


@inline
def _erfcx_positive(a):
    """e^(a^2) erfc(a) of a >= 0."""
    one, two, four = np.float64(1), np.float64(2), np.float64(4)
    near = _exp_square(clamp(a, np.float64(0), np.float64(0.5)), one) * erfc(a)
    kept = clamp(a, np.float64(0.4), np.float64(28))
    t = (kept - four) / (kept + four)
    middle = polynomial(t, (ERFCX_LONG, ERFCX_LONG)) / fma(two, kept, one)
    big = select(a > np.float64(28), a, np.float64(28))
    inverse = one / big
    z = np.float64(0.5) * inverse * inverse
    far = np.float64(1 / math.sqrt(math.pi)) * inverse * polynomial(z, (_FAR, _FAR))
    result = select(a > np.float64(28), far, middle)
    return select(a < np.float64(0.4), near, result)


@inline
def _erfcx_double(x):
    a = fabs(x)
    right = _erfcx_positive(a)
    left = (
        np.float64(2) * _exp_square(clamp(a, np.float64(0), np.float64(30)), np.float64(1)) - right
    )
    return select(x != x, x, select(x < np.float64(0), left, right))


@inline
def _erfcx_single(x):
    return np.float32(_erfcx_double(np.float64(x)))


@by_type(float32=_erfcx_single, float64=_erfcx_double)
def erfcx(x):
    """e^(x^2) erfc(x)."""


@inline
def erfcx_grad(x, out):
    """d erfcx(x) / dx = 2 x erfcx(x) - 2 / sqrt(pi)."""
    T = type(x)
    return T(2) * x * out - T(2 / math.sqrt(math.pi))


@inline
def _below(x):
    """The distribution function of x <= -1: e^(-x^2 / 2) erfcx(-x / sqrt(2)) / 2."""
    a = clamp(-x, np.float64(1), np.float64(40))
    return (
        np.float64(0.5)
        * _exp_square(a, np.float64(-0.5))
        * _erfcx_positive(a * np.float64(_ROOT_HALF))
    )


@inline
def _ndtr_double(x):
    near = np.float64(0.5) * erfc(-x * np.float64(_ROOT_HALF))
    return select(x < np.float64(-1), _below(x), near)


@inline
def _ndtr_single(x):
    return np.float32(_ndtr_double(np.float64(x)))


@by_type(float32=_ndtr_single, float64=_ndtr_double)
def ndtr(x):
    """The standard normal distribution function."""


@inline
def ndtr_grad(x):
    """d ndtr(x) / dx = e^(-x^2 / 2) / sqrt(2 pi)."""
    T = type(x)
    return T(1 / math.sqrt(2 * math.pi)) * normal_bell(x)


@inline
def _log_ndtr_double(x):
    a = select(x < np.float64(-1), -x, np.float64(1))
    left = (
        log(np.float64(0.5) * _erfcx_positive(a * np.float64(_ROOT_HALF))) - np.float64(0.5) * a * a
    )
    return select(x < np.float64(-1), left, log1p(-_ndtr_double(-x)))


@inline
def _log_ndtr_single(x):
    return np.float32(_log_ndtr_double(np.float64(x)))


@by_type(float32=_log_ndtr_single, float64=_log_ndtr_double)
def log_ndtr(x):
    """The logarithm of the standard normal distribution function."""


@inline
def _log_ndtr_slope(x):
    scaled = np.float64(0.5) * _erfcx_positive(fabs(x) * np.float64(_ROOT_HALF))
    bell = normal_bell(x)
    left = x < np.float64(0)
    slope = select(left, np.float64(1), bell) / select(
        left, scaled, fma(-bell, scaled, np.float64(1))
    )
    return np.float64(1 / math.sqrt(2 * math.pi)) * slope


@inline
def _log_ndtr_slope_single(x):
    return np.float32(_log_ndtr_slope(np.float64(x)))


@by_type(float32=_log_ndtr_slope_single, float64=_log_ndtr_slope)
def log_ndtr_grad(x):
    """d log_ndtr(x) / dx, the density over the distribution function.

    Error: 0.51 ulp in float32, 4 in float64.
    """


@inline
def log_ndtr_curve(x, out):
    """d log_ndtr_grad(x) / dx"""
    return -out * (x + out)


@inline
def _nearer(x, logarithm):
    """Halley's step to where the logarithm of :func:`ndtr` is ``logarithm``, from x < 0."""
    scaled = _erfcx_positive(-x * np.float64(_ROOT_HALF))
    value = log(np.float64(0.5) * scaled) - np.float64(0.5) * x * x
    slope = np.float64(math.sqrt(2 / math.pi)) / scaled
    step = (value - logarithm) / slope
    return x - step / (np.float64(1) + np.float64(0.5) * step * (x + slope))


@inline
def _ndtri_tail(p):
    """The inverse of p < 1/4: a guess, good to 1e-4 at 1/4 and to 1e-7 below 0.075, then two steps."""
    logarithm = log(p)
    r = sqrt(-logarithm)
    middle = r - np.float64(1.6)
    guess = polynomial(middle, (_MIDDLE, _MIDDLE)) / polynomial(
        middle, (_MIDDLE_BELOW, _MIDDLE_BELOW)
    )
    tail = r - np.float64(5)
    far = polynomial(tail, (_TAIL, _TAIL)) / polynomial(tail, (_TAIL_BELOW, _TAIL_BELOW))
    x = -select(r > np.float64(5), far, guess)
    return _nearer(_nearer(x, logarithm), logarithm)


@inline
def _ndtri_double(p):
    zero, one = np.float64(0), np.float64(1)
    low = p < np.float64(0.5)
    q = select(low, p, one - p)
    held = select((q > zero) & (q < np.float64(0.25)), q, np.float64(0.2))
    tail = _ndtri_tail(held)
    inner = clamp(np.float64(2) * p - one, np.float64(-0.5), np.float64(0.5))
    center = np.float64(math.sqrt(2)) * erfinv(inner)
    result = select(q < np.float64(0.25), select(low, tail, -tail), center)
    result = select(
        p == zero, np.float64(-math.inf), select(p == one, np.float64(math.inf), result)
    )
    return select((p >= zero) & (p <= one), result, np.float64(math.nan))


@inline
def _ndtri_single(p):
    return np.float32(_ndtri_double(np.float64(p)))


@by_type(float32=_ndtri_single, float64=_ndtri_double)
def ndtri(x):
    """The inverse of :func:`ndtr`, of 0 <= x <= 1."""


@inline
def ndtri_grad(out):
    """d ndtri(x) / dx = sqrt(2 pi) e^(ndtri(x)^2 / 2)."""
    T = type(out)
    return T(math.sqrt(2 * math.pi)) * exp(T(0.5) * out * out)


@inline
def entr(x):
    """-x log(x) of x > 0, 0 at 0, -inf below."""
    T = type(x)
    return select(x < T(0), T(-math.inf), -xlogy(x, x))


@inline
def entr_grad(x):
    """d entr(x) / dx = -log(x) - 1."""
    T = type(x)
    return -log(x) - T(1)


@inline
def xlog1py(input, other):
    """input * log(1 + other), 0 where ``input`` is 0 (and ``other`` a number)."""
    T = type(input)
    product = input * log1p(other)
    return select(other != other, other, select(input == T(0), T(0), product))


@inline
def xlog1py_grad_input(input, other):
    """d xlog1py / d input = log(1 + other), 0 where ``input`` is 0 and ``other`` at most -1."""
    T = type(input)
    return select((input == T(0)) & (other <= T(-1)), T(0), log1p(other))


@inline
def xlog1py_grad_other(input, other):
    """d xlog1py / d other = input / (1 + other)."""
    T = type(input)
    return input / (other + T(1))
