"""The geometry of a sliding window, shared by convolutions and pools of every device."""

from __future__ import annotations

from typing import NamedTuple

Triple = tuple[int, int, int]
Table = tuple[tuple[int, ...], ...]  # of the windows of one dimension: firsts, ends, divisors


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
