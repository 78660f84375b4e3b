"""Means, variances and the sums of their backward pass, over rows of an array.

A row that its threads can keep is measured where it is needed (:func:`measured`): the mean first,
then the squares about it. A longer one is cut into tiles, a unit of work each, whose results a
second launch combines; the partial results are written where the output will be. The cut
depends on sizes alone. The deviations from the first mean also correct it (by ``low``), so that a
large mean costs no digits.

Source: T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", 1979, for the combination.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.parts.row_layout import (
    RowGeometry,
    RowLayout,
    fill_invalid,
    layout_of,
    loader,
    map_elements,
    place_of,
    reduce_row,
    row_layout,
    thread_map,
    thread_reduce,
    valid_count,
)
from tilegrad.kernels.cuda.parts.strided import unpack_params
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import ROWS, row
from tilegrad.kernels.formulas.primitives import select, sqrt
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add
from tilegrad.kernels.source import device_function


@inline
def minus(x, m):
    """x - m"""
    return x - m


@inline
def square(x):
    """x^2"""
    return x * x


@inline
def product(g, y):
    """g y"""
    return g * y


@inline
def hat(x, m, rs):
    """x, normalised."""
    return (x - m) * rs


def measured(dtype: str, centred: bool, layout: RowLayout) -> DeviceFunction:
    """The device function ``measure(v, n_valid, count)``: of ``count`` numbers that a row's threads
    keep, ``n_valid`` groups each, ``(deviations from m, m, low, variance)``; the mean is ``m + low``.

    Not ``centred``: with 0 for the mean. All threads of the block must call it.
    """
    zero = np.dtype(dtype).type(0)
    thread_sum, apart, squares = (
        thread_reduce(layout, add),
        map_elements(layout, minus, 1, 1),
        map_elements(layout, square, 1),
    )
    reduce_sum, zero_invalid = reduce_row(add, dtype, layout), fill_invalid(layout)

    @inline
    def measure(v, n_valid, count):
        m, low, d = zero, zero, v
        if centred:
            m = reduce_sum(thread_sum(v)) / count
            d = zero_invalid(apart(v, m), n_valid, zero)
            low = reduce_sum(thread_sum(d)) / count
        var = reduce_sum(thread_sum(squares(d))) / count - low * low
        return d, m, low, select(var < zero, zero, var)

    return measure


class Statistics(NamedTuple):
    """Addresses of the statistics of rows, and of running ones; what their making takes.

    Null: there is no mean, no running statistics.
    """

    mean: int
    rstd: int
    eps: float
    running_mean: int
    running_var: int
    momentum: float


@lru_cache(maxsize=None)
def recorder(dtype: str) -> DeviceFunction:
    """The device function ``record(row, m, var, rs, n, s)`` with :class:`Statistics`.

    It writes a row's mean and ``rs``, and moves the running statistics, the variance without bias,
    by ``momentum``.
    """
    T = np.dtype(dtype).type
    one = T(1)

    @inline
    def record(row, m, var, rs, n, s):
        if s.mean != 0:
            pointer(s.mean, T)[row] = m
        pointer(s.rstd, T)[row] = rs
        if s.running_mean != 0:
            means, variances = pointer(s.running_mean, T), pointer(s.running_var, T)
            step = T(s.momentum)
            means[row] = (one - step) * means[row] + step * m
            unbiased = var * (T(n) / T(n - 1))
            variances[row] = (one - step) * variances[row] + step * unbiased

    return record


# ------------------------------------------------------------------------------------ long rows


def tiled(dtype: str, form: RowGeometry, arrays: int) -> RowGeometry:
    """The form of rows that come in tiles, of which a thread keeps ``arrays`` at once."""
    chosen, V, columns = row(ROWS, dtype, "norm"), form.layout.V, form.layout.columns
    lanes = 8 if columns else chosen.threads
    return form._replace(layout=layout_of(chosen, columns, lanes, chosen.moments // arrays // V, V))


@kernel
def moments(dtype: str, centred: bool, layout: RowLayout, runs: bool, wide: bool) -> Source:
    """The mean of every tile of every row, and its sum of squares about that.

    Parameters: x, parts, rows, elements and groups of a row, step, tiles in all, then the form's.
    ``parts``: (2, tiles of a row, rows).
    """
    T = np.dtype(dtype).type
    zero, tile, per = T(0), layout.tile, layout.lanes * layout.vectors
    lane_of, unit_of = thread_map(layout)
    valid, load = valid_count(layout), loader(layout, place_of(layout, runs, wide))
    measure = measured(dtype, centred, layout)
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def moments_of(x, parts, rows, n, groups, step, units, t):
        lane, unit = lane_of(), unit_of()
        active = unit < units
        q = unit // rows
        row = unit - q * rows
        first = q * per + lane
        n_valid = valid(groups if active else 0, first)
        v = load(pointer(x, T), row * step, first, n_valid, x & mask == 0, zero, t)
        count = T(min(n - q * tile, tile))
        _, m, low, var = measure(v, n_valid, count)
        if active and lane == 0:
            made = pointer(parts, T)
            made[unit] = m + low
            made[units + unit] = var * count

    params = 1 if layout.columns else 8 * runs
    return Source(unpack_params(moments_of, 7, params), "i" * (7 + params), *layout.bounds)


@kernel
def settle(dtype: str, layout: RowLayout) -> Source:
    """The statistics of every row from those of its tiles.

    Parameters: parts, :class:`Statistics`, rows, tiles of a row, elements of a row and of a tile.
    """
    T = np.dtype(dtype).type
    zero, one, lanes = T(0), T(1), layout.lanes
    lane_of, row_of = thread_map(layout)
    reduce_sum, record = reduce_row(add, dtype, layout), recorder(dtype)

    def body(parts, s, rows, tiles, n, tile):
        lane, row = lane_of(), row_of()
        at = row if row < rows else 0
        means, squares = pointer(parts, T), pointer(parts, T)
        near, part = means[at], zero  # a number near the mean
        q = lane
        while q < tiles:
            part += T(min(n - q * tile, tile)) * (means[q * rows + at] - near)
            q += lanes
        m = near + reduce_sum(part) / T(n)
        part = zero
        q = lane
        while q < tiles:
            d = means[q * rows + at] - m
            part += squares[(tiles + q) * rows + at] + T(min(n - q * tile, tile)) * d * d
            q += lanes
        var = reduce_sum(part) / T(n)
        rs = one / sqrt(var + T(s.eps))
        if lane == 0 and row < rows:
            record(row, m, var, rs, n, s)

    return Source(body, ("i", Statistics, "iiii"), *layout.bounds)


@kernel
def gradient_sums(dtype: str, layout: RowLayout, runs: bool, wide: bool) -> Source:
    """Of every tile of every row, ``sums_g_xhat`` = sum of g xhat and ``sums_g`` = sum of g.

    Parameters: g, x, mean, rstd, sums_g_xhat, sums_g, rows, groups of a row, step, rows of one mean,
    tiles in all, then the form's. The results: (tiles of a row, rows).
    """
    T = np.dtype(dtype).type
    zero, per = T(0), layout.lanes * layout.vectors
    lane_of, unit_of = thread_map(layout)
    valid, load = valid_count(layout), loader(layout, place_of(layout, runs, wide))
    thread_sum, hats, products = (
        thread_reduce(layout, add),
        map_elements(layout, hat, 1, 2),
        map_elements(layout, product, 2),
    )
    reduce_sum = reduce_row(add, dtype, layout)
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def sums_of(g, x, mean, rstd, sums_g_xhat, sums_g, rows, groups, step, share, units, t):
        lane, unit = lane_of(), unit_of()
        active = unit < units
        q = unit // rows
        row = unit - q * rows
        first = q * per + lane
        n_valid = valid(groups if active else 0, first)
        aligned = (g | x) & mask == 0
        kind = row // share
        m, rs = pointer(mean, T)[kind], pointer(rstd, T)[kind]
        d = load(pointer(g, T), row * step, first, n_valid, aligned, zero, t)
        v = load(pointer(x, T), row * step, first, n_valid, aligned, m, t)
        sum_g_xhat, sum_g = (
            reduce_sum(thread_sum(products(d, hats(v, m, rs)))),
            reduce_sum(thread_sum(d)),
        )
        if active and lane == 0:
            pointer(sums_g_xhat, T)[unit] = sum_g_xhat
            pointer(sums_g, T)[unit] = sum_g

    params = 1 if layout.columns else 8 * runs
    return Source(unpack_params(sums_of, 11, params), "i" * (11 + params), *layout.bounds)


@kernel
def gather(dtype: str, layout: RowLayout) -> Source:
    """``sums_g_xhat`` and ``sums_g`` of every row from those of its tiles: parts (2, tiles, rows)."""
    T = np.dtype(dtype).type
    zero, lanes = T(0), layout.lanes
    lane_of, row_of = thread_map(layout)
    reduce_sum = reduce_row(add, dtype, layout)

    def body(parts, sums_g_xhat, sums_g, rows, tiles):
        lane, row = lane_of(), row_of()
        source, sum_g_xhat, sum_g = pointer(parts, T), zero, zero
        q = lane if row < rows else tiles
        while q < tiles:
            sum_g_xhat += source[q * rows + row]
            sum_g += source[(tiles + q) * rows + row]
            q += lanes
        sum_g_xhat, sum_g = reduce_sum(sum_g_xhat), reduce_sum(sum_g)
        if lane == 0 and row < rows:
            pointer(sums_g_xhat, T)[row] = sum_g_xhat
            pointer(sums_g, T)[row] = sum_g

    return Source(body, "iiiii", *layout.bounds)


def _over_tiles(dtype: str, tiles: int) -> RowLayout:
    """The layout of the threads that combine the results of so many tiles, for every row."""
    chosen = row(ROWS, dtype, "norm")
    return row_layout(chosen, tiles, 1, chosen.least, True)


def long_moments(dtype: str, centred: bool, form: RowGeometry, wide: bool) -> Callable[..., None]:
    """A launch ``(x, parts, *Statistics(…))`` for rows of any length.

    ``parts``: at least 2 numbers for every tile of :func:`tiled`.
    """
    form = tiled(dtype, form, 1)
    units, layout = form.rows * form.tiles, form.layout
    first = moments.build(dtype, centred, layout, form.runs, wide)
    sizes = (form.rows, form.n, form.groups, form.step, units, *form.t, layout.blocks(units), 1, 1)
    over = _over_tiles(dtype, form.tiles)
    last = settle.build(dtype, over)
    tail = (form.rows, form.tiles, form.n, layout.tile, over.blocks(form.rows), 1, 1)

    def launch(x: int, parts: int, *rest: float) -> None:
        first(x, parts, *sizes)
        last(parts, *rest, *tail)

    return launch


def long_sums(dtype: str, form: RowGeometry, share: int, wide: bool) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, parts, sums_g_xhat, sums_g)``; ``share`` rows have one mean."""
    if form.tiles > 1:
        form = tiled(dtype, form, 2)
    units, layout, tiles = form.rows * form.tiles, form.layout, form.tiles
    first = gradient_sums.build(dtype, layout, form.runs, wide)
    sizes = (form.rows, form.groups, form.step, share, units, *form.t, layout.blocks(units), 1, 1)
    if tiles == 1:
        return lambda g, x, mean, rstd, parts, *made: first(g, x, mean, rstd, *made, *sizes)
    over = _over_tiles(dtype, tiles)
    last = gather.build(dtype, over)
    half = units * np.dtype(dtype).itemsize
    tail = (form.rows, tiles, over.blocks(form.rows), 1, 1)

    def launch(g: int, x: int, mean: int, rstd: int, parts: int, *made: int) -> None:
        first(g, x, mean, rstd, parts, parts + half, *sizes)
        last(parts, *made, *tail)

    return launch


# --------------------------------------------------------------------------- element by element


@lru_cache(maxsize=None)
def normalised(centred: bool, weighted: bool, biased: bool) -> DeviceFunction:
    """The formula ``(x - mean) rstd weight + bias`` of the operands that there are."""
    names = ["x", *["mean"] * centred, "rstd", *["weight"] * weighted, *["bias"] * biased]
    value = "(x - mean)" if centred else "x"
    value += " * (rstd * weight)" if weighted else " * rstd"
    return _formula("normalised", names, value + (" + bias" if biased else ""))


@lru_cache(maxsize=None)
def normalised_grad(weighted: bool, training: bool) -> DeviceFunction:
    """The formula of the gradient through :func:`normalised`; ``p``: 1 / the elements of a row.

    Not ``training``: as if mean and deviation were constants.
    """
    factor = "(rstd * weight)" if weighted else "rstd"
    if not training:
        names = ["g", "rstd", *["weight"] * weighted]
        return _formula("normalised_grad", names, f"g * {factor}")
    names = ["g", "x", "mean", "rstd", *["weight"] * weighted, "sum_g_xhat", "sum_g", "p"]
    return _formula(
        "normalised_grad",
        names,
        f"(g - sum_g * p - (x - mean) * rstd * (sum_g_xhat * p)) * {factor}",
    )


def _formula(name: str, names: list[str], value: str) -> DeviceFunction:
    lines = [f"def {name}({', '.join(names)}):", f"    return {value}"]
    return device_function(name, lines, {}, __name__)
