"""Searching sorted rows: for values, by halving, and for the longest run of equal elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.arg_reduce import filler
from tilegrad.kernels.cuda.device.ptx import WARP, atomic_max, block, blocks, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce, stored
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import SORT, grid, row
from tilegrad.kernels.monoids import larger

LOW = (1 << 32) - 1


@kernel
def search_rows(dtype: str, bounds: Bounds) -> Source:
    """Where each value would go into its ascending row.

    Parameters: rows, values, out (int64), elements of a row, values of a row, rows (1: all values
    search the same), values in all, 1 to go behind equal elements or 0.
    """
    T, threads = stored(dtype), bounds.threads

    def search_body(rows, values, out, n, per_row, count, total, right):
        border, sought, found = pointer(rows, T), pointer(values, T), pointer(out, np.int64)
        i = block() * threads + thread()
        while i < total:
            value = sought[i]
            base = i // per_row * n if count > 1 else 0
            low, high = base, base + n
            while low < high:
                middle = (low + high) // 2
                here = border[middle]
                if here > value if right else here >= value:
                    high = middle
                else:
                    low = middle + 1
            found[i] = low - base
            i += blocks() * threads

    return Source(search_body, "iiiiiiii", *bounds)


def searchsorted(dtype: str, rows: int, n: int, values: int, right: bool) -> Callable[..., None]:
    """A launch ``(rows, values, out)``; see :func:`tilegrad.kernels.cpu.topk.searchsorted`."""
    total = max(rows, 1) * values
    if total == 0:
        return lambda *args: None
    chosen = grid("search", dtype)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)
    function = search_rows.build(dtype, chosen.bounds)
    return bind(function, n, values, rows, total, int(right), where, 1, 1)


# ------------------------------------------------------------------------------------- longest runs


@kernel
def longest_runs(dtype: str, lanes: int, single: bool, bounds: Bounds) -> Source:
    """The first longest run of each sorted row: its value, and the place of its last element.

    Parameters: the sorted values, their places (int64), value, place, elements of a row, elements
    of a chunk, chunks of a row, chunks in all. ``lanes`` threads take a chunk. A run's length and,
    below it, its end counted from behind are one number, so that the largest is wanted; unless the
    row is ``single``, that number is what ``place`` gets.
    """
    T, groups = stored(dtype), bounds.threads // lanes
    best_of = block_reduce(larger, "int64", lanes)

    def run_body(x, places, value, place, n, chunk, chunks, units):
        unit = block() * groups + thread() // lanes
        row = unit // chunks if chunks > 1 else unit
        i = (unit - row * chunks) * chunk
        end = min(n, i + chunk) if unit < units else i
        i += thread() % lanes
        source, base = pointer(x, T), row * n
        length, last = 1 if i < end else 0, i
        while i < end:
            v = source[base + i]
            if i >= length and source[base + i - length] == v:  # a longer one
                low, high = 0, i - length
                while low < high:
                    middle = (low + high) // 2
                    if source[base + middle] < v:
                        low = middle + 1
                    else:
                        high = middle
                length, last = i + 1 - low, i
            i += lanes
        best = best_of(length << 32 | (LOW - last if length > 0 else 0))
        if unit < units and thread() % lanes == 0:
            if single:
                at = base + LOW - (best & LOW)
                pointer(value, T)[row] = source[at]
                pointer(place, np.int64)[row] = pointer(places, np.int64)[at]
            else:
                atomic_max(pointer(place, np.int64), row, best)

    return Source(run_body, "iiiiiiii", *bounds)


@kernel
def take_ends(dtype: str, threads: int) -> Source:
    """Values and places where the runs end that :func:`longest_runs` found in parts of rows.

    Parameters: the sorted values, their places, value, place, elements of a row, rows.
    """
    T = stored(dtype)

    def take_body(x, places, value, place, n, rows):
        row = block() * threads + thread()
        if row < rows:
            at = row * n + LOW - (pointer(place, np.int64)[row] & LOW)
            pointer(value, T)[row] = pointer(x, T)[at]
            pointer(place, np.int64)[row] = pointer(places, np.int64)[at]

    return Source(take_body, "iiiiii", threads)


def mode(dtype: str, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(sorted values, places, value, place)``; see
    :func:`tilegrad.kernels.cpu.topk.mode`.
    """
    if rows == 0:
        return lambda *args: None
    chosen, bounds = row(SORT, dtype, "mode"), grid("search", dtype).bounds
    threads = bounds.threads
    chunks = max(1, min(n // chosen.run, chosen.runs // rows))
    chunk = -(-n // chunks)
    lanes = threads if n > 8 * WARP else min(WARP, 1 << (n - 1).bit_length())
    function = longest_runs.build(dtype, lanes, chunks == 1, bounds)
    units = rows * chunks
    search = bind(function, n, chunk, chunks, units, -(-units * lanes // threads), 1, 1)
    if chunks == 1:
        return search
    clear = filler(0, rows)
    take = bind(take_ends.build(dtype, threads), n, rows, -(-rows // threads), 1, 1)

    def launch(x: int, places: int, value: int, place: int) -> None:
        clear(place)
        search(x, places, value, place)
        take(x, places, value, place)

    return launch
