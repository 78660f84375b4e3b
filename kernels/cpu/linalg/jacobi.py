"""Eigenvalues of symmetric matrices and singular values by rotations, a matrix a task, in float64 or
complex128.

Source: Golub, Van Loan, Matrix Computations (2013), 8.5 (cyclic Jacobi) and 8.6.3 (one-sided Jacobi).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.blocked import SPANNED, Sides, Strides
from tilegrad.kernels.cpu.linalg.triangles import shared_out
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.tuning import Linalg
from tilegrad.kernels.formulas.field import Field, across, field
from tilegrad.kernels.function import DeviceFunction, inline

_D = np.float64
_SWEEPS = Linalg.sweeps


def _rotation(F: Field) -> DeviceFunction:
    """``rotation(app, aqq, apq)``: (c, s) of the rotation that makes the element between p and q zero; c
    is real, and s has the phase of that element.
    """
    wide, magnitude = F.wide, F.magnitude

    @inline
    def rotation(app, aqq, apq):
        size = magnitude(apq)
        theta = (aqq - app) / (2.0 * size)
        t = 1.0 / (abs(theta) + math.sqrt(1.0 + theta * theta))
        if theta < 0.0:
            t = -t
        c = 1.0 / math.sqrt(1.0 + t * t)
        return c, wide(t * c) * (apq / size)

    return rotation


@kernel
def symmetric(dtype: str, bar: bool) -> Kernel:
    """A matrix, or its conjugate, a unit: eigenvalues in rising order, and vectors as columns."""
    T, size, F = np.dtype(dtype).type, np.dtype(dtype).itemsize, field(dtype)
    R, W, conj, real = F.part, F.wide, F.conj, F.real
    r_size, room_size, turn = np.dtype(R).itemsize, np.dtype(W).itemsize, _turner(F)

    def body(task, x, values, vectors, info, room, units, per, n, step, row, col):
        for item in range(task * per, min(units, (task + 1) * per)):
            given = pointer(x + size * item * step, T)
            a = pointer(room + room_size * 2 * item * n * n, W)
            v = pointer(room + room_size * (2 * item + 1) * n * n, W)
            w = pointer(values + r_size * item * n, R)
            out = pointer(vectors + size * item * n * n, T)
            for i in range(n):
                for j in range(i + 1):
                    e = W(given[i * row + j * col])
                    e = conj(e) if bar else e
                    a[i * n + j] = e
                    a[j * n + i] = conj(e)
                    v[i * n + j] = W(0)
                    v[j * n + i] = W(0)
                a[i * n + i] = W(real(a[i * n + i]))
                v[i * n + i] = W(1)
            pointer(info, np.int32)[item] = turn(a, v, n)
            for k in range(n):  # the k-th smallest next: rows of v are moved with it
                least = k
                for i in range(k + 1, n):
                    if real(a[i * n + i]) < real(a[least * n + least]):
                        least = i
                e = a[least * n + least]
                a[least * n + least] = a[k * n + k]
                a[k * n + k] = e
                w[k] = R(real(e))
                for i in range(n):
                    e = v[least * n + i]
                    v[least * n + i] = v[k * n + i]
                    v[k * n + i] = e
                    out[i * n + k] = T(e)

    return body, "i" * 11


def _turner(F: Field) -> DeviceFunction:
    """``turn(a, v, n)``: rotate until all that is not on the diagonal is nothing; 0, or 1 where that never
    comes.
    """
    zero, conj, real, square, rotation = F.wide(0), F.conj, F.real, F.square, _rotation(F)

    @inline
    def turn(a, v, n):
        for _ in range(_SWEEPS):
            off, whole = 0.0, 0.0
            for i in range(n):
                whole += square(a[i * n + i])
                for j in range(i):
                    off += square(a[i * n + j])
            if off <= 1e-31 * (whole + off):
                return 0
            for p in range(n - 1):
                for q in range(p + 1, n):
                    apq = a[p * n + q]
                    if apq != zero:
                        c, s = rotation(real(a[p * n + p]), real(a[q * n + q]), apq)
                        for k in range(n):  # columns, then rows
                            x, y = a[k * n + p], a[k * n + q]
                            a[k * n + p] = c * x - conj(s) * y
                            a[k * n + q] = s * x + c * y
                        for k in range(n):
                            x, y = a[p * n + k], a[q * n + k]
                            a[p * n + k] = c * x - s * y
                            a[q * n + k] = conj(s) * x + c * y
                            x, y = v[p * n + k], v[q * n + k]
                            v[p * n + k] = c * x - conj(s) * y
                            v[q * n + k] = s * x + c * y
                        a[p * n + q] = zero
                        a[q * n + p] = zero
        return 1

    return turn


def eigh(
    dtype: str, count: int, n: int, strides: Strides, conj: bool = False
) -> Callable[..., None]:
    """``launch(x, values, vectors, info, room)`` of the lower half, or its conjugate; ``room``: 2 n n wide
    numbers a matrix.
    """
    return shared_out(symmetric.build(dtype, conj), (n, *strides), count, 64 * n * n * n)


@kernel
def singular(dtype: str) -> Kernel:
    """A matrix of m by n elements, m not below n, a unit: left vectors as columns, singular values in
    falling order, right vectors as rows.
    """
    T, size, F = np.dtype(dtype).type, np.dtype(dtype).itemsize, field(dtype)
    R, W, conj, small = F.part, F.wide, F.conj, np.float64(np.finfo(dtype).tiny)
    r_size, room_size, align = np.dtype(R).itemsize, np.dtype(W).itemsize, _aligner(F)
    length_of, complete = _measure(F), _completer(F)

    def body(task, x, left, values, right, info, room, units, per, p):
        m, n = p.m, p.n
        for item in range(task * per, min(units, (task + 1) * per)):
            given = pointer(x + size * item * p.step, T)
            a = pointer(room + room_size * item * (m + n) * n, W)  # its columns, as rows
            v = pointer(room + room_size * (item * (m + n) + m) * n, W)
            w = pointer(values + r_size * item * n, R)
            u = pointer(left + size * item * p.l_step, T)
            vt = pointer(right + size * item * p.r_step, T)
            for j in range(n):
                for i in range(m):
                    a[j * m + i] = W(given[i * p.row + j * p.col])
                for i in range(n):
                    v[j * n + i] = W(1) if i == j else W(0)
            pointer(info, np.int32)[item] = align(a, v, m, n)
            top = 0.0
            for k in range(n):
                where, length = k, length_of(a, k, m)
                for j in range(k + 1, n):
                    other = length_of(a, j, m)
                    if other > length:
                        where, length = j, other
                _exchange(a, k, where, m)
                _exchange(v, k, where, n)
                top = max(top, length)
                w[k] = R(length)
                if length > 1e-15 * top * _D(m) and length > small:
                    for i in range(m):
                        a[k * m + i] = a[k * m + i] / length
                else:
                    complete(a, k, m)
                for i in range(m):
                    u[i * p.l_row + k * p.l_col] = T(a[k * m + i])
                for i in range(n):
                    vt[k * p.r_row + i * p.r_col] = T(conj(v[k * n + i]))

    return body, ("i" * 8, Sides)


def _measure(F: Field) -> DeviceFunction:
    """``length(a, j, m)`` of row ``j``."""
    size, square = F.size, F.square

    @inline
    def length(a, j, m):
        largest, total = 0.0, 0.0
        for i in range(m):
            e = size(a[j * m + i])
            if e > largest or e != e:
                largest = e
        if largest > 0.0:
            for i in range(m):
                total += square(a[j * m + i] / largest)
            return largest * math.sqrt(total)
        return largest

    return length


@inline
def _exchange(a, p, q, m):
    for i in range(m):
        e = a[p * m + i]
        a[p * m + i] = a[q * m + i]
        a[q * m + i] = e


def _completer(F: Field) -> DeviceFunction:
    """``complete(a, k, m)``: row ``k`` of length 1, across to the rows before it."""
    set_across, measure = across(F), _measure(F)

    @inline
    def complete(a, k, m):
        set_across(a, k, m)
        length = measure(a, k, m)
        for i in range(m):
            a[k * m + i] = a[k * m + i] / length

    return complete


def _aligner(F: Field) -> DeviceFunction:
    """``align(a, v, m, n)``: rotate rows of ``a`` in pairs until all are across to each other; 0, or 1 where
    that never comes. What is left of a row that others span shrinks by every rotation, until its square
    is 0 and no rotation moves it: before, it counts as across to them (``SPANNED``).
    """
    zero, conj, square, rotation = F.wide(0), F.conj, F.square, _rotation(F)
    magnitude = F.magnitude

    @inline
    def align(a, v, m, n):
        for _ in range(_SWEEPS):
            turned, least = 0, 1e-16 * (4.0 + math.sqrt(_D(m)))
            for p in range(n - 1):
                for q in range(p + 1, n):
                    app, aqq, apq = 0.0, 0.0, zero
                    for i in range(m):
                        x, y = a[p * m + i], a[q * m + i]
                        app += square(x)
                        aqq += square(y)
                        apq += conj(x) * y
                    bound = least * math.sqrt(app) * math.sqrt(aqq) + SPANNED * (app + aqq)
                    if not magnitude(apq) <= bound:
                        turned += 1
                        c, s = rotation(app, aqq, apq)
                        for i in range(m):
                            x, y = a[p * m + i], a[q * m + i]
                            a[p * m + i] = c * x - conj(s) * y
                            a[q * m + i] = s * x + c * y
                        for i in range(n):
                            x, y = v[p * n + i], v[q * n + i]
                            v[p * n + i] = c * x - conj(s) * y
                            v[q * n + i] = s * x + c * y
            if turned == 0:
                return 0
        return 1

    return align


def svd(
    dtype: str, count: int, m: int, n: int, strides: Strides, left: Strides, right: Strides
) -> Callable[..., None]:
    """``launch(x, left, values, right, info, room)``; ``room``: (m + n) n wide
    numbers a matrix.
    """
    args = Sides(m, n, *strides, *left, *right)
    return shared_out(singular.build(dtype), args, count, 64 * m * n * n)
