"""Reductions of strided arrays over any of their dimensions, without atomics.

``rows``: neighbouring threads take neighbouring elements of one output's share; a group of 1 to 32
lanes, or a whole block, combines them. ``columns``: neighbouring threads take neighbouring outputs,
whose inputs are neighbours in memory. Where there are few outputs, each one's share is cut into
chunks whose results a second launch of ``rows`` combines. The cut depends on sizes alone, so every
GPU sums in the same order. Totals have the input's precision: a thread adds some dozen numbers into
each of four totals, and the rest is a tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    barrier,
    block,
    block_y,
    load_vector,
    pointer,
    shared,
    thread,
)
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce, stored
from tilegrad.kernels.cuda.parts.strided import (
    PER_AXIS,
    index_params,
    is_wide,
    offset_of,
    unpack_params,
)
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import REDUCTION, Reduction, row
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import MONOIDS, itself

Sizes = tuple[int, ...]

TILE = WARP  # adjacent outputs of a block of ``columns``


@kernel
def rows(
    name: str, dtype: str, out_dtype: str, stage: str, lanes: int, kept: int, reduced: int,
    vector: int, wide: bool, bounds: Bounds,
) -> Source:  # fmt: skip
    """Reduce ``R`` elements per output, in chunks, ``lanes`` threads to a chunk.

    Parameters: x, out, center, p, R, the count that ``finish`` gets, elements of a chunk, chunks of
    an output, chunks in all, then the kept and the reduced block. ``stage``: "whole" lifts and
    finishes, "part" only lifts, "last" only finishes. ``vector`` elements move at a time.
    """
    monoid = MONOIDS[name]
    lift = itself if stage == "last" else monoid.lift
    combine, centred = monoid.combine, monoid.centred and stage != "last"
    total_dtype = monoid.block_dtype(dtype)
    T, A = stored(dtype), np.dtype(total_dtype).type
    Out = A if stage == "part" else stored(out_dtype)
    Center = stored(out_dtype)
    finish, first = monoid.finishing(total_dtype), monoid.identity(total_dtype)
    finishes = stage != "part"
    floating = is_float(total_dtype)
    P = A if floating else np.float64
    kept_offset = offset_of(kept, 0, wide)
    place = offset_of(reduced, PER_AXIS * kept, wide)
    load, fold = load_vector(vector), block_reduce(combine, total_dtype, lanes)
    groups, V = bounds.threads // lanes, vector
    mask = vector * np.dtype(T).itemsize - 1
    width = np.dtype(T).itemsize

    @inline
    def reduce_rows(x, out, center, p, R, count, chunk, chunks, units, t):
        lane = thread() % lanes
        unit = block() * groups + thread() // lanes
        active = unit < units
        o = unit // chunks if chunks > 1 else unit
        i = (unit - o * chunks) * chunk
        end = min(R, i + chunk) if active else i
        base = kept_offset(o, t) if active else 0
        source = pointer(x, T)
        c = T(pointer(center, Center)[o]) if centred and active else T(0)
        a0 = a1 = a2 = a3 = first
        if V > 1 and (x + base * width) & mask == 0:
            i += lane * V
            while i + lanes * V + V <= end:
                v, w = load(source, base + i), load(source, base + i + lanes * V)
                a0 = A(combine(a0, A(lift(v[0], c))))
                a1 = A(combine(a1, A(lift(v[1 % V], c)))) if V > 1 else a1
                a2 = A(combine(a2, A(lift(v[2 % V], c)))) if V > 2 else a2
                a3 = A(combine(a3, A(lift(v[3 % V], c)))) if V > 3 else a3
                a0 = A(combine(a0, A(lift(w[0], c))))
                a1 = A(combine(a1, A(lift(w[1 % V], c)))) if V > 1 else a1
                a2 = A(combine(a2, A(lift(w[2 % V], c)))) if V > 2 else a2
                a3 = A(combine(a3, A(lift(w[3 % V], c)))) if V > 3 else a3
                i += 2 * lanes * V
            while i + V <= end:
                v = load(source, base + i)
                a0 = A(combine(a0, A(lift(v[0], c))))
                a1 = A(combine(a1, A(lift(v[1 % V], c)))) if V > 1 else a1
                a2 = A(combine(a2, A(lift(v[2 % V], c)))) if V > 2 else a2
                a3 = A(combine(a3, A(lift(v[3 % V], c)))) if V > 3 else a3
                i += lanes * V
            while i < end:  # one thread has less than a vector left
                a0 = A(combine(a0, A(lift(source[base + i], c))))
                i += 1
        else:
            i += lane
            while i + 3 * lanes < end:
                x0 = source[base + place(i, t)]
                x1 = source[base + place(i + lanes, t)]
                x2 = source[base + place(i + 2 * lanes, t)]
                x3 = source[base + place(i + 3 * lanes, t)]
                a0 = A(combine(a0, A(lift(x0, c))))
                a1 = A(combine(a1, A(lift(x1, c))))
                a2 = A(combine(a2, A(lift(x2, c))))
                a3 = A(combine(a3, A(lift(x3, c))))
                i += 4 * lanes
            while i < end:
                a0 = A(combine(a0, A(lift(source[base + place(i, t)], c))))
                i += lanes
        total = fold(A(combine(A(combine(a0, a1)), A(combine(a2, a3)))))
        if active and lane == 0:
            if finishes:
                pointer(out, Out)[unit] = Out(finish(total, P(count), P(p)))
            else:
                pointer(out, Out)[unit] = total

    params = PER_AXIS * (kept + reduced)
    return Source(unpack_params(reduce_rows, 9, params), "iiidiiiii" + "i" * params, *bounds)


@kernel
def columns(
    name: str, dtype: str, out_dtype: str, finishes: bool, kept: int, reduced: int, wide: bool,
    bounds: Bounds,
) -> Source:  # fmt: skip
    """Reduce ``R`` elements per output, where adjacent outputs have adjacent inputs.

    A block has 32 outputs and ``depth`` threads for each. Parameters: x, out, center, p, R, the count that
    ``finish`` gets, elements of a chunk, adjacent outputs, their tiles of 32, then the outer kept
    and the reduced block. The grid's second index is the chunk.
    """
    monoid = MONOIDS[name]
    lift, combine, centred = monoid.lift, monoid.combine, monoid.centred
    total_dtype = monoid.block_dtype(dtype)
    T, A = stored(dtype), np.dtype(total_dtype).type
    Out, Center = stored(out_dtype) if finishes else A, stored(out_dtype)
    finish, first = monoid.finishing(total_dtype), monoid.identity(total_dtype)
    P = A if is_float(total_dtype) else np.float64
    kept_offset = offset_of(kept, 0, wide)
    place = offset_of(reduced, PER_AXIS * kept, wide)
    depth = bounds.threads // TILE
    parts = shared(total_dtype, bounds.threads, "columns")

    @inline
    def reduce_columns(x, out, center, p, R, count, chunk, width, tiles, t):
        column, row = thread() % TILE, thread() // TILE
        outer = block() // tiles
        j = (block() - outer * tiles) * TILE + column
        o = outer * width + j
        active = j < width
        i = block_y() * chunk + row
        end = min(R, block_y() * chunk + chunk) if active else 0
        base = kept_offset(outer, t) + j
        source = pointer(x, T)
        c = T(pointer(center, Center)[o]) if centred and active else T(0)
        a0 = a1 = a2 = a3 = first
        while i + 3 * depth < end:
            x0 = source[base + place(i, t)]
            x1 = source[base + place(i + depth, t)]
            x2 = source[base + place(i + 2 * depth, t)]
            x3 = source[base + place(i + 3 * depth, t)]
            a0 = A(combine(a0, A(lift(x0, c))))
            a1 = A(combine(a1, A(lift(x1, c))))
            a2 = A(combine(a2, A(lift(x2, c))))
            a3 = A(combine(a3, A(lift(x3, c))))
            i += 4 * depth
        while i < end:
            a0 = A(combine(a0, A(lift(source[base + place(i, t)], c))))
            i += depth
        held = parts()
        held[thread()] = A(combine(A(combine(a0, a1)), A(combine(a2, a3))))
        barrier()
        if row == 0 and active:
            total = held[column]
            for k in range(1, depth):
                total = A(combine(total, held[k * TILE + column]))
            if finishes:
                pointer(out, Out)[o] = Out(finish(total, P(count), P(p)))
            else:
                chunks = (R + chunk - 1) // chunk
                pointer(out, Out)[o * chunks + block_y()] = total

    params = PER_AXIS * (kept + reduced)
    return Source(unpack_params(reduce_columns, 9, params), "iiidiiiii" + "i" * params, *bounds)


def reduce(
    name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, Sizes], reduced: tuple[Sizes, Sizes]
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, [center], out, [scratch], p)`` and the bytes of scratch it needs.

    See :func:`tilegrad.kernels.cpu.reduce.reduce`.
    """
    outputs, R = math.prod(kept[0]), math.prod(reduced[0])
    if outputs == 0:
        return lambda *args: None, 0
    adjacent = kept[0][-1] if kept[1][-1] == 1 else 1
    wide, chosen = is_wide(max(outputs, R), kept, reduced), row(REDUCTION, dtype, name)
    if adjacent >= chosen.narrow and reduced[1][-1] != 1:
        first, chunks = _columns(chosen, name, dtype, out_dtype, kept, reduced, wide)
    else:
        first, chunks = _rows(chosen, name, dtype, out_dtype, kept, reduced, wide)
    monoid = MONOIDS[name]
    if chunks == 1:

        def whole(x: int, *where: Any) -> None:
            *center, out, p = where
            first(x, out, center[0] if center else 0, p)

        return whole, 0
    part = monoid.block_dtype(dtype)
    lanes, bounds = _lanes(chosen, chunks, outputs), chosen.bounds
    shape = ((outputs,), (chunks,)), ((chunks,), (1,))
    last = rows.build(name, part, out_dtype, "last", lanes, 1, 1, 1, wide, bounds)
    tail = (chunks, R, chunks, 1, outputs, *index_params(*shape[0]), *index_params(*shape[1]))
    grid = -(-outputs * lanes // bounds.threads)

    def in_parts(x: int, *where: Any) -> None:
        *center, out, scratch, p = where
        first(x, scratch, center[0] if center else 0, p)
        last(scratch, out, 0, p, *tail, grid, 1, 1)

    return in_parts, outputs * chunks * np.dtype(part).itemsize


def _lanes(chosen: Reduction, R: int, outputs: int) -> int:
    """Threads that share one output."""
    if R > chosen.alone or (R > chosen.few and outputs < chosen.units):
        return chosen.bounds.threads
    return min(WARP, 1 << max(0, (R - 1).bit_length() - 2))


def _rows(
    chosen: Reduction, name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, Sizes],
    reduced: tuple[Sizes, Sizes], wide: bool,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """(``launch(x, out, center, p)``, chunks per output)."""
    outputs, R = math.prod(kept[0]), math.prod(reduced[0])
    lanes, threads = _lanes(chosen, R, outputs), chosen.bounds.threads
    most = -(-R // (lanes * chosen.each)) if lanes == threads else 1
    chunks = max(1, min(most, chosen.units // outputs))
    flat = len(reduced[0]) == 1 and reduced[1][0] == 1
    itemsize = np.dtype(dtype).itemsize
    vector = min(4, 16 // itemsize) if flat and R >= 4 * lanes else 1
    chunk = -(-R // chunks)
    chunk += -chunk % vector if chunks > 1 else 0
    chunks = max(1, -(-R // max(chunk, 1)))
    stage = "part" if chunks > 1 else "whole"
    dims = (len(kept[0]), len(reduced[0]))
    function = rows.build(name, dtype, out_dtype, stage, lanes, *dims, vector, wide, chosen.bounds)
    tail = (R, R, chunk, chunks, outputs * chunks, *index_params(*kept), *index_params(*reduced))
    grid = -(-outputs * chunks * lanes // threads)

    def launch(x: int, out: int, center: int, p: float) -> None:
        function(x, out, center, p, *tail, grid, 1, 1)

    return launch, chunks


def _columns(
    chosen: Reduction, name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, Sizes],
    reduced: tuple[Sizes, Sizes], wide: bool,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """(``launch(x, out, center, p)``, chunks per output)."""
    outputs, R, width = math.prod(kept[0]), math.prod(reduced[0]), kept[0][-1]
    tiles = -(-width // TILE)
    outer = (kept[0][:-1], kept[1][:-1])
    blocks = outputs // width * tiles
    depth = chosen.bounds.threads // TILE
    chunks = max(1, min(-(-R // (depth * chosen.each)), chosen.units // blocks))
    chunk = -(-R // chunks)
    chunks = max(1, -(-R // max(chunk, 1)))
    dims = (len(outer[0]), len(reduced[0]))
    function = columns.build(name, dtype, out_dtype, chunks == 1, *dims, wide, chosen.bounds)
    tail = (R, R, max(chunk, 1), width, tiles, *index_params(*outer), *index_params(*reduced))

    def launch(x: int, out: int, center: int, p: float) -> None:
        function(x, out, center, p, *tail, blocks, chunks, 1)

    return launch, chunks
