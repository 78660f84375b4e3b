"""The standard normal distribution: its function and its density, which share an exponential."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.primitives import (
    cast,
    const,
    fabs,
    fma,
    polynomial,
    rint,
    scale_normal,
    select,
)
from tilegrad.kernels.formulas.special import erf
from tilegrad.kernels.formulas.transcendental import exp, exp_decay
from tilegrad.kernels.function import by_type, inline

# e^(a^2 / 2) P(X > a) / t in t = 1 / (1 + _SCALE a), 0 <= a <= 13.25, minimax in the relative error
_TAIL = (
    0.12063064,
    0.12167025,
    0.10129092,
    0.12607642,
    -0.04832752,
    0.19894019,
    -0.15691428,
    0.03663336,
)
_SCALE = 0.3025
_DENSITY = 1 / math.sqrt(2 * math.pi)
# 2^r on |r| <= 1/2, minimax in the relative error
_EXP2 = (1.0, 0.693147182, 0.240226477, 0.0555033237, 0.00961843692, 0.0013398875, 0.00015353362)
_HALF_LOG2E = 0.5 * math.log2(math.e)
_LEAST = -125.5  # the power of 2 below which e^(-x^2 / 2) is no normal number


@inline
def _bell_single(x):
    """e^(-x^2 / 2) as a power of 2, whose reduction is exact; 0 beyond |x| = 13.19."""
    square, scale = x * x, np.float32(-_HALF_LOG2E)
    power = scale * square
    n = rint(power)
    y = scale_normal(polynomial(fma(scale, square, -n), (_EXP2, _EXP2)), n)
    return select(power < np.float32(_LEAST), np.float32(0), y)


@inline
def _parts_single(x):
    """(e^(-x^2 / 2), P(X <= x)), to 0.6 x^2 ulp far from 0."""
    one = np.float32(1)
    e = _bell_single(x)
    t = one / fma(np.float32(_SCALE), fabs(x), one)
    tail = e * (t * polynomial(t, (_TAIL, _TAIL)))
    return e, select(x < np.float32(0), tail, one - tail)


@inline
def _parts_double(x):
    """The same, less accurate far below 0."""
    half = np.float64(0.5)
    return exp_decay(-half * (x * x)), half + half * erf(x * np.float64(math.sqrt(0.5)))


@by_type(float32=_parts_single, float64=_parts_double)
def _parts(x):
    """(e^(-x^2 / 2), P(X <= x))."""


@inline
def normal_gate(x):
    """x P(X <= x).

    Error: 7 ulp in float32 where x >= 0, below 0.6 x^2 ulp more (of a result that small); 0 from
    -13.19 on, where it is no normal number.
    """
    _, below = _parts(x)
    return x * below


@inline
def normal_gate_grad(x):
    """d x P(X <= x) / dx = P(X <= x) + x p(x)."""
    e, below = _parts(x)
    return fma(x * const(x, (_DENSITY, _DENSITY)), e, below)


@inline
def normal_gate_curve(x):
    """d^2 x P(X <= x) / dx^2 = (2 - x^2) p(x)."""
    square = x * x
    return const(x, (_DENSITY, _DENSITY)) * exp(cast(-0.5, x) * square) * (cast(2.0, x) - square)
