"""The gamma function's family: scalar formulas for float32 and float64."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import past
from tilegrad.kernels.formulas.primitives import fabs, fma, parts, polynomial, rint, select
from tilegrad.kernels.formulas.tables import entry, polynomial_slope
from tilegrad.kernels.formulas.transcendental import log
from tilegrad.kernels.formulas.trigonometric import cos_pi, sin_pi
from tilegrad.kernels.function import by_type, inline, mostly

# digamma's positive zero, and digamma(x) / (x - zero) on 1 <= x <= 2 in x - 1.5
_ZERO, _ZERO_LOW = parts("1.4616321449683623412626595423257213284681962040064", np.float64, 2)
_DIGAMMA = (
    0.951055876031833,
    -0.4236274212814606,
    0.24054248424077398,
    -0.14840492305389,
    0.09498872445497283,
    -0.061922133274699545,
    0.0407608338108002,
    -0.026975796691158734,
    0.017907252481709407,
    -0.011908219420989765,
    0.00792694401304124,
    -0.005279946238921453,
    0.0035190121811106718,
    -0.0023454209283937663,
    0.0015565991111043177,
    -0.0010368413024045293,
    0.0007234379656786286,
    -0.00048473334280827373,
    0.00022702294346068835,
    -0.00014697156853535532,
    0.0002598534696426386,
    -0.00017656828537699945,
)
# the Bernoulli numbers B_2, B_4, ...
_BERNOULLI = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
    -174611 / 330,
)
# log(gamma(y)) / ((y - 1) (y - 2)) on 1 <= y <= 2.5 in y - 1.75
_LGAMMA = (
    0.4501393121092563,
    -0.11948158662524275,
    0.044520447198509706,
    -0.019053957830246743,
    0.008776370425248047,
    -0.004226194125965158,
    0.0020955338804095097,
    -0.0010605660740019987,
    0.0005448969786096349,
    -0.0002831906431236558,
    0.0001485169316959345,
    -7.846155515712464e-05,
    4.170398547425869e-05,
    -2.2282594288423964e-05,
    1.1957770114907345e-05,
    -6.432181683017125e-06,
    3.4743902047555273e-06,
    -1.913604138276189e-06,
    1.0453539664710008e-06,
    -5.00698206876323e-07,
    2.6483530790669965e-07,
    -2.5218175116152836e-07,
    1.473396666569237e-07,
    2.764348494750724e-08,
    -2.0836238424934055e-08,
    -5.284037150015791e-08,
    3.067854225552415e-08,
)
# lgamma's zeros beside the poles -2, -3, …: what they are left of the pole, and right of it (-2 has none there), each
# in two numbers
_ZEROS_LEFT = (
    -0.45702473822080064,
    -0.14358088834998006,
    -0.03936183974053688,
    -0.008218168322593521,
    -0.0013852944531550972,
    -0.00019833340732475162,
    -2.48002706819597e-05,
    -2.7557148226503463e-06,
    -2.755730136466002e-07,
    -2.5052106852407546e-08,
    -2.087675687777539e-09,
    -1.6059043830108875e-10,
    -1.147074559737784e-11,
    -7.647163731803788e-13,
    -4.779477332386745e-14,
    -2.811457254345498e-15,
    -1.561920696858622e-16,
    -8.22063524662433e-18,
    -4.110317623312165e-19,
    -1.9572941063391263e-20,
    -8.896791392450574e-22,
    -3.868170170630684e-23,
)
_ZEROS_LEFT_LOW = (
    1.843554041574456e-17,
    3.862806401714152e-18,
    3.2731379225891636e-18,
    -5.582665915956405e-19,
    -2.6295731811446077e-20,
    1.1820573401560963e-20,
    1.0083974251164085e-21,
    -5.624459871432079e-23,
    -2.4472526783403563e-23,
    1.2924868620853802e-24,
    -4.849684877236172e-26,
    7.046449983196074e-27,
    4.194056116105366e-28,
    4.886154187641447e-29,
    -1.811833433216651e-30,
    -2.2878206410005478e-32,
    9.970308044546635e-33,
    -2.0674364147742136e-35,
    -9.30988539762946e-37,
    1.3655257886744649e-36,
    7.911649065141598e-38,
    8.843224893988871e-40,
)
_ZEROS_RIGHT = (
    0.5,
    0.2523173532725874,
    0.04470571514140207,
    0.008455359439952277,
    0.0013925199191243706,
    0.0001984921093623021,
    2.4802904179335845e-05,
    2.7557490225318057e-06,
    2.7557337083353163e-07,
    2.5052109918476226e-08,
    2.087675709796081e-09,
    1.6059043843534355e-10,
    1.147074559808161e-11,
    7.647163731835846e-13,
    4.779477332388026e-14,
    2.8114572543455435e-15,
    1.5619206968586233e-16,
    8.22063524662433e-18,
    4.110317623312165e-19,
    1.9572941063391263e-20,
    8.896791392450574e-22,
    3.868170170630684e-23,
)
_ZEROS_RIGHT_LOW = (
    0.0,
    -2.04688991691325e-17,
    8.223977942582053e-19,
    8.231751957350036e-19,
    -7.090441230646531e-20,
    6.263909978492175e-21,
    3.15397713595963e-22,
    -6.500300408654724e-23,
    1.4502658434955713e-23,
    -6.807394864189793e-25,
    -8.658839215884982e-26,
    6.465141936497467e-27,
    -7.830340218001236e-28,
    -3.8035184915187745e-29,
    -9.319923331229129e-31,
    -8.713180440266469e-32,
    9.139764076937634e-33,
    4.221635182443431e-34,
    1.951606135968959e-36,
    -1.3631749773431166e-36,
    -7.911156164603155e-38,
    -8.843130416975817e-40,
)
_LAST_ZERO = len(_ZEROS_LEFT) + 1
# lgamma's zeros left of -2, and lgamma(x) / ((x - first) (x - second)) on -2.8125 <= x <= -2.40625 in x + 2.609375
_FIRST_ZERO = (-2.4570247382208006, -3.7075610815513266e-17)
_SECOND_ZERO = (-2.7476826467274127, 9.055340329338315e-17)
_LGAMMA_BETWEEN = (
    5.629491505626311,
    -4.443513905130591,
    13.514874364898608,
    -21.117007012868132,
    54.12856840697903,
    -106.56961575159806,
    257.3873045054488,
    -560.654460829115,
    1333.1040671455032,
    -3049.3068451246454,
    7253.0659889775425,
    -17027.805926445948,
    40722.3722873561,
    -97034.50956667357,
    233549.1855759456,
    -565913.0453163171,
    1370541.6390392482,
    -3131252.487801427,
    7612453.496332889,
    -26109675.12060675,
    64128992.55714304,
    51843330.66166087,
    -133136049.90834835,
    -3674805334.104494,
    9127527778.863,
    27920903881.46463,
    -69561385983.68892,
    -204015225248.56934,
    507153239501.5206,
)
# log(gamma(x)) - (x - 1 / 2) (log(x) - 1) - _STIRLING, as a series in 1 / x^2, over x
_STIRLING = (math.log(2 * math.pi) - 1) / 2
_LGAMMA_FAR = tuple(b / ((2 * k + 2) * (2 * k + 1)) for k, b in enumerate(_BERNOULLI))
# log(x) - 1 / (2 x) - digamma(x), and trigamma(x) - 1 / x - 1 / (2 x^2), as series in 1 / x^2
_DIGAMMA_FAR = (0.0, *(b / (2 * k + 2) for k, b in enumerate(_BERNOULLI)))
_TRIGAMMA_FAR = (0.0, *_BERNOULLI)
_FAR = 8


@inline
def _keeps_digits_double(x):
    return not ((x < np.float64(-2)) & (x > np.float64(-_LAST_ZERO)))


@inline
def _keeps_digits_single(x):
    return True


@by_type(float32=_keeps_digits_single, float64=_keeps_digits_double)
def keeps_digits(x):
    """Whether lgamma's reflection does: left of -2 are zeros, ever nearer to the poles; float32 has digits to spare."""


@inline
def _past_poles(gap, below, d, n, r, zero, first):
    """Both with the factors of the poles that are ``first`` and up to five more further right, of n: a loop short
    enough to be unrolled.
    """
    for k in range(6):
        step = first + np.float64(k)
        inside = n >= step
        gap = select(inside, fma(gap, r - step, below * d), gap)
        below = select(inside, below * (zero - step), below)
    return gap, below


@inline
def _lgamma_by_zero(x):
    """Between the poles -_LAST_ZERO and -2: log |gamma(x) / gamma(x - d)| of the zero x - d beside the nearest pole,
    in steps that are as small as d.
    """
    one = np.float64(1)
    n = -rint(x + np.float64(0.1))
    r = x + n
    right = r > np.float64(0)
    place = n - np.float64(2)
    zero = select(right, entry(place, _ZEROS_RIGHT), entry(place, _ZEROS_LEFT))
    zero_low = select(right, entry(place, _ZEROS_RIGHT_LOW), entry(place, _ZEROS_LEFT_LOW))
    d = (r - zero) - zero_low
    # gamma(x) is gamma(r + 2) over (r + 1) r (r - 1) … (r - n), which without r is 1 + gap / below times the zero's
    gap, below = d, zero + one
    gap, below = _past_poles(gap, below, d, n, r, zero, one)
    gap, below = _past_poles(gap, below, d, n, r, zero, np.float64(7))
    gap, below = _past_poles(gap, below, d, n, r, zero, np.float64(13))
    gap, below = _past_poles(gap, below, d, n, r, zero, np.float64(19))
    gap /= below
    part = d / zero
    close = (part > np.float64(-0.25)) & (part < np.float64(0.75))
    # the ratio with r, and what it does not hold
    excess = fma(gap, part, gap + part)
    whole, rest = one + gap, r / zero
    ratio = select(close, one + excess, whole * rest)
    lost = fma(whole, rest, -ratio) + fma(
        gap - (whole - one), rest, whole * (fma(-rest, zero, r) - rest * zero_low) / zero
    )
    lost = select(close, excess - (ratio - one), lost)
    logarithm = log(ratio) + lost / ratio
    t = r + np.float64(0.25)
    value = polynomial(t, (_LGAMMA, _LGAMMA))
    slope = polynomial_slope(t, zero + np.float64(0.25), _LGAMMA)
    risen = fma(r + one + zero, value, (one + zero) * zero * slope)
    result = fma(d, risen, -logarithm)
    # between the first two nothing is large beside the result
    between = polynomial(x + np.float64(2.609375), (_LGAMMA_BETWEEN, _LGAMMA_BETWEEN))
    between *= past(x, _FIRST_ZERO) * past(x, _SECOND_ZERO)
    inside = (x > np.float64(-2.8125)) & (x < np.float64(-2.40625))
    return select(inside, between, result)


@inline
def _lgamma_near(x):
    """By reflection to x >= -1/2, by recurrence to [1, 2.5) or to Stirling's series from 8 on."""
    one, half = np.float64(1), np.float64(0.5)
    negative = x < -half
    a = select(negative, -x, x)
    below, low, far = a < np.float64(0), a < one, a >= np.float64(_FAR)
    # gamma(a) = product * gamma(y), or gamma(y) / product for low a; y - 1 and y - 2 are exact
    product = select(below, a * (a + one), select(low, a, one))
    y = a
    for _ in range(_FAR - 2):
        down = (y >= np.float64(2.5)) & (not far)
        y = select(down, y - one, y)
        product *= select(down, y, one)
    first = select(below, a + one, select(low, a, y - one))
    second = select(below, a, select(low, a - one, y - np.float64(2)))
    logarithm = log(select(far, a, fabs(product)))
    near = first * second * polynomial(second + np.float64(0.25), (_LGAMMA, _LGAMMA))
    near += select(low, -logarithm, logarithm)
    inverse = one / a
    series = polynomial(inverse * inverse, (_LGAMMA_FAR, _LGAMMA_FAR))
    stirling = (a - half) * (logarithm - one) + fma(inverse, series, np.float64(_STIRLING))
    result = select(far, stirling, near)
    mirror = log(np.float64(math.pi) / (a * fabs(sin_pi(x)))) - result
    result = select(negative, mirror, result)
    pole = negative & (x == rint(x))
    return select(pole | (x == np.float64(math.inf)), np.float64(math.inf), result)


@inline
def _lgamma_double(x):
    near = _keeps_digits_double(x) | (x == rint(x))
    return select(near, _lgamma_near(x), _lgamma_by_zero(select(near, np.float64(-2.5), x)))


@inline
def _lgamma_single(x):
    return np.float32(_lgamma_near(np.float64(x)))


@by_type(float32=_lgamma_single, float64=_lgamma_near)
def lgamma_near(x):
    """:func:`lgamma`, to the bit, where :func:`keeps_digits` holds: of all x above 0."""


@mostly(lgamma_near, keeps_digits)
@by_type(float32=_lgamma_single, float64=_lgamma_double)
def lgamma(x):
    """log |gamma(x)|, infinite at 0 and the negative integers.

    Error: 0.51 ulp in float32, in float64 2.5 of x > 0 and 4 of others.
    """


@inline
def lgamma_grad(x):
    """d lgamma(x) / dx = digamma(x)."""
    return digamma(x)


@inline
def _digamma_double(x):
    """By the reflection formula to x > 0, by recurrence to [1, 2] or to the series from 8 on."""
    zero, one, two = np.float64(0), np.float64(1), np.float64(2)
    negative = x < zero
    reflected = np.float64(math.pi) * cos_pi(x) / sin_pi(x)
    y = select(negative, one - x, x)
    low = y < one
    total = select(low, -one / y, zero)
    y = select(low, y + one, y)
    far = y >= np.float64(_FAR)
    for _ in range(_FAR - 2):
        down = (y > two) & (not far)
        y = select(down, y - one, y)
        total += select(down, one / y, zero)
    near = (y - np.float64(_ZERO)) - np.float64(_ZERO_LOW)
    near = near * polynomial(y - np.float64(1.5), (_DIGAMMA, _DIGAMMA))
    inverse = one / y
    series = polynomial(inverse * inverse, (_DIGAMMA_FAR, _DIGAMMA_FAR))
    result = total + select(far, log(y) - (np.float64(0.5) * inverse + series), near)
    result = select(negative, result - reflected, result)
    result = select(negative & (x == rint(x)), np.float64(math.nan), result)
    return select(x == zero, -one / x, result)


@inline
def _digamma_single(x):
    return np.float32(_digamma_double(np.float64(x)))


@by_type(float32=_digamma_single, float64=_digamma_double)
def digamma(x):
    """The derivative of log gamma(x): NaN at the negative integers, -inf at 0 and inf at -0.

    Error: 0.51 ulp in float32, 3.4 in float64 of x > 0.
    """


@inline
def digamma_grad(x):
    """d digamma(x) / dx = trigamma(x)."""
    return trigamma(x)


@inline
def _trigamma_double(x):
    """By the reflection formula to x > 0, by recurrence to the series from 8 on."""
    one, half = np.float64(1), np.float64(0.5)
    negative = x < np.float64(0)
    sine = sin_pi(x)
    y = select(negative, one - x, x)
    total = np.float64(0)
    for _ in range(_FAR):
        up = y < np.float64(_FAR)
        total += select(up, one / (y * y), np.float64(0))
        y = select(up, y + one, y)
    inverse = one / y
    square = inverse * inverse
    series = polynomial(square, (_TRIGAMMA_FAR, _TRIGAMMA_FAR)) * inverse
    total += inverse + (half * square + series)
    return select(negative, np.float64(math.pi**2) / (sine * sine) - total, total)


@inline
def _trigamma_single(x):
    return np.float32(_trigamma_double(np.float64(x)))


@by_type(float32=_trigamma_single, float64=_trigamma_double)
def trigamma(x):
    """The second derivative of log gamma(x): infinite at 0 and the negative integers.

    Error: 0.51 ulp in float32, 4 in float64.
    """
