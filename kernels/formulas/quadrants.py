"""Quarter turns: an angle as a multiple of pi / 2 and a rest, for every float.

Small angles take Cody and Waite's subtraction of a split pi / 2, large ones Payne and Hanek's
product with the bits of 1 / pi that matter (*Radian reduction for trigonometric functions*, ACM
SIGNUM 18, 1983). Neither branches, looks up a table or calls a library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.primitives import cast, const, fabs, fma, parts, rint, select
from tilegrad.kernels.function import by_type, inline, intrinsic


def _scaled_pi(bits: int) -> int:
    """``floor(pi * 2**bits)``, but for the last bits, by Machin's formula."""

    def arccot(x: int) -> int:
        term = total = (1 << bits) // x
        for k in range(3, bits, 2):
            term //= -x * x
            total += term // k
        return total

    return 4 * (4 * arccot(5) - arccot(239))


_GUARD = 64
_PI_DIGITS = f"{_scaled_pi(256 + _GUARD) * 10**70 >> 256 + _GUARD}e-70"
_HALF_PI = f"{_scaled_pi(256 + _GUARD) * 10**70 >> 257 + _GUARD}e-70"
HALF_PI_1, HALF_PI_2, HALF_PI_3 = zip(
    parts(_HALF_PI, np.float32, 3), parts(_HALF_PI, np.float64, 3)
)

# where subtraction stops being exact enough
LARGE = (2.0**16, 2.0**30)

# 2^-24 / pi in words of 64 bits, first bits first: the words that the largest float64 needs
_COUNT = 19
_LENGTH = 64 * _COUNT
_PER_PI = (1 << 2 * _LENGTH + _GUARD) // _scaled_pi(_LENGTH + _GUARD) >> 24
_WORDS = tuple(_PER_PI >> 64 * (_COUNT - 1 - k) & (1 << 64) - 1 for k in range(_COUNT))
