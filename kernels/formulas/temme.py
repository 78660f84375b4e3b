"""Temme's uniform expansion of the incomplete gamma functions, of large a and x near it: scalar formulas for float64.

Source: N. M. Temme, The asymptotic expansion of the incomplete gamma functions (1979); DLMF 8.12.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import plus, product, quotient
from tilegrad.kernels.formulas.primitives import copysign, fma, polynomial, scale2, select, sqrt
from tilegrad.kernels.formulas.special import ERFCX_LONG, erf, exp_pair
from tilegrad.kernels.formulas.transcendental import exp
from tilegrad.kernels.function import inline

LOWEST = -800.0  # exponents whose powers of e are 0, whatever multiplies them
_THIRD = (0.3333333333333333, 1.850371707708594e-17)
# (atanh(s) - s - s^3 / 3) / s^5 on |s| <= 0.2 in s^2
_ATANH = (
    0.19999999999999998,
    0.14285714285717882,
    0.11111111109230033,
    0.09090909465123065,
    0.07692271204401065,
    0.06668592682071038,
    0.058263672543326504,
    0.06098178784891515,
)
# c_k on x / a from 2/3 to 3/2, as near as a >= 12 asks for
_TEMME = (
    (
        -0.3333333333333333,
        0.08333333333333354,
        -0.014814814814811082,
        0.0011574074073723126,
        0.00035273368577482775,
        -0.00017875514228164177,
        3.919264002894379e-05,
        -2.1854866917285485e-06,
        -1.8541654293577255e-06,
        8.300824088817708e-07,
        -1.7608582862483926e-07,
        4.553412123968116e-09,
        9.246012785940207e-09,
    ),
    (
        -0.0018518518518519462,
        -0.0034722222222250583,
        0.0026455026455430345,
        -0.000990226337056204,
        0.0002057613140060701,
        -4.0189256328218907e-07,
        -1.809847427167104e-05,
        7.649392640026902e-06,
        -1.6130216066097435e-06,
        3.0882740234188903e-09,
        1.4323083356908456e-07,
        -5.3718903835081496e-08,
    ),
    (
        0.004133597883597941,
        -0.002681327160495011,
        0.0007716049382365616,
        2.0093878923314337e-06,
        -0.00010736652930395969,
        5.2923450870134116e-05,
        -1.2760721381511699e-05,
        3.4175743719120327e-08,
        1.3733047416024452e-06,
        -6.294879335920972e-07,
        1.362955206436968e-07,
    ),
    (
        0.000649434156344464,
        0.00022947209298473698,
        -0.000469189483952463,
        0.0002677206890432794,
        -7.561853661900286e-05,
        -2.409576865026783e-07,
        1.1091845084162313e-05,
        -5.6650600702148164e-06,
        1.3561334655875747e-06,
        -1.1541896398744098e-08,
    ),
    (
        -0.0008618882909642872,
        0.0007840392208100158,
        -0.00029907246617348425,
        -1.463758879722156e-06,
        6.64142954740021e-05,
        -3.968581924602603e-05,
        1.1387669585076222e-05,
        2.0173627577308023e-08,
        -1.7822217123341662e-06,
        8.300256720856812e-07,
    ),
    (
        -0.00033679855335556967,
        -6.972813768367854e-05,
        0.0002772753140058416,
        -0.00019932573119911602,
        6.797854977926914e-05,
        1.4301889834629112e-07,
        -1.360981638958694e-05,
        8.008154934055926e-06,
        -2.163598276629302e-06,
    ),
    (
        0.0005313079356158785,
        -0.0005921664552574477,
        0.00027087992633811,
        7.945299791369679e-07,
        -8.162087120135582e-05,
        5.604821429116741e-05,
        -1.733614423852673e-05,
    ),
    (
        0.00034436785260032703,
        5.170954276277088e-05,
        -0.00033496382971331885,
        0.00028167770489031575,
        -0.00010920183762552859,
        -5.1941686255186825e-06,
        2.600663780344202e-05,
    ),
    (
        -0.00065261772231665,
        0.0008395369394778541,
        -0.0004389600426379152,
        -1.9132265050243557e-06,
        0.00017726479177669345,
        -0.00012045166264234459,
    ),
    (
        -0.0005967609611455834,
        -7.20802762904497e-05,
        0.0006789154339563316,
        -0.0006389714834953255,
        0.00026024190129674056,
    ),
    (
        0.0013341580232861738,
        -0.0019113171214114346,
        0.0010244567933400408,
        1.6310805821504137e-05,
    ),
    (
        0.001583050039692315,
        0.0001713703013721911,
        -0.0022221080491827225,
        0.0020307176913428792,
    ),
    (
        -0.004398282592632085,
        0.006186913281974885,
    ),
    (-0.005955986386001008,),
)


@inline
def _next(eta, inverse, total, row):
    """A step of Horner's scheme in 1 / a, whose coefficients are polynomials."""
    return fma(total, inverse, polynomial(eta, (row, row)))


@inline
def _uniform(eta, inverse):
    """The sum of ``c_k(eta) a^-k``."""
    total = polynomial(eta, (_TEMME[13], _TEMME[13]))
    total = _next(eta, inverse, total, _TEMME[12])
    total = _next(eta, inverse, total, _TEMME[11])
    total = _next(eta, inverse, total, _TEMME[10])
    total = _next(eta, inverse, total, _TEMME[9])
    total = _next(eta, inverse, total, _TEMME[8])
    total = _next(eta, inverse, total, _TEMME[7])
    total = _next(eta, inverse, total, _TEMME[6])
    total = _next(eta, inverse, total, _TEMME[5])
    total = _next(eta, inverse, total, _TEMME[4])
    total = _next(eta, inverse, total, _TEMME[3])
    total = _next(eta, inverse, total, _TEMME[2])
    total = _next(eta, inverse, total, _TEMME[1])
    total = _next(eta, inverse, total, _TEMME[0])
    return total


@inline
def exponent(a, x, d, d_low):
    """``a log(a / x) - a + x`` of x near a and ``d = x - a``, by ``s = (x - a) / (x + a)``: ``d s - 2 a (atanh(s) - s)``,
    in two parts.
    """
    zero, two, quarter = np.float64(0), np.float64(2), np.float64(0.25)  # x + a may be infinite
    e, e_low = plus(quarter * x, zero, quarter * a)
    s, s_low = quotient(quarter * d, quarter * d_low, e, e_low)
    z, z_low = product(s, s_low, s, s_low)
    rest = z * polynomial(z, (_ATANH, _ATANH))
    third = np.float64(_THIRD[0]) + rest
    third_low = (np.float64(_THIRD[0]) - third) + rest + np.float64(_THIRD[1])
    cube, cube_low = product(z, z_low, third, third_low)
    cube, cube_low = product(cube, cube_low, a, zero)
    # s (d - 2 a s^2 (1/3 + …))
    d, d_low = plus(d, d_low - two * cube_low, -two * cube)
    return product(s, s_low, d, d_low)


@inline
def near(a, x, d, d_low):
    """(P, Q) by Temme's expansion: ``erfc(+-sqrt(t)) / 2`` and ``e^-t / sqrt(2 pi a)`` times a sum, t as above; of a >= 12 and
    x / a from 2/3 to 3/2.
    """
    zero, one, half, four = np.float64(0), np.float64(1), np.float64(0.5), np.float64(4)
    t, t_low = exponent(a, x, d, d_low)
    if not t < -np.float64(LOWEST):
        p = select(d < zero, zero, one)
        return p, one - p
    inverse = one / a
    eta = copysign(sqrt(np.float64(2) * t * inverse), d)
    more = _uniform(eta, inverse) / sqrt(np.float64(2 * math.pi) * a)
    y = sqrt(t)
    if y < half:
        rise = copysign(half * erf(y), d) - exp(-t) * more
        return half + rise, half - rise
    e, e_low, n = exp_pair(-t, -t_low)
    argument = (y - four) / (y + four)
    factor = half * polynomial(argument, (ERFCX_LONG, ERFCX_LONG)) / fma(np.float64(2), y, one)
    factor += select(d < zero, -more, more)
    small = scale2(fma(e, factor, e_low * factor), n)
    return select(d < zero, small, one - small), select(d < zero, one - small, small)
