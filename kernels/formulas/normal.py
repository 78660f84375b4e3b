"""The standard normal distribution: its function and its density, which share an exponential."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.primitives import cast, const, fabs, fma, polynomial, select
from tilegrad.kernels.formulas.special import erf
from tilegrad.kernels.formulas.transcendental import exp, exp_decay
from tilegrad.kernels.function import by_type, inline

# e^(a^2 / 2) P(X > a) / t in t = 1 / (1 + _SCALE a), 0 <= a <= 14.5, minimax in the relative error:
# the even powers of t and the odd ones
_TAIL_EVEN = (0.137620121, 0.117363408, -0.0362220965, -0.269129932, -0.0281490833)
_TAIL_ODD = (0.138005093, 0.111261576, 0.18502967, 0.144221276)
_SCALE = 0.345
_DENSITY = 1 / math.sqrt(2 * math.pi)


@inline
def _parts_single(x):
    """(e^(-x^2 / 2), P(X <= x)), to x^2 / 2 ulp far from 0."""
    one = np.float32(1)
    e = exp_decay(np.float32(-0.5) * (x * x))
    t = one / fma(np.float32(_SCALE), fabs(x), one)
    square = t * t
    odd = polynomial(square, (_TAIL_ODD, _TAIL_ODD))
    tail = e * (t * fma(t, odd, polynomial(square, (_TAIL_EVEN, _TAIL_EVEN))))
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

    Error: 7 ulp in float32 where x >= 0, below x^2 / 2 ulp more (of a result that small).
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
