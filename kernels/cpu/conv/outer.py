"""The gradient of a convolution's weights with output channels in the lanes.

The pixels are cut into *blocks*: several items, or some rows of one. For a block, ``y`` is packed
into panels, a few vectors of channels wide and a row per pixel, and ``x`` is padded. What a pixel adds
is then an outer product: of a row of a panel, and of those elements of ``x`` that the taps of all
channels meet. A table with the offset of each pixel hides stride, dilation and the ends of rows and
items from the micro-kernel. Blocks are distributed over *parts*, each with sums of its own, which are
added up in order at the end (split-K, as K is the pixels).
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.conv.padded_input import DEPTHS, PITCH, ROWS, PaddedInput, copier, taps
from tilegrad.kernels.cpu.conv.problem import WeightGradProblem, cut_rows
from tilegrad.kernels.cpu.conv.weight_micro_kernel import outer_product
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import lanes, transpose
from tilegrad.kernels.cpu.tuning import ConvOuter
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Params(NamedTuple):
    """The parameter block: this, then the padded input of x.

    Attributes:
        x_channel, y_channel: elements of a channel of an item.
        items, block_rows: of a block of pixels: items, or rows of one; ``block_pixels`` in all.
        blocks: of an item, or of ``items``; ``pixel_blocks``: of all.
        parts, part_pixel_blocks: of the pixels; blocks of one.
        row_blocks, row_step: blocks of output channels, channels of one.
        bases, steps: addresses of the offset of each weight, and of each pixel, in the padded x.
        task_elements, y_elements: of a task's memory, of y's panels.
        channel_step: channels of x in a padded input at a time.
        depth_out, rows_out, width_out: of y.
        stride_rows: of the window.
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
    bases: int
    steps: int
    tasks: int
    task_elements: int
    y_elements: int
    block_pixels: int
    taps: int
    channel_step: int
    depth_out: int
    rows_out: int
    width_out: int
    stride_rows: int


AT = places(Params)
X_PADDED = len(AT)


def panel_vectors(dtype: str, outputs: int) -> int:
    """Vectors in a row of a panel."""
    return 1 if outputs <= lanes(dtype) else 2


@kernel
def accumulate(dtype: str, nr_vectors: int) -> Kernel:
    """The sums of one part, group and block of output channels: ``sums[task, panel, column, lane]``."""
    T = np.dtype(dtype).type
    size, panel = np.dtype(dtype).itemsize, nr_vectors * lanes(dtype)
    fill, pack_y, multiply = copier(dtype), _y_packer(dtype, nr_vectors), outer_product(nr_vectors)
    kc = ConvOuter.kc

    def body(task, x_, y_, sums_, padded_inputs, params):
        p = pointer(params, np.int64)
        f = pointer(params + 8 * X_PADDED, np.int64)
        groups, inputs, outputs, taps = p[AT.groups], p[AT.inputs], p[AT.outputs], p[AT.taps]
        row = task % p[AT.row_blocks] * p[AT.row_step]
        group, part = task // p[AT.row_blocks] % groups, task // p[AT.row_blocks] // groups
        rows = min(p[AT.row_step], outputs - row)
        y_panels = padded_inputs + size * task * p[AT.task_elements]
        x_padded = y_panels + size * p[AT.y_elements]
        x_item, columns = f[DEPTHS] * f[ROWS] * f[PITCH], inputs * taps
        sums = sums_ + size * task * columns * p[AT.row_step]
        block, channels = -1, p[AT.channel_step]
        begin = part * p[AT.part_pixel_blocks]
        end = min(p[AT.pixel_blocks], begin + p[AT.part_pixel_blocks])
        for pixel_block in range(begin, end):
            first = pixel_block // p[AT.blocks] * p[AT.items]
            h0 = pixel_block % p[AT.blocks] * p[AT.block_rows]
            items = min(p[AT.items], p[AT.batch] - first)
            lines = min(p[AT.block_rows], p[AT.rows_out] - h0)
            pixels = p[AT.depth_out] * lines * p[AT.width_out]
            total = items * pixels
            chunk = (total + kc - 1) // kc
            chunk = (total + chunk - 1) // chunk
            for i in range(items):
                at = ((first + i) * groups + group) * outputs + row
                y = pointer(y_ + size * (at * p[AT.y_channel] + h0 * p[AT.width_out]), T)
                to = pointer(y_panels + size * i * pixels * panel, T)
                pack_y(y, p[AT.y_channel], rows, pixels, to, p[AT.block_pixels] * panel)
            for channel in range(0, inputs, channels):
                some = min(channels, inputs - channel)
                for i in range(items):
                    at = ((first + i) * groups + group) * inputs + channel
                    fill(
                        x_ + size * at * p[AT.x_channel], p[AT.x_channel], x_padded + size * i * x_item,
                        f, some, h0 * p[AT.stride_rows], h0 != block,
                    )  # fmt: skip
                for k in range(0, rows, panel):
                    y_panel = y_panels + size * k * p[AT.block_pixels]
                    out = sums + size * (k * columns + channel * taps * panel)
                    for q in range(0, total, chunk):
                        multiply(
                            pointer(y_panel + size * q * panel, T), pointer(x_padded, T),
                            pointer(p[AT.bases] + 8 * channel * taps, np.int64),
                            pointer(p[AT.steps] + 8 * q, np.int64), min(chunk, total - q),
                            some * taps, pointer(out, T), pixel_block == begin and q == 0,
                        )  # fmt: skip
            block = h0

    return body, "iiiii"


def _y_packer(dtype: str, nr_vectors: int) -> DeviceFunction:
    """Pack y: ``rows`` rows of ``pixels`` elements become panels, ``step`` elements apart."""
    W = lanes(dtype)

    def pack_y(y, y_row, rows, pixels, out, step):
        for k in range(0, rows, W):
            to = k // (nr_vectors * W) * step + k % (nr_vectors * W)
            some = min(W, rows - k)
            if pixels >= W:
                for q in range(0, pixels, W):
                    at = min(q, pixels - W)
                    transpose(
                        y,
                        k * y_row + at,
                        y_row,
                        some,
                        out,
                        to + at * nr_vectors * W,
                        nr_vectors * W,
                    )
            else:
                for q in range(pixels):
                    for i in range(some):
                        out[to + q * nr_vectors * W + i] = y[(k + i) * y_row + q]

    return inline(pack_y)


@kernel
def collect(dtype: str, nr_vectors: int) -> Kernel:
    """Add the parts up and transpose (column, lane), a panel a task."""
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    panel = nr_vectors * W

    def body(task, sums_, weight_, parts, blocks, columns, outputs, row_step, step):
        panels = row_step // panel
        row = task % (blocks * panels) * panel
        sums = pointer(sums_ + size * task * panel * columns, T)
        if row < outputs:
            for n in range(1, parts):
                more = pointer(sums_ + size * (n * step + task * panel * columns), T)
                for i in range(columns * panel):
                    sums[i] += more[i]
            group = task // (blocks * panels)
            weight = pointer(weight_ + size * (group * outputs + row) * columns, T)
            for k in range(0, min(panel, outputs - row), W):
                whole = columns >= W and row + k + W <= outputs
                if whole:
                    for c in range(0, columns, W):
                        at = min(c, columns - W)
                        transpose(sums, at * panel + k, panel, W, weight, k * columns + at, columns)
                else:
                    for i in range(k, min(k + W, outputs - row)):
                        for c in range(columns):
                            weight[i * columns + c] = sums[c * panel + i]

    return body, "iiiiiiii"


# ---------------------------------------------------------------------------------- the planning


def _padded_input(problem: WeightGradProblem) -> tuple[PaddedInput, int, int]:
    """(padded input of x, items of a block, rows of pixels of a block)."""
    size, kernel_size, out, stride, before, dilation = problem.window
    itemsize = np.dtype(problem.dtype).itemsize
    panel = panel_vectors(problem.dtype, problem.outputs) * lanes(problem.dtype)
    room, items, rows = ConvOuter.pixel_block_bytes // (panel * itemsize), 1, out[1]
    if out[0] > 1 or (out[1] * out[2] <= room and not splitting.PIECES):
        items = splitting.extent(problem.batch, max(1, min(problem.batch, room // math.prod(out))))
    else:
        rows = -(-out[1] // -(-out[1] // splitting.extent(out[1], max(1, room // out[2]))))
    depths, mr, pitch = (
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip((out[0], rows, out[2]), stride, kernel_size, dilation, strict=True)
    )
    W = lanes(problem.dtype)
    return (
        PaddedInput(size, (1, 1, 1), before, (0,), depths, mr, pitch, items, 0, W, True),
        items,
        rows,
    )


def make_params(problem: WeightGradProblem) -> tuple[Params, np.ndarray, list[np.ndarray]]:
    """The parameters of a problem and the tables it points to."""
    _, kernel_size, out, stride, _, dilation = problem.window
    panel = panel_vectors(problem.dtype, problem.outputs) * lanes(problem.dtype)
    x, items, rows = _padded_input(problem)
    blocks = -(-out[1] // rows)
    pixel_blocks = -(-problem.batch // items) * blocks
    where = [x.offset(tap) for tap in taps(kernel_size, dilation)]
    columns = problem.inputs * len(where)
    channels = ConvOuter.x_bytes // (x.channel * np.dtype(problem.dtype).itemsize)
    channels = splitting.extent(problem.inputs, min(problem.inputs, max(1, channels)))
    inputs = np.repeat(np.arange(problem.inputs, dtype=np.int64) % channels, len(where))
    bases = inputs * x.channel + np.tile(np.array(where, np.int64), problem.inputs)
    steps = np.array(
        [
            i * x.item + x.offset((d * stride[0], h * stride[1], w * stride[2]))
            for i, d, h, w in product(*(range(n) for n in (items, out[0], rows, out[2])))
        ],
        np.int64,
    )
    panels = -(-problem.outputs // panel)
    limit = max(1, ConvOuter.part_elements // (problem.groups * columns * panels * panel))
    part_pixel_blocks, parts = splitting.share(
        pixel_blocks, 1, -(-pixel_blocks // min(pixel_blocks, ConvOuter.tasks, limit))
    )
    row_step = cut_rows(problem.outputs, panels * panel, panel, parts * problem.groups)
    row_blocks = -(-problem.outputs // row_step)
    y_elements = row_step * len(steps)
    elements = y_elements + -(-channels * x.channel // 16) * 16
    table = x.table()
    params = Params(
        batch=problem.batch, groups=problem.groups, inputs=problem.inputs, outputs=problem.outputs,
        x_channel=math.prod(problem.window.size), y_channel=math.prod(out),
        items=items, block_rows=rows, blocks=blocks, pixel_blocks=pixel_blocks,
        parts=parts, part_pixel_blocks=part_pixel_blocks, row_blocks=row_blocks, row_step=row_step,
        bases=bases.ctypes.data, steps=steps.ctypes.data, tasks=parts * problem.groups * row_blocks,
        task_elements=elements, y_elements=y_elements, block_pixels=len(steps), taps=len(where),
        channel_step=channels, depth_out=out[0], rows_out=out[1], width_out=out[2],
        stride_rows=stride[1],
    )  # fmt: skip
    return params, np.array([*params, *x.params(table)], np.int64), [bases, steps, table]
