"""Work steered by a mask: find, take out or fill in the elements where it holds; triangles.

Masks are bool, one byte per element, row-major. A mask is read twice: once to count, so that each
block of threads knows where the results of its chunk begin, and once to write them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    block,
    blocks,
    count_bits,
    load_vector,
    pointer,
    thread,
)
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.prefix import add_up, block_scan, prefix, tasks_for
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offsets_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.dtypes import word
from tilegrad.kernels.function import inline
from tilegrad.kernels.source import device_function

EACH = 4  # neighbours a thread takes
AHEAD = 4  # elements of a triangle a thread reads before it writes the first

_load_words, _load_bytes = load_vector(2), load_vector(EACH)


# ------------------------------------------------------------------------------------- positions


@inline
def _ones(word):
    """How many bits of 64 are set: the bytes of a mask are 0 or 1."""
    return count_bits(word) + count_bits(word >> np.uint64(32))


@kernel
def count_chunks(threads: int) -> Source:
    """``counts[chunk]``: how often the mask holds in it, a block each, 16 bytes at a time.

    Parameters: mask, counts (int64), elements, elements of a chunk.
    """
    sum_before = block_scan(threads)

    def count(a0, a1, total, chunk):
        mask = pointer(a0, np.uint8)
        first = block() * chunk
        end = min(total, first + chunk)
        thread_count = np.int64(0)
        i = first + thread()
        if a0 & 15 == 0:
            words = pointer(a0, np.uint64)
            i = first + 16 * thread()
            while i + 15 < end:
                pair = _load_words(words, i // 8)
                thread_count += _ones(pair[0]) + _ones(pair[1])
                i += 16 * threads
            i = first + (end - first) // 16 * 16 + thread()
        while i < end:
            thread_count += mask[i]
            i += threads
        _, found = sum_before(thread_count)
        if thread() == 0:
            pointer(a1, np.int64)[block()] = found

    return Source(count, "iiii", threads)


def mask_starts(total: int) -> Callable[[int, int], None]:
    """A launch ``(mask, starts)``: where the results of each of the ``tasks_for(total)[0]`` chunks
    begin, and behind them how many there are.
    """
    tasks, chunk = tasks_for(total)
    add = add_up(tasks)
    if total == 0:
        return lambda mask, starts: add(starts)
    count = bind(count_chunks.build(prefix().threads), total, chunk, tasks, 1, 1)

    def launch(mask: int, starts: int) -> None:
        count(mask, starts)
        add(starts)

    return launch


@inline
def _four(mask, i, end, aligned):
    """The mask at ``i`` and behind, as int64; nothing from ``end`` on."""
    if aligned and i + 3 < end:
        m = _load_bytes(mask, i)
        return np.int64(m[0]), np.int64(m[1]), np.int64(m[2]), np.int64(m[3])
    return (
        np.int64(mask[i]) if i < end else np.int64(0),
        np.int64(mask[i + 1]) if i + 1 < end else np.int64(0),
        np.int64(mask[i + 2]) if i + 2 < end else np.int64(0),
        np.int64(mask[i + 3]) if i + 3 < end else np.int64(0),
    )


@kernel
def move_true(width: int, fills: bool, threads: int) -> Source:
    """The elements of ``x`` where the mask holds to ``packed``; for width 0 their positions. Or,
    if it ``fills``, the other way round. A block per chunk, four neighbours per thread at a time.

    Parameters: x, mask, starts, packed, elements, elements of a chunk.
    """
    T, sum_before = word(width) if width else np.int64, block_scan(threads)

    @inline
    def move_one(x, packed, i, place, holds):
        if holds:
            if fills:
                x[i] = packed[place]
            else:
                packed[place] = x[i] if width else i
        return place + holds

    def move(a0, a1, a2, a3, total, chunk):
        x, mask, packed = pointer(a0, T), pointer(a1, np.uint8), pointer(a3, T)
        starts = pointer(a2, np.int64)
        first = block() * chunk
        end = min(total, first + chunk)
        carry = starts[block()]
        aligned = a1 & 3 == 0
        while first < end:
            i = first + EACH * thread()
            m0, m1, m2, m3 = _four(mask, i, end, aligned)
            before, found = sum_before(m0 + m1 + m2 + m3)
            place = move_one(x, packed, i, carry + before, m0)
            place = move_one(x, packed, i + 1, place, m1)
            place = move_one(x, packed, i + 2, place, m2)
            move_one(x, packed, i + 3, place, m3)
            carry += found
            first += EACH * threads

    return Source(move, "iiiiii", threads)


def _moving(width: int, fills: bool, total: int) -> Callable[..., None]:
    """A launch ``(x, mask, starts, packed)`` of :func:`move_true`."""
    if total == 0:
        return lambda *addresses: None
    tasks, chunk = tasks_for(total)
    return bind(move_true.build(width, fills, prefix().threads), total, chunk, tasks, 1, 1)


def masked_select(itemsize: int, total: int) -> Callable[..., None]:
    """A launch ``(x, mask, starts, out)`` over row-major operands of ``total`` elements."""
    return _moving(itemsize, False, total)


def true_positions(total: int) -> Callable[..., None]:
    """A launch ``(mask, starts, out)``: int64 row-major positions where the mask holds."""
    function = _moving(0, False, total)
    return lambda mask, starts, out: function(0, mask, starts, out)


def masked_scatter(itemsize: int, total: int) -> Callable[..., None]:
    """A launch ``(x, mask, starts, source)`` that writes over row-major ``x``."""
    return _moving(itemsize, True, total)


@kernel
def split_positions(dims: int, wide: bool, bounds: Bounds) -> Source:
    """``out[axis, i]``: coordinates of row-major position ``positions[i]``.

    Parameters: positions, out, how many, then per dimension, innermost first, its size with the
    multiplier and shift that divide by it.
    """
    lines, threads = [], bounds.threads
    for axis in range(dims):
        size, multiplier, shift = (f"t[{3 * axis + k}]" for k in range(3))
        divide = f"rest // {size}" if wide else f"(rest * {multiplier}) >> {shift}"
        lines += [
            f"    above = {divide}",
            f"    out[{dims - 1 - axis} * total + i] = rest - above * {size}",
            "    rest = above",
        ]
    split = device_function("split", ["def split(out, i, total, rest, t):", *lines], {}, __name__)

    @inline
    def coordinates(a0, a1, total, t):
        positions, out = pointer(a0, np.int64), pointer(a1, np.int64)
        i = block() * threads + thread()
        while i < total:
            split(out, i, total, positions[i], t)
            i += blocks() * threads

    return Source(unpack_params(coordinates, 3, 3 * dims), "i" * (3 + 3 * dims), *bounds)


def coordinates(sizes: tuple[int, ...], total: int) -> Callable[[int, int], None]:
    """A launch ``(positions, out)``: out is (len(sizes), total), one row per dimension."""
    if total == 0 or not sizes:
        return lambda *addresses: None
    chosen, wide = grid("masked"), is_wide(int(np.prod(sizes, dtype=object)))
    function = split_positions.build(len(sizes), wide, chosen.bounds)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)
    return bind(function, total, *index_params(sizes), where, 1, 1)


# ------------------------------------------------------------------------------------- triangles


@kernel
def keep_triangle(width: int, lower: bool, wide: bool, bounds: Bounds) -> Source:
    """Matrices that keep row r up to (``lower``) or from column ``r + diagonal``, zero elsewhere.

    A thread has four elements, a block's width apart. Parameters: x, out, elements, diagonal, then
    (matrices, rows, columns) with the strides of row and column number.
    """
    T, threads = word(width), bounds.threads
    place = offsets_of(3, 2, 0, wide)

    @inline
    def kept(x, i, diagonal, t):
        row, column = place(i, t)
        keeps = column <= row + diagonal if lower else column >= row + diagonal
        return x[i] if keeps else T(0)

    @inline
    def keep(a0, a1, total, diagonal, t):
        x, out = pointer(a0, T), pointer(a1, T)
        last = total - 1
        i = block() * (AHEAD * threads) + thread()
        while i < total:
            # past the end, the last element again: a harmless store instead of a branch
            i1, i2 = min(i + threads, last), min(i + 2 * threads, last)
            i3 = min(i + 3 * threads, last)
            v, w = kept(x, i, diagonal, t), kept(x, i1, diagonal, t)
            y, z = kept(x, i2, diagonal, t), kept(x, i3, diagonal, t)
            out[i] = v
            out[i1] = w
            out[i2] = y
            out[i3] = z
            i += blocks() * (AHEAD * threads)

    return Source(unpack_params(keep, 4, 15), "i" * 19, *bounds)


def triangle(
    itemsize: int, lines: int, rows: int, columns: int, diagonal: int, lower: bool
) -> Callable[[int, int], None]:
    """A launch ``(x, out)`` over ``lines // rows`` row-major matrices."""
    total = lines * columns
    if total == 0:
        return lambda *addresses: None
    chosen = grid("triangle")
    function = keep_triangle.build(itemsize, lower, is_wide(total), chosen.bounds)
    matrices = index_params((lines // rows, rows, columns), (0, 1, 0), (0, 0, 1))
    where = blocks_for(total, AHEAD * chosen.bounds.threads, chosen.blocks)
    return bind(function, total, diagonal, *matrices, where, 1, 1)
