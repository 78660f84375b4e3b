"""The length of all gradients taken together, and its limit.

As on the CPU, but by chunks of one array each (:func:`tilegrad.kernels.cuda.parts.pointer_table.cut`), a block
of threads a chunk. Squares are added up in the gradients' precision within a chunk, in float64 over
the chunks, in an order that follows from the sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, load_vector, pointer, store_vector, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.pointer_table import PointerTables, cut
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import CHUNKS, row
from tilegrad.kernels.formulas.primitives import fma, sqrt
from tilegrad.kernels.monoids import add

BYTES = 16  # of a vector access
PART = 8  # bytes of a chunk's sum


@kernel
def squares(dtype: str, bounds: Bounds) -> Source:
    """``partial[chunk]``, float64: the sum of the squares of a chunk's elements.

    Parameters: the table of addresses, the chunks, the partial sums.
    """
    T = np.dtype(dtype).type
    V, threads = BYTES // np.dtype(dtype).itemsize, bounds.threads
    load, fold = load_vector(V), block_reduce(add, dtype, threads)

    def body(table, spans, partial):
        span = pointer(spans, np.int64)
        address = pointer(table, np.int64)[span[3 * block()]]
        begin = span[3 * block() + 1]
        end = begin + span[3 * block() + 2]
        x = pointer(address, T)
        vector_end = end - (end - begin) % V if address & (BYTES - 1) == 0 else begin
        a0 = a1 = T(0)
        i = begin + thread() * V
        while i < vector_end:
            v = load(x, i)
            a0, a1 = fma(v[0], v[0], a0), fma(v[1], v[1], a1)
            if V > 2:
                a0, a1 = fma(v[2 % V], v[2 % V], a0), fma(v[3 % V], v[3 % V], a1)
            i += threads * V
        i = vector_end + thread()
        while i < end:
            a0 = fma(x[i], x[i], a0)
            i += threads
        total = fold(a0 + a1)
        if thread() == 0:
            pointer(partial, np.float64)[block()] = np.float64(total)

    return Source(body, "iii", *bounds)


@kernel
def length(dtype: str, threads: int) -> Source:
    """The root of the sum of ``count`` partial sums, as ``dtype``; one block."""
    T = np.dtype(dtype).type
    fold = block_reduce(add, "float64", threads)

    def body(partial, count, out):
        sums = pointer(partial, np.float64)
        total = np.float64(0)
        i = thread()
        while i < count:
            total += sums[i]
            i += threads
        total = fold(total)
        if thread() == 0:
            pointer(out, T)[0] = T(sqrt(total))

    return Source(body, "iii", threads)


@kernel
def shrink(dtype: str, bounds: Bounds) -> Source:
    """All elements times ``min(1, limit / (norm + 1e-6))``, as PyTorch has it.

    Parameters: the table of addresses, the chunks, the address of the norm, the limit.
    """
    T = np.dtype(dtype).type
    V, threads = BYTES // np.dtype(dtype).itemsize, bounds.threads
    load, store = load_vector(V), store_vector(V)

    def body(table, spans, norm, limit):
        ratio = T(limit) / (pointer(norm, T)[0] + T(1e-6))
        factor = T(1) if ratio > T(1) else ratio
        span = pointer(spans, np.int64)
        address = pointer(table, np.int64)[span[3 * block()]]
        begin = span[3 * block() + 1]
        end = begin + span[3 * block() + 2] if factor != T(1) else begin  # else all stays as it is
        x = pointer(address, T)
        vector_end = end - (end - begin) % V if address & (BYTES - 1) == 0 else begin
        i = begin + thread() * V
        while i < vector_end:
            v = load(x, i)
            if V > 2:
                store(x, i, (v[0] * factor, v[1] * factor, v[2 % V] * factor, v[3 % V] * factor))
            else:
                store(x, i, (v[0] * factor, v[1] * factor))
            i += threads * V
        i = vector_end + thread()
        while i < end:
            x[i] = x[i] * factor
            i += threads

    return Source(body, "iiid", *bounds)


@lru_cache(maxsize=1024)
def _tables(dtype: str, sizes: tuple[int, ...]) -> tuple[PointerTables, int]:
    """(tables over arrays of ``sizes`` with room for partial sums, chunks), one for both passes."""
    spans = cut(sizes, dtype)
    return PointerTables(len(sizes), spans, PART * len(spans)), len(spans)


@lru_cache(maxsize=1024)
def total_norm(dtype: str, sizes: tuple[int, ...]) -> Callable[[int, int], None]:
    """A launch ``(table address, output address)`` of the 2-norm of arrays of ``sizes``.

    The table is the host's; see :func:`tilegrad.kernels.cpu.clip.total_norm`.
    """
    (tables, chunks), bounds = _tables(dtype, sizes), row(CHUNKS, dtype, "clip").clip
    sums, finish = squares.build(dtype, bounds), length.build(dtype, bounds.threads)

    def launch(table: int, out: int) -> None:
        here = tables.on_device(table)
        partial = here + tables.scratch
        if chunks:
            sums(here, here + tables.numbers, partial, chunks, 1, 1)
        finish(partial, chunks, out, 1, 1, 1)

    return launch


@lru_cache(maxsize=1024)
def shrink_to(dtype: str, sizes: tuple[int, ...]) -> Callable[[int, int, float], None]:
    """A launch ``(table address, norm address, limit)``: scale arrays so that their norm, which was
    measured before, is at most ``limit``.
    """
    (tables, chunks), bounds = _tables(dtype, sizes), row(CHUNKS, dtype, "clip").clip
    scale = shrink.build(dtype, bounds)

    def launch(table: int, norm: int, limit: float) -> None:
        if chunks:
            here = tables.on_device(table)
            scale(here, here + tables.numbers, norm, limit, chunks, 1, 1)

    return launch
