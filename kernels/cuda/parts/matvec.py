"""Matrix times vector: groups of threads that share a row."""

from __future__ import annotations

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    barrier,
    block,
    block_y,
    load_vector,
    pointer,
    shared,
    thread,
)
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.strided import PER_AXIS, offset_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import DeviceFunction, Intrinsic, inline
from tilegrad.kernels.monoids import add


@inline
def whole_step(x, y, total):
    """``total + x * y`` of integers."""
    return total + x * y


def _step(dtype: str) -> DeviceFunction | Intrinsic:
    """How a product is added to a total: for floats rounded once."""
    return fma if dtypes.is_float(dtype) else whole_step


@kernel
def vectors(dtype: str, lanes: int, threads: int, vector: int, dims: int) -> Source:
    """``out[m] = sum over k of x[m, k] v[k]`` for a batch, ``lanes`` threads to a row.

    Parameters: addresses of x, v, out and bias (or 0), rows in all, M, K, the strides of x (rows,
    k), of v and of out, then the batch as three blocks of ``dims`` dimensions.
    """
    T = np.dtype(dtype).type
    A = np.dtype(dtypes.row(dtype).short).type
    fold = block_reduce(add, np.dtype(A).name, lanes)
    x_offset, v_offset = offset_of(dims, 0), offset_of(dims, PER_AXIS * dims)
    out_offset = offset_of(dims, 2 * PER_AXIS * dims)
    load, V, size = load_vector(vector), vector, np.dtype(dtype).itemsize
    step = _step(dtype)
    groups = threads // lanes

    @inline
    def times_vector(x_address, v_address, out_address, bias, rows, M, K, xm, xk, vk, om, t):
        lane = thread() % lanes
        r = block() * groups + thread() // lanes
        active = r < rows
        item = r // M if active else 0
        m = r - item * M if active else 0
        x_start = x_address + size * (x_offset(item, t) + m * xm)
        v_start = v_address + size * v_offset(item, t)
        x, v = pointer(x_start, T), pointer(v_start, T)
        a0 = a1 = a2 = a3 = A(0)
        end = K if active else 0
        if V > 1 and ((x_start | v_start) & (V * size - 1)) == 0:
            k = lane * V
            while k + V <= end:
                p, q = load(x, k), load(v, k)
                a0 = step(p[0], q[0], a0)
                a1 = step(p[1 % V], q[1 % V], a1)
                if V > 2:
                    a2 = step(p[2 % V], q[2 % V], a2)
                    a3 = step(p[3 % V], q[3 % V], a3)
                k += lanes * V
            while k < end:
                a0 = step(A(x[k]), A(v[k]), a0)
                k += 1
        else:
            k = lane
            while k + 3 * lanes < end:
                a0 = step(A(x[k * xk]), A(v[k * vk]), a0)
                a1 = step(A(x[(k + lanes) * xk]), A(v[(k + lanes) * vk]), a1)
                a2 = step(A(x[(k + 2 * lanes) * xk]), A(v[(k + 2 * lanes) * vk]), a2)
                a3 = step(A(x[(k + 3 * lanes) * xk]), A(v[(k + 3 * lanes) * vk]), a3)
                k += 4 * lanes
            while k < end:
                a0 = step(A(x[k * xk]), A(v[k * vk]), a0)
                k += lanes
        total = fold((a0 + a1) + (a2 + a3))
        if active and lane == 0:
            if bias != 0:
                total += A(pointer(bias, T)[0])
            pointer(out_address, T)[out_offset(item, t) + m * om] = T(total)

    count = 3 * PER_AXIS * dims
    return Source(unpack_params(times_vector, 11, count), "i" * (11 + count), threads)


@kernel
def tall_vectors(dtype: str, threads: int, dims: int) -> Source:
    """:func:`vectors` where the rows of x are neighbours in memory, not its columns.

    A block has 32 rows and threads / 32 for each; the grid's second index is the item of the batch.
    """
    T = np.dtype(dtype).type
    A = np.dtype(dtypes.row(dtype).short).type
    x_offset, v_offset = offset_of(dims, 0), offset_of(dims, PER_AXIS * dims)
    out_offset = offset_of(dims, 2 * PER_AXIS * dims)
    parts, step, depth = shared(np.dtype(A).name, threads, "rows"), _step(dtype), threads // WARP

    @inline
    def times_vector(x_address, v_address, out_address, bias, rows, M, K, xm, xk, vk, om, t):
        lane, part = thread() % WARP, thread() // WARP
        m, item = block() * WARP + lane, block_y()
        x, v = pointer(x_address, T), pointer(v_address, T)
        x_at, v_at = x_offset(item, t) + m * xm, v_offset(item, t)
        a0 = a1 = a2 = a3 = A(0)
        end = K if m < M else 0
        k = part
        while k + 3 * depth < end:
            a0 = step(A(x[x_at + k * xk]), A(v[v_at + k * vk]), a0)
            a1 = step(A(x[x_at + (k + depth) * xk]), A(v[v_at + (k + depth) * vk]), a1)
            a2 = step(A(x[x_at + (k + 2 * depth) * xk]), A(v[v_at + (k + 2 * depth) * vk]), a2)
            a3 = step(A(x[x_at + (k + 3 * depth) * xk]), A(v[v_at + (k + 3 * depth) * vk]), a3)
            k += 4 * depth
        while k < end:
            a0 = step(A(x[x_at + k * xk]), A(v[v_at + k * vk]), a0)
            k += depth
        held = parts()
        held[thread()] = (a0 + a1) + (a2 + a3)
        barrier()
        if part == 0 and m < M:
            total = held[lane]
            for j in range(1, depth):
                total += held[j * WARP + lane]
            if bias != 0:
                total += A(pointer(bias, T)[0])
            pointer(out_address, T)[out_offset(item, t) + m * om] = T(total)

    count = 3 * PER_AXIS * dims
    return Source(unpack_params(times_vector, 11, count), "i" * (11 + count), threads)
