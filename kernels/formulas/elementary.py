"""The table of elementary and special functions, and their derivatives by hand."""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.formulas import (
    angles as a,
    gamma as g,
    hyperbolic as h,
    polygamma as y,
    powers as p,
    special as s,
    transcendental as e,
    trigonometric as t,
)
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import INTEGERS, Formula, table
from tilegrad.kernels.formulas.primitives import ceil, floor, fma, rint, select, sqrt, trunc
from tilegrad.kernels.function import inline

_UNIT = ((-0.9, 0.9),)
_POSITIVE = ((0.1, 4.0),)


@inline
def root(x):
    """sqrt(x)"""
    return sqrt(x)


@inline
def root_grad(out):
    """1 / (2 sqrt(x))"""
    T = type(out)
    return T(0.5) / out


@inline
def rsqrt(x):
    """1 / sqrt(x)"""
    T = type(x)
    return T(1) / sqrt(x)


@inline
def rsqrt_grad(out):
    """-1/2 x^(-3/2)"""
    T = type(out)
    return T(-0.5) * (out * out * out)


@inline
def round_down(x):
    """The greatest integer not above x."""
    return floor(x)


@inline
def round_up(x):
    """The least integer not below x."""
    return ceil(x)


@inline
def round_even(x):
    """The nearest integer, ties to even."""
    return rint(x)


@inline
def round_to_zero(x):
    """x without its fraction."""
    return trunc(x)


@inline
def fraction(x):
    """x minus its integral part."""
    return x - trunc(x)


@inline
def logit(x):
    """log(x / (1 - x)), the inverse of sigmoid.

    Error: 1.5 ulp.
    """
    T = type(x)
    rest = T(1) - x
    ratio = x / rest
    # what the roundings left out, over x: it counts where the quotient is nearly 1, and x a half
    missed = fma(-ratio, rest, x) - ratio * ((T(1) - rest) - x)
    result = e.log(ratio)
    return select(x < T(1), fma(T(2), missed, result), result)


@inline
def logit_grad(x):
    """1 / (x (1 - x)): infinite at both ends of [0, 1], NaN beyond them, as the function is."""
    T = type(x)
    slope = T(1) / abs(x * (T(1) - x))
    return slope if x >= T(0) and x <= T(1) else T(np.nan)


declare(root, x=root_grad)
declare(logit, x=logit_grad)
declare(rsqrt, x=rsqrt_grad)
declare(e.exp, x=e.exp_grad)
declare(e.exp2, x=e.exp2_grad)
declare(e.expm1, x=e.expm1_grad)
declare(e.log, x=e.log_grad)
declare(e.log1p, x=e.log1p_grad)
declare(e.log2, x=e.log2_grad)
declare(e.log10, x=e.log10_grad)
declare(e.sigmoid, x=e.sigmoid_grad)
declare(e.tanh, x=e.tanh_grad)
declare(t.sin, x=t.sin_grad)
declare(t.cos, x=t.cos_grad)
declare(t.tan, x=t.tan_grad)
declare(t.sin_pi, x=t.sin_pi_grad)
declare(t.cos_pi, x=t.cos_pi_grad)
declare(t.sinc, x=t.sinc_grad)
declare(a.asin, x=a.asin_grad)
declare(a.acos, x=a.acos_grad)
declare(a.atan, x=a.atan_grad)
declare(a.atan2, x=a.atan2_grad_x, y=a.atan2_grad_y)
declare(h.sinh, x=h.sinh_grad)
declare(h.cosh, x=h.cosh_grad)
declare(h.asinh, x=h.asinh_grad)
declare(h.acosh, x=h.acosh_grad)
declare(h.atanh, x=h.atanh_grad)
declare(h.atanh_grad, x=h.atanh_curve)
declare(s.bell, x=s.bell_grad)
declare(s.erf, x=s.erf_grad)
declare(s.erfc, x=s.erfc_grad)
declare(s.erfinv, x=s.erfinv_grad)
declare(g.lgamma, x=g.lgamma_grad)
declare(g.digamma, x=g.digamma_grad)
declare(g.trigamma, x=y.trigamma_grad)
declare(y.polygamma, x=y.polygamma_grad)
declare(p.pow, x=p.pow_grad_x, y=p.pow_grad_y)
declare(p.hypot, x=p.hypot_grad_x, y=p.hypot_grad_y)
declare(p.fmod, x=1, y=p.fmod_grad_y)
declare(p.remainder, x=1, y=p.remainder_grad_y)
declare(p.remainder_grad_y, x=0, y=0)
declare(p.logaddexp, x=p.logaddexp_grad_x, y=p.logaddexp_grad_y)
declare(p.logaddexp2, x=p.logaddexp2_grad_x, y=p.logaddexp2_grad_y)
declare(p.xlogy, x=p.xlogy_grad_x, y=p.xlogy_grad_y)

TABLE = table(
    Formula("sqrt", root, domain=_POSITIVE),
    Formula("rsqrt", rsqrt, domain=_POSITIVE),
    Formula("floor", round_down, kind="rounding"),
    Formula("ceil", round_up, kind="rounding"),
    Formula("round", round_even, caller="round"),
    Formula("trunc", round_to_zero, kind="rounding", aliases=("fix", "fix_")),
    Formula("logit", logit, domain=((0.1, 0.9),), caller="logit"),
    Formula("frac", fraction, kinks=(-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0), excludes=INTEGERS),
    Formula("exp", e.exp),
    Formula("exp2", e.exp2),
    Formula("expm1", e.expm1),
    Formula("log", e.log, domain=_POSITIVE),
    Formula("log1p", e.log1p, domain=((-0.7, 4.0),)),
    Formula("log2", e.log2, domain=_POSITIVE),
    Formula("log10", e.log10, domain=_POSITIVE),
    Formula("sigmoid", e.sigmoid, home=("tilegrad", "nn.functional")),
    Formula("tanh", e.tanh, home=("tilegrad", "nn.functional")),
    Formula("sin", t.sin),
    Formula("cos", t.cos),
    Formula("tan", t.tan, domain=((-1.3, 1.3),)),
    Formula("sinc", t.sinc, order=1),
    Formula("asin", a.asin, domain=_UNIT, aliases=("arcsin", "arcsin_")),
    Formula("acos", a.acos, domain=_UNIT, aliases=("arccos", "arccos_")),
    Formula("atan", a.atan, aliases=("arctan", "arctan_")),
    Formula("atan2", a.atan2, aliases=("arctan2", "arctan2_")),
    Formula("sinh", h.sinh),
    Formula("cosh", h.cosh),
    Formula("asinh", h.asinh, aliases=("arcsinh", "arcsinh_")),
    Formula("acosh", h.acosh, domain=((1.2, 4.0),), aliases=("arccosh", "arccosh_")),
    Formula("atanh", h.atanh, domain=_UNIT, aliases=("arctanh", "arctanh_")),
    Formula("erf", s.erf),
    Formula("erfc", s.erfc),
    Formula("erfinv", s.erfinv, domain=_UNIT, twin="method"),
    Formula("lgamma", g.lgamma, domain=((0.3, 4.0),), twin="method"),
    Formula(
        "digamma",
        g.digamma,
        domain=((0.5, 4.0),),
        twin="method",
        tolerance=10,
        reason="PyTorch's own trigamma is good to 1e-9",
    ),
    Formula("pow", p.pow, kind="same", domain=((0.2, 3.0), (-2.0, 2.0)), caller="pow"),
    Formula("hypot", p.hypot, excludes=INTEGERS),
    Formula(
        "fmod",
        p.fmod,
        domain=((-3.0, 3.0), (3.5, 5.0)),
        caller="fmod",
        excludes=INTEGERS,
        denormals=False,
    ),
    Formula(
        "remainder",
        p.remainder,
        domain=((0.2, 3.0), (3.5, 5.0)),
        caller="remainder",
        excludes=INTEGERS,
        denormals=False,
    ),
    Formula("logaddexp", p.logaddexp, excludes=INTEGERS, twin="none"),
    Formula("logaddexp2", p.logaddexp2, excludes=INTEGERS, twin="none"),
    Formula("xlogy", p.xlogy, masks=True, twin="function", domain=((-3.0, 3.0), (0.2, 3.0))),
)
