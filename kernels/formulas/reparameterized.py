"""How draws move with the parameters they were drawn by, at the same probability: implicit gradients.

With F the distribution function and p the density, ``dx / da = -(dF / da) / p`` (M. Figurnov, S. Mohamed,
A. Mnih, Implicit reparameterization gradients, NeurIPS 2018). F is a series or a continued fraction (Numerical
Recipes, sections 6.2 and 6.4) whose derivative by the parameter runs beside it.
"""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.gamma import digamma
from tilegrad.kernels.formulas.primitives import fabs, sqrt
from tilegrad.kernels.formulas.transcendental import exp, log
from tilegrad.kernels.function import by_type, inline

_END = 2.0**-56
_MOST = 20000  # terms, of which about 9 sqrt(parameter) are needed
_NORMAL = 1e6  # where the transform of Wilson and Hilferty is good to 1e-7


@inline
def _gamma_series(a, x):
    """dx / da from the power series of F, for x <= a + 1."""
    one = np.float64(1)
    term, total, inner, weighted = one, one, np.float64(0), np.float64(0)
    n = a
    steps = 0
    while term > total * np.float64(_END) and steps < _MOST:
        n += one
        term *= x / n
        inner += one / n
        total += term
        weighted += term * inner
        steps += 1
    return -(x / a) * (total * (log(x) - digamma(a + one)) - weighted)


@inline
def _gamma_fraction(a, x):
    """dx / da from the continued fraction of 1 - F, for x > a + 1; Lentz's method."""
    one = np.float64(1)
    b = x + one - a
    c, c_dot = np.float64(1e300), np.float64(0)
    d = one / b
    d_dot = d * d
    h, h_dot = d, d_dot
    i = np.float64(0)
    moving = True
    while moving and i < np.float64(_MOST):
        i += one
        term = i * (a - i)
        b += np.float64(2)
        below = term * d + b
        d_dot = -(i * d + term * d_dot - one) / (below * below)
        d = one / below
        c_dot = (i - term * c_dot / c) / c - one
        c = b + term / c
        step, step_dot = c * d, c_dot * d + c * d_dot
        h_dot = h_dot * step + h * step_dot
        h *= step
        moving = fabs(step - one) > np.float64(_END) or fabs(step_dot) * h > fabs(
            h_dot
        ) * np.float64(_END)
    return x * (h * (log(x) - digamma(a)) + h_dot)


@inline
def _gamma_normal(a, x):
    """dx / da of ``x = a (1 - 1 / (9 a) + z / (3 sqrt(a)))^3`` for a fixed z."""
    one, third = np.float64(1), np.float64(1 / 3)
    root = exp(log(x / a) * third)
    ninth = one / (np.float64(9) * a)
    z = np.float64(3) * sqrt(a) * (root - one + ninth)
    slope = ninth / a - z / (np.float64(6) * a * sqrt(a))
    return root * root * (root + np.float64(3) * a * slope)


@inline
def _standard_gamma_double(alpha, x):
    zero = np.float64(0)
    if not (alpha > zero and x >= zero):
        return np.float64(math.nan)
    if x == zero or x == np.float64(math.inf):
        return zero
    if alpha > np.float64(_NORMAL):
        return _gamma_normal(alpha, x)
    if x <= alpha + np.float64(1):
        return _gamma_series(alpha, x)
    return _gamma_fraction(alpha, x)


@inline
def _standard_gamma_single(alpha, x):
    return np.float32(_standard_gamma_double(np.float64(alpha), np.float64(x)))


@by_type(float32=_standard_gamma_single, float64=_standard_gamma_double)
def standard_gamma_grad(alpha, x):
    """d x / d alpha of a draw x from Gamma(alpha, 1)."""


@inline
def _beta_fraction(a, b, x, a_dot, b_dot):
    """(h, its derivative) of the continued fraction in ``I_x(a, b) = x^a (1 - x)^b h / (a B(a, b))``, along
    (a_dot, b_dot).
    """
    one, two = np.float64(1), np.float64(2)
    both, both_dot = a + b, a_dot + b_dot
    c, c_dot = one, np.float64(0)
    below = one - both * x / (a + one)
    below_dot = -x * (both_dot - both * a_dot / (a + one)) / (a + one)
    d = one / below
    d_dot = -below_dot * d * d
    h, h_dot = d, d_dot
    m = np.float64(0)
    moving = True
    while moving and m < np.float64(_MOST):
        m += one
        place = a + two * m
        slope = a_dot * (one / (place - one) + one / place)
        share = m * x / ((place - one) * place)
        term, term_dot = share * (b - m), share * (b_dot - (b - m) * slope)
        below = one + term * d
        d_dot = -(term_dot * d + term * d_dot) / (below * below)
        d = one / below
        c_dot = (term_dot - term * c_dot / c) / c
        c = one + term / c
        step, step_dot = c * d, c_dot * d + c * d_dot
        h_dot = h_dot * step + h * step_dot
        h *= step
        slope = a_dot * (one / place + one / (place + one))
        product = (a + m) * (both + m)
        product_dot = a_dot * (both + m) + (a + m) * both_dot
        share = -x / (place * (place + one))
        term, term_dot = share * product, share * (product_dot - product * slope)
        below = one + term * d
        d_dot = -(term_dot * d + term * d_dot) / (below * below)
        d = one / below
        c_dot = (term_dot - term * c_dot / c) / c
        c = one + term / c
        step, step_dot = c * d, c_dot * d + c * d_dot
        h_dot = h_dot * step + h * step_dot
        h *= step
        moving = fabs(step - one) > np.float64(_END) or fabs(step_dot * h) > fabs(
            h_dot
        ) * np.float64(_END)
    return h, h_dot


@inline
def _dirichlet_double(x, alpha, total):
    zero, one, two = np.float64(0), np.float64(1), np.float64(2)
    beta = total - alpha
    if not (alpha > zero and beta > zero and x >= zero and x <= one):
        return np.float64(math.nan)
    if not (x > zero and x < one):
        return zero
    rest = digamma(total) - digamma(alpha)
    if x < (alpha + one) / (total + two):
        h, h_dot = _beta_fraction(alpha, beta, x, one, zero)
        return -(x / alpha) * (h * (log(x) - one / alpha + rest) + h_dot)
    h, h_dot = _beta_fraction(beta, alpha, one - x, zero, one)
    return (x / beta) * (h * (log(x) + rest) + h_dot)


@inline
def _dirichlet_single(x, alpha, total):
    return np.float32(_dirichlet_double(np.float64(x), np.float64(alpha), np.float64(total)))


@by_type(float32=_dirichlet_single, float64=_dirichlet_double)
def dirichlet_grad(x, alpha, total):
    """``(d x / d alpha) / (1 - x)`` of a draw x from Beta(alpha, total - alpha): one share of a Dirichlet
    distribution whose parameters sum to ``total``.
    """
