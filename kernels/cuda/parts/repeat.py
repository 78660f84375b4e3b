"""Indices repeated as often as counts say, for ``repeat_interleave``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.parts.prefix import add_up, sum_before, tasks_for
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel

THREADS = 256
PER_SM = 16  # blocks a multiprocessor gets before threads take further elements in strides


@kernel
def sum_counts(dtype: str) -> Source:
    """Per chunk of the counts, a block each: their sum, and whether one of them is negative.

    Parameters: counts, sums, flags (both int64), number of counts, counts of a chunk.
    """
    T = np.dtype(dtype).type

    def add(a0, a1, a2, total, chunk):
        counts = pointer(a0, T)
        i = block() * chunk + thread()
        end = min(total, block() * chunk + chunk)
        own = negative = np.int64(0)
        while i < end:
            count = np.int64(counts[i])
            own += count
            negative += np.int64(count < 0)
            i += THREADS
        _, found = sum_before(negative)
        _, whole = sum_before(own)
        if thread() == 0:
            pointer(a1, np.int64)[block()] = whole
            pointer(a2, np.int64)[block()] = found

    return Source(add, "iiiii", THREADS)


@kernel
def count_ends(dtype: str) -> Source:
    """``ends[i]``: the sum of the counts up to and with i; the status, by the first block.

    Parameters: counts, starts (the sums before each chunk, and of all), flags, ends, status, number
    of counts, counts of a chunk, chunks.
    """
    T = np.dtype(dtype).type

    def end_up(a0, a1, a2, a3, a4, total, chunk, chunks):
        counts, starts, ends = pointer(a0, T), pointer(a1, np.int64), pointer(a3, np.int64)
        first = block() * chunk
        end = min(total, first + chunk)
        carry = starts[block()]
        while first < end:
            i = first + thread()
            own = np.int64(counts[i]) if i < end else 0
            before, whole = sum_before(own)
            if i < end:
                ends[i] = carry + before + own
            carry += whole
            first += THREADS
        if block() == 0:
            flags = pointer(a2, np.int64)
            own = np.int64(0)
            for k in range(thread(), chunks, THREADS):
                own += flags[k]
            _, negative = sum_before(own)
            if thread() == 0:
                pointer(a4, np.int64)[0] = -1 if negative > 0 else starts[chunks]

    return Source(end_up, "iiiiiiii", THREADS)


@kernel
def repeat_indices() -> Source:
    """``out[k]``: the first i whose end lies beyond k, by halving. Parameters: ends, out, total, room."""

    def find(a0, a1, total, room):
        ends, out = pointer(a0, np.int64), pointer(a1, np.int64)
        k = block() * THREADS + thread()
        while k < room:
            low, high = 0, total
            while low < high:
                middle = (low + high) >> 1
                if ends[middle] > k:
                    high = middle
                else:
                    low = middle + 1
            out[k] = low
            k += blocks() * THREADS

    return Source(find, "iiii", THREADS)


def repeated_indices(dtype: str, total: int, room: int) -> Callable[..., None]:
    """A launch ``(counts, out, status, scratch)``: index i ``counts[i]`` times, for every i in order.

    The status becomes the sum of the counts, or -1 if one is negative. ``launch.scratch``: bytes.
    """
    chunks, chunk = tasks_for(total)
    sums = add_up(chunks)
    if total == 0:
        return lambda counts, out, status: sums(status)
    add = sum_counts.build(dtype)
    end_up = count_ends.build(dtype)
    find = bind(repeat_indices.build(), total, room, blocks_for(room, THREADS, PER_SM), 1, 1)

    def launch(counts: int, out: int, status: int, scratch: int) -> None:
        flags = scratch + 8 * (chunks + 1)
        ends = flags + 8 * chunks
        add(counts, scratch, flags, total, chunk, chunks, 1, 1)
        sums(scratch)
        end_up(counts, scratch, flags, ends, status, total, chunk, chunks, chunks, 1, 1)
        if room:
            find(ends, out)

    launch.scratch = 8 * (2 * chunks + 1 + total)  # type: ignore[attr-defined]
    return launch
