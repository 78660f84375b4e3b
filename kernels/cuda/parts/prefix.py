"""Where results begin: sums before each element, over a block of threads and over an array.

An array is cut into chunks, one per block of threads: their sums are taken, replaced by the sums
before each, and every block goes on from its own. The cut depends on the array's size alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, pointer, shared, shuffle_up, thread
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.function import inline

THREADS = 256
WARPS = THREADS // WARP
CHUNK = 1 << 11  # elements a block handles at least
TASKS = 1 << 10  # chunks at most
EACH = 4  # neighbours that a thread of ``running_sum`` takes

_sums = shared("int64", WARPS, "warp_sums")


def tasks_for(total: int) -> tuple[int, int]:
    """(chunks, elements of each but the last, a multiple of 16); depends on ``total`` only."""
    chunk = max(CHUNK, -(-total // (16 * TASKS)) * 16)
    return -(-total // chunk), chunk


@inline
def sum_before(value):
    """(sum of the integers of the threads before this one, sum over the block).

    All threads of the block must call it.
    """
    lane, warp = thread() % WARP, thread() // WARP
    upto = value
    step = 1
    while step < WARP:
        other = shuffle_up(upto, step)
        upto += other if lane >= step else 0
        step *= 2
    held = _sums()
    barrier()
    if lane == WARP - 1:
        held[warp] = upto
    barrier()
    before, total = upto - value, 0
    for k in range(WARPS):
        before += held[k] if k < warp else 0
        total += held[k]
    return before, total


@kernel
def running_sum() -> Source:
    """``counts`` replaced by their sums before each; the sum of all behind them. One block.

    Parameters: counts (int64), how many there are.
    """

    def sum_up(a0, length):
        counts = pointer(a0, np.int64)
        carry = 0
        first = 0
        while first < length:
            i = first + thread() * EACH
            end = min(i + EACH, length)
            own = 0
            for k in range(i, end):
                own += counts[k]
            before, total = sum_before(own)
            before += carry
            for k in range(i, end):
                count = counts[k]
                counts[k] = before
                before += count
            carry += total
            first += THREADS * EACH
        if thread() == 0:
            counts[length] = carry

    return Source(sum_up, "ii", THREADS)


def add_up(length: int) -> Callable[[int], None]:
    """A launch ``(counts,)`` of :func:`running_sum` over ``length`` of them; for 0 it writes a 0."""
    return bind(running_sum.build(), length, 1, 1, 1)
