"""Selecting within rows without sorting them whole, and searching sorted rows.

Short rows are sorted in shared memory. Of a longer row a block finds the leading bits of the key of
a given rank, 11 at a time, by counting how often each value comes next among the keys that begin
with those known. Once few enough are left, the entries that matter are gathered in shared memory,
in whatever order, and sorted there. Where all bits of the key do not tell enough apart, those of
the place go on: so of equal keys the first ones are taken.

Source: Alabi, Blanchard, Gordon and Steinbach, Fast k-Selection Algorithms for Graphics Processing
Units (2012).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import atomic_add, barrier, block, pointer, shared, thread
from tilegrad.kernels.cuda.parts.keys import (
    key_bits,
    key_function,
    key_type,
    rank_function,
    rank_of,
    sort_entries,
    word_type,
)
from tilegrad.kernels.cuda.parts.prefix import THREADS, sum_before
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.sort import SHORT, nothing, sort, sort_short
from tilegrad.kernels.cuda.topk.search import mode, searchsorted
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline

__all__ = ["mode", "one_pass", "pick", "searchsorted", "topk"]

BITS = 11  # of a digit
DIGITS = 1 << BITS
EACH = DIGITS // THREADS
ENTRIES = 1 << 11  # that a block can sort in shared memory
MANY = ENTRIES // 2  # elements that one block keeps of a row
GATHERED = 256  # entries that are few enough to be sorted, though fewer may be wanted
CHUNK = 1 << 13  # elements of a row's chunk, of which a block keeps the best
UNITS = 256  # blocks that should be at work, where sizes allow
SINGLE = 1 << 16  # elements from which on a block is slow to pick one


def _counting(dtype: str) -> DeviceFunction:
    """``tally(bins, k, i, known, found, place_known, place_found, left, shift)``: count the digit of
    entry (k, i) if it begins with what was found. The digit is the key's while bits of it are
    ``left`` to be found, then the place's.
    """
    U = key_type(dtype)
    low = U(DIGITS - 1)

    @inline
    def tally(bins, k, i, known, found, place_known, place_found, left, shift):
        if (k & known) == found and (i & place_known) == place_found:
            digit = np.int64((k >> U(shift)) & low) if left > 0 else (i >> shift) & (DIGITS - 1)
            atomic_add(bins, digit, 1)

    return tally


@inline
def find_digit(bins, chosen, below, wanted):
    """(the digit of the entry of rank ``wanted``, the rank of the first with that digit, how many
    have it) where ``below`` entries come before all that were counted. For all threads of a block.
    """
    first = thread() * EACH
    own = np.int64(0)
    for j in range(EACH):
        own += np.int64(bins[first + j])
    before, _ = sum_before(own)
    before += below
    for j in range(EACH):
        count = np.int64(bins[first + j])
        if before <= wanted and wanted < before + count:
            chosen[0] = first + j
            chosen[1] = before
            chosen[2] = count
        before += count
    barrier()
    return chosen[0], chosen[1], chosen[2]


@kernel
def long_rows(dtype: str, picks: bool, resumes: bool) -> Source:
    """The first ``count`` entries in the order of each chunk of a row, or one. A block per chunk.

    Parameters: x, origins (int64; of the elements of x, with ``resumes``), values, indices (int64),
    elements of a row, chunks of a row, count, entries that are few enough to be sorted, bits of a
    place, 1 to descend or 0. With ``picks`` the count says which one; see
    :func:`tilegrad.kernels.cuda.parts.keys.rank_function`.
    """
    W, U = word_type(dtype), key_type(dtype)
    bits, everything = key_bits(dtype), U((1 << key_bits(dtype)) - 1)
    key, tally, floating = key_function(dtype), _counting(dtype), is_float(dtype)
    low, width = U(DIGITS - 1), np.dtype(dtype).itemsize
    shared_bins, shared_chosen = shared("int32", DIGITS, "bins"), shared("int64", 3, "chosen")
    shared_keys = shared(U.__name__, ENTRIES, "keys")
    shared_places = shared("uint32", ENTRIES, "places")

    @inline
    def held(entries, i):
        return entries[i]

    rank = rank_function(held, dtype)

    @inline
    def count_numbers(source, size):
        own = 0
        i = thread()
        while i < size:
            own += 1 if key(source[i], 0) != everything else 0
            i += THREADS
        _, numbers = sum_before(own)
        return numbers

    @inline
    def narrow(source, size, wanted, limit, place_bits, descending):
        """(known, found, place_known, place_found, below, here, wanted)"""
        bins, chosen = shared_bins(), shared_chosen()
        known, found, place_known, place_found = U(0), U(0), 0, 0
        left, place_left, below, here = bits, place_bits, 0, size
        while (here if picks else below + here) > limit:  # the same for all threads
            shift = max((left if left > 0 else place_left) - BITS, 0)
            for j in range(EACH):
                bins[j * THREADS + thread()] = np.int32(0)
            barrier()
            i = thread()
            while i + 3 * THREADS < size:
                i1, i2, i3 = i + THREADS, i + 2 * THREADS, i + 3 * THREADS
                k0, k1 = key(source[i], descending), key(source[i1], descending)
                k2, k3 = key(source[i2], descending), key(source[i3], descending)
                tally(bins, k0, i, known, found, place_known, place_found, left, shift)
                tally(bins, k1, i1, known, found, place_known, place_found, left, shift)
                tally(bins, k2, i2, known, found, place_known, place_found, left, shift)
                tally(bins, k3, i3, known, found, place_known, place_found, left, shift)
                i += 4 * THREADS
            while i < size:
                k0 = key(source[i], descending)
                tally(bins, k0, i, known, found, place_known, place_found, left, shift)
                i += THREADS
            barrier()
            digit, below, here = find_digit(bins, chosen, below, wanted)
            if left > 0:
                known = U(known | low << U(shift))
                found = U(found | U(digit) << U(shift))
                left = shift
                if picks and left == 0:
                    wanted = below  # of equal ones the first
            else:
                place_known |= (DIGITS - 1) << shift
                place_found |= digit << shift
                place_left = shift
        return known, found, place_known, place_found, below, here, wanted

    def long_body(x, origins, values, indices, n, chunks, count, limit, place_bits, descending):
        row = block() // chunks
        c = block() - row * chunks
        first = c * n // chunks
        size = (c + 1) * n // chunks - first
        start = row * n + first
        source = pointer(x + start * width, W)
        wanted = count if picks else count - 1
        if picks and count < 0:
            wanted = rank_of(count_numbers(source, size) if floating else size, size, count)
        known, found, place_known, place_found, below, here, wanted = narrow(
            source, size, wanted, limit, place_bits, descending
        )
        keys, places, bins = shared_keys(), shared_places(), shared_bins()
        if thread() == 0:
            bins[0] = np.int32(0)
        barrier()
        i = thread()
        while i < size:
            k = key(source[i], descending)
            same = k & known == found
            takes = same and i & place_known == place_found
            if not picks:
                takes = k & known < found or (same and i & place_known <= place_found)
            if takes:
                slot = atomic_add(bins, 0, 1)
                keys[slot] = k
                places[slot] = np.uint32(i)
            i += THREADS
        entries = here if picks else below + here
        capacity = 2
        while capacity < entries:
            capacity *= 2
        i = entries + thread()
        while i < capacity:
            keys[i] = everything
            places[i] = np.uint32(0xFFFFFFFF)
            i += THREADS
        sort_entries(keys, places, 0, capacity, thread(), THREADS)
        target, where = pointer(values, W), pointer(indices, np.int64)
        if not picks:
            i = thread()
            while i < count:
                place, to = np.int64(places[i]), block() * count + i
                target[to] = source[place]
                where[to] = pointer(origins, np.int64)[start + place] if resumes else first + place
                i += THREADS
        elif thread() == 0:
            place = np.int64(places[rank(keys, 0, entries, wanted - below)])
            target[row] = source[place]
            where[row] = place

    return Source(long_body, "iiiiiiiiii", THREADS, 4)


@kernel
def sorted_rows(dtype: str) -> Source:
    """One element of each sorted row, a thread per row.

    Parameters: the sorted values, their places (int64), value, place, elements of a row, which one,
    rows; see :func:`tilegrad.kernels.cuda.parts.keys.rank_function`.
    """
    W, key = word_type(dtype), key_function(dtype)

    @inline
    def ascending(entries, i):
        return key(entries[i], 0)

    rank = rank_function(ascending, dtype)

    def take_body(x, places, value, place, n, which, rows):
        row = block() * THREADS + thread()
        if row < rows:
            source = pointer(x, W)
            at = row * n + rank(source, row * n, n, which)
            pointer(value, W)[row] = source[at]
            pointer(place, np.int64)[row] = pointer(places, np.int64)[at]

    return Source(take_body, "iiiiiii", THREADS)


def one_pass(n: int, count: int) -> bool:
    """Whether :func:`topk` is for keeping ``count`` elements of rows of n; else they are sorted."""
    return n <= SHORT or count <= MANY


def topk(
    dtype: str, rows: int, n: int, count: int, largest: bool
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, [scratch])`` and its bytes of scratch; see
    :func:`tilegrad.kernels.cpu.topk.topk`.

    Where there are few rows, the best of their chunks are found first, then the best of those.
    """
    if rows * count == 0:
        return nothing, 0
    if n <= SHORT:
        return sort_short(dtype, rows, n, count, largest), 0
    chunks = max(1, min(n // max(CHUNK, 4 * count), UNITS // rows))
    limit = max(GATHERED, min(ENTRIES, 2 * count))
    candidates = chunks * count
    tail = (count, limit, (n - 1).bit_length(), int(largest))
    function = long_rows.build(dtype, False, False)
    first = bind(function, n, chunks, *tail, rows * chunks, 1, 1)
    if chunks == 1:
        return lambda x, values, indices: first(x, 0, values, indices), 0
    tail = (count, limit, (candidates - 1).bit_length(), int(largest))
    last = bind(long_rows.build(dtype, False, True), candidates, 1, *tail, rows, 1, 1)
    places = 8 * rows * candidates

    def launch(x: int, values: int, indices: int, scratch: int) -> None:
        first(x, 0, scratch + places, scratch)
        last(scratch + places, scratch, values, indices)

    return launch, places + np.dtype(dtype).itemsize * rows * candidates


def pick(dtype: str, rows: int, n: int, which: int) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, [scratch])`` and its bytes of scratch; see
    :func:`tilegrad.kernels.cpu.topk.pick`.

    Few very long rows are sorted, as a block each would not keep the device busy.
    """
    if rows == 0:
        return nothing, 0
    if n <= SHORT:
        return sort_short(dtype, rows, n, which, False, picks=True), 0
    if n < SINGLE or rows >= UNITS:
        function = long_rows.build(dtype, True, False)
        whole = bind(function, n, 1, which, MANY, (n - 1).bit_length(), 0, rows, 1, 1)
        return lambda x, values, indices: whole(x, 0, values, indices), 0
    order, scratch = sort(dtype, rows, n, False)
    take = bind(sorted_rows.build(dtype), n, which, rows, -(-rows // THREADS), 1, 1)
    places = 8 * rows * n
    more = -(-np.dtype(dtype).itemsize * rows * n // 256) * 256 + places

    def launch(x: int, values: int, indices: int, free: int) -> None:
        order(x, free + places, free, free + more)
        take(free + places, free, values, indices)

    return launch, more + scratch
