"""Reductions of strided arrays over any of their dimensions, without atomics.

``rows``: neighbouring threads take neighbouring elements of one output's share; a group of 1 to 32
lanes, or a whole block, combines them. ``columns``: neighbouring threads take neighbouring outputs,
whose inputs are neighbours in memory. Where there are few outputs, each one's share is cut into
chunks whose results a second launch of ``rows`` combines. The cut depends on sizes alone, so every
GPU sums in the same order. Totals have the input's precision: a thread adds some dozen numbers into
each of four totals, and the rest is a tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.accumulators import (
    body_of,
    function,
    in_parts,
    item,
    packed,
    pointing,
    reading,
    storing,
    writing,
)
from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    barrier,
    block,
    block_y,
    blocks,
    load_vector,
    pointer,
    shared,
    thread,
)
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce, stored
from tilegrad.kernels.cuda.parts.strided import (
    index_params,
    is_wide,
    offset_of,
    offsets_of,
)
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import REDUCTION, Reduction, row
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import MONOIDS, Monoid

Sizes = tuple[int, ...]

TILE = WARP  # adjacent outputs of a block of ``columns``


def elements(count: int) -> DeviceFunction:
    """``element(x, base, place)``: an element of each of ``count`` operands, as one value."""
    values = [
        f"{item('x', k, count)}[{item('base', k, count)} + {item('place', k, count)}]"
        for k in range(count)
    ]
    return function("element", "x, base, place", packed(values), {})


def _offsets(operands: int, dims: int, first: int, wide: bool) -> DeviceFunction:
    """``offset(index, t)`` in a block of all operands, as one value."""
    if operands == 1:
        return offset_of(dims, first, wide)
    return offsets_of(dims, operands, first, wide)


def _letters(monoid: Monoid, stage: str, params: int) -> tuple[list[int], str]:
    """(groups of a body's arguments, their letters): operands, the centre, results, scalars and five
    whole numbers; between stages one address of all accumulators stands for operands or results.
    """
    operands = 1 if stage == "last" else monoid.operands
    results = 1 if stage == "part" else monoid.results
    centre = int(monoid.centred and stage != "last")
    groups = [operands, centre, results, monoid.params, 1, 1, 1, 1, 1]
    letters = "i" * (operands + centre + results) + "d" * monoid.params + "iiiii" + "i" * params
    return groups, letters


@kernel
def rows(
    name: str, dtype: str, out_dtype: str, stage: str, lanes: int, kept: int, reduced: int,
    vector: int, wide: bool, bounds: Bounds,
) -> Source:  # fmt: skip
    """Reduce ``R`` elements per output, in chunks, ``lanes`` threads to a chunk.

    Parameters: x, center (where there is one), out, p, R, the count that ``finish`` gets, elements of a chunk, chunks of
    an output, chunks in all, then the kept and the reduced block. ``stage``: "whole" lifts and
    finishes, "part" only lifts, "last" only finishes. ``vector`` elements move at a time.
    """
    monoid = MONOIDS[name]
    last, finishes = stage == "last", stage != "part"
    operands, width = 1 if last else monoid.operands, monoid.width
    centred = monoid.centred and not last
    total_dtype = monoid.block_dtype(dtype)
    T, A = stored(dtype), np.dtype(total_dtype).type
    Out, Center = stored(out_dtype), stored(out_dtype)
    lift, join = monoid.lifting(total_dtype), monoid.joining(total_dtype)
    first, finish = monoid.identity(total_dtype), monoid.finishing(total_dtype, Out)
    kept_offset = _offsets(operands, kept, 0, wide)
    place = _offsets(operands, reduced, (3 + operands) * kept, wide)
    load, fold = load_vector(vector), block_reduce(join, total_dtype, lanes, width)
    sources, targets = pointing(operands, pointer), pointing(monoid.results, pointer)
    element, get, put = elements(operands), reading(width), writing(width)
    store = storing(monoid.results)
    groups, V = bounds.threads // lanes, vector
    mask = vector * np.dtype(T).itemsize - 1
    size = np.dtype(T).itemsize

    @inline
    def taken(x, base, at, apart, c, p):
        if last:
            return get(x, base + at, apart)
        return lift(element(x, base, at), c, p)

    @inline
    def reduce_rows(x, center, out, p, R, count, chunk, chunks, units, t):
        lane = thread() % lanes
        unit = block() * groups + thread() // lanes
        active = unit < units
        o = unit // chunks if chunks > 1 else unit
        i = (unit - o * chunks) * chunk
        end = min(R, i + chunk) if active else i
        base = kept_offset(o if active else 0, t)
        source, apart = sources(x, T), R * units
        c = T(pointer(center, Center)[o]) if centred and active else T(0)
        a0 = a1 = a2 = a3 = first
        if V > 1 and (x + base * size) & mask == 0:
            i += lane * V
            while i + lanes * V + V <= end:
                v, w = load(source, base + i), load(source, base + i + lanes * V)
                a0 = join(a0, lift(v[0], c, p))
                a1 = join(a1, lift(v[1 % V], c, p)) if V > 1 else a1
                a2 = join(a2, lift(v[2 % V], c, p)) if V > 2 else a2
                a3 = join(a3, lift(v[3 % V], c, p)) if V > 3 else a3
                a0 = join(a0, lift(w[0], c, p))
                a1 = join(a1, lift(w[1 % V], c, p)) if V > 1 else a1
                a2 = join(a2, lift(w[2 % V], c, p)) if V > 2 else a2
                a3 = join(a3, lift(w[3 % V], c, p)) if V > 3 else a3
                i += 2 * lanes * V
            while i + V <= end:
                v = load(source, base + i)
                a0 = join(a0, lift(v[0], c, p))
                a1 = join(a1, lift(v[1 % V], c, p)) if V > 1 else a1
                a2 = join(a2, lift(v[2 % V], c, p)) if V > 2 else a2
                a3 = join(a3, lift(v[3 % V], c, p)) if V > 3 else a3
                i += lanes * V
            while i < end:  # one thread has less than a vector left
                a0 = join(a0, lift(source[base + i], c, p))
                i += 1
        else:
            i += lane
            while i + 3 * lanes < end:
                x0 = taken(source, base, place(i, t), apart, c, p)
                x1 = taken(source, base, place(i + lanes, t), apart, c, p)
                x2 = taken(source, base, place(i + 2 * lanes, t), apart, c, p)
                x3 = taken(source, base, place(i + 3 * lanes, t), apart, c, p)
                a0, a1, a2, a3 = join(a0, x0), join(a1, x1), join(a2, x2), join(a3, x3)
                i += 4 * lanes
            while i < end:
                a0 = join(a0, taken(source, base, place(i, t), apart, c, p))
                i += lanes
        total = fold(join(join(a0, a1), join(a2, a3)))
        if active and lane == 0:
            if finishes:
                store(targets(out, Out), unit, finish(total, count, p))
            else:
                put(pointer(out, A), unit, units, total)

    params = (3 + operands) * (kept + reduced)
    shape, letters = _letters(monoid, stage, params)
    return Source(body_of(reduce_rows, shape, params), letters, *bounds)


@kernel
def columns(
    name: str, dtype: str, out_dtype: str, finishes: bool, kept: int, reduced: int, pattern: str,
    wide: bool, bounds: Bounds,
) -> Source:  # fmt: skip
    """Reduce ``R`` elements per output, where adjacent outputs have adjacent inputs, or one input
    (the letters ``c`` and ``s`` of ``pattern``, one for each operand).

    A block has 32 outputs and ``depth`` threads for each. Parameters: x, center (where there is one), out, p, R, the count that
    ``finish`` gets, elements of a chunk, adjacent outputs, their tiles of 32, then the outer kept
    and the reduced block. The grid's second index is the chunk.
    """
    monoid = MONOIDS[name]
    operands, kinds, centred = monoid.operands, monoid.width, monoid.centred
    total_dtype = monoid.block_dtype(dtype)
    T, A = stored(dtype), np.dtype(total_dtype).type
    Out, Center = stored(out_dtype), stored(out_dtype)
    lift, join = monoid.lifting(total_dtype), monoid.joining(total_dtype)
    first, finish = monoid.identity(total_dtype), monoid.finishing(total_dtype, Out)
    kept_offset = _offsets(operands, kept, 0, wide)
    place = _offsets(operands, reduced, (3 + operands) * kept, wide)
    sources, targets = pointing(operands, pointer), pointing(monoid.results, pointer)
    element, get, put = elements(operands), reading(kinds), writing(kinds)
    store = storing(monoid.results)
    depth, threads = bounds.threads // TILE, bounds.threads
    parts = shared(total_dtype, threads * kinds, "columns")
    moved = [
        item("at", k, operands) + (" + j" if pattern[k] == "c" else "") for k in range(operands)
    ]
    along = function("along", "at, j", packed(moved), {})

    @inline
    def reduce_columns(x, center, out, p, R, count, chunk, width, tiles, t):
        column, row = thread() % TILE, thread() // TILE
        outer = block() // tiles
        j = (block() - outer * tiles) * TILE + column
        o = outer * width + j
        active = j < width
        i = block_y() * chunk + row
        end = min(R, block_y() * chunk + chunk) if active else 0
        base = along(kept_offset(outer, t), j)
        source = sources(x, T)
        c = T(pointer(center, Center)[o]) if centred and active else T(0)
        a0 = a1 = a2 = a3 = first
        while i + 3 * depth < end:
            x0 = lift(element(source, base, place(i, t)), c, p)
            x1 = lift(element(source, base, place(i + depth, t)), c, p)
            x2 = lift(element(source, base, place(i + 2 * depth, t)), c, p)
            x3 = lift(element(source, base, place(i + 3 * depth, t)), c, p)
            a0, a1, a2, a3 = join(a0, x0), join(a1, x1), join(a2, x2), join(a3, x3)
            i += 4 * depth
        while i < end:
            a0 = join(a0, lift(element(source, base, place(i, t)), c, p))
            i += depth
        held = parts()
        put(held, thread(), threads, join(join(a0, a1), join(a2, a3)))
        barrier()
        if row == 0 and active:
            total = get(held, column, threads)
            for k in range(1, depth):
                total = join(total, get(held, k * TILE + column, threads))
            if finishes:
                store(targets(out, Out), o, finish(total, count, p))
            else:
                chunks = (R + chunk - 1) // chunk
                apart = blocks() // tiles * width * chunks
                put(pointer(out, A), o * chunks + block_y(), apart, total)

    params = (3 + operands) * (kept + reduced)
    shape, letters = _letters(monoid, "whole" if finishes else "part", params)
    return Source(body_of(reduce_columns, shape, params), letters, *bounds)


def reduce(
    name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, ...], reduced: tuple[Sizes, ...]
) -> tuple[Callable[..., None], int]:
    """A launch ``(*operands, [center], *outs, [scratch], *params)`` and the bytes of scratch it needs.

    See :func:`tilegrad.kernels.cpu.reduce.reduce`.
    """
    outputs, R = math.prod(kept[0]), math.prod(reduced[0])
    if outputs == 0:
        return lambda *args: None, 0
    monoid = MONOIDS[name]
    apart, along = ([steps[-1] for steps in block[1:]] for block in (kept, reduced))
    adjacent = kept[0][-1] if 1 in apart and all(s in (0, 1) for s in apart) else 1
    sides = [(block[0], steps) for block in (kept, reduced) for steps in block[1:]]
    wide, chosen = is_wide(max(outputs, R), *sides), row(REDUCTION, dtype, name)
    if adjacent >= chosen.narrow and any(s != 1 for s in along):
        first, chunks = _columns(chosen, name, dtype, out_dtype, kept, reduced, wide)
    else:
        first, chunks = _rows(chosen, name, dtype, out_dtype, kept, reduced, wide)
    if chunks == 1:
        return first, 0
    part = monoid.block_dtype(dtype)
    lanes, bounds = _lanes(chosen, chunks, outputs), chosen.bounds
    shape = ((outputs,), (chunks,)), ((chunks,), (1,))
    last = rows.build(name, part, out_dtype, "last", lanes, 1, 1, 1, wide, bounds)
    tail = (chunks, R, chunks, 1, outputs, *index_params(*shape[0]), *index_params(*shape[1]))
    finish = bind(last, *tail, -(-outputs * lanes // bounds.threads), 1, 1)
    launch = in_parts(monoid.operands + monoid.centred, monoid.results, monoid.params, 1)
    return launch(first, finish), outputs * chunks * np.dtype(part).itemsize * monoid.width


def _lanes(chosen: Reduction, R: int, outputs: int) -> int:
    """Threads that share one output."""
    if R > chosen.alone or (R > chosen.few and outputs < chosen.units):
        return chosen.bounds.threads
    return min(WARP, 1 << max(0, (R - 1).bit_length() - 2))


def _rows(
    chosen: Reduction, name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, ...],
    reduced: tuple[Sizes, ...], wide: bool,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """(``launch(x, [center], out, p)``, chunks per output)."""
    outputs, R = math.prod(kept[0]), math.prod(reduced[0])
    lanes, threads = _lanes(chosen, R, outputs), chosen.bounds.threads
    most = -(-R // (lanes * chosen.items)) if lanes == threads else 1
    chunks = max(1, min(most, chosen.units // outputs))
    flat = len(reduced) == 2 and len(reduced[0]) == 1 and reduced[1][0] == 1
    itemsize = np.dtype(dtype).itemsize
    vector = min(4, 16 // itemsize) if flat and R >= 4 * lanes else 1
    chunk = -(-R // chunks)
    chunk += -chunk % vector if chunks > 1 else 0
    chunks = max(1, -(-R // max(chunk, 1)))
    stage = "part" if chunks > 1 else "whole"
    dims = (len(kept[0]), len(reduced[0]))
    made = rows.build(name, dtype, out_dtype, stage, lanes, *dims, vector, wide, chosen.bounds)
    tail = (R, R, chunk, chunks, outputs * chunks, *index_params(*kept), *index_params(*reduced))
    return bind(made, *tail, -(-outputs * chunks * lanes // threads), 1, 1), chunks


def _columns(
    chosen: Reduction, name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, ...],
    reduced: tuple[Sizes, ...], wide: bool,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """(``launch(x, [center], out, p)``, chunks per output)."""
    outputs, R, width = math.prod(kept[0]), math.prod(reduced[0]), kept[0][-1]
    tiles = -(-width // TILE)
    outer = tuple(row[:-1] for row in kept)
    grid = outputs // width * tiles
    depth = chosen.bounds.threads // TILE
    chunks = max(1, min(-(-R // (depth * chosen.items)), chosen.units // grid))
    chunk = -(-R // chunks)
    chunks = max(1, -(-R // max(chunk, 1)))
    dims, pattern = (len(outer[0]), len(reduced[0])), "".join("sc"[s[-1]] for s in kept[1:])
    made = columns.build(name, dtype, out_dtype, chunks == 1, *dims, pattern, wide, chosen.bounds)
    tail = (R, R, max(chunk, 1), width, tiles, *index_params(*outer), *index_params(*reduced))
    return bind(made, *tail, grid, chunks, 1), chunks
