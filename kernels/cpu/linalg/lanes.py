"""Batches of very small matrices: each lane of a vector register takes one.

Loops over the lanes stand innermost, over memory of the task: LLVM makes vectors of them and unrolls the
rest, as sizes are constants. Rows are exchanged by selection, since every lane has its own pivot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.cpu.linalg.triangles import shared_out
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.function import DeviceFunction, inline

WORDS = {"float32": "int32", "float64": "int64"}


class Systems(NamedTuple):
    """Matrices and right-hand sides of each, and the strides of both."""

    items: int
    N: int
    step: int
    row: int
    col: int
    b_step: int
    b_row: int
    b_col: int


@kernel
def factor(dtype: str, n: int) -> Kernel:
    """Cholesky factors, of as many matrices as a register has lanes a unit."""
    T, W, size = np.dtype(dtype).type, lanes(dtype), np.dtype(dtype).itemsize
    square, failures = local(dtype, n * n * W), local(WORDS[dtype], W)
    word = np.dtype(WORDS[dtype]).type
    zero, one = T(0), T(1)

    def body(task, x, out, info, units, per, count, xs, os):
        m, failed = square(), failures()
        status = pointer(info, np.int32)
        for unit in range(task * per, min(units, (task + 1) * per)):
            first = unit * W
            for w in range(W):
                a = pointer(x + size * min(first + w, count - 1) * xs.step, T)
                failed[w] = word(0)
                for i in range(n):
                    for j in range(i + 1):
                        m[(i * n + j) * W + w] = a[i * xs.row + j * xs.col]
            for k in range(n):
                for w in range(W):
                    d = m[(k * n + k) * W + w]
                    bad = failed[w] == 0 and not d > zero
                    failed[w] = word(k + 1) if bad else failed[w]
                    root = math.sqrt(d)
                    m[(k * n + k) * W + w] = root
                    inverse = one / root
                    for i in range(k + 1, n):
                        m[(i * n + k) * W + w] = m[(i * n + k) * W + w] * inverse
                for i in range(k + 1, n):
                    for j in range(k + 1, i + 1):
                        for w in range(W):
                            v = m[(i * n + k) * W + w] * m[(j * n + k) * W + w]
                            m[(i * n + j) * W + w] = m[(i * n + j) * W + w] - v
            for w in range(min(W, count - first)):
                b = pointer(out + size * (first + w) * os.step, T)
                status[first + w] = failed[w]
                for i in range(n):
                    for j in range(n):
                        b[i * os.row + j * os.col] = m[(i * n + j) * W + w] if j <= i else zero

    return body, ("i" * 6, Strides, Strides)


def cholesky(
    dtype: str, count: int, n: int, strides: Strides, out_strides: Strides
) -> Callable[..., None]:
    """``launch(x, out, info)``, zeros above the diagonal."""
    function, W = factor.build(dtype, n), lanes(dtype)
    return shared_out(function, (count, *strides, *out_strides), -(-count // W), n * n * n + 8 * W)


def _eliminator(dtype: str, n: int) -> DeviceFunction:
    """``lu(m, row, place, most, failed)``: LU in place of n by n matrices, the order of their rows, their
    pivots and codes.
    """
    T, W, word = np.dtype(dtype).type, lanes(dtype), np.dtype(WORDS[dtype]).type
    zero, one = T(0), T(1)

    @inline
    def choose(m, place, most, k):
        """The largest of column ``k`` from the diagonal on."""
        for w in range(W):
            most[w] = abs(m[(k * n + k) * W + w])
            place[k * W + w] = word(k)
        for i in range(k + 1, n):
            for w in range(W):
                v = abs(m[(i * n + k) * W + w])
                more = v > most[w]
                place[k * W + w] = word(i) if more else place[k * W + w]
                most[w] = v if more else most[w]

    @inline
    def exchange(m, row, place, k):
        """Row ``k`` and the chosen one exchanged."""
        for i in range(k + 1, n):
            for j in range(n):
                for w in range(W):
                    p, q = m[(k * n + j) * W + w], m[(i * n + j) * W + w]
                    here = place[k * W + w] == i
                    m[(k * n + j) * W + w] = q if here else p
                    m[(i * n + j) * W + w] = p if here else q
            for w in range(W):
                r, s = row[k * W + w], row[i * W + w]
                here = place[k * W + w] == i
                row[k * W + w] = s if here else r
                row[i * W + w] = r if here else s

    @inline
    def factorise(m, row, place, most, failed):
        for k in range(n):
            choose(m, place, most, k)
            exchange(m, row, place, k)
            for w in range(W):
                d = m[(k * n + k) * W + w]
                bad = failed[w] == 0 and d == zero
                failed[w] = word(k + 1) if bad else failed[w]
                most[w] = one if d == zero else d
            for i in range(k + 1, n):
                for w in range(W):
                    m[(i * n + k) * W + w] = m[(i * n + k) * W + w] / most[w]
                for j in range(k + 1, n):
                    for w in range(W):
                        v = m[(i * n + k) * W + w] * m[(k * n + j) * W + w]
                        m[(i * n + j) * W + w] = m[(i * n + j) * W + w] - v

    return factorise


def _substituter(dtype: str, n: int) -> DeviceFunction:
    """``solve(m, y)``: the solution in place of one right-hand side a lane."""
    W = lanes(dtype)

    @inline
    def substitute(m, y):
        for i in range(1, n):
            for j in range(i):
                for w in range(W):
                    v = m[(i * n + j) * W + w] * y[j * W + w]
                    y[i * W + w] = y[i * W + w] - v
        for back in range(n):
            i = n - 1 - back
            for j in range(i + 1, n):
                for w in range(W):
                    v = m[(i * n + j) * W + w] * y[j * W + w]
                    y[i * W + w] = y[i * W + w] - v
            for w in range(W):
                y[i * W + w] = y[i * W + w] / m[(i * n + i) * W + w]

    return substitute


@kernel
def eliminate(dtype: str, n: int) -> Kernel:
    """LU with exchanges of rows, and the solution of right-hand sides (the columns of the identity where
    they have no address), of as many matrices as a register has lanes a unit.
    """
    T, W, size = np.dtype(dtype).type, lanes(dtype), np.dtype(dtype).itemsize
    words, word = WORDS[dtype], np.dtype(WORDS[dtype]).type
    square, side, best = local(dtype, n * n * W), local(dtype, n * W), local(dtype, W)
    rows, places, failures = local(words, n * W), local(words, n * W), local(words, W)
    zero, one, factorise, substitute = T(0), T(1), _eliminator(dtype, n), _substituter(dtype, n)

    def body(task, x, b, made, lu, pivots, info, units, per, p):
        m, row, place, y, most, failed = square(), rows(), places(), side(), best(), failures()
        status = pointer(info, np.int32)
        for unit in range(task * per, min(units, (task + 1) * per)):
            first = unit * W
            live = min(W, p.items - first)
            for w in range(W):
                a = pointer(x + size * min(first + w, p.items - 1) * p.step, T)
                failed[w] = word(0)
                for i in range(n):
                    row[i * W + w] = word(i)
                    for j in range(n):
                        m[(i * n + j) * W + w] = a[i * p.row + j * p.col]
            factorise(m, row, place, most, failed)
            for w in range(live):
                status[first + w] = failed[w]
                chosen = pointer(pivots + 4 * (first + w) * n, np.int32)
                for i in range(n):
                    chosen[i] = place[i * W + w] + word(1)
                factors = pointer(lu + size * (first + w) * n * n, T)
                for i in range(n * n):
                    factors[i] = m[i * W + w]
            for c in range(p.N):
                for w in range(W):
                    at = min(first + w, p.items - 1) * p.b_step + c * p.b_col
                    given = pointer(b + size * at, T)
                    for i in range(n):
                        r = np.int64(row[i * W + w])
                        if b != 0:
                            y[i * W + w] = given[r * p.b_row]
                        else:
                            y[i * W + w] = one if r == c else zero
                substitute(m, y)
                for w in range(live):
                    out = pointer(made + size * ((first + w) * n * p.N + c), T)
                    for i in range(n):
                        out[i * p.N] = y[i * W + w]

    return body, ("i" * 8, Systems)


def lu(
    dtype: str, count: int, n: int, N: int, strides: Strides, b_strides: Strides
) -> Callable[..., None]:
    """``launch(x, b, made, lu, pivots, info)``: ``N`` right-hand sides a matrix; results row-major."""
    function, W = eliminate.build(dtype, n), lanes(dtype)
    args = Systems(count, N, *strides, *b_strides)
    return shared_out(function, args, -(-count // W), n * n * (n + 2 * N) + 16 * W)
