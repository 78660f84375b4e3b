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
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.keys import (
    key_bits,
    key_function,
    key_type,
    rank_function,
    rank_of,
    sort_entries,
    word_type,
)
from tilegrad.kernels.cuda.parts.prefix import block_scan, prefix
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.sort import is_short, nothing, sort, sort_short
from tilegrad.kernels.cuda.topk.search import mode, searchsorted
from tilegrad.kernels.cuda.tuning import SORT, find, grid, row
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline

__all__ = ["mode", "one_pass", "pick", "searchsorted", "topk"]


def _counting(dtype: str, digits: int) -> DeviceFunction:
    """``tally(bins, k, i, known, found, place_known, place_found, left, shift)``: count the digit of
    entry (k, i) if it begins with what was found. The digit is the key's while bits of it are
    ``left`` to be found, then the place's.
    """
    U = key_type(dtype)
    low, place_low = U(digits - 1), digits - 1

    @inline
    def tally(bins, k, i, known, found, place_known, place_found, left, shift):
        if (k & known) == found and (i & place_known) == place_found:
            digit = np.int64((k >> U(shift)) & low) if left > 0 else (i >> shift) & place_low
            atomic_add(bins, digit, 1)

    return tally


def _finding(per_thread: int, threads: int) -> DeviceFunction:
    """``find_digit(bins, chosen, below, wanted)``: (the digit of the entry of rank ``wanted``, the rank of
    the first with that digit, how many have it) where ``below`` entries come before all that were
    counted. For all threads of a block, which have ``per_thread`` digits.
    """
    sum_before = block_scan(threads)

    @inline
    def find_digit(bins, chosen, below, wanted):
        first = thread() * per_thread
        thread_count = np.int64(0)
        for j in range(per_thread):
            thread_count += np.int64(bins[first + j])
        before, _ = sum_before(thread_count)
        before += below
        for j in range(per_thread):
            count = np.int64(bins[first + j])
            if before <= wanted and wanted < before + count:
                chosen[0] = first + j
                chosen[1] = before
                chosen[2] = count
            before += count
        barrier()
        return chosen[0], chosen[1], chosen[2]

    return find_digit


@kernel
def long_rows(
    dtype: str, picks: bool, resumes: bool, digit_bits: int, capacity: int, bounds: Bounds
) -> Source:
    """The first ``count`` entries in the order of each chunk of a row, or one. A block per chunk.

    Parameters: x, origins (int64; of the elements of x, with ``resumes``), values, indices (int64),
    elements of a row, chunks of a row, count, entries that are few enough to be sorted, bits of a
    place, 1 to descend or 0. With ``picks`` the count says which one; see
    :func:`tilegrad.kernels.cuda.parts.keys.rank_function`.
    """
    W, U = word_type(dtype), key_type(dtype)
    bits, everything = key_bits(dtype), U((1 << key_bits(dtype)) - 1)
    threads, digits = bounds.threads, 1 << digit_bits
    per_thread = digits // threads
    key, tally, floating = key_function(dtype), _counting(dtype, digits), is_float(dtype)
    sum_before, find_digit = block_scan(threads), _finding(per_thread, threads)
    low, width = U(digits - 1), np.dtype(dtype).itemsize
    shared_bins, shared_chosen = shared("int32", digits, "bins"), shared("int64", 3, "chosen")
    shared_keys = shared(U.__name__, capacity, "keys")
    shared_places = shared("uint32", capacity, "places")

    @inline
    def held(entries, i):
        return entries[i]

    rank = rank_function(held, dtype)

    @inline
    def count_numbers(source, size):
        thread_count = 0
        i = thread()
        while i < size:
            thread_count += 1 if key(source[i], 0) != everything else 0
            i += threads
        _, numbers = sum_before(thread_count)
        return numbers

    @inline
    def select_digits(source, size, wanted, limit, place_bits, descending):
        """(known, found, place_known, place_found, below, here, wanted)"""
        bins, chosen = shared_bins(), shared_chosen()
        known, found, place_known, place_found = U(0), U(0), 0, 0
        left, place_left, below, here = bits, place_bits, 0, size
        while (here if picks else below + here) > limit:  # the same for all threads
            shift = max((left if left > 0 else place_left) - digit_bits, 0)
            for j in range(per_thread):
                bins[j * threads + thread()] = np.int32(0)
            barrier()
            i = thread()
            while i + 3 * threads < size:
                i1, i2, i3 = i + threads, i + 2 * threads, i + 3 * threads
                k0, k1 = key(source[i], descending), key(source[i1], descending)
                k2, k3 = key(source[i2], descending), key(source[i3], descending)
                tally(bins, k0, i, known, found, place_known, place_found, left, shift)
                tally(bins, k1, i1, known, found, place_known, place_found, left, shift)
                tally(bins, k2, i2, known, found, place_known, place_found, left, shift)
                tally(bins, k3, i3, known, found, place_known, place_found, left, shift)
                i += 4 * threads
            while i < size:
                k0 = key(source[i], descending)
                tally(bins, k0, i, known, found, place_known, place_found, left, shift)
                i += threads
            barrier()
            digit, below, here = find_digit(bins, chosen, below, wanted)
            if left > 0:
                known = U(known | low << U(shift))
                found = U(found | U(digit) << U(shift))
                left = shift
                if picks and left == 0:
                    wanted = below  # of equal ones the first
            else:
                place_known |= (digits - 1) << shift
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
        known, found, place_known, place_found, below, here, wanted = select_digits(
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
            i += threads
        entries = here if picks else below + here
        room = 2
        while room < entries:
            room *= 2
        i = entries + thread()
        while i < room:
            keys[i] = everything
            places[i] = np.uint32(0xFFFFFFFF)
            i += threads
        sort_entries(keys, places, 0, room, thread(), threads)
        target, where = pointer(values, W), pointer(indices, np.int64)
        if not picks:
            i = thread()
            while i < count:
                place, to = np.int64(places[i]), block() * count + i
                target[to] = source[place]
                where[to] = pointer(origins, np.int64)[start + place] if resumes else first + place
                i += threads
        elif thread() == 0:
            place = np.int64(places[rank(keys, 0, entries, wanted - below)])
            target[row] = source[place]
            where[row] = place

    return Source(long_body, "iiiiiiiiii", *bounds)


@kernel
def sorted_rows(dtype: str, threads: int) -> Source:
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
        row = block() * threads + thread()
        if row < rows:
            source = pointer(x, W)
            at = row * n + rank(source, row * n, n, which)
            pointer(value, W)[row] = source[at]
            pointer(place, np.int64)[row] = pointer(places, np.int64)[at]

    return Source(take_body, "iiiiiii", threads)


def one_pass(dtype: str, n: int, count: int) -> bool:
    """Whether :func:`topk` is for keeping ``count`` elements of rows of n; else they are sorted."""
    chosen = find(SORT, dtype)  # that there is none, the planner says, which knows the operands
    return chosen is None or n <= chosen.short or count <= chosen.entries // 2


def _long_rows(dtype: str, picks: bool, resumes: bool) -> Callable[..., None]:
    """:func:`long_rows` with the table's numbers."""
    chosen = row(SORT, dtype, "topk")
    bounds = Bounds(prefix().threads, chosen.moving)
    return long_rows.build(dtype, picks, resumes, chosen.bits, chosen.entries, bounds)


def topk(
    dtype: str, rows: int, n: int, count: int, largest: bool
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, [scratch])`` and its bytes of scratch; see
    :func:`tilegrad.kernels.cpu.topk.topk`.

    Where there are few rows, the best of their chunks are found first, then the best of those.
    """
    if rows * count == 0:
        return nothing, 0
    if is_short(dtype, n):
        return sort_short(dtype, rows, n, count, largest), 0
    chosen = row(SORT, dtype, "topk")
    chunks = max(1, min(n // max(chosen.chunk, 4 * count), chosen.units // rows))
    limit = max(chosen.gathered, min(chosen.entries, 2 * count))
    candidates = chunks * count
    tail = (count, limit, (n - 1).bit_length(), int(largest))
    function = _long_rows(dtype, False, False)
    first = bind(function, n, chunks, *tail, rows * chunks, 1, 1)
    if chunks == 1:
        return lambda x, values, indices: first(x, 0, values, indices), 0
    tail = (count, limit, (candidates - 1).bit_length(), int(largest))
    last = bind(_long_rows(dtype, False, True), candidates, 1, *tail, rows, 1, 1)
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
    if is_short(dtype, n):
        return sort_short(dtype, rows, n, which, False, picks=True), 0
    chosen = row(SORT, dtype, "topk")
    if n < chosen.single or rows >= chosen.units:
        function = _long_rows(dtype, True, False)
        whole = bind(
            function, n, 1, which, chosen.entries // 2, (n - 1).bit_length(), 0, rows, 1, 1
        )
        return lambda x, values, indices: whole(x, 0, values, indices), 0
    order, scratch = sort(dtype, rows, n, False)
    threads = grid("rank", dtype).bounds.threads
    take = bind(sorted_rows.build(dtype, threads), n, which, rows, -(-rows // threads), 1, 1)
    places = 8 * rows * n
    more = -(-np.dtype(dtype).itemsize * rows * n // 256) * 256 + places

    def launch(x: int, values: int, indices: int, free: int) -> None:
        order(x, free + places, free, free + more)
        take(free + places, free, values, indices)

    return launch, more + scratch
