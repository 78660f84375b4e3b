"""Transforms of one dimension, as many at a time as a vector has lanes.

A task brings the elements of up to ``lanes`` transforms into its working memory (a row of two vectors an
element), passes the stages over it and writes the result. Where elements of neighbouring transforms, or of
one transform, lie side by side, both ends move whole vectors. Either end may multiply by a table of
factors: the four-step decomposition of long transforms and Bluestein's sums are made of such passes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.codelets import RADICES
from tilegrad.kernels.cpu.fft.pairs import (
    load_im,
    load_re,
    split_head,
    store_pairs,
    store_pairs_head,
)
from tilegrad.kernels.cpu.fft.stages import any_prime, stage
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer
from tilegrad.kernels.cpu.simd.vector import (
    broadcast,
    head,
    lanes,
    load,
    load_masked,
    splat,
    store,
    store_masked,
    transpose,
)
from tilegrad.kernels.fourier import PAIRS, REALS, ROWS
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Pass(NamedTuple):
    """A pass over a batch; strides are in reals. For ends see :class:`tilegrad.kernels.fourier.End`.

    Factors: real parts at the address, from the index on, imaginary ones ``plane`` elements later.
    """

    units: int  # blocks of lanes, of all outer places
    per: int  # units of a task
    lanes: int
    n: int
    outer: int  # dimensions outside; the table goes on with their sizes, strides and indices
    stages: int
    stage_table: int  # address: radix, m, s, first root, address of the radix's roots
    roots: int  # address
    swap: int  # 1: the inverse
    work: int  # bytes of a task's working memory
    x_mode: int
    x_step: int
    x_part: int
    x_lane: int
    x_limit: int
    x_index_k: int
    x_index_c: int
    x_index_j: int
    x_factor: int  # address or 0
    x_factor_plane: int
    x_factor_swap: int
    y_mode: int
    y_step: int
    y_part: int
    y_lane: int
    y_limit: int
    y_index_k: int
    y_index_c: int
    y_index_j: int
    y_factor: int
    y_factor_plane: int
    y_factor_swap: int


AT = places(Pass)


@inline
def there(left, index_j, count):
    """How many of ``count`` lanes have a part of an element, where ``left`` of the limit is left."""
    if index_j == 0:
        return count if left > 0 else 0
    return max(0, min(count, (left + index_j - 1) // index_j))


def loaders(dtype: str) -> tuple[DeviceFunction, DeviceFunction]:
    """``(gather, gather_rows)``: elements to working memory."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    zero = T(0)

    @inline
    def gather_part(x, base, work, row, number, p):
        """One part of an element, of the first ``number`` lanes; zeros beyond."""
        if p[AT.x_mode] == REALS:
            if number == W:
                store(work, row, load(x, base))
            else:
                store(work, row, load_masked(x, base, head(T, number), splat(zero)))
        else:
            for j in range(W):
                work[row + j] = x[base + j * p[AT.x_lane]] if j < number else zero

    @inline
    def gather(x, base, index, count, work, p):
        step, part, mode = p[AT.x_step], p[AT.x_part], p[AT.x_mode]
        left, index_k = p[AT.x_limit] - index, p[AT.x_index_k]
        index_c, index_j = p[AT.x_index_c], p[AT.x_index_j]
        for k in range(p[AT.n]):
            at, row = base + k * step, 2 * W * k
            number = there(left - k * index_k, index_j, count)
            if mode == PAIRS:
                if number == W:
                    store(work, row, load_re(x, at))
                    store(work, row + W, load_im(x, at))
                else:
                    split_head(x, at, work, row, number)
            else:
                gather_part(x, at, work, row, number, p)
                number = there(left - k * index_k - index_c, index_j, count)
                gather_part(x, at + part, work, row + W, number if part else 0, p)

    @inline
    def gather_rows(x, base, count, work, p):
        """Rows of neighbouring reals, transposed; ``spread`` is 2 where there are no imaginary parts."""
        lane, limit = p[AT.x_lane], p[AT.x_limit]
        spread = 1 if p[AT.x_part] else 2
        whole = limit - limit % W if count > 2 else 0
        for i in range(0, whole, W):
            transpose(x, base + i, lane, count, work, i * spread * W, spread * W)
        for i in range(whole, limit):
            store(work, i * spread * W, splat(zero))
            for j in range(count):
                work[i * spread * W + j] = x[base + i + j * lane]
        for i in range(limit, 2 * p[AT.n] // spread):
            store(work, i * spread * W, splat(zero))
        if spread == 2:
            for k in range(p[AT.n]):
                store(work, 2 * W * k + W, splat(zero))

    return gather, gather_rows


def storers(dtype: str) -> tuple[DeviceFunction, DeviceFunction]:
    """``(scatter, scatter_rows)``: working memory to elements."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    square = local(dtype, W * W)

    @inline
    def scatter_part(y, base, work, row, number, p):
        if p[AT.y_mode] == REALS:
            if number == W:
                store(y, base, load(work, row))
            else:
                store_masked(y, base, load(work, row), head(T, number))
        else:
            for j in range(number):
                y[base + j * p[AT.y_lane]] = work[row + j]

    @inline
    def scatter(y, base, index, count, work, p):
        step, part, mode = p[AT.y_step], p[AT.y_part], p[AT.y_mode]
        left, index_k = p[AT.y_limit] - index, p[AT.y_index_k]
        index_c, index_j = p[AT.y_index_c], p[AT.y_index_j]
        for k in range(p[AT.n]):
            at, row = base + k * step, 2 * W * k
            number = there(left - k * index_k, index_j, count)
            if mode == PAIRS:
                if number == W:
                    store_pairs(y, at, load(work, row), load(work, row + W))
                elif number:
                    store_pairs_head(y, at, load(work, row), load(work, row + W), number)
            else:
                scatter_part(y, at, work, row, number, p)
                if part:
                    number = there(left - k * index_k - index_c, index_j, count)
                    scatter_part(y, at + part, work, row + W, number, p)

    @inline
    def scatter_rows(y, base, count, work, p):
        tile = square()
        lane, limit = p[AT.y_lane], p[AT.y_limit]
        spread = 1 if p[AT.y_part] else 2
        whole = limit - limit % W if count > 2 else 0
        for i in range(0, whole, W):
            if count == W:
                transpose(work, i * spread * W, spread * W, W, y, base + i, lane)
            else:
                transpose(work, i * spread * W, spread * W, W, tile, 0, W)
                for j in range(count):
                    store(y, base + i + j * lane, load(tile, j * W))
        for i in range(whole, limit):
            for j in range(count):
                y[base + i + j * lane] = work[i * spread * W + j]

    return scatter, scatter_rows


def between(dtype: str) -> tuple[DeviceFunction, DeviceFunction]:
    """``(multiply, scale_all)`` of rows in working memory."""
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def multiply(work, n, address, index, step, lane, plane, swap, packed):
        """``packed`` is 1 where indices count reals, two of which are a number."""
        factors = pointer(address, T)
        re, im = swap * W, W - swap * W
        index, step, lane = index >> packed, step >> packed, lane >> packed
        for k in range(n):
            row, at = 2 * W * k, index + k * step
            if lane:
                c, s = load(factors, at), load(factors, at + plane)
            else:
                c, s = broadcast(factors, at), broadcast(factors, at + plane)
            a, b = load(work, row + re), load(work, row + im)
            store(work, row + re, a * c - b * s)
            store(work, row + im, a * s + b * c)

    @inline
    def scale_all(work, n, scale):
        by = splat(scale)
        for i in range(0, 2 * W * n, W):
            store(work, i, load(work, i) * by)

    return multiply, scale_all


def all_stages(dtype: str) -> DeviceFunction:
    """``run(a, b, p)``: the stages, from one working memory to the other in turn; 1 if the result is in
    ``b``.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    two, three, four, five, seven, eight, nine = [stage(r) for r in RADICES]
    prime = any_prime(dtype)

    @inline
    def run(a, b, p):
        table = pointer(p[AT.stage_table], np.int64)
        re, im = p[AT.swap] * W, W - p[AT.swap] * W
        for i in range(p[AT.stages]):
            radix, m, s = table[5 * i], table[5 * i + 1], table[5 * i + 2]
            roots = pointer(p[AT.roots] + table[5 * i + 3], T)
            if radix == 8:
                eight(a, b, roots, m, s, re, im)
            elif radix == 4:
                four(a, b, roots, m, s, re, im)
            elif radix == 2:
                two(a, b, roots, m, s, re, im)
            elif radix == 3:
                three(a, b, roots, m, s, re, im)
            elif radix == 5:
                five(a, b, roots, m, s, re, im)
            elif radix == 7:
                seven(a, b, roots, m, s, re, im)
            elif radix == 9:
                nine(a, b, roots, m, s, re, im)
            else:
                turns = pointer(table[5 * i + 4], T)
                prime(a, b, roots, m, s, re, im, radix, turns)
            a, b = b, a
        return p[AT.stages] & 1

    return run


@kernel
def batch(dtype: str) -> Kernel:
    """A :class:`Pass`; ``table`` is the address of its fields and what follows them. ``scale`` multiplies
    the result.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    size, fields = np.dtype(dtype).itemsize, len(Pass._fields)
    gather, gather_rows = loaders(dtype)
    scatter, scatter_rows = storers(dtype)
    multiply, scale_all = between(dtype)
    stages = all_stages(dtype)

    def body(task, x, y, scratch, table, scale):
        p = pointer(table, np.int64)
        dims = pointer(table + 8 * fields, np.int64)
        source, target = pointer(x, T), pointer(y, T)
        n, outer = p[AT.n], p[AT.outer]
        start = scratch + task * p[AT.work]
        other = start + 2 * W * n * size
        blocks = (p[AT.lanes] + W - 1) // W
        for unit in range(task * p[AT.per], min(p[AT.units], (task + 1) * p[AT.per])):
            a, b = pointer(start, T), pointer(other, T)
            place = unit // blocks
            first = (unit - place * blocks) * W
            count = min(W, p[AT.lanes] - first)
            at, to = first * p[AT.x_lane], first * p[AT.y_lane]
            x_index, y_index = first * p[AT.x_index_j], first * p[AT.y_index_j]
            for d in range(outer - 1, -1, -1):
                rest = place // dims[d]
                i = place - rest * dims[d]
                at += i * dims[outer + d]
                to += i * dims[2 * outer + d]
                x_index += i * dims[3 * outer + d]
                y_index += i * dims[4 * outer + d]
                place = rest
            if p[AT.x_mode] == ROWS:
                gather_rows(source, at, count, a, p)
            else:
                gather(source, at, x_index, count, a, p)
            if p[AT.x_factor]:
                multiply(
                    a, n, p[AT.x_factor], x_index, p[AT.x_index_k], p[AT.x_index_j],
                    p[AT.x_factor_plane], p[AT.x_factor_swap], p[AT.x_index_c],
                )  # fmt: skip
            if stages(a, b, p):
                a = b
            if p[AT.y_factor]:
                multiply(
                    a, n, p[AT.y_factor], y_index, p[AT.y_index_k], p[AT.y_index_j],
                    p[AT.y_factor_plane], p[AT.y_factor_swap], p[AT.y_index_c],
                )  # fmt: skip
            if scale != 1.0:
                scale_all(a, n, T(scale))
            if p[AT.y_mode] == ROWS:
                scatter_rows(target, to, count, a, p)
            else:
                scatter(target, to, y_index, count, a, p)

    return body, "iiiid"
