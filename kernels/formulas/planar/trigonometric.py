"""Hyperbolic and trigonometric functions of complex numbers, by the real ones of both parts.

Source: W. Kahan, "Branch Cuts for Complex Elementary Functions", 1987, for signs and special values.
"""

from __future__ import annotations

import math

from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.hyperbolic import cosh as real_cosh, sinh as real_sinh
from tilegrad.kernels.formulas.pair import over_i, paired, times_i
from tilegrad.kernels.formulas.planar.arithmetic import divide
from tilegrad.kernels.formulas.planar.exponential import AGAIN, BACK, FAR, is_odd, near_across
from tilegrad.kernels.formulas.primitives import cast, const, copysign, fabs, fma, select, sqrt
from tilegrad.kernels.formulas.quadrants import is_near
from tilegrad.kernels.formulas.transcendental import exp_decay as real_exp_decay
from tilegrad.kernels.formulas.trigonometric import (
    cos as real_cos,
    cos_near as real_cos_near,
    sin as real_sin,
    sin_near as real_sin_near,
    tan as real_tan,
    tan_near as real_tan_near,
)
from tilegrad.kernels.function import DeviceFunction, inline, mostly

# of d (sin t / t) / dt over t, in t^2
_SLOPES = tuple((-1) ** (k + 1) * (2 * k + 2) / math.factorial(2 * k + 3) for k in range(8))


@inline
def near_along(z):
    """The real part is an angle that sines reduce in few steps."""
    return is_near(z.real)


@inline
def _near_axis(x):
    """(x within range of e^x, what cosh and sinh of it are to be multiplied by)"""
    a = fabs(x)
    far = a > const(x, FAR)
    kept = copysign(select(far, a - const(x, BACK), a), x)
    return kept, select(far, const(x, AGAIN), cast(1.0, x))


def _hyperbolic_sine(sine: DeviceFunction, cosine: DeviceFunction) -> DeviceFunction:
    @inline
    def sinh(z):
        x, y = z.real, z.imag
        kept, again = _near_axis(x)
        re, im = real_sinh(kept) * cosine(y) * again, real_cosh(kept) * sine(y) * again
        whole = (x == cast(0.0, x)) | (fabs(x) == cast(math.inf, x))
        re = select(is_odd(y) & whole, x, re)
        return paired(re, select(y == cast(0.0, y), y, im))

    return sinh


def _hyperbolic_cosine(sine: DeviceFunction, cosine: DeviceFunction) -> DeviceFunction:
    @inline
    def cosh(z):
        x, y = z.real, z.imag
        kept, again = _near_axis(x)
        re, im = real_cosh(kept) * cosine(y) * again, real_sinh(kept) * sine(y) * again
        odd, zero = is_odd(y), cast(0.0, x)
        re = select(odd & (fabs(x) == cast(math.inf, x)), fabs(x), re)
        im = select(odd & (x == zero), x, im)
        return paired(re, select(y == zero, y * copysign(cast(1.0, x), x), im))

    return cosh


def _hyperbolic_tangent(
    sine: DeviceFunction, cosine: DeviceFunction, tangent: DeviceFunction
) -> DeviceFunction:
    @inline
    def tanh(z):
        x, y = z.real, z.imag
        one, zero = cast(1.0, x), cast(0.0, x)
        a, limit = fabs(x), const(x, (11.0, 22.0))
        far = a > limit
        s = real_sinh(copysign(select(far, limit, a), x))
        slope = tangent(y)
        beta = fma(slope, slope, one)
        total = fma(beta * s, s, one)
        re, im = beta * sqrt(fma(s, s, one)) * s / total, slope / total
        decay = real_exp_decay(-(a + a))
        beyond = cast(4.0, x) * sine(y) * cosine(y) * decay
        beyond = select(is_odd(y), copysign(zero, y), beyond)
        re = select(far, copysign(one, x), select((x == zero) & is_odd(y), x, re))
        return paired(re, select(y == zero, y, select(far, beyond, im)))

    return tanh


_sinh_near, _sinh = (
    _hyperbolic_sine(real_sin_near, real_cos_near), _hyperbolic_sine(real_sin, real_cos)
)  # fmt: skip
_cosh_near, _cosh = (
    _hyperbolic_cosine(real_sin_near, real_cos_near), _hyperbolic_cosine(real_sin, real_cos)
)  # fmt: skip
_tanh_near, _tanh = (
    _hyperbolic_tangent(real_sin_near, real_cos_near, real_tan_near), _hyperbolic_tangent(real_sin, real_cos, real_tan)
)  # fmt: skip


@mostly(_sinh_near, near_across)
@inline
def sinh(x):
    """sinh re cos im + i cosh re sin im"""
    return _sinh(x)


@mostly(_cosh_near, near_across)
@inline
def cosh(x):
    """cosh re cos im + i sinh re sin im"""
    return _cosh(x)


@mostly(_tanh_near, near_across)
@inline
def tanh(x):
    """sinh x / cosh x, by the tangent of im and the sine of re"""
    return _tanh(x)


@inline
def _sin_near(x):
    return over_i(_sinh_near(times_i(x)))


@inline
def _cos_near(x):
    return _cosh_near(times_i(x))


@inline
def _tan_near(x):
    return over_i(_tanh_near(times_i(x)))


@mostly(_sin_near, near_along)
@inline
def sin(x):
    """sinh(i x) / i"""
    return over_i(_sinh(times_i(x)))


@mostly(_cos_near, near_along)
@inline
def cos(x):
    """cosh(i x)"""
    return _cosh(times_i(x))


@mostly(_tan_near, near_along)
@inline
def tan(x):
    """tanh(i x) / i"""
    return over_i(_tanh(times_i(x)))


@inline
def sinh_grad(x):
    """cosh x"""
    return cosh(x)


@inline
def cosh_grad(x):
    """sinh x"""
    return sinh(x)


@inline
def tanh_grad(out):
    """1 - tanh(x)^2"""
    T = type(out)
    return T(1) - out * out


@inline
def sin_grad(x):
    """cos x"""
    return cos(x)


@inline
def cos_grad(x):
    """-sin x"""
    return -sin(x)


@inline
def tan_grad(out):
    """1 + tan(x)^2"""
    T = type(out)
    return T(1) + out * out


@inline
def _is_near(x):
    """|re| + |im| below a quarter"""
    return fabs(x.real) + fabs(x.imag) < cast(0.25, x.real)


@inline
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0"""
    T = type(x)
    one = T(1)
    turned = x * T(math.pi)
    some = select(x == T(0), one, turned)
    return select(x == T(0), one, divide(sin(some), some))


@inline
def sinc_grad(x):
    """(cos(pi x) - sinc(x)) / x; its series near 0"""
    T = type(x)
    turned = x * T(math.pi)
    z = turned * turned
    tail = T(_SLOPES[4]) + z * (T(_SLOPES[5]) + z * (T(_SLOPES[6]) + z * T(_SLOPES[7])))
    head = T(_SLOPES[1]) + z * (T(_SLOPES[2]) + z * (T(_SLOPES[3]) + z * tail))
    near = turned * T(math.pi) * (T(_SLOPES[0]) + z * head)
    some = select(_is_near(x), T(1), x)
    return select(_is_near(x), near, divide(cos(some * T(math.pi)) - sinc(some), some))


@inline
def tanhshrink(x):
    """x - tanh(x)"""
    return x - tanh(x)


declare(sinc, x=sinc_grad)
declare(sinh, x=sinh_grad)
declare(cosh, x=cosh_grad)
declare(tanh, x=tanh_grad)
declare(sin, x=sin_grad)
declare(cos, x=cos_grad)
declare(tan, x=tan_grad)

TABLE = table(
    *[
        Formula(function.__name__, function, kind="same")
        for function in (sinh, cosh, tanh, sin, cos, tan, sinc, tanhshrink)
    ],
)
