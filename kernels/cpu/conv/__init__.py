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

from tilegrad.kernels.cpu.conv import (
    forward as forward,
    items as items,
    outer as outer,
    weight as weights,
)
from tilegrad.kernels.cpu.conv.micro_kernel import shape
from tilegrad.kernels.cpu.conv.problem import (
    Pass,
    WeightPass,
    backward_pass,
    forward_pass,
    work_of,
)
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.window import Window

SERIAL = 1 << 19  # multiply-adds below which a second thread costs more than it gives
PACK_SERIAL = 1 << 15  # weights, likewise

Launch = Callable[..., None]


def conv(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window, bias: bool
) -> tuple[Launch, int]:
    """Prepare ``launch(x, weight, [bias], y, scratch)``; gives ``(launch, scratch_bytes)``."""
    taps = math.prod(window.kernel)
    if jit.backward_follows():
        _begin_weight(dtype, outputs)
    run, scratch_bytes = _forward(
        dtype, batch, (groups, inputs, outputs), window, taps, (inputs * taps, taps)
    )
    return run if bias else _without_bias(run), scratch_bytes


def conv_input(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(y, weight, x, scratch)``; gives ``(launch, scratch_bytes)``."""
    channels, taps = (groups, inputs, outputs), math.prod(window.kernel)
    if window.kernel == window.size and math.prod(window.out) == 1 and not any(window.before):
        # one pixel, which meets every input by a tap of its own: the taps are channels
        pixel = Window._make([(1, 1, 1)] * 4 + [(0, 0, 0), (1, 1, 1)])
        run, scratch_bytes = _forward(
            dtype, batch, (groups, outputs, inputs * taps), pixel, 1, (1, inputs * taps)
        )
        return _without_bias(run), scratch_bytes
    wide = items.pays(dtype, batch, channels, window, window.size)
    count, used = (1, items.turned(window, batch)) if wide else (batch, window)
    run, scratch_bytes = _prepare(
        backward_pass(dtype, count, *channels, used), taps, (taps, inputs * taps)
    )
    if wide:
        x, y = items.sizes(channels, window)
        run, scratch_bytes = _turned(dtype, batch, (y, x), run, scratch_bytes)
    return _without_bias(run), scratch_bytes


def _forward(
    dtype: str,
    batch: int,
    channels: tuple[int, int, int],
    window: Window,
    taps: int,
    steps: tuple[int, int],
) -> tuple[Launch, int]:
    """``launch(x, weight, bias, y, scratch)`` of the output; see :func:`_prepare` for ``steps``."""
    wide = items.pays(dtype, batch, channels, window, window.out)
    count, used = (1, items.turned(window, batch)) if wide else (batch, window)
    run, scratch_bytes = _prepare(forward_pass(dtype, count, *channels, used), taps, steps)
    if wide:
        return _turned(dtype, batch, items.sizes(channels, window), run, scratch_bytes)
    return run, scratch_bytes


def _without_bias(run: Launch) -> Launch:
    def launch(x: int, weight: int, y: int, scratch: int) -> None:
        run(x, weight, 0, y, scratch)

    return launch


def _turned(
    dtype: str, batch: int, sizes: tuple[int, int], run: Launch, scratch_bytes: int
) -> tuple[Launch, int]:
    """``run`` on the batch turned around; ``sizes`` are elements of an item of input and output."""
    into = items.turner(dtype, batch, sizes[0])
    back = items.turner(dtype, sizes[1], batch)
    first, second = (_aligned(batch * n * np.dtype(dtype).itemsize) for n in sizes)

    def launch(x: int, weight: int, bias: int, y: int, scratch: int) -> None:
        into(x, scratch)
        run(scratch, weight, bias, scratch + first, scratch + first + second)
        back(scratch + first, y)

    return launch, first + second + scratch_bytes


def _aligned(count: int) -> int:
    return -(-count // 64) * 64


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
    packed = _aligned(packed)
    tasks = int(-(-plan[forward.UNIT_COUNT] // plan[forward.PER_TASK]))
    frames = tasks * int(plan[forward.TASK_ELEMENTS]) * size
    tile = shape(work.outputs)
    forward.pack_weight.begin(work.dtype, tile.heights)
    convolve = forward.convolve.build(work.dtype, tile)
    pack = forward.pack_weight.build(work.dtype, tile.heights)
    small = splitting.serial(work_of(work), SERIAL)
    few = splitting.serial(work.groups * work.outputs * sum(p.depth for p in packs), PACK_SERIAL)
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
    channels = (groups, inputs, outputs)
    if 2 * outputs > lanes(dtype):
        return _prepare_outer(WeightPass(dtype, batch, *channels, window))
    if not items.pays(dtype, batch, channels, window, window.out):
        return _prepare_weight(WeightPass(dtype, batch, *channels, window))
    wide = items.turned(window, batch)
    run, scratch_bytes = _prepare_weight(WeightPass(dtype, 1, *channels, wide))
    sizes = items.sizes(channels, window)
    turn_x, turn_y = (items.turner(dtype, batch, n) for n in sizes)
    first, second = (_aligned(batch * n * np.dtype(dtype).itemsize) for n in sizes)

    def launch(x: int, y: int, weight: int, scratch: int) -> None:
        turn_x(x, scratch)
        turn_y(y, scratch + first)
        run(scratch, scratch + first, weight, scratch + first + second)

    return launch, first + second + scratch_bytes


def _begin_weight(dtype: str, outputs: int) -> None:
    """Begin what :func:`conv_weight` will build."""
    if 2 * outputs > lanes(dtype):
        vectors = outer.panel_vectors(dtype, outputs)
        outer.accumulate.begin(dtype, vectors)
        outer.collect.begin(dtype, vectors)
    else:
        weights.accumulate.begin(dtype)
        weights.collect.begin(dtype)


def _prepare_weight(work: WeightPass) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)`` for a pass."""
    dtype, _, groups, inputs, outputs, window = work
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
    sums = _aligned(parts * part * size)
    weights.collect.begin(dtype)
    accumulate, collect = weights.accumulate.build(dtype), weights.collect.build(dtype)
    small = splitting.serial(work_of(work), SERIAL)
    few = splitting.serial(parts * part, PACK_SERIAL)
    address = plan.ctypes.data

    def launch(x: int, y: int, weight: int, scratch: int, keep: Any = (plan, tables)) -> None:
        threads = jit.get_num_threads()
        accumulate(x, y, scratch, scratch + sums, address, tasks, 0 if small else threads)
        collect(
            scratch, weight, parts, blocks, taps, outputs, row_step, columns, part,
            groups * blocks, 0 if few else threads,
        )  # fmt: skip

    return launch, sums + tasks * frames * size


def _prepare_outer(work: WeightPass) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)`` for a pass, output channels in the lanes."""
    dtype, _, groups, inputs, outputs, window = work
    plan, tables = outer.make_plan(work)
    size = np.dtype(dtype).itemsize
    parts, tasks, blocks, row_step, elements = (
        int(plan[at])
        for at in (
            outer.PARTS, outer.TASKS, outer.ROW_BLOCKS, outer.ROW_STEP, outer.TASK_ELEMENTS,
        )
    )  # fmt: skip
    columns = inputs * math.prod(window.kernel)
    part = groups * blocks * columns * row_step
    sums = _aligned(parts * part * size)
    vectors = outer.panel_vectors(dtype, outputs)
    outer.collect.begin(dtype, vectors)
    accumulate, collect = (
        outer.accumulate.build(dtype, vectors),
        outer.collect.build(dtype, vectors),
    )
    panels = groups * blocks * row_step // (vectors * lanes(dtype))
    small = splitting.serial(work_of(work), SERIAL)
    few = splitting.serial(parts * part, PACK_SERIAL)
    address = plan.ctypes.data

    def launch(x: int, y: int, weight: int, scratch: int, keep: Any = (plan, tables)) -> None:
        threads = jit.get_num_threads()
        accumulate(x, y, scratch, scratch + sums, address, tasks, 0 if small else threads)
        collect(
            scratch, weight, parts, blocks, columns, outputs, row_step, part, panels,
            0 if few else threads,
        )  # fmt: skip

    return launch, sums + tasks * elements * size
