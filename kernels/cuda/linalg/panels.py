"""Panels: the columns of a matrix that LU and QR factorise one after the other, a block a matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.cuda.device.ptx import WARP, barrier, block, pointer, shared, thread
from tilegrad.kernels.cuda.linalg.triangles import note, threads_of
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.dtypes import vanishing
from tilegrad.kernels.formulas.field import field
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add

_D = np.float64


@inline
def larger(a, b):
    """Of two (magnitude, place) the larger, of equal ones the first."""
    first = a[0] > b[0] or (a[0] == b[0] and a[1] < b[1])
    return (a[0] if first else b[0], a[1] if first else b[1])


@inline
def largest(a, b):
    """The larger of two magnitudes; NaN stays."""
    return a if a > b or a != a else b


@kernel
def eliminate(dtype: str, threads: int) -> Source:
    """LU of m by n elements, n at most 32, in global memory: each thread takes rows.

    Parameters: a, pivots, info, m, n, strides, first row, pivots of a matrix.
    """
    T = np.dtype(dtype).type
    size, F, zero, one = np.dtype(dtype).itemsize, field(dtype), T(0), T(1)
    tiny, weight, quotient = F.part(np.finfo(dtype).tiny), F.size, F.quotient
    top, fold = shared(dtype, WARP, "top"), block_reduce(larger, "float64", threads, 2)

    def lu_panel(a, pivots, info, m, n, step, row_step, col_step, first, p_step):
        head, x = top(), pointer(a + size * block() * step, T)
        places = pointer(pivots + 4 * (block() * p_step + first), np.int32)
        failed = 0
        for k in range(min(m, n)):
            best, place = _D(-1), _D(k)
            for i in range(k + thread(), m, threads):
                heavy = _D(weight(x[i * row_step + k * col_step]))
                if heavy > best:
                    best, place = heavy, _D(i)
            best, place = fold((best, place))
            chosen = np.int64(place)
            for j in range(thread(), n, threads):
                p, q = k * row_step + j * col_step, chosen * row_step + j * col_step
                v = x[q]
                x[q] = x[p]
                x[p] = v
                head[j] = v
            barrier()
            pivot = head[k]
            if failed == 0 and pivot == zero:
                failed = first + k + 1
            if thread() == 0:
                places[k] = first + chosen + 1
            normal = weight(pivot) >= tiny
            inverse = quotient(one, pivot) if normal else one
            divisor = one if pivot == zero else pivot
            for i in range(k + 1 + thread(), m, threads):
                at = i * row_step
                v = x[at + k * col_step]
                v = v * inverse if normal else quotient(v, divisor)
                x[at + k * col_step] = v
                for j in range(k + 1, n):
                    x[at + j * col_step] = x[at + j * col_step] - v * head[j]
            barrier()
        if thread() == 0:
            note(pointer(info, np.int32), failed, first)

    return Source(lu_panel, "i" * 10, threads)


def panel(
    dtype: str, count: int, m: int, n: int, strides: Strides, first: int, pivots: int, buffer: int
) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.panels.panel`; no buffer is used."""
    function = eliminate.build(dtype, threads_of(dtype))
    run = bind(function, m, n, *strides, first, pivots, count, 1, 1)
    return lambda a, pivots, info, buffer: run(a, pivots, info)


@kernel
def exchange(dtype: str, back: bool, threads: int) -> Source:
    """Rows exchanged, a column a thread; ``back`` from the last on.

    Parameters: a, pivots, columns, blocks of columns, strides, pivots of a matrix, first, last.
    """
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def swap_rows(a, pivots, cols, blocks, step, row_step, col_step, p_step, first, last):
        item = block() // blocks
        c = (block() - item * blocks) * threads + thread()
        if c < cols:
            x = pointer(a + size * (item * step + c * col_step), T)
            places = pointer(pivots + 4 * item * p_step, np.int32)
            for r in range(first, last):
                k = last - 1 - (r - first) if back else r
                other = np.int64(places[k]) - 1
                if other != k:
                    v = x[k * row_step]
                    x[k * row_step] = x[other * row_step]
                    x[other * row_step] = v

    return Source(swap_rows, "i" * 10, threads)


def swaps(
    dtype: str, count: int, cols: int, strides: Strides, pivots: int, first: int, last: int,
    back: bool,
) -> Callable[..., None]:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.linalg.panels.swaps`."""
    threads = threads_of(dtype)
    blocks = -(-cols // threads)
    function = exchange.build(dtype, back, threads)
    return bind(function, cols, blocks, *strides, pivots, first, last, count * blocks, 1, 1)


@kernel
def reflections(dtype: str, threads: int) -> Source:
    """QR of m by n elements, n at most 32: a warp's lanes take the columns, warps take rows in turn. Norms
    in float64, scaled by their largest; see the CPU's.

    Parameters: a, tau, m, n, strides, taus of a matrix.
    """
    T = np.dtype(dtype).type
    size, warps, F = np.dtype(dtype).itemsize, threads // WARP, field(dtype)
    R, zero, wide, weight, square = F.part, T(0), F.wide, F.size, F.square
    conj, real, imag, tau_of, quotient = F.conj, F.real, F.imag, F.tau, F.quotient
    sums, unit = shared(dtype, threads, "sums"), F.wide(1)
    least, raised = _D(vanishing(dtype)), _D(1 / vanishing(dtype))
    high, fold = block_reduce(largest, "float64", threads), block_reduce(add, "float64", threads)

    def qr_panel(a, tau, m, n, step, row_step, col_step, t_step):
        w, x = sums(), pointer(a + size * block() * step, T)
        t = pointer(tau + size * block() * t_step, T)
        lane, warp = thread() % WARP, thread() // WARP
        for k in range(min(m, n)):
            top = _D(0)
            for i in range(k + 1 + thread(), m, threads):
                top = largest(weight(wide(x[i * row_step + k * col_step])), top)
            top = high(top)
            alpha = wide(x[k * row_step + k * col_step])
            lift = raised if max(weight(alpha), top) < least else _D(1)  # see the CPU's
            alpha, top, up = alpha * lift, top * lift, T(lift)
            total = _D(0)
            if top > _D(0):
                for i in range(k + 1 + thread(), m, threads):
                    total += square(wide(x[i * row_step + k * col_step]) * lift / top)
            length = top * sqrt(fold(total))
            over = max(weight(alpha), length)
            if length != _D(0) or imag(alpha) != _D(0):
                p = length / over
                beta = over * sqrt(square(alpha / over) + p * p)
                beta = beta if real(alpha) < _D(0) else -beta
                factor = T(tau_of(alpha, beta))
                scale, part = T(quotient(unit, alpha - beta)), zero
                j = lane
                if k < j and j < n:
                    for i in range(k + 1 + warp, m, warps):
                        at = i * row_step
                        part += conj(x[at + k * col_step] * up * scale) * x[at + j * col_step]
                barrier()
                w[thread()] = part
                barrier()
                if k < j and j < n:
                    total_j = x[k * row_step + j * col_step]
                    for s in range(warps):
                        total_j += w[s * WARP + lane]
                    total_j *= conj(factor)
                    row_part = total_j
                    for i in range(k + 1 + warp, m, warps):
                        at = i * row_step
                        v = x[at + k * col_step] * up * scale
                        x[at + j * col_step] = x[at + j * col_step] - v * row_part
                    part = total_j
                barrier()
                if k < j and j < n and warp == 0:
                    x[k * row_step + j * col_step] = x[k * row_step + j * col_step] - part
                for i in range(k + 1 + thread(), m, threads):
                    x[i * row_step + k * col_step] = x[i * row_step + k * col_step] * up * scale
                if thread() == 0:
                    x[k * row_step + k * col_step] = R(beta / lift)
                    t[k] = factor
            elif thread() == 0:
                t[k] = zero
            barrier()

    return Source(qr_panel, "i" * 8, threads)


def reflect(
    dtype: str, count: int, m: int, n: int, strides: Strides, tau: int, buffer: int
) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.panels.reflect`; no buffer is used."""
    function = reflections.build(dtype, threads_of(dtype))
    run = bind(function, m, n, *strides, tau, count, 1, 1)
    return lambda a, tau, buffer: run(a, tau)


@kernel
def couple(dtype: str) -> Source:
    """-T of 1 - V T V^H, a matrix a block of a warp, a row a thread.

    Parameters: V^H V, tau, -T, n, elements of a matrix, taus of a matrix.
    """
    T = np.dtype(dtype).type
    size, zero = np.dtype(dtype).itemsize, T(0)

    def t_factor(gram, tau, out, n, step, t_step):
        g, m = pointer(gram + size * block() * step, T), pointer(out + size * block() * step, T)
        t, i = pointer(tau + size * block() * t_step, T), thread()
        for k in range(n):
            if i < k:
                total = zero
                for j in range(i, k):
                    total += m[i * n + j] * g[j * n + k]
                m[i * n + k] = -total * t[k]
                m[k * n + i] = zero
            if i == k:
                m[k * n + k] = -t[k]

    return Source(t_factor, "i" * 6, WARP)


def triangle(dtype: str, count: int, n: int, step: int, tau: int) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.linalg.panels.triangle`."""
    return bind(couple.build(dtype), n, step, tau, count, 1, 1)
