"""Distances of all rows of one matrix to all rows of another, and the sums of their slopes.

A block makes a square of distances; pieces of the rows pass through shared memory. Slopes are summed by a
thread for each element of a row. See :mod:`tilegrad.kernels.cpu.distance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import barrier, block, pointer, shared, thread
from tilegrad.kernels.cuda.parts.pointer_table import DeviceConstant
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.formulas.distance import NORMS
from tilegrad.kernels.function import inline

Launch = Callable[..., None]

TILE = 32  # edge of a square of distances, and elements of a row that are held at a time
LINES = 8  # of its rows that the threads of a block make at once, four times
THREADS = TILE * LINES


class Pairs(NamedTuple):
    """The parameters of a launch.

    Attributes:
        table: address of the numbers (int64) of the matrices of x and of y of each item.
        P, R, M: rows of x and of y, elements of a row.
        across, tiles: squares along R, and of an item.
    """

    table: int
    P: int
    R: int
    M: int
    across: int
    tiles: int


@kernel
def distances(dtype: str, norm: str, upper: bool) -> Source:
    """Parameters: x, y, out, the norm's power, then :class:`Pairs`. ``upper``: x is y, and ``out`` has only the
    pairs of a row and a later one, row after row.
    """
    T, size, pitch = np.dtype(dtype).type, np.dtype(dtype).itemsize, TILE + 1
    grow, finish = NORMS[norm].grow, NORMS[norm].finish
    tile_x, tile_y = shared(dtype, TILE * pitch, "x"), shared(dtype, TILE * pitch, "y")

    @inline
    def fetch(held, source, row, rows, k, M):
        lane, line = thread() % TILE, thread() // TILE
        for r in range(line, TILE, LINES):
            inside = (row + r < rows) & (k + lane < M)
            at = (row + r) * M + k + lane if inside else 0
            held[r * pitch + lane] = source[at] if inside else T(0)

    @inline
    def place(item, i, j, of):
        if upper:
            return i * of.R - i * (i + 3) // 2 - 1 + j
        return (item * of.P + i) * of.R + j

    @inline
    def keep(out, item, i, j, total, power, of):
        if (i < of.P) & (j < of.R) & ((j > i) | (not upper)):
            out[place(item, i, j, of)] = finish(total, power)

    def measure(x, y, out, p, of):
        item, cell = block() // of.tiles, block() % of.tiles
        row, column = cell // of.across * TILE, cell % of.across * TILE
        numbers, power = pointer(of.table, np.int64), T(p)
        P, R, M = of.P, of.R, of.M
        first = pointer(x + size * numbers[2 * item] * P * M, T)
        second = pointer(y + size * numbers[2 * item + 1] * R * M, T)
        a, b = tile_x(), tile_y()
        lane, line = thread() % TILE, thread() // TILE
        s0 = s1 = s2 = s3 = T(0)
        for k in range(0, M, TILE):
            fetch(a, first, row, P, k, M)
            fetch(b, second, column, R, k, M)
            barrier()
            for q in range(min(TILE, M - k)):
                v = b[lane * pitch + q]
                s0 = grow(s0, a[line * pitch + q] - v, power)
                s1 = grow(s1, a[(line + LINES) * pitch + q] - v, power)
                s2 = grow(s2, a[(line + 2 * LINES) * pitch + q] - v, power)
                s3 = grow(s3, a[(line + 3 * LINES) * pitch + q] - v, power)
            barrier()
        target, i, j = pointer(out, T), row + line, column + lane
        keep(target, item, i, j, s0, power, of)
        keep(target, item, i + LINES, j, s1, power, of)
        keep(target, item, i + 2 * LINES, j, s2, power, of)
        keep(target, item, i + 3 * LINES, j, s3, power, of)

    return Source(measure, ("iiid", Pairs), THREADS)


class Rows(NamedTuple):
    """The parameters of a launch of :func:`slopes`.

    Attributes:
        table: as of :class:`Pairs`. P, R, M: rows of x and of y, elements of a row, with the multipliers and
            shifts that divide by M and by P. total: elements of out.
    """

    table: int
    P: int
    P_multiplier: int
    P_shift: int
    R: int
    M: int
    M_multiplier: int
    M_shift: int
    total: int


@kernel
def slopes(dtype: str, norm: str, wide: bool, threads: int) -> Source:
    """``out[i] = sum over j of factor[i, j] times the slope of |x[i] - y[j]|``, an element a thread; parameters:
    factors, x, y, the distances (read for the largest difference), out, the norm's power, then :class:`Rows`.
    """
    T, divide, slope = np.dtype(dtype).type, division(wide), NORMS[norm].slope

    def pull(factors, x, y, far, out, p, of):
        e = block() * threads + thread()
        if e < of.total:
            row = divide(e, of.M, of.M_multiplier, of.M_shift)
            k = e - row * of.M
            item = divide(row, of.P, of.P_multiplier, of.P_shift)
            numbers, power = pointer(of.table, np.int64), T(p)
            a = pointer(x, T)[(numbers[2 * item] * of.P + row - item * of.P) * of.M + k]
            source, f, distance = pointer(y, T), pointer(factors, T), pointer(far, T)
            at, first, total = numbers[2 * item + 1] * of.R * of.M + k, row * of.R, T(0)
            for j in range(of.R):
                total += slope(f[first + j], a - source[at + j * of.M], distance[first + j], power)
            pointer(out, T)[e] = total

    return Source(pull, ("iiiiid", Rows), threads)


def distance(
    dtype: str, norm: str, upper: bool, items: Sequence[tuple[int, int]], P: int, R: int, M: int
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, out, scratch, p)``; see :func:`tilegrad.kernels.cpu.distance.distance`."""
    table = DeviceConstant(np.array(items, np.int64))
    across = -(-R // TILE)
    of = Pairs(table.address, P, R, M, across, across * -(-P // TILE))
    function = distances.build(dtype, norm, upper)
    blocks = len(items) * of.tiles

    def launch(x: int, y: int, out: int, scratch: int, p: float, _keep: Any = table) -> None:
        function(x, y, out, p, *of, blocks, 1, 1)

    return launch, 64


def distance_backward(
    dtype: str, norm: str, items: Sequence[tuple[int, int]], P: int, R: int, M: int
) -> tuple[Launch, int]:
    """Prepare ``launch(factors, x, y, [distances], out, p)``; see
    :func:`tilegrad.kernels.cpu.distance.distance_backward`.
    """
    table = DeviceConstant(np.array(items, np.int64))
    total, threads = len(items) * P * M, grid("distance", dtype).bounds.threads
    of = Rows(table.address, P, *magic(P), R, M, *magic(M), total)
    wide = is_wide(max(total, len(items) * P * R, R * M))
    function = slopes.build(dtype, norm, wide, threads)

    def launch(factors: int, x: int, y: int, *rest: Any, _keep: Any = table) -> None:
        *far, out, p = rest
        function(factors, x, y, far[0] if far else factors, out, p, *of, -(-total // threads), 1, 1)

    return launch, 0
