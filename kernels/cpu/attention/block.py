"""What the passes of attention do with a block of queries and a block of keys.

Scores are computed transposed, keys by queries, so that a vector holds one key's scores with
adjacent queries. Queries come in *panels* of ``NR_VECTORS`` vectors. The largest score and the sum of a
query are then reductions of whole vectors, without shuffles, and keys and values are read in place:
only the block of queries is packed (transposed), once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.parts.micro_kernel import micro_kernel
from tilegrad.kernels.cpu.simd.memory import offset, pointer
from tilegrad.kernels.cpu.simd.vector import iota, lanes, load, splat, store, transpose
from tilegrad.kernels.cpu.tuning import NR_VECTORS
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.params import places


class Params(NamedTuple):
    """The parameter block. Strides are in elements; an item is a pair of an outer and an inner number.

    Attributes:
        L, S, E, F: queries, keys, features of a key and of a value.
        mask: its kind: NO_MASK, BOOLS or FLOATS.
        queries, keys: of a block. blocks: of queries. groups: that the blocks are shared out to.
        share: heads of q that read one head of k and v.
    """

    items: int
    inner_items: int
    L: int
    S: int
    E: int
    F: int
    causal: int
    mask: int
    q_row: int
    k_row: int
    v_row: int
    mask_row: int
    mask_col: int
    q_outer: int
    q_inner: int
    k_outer: int
    k_inner: int
    v_outer: int
    v_inner: int
    mask_outer: int
    mask_inner: int
    queries: int
    keys: int
    blocks: int
    groups: int
    share: int


AT = places(Params)

NO_MASK, BOOLS, FLOATS = range(3)  # values of ``mask``


@lru_cache(maxsize=None)
def packer(dtype: str) -> DeviceFunction:
    """The device function ``pack(x, row, rows, columns, to, factor)``.

    Packs ``factor * x``, transposed, in panels ``to[p, column, lane]``; lanes beyond the last row repeat
    it.
    """
    W = lanes(dtype)
    N = NR_VECTORS * W

    @inline
    def pack(x, row, rows, columns, to, factor):
        whole = columns - columns % W
        for first in range(0, rows, N):
            for v in range(first, first + N, W):
                start, left = min(v, rows - 1), max(1, rows - v)
                target = first * columns + v - first
                for c in range(0, whole, W):
                    transpose(x, start * row + c, row, left, to, target + c * N, N)
                for c in range(whole, columns):
                    for i in range(W):
                        to[target + c * N + i] = x[(start + min(i, left - 1)) * row + c]
        if factor != 1:
            scale = splat(factor)
            for i in range(0, (rows + N - 1) // N * N * columns, W):
                store(to, i, load(to, i) * scale)

    return pack


@lru_cache(maxsize=None)
def masker(dtype: str) -> DeviceFunction:
    """The device function ``fill(mask, kind, row, column, to, to_row, queries, keys)``.

    ``to[key, query]`` becomes what the mask adds to a score, for all lanes of a panel.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    N, low = NR_VECTORS * W, T(-np.inf)

    @inline
    def fill(mask, kind, row, column, to, to_row, queries, keys):
        bits, floats = pointer(mask, np.uint8), pointer(mask, T)
        whole = 0
        if kind == FLOATS and column == 1:
            whole = keys - keys % W
            for v in range(0, N, W):
                start, left = min(v, queries - 1), max(1, queries - v)
                for j in range(0, whole, W):
                    transpose(floats, start * row + j, row, left, to, j * to_row + v, to_row)
        for i in range(N):
            at = min(i, queries - 1) * row
            if kind == BOOLS:
                for j in range(keys):
                    to[j * to_row + i] = T(0) if bits[at + j * column] != 0 else low
            else:
                for j in range(whole, keys):
                    to[j * to_row + i] = floats[at + j * column]

    return fill


@lru_cache(maxsize=None)
def causal_masker(dtype: str) -> DeviceFunction:
    """The device function ``mask_future(scores, row, query, key, keys)``: keys after a query's own number
    become minus infinity, in a panel whose first query and key have these numbers.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    N, low = NR_VECTORS * W, T(-np.inf)

    @inline
    def mask_future(scores, row, query, key, keys):
        order, never = iota(T), splat(low)
        for j in range(max(0, query + 1 - key), keys):
            for v in range(0, N, W):
                seen = order >= splat(T(key + j - query - v))
                store(scores, j * row + v, select(seen, load(scores, j * row + v), never))

    return mask_future


@lru_cache(maxsize=None)
def multiplier(dtype: str) -> DeviceFunction:
    """The device function ``times(x, x_row, x_step, y, y_row, out, out_row, overwrite, rows, depth,
    columns)``: ``out`` becomes ``x @ y`` where ``overwrite``, else that is added to it.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    N, tiles = NR_VECTORS * W, tuning.micro_kernel(dtype).mr
    full = micro_kernel(NR_VECTORS, tiles, unmasked=True)
    pair, single = micro_kernel(NR_VECTORS, tiles), micro_kernel(1, tiles)

    @inline
    def times(x, x_row, x_step, y, y_row, out, out_row, overwrite, rows, depth, columns):
        j = 0
        while j < columns:
            left, b, o = columns - j, offset(y, j), offset(out, j)
            s = pointer(0, T) if overwrite else o
            if left >= N:
                full(x, x_row, x_step, b, y_row, o, out_row, s, out_row, rows, depth, W)
            elif left > W:
                pair(x, x_row, x_step, b, y_row, o, out_row, s, out_row, rows, depth, left - W)
            else:
                single(x, x_row, x_step, b, y_row, o, out_row, s, out_row, rows, depth, left)
            j += N

    return times
