"""Derivatives of the digamma function: scalar formulas for float32 and float64."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.gamma import digamma, trigamma
from tilegrad.kernels.formulas.primitives import fabs, floor, fma
from tilegrad.kernels.formulas.zeta import zeta
from tilegrad.kernels.function import by_type, inline

_LAST = 170  # whose factorial is a number


@inline
def _factorial(n):
    """n! in two numbers, whose sum is right to 100 bits."""
    high, low = np.float64(1), np.float64(0)
    k = np.float64(2)
    while k <= n:
        product = high * k
        low = low * k + fma(high, k, -product)
        high = product
        k += np.float64(1)
    return high, low


@inline
def _polygamma_double(x, n):
    one, half = np.float64(1), np.float64(0.5)
    if n == np.float64(0):
        return digamma(x)
    if n == one:
        return trigamma(x)
    odd = half * n != floor(half * n)
    sum_of_powers = zeta(n + one, x)
    if not odd:
        sum_of_powers = -sum_of_powers
    if n > np.float64(_LAST):
        return np.float64(math.inf) * sum_of_powers
    if fabs(sum_of_powers) == np.float64(math.inf):
        return sum_of_powers
    high, low = _factorial(n)
    return fma(high, sum_of_powers, low * sum_of_powers)


@inline
def _polygamma_single(x, n):
    return np.float32(_polygamma_double(np.float64(x), np.float64(n)))


@by_type(float32=_polygamma_single, float64=_polygamma_double)
def polygamma(x, n):
    """The derivative of order ``n`` of the digamma function, by Hurwitz's zeta function: ``(-1)^(n + 1) n! zeta(n + 1, x)``
    for n above 1.

    Error: 4 ulp for x above 0, where zeta is no denormal; below, of the largest of the terms between two poles.
    Infinite or NaN from order 171 on, whose factorial is no float64.
    """


@inline
def trigamma_grad(x):
    """d trigamma(x) / dx"""
    T = type(x)
    return polygamma(x, T(2))


@inline
def polygamma_grad(x, n):
    """d polygamma(n, x) / dx = polygamma(n + 1, x)."""
    T = type(x)
    return polygamma(x, n + T(1))
