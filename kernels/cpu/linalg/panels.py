"""Panels: the columns of a matrix that LU and QR factorise one after the other, between products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.cpu.linalg.triangles import note, shared_out
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import Linalg
from tilegrad.kernels.dtypes import vanishing
from tilegrad.kernels.formulas.field import field
from tilegrad.kernels.function import DeviceFunction, inline


@inline
def _copy(x, x_row, x_col, y, y_row, y_col, rows, cols):
    for i in range(rows):
        for j in range(cols):
            y[i * y_row + j * y_col] = x[i * x_row + j * x_col]


class Panel(NamedTuple):
    """Sizes of panels, their strides, the first row and column, what lies between pivots and buffers."""

    m: int
    n: int
    step: int
    row: int
    col: int
    first: int
    pivots: int
    buffer: int


@kernel
def eliminate(dtype: str) -> Kernel:
    """LU of m by n elements, n at most ``Linalg.panel``, a matrix a unit: packed first, so that its rows
    do not evict each other from the cache.
    """
    T = np.dtype(dtype).type
    size, F = np.dtype(dtype).itemsize, field(dtype)
    zero, one, tiny, least = T(0), T(1), F.part(np.finfo(dtype).tiny), F.part(-1)
    top, weight, quotient = local(dtype, Linalg.panel), F.size, F.quotient

    def body(task, a, pivots, info, buffer, units, per, p):
        head, m, n = top(), p.m, p.n
        for item in range(task * per, min(units, (task + 1) * per)):
            x = pointer(a + size * item * p.step, T)
            y = pointer(buffer + size * item * p.buffer, T)
            places = pointer(pivots + 4 * (item * p.pivots + p.first), np.int32)
            _copy(x, p.row, p.col, y, n, 1, m, n)
            failed, place, best = 0, 0, weight(y[0])
            for i in range(1, m):
                v = weight(y[i * n])
                if v > best:
                    best, place = v, i
            for k in range(min(m, n)):
                places[k] = p.first + place + 1
                for j in range(n):
                    v = y[place * n + j]
                    y[place * n + j] = y[k * n + j]
                    y[k * n + j] = v
                    head[j] = v
                pivot = head[k]
                if pivot == zero and failed == 0:
                    failed = p.first + k + 1
                normal = weight(pivot) >= tiny
                inverse = quotient(one, pivot) if normal else one
                divisor = one if pivot == zero else pivot
                place, best = k + 1, least
                for i in range(k + 1, m):
                    at = i * n
                    v = y[at + k]
                    v = v * inverse if normal else quotient(v, divisor)
                    y[at + k] = v
                    for j in range(k + 1, n):
                        write(y, at + j, y[at + j] - v * read(head, j))
                    if k + 1 < n:
                        w = weight(y[at + k + 1])
                        if w > best:
                            best, place = w, i
            _copy(y, n, 1, x, p.row, p.col, m, n)
            note(pointer(info, np.int32), item, failed, p.first)

    return body, ("i" * 6, Panel)


def panel(
    dtype: str, count: int, m: int, n: int, strides: Strides, first: int, pivots: int, buffer: int
) -> Callable[..., None]:
    """``launch(a, pivots, info, buffer)`` of the LU of panels, whose first element is (first, first) of
    their matrices; ``pivots`` and ``buffer``: what lies between those of two matrices.
    """
    args = Panel(m, n, *strides, first, pivots, buffer)
    return shared_out(eliminate.build(dtype), args, count, max(16, m * n * n // 4))


@kernel
def exchange(dtype: str, back: bool) -> Kernel:
    """Rows exchanged, over ``Linalg.swapped`` columns of a matrix a unit; ``back`` from the last on."""
    T = np.dtype(dtype).type
    size, most = np.dtype(dtype).itemsize, Linalg.swapped

    def body(task, a, pivots, units, per, cols, step, row, col, p_step, first, last):
        blocks = (cols + most - 1) // most
        for unit in range(task * per, min(units, (task + 1) * per)):
            item = unit // blocks
            start = (unit - item * blocks) * most
            w = min(most, cols - start)
            x = pointer(a + size * (item * step + start * col), T)
            places = pointer(pivots + 4 * item * p_step, np.int32)
            for r in range(first, last):
                k = last - 1 - (r - first) if back else r
                other = np.int64(places[k]) - 1
                if other != k:
                    p, q = k * row, other * row
                    if col == 1:
                        for j in range(w):
                            v = read(x, p + j)
                            write(x, p + j, read(x, q + j))
                            write(x, q + j, v)
                    else:
                        for j in range(w):
                            v = x[p + j * col]
                            x[p + j * col] = x[q + j * col]
                            x[q + j * col] = v

    return body, "i" * 11


def swaps(
    dtype: str, count: int, cols: int, strides: Strides, pivots: int, first: int, last: int,
    back: bool,
) -> Callable[..., None]:  # fmt: skip
    """``launch(a, pivots)``: row k exchanged with row ``pivots[k]`` (from 1), for k from ``first`` to
    ``last`` in order, or ``back``.
    """
    blocks = -(-cols // Linalg.swapped)
    args = (cols, *strides, pivots, first, last)
    work = (last - first) * min(cols, Linalg.swapped)
    return shared_out(exchange.build(dtype, back), args, count * blocks, work)


@kernel
def reflections(dtype: str) -> Kernel:
    """QR of m by n elements, n at most ``Linalg.panel``, a matrix a unit: H_k^H = 1 - conj(tau) v v^H makes
    column k real on the diagonal and zero below it, where v is kept; its first element is 1.

    Source: Golub, Van Loan, Matrix Computations (2013), 5.1; norms in float64, scaled by their largest; of
    complex numbers LAPACK's zlarfg.
    """
    T, F = np.dtype(dtype).type, field(dtype)
    size, sums, below = np.dtype(dtype).itemsize, local(dtype, Linalg.panel), _below(dtype)
    zero, one, R = T(0), T(1), F.part
    conj, real, imag, tau_of, quotient = F.conj, F.real, F.imag, F.tau, F.quotient
    least, raised = np.float64(vanishing(dtype)), np.float64(1 / vanishing(dtype))

    def body(task, a, tau, buffer, units, per, m, n, s, t_step, y_step):
        w = sums()
        for item in range(task * per, min(units, (task + 1) * per)):
            x = pointer(a + size * item * s.step, T)
            y = pointer(buffer + size * item * y_step, T)
            t = pointer(tau + size * item * t_step, T)
            _copy(x, s.row, s.col, y, n, 1, m, n)
            for k in range(min(m, n)):
                alpha = y[k * n + k]
                largest, root = below(y, n, k, m)
                re, im = np.float64(real(alpha)), np.float64(imag(alpha))
                # of what is so small 1 over it may be infinite, and its length has few bits
                lift = raised if max(abs(re), abs(im), largest) < least else 1.0
                re, im, length, up = re * lift, im * lift, largest * lift * root, T(lift)
                if length == 0.0 and im == 0.0:
                    t[k] = zero
                else:
                    beta = -math.copysign(_hypot(_hypot(re, im), length), re)
                    high = R(beta)
                    t[k] = tau_of(alpha * up, high)
                    factor = conj(t[k])
                    scale = quotient(one, alpha * up - high)
                    for j in range(k + 1, n):
                        w[j] = y[k * n + j]
                    for i in range(k + 1, m):
                        at = i * n
                        v = y[at + k] * up * scale
                        y[at + k] = v
                        for j in range(k + 1, n):
                            write(w, j, w[j] + conj(v) * read(y, at + j))
                    y[k * n + k] = R(beta / lift)
                    for j in range(k + 1, n):
                        w[j] = w[j] * factor
                        y[k * n + j] = y[k * n + j] - w[j]
                    for i in range(k + 1, m):
                        at = i * n
                        v = y[at + k]
                        for j in range(k + 1, n):
                            write(y, at + j, y[at + j] - v * read(w, j))
            _copy(y, n, 1, x, s.row, s.col, m, n)

    return body, ("i" * 7, Strides, "ii")


def _below(dtype: str) -> DeviceFunction:
    """The largest element of column ``k`` of ``y`` below the diagonal, and the column's length over that."""
    F = field(dtype)
    wide, weight, square = F.wide, F.size, F.square

    @inline
    def below(y, n, k, m):
        largest = 0.0
        for i in range(k + 1, m):
            v = weight(wide(y[i * n + k]))
            if v > largest or v != v:
                largest = v
        total = 0.0
        if largest > 0.0:
            for i in range(k + 1, m):
                total += square(wide(y[i * n + k]) / largest)
        return largest, math.sqrt(total)

    return below


@inline
def _hypot(a, b):
    high, low = max(abs(a), abs(b)), min(abs(a), abs(b))
    return high * math.sqrt(1.0 + (low / high) * (low / high)) if high > 0.0 else high + low


def reflect(
    dtype: str, count: int, m: int, n: int, strides: Strides, tau: int, buffer: int
) -> Callable[..., None]:
    """``launch(a, tau, buffer)`` of the QR of panels, in place."""
    args = (m, n, *strides, tau, buffer)
    return shared_out(reflections.build(dtype), args, count, max(16, m * n * n // 2))


@kernel
def couple(dtype: str) -> Kernel:
    """-T of 1 - V T V^H, a matrix a unit, from V^H V and tau.

    Source: Schreiber, Van Loan, A Storage-Efficient WY Representation (1989).
    """
    T = np.dtype(dtype).type
    size, zero = np.dtype(dtype).itemsize, T(0)

    def body(task, gram, tau, out, units, per, n, step, t_step):
        for item in range(task * per, min(units, (task + 1) * per)):
            g = pointer(gram + size * item * step, T)
            t = pointer(tau + size * item * t_step, T)
            m = pointer(out + size * item * step, T)
            for k in range(n):
                for i in range(k):
                    total = zero
                    for j in range(i, k):
                        total += m[i * n + j] * g[j * n + k]
                    m[i * n + k] = -total * t[k]
                    m[k * n + i] = zero
                m[k * n + k] = -t[k]

    return body, "i" * 8


def triangle(dtype: str, count: int, n: int, step: int, tau: int) -> Callable[..., None]:
    """``launch(gram, tau, t)``; ``step`` between matrices, ``tau`` between their factors."""
    return shared_out(couple.build(dtype), (n, step, tau), count, max(16, n * n * n // 6))
