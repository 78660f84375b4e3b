"""Distributions: what becomes of the four words of a Philox block.

Each row turns a block into four elements (one word each) or two (two words each), with two
parameters. They are floats of the elements' type, or integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.formulas.primitives import cast, select, sqrt
from tilegrad.kernels.formulas.transcendental import log
from tilegrad.kernels.formulas.trigonometric import cos_pi, sin_pi
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.philox import above_double, above_single, unit_double, unit_single


@dataclass(frozen=True, eq=False)
class Distribution:
    """``draw(w0, w1, w2, w3, a, b)`` gives ``elements`` elements of a block.

    Attributes:
        letter: ``d`` for parameters of the elements' type, ``i`` for int64.
    """

    draw: DeviceFunction
    elements: int
    letter: str


# ---------------------------------------------------------------------------------- one word each


@inline
def uniform_single(w0, w1, w2, w3, low, high):
    """[low, high)"""
    span = high - low
    return (
        unit_single(w0) * span + low,
        unit_single(w1) * span + low,
        unit_single(w2) * span + low,
        unit_single(w3) * span + low,
    )


@inline
def _normal_pair_single(w0, w1, mean, std):
    radius = std * sqrt(np.float32(-2) * log(above_single(w0)))
    angle = np.float32(2) * unit_single(w1)
    return radius * cos_pi(angle) + mean, radius * sin_pi(angle) + mean


@inline
def normal_single(w0, w1, w2, w3, mean, std):
    """Box and Muller's transform of the words (0, 1) and (2, 3)."""
    a, b = _normal_pair_single(w0, w1, mean, std)
    c, d = _normal_pair_single(w2, w3, mean, std)
    return a, b, c, d


@inline
def _exponential_single(w, rate):
    x = -log(above_single(w))
    # 1 is half a word wide: its logarithm is the middle of that, not 0
    return select(x > np.float32(0), x, np.float32(2.0**-34)) / rate


@inline
def exponential_single(w0, w1, w2, w3, rate, _):
    """Positive, with density ``rate * exp(-rate * x)``."""
    return (
        _exponential_single(w0, rate),
        _exponential_single(w1, rate),
        _exponential_single(w2, rate),
        _exponential_single(w3, rate),
    )


@inline
def bernoulli(w0, w1, w2, w3, threshold, _):
    """1 with probability ``threshold / 2^32``, else 0."""
    limit = np.uint64(threshold)
    return w0 < limit, w1 < limit, w2 < limit, w3 < limit


# --------------------------------------------------------------------------------- two words each


@inline
def uniform_double(w0, w1, w2, w3, low, high):
    """[low, high)"""
    span = high - low
    return unit_double(w0, w1) * span + low, unit_double(w2, w3) * span + low


@inline
def normal_double(w0, w1, w2, w3, mean, std):
    """Box and Muller's transform of the words (0, 1) and (2, 3)."""
    radius = std * sqrt(np.float64(-2) * log(above_double(w0, w1)))
    angle = np.float64(2) * unit_double(w2, w3)
    return radius * cos_pi(angle) + mean, radius * sin_pi(angle) + mean


@inline
def _exponential_double(low, high, rate):
    x = -log(above_double(low, high))
    return select(x > np.float64(0), x, np.float64(2.0**-55)) / rate


@inline
def exponential_double(w0, w1, w2, w3, rate, _):
    """Positive, with density ``rate * exp(-rate * x)``."""
    return _exponential_double(w0, w1, rate), _exponential_double(w2, w3, rate)


_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@inline
def _bounded(low, high, base, span):
    """``base`` plus an integer below ``span``: the upper 64 bits of words times span.

    Of 2^64 words each integer gets ``2^64 / span``, rounded up or down.
    """
    n = np.uint64(span)
    n_low, n_high = n & _LOW, n >> _HALF
    inner, outer = low * n_high, high * n_low
    carry = ((low * n_low) >> _HALF) + (inner & _LOW) + (outer & _LOW)
    drawn = high * n_high + (inner >> _HALF) + (outer >> _HALF) + (carry >> _HALF)
    return base + np.int64(drawn)


@inline
def integers(w0, w1, w2, w3, base, span):
    """Integers from ``base`` on, below ``base + span``, evenly."""
    return _bounded(w0, w1, base, span), _bounded(w2, w3, base, span)


@inline
def bits(w0, w1, w2, w3, _, __):
    """All 64 bits, as int64."""
    return np.int64((w1 << _HALF) | w0), np.int64((w3 << _HALF) | w2)


# ------------------------------------------------------------------- with an operand, one word each


@inline
def dropout(x, w, threshold, scale):
    """``x * 0`` with probability ``threshold / 2^32`` (so NaN stays, and inf gives it), else
    ``x * scale``.
    """
    return x * select(w < np.uint64(threshold), cast(0.0, x), cast(scale, x))


@inline
def bernoulli_of(p, w, _, __):
    """1 with probability p, else 0."""
    return np.float64(np.int64(w)) * np.float64(2.0**-32) < np.float64(p)


_CONTINUOUS = {
    "uniform": {"float32": uniform_single, "float64": uniform_double},
    "normal": {"float32": normal_single, "float64": normal_double},
    "exponential": {"float32": exponential_single, "float64": exponential_double},
}

TABLE: dict[tuple[str, str | None], Distribution] = {
    **{
        (name, dtype): Distribution(draw, 4 // dtypes.row(dtype).words, "d")
        for name, draws in _CONTINUOUS.items()
        for dtype, draw in draws.items()
    },
    ("bernoulli", None): Distribution(bernoulli, 4, "i"),
    ("integers", None): Distribution(integers, 2, "i"),
    ("bits", None): Distribution(bits, 2, "i"),
}


def distribution(name: str, dtype: str) -> Distribution:
    """The row for elements of ``dtype``.

    Raises:
        DTypeError: there is none.
    """
    if name in _CONTINUOUS:
        dtypes.at(_CONTINUOUS[name], dtype, name)
        return TABLE[name, dtype]
    dtypes.at(dtypes.TABLE, dtype, name)
    return TABLE[name, None]
