"""Where results begin: sums before each element, over a block of threads and over an array.

An array is cut into chunks, one per block of threads: their sums are taken, replaced by the sums
before each, and every block goes on from its own. The cut depends on the array's size alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, pointer, shared, shuffle_up, thread
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import ANY, PREFIX, Prefix, row
from tilegrad.kernels.function import DeviceFunction, inline


def prefix() -> Prefix:
    """The tuning numbers of these kernels."""
    return row(PREFIX, ANY, "prefix")


def tasks_for(total: int) -> tuple[int, int]:
    """(chunks, elements of each but the last, a multiple of 16); depends on ``total`` only."""
    chosen = prefix()
    chunk = max(chosen.chunk, -(-total // (16 * chosen.tasks)) * 16)
    return -(-total // chunk), chunk


@lru_cache(maxsize=None)
def block_scan(threads: int) -> DeviceFunction:
    """The device function ``sum_before(value)``: (sum of the integers of the threads before this one, sum
    over the block) of so many threads. All of them must call it.
    """
    warps = threads // WARP
    sums = shared("int64", warps, "warp_sums")

    @inline
    def sum_before(value):
        lane, warp = thread() % WARP, thread() // WARP
        upto = value
        step = 1
        while step < WARP:
            other = shuffle_up(upto, step)
            upto += other if lane >= step else 0
            step *= 2
        held = sums()
        barrier()
        if lane == WARP - 1:
            held[warp] = upto
        barrier()
        before, total = upto - value, 0
        for k in range(warps):
            before += held[k] if k < warp else 0
            total += held[k]
        return before, total

    return sum_before


@kernel
def exclusive_sum(threads: int, items: int) -> Source:
    """``counts`` replaced by their sums before each; the sum of all behind them. One block, ``items``
    neighbours to a thread at a time.

    Parameters: counts (int64), how many there are.
    """
    sum_before = block_scan(threads)

    def sum_up(a0, length):
        counts = pointer(a0, np.int64)
        carry = 0
        first = 0
        while first < length:
            i = first + thread() * items
            end = min(i + items, length)
            thread_sum = 0
            for k in range(i, end):
                thread_sum += counts[k]
            before, total = sum_before(thread_sum)
            before += carry
            for k in range(i, end):
                count = counts[k]
                counts[k] = before
                before += count
            carry += total
            first += threads * items
        if thread() == 0:
            counts[length] = carry

    return Source(sum_up, "ii", threads)


def add_up(length: int) -> Callable[[int], None]:
    """A launch ``(counts,)`` of :func:`exclusive_sum` over ``length`` of them; for 0 it writes a 0."""
    chosen = prefix()
    return bind(exclusive_sum.build(chosen.threads, chosen.items), length, 1, 1, 1)
