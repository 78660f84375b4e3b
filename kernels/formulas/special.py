"""The error function, its complement and its inverse: scalar formulas for float32 and float64."""

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
    polynomial,
    rint,
    scale2,
    select,
    sqrt,
)
from tilegrad.kernels.formulas.transcendental import (
    EXPM1,
    LN2_HIGH,
    LN2_LOW,
    LOG2E_HIGH,
    exp,
    exp_decay,
    exp_within,
    log,
)
from tilegrad.kernels.function import by_type, inline

# erf(sqrt z) / sqrt z - 1 on 0 <= z <= 1
_ERF_NEAR = (
    (
        0.128379166,
        -0.37612626,
        0.112835787,
        -0.0268533472,
        0.0051871622,
        -0.00079978531,
        7.80690316e-05,
    ),
    (
        0.1283791670955126,
        -0.376126389031841,
        0.11283791670971098,
        -0.026866170648031092,
        0.005223977652691243,
        -0.000854832853566518,
        0.00012055386186265944,
        -1.4926881240050656e-05,
        1.6481054479566959e-06,
        -1.6557075463171913e-07,
        1.6012820720798497e-08,
        -1.646302691851984e-09,
        1.434046849307027e-10,
    ),
)
# log(erfc(a)) on 1 <= a <= 4 (6 for float64), minimax in the error of erfc
_ERF_FAR = (
    (
        0.000188031263,
        -1.12957835,
        -0.633220077,
        -0.108418353,
        0.0252081063,
        -0.00420450512,
        0.000441325043,
        -2.16859153e-05,
    ),
    (
        2.6669049310100556e-08,
        -1.1283795076004632,
        -0.6366177167621511,
        -0.10278041023454858,
        0.01914938121566537,
        0.00016703645427339675,
        -0.001630011156008887,
        0.0005071211720178763,
        5.850944755024797e-05,
        -0.0001346262061904209,
        7.74368597935754e-05,
        -2.9774400701847198e-05,
        8.722123792792818e-06,
        -2.0229718230584515e-06,
        3.7472546793611486e-07,
        -5.504924211769257e-08,
        6.287944292154924e-09,
        -5.39103906250368e-10,
        3.265324645664206e-11,
        -1.2456765150575599e-12,
        2.2500471103075752e-14,
    ),
)
# e^(a^2) erfc(a) (1 + 2 a) on 0.4 <= a <= 10.5 in t = (a - 2) / (a + 2), for float32 results, and
# on 0.4 <= a <= 28 in t = (a - 4) / (a + 4) (Shepherd and Laframboise, Math. Comp. 36, 1981)
_ERFCX_SHORT = (
    1.2769783815111198,
    -0.092763804711039,
    -0.16603039366218794,
    0.16405029900928383,
    -0.05422004145680022,
    -0.00802160478309688,
    0.008722484895416162,
    0.0012063136835393107,
    -0.0014540019562076058,
    -0.00029995355572522055,
    0.00019840517112719385,
)
ERFCX_LONG = (
    1.2329951186255526,
    -0.1396211168405625,
    0.015379652102619514,
    0.06809705425468857,
    -0.10103906603628743,
    0.09373283499852515,
    -0.06633036581269622,
    0.03716751553403852,
    -0.016197734050969657,
    0.005031970015441384,
    -0.0007577733448486535,
    -0.0001992569431503828,
    0.00015062196413270174,
    -2.4398153482108596e-05,
    -1.1222983052304887e-05,
    5.70674737402391e-06,
    2.958474264954874e-07,
    -8.199062690482564e-07,
    7.19212262318907e-08,
    1.0360100420984228e-07,
    -1.5881429584286834e-08,
    -9.77819846270774e-09,
    1.181037193914001e-09,
)
# erfinv(x) / x in w - 2.5 for w = -log(1 - x^2) <= 5, and in sqrt(w) - 4 up to 6.1 (the form of
# Giles, "Approximating the erfinv function", 2012): to 2^-23 and 2^-19, a guess for float64
_ERFINV_GUESS = (
    1.50140941,
    0.246640727,
    -0.00417770771,
    -0.00125370757,
    0.000218602159,
    -4.39676296e-06,
    -3.52885286e-06,
    3.43725475e-07,
    2.85343287e-08,
)
_ERFINV_GUESS_TAIL = (
    3.83978152,
    1.00951099,
    0.00129290181,
    -0.00094208552,
    0.000256296596,
    -2.76982373e-05,
    9.05105117e-05,
    -7.89155602e-05,
    1.7823837e-05,
)
# the same to 2^-29, up to 4.03: all of float32
_ERFINV_MIDDLE = (
    1.5014093516948148,
    0.24664027575941755,
    -0.004177324660771864,
    -0.0012527047869696163,
    0.0002182635949939138,
    -4.99884668194876e-06,
    -3.42603162749489e-06,
    4.797330714238574e-07,
    1.6461274076091086e-08,
    -1.1029082878110608e-08,
    4.367413893147051e-10,
    1.332233956569652e-10,
)
_ERFINV_TAIL = (
    3.8397837931322893,
    1.0094933784600129,
    0.0012647977966538495,
    -0.0008256794360205283,
    0.00048730820670250493,
    0.00020995323409736356,
    0.0003809108494622231,
    6.438471324298293e-05,
    -8.657172336800479e-05,
    -0.00011614862206096639,
    -2.7549294156273185e-05,
)


@inline
def _erf_near(x):
    """erf(x) on |x| <= 1."""
    return fma(x, polynomial(x * x, _ERF_NEAR), x)


@inline
def erf(x):
    """The error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.

    An odd polynomial below 1, else 1 - e^q(x) with a polynomial q.

    Error: 1.02 ulp in float32, 1 in float64.
    """
    one = cast(1.0, x)
    a = fabs(x)
    near = _erf_near(x)
    kept = clamp(a, one, const(x, (4.0, 6.0)))
    far = one - exp_within(polynomial(kept, _ERF_FAR))
    return select(a < one, near, copysign(far, x))


@inline
def _bell(x, scale, end):
    """e^(-scale x^2), 0 beyond ``end``; the square's last bits, which count x^2 times, come in behind."""
    a = clamp(x, -end, end)
    square = a * a
    y = exp_decay(-(square * scale))
    return fma(-(fma(a, a, -square) * scale), y, y)


@inline
def bell(x):
    """e^(-x^2)

    Error: 1.6 ulp.
    """
    return _bell(x, cast(1.0, x), const(x, (10.25, 27.5)))


@inline
def bell_grad(x, out):
    """-2 x e^(-x^2)"""
    return cast(-2.0, x) * x * out


@inline
def normal_bell(x):
    """e^(-x^2 / 2)

    Error: 1.6 ulp.
    """
    return _bell(x, cast(0.5, x), const(x, (14.5, 39.0)))


@inline
def normal_bell_grad(x, out):
    """-x e^(-x^2 / 2)"""
    return -x * out


@inline
def erf_grad(x):
    """d erf(x) / dx = 2 / sqrt(pi) e^(-x^2)."""
    return cast(2 / math.sqrt(math.pi), x) * bell(x)


@inline
def exp_pair(high, low):
    """(y, y_low, n) with ``e^(high + low) == (y + y_low) * 2**n``."""
    one = cast(1.0, high)
    n = rint(high * const(high, LOG2E_HIGH))
    first = fma(n, -const(high, LN2_HIGH), high)
    second = fma(n, -const(high, LN2_LOW), low)
    r = first + second
    r_low = second - (r - first)
    curve = r * r * polynomial(r, EXPM1)
    tail = r + curve
    tail_low = (curve - (tail - r)) + r_low
    y = one + tail
    return y, (tail - (y - one)) + tail_low, n


@inline
def _erfc_far(a):
    """erfc(a) on 0.4 <= a <= 28: e^(-a^2) times a smooth factor."""
    one, two, four = np.float64(1), np.float64(2), np.float64(4)
    t = (a - four) / (a + four)
    factor = polynomial(t, (ERFCX_LONG, ERFCX_LONG))
    below = fma(two, a, one)
    below_low = one - (below - two * a)
    inverse = one / below
    ratio = factor * inverse
    ratio_low = fma(-ratio, below_low, fma(-ratio, below, factor)) * inverse
    square = a * a
    y, y_low, n = exp_pair(-square, -fma(a, a, -square))
    return scale2(fma(y, ratio, fma(y_low, ratio, y * ratio_low)), n)


@inline
def _erfc_double(x):
    """1 - erf(x) below 0.5, else that of |x|."""
    half = np.float64(0.5)
    near = np.float64(1) - _erf_near(x)
    far = _erfc_far(clamp(fabs(x), half, np.float64(28)))
    far = select(x < np.float64(0), np.float64(2) - far, far)
    return select(fabs(x) < half, near, far)


@inline
def _erfc_single(x):
    """As for float64, which it is computed in, with fewer terms."""
    one, two = np.float64(1), np.float64(2)
    wide = np.float64(x)
    near = one - fma(wide, polynomial(wide * wide, (_ERF_NEAR[0], _ERF_NEAR[0])), wide)
    a = clamp(fabs(wide), np.float64(0.5), np.float64(10.5))
    t = (a - two) / (a + two)
    far = exp_within(-(a * a)) * polynomial(t, (_ERFCX_SHORT, _ERFCX_SHORT)) / fma(two, a, one)
    far = select(wide < np.float64(0), two - far, far)
    return np.float32(select(fabs(wide) < np.float64(0.5), near, far))


@by_type(float32=_erfc_single, float64=_erfc_double)
def erfc(x):
    """1 - erf(x), accurate where it is small.

    Error: 0.53 ulp in float32, 2 in float64.
    """


@inline
def erfc_grad(x):
    """d erfc(x) / dx = -2 / sqrt(pi) e^(-x^2)."""
    return cast(-2 / math.sqrt(math.pi), x) * bell(x)


@inline
def _erfinv_double(x):
    """A polynomial guess, then a Taylor step of third order from erf or, above 0.52, erfc."""
    one = np.float64(1)
    a = fabs(x)
    w = -log((one - a) * (one + a))
    middle = polynomial(w - np.float64(2.5), (_ERFINV_GUESS, _ERFINV_GUESS))
    tail = polynomial(sqrt(w) - np.float64(4), (_ERFINV_GUESS_TAIL, _ERFINV_GUESS_TAIL))
    guess = a * select(w < np.float64(5), middle, tail)
    small = a < np.float64(0.52)  # erf(0.5)
    beyond = (one - a) - _erfc_far(clamp(guess, np.float64(0.4), np.float64(28)))
    excess = select(small, _erf_near(guess) - a, beyond)
    slope = np.float64(math.sqrt(math.pi) / 2) * exp_within(guess * guess)
    # erf's inverse has the derivatives d, 2 z d^2, (8 z^2 + 2) d^3, where erf's is 1 / d
    step = -excess * slope
    third = fma(np.float64(4 / 3) * guess, guess, np.float64(1 / 3))
    result = fma(step, fma(step, fma(step, third, guess), one), guess)
    result = select(a == one, np.float64(math.inf), select(a == np.float64(0), a, result))
    return select(a <= one, copysign(result, x), np.float64(math.nan))


@inline
def _erfinv_single(x):
    """The polynomials alone, in double precision."""
    one = np.float64(1)
    a = np.float64(fabs(x))
    w = -log((one - a) * (one + a))
    middle = polynomial(w - np.float64(2.5), (_ERFINV_MIDDLE, _ERFINV_MIDDLE))
    tail = polynomial(sqrt(w) - np.float64(4), (_ERFINV_TAIL, _ERFINV_TAIL))
    result = a * select(w < np.float64(5), middle, tail)
    result = select(a == one, np.float64(math.inf), result)
    return copysign(np.float32(select(a <= one, result, np.float64(math.nan))), x)


@by_type(float32=_erfinv_single, float64=_erfinv_double)
def erfinv(x):
    """The inverse of erf, of |x| <= 1.

    Error: 0.51 ulp in float32, 1.72 in float64.
    """


@inline
def erfinv_grad(out):
    """d erfinv(x) / dx = sqrt(pi) / 2 e^(erfinv(x)^2)."""
    return cast(math.sqrt(math.pi) / 2, out) * exp(out * out)
