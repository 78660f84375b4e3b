"""Sorting within rows.

A row that fits is sorted in shared memory, by some warps of a block or by all of them; for longer
ones see :mod:`tilegrad.kernels.cuda.sort.radix`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, block, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.keys import (
    key_bits,
    key_function,
    key_type,
    rank_function,
    sort_entries,
    word_type,
)
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.sort.radix import sort_by_digits
from tilegrad.kernels.cuda.tuning import SORT, row
from tilegrad.kernels.function import inline


def is_short(dtype: str, n: int) -> bool:
    """Whether rows of ``n`` elements are sorted in shared memory."""
    return n <= row(SORT, dtype, "sort").short


@kernel
def short_rows(dtype: str, capacity: int, picks: bool, lanes: int, bounds: Bounds) -> Source:
    """Sort rows of up to ``capacity`` elements, a power of 2, with ``lanes`` threads to a row, and keep
    the first ``count``.

    Parameters: x, values, indices (int64), rows, elements of a row, count, 1 to descend or 0. With
    ``picks`` one element is kept, and the count says which;
    see :func:`tilegrad.kernels.cuda.parts.keys.rank_function`.
    """
    W, U = word_type(dtype), key_type(dtype)
    lines = bounds.threads // lanes
    key, everything = key_function(dtype), U((1 << key_bits(dtype)) - 1)
    shared_keys = shared(U.__name__, lines * capacity, "keys")
    shared_places = shared("uint32", lines * capacity, "places")

    @inline
    def held(entries, i):
        return entries[i]

    rank = rank_function(held, dtype)

    def short_body(x, values, indices, rows, n, count, descending):
        lane = thread() % lanes
        first = thread() // lanes * capacity
        row = block() * lines + thread() // lanes
        source, target, where = pointer(x, W), pointer(values, W), pointer(indices, np.int64)
        keys, places = shared_keys(), shared_places()
        i = lane
        while i < capacity:
            k = everything
            if row < rows and i < n:
                k = key(source[row * n + i], descending)
            keys[first + i] = k
            places[first + i] = np.uint32(i)
            i += lanes
        sort_entries(keys, places, first, capacity, lane, lanes)
        if row < rows:
            if picks and lane == 0:
                place = np.int64(places[first + rank(keys, first, n, count)])
                target[row] = source[row * n + place]
                where[row] = place
            i = count if picks else lane
            while i < count:
                place = np.int64(places[first + i])
                target[row * count + i] = source[row * n + place]
                where[row * count + i] = place
                i += lanes

    return Source(short_body, "iiiiiii", *bounds)


def sort_short(
    dtype: str, rows: int, n: int, count: int, descending: bool, picks: bool = False
) -> Callable[..., None]:
    """A launch ``(x, values, indices)`` of :func:`short_rows`."""
    chosen, capacity = row(SORT, dtype, "sort"), 1 << max(5, (n - 1).bit_length())
    lanes = min(max(capacity // 2, WARP), chosen.most)
    lines = max(1, chosen.threads // lanes)
    bounds = Bounds(lanes * lines, chosen.resident // (lanes * lines))
    function = short_rows.build(dtype, capacity, picks, lanes, bounds)
    return bind(function, rows, n, count, int(descending), -(-rows // lines), 1, 1)


def sort(dtype: str, rows: int, n: int, descending: bool) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, [scratch])`` and the bytes of scratch it needs; see
    :func:`tilegrad.kernels.cpu.sort.sort`.
    """
    if rows * n == 0:
        return nothing, 0
    if is_short(dtype, n):
        return sort_short(dtype, rows, n, n, descending), 0
    return sort_by_digits(dtype, rows, n, descending)


def nothing(*args: int) -> None:
    """The launch of an op without elements."""
