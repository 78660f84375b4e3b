"""The kernels of matrix products; ``matmul.py`` chooses among them.

Every element of a float result is the same sum in the same order whichever kernel computes it:
blocks of ``INNER_DEPTH`` products, each added up in the order of ``k`` by fused multiply-adds, are
added to the result one after the other. The exception is ``dot``, for a ``y`` of one column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.jit import kernel
from tilegrad.kernels.cpu.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tile import dots, heights, strip
from tilegrad.kernels.cpu.vector import lanes, load, store, transpose
from tilegrad.kernels.function import DeviceFunction, inline

PANEL = 2  # vectors of columns in a strip, and in a panel of packed y
ROW_PANEL = 8  # the same where x is one row
INNER = 192  # at most this many products are summed in registers: more cost accuracy, not time
BLOCK = 1 << 16  # bytes of a gathered block of x
PAD = 16  # elements between gathered rows

# Places in the plan, the block of int64 that tells a kernel sizes, strides and the split of work.
# Strides are in elements, PANEL columns of y are Y_PANEL apart, a batch item is an outer and an
# inner number. A unit of work is one cell of the grid over one item's result.
ROWS, COLS, DEPTH, INNER_DEPTH, X_ROW, X_STEP, Y_STEP, Y_COL, Y_PANEL, OUT_ROW = range(10)
INNER_ITEMS, X_OUTER, X_INNER, Y_OUTER, Y_INNER, OUT_OUTER, OUT_INNER = range(10, 17)
ACCUMULATE, BIAS_STEP, GRID_ROWS, GRID_COLS, TASK_ROWS, TASK_COLS, UNITS, PER_TASK = range(17, 25)
GATHER, BLOCK_ROWS, PLAN = range(25, 28)


def inner_block(K: int) -> int:
    """How many products are summed before they are added to the result; depends on K only."""
    if K <= INNER:
        return max(1, K)
    blocks = -(-K // INNER)
    return -(-K // blocks // 16) * 16  # even blocks, of whole cache lines


def block_rows(dtype: str) -> int:
    """Rows of ``x`` in a gathered block: as many of the largest tiles as fit."""
    tallest = heights()[0]
    return BLOCK // ((INNER + PAD) * np.dtype(dtype).itemsize) // tallest * tallest


@kernel
def product(dtype: str, way: str) -> tuple[Callable[..., None], str]:
    """Float product, in units of a block of rows by a block of columns of one batch item.

    The way says how the operands are read. ``direct``: as they lie, columns of ``y`` adjacent (or
    packed before). ``across``: columns of ``y`` run along memory. ``row``: direct, with wide strips
    for an ``x`` of one row.

    Where the plan has ``GATHER``, blocks of ``BLOCK_ROWS`` rows of ``x`` are copied first to
    memory of the task's own, where rows do not compete for the same places in the cache.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    gathers, across = way == "direct", way == "across"
    vectors = {"row": ROW_PANEL, "across": 1}.get(way, PANEL)
    NR, NP = vectors * W, PANEL * W
    tiles = {"row": (1,), "across": (8, 4, 2, 1)}.get(way, heights())
    wide = strip(vectors, tiles, across)
    pair = strip(PANEL, tiles if vectors > PANEL else ())
    narrow = strip(1, tiles if vectors > 1 else ())
    copy_row, copy_rows = INNER + PAD, _row_copier(dtype)
    buffer = local(dtype, block_rows(dtype) * copy_row)

    def body(task, x, y, out, bias, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        xr, xk, yk, outr, K = p[X_ROW], p[X_STEP], p[Y_STEP], p[OUT_ROW], p[DEPTH]
        y_depth, y_near = (1, yk) if across else (yk, 1)
        cells, copy = p[GRID_ROWS] * p[GRID_COLS], buffer()
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
                    if gathers and p[GATHER] != 0:
                        copy_rows(a, xr, copy, copy_row, rows, depth)
                        a, ar = copy, copy_row
                    j = col
                    while j < end:
                        left = end - j
                        place = j // NP * p[Y_PANEL] + j % NP * y_near + k * y_depth
                        b = pointer(yi + size * place, T)
                        o = pointer(oi + size * (i * outr + j), T)
                        s, sr = o, outr
                        if k == 0 and not onto:
                            s, sr = pointer(bias + size * j if bias != 0 else 0, T), 0
                        if left > NR - W:
                            wide(a, ar, xk, b, yk, o, outr, s, sr, rows, depth, left - NR + W)
                            j += NR
                        elif left > W:
                            pair(a, ar, xk, b, yk, o, outr, s, sr, rows, depth, left - W)
                            j += NP
                        else:
                            narrow(a, ar, xk, b, yk, o, outr, s, sr, rows, depth, left)
                            j += W

    return body, "iiiii"


def _row_copier(dtype: str) -> DeviceFunction:
    W = lanes(dtype)

    def copy_rows(x, x_row, copy, copy_row, rows, depth):  # type: ignore[no-untyped-def]
        for i in range(rows):
            for k in range(0, depth - W + 1, W):
                store(copy, i * copy_row + k, load(x, i * x_row + k))
            for k in range(depth - depth % W, depth):
                copy[i * copy_row + k] = x[i * x_row + k]

    return inline(copy_rows)


@inline
def _fill(out, start, end, value):  # type: ignore[no-untyped-def]
    for j in range(start, end):
        out[j] = value


@kernel
def pack(dtype: str) -> tuple[Callable[..., None], str]:
    """Copy ``y`` into panels of ``PANEL`` vectors of columns, ``panel[k, j]``, one a task.

    Columns beyond the last are not written.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    NP = PANEL * W

    def body(task, y, out, K, N, y_step, y_col, y_outer, y_inner, inner):  # type: ignore[no-untyped-def]
        panels = (N + NP - 1) // NP
        copy, panel = task // panels, task % panels
        cols = min(NP, N - panel * NP)
        start = copy // inner * y_outer + copy % inner * y_inner + panel * NP * y_col
        b, q = pointer(y + size * start, T), pointer(out + size * task * NP * K, T)
        whole = 0
        if y_step == 1:
            whole = K - K % W
            for k in range(0, whole, W):
                for j in range(0, cols, W):
                    transpose(b, j * y_col + k, y_col, cols - j, q, k * NP + j, NP)
        elif y_col == 1:
            whole = K
            for k in range(K):
                for j in range(0, cols - W + 1, W):
                    store(q, k * NP + j, load(b, k * y_step + j))
                for j in range(cols - cols % W, cols):
                    q[k * NP + j] = b[k * y_step + j]
        for k in range(whole, K):
            for j in range(cols):
                q[k * NP + j] = b[k * y_step + j * y_col]

    return body, "iiiiiiiii"


@kernel
def dot(dtype: str) -> tuple[Callable[..., None], str]:
    """Float product where ``y`` is one column and, like the rows of ``x``, adjacent in memory."""
    T = np.dtype(dtype).type
    size, add_dots = np.dtype(dtype).itemsize, dots((4, 1))

    def body(task, x, y, out, bias, plan):  # type: ignore[no-untyped-def]
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

    def body(task, x, y, out, bias, plan):  # type: ignore[no-untyped-def]
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
def _add_lines(x, x_step, y, y_step, out, N, K):  # type: ignore[no-untyped-def]
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
def _add_dots(x, x_step, y, y_step, y_col, out, N, K):  # type: ignore[no-untyped-def]
    """Dot products with the columns of ``y``."""
    for j in range(N):
        total = 0
        for k in range(K):
            total += x[k * x_step] * y[j * y_col + k * y_step]
        out[j] += total
