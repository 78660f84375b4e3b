"""Copies of elements from one strided place to another. Elements are only bytes here.

``copy`` walks two strided operands of equal sizes in the target's order. Rows that are consecutive
in both move up to 16 bytes at a time. Where the source's neighbours lie along another dimension
than the target's, square tiles pass through shared memory, so that both sides are walked along
their own neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.prefix import add_up, sum_before, tasks_for
from tilegrad.kernels.cuda.ptx import (
    barrier,
    block,
    blocks,
    load_vector,
    pointer,
    shared,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.strided import is_wide, numbers, offsets_of, spread
from tilegrad.kernels.function import DeviceFunction, inline

Sizes = tuple[int, ...]

THREADS = 256
BYTES = 16  # of the widest access
AHEAD = 4  # elements a thread loads before it stores the first
PER_SM = 16  # blocks a multiprocessor gets before threads take further elements in strides
TILE = 32  # edge of a transposed tile
LINES = THREADS // TILE  # of a tile that the threads of a block hold at once
LONG = 16  # elements both dimensions of a transposed copy must have


@inline
def read_pair(p, i):  # type: ignore[no-untyped-def]
    """The pair number ``i`` of 8-byte words, in one access."""
    return _load_pair(p, 2 * i)


@inline
def write_pair(p, i, value):  # type: ignore[no-untyped-def]
    """The counterpart of :func:`read_pair`."""
    _store_pair(p, 2 * i, value)


@inline
def read_word(p, i):  # type: ignore[no-untyped-def]
    """``p[i]``"""
    return p[i]


@inline
def write_word(p, i, value):  # type: ignore[no-untyped-def]
    """``p[i] = value``"""
    p[i] = value


_load_pair, _store_pair = load_vector(2), store_vector(2)


def words(width: int) -> tuple[Any, DeviceFunction, DeviceFunction]:
    """(NumPy type, ``read(p, i)``, ``write(p, i, value)``) for elements of ``width`` bytes, 1 to 16."""
    if width == BYTES:
        return np.uint64, read_pair, write_pair
    return np.dtype(f"u{width}").type, read_word, write_word


# ------------------------------------------------------------------------------- in the target's order


@kernel
def copy_words(width: int, dims: int, wide: bool) -> Source:
    """``out = x`` for ``total`` elements of ``width`` bytes, numbered in row-major order.

    Neighbouring threads take neighbouring elements; a thread has ``AHEAD`` of them, a block's width
    apart. Parameters: x, out, total, then the block with the strides of x and of out.
    """
    T, read, write = words(width)
    place = offsets_of(dims, 2, 0, wide)

    @inline
    def copy(x, out, total, t):  # type: ignore[no-untyped-def]
        source, target = pointer(x, T), pointer(out, T)
        last = total - 1
        i = block() * (AHEAD * THREADS) + thread()
        while i < total:
            # past the end, the last element again: a harmless store instead of a branch
            a, b = place(i, t), place(min(i + THREADS, last), t)
            c, d = place(min(i + 2 * THREADS, last), t), place(min(i + 3 * THREADS, last), t)
            v, w = read(source, a[0]), read(source, b[0])
            y, z = read(source, c[0]), read(source, d[0])
            write(target, a[1], v)
            write(target, b[1], w)
            write(target, c[1], y)
            write(target, d[1], z)
            i += blocks() * (AHEAD * THREADS)

    return Source(spread(copy, 3, 5 * dims), "iii" + "i" * (5 * dims), THREADS, per_sm=4)


def _words(
    itemsize: int, factor: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """A launch of :func:`copy_words` with ``factor`` elements to a word."""
    if factor > 1:
        sizes = (*sizes[:-1], sizes[-1] // factor)
        x_strides = (*(s // factor for s in x_strides[:-1]), 1)
        out_strides = (*(s // factor for s in out_strides[:-1]), 1)
    total = math.prod(sizes)
    wide = is_wide(total, (sizes, x_strides), (sizes, out_strides))
    function = copy_words.build(itemsize * factor, len(sizes), wide)
    grid = blocks_for(total, AHEAD * THREADS, PER_SM)
    return bind(function, total, *numbers(sizes, x_strides, out_strides), grid, 1, 1)


def word_factors(itemsize: int, sizes: Sizes, *strides: Sizes) -> list[int]:
    """How many elements may move as one word where addresses allow it, most first; the last is 1.

    ``strides``: of operands that are consecutive in the innermost dimension, or 0 all over it.
    """
    factors = []
    factor = BYTES // itemsize
    while factor > 1:
        if sizes[-1] % factor == 0 and all(s % factor == 0 for o in strides for s in o[:-1]):
            factors.append(factor)
        factor //= 2
    return [*factors, 1]


def _rows(
    itemsize: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """Copy in the target's order, by the widest words that the addresses of a call allow."""
    shapes = (sizes, x_strides, out_strides)
    if (x_strides[-1], out_strides[-1]) != (1, 1):
        return _words(itemsize, 1, *shapes)
    factors = word_factors(itemsize, *shapes)
    if factors == [1]:
        return _words(itemsize, 1, *shapes)
    built: dict[int, Callable[[int, int], None]] = {}

    def launch(x: int, out: int) -> None:
        both = x | out
        for factor in factors:
            if both & (factor * itemsize - 1) == 0:
                break
        move = built.get(factor)
        if move is None:
            move = built[factor] = _words(itemsize, factor, *shapes)
        move(x, out)

    return launch


# ------------------------------------------------------------------------------------- transposing


@kernel
def copy_tiles(width: int, dims: int, wide: bool) -> Source:
    """``out = x`` where x has its neighbours along the rows of out, by tiles of 32 by 32.

    A block reads a tile with neighbouring threads along a column of out and writes it with them
    along a row. The tile's rows in shared memory are one element longer than needed, which puts
    the elements of a column into different banks. Parameters: x, out, rows, columns, the strides
    of x along both, the strides of out along both, then a block that numbers the tiles, with four
    "strides": of x, of out, of the tile's first row and of its first column.
    """
    T = np.dtype(f"u{width}").type
    pitch = TILE + 1
    tile = shared(f"uint{8 * width}", TILE * pitch, "tile")
    start = offsets_of(dims, 4, 0, wide)

    @inline
    def copy(x, out, rows, columns, x_row, x_column, out_row, out_column, t):  # type: ignore[no-untyped-def]
        held = tile()
        lane, line = thread() % TILE, thread() // TILE
        x_at, out_at, row, column = start(block(), t)
        rows -= row
        columns -= column
        source = pointer(x, T)
        at = x_at + lane * x_row + line * x_column
        step = LINES * x_column
        inside = lane < rows
        a = source[at] if inside and line < columns else T(0)
        b = source[at + step] if inside and line + LINES < columns else T(0)
        c = source[at + 2 * step] if inside and line + 2 * LINES < columns else T(0)
        d = source[at + 3 * step] if inside and line + 3 * LINES < columns else T(0)
        held[line * pitch + lane] = a
        held[(line + LINES) * pitch + lane] = b
        held[(line + 2 * LINES) * pitch + lane] = c
        held[(line + 3 * LINES) * pitch + lane] = d
        barrier()
        target = pointer(out, T)
        at = out_at + line * out_row + lane * out_column
        if lane < columns:
            for k in range(TILE // LINES):
                if line + k * LINES < rows:
                    target[at + k * LINES * out_row] = held[lane * pitch + line + k * LINES]

    return Source(spread(copy, 8, 7 * dims), "iiiiiiii" + "i" * (7 * dims), THREADS)


def _line(sizes: Sizes, x: Sizes) -> int | None:
    """The dimension that holds the neighbours of x, if it is not the last and tiles would be full."""
    if sizes[-1] < LONG or x[-1] == 0:
        return None
    long = [k for k in range(len(sizes) - 1) if sizes[k] >= LONG and x[k]]
    nearest = min(long, key=lambda k: abs(x[k]), default=None)
    return nearest if nearest is not None and abs(x[nearest]) < abs(x[-1]) else None


def _tiles(
    itemsize: int, line: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """Copy by tiles whose rows run along the last dimension and columns along ``line``."""
    rest = [k for k in range(len(sizes) - 1) if k != line]
    rows, columns = sizes[line], sizes[-1]
    tiles = (*(sizes[k] for k in rest), -(-rows // TILE), -(-columns // TILE))
    x_steps = (*(x_strides[k] for k in rest), TILE * x_strides[line], TILE * x_strides[-1])
    out_steps = (*(out_strides[k] for k in rest), TILE * out_strides[line], TILE * out_strides[-1])
    none = (0,) * len(rest)
    starts = (x_steps, out_steps, (*none, TILE, 0), (*none, 0, TILE))
    wide = is_wide(math.prod(sizes), (sizes, x_strides), (sizes, out_strides))
    function = copy_tiles.build(itemsize, len(tiles), wide)
    steps = (x_strides[line], x_strides[-1], out_strides[line], out_strides[-1])
    grid = math.prod(tiles)
    return bind(function, rows, columns, *steps, *numbers(tiles, *starts), grid, 1, 1)


def copy(
    itemsize: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """A launch ``(x, out)`` of ``out[i] = x[i]``; see :func:`tilegrad.kernels.cpu.movement.copy`."""
    if math.prod(sizes) == 0:
        return lambda *args: None
    line = _line(sizes, x_strides)
    if line is None:
        return _rows(itemsize, sizes, x_strides, out_strides)
    return _tiles(itemsize, line, sizes, x_strides, out_strides)


# --------------------------------------------------------------------------------- repeated indices


@kernel
def sum_counts(dtype: str) -> Source:
    """Per chunk of the counts, a block each: their sum, and whether one of them is negative.

    Parameters: counts, sums, flags (both int64), number of counts, counts of a chunk.
    """
    T = np.dtype(dtype).type

    def add(a0, a1, a2, total, chunk):  # type: ignore[no-untyped-def]
        counts = pointer(a0, T)
        i = block() * chunk + thread()
        end = min(total, block() * chunk + chunk)
        own = negative = np.int64(0)
        while i < end:
            count = np.int64(counts[i])
            own += count
            negative += np.int64(count < 0)
            i += THREADS
        _, found = sum_before(negative)
        _, whole = sum_before(own)
        if thread() == 0:
            pointer(a1, np.int64)[block()] = whole
            pointer(a2, np.int64)[block()] = found

    return Source(add, "iiiii", THREADS)


@kernel
def count_ends(dtype: str) -> Source:
    """``ends[i]``: the sum of the counts up to and with i; the status, by the first block.

    Parameters: counts, starts (the sums before each chunk, and of all), flags, ends, status, number
    of counts, counts of a chunk, chunks.
    """
    T = np.dtype(dtype).type

    def end_up(a0, a1, a2, a3, a4, total, chunk, chunks):  # type: ignore[no-untyped-def]
        counts, starts, ends = pointer(a0, T), pointer(a1, np.int64), pointer(a3, np.int64)
        first = block() * chunk
        end = min(total, first + chunk)
        carry = starts[block()]
        while first < end:
            i = first + thread()
            own = np.int64(counts[i]) if i < end else 0
            before, whole = sum_before(own)
            if i < end:
                ends[i] = carry + before + own
            carry += whole
            first += THREADS
        if block() == 0:
            flags = pointer(a2, np.int64)
            own = np.int64(0)
            for k in range(thread(), chunks, THREADS):
                own += flags[k]
            _, negative = sum_before(own)
            if thread() == 0:
                pointer(a4, np.int64)[0] = -1 if negative > 0 else starts[chunks]

    return Source(end_up, "iiiiiiii", THREADS)


@kernel
def repeat_indices() -> Source:
    """``out[k]``: the first i whose end lies beyond k, by halving. Parameters: ends, out, total, room."""

    def find(a0, a1, total, room):  # type: ignore[no-untyped-def]
        ends, out = pointer(a0, np.int64), pointer(a1, np.int64)
        k = block() * THREADS + thread()
        while k < room:
            low, high = 0, total
            while low < high:
                middle = (low + high) >> 1
                if ends[middle] > k:
                    high = middle
                else:
                    low = middle + 1
            out[k] = low
            k += blocks() * THREADS

    return Source(find, "iiii", THREADS)


def repeated_indices(dtype: str, total: int, room: int) -> Callable[..., None]:
    """A launch ``(counts, out, status, scratch)``: index i ``counts[i]`` times, for every i in order.

    The status becomes the sum of the counts, or -1 if one is negative. ``launch.scratch``: bytes.
    """
    chunks, chunk = tasks_for(total)
    add, sums = sum_counts.build(dtype), add_up(chunks)
    end_up = count_ends.build(dtype)
    find = bind(repeat_indices.build(), total, room, blocks_for(room, THREADS, PER_SM), 1, 1)

    def launch(counts: int, out: int, status: int, scratch: int) -> None:
        flags = scratch + 8 * (chunks + 1)
        ends = flags + 8 * chunks
        add(counts, scratch, flags, total, chunk, chunks, 1, 1)
        sums(scratch)
        end_up(counts, scratch, flags, ends, status, total, chunk, chunks, chunks, 1, 1)
        if room:
            find(ends, out)

    launch.scratch = 8 * (2 * chunks + 1 + total)  # type: ignore[attr-defined]
    return launch
