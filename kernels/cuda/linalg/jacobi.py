"""Eigenvalues of symmetric matrices and singular values by rotations, a matrix a block, in float64 or complex128
in global memory; see :mod:`tilegrad.kernels.cpu.linalg.jacobi`. Pairs are turned one after the other, each by all
threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.blocked import SPANNED, Sides, Strides
from tilegrad.kernels.cuda.device.ptx import barrier, block, pointer, shared, thread
from tilegrad.kernels.cuda.linalg.triangles import threads_of
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import SWEEPS
from tilegrad.kernels.dtypes import row
from tilegrad.kernels.formulas.field import Field, across, field
from tilegrad.kernels.formulas.pair import paired
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add

_D = np.float64


def _rotation(F: Field) -> DeviceFunction:
    """See the CPU's."""
    wide, magnitude = F.wide, F.magnitude

    @inline
    def rotation(app, aqq, apq):
        size = magnitude(apq)
        theta = (aqq - app) / (_D(2) * size)
        t = _D(1) / (abs(theta) + sqrt(_D(1) + theta * theta))
        t = -t if theta < _D(0) else t
        c = _D(1) / sqrt(_D(1) + t * t)
        return c, wide(t * c) * (apq / size)

    return rotation


@kernel
def symmetric(dtype: str, bar: bool, threads: int) -> Source:
    """Parameters: x, values, vectors, codes, room for two matrices of wide numbers, n, strides."""
    T, size, F = np.dtype(dtype).type, np.dtype(dtype).itemsize, field(dtype)
    R, W, conj, real, square = F.part, F.wide, F.conj, F.real, F.square
    r_size, room_size, zero = np.dtype(R).itemsize, np.dtype(W).itemsize, W(0)
    fold, rotation = block_reduce(add, "float64", threads), _rotation(F)

    def eigenvalues(x, values, vectors, info, room, n, step, row_step, col_step):
        given = pointer(x + size * block() * step, T)
        a = pointer(room + room_size * 2 * block() * n * n, W)
        v = pointer(room + room_size * (2 * block() + 1) * n * n, W)
        w = pointer(values + r_size * block() * n, R)
        out = pointer(vectors + size * block() * n * n, T)
        for i in range(n):
            for j in range(thread(), n, threads):
                low, high = max(i, j), min(i, j)
                e = W(given[low * row_step + high * col_step])
                e = e if (j < i) != bar else conj(e)
                a[i * n + j] = e if i != j else W(real(e))
                v[i * n + j] = W(1) if i == j else zero
        barrier()
        code, sweep = 1, 0
        while code == 1 and sweep < SWEEPS:
            sweep += 1
            off, whole = _D(0), _D(0)
            for i in range(thread(), n, threads):
                whole += square(a[i * n + i])
                for j in range(i):
                    off += square(a[i * n + j])
            off, whole = fold(off), fold(whole)
            if off <= _D(1e-31) * (whole + off):
                code = 0
            else:
                for p in range(n - 1):
                    for q in range(p + 1, n):
                        app, aqq, apq = real(a[p * n + p]), real(a[q * n + q]), a[p * n + q]
                        barrier()
                        if apq != zero:
                            c, s = rotation(app, aqq, apq)
                            for k in range(thread(), n, threads):
                                e, f = a[k * n + p], a[k * n + q]
                                a[k * n + p] = c * e - conj(s) * f
                                a[k * n + q] = s * e + c * f
                            barrier()
                            for k in range(thread(), n, threads):
                                e, f = a[p * n + k], a[q * n + k]
                                a[p * n + k] = c * e - s * f
                                a[q * n + k] = conj(s) * e + c * f
                                e, f = v[p * n + k], v[q * n + k]
                                v[p * n + k] = c * e - conj(s) * f
                                v[q * n + k] = s * e + c * f
                            barrier()
                            if thread() == 0:
                                a[p * n + q] = zero
                                a[q * n + p] = zero
                            barrier()
        if thread() == 0:
            pointer(info, np.int32)[block()] = code
        for k in range(thread(), n, threads):
            e, place = real(a[k * n + k]), 0
            for j in range(n):
                f = real(a[j * n + j])
                if f < e or (f == e and j < k):
                    place += 1
            w[place] = R(e)
            for i in range(n):
                out[i * n + place] = T(v[k * n + i])

    return Source(eigenvalues, "i" * 9, threads)


def eigh(
    dtype: str, count: int, n: int, strides: Strides, conj: bool = False
) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.jacobi.eigh`."""
    function = symmetric.build(dtype, conj, threads_of(dtype))
    return bind(function, n, *strides, count, 1, 1)


def _completer(F: Field) -> DeviceFunction:
    """``complete(a, k, m)``: row ``k`` of length 1, across to the rows before it, by one thread: it is rarely
    needed.
    """
    set_across, square = across(F), F.square

    @inline
    def complete(a, k, m):
        set_across(a, k, m)
        total = _D(0)
        for i in range(m):
            total += square(a[k * m + i])
        for i in range(m):
            a[k * m + i] = a[k * m + i] / sqrt(total)

    return complete


def _whole(dtype: str, threads: int) -> DeviceFunction:
    """The sum over all threads: of complex numbers of each part."""
    fold = block_reduce(add, "float64", threads)
    if row(dtype).kind != "c":
        return fold

    @inline
    def whole(z):
        return paired(fold(z.real), fold(z.imag))

    return whole


@kernel
def singular(dtype: str, threads: int) -> Source:
    """Parameters: x, left vectors, values, right vectors, codes, room for (m + n) n wide numbers a matrix, m,
    n, strides of x, left and right.
    """
    T, size, F = np.dtype(dtype).type, np.dtype(dtype).itemsize, field(dtype)
    R, W, conj, square, magnitude = F.part, F.wide, F.conj, F.square, F.magnitude
    r_size, room_size, zero = np.dtype(R).itemsize, np.dtype(W).itemsize, W(0)
    rotation, complete, whole = _rotation(F), _completer(F), _whole(dtype, threads)
    small, fold = _D(np.finfo(dtype).tiny), block_reduce(add, "float64", threads)
    chosen = shared("int64", 1, "chosen")

    def singular_values(x, left, values, right, info, room, sides):
        m, n = sides.m, sides.n
        given = pointer(x + size * block() * sides.step, T)
        a = pointer(room + room_size * block() * (m + n) * n, W)
        v = pointer(room + room_size * (block() * (m + n) + m) * n, W)
        w = pointer(values + r_size * block() * n, R)
        u, vt = (
            pointer(left + size * block() * sides.l_step, T),
            pointer(right + size * block() * sides.r_step, T),
        )
        held = chosen()
        for j in range(n):
            for i in range(thread(), m, threads):
                a[j * m + i] = W(given[i * sides.row + j * sides.col])
            for i in range(thread(), n, threads):
                v[j * n + i] = W(1) if i == j else zero
        barrier()
        code, sweep = 1, 0
        while code == 1 and sweep < SWEEPS:
            sweep += 1
            turned, least = 0, _D(1e-16) * (_D(4) + sqrt(_D(m)))
            for p in range(n - 1):
                for q in range(p + 1, n):
                    app, aqq, apq = _D(0), _D(0), zero
                    for i in range(thread(), m, threads):
                        e, f = a[p * m + i], a[q * m + i]
                        app += square(e)
                        aqq += square(f)
                        apq += conj(e) * f
                    app, aqq, apq = fold(app), fold(aqq), whole(apq)
                    bound = least * sqrt(app) * sqrt(aqq) + _D(SPANNED) * (app + aqq)
                    if not magnitude(apq) <= bound:
                        turned += 1
                        c, s = rotation(app, aqq, apq)
                        for i in range(thread(), m, threads):
                            e, f = a[p * m + i], a[q * m + i]
                            a[p * m + i] = c * e - conj(s) * f
                            a[q * m + i] = s * e + c * f
                        for i in range(thread(), n, threads):
                            e, f = v[p * n + i], v[q * n + i]
                            v[p * n + i] = c * e - conj(s) * f
                            v[q * n + i] = s * e + c * f
            if turned == 0:
                code = 0
        if thread() == 0:
            pointer(info, np.int32)[block()] = code
        top = _D(0)
        for k in range(n):  # the k-th largest next
            where, length = k, _D(-1)
            for j in range(k, n):
                total = _D(0)
                for i in range(thread(), m, threads):
                    total += square(a[j * m + i])
                total = sqrt(fold(total))
                if total > length:
                    where, length = j, total
            barrier()
            if where != k:
                for i in range(thread(), m, threads):
                    e = a[k * m + i]
                    a[k * m + i] = a[where * m + i]
                    a[where * m + i] = e
                for i in range(thread(), n, threads):
                    e = v[k * n + i]
                    v[k * n + i] = v[where * n + i]
                    v[where * n + i] = e
            barrier()
            top = max(top, length)
            if length > _D(1e-15) * top * _D(m) and length > small:
                for i in range(thread(), m, threads):
                    a[k * m + i] = a[k * m + i] / length
            elif thread() == 0:
                held[0] = k
                complete(a, k, m)
            barrier()
            if thread() == 0:
                w[k] = R(max(length, _D(0)))
            for i in range(thread(), m, threads):
                u[i * sides.l_row + k * sides.l_col] = T(a[k * m + i])
            for i in range(thread(), n, threads):
                vt[k * sides.r_row + i * sides.r_col] = T(conj(v[k * n + i]))

    return Source(singular_values, ("i" * 6, Sides), threads)


def svd(
    dtype: str, count: int, m: int, n: int, strides: Strides, left: Strides, right: Strides
) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.jacobi.svd`."""
    function = singular.build(dtype, threads_of(dtype))
    return bind(function, m, n, *strides, *left, *right, count, 1, 1)
