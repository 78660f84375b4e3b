"""Convolutions of small images with the batch innermost, its items in the lanes.

Where an image has fewer pixels than fill whole vectors, the batch becomes the last dimension: an image of
``W`` columns becomes one of ``W * N``, whose element ``w * N + n`` is column ``w`` of item ``n``. It is
a convolution of a single item, its padding and dilation ``N`` times as wide, with every lane in use.
Each sum has the same terms in the same order as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import ConvBatchInnermost
from tilegrad.kernels.window import Triple, Window


@kernel
def transpose(dtype: str) -> Kernel:
    """``out[j, i] = x[i, j]`` of a matrix of ``rows`` by ``columns``, ``step`` columns a task."""
    T, block = np.dtype(dtype).type, ConvBatchInnermost.block

    def body(task, x_, out_, rows, columns, step):
        x, out = pointer(x_, T), pointer(out_, T)
        end = min(columns, (task + 1) * step)
        for start in range(task * step, end, block):
            for i in range(rows):
                for j in range(start, min(start + block, end)):
                    out[j * rows + i] = x[i * columns + j]

    return body, "iiiii"


def transposer(dtype: str, rows: int, columns: int) -> Callable[[int, int], None]:
    """Prepare ``launch(x, out)``: the transpose of a row-major matrix."""
    function = transpose.build(dtype)
    grain, block = ConvBatchInnermost.grain, ConvBatchInnermost.block
    step = -(-splitting.share(columns, rows, grain)[0] // block) * block
    tasks, small = -(-columns // step), splitting.serial(rows * columns, 2 * grain)

    def launch(x: int, out: int) -> None:
        threads = 0 if small else jit.get_num_threads()
        function(x, out, rows, columns, step, tasks, threads)

    return launch


def with_batch_innermost(window: Window, batch: int) -> Window:
    """The window over images that hold the batch innermost, in their rows."""

    def widen(sizes: Triple) -> Triple:
        return (*sizes[:2], sizes[2] * batch)

    size, kernel_size, out, stride, before, dilation = window
    return Window(
        widen(size), kernel_size, widen(out), (*stride[:2], 1), widen(before), widen(dilation)
    )


def sizes(channels: tuple[int, int, int], window: Window) -> tuple[int, int]:
    """Elements of an item of ``x`` and of ``y``; the channels are groups, inputs and outputs."""
    groups, inputs, outputs = channels
    return groups * inputs * math.prod(window.size), groups * outputs * math.prod(window.out)


def pays(
    dtype: str, batch: int, channels: tuple[int, int, int], window: Window, plane: Triple
) -> bool:
    """Whether the batch innermost saves more than its transposes cost; ``plane`` fills the lanes."""
    if batch == 1 or (window.stride[2] > 1 and window.out[2] > 1):
        return False
    W, pixels = lanes(dtype), plane[1] * plane[2]
    vectors = batch * -(-pixels // W)
    saved = vectors - -(-batch * pixels // W)
    rows = min(plane[1], 4) + window.kernel[1]  # of a padded input, at least
    padded = max(channels[1:]) * window.kernel[2] * rows * plane[2] * batch
    if 4 * saved < vectors or padded * np.dtype(dtype).itemsize > ConvBatchInnermost.padded_bytes:
        return False
    products = math.prod(channels) * math.prod(window.kernel) * plane[0]
    return saved * products > ConvBatchInnermost.transpose_cost * batch * sum(
        sizes(channels, window)
    )
