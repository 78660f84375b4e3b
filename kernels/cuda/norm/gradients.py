"""Gradients of rows beside those that :mod:`tilegrad.kernels.cuda.norm` keeps in registers.

Rows that do not fit, rows with weights by channel, and the gradients of weights: these are summed
over rows in two steps, the first one here with neighbouring threads on neighbouring elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import barrier, block, block_y, pointer, shared, thread
from tilegrad.kernels.cuda.parts.lines import (
    ADJACENT,
    RESIDENT,
    THREADS,
    Seating,
    each,
    fold,
    loader,
    places,
    present,
    rows_of,
    storer,
    total,
    vector,
)
from tilegrad.kernels.cuda.parts.moments import hat, long_sums, product, tiled
from tilegrad.kernels.cuda.parts.strided import is_wide, numbers, offset_of, spread
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add

KEPT_TWO = {"float32": 16, "float64": 4}  # elements that a thread keeps of each of two arrays
TILE = 32  # elements side by side in a block of ``weight_sums``
CHUNK, CHUNKS = 64, 256  # rows that a block there adds up at least; parts at most


@inline
def slope(v, h, level, tilt, factor):
    """The gradient of an element, from that of its normalised value ``h``."""
    return (v - level - h * tilt) * factor


@kernel
def backward_tiles(dtype: str, centred: bool, seat: Seating) -> Source:
    """The gradient of rows that do not fit, with weights by element: they are read twice.

    Parameters: g, x, weight, mean, rstd, out, rows, n.
    """
    T = np.dtype(dtype).type
    zero, V, per = T(0), seat.V, seat.lanes * seat.vectors
    lane_of, line_of = places(seat)
    have, load, store = present(seat), loader(seat, ADJACENT), storer(seat, ADJACENT)
    whole, fold_sum = total(seat, add), fold(add, dtype, seat)
    hats, products, slopes = each(seat, hat, 1, 2), each(seat, product, 2), each(seat, slope, 2, 3)
    mask = V * np.dtype(dtype).itemsize - 1

    def body(g, x, weight, mean, rstd, out, rows, n):
        lane, row = lane_of(), line_of()
        active = row < rows
        groups = n // V if active else 0
        aligned = (g | x | out | weight) & mask == 0
        base, t = row * n, (0,)
        grad, source, weights = pointer(g, T), pointer(x, T), pointer(weight, T)
        m = pointer(mean, T)[row] if centred and active else zero
        rs = pointer(rstd, T)[row] if active else zero
        level = tilt = zero
        first = lane
        while first < groups:
            there = have(groups, first)
            v = load(grad, base, first, there, aligned, zero, t)
            if weight != 0:
                v = products(v, load(weights, 0, first, there, aligned, zero, t))
            h = hats(load(source, base, first, there, aligned, m, t), m, rs)
            level += whole(v)
            tilt += whole(products(v, h))
            first += per
        level = fold_sum(level) / T(n) if centred else zero
        tilt = fold_sum(tilt) / T(n)
        first = lane
        while first < groups:
            there = have(groups, first)
            v = load(grad, base, first, there, aligned, zero, t)
            if weight != 0:
                v = products(v, load(weights, 0, first, there, aligned, zero, t))
            h = hats(load(source, base, first, there, aligned, m, t), m, rs)
            made = slopes(v, h, level, tilt, rs)
            store(pointer(out, T), base, first, there, aligned, made, t)
            first += per

    return Source(body, "iiiiiiii", seat.threads, RESIDENT // seat.threads)


@kernel
def weight_sums(dtype: str, centred: bool) -> Source:
    """Sums of ``g xhat`` and of ``g`` over ``chunk`` rows: ``parts`` (chunks, 2, n).

    A block has 32 elements side by side and 8 threads for each; the grid's second index is the
    chunk. Parameters: g, x, mean, rstd, parts, rows, n, chunk.
    """
    T = np.dtype(dtype).type
    zero, depth = T(0), THREADS // TILE
    tilts, levels = shared(dtype, THREADS, "tilts"), shared(dtype, THREADS, "levels")

    def body(g, x, mean, rstd, parts, rows, n, chunk):
        j, deep = block() * TILE + thread() % TILE, thread() // TILE
        grad, source = pointer(g, T), pointer(x, T)
        means, rstds = pointer(mean, T), pointer(rstd, T)
        tilt = tilt_2 = level = level_2 = zero
        r = block_y() * chunk + deep
        end = min(rows, block_y() * chunk + chunk) if j < n else 0
        while r + depth < end:
            v, w = grad[r * n + j], grad[(r + depth) * n + j]
            u, z = source[r * n + j], source[(r + depth) * n + j]
            m, k = (means[r], means[r + depth]) if centred else (zero, zero)
            level, level_2 = level + v, level_2 + w
            tilt += v * ((u - m) * rstds[r])
            tilt_2 += w * ((z - k) * rstds[r + depth])
            r += 2 * depth
        if r < end:
            v, m = grad[r * n + j], means[r] if centred else zero
            level += v
            tilt += v * ((source[r * n + j] - m) * rstds[r])
        by_tilt, by_level = tilts(), levels()
        by_tilt[thread()], by_level[thread()] = tilt + tilt_2, level + level_2
        barrier()
        if deep == 0 and j < n:
            tilt, level = by_tilt[thread()], by_level[thread()]
            for k in range(1, depth):
                tilt += by_tilt[thread() + k * TILE]
                level += by_level[thread() + k * TILE]
            made = pointer(parts, T)
            made[2 * block_y() * n + j] = tilt
            made[(2 * block_y() + 1) * n + j] = level

    return Source(body, "iiiiiiii", THREADS, RESIDENT // THREADS)


@kernel
def channel_slopes(dtype: str, seat: Seating, wide: bool) -> Source:
    """The gradient of rows with weights by channel, whose sums are known, a tile for each unit.

    Parameters: g, x, weight, mean, rstd, out, tilts, levels, n, groups of a row, tiles of a row,
    units, groups of channels, channels of a row, then the block that finds a group's channel.
    """
    T = np.dtype(dtype).type
    zero, one, lanes, per = T(0), T(1), seat.lanes, seat.lanes * seat.vectors
    lane_of, unit_of = places(seat)
    have, load, store = present(seat), loader(seat, ADJACENT), storer(seat, ADJACENT)
    take, fold_sum = loader(seat, offset_of(2, 0, wide), True), fold(add, dtype, seat)
    hats, products, slopes = each(seat, hat, 1, 2), each(seat, product, 2), each(seat, slope, 2, 3)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def slope_tile(
        g, x, weight, mean, rstd, out, tilts, levels, n, groups, tiles, units, cycle, channels, t
    ):
        lane, unit = lane_of(), unit_of()
        active = unit < units
        row = unit // tiles if active else 0
        first = (unit - row * tiles) * per + lane if active else groups
        there = have(groups, first)
        weights = pointer(weight, T)
        kind, base = row % cycle * channels, row * n
        level = tilt = zero
        c = lane
        while c < channels:
            w = weights[kind + c] if weight != 0 else one
            level += w * pointer(levels, T)[row * channels + c]
            tilt += w * pointer(tilts, T)[row * channels + c]
            c += lanes
        level, tilt = fold_sum(level) / T(n), fold_sum(tilt) / T(n)
        aligned = (g | x | out) & mask == 0
        m, rs = pointer(mean, T)[row], pointer(rstd, T)[row]
        v = load(pointer(g, T), base, first, there, aligned, zero, t)
        if weight != 0:
            v = products(v, take(weights, kind, first, there, aligned, zero, t))
        h = hats(load(pointer(x, T), base, first, there, aligned, m, t), m, rs)
        made = slopes(v, h, level, tilt, rs)
        store(pointer(out, T), base, first, there, aligned, made, t)

    per_sm = RESIDENT // seat.threads
    return Source(spread(slope_tile, 14, 8), "i" * 22, seat.threads, per_sm)


def row_norm_parts(rows: int) -> int:
    """How many partial sums of weight gradients :func:`weight_gradients` writes."""
    return min(-(-rows // CHUNK), CHUNKS)


def weight_gradients(dtype: str, centred: bool, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, parts)`` with ``parts`` (row_norm_parts(rows), 2, n)."""
    parts = row_norm_parts(rows)
    chunk = -(-rows // parts)
    return bind(weight_sums.build(dtype, centred), rows, n, chunk, -(-n // TILE), parts, 1)


def channel_gradients(dtype: str, rows: int, n: int, S: int, groups: int) -> Callable[..., None]:
    """A launch ``(g, x, weight, mean, rstd, out, tilts, levels)``."""
    V, channels, wide = vector(dtype, S), n // S, is_wide(rows * n)
    runs = rows_of(rows * channels, S, V, KEPT_TWO[dtype])
    sums = long_sums(dtype, runs, channels, wide)
    form = rows_of(rows, n, V, KEPT_TWO[dtype])
    if form.tiles > 1:
        form = tiled(dtype, form, 2)
    seat, units = form.seat, rows * form.tiles
    t = numbers((channels, S // V), (1, 0))
    sizes = (n, n // V, form.tiles, units, groups, channels, *t, seat.blocks(units), 1, 1)
    slopes = bind(channel_slopes.build(dtype, seat, wide), *sizes)

    def launch(g: int, x: int, weight: int, mean: int, rstd: int, out: int, *made: int) -> None:
        sums(g, x, mean, rstd, out, *made)
        slopes(g, x, weight, mean, rstd, out, *made)

    return launch
