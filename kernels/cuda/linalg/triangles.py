"""Copies of parts of matrices, and the leaves of Cholesky factorisation and triangular solves: a block a
matrix, which it keeps in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.cuda.device.ptx import barrier, block, pointer, shared, thread
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.dtypes import part_of
from tilegrad.kernels.formulas.field import field, itself
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import inline

SIDE = 16  # threads along a row of a matrix in shared memory
LEAF, SIDES = (
    32,
    64,
)  # rows and right-hand sides that shared memory has room for, twice, in complex128


def threads_of(dtype: str) -> int:
    """Threads of a block of these kernels."""
    return grid("linalg", dtype).bounds.threads


@kernel
def copy(dtype: str, part: str, negate: bool, conj: bool, threads: int) -> Source:
    """A row a block; ``part`` as in :func:`tilegrad.kernels.cpu.linalg.triangles.copy`.

    Parameters: x, out, rows, columns, strides of both.
    """
    T, bar = np.dtype(dtype).type, field(dtype).conj if conj else itself
    size, zero, one = np.dtype(dtype).itemsize, T(0), T(1)
    unit, low, none = (
        part in ("unit_lower", "eye"), part in ("lower", "unit_lower"), part == "eye",
    )  # fmt: skip

    def take_row(x, out, rows, cols, x_step, x_row, x_col, o_step, o_row, o_col):
        item = block() // rows
        i = block() - item * rows
        a = pointer(x + size * (item * x_step + i * x_row), T)
        b = pointer(out + size * (item * o_step + i * o_row), T)
        j = thread()
        while j < cols:
            v = zero
            if unit and i == j:
                v = one
            elif not none and (not low or j <= i):
                v = bar(a[j * x_col])
                if negate:
                    v = -v
            b[j * o_col] = v
            j += threads

    return Source(take_row, "i" * 10, threads)


def take(
    dtype: str, count: int, rows: int, cols: int, strides: Strides, out_strides: Strides,
    part: str, negate: bool, conj: bool,
) -> Callable[..., None]:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.linalg.triangles.take`."""
    function = copy.build(dtype, part, negate, conj, threads_of(dtype))
    return bind(function, rows, cols, *strides, *out_strides, count * rows, 1, 1)


@kernel
def spread(dtype: str, negate: bool, conj: bool, threads: int) -> Source:
    """Complex numbers as [re im; -im re], a row of them a block.

    Parameters: x, out, rows, columns, strides of x, from a matrix of out to the next.
    """
    T, R = np.dtype(dtype).type, np.dtype(part_of(dtype)).type
    size, bar = np.dtype(dtype).itemsize, field(dtype).conj if conj else itself

    def spread_row(x, out, rows, cols, x_step, x_row, x_col, step):
        item = block() // rows
        i = block() - item * rows
        a = pointer(x + size * (item * x_step + i * x_row), T)
        b = pointer(out + size // 2 * (item * step + 4 * i * cols), R)
        for j in range(thread(), cols, threads):
            v = bar(a[j * x_col])
            v = -v if negate else v
            b[2 * j] = v.real
            b[2 * j + 1] = v.imag
            b[2 * cols + 2 * j] = -v.imag
            b[2 * cols + 2 * j + 1] = v.real

    return Source(spread_row, "i" * 8, threads)


def widen(
    dtype: str, count: int, rows: int, cols: int, strides: Strides, out_step: int, negate: bool,
    conj: bool,
) -> Callable[..., None]:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.linalg.triangles.widen`."""
    function = spread.build(dtype, negate, conj, threads_of(dtype))
    return bind(function, rows, cols, *strides, out_step, count * rows, 1, 1)


@inline
def note(info, failed, first):
    """The first failure of a matrix: that of the leaf at ``first``, unless one before it failed."""
    if first == 0:
        info[block()] = failed
    elif info[block()] == 0:
        info[block()] = failed


@kernel
def factor(dtype: str, threads: int) -> Source:
    """A matrix a block, by columns from the left.

    Parameters: a, info, n, strides, the first row's number.
    """
    T = np.dtype(dtype).type
    size, down = np.dtype(dtype).itemsize, threads // SIDE
    square, F = shared(dtype, LEAF * LEAF, "square"), field(dtype)
    zero, conj, real = F.part(0), F.conj, F.real

    def cholesky_leaf(a, info, n, step, row_step, col_step, first):
        m, x = square(), pointer(a + size * block() * step, T)
        tx, ty = thread() % SIDE, thread() // SIDE
        for i in range(ty, n, down):
            for j in range(tx, i + 1, SIDE):
                m[i * n + j] = x[i * row_step + j * col_step]
        failed = 0
        for k in range(n):
            barrier()
            d = real(m[k * n + k])
            if failed == 0 and not d > zero:
                failed = first + k + 1
            root = sqrt(d)
            barrier()
            if thread() == 0:
                m[k * n + k] = root
            for i in range(k + 1 + thread(), n, threads):
                m[i * n + k] = m[i * n + k] / root
            barrier()
            for i in range(k + 1 + ty, n, down):
                v = m[i * n + k]
                for j in range(k + 1 + tx, i + 1, SIDE):
                    m[i * n + j] = m[i * n + j] - v * conj(m[j * n + k])
        barrier()
        for i in range(ty, n, down):
            for j in range(tx, i + 1, SIDE):
                x[i * row_step + j * col_step] = m[i * n + j]
        if thread() == 0:
            note(pointer(info, np.int32), failed, first)

    return Source(cholesky_leaf, "i" * 7, threads)


def cholesky(dtype: str, count: int, n: int, strides: Strides, first: int) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.triangles.cholesky`."""
    function = factor.build(dtype, threads_of(dtype))
    return bind(function, n, *strides, first, count, 1, 1)


@kernel
def substitute(dtype: str, unit: bool, conj: bool) -> Source:
    """A right-hand side a thread, the triangle and the sides in shared memory.

    Parameters: a, b, n, N, blocks of columns of a matrix, strides of both.
    """
    T, F = np.dtype(dtype).type, field(dtype)
    size, bar, quotient = np.dtype(dtype).itemsize, F.conj if conj else itself, F.quotient
    square, sides = shared(dtype, LEAF * LEAF, "square"), shared(dtype, LEAF * SIDES, "sides")

    def solve_leaf(a, b, n, N, blocks, a_step, a_row, a_col, b_step, b_row, b_col):
        m, x = square(), sides()
        item = block() // blocks
        start = (block() - item * blocks) * SIDES
        given = pointer(a + size * item * a_step, T)
        for i in range(n):
            for j in range(thread(), i + 1, SIDES):
                m[i * n + j] = bar(given[i * a_row + j * a_col])
        barrier()
        c = start + thread()
        if c < N:
            y = pointer(b + size * (item * b_step + c * b_col), T)
            for i in range(n):
                v = y[i * b_row]
                for k in range(i):
                    v -= m[i * n + k] * x[k * SIDES + thread()]
                if not unit:
                    v = quotient(v, m[i * n + i])
                x[i * SIDES + thread()] = v
                y[i * b_row] = v

    return Source(solve_leaf, "i" * 11, SIDES)


def solve(
    dtype: str, unit: bool, conj: bool, count: int, n: int, N: int, strides: Strides, b_strides: Strides
) -> Callable[..., None]:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.linalg.triangles.solve`."""
    function = substitute.build(dtype, unit, conj)
    blocks = -(-N // SIDES)
    return bind(function, n, N, blocks, *strides, *b_strides, count * blocks, 1, 1)
