"""Passes prepared for the CPU: tables, modes, shares."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tilegrad.kernels import roots
from tilegrad.kernels.cpu.fft import real
from tilegrad.kernels.cpu.fft.batch import Pass, batch as batch_kernel
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import bind
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Fourier
from tilegrad.kernels.fourier import Batch, End, Launch, mode, real_roots


@lru_cache(maxsize=128)
def _stages(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """(roots, stage table, roots of large primes)."""
    values, stages = roots.stage_tables(n, roots.factors(n))
    table = roots.interleaved(values, dtype)
    size, rows, kept = np.dtype(dtype).itemsize, [], []
    for radix, m, s, first in stages:
        address = 0
        if radix not in roots.RADICES:
            turns = roots.interleaved(roots.exact_turns(np.arange(radix), radix), dtype)
            kept.append(turns)
            address = turns.ctypes.data
        rows.append((radix, m, s, 2 * size * first, address))
    return table, np.array(rows, np.int64).reshape(-1, 5), kept


def _fields(end: End, lane: int, index: int, n: int, count: int) -> tuple[int, ...]:
    """Of an end of a pass."""
    how, limit = mode(end, lane, index, n, count)
    fields = (how, end.step, end.part, lane, limit, end.index_k, end.index_c, index)
    if end.factor is None:
        return (*fields, 0, 0, 0)
    return (*fields, end.factor.table.ctypes.data, end.factor.plane, int(end.factor.swap))


def prepare(
    dtype: str, n: int, batch: Batch, x: End, y: End, swap: bool, scale: float = 1.0
) -> tuple[Launch, int]:
    """``launch(x, y, scratch)`` of one pass, and the bytes of scratch."""
    W, size = lanes(dtype), np.dtype(dtype).itemsize
    (*outer, count), (*_, x_lane), (*_, y_lane), (*_, x_index), (*_, y_index) = batch
    units = int(np.prod(outer, dtype=np.int64)) * -(-count // W)
    per, tasks = splitting.share(units, n * W, Fourier.grain, Fourier.tasks)
    values, stages, kept = _stages(n, dtype)
    work = 4 * W * n * size
    fields = Pass(
        units, per, count, n, len(outer), len(stages), stages.ctypes.data, values.ctypes.data,
        int(swap), work, *_fields(x, x_lane, x_index, n, count), *_fields(y, y_lane, y_index, n, count),
    )  # fmt: skip
    table = np.array([*fields, *(v for values in batch for v in values[:-1])], np.int64)
    keep = (table, values, stages, kept, x.factor, y.factor)
    tail = (table.ctypes.data, float(scale), tasks, TEAM if tasks > 1 else 0)
    return bind(batch_kernel.build(dtype), *tail, keep=keep), tasks * work


def halves(
    after: bool, dtype: str, batch: Batch, half: int, row: int, step: int, valid: int, minus: bool
) -> Launch:
    """``launch(from, to)`` of :func:`real.after` or :func:`real.before`."""
    per, tasks = splitting.share(batch.total, 2 * half, Fourier.grain, Fourier.tasks)
    values, _ = roots.planes(real_roots(half), dtype)
    fields = real.Halves(
        batch.total, per, half, row, step, valid, int(minus), values.ctypes.data, len(batch.sizes)
    )
    strides = batch.y_strides if after else batch.x_strides
    table = np.array([*fields, *batch.sizes, *strides], np.int64)
    function = (real.after if after else real.before).build(dtype)
    return bind(function, table.ctypes.data, tasks, TEAM if tasks > 1 else 0, keep=(table, values))


@lru_cache(maxsize=512)
def rows(dtype: str, n: int, count: int) -> int:
    """Into how many rows a transform is cut, one of ``count`` like it; 0: it is not."""
    W = lanes(dtype)
    if n < Fourier.split or (n <= Fourier.whole and count >= Fourier.fill * W):
        return 0
    best, least = 0, float("inf")
    for rows in range(4, min(n // 4, Fourier.most_rows) + 1):
        if n % rows == 0:
            pairs = (rows, n // rows), (n // rows, rows)
            # lanes that are not used, and lengths that leave the cache
            cost = sum(-(-a // W) * W / a * (1 + b / Fourier.near) for a, b in pairs)
            if cost < least:
                best, least = rows, cost
    return best
