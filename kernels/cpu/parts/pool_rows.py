"""Pools of neighbouring inputs at steps of one or two, with outputs in the lanes.

The rows of a window are first combined into one row, then the columns of that row: an output costs
about the sum of the window's sides, not their product. The combined row is kept between margins
that hold the padding, so that no lane needs a check.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.emit import llvm_vector, load_value, shuffle_value
from tilegrad.kernels.cpu.simd.memory import local, pointer
from tilegrad.kernels.cpu.simd.vector import (
    full_vector,
    head,
    lanes,
    load,
    load_masked,
    select,
    splat,
    store,
    store_masked,
)
from tilegrad.kernels.function import DeviceFunction, Intrinsic, inline, intrinsic
from tilegrad.kernels.window import Window

# Places in the plan, after the window without its dilation.
SIZE, KERNEL, OUT, STRIDE, BEFORE, LENGTH, SHARES_D, SHARES_H, SHARES_W = (
    0, 3, 6, 9, 12, 15, 16, 17, 18,
)  # fmt: skip


def suits(window: Window) -> bool:
    """Whether these kernels do this window."""
    rows_are_exact = window.size[0] * window.size[1] < 1 << 24  # as numbers of type float32
    return rows_are_exact and window.stride[2] in (1, 2) and window.dilation == (1, 1, 1)


def row_length(dtype: str, window: Window) -> int:
    """Elements of a combined row with its margins, and what the last vectors read beyond it."""
    reach = (window.out[2] - 1) * window.stride[2] + window.kernel[2]
    used = max(reach, window.before[2] + window.size[2]) + (window.stride[2] + 1) * lanes(dtype)
    return -(-used // 16) * 16


@lru_cache(maxsize=None)
def every(stride: int) -> Intrinsic:
    """``every(stride)(p, i)``: the vector of elements ``i, i + stride, …``; the stride is 1 or 2."""

    def emitter(typing, p, i):
        from numba import types

        vector = full_vector(p.dtype)

        def codegen(context, builder, sig, args):
            kind, at = llvm_vector(vector), builder.gep(args[0], [args[1]])
            first = load_value(builder, at, kind)
            if stride == 1:
                return first
            second = load_value(builder, builder.gep(at, [args[1].type(kind.count)]), kind)
            return shuffle_value(builder, first, second, list(range(0, 2 * kind.count, 2)))

        return vector(p, types.intp), codegen

    emitter.__name__ = f"every_{stride}"
    return intrinsic(emitter)


@inline
def _fill(p, count, value, W):
    for i in range(0, count, W):
        store(p, i, splat(value))


def _row_combiner(dtype: str, indexed: bool) -> DeviceFunction:
    """The device function ``combine(x, start, width, best, rows, at, row, first)`` of :func:`max_rows`."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    lowest, nowhere = T(-math.inf), T(math.inf)

    @inline
    def combine(x, start, width, best, rows, at, row, first):
        """Take the row of ``x`` at ``start`` into ``best``, its number into ``rows``."""
        for i in range(0, width, W):
            inside = head(T, width - i)
            value = load_masked(x, start + i, inside, splat(lowest))
            if first:
                store(best, at + i, value)
                if indexed:
                    store(rows, at + i, select(inside, splat(row), splat(nowhere)))
            else:
                before = load(best, at + i)
                taken = (value > before) | (value != value)
                store(best, at + i, select(taken, value, before))
                if indexed:
                    store(rows, at + i, select(taken, splat(row), load(rows, at + i)))

    return combine


@kernel
def max_rows(dtype: str, indexed: bool, stride: int) -> Kernel:
    """The largest element of each window and, if ``indexed``, its place in the plane (int64).

    A NaN is the largest. Among equals the first of the plane is taken, among NaNs the last: a
    column's candidate comes with its row, and rows decide between equals.
    """
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    lowest, nowhere = T(-math.inf), T(math.inf)
    pick, combine, make_places = every(stride), _row_combiner(dtype, indexed), local(dtype, 2 * W)

    def body(task, x_, out_, index_, scratch, planes, per_task, plan):
        p = pointer(plan, np.int64)
        H, width, OH, OW = p[SIZE + 1], p[SIZE + 2], p[OUT + 1], p[OUT + 2]
        before, length = p[BEFORE + 2], p[LENGTH]
        kept = min(width, length - before)
        inputs, outputs = p[SIZE] * H * width, p[OUT] * OH * OW
        best = pointer(scratch + size * task * 2 * length, T)
        rows = pointer(scratch + size * (task * 2 + 1) * length, T)
        places = make_places()
        _fill(best, length, lowest, W)
        _fill(rows, length, nowhere, W)
        for n in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * n * inputs, T)
            for line in range(p[OUT] * OH):
                d0 = line // OH * p[STRIDE] - p[BEFORE]
                h0 = line % OH * p[STRIDE + 1] - p[BEFORE + 1]
                first = True
                for d in range(max(0, d0), min(p[SIZE], d0 + p[KERNEL])):
                    for h in range(max(0, h0), min(H, h0 + p[KERNEL + 1])):
                        row = d * H + h
                        combine(x, row * width, kept, best, rows, before, T(row), first)
                        first = False
                out = pointer(out_ + size * (n * outputs + line * OW), T)
                index = pointer(index_ + 8 * (n * outputs + line * OW), np.int64)
                for c in range(0, OW, W):
                    value, row, tap = pick(best, c * stride), splat(nowhere), splat(T(0))
                    if indexed:
                        row = pick(rows, c * stride)
                    for t in range(1, p[KERNEL + 2]):
                        other = pick(best, c * stride + t)
                        if indexed:
                            other_row = pick(rows, c * stride + t)
                            taken = (other > value) | ((other == value) & (other_row < row))
                            last = (value == value) | (other_row >= row)
                            taken = taken | ((other != other) & last)
                            row = select(taken, other_row, row)
                            tap = select(taken, splat(T(t)), tap)
                        else:
                            taken = (other > value) | (other != other)
                        value = select(taken, other, value)
                    store_masked(out, c, value, head(T, OW - c))
                    if indexed:
                        store(places, 0, row)
                        store(places, W, tap)
                        for i in range(min(W, OW - c)):
                            column = (c + i) * stride - before + np.int64(places[W + i])
                            index[c + i] = np.int64(places[i]) * width + column

    return body, "iiiiiii"


@kernel
def mean_rows(dtype: str, stride: int) -> Kernel:
    """The sum of each window over its divisor, the product of one factor per dimension."""
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    pick = every(stride)

    @inline
    def combine(x, start, width, total, at, first):
        for i in range(0, width, W):
            value = load_masked(x, start + i, head(T, width - i), splat(T(0)))
            store(total, at + i, value if first else value + load(total, at + i))

    def body(task, x_, out_, scratch, planes, per_task, plan):
        p = pointer(plan, np.int64)
        H, width, OH, OW = p[SIZE + 1], p[SIZE + 2], p[OUT + 1], p[OUT + 2]
        before, length = p[BEFORE + 2], p[LENGTH]
        kept = min(width, length - before)
        inputs, outputs = p[SIZE] * H * width, p[OUT] * OH * OW
        shares_d, shares_h = pointer(p[SHARES_D], np.int64), pointer(p[SHARES_H], np.int64)
        shares_w = pointer(p[SHARES_W], T)
        total = pointer(scratch + size * task * length, T)
        _fill(total, length, T(0), W)
        for n in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * n * inputs, T)
            for line in range(p[OUT] * OH):
                d0 = line // OH * p[STRIDE] - p[BEFORE]
                h0 = line % OH * p[STRIDE + 1] - p[BEFORE + 1]
                first = True
                for d in range(max(0, d0), min(p[SIZE], d0 + p[KERNEL])):
                    for h in range(max(0, h0), min(H, h0 + p[KERNEL + 1])):
                        combine(x, (d * H + h) * width, kept, total, before, first)
                        first = False
                share = splat(T(shares_d[line // OH] * shares_h[line % OH]))
                out = pointer(out_ + size * (n * outputs + line * OW), T)
                for c in range(0, OW, W):
                    value = pick(total, c * stride)
                    for t in range(1, p[KERNEL + 2]):
                        value = value + pick(total, c * stride + t)
                    store_masked(out, c, value / (share * load(shares_w, c)), head(T, OW - c))

    return body, "iiiiii"
