"""Modified Bessel functions of the first kind, of orders 0 and 1: scalar formulas for float32 and float64.

I of |x| <= 2 is by its power series, up to 8 by a polynomial of e^-|x| I, beyond by one of sqrt(x) e^-x I in
16 / x - 1. The polynomials interpolate at Chebyshev's points.
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
    polynomial,
    select,
    sqrt,
)
from tilegrad.kernels.formulas.transcendental import exp
from tilegrad.kernels.function import by_type, inline

# e^-x I0(x) and e^-x I1(x) on 2 <= x <= 8, in (x - 5) / 3
_I0_NEAR = (
    0.18354081260932836,
    -0.05870563699435796,
    0.028541870732985808,
    -0.01566541646424634,
    0.009141159055538117,
    -0.0054879348407501005,
    0.003295676371206746,
    -0.0019326154567072293,
    0.0010869627941368235,
    -0.0005796245477705067,
    0.00029120464115879103,
    -0.00013746729315101928,
    6.095020657796851e-05,
    -2.540605556261535e-05,
    9.973102491846294e-06,
    -3.6947983131452398e-06,
    1.2945210267578902e-06,
    -4.2948589836345613e-07,
    1.3553767861687303e-07,
    -4.116968104193959e-08,
    1.1784639362877825e-08,
    -2.9428231145060597e-09,
    7.771114263444518e-10,
    -2.991489229552113e-10,
    7.13800586351453e-11,
)
_I1_NEAR = (
    0.16397226694454237,
    -0.03967772317236745,
    0.012876454268742041,
    -0.0034772043901933466,
    -5.399012510855885e-06,
    0.0011034179016025756,
    -0.0012137596918006947,
    0.0009659519951062153,
    -0.0006519108763573803,
    0.00039105758386517826,
    -0.00021284193609072467,
    0.00010633355722172471,
    -4.914332820342338e-05,
    2.1135022769232538e-05,
    -8.499317268458122e-06,
    3.20943439831857e-06,
    -1.141852073004665e-06,
    3.8359832774359147e-07,
    -1.2232712799450222e-07,
    3.7499099183491575e-08,
    -1.0813537587927578e-08,
    2.7121960741645924e-09,
    -7.204580490732304e-10,
    2.7985480755419246e-10,
    -6.703830668177139e-11,
)
# sqrt(x) e^-x I(x) from 8 on, in 16 / x - 1
_I0_FAR = (
    0.4021765094450081,
    0.0033605519836678614,
    0.00013621607438984735,
    1.1143033790932038e-05,
    1.4838476651250266e-06,
    2.9735985885673923e-07,
    8.872034383314144e-08,
    3.932584334552952e-08,
    2.1566251453104354e-08,
    7.554691881248808e-09,
    -6.8493381882867694e-09,
    -1.340891754008974e-08,
    -5.0381064879032845e-09,
    7.552583062123384e-09,
    6.560138746917057e-09,
    -3.5059665308793316e-09,
    -4.575553424534973e-09,
    1.5200816953924227e-09,
    2.1968921378829006e-09,
    -5.715843864202707e-10,
    -6.633287112547084e-10,
    1.5279202694981558e-10,
    9.36508689281819e-11,
    -2.026060428741361e-11,
)
_I1_FAR = (
    0.38939845902587233,
    -0.009749577193235737,
    -0.0002192357638317243,
    -1.5038547200567216e-05,
    -1.8349102358955385e-06,
    -3.483855761044295e-07,
    -1.000109565963654e-07,
    -4.312917729178349e-08,
    -2.339250374801858e-08,
    -8.427766093735185e-09,
    6.8401389977069586e-09,
    1.4034238782067183e-08,
    5.59337010179061e-09,
    -7.64239413436356e-09,
    -6.983839624895866e-09,
    3.4262341490077958e-09,
    4.810597405089944e-09,
    -1.4387250533041011e-09,
    -2.297004161885201e-09,
    5.295625441161259e-10,
    6.917089294193807e-10,
    -1.4011625179770617e-10,
    -9.752397204138194e-11,
    1.851511882885294e-11,
)
# I0(x) and I1(x) / x, in x^2
_I0_SMALL = (
    1.0,
    0.25,
    0.015625,
    0.00043402777777777775,
    6.781684027777777e-06,
    6.781684027777778e-08,
    4.709502797067901e-10,
    2.4028075495244395e-12,
    9.385966990329842e-15,
    2.896903392077112e-17,
    7.242258480192779e-20,
    1.4963343967340453e-22,
    2.5978027721077174e-25,
    3.842903509035085e-28,
)
_I1_SMALL = (
    0.5,
    0.0625,
    0.0026041666666666665,
    5.425347222222222e-05,
    6.781684027777778e-07,
    5.651403356481481e-09,
    3.363930569334215e-11,
    1.5017547184527747e-13,
    5.214426105738801e-16,
    1.4484516960385557e-18,
    3.2919356728148996e-21,
    6.234726653058522e-24,
    9.991549123491221e-27,
)


@inline
def _small(a):
    """x^2, of |x| held at 2 at most."""
    kept = clamp(a, np.float64(0), np.float64(2))
    return kept * kept


@inline
def _beyond(a, near, far):
    """e^-a I(a) from a = 2 on, by the polynomials of the two intervals."""
    kept = clamp(a, np.float64(2), np.float64(8))
    middle = polynomial((kept - np.float64(5)) * np.float64(1 / 3), near)
    big = select(a > np.float64(8), a, np.float64(8))
    tail = polynomial(np.float64(16) / big - np.float64(1), far) / sqrt(big)
    return select(a > np.float64(8), tail, middle)


@inline
def i0_small(a):
    """I0 of 0 <= a <= 2."""
    return polynomial(_small(a), (_I0_SMALL, _I0_SMALL))


@inline
def i1_small(a):
    """I1 of 0 <= a <= 2."""
    kept = clamp(a, np.float64(0), np.float64(2))
    return kept * polynomial(kept * kept, (_I1_SMALL, _I1_SMALL))


@inline
def _i0e_double(x):
    a = fabs(x)
    near = exp(-clamp(a, np.float64(0), np.float64(2))) * i0_small(a)
    result = select(a > np.float64(2), _beyond(a, (_I0_NEAR, _I0_NEAR), (_I0_FAR, _I0_FAR)), near)
    return select(x != x, x, result)


@inline
def _i0e_single(x):
    return np.float32(_i0e_double(np.float64(x)))


@by_type(float32=_i0e_single, float64=_i0e_double)
def i0e(x):
    """e^-|x| I0(x).

    Error: 0.51 ulp in float32, 1.7 in float64.
    """


@inline
def _grown(x, scaled):
    """``e^|x| scaled``, which overflows where it must and not before."""
    half = exp(fabs(x) * np.float64(0.5))
    return (scaled * half) * half


@inline
def _i0_double(x):
    a = fabs(x)
    far = _grown(a, _beyond(a, (_I0_NEAR, _I0_NEAR), (_I0_FAR, _I0_FAR)))
    result = select(a > np.float64(2), far, i0_small(a))
    return select(a == np.float64(math.inf), a, select(x != x, x, result))


@inline
def _i0_single(x):
    return np.float32(_i0_double(np.float64(x)))


@by_type(float32=_i0_single, float64=_i0_double)
def i0(x):
    """The modified Bessel function of the first kind of order 0.

    Error: 0.51 ulp in float32, 3.4 in float64.
    """


@inline
def _i1e_double(x):
    a = fabs(x)
    near = exp(-clamp(a, np.float64(0), np.float64(2))) * i1_small(a)
    result = select(a > np.float64(2), _beyond(a, (_I1_NEAR, _I1_NEAR), (_I1_FAR, _I1_FAR)), near)
    return select(x != x, x, copysign(result, x))


@inline
def _i1e_single(x):
    return np.float32(_i1e_double(np.float64(x)))


@by_type(float32=_i1e_single, float64=_i1e_double)
def i1e(x):
    """e^-|x| I1(x).

    Error: 0.51 ulp in float32, 2 in float64.
    """


@inline
def _i1_double(x):
    a = fabs(x)
    far = _grown(a, _beyond(a, (_I1_NEAR, _I1_NEAR), (_I1_FAR, _I1_FAR)))
    result = copysign(select(a > np.float64(2), far, i1_small(a)), x)
    return select((a == np.float64(math.inf)) | (x != x), x, result)


@inline
def _i1_single(x):
    return np.float32(_i1_double(np.float64(x)))


@by_type(float32=_i1_single, float64=_i1_double)
def i1(x):
    """The modified Bessel function of the first kind of order 1.

    Error: 0.51 ulp in float32, 3.1 in float64.
    """


@inline
def i0_grad(x):
    """d I0(x) / dx = I1(x)."""
    return i1(x)


@inline
def i0e_grad(x, out):
    """d (e^-|x| I0(x)) / dx = e^-|x| I1(x) - sign(x) e^-|x| I0(x)."""
    return i1e(x) - select(x == cast(0.0, x), cast(0.0, x), copysign(out, x))


@inline
def _over(out, x):
    """``out / x``, where that is a half near 0, and nothing counts beyond the largest number."""
    low = fabs(x) < const(x, (2.0**-24, 2.0**-54))
    ratio = out / select(low, cast(1.0, x), x)
    return select(low, cast(0.5, x), select(fabs(out) < cast(math.inf, x), ratio, cast(0.0, x)))


@inline
def i1_grad(x, out):
    """d I1(x) / dx = I0(x) - I1(x) / x."""
    return i0(x) - _over(out, x)


@inline
def i1e_grad(x, out):
    """d (e^-|x| I1(x)) / dx = e^-|x| (I0(x) - I1(x) / x) - sign(x) e^-|x| I1(x)."""
    return i0e(x) - _over(out, x) - fabs(out)
