"""Hurwitz's zeta function, by Euler and Maclaurin's formula, as in Cephes (S. Moshier); sums are compensated."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.kernels.formulas.doubled import plus
from tilegrad.kernels.formulas.powers import pow as power
from tilegrad.kernels.formulas.primitives import fabs, floor, select
from tilegrad.kernels.function import by_type, inline

_BERNOULLI = "1/6 -1/30 1/42 -1/30 5/66 -691/2730 7/6 -3617/510 43867/798 -174611/330 854513/138 -236364091/2730"
# B_2k / (2 k)!
_TERMS = tuple(
    int(above) / (int(below) * math.factorial(2 * k + 2))
    for k, (above, _, below) in enumerate(b.partition("/") for b in _BERNOULLI.split())
)
_END = 2.0**-56
_LARGE = 1e9  # from where on the first terms behind the integral are enough


@inline
def _zeta_right(x, q):
    """zeta(x, q) of x above 1 and q above 0."""
    zero, one = np.float64(0), np.float64(1)
    if q > np.float64(_LARGE):  # whose powers may be no numbers where the sum is one
        one_q = one / q
        far = one_q * (np.float64(0.5) + x * one_q / np.float64(12))
        return power(q, one - x) * (one / (x - one) + far)
    total, rest = power(q, -x), zero
    if total == np.float64(math.inf):
        return total
    w = q
    last = zero
    count = zero
    while count < np.float64(9) or w <= np.float64(9):
        count += one
        w = q + count
        last = power(w, -x)
        if last > zero:
            last -= last * x * ((q - (w - count)) / w)  # w is q + count, rounded
        total, rest = plus(total, rest, last)
        if fabs(last) < fabs(total) * np.float64(_END):
            return total + rest
    total, rest = plus(total, rest, last * w / (x - one))
    total, rest = plus(total, rest, np.float64(-0.5) * last)
    factor = one
    k = zero
    for term in _TERMS:
        factor *= x + k
        last /= w
        step = factor * last * np.float64(term)
        total, rest = plus(total, rest, step)
        if fabs(step) < fabs(total) * np.float64(_END):
            return total + rest
        k += one
        factor *= x + k
        last /= w
        k += one
    return total + rest


@inline
def _zeta_double(x, q):
    zero, one = np.float64(0), np.float64(1)
    if x == one:
        return np.float64(math.inf)
    if not x > one or q != q:
        return np.float64(math.nan)
    if q > zero:
        return _zeta_right(x, q)
    whole = floor(q)
    if q == whole:
        return np.float64(math.inf)
    if x != floor(x):
        return np.float64(math.nan)
    # terms left of 0 are those from 1 - part to -q, of sign (-1)^x: a difference of two sums, of as many terms as it is
    part, other = q - whole, (whole + one) - q
    half = np.float64(0.5) * x
    sign = select(half == floor(half), one, -one)
    # the first two may cancel, the third is small
    both = _zeta_right(x, part) + sign * _zeta_right(x, other)
    return both - sign * _zeta_right(x, one - q)


@inline
def _zeta_single(x, q):
    return np.float32(_zeta_double(np.float64(x), np.float64(q)))


@by_type(float32=_zeta_single, float64=_zeta_double)
def zeta(input, other):
    """The sum of ``(k + other)^-input`` over k from 0 on.

    Error: 4 ulp for ``other`` above 0; below, of the largest of the terms, which differ in sign for odd ``input``.
    """
