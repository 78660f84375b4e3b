"""Keys: unsigned numbers that order as an array's elements do, and sorting them in shared memory.

NaN comes last, the two zeros are equal, and all is reversed for descending order. A key travels
with the place it came from, which decides between equal keys: so every order is the stable one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, warp_barrier
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def key_type(dtype: str) -> Any:
    """The unsigned type of the keys of ``dtype``."""
    return np.uint64 if np.dtype(dtype).itemsize == 8 else np.uint32


def word_type(dtype: str) -> Any:
    """The unsigned type that holds the bits of an element."""
    return _WORDS[np.dtype(dtype).itemsize]


def key_bits(dtype: str) -> int:
    """Significant bits of a key."""
    return 8 * np.dtype(dtype).itemsize


def key_function(dtype: str) -> DeviceFunction:
    """``key(word, descending)``: the key of an element with these bits; ``descending`` 0 or 1."""
    kind, U = np.dtype(dtype), key_type(dtype)
    sign, everything = U(1 << (key_bits(dtype) - 1)), U((1 << key_bits(dtype)) - 1)
    none, magnitudes = U(0), U(everything ^ sign)

    @inline
    def float_key(word, descending):
        u = U(word)
        size = U(u & magnitudes)
        k = U(u ^ everything) if u > magnitudes and size > none else U(size | sign)
        k = everything if size > infinity else k
        return U(k ^ everything) if descending else k

    @inline
    def signed_key(word, descending):
        return U(word ^ below) if descending else U(word ^ sign)

    @inline
    def unsigned_key(word, descending):
        return U(word ^ everything) if descending else U(word)

    if kind.kind == "f":
        infinity = U(int(np.array(np.inf, kind).view(word_type(dtype))))
        return float_key
    below = magnitudes
    return signed_key if kind.kind == "i" else unsigned_key


@inline
def goes_after(keys, places, a, b):
    """Whether entry ``a`` belongs behind entry ``b``."""
    k, m = keys[a], keys[b]
    return k > m or (k == m and places[a] > places[b])


@inline
def sort_entries(keys, places, first, size, lane, lanes):
    """Sort ``size`` entries from ``first`` on, a power of 2 above 1, with ``lanes`` threads, of which
    this is number ``lane``. All threads of the block must call it; it waits for what they wrote.

    A bitonic network: 32 consecutive comparators of entries up to 32 places apart concern the same
    64 entries, which are one warp's, so that most steps need no barrier of the block.

    Source: Batcher, Sorting Networks and their Applications (1968).
    """
    before = max(size, lanes)  # what was written before is of all lanes, whose warps may be several
    span = 2
    while span <= size:
        step = span // 2
        while step > 0:
            if step > WARP or before > WARP:
                barrier()
            else:
                warp_barrier()
            i = lane
            while i < size // 2:
                a = first + 2 * i - (i & (step - 1))
                b = a + step
                if goes_after(keys, places, a, b) == ((2 * i & span) == 0):
                    k, p = keys[a], places[a]
                    keys[a], places[a] = keys[b], places[b]
                    keys[b], places[b] = k, p
                i += lanes
            before = step
            step //= 2
        span *= 2
    barrier()


def rank_function(read: DeviceFunction, dtype: str) -> DeviceFunction:
    """``rank(entries, first, n, which)``: where among ``n`` sorted entries the wanted one is, the
    first of equal ones. ``read(entries, i)`` is a key; ``which`` from 0 on counts, -1 is the lower
    median or, if there is one, the first NaN, -2 the lower median of all that is no NaN.
    """
    floating = is_float(dtype)
    nan = key_type(dtype)((1 << key_bits(dtype)) - 1)

    @inline
    def lower_bound(entries, first, n, k):
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if read(entries, first + middle) < k:
                low = middle + 1
            else:
                high = middle
        return low

    @inline
    def rank(entries, first, n, which):
        wanted = which
        if which < 0:
            numbers = lower_bound(entries, first, n, nan) if floating else n
            wanted = rank_of(numbers, n, which)
        return lower_bound(entries, first, wanted, read(entries, first + wanted))

    return rank


@inline
def rank_of(numbers, n, which):
    """The rank that ``which`` (-1 or -2) means among ``n`` elements, of which the last are NaN."""
    if numbers == n:
        return (n - 1) // 2
    return numbers if which == -1 else max(numbers - 1, 0) // 2
