"""Scans along one dimension: every element becomes the combination of those up to it.

Adjacent rows have a thread each, others as many as they need, up to a block. Where there are few
rows, each is cut into chunks: their totals are put where they belong in the result (at a chunk's
end, or with ``exclusive`` behind it), scanned there, and every chunk goes on from its predecessor's.
The cut depends on sizes alone, and so does the order of every sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.row_scan import EXTREMES, columns, rows
from tilegrad.kernels.cuda.parts.scan_state import FOUR
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide
from tilegrad.kernels.cuda.run.jit import bind
from tilegrad.kernels.cuda.tuning import SCAN, row

Sizes = tuple[int, ...]


class _Rows(NamedTuple):
    """The rows of one scan: all runs of elements along the scanned dimension.

    Attributes:
        sizes: of the other dimensions.
        strides: of these in x and in out.
        adjacent: how many rows lie side by side in x.
        length: elements of a row.
        step, out_step: their strides in x and out, negative for a reversed scan.
        first: offsets of a row's first element in x and out.
    """

    sizes: Sizes
    strides: tuple[Sizes, Sizes]
    adjacent: int
    length: int
    step: int
    out_step: int
    first: tuple[int, int]

    @property
    def is_wide(self) -> bool:
        """See :func:`tilegrad.kernels.cuda.parts.strided.is_wide`."""
        sizes, (a, b) = (*self.sizes, self.length), self.strides
        return is_wide(math.prod(sizes), (sizes, (*a, self.step)), (sizes, (*b, self.out_step)))


def _rows_of(
    before: tuple[Sizes, Sizes], scanned: tuple[int, int], after: tuple[Sizes, Sizes], reverse: bool
) -> _Rows:
    """The rows along a dimension of x, by its (size, stride); out is row-major."""
    (n, s), d = scanned, math.prod(after[0])
    axes, reach = [], 1
    for size, stride in [*zip(*after)][::-1]:
        axes.append((size, stride, reach))
        reach *= size
    reach *= n
    for size, stride in [*zip(*before)][::-1]:
        axes.append((size, stride, reach))
        reach *= size
    axes = [axis for axis in axes[::-1] if axis[0] != 1] or [(1, 1, 1)]
    sizes, steps, reaches = zip(*axes)
    adjacent = sizes[-1] if steps[-1] == 1 and s != 1 else 1
    if not reverse:
        return _Rows(sizes, (steps, reaches), adjacent, n, s, d, (0, 0))
    return _Rows(sizes, (steps, reaches), adjacent, n, -s, -d, ((n - 1) * s, (n - 1) * d))


def _stage(
    name: str, dtype: str, exclusive: bool, stage: str, scanned: _Rows, chunk: int, chunks: int
) -> Callable[..., None]:
    """``launch(x, out, [places])`` of one stage over the first ``chunks`` chunks of all rows."""
    count, dims, wide = math.prod(scanned.sizes), len(scanned.sizes), scanned.is_wide
    n, s, d, table = (
        scanned.length,
        scanned.step,
        scanned.out_step,
        index_params(scanned.sizes, *scanned.strides),
    )
    chosen = row(SCAN, dtype, name)
    number, extreme, logs = chosen.per_sm
    per_sm = extreme if name in EXTREMES else logs if name == "logcumsumexp" else number
    threads, bounds = chosen.threads, Bounds(chosen.threads, per_sm)
    if scanned.adjacent >= chosen.narrow:
        across = Bounds(chosen.columns, per_sm * threads // chosen.columns)
        function = columns.build(name, dtype, exclusive, stage, dims, wide, across)
        tail = (n, s, d, chunk, count, *table, -(-count // chosen.columns), chunks, 1)
    else:
        lanes = threads if chunk > 4 * WARP * FOUR else min(WARP, _power(chunk) // FOUR or 1)
        step = s if s == d and s in (1, -1) else 0
        function = rows.build(name, dtype, exclusive, stage, lanes, step, dims, wide, bounds)
        units = count * chunks
        tail = (n, s, d, chunk, chunks, units, *table, -(-units * lanes // threads), 1, 1)
    if name not in EXTREMES:
        function, tail = bind(function, 0, *tail), ()
    if scanned.first == (0, 0):
        return bind(function, *tail) if tail else function
    itemsize = np.dtype(dtype).itemsize
    first = [
        place * size
        for place, size in zip((*scanned.first, scanned.first[1]), (itemsize, itemsize, 8))
    ]

    def launch(*addresses: int) -> None:
        function(*(address + place for address, place in zip(addresses, first)), *tail)

    return launch


def _launch(name: str, dtype: str, exclusive: bool, scanned: _Rows) -> Callable[..., None]:
    """``launch(x, out, [places])`` of all stages."""
    n, count = scanned.length, math.prod(scanned.sizes)
    if n * count == 0:
        return lambda *addresses: None
    chosen = row(SCAN, dtype, name)
    across = scanned.adjacent >= chosen.narrow
    least, each = (chosen.deep, chosen.columns) if across else (chosen.least, 1)
    chunks = min(n // least, chosen.units // -(-count // each))
    if chunks < chosen.worth:
        return _stage(name, dtype, exclusive, "whole", scanned, n, 1)
    chunk = -(-n // chunks)
    chunk += -chunk % (FOUR if across else FOUR * chosen.threads)
    chunks = -(-n // chunk)
    slot = scanned.first[1] + (chunk if exclusive else chunk - 1) * scanned.out_step
    slots = scanned._replace(
        strides=(scanned.strides[1], scanned.strides[1]), length=chunks - 1,
        step=chunk * scanned.out_step, out_step=chunk * scanned.out_step, first=(slot, slot),
    )  # fmt: skip
    totals = _stage(name, dtype, exclusive, "totals", scanned, chunk, chunks - 1)
    between = _stage(name, dtype, False, "slots", slots, chunks - 1, 1)
    last = _stage(name, dtype, exclusive, "last", scanned, chunk, chunks)

    def launch(x: int, *made: int) -> None:
        totals(x, *made)
        between(made[0], *made)
        last(x, *made)

    return launch


def scan(
    name: str,
    dtype: str,
    before: tuple[Sizes, Sizes],
    scanned: tuple[int, int],
    after: tuple[Sizes, Sizes],
    reverse: bool = False,
    exclusive: bool = False,
) -> Callable[..., None]:
    """A launch ``(x, out)``; see :func:`tilegrad.kernels.cpu.scan.scan`."""
    return _launch(name, dtype, exclusive, _rows_of(before, scanned, after, reverse))


def scan_extreme(
    largest: bool,
    dtype: str,
    before: tuple[Sizes, Sizes],
    scanned: tuple[int, int],
    after: tuple[Sizes, Sizes],
) -> Callable[..., None]:
    """A launch ``(x, values, positions)``; see :func:`tilegrad.kernels.cpu.scan.scan_extreme`."""
    name = "cummax" if largest else "cummin"
    return _launch(name, dtype, False, _rows_of(before, scanned, after, False))


def _power(n: int) -> int:
    """The power of 2 that is not below ``n``."""
    return 1 << max(0, n - 1).bit_length()
