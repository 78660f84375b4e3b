"""Gradients of the rows that :mod:`tilegrad.kernels.cuda.norm` does not keep in registers.

Rows that do not fit, rows with weights by channel, and the gradients of weights: these are summed
over rows in two steps, the first one here with neighbouring threads on neighbouring elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, barrier, block, block_y, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.moments import hat, long_sums, product, tiled
from tilegrad.kernels.cuda.parts.row_layout import (
    ADJACENT,
    RowLayout,
    loader,
    map_elements,
    reduce_row,
    rows_of,
    storer,
    thread_map,
    thread_reduce,
    valid_count,
    vector,
)
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offset_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import ROWS, row
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add


class Grads(NamedTuple):
    """The addresses of a backward pass; null: no weight, no mean.

    Attributes:
        g, x, weight, mean, rstd: what is read. out: the gradient of x.
        sums_g_xhat, sums_g: sums of g xhat and of g, read or made.
    """

    g: int
    x: int
    weight: int
    mean: int
    rstd: int
    out: int
    sums_g_xhat: int
    sums_g: int


class Tiles(NamedTuple):
    """Rows of ``n`` elements in ``groups``, cut into ``tiles``, which are ``units`` in all; ``cycle`` groups
    of channels, of which a row has ``channels``.
    """

    n: int
    groups: int
    tiles: int
    units: int
    cycle: int
    channels: int


@inline
def grad_input(v, h, mean_g, mean_g_xhat, factor):
    """The gradient of an element; ``v`` is that of its normalised value ``h`` (x_hat), ``mean_g`` and
    ``mean_g_xhat`` are the row's means of ``v`` and of ``v * h``.
    """
    return (v - mean_g - h * mean_g_xhat) * factor


@kernel
def backward_tiles(dtype: str, centred: bool, layout: RowLayout) -> Source:
    """The gradient of rows that do not fit, with weights by element: they are read twice.

    Parameters: g, x, weight, mean, rstd, out, rows, n.
    """
    T = np.dtype(dtype).type
    zero, V, per = T(0), layout.V, layout.lanes * layout.vectors
    lane_of, row_of = thread_map(layout)
    valid, load, store = valid_count(layout), loader(layout, ADJACENT), storer(layout, ADJACENT)
    thread_sum, reduce_sum = thread_reduce(layout, add), reduce_row(add, dtype, layout)
    hats, products, grad_inputs = (
        map_elements(layout, hat, 1, 2),
        map_elements(layout, product, 2),
        map_elements(layout, grad_input, 2, 3),
    )
    mask = V * np.dtype(dtype).itemsize - 1

    def body(g, x, weight, mean, rstd, out, rows, n):
        lane, row = lane_of(), row_of()
        active = row < rows
        groups = n // V if active else 0
        aligned = (g | x | out | weight) & mask == 0
        base, t = row * n, (0,)
        grad, source, weights = pointer(g, T), pointer(x, T), pointer(weight, T)
        m = pointer(mean, T)[row] if centred and active else zero
        rs = pointer(rstd, T)[row] if active else zero
        sum_g = sum_g_xhat = zero
        first = lane
        while first < groups:
            n_valid = valid(groups, first)
            v = load(grad, base, first, n_valid, aligned, zero, t)
            if weight != 0:
                v = products(v, load(weights, 0, first, n_valid, aligned, zero, t))
            h = hats(load(source, base, first, n_valid, aligned, m, t), m, rs)
            sum_g += thread_sum(v)
            sum_g_xhat += thread_sum(products(v, h))
            first += per
        mean_g = reduce_sum(sum_g) / T(n) if centred else zero
        mean_g_xhat = reduce_sum(sum_g_xhat) / T(n)
        first = lane
        while first < groups:
            n_valid = valid(groups, first)
            v = load(grad, base, first, n_valid, aligned, zero, t)
            if weight != 0:
                v = products(v, load(weights, 0, first, n_valid, aligned, zero, t))
            h = hats(load(source, base, first, n_valid, aligned, m, t), m, rs)
            made = grad_inputs(v, h, mean_g, mean_g_xhat, rs)
            store(pointer(out, T), base, first, n_valid, aligned, made, t)
            first += per

    return Source(body, "iiiiiiii", *layout.bounds)


@kernel
def weight_sums(dtype: str, centred: bool, bounds: Bounds) -> Source:
    """Sums of ``g xhat`` and of ``g`` over ``chunk`` rows: ``parts`` (chunks, 2, n).

    A block has 32 adjacent elements and 8 threads for each; the grid's second index is the
    chunk. Parameters: g, x, mean, rstd, parts, rows, n, chunk.
    """
    T = np.dtype(dtype).type
    zero, threads, depth = T(0), bounds.threads, bounds.threads // WARP
    sums_g_xhat, sums_g = shared(dtype, threads, "sums_g_xhat"), shared(dtype, threads, "sums_g")

    def body(g, x, mean, rstd, parts, rows, n, chunk):
        j, deep = block() * WARP + thread() % WARP, thread() // WARP
        grad, source = pointer(g, T), pointer(x, T)
        means, rstds = pointer(mean, T), pointer(rstd, T)
        sum_g_xhat = sum_g_xhat_2 = sum_g = sum_g_2 = zero
        r = block_y() * chunk + deep
        end = min(rows, block_y() * chunk + chunk) if j < n else 0
        while r + depth < end:
            v, w = grad[r * n + j], grad[(r + depth) * n + j]
            u, z = source[r * n + j], source[(r + depth) * n + j]
            m, k = (means[r], means[r + depth]) if centred else (zero, zero)
            sum_g, sum_g_2 = sum_g + v, sum_g_2 + w
            sum_g_xhat += v * ((u - m) * rstds[r])
            sum_g_xhat_2 += w * ((z - k) * rstds[r + depth])
            r += 2 * depth
        if r < end:
            v, m = grad[r * n + j], means[r] if centred else zero
            sum_g += v
            sum_g_xhat += v * ((source[r * n + j] - m) * rstds[r])
        partial_g_xhat, partial_g = sums_g_xhat(), sums_g()
        partial_g_xhat[thread()], partial_g[thread()] = sum_g_xhat + sum_g_xhat_2, sum_g + sum_g_2
        barrier()
        if deep == 0 and j < n:
            sum_g_xhat, sum_g = partial_g_xhat[thread()], partial_g[thread()]
            for k in range(1, depth):
                sum_g_xhat += partial_g_xhat[thread() + k * WARP]
                sum_g += partial_g[thread() + k * WARP]
            made = pointer(parts, T)
            made[2 * block_y() * n + j] = sum_g_xhat
            made[(2 * block_y() + 1) * n + j] = sum_g

    return Source(body, "iiiiiiii", *bounds)


@kernel
def channel_grads(dtype: str, layout: RowLayout, wide: bool) -> Source:
    """The gradient of rows with weights by channel, whose sums are known, a tile for each unit.

    Parameters: :class:`Grads`, :class:`Tiles`, then the block that finds a group's channel.
    """
    T = np.dtype(dtype).type
    zero, one, lanes, per = T(0), T(1), layout.lanes, layout.lanes * layout.vectors
    lane_of, unit_of = thread_map(layout)
    valid, load, store = valid_count(layout), loader(layout, ADJACENT), storer(layout, ADJACENT)
    take, reduce_sum = loader(layout, offset_of(2, 0, wide), True), reduce_row(add, dtype, layout)
    hats, products, grad_inputs = (
        map_elements(layout, hat, 1, 2),
        map_elements(layout, product, 2),
        map_elements(layout, grad_input, 2, 3),
    )
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def grad_tile(a, p, t):
        lane, unit = lane_of(), unit_of()
        active = unit < p.units
        row = unit // p.tiles if active else 0
        first = (unit - row * p.tiles) * per + lane if active else p.groups
        n_valid = valid(p.groups, first)
        weights = pointer(a.weight, T)
        kind, base = row % p.cycle * p.channels, row * p.n
        sum_g = sum_g_xhat = zero
        c = lane
        while c < p.channels:
            w = weights[kind + c] if a.weight != 0 else one
            sum_g += w * pointer(a.sums_g, T)[row * p.channels + c]
            sum_g_xhat += w * pointer(a.sums_g_xhat, T)[row * p.channels + c]
            c += lanes
        mean_g, mean_g_xhat = reduce_sum(sum_g) / T(p.n), reduce_sum(sum_g_xhat) / T(p.n)
        aligned = (a.g | a.x | a.out) & mask == 0
        m, rs = pointer(a.mean, T)[row], pointer(a.rstd, T)[row]
        v = load(pointer(a.g, T), base, first, n_valid, aligned, zero, t)
        if a.weight != 0:
            v = products(v, take(weights, kind, first, n_valid, aligned, zero, t))
        h = hats(load(pointer(a.x, T), base, first, n_valid, aligned, m, t), m, rs)
        made = grad_inputs(v, h, mean_g, mean_g_xhat, rs)
        store(pointer(a.out, T), base, first, n_valid, aligned, made, t)

    return Source(unpack_params(grad_tile, 2, 8), (Grads, Tiles, "i" * 8), *layout.bounds)


def row_norm_parts(dtype: str, rows: int) -> int:
    """How many partial sums of weight gradients :func:`weight_gradients` writes."""
    chosen = row(ROWS, dtype, "norm_backward")
    return min(-(-rows // chosen.chunk), chosen.chunks)


def weight_gradients(dtype: str, centred: bool, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, parts)`` with ``parts`` (row_norm_parts(dtype, rows), 2, n)."""
    parts, chosen = row_norm_parts(dtype, rows), row(ROWS, dtype, "norm_backward")
    chunk = -(-rows // parts)
    bounds = Bounds(chosen.threads, chosen.resident // chosen.threads)
    function = weight_sums.build(dtype, centred, bounds)
    return bind(function, rows, n, chunk, -(-n // WARP), parts, 1)


def channel_gradients(dtype: str, rows: int, n: int, S: int, groups: int) -> Callable[..., None]:
    """A launch ``(g, x, weight, mean, rstd, out, sums_g_xhat, sums_g)``."""
    V, channels, wide = vector(dtype, S), n // S, is_wide(rows * n)
    chosen = row(ROWS, dtype, "norm_backward")
    runs = rows_of(chosen, rows * channels, S, V, chosen.two)
    sums = long_sums(dtype, runs, channels, wide)
    form = rows_of(chosen, rows, n, V, chosen.two)
    if form.tiles > 1:
        form = tiled(dtype, form, 2)
    layout, units = form.layout, rows * form.tiles
    t = index_params((channels, S // V), (1, 0))
    tiles = Tiles(n, n // V, form.tiles, units, groups, channels)
    function = channel_grads.build(dtype, layout, wide)
    grad_inputs = bind(function, *tiles, *t, layout.blocks(units), 1, 1)

    def launch(g: int, x: int, weight: int, mean: int, rstd: int, out: int, *made: int) -> None:
        sums(g, x, mean, rstd, out, *made)
        grad_inputs(g, x, weight, mean, rstd, out, *made)

    return launch
