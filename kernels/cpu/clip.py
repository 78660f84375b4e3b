"""The length of all gradients taken together, and its limit: one launch each over all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cpu.optim import cut
from tilegrad.kernels.cpu.run.jit import Kernel, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.cpu.simd.vector import fma, head, hsum, lanes, load, load_masked, splat
from tilegrad.kernels.cpu.tuning import Clip
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import inline


@kernel
def squares(dtype: str) -> Kernel:
    """``partial[task]``, float64: the sum of squares of a task's elements.

    Arguments: a table of addresses, spans and starts as of :func:`~tilegrad.kernels.cpu.optim.cut`,
    the partial sums.
    """
    T = np.dtype(dtype).type
    W, size = lanes(dtype), Clip.block

    @inline
    def block(x, at, end):
        none = splat(T(0))
        a0, a1, a2, a3 = none, none, none, none
        i = at
        while i + 4 * W <= end:
            v0, v1, v2, v3 = load(x, i), load(x, i + W), load(x, i + 2 * W), load(x, i + 3 * W)
            a0, a1 = fma(v0, v0, a0), fma(v1, v1, a1)
            a2, a3 = fma(v2, v2, a2), fma(v3, v3, a3)
            i += 4 * W
        while i < end:
            v = load_masked(x, i, head(T, end - i), none)
            a0 = fma(v, v, a0)
            i += W
        return hsum((a0 + a1) + (a2 + a3))

    def body(task, table, spans, starts, partial):
        rows = pointer(table, np.int64)
        span = pointer(spans, np.int64)
        first = pointer(starts, np.int64)
        total = np.float64(0)
        for k in range(first[task], first[task + 1]):
            x = pointer(rows[span[3 * k]], T)
            at = span[3 * k + 1]
            end = at + span[3 * k + 2]
            while at < end:
                stop = min(end, at + size)
                total += np.float64(block(x, at, stop))
                at = stop
        pointer(partial, np.float64)[task] = total

    return body, "iiii"


@kernel
def length(dtype: str) -> Kernel:
    """The root of the sum of ``count`` partial sums, as ``dtype``."""
    T = np.dtype(dtype).type

    def body(task, partial, count, out):
        sums = pointer(partial, np.float64)
        total = np.float64(0)
        for k in range(count):
            total += sums[k]
        pointer(out, T)[0] = T(sqrt(total))

    return body, "iii"


@kernel
def shrink(dtype: str) -> Kernel:
    """All elements times ``min(1, limit / (norm + 1e-6))``, as PyTorch has it."""
    T = np.dtype(dtype).type

    def body(task, table, spans, starts, norm, limit):
        rows = pointer(table, np.int64)
        span = pointer(spans, np.int64)
        first = pointer(starts, np.int64)
        ratio = T(limit) / (pointer(norm, T)[0] + T(1e-6))
        factor = T(1) if ratio > T(1) else ratio
        for k in range(first[task], first[task + 1]):
            x = pointer(rows[span[3 * k]], T)
            at = span[3 * k + 1]
            for i in range(at, at + span[3 * k + 2]):
                write(x, i, read(x, i) * factor)

    return body, "iiiid"


@lru_cache(maxsize=1024)
def total_norm(dtype: str, sizes: tuple[int, ...]) -> Callable[[int, int], None]:
    """A launch ``(table address, output address)`` of the 2-norm of arrays of ``sizes``.

    The table holds the address of each array; all are dense and of ``dtype``, as is the output.
    """
    add, finish = squares.build(dtype), length.build(dtype)
    spans, starts = cut(sizes)
    where, order = spans.ctypes.data, starts.ctypes.data
    tasks = len(starts) - 1

    def launch(table: int, out: int) -> None:
        partial = np.empty(tasks, np.float64)
        threads = get_num_threads() if tasks > 1 else 0
        add(table, where, order, partial.ctypes.data, tasks, threads)
        finish(partial.ctypes.data, tasks, out, 1, 0)

    # their memory must live as long as the launch
    launch.tables = (spans, starts)  # type: ignore[attr-defined]
    return launch


@lru_cache(maxsize=1024)
def shrink_to(dtype: str, sizes: tuple[int, ...]) -> Callable[[int, int, float], None]:
    """A launch ``(table address, norm address, limit)``: scale arrays so that their norm, which was
    measured before, is at most ``limit``.
    """
    scale = shrink.build(dtype)
    spans, starts = cut(sizes)
    where, order = spans.ctypes.data, starts.ctypes.data
    tasks = len(starts) - 1

    def launch(table: int, norm: int, limit: float) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        scale(table, where, order, norm, limit, tasks, threads)

    # their memory must live as long as the launch
    launch.tables = (spans, starts)  # type: ignore[attr-defined]
    return launch
