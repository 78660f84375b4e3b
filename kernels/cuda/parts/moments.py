"""Means, variances and the sums of their backward pass, over lines of an array.

A line that its threads can keep is measured where it is needed (:func:`measured`): the mean first,
then the squares about it. A longer one is cut into tiles, a unit of work each, whose results a
second launch combines; what lies between the two is written where the output will be. The cut
depends on sizes alone. The deviations from the first mean also correct it (by ``low``), so that a
large mean costs no digits.

Source: T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", 1979, for the combination.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.parts.lines import (
    LEAST,
    RESIDENT,
    THREADS,
    Form,
    Seating,
    each,
    fold,
    kept,
    loader,
    place_of,
    places,
    present,
    seating,
    total,
)
from tilegrad.kernels.cuda.parts.strided import spread
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.formulas.primitives import select, sqrt
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.monoids import add

TILE = {"float32": 16, "float64": 8}  # elements that a thread has of a long line's tile


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


def measured(dtype: str, centred: bool, seat: Seating) -> DeviceFunction:
    """The device function ``measure(v, there, count)``: of ``count`` numbers that a line's threads
    keep, ``there`` groups each, ``(deviations from m, m, low, variance)``; the mean is ``m + low``.

    Not ``centred``: with 0 for the mean. All threads of the block must call it.
    """
    zero = np.dtype(dtype).type(0)
    whole, apart, squares = total(seat, add), each(seat, minus, 1, 1), each(seat, square, 1)
    fold_sum, keep = fold(add, dtype, seat), kept(seat)

    @inline
    def measure(v, there, count):
        m, low, d = zero, zero, v
        if centred:
            m = fold_sum(whole(v)) / count
            d = keep(apart(v, m), there, zero)
            low = fold_sum(whole(d)) / count
        var = fold_sum(whole(squares(d))) / count - low * low
        return d, m, low, select(var < zero, zero, var)

    return measure


@lru_cache(maxsize=None)
def recorder(dtype: str) -> DeviceFunction:
    """The device function ``record(line, m, var, rs, n, mean, rstd, rmean, rvar, momentum)``.

    It writes a line's mean and ``rs``, and moves the running statistics, the variance without bias,
    by ``momentum``. Null addresses are not written.
    """
    T = np.dtype(dtype).type
    one = T(1)

    @inline
    def record(line, m, var, rs, n, mean, rstd, rmean, rvar, momentum):
        if mean != 0:
            pointer(mean, T)[line] = m
        pointer(rstd, T)[line] = rs
        if rmean != 0:
            means, variances, step = pointer(rmean, T), pointer(rvar, T), T(momentum)
            means[line] = (one - step) * means[line] + step * m
            unbiased = var * (T(n) / T(n - 1))
            variances[line] = (one - step) * variances[line] + step * unbiased

    return record


# ------------------------------------------------------------------------------------ long lines


def tiled(dtype: str, form: Form, arrays: int) -> Form:
    """The form of lines that come in tiles, of which a thread keeps ``arrays`` at once."""
    V, columns = form.seat.V, form.seat.columns
    lanes = 8 if columns else THREADS
    return form._replace(seat=Seating(columns, lanes, TILE[dtype] // arrays // V, V))


@kernel
def moments(dtype: str, centred: bool, seat: Seating, runs: bool, wide: bool) -> Source:
    """The mean of every tile of every line, and its sum of squares about that.

    Parameters: x, parts, lines, elements and groups of a line, step, tiles in all, then the form's.
    ``parts``: (2, tiles of a line, lines).
    """
    T = np.dtype(dtype).type
    zero, tile, per = T(0), seat.tile, seat.lanes * seat.vectors
    lane_of, unit_of = places(seat)
    have, load = present(seat), loader(seat, place_of(seat, runs, wide))
    measure = measured(dtype, centred, seat)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def moments_of(x, parts, lines, n, groups, step, units, t):
        lane, unit = lane_of(), unit_of()
        active = unit < units
        q = unit // lines
        line = unit - q * lines
        first = q * per + lane
        there = have(groups if active else 0, first)
        v = load(pointer(x, T), line * step, first, there, x & mask == 0, zero, t)
        count = T(min(n - q * tile, tile))
        _, m, low, var = measure(v, there, count)
        if active and lane == 0:
            made = pointer(parts, T)
            made[unit] = m + low
            made[units + unit] = var * count

    params = 1 if seat.columns else 8 * runs
    per_sm = RESIDENT // seat.threads
    return Source(spread(moments_of, 7, params), "i" * (7 + params), seat.threads, per_sm)


@kernel
def settle(dtype: str, seat: Seating) -> Source:
    """The statistics of every line from those of its tiles.

    Parameters: parts, mean, rstd, rmean, rvar, eps, momentum, lines, tiles of a line, elements of a
    line and of a tile.
    """
    T = np.dtype(dtype).type
    zero, one, lanes = T(0), T(1), seat.lanes
    lane_of, line_of = places(seat)
    fold_sum, record = fold(add, dtype, seat), recorder(dtype)

    def body(parts, mean, rstd, rmean, rvar, eps, momentum, lines, tiles, n, tile):
        lane, line = lane_of(), line_of()
        at = line if line < lines else 0
        means, squares = pointer(parts, T), pointer(parts, T)
        near, part = means[at], zero  # a number near the mean
        q = lane
        while q < tiles:
            part += T(min(n - q * tile, tile)) * (means[q * lines + at] - near)
            q += lanes
        m = near + fold_sum(part) / T(n)
        part = zero
        q = lane
        while q < tiles:
            d = means[q * lines + at] - m
            part += squares[(tiles + q) * lines + at] + T(min(n - q * tile, tile)) * d * d
            q += lanes
        var = fold_sum(part) / T(n)
        rs = one / sqrt(var + T(eps))
        if lane == 0 and line < lines:
            record(line, m, var, rs, n, mean, rstd, rmean, rvar, momentum)

    return Source(body, "iiiiiddiiii", seat.threads, RESIDENT // seat.threads)


@kernel
def slope_sums(dtype: str, seat: Seating, runs: bool, wide: bool) -> Source:
    """Of every tile of every line, ``tilts`` = sum of g xhat and ``levels`` = sum of g.

    Parameters: g, x, mean, rstd, tilts, levels, lines, groups of a line, step, lines of one mean,
    tiles in all, then the form's. The results: (tiles of a line, lines).
    """
    T = np.dtype(dtype).type
    zero, per = T(0), seat.lanes * seat.vectors
    lane_of, unit_of = places(seat)
    have, load = present(seat), loader(seat, place_of(seat, runs, wide))
    whole, hats, products = total(seat, add), each(seat, hat, 1, 2), each(seat, product, 2)
    fold_sum = fold(add, dtype, seat)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def sums_of(g, x, mean, rstd, tilts, levels, lines, groups, step, share, units, t):
        lane, unit = lane_of(), unit_of()
        active = unit < units
        q = unit // lines
        line = unit - q * lines
        first = q * per + lane
        there = have(groups if active else 0, first)
        aligned = (g | x) & mask == 0
        kind = line // share
        m, rs = pointer(mean, T)[kind], pointer(rstd, T)[kind]
        d = load(pointer(g, T), line * step, first, there, aligned, zero, t)
        v = load(pointer(x, T), line * step, first, there, aligned, m, t)
        tilt, level = fold_sum(whole(products(d, hats(v, m, rs)))), fold_sum(whole(d))
        if active and lane == 0:
            pointer(tilts, T)[unit] = tilt
            pointer(levels, T)[unit] = level

    params = 1 if seat.columns else 8 * runs
    per_sm = RESIDENT // seat.threads
    return Source(spread(sums_of, 11, params), "i" * (11 + params), seat.threads, per_sm)


@kernel
def gather(dtype: str, seat: Seating) -> Source:
    """``tilts`` and ``levels`` of every line from those of its tiles: parts (2, tiles, lines)."""
    T = np.dtype(dtype).type
    zero, lanes = T(0), seat.lanes
    lane_of, line_of = places(seat)
    fold_sum = fold(add, dtype, seat)

    def body(parts, tilts, levels, lines, tiles):
        lane, line = lane_of(), line_of()
        source, tilt, level = pointer(parts, T), zero, zero
        q = lane if line < lines else tiles
        while q < tiles:
            tilt += source[q * lines + line]
            level += source[(tiles + q) * lines + line]
            q += lanes
        tilt, level = fold_sum(tilt), fold_sum(level)
        if lane == 0 and line < lines:
            pointer(tilts, T)[line] = tilt
            pointer(levels, T)[line] = level

    return Source(body, "iiiii", seat.threads, RESIDENT // seat.threads)


def long_moments(dtype: str, centred: bool, form: Form, wide: bool) -> Callable[..., None]:
    """A launch ``(x, parts, mean, rstd, rmean, rvar, eps, momentum)`` for lines of any length.

    ``parts``: at least 2 numbers for every tile of :func:`tiled`.
    """
    form = tiled(dtype, form, 1)
    units, seat = form.lines * form.tiles, form.seat
    first = moments.build(dtype, centred, seat, form.runs, wide)
    sizes = (form.lines, form.n, form.groups, form.step, units, *form.t, seat.blocks(units), 1, 1)
    over = seating(form.tiles, 1, LEAST, True)
    last = settle.build(dtype, over)
    tail = (form.lines, form.tiles, form.n, seat.tile, over.blocks(form.lines), 1, 1)

    def launch(x: int, parts: int, *rest: float) -> None:
        first(x, parts, *sizes)
        last(parts, *rest, *tail)

    return launch


def long_sums(dtype: str, form: Form, share: int, wide: bool) -> Callable[..., None]:
    """A launch ``(g, x, mean, rstd, parts, tilts, levels)``; ``share`` lines have one mean."""
    if form.tiles > 1:
        form = tiled(dtype, form, 2)
    units, seat, tiles = form.lines * form.tiles, form.seat, form.tiles
    first = slope_sums.build(dtype, seat, form.runs, wide)
    sizes = (form.lines, form.groups, form.step, share, units, *form.t, seat.blocks(units), 1, 1)
    if tiles == 1:
        return lambda g, x, mean, rstd, parts, *made: first(g, x, mean, rstd, *made, *sizes)
    over = seating(tiles, 1, LEAST, True)
    last = gather.build(dtype, over)
    half = units * np.dtype(dtype).itemsize
    tail = (form.lines, tiles, over.blocks(form.lines), 1, 1)

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
def sloped(weighted: bool, training: bool) -> DeviceFunction:
    """The formula of the gradient through :func:`normalised`; ``p``: 1 / the elements of a line.

    Not ``training``: as if mean and deviation were constants.
    """
    factor = "(rstd * weight)" if weighted else "rstd"
    if not training:
        names = ["g", "rstd", *["weight"] * weighted]
        return _formula("sloped", names, f"g * {factor}")
    names = ["g", "x", "mean", "rstd", *["weight"] * weighted, "tilt", "level", "p"]
    return _formula("sloped", names, f"(g - level * p - (x - mean) * rstd * (tilt * p)) * {factor}")


def _formula(name: str, names: list[str], value: str) -> DeviceFunction:
    source = f"def {name}({', '.join(names)}):\n    return {value}\n"
    return DeviceFunction(function_from_source(source, name, {}, __name__), source)
