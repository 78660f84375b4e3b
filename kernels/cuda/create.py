"""Arithmetic sequences, for ``arange`` and ``linspace``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.run.jit import Source, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import inline


@kernel
def ramp(dtype: str, letter: str, fused: bool, threads: int) -> Source:
    """Count up by ``step`` from ``start`` for the first ``half`` elements, down from ``end`` after.

    An element per thread. Parameters: output address, start, end, step (of type ``letter``, ``d``
    rounds the product and the sum in float64, as the CPU does, ``i`` is exact), half, number of
    elements. ``fused`` rounds product and sum once.
    """
    T = np.dtype(dtype).type
    S = np.float64 if letter == "d" else np.int64

    at = fma if fused else _at

    def ramp_body(a0, start, end, step, half, total):
        out = pointer(a0, T)
        i = block() * threads + thread()
        while i < total:
            if i < half:
                out[i] = T(at(S(i), S(step), S(start)))
            else:
                out[i] = T(at(S(i - total + 1), S(step), S(end)))
            i += blocks() * threads

    return Source(ramp_body, "i" + letter * 3 + "ii", threads)


@inline
def _at(i, step, start):
    return i * step + start


def _launcher(
    dtype: str, letter: str, total: int, half: int, fused: bool = False
) -> Callable[..., None]:
    if total == 0:
        return lambda *args: None
    chosen = grid("create", dtype)
    function = ramp.build(dtype, letter, fused, chosen.bounds.threads)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)

    def launch(out: int, start: float, end: float, step: float) -> None:
        function(out, start, end, step, half, total, where, 1, 1)

    return launch


def arange(dtype: str, exact: bool, total: int) -> Callable[..., None]:
    """A launch ``(out, start, end, step)``; see :func:`tilegrad.kernels.cpu.create.arange`."""
    return _launcher(dtype, "i" if exact else "d", total, total)


def linspace(dtype: str, total: int) -> Callable[..., None]:
    """A launch ``(out, start, end, step)``; see :func:`tilegrad.kernels.cpu.create.linspace`."""
    return _launcher(dtype, "d", total, total // 2, np.dtype(dtype).kind in "iu")
