"""Pooling over windows, one element of the result per thread, in one to three dimensions.

Windows are tables in device memory: per dimension the first input, the input after the last and,
for averages, a factor of the divisor; so ordinary, padded, ceiling-mode and adaptive pools are one
kernel. Adjoints gather as well: per input, the tables say which windows can hold it, and their
shares are added in order, without atomics.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, multiply_wide, pointer, thread
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic, unpack_params
from tilegrad.kernels.cuda.parts.tables import Constant
from tilegrad.kernels.cuda.run.jit import KernelFactory, Source, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.formulas.arithmetic import div, trunc_divide_int
from tilegrad.kernels.function import inline
from tilegrad.kernels.window import Table, Triple, Window

Launch = Callable[..., None]

# parameters: address of the tables, inputs and outputs of a plane 0-2, sizes 3-5, output sizes 6-8,
# steps 9-11; multiplier and shift of outputs 12, inputs 14, the last two of out 16, of size 20; then
# where the tables of each dimension begin: windows 24-26, windows of an input 27-29
_COUNT = 30


def _numbers(
    size: Triple, step: Triple, tables: Sequence[Table], inverse: bool
) -> tuple[list[int], Constant]:
    """(parameters, the tables on the device, which must live as long as the launch)."""
    out = tuple(len(t[0]) for t in tables)
    inputs, outputs = math.prod(size), math.prod(out)
    flat: list[int] = []
    windows, holders = [], []
    for n, table in zip(size, tables, strict=True):
        windows.append(len(flat))
        for column in table:
            flat += column
        holders.append(len(flat))
        if inverse:  # windows that can hold an input follow each other, as their ends do
            firsts = list(itertools.accumulate(reversed(table[0]), min))[::-1]
            flat += [bisect.bisect_right(table[1], i) for i in range(n)]
            flat += [bisect.bisect_right(firsts, i) for i in range(n)]
    held = Constant(np.array(flat, np.int64))
    given = [held.address, inputs, outputs, *size, *out, *step, *magic(outputs), *magic(inputs)]
    given += [v for n in (*out[1:], *size[1:]) for v in magic(n)]
    return given + windows + holders, held


@inline
def place(p, sizes, magics, w):
    """The three coordinates of position ``p`` in a plane of fewer than 2^31."""
    line = multiply_wide(p, w[magics + 2]) >> w[magics + 3]
    plane = multiply_wide(line, w[magics]) >> w[magics + 1]
    return plane, line - plane * w[sizes + 1], p - line * w[sizes + 2]


@kernel
def max_windows(dtype: str, indexed: bool, wide: bool, threads: int) -> Source:
    """The largest element of each window and, if ``indexed``, its place in the plane (int64).

    A NaN is the largest; among equals the first is taken, among NaNs the last. Parameters: x, out,
    index, elements of out, then the windows.
    """
    T = np.dtype(dtype).type
    divide = division(wide)
    lowest = T(-math.inf if is_float(dtype) else np.iinfo(dtype).min)

    @inline
    def largest(x, out, index, total, w):
        e = block() * threads + thread()
        if e < total:
            t, source = pointer(w[0], np.int64), pointer(x, T)
            plane = divide(e, w[2], w[12], w[13])
            o0, o1, o2 = place(e - plane * w[2], 6, 16, w)
            d0, h0, w0 = t[w[24] + o0], t[w[25] + o1], t[w[26] + o2]
            d1, h1, w1 = t[w[24] + w[6] + o0], t[w[25] + w[7] + o1], t[w[26] + w[8] + o2]
            start = plane * w[1]
            best, where = lowest, (d0 * w[4] + h0) * w[5] + w0
            for d in range(d0, d1, w[9]):
                for h in range(h0, h1, w[10]):
                    row = (d * w[4] + h) * w[5]
                    for i in range(row + w0, row + w1, w[11]):
                        value = source[start + i]
                        if value > best or value != value:
                            best = value
                            where = i
            pointer(out, T)[e] = best
            if indexed:
                pointer(index, np.int64)[e] = where

    return Source(unpack_params(largest, 4, _COUNT), "i" * (4 + _COUNT), threads)


@kernel
def take(dtype: str, wide: bool, threads: int) -> Source:
    """``out[plane, i] = x[plane, index[plane, i]]``.

    Parameters: x, index, out, elements of out, inputs of a plane, its outputs with multiplier and
    shift.
    """
    T = np.dtype(dtype).type
    divide = division(wide)

    def take_body(x, index, out, total, inputs, outputs, m, h):
        e = block() * threads + thread()
        if e < total:
            plane = divide(e, outputs, m, h)
            pointer(out, T)[e] = pointer(x, T)[plane * inputs + pointer(index, np.int64)[e]]

    return Source(take_body, "i" * 8, threads)


@kernel
def put(dtype: str, wide: bool, threads: int) -> Source:
    """``x[plane, index[plane, i]] += y[plane, i]`` onto zeros, in the order of ``i``.

    Parameters: y, index, x, elements of x, then the windows.
    """
    T = np.dtype(dtype).type
    divide = division(wide)

    @inline
    def gather(y, index, x, total, w):
        e = block() * threads + thread()
        if e < total:
            t, grads, wheres = pointer(w[0], np.int64), pointer(y, T), pointer(index, np.int64)
            plane = divide(e, w[1], w[14], w[15])
            i = e - plane * w[1]
            i0, i1, i2 = place(i, 3, 20, w)
            start = plane * w[2]
            a = T(0)
            for o0 in range(t[w[27] + i0], t[w[27] + w[3] + i0]):
                for o1 in range(t[w[28] + i1], t[w[28] + w[4] + i1]):
                    row = start + (o0 * w[7] + o1) * w[8]
                    for o2 in range(t[w[29] + i2], t[w[29] + w[5] + i2]):
                        if wheres[row + o2] == i:
                            a += grads[row + o2]
            pointer(x, T)[e] = a

    return Source(unpack_params(gather, 4, _COUNT), "i" * (4 + _COUNT), threads)


@kernel
def mean_windows(dtype: str, wide: bool, threads: int) -> Source:
    """The sum of each window, row by row, over its divisor; of integers rounded towards zero.

    Parameters: x, y, elements of y, then the windows.
    """
    T = np.dtype(dtype).type
    over = div if is_float(dtype) else trunc_divide_int
    divide = division(wide)

    @inline
    def average(x, y, total, w):
        e = block() * threads + thread()
        if e < total:
            t, source = pointer(w[0], np.int64), pointer(x, T)
            plane = divide(e, w[2], w[12], w[13])
            o0, o1, o2 = place(e - plane * w[2], 6, 16, w)
            d, h, v = w[24] + o0, w[25] + o1, w[26] + o2
            start = plane * w[1]
            whole = T(0)
            for i0 in range(t[d], t[d + w[6]]):
                for i1 in range(t[h], t[h + w[7]]):
                    row = start + (i0 * w[4] + i1) * w[5]
                    part = T(0)
                    for i2 in range(t[v], t[v + w[8]]):
                        part += source[row + i2]
                    whole += part
            share = t[d + 2 * w[6]] * t[h + 2 * w[7]] * t[v + 2 * w[8]]
            pointer(y, T)[e] = over(whole, T(share))

    return Source(unpack_params(average, 3, _COUNT), "i" * (3 + _COUNT), threads)


@kernel
def spread_windows(dtype: str, wide: bool, threads: int) -> Source:
    """The adjoint of :func:`mean_windows`: per input, the shares of the windows that hold it.

    Parameters: y, x, elements of x, then the windows.
    """
    T = np.dtype(dtype).type
    divide = division(wide)

    @inline
    def collect(y, x, total, w):
        e = block() * threads + thread()
        if e < total:
            t, grads = pointer(w[0], np.int64), pointer(y, T)
            plane = divide(e, w[1], w[14], w[15])
            i0, i1, i2 = place(e - plane * w[1], 3, 20, w)
            start = plane * w[2]
            d, h, v = w[24] + 2 * w[6], w[25] + 2 * w[7], w[26] + 2 * w[8]
            a = T(0)
            for o0 in range(t[w[27] + i0], t[w[27] + w[3] + i0]):
                for o1 in range(t[w[28] + i1], t[w[28] + w[4] + i1]):
                    row = start + (o0 * w[7] + o1) * w[8]
                    share = t[d + o0] * t[h + o1]
                    for o2 in range(t[w[29] + i2], t[w[29] + w[5] + i2]):
                        a += grads[row + o2] / T(share * t[v + o2])
            pointer(x, T)[e] = a

    return Source(unpack_params(collect, 3, _COUNT), "i" * (3 + _COUNT), threads)


def max_pool(
    dtype: str,
    planes: int,
    size: Triple,
    tables: Sequence[Table],
    window: Window | None,
    indexed: bool,
) -> tuple[Launch, int]:
    """Prepare ``launch(x, out, [index])``; see :func:`tilegrad.kernels.cpu.pool.max_pool`."""
    params, held = _numbers(size, window.dilation if window else (1, 1, 1), tables, False)
    total = planes * params[2]
    threads = grid("pool", dtype).bounds.threads
    function = max_windows.build(dtype, indexed, is_wide(total), threads)
    tail = (total, *params, -(-total // threads), 1, 1)

    def launch(x: int, out: int, index: int = 0, *, keep: Constant = held) -> None:
        function(x, out, index, *tail)

    return launch, 0


def pool_take(dtype: str, planes: int, inputs: int, outputs: int) -> tuple[Launch, int]:
    """Prepare ``launch(x, index, out)``: the elements of each plane at ``index``."""
    total = planes * outputs
    threads = grid("pool", dtype).bounds.threads
    function = take.build(dtype, is_wide(total), threads)
    tail = (total, inputs, outputs, *magic(outputs), -(-total // threads), 1, 1)

    def launch(x: int, index: int, out: int) -> None:
        function(x, index, out, *tail)

    return launch, 0


def pool_put(dtype: str, planes: int, size: Triple, tables: Sequence[Table]) -> tuple[Launch, int]:
    """Prepare ``launch(y, index, x)``; see :func:`tilegrad.kernels.cpu.pool.pool_put`."""
    return _adjoint(put, dtype, planes, size, tables), 0


def avg_pool(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table], window: Window | None
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y)``; see :func:`tilegrad.kernels.cpu.pool.avg_pool`."""
    params, held = _numbers(size, (1, 1, 1), tables, False)
    total = planes * params[2]
    threads = grid("pool", dtype).bounds.threads
    function = mean_windows.build(dtype, is_wide(total), threads)
    tail = (total, *params, -(-total // threads), 1, 1)

    def launch(x: int, y: int, *, keep: Constant = held) -> None:
        function(x, y, *tail)

    return launch, 0


def avg_pool_input(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> tuple[Launch, int]:
    """Prepare ``launch(y, x)``, the adjoint of :func:`avg_pool`."""
    return _adjoint(spread_windows, dtype, planes, size, tables), 0


def _adjoint(
    factory: KernelFactory, dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> Launch:
    params, held = _numbers(size, (1, 1, 1), tables, True)
    total = planes * params[1]
    threads = grid("pool", dtype).bounds.threads
    function = factory.build(dtype, is_wide(total), threads)
    tail = (total, *params, -(-total // threads), 1, 1)

    def launch(*addresses: int, keep: Constant = held) -> None:
        function(*addresses, *tail)

    return launch
