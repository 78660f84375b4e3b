"""Matrix products ``out = x @ y`` of float32, float64 and integers, with batches, bias and strides.

Every element of a float result is the same sum in the same order, whichever way is taken: blocks of
``inner_block(K)`` products, each added up in the order of ``k`` by fused multiply-adds, are added
to the result one after the other. So a row of the result does not depend on how many other rows
there are, on the batch, on the memory layout or on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.jit import kernel
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.cpu.tile import heights, strip
from tilegrad.kernels.cpu.vector import lanes, load, store, transpose
from tilegrad.kernels.function import DeviceFunction, inline

INNER = 256  # at most this many products are summed in registers
PANEL = 2  # vectors of columns in a strip, and in a panel of packed y
ROW_PANEL = 8  # the same where x is one row
X_BLOCK = 256  # rows of x packed at a time: with INNER columns a quarter of a 1 MB L2 cache
SERIAL = 1 << 20  # multiply-adds below which a second thread costs more than it gives
TASK = 1 << 19  # multiply-adds that are worth a task of their own
LARGE_TASK = 1 << 25  # multiply-adds of a task where there is no lack of them
ACROSS = 8  # rows of x up to which columns of y along memory are transposed on the way
TASKS = 16  # enough tasks to share out evenly
ALIAS = 1024  # bytes: rows a multiple of this apart compete for few places in a cache

# Places in the plan, the block of int64 that tells a kernel sizes, strides and the split of work.
ROWS, COLS, DEPTH, INNER_DEPTH, X_ROW, X_STEP, Y_STEP, Y_COL, Y_PANEL, OUT_ROW = range(10)
INNER_ITEMS, X_OUTER, X_INNER, Y_OUTER, Y_INNER, OUT_OUTER, OUT_INNER = range(10, 17)
ACCUMULATE, BIAS_STEP, GRID_ROWS, GRID_COLS, TASK_ROWS, TASK_COLS, UNITS, PER_TASK = range(17, 25)
PLAN = 25


def inner_block(K: int) -> int:
    """How many products are summed before they are added to the result; depends on K only."""
    blocks = max(1, -(-K // INNER))
    return max(1, -(-K // blocks))


# ---------------------------------------------------------------------------------- float kernels


@kernel
def product(dtype: str, way: str) -> tuple[Callable[..., None], str]:
    """Float product, in units of a block of rows by a block of columns of one batch item.

    The way says how the operands are read. ``direct``: as they lie, columns of ``y`` adjacent (or
    packed before). ``packed``: ``x`` is copied into tiles first. ``across``: ``y`` has columns
    that run along memory. ``row``: direct, with wide strips for an ``x`` of one row.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    vectors = {"row": ROW_PANEL, "across": 1}.get(way, PANEL)
    NR, NP = vectors * W, PANEL * W
    form = {"packed": way == "packed", "across": way == "across"}
    wide, pair, narrow = (strip(v, **form) for v in (vectors, min(vectors, PANEL), 1))
    gathers, across, two_widths, x_block = way == "packed", way == "across", NR > NP, X_BLOCK
    pack_x = _tile_packer(dtype)

    def body(task, x, y, out, scratch, bias, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        xr, xk, yk, outr, K = p[X_ROW], p[X_STEP], p[Y_STEP], p[OUT_ROW], p[DEPTH]
        y_depth, y_near = (1, yk) if across else (yk, 1)
        cells = p[GRID_ROWS] * p[GRID_COLS]
        tiles = scratch + task * x_block * p[INNER_DEPTH] * size
        for unit in range(task * p[PER_TASK], min(p[UNITS], (task + 1) * p[PER_TASK])):
            item, cell = unit // cells, unit % cells
            outer, inner = item // p[INNER_ITEMS], item % p[INNER_ITEMS]
            row, col = cell // p[GRID_COLS] * p[TASK_ROWS], cell % p[GRID_COLS] * p[TASK_COLS]
            row_end, end = min(row + p[TASK_ROWS], p[ROWS]), min(col + p[TASK_COLS], p[COLS])
            xi = x + size * (outer * p[X_OUTER] + inner * p[X_INNER])
            yi = y + size * (outer * p[Y_OUTER] + inner * p[Y_INNER])
            oi = out + size * (outer * p[OUT_OUTER] + inner * p[OUT_INNER])
            onto, bias_seed = p[ACCUMULATE] != 0, bias
            if bias != 0 and p[BIAS_STEP] == 0:
                _fill_row(pointer(oi, T), col, end, pointer(bias, T)[0])
                onto = True
            for k in range(0, max(1, K), p[INNER_DEPTH]):
                depth = min(p[INNER_DEPTH], K - k)
                for i in range(row, row_end, x_block):
                    rows = min(x_block, row_end - i)
                    a = pointer(xi + size * (i * xr + k * xk), T)
                    if gathers:
                        pack_x(a, xr, xk, rows, depth, pointer(tiles, T))
                        a = pointer(tiles, T)
                    j = col
                    while j < end:
                        left = end - j
                        b = pointer(yi + size * (j // NP * p[Y_PANEL] + j % NP * y_near + k * y_depth), T)
                        o = pointer(oi + size * (i * outr + j), T)
                        s, sr = o, outr
                        if k == 0 and not onto:
                            s, sr = pointer(bias_seed + size * j if bias != 0 else 0, T), 0
                        if left > NR - W:
                            wide(a, xr, xk, b, yk, o, outr, s, sr, rows, depth, left - NR + W)
                            j += NR
                        elif two_widths and left > W:
                            pair(a, xr, xk, b, yk, o, outr, s, sr, rows, depth, left - W)
                            j += NP
                        else:
                            narrow(a, xr, xk, b, yk, o, outr, s, sr, rows, depth, left)
                            j += W

    return body, "iiiiii"


@inline
def _fill_row(out, start, end, value):  # type: ignore[no-untyped-def]
    for j in range(start, end):
        out[j] = value


def _tile_packer(dtype: str) -> DeviceFunction:
    """Copies rows of ``x`` into tiles, each ``depth`` by height, for ``strip(packed=True)``.

    It may write up to a vector beyond the last tile.
    """
    W, sizes = lanes(dtype), heights()

    @inline
    def pack_tile(x, start, x_row, x_step, height, depth, tile, to):  # type: ignore[no-untyped-def]
        whole = depth - depth % W if x_step == 1 else 0
        for k in range(0, whole, W):
            # the last vector of a row may reach into the next row, which is written after it
            for r in range((height - 1) // W * W, -1, -W):
                at = to + k * height + r
                transpose(x, start + r * x_row + k, x_row, height - r, tile, at, height)
        for k in range(whole, depth):
            for r in range(height):
                tile[to + k * height + r] = x[start + r * x_row + k * x_step]

    def pack_tiles(x, x_row, x_step, rows, depth, tiles):  # type: ignore[no-untyped-def]
        i = 0
        for height in sizes:
            while i + height <= rows:
                pack_tile(x, i * x_row, x_row, x_step, height, depth, tiles, i * depth)
                i += height

    return inline(pack_tiles)


@kernel
def pack(dtype: str) -> tuple[Callable[..., None], str]:
    """Copy ``y`` into panels of ``PANEL`` vectors of columns, ``panel[k, j]``, one a task.

    Columns beyond the last are not written.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    NP = PANEL * W

    def body(task, y, out, K, N, y_step, y_col, inner, y_outer, y_inner):  # type: ignore[no-untyped-def]
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


# --------------------------------------------------------------------------------------- integers


@kernel
def integers(dtype: str) -> tuple[Callable[..., None], str]:
    """Integer product, one row a task; sums wrap around."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x, y, out, bias, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        item, row = task // p[ROWS], task % p[ROWS]
        outer, inner = item // p[INNER_ITEMS], item % p[INNER_ITEMS]
        a = pointer(x + size * (outer * p[X_OUTER] + inner * p[X_INNER] + row * p[X_ROW]), T)
        b = pointer(y + size * (outer * p[Y_OUTER] + inner * p[Y_INNER]), T)
        o = pointer(
            out + size * (outer * p[OUT_OUTER] + inner * p[OUT_INNER] + row * p[OUT_ROW]), T
        )
        s = pointer(bias, T)
        if p[ACCUMULATE] == 0:
            for j in range(p[COLS]):
                o[j] = s[j] if bias != 0 else T(0)
        for k in range(p[DEPTH]):
            factor = a[k * p[X_STEP]]
            for j in range(p[COLS]):
                o[j] = T(o[j] + factor * b[k * p[Y_STEP] + j * p[Y_COL]])

    return body, "iiiii"


# --------------------------------------------------------------------------------------- launcher

Launch = Callable[..., None]
Strides = list[tuple[int, ...]]  # of x, y and out


def matmul(
    dtype: str,
    M: int,
    N: int,
    K: int,
    batch: tuple[int, ...],
    x_strides: tuple[int, ...],
    y_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    *,
    accumulate: bool = False,
) -> tuple[Launch, int]:
    """Prepare ``out = x @ y`` for these sizes; gives ``(launch, scratch_bytes)``.

    ``launch(x, y, out, scratch=0, bias=0)`` takes addresses. ``x`` is ``(*batch, M, K)``, ``y``
    ``(*batch, K, N)``, ``out`` ``(*batch, M, N)``; strides are in elements, one per batch dimension
    (0 where an operand is broadcast), then that of the rows and that of the columns. The columns
    of ``out`` must be adjacent. ``scratch`` has ``scratch_bytes`` bytes, aligned to 64.

    A non-zero ``bias`` is the address of ``N`` adjacent elements that are added to every row; with
    ``accumulate`` the product is added to what ``out`` holds, and there is no bias.
    """
    if 0 in (M, N, *batch):
        return lambda x, y, out, scratch=0, bias=0: None, 0
    shape, strides = _merge_batch(batch, x_strides, y_strides, out_strides)
    M, shape, strides = _fold_batch_into_rows(M, shape, strides)
    return _prepare(_Problem(dtype, M, N, K, shape, strides, accumulate))


class _Problem(NamedTuple):
    dtype: str
    M: int
    N: int
    K: int
    batch: list[int]
    strides: Strides
    accumulate: bool
    bias_step: int = 1


def _merge_batch(batch: tuple[int, ...], *strides: tuple[int, ...]) -> tuple[list[int], Strides]:
    """Drop batch dimensions of size 1 and merge neighbours that all operands step through alike."""
    shape: list[int] = []
    merged: list[list[int]] = [[], [], []]
    for size, *steps in zip(batch, *strides):
        if size == 1:
            continue
        if shape and all(m[-1] == step * size for m, step in zip(merged, steps)):
            shape[-1] *= size
            for m, step in zip(merged, steps):
                m[-1] = step
        else:
            shape.append(size)
            for m, step in zip(merged, steps):
                m.append(step)
    return shape, [(*m, *s[-2:]) for m, s in zip(merged, strides)]


def _fold_batch_into_rows(
    M: int, shape: list[int], strides: Strides
) -> tuple[int, list[int], Strides]:
    """A batch of ``x`` against one ``y`` is one taller matrix where the rows follow each other."""
    x, y, out = strides
    if not shape or y[-3] != 0 or not (M == 1 or all(s[-3] == M * s[-2] for s in (x, out))):
        return M, shape, strides
    row = -3 if M == 1 else -2
    strides = [(*x[:-3], x[row], x[-1]), (*y[:-3], *y[-2:]), (*out[:-3], out[row], out[-1])]
    return M * shape[-1], shape[:-1], strides


def _prepare(problem: _Problem) -> tuple[Launch, int]:
    if len(problem.batch) > 2:
        return _loop_over_batch(problem)
    if problem.dtype not in ("float32", "float64"):
        return _prepare_integers(problem)
    _, M, N, _, batch, (x, y, out), _, _ = problem
    if N == 1 and M > 1 and out[-2] == 1:  # as a product of one row: out' = y' @ x'
        swapped = [(*s[:-2], s[-1], s[-2]) for s in (y, x, out)]
        problem = problem._replace(M=1, N=M, strides=swapped, bias_step=0)
        launch, scratch_bytes = _prepare_floats(problem)
        return lambda x, y, *rest: launch(y, x, *rest), scratch_bytes
    return _prepare_floats(problem)


def _loop_over_batch(problem: _Problem) -> tuple[Launch, int]:
    """More batch dimensions than a kernel counts: the outermost is stepped through here."""
    strides = problem.strides
    size = np.dtype(problem.dtype).itemsize
    sx, sy, so = (s[0] * size for s in strides)
    count = problem.batch[0]
    rest = problem._replace(batch=problem.batch[1:], strides=[s[1:] for s in strides])
    inner, scratch_bytes = _prepare(rest)

    def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0) -> None:
        for i in range(count):
            inner(x + i * sx, y + i * sy, out + i * so, scratch, bias)

    return launch, scratch_bytes


def _plan(problem: _Problem) -> np.ndarray:
    """The plan of a product that reads its operands where they lie."""
    _, M, N, K, batch, strides, accumulate, bias_step = problem
    fill = (0,) * (2 - len(batch))
    p = np.zeros(PLAN, np.int64)
    p[[ROWS, COLS, DEPTH, INNER_DEPTH]] = M, N, K, inner_block(K)
    p[[X_ROW, X_STEP]], p[[Y_STEP, Y_COL]], p[OUT_ROW] = strides[0][-2:], strides[1][-2:], strides[2][-2]
    for s, places in zip(strides, ([X_OUTER, X_INNER], [Y_OUTER, Y_INNER], [OUT_OUTER, OUT_INNER])):
        p[places] = (*fill, *s[:-2])
    p[[ACCUMULATE, BIAS_STEP, INNER_ITEMS]] = accumulate, bias_step, batch[-1] if batch else 1
    return p


def _prepare_integers(problem: _Problem) -> tuple[Launch, int]:
    p, tasks = _plan(problem), math.prod(problem.batch) * problem.M
    function, address = integers.build(problem.dtype), p.ctypes.data
    small = tasks * problem.N * problem.K < SERIAL

    def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0, keep: Any = p) -> None:
        function(x, y, out, bias, address, tasks, 0 if small else jit.get_num_threads())

    return launch, 0


def _prepare_floats(problem: _Problem) -> tuple[Launch, int]:
    dtype, M, N, K, batch, strides, *_ = problem
    size, NP = np.dtype(dtype).itemsize, PANEL * lanes(dtype)
    (x_row, _), (y_step, y_col) = (s[-2:] for s in strides[:2])
    y_col = 1 if N == 1 else y_col
    p = _plan(problem)
    way, pack_y = _way(problem, x_row * size, y_step, y_col, size)
    tasks, small = _split(p, problem, ROW_PANEL * lanes(dtype) if way == "row" else NP)
    function, address = product.build(dtype, way), p.ctypes.data
    p[Y_PANEL] = NP * y_col if way == "across" else NP
    p[Y_STEP] = y_col if way == "across" else y_step
    block = 0
    if way == "packed":
        block = tasks * X_BLOCK * inner_block(K) * size + 64
    if not pack_y:

        def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0, keep: Any = p) -> None:
            threads = 0 if small else jit.get_num_threads()
            function(x, y, out, scratch, bias, address, tasks, threads)

        return launch, block

    panels = -(-N // NP)
    steps = (int(p[Y_OUTER]), int(p[Y_INNER]))
    copies = [n if step else 1 for n, step in zip(_outer_inner(batch), steps)]
    per_copy = panels * NP * K
    p[[Y_STEP, Y_PANEL]] = NP, NP * K
    p[[Y_OUTER, Y_INNER]] = per_copy * copies[1] * bool(steps[0]), per_copy * bool(steps[1])
    pack_tasks, inner = panels * copies[0] * copies[1], copies[1]
    tiles = per_copy * copies[0] * copies[1] * size
    packer = pack.build(dtype)

    def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0, keep: Any = p) -> None:
        threads = 0 if small else jit.get_num_threads()
        packer(y, scratch, K, N, y_step, y_col, inner, *steps, pack_tasks, threads)
        function(x, scratch, out, scratch + tiles, bias, address, tasks, threads)

    return launch, tiles + block


def _outer_inner(batch: list[int]) -> list[int]:
    return [1] * (2 - len(batch)) + batch


def _way(problem: _Problem, x_row: int, y_step: int, y_col: int, size: int) -> tuple[str, bool]:
    """(way of the product, whether ``y`` is packed first)."""
    M, N = problem.M, problem.N
    if M == 1 and y_col == 1:
        return "row", False
    if M <= ACROSS and y_step == 1:
        return "across", False
    import os
    f = os.environ.get("MMWAY")
    if f:
        return f.split(",")[0], f[-1] == "y" or y_col != 1
    pack_x = M > 8 and N >= 64 and x_row % ALIAS == 0 and problem.K > 64
    pack_y = y_col != 1 or (M >= 64 and y_step * size % ALIAS == 0 and problem.K > 64)
    return "packed" if pack_x else "direct", pack_y


def _split(p: np.ndarray, problem: _Problem, panel: int) -> tuple[int, bool]:
    """Cut the work into tasks, by its shape alone; gives (tasks, too small for threads)."""
    M, N = problem.M, problem.N
    items = math.prod(problem.batch)
    # a product with few rows or columns is bound by memory: its work counts eightfold
    work = items * M * N * max(1, problem.K) * max(1, 8 // min(M, N))
    wanted = max(1, min(TASKS, work // TASK), min(4 * TASKS, work // LARGE_TASK))
    grid_rows = grid_cols = 1
    while items * grid_rows * grid_cols < wanted:
        by_rows = M // grid_rows >= 2 * heights()[0]
        by_cols = N // grid_cols >= 2 * panel
        if by_rows and (not by_cols or M // grid_rows >= N // grid_cols):
            grid_rows *= 2
        elif by_cols:
            grid_cols *= 2
        else:
            break
    rows, cols = -(-M // grid_rows), -(-N // grid_cols)
    rows, cols = -(-rows // 4) * 4, -(-cols // panel) * panel
    grid_rows, grid_cols = -(-M // rows), -(-N // cols)
    units = items * grid_rows * grid_cols
    per_task = -(-units // max(wanted, min(units, 4 * TASKS, work // TASK)))
    p[[GRID_ROWS, GRID_COLS, TASK_ROWS, TASK_COLS]] = grid_rows, grid_cols, rows, cols
    p[[UNITS, PER_TASK]] = units, per_task
    return -(-units // per_task), work < SERIAL
