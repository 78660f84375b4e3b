"""Airy's function Ai: scalar formulas for float32 and float64.

With z = 2/3 |x|^(3/2): from 2 on ``e^-z x^(-1/4)`` times a polynomial in 1 / z, below -5 ``|x|^(-1/4) (F cos + G sin)``
of ``z - pi / 4`` with polynomials in 1 / z^2, between by polynomials times the distance from the next zero. z is kept as
two numbers, since its rounding would be multiplied by it, and first coefficients are where terms cancel. The
polynomials interpolate at Chebyshev's points.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import beside_zero, within
from tilegrad.kernels.formulas.primitives import clamp, fma, polynomial, select, sqrt
from tilegrad.kernels.formulas.transcendental import exp
from tilegrad.kernels.formulas.trigonometric import cos, sin
from tilegrad.kernels.function import by_type, inline

# zeros: the nearest number, and the rest
_AI_ZERO_1 = (-2.338107410459767, -3.912260409818305e-17)
_AI_ZERO_2 = (-4.08794944413097, -3.387261694242901e-16)
# Ai from 0 to 2 in x - 1, and over x - zero in (x + 1.5) / 2 from -3.2 to 0 and in x + 4.125 from -5 to -3.2
_AI_A = (
    0.13529241631288141,
    -0.1591474412967932,
    0.06764620815644071,
    -0.003975837497318683,
    -0.007625102761696207,
    0.0031835185329569973,
    -0.000386698008631709,
    -0.00010575200545345591,
    4.9943223634880565e-05,
    -6.839583496707045e-06,
    -6.200975242944165e-07,
    3.918511894253668e-07,
    -5.651285198271877e-08,
    -1.4629817628816684e-09,
    1.842682876917421e-09,
    -2.762081902956136e-10,
    1.4422283081892293e-12,
    5.834158444469707e-12,
    -8.321114785037451e-13,
)
_AI_B_HEADS = (
    (0.5539344622835259, -1.562050293465716e-17),
    (-0.584048039730021, -1.7866605564231088e-17),
    (-0.2680726252776065, -1.1231011469882284e-17),
    (0.6404669375107334, 2.4919938312656607e-17),
)
_AI_B = (
    -0.2055819059044338,
    -0.17436253449628483,
    0.15173177774198235,
    -0.01513063297370065,
    -0.030562282174108807,
    0.014646318489470565,
    0.0003337784494868974,
    -0.002465955665386474,
    0.000748285994264106,
    8.80254609097963e-05,
    -0.00011411183367231076,
    2.3106423986306278e-05,
    4.918239115794217e-06,
    -3.417990126943965e-06,
    4.630124554625534e-07,
    1.5476713799122074e-07,
    -7.165395213011318e-08,
    5.713521703771565e-09,
    3.3501633908878878e-09,
    -8.753870524777793e-10,
)
_AI_C_HEADS = (
    (-0.8023570407940206, -2.7125134416028283e-17),
    (-0.04079923910488649, 8.980159986539193e-19),
    (0.5536838799194733, -2.4680295457037098e-17),
    (-0.04998483649458423, -9.652100303473051e-19),
)
_AI_C = (
    -0.1167120635736539,
    0.02517860669623983,
    0.0103214129659914,
    -0.003936361270976691,
    -0.00024435324200361154,
    0.00029532113276312913,
    -2.6540402010067874e-05,
    -1.1097451224441221e-05,
    2.5942463642007114e-06,
    1.0628807454496853e-07,
    -1.0385757421344111e-07,
    8.969538397563214e-09,
    1.974690095548219e-09,
    -4.5789063048385405e-10,
    -1.7009278362718746e-12,
    9.31284669162508e-12,
)
# e^z x^(1/4) Ai in 1 / z, from 2 to 8 and from 8 on
_AI_D = (
    0.2769816115954338,
    -0.003522423280723741,
    0.00028769923186382245,
    -3.882056712945621e-05,
    6.864103745678833e-06,
    -1.4471247904999955e-06,
    3.4612305875924535e-07,
    -9.114111006795233e-08,
    2.5903952149190907e-08,
    -7.837047569940471e-09,
    2.4985587188406615e-09,
    -8.342531759811858e-10,
    2.894811849880745e-10,
    -1.0134569453944789e-10,
    3.695755347127651e-11,
    -1.7198830967864944e-11,
    7.115821091729715e-12,
    -3.162243695922925e-13,
    -7.614469473963566e-14,
    -1.0837061224451166e-12,
    4.969346742462771e-13,
)
_AI_E = (
    0.2814566081504904,
    -0.0006274016953390438,
    1.0443621336647421e-05,
    -3.2300923541710736e-07,
    1.4404380445970776e-08,
    -8.297738563706072e-10,
    5.8077903232807113e-11,
    -4.750592163211347e-12,
    4.417865576283107e-13,
    -4.584866048868897e-14,
    5.510385863417886e-15,
    -6.919815739794954e-16,
)
# F and z G in 1 / z^2, from |x| = 5 on
_AI_F = (
    0.5640035550994134,
    -0.00018360533736760294,
    2.3293504404559992e-06,
    -8.700435467216259e-08,
    6.021836127018535e-09,
    -6.27341466797097e-10,
    8.757498843033486e-11,
    -1.5262390873780512e-11,
    3.1610916393302986e-12,
    -7.081756671882107e-13,
    1.8053360296816996e-13,
    -8.56388471673192e-14,
    2.9748466633155613e-14,
)
_AI_G = (
    0.03899189768110265,
    -0.00018324137143659427,
    4.43114636965784e-06,
    -2.3784776965499076e-07,
    2.100214476773484e-08,
    -2.6158466791199108e-09,
    4.193788799892521e-10,
    -8.154198792143967e-11,
    1.8465235785858008e-11,
    -4.804156808506629e-12,
    1.3842170312007135e-12,
    -3.3970097790510806e-13,
    9.852025583444885e-14,
    -9.400837697076118e-14,
    3.969783702995782e-14,
)

_Z2, _Z5, _Z8 = (2 / 3 * x**1.5 for x in (2.0, 5.0, 8.0))
_ROOT_HALF = math.sqrt(0.5)
_THIRD = (2 / 3, 3.700743415417188e-17)  # 2 / 3 and the rest
_LAST = 1e200  # where the envelope's oscillation is beyond any digit


@inline
def _zeta(a):
    """(z, the rest) = 2/3 a^(3/2), and the root of a."""
    root = sqrt(a)
    root_low = fma(-root, root, a) / (np.float64(2) * root)
    cube = a * root
    cube_low = fma(a, root, -cube) + a * root_low
    high = cube * np.float64(_THIRD[0])
    low = fma(cube, np.float64(_THIRD[0]), -high)
    low += cube * np.float64(_THIRD[1]) + cube_low * np.float64(_THIRD[0])
    return high, low, root


@inline
def _falling(x):
    """Ai from 2 on."""
    a = clamp(x, np.float64(2), np.float64(110))
    z, low, root = _zeta(a)
    w = np.float64(1) / z
    near = polynomial(within(w, 1 / _Z8, 1 / _Z2), (_AI_D, _AI_D))
    far = polynomial(within(w, 0.0, 1 / _Z8), (_AI_E, _AI_E))
    e, p, s = exp(-z), select(a > np.float64(8), far, near), sqrt(root)
    made = e * p
    result = made / s
    # what the roundings of product, quotient and root lost, and of z
    missed = fma(e, p, -made) + fma(-result, s, made) - made * low
    missed -= result * fma(-s, s, root) / (np.float64(2) * s)
    return result + missed / s


@inline
def _waving(x):
    """Ai below -5."""
    a = clamp(-x, np.float64(5), np.float64(_LAST))
    z, low, root = _zeta(a)
    s, c, s_low, c_low = sin(z), cos(z), sin(low), cos(low)
    sine, cosine = s * c_low + c * s_low, c * c_low - s * s_low
    r = np.float64(_Z5) / z
    t = np.float64(2) * r * r - np.float64(1)
    f, g = polynomial(t, (_AI_F, _AI_F)), polynomial(t, (_AI_G, _AI_G)) / z
    # of z - pi / 4
    made = cosine * (f - g) + sine * (f + g)
    root = select(-x > np.float64(_LAST), sqrt(-x), root)  # 0 at -inf
    return made * np.float64(_ROOT_HALF) / sqrt(root)


@inline
def _airy_double(x):
    m = clamp(x, np.float64(0), np.float64(2))
    first = polynomial(m - np.float64(1), (_AI_A, _AI_A))
    m = clamp(x, np.float64(-3.2), np.float64(0))
    t = (m + np.float64(1.5)) / np.float64(2)
    second = beside_zero(m, _AI_ZERO_1, t, _AI_B_HEADS, polynomial(t, (_AI_B, _AI_B)))
    m = clamp(x, np.float64(-5), np.float64(-3.2))
    t = m + np.float64(4.125)
    third = beside_zero(m, _AI_ZERO_2, t, _AI_C_HEADS, polynomial(t, (_AI_C, _AI_C)))
    right = select(x > np.float64(2), _falling(x), first)
    left = select(x < np.float64(-3.2), third, second)
    left = select(x < np.float64(-5), _waving(x), left)
    result = select(x < np.float64(0), left, right)
    return select(x != x, x, result)


@inline
def _airy_single(x):
    return np.float32(_airy_double(np.float64(x)))


@by_type(float32=_airy_single, float64=_airy_double)
def airy_ai(x):
    """Airy's function Ai.

    Error: 3 ulp down to -5, at the zeros too; below in ulp of the envelope ``|x|^(-1/4) / sqrt(pi)``, 4 down to
    -1e10: no float64 says how far the next zero is. Beyond, the phase ``2/3 |x|^(3/2)`` has 104 bits and no more.
    """
