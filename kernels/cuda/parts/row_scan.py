"""The kernels of scans: rows of elements, each combined with those before it.

``rows``: the threads of a row are neighbours, up to a whole block of them; each takes four
elements, lanes pass totals on by shuffles, warps through shared memory, and a row longer than its
threads reach comes in tiles. ``columns``: a thread per row, neighbouring threads neighbouring
rows.

Source: Harris, Sengupta and Owens, Parallel Prefix Sum (Scan) with CUDA, GPU Gems 3 (2007).
"""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, block, block_y, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.scan_state import FOUR, State, misaligned, quad, state
from tilegrad.kernels.cuda.parts.strided import offsets_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.function import DeviceFunction, inline

PER_AXIS = 5  # size, multiplier, shift, both strides
EXTREMES = ("cummax", "cummin")


def _taking(
    dtype: str, carried: State, resumes: bool, step: int, paired: bool
) -> tuple[DeviceFunction, DeviceFunction]:
    """The device functions that read and write four neighbours of a row.

    ``take(source, places, i, s, k, left, fast)``: the states of elements ``k`` to ``k + 3``, at
    ``i``, ``i + s``, …; from the ``left``-th on the identity. ``give(values, places, i, d, left,
    fast, states)`` stores as many. ``fast``: in vectors. ``resumes``: places are read, too.
    """
    start, lift, load, save = carried.start, carried.lift, carried.load, carried.save
    load_quad, store_quad = quad(np.dtype(dtype).itemsize, step or 1)
    _, store_places = quad(8, step or 1)

    @inline
    def entry(source, places, i, k):
        return load(source, places, i) if resumes else lift(source[i], k)

    @inline
    def take(source, places, i, s, k, left, fast):
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
    def give_numbers(values, places, i, d, left, fast, a):
        if step != 0 and fast and left >= FOUR:
            store_quad(values, i, a)
        else:
            give_slowly(values, places, i, d, left, a)

    @inline
    def give_pairs(values, places, i, d, left, fast, a):
        if step != 0 and fast and left >= FOUR:
            store_quad(values, i, (a[0][0], a[1][0], a[2][0], a[3][0]))
            store_places(places, i, (a[0][1], a[1][1], a[2][1], a[3][1]))
        else:
            give_slowly(values, places, i, d, left, a)

    @inline
    def give_slowly(values, places, i, d, left, a):
        if left > 0:
            save(values, places, i, a[0])
        if left > 1:
            save(values, places, i + d, a[1])
        if left > 2:
            save(values, places, i + 2 * d, a[2])
        if left > 3:
            save(values, places, i + 3 * d, a[3])

    return take, give_pairs if paired else give_numbers


def _exclusive_scan(
    dtype: str, carried: State, lanes: int, paired: bool, WARPS: int
) -> DeviceFunction:
    """The device function ``exclusive_scan(a, half)``: what the threads of a row before this one have, and
    what all of them have together.

    All threads of the block must call it, with ``half`` 0 and ``WARPS`` in turn: then one barrier
    is enough, as those who go on write to the other half.
    """
    start, _, merge, shift, fetch, load, save = carried
    parts = shared(dtype, 2 * WARPS, "scan")
    parts_places = shared("int64", 2 * WARPS, "places") if paired else parts

    @inline
    def exclusive_scan(a, half):
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

    return exclusive_scan


@kernel
def rows(
    name: str, dtype: str, exclusive: bool, stage: str, lanes: int, step: int, dims: int, wide: bool,
    bounds: Bounds,
) -> Source:  # fmt: skip
    """Scan units of ``chunk`` elements, ``lanes`` threads to a unit.

    Parameters: x, out, places (of an extreme), elements of a row, their strides in x and out,
    elements of a chunk, chunks of a row that are handled, units in all, then the block of rows
    with its strides in x and out. ``stage``: "whole" rows; "totals" of all chunks but the last;
    "slots", where totals were put; "last", the chunks. ``step``: both strides, if 1 or -1, else 0.
    """
    T, width, paired = np.dtype(dtype).type, np.dtype(dtype).itemsize, name in EXTREMES
    carried = state(name, dtype)
    start, _, merge, _, _, load, save = carried
    take, give = _taking(dtype, carried, stage == "slots", step, paired)
    threads = bounds.threads
    WARPS = threads // WARP
    exclusive_scan = _exclusive_scan(dtype, carried, lanes, paired, WARPS)
    off_values, off_places = misaligned(width, step or 1), misaligned(8, step or 1)
    place = offsets_of(dims, 2, 0, wide)
    groups, tile = threads // lanes, lanes * FOUR
    totals, last = stage == "totals", stage == "last"

    @inline
    def scan_rows(x, out, where, n, s, d, chunk, chunks, units, t):
        lane = thread() % lanes
        unit = block() * groups + thread() // lanes
        row = unit // chunks if chunks > 1 else unit
        k = (unit - row * chunks) * chunk
        active = unit < units
        end = min(n, k + chunk) if active else k
        at, to = place(row, t)
        source, values, places = pointer(x, T), pointer(out, T), pointer(where, np.int64)
        carry = start
        if last and active and k > 0:
            carry = load(values, places, to + (k if exclusive else k - 1) * d)
        # the total at a chunk's end is there already, and read by the next one
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
            if lanes >= WARP:  # with fewer there is one tile
                left_after = end - following
                ahead = take(source, places, at + following * s, s, following, left_after, fast)
            a1 = merge(a0, v1)
            a2 = merge(a1, v2)
            a3 = merge(a2, v3)
            if totals:
                carry = merge(carry, a3)
            else:
                before, total = exclusive_scan(a3, half)
                # the carry last: it is the largest, so there is one large rounding error, not two
                b0 = merge(carry, merge(before, a0))
                b1 = merge(carry, merge(before, a1))
                b2 = merge(carry, merge(before, a2))
                b3 = merge(carry, before if exclusive else merge(before, a3))
                made = (b3, b0, b1, b2) if exclusive else (b0, b1, b2, b3)
                carry = merge(carry, total)
                half = WARPS - half
                give(values, places, to + k * d, d, limit - k, fast, made)
            k = following
            left -= tile
        if totals:
            _, carry = exclusive_scan(carry, 0)
        if totals and active and lane == 0:
            save(values, places, slot, carry)

    params = PER_AXIS * dims
    return Source(unpack_params(scan_rows, 9, params), "i" * (9 + params), *bounds)


@kernel
def columns(
    name: str, dtype: str, exclusive: bool, stage: str, dims: int, wide: bool, bounds: Bounds
) -> Source:
    """Scan a chunk of a row per thread; the grid's second index is the chunk.

    Parameters: x, out, places, elements of a row, their strides in x and out, elements of a chunk,
    how many rows, then the block of rows as for :func:`rows`.
    """
    T, paired = np.dtype(dtype).type, name in EXTREMES
    carried = state(name, dtype)
    start, _, merge, _, _, load, save = carried
    take, give = _taking(dtype, carried, stage == "slots", 0, paired)
    place = offsets_of(dims, 2, 0, wide)
    totals, last, threads = stage == "totals", stage == "last", bounds.threads

    @inline
    def scan_columns(x, out, where, n, s, d, chunk, count, t):
        row = block() * threads + thread()
        k = block_y() * chunk
        end = min(n, k + chunk) if row < count else k
        at, to = place(row, t)
        source, values, places = pointer(x, T), pointer(out, T), pointer(where, np.int64)
        total = start
        if last and k > 0 and k < end:
            total = load(values, places, to + (k if exclusive else k - 1) * d)
        limit = end - 1 if last and not exclusive and end < n else end
        ahead = take(source, places, at + k * s, s, k, end - k, False)
        while k < end:
            a0, v1, v2, v3 = ahead
            following = k + FOUR
            ahead = take(source, places, at + following * s, s, following, end - following, False)
            a1 = merge(a0, v1)
            a2 = merge(a1, v2)
            a3 = merge(total, merge(a2, v3))
            if not totals:
                b0, b1, b2 = merge(total, a0), merge(total, a1), merge(total, a2)
                made = (total, b0, b1, b2) if exclusive else (b0, b1, b2, a3)
                give(values, places, to + k * d, d, limit - k, False, made)
            total = a3
            k = following
        if totals and row < count:
            save(values, places, to + (end if exclusive else end - 1) * d, total)

    params = PER_AXIS * dims
    return Source(unpack_params(scan_columns, 8, params), "i" * (8 + params), *bounds)
