"""Pooling over windows, one plane of memory at a time, in one to three dimensions.

Windows are given by tables: per dimension the first input, the input after the last and, for
averages, the factor of the divisor. So ordinary, padded, ceiling-mode and adaptive pools are one
loop. Every task handles whole planes: results do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.jit import kernel
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.window import Table, Triple

TASK = 1 << 15  # elements worth a task of their own

# the plan: sizes, output sizes and steps of three dimensions, then the tables
SIZE, OUT, STEP, TABLES = 0, 3, 6, 9

Launch = Callable[..., None]


@kernel
def max_windows(dtype: str, indexed: bool) -> tuple[Callable[..., None], str]:
    """The largest element of each window and, if ``indexed``, its place in the plane (int64).

    A NaN is the largest; among equals the first is taken, among NaNs the last.
    """
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    lowest = T(-math.inf)

    def body(task, x_, out_, index_, planes, per_task, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        H, W = p[SIZE + 1], p[SIZE + 2]
        OD, OH, OW = p[OUT], p[OUT + 1], p[OUT + 2]
        dd, dh, dw = p[STEP], p[STEP + 1], p[STEP + 2]
        d0 = TABLES
        d1, h0 = d0 + OD, d0 + 2 * OD
        h1, w0 = h0 + OH, h0 + 2 * OH
        w1 = w0 + OW
        inputs, outputs = p[SIZE] * H * W, OD * OH * OW
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            out = pointer(out_ + size * plane * outputs, T)
            index = pointer(index_ + 8 * plane * outputs, np.int64)
            at = 0
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        best = lowest
                        where = (p[d0 + od] * H + p[h0 + oh]) * W + p[w0 + ow]
                        for d in range(p[d0 + od], p[d1 + od], dd):
                            for h in range(p[h0 + oh], p[h1 + oh], dh):
                                row = (d * H + h) * W
                                for w in range(row + p[w0 + ow], row + p[w1 + ow], dw):
                                    value = x[w]
                                    if value > best or value != value:
                                        best = value
                                        where = w
                        out[at] = best
                        if indexed:
                            index[at] = where
                        at += 1

    return body, "iiiiii"


@kernel
def take(dtype: str) -> tuple[Callable[..., None], str]:
    """``out[plane, i] = x[plane, index[plane, i]]``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x_, index_, out_, inputs, outputs, planes, per_task):  # type: ignore[no-untyped-def]
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            out = pointer(out_ + size * plane * outputs, T)
            index = pointer(index_ + 8 * plane * outputs, np.int64)
            for i in range(outputs):
                out[i] = x[index[i]]

    return body, "iiiiiii"


@kernel
def put(dtype: str) -> tuple[Callable[..., None], str]:
    """``x[plane, index[plane, i]] += y[plane, i]`` onto zeros, in the order of ``i``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, y_, index_, x_, inputs, outputs, planes, per_task):  # type: ignore[no-untyped-def]
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            y = pointer(y_ + size * plane * outputs, T)
            index = pointer(index_ + 8 * plane * outputs, np.int64)
            for i in range(inputs):
                x[i] = T(0)
            for i in range(outputs):
                x[index[i]] += y[i]

    return body, "iiiiiii"


@kernel
def mean_windows(dtype: str, adjoint: bool) -> tuple[Callable[..., None], str]:
    """The sum of each window over its divisor; ``adjoint`` spreads ``y / divisor`` over ``x``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x_, y_, planes, per_task, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        H, W = p[SIZE + 1], p[SIZE + 2]
        OD, OH, OW = p[OUT], p[OUT + 1], p[OUT + 2]
        d0 = TABLES
        h0 = d0 + 3 * OD
        w0 = h0 + 3 * OH
        inputs, outputs = p[SIZE] * H * W, OD * OH * OW
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            y = pointer(y_ + size * plane * outputs, T)
            if adjoint:
                for i in range(inputs):
                    x[i] = T(0)
            at = 0
            for od in range(OD):
                for oh in range(OH):
                    share = p[d0 + 2 * OD + od] * p[h0 + 2 * OH + oh]
                    for ow in range(OW):
                        total = y[at] / T(share * p[w0 + 2 * OW + ow]) if adjoint else T(0)
                        for d in range(p[d0 + od], p[d0 + OD + od]):
                            for h in range(p[h0 + oh], p[h0 + OH + oh]):
                                row = (d * H + h) * W
                                for w in range(row + p[w0 + ow], row + p[w0 + OW + ow]):
                                    if adjoint:
                                        x[w] += total
                                    else:
                                        total += x[w]
                        if not adjoint:
                            y[at] = total / T(share * p[w0 + 2 * OW + ow])
                        at += 1

    return body, "iiiii"


# ------------------------------------------------------------------------------------- launchers


def _plan(size: Triple, step: Triple, tables: Sequence[Table]) -> np.ndarray:
    out = [len(columns[0]) for columns in tables]
    flat = [number for columns in tables for column in columns for number in column]
    return np.array([*size, *out, *step, *flat], np.int64)


def _share(planes: int, inputs: int, outputs: int) -> tuple[int, int, bool]:
    """(tasks, planes of a task, whether the work is too small for threads)."""
    per_task = max(1, TASK // (inputs + outputs))
    return -(-planes // per_task), per_task, planes * (inputs + outputs) < 2 * TASK


def max_pool(
    dtype: str, planes: int, size: Triple, step: Triple, tables: Sequence[Table], indexed: bool
) -> Launch:
    """Prepare ``launch(x, out, [index])``: ``tables`` are (first, end) of each dimension's windows."""
    plan = _plan(size, step, tables)
    outputs = math.prod(len(t[0]) for t in tables)
    tasks, per_task, small = _share(planes, math.prod(size), outputs)
    function, address = max_windows.build(dtype, indexed), plan.ctypes.data

    def launch(x: int, out: int, index: int = 0, keep: Any = plan) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(x, out, index, planes, per_task, address, tasks, threads)

    return launch


def pool_take(dtype: str, planes: int, inputs: int, outputs: int) -> Launch:
    """Prepare ``launch(x, index, out)``: the elements of each plane at ``index``."""
    return _indexed(take.build(dtype), planes, inputs, outputs)


def pool_put(dtype: str, planes: int, inputs: int, outputs: int) -> Launch:
    """Prepare ``launch(y, index, x)``: the adjoint of :func:`pool_take`."""
    return _indexed(put.build(dtype), planes, inputs, outputs)


def _indexed(function: Launch, planes: int, inputs: int, outputs: int) -> Launch:
    tasks, per_task, small = _share(planes, inputs, outputs)

    def launch(first: int, index: int, out: int) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(first, index, out, inputs, outputs, planes, per_task, tasks, threads)

    return launch


def avg_pool(dtype: str, planes: int, size: Triple, tables: Sequence[Table]) -> Launch:
    """Prepare ``launch(x, y)``: ``tables`` are (first, end, divisor) of each dimension's windows."""
    return _mean(dtype, planes, size, tables, False)


def avg_pool_input(dtype: str, planes: int, size: Triple, tables: Sequence[Table]) -> Launch:
    """Prepare ``launch(y, x)``: the adjoint of :func:`avg_pool`."""
    return _mean(dtype, planes, size, tables, True)


def _mean(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table], adjoint: bool
) -> Launch:
    plan = _plan(size, (1, 1, 1), tables)
    outputs = math.prod(len(t[0]) for t in tables)
    tasks, per_task, small = _share(planes, math.prod(size), outputs)
    function, address = mean_windows.build(dtype, adjoint), plan.ctypes.data

    def launch(first: int, second: int, keep: Any = plan) -> None:
        threads = 0 if small else jit.get_num_threads()
        x, y = (second, first) if adjoint else (first, second)
        function(x, y, planes, per_task, address, tasks, threads)

    return launch
