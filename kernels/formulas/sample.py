"""Where a coordinate of a grid falls along an axis of an image: which elements, with what weights and slopes.

An element outside is -1 and counts as zero. Slopes are the weights' derivatives by the coordinate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.kernels.formulas.primitives import floor, rint
from tilegrad.kernels.function import DeviceFunction, inline

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
PADDINGS = ("zeros", "border", "reflection")

Scalar = type[np.floating[Any]]


def axis(dtype: str, mode: str) -> DeviceFunction:
    """The device function ``axis(g, n, padding, align)`` -> (elements, weights, slopes), tuples of :data:`TAPS`, of a
    coordinate from -1 to 1 along ``n`` elements; ``padding`` is a number of :data:`PADDINGS`, ``align`` 0 or 1.
    """
    make = {"nearest": _nearest, "bilinear": _bilinear, "bicubic": _bicubic}[mode]
    return make(np.dtype(dtype).type)


def _nearest(T: Scalar) -> DeviceFunction:
    one, zero = T(1), T(0)
    unnormalised, inside, element = _unnormalised(T), _inside(T), _element(T)

    @inline
    def nearest(g, n, padding, align):
        x, _ = unnormalised(g, n, align)
        x, _ = inside(x, n, padding, align)
        return (element(rint(x), n),), (one,), (zero,)

    return nearest


def _bilinear(T: Scalar) -> DeviceFunction:
    one = T(1)
    unnormalised, inside, element = _unnormalised(T), _inside(T), _element(T)

    @inline
    def bilinear(g, n, padding, align):
        x, slope = unnormalised(g, n, align)
        x, turned = inside(x, n, padding, align)
        slope = slope * turned
        first = floor(x)
        part = x - first
        places = (element(first, n), element(first + one, n))
        return places, (one - part, part), (-slope, slope)

    return bilinear


def _bicubic(T: Scalar) -> DeviceFunction:
    one = T(1)
    unnormalised, inside, element = _unnormalised(T), _inside(T), _element(T)
    near, far = _near(T), _far(T)

    @inline
    def tap(x, n, padding, align):
        moved, _ = inside(x, n, padding, align)
        return element(rint(moved), n)

    @inline
    def bicubic(g, n, padding, align):
        x, slope = unnormalised(g, n, align)
        first = floor(x)
        t = x - first
        w0, d0 = far(t + one)
        w1, d1 = near(t)
        w2, d2 = near(one - t)
        w3, d3 = far(T(2) - t)
        places = (
            tap(first - one, n, padding, align), tap(first, n, padding, align), tap(first + one, n, padding, align), tap(first + T(2), n, padding, align)
        )  # fmt: skip
        return places, (w0, w1, w2, w3), (d0 * slope, d1 * slope, -d2 * slope, -d3 * slope)

    return bicubic


def _unnormalised(T: Scalar) -> DeviceFunction:
    one, half = T(1), T(0.5)

    @inline
    def unnormalised(g, n, align):
        """(the coordinate along the axis, its slope)."""
        size = T(n)
        if align != 0:
            return (g + one) * ((size - one) * half), (size - one) * half
        return ((g + one) * size - one) * half, size * half

    return unnormalised


def _inside(T: Scalar) -> DeviceFunction:
    one, half, zero = T(1), T(0.5), T(0)

    @inline
    def inside(x, n, padding, align):
        """(``x`` moved inside, the slope of that)."""
        slope, top = one, T(n) - one
        if padding == 2:
            span, low = (top, zero) if align != 0 else (T(n), -half)
            if span == zero:
                return zero, zero
            away = x - low
            if away < zero:
                away, slope = -away, -one
            flips = floor(away / span)
            over = away - flips * span
            odd = flips - T(2) * floor(flips * half)
            x = over + low
            if odd != zero:
                x, slope = span - over + low, -slope
        if padding != 0:
            if not (x > zero):  # a NaN is the first element, as PyTorch has it
                x, slope = zero, zero
            elif x >= top:
                x, slope = top, zero
        return x, slope

    return inside


def _element(T: Scalar) -> DeviceFunction:
    zero = T(0)

    @inline
    def element(x, n):
        """The number of the element at the whole coordinate ``x``, -1 outside."""
        if x >= zero and x < T(n):
            return np.int64(x)
        return np.int64(-1)

    return element


def _near(T: Scalar) -> DeviceFunction:
    one = T(1)

    @inline
    def near(t):
        """The cubic convolution kernel (Keys 1981) within 1, and its slope."""
        return (T(1.25) * t - T(2.25)) * t * t + one, (T(3.75) * t - T(4.5)) * t

    return near


def _far(T: Scalar) -> DeviceFunction:
    a = T(-0.75)

    @inline
    def far(t):
        """The same from 1 to 2."""
        return (((t - T(5)) * t + T(8)) * t - T(4)) * a, ((T(3) * t - T(10)) * t + T(8)) * a

    return far
