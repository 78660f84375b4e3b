"""The gradient of a convolution's weights with output channels in the lanes.

The pixels are cut into *runs*: several items, or some rows of one. For a run, ``y`` is transposed
into panels, a few vectors of channels wide and a row per pixel, and ``x`` is copied between its
padding. What a pixel adds is then an outer product: of a row of a panel, and of those elements of
``x`` that the taps of all channels meet. A table of where each pixel finds its elements makes
stride, dilation and the ends of rows and items the same to the inner loop. Runs are shared out over
*parts*, each with sums of its own, which are added up in order at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from tilegrad.kernels.cpu.conv.frame import DEPTHS, PITCH, ROWS, Frame, copier, taps
from tilegrad.kernels.cpu.conv.outer_micro_kernel import outer
from tilegrad.kernels.cpu.conv.problem import WORKERS, WeightPass, cut_rows
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import lanes, transpose
from tilegrad.kernels.function import DeviceFunction, inline

RUN_BYTES = 1 << 14  # of a panel of y in a run: half of the first-level cache
X_BYTES = 1 << 18  # of x in a frame: a part of the second-level cache
CHUNK = 64  # at most this many products are summed in registers: keeps rounding errors small
PART_ELEMENTS = 1 << 20  # of all sums of all parts

# Places in the plan: the pass, then the frame of x.
BATCH, GROUPS, INPUTS, OUTPUTS, X_CHANNEL, Y_CHANNEL, ITEMS, BLOCK_ROWS, BLOCKS, RUNS = range(10)
PARTS, PART_RUNS, ROW_BLOCKS, ROW_STEP, BASES, STEPS, TASKS, TASK_ELEMENTS = range(10, 18)
Y_ELEMENTS, RUN_PIXELS, TAPS, CHANNEL_STEP, DEPTH_OUT, ROWS_OUT, WIDTH_OUT, STRIDE_ROWS = range(
    18, 26
)
X_FRAME = 26


def panel_vectors(dtype: str, outputs: int) -> int:
    """Vectors in a row of a panel."""
    return 1 if outputs <= lanes(dtype) else 2


@kernel
def accumulate(dtype: str, vectors: int) -> tuple[Callable[..., None], str]:
    """The sums of one part, group and block of output channels: ``sums[task, panel, column, lane]``."""
    T = np.dtype(dtype).type
    size, panel = np.dtype(dtype).itemsize, vectors * lanes(dtype)
    fill, gather, multiply = copier(dtype), _gatherer(dtype, vectors), outer(vectors)

    def body(task, x_, y_, sums_, frames, plan):
        p = pointer(plan, np.int64)
        f = pointer(plan + 8 * X_FRAME, np.int64)
        groups, inputs, outputs, taps = p[GROUPS], p[INPUTS], p[OUTPUTS], p[TAPS]
        row = task % p[ROW_BLOCKS] * p[ROW_STEP]
        group, part = task // p[ROW_BLOCKS] % groups, task // p[ROW_BLOCKS] // groups
        rows = min(p[ROW_STEP], outputs - row)
        turned = frames + size * task * p[TASK_ELEMENTS]
        x_frame = turned + size * p[Y_ELEMENTS]
        x_item, columns = f[DEPTHS] * f[ROWS] * f[PITCH], inputs * taps
        sums = sums_ + size * task * columns * p[ROW_STEP]
        block, channels = -1, p[CHANNEL_STEP]
        begin = part * p[PART_RUNS]
        for run in range(begin, min(p[RUNS], begin + p[PART_RUNS])):
            first, h0 = run // p[BLOCKS] * p[ITEMS], run % p[BLOCKS] * p[BLOCK_ROWS]
            items = min(p[ITEMS], p[BATCH] - first)
            lines = min(p[BLOCK_ROWS], p[ROWS_OUT] - h0)
            pixels = p[DEPTH_OUT] * lines * p[WIDTH_OUT]
            total = items * pixels
            chunk = (total + CHUNK - 1) // CHUNK
            chunk = (total + chunk - 1) // chunk
            for i in range(items):
                at = ((first + i) * groups + group) * outputs + row
                y = pointer(y_ + size * (at * p[Y_CHANNEL] + h0 * p[WIDTH_OUT]), T)
                to = pointer(turned + size * i * pixels * panel, T)
                gather(y, p[Y_CHANNEL], rows, pixels, to, p[RUN_PIXELS] * panel)
            for channel in range(0, inputs, channels):
                some = min(channels, inputs - channel)
                for i in range(items):
                    at = ((first + i) * groups + group) * inputs + channel
                    fill(
                        x_ + size * at * p[X_CHANNEL], p[X_CHANNEL], x_frame + size * i * x_item,
                        f, some, h0 * p[STRIDE_ROWS], h0 != block,
                    )  # fmt: skip
                for k in range(0, rows, panel):
                    y_panel = turned + size * k * p[RUN_PIXELS]
                    out = sums + size * (k * columns + channel * taps * panel)
                    for q in range(0, total, chunk):
                        multiply(
                            pointer(y_panel + size * q * panel, T), pointer(x_frame, T),
                            pointer(p[BASES] + 8 * channel * taps, np.int64),
                            pointer(p[STEPS] + 8 * q, np.int64), min(chunk, total - q),
                            some * taps, pointer(out, T), run == begin and q == 0,
                        )  # fmt: skip
            block = h0

    return body, "iiiii"


def _gatherer(dtype: str, vectors: int) -> DeviceFunction:
    """Transposes ``rows`` rows of ``pixels`` elements into panels that are ``step`` elements apart."""
    W = lanes(dtype)

    def gather(y, y_row, rows, pixels, out, step):
        for k in range(0, rows, W):
            to = k // (vectors * W) * step + k % (vectors * W)
            some = min(W, rows - k)
            if pixels >= W:
                for q in range(0, pixels, W):
                    at = min(q, pixels - W)
                    transpose(
                        y, k * y_row + at, y_row, some, out, to + at * vectors * W, vectors * W
                    )
            else:
                for q in range(pixels):
                    for i in range(some):
                        out[to + q * vectors * W + i] = y[(k + i) * y_row + q]

    return inline(gather)


@kernel
def collect(dtype: str, vectors: int) -> tuple[Callable[..., None], str]:
    """Add the parts up and turn (column, lane) around, a panel a task."""
    T = np.dtype(dtype).type
    size, W = np.dtype(dtype).itemsize, lanes(dtype)
    panel = vectors * W

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


def _frame(work: WeightPass) -> tuple[Frame, int, int]:
    """(frame of x, items of a run, rows of pixels of a run)."""
    size, kernel_size, out, stride, before, dilation = work.window
    itemsize = np.dtype(work.dtype).itemsize
    panel = panel_vectors(work.dtype, work.outputs) * lanes(work.dtype)
    room, items, rows = RUN_BYTES // (panel * itemsize), 1, out[1]
    if out[0] > 1 or (out[1] * out[2] <= room and not splitting.PIECES):
        items = splitting.extent(work.batch, max(1, min(work.batch, room // math.prod(out))))
    else:
        rows = -(-out[1] // -(-out[1] // splitting.extent(out[1], max(1, room // out[2]))))
    depths, height, pitch = (
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip((out[0], rows, out[2]), stride, kernel_size, dilation, strict=True)
    )
    W = lanes(work.dtype)
    return (
        Frame(size, (1, 1, 1), before, (0,), depths, height, pitch, items, 0, W, True),
        items,
        rows,
    )


def make_plan(work: WeightPass) -> tuple[np.ndarray, list[np.ndarray]]:
    """The plan of a pass and the tables it points to."""
    _, kernel_size, out, stride, _, dilation = work.window
    panel = panel_vectors(work.dtype, work.outputs) * lanes(work.dtype)
    x, items, rows = _frame(work)
    blocks = -(-out[1] // rows)
    runs = -(-work.batch // items) * blocks
    where = [x.offset(tap) for tap in taps(kernel_size, dilation)]
    columns = work.inputs * len(where)
    channels = X_BYTES // (x.channel * np.dtype(work.dtype).itemsize)
    channels = splitting.extent(work.inputs, min(work.inputs, max(1, channels)))
    inputs = np.repeat(np.arange(work.inputs, dtype=np.int64) % channels, len(where))
    bases = inputs * x.channel + np.tile(np.array(where, np.int64), work.inputs)
    steps = np.array(
        [
            i * x.item + x.offset((d * stride[0], h * stride[1], w * stride[2]))
            for i, d, h, w in product(*(range(n) for n in (items, out[0], rows, out[2])))
        ],
        np.int64,
    )
    panels = -(-work.outputs // panel)
    limit = max(1, PART_ELEMENTS // (work.groups * columns * panels * panel))
    part_runs = splitting.share(runs, -(-runs // min(runs, WORKERS, limit)))
    parts = -(-runs // part_runs)
    row_step = cut_rows(work.outputs, panels * panel, panel, parts * work.groups)
    row_blocks = -(-work.outputs // row_step)
    y_elements = row_step * len(steps)
    elements = y_elements + -(-channels * x.channel // 16) * 16
    table = x.table()
    plan = [
        work.batch, work.groups, work.inputs, work.outputs, math.prod(work.window.size),
        math.prod(out), items, rows, blocks, runs, parts, part_runs, row_blocks, row_step,
        bases.ctypes.data, steps.ctypes.data, parts * work.groups * row_blocks, elements,
        y_elements, len(steps), len(where), channels, *out, stride[1], *x.plan(table),
    ]  # fmt: skip
    return np.array(plan, np.int64), [bases, steps, table]
