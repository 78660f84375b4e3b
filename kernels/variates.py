"""Draws that rejection makes, each a function of its parameters, its Philox block and the seed.

Where :mod:`tilegrad.kernels.distributions` turns the words of a block into numbers, a draw here may need
any number of them: attempt j of the element with block b reads Philox4x32-10 of the counter
``(b mod 2^32, b >> 32, j, 1)``, which no other draw reads. So numbers depend on seed, block and parameters
alone, not on who draws them, and every element takes one block of its generator. All is computed in float64.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.angles import acos
from tilegrad.kernels.formulas.gamma import lgamma_near
from tilegrad.kernels.formulas.primitives import copysign, fabs, floor, sqrt
from tilegrad.kernels.formulas.transcendental import exp, log, log1p
from tilegrad.kernels.formulas.trigonometric import cos_pi
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.philox import philox_rounds, unit_double

_LOW, _HALF, _STREAM = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)


@inline
def attempt(block, key, number):
    """The four words of an attempt."""
    low, high = block & _LOW, block >> _HALF
    return philox_rounds(low, high, number, _STREAM, key & _LOW, key >> _HALF)


@inline
def between(w):
    """float64 in (0, 1) of one word: the middle of its interval."""
    return (np.float64(np.int64(w)) + np.float64(0.5)) * np.float64(2.0**-32)


@inline
def log_gamma(alpha, _, block, key):
    """The logarithm of a draw from Gamma(alpha, 1); -inf at 0, NaN below.

    Source: G. Marsaglia and W. W. Tsang, A simple method for generating gamma variables (ACM TOMS 26, 2000);
    below 1 that of alpha + 1, times u^(1 / alpha).
    """
    if not alpha > np.float64(0):
        return np.float64(-math.inf) if alpha == np.float64(0) else np.float64(math.nan)
    one = np.float64(1)
    d = alpha - np.float64(1 / 3)
    if alpha < one:
        d = d + one
    c = one / sqrt(np.float64(9) * d)
    number = np.uint64(0)
    while True:
        w0, w1, w2, w3 = attempt(block, key, number)
        number += np.uint64(1)
        radius = sqrt(np.float64(-2) * log(between(w0)))
        normal = radius * cos_pi(np.float64(2) * between(w1))
        root = one + c * normal
        if root > np.float64(0):
            cube = root * root * root
            logarithm = log(cube)
            limit = np.float64(0.5) * normal * normal + d * ((one - cube) + logarithm)
            if log(between(w2)) < limit or cube == one:
                result = log(d) + logarithm
                if alpha < one:
                    result += log(between(w3)) / alpha
                return result


@inline
def gamma(alpha, _, block, key):
    """A draw from Gamma(alpha, 1)."""
    return exp(log_gamma(alpha, _, block, key))


@inline
def _poisson_few(rate, block, key):
    """By adding up probabilities from 0 on."""
    w0, w1, _, _ = attempt(block, key, np.uint64(0))
    u = unit_double(w0, w1)
    k = np.float64(0)
    term = exp(-rate)
    total = term
    while u >= total and term > np.float64(0):
        k += np.float64(1)
        term *= rate / k
        total += term
        if term < total * np.float64(2.0**-60):
            break
    return k


@inline
def _poisson_many(rate, block, key):
    """PTRS of W. Hörmann, The transformed rejection method for generating Poisson random variables
    (Insurance: Mathematics and Economics 12, 1993).
    """
    b = np.float64(0.931) + np.float64(2.53) * sqrt(rate)
    a = np.float64(-0.059) + np.float64(0.02483) * b
    scale = np.float64(1.1239) + np.float64(1.1328) / (b - np.float64(3.4))
    sure = np.float64(0.9277) - np.float64(3.6224) / (b - np.float64(2))
    log_rate = log(rate)
    number = np.uint64(0)
    while True:
        w0, w1, w2, _ = attempt(block, key, number)
        number += np.uint64(1)
        u, v = unit_double(w0, w1) - np.float64(0.5), between(w2)
        us = np.float64(0.5) - fabs(u)
        k = floor((np.float64(2) * a / us + b) * u + rate + np.float64(0.43))
        if us >= np.float64(0.07) and v <= sure:
            return k
        if k >= np.float64(0) and not (us < np.float64(0.013) and v > us):
            height = log(v * scale / (a / (us * us) + b))
            if height <= k * log_rate - rate - lgamma_near(k + np.float64(1)):
                return k


@inline
def poisson(rate, _, block, key):
    """A draw from Poisson's distribution of this rate; NaN for what is none."""
    if not (rate >= np.float64(0) and rate < np.float64(math.inf)):
        return np.float64(math.nan)
    if rate < np.float64(10):
        return _poisson_few(rate, block, key)
    return _poisson_many(rate, block, key)


@inline
def _binomial_few(n, p, block, key):
    """By taking probabilities off from 0 on."""
    w0, w1, _, _ = attempt(block, key, np.uint64(0))
    u = unit_double(w0, w1)
    ratio = p / (np.float64(1) - p)
    term = exp(n * log1p(-p))
    k = np.float64(0)
    while u >= term and k < n and term > np.float64(0):
        u -= term
        k += np.float64(1)
        term *= ratio * (n - k + np.float64(1)) / k
    return k


@inline
def _binomial_many(n, p, block, key):
    """BTRS of W. Hörmann, The generation of binomial random variates (J. Stat. Comput. Simul. 46, 1993)."""
    one, half = np.float64(1), np.float64(0.5)
    spread = sqrt(n * p * (one - p))
    b = np.float64(1.15) + np.float64(2.53) * spread
    a = np.float64(-0.0873) + np.float64(0.0248) * b + np.float64(0.01) * p
    c = n * p + half
    sure = np.float64(0.92) - np.float64(4.2) / b
    scale = (np.float64(2.83) + np.float64(5.1) / b) * spread
    odds = log(p / (one - p))
    mode = floor((n + one) * p)
    top = lgamma_near(mode + one) + lgamma_near(n - mode + one)
    number = np.uint64(0)
    while True:
        w0, w1, w2, _ = attempt(block, key, number)
        number += np.uint64(1)
        u, v = unit_double(w0, w1) - half, between(w2)
        us = half - fabs(u)
        k = floor((np.float64(2) * a / us + b) * u + c)
        if us >= np.float64(0.07) and v <= sure:
            return k
        if k >= np.float64(0) and k <= n:
            height = log(v * scale / (a / (us * us) + b))
            ways = top - lgamma_near(k + one) - lgamma_near(n - k + one)
            if height <= ways + (k - mode) * odds:
                return k


@inline
def binomial(n, p, block, key):
    """How many of n trials succeed, each with probability p; NaN where p is."""
    zero, one = np.float64(0), np.float64(1)
    if n != n or p != p:
        return np.float64(math.nan)
    if n <= zero or p <= zero:
        return zero
    if p >= one:
        return n
    less = one - p if p > np.float64(0.5) else p
    if n * less < np.float64(10):
        k = _binomial_few(n, less, block, key)
    else:
        k = _binomial_many(n, less, block, key)
    return n - k if p > np.float64(0.5) else k


@inline
def von_mises(kappa, _, block, key):
    """An angle in [-pi, pi] from the distribution of von Mises about 0; NaN below concentration 0.

    Source: D. J. Best and N. I. Fisher, Efficient simulation of the von Mises distribution (Applied
    Statistics 28, 1979); beyond 10^6, where it is normal to 10^-6, that.
    """
    zero, one, two = np.float64(0), np.float64(1), np.float64(2)
    if not kappa >= zero:
        return np.float64(math.nan)
    root = one + sqrt(one + np.float64(4) * kappa * kappa)
    rho = (root - sqrt(two * root)) / (two * kappa)
    r = (one + rho * rho) / (two * rho)
    if kappa < np.float64(1e-5):
        r = one / kappa + kappa
    number = np.uint64(0)
    while True:
        w0, w1, w2, w3 = attempt(block, key, number)
        number += np.uint64(1)
        turn, u = unit_double(w0, w3), between(w1)
        side = between(w2) - np.float64(0.5)
        if kappa > np.float64(1e6):
            radius = sqrt(np.float64(-2) * log(u)) / sqrt(kappa)
            return radius * cos_pi(two * turn)
        if kappa < np.float64(1e-300):
            return copysign(turn * np.float64(math.pi), side)
        z = cos_pi(turn)
        f = (one + r * z) / (r + z)
        c = kappa * (r - f)
        if c * (two - c) > u or log(c / u) + one >= c:
            f = one if f > one else (-one if f < -one else f)
            return copysign(acos(f), side)


TABLE: dict[str, DeviceFunction] = {
    "gamma": gamma,
    "log_gamma": log_gamma,
    "poisson": poisson,
    "binomial": binomial,
    "von_mises": von_mises,
}
