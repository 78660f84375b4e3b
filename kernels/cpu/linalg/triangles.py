"""Copies of parts of matrices, and the leaves of Cholesky factorisation and triangular solves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import Linalg
from tilegrad.kernels.formulas.field import field, itself
from tilegrad.kernels.function import inline


def shared_out(
    function: Callable[..., None], args: tuple[int, ...], units: int, work: int
) -> Callable[..., None]:
    """``function(*addresses, units, units of a task, *args)`` over ``units``, each of ``work``."""
    per, tasks = splitting.share(units, max(1, work), Linalg.grain, Linalg.tasks)
    return bind(function, units, per, *args, tasks, TEAM if tasks > 1 else 0)


@kernel
def copy(dtype: str, part: str, negate: bool, conj: bool) -> Kernel:
    """A row a unit; ``part``: all, lower, unit_lower (ones on the diagonal) or eye, the identity."""
    T, bar = np.dtype(dtype).type, field(dtype).conj if conj else itself
    size = np.dtype(dtype).itemsize
    zero, one, unit = T(0), T(1), part in ("unit_lower", "eye")
    low, none = part in ("lower", "unit_lower"), part == "eye"

    def body(task, x, out, units, per, rows, cols, xs, os):
        for r in range(task * per, min(units, (task + 1) * per)):
            item = r // rows
            i = r - item * rows
            a = pointer(x + size * (item * xs.step + i * xs.row), T)
            b = pointer(out + size * (item * os.step + i * os.row), T)
            last = 0 if none else cols
            if low:
                last = min(cols, i + 1)
            if xs.col == 1 and os.col == 1:
                for j in range(last):
                    v = bar(read(a, j))
                    write(b, j, -v if negate else v)
            else:
                for j in range(last):
                    v = bar(a[j * xs.col])
                    b[j * os.col] = -v if negate else v
            for j in range(last, cols):
                b[j * os.col] = zero
            if unit and i < cols:
                b[i * os.col] = one

    return body, ("i" * 6, Strides, Strides)


def take(
    dtype: str, count: int, rows: int, cols: int, strides: Strides, out_strides: Strides,
    part: str, negate: bool, conj: bool,
) -> Callable[..., None]:  # fmt: skip
    """``launch(x, out)``: a part of ``x`` (see :func:`copy`), or its conjugate, in ``out``, zeros elsewhere."""
    args = (rows, cols, *strides, *out_strides)
    return shared_out(copy.build(dtype, part, negate, conj), args, count * rows, cols)


@kernel
def factor(dtype: str) -> Kernel:
    """A matrix of at most ``Linalg.leaf`` rows a unit, by columns from the left, in memory of the task."""
    T = np.dtype(dtype).type
    size, leaf = np.dtype(dtype).itemsize, Linalg.leaf
    square, line = local(dtype, leaf * leaf), local(dtype, leaf)
    F = field(dtype)
    one, conj, real = F.part(1), F.conj, F.real

    def body(task, a, info, units, per, n, s, first):
        m, column = square(), line()
        for item in range(task * per, min(units, (task + 1) * per)):
            x = pointer(a + size * item * s.step, T)
            for i in range(n):
                for j in range(i + 1):
                    m[i * n + j] = x[i * s.row + j * s.col]
            failed = 0
            for k in range(n):
                d = real(m[k * n + k])
                if failed == 0 and not d > 0:
                    failed = first + k + 1
                root = math.sqrt(d)
                m[k * n + k] = root
                inverse = one / root
                for i in range(k + 1, n):
                    v = m[i * n + k] * inverse
                    m[i * n + k] = v
                    column[i] = conj(v)
                for i in range(k + 1, n):
                    v, at = m[i * n + k], i * n
                    for j in range(k + 1, i + 1):
                        write(m, at + j, m[at + j] - v * read(column, j))
            for i in range(n):
                for j in range(i + 1):
                    x[i * s.row + j * s.col] = m[i * n + j]
            note(pointer(info, np.int32), item, failed, first)

    return body, ("i" * 5, Strides, "i")


@inline
def note(info, item, failed, first):
    """The first failure of a matrix: that of the leaf at ``first``, unless one before it failed."""
    if first == 0:
        info[item] = failed
    elif info[item] == 0:
        info[item] = failed


def cholesky(dtype: str, count: int, n: int, strides: Strides, first: int) -> Callable[..., None]:
    """``launch(a, info)``: the lower factor in place; ``info`` (int32, from 1) names the first pivot
    that is not positive, ``first`` on.
    """
    args = (n, *strides, first)
    return shared_out(factor.build(dtype), args, count, max(16, n * n * n // 8))


@kernel
def substitute(dtype: str, unit: bool, conj: bool) -> Kernel:
    """``Linalg.columns`` right-hand sides of one matrix, or its conjugate, a unit, both in memory of the
    task.
    """
    T, F = np.dtype(dtype).type, field(dtype)
    bar, quotient = F.conj if conj else itself, F.quotient
    size, leaf, most = np.dtype(dtype).itemsize, Linalg.leaf, Linalg.columns
    square, sides = local(dtype, leaf * leaf), local(dtype, leaf * most)

    def body(task, a, b, units, per, n, N, steps, bs):
        m, x = square(), sides()
        blocks, held = (N + most - 1) // most, -1
        for place in range(task * per, min(units, (task + 1) * per)):
            item = place // blocks
            start = (place - item * blocks) * most
            w = min(most, N - start)
            if item != held:
                held = item
                given = pointer(a + size * item * steps.step, T)
                for i in range(n):
                    for j in range(i + 1):
                        m[i * n + j] = bar(given[i * steps.row + j * steps.col])
            y = pointer(b + size * (item * bs.step + start * bs.col), T)
            _move(y, bs.row, bs.col, x, w, 1, n, w)
            for i in range(n):
                at = i * w
                for k in range(0, i - 3, 4):
                    c, d, e, f = m[i * n + k], m[i * n + k + 1], m[i * n + k + 2], m[i * n + k + 3]
                    base = k * w
                    for j in range(w):
                        one = c * read(x, base + j) + d * read(x, base + w + j)
                        two = e * read(x, base + 2 * w + j) + f * read(x, base + 3 * w + j)
                        write(x, at + j, x[at + j] - (one + two))
                for k in range(i - i % 4, i):
                    c, base = m[i * n + k], k * w
                    for j in range(w):
                        write(x, at + j, x[at + j] - c * read(x, base + j))
                if not unit:
                    d = m[i * n + i]
                    for j in range(w):
                        x[at + j] = quotient(x[at + j], d)
            _move(x, w, 1, y, bs.row, bs.col, n, w)

    return body, ("i" * 6, Strides, Strides)


@inline
def _move(x, x_row, x_col, y, y_row, y_col, rows, cols):
    if x_col == 1 and y_col == 1:
        for i in range(rows):
            for j in range(cols):
                write(y, i * y_row + j, read(x, i * x_row + j))
    else:
        for j in range(cols):
            for i in range(rows):
                y[i * y_row + j * y_col] = x[i * x_row + j * x_col]


def solve(
    dtype: str, unit: bool, conj: bool, count: int, n: int, N: int, strides: Strides, b_strides: Strides
) -> Callable[..., None]:  # fmt: skip
    """``launch(l, b)``: ``b = l^-1 b`` for lower triangles, or their conjugates; the strides may be
    negative.
    """
    blocks = -(-N // Linalg.columns)
    args = (n, N, *strides, *b_strides)
    work = n * n * min(N, Linalg.columns) // 8
    return shared_out(substitute.build(dtype, unit, conj), args, count * blocks, work)
