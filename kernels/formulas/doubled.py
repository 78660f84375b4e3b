"""Numbers of float64 kept as two, the nearest and the rest: what would cancel is exact beyond a number's digits."""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import inline


@inline
def plus(total, rest, more):
    """(total, rest) and ``more``, without the rounding of the sum (Knuth)."""
    made = total + more
    back = made - total
    return made, rest + ((total - (made - back)) + (more - back))


@inline
def product(x, x_low, y, y_low):
    """The product of two numbers in two parts each."""
    made = x * y
    return made, fma(x, y, -made) + fma(x, y_low, x_low * y)


@inline
def quotient(x, x_low, y, y_low):
    """The quotient of two numbers in two parts each."""
    inverse = np.float64(1) / y
    made = x * inverse
    return made, (fma(-made, y, x) + fma(-made, y_low, x_low)) * inverse


@inline
def past(x, zero):
    """x - zero, of a zero in two numbers."""
    return (x - np.float64(zero[0])) - np.float64(zero[1])


@inline
def past_square(x, square):
    """x^2 - square, of a square in two numbers, with no rounding of x^2."""
    return fma(x, x, -np.float64(square[0])) - np.float64(square[1])


@inline
def _next(t, high, low, head):
    """A step of Horner's scheme: ``head + t (high + low)``, in two numbers."""
    product = t * high
    missed = fma(t, high, -product)
    made, rest = plus(np.float64(head[0]), missed, product)
    return made, fma(t, low, rest + np.float64(head[1]))


@inline
def with_heads(t, heads, tail):
    """The polynomial in t whose first four coefficients are ``heads``, in two numbers each, and whose value
    from t^4 on is t^4 ``tail``; in two numbers, for sums that cancel.
    """
    high, low = _next(t, tail, np.float64(0), heads[3])
    high, low = _next(t, high, low, heads[2])
    high, low = _next(t, high, low, heads[1])
    return _next(t, high, low, heads[0])


@inline
def times(factor, high, low):
    """``factor (high + low)``, rounded once but for the rest's."""
    return fma(factor, high, factor * low)


@inline
def beside_zero(x, zero, t, heads, tail):
    """``x - zero`` times the polynomial in t of :func:`with_heads`: a function near a zero of its own."""
    high, low = with_heads(t, heads, tail)
    return times(past(x, zero), high, low)


@inline
def within(x, low, high):
    """x of ``low`` to ``high`` as a number of -1 to 1."""
    middle, half = np.float64(0.5 * (low + high)), np.float64(0.5 * (high - low))
    return (x - middle) / half
