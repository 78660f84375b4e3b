"""Arithmetic sequences, for ``arange`` and ``linspace``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.tuning import Create
from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import inline


@kernel
def ramp(dtype: str, letter: str, fused: bool) -> Kernel:
    """Count up by ``step`` from ``start`` for the first ``half`` elements, down from ``end`` after.

    Arguments: output address, start, end, step (of type ``letter``, ``d`` rounds each element once,
    ``i`` is exact), half, number of elements, elements per task. ``fused`` rounds product and sum once.
    """
    T = np.dtype(dtype).type
    S = np.float64 if letter == "d" else np.int64

    at = fma if fused else _at

    def ramp_body(task, a0, start, end, step, half, total, chunk):
        out = pointer(a0, T)
        first = task * chunk
        last = min(total, first + chunk)
        for i in range(first, min(last, half)):
            out[i] = T(at(S(i), step, start))
        for i in range(max(first, half), last):
            out[i] = T(at(S(i - total + 1), step, end))

    return ramp_body, "i" + letter * 3 + "iii"


@inline
def _at(i, step, start):
    return i * step + start


def _launcher(
    dtype: str, letter: str, total: int, half: int, fused: bool = False
) -> Callable[..., None]:
    if total == 0:
        return lambda *args: None
    function = ramp.build(dtype, letter, fused)
    chunk, tasks = splitting.share(total, 1, Create.grain, Create.tasks)

    def launch(out: int, start: float, end: float, step: float) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(out, start, end, step, half, total, chunk, tasks, threads)

    return launch


def arange(dtype: str, exact: bool, total: int) -> Callable[..., None]:
    """A launch ``(out, start, end, step)`` of ``start + i * step``; ``end`` is not read.

    ``exact`` takes integer start and step; else they are floats, and each element is computed in
    float64 and rounded (for integers: truncated) once.
    """
    return _launcher(dtype, "i" if exact else "d", total, total)


def linspace(dtype: str, total: int) -> Callable[..., None]:
    """A launch ``(out, start, end, step)``: the first half counts from start, the rest to end. Of
    integers, which are truncated, product and sum are rounded once, as PyTorch's are.
    """
    return _launcher(dtype, "d", total, total // 2, np.dtype(dtype).kind in "iu")
