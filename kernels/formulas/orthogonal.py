"""Orthogonal polynomials of degree n at x, by their recurrences of three terms (DLMF 18.9); 0 for n < 0.

Chebyshev's of degrees above 64 within (-1, 1) are by their angles.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.angles import acos
from tilegrad.kernels.formulas.primitives import fabs, trunc
from tilegrad.kernels.formulas.trigonometric import cos, sin
from tilegrad.kernels.function import by_type, inline

_MOST = 64
_TOO_MANY = 1e9  # degrees, above which the result is NaN


@inline
def _doubled(x, n, first):
    """``p_n = 2 x p_(n - 1) - p_(n - 2)`` from 1 and ``first``."""
    one = np.float64(1)
    if n < one:
        return one
    before, now = one, first
    k = one
    while k < n:
        before, now = now, np.float64(2) * x * now - before
        k += one
    return now


@inline
def _by_angle(x, n):
    return n > np.float64(_MOST) and fabs(x) < np.float64(1)


@inline
def _t(x, n):
    n = trunc(n)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if _by_angle(x, n):
        return cos(n * acos(x))
    return _doubled(x, n, x)


@inline
def _u(x, n):
    n = trunc(n)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if _by_angle(x, n):
        angle = acos(x)
        return sin((n + np.float64(1)) * angle) / sin(angle)
    return _doubled(x, n, np.float64(2) * x)


@inline
def _v(x, n):
    n, half = trunc(n), np.float64(0.5)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if _by_angle(x, n):
        angle = acos(x)
        return cos((n + half) * angle) / cos(half * angle)
    return _doubled(x, n, np.float64(2) * x - np.float64(1))


@inline
def _w(x, n):
    n, half = trunc(n), np.float64(0.5)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if _by_angle(x, n):
        angle = acos(x)
        return sin((n + half) * angle) / sin(half * angle)
    return _doubled(x, n, np.float64(2) * x + np.float64(1))


@inline
def _shifted_t(x, n):
    return _t((x + x) - np.float64(1), n)


@inline
def _shifted_u(x, n):
    return _u((x + x) - np.float64(1), n)


@inline
def _shifted_v(x, n):
    return _v((x + x) - np.float64(1), n)


@inline
def _shifted_w(x, n):
    return _w((x + x) - np.float64(1), n)


@inline
def _hermite(x, n, scale):
    """``p_(k + 1) = scale (x p_k - k p_(k - 1))``: scale 2 of physics, 1 of probability."""
    n, one = trunc(n), np.float64(1)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if n < one:
        return one
    before, now = one, scale * x
    k = one
    while k < n:
        before, now = now, scale * (x * now - k * before)
        k += one
    return now


@inline
def _h(x, n):
    return _hermite(x, n, np.float64(2))


@inline
def _he(x, n):
    return _hermite(x, n, np.float64(1))


@inline
def _l(x, n):
    """``(k + 1) p_(k + 1) = (2 k + 1 - x) p_k - k p_(k - 1)``"""
    n, one = trunc(n), np.float64(1)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if n < one:
        return one
    before, now = one, one - x
    k = one
    while k < n:
        before, now = now, ((k + k + (one - x)) * now - k * before) / (k + one)
        k += one
    return now


@inline
def _p(x, n):
    """``(k + 1) p_(k + 1) = (2 k + 1) x p_k - k p_(k - 1)``"""
    n, one = trunc(n), np.float64(1)
    if not fabs(n) < np.float64(_TOO_MANY):
        return np.float64(math.nan)
    if n < np.float64(0):
        return np.float64(0)
    if n < one:
        return one
    before, now = one, x
    k = one
    while k < n:
        before, now = now, ((k + k + one) * x * now - k * before) / (k + one)
        k += one
    return now


@inline
def _t_single(x, n):
    return np.float32(_t(np.float64(x), np.float64(n)))


@by_type(float32=_t_single, float64=_t)
def chebyshev_polynomial_t(input, n):
    """Chebyshev's polynomial of the first kind of degree n."""


@inline
def _u_single(x, n):
    return np.float32(_u(np.float64(x), np.float64(n)))


@by_type(float32=_u_single, float64=_u)
def chebyshev_polynomial_u(input, n):
    """Chebyshev's polynomial of the second kind of degree n."""


@inline
def _v_single(x, n):
    return np.float32(_v(np.float64(x), np.float64(n)))


@by_type(float32=_v_single, float64=_v)
def chebyshev_polynomial_v(input, n):
    """Chebyshev's polynomial of the third kind of degree n."""


@inline
def _w_single(x, n):
    return np.float32(_w(np.float64(x), np.float64(n)))


@by_type(float32=_w_single, float64=_w)
def chebyshev_polynomial_w(input, n):
    """Chebyshev's polynomial of the fourth kind of degree n."""


@inline
def _shifted_t_single(x, n):
    return np.float32(_shifted_t(np.float64(x), np.float64(n)))


@by_type(float32=_shifted_t_single, float64=_shifted_t)
def shifted_chebyshev_polynomial_t(input, n):
    """Chebyshev's polynomial of the first kind of degree n at 2 x - 1."""


@inline
def _shifted_u_single(x, n):
    return np.float32(_shifted_u(np.float64(x), np.float64(n)))


@by_type(float32=_shifted_u_single, float64=_shifted_u)
def shifted_chebyshev_polynomial_u(input, n):
    """Chebyshev's polynomial of the second kind of degree n at 2 x - 1."""


@inline
def _shifted_v_single(x, n):
    return np.float32(_shifted_v(np.float64(x), np.float64(n)))


@by_type(float32=_shifted_v_single, float64=_shifted_v)
def shifted_chebyshev_polynomial_v(input, n):
    """Chebyshev's polynomial of the third kind of degree n at 2 x - 1."""


@inline
def _shifted_w_single(x, n):
    return np.float32(_shifted_w(np.float64(x), np.float64(n)))


@by_type(float32=_shifted_w_single, float64=_shifted_w)
def shifted_chebyshev_polynomial_w(input, n):
    """Chebyshev's polynomial of the fourth kind of degree n at 2 x - 1."""


@inline
def _h_single(x, n):
    return np.float32(_h(np.float64(x), np.float64(n)))


@by_type(float32=_h_single, float64=_h)
def hermite_polynomial_h(input, n):
    """Hermite's polynomial of degree n, as physics has it."""


@inline
def _he_single(x, n):
    return np.float32(_he(np.float64(x), np.float64(n)))


@by_type(float32=_he_single, float64=_he)
def hermite_polynomial_he(input, n):
    """Hermite's polynomial of degree n, as probability has it."""


@inline
def _l_single(x, n):
    return np.float32(_l(np.float64(x), np.float64(n)))


@by_type(float32=_l_single, float64=_l)
def laguerre_polynomial_l(input, n):
    """Laguerre's polynomial of degree n."""


@inline
def _p_single(x, n):
    return np.float32(_p(np.float64(x), np.float64(n)))


@by_type(float32=_p_single, float64=_p)
def legendre_polynomial_p(input, n):
    """Legendre's polynomial of degree n."""
