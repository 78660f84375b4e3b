"""Discrete Fourier transforms, a transform in each lane of the vectors; planned by
:mod:`tilegrad.kernels.fourier`.
"""

from __future__ import annotations

from tilegrad.kernels.cpu.fft.plan import halves, prepare, rows
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Fourier
from tilegrad.kernels.fourier import Launch, Line, Planner, Sizes

__all__ = ["Line", "fft"]

_PLANNER = Planner(prepare, halves, rows, lanes, Fourier.between)


def fft(
    dtype: str,
    kind: str,
    batch: tuple[Sizes, Sizes, Sizes],
    line: Line,
    forward: bool,
    scale: float,
) -> tuple[Launch, int]:
    """``launch(x, y, scratch)`` of a transform of one dimension, and the bytes of scratch; see
    :meth:`tilegrad.kernels.fourier.Planner.fft`.
    """
    return _PLANNER.fft(dtype, kind, batch, line, forward, scale)
