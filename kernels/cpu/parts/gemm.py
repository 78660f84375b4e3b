"""The GEMM kernels: packing and the loops around the micro-kernel; ``matmul.py`` chooses among them.

``x`` is BLIS's A, ``y`` its B and ``out`` its C. Every element of a float result is the same sum in
the same order whichever kernel computes it: blocks of ``KC`` products, each added up in the order of
``k`` by fused multiply-adds, are added to the result one after the other. The exception is ``dot``,
for a ``y`` of one column.

Source: F. Van Zee and R. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
Functionality", 2015, for the names and the order of the loops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.parts.micro_kernel import dots, micro_kernel
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import lanes, load, store, transpose
from tilegrad.kernels.cpu.tuning import NR_VECTORS, Gemm
from tilegrad.kernels.dtypes import VECTORS
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Params(NamedTuple):
    """The parameter block, an int64 array of sizes, strides and the split of work. Strides are in elements.

    Attributes:
        rows, cols, depth, kc: M, N, K and KC.
        y_panel: between panels of NR_VECTORS vectors of columns of y (1 with column-major y).
        inner_items: a batch item is an outer and an inner number, of so many.
        accumulate: whether the products are added to out. bias_step: 1 for an element per column, else 0.
        grid_rows, grid_cols: cells of an item; a unit of work is one cell of the grid over one item.
        task_rows, task_cols: of a cell. per_task: units of a task.
        pack_a, pack_b: whether blocks of x and panels of y are packed. mc: rows of a packed block.
    """

    rows: int
    cols: int
    depth: int
    kc: int
    x_row: int
    x_col: int
    y_row: int
    y_col: int
    y_panel: int
    out_row: int
    inner_items: int
    x_outer: int
    x_inner: int
    y_outer: int
    y_inner: int
    out_outer: int
    out_inner: int
    accumulate: int
    bias_step: int
    grid_rows: int
    grid_cols: int
    task_rows: int
    task_cols: int
    units: int
    per_task: int
    pack_a: int
    pack_b: int
    mc: int


AT = places(Params)


def kc_for(dtype: str, K: int) -> int:
    """KC: how many products are summed before they are added to the result; depends on K only."""
    most = tuning.micro_kernel(dtype).kc
    if K <= most:
        return max(1, K)
    blocks = -(-K // most)
    return -(-K // blocks // 16) * 16  # even blocks, of whole cache lines


def mc_max(dtype: str) -> int:
    """The largest MC: rows of ``x`` that fit a packed block."""
    row = tuning.micro_kernel(dtype)
    return row.mc_bytes // ((row.kc + Gemm.pack_pad) * np.dtype(dtype).itemsize)


def nr_for(dtype: str, variant: str) -> int:
    """NR of a variant of :func:`gemm`, in vectors."""
    row = tuning.micro_kernel(dtype)
    nr = {"gemv": row.gemv_nr, "col_major_b": 1, "gemv_col": row.gemv_col_nr}
    return nr.get(variant, NR_VECTORS)


class _Block(NamedTuple):
    """Rows from ``i``, products from ``k``."""

    i: int
    rows: int
    k: int
    depth: int


class _Steps(NamedTuple):
    """Elements between rows, columns and panels of y, and rows of out; whether panels of y are packed."""

    y_row: int
    y_col: int
    y_panel: int
    out_row: int
    packs_b: bool


def _block_multiplier(dtype: str, variant: str) -> DeviceFunction:
    """The device function ``multiply(a, a_row, y, out, bias, block, of, col, end, onto, packed_b)`` of
    :func:`gemm`: the columns from ``col`` to ``end`` of a block; ``onto`` what ``out`` holds.
    """
    T, size, W = np.dtype(_moved(dtype)).type, np.dtype(dtype).itemsize, lanes(dtype)
    packs, col_major_b = variant == "row_major_b", variant in ("col_major_b", "gemv_col")
    row = tuning.micro_kernel(dtype)
    nr_vectors = nr_for(dtype, variant)
    NR, PAIR, unit_cols = nr_vectors * W, NR_VECTORS * W, W if col_major_b else NR_VECTORS * W
    tiles = {"row_major_b": row.mr, "col_major_b": row.col_major_mr}.get(variant, (1,))
    full = micro_kernel(nr_vectors, tiles, col_major_b, of=dtype)
    more, one = nr_vectors > NR_VECTORS, nr_vectors > 1
    pair = micro_kernel(NR_VECTORS, tiles if more else (), col_major_b, of=dtype)
    single = micro_kernel(1, tiles if one else (), col_major_b, of=dtype)
    pack_b = _packer(dtype, False)

    @inline
    def multiply(a, a_row, y, out, bias, block, of, col, end, onto, packed_b):
        rows, depth, row_step, j = block.rows, block.depth, of.out_row, col
        while j < end:
            left = end - j
            place = j // unit_cols * of.y_panel + block.k * of.y_row
            b, br = pointer(y + size * place, T), of.y_col if col_major_b else of.y_row
            if packs and of.packs_b:
                pack_b(b, of.y_row, of.y_col, packed_b, PAIR, depth, min(left, PAIR))
                b, br = packed_b, PAIR
            o = pointer(out + size * (block.i * row_step + j), T)
            c_in, c_in_row = o, row_step
            if block.k == 0 and not onto:
                c_in, c_in_row = pointer(bias + size * j if bias != 0 else 0, T), 0
            if left > NR - W:
                n_tail = min(W, left - NR + W)
                full(a, a_row, 1, b, br, o, row_step, c_in, c_in_row, rows, depth, n_tail)
                j += NR
            elif left > W:
                n_tail = min(W, left - W)
                pair(a, a_row, 1, b, br, o, row_step, c_in, c_in_row, rows, depth, n_tail)
                j += PAIR
            else:
                single(a, a_row, 1, b, br, o, row_step, c_in, c_in_row, rows, depth, left)
                j += W

    return multiply


@kernel
def gemm(dtype: str, variant: str) -> Kernel:
    """GEMM of floats and complex numbers, in units of a block of rows by a block of columns of one batch item.

    ``variant`` says how ``y`` is read: ``row_major_b`` (columns adjacent) or ``col_major_b`` (each
    column contiguous); ``gemv`` and ``gemv_col`` are the same with a larger NR, for an ``x`` of one
    row.

    The parameters ask for packing where it pays. ``pack_a`` copies blocks of ``mc`` rows of ``x`` to
    a buffer of the task: their elements may be strided, or their rows a power of two apart, where
    they compete for the same cache sets. ``pack_b`` (of ``row_major_b``) copies each panel of NR
    columns of ``y``.
    """
    moved, size = _moved(dtype), np.dtype(dtype).itemsize
    T = np.dtype(moved).type
    row, multiply = tuning.micro_kernel(dtype), _block_multiplier(dtype, variant)
    packed_row = row.kc + Gemm.pack_pad
    pack_a, PAIR = _packer(dtype, True), NR_VECTORS * lanes(dtype)
    buffer_a, buffer_b = (
        local(moved, mc_max(dtype) * packed_row),
        local(moved, packed_row * PAIR),
    )

    def body(task, x, y, out, bias, params):
        p = pointer(params, np.int64)
        xr, xc, K = p[AT.x_row], p[AT.x_col], p[AT.depth]
        steps = _Steps(p[AT.y_row], p[AT.y_col], p[AT.y_panel], p[AT.out_row], p[AT.pack_b] != 0)
        cells, packed_a, packed_b = p[AT.grid_rows] * p[AT.grid_cols], buffer_a(), buffer_b()
        for unit in range(task * p[AT.per_task], min(p[AT.units], (task + 1) * p[AT.per_task])):
            item, cell = unit // cells, unit % cells
            outer, inner = item // p[AT.inner_items], item % p[AT.inner_items]
            row, col = (
                cell // p[AT.grid_cols] * p[AT.task_rows],
                cell % p[AT.grid_cols] * p[AT.task_cols],
            )
            row_end, end = (
                min(row + p[AT.task_rows], p[AT.rows]),
                min(col + p[AT.task_cols], p[AT.cols]),
            )
            xi = x + size * (outer * p[AT.x_outer] + inner * p[AT.x_inner])
            yi = y + size * (outer * p[AT.y_outer] + inner * p[AT.y_inner])
            oi = out + size * (outer * p[AT.out_outer] + inner * p[AT.out_inner])
            onto = p[AT.accumulate] != 0
            if bias != 0 and p[AT.bias_step] == 0:
                _fill(pointer(oi, T), col, end, pointer(bias, T)[0])
                onto = True
            for k in range(0, max(1, K), p[AT.kc]):
                depth = min(p[AT.kc], K - k)
                for i in range(row, row_end, p[AT.mc]):
                    rows = min(p[AT.mc], row_end - i)
                    a, ar = pointer(xi + size * (i * xr + k * xc), T), xr
                    if p[AT.pack_a] != 0:
                        pack_a(a, xr, xc, packed_a, packed_row, rows, depth)
                        a, ar = packed_a, packed_row
                    block = _Block(i, rows, k, depth)
                    multiply(a, ar, yi, oi, bias, block, steps, col, end, onto, packed_b)

    return body, "iiiii"


def _packer(dtype: str, rows_first: bool) -> DeviceFunction:
    """The device function ``pack(x, x_row, x_col, packed, packed_row, rows, cols)``: ``packed[i, j] =
    x[i, j]``, adjacent ``j``. Whole vectors may be written: up to a vector after a row is garbage.

    Column-major elements are transposed in registers, square by square: down the rows first, or along
    the columns.
    """
    W = lanes(dtype)
    if _moved(dtype) not in VECTORS:  # what no register holds elements of
        return _copier

    @inline
    def squares(x, x_col, packed, packed_row, rows, cols):
        """Whole vectors of rows."""
        if rows_first:
            for j in range(0, cols, W):
                for i in range(0, rows, W):
                    at = i * packed_row + j
                    transpose(x, i + j * x_col, x_col, min(W, cols - j), packed, at, packed_row)
        else:
            for i in range(0, rows, W):
                for j in range(0, cols, W):
                    at = i * packed_row + j
                    transpose(x, i + j * x_col, x_col, min(W, cols - j), packed, at, packed_row)

    def pack(x, x_row, x_col, packed, packed_row, rows, cols):
        done = 0
        if x_col == 1:
            done = rows
            for i in range(rows):
                for j in range(0, cols - W + 1, W):
                    store(packed, i * packed_row + j, load(x, i * x_row + j))
                for j in range(cols - cols % W, cols):
                    packed[i * packed_row + j] = x[i * x_row + j]
        elif x_row == 1:
            done = rows - rows % W
            squares(x, x_col, packed, packed_row, done, cols)
        for i in range(done, rows):
            for j in range(cols):
                packed[i * packed_row + j] = x[i * x_row + j * x_col]

    return inline(pack)


@inline
def _copier(x, x_row, x_col, packed, packed_row, rows, cols):
    """:func:`_packer`'s, element by element."""
    for i in range(rows):
        for j in range(cols):
            packed[i * packed_row + j] = x[i * x_row + j * x_col]


def _moved(dtype: str) -> str:
    """The dtype that elements are moved as: complex numbers of two floats as one double."""
    return "float64" if dtype == "complex64" else dtype


@inline
def _fill(out, start, end, value):
    for j in range(start, end):
        out[j] = value


@kernel
def prepack_b(dtype: str, vectors: int) -> Kernel:
    """Pack all of B before the product: panels of ``vectors`` vectors of columns of ``y``, ``panel[k, j]``,
    one a task. Columns beyond the last are not written.
    """
    T = np.dtype(_moved(dtype)).type
    size, NR = np.dtype(dtype).itemsize, vectors * lanes(dtype)
    pack_b = _packer(dtype, False)

    def body(task, y, out, K, N, y_row, y_col, y_outer, y_inner, inner):
        panels = (N + NR - 1) // NR
        item, panel = task // panels, task % panels
        start = item // inner * y_outer + item % inner * y_inner + panel * NR * y_col
        b, q = pointer(y + size * start, T), pointer(out + size * task * NR * K, T)
        pack_b(b, y_row, y_col, q, NR, K, min(NR, N - panel * NR))

    return body, "iiiiiiiii"


@kernel
def dot(dtype: str) -> Kernel:
    """Matrix-vector product, complex too: ``y`` is one contiguous column, the rows of ``x`` contiguous."""
    T = np.dtype(dtype).type
    size, add_dots = np.dtype(dtype).itemsize, dots((4, 1), dtype)

    def body(task, x, y, out, bias, params):
        p = pointer(params, np.int64)
        for unit in range(task * p[AT.per_task], min(p[AT.units], (task + 1) * p[AT.per_task])):
            item, cell = unit // p[AT.grid_rows], unit % p[AT.grid_rows]
            outer, inner = item // p[AT.inner_items], item % p[AT.inner_items]
            row = cell * p[AT.task_rows]
            rows = min(p[AT.task_rows], p[AT.rows] - row)
            a = x + size * (outer * p[AT.x_outer] + inner * p[AT.x_inner] + row * p[AT.x_row])
            b = y + size * (outer * p[AT.y_outer] + inner * p[AT.y_inner])
            o = pointer(out + size * (outer * p[AT.out_outer] + inner * p[AT.out_inner] + row), T)
            if p[AT.accumulate] == 0:
                _fill(o, 0, rows, pointer(bias, T)[0] if bias != 0 else T(0))
            add_dots(pointer(a, T), p[AT.x_row], pointer(b, T), o, rows, p[AT.depth])

    return body, "iiiii"


@kernel
def integer_gemm(dtype: str) -> Kernel:
    """Integer GEMM, one row a task; sums wrap around."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x, y, out, bias, params):
        p = pointer(params, np.int64)
        item, row, N, K = task // p[AT.rows], task % p[AT.rows], p[AT.cols], p[AT.depth]
        xc, yr, yc = p[AT.x_col], p[AT.y_row], p[AT.y_col]
        outer, inner = item // p[AT.inner_items], item % p[AT.inner_items]
        a = pointer(
            x + size * (outer * p[AT.x_outer] + inner * p[AT.x_inner] + row * p[AT.x_row]), T
        )
        b = pointer(y + size * (outer * p[AT.y_outer] + inner * p[AT.y_inner]), T)
        place = outer * p[AT.out_outer] + inner * p[AT.out_inner] + row * p[AT.out_row]
        o, c_in = pointer(out + size * place, T), pointer(bias, T)
        if p[AT.accumulate] == 0 and bias != 0:
            for j in range(N):
                o[j] = c_in[j]
        elif p[AT.accumulate] == 0:
            _fill(o, 0, N, T(0))
        if yc == 1:
            _add_rows(a, xc, b, yr, o, N, K)
        else:
            _add_dots(a, xc, b, yr, yc, o, N, K)

    return body, "iiiii"


@inline
def _add_rows(x, x_col, y, y_row, out, N, K):
    """Rows of ``y`` times elements of ``x``, four at a time: fewer writes of out."""
    for k in range(0, K - 3, 4):
        a, b, c, d = x[k * x_col], x[(k + 1) * x_col], x[(k + 2) * x_col], x[(k + 3) * x_col]
        at = k * y_row
        for j in range(N):
            first = a * read(y, at + j) + b * read(y, at + y_row + j)
            second = c * read(y, at + 2 * y_row + j) + d * read(y, at + 3 * y_row + j)
            write(out, j, out[j] + first + second)
    for k in range(K - K % 4, K):
        a, at = x[k * x_col], k * y_row
        for j in range(N):
            write(out, j, out[j] + a * read(y, at + j))


@inline
def _add_dots(x, x_col, y, y_row, y_col, out, N, K):
    """Dot products with the columns of ``y``."""
    for j in range(N):
        total = 0
        for k in range(K):
            total += x[k * x_col] * y[j * y_col + k * y_row]
        out[j] += total
