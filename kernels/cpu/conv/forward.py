"""Convolution over a padded copy: the kernels of a pass, and the plan that they follow.

Units of work are cut to keep every processor busy; no sum depends on that. A task copies its input
into a frame, multiplies a block of output channels at a time by runs of pixels and writes the sums
out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.conv.frame import FRAME, PITCH, ROWS, Frame, copier, shared_zeros
from tilegrad.kernels.cpu.conv.micro_kernel import Shape, correlate, even_rows, shape
from tilegrad.kernels.cpu.conv.problem import Pass, work_of
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import kernel
from tilegrad.kernels.cpu.simd.memory import local, offset, pointer
from tilegrad.kernels.cpu.simd.vector import head, lanes, load, store_masked
from tilegrad.kernels.function import DeviceFunction, inline

ROW_BLOCK = 64  # output channels done together, while their sums are in the first-level cache
INNER = 40  # at most this many products are summed in registers: keeps rounding errors small
FRAME_BYTES = 3 << 17  # of a padded copy, so that it stays in the second-level cache
LEAST_ROWS = 4  # of pixels in a block, each of which copies the rows around it too
LEAST_OUTPUTS = 8  # output channels in a block, likewise
UNEVEN = 1.15  # how much longer than their share tasks may take so as not to copy an input twice
WORK = 1 << 21  # multiply-adds worth splitting
COPY = 3  # vector operations that copying a vector is worth

# Places in the plan: the pass, then the frame, then the jobs.
GROUPS, INPUTS, OUTPUTS, X_CHANNEL, Y_CHANNEL, BLOCK_ROWS, BLOCKS, ROW_BLOCKS, ROW_STEP = range(9)
JOBS, UNIT_COUNT, PER_TASK, TASK_ELEMENTS, FRAME_ELEMENTS, VECTORS = range(9, 15)
FRAME_AT = 15
JOBS_AT = FRAME_AT + FRAME
# Places in a job; offsets are addresses.
DEPTH, INNER_DEPTH, WEIGHT, OFFSETS, COUNT, FIRST, STEPS = 0, 1, 2, 3, 4, 7, 8
JOB = 11


# ----------------------------------------------------------------------------------- the kernels


@kernel
def convolve(dtype: str, tile: Shape) -> tuple[Callable[..., None], str]:
    """A pass in units of: an item and group, a block of rows of pixels, a job, a block of channels.

    A task does several units in turn and copies the input where it is not yet in its frame. Pixels
    are taken by whole vectors: the last one of a run overlaps the one before it. Only where a run is
    shorter than a vector, or its pixels are not neighbours in the output, sums are written apart.
    """
    T = np.dtype(dtype).type
    size, W, vectors = np.dtype(dtype).itemsize, lanes(dtype), tile.vectors
    fill, scatter, multiply = copier(dtype), _scatterer(dtype, vectors), correlate(tile)
    make_sums = local(dtype, ROW_BLOCK * vectors * W)
    make_zeros, make_table, lay_out = (
        local(dtype, ROW_BLOCK),
        local("int64", vectors),
        _layout(tile.vectors, W),
    )

    def body(task, x_, weight_, bias_, y_, frames, plan):
        p = pointer(plan, np.int64)
        f = pointer(plan + 8 * FRAME_AT, np.int64)
        sums, zeros, nothing = make_sums(), make_zeros(), pointer(0, T)
        own = make_table()
        for i in range(vectors):
            own[i] = i * W
        for i in range(ROW_BLOCK):
            zeros[i] = T(0)
        groups, inputs, outputs = p[GROUPS], p[INPUTS], p[OUTPUTS]
        pitch = f[PITCH]
        frame = frames + size * task * p[TASK_ELEMENTS]
        spots = pointer(frame + size * p[FRAME_ELEMENTS], np.int64)
        places = offset(spots, p[VECTORS])
        copied, block, laid_out, laid_runs = -1, -1, -1, -1
        for unit in range(task * p[PER_TASK], min(p[UNIT_COUNT], (task + 1) * p[PER_TASK])):
            part = unit // p[ROW_BLOCKS] // p[JOBS]
            item, h0 = part // p[BLOCKS], part % p[BLOCKS] * p[BLOCK_ROWS]
            if part != copied:
                x = x_ + size * item * inputs * p[X_CHANNEL]
                fill(x, p[X_CHANNEL], frame, f, inputs, h0, h0 != block)
                copied, block = part, h0
            job = unit // p[ROW_BLOCKS] % p[JOBS]
            j = pointer(plan + 8 * (JOBS_AT + JOB * job), np.int64)
            runs, run, step = min(h0 + p[BLOCK_ROWS], j[COUNT + 1]) - h0, j[COUNT + 2], j[STEPS + 2]
            if runs <= 0:
                continue
            group, row = item % groups, unit % p[ROW_BLOCKS] * p[ROW_STEP]
            rows, depth = min(p[ROW_STEP], outputs - row), j[DEPTH]
            tiles = weight_ + size * (j[WEIGHT] + (group * outputs + row) * depth)
            bias = pointer(bias_ + size * (group * outputs + row), T) if bias_ != 0 else zeros
            to = y_ + size * ((item * outputs + row) * p[Y_CHANNEL] + j[FIRST])
            if run == pitch and step == 1 and j[STEPS + 1] == run:
                runs, run = 1, runs * run  # the rows follow each other
            direct = step == 1 and run >= W
            per_run = (run + W - 1) // W
            if job != laid_out or runs * run != laid_runs:
                lay_out(runs, run, pitch, j[STEPS + 1], direct, spots, places)
                laid_out, laid_runs = job, runs * run
            for d in range(j[COUNT]):
                y = pointer(to + size * (d * j[STEPS] + h0 * j[STEPS + 1]), T)
                x = pointer(frame + size * d * f[ROWS] * pitch, T)
                for v in range(0, runs * per_run, vectors):
                    there = offset(places, v)
                    for k in range(0, max(1, depth), j[INNER_DEPTH]):
                        some = min(j[INNER_DEPTH], depth - k)
                        ends = direct and k + some == depth
                        multiply(
                            pointer(tiles + size * k * rows, T), x, offset(spots, v),
                            pointer(j[OFFSETS] + 8 * k, np.int64), some, rows,
                            zeros if k else bias, sums if k else nothing, y if ends else sums,
                            p[Y_CHANNEL] if ends else vectors * W, there if ends else own,
                        )  # fmt: skip
                    if not direct:
                        scatter(
                            sums, rows, v, runs * per_run, per_run, run, y, p[Y_CHANNEL],
                            j[STEPS + 1], step,
                        )  # fmt: skip

    return body, "iiiiii"


def _layout(vectors: int, W: int) -> DeviceFunction:
    """Lists where each vector of pixels is in the frame and in the output, for whole tiles of them."""

    def lay_out(runs, run, pitch, run_step, direct, spots, places):
        count, r, c = runs * ((run + W - 1) // W), 0, 0
        for v in range((count + vectors - 1) // vectors * vectors):
            at = min(c, run - W) if direct else c
            spots[v], places[v] = r * pitch + at, r * run_step + at
            if v + 1 < count:  # else it stands for those that are missing
                c += W
                if c >= run:
                    r, c = r + 1, 0

    return inline(lay_out)


def _scatterer(dtype: str, vectors: int) -> DeviceFunction:
    """Writes the sums of vectors ``first, …`` of ``count``, ``per_run`` in a run of ``run`` pixels."""
    T = np.dtype(dtype).type
    W = lanes(dtype)

    def scatter(sums, rows, first, count, per_run, run, y, y_row, run_step, step):
        for v in range(first, min(first + vectors, count)):
            c = v % per_run * W
            pixels, to = min(W, run - c), v // per_run * run_step + c * step
            for k in range(rows):
                at = (k * vectors + v - first) * W
                if step == 1:
                    store_masked(y, k * y_row + to, load(sums, at), head(T, pixels))
                else:
                    for i in range(pixels):
                        y[k * y_row + to + i * step] = sums[at + i]

    return inline(scatter)


@kernel
def pack_weight(dtype: str, sizes: tuple[int, ...]) -> tuple[Callable[..., None], str]:
    """Lay the weights of a job out in tiles of ``sizes`` rows, a block of channels of a group a task.

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
            for height in sizes:
                while i + height <= count and (height < sizes[0] or count - i != even):
                    for n in range(k, end):
                        at = i * row + offsets[n]
                        for r in range(height):
                            tiles[to] = w[at + r * row]
                            to += 1
                    i += height

    return body, "iiiiiiiii"


# ---------------------------------------------------------------------------------- the planning


def inner_block(depth: int) -> int:
    """How many products are summed in registers; depends on their number only."""
    return max(1, -(-depth // max(1, -(-depth // INNER))))


def plan_frame(work: Pass) -> tuple[Frame, int]:
    """The frame of a pass, and the rows of pixels of a block."""
    counts = [max(job.counts[axis] for job in work.jobs) for axis in range(3)]
    ends = [0, 0, 0]
    for job, axis in product(work.jobs, range(3)):
        far = max([0, *(r[axis] // work.stride[axis] for r in job.reaches)])
        ends[axis] = max(ends[axis], far + job.counts[axis])
    W = lanes(work.dtype)
    shifts = tuple(sorted({reach[2] for job in work.jobs for reach in job.reaches})) or (0,)
    shared = shared_zeros(work.size[2], work.stride[2], work.before[2], ends[2])
    shared = min(shared, ends[2] - counts[2])
    pitch, flat = counts[2], False
    if work.stride[2] == 1 and _flat_is_faster(work, len(shifts), counts, ends):
        pitch, shifts, flat = ends[2] - shared, (0,), True
    zeros = W * max(1, -(-shared // W))
    copies = len(shifts) * work.stride[0] * work.stride[1]
    row = work.inputs * copies * ends[0] * pitch * np.dtype(work.dtype).itemsize
    # A block of any job may end in a row that reaches this far, also where the job of most rows does
    # not: a job of fewer rows has its last rows within the frame only where one block holds all.
    extra = max([0, *(r[1] // work.stride[1] for job in work.jobs for r in job.reaches)])
    block = min(counts[1], max(LEAST_ROWS, FRAME_BYTES // row - extra))
    block = _rows_of_block(work, splitting.extent(counts[1], block), counts[1], extra, copies)
    return Frame(
        work.size, work.stride, work.before, shifts, ends[0], min(block + extra, ends[1]), pitch, 1, zeros,
        zeros + W, flat,
    ), block  # fmt: skip


def _rows_of_block(work: Pass, most: int, rows: int, extra: int, copies: int) -> int:
    """Rows of pixels of a block, at most ``most``, with which the busiest thread is done first."""
    blocks = -(-rows // most)
    if splitting.PIECES or work_of(work) <= WORK:
        return -(-rows // blocks)
    pieces = len(work.jobs) * -(-work.outputs // ROW_BLOCK)
    products = work.outputs * sum(len(job.taps) for job in work.jobs)

    def time(blocks: int) -> float:
        block = -(-rows // blocks)
        share = -(-work.batch * work.groups * -(-rows // block) * pieces // jit.processors())
        return share / pieces * (block * products + COPY * copies * (block + extra))

    finest = max(blocks, min(rows // LEAST_ROWS, blocks + 4 * jit.processors()))
    return -(-rows // min(range(blocks, finest + 1), key=time))


def _flat_is_faster(work: Pass, shifts: int, counts: list[int], ends: list[int]) -> bool:
    """Compares vector operations: multiply-adds, and those of copying a row.

    In a flat frame every row of pixels is a run of its own, in a dense one all of them are one.
    """
    W = lanes(work.dtype)
    products = work.outputs * sum(len(job.taps) for job in work.jobs)

    def cost(runs: int, run: int, copies: int, pitch: int) -> int:
        vectors = runs * -(-run // W)
        return counts[0] * vectors * products + COPY * copies * ends[0] * ends[1] * -(-pitch // W)

    flat = cost(counts[1], counts[2], 1, ends[2])
    return flat <= cost(1, counts[1] * counts[2], shifts, counts[2])


def _unevenness(units: int) -> float:
    """How much longer than its share the busiest thread works."""
    return -(-units // jit.processors()) * jit.processors() / units


class Pack(NamedTuple):
    """How the weights of a job are packed: at which byte, by which table, how deep."""

    at: int
    offsets: int
    depth: int
    inner: int


def make_plan(
    work: Pass, frame: Frame, block: int, column: int
) -> tuple[np.ndarray, list[np.ndarray], list[Pack]]:
    """The plan of a pass, the tables it points to and how to pack the weights of each job.

    ``column`` is how many elements lie between the weights of two inputs.
    """
    W = lanes(work.dtype)
    row_step = min(ROW_BLOCK, work.outputs)
    blocks = -(-max(job.counts[1] for job in work.jobs) // block)
    pieces = work.batch * work.groups * blocks * len(work.jobs)
    threads = jit.processors()
    if splitting.PIECES:
        row_step = splitting.extent(work.outputs, row_step, LEAST_OUTPUTS)
    elif work_of(work) > WORK:
        while (
            row_step > LEAST_OUTPUTS and _unevenness(pieces * -(-work.outputs // row_step)) > UNEVEN
        ):
            row_step = -(-row_step // (2 * LEAST_OUTPUTS)) * LEAST_OUTPUTS
    row_blocks = -(-work.outputs // row_step)
    units = pieces * row_blocks
    per_task = splitting.share(
        units, -(-units // threads)
    )  # a task's frame stays in its thread's cache
    together = row_blocks * len(work.jobs)  # units that share a frame
    if not splitting.PIECES and _unevenness(units // together) <= UNEVEN:
        per_task = -(-per_task // together) * together
    elements = -(-(work.inputs * frame.channel + W) // 16) * 16
    vectors, longest = shape(work.outputs).vectors, max(job.counts[2] for job in work.jobs)
    vectors = -(-block * -(-longest // W) // vectors) * vectors
    places = 2 * 8 * vectors // np.dtype(work.dtype).itemsize
    table = frame.table()
    channels = [
        frame.size[0] * frame.size[1] * frame.size[2],
        work.out[0] * work.out[1] * work.out[2],
    ]
    head = [
        work.groups, work.inputs, work.outputs, *channels, block, blocks, row_blocks, row_step,
        len(work.jobs), units, per_task, elements + -(-places // 16) * 16, elements, vectors,
        *frame.plan(table),
    ]  # fmt: skip
    tables, packs, jobs = [table], [], []
    at = 0
    for job in work.jobs:
        where = [frame.offset(reach) for reach in job.reaches]
        inputs = np.repeat(np.arange(work.inputs, dtype=np.int64), len(where))
        offsets = inputs * frame.channel + np.tile(np.array(where, np.int64), work.inputs)
        weights = inputs * column + np.tile(np.array(job.taps, np.int64), work.inputs)
        depth = len(offsets)
        inner = inner_block(depth)
        tables += [offsets, weights]
        packs.append(Pack(at * np.dtype(work.dtype).itemsize, weights.ctypes.data, depth, inner))
        jobs += [depth, inner, at, offsets.ctypes.data, *job.counts, job.first, *job.steps]
        at += depth * work.groups * work.outputs
    return np.array(head + jobs, np.int64), tables, packs
