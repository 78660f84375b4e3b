"""Where the extremes are: the first position of given values along a dimension.

``rows``: the threads of a row are neighbours and so are its elements; a warp stops where it has
found one. ``columns``: neighbouring threads have neighbouring rows. Where there are few rows,
each is cut into chunks, which keep the least position by an atomic minimum; it is the same in any
order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    atomic_min,
    ballot,
    barrier,
    block,
    block_y,
    blocks,
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
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import REDUCTION, grid, row
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import smaller

Sizes = tuple[int, ...]


@inline
def fits(x, m):
    """Whether ``x`` is ``m`` or NaN."""
    return (x == m) | (x != x)


@kernel
def fill(bounds: Bounds) -> Source:
    """``count`` elements of ``out`` (int64) become ``value``. Parameters: out, value, count."""
    threads = bounds.threads

    def fill_body(out, value, count):
        i = block() * threads + thread()
        while i < count:
            pointer(out, np.int64)[i] = value
            i += blocks() * threads

    return Source(fill_body, "iii", *bounds)


def _writer(single: bool) -> DeviceFunction:
    """``write(out, o, found, n)``: what one chunk of a row of ``n`` found, ``n`` for nothing. A ``single`` one
    writes it, or the last element; others keep the least.
    """

    @inline
    def write(out, o, found, n):
        if single:
            pointer(out, np.int64)[o] = min(found, n - 1)
        elif found < n:
            atomic_min(pointer(out, np.int64), o, found)

    return write


@kernel
def rows(
    dtype: str, lanes: int, kept: int, vector: int, single: bool, wide: bool, threads: int
) -> Source:
    """Search units of ``chunk`` elements, ``lanes`` threads to a unit, ``vector`` elements at a
    time.

    Parameters: x, values, out, size and stride of the dimension, elements of a chunk, chunks of a
    row, chunks in all, then the kept block. ``single``: rows are not cut.
    """
    T, width = stored(dtype), np.dtype(dtype).itemsize
    place = offset_of(kept, 0, wide)
    groups, V, mask = threads // lanes, vector, vector * width - 1
    load, first_of = load_vector(vector), block_reduce(smaller, "int64", lanes)
    write = _writer(single)

    @inline
    def arg_rows(x, values, out, n, s, chunk, chunks, units, t):
        unit = block() * groups + thread() // lanes
        active = unit < units
        o = unit // chunks if chunks > 1 else unit
        i = (unit - o * chunks) * chunk
        end = min(n, i + chunk) if active else i
        base = place(o, t) if active else 0
        m = pointer(values, T)[o] if active else T(0)
        source = pointer(x, T)
        aligned = V > 1 and (x + (base + i) * width) & mask == 0
        i += thread() % lanes * V
        found, left = n, chunk
        while left > 0:  # the same for all threads
            if found == n and aligned and i + V <= end:
                v = load(source, base + i)
                found = i + 3 % V if fits(v[3 % V], m) else found
                found = i + 2 % V if fits(v[2 % V], m) else found
                found = i + 1 % V if fits(v[1 % V], m) else found
                found = i if fits(v[0], m) else found
            elif found == n:
                for j in range(min(end, i + V) - 1, i - 1, -1):
                    found = j if fits(source[base + j * s], m) else found
            i += lanes * V
            left -= lanes * V
            if lanes >= WARP and ballot(found < n):
                left = 0
        found = first_of(found)
        if active and thread() % lanes == 0:
            write(out, o, found, n)

    return Source(unpack_params(arg_rows, 8, PER_AXIS * kept), "i" * (8 + PER_AXIS * kept), threads)


@kernel
def columns(dtype: str, kept: int, single: bool, wide: bool, threads: int) -> Source:
    """Search rows side by side: a block has 32 of them and ``depth`` threads for each.

    Parameters: x, values, out, size and stride of the dimension, elements of a chunk, adjacent
    rows, their tiles of 32, then the outer kept block. The grid's second index is the chunk.
    """
    T = stored(dtype)
    place = offset_of(kept, 0, wide)
    parts, depth = shared("int64", threads, "arg_reduce"), threads // WARP
    write = _writer(single)

    @inline
    def arg_columns(x, values, out, n, s, chunk, width, tiles, t):
        outer = block() // tiles
        j = (block() - outer * tiles) * WARP + thread() % WARP
        o = outer * width + j
        active = j < width
        i = block_y() * chunk + thread() // WARP
        end = min(n, block_y() * chunk + chunk) if active else 0
        base = place(outer, t) + j
        m = pointer(values, T)[o] if active else T(0)
        source = pointer(x, T)
        found = n
        while i + 3 * depth < end and found == n:
            x0 = source[base + i * s]
            x1 = source[base + (i + depth) * s]
            x2 = source[base + (i + 2 * depth) * s]
            x3 = source[base + (i + 3 * depth) * s]
            found = i + 3 * depth if fits(x3, m) else found
            found = i + 2 * depth if fits(x2, m) else found
            found = i + depth if fits(x1, m) else found
            found = i if fits(x0, m) else found
            i += 4 * depth
        while i < end and found == n:
            found = i if fits(source[base + i * s], m) else found
            i += depth
        held = parts()
        held[thread()] = found
        barrier()
        if thread() < WARP and active:
            for k in range(1, depth):
                found = min(found, held[k * WARP + thread()])
            write(out, o, found, n)

    return Source(
        unpack_params(arg_columns, 8, PER_AXIS * kept), "i" * (8 + PER_AXIS * kept), threads
    )


def arg_reduce(
    dtype: str, kept: tuple[Sizes, Sizes], reduced: tuple[int, int]
) -> Callable[..., None]:
    """A launch ``(x, values, out)``; see :func:`tilegrad.kernels.cpu.arg_reduce.arg_reduce`."""
    outputs, (n, s) = math.prod(kept[0]), reduced
    if outputs == 0:
        return lambda *args: None
    wide = is_wide(max(outputs, n), kept, ((n,), (s,)))
    chosen = row(REDUCTION, dtype, "arg_reduce")
    threads = chosen.bounds.threads
    if kept[1][-1] == 1 and kept[0][-1] >= chosen.narrow and s != 1:
        width = kept[0][-1]
        tiles = -(-width // WARP)
        outer = (kept[0][:-1], kept[1][:-1])
        units = outputs // width * tiles
        chunk = _chunk(n, chosen.search // WARP, chosen.units // units)
        chunks = -(-n // chunk)
        function = columns.build(dtype, len(outer[0]), chunks == 1, wide, threads)
        search = bind(function, n, s, chunk, width, tiles, *index_params(*outer), units, chunks, 1)
    else:
        alone = n >= chosen.search // 4 and outputs < chosen.units
        lanes = threads if alone else min(WARP, _power(n) // 4 or 1)
        chunk = _chunk(n, chosen.search, chosen.units // outputs)
        chunks = -(-n // chunk)
        vector = min(4, 16 // np.dtype(dtype).itemsize) if s == 1 else 1
        function = rows.build(dtype, lanes, len(kept[0]), vector, chunks == 1, wide, threads)
        units = outputs * chunks
        blocks = -(-units * lanes // threads)
        search = bind(function, n, s, chunk, chunks, units, *index_params(*kept), blocks, 1, 1)
    if chunks == 1:
        return search
    clear = filler(n - 1, outputs)

    def launch(x: int, values: int, out: int) -> None:
        clear(out)
        search(x, values, out)

    return launch


def filler(value: int, count: int) -> Callable[[int], None]:
    """A launch ``(out,)`` of :func:`fill`."""
    chosen = grid("fill")
    where = blocks_for(count, chosen.bounds.threads, chosen.blocks)
    return bind(fill.build(chosen.bounds), value, count, where, 1, 1)


def _chunk(n: int, least: int, most: int) -> int:
    """Elements of a chunk, where a row has ``most`` chunks; by shape alone."""
    chunks = max(1, min(n // least, most))
    return -(-n // chunks) + 3 & ~3


def _power(n: int) -> int:
    """The power of 2 that is not below ``n``."""
    return 1 << max(0, n - 1).bit_length()
