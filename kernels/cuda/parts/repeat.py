"""Indices repeated as often as counts say, for ``repeat_interleave``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.parts.prefix import add_up, block_scan, prefix, tasks_for
from tilegrad.kernels.cuda.run.jit import Source, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import grid


@kernel
def sum_counts(dtype: str, threads: int) -> Source:
    """Per chunk of the counts, a block each: their sum, and whether one of them is negative.

    Parameters: counts, sums, flags (both int64), number of counts, counts of a chunk.
    """
    T, sum_before = np.dtype(dtype).type, block_scan(threads)

    def add(a0, a1, a2, total, chunk):
        counts = pointer(a0, T)
        i = block() * chunk + thread()
        end = min(total, block() * chunk + chunk)
        thread_sum = negative = np.int64(0)
        while i < end:
            count = np.int64(counts[i])
            thread_sum += count
            negative += np.int64(count < 0)
            i += threads
        _, found = sum_before(negative)
        _, block_sum = sum_before(thread_sum)
        if thread() == 0:
            pointer(a1, np.int64)[block()] = block_sum
            pointer(a2, np.int64)[block()] = found

    return Source(add, "iiiii", threads)


@kernel
def count_ends(dtype: str, threads: int) -> Source:
    """``ends[i]``: the sum of the counts up to and with i; the status, by the first block.

    Parameters: counts, starts (the sums before each chunk, and of all), flags, ends, status, number
    of counts, counts of a chunk, chunks.
    """
    T, sum_before = np.dtype(dtype).type, block_scan(threads)

    def end_up(a0, a1, a2, a3, a4, total, chunk, chunks):
        counts, starts, ends = pointer(a0, T), pointer(a1, np.int64), pointer(a3, np.int64)
        first = block() * chunk
        end = min(total, first + chunk)
        carry = starts[block()]
        while first < end:
            i = first + thread()
            thread_sum = np.int64(counts[i]) if i < end else 0
            before, block_sum = sum_before(thread_sum)
            if i < end:
                ends[i] = carry + before + thread_sum
            carry += block_sum
            first += threads
        if block() == 0:
            flags = pointer(a2, np.int64)
            thread_sum = np.int64(0)
            for k in range(thread(), chunks, threads):
                thread_sum += flags[k]
            _, negative = sum_before(thread_sum)
            if thread() == 0:
                pointer(a4, np.int64)[0] = -1 if negative > 0 else starts[chunks]

    return Source(end_up, "iiiiiiii", threads)


@kernel
def repeat_indices(threads: int) -> Source:
    """``out[k]``: the first i whose end lies beyond k, by halving. Parameters: ends, out, total, room."""

    def find(a0, a1, total, room):
        ends, out = pointer(a0, np.int64), pointer(a1, np.int64)
        k = block() * threads + thread()
        while k < room:
            low, high = 0, total
            while low < high:
                middle = (low + high) >> 1
                if ends[middle] > k:
                    high = middle
                else:
                    low = middle + 1
            out[k] = low
            k += blocks() * threads

    return Source(find, "iiii", threads)


def repeated_indices(dtype: str, total: int, room: int) -> Callable[..., None]:
    """A launch ``(counts, out, status, scratch)``: index i ``counts[i]`` times, for every i in order.

    The status becomes the sum of the counts, or -1 if one is negative. ``launch.scratch``: bytes.
    """
    chunks, chunk = tasks_for(total)
    sums = add_up(chunks)
    if total == 0:
        return lambda counts, out, status: sums(status)
    threads, chosen = prefix().threads, grid("repeat")
    add = sum_counts.build(dtype, threads)
    end_up = count_ends.build(dtype, threads)
    find = repeat_indices.build(chosen.bounds.threads)
    where = (blocks_for(room, chosen.bounds.threads, chosen.blocks), 1, 1)

    def launch(counts: int, out: int, status: int, scratch: int) -> None:
        flags = scratch + 8 * (chunks + 1)
        ends = flags + 8 * chunks
        add(counts, scratch, flags, total, chunk, chunks, 1, 1)
        sums(scratch)
        end_up(counts, scratch, flags, ends, status, total, chunk, chunks, chunks, 1, 1)
        if room:
            find(ends, out, total, room, *where)

    launch.scratch = 8 * (2 * chunks + 1 + total)  # type: ignore[attr-defined]
    return launch
