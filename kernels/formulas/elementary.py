"""The table of elementary and special functions, and their derivatives by hand."""

from __future__ import annotations

from tilegrad.kernels.formulas import special as s
from tilegrad.kernels.formulas import transcendental as e
from tilegrad.kernels.formulas import trigonometric as t
from tilegrad.kernels.formulas.derive import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.primitives import ceil, floor, rint, sqrt, trunc
from tilegrad.kernels.function import inline

_UNIT = ((-0.9, 0.9),)
_POSITIVE = ((0.1, 4.0),)


@inline
def root(x):  # type: ignore[no-untyped-def]
    """sqrt(x)"""
    return sqrt(x)


@inline
def root_grad(out):  # type: ignore[no-untyped-def]
    """1 / (2 sqrt(x))"""
    T = type(out)
    return T(0.5) / out


@inline
def rsqrt(x):  # type: ignore[no-untyped-def]
    """1 / sqrt(x)"""
    T = type(x)
    return T(1) / sqrt(x)


@inline
def rsqrt_grad(out):  # type: ignore[no-untyped-def]
    """-1/2 x^(-3/2)"""
    T = type(out)
    return T(-0.5) * (out * out * out)


@inline
def round_down(x):  # type: ignore[no-untyped-def]
    """The greatest integer not above x."""
    return floor(x)


@inline
def round_up(x):  # type: ignore[no-untyped-def]
    """The least integer not below x."""
    return ceil(x)


@inline
def round_even(x):  # type: ignore[no-untyped-def]
    """The nearest integer, ties to even."""
    return rint(x)


@inline
def round_to_zero(x):  # type: ignore[no-untyped-def]
    """x without its fraction."""
    return trunc(x)


@inline
def fraction(x):  # type: ignore[no-untyped-def]
    """x minus its integral part."""
    return x - trunc(x)


declare(root, x=root_grad)
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
declare(s.erf, x=s.erf_grad)

TABLE = table(
    Formula("sqrt", root, domain=_POSITIVE),
    Formula("rsqrt", rsqrt, domain=_POSITIVE),
    Formula("floor", round_down),
    Formula("ceil", round_up),
    Formula("round", round_even),
    Formula("trunc", round_to_zero),
    Formula("frac", fraction, kinks=(-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)),
    Formula("exp", e.exp),
    Formula("exp2", e.exp2),
    Formula("expm1", e.expm1),
    Formula("log", e.log, domain=_POSITIVE),
    Formula("log1p", e.log1p, domain=((-0.7, 4.0),)),
    Formula("log2", e.log2, domain=_POSITIVE),
    Formula("log10", e.log10, domain=_POSITIVE),
    Formula("sigmoid", e.sigmoid),
    Formula("tanh", e.tanh),
    Formula("sin", t.sin),
    Formula("cos", t.cos),
    Formula("erf", s.erf),
)
