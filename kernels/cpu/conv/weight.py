"""The gradient of a convolution's weights: sums over the pixels of all items.

The pixels are cut into *blocks*: several items, or some rows of one. For a block, ``x`` is copied to
a padded input and ``y``, where it is read often enough to pay, to rows that do not conflict in the
cache; each weight is then one dot product. Blocks are distributed over *parts*, each with sums of its
own, which are added up in order at the end (split-K, as K is the pixels).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.conv.micro_kernel import correlate_pixels
from tilegrad.kernels.cpu.conv.padded_input import (
    CHANNEL,
    DEPTHS,
    PADDED_PARAMS,
    PITCH,
    ROWS,
    PaddedInput,
    copier,
    taps,
)
from tilegrad.kernels.cpu.conv.problem import WeightGradProblem, cut_rows
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import ConvWeight
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Params(NamedTuple):
    """The parameter block: this, then the padded inputs of x and y.

    Attributes:
        x_channel, y_channel: elements of a channel of an item.
        items, block_rows: of a block of pixels: items, or rows of one.
        blocks: of an item, or of ``items``; ``pixel_blocks``: of all.
        parts, part_pixel_blocks: of the pixels; blocks of one.
        row_blocks, row_step: blocks of output channels, channels of one.
        columns: weights of an output channel, padded.
        offsets: address of the offset in the padded x of each.
        task_elements, y_elements: of a task's padded inputs, of y's.
        depth_out, rows_out, width_out: of y.
        packed: whether y is copied.
        channel_step: channels of x in a padded input at a time.
    """

    batch: int
    groups: int
    inputs: int
    outputs: int
    x_channel: int
    y_channel: int
    items: int
    block_rows: int
    blocks: int
    pixel_blocks: int
    parts: int
    part_pixel_blocks: int
    row_blocks: int
    row_step: int
    columns: int
    offsets: int
    tasks: int
    task_elements: int
    y_elements: int
    depth_out: int
    rows_out: int
    width_out: int
    packed: int
    taps: int
    channel_step: int


AT = places(Params)
X_PADDED = len(AT)
Y_PADDED = X_PADDED + PADDED_PARAMS


class _Strides(NamedTuple):
    """Elements between channels (rows of y), items and planes."""

    row: int
    item: int
    plane: int


class _Pixels(NamedTuple):
    """What a sum runs over: items of so many planes of so many pixels."""

    items: int
    planes: int
    pixels: int


def _tile_sums(dtype: str) -> DeviceFunction:
    """The device function ``inner(y, of_y, x, of_x, offsets, over, rows, out, out_column)``: a tile."""
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    @inline
    def inner(y, of_y, x, of_x, offsets, over, rows, out, out_column):
        """One sum over all items; over the planes of one item at a time if it has several."""
        singly = over.planes > 1
        for i in range(over.items if singly else 1):
            correlate_pixels(
                pointer(y + size * i * of_y.item, T), of_y.row, of_y.plane if singly else of_y.item,
                pointer(x + size * i * of_x.item, T), of_x.plane if singly else of_x.item,
                pointer(offsets, np.int64), over.planes if singly else over.items, over.pixels,
                rows, pointer(out, T), out_column,
            )  # fmt: skip

    return inner


@kernel
def accumulate(dtype: str) -> Kernel:
    """The sums of one part, group and block of output channels: ``sums[task, column, k]``."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize
    fill, inner = copier(dtype), _tile_sums(dtype)
    tile = tuning.micro_kernel(dtype)
    MR, NR = tile.conv_weight_outputs, tile.conv_weight_columns

    def body(task, x_, y_, sums_, padded_inputs, params):
        p = pointer(params, np.int64)
        fx, fy = pointer(params + 8 * X_PADDED, np.int64), pointer(params + 8 * Y_PADDED, np.int64)
        groups, inputs, outputs, columns = p[AT.groups], p[AT.inputs], p[AT.outputs], p[AT.columns]
        row = task % p[AT.row_blocks] * p[AT.row_step]
        group, part = task // p[AT.row_blocks] % groups, task // p[AT.row_blocks] // groups
        rows = min(p[AT.row_step], outputs - row)
        y_padded = padded_inputs + size * task * p[AT.task_elements]
        x_padded = y_padded + size * p[AT.y_elements]
        x_plane, y_plane = fx[ROWS] * fx[PITCH], fy[ROWS] * fy[PITCH]
        x_item, y_item, y_row = fx[DEPTHS] * x_plane, fy[DEPTHS] * y_plane, fy[CHANNEL]
        if not p[AT.packed]:
            y_item, y_row = groups * outputs * p[AT.y_channel], p[AT.y_channel]
        of_x, of_y = _Strides(0, x_item, x_plane), _Strides(y_row, y_item, y_plane)
        taps, channels = p[AT.taps], p[AT.channel_step]
        sums = sums_ + size * task * columns * p[AT.row_step]
        for i in range(columns * p[AT.row_step]):
            pointer(sums, T)[i] = T(0)
        block = -1
        begin = part * p[AT.part_pixel_blocks]
        for pixel_block in range(begin, min(p[AT.pixel_blocks], begin + p[AT.part_pixel_blocks])):
            first = pixel_block // p[AT.blocks] * p[AT.items]
            h0 = pixel_block % p[AT.blocks] * p[AT.block_rows]
            items = min(p[AT.items], p[AT.batch] - first)
            at = first * groups + group
            y_at = y_ + size * (at * outputs + row) * p[AT.y_channel]
            pixels = min(p[AT.block_rows], p[AT.rows_out] - h0) * p[AT.width_out]
            over = _Pixels(items, p[AT.depth_out], pixels)
            for channel in range(-channels if p[AT.packed] else 0, inputs, channels):
                x_turn = channel >= 0  # y comes first
                some = min(channels, inputs - channel) if x_turn else rows
                step = p[AT.x_channel] if x_turn else p[AT.y_channel]
                source = x_ + size * (at * inputs + channel) * step if x_turn else y_at
                source_item = groups * (inputs if x_turn else outputs) * step
                padded, item = (x_padded, x_item) if x_turn else (y_padded, y_item)
                for i in range(items):
                    of, to = source + size * i * source_item, padded + size * i * item
                    fill(of, step, to, fx if x_turn else fy, some, h0, h0 != block)
                if x_turn:
                    y = y_padded if p[AT.packed] else y_at + size * h0 * p[AT.width_out]
                    end = columns if channel + channels >= inputs else (channel + some) * taps
                    for k in range(0, rows, MR):
                        for c in range(channel * taps, end, NR):
                            inner(
                                y + size * k * of_y.row, of_y, x_padded, of_x, p[AT.offsets] + 8 * c,
                                over, min(MR, rows - k), sums + size * (c * p[AT.row_step] + k),
                                p[AT.row_step],
                            )  # fmt: skip
            block = h0

    return body, "iiiii"


@kernel
def collect(dtype: str) -> Kernel:
    """Add the parts up and transpose (column, k), a group and block of channels a task."""
    T = np.dtype(dtype).type
    size = np.dtype(dtype).itemsize

    def body(task, sums_, weight_, parts, blocks, columns, outputs, row_step, columns_padded, step):
        group, row = task // blocks, task % blocks * row_step
        sums = pointer(sums_ + size * task * columns_padded * row_step, T)
        weight = pointer(weight_ + size * (group * outputs + row) * columns, T)
        for n in range(1, parts):
            for i in range(columns * row_step):
                sums[i] += sums[n * step + i]
        for k in range(min(row_step, outputs - row)):
            for c in range(columns):
                weight[k * columns + c] = sums[c * row_step + k]

    return body, "iiiiiiiii"


# ---------------------------------------------------------------------------------- the planning


def _padded_inputs(problem: WeightGradProblem) -> tuple[PaddedInput, PaddedInput, int, int]:
    """(padded input of x, that of y, items of a block, rows of pixels of a block)."""
    size, kernel_size, out, stride, before, dilation = problem.window
    W = lanes(problem.dtype)
    extra = [(k - 1) * d // s for k, d, s in zip(kernel_size, dilation, stride, strict=True)]
    room = max(W, ConvWeight.pixel_block_bytes // np.dtype(problem.dtype).itemsize)
    items, rows = 1, out[1]
    if out[0] > 1 or (out[1] * out[2] <= room and not splitting.PIECES):
        items = splitting.extent(problem.batch, max(1, min(problem.batch, room // math.prod(out))))
    else:
        rows = -(-out[1] // -(-out[1] // splitting.extent(out[1], max(1, room // out[2]))))
    shifts = tuple(sorted({t[2] for t in taps(kernel_size, dilation)}))
    depths, mr = out[0] + extra[0], rows + extra[1]
    x = PaddedInput(size, stride, before, shifts, depths, mr, out[2], items, 0, W)
    item = out[0] * rows * out[2]
    vectors = (
        -(-items * item // W) + 1
    )  # in a row of y; made odd below: rows use different cache sets
    slack = (vectors | 1) * W - items * item
    y = PaddedInput(out, (1, 1, 1), (0, 0, 0), (0,), out[0], rows, out[2], items, 0, slack, True)
    return x, y, items, rows


def make_params(problem: WeightGradProblem) -> tuple[Params, np.ndarray, list[np.ndarray]]:
    """The parameters of a problem, their block, and the tables it points to."""
    window = problem.window
    columns = problem.inputs * math.prod(window.kernel)
    x, y, items, rows = _padded_inputs(problem)
    row_bytes = math.prod(window.out) * np.dtype(problem.dtype).itemsize
    packed = (
        window.out[0] > 1 or columns > ConvWeight.few_columns or row_bytes % ConvWeight.alias == 0
    )
    blocks = -(-window.out[1] // rows)
    pixel_blocks = -(-problem.batch // items) * blocks
    where = [x.offset(tap_offset) for tap_offset in taps(window.kernel, window.dilation)]
    tile = tuning.micro_kernel(problem.dtype)
    MR, NR = tile.conv_weight_outputs, tile.conv_weight_columns
    columns_padded = -(-columns // NR) * NR
    # channels of x in a padded input at a time; a multiple of NR, so that no tile straddles two blocks
    channels = ConvWeight.x_bytes // (x.channel * np.dtype(problem.dtype).itemsize)
    channels = min(problem.inputs, max(1, channels // NR) * NR)
    if channels > NR:
        channels = splitting.extent(problem.inputs, channels, NR)
    inputs = np.repeat(np.arange(problem.inputs, dtype=np.int64) % channels, len(where))
    offsets = inputs * x.channel + np.tile(np.array(where, np.int64), problem.inputs)
    offsets = np.append(offsets, np.full(columns_padded - columns, offsets[-1]))
    limit = max(1, ConvWeight.part_elements // (problem.groups * columns_padded * problem.outputs))
    part_pixel_blocks, parts = splitting.share(
        pixel_blocks, 1, -(-pixel_blocks // max(1, min(pixel_blocks, ConvWeight.tasks, limit)))
    )
    parts = max(1, parts)
    row_step = cut_rows(problem.outputs, problem.outputs, MR, parts * problem.groups)
    row_blocks = -(-problem.outputs // row_step)
    y_elements = -(-row_step * y.channel // 16) * 16
    elements = y_elements + -(-channels * x.channel // 16) * 16
    head = Params(
        batch=problem.batch, groups=problem.groups, inputs=problem.inputs, outputs=problem.outputs,
        x_channel=math.prod(window.size), y_channel=math.prod(window.out),
        items=items, block_rows=rows, blocks=blocks, pixel_blocks=pixel_blocks,
        parts=parts, part_pixel_blocks=part_pixel_blocks, row_blocks=row_blocks, row_step=row_step,
        columns=columns_padded, offsets=offsets.ctypes.data,
        tasks=parts * problem.groups * row_blocks, task_elements=elements, y_elements=y_elements,
        depth_out=window.out[0], rows_out=window.out[1], width_out=window.out[2],
        packed=packed, taps=len(where), channel_step=channels,
    )  # fmt: skip
    tables = [x.table(), y.table()]
    padded_inputs = [*x.params(tables[0]), *y.params(tables[1])]
    return head, np.array([*head, *padded_inputs], np.int64), [offsets, *tables]
