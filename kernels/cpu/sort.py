"""Sorting within rows.

A row is turned into unsigned keys that order as its values do: NaN last, the two zeros equal, all
reversed for descending order. Keys travel with the place they came from, and equal keys keep
their order. Short rows are merge sorted, long ones radix sorted, least significant byte first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.tuning import Sort
from tilegrad.kernels.function import DeviceFunction, inline

LIMIT = 1 << 32  # places are kept in 32 bits
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def key_type(dtype: str) -> Any:
    """The unsigned type of the keys of ``dtype``."""
    return np.uint64 if np.dtype(dtype).itemsize == 8 else np.uint32


def key_function(dtype: str) -> DeviceFunction:
    """``key(x, i, flip)``: the key of element i; ``flip`` 0 ascends, all ones descend."""
    kind = np.dtype(dtype)
    bits = 8 * kind.itemsize
    U, W = key_type(dtype), np.uint64
    sign, everything = W(1 << (bits - 1)), W((1 << bits) - 1)
    none = W(0)

    @inline
    def float_key(x, i, flip):
        u = W(x[i])
        magnitude = u & (everything ^ sign)
        u = none if magnitude == none else u
        k = u ^ everything if u & sign != none else u | sign
        k = everything if magnitude > infinity else k
        return U((k ^ flip) & everything)

    @inline
    def signed_key(x, i, flip):
        return U((W(x[i]) ^ sign ^ flip) & everything)

    @inline
    def unsigned_key(x, i, flip):
        return U((W(x[i]) ^ flip) & everything)

    if kind.kind == "f":
        infinity = W(int(np.array(np.inf, kind).view(WORDS[kind.itemsize])))
        return float_key
    return signed_key if kind.kind == "i" else unsigned_key


RUN = Sort.run


@inline
def merge_sort(k, p, k_other, p_other, n):
    """Sort n keys k with their places p, using as much other memory; True: the result is there."""
    for start in range(0, n, RUN):
        for i in range(start + 1, min(start + RUN, n)):
            key = k[i]
            place = p[i]
            j = i - 1
            while j >= start and k[j] > key:
                k[j + 1] = k[j]
                p[j + 1] = p[j]
                j -= 1
            k[j + 1] = key
            p[j + 1] = place
    width = RUN
    moved = False
    while width < n:
        for start in range(0, n, 2 * width):
            middle = min(start + width, n)
            end = min(start + 2 * width, n)
            left = start
            right = middle
            at = start
            while left < middle and right < end:
                later = k[right] < k[left]
                source = right if later else left
                k_other[at] = k[source]
                p_other[at] = p[source]
                right += later
                left += not later
                at += 1
            source = left if left < middle else right
            for i in range(at, end):
                k_other[i] = k[source]
                p_other[i] = p[source]
                source += 1
        k, k_other = k_other, k
        p, p_other = p_other, p
        width *= 2
        moved = not moved
    return moved


def row_bytes(dtype: str, n: int) -> tuple[int, int]:
    """(bytes of one array of n keys, bytes of n places), each a multiple of 64."""
    keys, places = np.dtype(key_type(dtype)).itemsize * n, 4 * n
    return -(-keys // 64) * 64, -(-places // 64) * 64


_COUNTS = 8 * 256 * 8  # bytes of a histogram per byte of the key, int64


# ----------------------------------------------------------------------------------------- sorting


@kernel
def sort_rows_by_merging(dtype: str) -> Kernel:
    """Sorted values of each row, and the places they came from.

    Arguments: addresses of x, values, indices (int64) and scratch; rows, row length, rows per
    task, flip of the keys, bytes of keys, bytes of places.
    """
    word, U = WORDS[np.dtype(dtype).itemsize], key_type(dtype)
    T = np.dtype(dtype).type if np.dtype(dtype).kind == "i" else word
    key = key_function(dtype)
    index, small, W = np.int64, np.uint32, np.uint64

    def merging_body(task, a0, a1, a2, a3, rows, n, per_task, flip, key_bytes, place_bytes):
        x, values, indices = pointer(a0, T), pointer(a1, T), pointer(a2, index)
        base = a3 + task * 2 * (key_bytes + place_bytes)
        k, k_other = pointer(base, U), pointer(base + key_bytes, U)
        p = pointer(base + 2 * key_bytes, small)
        p_other = pointer(base + 2 * key_bytes + place_bytes, small)
        for row in range(task * per_task, min(rows, task * per_task + per_task)):
            start = row * n
            for i in range(n):
                k[i] = key(x, start + i, W(flip))
                p[i] = small(i)
            there = merge_sort(k, p, k_other, p_other, n)
            result = p_other if there else p
            for i in range(n):
                place = index(result[i])
                values[start + i] = x[start + place]
                indices[start + i] = place

    return merging_body, "iiiiiiiiii"


@kernel
def sort_rows_by_radix(dtype: str) -> Kernel:
    """As :func:`sort_rows_by_merging`; each task's scratch ends with :data:`_COUNTS` bytes."""
    word, U = WORDS[np.dtype(dtype).itemsize], key_type(dtype)
    T = np.dtype(dtype).type if np.dtype(dtype).kind == "i" else word
    key, passes = key_function(dtype), np.dtype(dtype).itemsize
    index, small, W = np.int64, np.uint32, np.uint64
    eight, low = np.uint64(8), np.uint64(255)

    def radix_body(task, a0, a1, a2, a3, rows, n, per_task, flip, key_bytes, place_bytes):
        x, values, indices = pointer(a0, T), pointer(a1, T), pointer(a2, index)
        base = a3 + task * (2 * (key_bytes + place_bytes) + _COUNTS)
        k, k_other = pointer(base, U), pointer(base + key_bytes, U)
        p = pointer(base + 2 * key_bytes, small)
        p_other = pointer(base + 2 * key_bytes + place_bytes, small)
        counts = pointer(base + 2 * (key_bytes + place_bytes), index)
        for row in range(task * per_task, min(rows, task * per_task + per_task)):
            start = row * n
            for i in range(256 * passes):
                counts[i] = 0
            for i in range(n):
                one = key(x, start + i, W(flip))
                k[i] = one
                p[i] = small(i)
                for digit in range(passes):
                    counts[256 * digit + index((W(one) >> (eight * W(digit))) & low)] += 1
            for digit in range(passes):
                shift = eight * W(digit)
                here = 256 * digit
                if counts[here + index((W(k[0]) >> shift) & low)] == n:
                    continue
                total = index(0)
                for bucket in range(here, here + 256):
                    total += counts[bucket]
                    counts[bucket] = total - counts[bucket]
                for i in range(n):
                    one = k[i]
                    slot = here + index((W(one) >> shift) & low)
                    at = counts[slot]
                    counts[slot] = at + 1
                    k_other[at] = one
                    p_other[at] = p[i]
                k, k_other = k_other, k
                p, p_other = p_other, p
            for i in range(n):
                place = index(p[i])
                values[start + i] = x[start + place]
                indices[start + i] = place

    return radix_body, "iiiiiiiiii"


def sort(dtype: str, rows: int, n: int, descending: bool) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, scratch)`` that sorts each of ``rows`` rows of n elements,
    stably, and the bytes of scratch it needs.
    """
    if rows * n == 0:
        return nothing, 0
    keys, places = row_bytes(dtype, n)
    radix = n >= Sort.radix_from * np.dtype(dtype).itemsize
    function = (sort_rows_by_radix if radix else sort_rows_by_merging).build(dtype)
    tasks, per_task = split_rows(rows, n)
    flip = -1 if descending else 0
    sizing = (rows, n, per_task, flip, keys, places)
    scratch = tasks * (2 * (keys + places) + radix * _COUNTS)
    return bind(function, *sizing, tasks, team(tasks, n)), scratch


def team(tasks: int, n: int) -> int:
    """Threads of a launch: long rows release the interpreter's lock even for one task."""
    return TEAM if tasks > 1 else 0 if n < Sort.grain else 1


def nothing(*args: int) -> None:
    """The launch of an op without elements."""


def split_rows(rows: int, n: int) -> tuple[int, int]:
    """(tasks, rows per task), of the shape alone."""
    per_task, tasks = splitting.share(rows, n, Sort.grain, Sort.tasks)
    return tasks, per_task
