"""Loops steered by a mask: find, take out or fill in the elements where it holds; triangles.

Masks are bool, one byte per element, row-major. A mask is read twice: once to count, so that each
task knows where its results begin, and once to write them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.index import tasks_for
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.dtypes import word


@kernel
def count_chunks() -> Kernel:
    """``counts[task]``: how often the mask holds in the task's chunk."""

    def count_chunks_body(task, a0, a1, total, chunk):
        mask, counts = pointer(a0, np.uint8), pointer(a1, np.int64)
        first = task * chunk
        count = 0
        for i in range(first, min(total, first + chunk)):
            count += read(mask, i)
        counts[task] = count

    return count_chunks_body, "iiii"


@kernel
def exclusive_sum() -> Kernel:
    """``counts`` replaced by their sums before each; the sum of all behind them."""

    def exclusive_sum_body(task, a0, length):
        counts = pointer(a0, np.int64)
        before = 0
        for i in range(length):
            here = counts[i]
            counts[i] = before
            before += here
        counts[length] = before

    return exclusive_sum_body, "ii"


def mask_starts(total: int) -> Callable[[int, int], None]:
    """A launch ``(mask, starts)``: where the results of each of the ``tasks_for(total)[0]`` chunks
    begin, and behind them how many there are.
    """
    count, add = count_chunks.build(), exclusive_sum.build()
    tasks, chunk = tasks_for(total)

    def launch(mask: int, starts: int) -> None:
        count(mask, starts, total, chunk, tasks, get_num_threads() if tasks > 1 else 0)
        add(starts, tasks, 1, 0)

    return launch


@kernel
def select_true(width: int) -> Kernel:
    """``out`` = the elements of ``x`` where the mask holds; for width 0 their positions.

    Writes at the next free place whether the mask holds or not, and stops when the task's share is
    full, so that no branch depends on the mask.
    """
    T = word(width) if width else np.int64

    def select_true_body(task, a0, a1, a2, a3, chunk):
        x, mask, starts = pointer(a0, T), pointer(a1, np.uint8), pointer(a2, np.int64)
        out = pointer(a3, T)
        place, stop = starts[task], starts[task + 1]
        i = task * chunk
        while place < stop:
            out[place] = x[i] if width else i
            place += mask[i]
            i += 1

    return select_true_body, "iiiii"


def masked_select(itemsize: int, total: int) -> Callable[..., None]:
    """A launch ``(x, mask, starts, out)`` over row-major operands of ``total`` elements."""
    function = select_true.build(itemsize)
    tasks, chunk = tasks_for(total)

    def launch(x: int, mask: int, starts: int, out: int) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(x, mask, starts, out, chunk, tasks, threads)

    return launch


def true_positions(total: int) -> Callable[..., None]:
    """A launch ``(mask, starts, out)``: int64 row-major positions where the mask holds."""
    function = select_true.build(0)
    tasks, chunk = tasks_for(total)

    def launch(mask: int, starts: int, out: int) -> None:
        function(0, mask, starts, out, chunk, tasks, get_num_threads() if tasks > 1 else 0)

    return launch


@kernel
def fill_true(width: int) -> Kernel:
    """``x`` gets the next element of ``source`` wherever the mask holds."""
    T = word(width)

    def fill_true_body(task, a0, a1, a2, a3, total, chunk):
        x, mask, starts = pointer(a0, T), pointer(a1, np.uint8), pointer(a2, np.int64)
        source = pointer(a3, T)
        place, stop = starts[task], starts[task + 1]
        first = task * chunk
        if place < stop:
            for i in range(first, min(total, first + chunk)):
                value = source[min(place, stop - 1)]
                x[i] = value if mask[i] else x[i]
                place += mask[i]

    return fill_true_body, "iiiiii"


def masked_scatter(itemsize: int, total: int) -> Callable[..., None]:
    """A launch ``(x, mask, starts, source)`` that writes over row-major ``x``."""
    function = fill_true.build(itemsize)
    tasks, chunk = tasks_for(total)

    def launch(x: int, mask: int, starts: int, source: int) -> None:
        threads = get_num_threads() if tasks > 1 else 0
        function(x, mask, starts, source, total, chunk, tasks, threads)

    return launch


@kernel
def split_positions() -> Kernel:
    """``out[axis, p]``: coordinates, within the sizes of ``table``, of row-major positions."""

    def split_positions_body(task, a0, a1, a2, dims, total, chunk):
        positions, out, sizes = pointer(a0, np.int64), pointer(a1, np.int64), pointer(a2, np.int64)
        first = task * chunk
        for i in range(first, min(total, first + chunk)):
            rest = read(positions, i)
            for axis in range(dims - 1, -1, -1):
                above = rest // sizes[axis]
                write(out, axis * total + i, rest - above * sizes[axis])
                rest = above

    return split_positions_body, "iiiiii"


def coordinates(sizes: tuple[int, ...], total: int) -> Callable[[int, int], None]:
    """A launch ``(positions, out)``: out is (len(sizes), total), one row per dimension."""
    function = split_positions.build()
    table = np.array(sizes or (1,), np.int64)
    tasks, chunk = tasks_for(total)
    sizing = (table.ctypes.data, len(sizes), total, chunk)
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0, keep=table)


@kernel
def keep_triangle(width: int) -> Kernel:
    """Rows of ``columns`` elements; row r keeps ``[lo, hi)`` and is zero elsewhere.

    ``lower``: lo = 0, hi = r + diagonal + 1; else lo = r + diagonal, hi = columns.
    """
    T = word(width)

    def keep_triangle_body(task, a0, a1, lines, share, rows, columns, diagonal, lower):
        x, out = pointer(a0, T), pointer(a1, T)
        for line in range(task * share, min(lines, task * share + share)):
            edge = line % rows + diagonal
            low = 0 if lower else min(max(edge, 0), columns)
            high = min(max(edge + 1, 0), columns) if lower else columns
            at = line * columns
            for k in range(at, at + low):
                write(out, k, T(0))
            for k in range(at + low, at + high):
                write(out, k, read(x, k))
            for k in range(at + high, at + columns):
                write(out, k, T(0))

    return keep_triangle_body, "iiiiiiii"


def triangle(
    itemsize: int, lines: int, rows: int, columns: int, diagonal: int, lower: bool
) -> Callable[[int, int], None]:
    """A launch ``(x, out)`` over ``lines // rows`` row-major matrices."""
    function = keep_triangle.build(itemsize)
    tasks, chunk = tasks_for(lines * columns)
    share = max(1, chunk // max(columns, 1))
    tasks = -(-lines // share)
    sizing = (lines, share, rows, columns, diagonal, int(lower))
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0)
