"""Convolution and its two gradients: what to launch for a given geometry.

``x`` is ``(N, groups * inputs, *size)``, ``weight`` ``(groups * outputs, inputs, *kernel)`` and ``y``
``(N, groups * outputs, *out)``, all row-major. Every sum is cut into pieces of bounded length, added up
in an order that depends on the shapes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cpu import conv_forward as forward, conv_weight as weights, jit
from tilegrad.kernels.cpu.conv_pass import Pass, backward_pass, forward_pass, work_of
from tilegrad.kernels.window import Window

SERIAL = 1 << 19  # multiply-adds below which a second thread costs more than it gives
PACK_SERIAL = 1 << 15  # weights, likewise

Launch = Callable[..., None]


def conv(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window, bias: bool
) -> tuple[Launch, int]:
    """Prepare ``launch(x, weight, [bias], y, scratch)``; gives ``(launch, scratch_bytes)``."""
    work = forward_pass(dtype, batch, groups, inputs, outputs, window)
    taps = math.prod(window.kernel)
    run, scratch_bytes = _prepare(work, taps, (inputs * taps, taps))
    if bias:
        return run, scratch_bytes

    def launch(x: int, weight: int, y: int, scratch: int) -> None:
        run(x, weight, 0, y, scratch)

    return launch, scratch_bytes


def conv_input(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(y, weight, x, scratch)``; gives ``(launch, scratch_bytes)``."""
    work = backward_pass(dtype, batch, groups, inputs, outputs, window)
    taps = math.prod(window.kernel)
    run, scratch_bytes = _prepare(work, taps, (taps, inputs * taps))

    def launch(y: int, weight: int, x: int, scratch: int) -> None:
        run(y, weight, 0, x, scratch)

    return launch, scratch_bytes


def _prepare(work: Pass, taps: int, weight_steps: tuple[int, int]) -> tuple[Launch, int]:
    """``launch(x, weight, bias, y, scratch)`` for a pass.

    ``weight_steps`` are the elements between the weights of two outputs, and of two inputs.
    """
    row, column = weight_steps
    frame, block = forward.plan_frame(work)
    size = np.dtype(work.dtype).itemsize
    group = work.outputs * work.inputs * taps
    plan, tables, packs = forward.make_plan(work, frame, block, column)
    packed = sum(p.depth for p in packs) * work.groups * work.outputs * size
    packed = -(-packed // 64) * 64
    tasks = int(-(-plan[forward.UNIT_COUNT] // plan[forward.PER_TASK]))
    frames = tasks * int(plan[forward.FRAME_ELEMENTS]) * size
    convolve, pack = forward.convolve.build(work.dtype), forward.pack_weight.build(work.dtype)
    small = work_of(work) < SERIAL
    few = work.groups * work.outputs * sum(p.depth for p in packs) < PACK_SERIAL
    row_step = int(plan[forward.ROW_STEP])
    pack_tasks = work.groups * -(-work.outputs // row_step)
    address = plan.ctypes.data

    def launch(
        x: int, weight: int, bias: int, y: int, scratch: int, keep: Any = (plan, tables)
    ) -> None:
        threads = jit.get_num_threads()
        for p in packs:
            pack(
                weight, scratch + p.at, p.offsets, work.outputs, row_step, row, group, p.depth,
                p.inner, pack_tasks, 0 if few else threads,
            )  # fmt: skip
        convolve(x, scratch, bias, y, scratch + packed, address, tasks, 0 if small else threads)

    return launch, packed + frames


def conv_weight(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, weight, scratch)``; gives ``(launch, scratch_bytes)``."""
    work = weights.WeightPass(dtype, batch, groups, inputs, outputs, window)
    plan, tables = weights.make_plan(work)
    size = np.dtype(dtype).itemsize
    parts, columns, tasks, blocks, row_step, frames = (
        int(plan[at])
        for at in (
            weights.PARTS, weights.COLUMNS_PADDED, weights.TASKS, weights.ROW_BLOCKS,
            weights.ROW_STEP, weights.TASK_ELEMENTS,
        )
    )  # fmt: skip
    taps = inputs * math.prod(window.kernel)
    part = groups * blocks * columns * row_step
    sums = -(-parts * part * size // 64) * 64
    accumulate, collect = weights.accumulate.build(dtype), weights.collect.build(dtype)
    small = weights.work_of(work) < SERIAL
    few = parts * part < PACK_SERIAL
    address = plan.ctypes.data

    def launch(x: int, y: int, weight: int, scratch: int, keep: Any = (plan, tables)) -> None:
        threads = jit.get_num_threads()
        accumulate(x, y, scratch, scratch + sums, address, tasks, 0 if small else threads)
        collect(
            scratch, weight, parts, blocks, taps, outputs, row_step, columns, part,
            groups * blocks, 0 if few else threads,
        )  # fmt: skip

    return launch, sums + tasks * frames * size
