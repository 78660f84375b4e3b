"""Discrete Fourier transforms, a few of them a block, in its shared memory; planned by
:mod:`tilegrad.kernels.fourier`.
"""

from __future__ import annotations

from tilegrad.kernels.cuda.fft.plan import beyond, halves, prepare, rows
from tilegrad.kernels.cuda.tuning import BETWEEN
from tilegrad.kernels.fourier import Launch, Line, Planner, Sizes

__all__ = ["Line", "fft"]

_PLANNER = Planner(prepare, halves, rows, beyond, BETWEEN)


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
