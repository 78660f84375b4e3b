"""Pooling over windows, one plane of memory at a time, in one to three dimensions.

Windows are given by tables: per dimension the first input, the input after the last and, for
averages, the factor of the divisor. So ordinary, padded, ceiling-mode and adaptive pools are one
loop; ``pool_rows`` has faster ones for the most common windows. Every task handles whole planes:
results do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.kernels.cpu.parts import pool_rows as rows
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import head, lanes, load, load_masked, splat, store_masked
from tilegrad.kernels.cpu.tuning import Pool
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.formulas.arithmetic import div, trunc_divide_int
from tilegrad.kernels.window import Table, Triple, Window

# the plan: sizes, output sizes and steps of three dimensions, then the tables
SIZE, OUT, STEP, TABLES = 0, 3, 6, 9

Launch = Callable[..., None]


@kernel
def max_windows(dtype: str, indexed: bool) -> Kernel:
    """The largest element of each window and, if ``indexed``, its place in the plane (int64).

    A NaN is the largest; among equals the first is taken, among NaNs the last.
    """
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    lowest = T(-math.inf if is_float(dtype) else np.iinfo(dtype).min)

    def body(task, x_, out_, index_, planes, per_task, plan):
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
def gather_maxima(dtype: str) -> Kernel:
    """``out[plane, i] = x[plane, index[plane, i]]``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, x_, index_, out_, inputs, outputs, planes, per_task):
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            out = pointer(out_ + size * plane * outputs, T)
            index = pointer(index_ + 8 * plane * outputs, np.int64)
            for i in range(outputs):
                out[i] = x[index[i]]

    return body, "iiiiiii"


@kernel
def max_windows_backward(dtype: str) -> Kernel:
    """``x[plane, index[plane, i]] += y[plane, i]`` onto zeros, in the order of ``i``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, y_, index_, x_, inputs, outputs, planes, per_task):
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
def mean_windows(dtype: str) -> Kernel:
    """The sum of each window, row by row, over its divisor; of integers rounded towards zero."""
    T = np.dtype(dtype).type
    over = div if is_float(dtype) else trunc_divide_int
    size = np.dtype(dtype).itemsize

    def body(task, x_, y_, planes, per_task, plan):
        p = pointer(plan, np.int64)
        H, W = p[SIZE + 1], p[SIZE + 2]
        OD, OH, OW = p[OUT], p[OUT + 1], p[OUT + 2]
        d0, h0, w0 = TABLES, TABLES + 3 * OD, TABLES + 3 * OD + 3 * OH
        inputs, outputs = p[SIZE] * H * W, OD * OH * OW
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            y = pointer(y_ + size * plane * outputs, T)
            for line in range(OD * OH):
                od, oh = line // OH, line % OH
                share = p[d0 + 2 * OD + od] * p[h0 + 2 * OH + oh]
                for ow in range(OW):
                    total = T(0)
                    for d in range(p[d0 + od], p[d0 + OD + od]):
                        for h in range(p[h0 + oh], p[h0 + OH + oh]):
                            row = (d * H + h) * W
                            part = T(0)
                            for w in range(row + p[w0 + ow], row + p[w0 + OW + ow]):
                                part += x[w]
                            total += part
                    y[line * OW + ow] = over(total, T(share * p[w0 + 2 * OW + ow]))

    return body, "iiiii"


@kernel
def mean_windows_backward(dtype: str) -> Kernel:
    """The adjoint of :func:`mean_windows`: ``y`` over its divisor, added to the whole window.

    A row of outputs is spread over one row of inputs, which is then added to all rows of the window.
    """
    T = np.dtype(dtype).type
    size, LANES = np.dtype(dtype).itemsize, lanes(dtype)

    def body(task, y_, x_, scratch, planes, per_task, plan):
        p = pointer(plan, np.int64)
        H, W = p[SIZE + 1], p[SIZE + 2]
        OD, OH, OW = p[OUT], p[OUT + 1], p[OUT + 2]
        d0, h0, w0 = TABLES, TABLES + 3 * OD, TABLES + 3 * OD + 3 * OH
        inputs, outputs = p[SIZE] * H * W, OD * OH * OW
        spread = pointer(scratch + size * task * (W + LANES), T)
        for plane in range(task * per_task, min(planes, (task + 1) * per_task)):
            x = pointer(x_ + size * plane * inputs, T)
            y = pointer(y_ + size * plane * outputs, T)
            for i in range(inputs):
                x[i] = T(0)
            for line in range(OD * OH):
                od, oh = line // OH, line % OH
                share = p[d0 + 2 * OD + od] * p[h0 + 2 * OH + oh]
                for w in range(W):
                    spread[w] = T(0)
                for ow in range(OW):
                    value = y[line * OW + ow] / T(share * p[w0 + 2 * OW + ow])
                    for w in range(p[w0 + ow], p[w0 + OW + ow]):
                        spread[w] += value
                for d in range(p[d0 + od], p[d0 + OD + od]):
                    for h in range(p[h0 + oh], p[h0 + OH + oh]):
                        for w in range(0, W, LANES):
                            at, inside = (d * H + h) * W + w, head(T, W - w)
                            value = load_masked(x, at, inside, splat(T(0))) + load(spread, w)
                            store_masked(x, at, value, inside)

    return body, "iiiiii"


# ------------------------------------------------------------------------------------- launchers


def _plan(size: Triple, step: Triple, tables: Sequence[Table]) -> np.ndarray:
    out = [len(columns[0]) for columns in tables]
    head = np.array([*size, *out, *step], np.int64)
    return np.concatenate([head, *[column for columns in tables for column in columns]])


def _row_plan(dtype: str, window: Window, *addresses: int) -> np.ndarray:
    geometry = [*window.size, *window.kernel, *window.out, *window.stride, *window.before]
    return np.array([*geometry, rows.row_length(dtype, window), *addresses], np.int64)


def _share(planes: int, inputs: int, outputs: int) -> tuple[int, int, bool]:
    """(tasks, planes of a task, whether the work is too small for threads)."""
    per_task, tasks = splitting.share(planes, inputs + outputs, Pool.grain)
    small = splitting.serial(planes * (inputs + outputs), 2 * Pool.grain)
    return tasks, per_task, small


def max_pool(
    dtype: str,
    planes: int,
    size: Triple,
    tables: Sequence[Table],
    window: Window | None,
    indexed: bool,
) -> tuple[Launch, int]:
    """Prepare ``launch(x, out, [index], [scratch])``; gives ``(launch, scratch_bytes)``.

    ``tables`` are (first, end) of each dimension's windows; ``window`` is None if they are not alike.
    """
    outputs = math.prod(len(t[0]) for t in tables)
    tasks, per_task, small = _share(planes, math.prod(size), outputs)
    if indexed and jit.backward_follows():
        max_windows_backward.begin(dtype)
    floating = is_float(dtype)
    if window is not None and floating and rows.suits(window):
        plan = _row_plan(dtype, window)
        function = rows.max_rows.build(dtype, indexed, window.stride[2])
        scratch_bytes = tasks * 2 * rows.row_length(dtype, window) * np.dtype(dtype).itemsize
    else:
        plan = _plan(size, window.dilation if window else (1, 1, 1), tables)
        function, scratch_bytes = max_windows.build(dtype, indexed), 0
    address = plan.ctypes.data

    def launch(x: int, out: int, *rest: int, keep: Any = plan) -> None:
        threads = 0 if small else jit.get_num_threads()
        index = rest[0] if indexed else 0
        scratch = rest[-1:] if scratch_bytes else ()
        function(x, out, index, *scratch, planes, per_task, address, tasks, threads)

    return launch, scratch_bytes


def max_pool_gather(dtype: str, planes: int, inputs: int, outputs: int) -> tuple[Launch, int]:
    """Prepare ``launch(x, index, out)``: the elements of each plane at ``index``."""
    return _indexed(gather_maxima.build(dtype), planes, inputs, outputs), 0


def max_pool_backward(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> tuple[Launch, int]:
    """Prepare ``launch(y, index, x)``: the adjoint of :func:`max_pool_gather`, for indices that lie in the
    windows of ``tables``, (first, end) of each dimension's.
    """
    inputs, outputs = math.prod(size), math.prod(len(t[0]) for t in tables)
    return _indexed(max_windows_backward.build(dtype), planes, inputs, outputs), 0


def _indexed(function: Launch, planes: int, inputs: int, outputs: int) -> Launch:
    tasks, per_task, small = _share(planes, inputs, outputs)

    def launch(first: int, index: int, out: int) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(first, index, out, inputs, outputs, planes, per_task, tasks, threads)

    return launch


def avg_pool(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table], window: Window | None
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, [scratch])``; gives ``(launch, scratch_bytes)``.

    ``tables`` are (first, end, divisor) of each dimension's windows; ``window`` is None if they are
    not alike.
    """
    outputs, W = math.prod(len(t[0]) for t in tables), lanes(dtype)
    tasks, per_task, small = _share(planes, math.prod(size), outputs)
    if window is None or not is_float(dtype) or not rows.suits(window):
        plan, shares, scratch_bytes = _plan(size, (1, 1, 1), tables), [], 0
        function = mean_windows.build(dtype)
    else:
        shares = [t[2] for t in tables[:2]]
        shares.append(np.concatenate([tables[2][2], np.ones(W, np.int64)]).astype(dtype))
        plan = _row_plan(dtype, window, *(s.ctypes.data for s in shares))
        function = rows.mean_rows.build(dtype, window.stride[2])
        scratch_bytes = tasks * rows.row_length(dtype, window) * np.dtype(dtype).itemsize
    address = plan.ctypes.data

    def launch(x: int, y: int, *scratch: int, keep: Any = (plan, shares)) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(x, y, *scratch, planes, per_task, address, tasks, threads)

    return launch, scratch_bytes


def avg_pool_backward(
    dtype: str, planes: int, size: Triple, tables: Sequence[Table]
) -> tuple[Launch, int]:
    """Prepare ``launch(y, x, scratch)``, the adjoint of :func:`avg_pool`."""
    plan = _plan(size, (1, 1, 1), tables)
    outputs = math.prod(len(t[0]) for t in tables)
    tasks, per_task, small = _share(planes, math.prod(size), outputs)
    function, address = mean_windows_backward.build(dtype), plan.ctypes.data

    def launch(y: int, x: int, scratch: int, keep: Any = plan) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(y, x, scratch, planes, per_task, address, tasks, threads)

    return launch, tasks * (size[2] + lanes(dtype)) * np.dtype(dtype).itemsize
