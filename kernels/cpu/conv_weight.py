"""The gradient of a convolution's weights: sums over the pixels of all items.

The pixels are cut into *runs*: several items, or some rows of one. For a run, ``x`` is copied into
a frame and ``y``, where it is read often enough, into rows without gaps; each weight is then one
inner product. Small items are laid end to end instead, with zeros in ``y`` for the rows between
them, where that fills the lanes better. Runs are shared out over *parts*, each with sums of its
own, which are added up in order at the end.
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
from tilegrad.kernels.cpu.vector import lanes
from tilegrad.kernels.window import Window

RUN_BYTES = 3072  # of a channel in a run: 8 channels of y stay in the first-level cache
PART_ELEMENTS = 1 << 22  # of all sums of all parts
WORKERS = 16  # tasks wanted
FEW_COLUMNS = 32  # up to which y is not copied
ALIAS = 1024  # bytes: rows a multiple of this apart compete for few places in a cache
HEIGHT = 8  # output channels done against all inputs in turn

# Places in the plan: the pass, then the frames of x and y.
BATCH, GROUPS, INPUTS, OUTPUTS, X_CHANNEL, Y_CHANNEL, ITEMS, BLOCK_ROWS, BLOCKS, RUNS = range(10)
PARTS, PART_RUNS, ROW_BLOCKS, ROW_STEP, COLUMNS_PADDED, OFFSETS, TASKS, TASK_ELEMENTS = range(10, 18)
Y_ELEMENTS, COUNT, WAY = 18, 19, 22
X_FRAME = 23
Y_FRAME = X_FRAME + FRAME

IN_PLACE, PACKED, END_TO_END = range(3)  # the ways: how y is read


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
    """The sums of one part, group and block of output channels: ``sums[task, column, k]``."""
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    fill = copier(dtype)

    def body(task, x_, y_, sums_, frames, plan):  # type: ignore[no-untyped-def]
        p = pointer(plan, np.int64)
        fx, fy = pointer(plan + 8 * X_FRAME, np.int64), pointer(plan + 8 * Y_FRAME, np.int64)
        groups, inputs, outputs, columns = p[GROUPS], p[INPUTS], p[OUTPUTS], p[COLUMNS_PADDED]
        row = task % p[ROW_BLOCKS] * p[ROW_STEP]
        group, part = task // p[ROW_BLOCKS] % groups, task // p[ROW_BLOCKS] // groups
        rows = min(p[ROW_STEP], outputs - row)
        y_frame = frames + size * task * p[TASK_ELEMENTS]
        x_frame = y_frame + size * p[Y_ELEMENTS]
        way, x_item = p[WAY], fx[DEPTHS] * fx[ROWS] * fx[PITCH]
        y_item, y_row = fy[DEPTHS] * fy[ROWS] * fy[PITCH], fy[CHANNEL]
        if way == IN_PLACE:
            y_item, y_row = groups * outputs * p[Y_CHANNEL], p[Y_CHANNEL]
        total = sums_ + size * task * columns * p[ROW_STEP]
        for i in range(columns * p[ROW_STEP]):
            pointer(total, T)[i] = T(0)
        block = -1
        for run in range(part * p[PART_RUNS], min(p[RUNS], (part + 1) * p[PART_RUNS])):
            first, h0 = run // p[BLOCKS] * p[ITEMS], run % p[BLOCKS] * p[BLOCK_ROWS]
            items = min(p[ITEMS], p[BATCH] - first)
            y_at = y_ + size * ((first * groups + group) * outputs + row) * p[Y_CHANNEL]
            for i in range(items):
                at = (first + i) * groups + group
                x, to = x_ + size * at * inputs * p[X_CHANNEL], x_frame + size * i * x_item
                fill(x, p[X_CHANNEL], to, fx, inputs, h0, h0 != block)
                if way != IN_PLACE:
                    y = y_at + size * i * groups * outputs * p[Y_CHANNEL]
                    to = y_frame + size * i * y_item
                    fill(y, p[Y_CHANNEL], to, fy, rows, h0, h0 != block)
            block = h0
            y_from = y_at + size * h0 * p[COUNT + 2] if way == IN_PLACE else y_frame
            pixels = p[COUNT + 2] + (min(p[BLOCK_ROWS], p[COUNT + 1] - h0) - 1) * fx[PITCH]
            pixels += (p[COUNT] - 1) * fx[ROWS] * fx[PITCH]
            if way == END_TO_END:
                pixels += (items - 1) * x_item
                items = 1
            for k in range(0, rows, HEIGHT):
                some = min(HEIGHT, rows - k)
                y = pointer(y_from + size * k * y_row, T)
                for c in range(0, columns, WIDTH):
                    offsets = pointer(p[OFFSETS] + 8 * c, np.int64)
                    out = pointer(total + size * (c * p[ROW_STEP] + k), T)
                    correlate_pixels(
                        y, y_row, y_item, pointer(x_frame, T), x_item, offsets, items, pixels,
                        some, out, p[ROW_STEP],
                    )  # fmt: skip

    return body, "iiiii"


@kernel
def collect(dtype: str) -> tuple[Callable[..., None], str]:
    """Add the parts up and turn (column, k) around, a group and block of channels a task."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, sums_, weight_, parts, blocks, columns, outputs, row_step, padded, step):  # type: ignore[no-untyped-def]
        group, row = task // blocks, task % blocks * row_step
        sums = pointer(sums_ + size * task * padded * row_step, T)
        weight = pointer(weight_ + size * (group * outputs + row) * columns, T)
        for n in range(1, parts):
            for i in range(columns * row_step):
                sums[i] += sums[n * step + i]
        for k in range(min(row_step, outputs - row)):
            for c in range(columns):
                weight[k * columns + c] = sums[c * row_step + k]

    return body, "iiiiiiiii"


# ---------------------------------------------------------------------------------- the planning


def work_of(work: WeightPass) -> int:
    """Multiply-adds of a pass."""
    taps = math.prod(work.window.kernel) * math.prod(work.window.out)
    return work.batch * work.groups * work.inputs * work.outputs * taps


def _frames(work: WeightPass, columns: int) -> tuple[Frame, Frame, int, int, int]:
    """(frame of x, frame of y, items of a run, rows of pixels of a run, way)."""
    size, kernel_size, out, stride, before, dilation = work.window
    bytes_, W = np.dtype(work.dtype).itemsize, lanes(work.dtype)
    extent = [
        o + (k - 1) * d // s
        for o, k, d, s in zip(out, kernel_size, dilation, stride, strict=True)
    ]
    spare = min(shared_zeros(size[1], stride[1], before[1], extent[1]), extent[1] - out[1])
    room = max(W, RUN_BYTES // bytes_)
    height = extent[1] - spare
    pixels = out[1] * out[2]
    rows, items, way = out[1], 1, PACKED
    if out[0] > 1 or height * out[2] <= min(room, -(-pixels // W) * W):
        way = END_TO_END
    elif columns <= FEW_COLUMNS and (pixels * bytes_) % ALIAS:
        way = IN_PLACE
    if pixels <= room or out[0] > 1:
        items = max(1, min(work.batch, room // (extent[0] * height * out[2])))
    else:
        rows = max(1, room // out[2])
        rows = -(-out[1] // -(-out[1] // rows))
        height, spare = rows + extent[1] - out[1], 0
    zeros = -(-(spare * out[2] + W) // W) * W
    shifts = tuple(sorted({t[2] for t in taps(kernel_size, dilation)}))
    x = Frame(size, stride, before, shifts, extent[0], height, out[2], items, zeros, zeros + W)
    y_rows = height if way == END_TO_END else rows
    item = extent[0] * y_rows * out[2]
    vectors = -(-items * item // W) + 2  # in a row of y: if even, it crowds few cache places
    slack = (vectors | 1) * W - items * item
    y = Frame(
        out, (1, 1, 1), (0, 0, 0), (0,), extent[0], y_rows, out[2], items, W, slack, True
    )
    return x, y, items, rows, way


def make_plan(work: WeightPass) -> tuple[np.ndarray, list[np.ndarray]]:
    """The plan of a pass, and the tables it points to."""
    window = work.window
    columns = work.inputs * math.prod(window.kernel)
    x, y, items, rows, way = _frames(work, columns)
    blocks = -(-window.out[1] // rows)
    runs = -(-work.batch // items) * blocks
    where = [x.offset(reach) for reach in taps(window.kernel, window.dilation)]
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
        *window.out, way,
    ]  # fmt: skip
    tables = [x.table(), y.table()]
    frames = [*x.plan(tables[0]), *y.plan(tables[1])]
    return np.array(head + frames, np.int64), [offsets, *tables]
