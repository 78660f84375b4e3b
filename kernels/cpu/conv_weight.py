"""The gradient of a convolution's weights: sums over the pixels of all items.

The pixels are cut into *runs*: several items, or some rows of one. For a run, ``x`` is copied into
a frame whose channels hold the items one after the other, and ``y`` into one of the same pitch with
zeros between the rows; so each weight is one inner product. Runs are shared out over *parts*, each
with sums of its own, which are added up in order at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.conv_frame import (
    CHANNEL,
    DEPTHS,
    FRAME,
    PITCH,
    ROWS,
    Frame,
    copier,
    shared_zeros,
    taps,
)
from tilegrad.kernels.cpu.conv_tile import WIDTH, correlate_pixels
from tilegrad.kernels.cpu.jit import kernel
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.cpu.vector import lanes, splat, store
from tilegrad.kernels.function import inline
from tilegrad.kernels.window import Window

RUN_BYTES = 3072  # of a channel in a run: 8 channels of y stay in the first-level cache
PART_ELEMENTS = 1 << 22  # of all sums of all parts
WORKERS = 16  # tasks wanted
HEIGHT = 8  # output channels done against all inputs in turn

# Places in the plan: the pass, then the frames of x and y.
BATCH, GROUPS, INPUTS, OUTPUTS, X_CHANNEL, Y_CHANNEL, ITEMS, BLOCK_ROWS, BLOCKS, RUNS = range(10)
PARTS, PART_RUNS, ROW_BLOCKS, ROW_STEP, COLUMNS_PADDED, OFFSETS, TASKS, TASK_ELEMENTS = range(10, 18)
Y_ELEMENTS, COUNT = 18, 19
X_FRAME = 22
Y_FRAME = X_FRAME + FRAME


class WeightPass(NamedTuple):
    """All sizes are of a group."""

    dtype: str
    batch: int
    groups: int
    inputs: int
    outputs: int
    window: Window


@kernel
def accumulate(dtype: str) -> tuple[Callable[..., None], str]:
    """The sums of one part, group and block of output channels; ``sums[part, group, column, k]``."""
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    fill = copier(dtype)

    @inline
    def end_with_zeros(y, rows, y_row, at):  # type: ignore[no-untyped-def]
        nothing = splat(T(0))
        for k in range(rows):
            store(y, k * y_row + at, nothing)

    def body(task, x_, y_, sums_, frames, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        fx, fy = pointer(plan + 8 * X_FRAME, np.int64), pointer(plan + 8 * Y_FRAME, np.int64)
        groups, inputs, outputs, columns = p[GROUPS], p[INPUTS], p[OUTPUTS], p[COLUMNS_PADDED]
        row = task % p[ROW_BLOCKS] * p[ROW_STEP]
        group, part = task // p[ROW_BLOCKS] % groups, task // p[ROW_BLOCKS] // groups
        rows = min(p[ROW_STEP], outputs - row)
        y_frame = frames + size * task * p[TASK_ELEMENTS]
        x_frame = y_frame + size * p[Y_ELEMENTS]
        y_row = fy[CHANNEL]
        item_step = fx[DEPTHS] * fx[ROWS] * fx[PITCH]
        total = sums_ + size * ((part * groups + group) * columns * outputs + row)
        for c in range(columns):
            line = pointer(total + size * c * outputs, T)
            for k in range(rows):
                line[k] = T(0)
        for run in range(part * p[PART_RUNS], min(p[RUNS], (part + 1) * p[PART_RUNS])):
            first, h0 = run // p[BLOCKS] * p[ITEMS], run % p[BLOCKS] * p[BLOCK_ROWS]
            items = min(p[ITEMS], p[BATCH] - first)
            for i in range(items):
                at = (first + i) * groups + group
                x = pointer(x_ + size * at * inputs * p[X_CHANNEL], T)
                fill(x, p[X_CHANNEL], pointer(x_frame + size * i * item_step, T), fx, inputs, h0)
                y = pointer(y_ + size * (at * outputs + row) * p[Y_CHANNEL], T)
                fill(y, p[Y_CHANNEL], pointer(y_frame + size * i * item_step, T), fy, rows, h0)
            height = min(p[BLOCK_ROWS], p[COUNT + 1] - h0)
            pixels = (items - 1) * item_step + p[COUNT + 2] + (height - 1) * fx[PITCH]
            pixels += (p[COUNT] - 1) * fx[ROWS] * fx[PITCH]
            end_with_zeros(pointer(y_frame, T), rows, y_row, pixels)
            steps = (pixels + W - 1) // W
            for k in range(0, rows, HEIGHT):
                some = min(HEIGHT, rows - k)
                y = pointer(y_frame + size * k * y_row, T)
                for c in range(0, columns, WIDTH):
                    offsets = pointer(p[OFFSETS] + 8 * c, np.int64)
                    out = pointer(total + size * (c * outputs + k), T)
                    correlate_pixels(
                        y, y_row, pointer(x_frame, T), offsets, steps, some, out, outputs
                    )

    return body, "iiiii"


@kernel
def collect(dtype: str) -> tuple[Callable[..., None], str]:
    """Add the parts up and turn (column, output) around, a group a task."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, sums_, weight_, parts, part, columns, padded, outputs):  # type: ignore[no-untyped-def]
        sums = pointer(sums_ + size * task * padded * outputs, T)
        weight = pointer(weight_ + size * task * columns * outputs, T)
        for n in range(1, parts):
            for i in range(columns * outputs):
                sums[i] += sums[n * part + i]
        for k in range(outputs):
            for c in range(columns):
                weight[k * columns + c] = sums[c * outputs + k]

    return body, "iiiiiii"


# ---------------------------------------------------------------------------------- the planning


def work_of(work: WeightPass) -> int:
    """Multiply-adds of a pass."""
    taps = math.prod(work.window.kernel) * math.prod(work.window.out)
    return work.batch * work.groups * work.inputs * work.outputs * taps


def _frames(work: WeightPass) -> tuple[Frame, Frame, int, int]:
    """(frame of x, frame of y, items of a run, rows of pixels of a run)."""
    size, kernel_size, out, stride, before, dilation = work.window
    W = lanes(work.dtype)
    extent = [
        o + (k - 1) * d // s
        for o, k, d, s in zip(out, kernel_size, dilation, stride, strict=True)
    ]
    spare = min(shared_zeros(size[1], stride[1], before[1], extent[1]), extent[1] - out[1])
    room = max(W, RUN_BYTES // np.dtype(work.dtype).itemsize)
    height = extent[1] - spare
    image = extent[0] * height * out[2]
    rows, items = out[1], 1
    if image <= room or out[0] > 1:
        items = max(1, min(work.batch, room // image))
    else:
        rows = max(1, room // out[2])
        rows = -(-out[1] // -(-out[1] // rows))
        height, spare = rows + extent[1] - out[1], 0
    zeros = -(-(spare * out[2] + W) // W) * W
    shifts = tuple(sorted({t[2] for t in taps(kernel_size, dilation)}))
    x = Frame(size, stride, before, shifts, extent[0], height, out[2], items, zeros, zeros)
    vectors = -(-x.items * x.item // W) + 1  # in a row of y: if even, it crowds few cache places
    slack = (vectors | 1) * W - x.items * x.item
    y = Frame(
        out, (1, 1, 1), (0, 0, 0), (0,), extent[0], height, out[2], items, W, slack, True
    )
    return x, y, items, rows


def make_plan(work: WeightPass) -> tuple[np.ndarray, list[np.ndarray]]:
    """The plan of a pass, and the tables it points to."""
    x, y, items, rows = _frames(work)
    window = work.window
    blocks = -(-window.out[1] // rows)
    runs = -(-work.batch // items) * blocks
    where = [x.offset(reach) for reach in taps(window.kernel, window.dilation)]
    columns = work.inputs * len(where)
    padded = -(-columns // WIDTH) * WIDTH
    inputs = np.repeat(np.arange(work.inputs, dtype=np.int64), len(where))
    offsets = inputs * x.channel + np.tile(np.array(where, np.int64), work.inputs)
    offsets = np.append(offsets, np.full(padded - columns, offsets[-1]))
    limit = max(1, PART_ELEMENTS // (work.groups * padded * work.outputs))
    part_runs = -(-runs // max(1, min(runs, WORKERS, limit)))
    parts = max(1, -(-runs // max(1, part_runs)))
    row_step = work.outputs
    while row_step > HEIGHT and parts * work.groups * -(-work.outputs // row_step) < WORKERS // 2:
        row_step = -(-row_step // (2 * HEIGHT)) * HEIGHT
    row_blocks = -(-work.outputs // row_step)
    y_elements = -(-row_step * y.channel // 16) * 16
    elements = y_elements + -(-work.inputs * x.channel // 16) * 16
    head = [
        work.batch, work.groups, work.inputs, work.outputs, math.prod(window.size),
        math.prod(window.out), items, rows, blocks, runs, parts, part_runs, row_blocks, row_step,
        padded, offsets.ctypes.data, parts * work.groups * row_blocks, elements, y_elements,
        *window.out,
    ]  # fmt: skip
    tables = [x.table(), y.table()]
    frames = [*x.plan(tables[0]), *y.plan(tables[1])]
    return np.array(head + frames, np.int64), [offsets, *tables]
