"""Scans along one dimension: every element becomes the combination of those up to it.

``rows``: the threads of a line are neighbours, up to a whole block of them; each takes four
elements, lanes pass totals on by shuffles, warps through shared memory, and a line longer than its
threads reach comes in tiles. ``columns``: a thread per line, neighbouring threads neighbouring
lines. Where there are few lines, each is cut into chunks: their totals are put where they belong in
the result (at a chunk's end, or with ``exclusive`` behind it), scanned there, and every chunk goes
on from its predecessor's. The cut depends on sizes alone, and so does the order of every sum.

Source: Harris, Sengupta and Owens, Parallel Prefix Sum (Scan) with CUDA, GPU Gems 3 (2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.jit import Source, bind, kernel
from tilegrad.kernels.cuda.ptx import WARP, barrier, block, block_y, pointer, shared, thread
from tilegrad.kernels.cuda.running import FOUR, State, misaligned, quad, state
from tilegrad.kernels.cuda.strided import is_wide, numbers, offsets_of, spread
from tilegrad.kernels.function import DeviceFunction, inline

Sizes = tuple[int, ...]

THREADS = 256
WARPS = THREADS // WARP
COLUMNS = 128  # lines of a block
PER_AXIS = 5  # size, multiplier, shift, both strides
UNITS = 512  # blocks that should be at work, where sizes allow
LEAST = 1 << 12  # elements of a chunk of a row
DEEP = 1 << 7  # elements of a chunk of a column
WORTH = 4  # chunks from which on reading twice pays
NARROW = 8  # fewer adjacent lines than this are not worth ``columns``


def _taking(
    dtype: str, carried: State, resumes: bool, step: int, paired: bool
) -> tuple[DeviceFunction, DeviceFunction]:
    """The device functions that read and write four neighbours of a line.

    ``take(source, places, i, s, k, left, fast)``: the states of elements ``k`` to ``k + 3``, at
    ``i``, ``i + s``, …; from the ``left``-th on the identity. ``give(values, places, i, d, left,
    fast, states)`` stores as many. ``fast``: in vectors. ``resumes``: places are read, too.
    """
    start, lift, load, save = carried.start, carried.lift, carried.load, carried.save
    load_quad, store_quad = quad(np.dtype(dtype).itemsize, step or 1)
    _, store_places = quad(8, step or 1)

    @inline
    def entry(source, places, i, k):  # type: ignore[no-untyped-def]
        return load(source, places, i) if resumes else lift(source[i], k)

    @inline
    def take(source, places, i, s, k, left, fast):  # type: ignore[no-untyped-def]
        if step != 0 and fast and left >= FOUR:
            v = load_quad(source, i)
            return lift(v[0], k), lift(v[1], k + 1), lift(v[2], k + 2), lift(v[3], k + 3)
        return (
            entry(source, places, i, k) if left > 0 else start,
            entry(source, places, i + s, k + 1) if left > 1 else start,
            entry(source, places, i + 2 * s, k + 2) if left > 2 else start,
            entry(source, places, i + 3 * s, k + 3) if left > 3 else start,
        )

    @inline
    def give_numbers(values, places, i, d, left, fast, a):  # type: ignore[no-untyped-def]
        if step != 0 and fast and left >= FOUR:
            store_quad(values, i, a)
        else:
            give_slowly(values, places, i, d, left, a)

    @inline
    def give_pairs(values, places, i, d, left, fast, a):  # type: ignore[no-untyped-def]
        if step != 0 and fast and left >= FOUR:
            store_quad(values, i, (a[0][0], a[1][0], a[2][0], a[3][0]))
            store_places(places, i, (a[0][1], a[1][1], a[2][1], a[3][1]))
        else:
            give_slowly(values, places, i, d, left, a)

    @inline
    def give_slowly(values, places, i, d, left, a):  # type: ignore[no-untyped-def]
        if left > 0:
            save(values, places, i, a[0])
        if left > 1:
            save(values, places, i + d, a[1])
        if left > 2:
            save(values, places, i + 2 * d, a[2])
        if left > 3:
            save(values, places, i + 3 * d, a[3])

    return take, give_pairs if paired else give_numbers


def _across(dtype: str, carried: State, lanes: int, paired: bool) -> DeviceFunction:
    """The device function ``across(a, half)``: what the threads of a line before this one have, and
    what all of them have together.

    All threads of the block must call it, with ``half`` 0 and ``WARPS`` in turn: then one barrier
    is enough, as those who go on write to the other half.
    """
    start, _, merge, shift, fetch, load, save = carried
    parts = shared(dtype, 2 * WARPS, "scan")
    parts_places = shared("int64", 2 * WARPS, "places") if paired else parts

    @inline
    def across(a, half):  # type: ignore[no-untyped-def]
        lane = thread() % min(lanes, WARP)
        reach = 1
        while reach < min(lanes, WARP):
            lower = shift(a, reach)
            if lane >= reach:
                a = merge(lower, a)
            reach *= 2
        lower = shift(a, 1)
        before = start
        if lanes > WARP:
            held, places, warp = parts(), parts_places(), thread() // WARP
            if lane == WARP - 1:
                save(held, places, half + warp, a)
            barrier()
            total = start
            for w in range(WARPS):
                before = total if w == warp else before
                total = merge(total, load(held, places, half + w))
        else:
            total = fetch(a, thread() % WARP | (lanes - 1))
        if lane > 0:
            before = merge(before, lower)
        return before, total

    return across


@kernel
def rows(
    name: str, dtype: str, exclusive: bool, stage: str, lanes: int, step: int, dims: int, wide: bool
) -> Source:
    """Scan units of ``chunk`` elements, ``lanes`` threads to a unit.

    Parameters: x, out, places (of an extreme), elements of a line, their strides in x and out,
    elements of a chunk, chunks of a line that are handled, units in all, then the block of lines
    with its strides in x and out. ``stage``: "whole" lines; "totals" of all chunks but the last;
    "slots", where totals were put; "last", the chunks. ``step``: both strides, if 1 or -1, else 0.
    """
    T, width, paired = np.dtype(dtype).type, np.dtype(dtype).itemsize, name in EXTREMES
    carried = state(name, dtype)
    start, _, merge, _, _, load, save = carried
    take, give = _taking(dtype, carried, stage == "slots", step, paired)
    across = _across(dtype, carried, lanes, paired)
    off_values, off_places = misaligned(width, step or 1), misaligned(8, step or 1)
    place = offsets_of(dims, 2, 0, wide)
    groups, tile = THREADS // lanes, lanes * FOUR
    totals, last = stage == "totals", stage == "last"

    @inline
    def scan_rows(x, out, where, n, s, d, chunk, chunks, units, t):  # type: ignore[no-untyped-def]
        lane = thread() % lanes
        unit = block() * groups + thread() // lanes
        line = unit // chunks if chunks > 1 else unit
        k = (unit - line * chunks) * chunk
        active = unit < units
        end = min(n, k + chunk) if active else k
        at, to = place(line, t)
        source, values, places = pointer(x, T), pointer(out, T), pointer(where, np.int64)
        carry = start
        if last and active and k > 0:
            carry = load(values, places, to + (k if exclusive else k - 1) * d)
        limit = end - 1 if last and not exclusive and end < n else end
        slot = to + (end if exclusive else end - 1) * d
        k += lane * FOUR
        off = off_values(x, at + k * s) | off_values(out, to + k * d)
        fast = (off | off_places(where, to + k * d) if paired else off) == 0
        half = 0
        ahead = take(source, places, at + k * s, s, k, end - k, fast)
        left = chunk
        while left > 0:  # the same for all threads
            a0, v1, v2, v3 = ahead
            following = k + tile
            ahead = take(source, places, at + following * s, s, following, end - following, fast)
            a1 = merge(a0, v1)
            a2 = merge(a1, v2)
            a3 = merge(a2, v3)
            if totals:
                carry = merge(carry, a3)
            else:
                before, total = across(a3, half)
                before = merge(carry, before)
                carry = merge(carry, total)
                half = WARPS - half
                b0, b1, b2 = merge(before, a0), merge(before, a1), merge(before, a2)
                made = (before, b0, b1, b2) if exclusive else (b0, b1, b2, merge(before, a3))
                give(values, places, to + k * d, d, limit - k, fast, made)
            k = following
            left -= tile
        if totals:
            _, carry = across(carry, 0)
        if totals and active and lane == 0:
            save(values, places, slot, carry)

    params = PER_AXIS * dims
    return Source(spread(scan_rows, 9, params), "i" * (9 + params), THREADS)


@kernel
def columns(name: str, dtype: str, exclusive: bool, stage: str, dims: int, wide: bool) -> Source:
    """Scan a chunk of a line per thread; the grid's second index is the chunk.

    Parameters: x, out, places, elements of a line, their strides in x and out, elements of a chunk,
    lines, then the block of lines as for :func:`rows`.
    """
    T, paired = np.dtype(dtype).type, name in EXTREMES
    carried = state(name, dtype)
    start, _, merge, _, _, load, save = carried
    take, give = _taking(dtype, carried, stage == "slots", 0, paired)
    place = offsets_of(dims, 2, 0, wide)
    totals, last = stage == "totals", stage == "last"

    @inline
    def scan_columns(x, out, where, n, s, d, chunk, lines, t):  # type: ignore[no-untyped-def]
        line = block() * COLUMNS + thread()
        k = block_y() * chunk
        end = min(n, k + chunk) if line < lines else k
        at, to = place(line, t)
        source, values, places = pointer(x, T), pointer(out, T), pointer(where, np.int64)
        total = start
        if last and k > 0 and k < end:
            total = load(values, places, to + (k if exclusive else k - 1) * d)
        limit = end - 1 if last and not exclusive and end < n else end
        ahead = take(source, places, at + k * s, s, k, end - k, False)
        while k < end:
            v0, v1, v2, v3 = ahead
            following = k + FOUR
            ahead = take(source, places, at + following * s, s, following, end - following, False)
            a0 = merge(total, v0)
            a1 = merge(a0, v1)
            a2 = merge(a1, v2)
            a3 = merge(a2, v3)
            if not totals:
                made = (total, a0, a1, a2) if exclusive else (a0, a1, a2, a3)
                give(values, places, to + k * d, d, limit - k, False, made)
            total = a3
            k = following
        if totals and line < lines:
            save(values, places, to + (end if exclusive else end - 1) * d, total)

    params = PER_AXIS * dims
    return Source(spread(scan_columns, 8, params), "i" * (8 + params), COLUMNS)


EXTREMES = ("cummax", "cummin")


class _Lines(NamedTuple):
    """The lines of one scan.

    Attributes:
        sizes: of the dimensions they fill.
        strides: in x and in out.
        adjacent: how many lie side by side.
        n: elements of a line.
        s, d: their strides in x and out, negative for a reversed scan.
        first: places of a line's first element in x and out.
    """

    sizes: Sizes
    strides: tuple[Sizes, Sizes]
    adjacent: int
    n: int
    s: int
    d: int
    first: tuple[int, int]

    @property
    def is_wide(self) -> bool:
        """See :func:`tilegrad.kernels.cuda.strided.is_wide`."""
        sizes, (a, b) = (*self.sizes, self.n), self.strides
        return is_wide(math.prod(sizes), (sizes, (*a, self.s)), (sizes, (*b, self.d)))


def _lines(
    before: tuple[Sizes, Sizes], line: tuple[int, int], after: tuple[Sizes, Sizes], reverse: bool
) -> _Lines:
    """The lines along a dimension of x; out is row-major."""
    (n, s), d = line, math.prod(after[0])
    axes, reach = [], 1
    for size, stride in [*zip(*after)][::-1]:
        axes.append((size, stride, reach))
        reach *= size
    reach *= n
    for size, stride in [*zip(*before)][::-1]:
        axes.append((size, stride, reach))
        reach *= size
    axes = [axis for axis in axes[::-1] if axis[0] != 1] or [(1, 1, 1)]
    sizes, *strides = zip(*axes)
    adjacent = after[0][-1] if after[1][-1] == 1 else 1
    if not reverse:
        return _Lines(sizes, tuple(strides), adjacent, n, s, d, (0, 0))
    return _Lines(sizes, tuple(strides), adjacent, n, -s, -d, ((n - 1) * s, (n - 1) * d))


def _stage(
    name: str, dtype: str, exclusive: bool, stage: str, lines: _Lines, chunk: int, chunks: int
) -> Callable[..., None]:
    """``launch(x, out, [places])`` of one stage over the first ``chunks`` chunks of all lines."""
    count, dims, wide = math.prod(lines.sizes), len(lines.sizes), lines.is_wide
    n, s, d, table = lines.n, lines.s, lines.d, numbers(lines.sizes, *lines.strides)
    if lines.adjacent >= NARROW:
        function = columns.build(name, dtype, exclusive, stage, dims, wide)
        tail = (n, s, d, chunk, count, *table, -(-count // COLUMNS), chunks, 1)
    else:
        lanes = THREADS if chunk > 4 * WARP * FOUR else min(WARP, _power(chunk) // FOUR or 1)
        step = s if s == d and s in (1, -1) else 0
        function = rows.build(name, dtype, exclusive, stage, lanes, step, dims, wide)
        units = count * chunks
        tail = (n, s, d, chunk, chunks, units, *table, -(-units * lanes // THREADS), 1, 1)
    if name not in EXTREMES:
        function, tail = bind(function, 0, *tail), ()
    if lines.first == (0, 0):
        return bind(function, *tail) if tail else function
    itemsize = np.dtype(dtype).itemsize
    first = [place * size for place, size in zip((*lines.first, lines.first[1]), (itemsize, itemsize, 8))]

    def launch(*addresses: int) -> None:
        function(*(address + place for address, place in zip(addresses, first)), *tail)

    return launch


def _launch(name: str, dtype: str, exclusive: bool, lines: _Lines) -> Callable[..., None]:
    """``launch(x, out, [places])`` of all stages."""
    n, count = lines.n, math.prod(lines.sizes)
    if n * count == 0:
        return lambda *addresses: None
    across = lines.adjacent >= NARROW
    least, each = (DEEP, COLUMNS) if across else (LEAST, 1)
    chunks = min(n // least, UNITS // -(-count // each))
    if chunks < WORTH:
        return _stage(name, dtype, exclusive, "whole", lines, n, 1)
    chunk = -(-n // chunks)
    chunk += -chunk % (FOUR if across else FOUR * THREADS)
    chunks = -(-n // chunk)
    slot = lines.first[1] + (chunk if exclusive else chunk - 1) * lines.d
    slots = lines._replace(
        strides=(lines.strides[1], lines.strides[1]), n=chunks - 1, s=chunk * lines.d,
        d=chunk * lines.d, first=(slot, slot),
    )  # fmt: skip
    totals = _stage(name, dtype, exclusive, "totals", lines, chunk, chunks - 1)
    between = _stage(name, dtype, False, "slots", slots, chunks - 1, 1)
    last = _stage(name, dtype, exclusive, "last", lines, chunk, chunks)

    def launch(x: int, *made: int) -> None:
        totals(x, *made)
        between(made[0], *made)
        last(x, *made)

    return launch


def scan(
    name: str,
    dtype: str,
    before: tuple[Sizes, Sizes],
    line: tuple[int, int],
    after: tuple[Sizes, Sizes],
    reverse: bool = False,
    exclusive: bool = False,
) -> Callable[..., None]:
    """A launch ``(x, out)``; see :func:`tilegrad.kernels.cpu.scan.scan`."""
    return _launch(name, dtype, exclusive, _lines(before, line, after, reverse))


def scan_extreme(
    largest: bool,
    dtype: str,
    before: tuple[Sizes, Sizes],
    line: tuple[int, int],
    after: tuple[Sizes, Sizes],
) -> Callable[..., None]:
    """A launch ``(x, values, positions)``; see :func:`tilegrad.kernels.cpu.scan.scan_extreme`."""
    name = "cummax" if largest else "cummin"
    return _launch(name, dtype, False, _lines(before, line, after, False))


def _power(n: int) -> int:
    """The power of 2 that is not below ``n``."""
    return 1 << max(0, n - 1).bit_length()
