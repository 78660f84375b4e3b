"""Pooling over windows, one element of the result per thread, in one to three dimensions.

Windows are tables in device memory: per dimension the first input, the input after the last and,
for averages, a factor of the divisor; so ordinary, padded, ceiling-mode and adaptive pools are one
kernel. Adjoints gather as well: per input, the tables say which windows can hold it, and their
shares are added in order, without atomics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.parts.planes import Axes, axes, position
from tilegrad.kernels.cuda.parts.pointer_table import DeviceConstant
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.formulas.arithmetic import div, trunc_divide_int
from tilegrad.kernels.window import Table, Triple, Window

Launch = Callable[..., None]
ONE = (1, 1, 1)


class Windows(NamedTuple):
    """The tables of a pool, in device memory.

    Attributes:
        address: of the tables.
        inputs, outputs: of a plane, each with multiplier and shift that divide by it.
        step0 …: inputs from one of a window to the next.
        windows0 …: where the table of each dimension's windows begins.
        holders0 …: the same of the windows that can hold an input.
    """

    address: int
    inputs: int
    inputs_multiplier: int
    inputs_shift: int
    outputs: int
    outputs_multiplier: int
    outputs_shift: int
    step0: int
    step1: int
    step2: int
    windows0: int
    windows1: int
    windows2: int
    holders0: int
    holders1: int
    holders2: int


POOL = (Windows, Axes, Axes)  # the tables, outputs of a plane, inputs of a plane


def _windows(
    size: Triple, step: Triple, tables: Sequence[Table], inverse: bool
) -> tuple[Windows, tuple[int, ...], DeviceConstant]:
    """(the tables, all parameters of :data:`POOL`, what must live as long as the launch)."""
    out = tuple(len(t[0]) for t in tables)
    inputs, outputs = math.prod(size), math.prod(out)
    columns: list[np.ndarray] = []
    windows, holders, length = [], [], 0
    for n, count, table in zip(size, out, tables, strict=True):
        windows.append(length)
        columns += table
        length += len(table) * count
        holders.append(length)
        if inverse:  # windows that can hold an input follow each other, as their ends do
            firsts = np.minimum.accumulate(table[0][::-1])[::-1]
            columns += [np.searchsorted(c, np.arange(n), "right") for c in (table[1], firsts)]
            length += 2 * n
    held = DeviceConstant(np.concatenate(columns))
    given = Windows(
        held.address, inputs, *magic(inputs), outputs, *magic(outputs), *step, *windows, *holders
    )
    return given, (*given, *axes(out), *axes(size)), held


@kernel
def max_windows(dtype: str, indexed: bool, wide: bool, threads: int) -> Source:
    """The largest element of each window and, if ``indexed``, its place in the plane (int64).

    A NaN is the largest; among equals the first is taken, among NaNs the last. Parameters: x, out,
    index, elements of out, then :data:`POOL`.
    """
    T = np.dtype(dtype).type
    divide = division(wide)
    lowest = T(-math.inf if is_float(dtype) else np.iinfo(dtype).min)

    def largest(x, out, index, total, w, outs, size):
        e = block() * threads + thread()
        if e < total:
            t, source = pointer(w.address, np.int64), pointer(x, T)
            plane = divide(e, w.outputs, w.outputs_multiplier, w.outputs_shift)
            o0, o1, o2 = position(e - plane * w.outputs, outs)
            d0, h0, w0 = t[w.windows0 + o0], t[w.windows1 + o1], t[w.windows2 + o2]
            d1, h1, w1 = (
                t[w.windows0 + outs.size0 + o0],
                t[w.windows1 + outs.size1 + o1],
                t[w.windows2 + outs.size2 + o2],
            )
            start = plane * w.inputs
            best, where = lowest, (d0 * size.size1 + h0) * size.size2 + w0
            for d in range(d0, d1, w.step0):
                for h in range(h0, h1, w.step1):
                    row = (d * size.size1 + h) * size.size2
                    for i in range(row + w0, row + w1, w.step2):
                        value = source[start + i]
                        if value > best or value != value:
                            best = value
                            where = i
            pointer(out, T)[e] = best
            if indexed:
                pointer(index, np.int64)[e] = where

    return Source(largest, ("i" * 4, *POOL), threads)


@kernel
def gather_maxima(dtype: str, wide: bool, threads: int) -> Source:
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
def max_windows_backward(dtype: str, wide: bool, threads: int) -> Source:
    """``x[plane, index[plane, i]] += y[plane, i]`` onto zeros, in the order of ``i``.

    Parameters: y, index, x, elements of x, then :data:`POOL`.
    """
    T = np.dtype(dtype).type
    divide = division(wide)

    def gather(y, index, x, total, w, outs, size):
        e = block() * threads + thread()
        if e < total:
            t, grads, wheres = pointer(w.address, np.int64), pointer(y, T), pointer(index, np.int64)
            plane = divide(e, w.inputs, w.inputs_multiplier, w.inputs_shift)
            i = e - plane * w.inputs
            i0, i1, i2 = position(i, size)
            start = plane * w.outputs
            a = T(0)
            for o0 in range(t[w.holders0 + i0], t[w.holders0 + size.size0 + i0]):
                for o1 in range(t[w.holders1 + i1], t[w.holders1 + size.size1 + i1]):
                    row = start + (o0 * outs.size1 + o1) * outs.size2
                    for o2 in range(t[w.holders2 + i2], t[w.holders2 + size.size2 + i2]):
                        if wheres[row + o2] == i:
                            a += grads[row + o2]
            pointer(x, T)[e] = a

    return Source(gather, ("i" * 4, *POOL), threads)


@kernel
def mean_windows(dtype: str, wide: bool, threads: int) -> Source:
    """The sum of each window, row by row, over its divisor; of integers rounded towards zero.

    Parameters: x, y, elements of y, then :data:`POOL`.
    """
    T = np.dtype(dtype).type
    over = div if is_float(dtype) else trunc_divide_int
    divide = division(wide)

    def average(x, y, total, w, outs, size):
        e = block() * threads + thread()
        if e < total:
            t, source = pointer(w.address, np.int64), pointer(x, T)
            plane = divide(e, w.outputs, w.outputs_multiplier, w.outputs_shift)
            o0, o1, o2 = position(e - plane * w.outputs, outs)
            d, h, v = w.windows0 + o0, w.windows1 + o1, w.windows2 + o2
            start = plane * w.inputs
            window_sum = T(0)
            for i0 in range(t[d], t[d + outs.size0]):
                for i1 in range(t[h], t[h + outs.size1]):
                    row = start + (i0 * size.size1 + i1) * size.size2
                    row_sum = T(0)
                    for i2 in range(t[v], t[v + outs.size2]):
                        row_sum += source[row + i2]
                    window_sum += row_sum
            share = t[d + 2 * outs.size0] * t[h + 2 * outs.size1] * t[v + 2 * outs.size2]
            pointer(y, T)[e] = over(window_sum, T(share))

    return Source(average, ("i" * 3, *POOL), threads)


@kernel
def mean_windows_backward(dtype: str, wide: bool, threads: int) -> Source:
    """The adjoint of :func:`mean_windows`: per input, the shares of the windows that hold it.

    Parameters: y, x, elements of x, then :data:`POOL`.
    """
    T = np.dtype(dtype).type
    divide = division(wide)

    def collect(y, x, total, w, outs, size):
        e = block() * threads + thread()
        if e < total:
            t, grads = pointer(w.address, np.int64), pointer(y, T)
            plane = divide(e, w.inputs, w.inputs_multiplier, w.inputs_shift)
            i0, i1, i2 = position(e - plane * w.inputs, size)
            start = plane * w.outputs
            d, h, v = (
                w.windows0 + 2 * outs.size0,
                w.windows1 + 2 * outs.size1,
                w.windows2 + 2 * outs.size2,
            )
            a = T(0)
            for o0 in range(t[w.holders0 + i0], t[w.holders0 + size.size0 + i0]):
                for o1 in range(t[w.holders1 + i1], t[w.holders1 + size.size1 + i1]):
                    row = start + (o0 * outs.size1 + o1) * outs.size2
                    share = t[d + o0] * t[h + o1]
                    for o2 in range(t[w.holders2 + i2], t[w.holders2 + size.size2 + i2]):
                        a += grads[row + o2] / T(share * t[v + o2])
            pointer(x, T)[e] = a

    return Source(collect, ("i" * 3, *POOL), threads)


def max_pool(
    dtype: str,
    planes: int,
    size: Triple,
    tables: Sequence[Table],
    window: Window | None,
    indexed: bool,
) -> tuple[Launch, int]:
    """Prepare ``launch(x, out, [index])``; see :func:`tilegrad.kernels.cpu.pool.max_pool`."""
    build = partial(max_windows.build, dtype, indexed)
    dilation, absent = window.dilation if window else ONE, () if indexed else (0,)
    return _over_windows(build, dtype, planes, size, tables, dilation, absent=absent), 0


def max_pool_gather(dtype: str, planes: int, inputs: int, outputs: int) -> tuple[Launch, int]:
    """Prepare ``launch(x, index, out)``: the elements of each plane at ``index``."""
    total = planes * outputs
    threads = grid("pool", dtype).bounds.threads
    function = gather_maxima.build(dtype, is_wide(total), threads)
    return bind(function, total, inputs, outputs, *magic(outputs), -(-total // threads), 1, 1), 0


def max_pool_backward(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> tuple[Launch, int]:
    """Prepare ``launch(y, index, x)``; see :func:`tilegrad.kernels.cpu.pool.max_pool_backward`."""
    build = partial(max_windows_backward.build, dtype)
    return _over_windows(build, dtype, planes, size, tables, inverse=True), 0


def avg_pool(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table], window: Window | None
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y)``; see :func:`tilegrad.kernels.cpu.pool.avg_pool`."""
    return _over_windows(partial(mean_windows.build, dtype), dtype, planes, size, tables), 0


def avg_pool_backward(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> tuple[Launch, int]:
    """Prepare ``launch(y, x)``, the adjoint of :func:`avg_pool`."""
    build = partial(mean_windows_backward.build, dtype)
    return _over_windows(build, dtype, planes, size, tables, inverse=True), 0


def _over_windows(
    build: Callable[[bool, int], Launch],
    dtype: str,
    planes: int,
    size: Triple,
    tables: Sequence[Table],
    dilation: Triple = ONE,
    inverse: bool = False,
    absent: tuple[int, ...] = (),
) -> Launch:
    """A launch of a kernel with a thread per output, or with ``inverse`` per input, of all planes;
    ``absent`` stands for the operands that it is not given.
    """
    w, params, held = _windows(size, dilation, tables, inverse)
    total = planes * (w.inputs if inverse else w.outputs)
    threads = grid("pool", dtype).bounds.threads
    function = build(is_wide(total), threads)
    tail = (*absent, total, *params, -(-total // threads), 1, 1)

    def launch(*addresses: int, keep: DeviceConstant = held) -> None:
        function(*addresses, *tail)

    return launch
