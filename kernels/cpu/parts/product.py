"""The kernels of matrix products; ``matmul.py`` chooses among them.

Every element of a float result is the same sum in the same order whichever kernel computes it:
blocks of ``INNER_DEPTH`` products, each added up in the order of ``k`` by fused multiply-adds, are
added to the result one after the other. The exception is ``dot``, for a ``y`` of one column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.parts.micro_kernel import dots, heights, strip
from tilegrad.kernels.cpu.run.jit import kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import lanes, load, store, transpose
from tilegrad.kernels.function import DeviceFunction, inline

PANEL = 2  # vectors of columns in a strip
ROW_PANEL = 8  # the same where x is one row
ACROSS_PANEL = 2  # and columns of y run along memory
INNER = 256  # at most this many products are summed in registers: more cost accuracy
BLOCK = 192 << 10  # bytes of a gathered block of x: it stays in the L2 cache
PAD = 16  # elements between gathered rows

# Places in the plan, the block of int64 that tells a kernel sizes, strides and the split of work.
# Strides are in elements, PANEL vectors of columns of y (1 ``across``) are Y_PANEL apart, a batch
# item is an outer and an inner number. A unit of work is one cell of the grid over one item's result.
ROWS, COLS, DEPTH, INNER_DEPTH, X_ROW, X_STEP, Y_STEP, Y_COL, Y_PANEL, OUT_ROW = range(10)
INNER_ITEMS, X_OUTER, X_INNER, Y_OUTER, Y_INNER, OUT_OUTER, OUT_INNER = range(10, 17)
ACCUMULATE, BIAS_STEP, GRID_ROWS, GRID_COLS, TASK_ROWS, TASK_COLS, UNITS, PER_TASK = range(17, 25)
GATHER, PACK, BLOCK_ROWS, PLAN = range(25, 29)


def inner_block(K: int) -> int:
    """How many products are summed before they are added to the result; depends on K only."""
    if K <= INNER:
        return max(1, K)
    blocks = -(-K // INNER)
    return -(-K // blocks // 16) * 16  # even blocks, of whole cache lines


def block_rows(dtype: str) -> int:
    """Rows of ``x`` that a gathered block has room for."""
    return BLOCK // ((INNER + PAD) * np.dtype(dtype).itemsize)


@kernel
def product(dtype: str, way: str) -> tuple[Callable[..., None], str]:
    """Float product, in units of a block of rows by a block of columns of one batch item.

    The way says how the operands are read. ``direct``: columns of ``y`` adjacent. ``across``:
    columns of ``y`` run along memory. ``row``, ``across row``: the same with wide strips, for an
    ``x`` of one row.

    Two copies to memory of the task's own, where their cost is small against the gain. With
    ``GATHER``, blocks of ``BLOCK_ROWS`` rows of ``x`` are made adjacent: they may have lain across
    memory, or a power of two apart, where rows compete for the same places in the cache. With
    ``PACK`` (of ``direct``), so are the columns of each strip of ``y``.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    packs, across = way == "direct", way.startswith("across")
    vectors = {"row": ROW_PANEL, "across": 1, "across row": ACROSS_PANEL}.get(way, PANEL)
    NR, NP, unit_cols = vectors * W, PANEL * W, W if across else PANEL * W
    tiles = {"row": (1,), "across": (8, 4, 2, 1), "across row": (1,)}.get(way, heights())
    wide = strip(vectors, tiles, across)
    pair = strip(PANEL, tiles if vectors > PANEL else (), across)
    narrow = strip(1, tiles if vectors > 1 else (), across)
    copy_row, copy_rows, copy_columns = INNER + PAD, _row_copier(dtype), _column_copier(dtype)
    block, panel = local(dtype, block_rows(dtype) * copy_row), local(dtype, (INNER + PAD) * NP)

    def body(task, x, y, out, bias, plan):
        p = pointer(plan, np.int64)
        xr, xk, yk, outr, K = p[X_ROW], p[X_STEP], p[Y_STEP], p[OUT_ROW], p[DEPTH]
        yn = p[Y_COL]
        cells, gathered, packed = p[GRID_ROWS] * p[GRID_COLS], block(), panel()
        for unit in range(task * p[PER_TASK], min(p[UNITS], (task + 1) * p[PER_TASK])):
            item, cell = unit // cells, unit % cells
            outer, inner = item // p[INNER_ITEMS], item % p[INNER_ITEMS]
            row, col = cell // p[GRID_COLS] * p[TASK_ROWS], cell % p[GRID_COLS] * p[TASK_COLS]
            row_end, end = min(row + p[TASK_ROWS], p[ROWS]), min(col + p[TASK_COLS], p[COLS])
            xi = x + size * (outer * p[X_OUTER] + inner * p[X_INNER])
            yi = y + size * (outer * p[Y_OUTER] + inner * p[Y_INNER])
            oi = out + size * (outer * p[OUT_OUTER] + inner * p[OUT_INNER])
            onto = p[ACCUMULATE] != 0
            if bias != 0 and p[BIAS_STEP] == 0:
                _fill(pointer(oi, T), col, end, pointer(bias, T)[0])
                onto = True
            for k in range(0, max(1, K), p[INNER_DEPTH]):
                depth = min(p[INNER_DEPTH], K - k)
                for i in range(row, row_end, p[BLOCK_ROWS]):
                    rows = min(p[BLOCK_ROWS], row_end - i)
                    a, ar = pointer(xi + size * (i * xr + k * xk), T), xr
                    if p[GATHER] != 0:
                        copy_rows(a, xr, xk, gathered, copy_row, rows, depth)
                        a, ar = gathered, copy_row
                    j = col
                    while j < end:
                        left = end - j
                        place = j // unit_cols * p[Y_PANEL] + k * yk
                        b, br = pointer(yi + size * place, T), yn if across else yk
                        if packs and p[PACK] != 0:
                            copy_columns(b, yk, yn, packed, NP, min(left, NP), depth)
                            b, br = packed, NP
                        o = pointer(oi + size * (i * outr + j), T)
                        s, sr = o, outr
                        if k == 0 and not onto:
                            s, sr = pointer(bias + size * j if bias != 0 else 0, T), 0
                        if left > NR - W:
                            tail = min(W, left - NR + W)
                            wide(a, ar, 1, b, br, o, outr, s, sr, rows, depth, tail)
                            j += NR
                        elif left > W:
                            tail = min(W, left - W)
                            pair(a, ar, 1, b, br, o, outr, s, sr, rows, depth, tail)
                            j += NP
                        else:
                            narrow(a, ar, 1, b, br, o, outr, s, sr, rows, depth, left)
                            j += W

    return body, "iiiii"


def _row_copier(dtype: str) -> DeviceFunction:
    """``copy[i, k] = x[i, k]`` with adjacent ``k``. Up to PAD numbers after a row are garbage."""
    W = lanes(dtype)

    def copy_rows(x, x_row, x_step, copy, copy_row, rows, depth):
        done = 0
        if x_step == 1:
            done = rows
            for i in range(rows):
                for k in range(0, depth - W + 1, W):
                    store(copy, i * copy_row + k, load(x, i * x_row + k))
                for k in range(depth - depth % W, depth):
                    copy[i * copy_row + k] = x[i * x_row + k]
        elif x_row == 1:
            done = rows - rows % W
            for k in range(0, depth, W):
                count = min(W, depth - k)
                for i in range(0, done, W):
                    transpose(x, i + k * x_step, x_step, count, copy, i * copy_row + k, copy_row)
        for i in range(done, rows):
            for k in range(depth):
                copy[i * copy_row + k] = x[i * x_row + k * x_step]

    return inline(copy_rows)


def _column_copier(dtype: str) -> DeviceFunction:
    """``copy[k, j] = y[k, j]`` with adjacent ``j < cols``, the rows ``copy_row`` apart."""
    W = lanes(dtype)

    def copy_columns(y, y_step, y_col, copy, copy_row, cols, depth):
        done = 0
        if y_col == 1:
            done = depth
            for k in range(depth):
                for j in range(0, cols - W + 1, W):
                    store(copy, k * copy_row + j, load(y, k * y_step + j))
                for j in range(cols - cols % W, cols):
                    copy[k * copy_row + j] = y[k * y_step + j]
        elif y_step == 1:
            done = depth - depth % W
            for k in range(0, done, W):
                for j in range(0, cols, W):
                    at = k * copy_row + j
                    transpose(y, j * y_col + k, y_col, min(W, cols - j), copy, at, copy_row)
        for k in range(done, depth):
            for j in range(cols):
                copy[k * copy_row + j] = y[k * y_step + j * y_col]

    return inline(copy_columns)


@inline
def _fill(out, start, end, value):
    for j in range(start, end):
        out[j] = value


@kernel
def pack(dtype: str) -> tuple[Callable[..., None], str]:
    """Copy ``y`` into panels of ``PANEL`` vectors of columns, ``panel[k, j]``, one a task.

    Columns beyond the last are not written.
    """
    T = np.dtype(dtype).type
    size, NP = np.dtype(dtype).itemsize, PANEL * lanes(dtype)
    copy_columns = _column_copier(dtype)

    def body(task, y, out, K, N, y_step, y_col, y_outer, y_inner, inner):
        panels = (N + NP - 1) // NP
        copy, panel = task // panels, task % panels
        start = copy // inner * y_outer + copy % inner * y_inner + panel * NP * y_col
        b, q = pointer(y + size * start, T), pointer(out + size * task * NP * K, T)
        copy_columns(b, y_step, y_col, q, NP, min(NP, N - panel * NP), K)

    return body, "iiiiiiiii"


@kernel
def dot(dtype: str) -> tuple[Callable[..., None], str]:
    """Float product where ``y`` is one column and, like the rows of ``x``, adjacent in memory."""
    T = np.dtype(dtype).type
    size, add_dots = np.dtype(dtype).itemsize, dots((4, 1))

    def body(task, x, y, out, bias, plan):
        p = pointer(plan, np.int64)
        for unit in range(task * p[PER_TASK], min(p[UNITS], (task + 1) * p[PER_TASK])):
            item, cell = unit // p[GRID_ROWS], unit % p[GRID_ROWS]
            outer, inner = item // p[INNER_ITEMS], item % p[INNER_ITEMS]
            row = cell * p[TASK_ROWS]
            rows = min(p[TASK_ROWS], p[ROWS] - row)
            a = x + size * (outer * p[X_OUTER] + inner * p[X_INNER] + row * p[X_ROW])
            b = y + size * (outer * p[Y_OUTER] + inner * p[Y_INNER])
            o = pointer(out + size * (outer * p[OUT_OUTER] + inner * p[OUT_INNER] + row), T)
            if p[ACCUMULATE] == 0:
                _fill(o, 0, rows, pointer(bias, T)[0] if bias != 0 else T(0))
            add_dots(pointer(a, T), p[X_ROW], pointer(b, T), o, rows, p[DEPTH])

    return body, "iiiii"


@kernel
def integers(dtype: str) -> tuple[Callable[..., None], str]:
    """Integer product, one row a task; sums wrap around."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x, y, out, bias, plan):
        p = pointer(plan, np.int64)
        item, row, N, K = task // p[ROWS], task % p[ROWS], p[COLS], p[DEPTH]
        xk, yk, yn = p[X_STEP], p[Y_STEP], p[Y_COL]
        outer, inner = item // p[INNER_ITEMS], item % p[INNER_ITEMS]
        a = pointer(x + size * (outer * p[X_OUTER] + inner * p[X_INNER] + row * p[X_ROW]), T)
        b = pointer(y + size * (outer * p[Y_OUTER] + inner * p[Y_INNER]), T)
        place = outer * p[OUT_OUTER] + inner * p[OUT_INNER] + row * p[OUT_ROW]
        o, s = pointer(out + size * place, T), pointer(bias, T)
        if p[ACCUMULATE] == 0 and bias != 0:
            for j in range(N):
                o[j] = s[j]
        elif p[ACCUMULATE] == 0:
            _fill(o, 0, N, T(0))
        if yn == 1:
            _add_lines(a, xk, b, yk, o, N, K)
        else:
            _add_dots(a, xk, b, yk, yn, o, N, K)

    return body, "iiiii"


@inline
def _add_lines(x, x_step, y, y_step, out, N, K):
    """Rows of ``y`` times numbers of ``x``, four at a time to write the result less often."""
    for k in range(0, K - 3, 4):
        a, b, c, d = x[k * x_step], x[(k + 1) * x_step], x[(k + 2) * x_step], x[(k + 3) * x_step]
        at = k * y_step
        for j in range(N):
            first = a * read(y, at + j) + b * read(y, at + y_step + j)
            second = c * read(y, at + 2 * y_step + j) + d * read(y, at + 3 * y_step + j)
            write(out, j, out[j] + first + second)
    for k in range(K - K % 4, K):
        a, at = x[k * x_step], k * y_step
        for j in range(N):
            write(out, j, out[j] + a * read(y, at + j))


@inline
def _add_dots(x, x_step, y, y_step, y_col, out, N, K):
    """Dot products with the columns of ``y``."""
    for j in range(N):
        total = 0
        for k in range(K):
            total += x[k * x_step] * y[j * y_col + k * y_step]
        out[j] += total
