"""Writing through an index, place by place: for few positions with many indices each.

The indices are sorted by the place they name, and a thread per place and column goes through the
sources of that place: in index order, in pieces of a fixed length that are then combined in order.
So sums do not depend on timing, nor on what is written elsewhere, and up to a piece's length they
are the CPU's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offsets_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.sort.group import Grouping
from tilegrad.kernels.cuda.tuning import SCATTER, grid, row
from tilegrad.kernels.function import DeviceFunction, inline

Sizes = tuple[int, ...]


class Groups(NamedTuple):
    """Addresses of the sorted keys, the places that they had, their ranks."""

    keys: int
    places: int
    ranks: int


class Pieces(NamedTuple):
    """What threads do: sorted ``indices`` for each of ``columns``, ``total`` in all. Keys from ``limit``
    on name no place; a piece has 2^``bits`` sources; ``step`` is that of the indexed dimension of out.
    """

    indices: int
    total: int
    columns: int
    limit: int
    bits: int
    step: int


@kernel
def write_keys(dtype: str, dims: int, wide: bool, bounds: Bounds) -> Source:
    """``keys[i]``: the number of the place that index i names; outside ``[0, size)``, ``limit``.

    Parameters: index, keys, how many, size, what negative indices are counted from, limit, then the
    indices' block with the strides of index and of keys.
    """
    T, threads = np.dtype(dtype).type, bounds.threads
    place = offsets_of(dims, 2, 0, wide)

    @inline
    def write(a0, a1, total, size, wrap, limit, t):
        index, keys = pointer(a0, np.int64), pointer(a1, T)
        i = block() * threads + thread()
        while i < total:
            at, base = place(i, t)
            j = index[at]
            j += (j >> 63) & wrap
            keys[i] = T(base + j if j >= 0 and j < size else limit)
            i += blocks() * threads

    return Source(unpack_params(write, 6, 5 * dims), "i" * (6 + 5 * dims), *bounds)


@inline
def end_of_equals(keys, first, end):
    """Where the keys that equal the first one end, of sorted keys before ``end``."""
    key, low, high = keys[first], first + 1, end
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] == key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def fold_pieces(
    dtype: str, key_dtype: str, combine: DeviceFunction, outer: int, inner: int, wide: bool,
    bounds: Bounds,
) -> Source:  # fmt: skip
    """Combine the sources of each piece: a place's first one into out, the others into ``parts``.

    A thread per sorted index and column; those at which no piece begins have nothing to do.
    Parameters: out, source, parts, :class:`Groups`, :class:`Pieces`, then a block (sorted indices,
    columns) with the strides of (index, column, out, source) and the indices' block with those of
    (out, keys, source).
    """
    T, K, threads = np.dtype(dtype).type, np.dtype(key_dtype).type, bounds.threads
    split = offsets_of(inner + 1, 4, 0, wide)
    place = offsets_of(outer, 3, 7 * (inner + 1), wide)

    @inline
    def fold(out, source, parts, groups, p, t):
        target, values, held = pointer(out, T), pointer(source, T), pointer(parts, T)
        keys, places = pointer(groups.keys, K), pointer(groups.places, np.int64)
        ranks = pointer(groups.ranks, np.int32)
        number = block() * threads + thread()
        while number < p.total:
            i, column, o, v = split(number, t)
            key, rank = np.int64(keys[i]), np.int64(ranks[i])
            if key < p.limit and rank & ((1 << p.bits) - 1) == 0:
                row, base, first = place(places[i], t)
                at = o + row + (key - base) * p.step
                slot = (i >> p.bits) * p.columns + column
                end = end_of_equals(keys, i, min(p.indices, i + (1 << p.bits)))
                a = target[at] if rank == 0 else values[v + first]
                i += 0 if rank == 0 else 1
                while i + 3 < end:
                    v0 = values[v + place(places[i], t)[2]]
                    v1 = values[v + place(places[i + 1], t)[2]]
                    v2 = values[v + place(places[i + 2], t)[2]]
                    v3 = values[v + place(places[i + 3], t)[2]]
                    a = T(combine(T(combine(a, v0)), v1))
                    a = T(combine(T(combine(a, v2)), v3))
                    i += 4
                while i < end:
                    a = T(combine(a, values[v + place(places[i], t)[2]]))
                    i += 1
                if rank == 0:
                    target[at] = a
                else:
                    held[slot] = a
            number += blocks() * threads

    params = 7 * (inner + 1) + 6 * outer
    return Source(unpack_params(fold, 5, params), ("iii", Groups, Pieces, "i" * params), *bounds)


@kernel
def join_pieces(
    dtype: str, key_dtype: str, combine: DeviceFunction, outer: int, inner: int, wide: bool,
    bounds: Bounds,
) -> Source:  # fmt: skip
    """Combine the parts of each place, in order, into out. Parameters: as :func:`fold_pieces`.

    Pieces of a place begin a piece's length apart, so the numbers that the parts have, their
    beginnings divided by that length, differ.
    """
    T, K, threads = np.dtype(dtype).type, np.dtype(key_dtype).type, bounds.threads
    split = offsets_of(inner + 1, 4, 0, wide)
    place = offsets_of(outer, 3, 7 * (inner + 1), wide)

    @inline
    def join(out, source, parts, groups, p, t):
        target, held = pointer(out, T), pointer(parts, T)
        keys, places = pointer(groups.keys, K), pointer(groups.places, np.int64)
        ranks = pointer(groups.ranks, np.int32)
        number = block() * threads + thread()
        while number < p.total:
            i, column, o, _ = split(number, t)
            key = np.int64(keys[i])
            later = i + (1 << p.bits)
            if key < p.limit and ranks[i] == 0 and later < p.indices and keys[later] == key:
                row, base, _ = place(places[i], t)
                at = o + row + (key - base) * p.step
                a = target[at]
                while later < p.indices and keys[later] == key:
                    a = T(combine(a, held[(later >> p.bits) * p.columns + column]))
                    later += 1 << p.bits
                target[at] = a
            number += blocks() * threads

    params = 7 * (inner + 1) + 6 * outer
    return Source(unpack_params(join, 5, params), ("iii", Groups, Pieces, "i" * params), *bounds)


# --------------------------------------------------------------------------------------- launchers


class Dims(NamedTuple):
    """Dimensions of a position, with the strides of out, index and source."""

    sizes: Sizes
    out: Sizes
    indices: Sizes
    source: Sizes


class IndexDim(NamedTuple):
    """The dimension along which indices may repeat, and the indexed one of ``size`` elements."""

    length: int
    index_stride: int
    source_stride: int
    step: int
    wrap: int
    size: int


def _counting(sizes: Sizes, unit: int) -> Sizes:
    """Strides that number the positions of ``sizes`` in row-major order, ``unit`` apart."""
    strides = [unit]
    for size in sizes[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(reversed(strides)) if sizes else ()


def _slab(
    dtype: str, combine: DeviceFunction, indexed: Dims, columns: Dims, along: IndexDim
) -> tuple[Callable[..., None], int]:
    """A launch ``(out, index, source, scratch)`` for all indices at once, and bytes of scratch.

    ``indexed`` dimensions have indices of their own, ``columns`` share them.
    """
    rows, width = math.prod(indexed.sizes), math.prod(columns.sizes)
    count, limit = rows * along.length, rows * along.size
    groups = Grouping(count, limit + 1)
    blocked, bases = (*indexed.sizes, along.length), (*_counting(indexed.sizes, along.size), 0)
    indices = index_params(blocked, (*indexed.indices, along.index_stride), bases)
    sources = index_params(
        blocked, (*indexed.out, 0), bases, (*indexed.source, along.source_stride)
    )
    none = (0,) * len(columns.sizes)
    split = index_params(
        (count, *columns.sizes), (1, *none), (0, *_counting(columns.sizes, 1)),
        (0, *columns.out), (0, *columns.source),
    )  # fmt: skip
    tail = (count, along.size, along.wrap, limit, *indices)
    chosen = grid("put", np.dtype(dtype).name)
    bounds = chosen.bounds
    write = bind(
        write_keys.build(groups.dtype, len(blocked), is_wide(count), bounds),
        *tail, blocks_for(count, bounds.threads, chosen.blocks), 1, 1,
    )  # fmt: skip
    total, tuned = count * width, row(SCATTER, np.dtype(dtype).name, "scatter")
    bits = max(tuned.piece_bits, math.isqrt(count).bit_length())
    dims = (len(blocked), len(columns.sizes), is_wide(total))
    how = (*Pieces(count, total, width, limit, bits, along.step), *split, *sources)
    where = (blocks_for(total, bounds.threads, chosen.blocks), 1, 1)
    kernels = (fold_pieces, join_pieces) if count > 1 << bits else (fold_pieces,)
    variant = (dtype, groups.dtype, combine, *dims, bounds)
    folds = [bind(k.build(*variant), *how, *where) for k in kernels]
    group, parts = groups.launcher(), groups.nbytes

    def launch(out: int, index: int, source: int, scratch: int) -> None:
        write(index, scratch)
        group(scratch)
        found = (scratch + groups.sorted_keys, scratch + groups.places, scratch + groups.ranks)
        for fold in folds:
            fold(out, source, scratch + parts, *found)

    slots = (count >> bits) + 1 if len(folds) > 1 else 0
    return launch, parts + slots * width * np.dtype(dtype).itemsize


def scatter_groups(
    dtype: str, combine: DeviceFunction, dims: Dims, along: IndexDim
) -> Callable[..., None]:
    """A launch ``(out, index, source, scratch)``, slab by slab along the along."""
    indexed, columns = (
        Dims(*(tuple(v[k] for k in axes) for v in dims))
        for axes in (
            [k for k in range(len(dims.sizes)) if dims.indices[k]],
            [k for k in range(len(dims.sizes)) if not dims.indices[k]],
        )
    )
    tuned = row(SCATTER, np.dtype(dtype).name, "scatter")
    most = max(1, tuned.slab // math.prod(indexed.sizes))
    made: dict[int, tuple[Callable[..., None], int]] = {}
    slabs = []
    for first in range(0, along.length, most):
        length = min(most, along.length - first)
        if length not in made:
            made[length] = _slab(dtype, combine, indexed, columns, along._replace(length=length))
        index_at = 8 * first * along.index_stride
        source_at = np.dtype(dtype).itemsize * first * along.source_stride
        slabs.append((made[length][0], index_at, source_at))

    def launch(out: int, index: int, source: int, scratch: int) -> None:
        for slab, index_at, source_at in slabs:
            slab(out, index + index_at, source + source_at, scratch)

    launch.scratch = max(nbytes for _, nbytes in made.values())  # type: ignore[attr-defined]
    return launch
