"""Convolution over a padded input: the kernels of a problem, and their parameters.

Units of work are cut to keep every processor busy; no sum depends on that. A task pads its input,
multiplies the weights of a block of output channels at a time with runs of pixels and writes the sums
out. A *run* is a number of pixels that follow each other in the padded input.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.conv.micro_kernel import Shape, correlate, even_rows, shape
from tilegrad.kernels.cpu.conv.padded_input import (
    PADDED_PARAMS,
    PITCH,
    ROWS,
    PaddedInput,
    copier,
    shared_zeros,
)
from tilegrad.kernels.cpu.conv.problem import ConvProblem, multiply_adds
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import local, offset, pointer
from tilegrad.kernels.cpu.simd.vector import head, lanes, load, store_masked
from tilegrad.kernels.cpu.tuning import Conv
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Params(NamedTuple):
    """The parameter block: this, then the padded input, then a :class:`SubParams` a sub-convolution.

    Attributes:
        x_channel, y_channel: elements of a channel of an item.
        block_rows, blocks: rows of pixels of a block, blocks of an item.
        row_blocks, row_step: blocks of output channels, channels of one.
        unit_count, per_task: units of work, those of a task.
        task_elements, padded_elements: of a task's memory, of its padded input.
        vectors: that the tables of offsets have room for.
    """

    groups: int
    inputs: int
    outputs: int
    x_channel: int
    y_channel: int
    block_rows: int
    blocks: int
    row_blocks: int
    row_step: int
    sub_convs: int
    unit_count: int
    per_task: int
    task_elements: int
    padded_elements: int
    vectors: int


class SubParams(NamedTuple):
    """A sub-convolution: products (K) and KC, the first element of its packed weights, the address of
    the offset of each product, its pixels, and where they go in the output.
    """

    depth: int
    kc: int
    weight: int
    offsets: int
    depth_out: int
    rows_out: int
    width_out: int
    first: int
    plane_step: int
    row_step: int
    step: int


AT, SUB = places(Params), places(SubParams)
PADDED_AT = len(AT)
SUB_CONVS_AT = PADDED_AT + PADDED_PARAMS


# ----------------------------------------------------------------------------------- the kernels


class _Unit(NamedTuple):
    """Addresses of a unit's packed weights, padded input and output, and its runs of ``run`` pixels."""

    weights: int
    padded: int
    out: int
    runs: int
    run: int
    rows: int
    h0: int


def _unit_multiplier(dtype: str, tile: Shape) -> DeviceFunction:
    """The device function ``multiply(unit, bias, zeros, sums, steps, in_offsets, out_offsets, j, p, f)`` of
    :func:`convolve`: all pixels of a unit; ``steps`` are the offsets of vectors in ``sums``.
    """
    T = np.dtype(dtype).type
    size, W, nr_vectors = np.dtype(dtype).itemsize, lanes(dtype), tile.nr_vectors
    scatter, correlate_tiles = _scatterer(dtype, nr_vectors), correlate(tile)

    @inline
    def multiply(unit, bias, zeros, sums, steps, in_offsets, out_offsets, j, p, f):
        nothing, rows, depth, step = pointer(0, T), unit.rows, j[SUB.depth], j[SUB.step]
        direct, per_run = step == 1 and unit.run >= W, (unit.run + W - 1) // W
        count = unit.runs * per_run
        for d in range(j[SUB.depth_out]):
            y = pointer(unit.out + size * (d * j[SUB.plane_step] + unit.h0 * j[SUB.row_step]), T)
            x = pointer(unit.padded + size * d * f[ROWS] * f[PITCH], T)
            for v in range(0, count, nr_vectors):
                there = offset(out_offsets, v)
                for k in range(0, max(1, depth), j[SUB.kc]):
                    some = min(j[SUB.kc], depth - k)
                    ends = direct and k + some == depth
                    correlate_tiles(
                        pointer(unit.weights + size * k * rows, T), x, offset(in_offsets, v),
                        pointer(j[SUB.offsets] + 8 * k, np.int64), some, rows,
                        zeros if k else bias, sums if k else nothing, y if ends else sums,
                        p[AT.y_channel] if ends else nr_vectors * W, there if ends else steps,
                    )  # fmt: skip
                if not direct:
                    scatter(
                        sums,
                        rows,
                        v,
                        count,
                        per_run,
                        unit.run,
                        y,
                        p[AT.y_channel],
                        j[SUB.row_step],
                        step,
                    )

    return multiply


@kernel
def convolve(dtype: str, tile: Shape) -> Kernel:
    """A unit of work: an item and group, a block of pixel rows, a sub-convolution, a block of channels.

    A task does several units in turn and pads an input once for those that share it. Pixels are taken
    by whole vectors: the last one of a run overlaps the one before it. Only where a run is shorter
    than a vector, or its pixels are strided in the output, sums go through a buffer.
    """
    T = np.dtype(dtype).type
    size, W, nr_vectors = np.dtype(dtype).itemsize, lanes(dtype), tile.nr_vectors
    fill, multiply, lay_out = copier(dtype), _unit_multiplier(dtype, tile), _layout(nr_vectors, W)
    most_rows, make_steps = Conv.rows, local("int64", nr_vectors)
    make_sums, make_zeros = local(dtype, most_rows * nr_vectors * W), local(dtype, most_rows)

    def body(task, x_, weight_, bias_, y_, padded_inputs, params):
        p = pointer(params, np.int64)
        f = pointer(params + 8 * PADDED_AT, np.int64)
        sums, zeros, steps = make_sums(), make_zeros(), make_steps()
        for i in range(nr_vectors):
            steps[i] = i * W
        for i in range(most_rows):
            zeros[i] = T(0)
        groups, inputs, outputs = p[AT.groups], p[AT.inputs], p[AT.outputs]
        pitch = f[PITCH]
        padded = padded_inputs + size * task * p[AT.task_elements]
        in_offsets = pointer(padded + size * p[AT.padded_elements], np.int64)
        out_offsets = offset(in_offsets, p[AT.vectors])
        copied, block, laid_out, laid_runs = -1, -1, -1, -1
        begin = task * p[AT.per_task]
        for number in range(begin, min(p[AT.unit_count], begin + p[AT.per_task])):
            part = number // p[AT.row_blocks] // p[AT.sub_convs]
            item, h0 = part // p[AT.blocks], part % p[AT.blocks] * p[AT.block_rows]
            if part != copied:
                x = x_ + size * item * inputs * p[AT.x_channel]
                fill(x, p[AT.x_channel], padded, f, inputs, h0, h0 != block)
                copied, block = part, h0
            sub_conv = number // p[AT.row_blocks] % p[AT.sub_convs]
            j = pointer(params + 8 * (SUB_CONVS_AT + len(SUB) * sub_conv), np.int64)
            runs, run = min(h0 + p[AT.block_rows], j[SUB.rows_out]) - h0, j[SUB.width_out]
            if runs <= 0:
                continue
            group, row = item % groups, number % p[AT.row_blocks] * p[AT.row_step]
            rows = min(p[AT.row_step], outputs - row)
            tiles = weight_ + size * (j[SUB.weight] + (group * outputs + row) * j[SUB.depth])
            bias = pointer(bias_ + size * (group * outputs + row), T) if bias_ != 0 else zeros
            to = y_ + size * ((item * outputs + row) * p[AT.y_channel] + j[SUB.first])
            if run == pitch and j[SUB.step] == 1 and j[SUB.row_step] == run:
                runs, run = 1, runs * run  # the rows follow each other
            direct = j[SUB.step] == 1 and run >= W
            if sub_conv != laid_out or runs * run != laid_runs:
                lay_out(runs, run, pitch, j[SUB.row_step], direct, in_offsets, out_offsets)
                laid_out, laid_runs = sub_conv, runs * run
            unit = _Unit(tiles, padded, to, runs, run, rows, h0)
            multiply(unit, bias, zeros, sums, steps, in_offsets, out_offsets, j, p, f)

    return body, "iiiiii"


def _layout(nr_vectors: int, W: int) -> DeviceFunction:
    """The input and output offsets of each vector of pixels, for whole tiles of them."""

    def lay_out(runs, run, pitch, run_step, direct, in_offsets, out_offsets):
        count, r, c = runs * ((run + W - 1) // W), 0, 0
        for v in range((count + nr_vectors - 1) // nr_vectors * nr_vectors):
            at = min(c, run - W) if direct else c
            in_offsets[v], out_offsets[v] = r * pitch + at, r * run_step + at
            if v + 1 < count:  # else the last vector fills the tile
                c += W
                if c >= run:
                    r, c = r + 1, 0

    return inline(lay_out)


def _scatterer(dtype: str, nr_vectors: int) -> DeviceFunction:
    """Writes the sums of vectors ``first, …`` of ``count``, ``per_run`` in a run of ``run`` pixels."""
    T = np.dtype(dtype).type
    W = lanes(dtype)

    def scatter(sums, rows, first, count, per_run, run, y, y_row, run_step, step):
        for v in range(first, min(first + nr_vectors, count)):
            c = v % per_run * W
            pixels, to = min(W, run - c), v // per_run * run_step + c * step
            for k in range(rows):
                at = (k * nr_vectors + v - first) * W
                if step == 1:
                    store_masked(y, k * y_row + to, load(sums, at), head(T, pixels))
                else:
                    for i in range(pixels):
                        y[k * y_row + to + i * step] = sums[at + i]

    return inline(scatter)


@kernel
def pack_weight(dtype: str, sizes: tuple[int, ...]) -> Kernel:
    """Pack the weights of a sub-convolution (A) in tiles of ``sizes`` rows, a block of channels a task.

    ``offsets[k]`` is where channel 0 has its weight for product ``k``; channels are ``row`` apart.
    """
    T = np.dtype(dtype).type
    size, even = np.dtype(dtype).itemsize, even_rows(sizes)

    def body(task, weight_, tiles_, offsets_, rows, row_step, row, group, depth, inner):
        blocks = (rows + row_step - 1) // row_step
        first = task % blocks * row_step
        count = min(row_step, rows - first)
        w = pointer(weight_ + size * (task // blocks * group + first * row), T)
        tiles = pointer(tiles_ + size * (task // blocks * rows + first) * depth, T)
        offsets = pointer(offsets_, np.int64)
        to = 0
        for k in range(0, depth, inner):
            end = min(depth, k + inner)
            i = 0
            for mr in sizes:
                while i + mr <= count and (mr < sizes[0] or count - i != even):
                    for n in range(k, end):
                        at = i * row + offsets[n]
                        for r in range(mr):
                            tiles[to] = w[at + r * row]
                            to += 1
                    i += mr

    return body, "iiiiiiiii"


# ---------------------------------------------------------------------------------- the planning


def kc_for(depth: int) -> int:
    """KC: how many products are summed in registers; depends on their number only."""
    return max(1, -(-depth // max(1, -(-depth // Conv.kc))))


def plan_padded_input(problem: ConvProblem) -> tuple[PaddedInput, int]:
    """The padded input of a problem, and the rows of pixels of a block."""
    counts = [max(sub_conv.counts[axis] for sub_conv in problem.sub_convs) for axis in range(3)]
    ends = [0, 0, 0]
    for sub_conv, axis in product(problem.sub_convs, range(3)):
        far = max([0, *(r[axis] // problem.stride[axis] for r in sub_conv.tap_offsets)])
        ends[axis] = max(ends[axis], far + sub_conv.counts[axis])
    W = lanes(problem.dtype)
    shifts = tuple(
        sorted(
            {tap_offset[2] for sub_conv in problem.sub_convs for tap_offset in sub_conv.tap_offsets}
        )
    ) or (0,)
    shared = shared_zeros(problem.size[2], problem.stride[2], problem.before[2], ends[2])
    shared = min(shared, ends[2] - counts[2])
    pitch, flat = counts[2], False
    if problem.stride[2] == 1 and _flat_is_faster(problem, len(shifts), counts, ends):
        pitch, shifts, flat = ends[2] - shared, (0,), True
    zeros = W * max(1, -(-shared // W))
    copies = len(shifts) * problem.stride[0] * problem.stride[1]
    row = problem.inputs * copies * ends[0] * pitch * np.dtype(problem.dtype).itemsize
    # Rows of the halo: the largest of all sub-convolutions, as a block may belong to any of them, and
    # one of fewer rows has its last row within the padded input only where one block holds all.
    extra = max(
        [
            0,
            *(
                r[1] // problem.stride[1]
                for sub_conv in problem.sub_convs
                for r in sub_conv.tap_offsets
            ),
        ]
    )
    block = min(counts[1], max(Conv.least_rows, Conv.padded_bytes // row - extra))
    block = _rows_of_block(problem, splitting.extent(counts[1], block), counts[1], extra, copies)
    return PaddedInput(
        problem.size, problem.stride, problem.before, shifts, ends[0], min(block + extra, ends[1]), pitch, 1, zeros,
        zeros + W, flat,
    ), block  # fmt: skip


def _rows_of_block(problem: ConvProblem, most: int, rows: int, extra: int, copies: int) -> int:
    """Rows of pixels of a block, at most ``most``: those with the least time for the busiest thread."""
    blocks = -(-rows // most)
    if splitting.PIECES or multiply_adds(problem) <= Conv.work:
        return -(-rows // blocks)
    pieces = len(problem.sub_convs) * -(-problem.outputs // Conv.rows)
    products = problem.outputs * sum(len(sub_conv.taps) for sub_conv in problem.sub_convs)

    def time(blocks: int) -> float:
        block = -(-rows // blocks)
        share = -(-problem.batch * problem.groups * -(-rows // block) * pieces // jit.processors())
        return share / pieces * (block * products + Conv.copy_cost * copies * (block + extra))

    finest = max(blocks, min(rows // Conv.least_rows, blocks + 4 * jit.processors()))
    return -(-rows // min(range(blocks, finest + 1), key=time))


def _flat_is_faster(problem: ConvProblem, shifts: int, counts: list[int], ends: list[int]) -> bool:
    """Compares vector operations: multiply-adds, and those of copying a row.

    With a flat padded input every row of pixels is a run, with a dense one all of them are one run.
    """
    W = lanes(problem.dtype)
    products = problem.outputs * sum(len(sub_conv.taps) for sub_conv in problem.sub_convs)

    def cost(runs: int, run: int, copies: int, pitch: int) -> int:
        vectors = runs * -(-run // W)
        return counts[0] * vectors * products + Conv.copy_cost * copies * ends[0] * ends[1] * -(
            -pitch // W
        )

    flat = cost(counts[1], counts[2], 1, ends[2])
    return flat <= cost(1, counts[1] * counts[2], shifts, counts[2])


def _unevenness(units: int) -> float:
    """How much longer than its share the busiest thread works."""
    return -(-units // jit.processors()) * jit.processors() / units


class WeightPacking(NamedTuple):
    """How the weights of a sub-convolution are packed: byte, table of offsets, depth (K) and KC."""

    at: int
    offsets: int
    depth: int
    kc: int


def make_params(
    problem: ConvProblem, padded: PaddedInput, block: int, column: int
) -> tuple[Params, np.ndarray, list[np.ndarray], list[WeightPacking]]:
    """The parameters of a problem, their block, the tables it points to and how to pack the weights.

    ``column`` is the number of elements between the weights of two inputs.
    """
    W = lanes(problem.dtype)
    row_step = min(Conv.rows, problem.outputs)
    blocks = -(-max(sub_conv.counts[1] for sub_conv in problem.sub_convs) // block)
    pieces = problem.batch * problem.groups * blocks * len(problem.sub_convs)
    threads = jit.processors()
    if splitting.PIECES:
        row_step = splitting.extent(problem.outputs, row_step, Conv.least_outputs)
    elif multiply_adds(problem) > Conv.work:
        while (
            row_step > Conv.least_outputs
            and _unevenness(pieces * -(-problem.outputs // row_step)) > Conv.uneven
        ):
            row_step = -(-row_step // (2 * Conv.least_outputs)) * Conv.least_outputs
    row_blocks = -(-problem.outputs // row_step)
    units = pieces * row_blocks
    # a padded input stays in the cache of its thread
    per_task, _ = splitting.share(units, 1, -(-units // threads))
    together = row_blocks * len(problem.sub_convs)  # units that share a padded input
    if not splitting.PIECES and _unevenness(units // together) <= Conv.uneven:
        per_task = -(-per_task // together) * together
    elements = -(-(problem.inputs * padded.channel + W) // 16) * 16
    longest = max(sub_conv.counts[2] for sub_conv in problem.sub_convs)
    vectors = shape(problem.dtype, problem.outputs).nr_vectors
    vectors = -(-block * -(-longest // W) // vectors) * vectors
    table_elements = 2 * 8 * vectors // np.dtype(problem.dtype).itemsize
    table = padded.table()
    head = Params(
        groups=problem.groups, inputs=problem.inputs, outputs=problem.outputs,
        x_channel=math.prod(padded.size), y_channel=math.prod(problem.out),
        block_rows=block, blocks=blocks, row_blocks=row_blocks, row_step=row_step,
        sub_convs=len(problem.sub_convs), unit_count=units, per_task=per_task,
        task_elements=elements + -(-table_elements // 16) * 16, padded_elements=elements,
        vectors=vectors,
    )  # fmt: skip
    sub_convs, tables, packings = _sub_params(problem, padded, column)
    values = [*head, *padded.params(table), *sub_convs]
    return head, np.array(values, np.int64), [table, *tables], packings


def _sub_params(
    problem: ConvProblem, padded: PaddedInput, column: int
) -> tuple[list[int], list[np.ndarray], list[WeightPacking]]:
    """The parameters of the sub-convolutions, their tables and how to pack their weights."""
    tables: list[np.ndarray] = []
    values: list[int] = []
    packings, at = [], 0
    for sub_conv in problem.sub_convs:
        where = [padded.offset(tap_offset) for tap_offset in sub_conv.tap_offsets]
        inputs = np.repeat(np.arange(problem.inputs, dtype=np.int64), len(where))
        offsets = inputs * padded.channel + np.tile(np.array(where, np.int64), problem.inputs)
        weights = inputs * column + np.tile(np.array(sub_conv.taps, np.int64), problem.inputs)
        depth, kc = len(offsets), kc_for(len(offsets))
        tables += [offsets, weights]
        byte = at * np.dtype(problem.dtype).itemsize
        packings.append(WeightPacking(byte, weights.ctypes.data, depth, kc))
        (depth_out, rows_out, width_out), (plane_step, row_step, step) = (
            sub_conv.counts,
            sub_conv.steps,
        )
        values += SubParams(
            depth=depth, kc=kc, weight=at, offsets=offsets.ctypes.data,
            depth_out=depth_out, rows_out=rows_out, width_out=width_out, first=sub_conv.first,
            plane_step=plane_step, row_step=row_step, step=step,
        )  # fmt: skip
        at += depth * problem.groups * problem.outputs
    return values, tables, packings
