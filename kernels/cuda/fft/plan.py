"""Passes prepared for a GPU: tables in its memory, shares."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tilegrad.kernels import roots
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.fft import real
from tilegrad.kernels.cuda.fft.batch import Pass, batch as batch_kernel
from tilegrad.kernels.cuda.parts.pointer_table import DeviceConstant
from tilegrad.kernels.cuda.parts.strided import magic
from tilegrad.kernels.cuda.run.jit import bind
from tilegrad.kernels.cuda.tuning import FOURIER, row as tuned
from tilegrad.kernels.fourier import PAIRS, REALS, Batch, End, Launch, mode, real_roots

RADICES = (8, 7, 5, 4, 3, 2)


def radices(n: int) -> tuple[int, ...]:
    """Of the stages: a butterfly of nine numbers would take more registers than two of three."""
    found = [(3, 3) if radix == 9 else (radix,) for radix in roots.factors(n)]
    return tuple(radix for some in found for radix in some)


def constant(values: np.ndarray) -> DeviceConstant:
    """A table of any dtype in the device's memory."""
    flat = np.ascontiguousarray(values)
    words = np.zeros(-(-flat.nbytes // 8), np.int64)
    words.view(np.uint8)[: flat.nbytes] = flat.view(np.uint8).ravel()
    return DeviceConstant(words)


def _stages(n: int, dtype: str) -> tuple[np.ndarray, list[DeviceConstant]]:
    """(stage table, roots, roots of large primes)."""
    values, stages = roots.stage_tables(n, radices(n))
    kept = [constant(roots.interleaved(values, dtype))]
    size, rows = np.dtype(dtype).itemsize, []
    for radix, m, s, first in stages:
        turns = 0
        if radix not in RADICES:
            one = roots.exact_turns(np.arange(radix), radix)
            kept.append(constant(roots.interleaved(one, dtype)))
            turns = kept[-1].address
        address = kept[0].address + 2 * size * first
        units = n if turns else n // radix  # a thread takes a number, or a butterfly
        rows.append((radix, m, s, address, turns, units, *magic(units), *magic(s)))
    return np.array(rows, np.int64).reshape(-1), kept


def _fields(
    end: End, lane: int, index: int, n: int, count: int
) -> tuple[tuple[int, ...], list[DeviceConstant]]:
    """Of an end of a pass, and what they are addresses of."""
    how, limit = mode(end, lane, index, n, count)
    lanes_first = int(how in (PAIRS, REALS))
    limit = end.limit
    fields = (lanes_first, end.step, end.part, lane, limit, end.index_k, end.index_c, index)
    if end.factor is None:
        return (*fields, 0, 0, 0), []
    table = constant(end.factor.table)
    return (*fields, table.address, end.factor.plane, int(end.factor.swap)), [table]


def prepare(
    dtype: str, n: int, batch: Batch, x: End, y: End, swap: bool, scale: float = 1.0
) -> tuple[Launch, int]:
    """``launch(x, y, scratch)`` of one pass, and the bytes of scratch: none."""
    chosen = tuned(FOURIER, dtype, "fft")
    (*outer, count), (*_, x_lane), (*_, y_lane), (*_, x_index), (*_, y_index) = batch
    group = max(1, min(chosen.capacity // n, count))
    x_fields, x_kept = _fields(x, x_lane, x_index, n, count)
    y_fields, y_kept = _fields(y, y_lane, y_index, n, count)
    stages, kept = _stages(n, dtype)
    blocks = -(-count // group)
    fields = Pass(
        blocks, count, group, n, len(outer), len(stages) // STAGE, int(swap), *magic(n), *magic(group),
        *x_fields, *y_fields,
    )  # fmt: skip
    dims = [v for values in batch for v in values[:-1]]
    table = constant(np.array([*fields, *stages, *dims], np.int64))
    capacity = max(256, 1 << (n * group - 1).bit_length())
    function = batch_kernel.build(dtype, min(capacity, chosen.capacity), Bounds(chosen.threads))
    grid = int(np.prod(outer, dtype=np.int64)) * blocks
    held = (table, kept, x_kept, y_kept)
    launch = bind(function, table.address, float(scale), grid, 1, 1, keep=held)

    def run(x: int, y: int, scratch: int = 0) -> None:
        launch(x, y)

    return run, 0


STAGE = 10  # words of a stage


def halves(
    after: bool, dtype: str, batch: Batch, half: int, row: int, step: int, valid: int, minus: bool
) -> Launch:
    """``launch(from, to)`` of :func:`real.after` or :func:`real.before`."""
    chosen = tuned(FOURIER, dtype, "fft")
    values = constant(roots.planes(real_roots(half), dtype)[0])
    strides = batch.y_strides if after else batch.x_strides
    pairs = half // 2 + 1
    fields = real.Halves(
        batch.total, pairs, half, row, step, valid, int(minus), values.address, len(batch.sizes)
    )
    table = constant(np.array([*fields, *batch.sizes, *strides], np.int64))
    function = (real.after if after else real.before).build(dtype, chosen.threads)
    grid = -(-batch.total * pairs // chosen.threads)
    return bind(function, table.address, grid, 1, 1, keep=(table, values))


@lru_cache(maxsize=512)
def rows(dtype: str, n: int, count: int) -> int:
    """Into how many rows a transform is cut; 0: a block holds it."""
    capacity = tuned(FOURIER, dtype, "fft").capacity
    if n <= capacity:
        return 0
    found = [r for r in range(2, capacity + 1) if n % r == 0]
    # short enough for neighbouring columns to share a block, and rows that need no more passes
    return min(found, key=lambda r: (n // r > capacity, max(r, n // r), r))


def beyond(dtype: str) -> int:
    """Elements past a table's end that a pass reads: none."""
    return 0
