"""Bessel functions of orders 0 and 1: scalar formulas for float32 and float64.

Up to 8 the distance from the next zero, of which two numbers are kept, times a polynomial, whose first coefficients
are in two numbers too where its terms cancel; Y of small x is ``2 / pi log(x / zero) J`` and such a product. From 8 on
Hankel's expansion, ``J = (P cos - Q sin) / sqrt(pi x / 2)``, with P and Q as polynomials in 64 / x^2 (DLMF 10.17). The
polynomials interpolate at Chebyshev's points.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import beside_zero, past, past_square, within
from tilegrad.kernels.formulas.primitives import clamp, fabs, fma, polynomial, select, sqrt
from tilegrad.kernels.formulas.transcendental import log
from tilegrad.kernels.formulas.trigonometric import cos, sin
from tilegrad.kernels.function import by_type, inline

# zeros, and squares of the first ones: the nearest number, and the rest
_J0_SQUARE_1 = (5.783185962946784, 4.123247343506204e-16)
_J0_ZERO_2 = (5.520078110286311, 8.088597146146722e-17)
_J1_SQUARE_1 = (14.681970642123893, -9.858177825793294e-17)
_J1_ZERO_2 = (7.015586669815619, -9.414165653410389e-17)
_Y0_ZERO_1 = (0.8935769662791675, 2.6596231539720385e-17)
_Y0_SQUARE_1 = (0.7984797946646804, 4.7669625702155175e-17)
_Y0_ZERO_2 = (3.957678419314858, -1.0764340697562706e-16)
_Y0_ZERO_3 = (7.086051060301773, -8.835285723085408e-17)
_Y1_ZERO_1 = (2.197141326031017, -4.8259835876454966e-17)
_Y1_SQUARE_1 = (4.827430006553336, -3.103816863372602e-16)
_Y1_ZERO_2 = (5.429681040794135, 4.162514026670377e-16)
# J0(x) / (x^2 - zero^2) in x^2 up to 4, J0(x) / (x - zero) from 4 to 8, and J1(x) / x likewise up to 5, then in
# (x - 6.5) / 2
_J0_A = (
    -0.08866241912277732,
    0.06466008281491797,
    -0.017030107053326454,
    0.002349675176132567,
    -0.00020060356509921887,
    1.1671878503732114e-05,
    -4.931799011580955e-07,
    1.5832284373591627e-08,
    -3.994329295088485e-10,
    8.130830816293644e-12,
    -1.3645500280313142e-13,
    1.9187793497201454e-15,
)
_J0_B_HEADS = (
    (0.3138953660581486, -2.3099887118500676e-17),
    (-0.15507318473338452, -1.3509577538892507e-17),
    (-0.17372013973805456, -6.8556099392368015e-19),
    (0.06771996395984485, -4.991278438464986e-18),
)
_J0_B = (
    0.027051463074431268,
    -0.00929255864945561,
    -0.0020774283350247693,
    0.0006459306455148286,
    9.646926483449232e-05,
    -2.749377860450752e-05,
    -3.017949636844922e-06,
    7.948294844017433e-07,
    6.808286354218122e-08,
    -1.6671619653710766e-08,
    -1.1611098906069759e-09,
    2.6539375346070314e-10,
    1.5488942784915502e-11,
    -3.1729557038135286e-12,
    -1.596283366459897e-13,
)
_J1_A = (
    -0.01381164160939869,
    0.013694479695122169,
    -0.005274846349672022,
    0.0011106691119974947,
    -0.0001488567189183363,
    1.3874296017793903e-05,
    -9.535547009243613e-07,
    5.039024544840324e-08,
    -2.112971151558482e-09,
    7.205734147303714e-11,
    -2.038447995280816e-12,
    4.86783635020753e-14,
    -9.922019629473213e-16,
)
_J1_B_HEADS = (
    (0.2983810684341155, -2.1204587565667066e-17),
    (0.05670654880633687, 7.497867441875574e-19),
    (-0.19332450719675923, 4.191682822391033e-18),
    (-0.011341764687606695, -6.592764143124564e-19),
)
_J1_B = (
    0.035858000986315385,
    0.0007211068471160256,
    -0.00314888158304036,
    -1.4663476456499614e-05,
    0.00016204021485025747,
    -4.1330658902790555e-07,
    -5.4945321500205994e-06,
    3.396785404371185e-08,
    1.3223823282356322e-07,
    -1.0667178693661191e-09,
    -2.377211354877423e-09,
    2.1460992554151315e-11,
    3.22653961458022e-11,
    -3.055768075106782e-13,
)
# the rest of Y0 beside the logarithm over x^2 - zero^2, up to 2.5; then Y0(x) / (x - zero) in
# (x - 4) / 2 to 5.5, and to 8
_Y0_A = (
    0.11731068956802439,
    -0.05513371545494011,
    0.008922347276268006,
    -0.0007388940376109333,
    3.734246189674015e-05,
    -1.274447204287166e-06,
    3.138276880862019e-08,
    -5.843095062505726e-10,
    8.51810648247535e-12,
    -9.991837753528533e-14,
    9.632463358232222e-16,
)
_Y0_B_HEADS = (
    (-0.40028607275087885, 1.8082534476590412e-17),
    (0.11154414157349683, -2.2812703423063377e-18),
    (0.2305218903393023, 1.1051575033704258e-17),
    (-0.05774905924540454, 3.731654141930206e-19),
)
_Y0_B = (
    -0.03425349185944422,
    0.006656477477984545,
    0.003165337758175525,
    -0.0006392290692089415,
    -7.688468243839433e-05,
    -7.265606091972846e-06,
    1.772772903066986e-05,
    -6.741961002015307e-06,
    2.7517839311738843e-06,
    -1.3243024057636886e-06,
    6.247780222242937e-07,
    -2.9367678664464714e-07,
    1.4951136118000626e-07,
    -7.093403610587617e-08,
    1.9352951914238856e-08,
    -9.161782671798473e-09,
    1.5112849420932675e-08,
    -7.245647635611413e-09,
)
_Y0_C = (
    0.30169255583006954,
    0.014859990708324083,
    -0.07789174496776101,
    0.0005283987249232847,
    0.005691731165844447,
    -0.00013064732935383778,
    -0.00019226945663867784,
    5.0167483240151265e-06,
    3.835068778694484e-06,
    -1.0392802016068829e-07,
    -4.978029837795162e-08,
    1.2388199010774276e-09,
    4.764646070347949e-10,
    -1.3182086549074481e-11,
    -2.9538694063187223e-12,
    1.3611190017050108e-14,
    2.8011324650255208e-14,
)
# x times the rest of Y1 over x^2 - zero^2, up to 3.75; then Y1(x) / (x - zero) in (x - 5.75) / 2
_Y1_A = (
    0.1860079516954709,
    0.00507613138082423,
    -0.03790439934457455,
    0.009868318215178962,
    -0.0011923269350394697,
    8.682780902718537e-05,
    -4.284620268477793e-06,
    1.5360716087942617e-07,
    -4.19412103352167e-09,
    9.027119293542542e-11,
    -1.5733309692168577e-12,
    2.264866178180369e-14,
)
_Y1_B_HEADS = (
    (-0.32521118454238224, -1.9974858819356347e-17),
    (0.12484241222381115, 6.880464025147427e-18),
    (0.18268843958456651, -8.308971725020176e-20),
    (-0.05404428917112938, 9.173131037656531e-19),
)
_Y1_B = (
    -0.029813657600389606,
    0.007320716936289374,
    0.002467170433382421,
    -0.000531097726875321,
    -0.00011498539560980847,
    2.1120463044721064e-05,
    4.325167869781599e-06,
    -8.207060561248547e-07,
    -3.1477021790495015e-08,
    -6.66837131860029e-09,
    8.784532248711315e-09,
    -2.751977780746504e-09,
    8.605916572327005e-10,
    -3.038053760510261e-10,
    1.1116291934898484e-10,
    -4.087571169203692e-11,
    1.1830035931601158e-11,
    -2.704474465866572e-12,
    1.8468673283746064e-12,
    -1.1982350901774784e-12,
    2.7036733645720693e-13,
)
# P and x Q of Hankel's expansion from 8 on, in 64 / x^2
_P0 = (
    0.9994572757882519,
    -0.0005363673192129672,
    6.137416080109497e-06,
    -2.0527448261170675e-07,
    1.280376144080092e-08,
    -1.2121098178951377e-09,
    1.5500565496632596e-10,
    -2.491146535471666e-11,
    4.786995821368028e-12,
    -1.0157485021065676e-12,
    2.4531772967345006e-13,
    -1.0251790052831013e-13,
    3.339452259070809e-14,
)
_Q0 = (
    -0.12444091103610816,
    0.0005466519279475266,
    -1.1817110660715592e-05,
    5.684971881753781e-07,
    -4.5349736139769986e-08,
    5.146231602705606e-09,
    -7.57586453075858e-10,
    1.3623497617833053e-10,
    -2.8840344824996496e-11,
    6.951785915752245e-12,
    -1.6783779045026498e-12,
    4.605060470396763e-13,
    -2.7338449247237154e-13,
    1.0185094098694355e-13,
)
_P1 = (
    1.0009070262780821,
    0.0008988049416705183,
    -7.9596946984383e-06,
    2.453676633366693e-07,
    -1.4708512991275258e-08,
    1.3602969253877949e-09,
    -1.713107485294131e-10,
    2.72345126828134e-11,
    -5.191158004646548e-12,
    1.0954826479277623e-12,
    -2.6335760672461096e-13,
    1.0923713653079462e-13,
    -3.5455617466606254e-14,
)
_Q1 = (
    0.3742149922195918,
    -0.0007697167057640292,
    1.4569614809339924e-05,
    -6.633568656664936e-07,
    5.136106815451932e-08,
    -5.72081439754336e-09,
    8.315586321594619e-10,
    -1.4842814504504144e-10,
    3.1143942213346517e-11,
    -7.028011349149164e-12,
    1.796964474573459e-12,
    -8.412485658069601e-13,
    2.8960940831153833e-13,
)

_PER_ROOT_PI = 1 / math.sqrt(math.pi)
_PER_PI = 2 / math.pi
_RAISED = 100 * math.log(2)


@inline
def _hankel(x, p, q):
    """(8 at least, P + Q, P - Q), to be divided by sqrt(pi x)."""
    big = select(x > np.float64(8), x, np.float64(8))
    r = np.float64(8) / big
    t = np.float64(2) * r * r - np.float64(1)
    first, second = polynomial(t, p), polynomial(t, q) / big
    return big, first + second, first - second


@inline
def _early(x, p, q):
    """From 8 on, sqrt(2 / (pi x)) (P cos(x - pi / 4) - Q sin(x - pi / 4)): J0, and -Y1 by its own P and Q."""
    big, added, taken = _hankel(x, p, q)
    return (cos(big) * added + sin(big) * taken) * np.float64(_PER_ROOT_PI) / sqrt(big)


@inline
def _late(x, p, q):
    """A quarter of a turn behind :func:`_early`: Y0, and J1 by its own P and Q."""
    big, added, taken = _hankel(x, p, q)
    return (sin(big) * added - cos(big) * taken) * np.float64(_PER_ROOT_PI) / sqrt(big)


@inline
def _turn(x, zero):
    """2 / pi log(x / zero), right to the last digits at the zero too, and of denormal x."""
    tiny = x < np.float64(2.0**-900)  # raised by 2^100, or the ratio would lose digits
    x = select(tiny, x * np.float64(2.0**100), x)
    ratio = x / np.float64(zero[0])
    missed = fma(-ratio, np.float64(zero[0]), x) - ratio * np.float64(zero[1])
    raised = select(tiny, np.float64(_RAISED), np.float64(0))
    return np.float64(_PER_PI) * (log(ratio) - raised + missed / x)


@inline
def _j0_near(a):
    """J0 up to 4."""
    x = clamp(a, np.float64(0), np.float64(4))
    return past_square(x, _J0_SQUARE_1) * polynomial(within(x * x, 0.0, 16.0), (_J0_A, _J0_A))


@inline
def _j1_near(a):
    """J1 up to 5."""
    x = clamp(a, np.float64(0), np.float64(5))
    rest = polynomial(within(x * x, 0.0, 29.16), (_J1_A, _J1_A))
    return x * past_square(x, _J1_SQUARE_1) * rest


@inline
def _bessel_j0_double(x):
    a = fabs(x)
    m = clamp(a, np.float64(4), np.float64(8))
    t = within(m, 4.0, 8.0)
    middle = beside_zero(m, _J0_ZERO_2, t, _J0_B_HEADS, polynomial(t, (_J0_B, _J0_B)))
    far = _early(a, (_P0, _P0), (_Q0, _Q0))
    result = select(a > np.float64(8), far, select(a > np.float64(4), middle, _j0_near(a)))
    return select(x != x, x, result)


@inline
def _bessel_j0_single(x):
    return np.float32(_bessel_j0_double(np.float64(x)))


@by_type(float32=_bessel_j0_single, float64=_bessel_j0_double)
def bessel_j0(x):
    """The Bessel function of the first kind of order 0.

    Error: 4 ulp; up to 8 of the function, at its zeros too, from 8 on of its envelope ``sqrt(2 / (pi x))``, since
    at a zero the function is smaller than what the rounding of ``sin x`` and ``cos x`` leaves of their difference.
    """


@inline
def _bessel_j1_double(x):
    a = fabs(x)
    m = clamp(a, np.float64(5), np.float64(8))
    t = (m - np.float64(6.5)) / np.float64(2)
    middle = beside_zero(m, _J1_ZERO_2, t, _J1_B_HEADS, polynomial(t, (_J1_B, _J1_B)))
    far = _late(a, (_P1, _P1), (_Q1, _Q1))
    result = select(a > np.float64(8), far, select(a > np.float64(5), middle, _j1_near(a)))
    result = select(x < np.float64(0), -result, result)
    return select(x != x, x, result)


@inline
def _bessel_j1_single(x):
    return np.float32(_bessel_j1_double(np.float64(x)))


@by_type(float32=_bessel_j1_single, float64=_bessel_j1_double)
def bessel_j1(x):
    """The Bessel function of the first kind of order 1; error as that of order 0."""


@inline
def _bessel_y0_double(x):
    near = clamp(x, np.float64(0), np.float64(2.5))
    rest = polynomial(within(near * near, 0.0, 9.0), (_Y0_A, _Y0_A))
    turn = _turn(select(near > np.float64(0), near, np.float64(1)), _Y0_ZERO_1)
    first = past_square(near, _Y0_SQUARE_1) * rest + turn * _j0_near(near)
    m = clamp(x, np.float64(2.5), np.float64(5.5))
    t = (m - np.float64(4)) / np.float64(2)
    second = beside_zero(m, _Y0_ZERO_2, t, _Y0_B_HEADS, polynomial(t, (_Y0_B, _Y0_B)))
    m = clamp(x, np.float64(5.5), np.float64(8))
    third = past(m, _Y0_ZERO_3) * polynomial(within(m, 5.5, 8.0), (_Y0_C, _Y0_C))
    far = _late(x, (_P0, _P0), (_Q0, _Q0))
    result = select(x > np.float64(5.5), third, select(x > np.float64(2.5), second, first))
    result = select(x > np.float64(8), far, result)
    result = select(x == np.float64(0), np.float64(-math.inf), result)
    return select(x >= np.float64(0), result, np.float64(math.nan))


@inline
def _bessel_y0_single(x):
    return np.float32(_bessel_y0_double(np.float64(x)))


@by_type(float32=_bessel_y0_single, float64=_bessel_y0_double)
def bessel_y0(x):
    """The Bessel function of the second kind of order 0.

    Error: as that of the first kind. -inf at 0, NaN below.
    """


@inline
def _bessel_y1_double(x):
    near = clamp(x, np.float64(0), np.float64(3.75))
    some = select(near > np.float64(0), near, np.float64(1))
    rest = polynomial(within(near * near, 0.0, 14.44), (_Y1_A, _Y1_A))
    first = past_square(some, _Y1_SQUARE_1) * rest / some
    first += _turn(some, _Y1_ZERO_1) * _j1_near(near)
    m = clamp(x, np.float64(3.75), np.float64(8))
    t = (m - np.float64(5.75)) / np.float64(2)
    second = beside_zero(m, _Y1_ZERO_2, t, _Y1_B_HEADS, polynomial(t, (_Y1_B, _Y1_B)))
    far = -_early(x, (_P1, _P1), (_Q1, _Q1))
    result = select(x > np.float64(8), far, select(x > np.float64(3.75), second, first))
    result = select(x == np.float64(0), np.float64(-math.inf), result)
    return select(x >= np.float64(0), result, np.float64(math.nan))


@inline
def _bessel_y1_single(x):
    return np.float32(_bessel_y1_double(np.float64(x)))


@by_type(float32=_bessel_y1_single, float64=_bessel_y1_double)
def bessel_y1(x):
    """The Bessel function of the second kind of order 1; error and edges as those of order 0."""


@inline
def _spherical_double(x):
    some = select(x == np.float64(0), np.float64(1), x)
    result = select(x == np.float64(0), np.float64(1), sin(some) / some)
    return select(fabs(x) == np.float64(math.inf), np.float64(0), result)


@inline
def _spherical_single(x):
    return np.float32(_spherical_double(np.float64(x)))


@by_type(float32=_spherical_single, float64=_spherical_double)
def spherical_bessel_j0(x):
    """The spherical Bessel function of the first kind of order 0, ``sin(x) / x``, to 2 ulp."""
