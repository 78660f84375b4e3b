"""Radix sort of long rows, 8 bits of the key at a time, least significant first.

For each digit, the tiles of a row count its values, the counts are summed up over the tiles, and
every tile puts its entries in order and moves them to where they belong. Entries of equal digits
keep their order: a warp goes through its part of a tile in order, and its lanes see by votes which
others have the same digit.

Source: Satish, Harris and Garland, Designing Efficient Sorting Algorithms for Manycore GPUs (2009).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    atomic_add,
    ballot,
    barrier,
    block,
    count_bits,
    pointer,
    shared,
    thread,
    warp_barrier,
)
from tilegrad.kernels.cuda.parts.keys import key_bits, key_function, key_type, word_type
from tilegrad.kernels.cuda.parts.prefix import block_scan
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.scan import scan
from tilegrad.kernels.cuda.tuning import SORT, row
from tilegrad.kernels.function import DeviceFunction, inline

BITS = 8  # of a digit, of which a thread has one
THREADS = DIGITS = 1 << BITS
WARPS = THREADS // WARP
ALIGNMENT = 256

sum_before = block_scan(THREADS)


def _digit_function(dtype: str, initial: bool) -> tuple[DeviceFunction, DeviceFunction]:
    """``entry(source, i, descending)``, the key of entry i: an element of x for the ``initial``
    digit; and ``digit(key, shift)``.
    """
    key, U = key_function(dtype), key_type(dtype)
    low = U(DIGITS - 1)

    @inline
    def entry(source, i, descending):
        return key(source[i], descending) if initial else source[i]

    @inline
    def digit(k, shift):
        return np.int64((k >> U(shift)) & low)

    return entry, digit


@kernel
def count_digits(dtype: str, initial: bool, per_thread: int, per_sm: int) -> Source:
    """How many entries of a tile have each digit. A tile is a block's, ``each`` entries a thread.

    Parameters: keys (``initial``: x), counts (int64: row, digit, tile), elements of a row, tiles of
    a row, shift of the digit, 1 to descend or 0.
    """
    S = word_type(dtype) if initial else key_type(dtype)
    entry, digit = _digit_function(dtype, initial)
    shared_counts = shared("int32", DIGITS, "digits")

    def count_body(keys, counts, n, tiles, shift, descending):
        row = block() // tiles
        tile = block() - row * tiles
        source, held = pointer(keys, S), shared_counts()
        held[thread()] = np.int32(0)
        barrier()
        i = row * n + tile * (THREADS * per_thread) + thread()
        end = row * n + min(n, (tile + 1) * (THREADS * per_thread))
        while i + 3 * THREADS < end:
            k0 = entry(source, i, descending)
            k1 = entry(source, i + THREADS, descending)
            k2 = entry(source, i + 2 * THREADS, descending)
            k3 = entry(source, i + 3 * THREADS, descending)
            atomic_add(held, digit(k0, shift), 1)
            atomic_add(held, digit(k1, shift), 1)
            atomic_add(held, digit(k2, shift), 1)
            atomic_add(held, digit(k3, shift), 1)
            i += 4 * THREADS
        while i < end:
            atomic_add(held, digit(entry(source, i, descending), shift), 1)
            i += THREADS
        barrier()
        pointer(counts, np.int64)[(row * DIGITS + thread()) * tiles + tile] = np.int64(
            held[thread()]
        )

    return Source(count_body, "iiiiii", THREADS, per_sm)


@inline
def equal_lanes(value, active):
    """The active lanes of the warp that have this digit, as bits."""
    same = ballot(active)
    bit = 1
    while bit < DIGITS:
        vote = ballot(value & bit != 0)
        same &= vote if value & bit != 0 else ~vote
        bit *= 2
    return same


@kernel
def move_entries(dtype: str, initial: bool, final: bool, per_thread: int, per_sm: int) -> Source:
    """The entries of each tile to their places by one digit.

    Parameters: x; keys and places (uint32) before, unless ``initial``; the same after, or values
    and indices (int64), if ``final``; counts (int64) summed up over the tiles; elements of a row,
    tiles of a row, shift of the digit, 1 to descend or 0.
    """
    W, U = word_type(dtype), key_type(dtype)
    S = W if initial else U
    entry, digit = _digit_function(dtype, initial)
    share, tile_size = WARP * per_thread, THREADS * per_thread
    shared_keys = shared(U.__name__, tile_size, "keys")
    shared_places = shared("uint32", tile_size, "places")
    shared_tallies = shared("int32", WARPS * DIGITS, "tallies")
    shared_offsets = shared("int64", DIGITS, "offsets")

    def move_body(x, keys, places, new_keys, new_places, counts, n, tiles, shift, descending):
        row = block() // tiles
        tile = block() - row * tiles
        warp = thread() // WARP
        source, old_places = pointer(x if initial else keys, S), pointer(places, np.uint32)
        held, held_places = shared_keys(), shared_places()
        tallies, offsets = shared_tallies(), shared_offsets()
        for w in range(WARPS):
            tallies[w * DIGITS + thread()] = np.int32(0)
        barrier()
        first = tile * tile_size + warp * share + thread() % WARP
        end = min(n, tile * tile_size + (warp + 1) * share)
        i = first
        while i < end:
            d = digit(entry(source, row * n + i, descending), shift)
            atomic_add(tallies, warp * DIGITS + d, 1)
            i += WARP
        barrier()
        count = np.int64(0)
        for w in range(WARPS):  # this thread's digit: before each warp
            count_here = np.int64(tallies[w * DIGITS + thread()])
            tallies[w * DIGITS + thread()] = np.int32(count)
            count += count_here
        before, total = sum_before(count)
        for w in range(WARPS):
            tallies[w * DIGITS + thread()] += np.int32(before)
        summed = pointer(counts, np.int64)
        slot = (row * DIGITS + thread()) * tiles
        start, _ = sum_before(summed[slot + tiles - 1])
        start += summed[slot + tile - 1] if tile > 0 else 0
        offsets[thread()] = row * n + start - before
        barrier()
        i = first
        for _ in range(per_thread):
            active = i < end
            k = entry(source, row * n + i, descending) if active else U(0)
            d = digit(k, shift)
            same = equal_lanes(d, active)
            rank = count_bits(same & ((1 << thread() % WARP) - 1))
            at = np.int64(tallies[warp * DIGITS + d]) + rank
            warp_barrier()
            if active:
                if rank == 0:
                    tallies[warp * DIGITS + d] += np.int32(count_bits(same))
                held[at] = k
                held_places[at] = np.uint32(i) if initial else old_places[row * n + i]
            warp_barrier()
            i += WARP
        barrier()
        i = thread()
        while i < total:
            k, place = held[i], held_places[i]
            to = offsets[digit(k, shift)] + i
            if final:
                pointer(new_keys, W)[to] = pointer(x, W)[row * n + np.int64(place)]
                pointer(new_places, np.int64)[to] = np.int64(place)
            else:
                pointer(new_keys, U)[to] = k
                pointer(new_places, np.uint32)[to] = place
            i += THREADS

    return Source(move_body, "iiiiiiiiii", THREADS, per_sm)


def sort_by_digits(
    dtype: str, rows: int, n: int, descending: bool, bits: int | None = None
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, scratch)`` that sorts rows of n elements, and its bytes of
    scratch. ``bits``: how many low ones tell the elements' keys apart; all, unless given.
    """
    width = np.dtype(key_type(dtype)).itemsize
    passes = -(-(key_bits(dtype) if bits is None else bits) // BITS)
    fewest = 1 << (-(-n // THREADS) - 1).bit_length()  # that one tile could have
    chosen = row(SORT, dtype, "sort")
    per_thread = max(1, min(chosen.tile // (THREADS * width), fewest))
    tiles = -(-n // (THREADS * per_thread))
    blocks, flag = rows * tiles, int(descending)
    counters = [
        count_digits.build(dtype, p == 0, per_thread, chosen.counting) for p in range(passes)
    ]
    movers = [
        move_entries.build(dtype, p == 0, p == passes - 1, per_thread, chosen.moving)
        for p in range(passes)
    ]
    sum_up = scan("cumsum", "int64", ((rows * DIGITS,), (tiles,)), (tiles, 1), ((1,), (1,)))
    count_bytes = 8 * rows * DIGITS * tiles
    sizes = [count_bytes, count_bytes if tiles > 1 else 0]
    sizes += [width * rows * n, 4 * rows * n] * min(2, passes - 1)
    starts = [*accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in sizes), initial=0)]

    def launch(x: int, values: int, indices: int, scratch: int) -> None:
        counts, sums, *entries = (scratch + start for start in starts)
        sums = sums if tiles > 1 else counts
        keys, places = 0, 0
        for p in range(passes):
            here = 2 * (p % 2)
            to = entries[here : here + 2] if p < passes - 1 else (values, indices)
            shape = (n, tiles, BITS * p, flag, blocks, 1, 1)
            counters[p](keys if p else x, counts, *shape)
            if tiles > 1:
                sum_up(counts, sums)
            movers[p](x, keys, places, *to, sums, *shape)
            keys, places = to

    return launch, starts[-1]
