"""The geometry of a sliding window, shared by convolutions and pools of every device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Triple = tuple[int, int, int]
Table = tuple[np.ndarray, ...]  # of the windows of one dimension: firsts, ends, divisors, all int64


class Window(NamedTuple):
    """How outputs lie over inputs, in three dimensions; the unused leading ones have size 1.

    Output ``o`` meets input ``o * stride + tap * dilation - before`` at each ``tap < kernel``.
    Inputs outside ``size`` count as absent.
    """

    size: Triple
    kernel: Triple
    out: Triple
    stride: Triple
    before: Triple
    dilation: Triple


class Taps(NamedTuple):
    """Weighted sums along an axis: output ``o`` is the sum over ``k`` from ``first[o]`` to ``first[o + 1]`` of
    ``weight[k] * x[place[k]]``.

    Attributes:
        out: outputs. first: (out + 1,) int64. place: int64. weight: None for copies, one place each.
        bits: of weights that are int32, times 2^bits; else 0.
    """

    out: int
    first: np.ndarray
    place: np.ndarray
    weight: np.ndarray | None
    bits: int = 0
