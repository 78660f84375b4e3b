"""Seeding the Mersenne Twisters of Python and NumPy, between two samples of a loader.

Their own way fills 624 words one after the other, each from the one before, which takes some
microseconds; here every word is a mix of a counter, several at a time. This is about memory of the host:
there is nothing for another device to do.
"""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.function import inline

WORDS = 624  # of a Mersenne Twister's state
_HALF = WORDS // 2
_W = np.uint64
_STEP = _W(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _W(0xBF58476D1CE4E5B9), _W(0x94D049BB133111EB)
_30, _27, _31, _1, _32 = _W(30), _W(27), _W(31), _W(1), _W(32)
_NOT_ZERO = np.uint32(1 << 31)  # a state of zeros would stay one
_USED_UP = np.uint32(WORDS)  # the next draw makes new words


@inline
def split_mix(z):
    """The output function of SplitMix64, over uint64.

    Source: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
    """
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@kernel
def seed_twisters() -> Kernel:
    """The ``place``-th 63-bit seed of ``seed``, and two states that belong to it.

    Arguments: place, seed, addresses of Python's state (its index, then the words), of NumPy's (the
    words, then its index), of NumPy's kept Gaussian (whether there is one) and of the seed found.
    """

    def seed_body(task, place, seed, a0, a1, a2, a3):
        found = split_mix(_W(seed) + _W(place + 1) * _STEP) >> _1
        pointer(a3, np.uint64)[0] = found
        python, numpy = pointer(a0, np.uint32), pointer(a1, np.uint32)
        for i in range(_HALF):
            word = split_mix(found + _W(i + 1) * _STEP)
            python[i + 1] = np.uint32(word)
            python[i + 1 + _HALF] = np.uint32(word >> _32)
        for i in range(_HALF):
            word = split_mix(found + _W(i + 1 + _HALF) * _STEP)
            numpy[i] = np.uint32(word)
            numpy[i + _HALF] = np.uint32(word >> _32)
        python[0] = _USED_UP
        python[1] |= _NOT_ZERO
        numpy[0] |= _NOT_ZERO
        numpy[WORDS] = _USED_UP
        pointer(a2, np.int32)[0] = 0

    return seed_body, "iiiiii"
