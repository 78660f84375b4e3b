"""Copies of elements from one strided place to another. Elements are only bytes here.

``copy`` walks two strided operands of equal sizes in the target's order. Rows that are consecutive
in both move up to 16 bytes at a time. Where the source's neighbours lie along another dimension
than the target's, square tiles pass through shared memory, so that both sides are walked along
their own neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import barrier, block, blocks, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.device.words import by_address, word_factors, words
from tilegrad.kernels.cuda.parts.repeat import repeated_indices
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offsets_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import LONG, grid
from tilegrad.kernels.function import inline

__all__ = ["copy", "repeated_indices"]

Sizes = tuple[int, ...]

AHEAD = 4  # elements a thread loads before it stores the first
TILE_DIM = 32  # edge of a transposed tile, and lanes of a warp
BLOCK_ROWS = 8  # of a tile that the threads of a block hold at once; four are written out
JOINED = 0  # operands that one kernel joins at most: here each is a copy of its own


# ------------------------------------------------------------------------------- in the target's order


@kernel
def copy_words(width: int, dims: int, wide: bool, bounds: Bounds) -> Source:
    """``out = x`` for ``total`` elements of ``width`` bytes, numbered in row-major order.

    Neighbouring threads take neighbouring elements; a thread has ``AHEAD`` of them, a block's width
    apart. Parameters: x, out, total, then the block with the strides of x and of out.
    """
    T, read, write = words(width)
    place, threads = offsets_of(dims, 2, 0, wide), bounds.threads

    @inline
    def copy(x, out, total, t):
        source, target = pointer(x, T), pointer(out, T)
        last = total - 1
        i = block() * (AHEAD * threads) + thread()
        while i < total:
            # past the end, the last element again: a harmless store instead of a branch
            a, b = place(i, t), place(min(i + threads, last), t)
            c, d = place(min(i + 2 * threads, last), t), place(min(i + 3 * threads, last), t)
            v, w = read(source, a[0]), read(source, b[0])
            y, z = read(source, c[0]), read(source, d[0])
            write(target, a[1], v)
            write(target, b[1], w)
            write(target, c[1], y)
            write(target, d[1], z)
            i += blocks() * (AHEAD * threads)

    return Source(unpack_params(copy, 3, 5 * dims), "iii" + "i" * (5 * dims), *bounds)


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
    chosen = grid("movement")
    function = copy_words.build(itemsize * factor, len(sizes), wide, chosen.of(len(sizes)))
    where = blocks_for(total, AHEAD * chosen.bounds.threads, chosen.blocks)
    return bind(function, total, *index_params(sizes, x_strides, out_strides), where, 1, 1)


def _rows(
    itemsize: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """Copy in the target's order, by the widest words that the addresses of a call allow."""
    shapes = (sizes, x_strides, out_strides)
    if (x_strides[-1], out_strides[-1]) != (1, 1):
        return _words(itemsize, 1, *shapes)
    factors = word_factors(itemsize, *shapes)

    def make(factor: int) -> Callable[[int, int], None]:
        return _words(itemsize, factor, *shapes)

    if factors == [1]:
        return make(1)
    chosen = by_address(itemsize, factors, make)
    return lambda x, out: chosen(x | out)(x, out)


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
    pitch = TILE_DIM + 1
    tile = shared(f"uint{8 * width}", TILE_DIM * pitch, "tile")
    start = offsets_of(dims, 4, 0, wide)

    @inline
    def copy(x, out, rows, columns, x_row, x_column, out_row, out_column, t):
        held = tile()
        lane, line = thread() % TILE_DIM, thread() // TILE_DIM
        x_at, out_at, row, column = start(block(), t)
        rows -= row
        columns -= column
        source = pointer(x, T)
        at = x_at + lane * x_row + line * x_column
        step = BLOCK_ROWS * x_column
        inside = lane < rows
        a = source[at] if inside and line < columns else T(0)
        b = source[at + step] if inside and line + BLOCK_ROWS < columns else T(0)
        c = source[at + 2 * step] if inside and line + 2 * BLOCK_ROWS < columns else T(0)
        d = source[at + 3 * step] if inside and line + 3 * BLOCK_ROWS < columns else T(0)
        held[line * pitch + lane] = a
        held[(line + BLOCK_ROWS) * pitch + lane] = b
        held[(line + 2 * BLOCK_ROWS) * pitch + lane] = c
        held[(line + 3 * BLOCK_ROWS) * pitch + lane] = d
        barrier()
        target = pointer(out, T)
        at = out_at + line * out_row + lane * out_column
        if lane < columns:
            for k in range(TILE_DIM // BLOCK_ROWS):
                if line + k * BLOCK_ROWS < rows:
                    target[at + k * BLOCK_ROWS * out_row] = held[
                        lane * pitch + line + k * BLOCK_ROWS
                    ]

    return Source(
        unpack_params(copy, 8, 7 * dims), "iiiiiiii" + "i" * (7 * dims), TILE_DIM * BLOCK_ROWS
    )


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
    tiles = (*(sizes[k] for k in rest), -(-rows // TILE_DIM), -(-columns // TILE_DIM))
    x_steps = (*(x_strides[k] for k in rest), TILE_DIM * x_strides[line], TILE_DIM * x_strides[-1])
    out_steps = (
        *(out_strides[k] for k in rest),
        TILE_DIM * out_strides[line],
        TILE_DIM * out_strides[-1],
    )
    none = (0,) * len(rest)
    starts = (x_steps, out_steps, (*none, TILE_DIM, 0), (*none, 0, TILE_DIM))
    wide = is_wide(math.prod(sizes), (sizes, x_strides), (sizes, out_strides))
    function = copy_tiles.build(itemsize, len(tiles), wide)
    steps = (x_strides[line], x_strides[-1], out_strides[line], out_strides[-1])
    count = math.prod(tiles)
    return bind(function, rows, columns, *steps, *index_params(tiles, *starts), count, 1, 1)


def copy(
    itemsize: int, sizes: Sizes, x_strides: Sizes, out_strides: Sizes
) -> Callable[[int, int], None]:
    """A launch ``(x, out)`` of ``out[i] = x[i]``; see :func:`tilegrad.kernels.cpu.movement.copy`."""
    if math.prod(sizes) == 0:
        return lambda *args: None
    line = _line(sizes, x_strides)
    if line is None or itemsize > 8:  # tiles are of words
        return _rows(itemsize, sizes, x_strides, out_strides)
    return _tiles(itemsize, line, sizes, x_strides, out_strides)
