"""Random bits as a function of (seed, offset, place): Philox4x32-10.

A call at ``offset`` that needs n blocks of four 32-bit words reads the blocks ``offset``,
``offset + 1``, …, ``offset + n - 1``. Block b of a seed is Philox4x32-10 of the counter
``(b mod 2^32, b >> 32, 0, 0)`` under the key ``(seed mod 2^32, seed >> 32)``. Draws of one word each
give element i the word ``i mod 4`` of block ``offset + i // 4``; draws of two words give it the
words ``2 (i mod 2)`` and ``2 (i mod 2) + 1`` of block ``offset + i // 2``, in row-major order of
the elements. Which thread, task or device asks makes no difference.

Source: Salmon, Moraes, Dror, Shaw, Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.function import inline

# words are kept in 64 bits, so that a product of two has room; every constant has that type too
_W = np.uint64
_LOW = _W(0xFFFFFFFF)
_HALF = _W(32)
_ZERO = _W(0)
_MULTIPLIER_0, _MULTIPLIER_1 = _W(0xD2511F53), _W(0xCD9E8D57)
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85  # golden ratio, sqrt(3) - 1
# what the key has grown by in each of the ten rounds
_BUMP_0 = tuple(_W(r * _WEYL_0 & 0xFFFFFFFF) for r in range(10))
_BUMP_1 = tuple(_W(r * _WEYL_1 & 0xFFFFFFFF) for r in range(10))


@inline
def _round(a, b, c, d, key_0, key_1):
    left = _MULTIPLIER_0 * a
    right = _MULTIPLIER_1 * c
    return (
        (right >> _HALF) ^ b ^ (key_0 & _LOW),
        right & _LOW,
        (left >> _HALF) ^ d ^ (key_1 & _LOW),
        left & _LOW,
    )


@inline
def philox_rounds(a, b, c, d, k, m):
    """Philox4x32-10 of the counter (a, b, c, d) under the key (k, m): four words.

    Arguments and results are uint64 below 2^32.
    """
    a, b, c, d = _round(a, b, c, d, k, m)
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[1], m + _BUMP_1[1])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[2], m + _BUMP_1[2])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[3], m + _BUMP_1[3])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[4], m + _BUMP_1[4])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[5], m + _BUMP_1[5])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[6], m + _BUMP_1[6])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[7], m + _BUMP_1[7])
    a, b, c, d = _round(a, b, c, d, k + _BUMP_0[8], m + _BUMP_1[8])
    return _round(a, b, c, d, k + _BUMP_0[9], m + _BUMP_1[9])


@inline
def philox(block, seed):
    """The four words of a block; both arguments are uint64."""
    return philox_rounds(block & _LOW, block >> _HALF, _ZERO, _ZERO, seed & _LOW, seed >> _HALF)


# --------------------------------------------------------------------------- words to numbers

_EIGHT, _ONE, _ELEVEN, _TWENTY_ONE = _W(8), _W(1), _W(11), _W(21)


@inline
def unit_single(w):
    """float32 in [0, 1): a multiple of 2^-24."""
    return np.float32(np.int32(w >> _EIGHT)) * np.float32(2.0**-24)


@inline
def above_single(w):
    """float32 in (0, 1], at least 2^-32: its logarithm reaches far."""
    return np.float32(np.int32(w >> _ONE)) * np.float32(2.0**-31) + np.float32(2.0**-32)


@inline
def unit_double(low, high):
    """float64 in [0, 1): a multiple of 2^-53."""
    bits = (high << _TWENTY_ONE) | (low >> _ELEVEN)
    return np.float64(np.int64(bits)) * np.float64(2.0**-53)


@inline
def above_double(low, high):
    """float64 in (0, 1], at least 2^-54."""
    return unit_double(low, high) + np.float64(2.0**-54)
