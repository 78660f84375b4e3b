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
    batch_innermost as batch_innermost,
    forward as forward,
    outer as outer,
    weight as weights,
)
from tilegrad.kernels.cpu.conv.micro_kernel import shape
from tilegrad.kernels.cpu.conv.problem import (
    ConvProblem,
    WeightGradProblem,
    forward_problem,
    input_grad_problem,
    multiply_adds,
)
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Conv
from tilegrad.kernels.window import Window

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
    wide = batch_innermost.pays(dtype, batch, channels, window, window.size)
    count, used = (
        (1, batch_innermost.with_batch_innermost(window, batch)) if wide else (batch, window)
    )
    run, scratch_bytes = _prepare(
        input_grad_problem(dtype, count, *channels, used), taps, (taps, inputs * taps)
    )
    if wide:
        x, y = batch_innermost.sizes(channels, window)
        run, scratch_bytes = _with_batch_innermost(dtype, batch, (y, x), run, scratch_bytes)
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
    wide = batch_innermost.pays(dtype, batch, channels, window, window.out)
    count, used = (
        (1, batch_innermost.with_batch_innermost(window, batch)) if wide else (batch, window)
    )
    run, scratch_bytes = _prepare(forward_problem(dtype, count, *channels, used), taps, steps)
    if wide:
        return _with_batch_innermost(
            dtype, batch, batch_innermost.sizes(channels, window), run, scratch_bytes
        )
    return run, scratch_bytes


def _without_bias(run: Launch) -> Launch:
    def launch(x: int, weight: int, y: int, scratch: int) -> None:
        run(x, weight, 0, y, scratch)

    return launch


def _with_batch_innermost(
    dtype: str, batch: int, sizes: tuple[int, int], run: Launch, scratch_bytes: int
) -> tuple[Launch, int]:
    """``run`` on transposed copies, the batch innermost; ``sizes`` are elements of an item of input and
    output.
    """
    into = batch_innermost.transposer(dtype, batch, sizes[0])
    back = batch_innermost.transposer(dtype, sizes[1], batch)
    first, second = (_aligned(batch * n * np.dtype(dtype).itemsize) for n in sizes)

    def launch(x: int, weight: int, bias: int, y: int, scratch: int) -> None:
        into(x, scratch)
        run(scratch, weight, bias, scratch + first, scratch + first + second)
        back(scratch + first, y)

    return launch, first + second + scratch_bytes


def _aligned(count: int) -> int:
    return -(-count // 64) * 64


def _prepare(problem: ConvProblem, taps: int, weight_steps: tuple[int, int]) -> tuple[Launch, int]:
    """``launch(x, weight, bias, y, scratch)`` for a problem.

    ``weight_steps`` are the elements between the weights of two outputs, and of two inputs.
    """
    row, column = weight_steps
    padded, block = forward.plan_padded_input(problem)
    size = np.dtype(problem.dtype).itemsize
    group = problem.outputs * problem.inputs * taps
    p, params, tables, packings = forward.make_params(problem, padded, block, column)
    depth = sum(packing.depth for packing in packings)
    packed = depth * problem.groups * problem.outputs * size
    packed = _aligned(packed)
    tasks = -(-p.unit_count // p.per_task)
    padded_inputs = tasks * p.task_elements * size
    tile = shape(problem.dtype, problem.outputs)
    forward.pack_weight.begin(problem.dtype, tile.mr_tiles)
    convolve = forward.convolve.build(problem.dtype, tile)
    pack = forward.pack_weight.build(problem.dtype, tile.mr_tiles)
    small = splitting.serial(multiply_adds(problem), Conv.serial)
    few = splitting.serial(problem.groups * problem.outputs * depth, Conv.pack_serial)
    row_step = p.row_step
    pack_tasks = problem.groups * -(-problem.outputs // row_step)
    address = params.ctypes.data

    def launch(
        x: int, weight: int, bias: int, y: int, scratch: int, keep: Any = (params, tables)
    ) -> None:
        threads = jit.get_num_threads()
        for packing in packings:
            pack(
                weight, scratch + packing.at, packing.offsets, problem.outputs, row_step, row, group,
                packing.depth, packing.kc, pack_tasks, 0 if few else threads,
            )  # fmt: skip
        convolve(x, scratch, bias, y, scratch + packed, address, tasks, 0 if small else threads)

    return launch, packed + padded_inputs


def conv_weight(
    dtype: str, batch: int, groups: int, inputs: int, outputs: int, window: Window
) -> tuple[Launch, int]:
    """Prepare ``launch(x, y, weight, scratch)``; gives ``(launch, scratch_bytes)``."""
    channels = (groups, inputs, outputs)
    if 2 * outputs > lanes(dtype):
        return _prepare_outer(WeightGradProblem(dtype, batch, *channels, window))
    if not batch_innermost.pays(dtype, batch, channels, window, window.out):
        return _prepare_weight(WeightGradProblem(dtype, batch, *channels, window))
    wide = batch_innermost.with_batch_innermost(window, batch)
    run, scratch_bytes = _prepare_weight(WeightGradProblem(dtype, 1, *channels, wide))
    sizes = batch_innermost.sizes(channels, window)
    transpose_x, transpose_y = (batch_innermost.transposer(dtype, batch, n) for n in sizes)
    first, second = (_aligned(batch * n * np.dtype(dtype).itemsize) for n in sizes)

    def launch(x: int, y: int, weight: int, scratch: int) -> None:
        transpose_x(x, scratch)
        transpose_y(y, scratch + first)
        run(scratch, scratch + first, weight, scratch + first + second)

    return launch, first + second + scratch_bytes


def _begin_weight(dtype: str, outputs: int) -> None:
    """Begin what :func:`conv_weight` will build."""
    if 2 * outputs > lanes(dtype):
        nr_vectors = outer.panel_vectors(dtype, outputs)
        outer.accumulate.begin(dtype, nr_vectors)
        outer.collect.begin(dtype, nr_vectors)
    else:
        weights.accumulate.begin(dtype)
        weights.collect.begin(dtype)


def _prepare_weight(problem: WeightGradProblem) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)`` for a problem."""
    dtype, _, groups, inputs, outputs, _ = problem
    p, params, tables = weights.make_params(problem)
    part, blocks = groups * p.row_blocks * p.columns * p.row_step, groups * p.row_blocks
    tail = (inputs * p.taps, outputs, p.row_step, p.columns, part, blocks)
    weights.collect.begin(dtype)
    kernels = weights.accumulate.build(dtype), weights.collect.build(dtype)
    return _in_parts(problem, p, (params, tables), kernels, part, tail)


def _prepare_outer(problem: WeightGradProblem) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)`` for a problem, output channels in the lanes."""
    dtype, _, groups, inputs, outputs, window = problem
    p, params, tables = outer.make_params(problem)
    columns, nr_vectors = inputs * math.prod(window.kernel), outer.panel_vectors(dtype, outputs)
    part = groups * p.row_blocks * columns * p.row_step
    panels = groups * p.row_blocks * p.row_step // (nr_vectors * lanes(dtype))
    tail = (columns, outputs, p.row_step, part, panels)
    variant = (dtype, nr_vectors)
    outer.collect.begin(*variant)
    kernels = outer.accumulate.build(*variant), outer.collect.build(*variant)
    return _in_parts(problem, p, (params, tables), kernels, part, tail)


def _in_parts(
    problem: WeightGradProblem,
    p: weights.Params | outer.Params,
    held: tuple[np.ndarray, Any],
    kernels: tuple[Launch, Launch],
    part: int,
    tail: tuple[int, ...],
) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)``: the sums of the parts of the pixels, ``part`` elements each,
    then their sum; ``held`` is the parameter block, and what it points to.
    """
    accumulate, collect = kernels
    size = np.dtype(problem.dtype).itemsize
    sums = _aligned(p.parts * part * size)
    small = splitting.serial(multiply_adds(problem), Conv.serial)
    few = splitting.serial(p.parts * part, Conv.pack_serial)
    address = held[0].ctypes.data

    def launch(x: int, y: int, weight: int, scratch: int, keep: Any = held) -> None:
        threads = jit.get_num_threads()
        accumulate(x, y, scratch, scratch + sums, address, p.tasks, 0 if small else threads)
        collect(scratch, weight, p.parts, p.row_blocks, *tail, 0 if few else threads)

    return launch, sums + p.tasks * p.task_elements * size
